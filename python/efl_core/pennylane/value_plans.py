"""Plans of values: product settings that reveal every word of some sums, one search for each list of sums."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efl_core import _native
from efl_core.ensembles import Ensemble, Setting
from efl_core.observables import PauliSum
from efl_core.pennylane.caches import Cache
from efl_core.pennylane.keys import key_of

__all__ = ["ValuePlan", "plan_values"]

PLANS = Cache(128)
# Words that a search for settings of values visits; sums of a few hundred words are done long before.
VALUE_EFFORT = 5_000_000


@dataclass(frozen=True, eq=False)
class ValuePlan:
    """Product settings that reveal every word of some sums, with their shares of the shots."""

    sums: tuple[PauliSum, ...]
    _native: _native.Plan

    @cached_property
    def n_settings(self) -> int:
        """How many settings there are: none, where the sums are multiples of the identity."""
        return len(self._native.experiments("product"))

    @cached_property
    def cost(self) -> float:
        """Variance of one shot, averaged over the sums: ``cost / eps**2`` shots for the error eps."""
        return self.cost_in(self._native.ensemble("product")) if self.n_settings else 0.0

    def cost_in(self, ensemble: Ensemble) -> float:
        """Return the cost in settings of another ensemble; infinite if it does not reveal every word."""
        return float(np.mean([_variance(sum, ensemble) for sum in self.sums]))

    def allocate(self, shots: int, seed: int) -> list[tuple[Setting, int]]:
        """Return the settings with whole numbers of shots, at least one each; without bias."""
        found = self._native.allocate("product", shots, seed) if self.n_settings else []
        return [(experiment.setting, count) for experiment, count in found]


def plan_values(sums: Sequence[PauliSum]) -> ValuePlan:
    """Plan the measurement of sums on one state."""
    width = sums[0].n_qubits

    def make() -> ValuePlan:
        circuit, nothing = _native.Circuit(width, 0), np.zeros(0)
        native = _native.Plan(
            circuit=circuit,
            theta=nothing,
            observables=list(sums),
            bloch=None,
            connectivity="none",
            value_weight=1.0,
            effort=VALUE_EFFORT,
        )
        return ValuePlan(tuple(sums), native)

    return PLANS.get((width, key_of(sums)), make)


def _variance(sum: PauliSum, ensemble: Ensemble) -> float:
    """Return the variance of one shot at the maximally mixed state."""
    variance = 0.0
    for word, coefficient in sum.terms():
        if word.weight:
            chance = ensemble.reveal_probability(word)
            variance += coefficient**2 / chance if chance > 0 else math.inf
    return variance
