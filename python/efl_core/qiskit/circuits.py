"""From Qiskit's circuits to ours: qubit i is qubit i.

An angle that is affine in parameters becomes a gate for each of them. Any other expression of parameters is
an angle of its own, and the chain rule takes derivatives by it to those by the parameters. Expressions of
parameters that nothing is differentiated by are inputs: what is planned holds for other values of them.

Cost: a gate is read in some 10 us; reading anew is what keeps circuits that were changed from being mistaken.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import ControlFlowOp, Gate, Instruction, Operation, Parameter, ParameterExpression
from qiskit.quantum_info import Operator
from qiskit.transpiler import PassManager
from qiskit.transpiler.passes import HighLevelSynthesis

from efl_core.arguments import array, described
from efl_core.circuits import Angle, Circuit, Input
from efl_core.circuits import Parameter as Own
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.qiskit.gates import CLIFFORDS, EULER, EVOLUTIONS, IGNORED, KNOWN, QUARTER_TURNS, ROTATIONS

__all__ = ["Reading", "from_circuit", "read_circuit"]

Value: TypeAlias = float | ParameterExpression
Values: TypeAlias = Mapping[Parameter, float]
# Widest gates that are read as matrices.
MATRIX_QUBITS = 2


@dataclass(frozen=True, slots=True, eq=False)
class Reading:
    """A circuit without values: its gates, and what their angles are computed from."""

    circuit: Circuit
    """Its parameters are `angles`, its inputs are `inputs`; the values of both are not those of anybody."""
    trained: tuple[Parameter, ...]
    """What is differentiated by."""
    angles: tuple[ParameterExpression, ...]
    """Parameters themselves, where angles are affine in them; and other expressions."""
    inputs: tuple[ParameterExpression, ...]
    """What depends on no parameter that is trained."""
    derivatives: tuple[tuple[tuple[int, Value], ...], ...]
    """Of each angle, by the numbers of trained parameters that it depends on."""

    @property
    def is_affine(self) -> bool:
        """Whether every angle is a parameter."""
        return all(isinstance(angle, Parameter) for angle in self.angles)

    def at(self, values: Values) -> tuple[Circuit, NDArray[np.float64]]:
        """Return the circuit at values of all parameters, and the slopes of its angles by those trained."""
        slopes = np.zeros((len(self.angles), len(self.trained)))
        for i, own in enumerate(self.derivatives):
            for k, slope in own:
                slopes[i, k] = evaluated(slope, values)
        theta = [evaluated(angle, values) for angle in self.angles]
        return self.circuit.at(theta, [evaluated(own, values) for own in self.inputs]), slopes


def evaluated(value: Value, values: Values) -> float:
    """Return the number that an expression is."""
    if isinstance(value, Parameter):
        return float(values[value])
    if not isinstance(value, ParameterExpression):
        return _real(value)
    return _real(value.bind({p: values[p] for p in value.parameters}).numeric())


def _real(number: Any) -> float:  # noqa: ANN401 (what Qiskit takes for a number)
    found = complex(number)
    if not (math.isfinite(found.real) and abs(found.imag) <= 1e-12 * max(1.0, abs(found.real))):
        raise InvalidInputError.of("circuit", "angles that are finite real numbers", number)
    return found.real


def from_circuit(circuit: QuantumCircuit, parameters: ArrayLike | None = None) -> Circuit:
    """Convert a circuit; its parameters, in Qiskit's order, become the parameters of the result.

    Angles have to be affine in parameters; `ShadowEstimatorGradient` takes any others.

    Parameters
    ----------
    circuit
        Unitary gates; qubits may be initialised before any.
    parameters
        Current values in the order of ``circuit.parameters``; zeros if not given.

    Examples
    --------
    >>> import efl_core as efl
    >>> from qiskit.circuit.library import real_amplitudes
    >>> circuit = efl.Circuit.from_qiskit(real_amplitudes(3, reps=1), [0.1, 0.2, 0.3, 0.4, 0.5, 0.6])
    >>> circuit
    Circuit(3 qubits, 8 gates, 6 parameters)
    >>> round(efl.propagate(circuit, "ZII").value, 3)
    0.914
    """
    check_circuit(circuit)
    order = list(circuit.parameters)
    values = np.zeros(len(order)) if parameters is None else array("parameters", parameters, "real numbers")
    if values.shape != (len(order),):
        raise ShapeError.of("parameters", f"{len(order)} values", f"shape {values.shape}")
    reader = _Reader(circuit.num_qubits, order)
    reader.places.update((parameter, place) for place, parameter in enumerate(order))
    reader.add(circuit)
    other = next((angle for angle in reader.places if not isinstance(angle, Parameter)), None)
    if other is not None:
        raise InvalidInputError.of(
            "circuit",
            "angles that are affine in parameters, as those of Circuit are",
            f"{other} (efl_core.qiskit.ShadowEstimatorGradient follows the chain rule)",
        )
    return reader.made().at(values)


def read_circuit(circuit: QuantumCircuit, trained: Iterable[Parameter]) -> Reading:
    """Read a circuit that is to be differentiated by some of its parameters."""
    order = tuple(trained)
    reader = _Reader(circuit.num_qubits, order)
    reader.add(circuit)
    numbers = {parameter: k for k, parameter in enumerate(order)}
    derivatives = tuple(
        ((numbers[angle], 1.0),)
        if isinstance(angle, Parameter)
        else tuple((numbers[p], angle.gradient(p)) for p in order if p in angle.parameters)
        for angle in reader.places
    )
    return Reading(reader.made(), order, tuple(reader.places), tuple(reader.inputs), derivatives)


def check_circuit(circuit: object, name: str = "circuit") -> None:
    """Refuse anything but a circuit of Qiskit."""
    if not isinstance(circuit, QuantumCircuit):
        raise InputTypeError.of(name, "a QuantumCircuit", described(circuit))


class _Reader:
    """Collects gates; their parameters are numbered as they come."""

    def __init__(self, n_qubits: int, trained: Sequence[Parameter]) -> None:
        self.n_qubits = n_qubits
        self.order = {parameter: k for k, parameter in enumerate(trained)}
        self.places: dict[ParameterExpression, int] = {}
        self.inputs: list[ParameterExpression] = []
        self.gates: list[tuple[str, tuple[Any, ...]]] = []
        self.touched: set[int] = set()

    def made(self) -> Circuit:
        """Return the circuit."""
        circuit = Circuit(self.n_qubits, np.zeros(len(self.places)))
        for _ in self.inputs:
            circuit.input(0.0)
        for method, arguments in self.gates:
            getattr(circuit, method)(*arguments)
        return circuit

    def add(self, circuit: QuantumCircuit, qubits: Sequence[int] | None = None) -> None:
        """Add the gates of a circuit on some qubits."""
        wires = range(self.n_qubits) if qubits is None else qubits
        for item in circuit.data:
            self._add(item.operation, [wires[circuit.find_bit(q).index] for q in item.qubits])

    def _add(self, op: Operation, qubits: list[int]) -> None:
        if op.name in IGNORED or (op.name == "reset" and self.touched.isdisjoint(qubits)):
            return
        if not isinstance(op, Instruction):  # a Clifford, a gate with modifiers: no circuit yet
            self.add(_synthesised(op), qubits)
            return
        if op.name in ("measure", "reset", "store") or isinstance(op, ControlFlowOp):
            expected = "gates, with states initialised before any of them"
            advice = " (circuit.remove_final_measurements(inplace=False))" if op.name == "measure" else ""
            raise InvalidInputError.of("circuit", expected, f"{op.name} on qubits {qubits}{advice}")
        if not self._add_named(op, qubits):
            fixed = not any(isinstance(p, ParameterExpression) for p in op.params)
            if fixed and isinstance(op, Gate) and op.num_qubits <= MATRIX_QUBITS:
                self.gates.append(("unitary", (Operator(op).data, *reversed(qubits))))
            elif op.definition is not None:
                self.add(op.definition, qubits)
            else:
                raise InvalidInputError.of(
                    "circuit", "gates that Qiskit defines by others", f"{op.name} on qubits {qubits}"
                )
        self.touched.update(qubits)

    def _add_named(self, op: Instruction, qubits: list[int]) -> bool:
        """Add a gate that both sides know, if it is one."""
        known = KNOWN.get(op.name)
        if known is None or not issubclass(type(op), known):  # or somebody else's gate of that name
            return False
        if op.name in CLIFFORDS:
            self.gates.append(("clifford", (CLIFFORDS[op.name], *qubits)))
        elif op.name in QUARTER_TURNS:
            self.gates.append(("rotation", ({qubits[0]: "Z"}, QUARTER_TURNS[op.name])))
        elif op.name in ROTATIONS:
            word = dict(zip(qubits, ROTATIONS[op.name], strict=True))
            self._turn("rotation", word, op.params[0])
        elif op.name in EVOLUTIONS:
            terms = [
                (dict(zip(qubits, letters, strict=True)), factor) for letters, factor in EVOLUTIONS[op.name]
            ]
            words = [({q: p for q, p in word.items() if p != "I"}, factor) for word, factor in terms]
            self._turn("evolution", words, op.params[0])
        else:
            for letter, which, factor, turns in EULER[op.name]:
                value = turns * np.pi if which < 0 else factor * op.params[which]
                self._turn("rotation", {qubits[0]: letter}, value)
        return True

    def _turn(self, method: str, generator: Any, value: Value) -> None:  # noqa: ANN401 (a word, or a sum)
        self.gates += [(method, (generator, angle)) for angle in self._angles(value)]

    def _angles(self, value: Value) -> list[Angle]:
        """Return angles that add up to a value."""
        if not isinstance(value, ParameterExpression) or not value.parameters:
            return [evaluated(value, {})]
        mine = sorted((p for p in value.parameters if p in self.order), key=self.order.__getitem__)
        if not mine:
            return [self._input(value)]
        slopes = [value.gradient(p) for p in mine]
        if any(isinstance(slope, ParameterExpression) and slope.parameters for slope in slopes):
            return [Own(self._place(value))]
        turns: list[Angle] = [
            Own(self._place(p), evaluated(slope, {})) for p, slope in zip(mine, slopes, strict=True)
        ]
        rest = value.bind(dict.fromkeys(mine, 0.0))
        if rest.parameters:
            turns.append(self._input(rest))
        elif offset := evaluated(rest, {}):
            first = turns[0]
            assert isinstance(first, Own)
            turns[0] = first + offset
        return turns

    def _place(self, angle: ParameterExpression) -> int:
        return self.places.setdefault(angle, len(self.places))

    def _input(self, value: ParameterExpression) -> Input:
        self.inputs.append(value)
        return Input(len(self.inputs) - 1)


def _synthesised(op: Operation) -> QuantumCircuit:
    """Return the gates of an operation that says what is done, not how."""
    circuit = QuantumCircuit(op.num_qubits)
    circuit.append(op, range(op.num_qubits))
    found = PassManager([HighLevelSynthesis()]).run(circuit)
    if any(not isinstance(item.operation, Instruction) for item in found.data):
        raise InvalidInputError.of("circuit", "operations that Qiskit makes gates of", op.name)
    return found
