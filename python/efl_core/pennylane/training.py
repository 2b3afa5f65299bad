"""A QNode as a trainer sees it: a function from a vector to a circuit, and a device that runs circuits.

The gradient is that by the user's numbers: derivatives by the parameters of gates, through the slopes of
those by the numbers, covariances included.

Invariant: the gates are the same at all parameters; angles are any differentiable function of them.
Cost: for every step one call of the QNode's function under autograd, then what the trainer measures.
"""

import math
from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import pennylane as qml
from numpy.typing import ArrayLike, NDArray
from pennylane import numpy as pnp

from efl_core import _native
from efl_core.arguments import array, described
from efl_core.chains import Chain
from efl_core.circuits import Circuit
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import PauliSum
from efl_core.pennylane.differentiated import recorded, slopes_of
from efl_core.pennylane.execution import Program, Run, submit
from efl_core.pennylane.jobs.wanted import Wanted, read_tape
from efl_core.pennylane.keys import same_gates
from efl_core.pennylane.options import Options
from efl_core.pennylane.planning import Costs, Figure, kept_plan
from efl_core.pennylane.qnodes import tape_of
from efl_core.pennylane.tapes.writing import Writer
from efl_core.plans import Plan, PlanOptions
from efl_core.training.directions import natural_length
from efl_core.training.sources import Designed, Request

if TYPE_CHECKING:
    from efl_core.training.sources import Run as Execute

__all__ = ["Model"]

# Points whose tapes are kept: both ends of a direction, where the loss is measured, and the last gradient.
POINTS = 8


@dataclass(frozen=True, eq=False)
class Point:
    """The QNode at some parameters."""

    wanted: Wanted
    slopes: NDArray[np.float64]
    """Of the circuit's parameters by the user's, shape ``(circuit.n_parameters, n_parameters)``."""

    @property
    def circuit(self) -> Circuit:
        """The circuit there."""
        return self.wanted.circuit

    @cached_property
    def program(self) -> Program:
        """The circuit of the tape itself."""
        return Program(lambda: self.wanted.tape.operations)

    @cached_property
    def writer(self) -> Writer:
        """What writes the circuits of experiments."""
        return Writer(self.wanted.tape, self.wanted.circuit)


class Model:
    """A QNode of one expectation value, as a function of one array."""

    def __init__(self, qnode: object, params: Any) -> None:  # noqa: ANN401 (an array of any interface)
        if not isinstance(qnode, qml.QNode):
            raise InputTypeError.of("circuit", "a Circuit, a Plan or a PennyLane QNode", described(qnode))
        if params is None:
            raise InvalidInputError.of(
                "params", "the array of parameters that a QNode starts at, beside it", params
            )
        given = array("params", cast("ArrayLike", params), "numbers")
        if given.dtype.kind not in "fiu" or not np.isfinite(given).all():
            raise InvalidInputError.of("params", "finite real numbers", described(params))
        self._qnode, self._shape = qnode, given.shape
        self._points: OrderedDict[bytes, Point] = OrderedDict()
        self._of_vector: tuple[bytes, Point] | None = None
        self._first: Circuit | None = None
        self.parameters = np.array(given, dtype=np.float64).ravel()
        """Where the run starts, flat."""
        self._first = self.at(self.parameters)
        if not self._first.n_parameters:
            raise InvalidInputError.of("params", "numbers that a gate depends on", described(params))

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of the user's array."""
        return self._shape

    @property
    def n_parameters(self) -> int:
        """How many numbers the user's array has."""
        return len(self.parameters)

    @property
    def loss(self) -> PauliSum:
        """The observable of the QNode."""
        assert self._first is not None
        return self._first.observables[0]

    def length(self) -> float:
        """Return how far the user's numbers can move until the loss is another function."""
        point = self.point(self.parameters)
        return natural_length(point.circuit, self.loss, point.slopes)

    def at(self, parameters: NDArray[np.float64]) -> Circuit:
        """Return the circuit at some parameters, ready to be run."""
        return self.point(parameters).circuit

    def point(self, parameters: NDArray[np.float64]) -> Point:
        """Return the QNode at some parameters."""
        vector = np.asarray(parameters, dtype=np.float64)
        key = vector.tobytes()
        if self._of_vector is None or self._of_vector[0] != key:
            self._of_vector = key, self._read(vector)
        found = self._of_vector[1]
        # By its angles, which other copies of the circuit share.
        place = found.circuit._theta.tobytes()
        self._points[place] = found
        self._points.move_to_end(place)
        while len(self._points) > POINTS:
            self._points.popitem(last=False)
        return found

    def _read(self, vector: NDArray[np.float64]) -> Point:
        args = [pnp.array(vector.reshape(self._shape), requires_grad=True)]
        [tape] = recorded(lambda *values: [tape_of(self._qnode, values, {})], args, [0])
        if tape.batch_size is not None:
            raise InvalidInputError(f"circuit: expected one circuit, got a broadcast of {tape.batch_size}")
        wanted = read_tape(tape, Options(shots=1))
        if wanted.outputs.n_rows != 1 or not wanted.outputs.is_linear:
            raise InvalidInputError(
                f"circuit: expected one expectation value to be made small, got {tape.measurements}; "
                "write their sum as one observable"
            )
        if wanted.coefficients:
            raise InvalidInputError(
                "params: expected numbers that turn gates, got some that are coefficients of the observable"
            )
        circuit = wanted.circuit
        if self._first is not None and not (
            same_gates(circuit, self._first) and np.array_equal(circuit.inputs, self._first.inputs)
        ):
            raise InvalidInputError(
                "circuit: expected the same gates and fixed angles at all parameters, got others"
            )
        slopes = slopes_of(tape) if circuit.n_parameters else None
        table = np.zeros((0, vector.size)) if slopes is None else slopes[list(wanted.by_gates)]
        return Point(wanted, np.ascontiguousarray(table))

    def designed(self, method: str | None, run: "Execute") -> Designed:
        """Return the designed settings, echoes and shifts of its gradient: of a method, or the best."""
        point = self.point(self.parameters)
        circuit = point.circuit
        chain = Chain.of(point.slopes, circuit.n_parameters)
        base, by_shots = kept_plan(circuit, PlanOptions()), Figure(None, math.inf, PlanOptions().target)
        methods = Costs.of(base, chain, by_shots).promising_lists if method is None else [base[method].name]
        return OfArguments(self, base.through(chain, circuit, methods), run, method)

    def run(self, requests: Sequence[Request], seed: int) -> list[NDArray[np.uint8]]:
        """Run requests on the QNode's device, as one batch."""
        device = self._qnode.device
        jobs, wires = [], requests[0].circuit.wires
        for request in requests:
            point = self._points[request.circuit._theta.tobytes()]
            program = point.program
            if request.experiment is not None and not request.experiment.served:
                write = partial(point.writer.operations, request.experiment)
                program = Program(write, request.experiment, point.circuit)
            jobs.append(Run(program, request.setting, request.shots))
        submission = submit(jobs, wires, mode=None, seed=seed, device=device)
        results = qml.execute(submission.tapes, device, diff_method=None) if submission.tapes else []
        found: list[Any] = submission.read(results)
        return found


class OfArguments(Designed):
    """The designs of a plan, read for the derivatives by the user's numbers.

    Designs weigh the parameters of the circuit by their slopes where the run began; values and errors have
    those of the step.
    """

    def __init__(self, model: Model, made: Plan, run: "Execute", method: str | None) -> None:
        super().__init__(made, run, method)
        self._model, self._slopes = model, np.zeros((0, 0))

    def _at(self, parameters: NDArray[np.float64]) -> Plan:
        point = self._model.point(parameters)
        self._slopes = point.slopes
        return super()._at(point.circuit.parameters)

    def _read(
        self, counted: list[_native.Outcomes], count: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        value, _ = super()._read(counted, count)
        rows = np.ascontiguousarray(self._slopes.T)
        return value @ self._slopes, np.asarray(_native.read_combined(counted, rows)).ravel()
