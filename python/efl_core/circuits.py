"""Parameterised circuits, as the classical half of the method sees them.

A `Circuit` is gates in order and the current values of its parameters and inputs. It is built by hand here,
or made from a PennyLane tape or QNode (`Circuit.from_tape`, `circuit`), or from a circuit of Qiskit
(`Circuit.from_qiskit`). Pauli sums move through it at any width; `simulate` gives the state vector of a
narrow one.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, described, integer, listed, real
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.observables import Observable, PauliSum, WordLike, read_sum, read_sums, read_word

if TYPE_CHECKING:
    from pennylane import QNode
    from pennylane.tape import QuantumScript
    from qiskit import QuantumCircuit

    from efl_core.pennylane.noise import NoiseLike

__all__ = ["Angle", "Circuit", "Input", "Parameter", "circuit", "simulate"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """The angle ``scale * theta[index] + offset``: an affine function of one parameter.

    >>> import efl_core as efl
    >>> theta = efl.Parameter(0)
    >>> 2 * theta + 0.5
    Parameter(index=0, scale=2.0, offset=0.5)
    """

    index: int
    scale: float = 1.0
    offset: float = 0.0

    def __mul__(self, factor: SupportsFloat) -> "Parameter":
        if isinstance(factor, Parameter):
            raise InputTypeError.of(
                "factor", "a real number (an angle is affine in one parameter)", "a Parameter"
            )
        by = real("factor", factor)
        return Parameter(self.index, self.scale * by, self.offset * by)

    __rmul__ = __mul__

    def __truediv__(self, divisor: SupportsFloat) -> "Parameter":
        by = real("divisor", divisor)
        if by == 0:
            raise InvalidInputError.of("divisor", "a number that is not zero", "0")
        return self * (1 / by)

    def __add__(self, offset: SupportsFloat) -> "Parameter":
        if isinstance(offset, Parameter):
            raise InputTypeError.of(
                "offset", "a real number (an angle is affine in one parameter)", "a Parameter"
            )
        return Parameter(self.index, self.scale, self.offset + real("offset", offset))

    __radd__ = __add__

    def __sub__(self, offset: SupportsFloat) -> "Parameter":
        return self + -real("offset", offset)

    def __rsub__(self, offset: SupportsFloat) -> "Parameter":
        return -self + offset

    def __neg__(self) -> "Parameter":
        return self * -1


@dataclass(frozen=True, slots=True)
class Input:
    """The angle ``inputs[index]``: data, which changes but is not trained. Made by `Circuit.input`."""

    index: int


Angle: TypeAlias = SupportsFloat | Parameter | Input
"""The angle of a gate: a number, a `Parameter` that is trained, or an `Input`."""


def _angle(value: Angle) -> float | tuple[int, float, float] | tuple[int]:
    if isinstance(value, Input):
        return (integer("angle: index", value.index, 0),)
    if isinstance(value, Parameter):
        scale, offset = real("angle: scale", value.scale), real("angle: offset", value.offset)
        return (integer("angle: index", value.index, 0), scale, offset)
    return real("angle", value, "a real number, a Parameter or an Input")


class Circuit:
    """Gates in order, acting on ``|0...0>`` or on another input state.

    Parameters
    ----------
    n_qubits
        Number of qubits.
    parameters
        Current values of the parameters; their number is fixed by it. Gates refer to them by `Parameter`.

    Every method that adds a gate checks it and returns the circuit, so calls can be chained.

    Examples
    --------
    >>> import efl_core as efl
    >>> theta = efl.Parameter(0)
    >>> circuit = efl.Circuit(2, parameters=[0.3]).rotation({0: "Y"}, theta).clifford("CNOT", 0, 1)
    >>> circuit
    Circuit(2 qubits, 2 gates, 1 parameters)
    >>> bool(np.isclose(efl.propagate(circuit, "ZI").value, np.cos(0.3)))
    True
    """

    __slots__ = ("_bloch", "_gates", "_inputs", "_native", "_parameters", "observables", "wires")

    def __init__(self, n_qubits: SupportsIndex, parameters: ArrayLike = ()) -> None:
        values = _real_vector("parameters", parameters)
        width = integer("n_qubits", n_qubits, 1, 2**31)
        self._native = _native.Circuit(width, len(values))
        self._parameters = values
        self._inputs = _real_vector("inputs", ())
        self._gates: list[tuple[str, tuple[Any, ...]]] = []
        self._bloch: NDArray[np.float64] | None = None
        self.prepare(np.tile([0.0, 0.0, 1.0], (width, 1)))
        self.observables: tuple[PauliSum, ...] = ()
        """What the circuit answers with, if it was made from a QNode or a tape."""
        self.wires: tuple[Hashable, ...] = tuple(range(width))
        """What the user calls the qubits: PennyLane's wire labels, or their numbers."""

    @staticmethod
    def from_tape(tape: "QuantumScript") -> "Circuit":
        """Convert a PennyLane tape; its trainable parameters become the parameters of the circuit."""
        from efl_core.pennylane import from_tape

        return from_tape(tape)

    @staticmethod
    def from_qiskit(circuit: "QuantumCircuit", parameters: ArrayLike | None = None) -> "Circuit":
        """Convert a circuit of Qiskit; its parameters, in Qiskit's order, become those of the result.

        Qubit i is qubit i. Values of the parameters are zeros if not given.
        """
        from efl_core.qiskit import from_circuit

        return from_circuit(circuit, parameters)

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self._native.n_qubits

    @property
    def n_parameters(self) -> int:
        """Number of parameters, used or not."""
        return self._native.n_parameters

    @property
    def n_gates(self) -> int:
        """Number of gates."""
        return self._native.n_gates

    @property
    def parameters(self) -> NDArray[np.float64]:
        """Current values of the parameters (read-only)."""
        return self._parameters

    @property
    def inputs(self) -> NDArray[np.float64]:
        """Current values of the inputs (read-only)."""
        return self._inputs

    @property
    def _theta(self) -> NDArray[np.float64]:
        """What all angles follow: the parameters, then the inputs."""
        return np.concatenate([self._parameters, self._inputs])

    @property
    def bloch(self) -> NDArray[np.float64] | None:
        """Bloch vectors of a product input state, shape ``(n_qubits, 3)``; None for another input."""
        return self._bloch

    def at(self, parameters: ArrayLike, inputs: ArrayLike | None = None) -> "Circuit":
        """Return the circuit with other values of the parameters, and of the inputs if they are given.

        The gates are shared, not copied.
        """
        other = self._copy(self._native)
        other._parameters = _real_vector("parameters", parameters)
        if len(other._parameters) != self.n_parameters:
            raise ShapeError.of("parameters", f"{self.n_parameters} values", len(other._parameters))
        if inputs is not None:
            other._inputs = _real_vector("inputs", inputs)
            if len(other._inputs) != len(self._inputs):
                raise ShapeError.of("inputs", f"{len(self._inputs)} values", len(other._inputs))
        return other

    def copy(self) -> "Circuit":
        """Return an independent circuit with the same gates."""
        other = self._copy(self._native.copy())
        other._gates = list(self._gates)
        return other

    def _copy(self, native: _native.Circuit) -> "Circuit":
        other = object.__new__(Circuit)
        other._native = native
        other._parameters = self._parameters
        other._inputs = self._inputs
        other._gates = self._gates
        other._bloch = self._bloch
        other.observables = self.observables
        other.wires = self.wires
        return other

    def prepare(self, bloch: ArrayLike | None) -> "Circuit":
        """Set a product input state by its Bloch vectors, shape ``(n_qubits, 3)``.

        None means an input that is not a product state, or not known: observables of the gradient do not
        depend on it, but `propagate` has no value then.
        """
        if bloch is None:
            self._bloch = None
            return self
        found = array("bloch", bloch, f"real numbers of shape ({self.n_qubits}, 3)")
        if found.dtype.kind == "c":
            raise InputTypeError.of("bloch", "real numbers", f"dtype {found.dtype}")
        if found.shape != (self.n_qubits, 3):
            raise ShapeError.of("bloch", f"shape ({self.n_qubits}, 3)", found.shape)
        table = np.array(found, dtype=np.float64)
        table.flags.writeable = False  # shared by copies
        self._bloch = table
        return self

    def input(self, value: SupportsFloat) -> Input:
        """Add an input with a current value, and return the angle that follows it.

        Plans and gradient observables are made once for all values of parameters and inputs; there are no
        derivatives by inputs.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.3])
        >>> x = circuit.input(0.5)
        >>> model = circuit.rx(x, 0).ry(efl.Parameter(0), 0)
        >>> plan = efl.plan(model, "Z")
        >>> plan.at([0.3], inputs=[0.7]).circuit.inputs
        array([0.7])
        """
        made = Input(len(self._inputs))
        self._inputs = _real_vector("value", [*self._inputs, real("value", value)])
        self._native.input()
        return made

    def clifford(self, name: str, *wires: SupportsIndex) -> "Circuit":
        """Add a named Clifford gate.

        The names are I, X, Y, Z, H, S, SDG, SX, SXDG, CNOT, CY, CZ, SWAP, ISWAP, ISWAPDG, ECR.
        """
        if not isinstance(name, str):
            raise InputTypeError.of("name", "the name of a gate", described(name))
        return self._add("clifford", name, _wires(wires))

    def rotation(self, word: WordLike, angle: Angle) -> "Circuit":
        """Add ``exp(-i angle P / 2)`` for a Pauli word P of any width."""
        return self._add("rotation", read_word("word", word, self.n_qubits), _angle(angle))

    def rx(self, angle: Angle, wire: SupportsIndex) -> "Circuit":
        """Add a rotation about X."""
        return self.rotation(self._letter(wire, "X"), angle)

    def ry(self, angle: Angle, wire: SupportsIndex) -> "Circuit":
        """Add a rotation about Y."""
        return self.rotation(self._letter(wire, "Y"), angle)

    def rz(self, angle: Angle, wire: SupportsIndex) -> "Circuit":
        """Add a rotation about Z."""
        return self.rotation(self._letter(wire, "Z"), angle)

    def evolution(self, generator: Observable, angle: Angle) -> "Circuit":
        """Add ``exp(-i angle A)`` for a real Pauli sum A: commuting words, or at most 4 qubits."""
        return self._add("evolution", read_sum("generator", generator, self.n_qubits), _angle(angle))

    def unitary(self, matrix: ArrayLike, *wires: SupportsIndex) -> "Circuit":
        """Add a unitary on one or two wires; the first wire is the most significant."""
        return self._add("unitary", _matrix("matrix", matrix), _wires(wires))

    def channel(self, kraus: Sequence[ArrayLike], *wires: SupportsIndex) -> "Circuit":
        """Add a channel on one or two wires, given by its Kraus operators."""
        found = listed("kraus", kraus, "a sequence of matrices")
        operators = [_matrix(f"kraus[{i}]", k) for i, k in enumerate(found)]
        for i, operator in enumerate(operators):
            if operator.shape != operators[0].shape:
                raise ShapeError.of(f"kraus[{i}]", f"shape {operators[0].shape}", operator.shape)
        return self._add("channel", operators, _wires(wires))

    def noise(self, kraus: Sequence[ArrayLike], *wires: SupportsIndex) -> "Circuit":
        """Add what the device does by itself between gates, given by its Kraus operators.

        It counts for values and gradients as a channel does, and is no gate: `Experiment.gates` leaves it
        out, and derivatives without it can be asked for (``mitigate=True``).
        """
        found = listed("kraus", kraus, "a sequence of matrices")
        operators = [_matrix(f"kraus[{i}]", k) for i, k in enumerate(found)]
        return self._add("noise", operators, _wires(wires))

    def _letter(self, wire: SupportsIndex, letter: str) -> dict[int, str]:
        return {integer("wire", wire, 0, self.n_qubits - 1): letter}

    def _add(self, kind: str, *arguments: Any) -> "Circuit":  # noqa: ANN401 (the arguments of a native method)
        getattr(self._native, kind)(*arguments)
        self._gates.append((kind, arguments))
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        state = (self._parameters, self._inputs, self._gates, self._bloch, self.observables, self.wires)
        return _rebuild, (self.n_qubits, *state)

    def __repr__(self) -> str:
        return f"Circuit({self.n_qubits} qubits, {self.n_gates} gates, {self.n_parameters} parameters)"


def _rebuild(
    n_qubits: int,
    parameters: NDArray[np.float64],
    inputs: NDArray[np.float64],
    gates: list[tuple[str, tuple[Any, ...]]],
    bloch: NDArray[np.float64] | None,
    observables: tuple[PauliSum, ...],
    wires: tuple[Hashable, ...],
) -> Circuit:
    made = Circuit(n_qubits, parameters)
    for value in inputs:
        made.input(value)
    for kind, arguments in gates:
        made._add(kind, *arguments)
    made._bloch, made.observables, made.wires = bloch, observables, wires
    return made


def _real_vector(name: str, values: ArrayLike) -> NDArray[np.float64]:
    found = array(name, values, "a vector of real numbers")
    if found.dtype.kind == "c":
        raise InputTypeError.of(name, "a vector of real numbers", f"dtype {found.dtype}")
    if found.ndim != 1:
        raise ShapeError.of(name, "a vector of real numbers", f"shape {found.shape}")
    vector = np.array(found, dtype=np.float64)
    if not np.isfinite(vector).all():
        position = int(np.flatnonzero(~np.isfinite(vector))[0])
        raise InvalidInputError.of(f"{name}[{position}]", "a finite number", vector[position])
    vector.flags.writeable = False
    return vector


def _wires(wires: Sequence[SupportsIndex]) -> list[int]:
    return [integer("wires", wire, 0) for wire in wires]


def _matrix(name: str, matrix: ArrayLike) -> NDArray[np.complex128]:
    found = array(name, matrix, "a square matrix")
    if found.ndim != 2 or found.shape[0] != found.shape[1]:
        raise ShapeError.of(name, "a square matrix", f"shape {found.shape}")
    return np.ascontiguousarray(found, dtype=np.complex128)


def check_circuit(circuit: Circuit) -> None:
    """Refuse anything but a circuit."""
    if not isinstance(circuit, Circuit):
        raise InputTypeError.of("circuit", "a Circuit", type(circuit).__name__)


def given_sums(
    circuit: Circuit, observables: Observable | Iterable[Observable] | None
) -> tuple[list[PauliSum], bool]:
    """Return the observables asked for, or those of the circuit, and whether it is one."""
    if observables is None:
        sums, single = list(circuit.observables), len(circuit.observables) == 1
        if not sums:
            raise InvalidInputError.of("observables", "some, because the circuit has none of its own", "none")
    else:
        sums, single = read_sums(observables, circuit.n_qubits)
        if not sums:
            raise InvalidInputError.of("observables", "at least one", "an empty sequence")
    return sums, single


def only_observable(circuit: Circuit, observable: Observable | None) -> PauliSum:
    """Return the observable asked for, or the only one that the circuit has."""
    if observable is not None:
        return read_sum("observable", observable, circuit.n_qubits)
    if len(circuit.observables) != 1:
        raise InvalidInputError.of(
            "observable", f"one, as the circuit has {len(circuit.observables)} of its own", "none"
        )
    return circuit.observables[0]


def simulate(circuit: Circuit) -> NDArray[np.complex128]:
    """Return the state vector that the circuit prepares at its current angles, up to a global phase.

    Qubit 0 is the most significant bit of the index, as in PennyLane. At most 26 qubits, unitary gates, and
    an input that is a product of pure qubits.

    >>> import efl_core as efl
    >>> bell = efl.Circuit(2).clifford("H", 0).clifford("CNOT", 0, 1)
    >>> efl.simulate(bell).round(3).real
    array([0.707, 0.   , 0.   , 0.707])
    """
    check_circuit(circuit)
    if circuit.bloch is None:
        raise InvalidInputError.of(
            "circuit", "a product input state", "another one (circuit.prepare sets Bloch vectors)"
        )
    return _native.simulate(circuit._native, circuit._theta, circuit.bloch)


def circuit(qnode: "QNode", *, noise: "NoiseLike | None" = None) -> Callable[..., Circuit]:
    """Return a function that takes the QNode's arguments and returns its circuit, observables included.

    With ``noise``, an `efl.Noise` or a ``qml.NoiseModel``, it is the circuit on a device that does this by
    itself after each operation (`Circuit.noise`).

    >>> import efl_core as efl
    >>> import pennylane as qml
    >>> from pennylane import numpy as pnp
    >>> @qml.qnode(qml.device("default.qubit", wires=2))
    ... def model(theta):
    ...     qml.RY(theta, wires=0)
    ...     qml.CNOT(wires=[0, 1])
    ...     return qml.expval(qml.Z(1))
    >>> found = efl.circuit(model)(pnp.array(0.3))
    >>> found, found.observables
    (Circuit(2 qubits, 2 gates, 1 parameters), (PauliSum('1*IZ'),))
    """
    from efl_core.pennylane import from_qnode

    return from_qnode(qnode, noise=noise)
