"""From a PennyLane tape or QNode to a circuit.

The parameters of the circuit are those of the tape, not those of its decomposition: an operation is
decomposed by PennyLane's own rules until every gate is a rotation or an evolution whose angle is affine in
them. An angle that is affine in several parameters becomes one gate per parameter: they share a generator and
commute.

On demand, angles that are not trained but come from the numbers of an operation become inputs: what is found
for the circuit then holds for other data. Rotations by exact odd multiples of pi/2 stay as they are: people
write Clifford gates so, and where those could be anything there would be more words.
"""

import math
import warnings
from collections.abc import Callable, Hashable, Iterable, Sequence
from functools import reduce
from operator import matmul
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator
from pennylane.pauli import PauliSentence
from pennylane.tape import QuantumScript

from efl_core.circuits import Angle, Circuit, Parameter
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import PauliSum
from efl_core.pennylane.tracing import Form, bound, combine, decompose, described, trace

__all__ = [
    "AFFINE",
    "NOT_ANGLES",
    "derivative_by_coefficient",
    "from_qnode",
    "from_tape",
    "trainable",
    "with_numbers",
]

# What changes no expectation value.
IGNORED = {"Identity", "GlobalPhase", "Barrier", "Snapshot", "WireCut"}
CLIFFORDS = {
    "PauliX": "X",
    "PauliY": "Y",
    "PauliZ": "Z",
    "Hadamard": "H",
    "S": "S",
    "Adjoint(S)": "SDG",
    "SX": "SX",
    "Adjoint(SX)": "SXDG",
    "CNOT": "CNOT",
    "CY": "CY",
    "CZ": "CZ",
    "SWAP": "SWAP",
    "ISWAP": "ISWAP",
    "Adjoint(ISWAP)": "ISWAPDG",
    "ECR": "ECR",
}
# Gates exp(-i angle P / 2), up to a global phase.
ROTATIONS = {
    "RX": "X",
    "RY": "Y",
    "RZ": "Z",
    "PhaseShift": "Z",
    "U1": "Z",
    "IsingXX": "XX",
    "IsingYY": "YY",
    "IsingZZ": "ZZ",
}
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
FREEZE = "leave it out of tape.trainable_params (requires_grad=False)"
# Widest operator that is expanded in Pauli words by its matrix: 256 words.
MAX_EXPANDED_WIRES = 4
# Widest product of such operators.
MAX_FACTORED_WIRES = 8
# Widest state whose Bloch vectors are looked for.
MAX_STATE_WIRES = 16
ROUNDING = 1e-9
# Cosine of an odd multiple of pi/2, rounded.
QUARTER_TURN = 1e-15


def from_tape(
    tape: QuantumScript, *, wires: Iterable[Hashable] | None = None, inputs: bool = False
) -> Circuit:
    """Convert a tape.

    Parameters
    ----------
    tape
        The tape. Its trainable parameters that belong to operations become the parameters of the circuit, in
        its order; the entries of an array, row after row. Trainable coefficients of observables are left out.
    wires
        Which wire each qubit is. By default qubit i is wire i if the wires are 0, 1, 2, ... in any order,
        otherwise the i-th wire that the tape uses.
    inputs
        Whether fixed angles of gates become inputs of the circuit, so that equal gates with other data make
        an equal circuit.

    Returns
    -------
    Circuit
        The circuit with its observables, one per ``expval``, and `Circuit.wires`.

    Examples
    --------
    >>> import pennylane as qml
    >>> from efl_core.pennylane import from_tape
    >>> gates = [qml.Rot(0.1, 0.2, 0.3, wires="a"), qml.CRot(0.4, 0.5, 0.6, wires=["a", "b"])]
    >>> circuit = from_tape(qml.tape.QuantumScript(gates, [qml.expval(qml.Z("b"))]))
    >>> circuit.parameters, circuit.wires
    (array([0.1, 0.2, 0.3, 0.4, 0.5, 0.6]), ('a', 'b'))
    """
    if not isinstance(tape, QuantumScript):
        raise InputTypeError(f"tape: expected a PennyLane tape, got {type(tape).__name__}")
    _check_not_batched(tape)
    tape = with_numbers(tape)
    _check_finite(tape)

    labels = tuple(_wire_order(tape) if wires is None else wires)
    unknown = [w for w in tape.wires if w not in labels]
    if unknown or len(set(labels)) < len(labels) or not labels:
        raise InvalidInputError(
            f"wires: expected each wire of the tape once, {list(tape.wires)}, got {list(labels)}"
        )

    values, forms = _parameters(tape)
    circuit = Circuit(len(labels), values)
    circuit.wires = labels
    conversion = _Conversion(circuit, inputs=inputs)
    for operation, own in zip(tape.operations, forms, strict=True):
        conversion.convert(operation, own)
    qubits = conversion.qubits
    circuit.observables = tuple(_measured(m, qubits) for m in tape.measurements)
    return circuit


def from_qnode(qnode: qml.QNode) -> Callable[..., Circuit]:
    """Return a function that takes the QNode's arguments and returns its circuit.

    Transforms that were applied to the QNode are applied; the device decomposes nothing. Parameters of the
    circuit are the gate parameters that PennyLane takes for trainable, as computed from the QNode's trainable
    arguments. Qubit i is the i-th wire of the device if that lists its wires, else as in `from_tape`.
    """
    if not isinstance(qnode, qml.QNode):
        raise InputTypeError(f"qnode: expected a PennyLane QNode, got {type(qnode).__name__}")

    def convert(*args: object, **kwargs: object) -> Circuit:
        tapes, _ = qml.workflow.construct_batch(qnode, level="user")(*args, **kwargs)
        if len(tapes) != 1:
            raise InvalidInputError(
                f"qnode: expected one tape, got {len(tapes)} from its transforms; convert them one by one "
                "(qml.workflow.construct_batch, from_tape)"
            )
        [tape] = tapes
        trained = qml.math.get_trainable_indices(tape.get_parameters(trainable_only=False))
        tape = tape.copy(trainable_params=sorted(trained))
        circuit = from_tape(tape, wires=qnode.device.wires)
        if circuit.n_parameters == 0 and any(op.num_params for op in tape.operations):
            warnings.warn(
                "the QNode has no trainable parameter, so the circuit has none: pass arguments that "
                "PennyLane trains (pennylane.numpy arrays with requires_grad=True, or torch tensors that "
                "require a gradient)",
                UserWarning,
                stacklevel=2,
            )
        return circuit

    return convert


def trainable(value: Any) -> Any:  # noqa: ANN401 (numbers in, PennyLane's arrays out)
    """Return numbers as an array that PennyLane trains."""
    return qml.numpy.array(value, dtype=float, requires_grad=True)


def _check_not_batched(tape: QuantumScript) -> None:
    if tape.batch_size is not None:
        raise InvalidInputError(
            f"tape: expected one circuit, got a broadcast of {tape.batch_size}; apply "
            "qml.transforms.broadcast_expand first"
        )


def with_numbers(tape: QuantumScript) -> QuantumScript:
    """Replace what a framework has put in the place of numbers, and single precision."""
    operations = []
    for op in tape.operations:
        numbers = [_number(d) for d in qml.math.unwrap(op.data)]
        kept = all(type(new) is type(old) for new, old in zip(numbers, op.data, strict=True))
        operations.append(op if kept else bound(op, numbers))
    [measured], _ = qml.transforms.convert_to_numpy_parameters(QuantumScript([], tape.measurements))
    return QuantumScript(
        operations, measured.measurements, shots=tape.shots, trainable_params=tape.trainable_params
    )


def _number(data: Any) -> Any:  # noqa: ANN401
    array = np.asarray(data)
    if isinstance(data, (int, float, complex)):
        return data
    if array.dtype.kind not in "fc":
        return array[()]
    return array.astype(np.float64 if array.dtype.kind == "f" else np.complex128)[()]


def _check_finite(tape: QuantumScript) -> None:
    for op in tape.operations:
        for data in op.data:
            array = np.asarray(data)
            if array.dtype.kind in "fc" and not np.isfinite(array).all():
                raise InvalidInputError(f"tape: expected finite parameters, got {described(op)}")


def _wire_order(tape: QuantumScript) -> Sequence[Hashable]:
    work = [getattr(op, "work_wires", None) or [] for op in tape.operations]
    found = list(qml.wires.Wires.all_wires([tape.wires, *map(qml.wires.Wires, work)]))
    standard = range(len(found))
    return standard if set(found) == set(standard) else found


def _parameters(tape: QuantumScript) -> tuple[NDArray[np.float64], list[list[Form]]]:
    """Return the values of the parameters, and the slopes of each operation's flattened data."""
    values: list[float] = []
    found: dict[tuple[int, int], list[Form]] = {}
    places = tape.par_info
    for place in tape.trainable_params:
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


def derivative_by_coefficient(observable: Operator, position: int, circuit: Circuit) -> PauliSum:
    """Return what a coefficient of an observable multiplies: the difference that one more of it makes."""
    data = list(observable.data)
    qubits = {label: qubit for qubit, label in enumerate(circuit.wires)}
    data[position] = data[position] + 1.0
    with qml.QueuingManager.stop_recording():
        more = qml.ops.functions.bind_new_parameters(observable, data)
        return _pauli_sum(more, qubits) - _pauli_sum(observable, qubits)


class _Conversion:
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
        if isinstance(op, (qml.ops.MidMeasure, qml.ops.PauliMeasure, qml.ops.Conditional)):
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
        """Add a gate with one angle and a generator, if it is one."""
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
                generator = _pauli_sum(op.generator(), self.qubits)
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

    def _angles(self, op: Operator, form: Form, factors: Iterable[float]) -> list[Angle]:
        """Return the angle of a gate that turns by it times each of the factors; see `_terms`."""
        terms = _terms(op, self.circuit.parameters, form)
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
                self.circuit.channel(op.kraus_matrices(), *wires)
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
            slopes = [combine(row, [forms[i] for i in trained]) for row in rows]
        else:
            parts, slopes = decompose(op), []
        start = 0
        for part in parts:
            end = start + sum(int(np.size(d)) for d in part.data)
            self.add(part, slopes[start:end] or [{}] * (end - start), depth + 1)
            start = end


def _terms(op: Operator, theta: NDArray[np.float64], form: Form) -> list[Angle]:
    """Return the angle of a gate: a number, or one term per parameter, the first with the offset."""
    value, slopes = complex(np.asarray(op.data[0]).item()), dict(form)
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


def _measured(measurement: MeasurementProcess, qubits: dict[Hashable, int]) -> PauliSum:
    if not isinstance(measurement, qml.measurements.ExpectationMP) or measurement.obs is None:
        raise InvalidInputError(
            f"tape: expected measurements qml.expval(observable), got {described(measurement)}; only "
            "expectation values of observables can be converted"
        )
    return _pauli_sum(measurement.obs, qubits)


def _pauli_sum(operator: Operator, qubits: dict[Hashable, int]) -> PauliSum:
    """Expand an operator in Pauli words."""
    terms = []
    for word, coefficient in _sentence(operator).items():
        number = complex(coefficient)
        if not abs(number.imag) <= ROUNDING * (1 + abs(number)):
            raise InvalidInputError(
                f"tape: expected real coefficients, got {number} for {word} in {described(operator)}"
            )
        terms.append(({qubits[wire]: letter for wire, letter in word.items()}, number.real))
    return PauliSum(terms, n_qubits=len(qubits))


def _sentence(operator: Operator) -> PauliSentence:
    if operator.pauli_rep is not None:
        return operator.pauli_rep
    width = len(operator.wires)
    if isinstance(operator, qml.ops.Sum):
        return sum((_sentence(term) for term in operator.operands), PauliSentence())
    if isinstance(operator, qml.ops.SProd):
        return _sentence(operator.base) * operator.scalar
    if isinstance(operator, qml.ops.Prod) and width <= MAX_FACTORED_WIRES:
        return reduce(matmul, map(_sentence, operator.operands))
    if width > MAX_EXPANDED_WIRES:
        raise InvalidInputError(
            "tape: expected an observable of Pauli words, or of matrices on at most "
            f"{MAX_EXPANDED_WIRES} wires, got {described(operator)}; write it as a sum of Pauli words"
        )
    try:
        matrix = qml.matrix(operator, wire_order=operator.wires)
        return qml.pauli_decompose(matrix, wire_order=operator.wires, pauli=True)
    except (ValueError, qml.exceptions.QuantumFunctionError, qml.operation.MatrixUndefinedError) as error:
        raise InvalidInputError(
            f"tape: expected an observable with a Hermitian matrix, got {described(operator)} ({error})"
        ) from error
