"""A QNode that serves queries: from their arguments to circuits, and shots of those on the QNode's device.

The structure of a QNode is read once, at two inputs near the first query, which tells data from constants;
then a query is one call of the QNode's function, whose numbers are checked against that structure. Where
numbers of the tape are not angles of the circuit as they are, each query is converted anew.

Invariant: a query has the same gates, constants and parameters as all others, or it is refused.
Cost: one tape for each query, 1.5 ms with 80 gates; some 10 ms once for each version of the parameters.
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import Any, Protocol

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane import numpy as pnp
from pennylane.devices import Device
from pennylane.measurements import ExpectationMP
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.circuits import Circuit
from efl_core.ensembles import Setting
from efl_core.errors import EflError, InvalidInputError
from efl_core.observables import PauliSum, PauliWord
from efl_core.pennylane.differentiated import recorded, slopes_of
from efl_core.pennylane.execution import Program, Run, submit
from efl_core.pennylane.execution.runs import SIMULATED_QUBITS
from efl_core.pennylane.execution.submission import STATE_VECTORS, has_equal_shots
from efl_core.pennylane.jobs.corrections import twirl_of
from efl_core.pennylane.jobs.seeds import Purpose, Seeds
from efl_core.pennylane.jobs.wanted import Wanted, read_tape
from efl_core.pennylane.keys import same_gates
from efl_core.pennylane.options import Options
from efl_core.pennylane.qnodes import tape_of
from efl_core.pennylane.tapes.conversion import one_tape
from efl_core.pennylane.tapes.gates import rotation
from efl_core.pennylane.tapes.tracing import described
from efl_core.pennylane.tapes.writing import Gates, Writer

__all__ = ["Asked", "Piece", "Point", "ServedQNode", "is_qnode"]

Floats = NDArray[np.float64]
# Ways from the first query to other inputs; a function may be defined on one side of it only.
MOVES: tuple[Callable[[Any, Any], Any], ...] = (
    lambda x, d: x + d,
    lambda x, d: x - d,
    lambda x, d: x * (1 - d),
)
MIXED = (
    "params: expected numbers that turn gates by themselves, got some that inputs are mixed with; "
    "such a QNode is trained by diff_method=efl.shadow_grad"
)


class Teaching(Protocol):
    """What teaches by a circuit of its own: an `Experiment`, or what is known of one elsewhere."""

    @property
    def served(self) -> bool:
        """Whether it runs the circuit of the query."""

    def at(self, circuit: Circuit) -> Gates:
        """Return it at the angles of a circuit."""


@dataclass(frozen=True, slots=True, eq=False)
class Piece:
    """Shots of a query: of its own circuit, or of one that teaches."""

    setting: Setting
    shots: int
    experiment: Teaching | None = None
    """What teaches by another circuit than that of the query."""
    kick: tuple[PauliWord, float] | None = None
    """A rotation after the circuit of the query: its word and its angle."""


@dataclass(frozen=True, slots=True, eq=False)
class Point:
    """The model at some parameters."""

    vector: Floats
    """The user's parameters, flat."""
    circuit: Circuit
    """The circuit there; its inputs are those of no query."""
    slopes: Floats
    """Of the circuit's parameters by the user's, shape ``(circuit.n_parameters, n_parameters)``."""
    numbers: Floats | None = None
    """All numbers of the tape that it came from; None where queries are converted one by one."""


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A query: its circuit, and the tape that it came from."""

    circuit: Circuit
    tape: QuantumScript | None = None


@dataclass(frozen=True, eq=False)
class _Structure:
    """How the numbers of a tape feed the inputs of its circuit."""

    signature: tuple[Hashable, ...]
    data: NDArray[np.bool_]
    """Which numbers of the tape come from the query."""
    targets: NDArray[np.intp]
    """Inputs of the circuit that do."""
    sources: NDArray[np.intp]
    """The numbers of the tape that those are."""


class ServedQNode:
    """A QNode of expectation values, as a function ``qnode(*inputs, params)`` that is served.

    Parameters
    ----------
    qnode
        The QNode; its last argument are the parameters.
    params
        The parameters that it starts at, of any shape.
    inputs
        The arguments of a query.
    options
        What is known of the noise of its device; nothing by default.
    """

    def __init__(
        self, qnode: qml.QNode, params: Floats, inputs: tuple[Any, ...], options: Options | None = None
    ) -> None:
        self.options = Options(shots=1) if options is None else replace(options, shots=1)
        """What is known of the noise of the device; a calibration says that readouts are flipped."""
        device = qnode.device
        if self.options.is_noisy and _is_state_vectors(device):
            raise InvalidInputError.of(
                "qnode", "one on a noisy device with noise= or calibration=", f"one on {device.name}"
            )
        self._qnode, self._shape = qnode, params.shape
        self._plain = params
        first = self._read(inputs, params.ravel())
        self._inputs, moved = inputs, self._elsewhere(inputs, params)
        if moved:
            self._inputs = moved[0]
            first, second = (self._read(own, params.ravel()) for own in moved)
            self._compare(first, second)
            self._fed = first[0].circuit.inputs != second[0].circuit.inputs
            self._structure = self._found([own[0].circuit for own in (first, second)], moved)
        else:
            self._fed = np.ones(len(first[0].circuit.inputs), dtype=bool)
            self._structure = None
            if not inputs:
                self._fed[:] = False
                tape = one_tape(qnode, (params,), {})
                nothing = np.zeros(0, dtype=np.intp)
                self._structure = _Structure(
                    _signature(tape), np.zeros(len(_numbers(tape)), dtype=bool), nothing, nothing
                )
        self._circuit = first[0].circuit
        self._returned = self._kind_returned(inputs, params)

    def is_of(self, served: object) -> bool:
        """Return whether it was made of this very QNode."""
        return served is self._qnode

    @property
    def outputs(self) -> tuple[PauliSum, ...]:
        """The observables of the QNode."""
        return self._circuit.observables

    @property
    def wires(self) -> tuple[Hashable, ...]:
        """The wire of each qubit."""
        return self._circuit.wires

    @property
    def is_converted_once(self) -> bool:
        """Whether the structure that was read serves for every query."""
        return self._structure is not None

    @cached_property
    def feeds(self) -> tuple[int, ...]:
        """Which gates turn by the inputs of a query."""
        return tuple(
            place
            for place, (_, arguments) in enumerate(self._circuit._gates)
            if isinstance(arguments[-1], tuple) and len(arguments[-1]) == 1 and self._fed[arguments[-1][0]]
        )

    @cached_property
    def is_simulated(self) -> bool:
        """Whether shots are drawn from state vectors that are made here, as the QNode's simulator would."""
        return (
            _is_state_vectors(self._qnode.device)
            and self._circuit.bloch is not None
            and self._circuit.n_qubits <= SIMULATED_QUBITS
            and all(kind != "channel" for kind, _ in self._circuit._gates)
        )

    def shaped(self, outputs: Floats) -> Any:  # noqa: ANN401 (what the QNode returns)
        """Return outputs, the last axis, in the form that the QNode returns them."""
        if self._returned is None:
            return outputs[..., 0]
        return self._returned(np.moveaxis(outputs, -1, 0))

    def at(self, vector: Floats) -> Point:
        """Return the QNode at other parameters."""
        wanted, slopes = self._read(self._inputs, vector)
        if not same_gates(wanted.circuit, self._circuit):
            raise InvalidInputError("params: expected the same gates at all parameters, got others")
        numbers = None
        if self._structure is not None:
            tape = one_tape(self._qnode, (*self._inputs, vector.reshape(self._shape)), {})
            numbers = _numbers(tape)
        return Point(vector, wanted.circuit, slopes, numbers)

    def ask(self, point: Point, inputs: tuple[Any, ...]) -> Asked:
        """Return the circuit of a query."""
        if self._structure is None or point.numbers is None:
            wanted, slopes = self._read(inputs, point.vector)
            circuit = wanted.circuit
            if not (same_gates(circuit, self._circuit) and circuit.observables == self.outputs):
                raise _other_gates()
            same = np.array_equal(circuit.parameters, point.circuit.parameters)
            if not (same and np.allclose(slopes, point.slopes, rtol=0, atol=1e-12)):
                raise InvalidInputError(MIXED)
            return Asked(circuit, wanted.tape)
        tape = one_tape(self._qnode, (*inputs, point.vector.reshape(self._shape)), {})
        numbers = _numbers(tape)
        known = self._structure
        if (
            tape.batch_size is not None
            or len(numbers) != len(known.data)
            or _signature(tape) != known.signature
        ):
            raise _other_gates()
        if not np.isfinite(numbers).all():
            raise InvalidInputError("inputs: expected finite numbers, got some that are not")
        if not np.array_equal(numbers[~known.data], point.numbers[~known.data]):
            raise _other_gates()
        angles = point.circuit.inputs.copy()
        angles[known.targets] = numbers[known.sources]
        return Asked(point.circuit.at(point.circuit.parameters, angles), tape)

    def run(
        self, queries: Sequence[tuple[Asked, Sequence[Piece]]], seed: int
    ) -> list[list[NDArray[np.uint8]]]:
        """Run the pieces of queries on the QNode's device, as one batch."""
        runs: list[Run] = []
        for asked, pieces in queries:
            assert asked.tape is not None  # of a QNode
            final = Program(partial(list, asked.tape.operations))
            writer = Writer(asked.tape, asked.circuit)
            programs: dict[tuple[int, float], Program] = {}
            for piece in pieces:
                program = final
                if piece.experiment is not None and not piece.experiment.served:
                    own = piece.experiment.at(asked.circuit)
                    program = Program(partial(writer.operations, own))
                elif piece.kick is not None:
                    key = (hash(piece.kick[0]), piece.kick[1])
                    program = programs.setdefault(key, Program(partial(_kicked, asked, piece.kick)))
                runs.append(Run(program, piece.setting, piece.shots))
        device = self._qnode.device
        flips = Seeds.of(seed).seed(Purpose.FLIPS)
        twirl = twirl_of(self.options, flips, equal=has_equal_shots(None, device, None))
        submission = submit(runs, self.wires, mode=None, seed=seed, device=device, twirl=twirl)
        results = qml.execute(submission.tapes, device, diff_method=None) if submission.tapes else []
        found: list[Any] = submission.read(results)
        outcomes = iter(found)
        return [[next(outcomes) for _ in pieces] for _, pieces in queries]

    def _read(self, inputs: tuple[Any, ...], vector: Floats) -> tuple[Wanted, Floats]:
        trained = pnp.array(vector.reshape(self._shape), requires_grad=True)

        def build(own: Sequence[Any]) -> QuantumScript:
            args = [*own, trained]
            [found] = recorded(lambda *values: [tape_of(self._qnode, values, {})], args, [len(args) - 1])
            return found

        try:
            tape = build([_plain(x) for x in inputs])
        except TypeError:  # a function that is written for tensors of a framework takes nothing else
            tape = build([_untrained(x) for x in inputs])
        if tape.batch_size is not None:
            raise InvalidInputError(
                f"inputs: expected those of one query, got a broadcast of {tape.batch_size}; answers(...) "
                "takes several"
            )
        for measurement in tape.measurements:
            if not isinstance(measurement, ExpectationMP):
                raise InvalidInputError(
                    f"qnode: expected expectation values, qml.expval(...), got {described(measurement)}"
                )
        wanted = read_tape(tape, self.options)
        if wanted.coefficients:
            raise InvalidInputError(
                "params: expected numbers that turn gates, got some that are coefficients of an observable"
            )
        slopes = slopes_of(tape) if wanted.circuit.n_parameters else None
        if slopes is None:
            raise InvalidInputError("params: expected numbers that a gate depends on, got none of them")
        return wanted, np.ascontiguousarray(slopes[list(wanted.by_gates)])

    def _elsewhere(
        self, inputs: tuple[Any, ...], params: Floats
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]] | None:
        """Return two inputs near those of a query, all of whose numbers differ; None if there are none."""
        if not any(_is_real(x) for x in inputs):
            return None
        random = np.random.default_rng(0)
        for move in MOVES:
            found = []
            for _ in range(2):
                own = tuple(_moved(x, move, random) if _is_real(x) else x for x in inputs)
                try:  # user code, which may raise anything outside of its domain
                    with np.errstate(all="ignore"):
                        numbers = _numbers(one_tape(self._qnode, (*own, params), {}))
                except Exception:
                    break
                if np.isfinite(numbers).all():
                    found.append(own)
            if len(found) == 2:
                return found[0], found[1]
        return None

    def _compare(self, one: tuple[Wanted, Floats], other: tuple[Wanted, Floats]) -> None:
        first, second = one[0].circuit, other[0].circuit
        if not same_gates(first, second) or first.observables != second.observables:
            raise _other_gates()
        same = np.allclose(one[1], other[1], rtol=0, atol=1e-12)
        if not (same and np.array_equal(first.parameters, second.parameters)):
            raise InvalidInputError(MIXED)

    def _found(
        self, circuits: Sequence[Circuit], moved: tuple[tuple[Any, ...], tuple[Any, ...]]
    ) -> _Structure | None:
        """Return which number of the tape each input of the circuit is; None where one is another."""
        tapes = [one_tape(self._qnode, (*own, self._plain), {}) for own in moved]
        signature = _signature(tapes[0])
        one, other = map(_numbers, tapes)
        if len(one) != len(other) or signature != _signature(tapes[1]):
            raise _other_gates()
        data = one != other
        first, second = (circuit.bloch for circuit in circuits)
        if first is None or second is None or not np.array_equal(first, second):
            return None
        targets = np.flatnonzero(self._fed)
        sources = []
        for target in targets:
            values = [circuit.inputs[target] for circuit in circuits]
            places = np.flatnonzero((one == values[0]) & (other == values[1]) & data)
            if not len(places):
                return None
            sources.append(int(places[0]))
        used = np.isin(np.stack([one, other]).T[data], np.stack([one, other]).T[sources]).all()
        return _Structure(signature, data, targets, np.array(sources, dtype=np.intp)) if used else None

    def _kind_returned(self, inputs: tuple[Any, ...], params: Floats) -> Callable[[Any], Any] | None:
        """Return the class of what the QNode returns, None for one value."""
        with qml.queuing.AnnotatedQueue():
            found = self._qnode.func(*inputs, params)
        return type(found) if isinstance(found, (tuple, list)) else None


def is_qnode(value: object) -> bool:
    """Say whether something is a PennyLane QNode."""
    return isinstance(value, qml.QNode)


def _is_state_vectors(device: Device) -> bool:
    """Say whether a device is a simulator of state vectors, without errors."""
    return device.name in STATE_VECTORS and not hasattr(device, "original_device")


def _other_gates() -> EflError:
    return InvalidInputError("inputs: expected the same gates and constants for every query, got others")


def _kicked(asked: Asked, kick: tuple[PauliWord, float]) -> list[Operator]:
    assert asked.tape is not None
    word, angle = kick
    wires = [asked.circuit.wires[q] for q in word.support]
    return [*asked.tape.operations, rotation("".join(word.support.values()), angle, wires)]


def _signature(tape: QuantumScript) -> tuple[Hashable, ...]:
    """Return what tells the gates of tapes apart, numbers left out."""
    return tuple((op.name, op.wires.labels, *map(np.shape, op.data)) for op in tape.operations)


def _numbers(tape: QuantumScript) -> Floats:
    """Return all numbers of the gates of a tape, in order."""
    data = [d for op in tape.operations for d in op.data]
    plain = [d if isinstance(d, (float, int, np.ndarray)) else qml.math.toarray(d) for d in data]
    found = np.concatenate([np.zeros(0), *map(np.ravel, plain)])
    return np.concatenate([found.real, found.imag]) if found.dtype.kind == "c" else found


def _is_real(value: Any) -> bool:  # noqa: ANN401 (an argument of the user's function)
    """Say whether an argument is made of real numbers, which can be moved by a little."""
    if isinstance(value, (float, int, list, tuple)):
        return np.asarray(value).dtype.kind == "f"
    try:
        return "float" in str(qml.math.get_dtype_name(value)) and np.size(qml.math.toarray(value)) > 0
    except (TypeError, ValueError, AttributeError):
        return False


def _moved(value: Any, move: Callable[[Any, Any], Any], random: np.random.Generator) -> Any:  # noqa: ANN401
    by = random.uniform(0.05, 0.2, np.shape(qml.math.toarray(value)))
    interface = qml.math.get_interface(value)
    if isinstance(value, (float, list, tuple)):
        return move(np.asarray(value, dtype=np.float64), by)
    like = qml.math.asarray(by, like=interface)
    return move(value, qml.math.cast_like(like, value))


def _plain(value: Any) -> Any:  # noqa: ANN401
    """Return an argument with arrays of numpy in the place of those of a framework."""
    if qml.math.get_interface(value) in ("autograd", "torch", "jax"):
        return qml.math.toarray(_untrained(value))
    return value


def _untrained(value: Any) -> Any:  # noqa: ANN401
    """Return an argument that PennyLane does not train."""
    if qml.math.get_interface(value) == "autograd":
        return np.asarray(value)
    return value.detach() if qml.math.get_interface(value) == "torch" else value
