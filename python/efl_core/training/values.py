"""The value of a loss at one or several points, from product settings that are drawn by their shares.

Invariant: errors are those of the shots, and of the settings that were drawn where others might have been.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.circuits import Circuit
from efl_core.designs import design
from efl_core.ensembles import Setting
from efl_core.observables import PauliSum
from efl_core.training.sources import GOLDEN, Request, Run, mixed

__all__ = ["Loss", "Values"]

Vector: TypeAlias = NDArray[np.float64]
Table: TypeAlias = NDArray[np.float64]
# What is known of the spread of shots before any is taken counts as so many shots.
PRIOR = 2.0


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """What settings say of the loss at some points; all points are read in the same settings."""

    means: Table
    """A row for every point, a column for every setting."""
    within: Table
    """The variances of these means, from shots that differ."""
    times: NDArray[np.int64]
    """How often each setting was drawn."""
    chance: float
    """Which part of the variance between settings their draws leave: 0 if all come in proportion."""
    square: float
    constant: float
    shots: int
    circuits: int

    def combined(self, factors: Sequence[float]) -> tuple[float, float]:
        """Return a combination of the values at the points, and its variance."""
        by_setting = np.asarray(factors) @ self.means
        draws = int(self.times.sum())
        mean = float(self.times @ by_setting) / draws
        # One more draw that differs as a shot does on the maximally mixed state: one draw says nothing of it.
        other = self.square * float(np.sum(np.square(factors)))
        spread = float(self.times @ (by_setting - mean) ** 2) + other
        shares = self.times / draws
        within = float(np.square(factors) @ self.within @ shares**2)
        return mean + self.constant * float(np.sum(factors)), self.chance * spread / draws**2 + within


class Loss:
    """The value of an observable, from product settings that are drawn by their shares."""

    def __init__(self, loss: PauliSum, run: Run) -> None:
        ensemble = design(loss, "product")
        self._run, self._settings = run, ensemble.setting_list
        shares = np.asarray(ensemble.probabilities)
        self._shares = shares / shares.sum()
        self._ends = np.cumsum(self._shares)
        terms = [(word, c) for word, c in loss.terms() if word.weight]
        chances = [ensemble.reveal_probability(word) for word, _ in terms]
        self.constant = sum(c for word, c in loss.terms() if not word.weight)
        self.square = sum(c * c / chance for (_, c), chance in zip(terms, chances, strict=True))
        """The variance of one shot, on the maximally mixed state."""
        self._reads = [_reads(setting, terms, chances, loss.n_qubits) for setting in self._settings]

    def measure(self, circuits: Sequence[Circuit], draws: int, shots: int, step: int, seed: int) -> Values:
        """Return what ``shots`` shots of every circuit say, in so many draws of settings."""
        start = (np.random.default_rng(seed).random() + step * GOLDEN) % 1
        drawn = np.searchsorted(self._ends, (start + np.arange(draws)) / draws * self._ends[-1])
        which, times = np.unique(drawn, return_counts=True)
        each = [max(1, round(shots * int(t) / draws)) for t in times]
        wanted = [(c, int(e), number) for c in circuits for e, number in zip(which, each, strict=True)]
        requests = [Request(circuit, self._settings[e], number) for circuit, e, number in wanted]
        bits = self._run(requests, mixed(seed, step))
        seen = np.array([self._read(e, own) for (_, e, _), own in zip(wanted, bits, strict=True)])
        table = seen.reshape(len(circuits), -1, 2)
        parts = (draws * self._shares) % 1
        return Values(
            means=table[:, :, 0],
            within=table[:, :, 1],
            times=times,
            chance=float(np.sum(parts * (1 - parts))) / draws,
            square=self.square,
            constant=self.constant,
            shots=sum(number for *_, number in wanted),
            circuits=len(wanted),
        )

    def _read(self, setting: int, bits: NDArray[np.uint8]) -> tuple[float, float]:
        """Return the mean of the shots and its variance."""
        masks, coefficients = self._reads[setting]
        values = (1 - 2 * ((bits.astype(np.int64) @ masks) % 2)) @ coefficients
        number, mean = len(values), float(np.mean(values))
        spread = PRIOR * float(coefficients @ coefficients) + float(np.sum((values - mean) ** 2))
        return mean, spread / (PRIOR + number - 1) / number


def _reads(
    setting: Setting,
    terms: Sequence[tuple[_native.PauliWord, float]],
    chances: Sequence[float],
    n_qubits: int,
) -> tuple[NDArray[np.int64], Vector]:
    """Return the masks of the words that a setting reveals, a column each, and what each parity counts."""
    masks, coefficients = [], []
    for (word, c), chance in zip(terms, chances, strict=True):
        found = setting.reveal(word)
        if found is not None:
            bits, sign = found
            masks.append(np.isin(np.arange(n_qubits), bits))
            coefficients.append(sign * c / chance)
    return np.array(masks, dtype=np.int64).T, np.array(coefficients)
