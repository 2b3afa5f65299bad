"""The loss as a random function of few parameters, of which all that was measured is known.

A Gaussian process with a squared-exponential covariance: every value that was measured, with its error, says
something of the points around it, for good. The trainer moves the best point downhill, by short steps. Where
values are nearly exact, as where a circuit costs as much as many shots, it measures where the loss may be
lowest, and few circuits are enough; where they are noisy it measures around the best point, on both sides.

Invariant: what comes next is a function of the values so far and of the random numbers given. Cost: of N
values at most `WINDOW` are kept, and a step takes a factorisation of that size.
"""

from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["MOST_NOISY", "MOST_PARAMETERS", "Surface"]

Vector: TypeAlias = NDArray[np.float64]
Table: TypeAlias = NDArray[np.float64]
# With more parameters points lie too far from each other to say anything of one another; noisy ones sooner.
MOST_PARAMETERS, MOST_NOISY = 8, 4
WINDOW = 200
# Variances of the covariance that are compared, in units of what a shot says.
VARIANCES = (1 / 16, 1 / 4, 1.0, 4.0)
# How far the best point may move in a step, in lengths of the covariance. Long moves leave the valley that a
# run starts in.
MOVE = 0.2
# By how many standard errors the loss may be lower than it seems, where the next point is chosen.
HOPEFUL = 2.0
# The covariance is chosen anew after each of so many values, and then after so many more.
SETTLED = 16
CANDIDATES, FINALISTS = 64, 4


@dataclass(frozen=True, slots=True)
class Habits:
    """What suits values of a kind."""

    lengths: tuple[float, ...]
    """Lengths of the covariance that are compared, in units of what the circuit says: noise looks short."""
    reach: float
    """How far the next point is from the best, in lengths."""
    sure: float
    """How many standard errors count against a point where nothing is known."""


EXACT = Habits(lengths=(0.5, 0.7, 1.0, 1.4, 2.0), reach=0.4, sure=0.0)
NOISY = Habits(lengths=(1.0, 1.4, 2.0), reach=0.6, sure=0.5)


class Surface:
    """What is known of a loss, and where to look next.

    ``length`` is the `natural_length` of the circuit, ``variance`` that of one shot, and ``noisy`` says that
    values are of few shots each.
    """

    name = "surface"

    def __init__(self, start: Vector, length: float, variance: float, noisy: bool = False) -> None:
        self._start, self._variance = np.array(start), variance
        self.noisy, self._habits = noisy, NOISY if noisy else EXACT
        self._opposite: Vector | None = None
        # The length of one parameter alone: of all together it is shorter.
        self._unit = length * float(np.sqrt(2 * len(start)))
        self._points = np.zeros((0, len(start)))
        self._values, self._errors = np.zeros(0), np.zeros(0)
        self._best = np.zeros(len(start))
        self._length, self._factor, self._mean, self._count = 1.0, 1.0, 0.0, 0
        self._weights: Vector = np.zeros(0)
        self._inverse: Table = np.zeros((0, 0))

    @property
    def best(self) -> Vector:
        """The parameters that the run has come to."""
        return self._place(self._best)

    def _place(self, moved: Vector) -> Vector:
        place: Vector = self._start + self._unit * moved
        return place

    @property
    def _scale(self) -> float:
        return self._variance * self._factor

    @property
    def value(self) -> tuple[float, float] | None:
        """The loss there, from all that was measured, and its standard error."""
        if not len(self._values):
            return None
        mean, error, *_ = self._at(self._best[None])
        return float(mean[0]), float(error[0])

    @property
    def slope(self) -> tuple[Vector, float]:
        """The gradient there, by the parameters, and the sum of the squared errors of its entries."""
        if not len(self._values):
            return np.zeros(len(self._start)), np.inf
        apart = (self._best - self._points) / self._length
        near = self._scale * np.exp(-0.5 * (apart**2).sum(axis=1))
        slopes = -near[:, None] * apart / self._length
        square = len(self._start) * self._scale / self._length**2
        known = float(np.sum((self._inverse @ slopes) ** 2))
        return self._weights @ slopes / self._unit, max(square - known, 0.0) / self._unit**2

    def next(self, random: "np.random.Generator") -> Vector:
        """Return where to measure: around the best point, or where the loss may be lowest near it."""
        if not len(self._values):
            return self.best
        if self._opposite is not None:
            place, self._opposite = self._opposite, None
            return place
        reach, size = self._habits.reach * self._length, len(self._start)
        sides = random.normal(size=(1 if self.noisy else CANDIDATES, size))
        sides *= reach / np.linalg.norm(sides, axis=1, keepdims=True)
        if self.noisy:
            self._opposite = self._place(self._best - sides[0])
            return self._place(self._best + sides[0])
        sides *= random.uniform(0.3, 1, (CANDIDATES, 1))
        mean, error, *_ = self._at(self._best + sides)
        order = np.argsort(mean - HOPEFUL * error, kind="stable")[:FINALISTS]
        found, bounds = self._descend(self._best + sides[order], -HOPEFUL, reach, steps=15)
        return self._place(found[np.argmin(bounds)])

    def add(self, point: Vector, value: float, variance: float) -> None:
        """Take note of a value, and move the best point downhill."""
        moved = (np.asarray(point) - self._start) / self._unit
        self._points = np.vstack([self._points, moved])[-WINDOW:]
        self._values = np.append(self._values, value)[-WINDOW:]
        self._errors = np.append(self._errors, variance)[-WINDOW:]
        self._count += 1
        self._fit()
        found, _ = self._descend(self._best[None], self._habits.sure, MOVE * self._length, steps=15)
        self._best = found[0]

    def _fit(self) -> None:
        """Solve for the values; now and then choose the length and the variance that explain them best."""
        squares = ((self._points[:, None] - self._points[None]) ** 2).sum(axis=2)
        if self._count <= SETTLED or self._count % SETTLED == 0:
            tried = [
                (self._solved(squares, length, factor)[0], length, factor)
                for length in self._habits.lengths
                for factor in VARIANCES
            ]
            _, self._length, self._factor = max(tried)
        _, mean, rest, root = self._solved(squares, self._length, self._factor)
        self._mean = mean
        self._inverse = np.linalg.inv(root)
        self._weights = self._inverse.T @ rest

    def _solved(self, squares: Table, length: float, factor: float) -> tuple[float, float, Any, Any]:
        """Return how well a length and a variance explain the values; their mean, the rest, and the root."""
        scale = self._variance * factor
        # A part in 1e10 more on the diagonal: points that coincide stay apart.
        noise = np.diag(self._errors + 1e-10 * scale)
        root = np.linalg.cholesky(scale * np.exp(-0.5 * squares / length**2) + noise)
        one, values = np.linalg.solve(root, np.stack([np.ones(len(squares)), self._values], axis=1)).T
        # The mean is unknown, by about what a shot is.
        precision = one @ one + 1 / self._variance
        mean = float((one @ values) / precision)
        rest = values - mean * one
        score = -0.5 * (rest @ rest + mean**2 / self._variance + np.log(precision))
        score -= np.log(np.diag(root)).sum() + 0.5 * (np.log(length) / 0.7) ** 2
        return float(score - 0.25 * (np.log(factor) / 1.4) ** 2), mean, rest, root

    def _at(self, places: Table) -> tuple[Vector, Vector, Table, Table]:
        """Return means and standard errors at some places, and the gradients of both."""
        apart = (places[:, None] - self._points[None]) / self._length
        near = self._scale * np.exp(-0.5 * (apart**2).sum(axis=2))
        known = near @ self._inverse.T
        error = np.sqrt(np.maximum(self._scale - (known**2).sum(axis=1), 1e-12 * self._scale))
        slopes = -near[:, :, None] * apart / self._length
        of_mean = np.einsum("pnm,n->pm", slopes, self._weights)
        of_error = -np.einsum("pnm,pn->pm", slopes, known @ self._inverse) / error[:, None]
        return self._mean + near @ self._weights, error, of_mean, of_error

    def _descend(self, places: Table, errors: float, reach: float, steps: int) -> tuple[Table, Vector]:
        """Return where the mean plus so many errors is lowest, from each place and near the best point."""

        def bound(at: Table) -> tuple[Vector, Table]:
            mean, error, of_mean, of_error = self._at(at)
            return mean + errors * error, of_mean + errors * of_error

        size = np.full(len(places), 0.3 * self._length)
        value, slope = bound(places)
        for _ in range(steps):
            long = np.linalg.norm(slope, axis=1, keepdims=True)
            moved = places - size[:, None] * slope / np.maximum(long, 1e-300)
            away = moved - self._best
            far = np.linalg.norm(away, axis=1, keepdims=True)
            moved = self._best + away * np.minimum(1, reach / np.maximum(far, 1e-12))
            other, turned = bound(moved)
            lower = other < value
            places, slope = (np.where(lower[:, None], a, b) for a, b in ((moved, places), (turned, slope)))
            value, size = np.where(lower, other, value), np.where(lower, 1.3 * size, 0.5 * size)
        return places, value

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps, ready for JSON."""
        kept = {"points": self._points, "values": self._values, "errors": self._errors, "best": self._best}
        opposite = None if self._opposite is None else self._opposite.tolist()
        kind = {"length": self._length, "factor": self._factor, "count": self._count}
        return {"opposite": opposite, **kind, **{name: table.tolist() for name, table in kept.items()}}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        size, opposite = len(self._start), state["opposite"]
        self._opposite = None if opposite is None else np.array(opposite, dtype=np.float64)
        self._points = np.array(state["points"], dtype=np.float64).reshape(-1, size)
        self._values = np.array(state["values"], dtype=np.float64)
        self._errors = np.array(state["errors"], dtype=np.float64)
        self._best = np.array(state["best"], dtype=np.float64)
        self._length, self._factor = float(state["length"]), float(state["factor"])
        self._count = int(state["count"])
        if len(self._values):
            self._fit()
