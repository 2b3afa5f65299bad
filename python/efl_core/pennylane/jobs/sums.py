"""Derivatives that are sums of words on the final state, read from snapshots of it.

The gradient observables of a circuit, in settings that are drawn for every shot; and what coefficients of
observables multiply, in settings of their own.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efl_core.calibrations import Calibration
from efl_core.estimates import Combine, estimate
from efl_core.observables import PauliSum
from efl_core.pennylane.execution.runs import Bits, Draw, Job, Program, Run
from efl_core.pennylane.jobs.values import value_snapshots
from efl_core.pennylane.jobs.wanted import Wanted
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.planning import Drawn
from efl_core.pennylane.statistics import Table
from efl_core.snapshots import Snapshots

__all__ = ["DrawnPart", "WordsPart", "drawn_part"]


@dataclass(frozen=True, slots=True, eq=False)
class Sums:
    """Sums, and the derivative that each is: (observable, trainable parameter)."""

    sums: tuple[PauliSum, ...]
    places: tuple[tuple[int, int], ...]
    shape: tuple[int, int]
    combine: Combine
    calibration: Calibration | None

    def read(self, snaps: Snapshots) -> "SumsFound":
        """Estimate them."""
        value, variance = np.zeros(self.shape), np.zeros(self.shape)
        if self.sums:
            found = estimate(snaps, self.sums, combine=self.combine, calibration=self.calibration)
            where = tuple(np.transpose(self.places))
            value[where] = found.value
            variance[where] = np.square(found.stderr)
        return SumsFound(value, variance, self, snaps)


@dataclass(frozen=True, slots=True, eq=False)
class SumsFound:
    """What snapshots say of sums; see `Found`."""

    value: Table
    variance: Table
    sums: Sums
    snaps: Snapshots

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return self.snaps.nbytes

    def variances(self, weights: Table) -> Table:
        """Return variances of combinations."""
        variances = np.zeros(len(weights))
        sums, places = self.sums.sums, self.sums.places
        own = np.array([weights[:, m, t] for m, t in places]).reshape(len(places), len(weights))
        moved = np.flatnonzero(own.any(axis=0))
        if len(moved):
            combined = [
                sum((sums[i] * own[i, c] for i in np.flatnonzero(own[:, c])), 0 * sums[0]) for c in moved
            ]
            rule, calibration = self.sums.combine, self.sums.calibration
            found = estimate(self.snaps, combined, combine=rule, calibration=calibration)
            variances[moved] = np.square(found.stderr)
        return variances


@dataclass(frozen=True, slots=True, eq=False)
class DrawnPart:
    """Gradient observables, from snapshots in an ensemble."""

    sums: Sums
    draw: Draw

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""
        return [self.draw]

    def read(self, outcomes: Sequence[Snapshots]) -> SumsFound:
        """Return what the outcome of the job says."""
        [snaps] = outcomes
        return self.sums.read(snaps)


@dataclass(frozen=True, slots=True, eq=False)
class WordsPart:
    """What coefficients multiply, from settings that are designed for it."""

    wanted: Wanted
    runs: tuple[Run, ...]
    correction: Correction

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""
        return list(self.runs)

    def read(self, outcomes: Sequence[Bits]) -> SumsFound:
        """Return what the outcomes of the jobs say."""
        own = self.wanted.coefficients
        places = tuple((c.observable, c.parameter) for c in own)
        read = self.correction.sums([c.sum for c in own])
        sums = Sums(read, places, self.wanted.shape, "hit_normalised", self.correction.calibration)
        settings = [run.setting for run in self.runs]
        return sums.read(value_snapshots(list(zip(settings, outcomes, strict=True))))


def drawn_part(
    wanted: Wanted, final: Program, drawn: Drawn, shots: int, combine: Combine, correction: Correction
) -> DrawnPart:
    """Return the measurement of gradient observables; derivatives that vanish identically are left out.

    Not their values: an ensemble that was designed for derivatives may never reveal those.
    """
    correction.check_ensemble(drawn.ensemble)
    observables = drawn.observables
    moving: NDArray[np.intp] = np.argwhere(~observables.is_zero.reshape(wanted.shape[0], -1))
    sums = correction.sums([observables.derivative(m, k) for m, k in moving])
    places = tuple((int(m), wanted.by_gates[k]) for m, k in moving)
    read = Sums(sums, places, wanted.shape, combine, correction.calibration)
    return DrawnPart(read, Draw(final, drawn.ensemble, shots))
