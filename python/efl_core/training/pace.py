"""How much a step may cost: the budget, the shots that come next, and when no gradient is left to see.

Invariant: shots and circuits of a step follow from what was measured before, never from the step itself, so
that gradients stay unbiased.
"""

import math
from dataclasses import asdict, dataclass, field
from typing import Any

from efl_core.arguments import integer, real
from efl_core.errors import InvalidInputError
from efl_core.plans import Cost

__all__ = ["Budget", "Pace", "Progress", "shots_per_setting"]

# How much larger a step may be than the largest before: where the gradient vanishes no number is enough.
GROWTH = 1.2
# A minimum is reached where the gradient is not seen, with an error of so much of the largest that was.
SMALL = 0.03
# A gradient is seen where its square is so many deviations above what errors alone make.
SEEN = 8.0
# Over so many steps at least.
LEAST_STEPS = 20


def shots_per_setting(cost: Cost) -> float:
    """Return the shots of a setting beyond which another setting says more for the same cost.

    As if settings differed as much as the shots of one do.
    """
    return max(1.0, math.sqrt(cost.circuit / cost.shot)) if cost.shot > 0 else math.inf


@dataclass(frozen=True, slots=True)
class Budget:
    """What a training run may take at most; None where there is no bound."""

    shots: int | None = None
    circuits: int | None = None
    cost: float | None = None
    steps: int | None = None

    def __post_init__(self) -> None:
        for name in ("shots", "circuits", "steps"):
            if getattr(self, name) is not None:
                object.__setattr__(self, name, integer(name, getattr(self, name), 1))
        if self.cost is not None:
            value = real("cost", self.cost)
            if not value > 0:
                raise InvalidInputError.of("cost", "a number above zero", value)
            object.__setattr__(self, "cost", value)

    def spent(self, **used: float) -> str | None:
        """Return the name of the first bound that is reached."""
        for name, value in used.items():
            most = getattr(self, name)
            if most is not None and value >= most:
                return name
        return None

    def left(self, shots: int) -> int | None:
        """Return how many shots are left."""
        return None if self.shots is None else max(self.shots - shots, 0)


@dataclass
class Pace:
    """How many shots the next step takes: so many that its noise is ``noise`` times the gradient.

    Both are known from running means: the variance of one shot, all derivatives together, and the square of
    the gradient, of which the variance of its mean is taken off. At a minimum nothing is left of it, and
    steps grow until a budget ends them.
    """

    noise: float
    least: int
    most: int
    forget: float = 0.9
    variance: float = 0.0
    weight: float = 0.0
    mean: list[float] = field(default_factory=list)
    error: float = 0.0
    largest: float = 0.0

    def shots(self) -> int:
        """Return the shots of the next step."""
        if not self.weight:
            return self.least
        variance = self.variance / self.weight
        signal = sum((m / self.weight) ** 2 for m in self.mean) - self.error / self.weight**2
        # What cannot be told from noise is at most as large as that.
        signal = max(signal, 0.1 * self.error / self.weight**2, 1e-300)
        wanted = variance / (self.noise**2 * signal)
        return int(min(max(min(wanted, GROWTH * self.largest), self.least), self.most))

    def add(self, gradient: list[float], variance: float, shots: int) -> None:
        """Take note of a step: its gradient, its variance (all derivatives together) and its shots."""
        part = 1 - self.forget
        self.largest = max(self.largest, 10.0 * self.least, shots)
        if not self.mean:
            self.mean = [0.0] * len(gradient)
        self.weight = self.forget * self.weight + part
        self.variance = self.forget * self.variance + part * variance * shots
        self.mean = [self.forget * m + part * g for m, g in zip(self.mean, gradient, strict=True)]
        self.error = self.forget**2 * self.error + part**2 * variance

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps."""
        return {name: getattr(self, name) for name in ("variance", "weight", "mean", "error", "largest")}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        for name in ("variance", "weight", "error", "largest"):
            setattr(self, name, float(state[name]))
        self.mean = [float(m) for m in state["mean"]]


@dataclass
class Progress:
    """Whether there is a gradient still: its mean over the steps since it was last seen, by their shots.

    Where the mean stands out from its error there is one, and the mean begins anew. Where it does not, while
    its error is a small part of the largest gradient that was seen, the run has converged.
    """

    largest: float = 0.0
    mean: list[float] = field(default_factory=list)
    variance: float = 0.0
    shots: float = 0.0
    steps: int = 0

    def add(self, gradient: list[float], variance: float, shots: int) -> bool:
        """Take note of a step, its variance for all derivatives together; return whether to end."""
        if not self.mean:
            self.mean = [0.0] * len(gradient)
        self.mean = [m + shots * g for m, g in zip(self.mean, gradient, strict=True)]
        self.variance += shots**2 * variance
        self.shots += shots
        self.steps += 1
        return self.judge(sum(m * m for m in self.mean), self.variance, self.shots, self.steps >= LEAST_STEPS)

    def judge(self, square: float, variance: float, shots: float, long: bool) -> bool:
        """Return whether a gradient of this square, and variance, both times the squared shots, is none."""
        if not shots > 0:
            return False
        if square > variance * (1 + SEEN * math.sqrt(2 / max(len(self.mean), 1))):
            self.largest = max(self.largest, math.sqrt(square - variance) / shots)
            self.mean, self.variance, self.shots, self.steps = [0.0] * len(self.mean), 0.0, 0.0, 0
            return False
        return long and math.sqrt(variance) / shots < SMALL * self.largest

    @property
    def error(self) -> float:
        """The error of the gradient since it was last seen."""
        return math.sqrt(self.variance) / self.shots if self.shots else math.inf

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps."""
        return asdict(self)

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        for name in ("largest", "variance", "shots"):
            setattr(self, name, float(state[name]))
        self.mean, self.steps = [float(m) for m in state["mean"]], int(state["steps"])
