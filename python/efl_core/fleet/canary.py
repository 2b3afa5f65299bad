"""A candidate: a version that answers a part of the queries until its losses say whether it is good.

Which queries follows from their replica and number, in blocks of 8: nobody chooses. The losses of the answers
as they were served are compared with those of the version before, which answers the others at the same time.
It is served if they are not larger by more than two standard errors, else given up, with what it has taught.

Invariant: one candidate at a time, judged once, when so many of its queries have their labels.
Cost: a comparison of sums whenever labels come.
"""

import math
from dataclasses import dataclass
from typing import SupportsFloat, SupportsIndex

from efl_core.arguments import integer, real
from efl_core.errors import InvalidInputError
from efl_core.fleet.versions import Version

__all__ = ["Canary", "Verdict", "read_canary"]

# Standard errors by which a candidate may look worse.
SIGMAS = 2.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What was found out about a candidate."""

    version: int
    is_good: bool
    loss: float
    """The mean loss of its answers, ..."""
    stderr: float
    """... and the standard error of that."""
    before: float
    """The same of the version that was served meanwhile."""
    before_stderr: float

    def __str__(self) -> str:
        what = "is served" if self.is_good else "was given up"
        return (
            f"version {self.version} {what}: loss {self.loss:.4g} +- {self.stderr:.2g}, "
            f"before {self.before:.4g} +- {self.before_stderr:.2g}"
        )


@dataclass(frozen=True, slots=True, eq=False)
class Canary:
    """A version on trial."""

    version: Version
    share: float
    """The part of the queries that it answers."""
    labels: int
    """Labelled queries of it, and of the version before, after which it is judged."""

    def judged(self, own: tuple[float, float, int], before: tuple[float, float, int]) -> Verdict | None:
        """Return the verdict, given mean loss, error and count of both; None if that is too early."""
        (loss, stderr, count), (known, known_stderr, others) = own, before
        if min(count, others) < self.labels:
            return None
        is_good = loss - known <= SIGMAS * math.hypot(stderr, known_stderr)
        return Verdict(self.version.number, is_good, loss, stderr, known, known_stderr)


def read_canary(share: SupportsFloat, labels: SupportsIndex) -> tuple[float, int]:
    """Return the part of the queries, and the labels that are wanted."""
    part = real("canary", share)
    if not 0 < part < 1:
        raise InvalidInputError.of("canary", "a part of the queries, above 0 and below 1", part)
    return part, integer("labels", labels, 2)
