"""Plans of gradients, one per structure of a circuit, with the method that is chosen.

What depends on the gates alone is planned once and kept; other parameters and inputs start from it, and
only the methods that may be run are planned there. A plan is a function of the circuit and its angles, not of
what was planned before: the kept one is made at its own angles. Where it is known what the parameters are
computed from (`Chain`), costs are those of the derivatives by that, and designs are for them. Of the input
state it knows which rotations leave a qubit as it is, and no more.
"""

import logging
import math
import warnings
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np

from efl_core.chains import Chain
from efl_core.circuits import Circuit
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.gradients import GradientObservables, gradient_observables
from efl_core.observables import PauliSum
from efl_core.pennylane.caches import Cache
from efl_core.pennylane.execution.tapes import balanced
from efl_core.pennylane.keys import kept_letters, key_of
from efl_core.pennylane.options import Options, SettingsPerStep
from efl_core.pennylane.tapes.outputs import Outputs
from efl_core.pennylane.value_plans import ValuePlan, plan_values
from efl_core.plans import Cost, Plan, PlanOptions, PlanRow, made_plan, preferred

__all__ = [
    "Chosen",
    "Drawn",
    "Figure",
    "Plans",
    "TooFewShotsError",
    "best_base",
    "choose",
    "make_plans",
    "warn_if_losing",
]

LOGGER = logging.getLogger("efl_core")
PLANS = Cache(128)
# The plan of the last gradient: inputs of a batch that come before the trained gates have it in common.
LAST = Cache(1)
COSTS = Cache(128)
# Circuits and methods that there was a warning for.
_TOLD = Cache(1024)
# What is within this factor of the best may be better at other angles.
NEAR = 1.1
# A simpler list is preferred to a mixture that is 2 % better, and is planned where it came as close as that.
CLOSE = 1.03
# Circuits and settings of one gradient that are worth a warning.
MANY = 10_000
# By how much a list is thinned at a time, where circuits have a cost.
FEWER = 0.7
PARTS = ("product", "clifford", "echo", "shift-pruned", "shift")
# Angles this close to quarter turns, all of them, are planned from a plan near those: training starts there.
SPECIAL = 0.25
QUARTER = np.pi / 2
# What a method that is asked for may cost, in shots of the best, before there is a warning.
LOSING = 2.0


class TooFewShotsError(InvalidInputError):
    """There are circuits and settings without a shot, if all are run."""


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Gradient observables, and the ensemble that a setting is drawn from for every shot."""

    observables: GradientObservables
    ensemble: Ensemble


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A method, and the plan that has it."""

    plan: Plan
    """At the current angles, to be run: its simulated errors are not those of the circuit's input state."""
    row: PlanRow
    """The method."""
    best: str
    """The best method of this circuit."""
    factor: float
    """How many times more shots the method needs than the best one."""
    kept: Plan
    """The plan of all circuits with the same gates."""

    @property
    def ensemble(self) -> Ensemble:
        """The settings of a method that measures the final state only."""
        return self.plan.ensemble(self.row.name)

    @property
    def reads_the_state(self) -> bool:
        """Whether the method has a list of settings, all of the final state."""
        return self.row.served and self.row.settings is not None and self.row.cost > 0

    @property
    def circuits_per_draw(self) -> int:
        """Most circuits that are drawn together: an echo or a shift is two."""
        return 1 if self.row.served else 2

    @property
    def drawn(self) -> Drawn | None:
        """What the method draws settings for, and from, if it does."""
        if self.row.settings is not None or not self.row.cost > 0:
            return None
        native = self.plan._native.observables
        observables = GradientObservables(native, self.plan.circuit, single=False, made=None)
        return Drawn(observables, self.ensemble)


@dataclass(frozen=True, eq=False)
class Plans:
    """How everything that is wanted of a tape is measured; None for what is not wanted."""

    chosen: Chosen | None
    """Derivatives by gates, unless an ensemble is given for them."""
    drawn: Drawn | None
    """Those too, where a setting is drawn for every shot."""
    words: ValuePlan | None
    """Derivatives by coefficients: values of what they multiply."""
    values: ValuePlan | None
    asked: tuple[int, ...] | None
    """The observables that values are of; none, where derivatives need none that does not vanish."""
    most_runs: float
    """The longest batch, for one copy of a shot vector and without settings of the values' own."""
    settings_per_step: SettingsPerStep | None = None
    """How many settings are drawn for the derivatives by gates; None for all."""
    values_alone: bool = False
    """Whether values are read in settings of their own only."""

    @cached_property
    def free(self) -> float:
        """Variance of the values in one shot of the gradient; infinite if its settings do not reveal them."""
        if self.values is None or self.chosen is None or not self.chosen.reads_the_state:
            return math.inf
        if self.values_alone:
            return math.inf
        if self.settings_per_step is not None:  # those that are drawn reveal some
            return math.inf
        return self.values.cost_in(self.chosen.ensemble)

    @property
    def fewest(self) -> int:
        """The fewest shots that run every circuit and setting."""
        own = [plan.n_settings for plan in (self.words, self.values) if plan is not None]
        if self.chosen is not None and self.chosen.row.cost > 0:
            own.append(self.chosen.row.settings or 1)
        return sum(own) or 1

    def draws(self, shots: int) -> int | None:
        """Return how many settings a step of so many shots draws; None where all are run.

        ``"auto"`` is as many as shots and tapes allow: then settings that differ add least to the error.
        """
        if self.settings_per_step is None or self.chosen is None:
            return None
        if self.settings_per_step != "auto":
            return self.settings_per_step
        return max(1, int(min(shots, self.most_runs)) // self.chosen.circuits_per_draw)


def make_plans(
    circuit: Circuit,
    words: Sequence[PauliSum],
    options: Options,
    *,
    shots: float,
    copies: int,
    values: bool,
    outputs: Outputs,
    chain: Chain | None = None,
) -> Plans:
    """Plan the derivatives of a circuit, those that are values of ``words``, and its values.

    The derivatives are those by what a chain rule computes the parameters of the circuit from. Values are
    measured on demand; those alone that derivatives of the outputs are multiplied by, without.
    """
    of_words = plan_values(words) if words else None
    own_options = PlanOptions(
        connectivity=options.connectivity,
        cost=options.cost,
        target=PlanOptions().target if options.target is None else options.target,
        mitigate=options.mitigate,
    )
    asked: tuple[int, ...] | None = None
    if values:
        asked = tuple(range(len(circuit.observables)))
    elif not outputs.is_linear:
        asked = outputs.multipliers(_moving(circuit, own_options))
    of_values = plan_values([circuit.observables[m] for m in asked]) if asked else None
    own = 0 if of_values is None else of_values.n_settings
    tapes_per_run = 1
    if options.calibration is not None:
        tapes_per_run = options.twirls or balanced(circuit.n_qubits)
    most_runs = max(1.0, options.max_tapes / copies / tapes_per_run - own)
    chosen = drawn = None
    if circuit.n_parameters and options.ensemble is None:
        chosen = choose(
            circuit,
            options.method,
            # Where settings are drawn, values have those of their own.
            shots=shots if options.settings_per_step is None else max(1.0, shots - own),
            max_tapes=most_runs,
            options=replace(
                own_options,
                value_weight=1 / circuit.n_parameters if asked else 0.0,
                valued=None if asked is None else tuple(m in asked for m in range(len(circuit.observables))),
            ),
            chain=None if chain is None else chain.compact,
            sampled=options.settings_per_step is not None,
            letters_only=options.noise is not None,
        )
        drawn = chosen.drawn
    elif circuit.n_parameters and options.ensemble is not None:
        sums = list(circuit.observables)
        observables = gradient_observables(
            circuit, sums, truncation=options.truncation, mitigate=options.mitigate
        )
        drawn = Drawn(observables, options.ensemble)
    alone = options.noise is not None
    return Plans(chosen, drawn, of_words, of_values, asked, most_runs, options.settings_per_step, alone)


def _moving(circuit: Circuit, options: PlanOptions) -> list[bool]:
    """Say which observables have a derivative that does not vanish identically."""
    n_observables = len(circuit.observables)
    if not circuit.n_parameters:
        return [False] * n_observables
    known = (row.variances for row in kept_plan(circuit, replace(options, effort=1)) if row.applies)
    variances = next((found for found in known if found is not None), np.ones((n_observables, 1)))
    return [bool(own.any()) for own in variances]


def choose(
    circuit: Circuit,
    method: str = "auto",
    *,
    shots: float = math.inf,
    max_tapes: float = math.inf,
    options: PlanOptions | None = None,
    chain: Chain | None = None,
    sampled: bool = False,
    letters_only: bool = False,
) -> Chosen:
    """Plan the gradients of a circuit's observables at its current angles, by a method or by the cheapest.

    The cheapest is one of those that may win at some angles, as the kept plan says. Every circuit and setting
    is a tape and takes a shot: where they are too many, a design with fewer is made. So it is where tapes
    have a cost (``options.cost``) that fewer would save. Not where a few are ``sampled`` from a list: then
    any list serves, and only lists do. With ``letters_only``, blocks are not drawn.
    """
    options = PlanOptions() if options is None else options
    if sampled:
        return _choose_list(circuit, method, options, chain, min(shots, max_tapes))
    figure = Figure(options.cost, shots, options.target)
    most = min(shots, max_tapes)

    def fits(row: PlanRow) -> bool:
        return (shots if row.settings is None else row.settings) <= most  # drawn ones may all differ

    def fewer(methods: Sequence[str] | None = None) -> Plan:
        name = "shots" if shots <= max_tapes else "device_options"
        what = "shots" if shots <= max_tapes else "max_tapes"
        refused = TooFewShotsError if shots <= max_tapes else InvalidInputError
        try:
            found = kept_plan(circuit, replace(options, max_settings=int(most))).through(
                chain, circuit, methods
            )
        except InvalidInputError as error:
            if error.argument not in (None, "max_settings"):  # the plan without a bound was made
                raise
            raise refused(
                f"{name}: expected {what} for every circuit and setting, got {most:g} ({error})"
            ) from error
        for wanted in methods or []:
            if not found[wanted].applies:
                raise refused(
                    f"{name}: expected more {what} for method {wanted!r}, got {most:g} ({found[wanted].note})"
                )
        return found

    base, known = best_base(circuit, options, chain, figure, method)
    if method == "auto":
        names = [name for name in known.promising if name != "block" or not letters_only]
        names = names or known.promising_lists
        found = _through(base, chain, circuit, names)
        row = preferred(found, figure)
        if not fits(row):
            found = fewer()
            row = preferred(found, figure)
        _warn_if_many(circuit, row)
        return Chosen(found, row, row.name, 1.0, base)
    _check_applies(base, method)
    warn_if_losing(base.circuit, known.rows[method], known.rows[known.best])
    found = _through(base, chain, circuit, [method])
    if not fits(found[method]):
        found = fewer([method])
    _warn_if_many(circuit, found[method])
    return Chosen(found, found[method], known.best, known.factor(method), base)


def _choose_list(
    circuit: Circuit, method: str, options: PlanOptions, chain: Chain | None, most: float
) -> Chosen:
    """Choose a method that has a list of circuits and settings: the cheapest, or the one that is named.

    One shot is for a setting of the final state, where there are some: of an echo or a shift it is for one of
    two circuits, at twice the variance.
    """
    base = kept_plan(circuit, options)
    known = Costs.of(base, chain, Figure(None, math.inf, options.target))
    if method == "auto":
        names = known.promising_lists if most >= 2 else known.served_lists
        found = _through(base, chain, circuit, names or known.promising_lists)
        lists = [row for row in found if row.applies and row.settings is not None]
        row = preferred(lists, lambda row: row.cost)
        return Chosen(found, row, row.name, 1.0, base)
    _check_applies(base, method)
    warn_if_losing(base.circuit, known.rows[method], known.rows[known.best])
    found = _through(base, chain, circuit, [method])
    return Chosen(found, found[method], known.best, known.factor(method), base)


def _through(base: Plan, chain: Chain | None, circuit: Circuit, methods: Sequence[str]) -> Plan:
    """Plan at the angles of a circuit, or take the plan of the last one if it is the same.

    What is measured depends on the gates from the first trained one on; where noise is left out, on all.
    """
    first = 0 if base._options.mitigate else circuit._native.trainable_block
    seen = [
        angle[0]
        for _, arguments in circuit._gates[first:]
        for angle in arguments
        if isinstance(angle, tuple) and len(angle) == 1
    ]
    key = (
        id(base),
        None if chain is None else key_of(chain.slopes),
        tuple(methods),
        key_of(circuit.parameters),
        tuple(seen),
        key_of(circuit.inputs[seen]),
    )

    def make() -> tuple[Plan, Plan]:  # with the base, whose identity it is known by
        return base, base.through(chain, circuit, methods)

    return LAST.get(key, make)[1].of_circuit(circuit)


def _check_applies(base: Plan, method: str) -> None:
    row = base[method]
    if not row.applies:
        raise InvalidInputError(
            f"method: expected one that applies to this circuit, {', '.join(base.methods)}, got {method!r} "
            f"({row.note})"
        )


def kept_plan(circuit: Circuit, options: PlanOptions) -> Plan:
    """Return the plan of circuits with the same gates, at angles of its own: usual or near quarter turns."""
    turns = np.round(circuit.parameters / QUARTER)
    special = bool(np.all(np.abs(circuit.parameters - turns * QUARTER) < SPECIAL))
    pattern = tuple(turns % 4) if special else ()
    goal = options.goal if isinstance(options.goal, str) else "mean"  # weights come with the angles
    limits = options.limits().values()
    wanted = (options.connectivity, options.value_weight, options.valued, goal, options.mitigate, *limits)
    key = (key_of(circuit), key_of(circuit.observables), wanted, pattern)

    def make() -> Plan:
        random = np.random.default_rng(0)
        parameters = random.uniform(-np.pi, np.pi, circuit.n_parameters)
        if special:  # where many words have small coefficients, which a usual plan does not foresee
            parameters = turns * QUARTER + SPECIAL / np.pi / 2 * parameters
        elsewhere = circuit.at(parameters, random.uniform(-np.pi, np.pi, len(circuit.inputs)))
        elsewhere.prepare(kept_letters(circuit))
        LOGGER.info(
            "planning the gradient of %d observables by %d parameters on %d qubits",
            len(circuit.observables),
            circuit.n_parameters,
            circuit.n_qubits,
        )
        return made_plan(elsewhere, None, replace(options, goal=goal), of_qnode=False)

    return PLANS.get(key, make)


@dataclass(frozen=True, slots=True)
class Figure:
    """What the choice of a method makes small: shots, or time where circuits have a cost."""

    cost: Cost | None
    shots: float
    """How many there are; infinite where they follow from a target."""
    target: float

    def __call__(self, row: PlanRow) -> float:
        """Return the variance of one shot; or the time for the target, or for any error in the end."""
        if not self.is_time:
            return row.cost
        assert self.cost is not None
        shots = self.shots
        if math.isinf(shots):
            shots = max(row.cost / self.target**2, row.settings or 0)
        time = self.cost.of(shots if row.settings is None else row.settings, shots)
        return time if math.isinf(self.shots) else time * row.cost

    @property
    def is_time(self) -> bool:
        """Whether the number of circuits counts."""
        return self.cost is not None and self.cost.circuit > 0

    @property
    def key(self) -> Hashable:
        """What tells figures apart, numbers of shots by their order of magnitude."""
        scale = self.target if math.isinf(self.shots) else self.shots
        return (self.cost, math.isinf(self.shots), round(2 * math.log2(scale))) if self.is_time else None


def best_base(
    circuit: Circuit, options: PlanOptions, chain: Chain | None, figure: Figure, method: str = "auto"
) -> "tuple[Plan, Costs]":
    """Return the kept plan to start from, the one with the bound on settings that pays, and its costs."""
    base = kept_plan(circuit, options)
    known = Costs.of(base, chain, figure)
    if not figure.is_time or options.max_settings is not None:
        return base, known
    wanted = None if method == "auto" else method

    def make() -> tuple[Plan, Plan, Costs]:
        found, costs = base, known
        while (settings := costs.settings(wanted)) is not None and settings > 1:
            fewer = replace(options, max_settings=int(settings * FEWER))
            try:
                other = kept_plan(circuit, fewer)
            except InvalidInputError as error:
                if error.argument != "max_settings":
                    raise
                break  # there is no such design
            after = Costs.of(other, chain, figure)
            if wanted is not None and wanted not in after.costs:
                break
            if after.figure(wanted) >= costs.figure(wanted):
                break
            found, costs = other, after
        return base, found, costs  # with the base, whose identity it is known by

    _, found, costs = COSTS.get((id(base), *_slopes_key(chain), figure.key, method), make)
    return found, costs


def _slopes_key(chain: Chain | None) -> tuple[Hashable, ...]:
    """Return what tells slopes apart; those that are nearly the same cost the same."""
    if chain is None:
        return (None,)
    return (key_of(np.round(chain.slopes / max(1e-300, np.abs(chain.slopes).max()), 1)),)


@dataclass(frozen=True, slots=True, eq=False)
class Costs:
    """What the methods of a kept plan cost, for derivatives through a chain rule."""

    rows: dict[str, PlanRow]
    costs: dict[str, float]
    """What is made small."""
    best: str
    promising: list[str]
    """The methods that may be the cheapest at other angles."""
    promising_lists: list[str]
    """Those of the methods that have a list of circuits and settings."""

    @property
    def served_lists(self) -> list[str]:
        """The methods that have a list of settings, all of the final state."""
        return [name for name, row in self.rows.items() if row.served and row.settings is not None]

    @staticmethod
    def of(base: Plan, chain: Chain | None, figure: Figure) -> "Costs":
        """Return the costs."""

        def make() -> tuple[Plan, Costs]:  # with the plan, whose identity it is known by
            return base, Costs._read(base.seen_through(chain), figure)

        return COSTS.get((id(base), *_slopes_key(chain), figure.key), make)[1]

    @staticmethod
    def _read(plan: Plan, figure: Figure) -> "Costs":
        rows = {row.name: row for row in plan if row.applies}
        costs = {name: figure(row) for name, row in rows.items()}
        lists = {name: cost for name, cost in costs.items() if rows[name].settings is not None}
        best = preferred(plan, figure)
        return Costs(rows, costs, best.name, _promising(costs), _promising(lists))

    def settings(self, method: str | None) -> int | None:
        """Return how many circuits and settings a method has, or the best one."""
        return self.rows[self.best if method is None else method].settings

    def figure(self, method: str | None) -> float:
        """Return the cost of a method, or of the best one."""
        return self.costs[self.best if method is None else method]

    def factor(self, method: str) -> float:
        """Return how many times more shots a method needs than the best one."""
        own = self.rows[method].cost
        return own / self.rows[self.best].cost if own > 0 else 1.0


def _promising(costs: dict[str, float]) -> list[str]:
    """Return the methods that may be the cheapest of some at other angles."""
    # Of all lists, echoes and shifts the mixture is the best; a simpler method has to be as good.
    near = {name: CLOSE if name in PARTS and "mixture" in costs else NEAR for name in costs}
    least = min(costs.values(), default=0.0)
    return [name for name, cost in costs.items() if cost <= near[name] * least or name == "mixture"]


def warn_if_losing(circuit: Circuit, row: PlanRow, best: PlanRow) -> None:
    """Say once for a circuit and a method how much less the best one needs."""
    cost, least = row.cost, best.cost
    if not cost > LOSING * least > 0:
        return
    if not _TOLD.add((circuit.n_qubits, circuit.n_gates, circuit.n_parameters, row.name, best.name)):
        return
    warnings.warn(
        f"method {row.name!r} needs {cost / least:.1f} times as many shots as {best.name!r} for this "
        f"circuit (variance of one shot {cost:.3g}, against {least:.3g})",
        UserWarning,
        stacklevel=2,
    )


def _warn_if_many(circuit: Circuit, row: PlanRow) -> None:
    """Say once for a circuit that a gradient takes many circuits and settings."""
    if row.settings is None or row.settings <= MANY:
        return
    if not _TOLD.add((circuit.n_qubits, circuit.n_gates, circuit.n_parameters, row.name, row.settings)):
        return
    warnings.warn(
        f"a gradient of this circuit by {row.name!r} takes {row.settings:,} circuits and settings, each "
        "with a shot or more: long derivatives are measured one by one. Fewer parameters or words of the "
        "observable make it shorter; the logger 'efl_core' says how far it has come "
        "(logging.basicConfig(level=logging.INFO))",
        UserWarning,
        stacklevel=2,
    )
