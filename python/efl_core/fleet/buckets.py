"""What replicas that lie can do to a gradient, and a mean that they move less: buckets vote, ends are cut.

Replicas are spread over buckets by a hash. A liar chooses the bits that he sends, not the settings, and so
moves the mean by a bounded amount, `liar_bound`. The trimmed mean over buckets loses the outermost of them on
both sides before it averages: liars in fewer buckets than are cut can only shift where the honest ones are
cut. Each bucket has one vote, however many queries it sent.

The means of buckets with few queries are skewed, and what is cut off then moves the gradient; how many such
there are is told. A fraction of liars above the part that is cut is not helped.

Invariant: the order of tallies does not matter. Cost: a mean for each bucket, and a sort.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.fleet.losses import Expectation, Loss
from efl_core.fleet.versions import Version

__all__ = ["LiarBound", "Trimmed", "liar_bound", "pooled_mean", "trimmed_mean"]

Floats = NDArray[np.float64]
# Queries below which the mean of a bucket is too skewed to be trimmed, and buckets below which there are few.
LEAST_QUERIES, LEAST_BUCKETS = 10, 10


@dataclass(frozen=True, slots=True, eq=False)
class Trimmed:
    """A trimmed mean over the buckets of a fleet."""

    value: Floats
    """The derivatives."""
    stderr: Floats
    """Their standard errors, by the spread of what is left."""
    buckets: int
    """Buckets with a contribution."""
    cut: int
    """How many of them are left out at each end, for each derivative."""
    small: int
    """Buckets with fewer than 10 queries."""

    @property
    def warning(self) -> str:
        """Why it may not be believed; empty if nothing speaks against it."""
        if self.buckets < LEAST_BUCKETS:
            return f"{self.buckets} buckets have contributions: trimming takes {LEAST_BUCKETS} or more"
        if self.small:
            return (
                f"{self.small} of {self.buckets} buckets have fewer than {LEAST_QUERIES} queries: their "
                "means are skewed, and trimming moves the gradient"
            )
        return ""

    def __str__(self) -> str:
        size = math.sqrt(float(np.mean(np.square(self.value))))
        error = math.sqrt(float(np.mean(np.square(self.stderr))))
        warning = f" ({self.warning})" if self.warning else ""
        cut = f"of {self.buckets} buckets, {self.cut} cut at each end"
        return f"trimmed {size:.4f} +- {error:.4f} {cut}{warning}"


def pooled_mean(
    tallies: "Sequence[_native.FleetTally]", weights: Floats, size: int
) -> tuple[Floats, Floats, int]:
    """Return the mean of tallies, each with its weight, its standard errors, and how many queries say it.

    Of so many derivatives; what is counted behind them is by how much they are wrong in each direction of a
    calibration. That is common to all queries, so it does not average away.
    """
    mean, stderr, queries = _native.fleet_gradient(tallies, weights)
    if len(mean) == size:
        return mean, stderr, queries
    return mean[:size], np.hypot(stderr[:size], _wrong(mean, size)), queries


def trimmed_mean(
    held: "Sequence[tuple[int, int, _native.FleetTally]]",
    weights: Floats,
    shape: tuple[int, ...],
    part: float,
) -> Trimmed:
    """Return the trimmed mean of tallies ``(version, bucket, tally)``, each with its weight."""
    places: dict[int, list[int]] = {}
    for place, (_, bucket, tally) in enumerate(held):
        if tally.queries:
            places.setdefault(bucket, []).append(place)
    means, small = [], 0
    for bucket in sorted(places):
        own = places[bucket]
        mean, _, queries = _native.fleet_gradient([held[i][2] for i in own], weights[own])
        means.append(mean[: math.prod(shape)])
        small += queries < LEAST_QUERIES
    table = np.sort(np.stack(means), axis=0)
    count = len(table)
    cut = min(int(part * count), (count - 1) // 2)
    kept = table[cut : count - cut]
    spread = (
        np.clip(table, kept[0], kept[-1]).std(axis=0, ddof=1) if count > 1 else np.full(kept[0].shape, np.nan)
    )
    stderr = spread / ((1 - 2 * cut / count) * math.sqrt(count))
    mean, _, _ = _native.fleet_gradient([tally for _, _, tally in held], weights)
    if len(mean) > table.shape[1]:  # the calibration is common to all buckets
        stderr = np.hypot(stderr, _wrong(mean, table.shape[1]))
    return Trimmed(kept.mean(axis=0).reshape(shape), stderr.reshape(shape), count, cut, small)


def _wrong(mean: Floats, size: int) -> Floats:
    """Return the errors of so many derivatives because of their calibration."""
    found: Floats = np.sqrt(np.square(mean[size:]).reshape(-1, size).sum(axis=0))
    return found


@dataclass(frozen=True, slots=True, eq=False)
class LiarBound:
    """How far liars can move the mean: print it."""

    fraction: float
    """Of the queries that are theirs."""
    value: Floats
    """The most that a derivative is moved, in the shape of the parameters."""
    norm: Floats
    """The largest that a query can say of a derivative, on average over settings."""

    def __str__(self) -> str:
        rms, most = math.sqrt(float(np.mean(np.square(self.value)))), float(self.value.max())
        return (
            f"liars with {self.fraction:.0%} of the queries move a derivative by {most:.3g} at most, "
            f"{rms:.3g} RMS over all: {self.fraction:g} (||c||_1 + |g|)"
        )


def liar_bound(version: Version, loss: Loss, gradient: Floats, fraction: float, weight: float) -> LiarBound:
    """Return by how much liars with a fraction of the queries can move the mean of a gradient."""
    if not 0 <= fraction <= 1:
        raise InvalidInputError.of("fraction", "a part of the queries, from 0 to 1", fraction)
    if not weight > 0:
        raise InvalidInputError.of("weight", "the largest slope of the loss, above 0", weight)
    outputs = len(version.model.outputs)
    known = np.abs(loss.of(outputs)) if isinstance(loss, Expectation) else np.full(outputs, weight)
    norm = known @ _norms(version)
    value = fraction * (norm + np.abs(gradient).ravel())
    return LiarBound(fraction, value.reshape(gradient.shape), norm.reshape(gradient.shape))


def _norms(version: Version) -> Floats:
    """Return the 1-norms of what is read for each output and argument, shape ``(outputs, arguments)``."""
    slopes = version.point.slopes
    parameters, arguments = slopes.shape
    total = np.zeros((len(version.model.outputs), arguments))
    for entry in version.roster.entries:
        words: dict[tuple[int, str], Floats] = {}
        if isinstance(entry.experiment, Experiment):
            native = entry.native
            read = [(row, native.reading(i)) for i, row in enumerate(native.rows)]
        else:
            read = list(entry.readings)
        for row, own in read:
            output, parameter = divmod(row, parameters)
            for word, c in own.terms():
                name = output, word.label
                found = words.get(name)
                step = c * slopes[parameter]
                words[name] = step if found is None else found + step
        for (output, _), own_c in words.items():
            total[output] += np.abs(own_c)
    return total
