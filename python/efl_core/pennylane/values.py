"""The values of a tape: which settings of its final state read them, and what the outcomes say.

The settings are products of letters, without two-qubit gates. A word is pooled over all settings that reveal
it, the settings of a gradient included when those are of the final state.

Invariant: a value depends on the outcomes alone; its standard error includes the covariances of its words.
Cost: one search for settings for each list of observables, then one count for each tape.
"""

import math
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InvalidInputError
from efl_core.estimates import estimate
from efl_core.observables import PauliSum
from efl_core.pennylane.execution import Program, Run
from efl_core.snapshots import Snapshots

__all__ = ["Values", "equal_piece"]

# Words that a search for settings visits; sums of a few hundred words are done long before.
EFFORT = 5_000_000


class Values:
    """Observables that are read from one final state, and the error that is wanted."""

    def __init__(self, observables: Sequence[PauliSum], target: float | None = None) -> None:
        self.observables = tuple(observables)
        self.target = target
        widths = tuple((tuple(sum.terms()), sum.n_qubits) for sum in self.observables)
        self._plan, self.n_settings = _plan(widths)

    @property
    def cost(self) -> float:
        """Variance of one shot, averaged over the observables: ``cost / eps**2`` shots for the error eps."""
        return self.cost_in(self._plan.ensemble("product")) if self.n_settings else 0.0

    def cost_in(self, ensemble: Ensemble) -> float:
        """Return the cost in settings of another ensemble; infinite if it does not reveal every word."""
        return float(np.mean([_cost(sum, ensemble) for sum in self.observables]))

    @property
    def needed(self) -> int:
        """Shots for the target."""
        return self.missing(0, math.inf)

    def missing(self, shots: int, cost: float) -> int:
        """Return the shots for the target beside others, of which one has the variance ``cost``."""
        if self.target is None or not self.n_settings:
            return 0
        rest = self.cost * (1 / self.target**2 - shots / cost)
        return max(math.ceil(rest), self.n_settings) if rest > 0 else 0

    def part(self, shots: int, other: float, cost: float) -> int:
        """Return how many of so many shots go to settings of the values' own.

        None where the others, of which one has the variance ``cost``, read the values anyway; else so many
        that the values get the error of what the others measure, with the variance ``other`` of one shot.
        """
        if cost < math.inf or not self.n_settings:
            return 0
        share = self.cost / (self.cost + other)
        return min(max(round(shots * share), self.n_settings), shots)

    def runs(self, program: Program, shots: int, seed: int, piece: int | None) -> list[Run]:
        """Return the settings in runs of ``piece`` shots, where 1 is any number and None a good one."""
        if not self.n_settings:
            return []
        if shots < self.n_settings:
            raise InvalidInputError(
                f"shots: expected at least {self.n_settings}, one for each setting that the values are read "
                f"in, got {shots}"
            )
        if piece is None:
            piece = equal_piece(shots, self.n_settings)
        pieces = max(shots // piece, self.n_settings)
        runs = []
        for found, count in self._plan.allocate("product", pieces, seed):
            own = [count] if piece == 1 else [piece] * count
            runs += [Run(program, found.setting, shots) for shots in own]
        return runs

    def read(
        self, measured: Sequence[tuple[Setting, NDArray[np.uint8]]]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the values and their standard errors, from settings of the final state and their bits."""
        counts = np.array([len(bits) for _, bits in measured])
        if not measured:  # nothing but multiples of the identity
            constants = [float(sum.coefficients.sum()) for sum in self.observables]
            return np.array(constants), np.zeros(len(constants))
        ensemble = Ensemble.settings([setting for setting, _ in measured], counts / counts.sum())
        bits = np.concatenate([bits for _, bits in measured])
        which = np.repeat(np.arange(len(measured)), counts)
        snaps = Snapshots.from_settings(bits, which, ensemble=ensemble)
        found = estimate(snaps, self.observables, combine="hit_normalised")
        return np.asarray(found.value), np.asarray(found.stderr)


def equal_piece(shots: int, settings: int) -> int:
    """Return the shots of one run, where all runs have the same: about four runs for each setting."""
    return max(1, shots // (4 * settings))


@lru_cache(maxsize=64)
def _plan(observables: tuple[Any, ...]) -> tuple[_native.Plan, int]:
    """Plan settings for sums, given by their terms and widths, and count them."""
    sums = [PauliSum(terms, n_qubits=width) for terms, width in observables]
    nothing = np.zeros(0)
    circuit = _native.Circuit(sums[0].n_qubits, 0)
    plan = _native.Plan(
        circuit=circuit,
        theta=nothing,
        observables=sums,
        bloch=None,
        connectivity="none",
        value_weight=1.0,
        effort=EFFORT,
    )
    return plan, len(plan.experiments("product"))


def _cost(sum: PauliSum, ensemble: Ensemble) -> float:
    """Variance of one shot at the maximally mixed state."""
    cost = 0.0
    for word, coefficient in sum.terms():
        if word.weight:
            chance = ensemble.reveal_probability(word)
            cost += coefficient**2 / chance if chance > 0 else math.inf
    return cost
