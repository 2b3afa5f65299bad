"""Rows of a plan: what each method costs, for derivatives by parameters or, by the chain rule, by arguments.

The core finds variances by the parameters of the circuit. Where several parameters share an argument the
variance by arguments is not a weighted sum of those: it takes the words, or the experiments, once more.
"""

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core._native import TIE
from efl_core.chains import Chain
from efl_core.errors import InvalidInputError
from efl_core.plans.options import PlanOptions

__all__ = ["PlanRow", "RowReader", "preferred"]

# A row of the core: name, cost, worst variance, settings, circuits, (gates, two-qubit gates, depth) beyond
# the circuit's own, served, bound, note, whether the figures are those of a state.
Found: TypeAlias = tuple[
    str, float, float, int | None, int, tuple[int, int, int], bool, bool, str | None, bool
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
    at_state: bool = False
    """Whether the figures are those of the plan's state; else they are averages over all states."""

    @property
    def applies(self) -> bool:
        """Whether the method can be run."""
        return self.shots is not None and not self.bound


@dataclass(frozen=True, slots=True, eq=False)
class RowReader:
    """Makes the rows of one plan from those of the core."""

    native: _native.Plan
    options: PlanOptions
    chain: Chain | None
    shape: tuple[int, int]
    """Observables and parameters of the circuit."""
    with_gain: bool
    """Whether the plan follows one that the user has seen."""

    def read(self, found: Found) -> PlanRow:
        """Return the row of a method."""
        name, cost, worst, settings, circuits, extra, served, bound, note, at_state = found
        flat = self.native.variances(name)
        variances = flat.reshape(self.shape) if len(flat) or not self.shape[1] else None
        if self.chain is not None and math.isfinite(cost):
            if bound and self.chain.is_shared:
                cost = worst = math.inf
                bound, note = False, f"{note}; no bound is known where arguments are shared"
            elif variances is None:
                cost, worst = (_bound(self.chain, figure) for figure in (cost, worst))
            else:
                known = self.native.moving()
                moving = variances > 0 if known is None else np.reshape(known, self.shape)
                variances = self._by_arguments(self.chain, name, settings, variances, at_state=at_state)
                cost, worst = self._figures(self.chain, variances, moving)
        return PlanRow(
            name=name,
            shots=_shots(cost, self.options.target),
            worst_shots=_shots(worst, self.options.target),
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
            gain=self.native.gain(name) if self.with_gain else None,
            at_state=at_state,
        )

    def _by_arguments(
        self,
        chain: Chain,
        name: str,
        settings: int | None,
        variances: NDArray[np.float64],
        *,
        at_state: bool,
    ) -> NDArray[np.float64]:
        """Return the variances of one shot by arguments, given those by parameters."""
        if not chain.is_shared:
            return chain.of_parameters(variances)
        if at_state:
            return self.native.by_arguments(name).reshape(self.shape[0], -1)
        if settings is None:
            return chain.of_ensemble(self.native.ensemble(name), self.native.observables)
        return chain.of_experiments(self.native.experiments(name), self.shape[0])

    def _figures(
        self, chain: Chain, variances: NDArray[np.float64], moving: NDArray[np.bool_]
    ) -> tuple[float, float]:
        """Return the mean and the largest variance by arguments."""
        weights = chain.live(moving).astype(np.float64)
        if not isinstance(self.options.goal, str):
            weights = weights * np.reshape(self.options.goal, weights.shape)
        counted = variances if variances.shape != weights.shape else variances[weights > 0]
        total = (weights * variances).sum() if variances.shape == weights.shape else variances.sum()
        return (float(total / weights.sum()), float(counted.max())) if weights.any() else (0.0, 0.0)


def _bound(chain: Chain, cost: float) -> float:
    """Return a bound by arguments that feed one parameter each, given that by parameters."""
    return cost * float(chain.squares.sum()) / max(1, int(chain.pattern.any(axis=0).sum()))


def _shots(cost: float, target: float) -> int | None:
    if not math.isfinite(cost):
        return None
    found = cost / target / target
    if not math.isfinite(found):
        raise InvalidInputError.of("target", "an error that fewer than 1e308 shots reach", target)
    # A whole number stays one after rounding; and what varies at all takes a shot, whatever the target.
    return max(math.ceil(found * (1 - 1e-12)), int(cost > 0))


def preferred(rows: Iterable[PlanRow], figure: Callable[[PlanRow], float]) -> PlanRow:
    """Return the row of the smallest figure that can be run: the first in a plan of those within 2 %.

    Lists of settings go before settings that are drawn, of which a device would have to run many more. Rows
    for a state, if there are some, are compared with each other only.
    """
    known = sorted((row for row in rows if row.applies), key=lambda row: row.settings is None)
    known = [row for row in known if row.at_state] or known
    figures = [figure(row) for row in known]
    return known[next(i for i, found in enumerate(figures) if found <= TIE * min(figures))]
