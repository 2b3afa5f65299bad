"""The training loop: measure, step, and ask for as many shots as the next step needs.

Invariant: a run is a function of its arguments and its seed; one that is taken up again goes on as if it had
not stopped. Cost: that of a plan, and for every step the words of the gradient.
"""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core._native import METHODS
from efl_core.arguments import array, described, integer, real
from efl_core.circuits import Circuit
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.observables import Observable, PauliSum, read_sum
from efl_core.plans import Cost, Plan, plan
from efl_core.training.history import History, Step
from efl_core.training.optimizers import Optimizer, Update, read_optimizer
from efl_core.training.pace import Budget, Pace, shots_per_setting
from efl_core.training.sources import (
    Designed,
    Directions,
    Loss,
    Measured,
    Movable,
    Run,
    Source,
    simulated,
)

if TYPE_CHECKING:
    from pennylane import QNode

__all__ = ["Trainer"]

LARGEST = 10**9
# Shots of a setting, where shots cost nothing.
MOST_PER_SETTING = 1000
# Random directions have noise of their own: they are taken where one shot says so much more.
ADVANTAGE = 1.5
# Values of the loss are averaged over about so many steps.
FORGET = 0.8
# A goal is reached where the mean is so many standard errors below, and is of five steps at least.
SURE = 2.0
LEAST_KNOWN = 1 - FORGET**4.5
# What the loss gets beside a gradient, where only a goal asks for it.
VALUES = 0.1


class Trainer:
    """A training run of a circuit: iterate it, step by step, or `run` it.

    It minimises the expectation value of an observable. A step runs a few settings of the plan's best list,
    drawn by their shares, with as many shots as make the noise ``noise`` times as large as the gradient: few
    at first, more as the gradient falls. Where few parameters feed many gates it compares the loss in random
    directions instead, which is biased a little (``method`` says which is taken).

    Parameters
    ----------
    circuit
        The circuit, or a `Plan` of it; its parameters are where the run starts. Or a PennyLane QNode of one
        array that returns one ``qml.expval``, which is trained on its own device.
    loss
        The observable that is minimised; by default the circuit's own. After a QNode, which has its own,
        the array that it starts at, of any shape: ``efl.Trainer(qnode, params)``.
    optimizer
        ``"adam"`` (if not given), ``"descent"``, an object with `update`, or a function of parameters and
        gradient, both flat, that returns the next parameters.
    lr
        The learning rate of an optimizer that is named; 0.1 if not given.
    shots
        Shots of every step; by default they follow the gradient.
    settings_per_step
        Settings of every step at most; by default what ``cost`` makes best.
    noise
        How large the noise of a step may be, beside the gradient; 3 if not given. Smaller steps average more
        of it: with a low learning rate it can be larger.
    method
        ``"auto"`` (if not given), a method of `plan`, ``"directions"``, or a source of your own: an object
        with the attributes of `efl_core.training.Source`.
    budget
        A `Budget`, where the run ends.
    goal
        The run ends where the running mean of the loss is below, by two standard errors. Random directions
        measure the loss anyway; beside designed settings a tenth of the shots is for it.
    cost
        A `Cost`: what circuits and shots take; by default circuits cost nothing.
    seed
        Of the shots; 0 if not given.
    execute
        What runs circuits: from requests and a seed to bits; by default a simulator. A QNode has a device.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    >>> trainer = efl.Trainer(circuit.clifford("CZ", 0, 1), {"ZI": 1.0, "IZ": 0.5}, seed=1)
    >>> history = trainer.run(steps=60)
    >>> bool(abs(np.cos(trainer.parameters) + 1).max() < 0.1), history[-1].total_shots < 5000
    (True, True)
    """

    def __init__(
        self,
        circuit: "Circuit | Plan | QNode",
        loss: Observable | ArrayLike | None = None,
        *,
        optimizer: str | Optimizer | Update = "adam",
        lr: SupportsFloat | None = None,
        shots: SupportsIndex | None = None,
        settings_per_step: SupportsIndex | None = None,
        noise: SupportsFloat = 3.0,
        method: str | Source = "auto",
        budget: Budget | None = None,
        goal: SupportsFloat | None = None,
        cost: Cost | None = None,
        seed: SupportsIndex = 0,
        execute: Run = simulated,
    ) -> None:
        if not isinstance(circuit, (Circuit, Plan)):
            found = _of_qnode(circuit, loss, method, execute)
        else:
            found = _of_circuit(circuit, loss, method, execute)
        self._circuit, self._loss, self._source, execute, start = found
        self._shape = start.shape
        self._optimizer = read_optimizer(optimizer, lr)
        self.budget = Budget() if budget is None else budget
        self.cost = Cost() if cost is None else cost
        self._goal = None if goal is None else real("goal", goal)
        self._seed = integer("seed", seed, 0, 2**63 - 1)
        ratio = real("noise", noise)
        if not (np.isfinite(ratio) and ratio > 0):
            raise InvalidInputError.of("noise", "a number above zero", ratio)
        number = None if settings_per_step is None else integer("settings_per_step", settings_per_step, 1)
        self._settings = number
        self._values = Loss(self._loss, execute)
        fixed = None if shots is None else integer("shots", shots, 2)
        self._pace = Pace(ratio, fixed or self._least(), fixed or LARGEST)
        self._parameters = np.array(start, dtype=np.float64).ravel()
        self._totals = [0, 0]
        self._value = [0.0, 0.0, 0.0]
        self.history = History()
        """What every step took and found."""
        self.stopped: str | None = None
        """Why the run ended: ``"goal"``, or the bound of the budget; None while it goes on."""

    def _least(self) -> int:
        return max(4, int(min(shots_per_setting(self.cost), MOST_PER_SETTING)))

    @property
    def parameters(self) -> NDArray[np.float64]:
        """The parameters after the last step; for a QNode in the shape that they were given in."""
        return self._parameters.reshape(self._shape).copy()

    @property
    def method(self) -> str:
        """How gradients are measured."""
        return self._source.name

    @property
    def value(self) -> tuple[float, float] | None:
        """The running mean of the loss and its standard error; None where it is not measured."""
        total, variance, weight = self._value
        return (total / weight, np.sqrt(variance) / weight) if weight else None

    def step(self) -> Step:
        """Measure a gradient, and take a step."""
        number = len(self.history)
        shots = self._pace.shots()
        left = self.budget.left(self._totals[0])
        if left is not None:
            shots = max(2, min(shots, left))
        settings = self._settings or max(1, round(shots / shots_per_setting(self.cost)))
        found = self._source.measure(self._parameters, shots, settings, number, self._seed)
        self._pace.add(found.gradient.tolist(), float(found.variance.sum()), max(found.shots, 1))
        took = [found.shots, found.circuits]
        self._note_value(found, number, took)
        self._totals = [total + own for total, own in zip(self._totals, took, strict=True)]
        self._parameters = self._updated(found.gradient)
        value = self.value
        made = Step(
            number=number,
            shots=took[0],
            circuits=took[1],
            total_shots=self._totals[0],
            total_circuits=self._totals[1],
            cost=self.cost.of(self._totals[1], self._totals[0]),
            gradient=float(np.linalg.norm(found.gradient)),
            error=float(np.sqrt(found.variance.sum())),
            value=None if value is None else value[0],
            value_error=None if value is None else value[1],
        )
        self.history.append(made)
        self.stopped = self._end(made)
        return made

    def _updated(self, gradient: NDArray[np.float64]) -> NDArray[np.float64]:
        found = np.asarray(self._optimizer.update(self._parameters.copy(), gradient), dtype=np.float64)
        if found.shape != self._parameters.shape:
            raise ShapeError.of("optimizer", f"{self._parameters.shape} from update", found.shape)
        if not np.isfinite(found).all():
            raise InvalidInputError(
                "optimizer: expected finite parameters from update, got some that are not"
            )
        return found

    def _note_value(self, found: Measured, number: int, took: list[int]) -> None:
        """Keep the running mean of the loss; measure it, where only a goal asks for it."""
        value, variance = found.value, found.value_variance
        if value is None and self._goal is not None:
            draws = max(2, round(VALUES * took[1]))
            shots = max(draws, round(VALUES * took[0]))
            at = [self._circuit.at(self._parameters)]
            (seen,), more, circuits = self._values.measure(at, draws, shots, number, self._seed)
            value = self._values.constant + float(np.mean(seen))
            variance = float(np.var(seen)) / draws + self._values.square / (shots * draws)
            took[0] += more
            took[1] += circuits
        if value is None:
            return
        part = 1 - FORGET
        total, known, weight = self._value
        self._value = [
            FORGET * total + part * value,
            FORGET**2 * known + part**2 * variance,
            FORGET * weight + part,
        ]

    def _end(self, made: Step) -> str | None:
        value = self.value
        # A lucky draw at the start is no proof.
        if self._goal is not None and value is not None and self._value[2] > LEAST_KNOWN:
            mean, error = value
            if mean + SURE * error <= self._goal:
                return "goal"
        return self.budget.spent(
            shots=made.total_shots, circuits=made.total_circuits, cost=made.cost, steps=made.number + 1
        )

    def __iter__(self) -> Iterator[Step]:
        while self.stopped is None:
            yield self.step()

    def run(
        self, steps: SupportsIndex | None = None, callback: Callable[[Step], object] | None = None
    ) -> History:
        """Take steps until the goal or the budget is reached, and return the history.

        ``steps`` is how many at most, and ``callback`` is called after each.
        """
        most = None if steps is None else integer("steps", steps, 1)
        bounded = any(b is not None for b in (self.budget.shots, self.budget.circuits, self.budget.cost))
        if most is None and self.budget.steps is None and not bounded:
            raise InvalidInputError("steps: expected a number, where there is no budget, got None")
        for made in self:
            if callback is not None:
                callback(made)
            if most is not None and (most := most - 1) == 0:
                break
        return self.history

    def to_dict(self) -> dict[str, Any]:
        """Return what the run has come to, ready for JSON; `restore` goes on from there."""
        return {
            "parameters": self._parameters.tolist(),
            "optimizer": self._optimizer.to_dict(),
            "pace": self._pace.to_dict(),
            "source": self._source.to_dict(),
            "value": list(self._value),
            "history": self.history.to_dict(),
            "stopped": self.stopped,
        }

    def restore(self, state: dict[str, Any]) -> "Trainer":
        """Take over what `to_dict` returned, in a trainer that was made with the same arguments."""
        missing = [name for name in self.to_dict() if name not in state]
        if missing:
            raise InvalidInputError.of("state", "what to_dict returned", f"one without {missing[0]!r}")
        found = array("parameters", state["parameters"], "parameters").astype(np.float64)
        if found.shape != self._parameters.shape:
            raise ShapeError.of("state", f"{len(self._parameters)} parameters", found.shape)
        self._parameters = found
        self._optimizer.restore(state["optimizer"])
        self._pace.restore(state["pace"])
        self._source.restore(state["source"])
        self._value = [float(v) for v in state["value"]]
        self.history = History([Step(**step) for step in state["history"]])
        last = self.history[-1] if len(self.history) else None
        self._totals = [0, 0] if last is None else [last.total_shots, last.total_circuits]
        self.stopped = state["stopped"]
        return self

    def __repr__(self) -> str:
        return f"Trainer({len(self._parameters)} parameters, {self.method!r}, {self.history!r})"


Problem: TypeAlias = tuple[Movable, PauliSum, Source, Run, NDArray[np.float64]]
"""What is trained: what has circuits, the loss, the way to gradients, what runs circuits, and the start."""


def _of_circuit(circuit: Circuit | Plan, loss: object, method: str | Source, execute: Run) -> Problem:
    made, circuit = (circuit, circuit.circuit) if isinstance(circuit, Plan) else (None, circuit)
    if not circuit.n_parameters:
        raise InvalidInputError.of("circuit", "one with parameters", f"{circuit!r}")
    observable = _loss(circuit, loss, made)

    def designed(asked: str | None) -> Source:
        return Designed(plan(circuit, observable) if made is None else made, execute, asked)

    source = _source(Directions(circuit, observable, execute), designed, method)
    return circuit, observable, source, execute, circuit.parameters


def _of_qnode(qnode: object, params: object, method: str | Source, execute: Run) -> Problem:
    if not callable(qnode):
        raise InputTypeError.of("circuit", "a Circuit, a Plan or a PennyLane QNode", described(qnode))
    if execute is not simulated:
        raise InvalidInputError.of(
            "execute", "none for a QNode, whose device runs the circuits", described(execute)
        )
    from efl_core.pennylane.training import Model

    model = Model(qnode, params)
    directions = Directions(model, model.loss, model.run)
    source = _source(directions, lambda asked: model.designed(asked, model.run), method)
    return model, model.loss, source, model.run, model.parameters.reshape(model.shape)


def _loss(circuit: Circuit, loss: Any, made: Plan | None) -> PauliSum:  # noqa: ANN401 (checked when it is read)
    if made is not None:
        if loss is not None:
            raise InvalidInputError.of("loss", "none beside a plan, which has its own", described(loss))
        known = tuple(made.observables)
    else:
        known = circuit.observables
    if loss is not None:
        return read_sum("loss", loss, circuit.n_qubits)
    if len(known) != 1:
        raise InvalidInputError.of("loss", "an observable, as the circuit has not one of its own", len(known))
    return known[0]


def _source(directions: Directions, design: Callable[[str | None], Source], method: str | Source) -> Source:
    if not isinstance(method, str):
        if not hasattr(method, "measure"):
            raise InputTypeError.of("method", "the name of a method, or a source", described(method))
        return method
    if method not in ("auto", "directions", *METHODS):
        known = f"'auto', 'directions' or one of {', '.join(METHODS)}"
        raise InvalidInputError.of("method", known, repr(method))
    if method == "directions":
        return directions
    designed = design(None if method == "auto" else method)
    return directions if method == "auto" and ADVANTAGE * directions.spread < designed.spread else designed
