"""The training loop: measure, step, and ask for as many shots as the next step needs.

Invariant: a run is a function of its arguments and its seed; one that is taken up again goes on as if it had
not stopped. Cost: that of a plan, and for every step the words of the gradient.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core._native import METHODS
from efl_core.arguments import array, described, integer, real
from efl_core.circuits import Circuit
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.observables import Observable, PauliSum, read_sum
from efl_core.plans import Cost, Plan, plan
from efl_core.training.directions import REACH, Directions, natural_length
from efl_core.training.history import History, Step
from efl_core.training.optimizers import Optimizer, Update, read_optimizer
from efl_core.training.pace import LEAST_STEPS, Budget, Pace, Progress, shots_per_setting
from efl_core.training.points import Points
from efl_core.training.sources import Designed, Measured, Movable, Run, Source, simulated
from efl_core.training.surface import MOST_NOISY, MOST_PARAMETERS, Surface
from efl_core.training.values import Loss

if TYPE_CHECKING:
    from pennylane import QNode

__all__ = ["Trainer"]

LARGEST = 10**9
# Shots of a setting, where shots cost nothing.
MOST_PER_SETTING = 1000
# A design says what its shots leave, not what its settings differ by, of which a step draws a few: directions
# are taken up to as much more variance as they have for a single rotation, whose design has one setting.
ALIKE = 0.98 / REACH**2
# Values of the loss are averaged over about 10, 40 and 200 steps.
FORGET = (0.8, 0.95, 0.99)
# A goal is reached where the mean is so many standard errors below, and is of five steps at least.
SURE = 2.0
LEAST_KNOWN = 5
# What the loss gets beside gradients, where a goal asks for it, and from how many shots on it is measured.
VALUES, FEWEST_VALUES = 0.2, 4
# Values of a surface are nearly exact where a circuit costs as much as so many shots: each has a part of that
# in shots, some at least; otherwise as few as can be. And a part of all shots before, so that late values are
# not lost among them.
DEAR, PART, EXACT_FEWEST, NOISY_FEWEST = 100, 1 / 3, 16, 4
EXACT_SHARE, NOISY_SHARE = 1 / 20, 1 / 50


Taken: TypeAlias = tuple[list[int], float, float, bool]
"""Of a step: its shots and circuits, the norm of the gradient, its error, and whether none is left to see."""


class Trainer:
    """A training run of a circuit: iterate it, step by step, or `run` it.

    It minimises the expectation value of an observable. A step runs a few settings of the plan's best list,
    drawn by their shares, with as many shots as make the noise ``noise`` times as large as the gradient: few
    at first, more as the gradient falls. Where few parameters feed many gates it compares the loss in random
    directions instead, which is biased a little, or, up to 4 parameters, and up to 8 where circuits cost
    much, models the loss from all that was measured (``method`` says which is taken).

    Parameters
    ----------
    circuit
        The circuit, or a `Plan` of it; its parameters are where the run starts. Or a PennyLane QNode of one
        array that returns one ``qml.expval``, which is trained on its own device.
    loss
        The observable that is minimised; by default the circuit's own. After a QNode, which has its own,
        the array that it starts at, of any shape: ``efl.Trainer(qnode, params)``.
    optimizer
        ``"adam"``, ``"descent"``, an object with `update`, or a function of parameters and gradient, both
        flat, that returns the next parameters. By default Adam, where gradients are measured.
    lr
        The learning rate of an optimizer that is named; if not given 0.1, for Adam with random directions
        what the circuit's angles suggest.
    shots
        Shots of every step; by default they follow the gradient.
    settings_per_step
        Settings of every step at most; by default what ``cost`` makes best.
    noise
        How large the noise of a step may be, beside the gradient; if not given 3, with random directions 12.
        Smaller steps average more of it: with a low learning rate it can be larger.
    method
        ``"auto"`` (if not given), a method of `plan`, ``"directions"``, ``"surface"`` (a model of the loss,
        for 8 parameters at most), or a source: `efl_core.training.Points`, or an object of your own like
        `efl_core.training.Source`.
    budget
        A `Budget`, where the run ends.
    goal
        The run ends where the loss is below, by two standard errors. Beside gradients a sixth of the shots is
        then for the loss; a surface knows it.
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
        optimizer: str | Optimizer | Update | None = None,
        lr: SupportsFloat | None = None,
        shots: SupportsIndex | None = None,
        settings_per_step: SupportsIndex | None = None,
        noise: SupportsFloat | None = None,
        method: str | Source | Surface = "auto",
        budget: Budget | None = None,
        goal: SupportsFloat | None = None,
        cost: Cost | None = None,
        seed: SupportsIndex = 0,
        execute: Run = simulated,
    ) -> None:
        self.cost = Cost() if cost is None else cost
        # What an optimizer is asked for, it gets.
        plain = optimizer is None and lr is None and noise is None
        self._dear = shots_per_setting(self.cost) ** 2 >= DEAR
        made = _problem(circuit, loss, method, execute, self._dear, plain)
        self._circuit, self._loss, self._source, start = made.circuit, made.loss, made.source, made.start
        self._shape = start.shape
        if isinstance(self._source, Surface):
            if not plain:
                raise InvalidInputError.of("method", "a gradient beside optimizer, lr or noise", "'surface'")
            ratio, least, usual = 1.0, NOISY_FEWEST, 0.1
        else:
            ratio = self._source.noise if noise is None else real("noise", noise)
            least, usual = self._source.least, self._source.rate
        self._optimizer = read_optimizer("adam" if optimizer is None else optimizer, lr, usual)
        self.budget = Budget() if budget is None else budget
        self._goal = None if goal is None else real("goal", goal)
        if goal is not None and isinstance(self._source, Points):
            raise InvalidInputError.of("goal", "none beside points, whose loss is not measured", self._goal)
        self._seed = integer("seed", seed, 0, 2**63 - 1)
        if not (np.isfinite(ratio) and ratio > 0):
            raise InvalidInputError.of("noise", "a number above zero", ratio)
        number = None if settings_per_step is None else integer("settings_per_step", settings_per_step, 1)
        self._settings = number
        self._values = Loss(self._loss, made.run)
        self._fixed = None if shots is None else integer("shots", shots, 2)
        few = max(least, int(min(shots_per_setting(self.cost), MOST_PER_SETTING)))
        self._pace = Pace(ratio, self._fixed or few, self._fixed or LARGEST)
        self._progress = Progress()
        self._parameters = np.array(start, dtype=np.float64).ravel()
        self._totals = [0, 0]
        self._means = [[0.0, 0.0, 0.0] for _ in FORGET]
        self._seen = 0
        self._owed = [0.0, 0.0]
        self.history = History()
        """What every step took and found."""
        self.stopped: str | None = None
        """Why the run ended: ``"goal"``, ``"converged"`` or the bound of the budget; None before."""

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
        """The loss and its standard error; None where it is not measured.

        Beside gradients it is a running mean, over as many steps as make the bound on the loss lowest; a
        surface knows the loss where the parameters are.
        """
        if isinstance(self._source, Surface):
            return self._source.value
        if not self._seen:
            return None
        found = [(total / weight, float(np.sqrt(known)) / weight) for total, known, weight in self._means]
        return min(found, key=lambda mean: mean[0] + SURE * mean[1])

    def step(self) -> Step:
        """Measure, and take a step."""
        number = len(self.history)
        if isinstance(self._source, Surface):
            took, gradient, error, ended = self._looked(self._source, number)
        else:
            took, gradient, error, ended = self._descended(self._source, number)
        self._totals = [total + own for total, own in zip(self._totals, took, strict=True)]
        value = self.value
        made = Step(
            number=number,
            shots=took[0],
            circuits=took[1],
            total_shots=self._totals[0],
            total_circuits=self._totals[1],
            cost=self.cost.of(self._totals[1], self._totals[0]),
            gradient=gradient,
            error=error,
            value=None if value is None else value[0],
            value_error=None if value is None else value[1],
        )
        self.history.append(made)
        self.stopped = self._end(made) or ("converged" if ended else None)
        return made

    def _within(self, shots: float) -> int:
        """Return so many shots, or what is left of the budget."""
        left = self.budget.left(self._totals[0])
        return int(shots) if left is None else max(2, min(int(shots), left))

    def _draws(self, shots: int) -> int:
        return self._settings or max(1, round(shots / shots_per_setting(self.cost)))

    def _descended(self, source: Source, number: int) -> Taken:
        """Measure a gradient and follow it."""
        shots = self._within(self._pace.shots())
        found = source.measure(self._parameters, shots, self._draws(shots), number, self._seed)
        gradient, variance = found.gradient.tolist(), float(found.variance.sum())
        self._pace.add(gradient, variance, max(found.shots, 1))
        ended = self._progress.add(gradient, variance, found.shots)
        took = [found.shots, found.circuits]
        self._note_value(found, number, took)
        self._parameters = self._updated(found.gradient)
        return took, float(np.linalg.norm(found.gradient)), float(np.sqrt(variance)), ended

    def _looked(self, surface: Surface, number: int) -> Taken:
        """Measure the loss where it may be lowest, and go where it is known to be low."""
        point = surface.next(np.random.default_rng((self._seed, number)))
        least, share = float(NOISY_FEWEST), NOISY_SHARE
        if not surface.noisy:
            usual = min(PART * shots_per_setting(self.cost) ** 2, MOST_PER_SETTING)
            least, share = max(EXACT_FEWEST, usual), EXACT_SHARE
        shots = self._within(self._fixed or min(max(least, share * self._totals[0]), LARGEST))
        at = [self._circuit.at(point)]
        found = self._values.measure(at, self._draws(shots), shots, number, self._seed)
        surface.add(point, *found.combined([1.0]))
        self._parameters = surface.best
        slope, variance = surface.slope
        ended = self._progress.judge(float(slope @ slope), variance, 1.0, number >= LEAST_STEPS)
        return [found.shots, found.circuits], float(np.linalg.norm(slope)), float(np.sqrt(variance)), ended

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
        """Keep running means of the loss; measure it, where only a goal asks for it."""
        value, variance = found.value, found.value_variance
        if value is None and self._goal is not None:
            self._owed = [owed + VALUES * own for owed, own in zip(self._owed, took, strict=True)]
            shots, draws = (int(owed) for owed in self._owed)
            if shots >= FEWEST_VALUES and draws >= 1:
                at = [self._circuit.at(self._parameters)]
                seen = self._values.measure(at, draws, shots, number, self._seed)
                value, variance = seen.combined([1.0])
                self._owed = [self._owed[0] - shots, self._owed[1] - draws]
                took[0] += seen.shots
                took[1] += seen.circuits
        if value is None:
            return
        self._seen += 1
        for keep, mean in zip(FORGET, self._means, strict=True):
            part = 1 - keep
            mean[:] = (
                keep * mean[0] + part * value,
                keep**2 * mean[1] + part**2 * variance,
                keep * mean[2] + part,
            )

    def _end(self, made: Step) -> str | None:
        value = self.value
        # A lucky draw at the start is no proof.
        if self._goal is not None and value is not None and self._known(made.number):
            mean, error = value
            if mean + SURE * error <= self._goal:
                return "goal"
        return self.budget.spent(
            shots=made.total_shots, circuits=made.total_circuits, cost=made.cost, steps=made.number + 1
        )

    def _known(self, number: int) -> bool:
        return (number + 1 if isinstance(self._source, Surface) else self._seen) >= LEAST_KNOWN

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
            "progress": self._progress.to_dict(),
            "source": self._source.to_dict(),
            "means": [list(mean) for mean in self._means],
            "seen": self._seen,
            "owed": list(self._owed),
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
        self._progress.restore(state["progress"])
        self._source.restore(state["source"])
        self._means = [[float(v) for v in mean] for mean in state["means"]]
        self._seen = int(state["seen"])
        self._owed = [float(v) for v in state["owed"]]
        self.history = History([Step(**step) for step in state["history"]])
        last = self.history[-1] if len(self.history) else None
        self._totals = [0, 0] if last is None else [last.total_shots, last.total_circuits]
        self.stopped = state["stopped"]
        return self

    def __repr__(self) -> str:
        return f"Trainer({len(self._parameters)} parameters, {self.method!r}, {self.history!r})"


@dataclass(frozen=True, slots=True, eq=False)
class Problem:
    """What is trained: what has circuits, the loss, what runs circuits, the start, and what is measured."""

    circuit: Movable
    loss: PauliSum
    run: Run
    start: NDArray[np.float64]
    source: Source | Surface


def _problem(
    circuit: object,
    loss: Any,  # noqa: ANN401 (an observable, or a QNode's array)
    method: str | Source | Surface,
    execute: Run,
    dear: bool,
    free: bool,
) -> Problem:
    if isinstance(circuit, (Circuit, Plan)):
        return _of_circuit(circuit, loss, method, execute, dear, free)
    if not callable(circuit):
        raise InputTypeError.of("circuit", "a Circuit, a Plan or a PennyLane QNode", described(circuit))
    if execute is not simulated:
        raise InvalidInputError.of(
            "execute", "none for a QNode, whose device runs the circuits", described(execute)
        )
    from efl_core.pennylane.training import Model

    model = Model(circuit, loss)
    start = model.parameters.reshape(model.shape)
    ways = Ways(model, model.loss, model.run, model.parameters, model.length, model.designed)
    return Problem(model, model.loss, model.run, start, ways.chosen(method, dear, free))


def _of_circuit(
    circuit: Circuit | Plan, loss: object, method: str | Source | Surface, run: Run, dear: bool, free: bool
) -> Problem:
    made, circuit = (circuit, circuit.circuit) if isinstance(circuit, Plan) else (None, circuit)
    if not circuit.n_parameters:
        raise InvalidInputError.of("circuit", "one with parameters", f"{circuit!r}")
    observable = _loss(circuit, loss, made)

    def designed(asked: str | None, run: Run) -> Designed:
        return Designed(plan(circuit, observable) if made is None else made, run, asked)

    def length() -> float:
        return natural_length(circuit, observable)

    ways = Ways(circuit, observable, run, circuit.parameters, length, designed)
    return Problem(circuit, observable, run, circuit.parameters, ways.chosen(method, dear, free))


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


@dataclass(frozen=True, slots=True, eq=False)
class Ways:
    """The ways to train a loss, and which is the cheapest."""

    circuit: Movable
    loss: PauliSum
    run: Run
    start: NDArray[np.float64]
    length: Callable[[], float]
    designed: Callable[[str | None, Run], Designed]

    def chosen(self, method: str | Source | Surface, dear: bool, free: bool) -> Source | Surface:
        """Return the way that is asked for, or the cheapest.

        Circuits may be ``dear``, and whether there is an optimizer may be ``free``.
        """
        if not isinstance(method, str):
            if isinstance(method, Surface):
                return method
            if not all(hasattr(method, name) for name in ("measure", "noise", "rate", "least")):
                expected = "the name of a method, or a source with measure, noise, rate and least"
                raise InputTypeError.of("method", expected, described(method))
            return method
        if method not in ("auto", "directions", "surface", *METHODS):
            known = f"'auto', 'directions', 'surface' or one of {', '.join(METHODS)}"
            raise InvalidInputError.of("method", known, repr(method))
        number = self.circuit.n_parameters
        if method == "surface":
            if number > MOST_PARAMETERS:
                expected = f"at most {MOST_PARAMETERS} parameters for 'surface'"
                raise InvalidInputError.of("method", expected, number)
            return self._surface(self._directions(), dear)
        if method == "directions":
            return self._directions()
        if method != "auto":
            return self.designed(method, self.run)
        directions, designed = self._directions(), self.designed(None, self.run)
        if directions.spread > ALIKE * designed.spread:
            return designed
        few = number <= (MOST_PARAMETERS if dear else MOST_NOISY)
        return self._surface(directions, dear) if free and few else directions

    def _directions(self) -> Directions:
        return Directions(self.circuit, self.loss, self.run, REACH * self.length())

    def _surface(self, directions: Directions, dear: bool) -> Surface:
        return Surface(self.start.ravel(), directions.distance / REACH, directions.square, not dear)
