"""What a learner says: the price beforehand, a gradient with its errors, and what a step was."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import real
from efl_core.errors import InvalidInputError
from efl_core.fleet.buckets import Trimmed
from efl_core.fleet.roster import Roster

__all__ = ["FleetGradient", "Forecast", "Price", "Report", "price_of"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Price:
    """What teaching costs, known before anything is served."""

    shots: int
    """Shots of a query."""
    share: float
    """The part of them that teaches."""
    stretch: float
    """How many times longer the standard errors of answers are than with all shots."""
    method: str
    """How derivatives are read: a row of `efl.plan`."""
    circuits: int
    """Circuits that teach, settings left out; 1 is the circuit that is served."""
    entries: int
    """Circuits and settings that teach."""
    settings: int
    """How many of those a query runs."""
    variance: float
    """Of a derivative, by the teaching shots of one query of weight 1, on average over states."""

    @property
    def worth(self) -> float:
        """The part of queries that must get a label; below it, measuring labelled queries anew is cheaper."""
        return self.share

    def queries(self, error: float) -> int:
        """Return how many labelled queries of weight 1 give derivatives this RMS error."""
        wanted = real("error", error)
        if not wanted > 0:
            raise InvalidInputError.of("error", "a number above zero", wanted)
        return max(1, math.ceil(self.variance / wanted**2))

    def __str__(self) -> str:
        if not self.share:
            return f"{self.shots} shots a query, all for its answer; nothing is taught"
        where = "of the served circuit" if self.circuits == 1 else f"of {self.circuits} circuits"
        return (
            f"{self.shots} shots a query, {self.share:.3g} of them teach: standard errors of answers are "
            f"{self.stretch:.3f} times as long\n"
            f"taught by {self.method!r}: {self.entries} settings {where}, {self.settings} in a query\n"
            f"an RMS error of 0.02 takes about {self.queries(0.02):,} labelled queries of weight 1, "
            f"0.01 takes {self.queries(0.01):,}\n"
            f"worth it if more than {self.worth:.0%} of the queries get a label: with fewer, measure those "
            "that do once more instead (Replica.teach)"
        )


def price_of(roster: Roster) -> Price:
    """Return the price of a roster."""
    split = roster.split
    taught = split.teach * split.teach_shots * (split.share if split.is_gentle else 1.0)
    return Price(
        shots=split.shots,
        share=split.share,
        stretch=split.stretch,
        method=roster.method,
        circuits=roster.circuits,
        entries=len(roster.entries),
        settings=split.settings,
        variance=roster.cost / taught if taught else math.inf,
    )


@dataclass(frozen=True, slots=True, eq=False)
class Forecast:
    """What queries like some examples will say of the gradient: `Learner.forecast`."""

    deviation: Floats
    """The standard deviation of what one query says, in the shape of the parameters."""
    queries: int
    """How many were run to find out."""

    def stderr(self, queries: int) -> Floats:
        """Return the standard errors after so many labelled queries."""
        return self.deviation / math.sqrt(queries)

    def needed(self, error: float) -> int:
        """Return how many labelled queries give derivatives this RMS error."""
        wanted = real("error", error)
        if not wanted > 0:
            raise InvalidInputError.of("error", "a number above zero", wanted)
        return max(1, math.ceil(float(np.mean(np.square(self.deviation))) / wanted**2))


@dataclass(frozen=True, slots=True, eq=False)
class FleetGradient:
    """A gradient from contributions."""

    value: Floats
    """The derivatives, in the shape of the parameters; NaN without a contribution."""
    stderr: Floats
    """Their standard errors: those of a mean over queries."""
    queries: int
    """Contributions, one for each query that teaches and has its weight."""
    age: float
    """Their mean age, in versions."""
    trimmed: Trimmed | None = None
    """The trimmed mean over buckets, where a learner has several."""

    @property
    def error(self) -> float:
        """The RMS of the standard errors."""
        return float(np.sqrt(np.mean(np.square(self.stderr))))

    def __repr__(self) -> str:
        return f"FleetGradient(rms {_rms(self.value):.3g} +- {self.error:.2g}, queries={self.queries})"


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """A step of a learner."""

    step: int
    version: int
    """The version that the step has published."""
    gradient: FleetGradient
    loss: float
    """The mean loss of the answers that taught, as they were served; NaN if nobody knows it."""
    loss_stderr: float
    moved: float
    """How far the parameters went: the sum over them."""
    label_rate: float
    """The part of the queries that taught, of those that could."""
    share: float
    counts: dict[str, int]
    """What became of queries and labels so far; see `Learner.counts`."""
    canary: float = 0.0
    """The part of the queries that take the version until it is judged; 0 where it is served."""

    @property
    def is_worth_it(self) -> bool:
        """Whether labels come often enough: else measure labelled queries anew (`Replica.teach`)."""
        return self.label_rate >= self.share

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of a step, ready for a logger."""
        return {
            "step": self.step,
            "version": self.version,
            "loss": self.loss,
            "loss_stderr": self.loss_stderr,
            "gradient_norm": float(np.linalg.norm(self.gradient.value)),
            "gradient_error": self.gradient.error,
            "queries": self.gradient.queries,
            "age": self.gradient.age,
            "moved": self.moved,
            "label_rate": self.label_rate,
            **self.counts,
        }

    def __str__(self) -> str:
        loss = "" if math.isnan(self.loss) else f"  loss {self.loss:8.4f} +- {self.loss_stderr:.4f}"
        age = f"  age {self.gradient.age:.1f}" if self.gradient.age else ""
        advice = (
            ""
            if self.is_worth_it
            else f"  (labels {self.label_rate:.0%} < share {self.share:.0%}: teach anew)"
        )
        trimmed = "" if self.gradient.trimmed is None else f"\n          {self.gradient.trimmed}"
        return (
            f"step {self.step:4d}{loss}  gradient {_rms(self.gradient.value):.4f} "
            f"+- {self.gradient.error:.4f}  queries {self.gradient.queries}{age}{advice}{trimmed}"
        )


def _rms(values: Floats) -> float:
    return float(np.sqrt(np.mean(np.square(values)))) if values.size else 0.0
