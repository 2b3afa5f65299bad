"""What a gradient will cost: every way of measuring it, side by side, before a shot is taken.

`plan` looks at a circuit, designs each method for it, predicts the variance of every derivative, and says
which method needs the fewest shots. A `Plan` also says what to run: settings of the final state
(`Plan.ensemble`), or circuits with what their outcomes mean (`Plan.experiments`).

Derivatives are those by the parameters of a circuit; those of a QNode are by its arguments, through what
its parameters are computed by.

All predictions are for the maximally mixed state, the mean over all states: known without data and the same
for every method. `Plan.exact_error` is for the state that is prepared, by simulation.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from numbers import Number
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core._native import TIE
from efl_core.arguments import array, described, integer, listed
from efl_core.chains import Chain
from efl_core.circuits import Circuit, given_sums, simulate
from efl_core.designs import Goal, read_goal
from efl_core.ensembles import Ensemble
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.experiments import Experiment
from efl_core.observables import Observable, PauliSum
from efl_core.plan_options import Cost, PlanKeywords, PlanOptions
from efl_core.plan_table import as_dict, as_html, as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pennylane import QNode

__all__ = [
    "Cost",
    "Plan",
    "PlanKeywords",
    "PlanOptions",
    "PlanRow",
    "Simulated",
    "made_plan",
    "plan",
    "preferred",
]


@dataclass(frozen=True, slots=True, eq=False)
class PlanRow:
    """A method in a plan."""

    name: str
    """Which method."""
    shots: int | None
    """Shots for the target, all circuits together; a bound is at least that; None if it does not apply."""
    worst_shots: int | None
    """Shots until the worst derivative has the target error."""
    settings: int | None
    """Different settings, all circuits together; None if one is drawn for every shot."""
    circuits: int
    """Different circuits before the measurement."""
    extra_gates: int
    """Gates of the largest circuit beyond the original one, rotations of settings included."""
    extra_two_qubit_gates: int
    """Two-qubit gates among them."""
    extra_depth: int
    """Their depth."""
    served: bool
    """Whether all shots are of the final state, as those of served answers are."""
    bound: bool
    """Whether the figures are only bounds from below."""
    note: str | None
    """Why the method does not apply, or why there is only a bound."""
    cost: float
    """The variance of one shot, averaged over the derivatives that are not identically zero."""
    variances: NDArray[np.float64] | None
    """That of every derivative, shape ``(n_observables, n_parameters)``; 0 if it is not measured.

    For a QNode, by its arguments: ``(n_observables, n_arguments)``."""
    gain: float | None
    """How many times more shots the former design needs at these angles; None in a first plan."""

    @property
    def applies(self) -> bool:
        """Whether the method can be run."""
        return self.shots is not None and not self.bound


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A gradient from simulated shots."""

    gradient: NDArray[np.float64]
    """Estimated derivatives, shape ``(n_observables, n_parameters)``."""
    stderr: NDArray[np.float64]
    """Their standard errors."""
    shots: int
    """Shots used."""

    def __repr__(self) -> str:
        rms = float(np.sqrt(np.mean(np.square(self.stderr)))) if self.stderr.size else 0.0
        return f"Simulated({self.gradient.shape[-1]} parameters, rms stderr {rms:.2g}, shots={self.shots})"


class Plan:
    """What measuring a gradient costs, for every method. Made by `plan`.

    A plan is a mapping from names to rows: ``plan["echo"].shots``, ``for row in plan``.
    """

    __slots__ = (
        "_chain",
        "_circuit",
        "_first",
        "_follows_kept",
        "_native",
        "_observables",
        "_options",
        "_rows",
        "of_qnode",
    )

    def __init__(
        self,
        native: _native.Plan,
        circuit: Circuit,
        observables: list[PauliSum],
        options: PlanOptions,
        *,
        of_qnode: bool,
        chain: Chain | None = None,
        first: "Plan | None" = None,
        follows_kept: bool = False,
    ) -> None:
        self._native, self._circuit, self._observables = native, circuit, observables
        self._options, self._chain = options, chain
        # Its rows go before those that are found here, and the best of them is the best.
        self._first, self._follows_kept = first, follows_kept
        self.of_qnode = of_qnode
        """Whether it was made for a QNode, which can take its shots as they are."""
        before = {} if first is None else {row.name: row for row in first if row.applies}
        self._rows = {row[0]: before.get(row[0]) or self._row(*row) for row in native.rows()}

    def _row(
        self,
        name: str,
        cost: float,
        worst: float,
        settings: int | None,
        circuits: int,
        extra: tuple[int, int, int],
        served: bool,
        bound: bool,
        note: str | None,
    ) -> PlanRow:
        found = self._native.variances(name)
        variances = self._shaped(found) if len(found) or not self._circuit.n_parameters else None
        if self._chain is not None and math.isfinite(cost):
            if bound and self._chain.is_shared:
                cost, worst, note = (
                    math.inf,
                    math.inf,
                    f"{note}; no bound is known where arguments are shared",
                )
                bound = False
            elif variances is None:
                cost, worst = self._bound(cost), self._bound(worst)
            else:
                variances = self._by_arguments(name, settings, variances)
                cost, worst = self._figures(variances, self._shaped(found) > 0)
        return PlanRow(
            name=name,
            shots=_shots(cost, self.target),
            worst_shots=_shots(worst, self.target),
            settings=settings,
            circuits=circuits,
            extra_gates=extra[0],
            extra_two_qubit_gates=extra[1],
            extra_depth=extra[2],
            served=served,
            bound=bound,
            note=note,
            cost=cost,
            variances=variances,
            # A plan of a QNode follows one at other angles that nobody has seen.
            gain=None if self._follows_kept else self._native.gain(name),
        )

    def _shaped(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        return found.reshape(len(self._observables), self._circuit.n_parameters)

    def _by_arguments(
        self, name: str, settings: int | None, variances: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        """Return the variances of one shot by arguments, given those by parameters."""
        assert self._chain is not None
        if not self._chain.is_shared:
            return self._chain.of_parameters(variances)
        if settings is None:
            return self._chain.of_ensemble(self._native.ensemble(name), self._native.observables)
        return self._chain.of_experiments(self._native.experiments(name), len(self._observables))

    def _figures(self, variances: NDArray[np.float64], moving: NDArray[np.bool_]) -> tuple[float, float]:
        """Return the mean and the largest variance by arguments."""
        assert self._chain is not None
        weights = self._chain.live(moving).astype(np.float64)
        if not isinstance(self._options.goal, str):
            weights = weights * np.reshape(self._options.goal, weights.shape)
        counted = variances if variances.shape != weights.shape else variances[weights > 0]
        total = (weights * variances).sum() if variances.shape == weights.shape else variances.sum()
        return (float(total / weights.sum()), float(counted.max())) if weights.any() else (0.0, 0.0)

    def _bound(self, cost: float) -> float:
        """Return a bound by arguments that feed one parameter each, given that by parameters."""
        assert self._chain is not None
        weights = self._chain.squares
        return cost * float(weights.sum()) / max(1, int(self._chain.pattern.any(axis=0).sum()))

    @property
    def n_derivatives(self) -> int:
        """What every observable is differentiated by: parameters of the circuit, or arguments of a QNode."""
        return self._circuit.n_parameters if self._chain is None else self._chain.slopes.shape[1]

    @property
    def slopes(self) -> NDArray[np.float64] | None:
        """The slopes of the circuit's parameters by the QNode's arguments; None where they are the same."""
        return None if self._chain is None else self._chain.slopes

    @property
    def circuit(self) -> Circuit:
        """The circuit, at the angles of the plan."""
        return self._circuit

    @property
    def observables(self) -> list[PauliSum]:
        """What the circuit answers with."""
        return list(self._observables)

    @property
    def target(self) -> float:
        """The RMS error that `PlanRow.shots` is for."""
        return self._options.target

    @property
    def cost(self) -> Cost | None:
        """What circuits and shots take, if the best method is the one that takes the least time."""
        return self._options.cost

    @property
    def methods(self) -> list[str]:
        """Names of the methods that can be run."""
        return [row.name for row in self if row.applies]

    @property
    def best(self) -> PlanRow:
        """The method with the fewest shots, for the goal of the plan; the simplest of those within 2 %.

        With a ``cost=`` it is the one that takes the least time.

        For a QNode it is the one that `efl.shadow_grad` runs there.
        """
        if self._first is not None:
            return self._rows[self._first.best.name]
        if self._options.cost is not None:
            return preferred(self, self.time)
        if self._chain is None:
            return self._rows[self._native.best]
        goal = self._options.goal
        largest = isinstance(goal, str) and goal == "max"
        return preferred(self, lambda row: float(row.worst_shots or 0) if largest else row.cost)

    def time(self, row: PlanRow) -> float:
        """Return how long a method takes to reach the target, in the unit of the plan's ``cost=``.

        Settings that are drawn may be a circuit for every shot. Without a cost it is the number of shots.
        """
        shots = math.inf if row.shots is None else max(row.shots, row.settings or 0)
        cost = Cost() if self._options.cost is None else self._options.cost
        circuits = shots if row.settings is None else row.settings
        return cost.of(circuits, shots) if cost.circuit else cost.shot * shots

    @property
    def redesign_pays(self) -> bool:
        """Whether the former design of the best method needs over 10 % more shots than the present one."""
        gain = self.best.gain
        return gain is not None and gain > 1.1

    def gain(self, name: str | None = None) -> float | None:
        """Return how many times more shots the former design needs at these angles; None in a first plan."""
        return self._named(name).gain

    def __getitem__(self, name: str) -> PlanRow:
        if name not in self:
            raise InvalidInputError.of("name", f"one of {', '.join(self._rows)}", described(name))
        return self._rows[name]

    def __iter__(self) -> Iterator[PlanRow]:
        return iter(self._rows.values())

    def __len__(self) -> int:
        return len(self._rows)

    def __contains__(self, name: object) -> bool:
        return name in list(self._rows)  # of a list, so that nothing has to be hashable

    def _named(self, name: str | None) -> PlanRow:
        return self.best if name is None else self[name]

    def _runnable(self, name: str | None) -> PlanRow:
        row = self._named(name)
        if not row.applies:
            raise InvalidInputError.of(
                "name", f"a method that can be run ({', '.join(self.methods)})", f"{row.name}: {row.note}"
            )
        return row

    def at(
        self,
        parameters: ArrayLike,
        inputs: ArrayLike | None = None,
        *,
        methods: str | Iterable[str] | None = None,
        redesign: bool = True,
    ) -> "Plan":
        """Plan for other parameters (and inputs): words and circuits are kept, and the search starts here.

        The designs of this plan stay unbiased at any angles; `gain` says how many times more shots they need.
        Planning only the `methods` that will be run is faster; the other rows then do not apply. Without
        ``redesign`` there is no search: the settings and shares of this plan are read for the new angles,
        which takes a millisecond. Methods that have no list of settings and circuits, or whose list does not
        measure all that is needed there, then do not apply.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).rx(efl.Parameter(1), 1)
        >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), "ZZ")
        >>> later = plan.at([0.5, 0.1])
        >>> later.best.gain >= 1, later.redesign_pays
        (True, False)
        >>> plan.at([0.5, 0.1], methods=["product", "echo"]).methods
        ['product', 'echo']
        """
        circuit = self._circuit.at(parameters, inputs)
        if methods is None or isinstance(methods, str):
            wanted = methods if methods is None else [methods]
        else:
            wanted = listed("methods", methods, "the name of a method, or a sequence of them")
        names = None if wanted is None else [self[name].name for name in wanted]
        if redesign:
            native = self._native.at(circuit._theta, names, self._weights(self._chain, self._options.goal))
        else:
            native = self._native.held_at(circuit._theta, list(self._rows) if names is None else names)
        return self._other(native, circuit, self._options)

    def through(
        self,
        chain: Chain | None,
        circuit: Circuit,
        methods: Iterable[str] | None = None,
        *,
        options: PlanOptions | None = None,
        first: "Plan | None" = None,
    ) -> "Plan":
        """Plan at the angles of a circuit with the same gates, for derivatives through a chain rule.

        It is that of a QNode if ``options`` come with it, which then are its own; rows of the plan ``first``
        that apply go before those that are found here.
        """
        own = self._options if options is None else options
        names = None if methods is None else list(methods)
        native = self._native.at(circuit._theta, names, self._weights(chain, own.goal))
        asked = options is not None
        return Plan(
            native,
            circuit,
            self._observables,
            own,
            of_qnode=asked,
            chain=chain,
            first=first,
            follows_kept=asked,
        )

    def seen_through(self, chain: Chain | None) -> "Plan":
        """Return the same designs with what they cost for derivatives through a chain rule."""
        return Plan(
            self._native, self._circuit, self._observables, self._options, of_qnode=False, chain=chain
        )

    def _weights(self, chain: Chain | None, goal: Goal) -> NDArray[np.float64] | None:
        """Return what derivatives by parameters count in designs; None where they are equal."""
        if chain is None:
            return None if isinstance(goal, str) else np.ravel(np.asarray(goal, dtype=np.float64))
        shape = (len(self._observables), chain.slopes.shape[1])
        return chain.weights(np.ones(shape) if isinstance(goal, str) else np.reshape(goal, shape))

    def retarget(self, target: float) -> "Plan":
        """Return the same plan with shots for another target."""
        return Plan(
            self._native,
            self._circuit,
            self._observables,
            replace(self._options, target=target),
            of_qnode=self.of_qnode,
            chain=self._chain,
            first=None if self._first is None else self._first.retarget(target),
            follows_kept=self._follows_kept,
        )

    def _other(self, native: _native.Plan, circuit: Circuit, options: PlanOptions) -> "Plan":
        of_qnode, chain = self.of_qnode, self._chain
        return Plan(native, circuit, self._observables, options, of_qnode=of_qnode, chain=chain)

    def ensemble(self, name: str | None = None) -> Ensemble:
        """Return the settings to measure the final state in, of a method that does no more than that."""
        return self._native.ensemble(self._runnable(name).name)

    def experiments(self, name: str | None = None) -> list[tuple[Experiment, float]]:
        """Return the circuits of a method, each with its share of the shots.

        Methods that draw a setting for every shot have none: sample their `ensemble`. What is read are
        derivatives by the parameters of `circuit`; `slopes` takes those to the arguments of a QNode.
        """
        found = self._native.experiments(self._runnable(name).name)
        return [(Experiment(native, self._circuit), share) for native, share in found]

    def allocate(
        self,
        shots: SupportsIndex,
        name: str | None = None,
        *,
        settings: SupportsIndex | None = None,
        step: SupportsIndex = 0,
        seed: SupportsIndex = 0,
    ) -> list[tuple[Experiment, int]]:
        """Return the circuits of a method with whole numbers of shots; without bias.

        Every circuit gets at least one shot, unless ``settings`` says how many are run in one step of many:
        then so many are drawn by their shares (an echo or a shift is one, of two circuits) and read divided
        by the chance of that, and ``step`` numbers the steps, which together run each in proportion. The
        error of a step is mostly how much settings differ.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
        >>> plan = efl.plan(circuit, "Z")
        >>> [(experiment.setting, shots) for experiment, shots in plan.allocate(1000, "product")]
        [(Setting('X'), 1000)]
        >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).rx(efl.Parameter(1), 1)
        >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), ["ZI", "XX"])
        >>> [len(plan.allocate(10, "product", settings=1, step=step)) for step in range(3)]
        [1, 1, 1]
        """
        count, key = integer("shots", shots, 1), integer("seed", seed, 0, 2**64 - 1)
        row = self._runnable(name)
        found = self._native.allocate(row.name, count, key, *self._step(row, settings, step))
        return [(Experiment(native, self._circuit), number) for native, number in found]

    @staticmethod
    def _step(
        row: PlanRow, settings: SupportsIndex | None, step: SupportsIndex = 0
    ) -> tuple[int | None, int]:
        number = integer("step", step, 0, 2**64 - 1)
        if settings is None:
            return None, number
        if row.settings is None:
            raise InvalidInputError.of(
                "settings", f"none, as {row.name!r} draws one for every shot", described(settings)
            )
        return integer("settings", settings, 1), number

    def predicted_error(self, shots: SupportsIndex, name: str | None = None) -> NDArray[np.float64]:
        """Return the standard error of every derivative on average over all states."""
        variances = self._runnable(name).variances
        assert variances is not None  # of a method that can be run
        return np.sqrt(variances / integer("shots", shots, 1))

    def exact_error(
        self, shots: SupportsIndex, name: str | None = None, *, settings: SupportsIndex | None = None
    ) -> NDArray[np.float64]:
        """Return the standard error of every derivative on the state that is prepared, by simulation.

        With ``settings`` that of a step which draws so many, as if they were drawn independently.
        """
        row, count = self._runnable(name), integer("shots", shots, 1)
        number, _ = self._step(row, settings)
        if number is not None:
            if self._chain is not None and self._chain.is_shared:
                raise InvalidInputError.of(
                    "settings", "none, for derivatives by arguments that several parameters share", number
                )
            found = np.sqrt(self._shaped(self._native.exact_step(row.name, count, number)))
            return found if self._chain is None else np.sqrt(self._chain.of_parameters(found**2))
        if self._chain is not None and self._chain.is_shared:
            return np.sqrt(self._exact_by_arguments(self._chain, row) / count)
        if row.settings is not None:
            found = self._shaped(self._native.exact(row.name))
        else:
            ensemble = self._native.ensemble(row.name)
            state = simulate(self._circuit)
            found = np.asarray(ensemble.predicted_variance(self._native.observables, state))
        return np.sqrt((found if self._chain is None else self._chain.of_parameters(found)) / count)

    def _exact_by_arguments(self, chain: Chain, row: PlanRow) -> NDArray[np.float64]:
        if row.settings is None:
            ensemble, state = self._native.ensemble(row.name), simulate(self._circuit)
            return chain.of_ensemble(ensemble, self._native.observables, state)
        runs = self._native.experiments(row.name)
        return chain.of_experiments(runs, len(self._observables), self._prepared())

    def _prepared(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the angles and the Bloch vectors that the prepared state follows from."""
        if self._circuit.bloch is None:
            raise InvalidInputError.of("circuit", "a product input state", "another one")
        return self._circuit._theta, self._circuit.bloch

    def simulate(
        self,
        shots: SupportsIndex,
        name: str | None = None,
        *,
        settings: SupportsIndex | None = None,
        step: SupportsIndex = 0,
        seed: SupportsIndex = 0,
    ) -> Simulated:
        """Run a method on the simulated state: all of its circuits, or those that `allocate` draws.

        The same seed gives the same gradient with any number of threads.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
        >>> found = efl.plan(circuit, "Z").simulate(10_000, seed=1)
        >>> bool(abs(found.gradient[0, 0] + np.sin(0.3)) < 5 * found.stderr[0, 0])
        True
        """
        row, count = self._runnable(name), integer("shots", shots, 1)
        key, of_step = integer("seed", seed, 0, 2**64 - 1), self._step(row, settings, step)
        if self._chain is not None:
            native = self._native
            if row.settings is None:
                state = simulate(self._circuit)
                found = self._chain.estimated(
                    native.ensemble(row.name), native.observables, state, count, key
                )
            else:
                runs = native.allocate(row.name, count, key, *of_step)
                own = key if of_step[0] is None else (key, of_step[1])
                found = self._chain.simulated(runs, len(self._observables), self._prepared(), own)
            return Simulated(*found, count)
        if row.settings is not None:
            slopes, stderr = self._native.simulate(row.name, count, key, *of_step)
        else:
            ensemble = self._native.ensemble(row.name)
            snaps = _native.sample(simulate(self._circuit), ensemble, count, None, key)
            value, deviation, *_ = _native.estimate_gradient(snaps, self._native.observables, "mean", 1)
            first = len(self._observables)
            slopes, stderr = value[first:], deviation[first:]
        return Simulated(self._shaped(slopes), self._shaped(stderr), count)

    def curves(self, shots: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the RMS error after so many shots of each method: at least that, for a bound."""
        counts = array("shots", shots, "numbers of shots")
        if counts.dtype.kind == "c" or not (counts > 0).all():
            raise InvalidInputError("shots: expected numbers above zero")
        return {row.name: np.sqrt(row.cost / counts) for row in self if row.shots is not None}

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the RMS error against shots, a line for each method and the target; needs matplotlib."""
        from efl_core.plots import plot_plan

        return plot_plan(self, ax)

    def to_dict(self) -> dict[str, Any]:
        """Return everything but the variances of single derivatives, ready for JSON."""
        return as_dict(self)

    def __str__(self) -> str:
        return as_text(self)

    def _repr_html_(self) -> str:
        return as_html(self)

    def __repr__(self) -> str:
        best = self.best
        return (
            f"Plan({self._circuit.n_qubits} qubits, {self.n_derivatives} parameters, "
            f"best={best.name!r}, shots={best.shots}, target={self.target:g})"
        )

    def __reduce__(self) -> NoReturn:
        raise InputTypeError("a Plan is not pickled: send its circuit and plan there, or send to_dict()")


def _shots(cost: float, target: float) -> int | None:
    if not math.isfinite(cost):
        return None
    found = cost / target / target
    if not math.isfinite(found):
        raise InvalidInputError.of("target", "an error that fewer than 1e308 shots reach", target)
    # A whole number stays one after rounding; and what varies at all takes a shot, whatever the target.
    return max(math.ceil(found * (1 - 1e-12)), int(cost > 0))


@overload
def plan(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None = None,
    **options: Unpack[PlanKeywords],
) -> Plan: ...
@overload
def plan(
    circuit: "QNode",
    observables: Observable | Iterable[Observable] | None = None,
    **options: Unpack[PlanKeywords],
) -> Callable[..., Plan]: ...
def plan(
    circuit: "Circuit | QNode",
    observables: Observable | Iterable[Observable] | None = None,
    **options: Unpack[PlanKeywords],
) -> Plan | Callable[..., Plan]:
    """Compare the ways of measuring the gradient of a circuit, and design each for it.

    Parameters
    ----------
    circuit
        The circuit at its current parameters; or a PennyLane QNode, and then the result is a function of the
        QNode's arguments that returns the plan: of derivatives by the arguments, and the best method is the
        one that `efl.shadow_grad` runs.
    observables
        What the circuit answers with: a Pauli word or sum, or a list; by default the circuit's own.
    target
        The RMS error over the derivatives that are not identically zero; 0.01 if not given.
    goal
        What designs make small: the ``"mean"`` of the variances (if not given), the largest (``"max"``), or a
        mean with the weights of an array of shape ``(n_observables, n_parameters)``; an upstream gradient is
        squared by the caller. A derivative of weight 0 is not measured.
    value_weight
        Weight of the values of the observables in designs on the final state, beside one for all derivatives;
        0 if not given.
    connectivity
        Two-qubit gates that settings may use: between ``"all"`` pairs (if not given), neighbours on a
        ``"line"``, or ``"none"``.
    effort
        Bound on each search for settings, in words visited; the default takes about a second.
    max_terms
        Derivatives with more words are left to echoes and shifts; the methods that then are not complete have
        bounds.
    max_settings
        Most circuits and settings of a method, where each costs a compilation: designs are thinned to it, and
        methods that need more do not apply.
    cost
        An `efl.Cost`, what circuits and shots take: the best method then is the one that reaches the target
        in the least time, and the table has that time.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), "ZZ", target=0.02)
    >>> plan
    Plan(2 qubits, 2 parameters, best='product', shots=2500, target=0.02)
    >>> plan["uniform"].shots
    7500
    """
    if isinstance(circuit, Circuit):
        return made_plan(circuit, observables, PlanOptions(**options), of_qnode=False)
    if not callable(circuit):
        raise InputTypeError.of("circuit", "a Circuit or a PennyLane QNode", described(circuit))
    _refuse_arguments(observables)
    from efl_core.pennylane import plan_qnode

    return plan_qnode(circuit, observables, PlanOptions(**options))


def made_plan(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None,
    options: PlanOptions,
    *,
    of_qnode: bool,
) -> Plan:
    """Plan for a circuit at its angles."""
    sums, _ = given_sums(circuit, observables)
    circuit = circuit.copy()  # gates may be added later
    goal, weights = read_goal(options.goal, (len(sums), circuit.n_parameters))
    native = _native.Plan(
        circuit=circuit._native,
        theta=circuit._theta,
        observables=sums,
        bloch=circuit.bloch,
        goal=goal,
        weights=weights,
        value_weight=options.value_weight,
        connectivity=options.connectivity,
        **options.limits(),
    )
    return Plan(native, circuit, sums, options, of_qnode=of_qnode)


def preferred(rows: Iterable[PlanRow], figure: Callable[[PlanRow], float]) -> PlanRow:
    """Return the row of the smallest figure that can be run: the first in a plan of those within 2 %.

    Lists of settings go before settings that are drawn, of which a device would have to run many more.
    """
    known = sorted((row for row in rows if row.applies), key=lambda row: row.settings is None)
    figures = [figure(row) for row in known]
    return known[next(i for i, found in enumerate(figures) if found <= TIE * min(figures))]


def _refuse_arguments(observables: object) -> None:
    """Refuse numbers, which were meant for the QNode."""
    items = observables if isinstance(observables, (list, tuple)) else [observables]
    if any(isinstance(item, Number) or hasattr(item, "dtype") for item in items):
        raise InputTypeError.of(
            "observables",
            "Pauli words or sums",
            f"{described(observables)} (for the QNode? write efl.plan(qnode)(theta))",
        )
