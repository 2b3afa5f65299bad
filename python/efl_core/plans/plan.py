"""The plan of a gradient: a row for each method, the best of them, and what to run."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, described, integer, listed
from efl_core.chains import Chain
from efl_core.circuits import Circuit
from efl_core.designs import Goal
from efl_core.ensembles import Ensemble
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.experiments import Experiment
from efl_core.observables import PauliSum
from efl_core.plans.copies import TwoCopyCost, least_copies, two_copy_cost
from efl_core.plans.options import Cost, PlanOptions
from efl_core.plans.rows import PlanRow, RowReader, preferred
from efl_core.plans.runs import Method, Simulated
from efl_core.plans.states import State, read_state
from efl_core.plans.table import as_dict, as_html, as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Plan"]


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
        shape = (len(observables), circuit.n_parameters)
        # A plan of a QNode follows one at other angles that nobody has seen.
        reader = RowReader(native, options, chain, shape, with_gain=not follows_kept)
        self._rows = {found[0]: before.get(found[0]) or reader.read(found) for found in native.rows()}

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
    def state(self) -> State | None:
        """What the figures are for; None where they are averages over all states."""
        return self._options.state

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

    def _method(self, name: str | None) -> Method:
        row = self._runnable(name)
        return Method(self._native, self._circuit, self._chain, len(self._observables), row)

    def at(
        self,
        parameters: ArrayLike,
        inputs: ArrayLike | None = None,
        *,
        methods: str | Iterable[str] | None = None,
        redesign: bool = True,
        state: State | None = None,
    ) -> "Plan":
        """Plan for other parameters (and inputs): words and circuits are kept, and the search starts here.

        The designs of this plan stay unbiased at any angles; `gain` says how many times more shots they need.
        Planning only the `methods` that will be run is faster; the other rows then do not apply. Without
        ``redesign`` there is no search: the settings and shares of this plan are read for the new angles,
        which takes a millisecond. Methods that have no list of settings and circuits, or whose list does not
        measure all that is needed there, then do not apply.

        With a ``state`` the new plan is for it, as `at_state` makes it; one that was given before does not
        move along.

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
            native = self._design(self._chain, self._options.goal, circuit, names)
        else:
            native = self._native.held_at(circuit._theta, list(self._rows) if names is None else names)
        made = self._other(native, circuit, replace(self._options, state=None))
        return made if state is None else made.at_state(state)

    def at_state(self, state: State) -> "Plan":
        """Return the same plan for a state: figures, shares and the best method are those for it.

        Circuits, settings and the words that they read stay. Shots go to what varies at the state (each
        setting in proportion to the standard deviation of what is read there), and of a mixture each
        derivative takes the routes that are best there. Rows that say nothing of the state
        (`PlanRow.at_state` is False) keep their averages over all states.

        Parameters
        ----------
        state
            ``"prepared"``: what the circuit makes of its product input, by simulation. A state vector that
            the circuit is to have prepared; or a product state, as Bloch vectors of shape ``(n_qubits, 3)``
            or as letters, one of ``0 1 + - R L`` for each qubit. Or an `efl.Memory` of earlier outcomes.
        >>> import efl_core as efl
        >>> circuit = efl.Circuit(2, parameters=[0.1, 0.2]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
        >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), "ZZ")
        >>> plan.best.shots, plan.at_state("prepared").best.shots
        (10000, 9757)
        """
        goal, chain = self._options.goal, self._chain
        slopes: NDArray[np.float64] | None = None
        if chain is not None and chain.is_shared:
            shape = (len(self._observables), self.n_derivatives)
            weights = np.ones(shape) if isinstance(goal, str) else np.reshape(np.asarray(goal, float), shape)
            slopes = chain.slopes
            counted: NDArray[np.float64] | None = np.ravel(weights / max(float(weights.sum()), 1e-300))
        else:
            counted = self._weights(chain, goal)
        known = read_state(state, self._circuit)
        native = self._native.at_state(**known, weights=counted, slopes=slopes)
        return self._other(native, self._circuit, replace(self._options, state=state))

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
        own = replace(self._options, state=None) if options is None else options
        names = None if methods is None else list(methods)
        native = self._design(chain, own.goal, circuit, names)
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

    def of_circuit(self, circuit: Circuit) -> "Plan":
        """Return the same plan for a circuit that is another before its first trained gate only."""
        other = object.__new__(Plan)
        for name in Plan.__slots__:
            setattr(other, name, getattr(self, name))
        other._circuit = circuit
        return other

    def seen_through(self, chain: Chain | None) -> "Plan":
        """Return the same designs with what they cost for derivatives through a chain rule."""
        return Plan(
            self._native, self._circuit, self._observables, self._options, of_qnode=False, chain=chain
        )

    def _design(
        self, chain: Chain | None, goal: Goal, circuit: Circuit, names: list[str] | None
    ) -> _native.Plan:
        """Design at the angles of a circuit, for derivatives through a chain rule."""
        # What varies together counts where an argument feeds several parameters.
        slopes = chain.slopes if chain is not None and chain.is_shared else None
        return self._native.at(circuit._theta, names, self._weights(chain, goal), slopes)

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
        method = self._method(name)
        found = method.allocated(*_of_step(method, shots, seed, settings, step))
        return [(Experiment(native, self._circuit), number) for native, number in found]

    def predicted_error(self, shots: SupportsIndex, name: str | None = None) -> NDArray[np.float64]:
        """Return the standard error of every derivative: at the plan's state, or on average over states."""
        variances = self._runnable(name).variances
        assert variances is not None  # of a method that can be run
        return np.sqrt(variances / integer("shots", shots, 1))

    def exact_error(
        self, shots: SupportsIndex, name: str | None = None, *, settings: SupportsIndex | None = None
    ) -> NDArray[np.float64]:
        """Return the standard error of every derivative on the state that is prepared, by simulation.

        With ``settings`` that of a step which draws so many, as if they were drawn independently.
        """
        method = self._method(name)
        count, _, number, _ = _of_step(method, shots, 0, settings, 0)
        if number is None:
            return np.sqrt(method.variances() / count)
        return np.sqrt(method.variances_of_step(count, number))

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
        method = self._method(name)
        return method.simulate(*_of_step(method, shots, seed, settings, step))

    def curves(self, shots: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the RMS error after so many shots of each method: at least that, for a bound."""
        counts = array("shots", shots, "numbers of shots")
        if counts.dtype.kind == "c" or not (counts > 0).all():
            raise InvalidInputError("shots: expected numbers above zero")
        return {row.name: np.sqrt(row.cost / counts) for row in self if row.shots is not None}

    @property
    def least_copies(self) -> int | None:
        """What `two_copies` takes if all words are small; None if the best method takes no more."""
        return least_copies(self)

    def two_copies(self, error: float | None = None, *, deviations: float = 1.0) -> TwoCopyCost:
        """Return what the gradient takes from two copies of the state, beside the best method on one.

        Squares of all words from pairs of copies in the Bell basis, then the signs of those that are large
        (`efl_core.two_copy_gradient`): for thousands of wide words that do not commute, at a large error.
        In a plan for a state that is known the figures are those at the state; else bounds.

        Parameters
        ----------
        error
            The RMS of the error bars; the plan's target if not given.
        deviations
            As of `two_copy_gradient`.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
        >>> print(efl.plan(circuit.clifford("CZ", 0, 1), ["ZZ", "XX"]).two_copies(0.2))
        Two copies, 2 words, to an RMS error of 0.2
          first  626 pairs in the Bell basis: the squares of all words
          then   up to 25 shots in settings on one copy: the signs of words above 0.2
          copies 1,252 to 1,277, against 25 of 'product': two copies take more
        """
        return two_copy_cost(self, error, deviations)

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


def _of_step(
    method: Method,
    shots: SupportsIndex,
    seed: SupportsIndex,
    settings: SupportsIndex | None,
    step: SupportsIndex,
) -> tuple[int, int, int | None, int]:
    """Return the checked arguments: shots, seed, the settings that a step draws (None: all), its number."""
    if settings is not None and method.is_drawn:
        raise InvalidInputError.of(
            "settings", f"none, as {method.row.name!r} draws one for every shot", described(settings)
        )
    return (
        integer("shots", shots, 1),
        integer("seed", seed, 0, 2**64 - 1),
        None if settings is None else integer("settings", settings, 1),
        integer("step", step, 0, 2**64 - 1),
    )
