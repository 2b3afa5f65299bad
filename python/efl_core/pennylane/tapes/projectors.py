"""Projectors that are too wide for Pauli words, and the rest of what a tape asks for.

Narrower ones are expanded in words like any other matrix. These have ``2**k`` words or more, each of which
says next to nothing; as questions of yes or no, or about whole states, they need as few shots as one word.

Invariant: a target is normalised, its first qubit the most significant. Words and projectors of a
measurement add up to it.
Cost: ``2**k`` numbers; a matrix of ``4**k`` is looked at once, to see whether it is a projector.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.measurements import ExpectationMP, MeasurementProcess, VarianceMP
from pennylane.operation import Operator

from efl_core.errors import InvalidInputError
from efl_core.pennylane.tapes.observables import MAX_EXPANDED_WIRES, ROUNDING
from efl_core.pennylane.tapes.outputs import DRAWN
from efl_core.pennylane.tapes.tracing import described

__all__ = ["Split", "WideProjector", "has_projector", "split_measurements"]

Vector = NDArray[np.complex128]


@dataclass(frozen=True, eq=False)
class WideProjector:
    """A multiple of the projector on a vector of some qubits."""

    factor: float
    target: Vector
    """``2**k`` amplitudes."""
    qubits: tuple[int, ...]
    """Those that the target is on, the most significant first."""

    @cached_property
    def bits(self) -> tuple[int, ...] | None:
        """The bits of a target that is a basis state."""
        index = int(np.argmax(np.abs(self.target)))
        if abs(abs(self.target[index]) - 1) > ROUNDING:
            return None
        k = len(self.qubits)
        return tuple(index >> (k - 1 - place) & 1 for place in range(k))

    @cached_property
    def parts(self) -> tuple[Vector, ...] | None:
        """The states of the qubits, two amplitudes each, of a target that is a product of such."""
        rest, found = self.target, []
        for _ in self.qubits:
            left, values, right = np.linalg.svd(rest.reshape(2, -1), full_matrices=False)
            if len(values) > 1 and values[1] > ROUNDING:
                return None
            found.append(left[:, 0])
            rest = right[0] * values[0]
        return tuple(found)

    def lifted(self, n_qubits: int) -> NDArray[np.complex128]:
        """Return the vectors of all qubits whose projectors add up to it: one per state of the others."""
        others = [q for q in range(n_qubits) if q not in self.qubits]
        states = np.eye(1 << len(others), dtype=np.complex128)
        table = (states[:, np.newaxis, :] * self.target[:, np.newaxis]).reshape(len(states), *(2,) * n_qubits)
        places = [*self.qubits, *others]
        turned = table.transpose(0, *(1 + places.index(q) for q in range(n_qubits)))
        return np.ascontiguousarray(turned.reshape(len(states), -1))

    def chance(self, state: Vector) -> float:
        """Return how likely a state of all qubits is found in the target."""
        tensor = state.reshape((2,) * (len(state).bit_length() - 1))
        front = np.moveaxis(tensor, self.qubits, range(len(self.qubits)))
        found = self.target.conj() @ front.reshape(len(self.target), -1)
        return float(np.square(np.abs(found)).sum())


@dataclass(frozen=True, slots=True, eq=False)
class Split:
    """What a tape asks for: measurements that are made of words, and sums of wide projectors."""

    words: tuple[MeasurementProcess, ...]
    sums: tuple[tuple[WideProjector, ...], ...]
    places: tuple[tuple[int | None, int | None], ...]
    """For each measurement of the tape which of the words, and which of the sums, it is made of."""


def has_projector(measurements: Sequence[MeasurementProcess]) -> bool:
    """Say whether a tape asks for a projector that is too wide for words, alone or in a sum."""
    return any(_observable(m) is not None for m in measurements)


def split_measurements(measurements: Sequence[MeasurementProcess], wires: Sequence[Hashable]) -> Split:
    """Tell the wide projectors that a tape asks for from everything else."""
    words: list[MeasurementProcess] = []
    sums: list[tuple[WideProjector, ...]] = []
    places: list[tuple[int | None, int | None]] = []
    for measurement in measurements:
        observable = _observable(measurement)
        if observable is None:
            places.append((len(words), None))
            words.append(measurement)
            continue
        if isinstance(measurement, VarianceMP):
            raise InvalidInputError(
                f"tape: expected qml.expval of a projector on more than {MAX_EXPANDED_WIRES} wires, got "
                f"{described(measurement)}; the variance of a projector whose value is p is p * (1 - p): "
                "compute it from qml.expval"
            )
        terms = _terms(observable, 1)
        wide = [(scale, own) for scale, own in terms if _is_wide(own)]
        rest = [(scale, own) for scale, own in terms if not _is_wide(own)]
        places.append((len(words) if rest else None, len(sums)))
        sums.append(tuple(_placed(scale, own, wires) for scale, own in wide))
        if rest:
            with qml.QueuingManager.stop_recording():
                words.append(qml.expval(qml.sum(*(qml.s_prod(scale, own) for scale, own in rest))))
    if all(isinstance(m, DRAWN) for m in words):  # which have no derivatives
        places = [(None, own) for _, own in places]
        words = []
    return Split(tuple(words), tuple(sums), tuple(places))


def _observable(measurement: MeasurementProcess) -> Operator | None:
    """Return the observable of a measurement, if a wide projector is in it."""
    observable = measurement.obs if isinstance(measurement, (ExpectationMP, VarianceMP)) else None
    return observable if observable is not None and _has_wide(observable) else None


def _has_wide(operator: Operator) -> bool:
    if isinstance(operator, qml.ops.SProd):
        return _has_wide(operator.base)
    if isinstance(operator, qml.ops.Sum):
        return any(map(_has_wide, operator.operands))
    return _is_wide(operator)


def _terms(operator: Operator, scale: complex) -> list[tuple[float, Operator]]:
    if isinstance(operator, qml.ops.SProd):
        number = complex(qml.math.unwrap(qml.math.toarray(operator.scalar)))
        return _terms(operator.base, scale * number)
    if isinstance(operator, qml.ops.Sum):
        return [term for part in operator.operands for term in _terms(part, scale)]
    if scale.imag:
        raise InvalidInputError(f"tape: expected real coefficients, got {scale} for {described(operator)}")
    return [(scale.real, operator)]


def _is_wide(operator: Operator) -> bool:
    """Say whether an operator is a multiple of a projector on too many wires."""
    if len(operator.wires) <= MAX_EXPANDED_WIRES:
        return False
    return isinstance(operator, qml.Projector) or (
        isinstance(operator, qml.Hermitian) and _of_matrix(operator) is not None
    )


def _placed(scale: float, operator: Operator, wires: Sequence[Hashable]) -> WideProjector:
    if isinstance(operator, qml.Hermitian):
        found = _of_matrix(operator)
        assert found is not None  # or it would not be wide
        value, vector = found
    else:
        value, vector = 1.0, _of_projector(operator)
    qubits = tuple(list(wires).index(wire) for wire in operator.wires)
    return WideProjector(scale * value, vector, qubits)


def _of_projector(operator: Operator) -> Vector:
    data = np.asarray(qml.math.unwrap(qml.math.toarray(operator.data[0])))
    if data.shape != (len(operator.wires),):
        return np.ascontiguousarray(data, dtype=np.complex128)
    vector = np.zeros(1 << len(data), dtype=np.complex128)
    vector[int("".join(str(int(bit)) for bit in data), 2)] = 1
    return vector


def _of_matrix(operator: Operator) -> tuple[float, Vector] | None:
    """Return the only eigenvalue of a matrix that is not zero, and its vector; None if there are several."""
    matrix = np.asarray(qml.math.unwrap(qml.math.toarray(operator.data[0])), dtype=np.complex128)
    column = matrix[:, int(np.argmax(np.abs(np.diag(matrix))))]
    length = float(np.linalg.norm(column))
    if length == 0:
        return None
    vector, value = column / length, float(np.trace(matrix).real)
    rest = np.abs(matrix - value * np.outer(vector, vector.conj())).max()
    return (value, vector) if rest <= ROUNDING * abs(value) else None
