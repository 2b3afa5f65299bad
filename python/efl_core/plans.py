"""What a gradient will cost: every way of measuring it, side by side, before a shot is taken.

`plan` looks at a circuit, designs each method for it, predicts the variance of every derivative, and says
which method needs the fewest shots. A `Plan` also says what to run: settings of the final state
(`Plan.ensemble`), or circuits with what their outcomes mean (`Plan.experiments`).

All predictions are for the maximally mixed state, the mean over all states: known without data and the same
for every method. `Plan.exact_error` is for the state that is prepared, by simulation.
"""

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from numbers import Number
from typing import TYPE_CHECKING, Any, NoReturn, SupportsIndex, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array, described, integer, listed, real
from efl_core.circuits import Circuit, given_sums, simulate
from efl_core.circuits import circuit as circuit_of
from efl_core.designs import Connectivity, Goal, read_connectivity, read_goal
from efl_core.ensembles import Ensemble
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.experiments import Experiment
from efl_core.observables import Observable, PauliSum
from efl_core.plan_table import as_dict, as_html, as_text

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from pennylane import QNode

__all__ = ["Plan", "PlanKeywords", "PlanOptions", "PlanRow", "Simulated", "plan"]


class PlanKeywords(TypedDict, total=False):
    """The options of `plan`, as it takes them; `PlanOptions` says what they are if they are not given."""

    target: float
    goal: Goal
    value_weight: float
    connectivity: Connectivity
    effort: SupportsIndex | None
    max_terms: SupportsIndex | None
    max_settings: SupportsIndex | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanOptions:
    """What a plan is made for: checked once, and kept by the plan. `plan` documents each."""

    target: float = 0.01
    goal: Goal = "mean"
    value_weight: float = 0.0
    connectivity: Connectivity = "all"
    effort: SupportsIndex | None = None
    max_terms: SupportsIndex | None = None
    max_settings: SupportsIndex | None = None

    def __post_init__(self) -> None:
        error = real("target", self.target)
        if not (math.isfinite(error) and error > 0):
            raise InvalidInputError.of("target", "a number above zero", error)
        object.__setattr__(self, "target", error)
        read_connectivity(self.connectivity)
        object.__setattr__(self, "value_weight", real("value_weight", self.value_weight))
        for name, given in self.limits().items():
            object.__setattr__(self, name, None if given is None else integer(name, given, 1))

    def limits(self) -> dict[str, int | None]:
        """Return what bounds the work and the settings."""
        return {name: getattr(self, name) for name in ("effort", "max_terms", "max_settings")}


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
    """That of every derivative, shape ``(n_observables, n_parameters)``; 0 if it is not measured."""
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

    __slots__ = ("_circuit", "_native", "_observables", "_options", "_rows", "of_qnode")

    def __init__(
        self,
        native: _native.Plan,
        circuit: Circuit,
        observables: list[PauliSum],
        options: PlanOptions,
        *,
        of_qnode: bool,
    ) -> None:
        self._native, self._circuit, self._observables = native, circuit, observables
        self._options = options
        self.of_qnode = of_qnode
        """Whether it was made for a QNode, which can take its shots as they are."""
        self._rows = {row[0]: self._row(*row) for row in native.rows()}

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
            variances=self._shaped(found) if len(found) or not self._shape[1] else None,
            gain=self._native.gain(name),
        )

    @property
    def _shape(self) -> tuple[int, int]:
        return len(self._observables), self._circuit.n_parameters

    def _shaped(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        return found.reshape(self._shape)

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
    def methods(self) -> list[str]:
        """Names of the methods that can be run."""
        return [row.name for row in self if row.applies]

    @property
    def best(self) -> PlanRow:
        """The method with the fewest shots, for the goal of the plan; the simplest of those within 2 %."""
        return self._rows[self._native.best]

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
    ) -> "Plan":
        """Plan for other parameters (and inputs): words and circuits are kept, and the search starts here.

        The designs of this plan stay unbiased at any angles; `gain` says how many times more shots they need.
        Planning only the `methods` that will be run is faster; the other rows then do not apply.

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
        native = self._native.at(circuit._theta, names)
        return Plan(native, circuit, self._observables, self._options, of_qnode=self.of_qnode)

    def retarget(self, target: float) -> "Plan":
        """Return the same plan with shots for another target."""
        options = replace(self._options, target=target)
        return Plan(self._native, self._circuit, self._observables, options, of_qnode=self.of_qnode)

    def ensemble(self, name: str | None = None) -> Ensemble:
        """Return the settings to measure the final state in, of a method that does no more than that."""
        return self._native.ensemble(self._runnable(name).name)

    def experiments(self, name: str | None = None) -> list[tuple[Experiment, float]]:
        """Return the circuits of a method, each with its share of the shots.

        Methods that draw a setting for every shot have none: sample their `ensemble`.
        """
        found = self._native.experiments(self._runnable(name).name)
        return [(Experiment(native, self._circuit), share) for native, share in found]

    def allocate(
        self, shots: SupportsIndex, name: str | None = None, *, seed: SupportsIndex = 0
    ) -> list[tuple[Experiment, int]]:
        """Return the circuits of a method with whole numbers of shots, at least one each; without bias.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
        >>> plan = efl.plan(circuit, "Z")
        >>> [(experiment.setting, shots) for experiment, shots in plan.allocate(1000, "product")]
        [(Setting('X'), 1000)]
        """
        count, key = integer("shots", shots, 1), integer("seed", seed, 0, 2**64 - 1)
        found = self._native.allocate(self._runnable(name).name, count, key)
        return [(Experiment(native, self._circuit), number) for native, number in found]

    def predicted_error(self, shots: SupportsIndex, name: str | None = None) -> NDArray[np.float64]:
        """Return the standard error of every derivative on average over all states."""
        variances = self._runnable(name).variances
        assert variances is not None  # of a method that can be run
        return np.sqrt(variances / integer("shots", shots, 1))

    def exact_error(self, shots: SupportsIndex, name: str | None = None) -> NDArray[np.float64]:
        """Return the standard error of every derivative on the state that is prepared, by simulation."""
        row, count = self._runnable(name), integer("shots", shots, 1)
        if row.settings is not None:
            return np.sqrt(self._shaped(self._native.exact(row.name)) / count)
        ensemble = self._native.ensemble(row.name)
        found = ensemble.predicted_variance(self._native.observables, simulate(self._circuit))
        return np.sqrt(np.asarray(found) / count)

    def simulate(
        self, shots: SupportsIndex, name: str | None = None, *, seed: SupportsIndex = 0
    ) -> Simulated:
        """Run a method on the simulated state.

        The same seed gives the same gradient with any number of threads.

        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
        >>> found = efl.plan(circuit, "Z").simulate(10_000, seed=1)
        >>> bool(abs(found.gradient[0, 0] + np.sin(0.3)) < 5 * found.stderr[0, 0])
        True
        """
        row, count = self._runnable(name), integer("shots", shots, 1)
        key = integer("seed", seed, 0, 2**64 - 1)
        if row.settings is not None:
            slopes, stderr = self._native.simulate(row.name, count, key)
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
            f"Plan({self._circuit.n_qubits} qubits, {self._circuit.n_parameters} parameters, "
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
        QNode's arguments that returns the plan.
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

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    >>> plan = efl.plan(circuit.clifford("CZ", 0, 1), "ZZ", target=0.02)
    >>> plan
    Plan(2 qubits, 2 parameters, best='biased', shots=2500, target=0.02)
    >>> plan["uniform"].shots
    7500
    """
    if isinstance(circuit, Circuit):
        return _planned(circuit, observables, PlanOptions(**options), of_qnode=False)
    if not callable(circuit):
        raise InputTypeError.of("circuit", "a Circuit or a PennyLane QNode", described(circuit))
    _refuse_arguments(observables)
    converted, checked = circuit_of(circuit), PlanOptions(**options)

    def planned(*args: object, **kwargs: object) -> Plan:
        return _planned(converted(*args, **kwargs), observables, checked, of_qnode=True)

    return planned


def _planned(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None,
    options: PlanOptions,
    *,
    of_qnode: bool,
) -> Plan:
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


def _refuse_arguments(observables: object) -> None:
    """Refuse numbers, which were meant for the QNode."""
    items = observables if isinstance(observables, (list, tuple)) else [observables]
    if any(isinstance(item, Number) or hasattr(item, "dtype") for item in items):
        raise InputTypeError.of(
            "observables",
            "Pauli words or sums",
            f"{described(observables)} (for the QNode? write efl.plan(qnode)(theta))",
        )
