"""Projectors of a tape that are too wide for words, and their derivatives as operators on the final state.

The derivative of a projector by a parameter is ``(i/2) (|chi><phi| - |phi><chi|)``: phi is the target, and
chi what the generator of the parameter's rotation, moved to the end of the circuit, makes of it. A projector
on some of the qubits is the sum of those on all, one for each state of the others.

Cost: ``2**n`` numbers for each parameter and vector.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core import _native
from efl_core.circuits import Circuit, simulate
from efl_core.errors import InvalidInputError
from efl_core.pennylane.jobs.wanted import parameters_of
from efl_core.pennylane.options import Options
from efl_core.pennylane.statistics import Table
from efl_core.pennylane.tapes.conversion import converted, wire_order
from efl_core.pennylane.tapes.numbers import with_numbers
from efl_core.pennylane.tapes.projectors import Split, WideProjector, split_measurements
from efl_core.pennylane.tapes.tracing import described

__all__ = ["Lifted", "LowRank", "Whole", "read_projectors"]

Vectors = NDArray[np.complex128]
# Vectors that one observable may be made of: their number is the variance of random bases, and their cost.
MOST_VECTORS = 8
# What a derivative is zero below, of the size of its parts.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class LowRank:
    """An operator ``sum_jk weights[j, k] |v_j><v_k|`` of few vectors."""

    vectors: Vectors
    weights: Vectors

    @staticmethod
    def total(parts: Sequence["LowRank"]) -> "LowRank":
        """Return the sum of operators."""
        vectors, ends = np.concatenate([p.vectors for p in parts]), 0
        weights = np.zeros((len(vectors), len(vectors)), dtype=np.complex128)
        for part in parts:
            own = slice(ends, ends := ends + len(part.vectors))
            weights[own, own] = part.weights
        return LowRank(vectors, weights)

    def figures(self) -> tuple[float, float]:
        """Return the sum of the squares of the eigenvalues, and the largest square."""
        gram = self.vectors.conj() @ self.vectors.T
        values = np.linalg.eigvals(self.weights @ gram).real
        squares = np.square(values)
        scale = float(np.square(np.abs(self.weights)).sum() * np.trace(gram).real ** 2)
        total = float(squares.sum())
        return (total, float(squares.max())) if total > ROUNDING * scale else (0.0, 0.0)

    def on(self, state: Vectors) -> tuple[float, float]:
        """Return the value on a state, and that of the square."""
        across = self.vectors.conj() @ state
        moved = self.weights @ across
        gram = self.vectors.conj() @ self.vectors.T
        return float(np.vdot(across, moved).real), float(np.vdot(moved, gram @ moved).real)

    def diagonal(self) -> tuple[Vectors, list[float]]:
        """Return eigenvectors and eigenvalues, those that are not zero."""
        basis, triangle = np.linalg.qr(self.vectors.T)
        values, turn = np.linalg.eigh(triangle @ self.weights @ triangle.conj().T)
        kept = np.abs(values) > ROUNDING * np.abs(values).max(initial=0.0)
        return np.ascontiguousarray((basis @ turn[:, kept]).T), values[kept].tolist()


@dataclass(frozen=True, slots=True, eq=False)
class Lifted:
    """A sum of projectors as vectors of all qubits, and where they go with the parameters."""

    factors: Table
    targets: Vectors
    """Shape ``(vectors, 2**n)``."""
    tangents: Vectors
    """Shape ``(vectors, parameters, 2**n)``."""

    def value(self) -> LowRank:
        """Return the sum itself."""
        return LowRank(self.targets, np.diag(self.factors).astype(np.complex128))

    def along(self, weights: Table) -> Iterator[LowRank]:
        """Return derivatives by combinations of the parameters, a row of weights each."""
        count = len(self.factors)
        crossed = np.zeros((2 * count, 2 * count), dtype=np.complex128)
        crossed[range(count, 2 * count), range(count)] = 0.5j * self.factors
        crossed[range(count), range(count, 2 * count)] = -0.5j * self.factors
        for row in weights:
            used = np.flatnonzero(row)  # an argument feeds few parameters
            moved = np.einsum("p,bpd->bd", row[used], self.tangents[:, used])
            yield LowRank(np.concatenate([self.targets, moved]), crossed)


@dataclass(frozen=True, eq=False)
class Whole:
    """The wide projectors of a tape, read."""

    tape: QuantumScript
    """With plain numbers."""
    circuit: Circuit
    """Its parameters are those of `by_gates`."""
    by_gates: tuple[int, ...]
    """Trainable parameters of the tape that turn gates."""
    sums: tuple[tuple[WideProjector, ...], ...]
    """The observables."""
    is_noisy: bool
    """Whether the device does something by itself, so that derivatives are other operators than here."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of observables and of trainable parameters."""
        return len(self.sums), len(self.tape.trainable_params)

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self.circuit.n_qubits

    @property
    def n_vectors(self) -> int:
        """Most vectors of all qubits that an observable is made of."""
        return max(sum(1 << self.n_qubits - len(own.qubits) for own in terms) for terms in self.sums)

    @cached_property
    def lifted(self) -> tuple[Lifted, ...] | None:
        """The observables as vectors of all qubits; None where they are too many, or not what is measured."""
        if self.is_noisy or self.n_vectors > MOST_VECTORS:
            return None
        return tuple(map(self._lifted, self.sums))

    def _lifted(self, terms: Sequence[WideProjector]) -> Lifted:
        rows = [own.lifted(self.n_qubits) for own in terms]
        factors = np.repeat([own.factor for own in terms], [len(row) for row in rows])
        targets = np.concatenate(rows)
        native, theta = self.circuit._native, self.circuit._theta
        return Lifted(factors, targets, np.array([_native.tangents(native, theta, row) for row in targets]))

    def weights(self, slopes: Table | None) -> Table:
        """Return the slopes of the circuit's parameters, by parameters of the tape or by arguments."""
        every = np.eye(self.shape[1]) if slopes is None else slopes
        return every[list(self.by_gates)]

    def state(self, circuit: Circuit, write: Callable[[], Sequence[Operator]]) -> Vectors:
        """Return the state of a circuit: PennyLane's, of the operations, where they begin with a vector."""
        if circuit.bloch is not None:
            return simulate(circuit)
        with qml.QueuingManager.stop_recording():
            tape = QuantumScript(write(), [qml.state()], trainable_params=[])
            [found] = qml.execute([tape], qml.device("default.qubit", wires=circuit.wires), diff_method=None)
        return np.ascontiguousarray(found, dtype=np.complex128)

    def moving(self, weights: Table) -> NDArray[np.bool_]:
        """Say which derivatives are not identically zero, as far as that is known, by columns of weights."""
        if self.lifted is None:
            return np.tile(weights.any(axis=0), (self.shape[0], 1))
        found = [[operator.figures()[0] > 0 for operator in own.along(weights.T)] for own in self.lifted]
        return np.array(found, dtype=bool).reshape(len(found), -1)


def read_projectors(tape: QuantumScript, options: Options) -> tuple[Split, Whole]:
    """Tell the wide projectors of a tape from its words, and read what they are differentiated by."""
    by_gates, places = parameters_of(tape, options.argnum)
    plain = with_numbers(tape)
    wires = wire_order(plain)
    split = split_measurements(plain.measurements, wires)
    for m, _ in places.values():
        if split.places[m][1] is not None:
            raise InvalidInputError(
                "tape: expected a projector on more than four wires without trainable coefficients, got "
                f"{described(plain.measurements[m])}; return its parts, and weigh the values of the QNode"
            )
    marked = [plain.trainable_params[t] for t in by_gates]
    gates = plain.copy(measurements=[], trainable_params=marked)
    circuit, _ = converted(gates, trainable=marked, wires=wires, inputs=True)
    if circuit.n_parameters != len(marked):
        raise InvalidInputError(
            "tape: expected trainable parameters that are numbers, got an array; decompose its operation"
        )
    return split, Whole(plain, circuit, by_gates, split.sums, options.noise is not None)
