"""From PennyLane's operations to the gates of a circuit.

An operation is decomposed by PennyLane's own rules until every gate is a rotation or an evolution whose angle
is affine in the parameters of the circuit. An angle that is affine in several parameters becomes one gate per
parameter: they share a generator and commute.
"""

import math
from collections.abc import Iterable, Sequence

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.circuits import Angle, Circuit, Parameter
from efl_core.errors import InvalidInputError
from efl_core.pennylane.tapes.gates import CLIFFORDS, EULER, ROTATIONS
from efl_core.pennylane.tapes.observables import pauli_sum
from efl_core.pennylane.tapes.tracing import Form, decompose, described, trace

__all__ = ["AFFINE", "MEASURED_MIDWAY", "NOT_ANGLES", "Conversion", "kraus_matrices", "parameters"]

# What changes no expectation value.
IGNORED = {"Identity", "GlobalPhase", "Barrier", "Snapshot", "WireCut"}
QUARTER_TURNS = {"T": np.pi / 4, "Adjoint(T)": -np.pi / 4}
# Gates of several angles whose decomposition is affine in them.
AFFINE = {"Rot", "CRot", "U2", "U3"}
NOT_ANGLES = (
    qml.operation.Channel,
    qml.operation.StatePrepBase,
    qml.QubitUnitary,
    qml.DiagonalQubitUnitary,
    qml.BlockEncode,
)
MEASURED_MIDWAY = (qml.ops.MidMeasure, qml.ops.PauliMeasure, qml.ops.Conditional)
FREEZE = "leave it out of tape.trainable_params (requires_grad=False)"
# Widest state whose Bloch vectors are looked for.
MAX_STATE_WIRES = 16
ROUNDING = 1e-9
# Cosine of an odd multiple of pi/2, rounded.
QUARTER_TURN = 1e-15


def parameters(tape: QuantumScript, trainable: Iterable[int]) -> tuple[NDArray[np.float64], list[list[Form]]]:
    """Return the values of trainable parameters, and the slopes of each operation's flattened data."""
    values: list[float] = []
    found: dict[tuple[int, int], list[Form]] = {}
    places = tape.par_info
    for place in trainable:
        op, which, position = (places[place][key] for key in ("op", "op_idx", "p_idx"))
        if which >= len(tape.operations):
            continue
        entries = np.ravel(op.data[position])
        if entries.dtype.kind not in "iuf":
            advice = "write qml.evolve(operator, time)" if _is_exponential(op) else FREEZE
            raise InvalidInputError(
                f"tape: expected real trainable parameters, got {entries.dtype} in {described(op)}; {advice}"
            )
        found[which, position] = [{len(values) + i: 1.0} for i in range(entries.size)]
        values += entries.tolist()
    forms = [
        [form for j, d in enumerate(op.data) for form in found.get((i, j), [{}] * np.size(d))]
        for i, op in enumerate(tape.operations)
    ]
    return np.array(values, dtype=np.float64), forms


class Conversion:
    """Adds operations to a circuit."""

    def __init__(self, circuit: Circuit, *, inputs: bool) -> None:
        self.circuit, self.inputs = circuit, inputs
        self.open = False  # whether the fixed angles of the operation at hand are inputs
        self.qubits = {label: qubit for qubit, label in enumerate(circuit.wires)}
        self.touched: set[int] = set()

    def convert(self, op: Operator, forms: Sequence[Form]) -> None:
        """Add an operation of the tape. One without numbers, such as T or QFT, is the same with any data."""
        self.open = self.inputs and bool(op.data)
        self.add(op, forms)

    def add(self, op: Operator, forms: Sequence[Form], depth: int = 0) -> None:
        """Add an operation, given the slopes of its flattened data."""
        name = op.name
        if name in IGNORED:
            return
        self._check_gate(op, depth)
        wires = self._wires(op)
        trained = [i for i, form in enumerate(forms) if form]
        if not trained and isinstance(op, qml.operation.StatePrepBase):
            self._prepare(op, wires)
        elif not self._add_angle(op, wires, forms) and not self._add_fixed(op, wires, trained):
            self._add_parts(op, forms, trained, depth)
        self.touched.update(wires)

    def _check_gate(self, op: Operator, depth: int) -> None:
        if isinstance(op, MEASURED_MIDWAY):
            raise InvalidInputError(
                f"tape: expected gates and channels, got {described(op)}; apply qml.defer_measurements to a "
                "circuit that is measured midway"
            )
        if depth > 100:
            raise InvalidInputError(f"tape: the decomposition of {described(op)} does not end")

    def _wires(self, op: Operator) -> list[int]:
        try:
            return [self.qubits[wire] for wire in op.wires]
        except KeyError as error:
            raise InvalidInputError(
                f"tape: expected operations on the wires {list(self.qubits)}, got {described(op)} on "
                f"{error}, which comes from a decomposition; name all wires by wires="
            ) from None

    def _prepare(self, op: Operator, wires: list[int]) -> None:
        if not self.touched.isdisjoint(wires):
            raise InvalidInputError(
                f"tape: expected states to be prepared before the gates, got {described(op)} after others on "
                "its wires; move it to the start, or use gates"
            )
        if self.circuit.bloch is None:
            return
        bloch = self.circuit.bloch.copy()
        if isinstance(op, qml.BasisState):
            bloch[wires, 2] = 1 - 2.0 * np.ravel(op.data[0])
            self.circuit.prepare(bloch)
            return
        found = None
        if len(wires) <= MAX_STATE_WIRES:
            found = _bloch_vectors(np.ravel(op.state_vector(wire_order=op.wires)), len(wires))
        if found is None:
            self.circuit.prepare(None)
        else:
            bloch[wires] = found
            self.circuit.prepare(bloch)

    def _add_angle(self, op: Operator, wires: list[int], forms: Sequence[Form]) -> bool:
        """Add a gate with one angle and a generator, or a row of rotations, if it is one."""
        if op.name in EULER and (self.open or any(forms)):
            for place, letter in enumerate(EULER[op.name]):
                for angle in self._angles(op, forms[place], [1.0], place):
                    self.circuit.rotation({wires[0]: letter}, angle)
            return True
        if not op.data or any(forms[1:]) or np.size(op.data[0]) != 1:
            return False
        letters = ROTATIONS.get(op.name)
        if op.name == "MultiRZ":
            letters = "Z" * len(wires)
        elif op.name == "PauliRot":
            letters = op.hyperparameters["pauli_word"]
        if letters is not None:
            word = dict(zip(wires, letters, strict=True))
            for angle in self._angles(op, forms[0], [1.0]):
                self.circuit.rotation(word, angle)
            return True

        # PennyLane's generators are those of exp(i x G); the x of exp(i t G), written qml.exp(G, i t), is t.
        if not op.has_generator or (op.num_params > 1 and not isinstance(op, qml.ops.Exp)):
            return False
        try:
            with qml.QueuingManager.stop_recording():
                generator = pauli_sum(op.generator(), self.qubits)
        except (InvalidInputError, qml.exceptions.GeneratorUndefinedError):
            return False
        angles = self._angles(op, forms[0], 2 * generator.coefficients)
        try:
            for angle in angles:
                self.circuit.evolution(-generator, angle)
        except InvalidInputError as error:
            if op.has_decomposition:
                return False
            raise InvalidInputError(f"tape: {described(op)}: {error}") from error
        return True

    def _angles(self, op: Operator, form: Form, factors: Iterable[float], place: int = 0) -> list[Angle]:
        """Return an angle of a gate that turns by it times each of the factors; see `_terms`."""
        terms = _terms(op, self.circuit.parameters, form, place)
        value = terms[0]
        if not self.open or not isinstance(value, float):
            return terms
        if any(abs(math.cos(factor * value)) <= QUARTER_TURN for factor in factors):
            return terms
        return [self.circuit.input(value)]

    def _add_fixed(self, op: Operator, wires: list[int], trained: Sequence[int]) -> bool:
        """Add a gate without trainable parameters as it is, if that is possible."""
        if trained:
            if isinstance(op, NOT_ANGLES):
                raise InvalidInputError(
                    f"tape: expected trainable parameters to be angles, got one of {described(op)}; {FREEZE}"
                )
            return False
        if op.name in CLIFFORDS:
            self.circuit.clifford(CLIFFORDS[op.name], *wires)
            return True
        if op.name in QUARTER_TURNS:
            self.circuit.rz(QUARTER_TURNS[op.name], wires[0])
            return True
        if self.open and op.name in AFFINE:
            return False
        channel = isinstance(op, qml.operation.Channel)
        if len(wires) > 2 or not (channel or op.has_matrix):
            return False
        try:
            if channel:
                self.circuit.channel(kraus_matrices(op), *wires)
            elif wires:
                self.circuit.unitary(qml.matrix(op, wire_order=op.wires), *wires)
        except InvalidInputError as error:
            raise InvalidInputError(f"tape: {described(op)}: {error}") from error
        return True

    def _add_parts(
        self,
        op: Operator,
        forms: Sequence[Form],
        trained: Sequence[int],
        depth: int,
    ) -> None:
        if not op.has_decomposition:
            kind = "channel" if isinstance(op, qml.operation.Channel) else "operation"
            small = "" if trained else "on at most two wires, "
            raise InvalidInputError(
                f"tape: expected an operation {small}with a Pauli generator or with a decomposition, got the "
                f"{'trained ' if trained else ''}{kind} {described(op)}; write it as gates"
            )
        if trained:
            parts, rows = trace(op, trained)
            slopes = [_combined(row, [forms[i] for i in trained]) for row in rows]
        else:
            parts, slopes = decompose(op), []
        start = 0
        for part in parts:
            end = start + sum(int(np.size(d)) for d in part.data)
            self.add(part, slopes[start:end] or [{}] * (end - start), depth + 1)
            start = end


def kraus_matrices(op: Operator) -> list[NDArray[np.complex128]]:
    """Return the Kraus operators of a channel."""
    if isinstance(op, qml.PauliError):  # of which PennyLane casts Y to real numbers, with a warning
        letters = op.hyperparameters["operators"]
        p = float(op.data[0])
        word = qml.matrix(qml.pauli.string_to_pauli_word(letters), wire_order=range(len(letters)))
        return [np.sqrt(1 - p) * np.eye(2 ** len(letters), dtype=complex), np.sqrt(p) * word]
    return list(op.kraus_matrices())


def _combined(row: Form, forms: Sequence[Form]) -> Form:
    """Return the slopes by the parameters of the circuit, given those by numbers with known slopes."""
    total: Form = {}
    for j, slope in row.items():
        for index, inner in forms[j].items():
            total[index] = total.get(index, 0) + slope * inner
    return {index: slope for index, slope in total.items() if slope != 0}


def _terms(op: Operator, theta: NDArray[np.float64], form: Form, place: int) -> list[Angle]:
    """Return an angle of a gate: a number, or one term per parameter, the first with the offset."""
    value, slopes = complex(np.asarray(op.data[place]).item()), form
    if _is_exponential(op):
        value, slopes = -1j * value, {i: -1j * s for i, s in slopes.items()}
    if any(abs(z.imag) > ROUNDING * (1 + abs(z)) for z in (value, *slopes.values())):
        raise InvalidInputError(f"tape: expected a real angle, got {described(op)}")
    if not slopes:
        return [value.real]
    offset = value.real - sum(s.real * theta[i] for i, s in slopes.items())
    if abs(offset) <= 1e-15 * (1 + abs(value)):
        offset = 0.0
    terms = [Parameter(i, s.real) for i, s in slopes.items()]
    return [terms[0] + offset, *terms[1:]]


def _is_exponential(op: Operator) -> bool:
    """Say whether an operation is ``qml.exp``, or an adjoint, power or controlled form of it."""
    while not isinstance(op, qml.ops.Exp) and hasattr(op, "base"):
        op = op.base
    return type(op) is qml.ops.Exp


def _bloch_vectors(state: NDArray[np.complex128], width: int) -> NDArray[np.float64] | None:
    """Return the Bloch vectors of a product state; None for another state."""
    rows = []
    for q in range(width):
        halves = np.moveaxis(state.reshape((2,) * width), q, 0).reshape(2, -1)
        rho = halves @ halves.conj().T
        rows.append([2 * rho[0, 1].real, -2 * rho[0, 1].imag, (rho[0, 0] - rho[1, 1]).real])
    bloch = np.array(rows)
    lengths = np.linalg.norm(bloch, axis=1, keepdims=True)
    return bloch / lengths if np.all(np.abs(lengths - 1) <= ROUNDING) else None
