"""What a replica knows of its learner: a link, to an object in its own process or to an address.

Everything that a replica asks while it answers, it is told at once from what the link knows already:
`version`, `begin` and `ticket` never wait for anybody. `submit` is called by the thread of an outbox,
`feedback` and `outputs` by whoever hands in labels.
"""

from abc import ABC, abstractmethod
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from efl_core.errors import JournalError, LearnerAwayError
from efl_core.fleet.canary import Canary
from efl_core.fleet.outbox import Life, Link
from efl_core.fleet.tickets import Ticket
from efl_core.fleet.versions import Version

__all__ = ["Candidate", "Direct", "Teacher", "Uplink"]

Floats = NDArray[np.float64]


class Candidate(NamedTuple):
    """A version that answers a part of the queries until it is judged."""

    version: Version
    share: float
    """The part of the queries that it answers."""


class Teacher(Link, Protocol):
    """A learner, as it is known in its own process."""

    @property
    def version(self) -> Version:
        """The version that is served."""

    @property
    def is_open(self) -> bool:
        """Whether there is one."""

    def open(self, inputs: tuple[Any, ...]) -> Version:
        """Make the first version, given the inputs of a query."""

    @property
    def canary(self) -> Canary | None:
        """The version that answers a part of the queries, if there is one."""

    def agree(self, shots: object, share: object, serve: object) -> None:
        """Take, or refuse, how the shots of a query are split."""

    def join(self, replica: int) -> int:
        """Return the incarnation of a replica that begins."""

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Take labels or gradients of answers."""

    def outputs(self, tickets: object) -> Floats:
        """Return what queries that wait were answered with."""


class Uplink(ABC):
    """A learner, wherever it is. Links are its subclasses: what has the same methods by chance is none."""

    rejoins: bool
    """Whether a replica that the learner does not know any more begins anew, under another number."""

    @abstractmethod
    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Hand over a packet; see `efl_core.fleet.outbox.Link`."""

    @abstractmethod
    def agree(self, shots: object, share: object, serve: object) -> None:
        """Take, or refuse, how the shots of a query are split."""

    @abstractmethod
    def version(self, inputs: tuple[Any, ...]) -> Version:
        """Return the newest version that is known here; the inputs are those of some query."""

    @property
    @abstractmethod
    def candidate(self) -> Candidate | None:
        """The candidate that is known here, if there is one."""

    @abstractmethod
    def begin(self, name: int) -> Life:
        """Begin a life of a replica that proposes a name; it is not known yet where that takes longer."""

    @abstractmethod
    def ticket(self, life: Life, sequence: int, teaches: bool) -> str:
        """Return the ticket of a query."""

    @abstractmethod
    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Take labels or gradients of answers."""

    @abstractmethod
    def outputs(self, tickets: object) -> Floats:
        """Return what queries that wait were answered with."""

    @abstractmethod
    def refresh(self) -> int:
        """Ask for the newest version, and return its number."""

    @abstractmethod
    def close(self) -> None:
        """End what the link has begun."""


class Direct(Uplink):
    """A learner in the same process."""

    rejoins = False

    def __init__(self, learner: Teacher) -> None:
        self._learner = learner

    def agree(self, shots: object, share: object, serve: object) -> None:
        """Ask the learner."""
        self._learner.agree(shots, share, serve)

    def version(self, inputs: tuple[Any, ...]) -> Version:
        """Return the version of the learner, which plans at the first query."""
        learner = self._learner
        return learner.version if learner.is_open else learner.open(inputs)

    @property
    def candidate(self) -> Candidate | None:
        """The candidate of the learner."""
        found = self._learner.canary
        return None if found is None else Candidate(found.version, found.share)

    def begin(self, name: int) -> Life:
        """Join under that name; a learner that cannot take it is asked again with the next query."""
        try:
            return Life(name, self._learner.join(name))
        except (JournalError, LearnerAwayError):
            return Life(name, 0)

    def ticket(self, life: Life, sequence: int, teaches: bool) -> str:
        """Return the ticket, which needs no tag."""
        return Ticket(life.replica, life.incarnation, sequence, teaches).text

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Hand it to the learner."""
        return self._learner.submit(packet)

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Hand it to the learner."""
        return self._learner.feedback(tickets, label, gradient=gradient)

    def outputs(self, tickets: object) -> Floats:
        """Ask the learner."""
        return self._learner.outputs(tickets)

    def refresh(self) -> int:
        """Return the number of the newest version, which is known at once."""
        return self._learner.version.number

    def close(self) -> None:
        """Leave the learner as it is."""
