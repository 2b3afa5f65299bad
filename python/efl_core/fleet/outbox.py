"""What a replica has measured and not yet handed over: a bounded queue that a thread of its own empties.

Queries are numbered before they run and are sent in that order, whole packets at a time. Where the queue is
full, what waits longest is given up, whatever is in it; the next packet says how many queries that were. A
learner that is away is asked again, ever more seldom; nobody who answers ever waits for it.

Invariant: no query is sent twice under another number, and none is sent after a later one.
Cost: the bits of the queries that wait; one packet is encoded for every `packet` queries.
"""

import logging
import threading
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from efl_core.fleet.versions import Version

__all__ = ["Life", "Link", "Outbox"]

LOGGER = logging.getLogger("efl_core")
# Seconds that a query waits for others before it is sent, and between calls to a learner that is away.
LINGER, PAUSE, LONGEST = 0.05, 0.05, 5.0
# Refusals after which nothing of an incarnation is taken any more.
ENDED = ("superseded", "unknown_replica")

Bits = NDArray[np.uint8]


class Life(NamedTuple):
    """A replica that has joined: its number, and how often it has begun; nothing is sent before the first."""

    replica: int
    incarnation: int

    @property
    def is_known(self) -> bool:
        """Whether the learner knows of it: until then queries are answered, and teach nothing."""
        return self.incarnation > 0


class Link(Protocol):
    """How packets reach a learner."""

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Return why a packet was refused, or None; the newest version; and the query expected next."""


@dataclass(slots=True)
class _Query:
    """A query that has a number."""

    sequence: int
    version: Version
    is_done: bool = False
    is_lost: bool = False
    """Whether it failed, and nothing of it will be sent."""
    answers: Bits | None = None
    """Bits of a query that teaches."""
    teaches: Bits | None = None


@dataclass
class Outbox:
    """The queries of one incarnation of a replica, on their way to the learner."""

    link: Link
    life: Life
    packet: int
    """Queries of a packet."""
    bound: int
    """Queries that are kept at most."""
    counts: Counter[str] = field(default_factory=Counter)
    """What became of queries: ``sent``, ``dropped`` and ``refused``; and of calls: ``away``."""
    is_over: bool = False
    """Whether the learner knows this incarnation no more: nothing of it will be taken."""
    _queries: deque[_Query] = field(default_factory=deque)
    _flying: list[_Query] = field(default_factory=list)
    """The queries of the packet that is being sent."""
    _next: int = 0
    _sent: int = 0
    """The learner has been told of all queries before this one."""
    _is_wanted: bool = False
    """Whether somebody waits for all that is done to be sent."""
    _is_idle: bool = False
    _is_closed: bool = False
    _thread: threading.Thread | None = None
    _changed: threading.Condition = field(default_factory=threading.Condition)

    def begin(self, versions: Callable[[int], Sequence[Version]]) -> list[_Query]:
        """Give numbers to queries that are about to run, given the versions of those from a number on."""
        with self._changed:
            found = [_Query(number, own) for number, own in enumerate(versions(self._next), self._next)]
            self._next += len(found)
            if found[0].version.native is not None and self.life.is_known:
                self._queries.extend(found)
                self._give_up()
            return found

    def done(self, queries: list[_Query]) -> None:
        """Take queries that were run, or that failed, with their bits."""
        with self._changed:
            for query in queries:
                query.is_done = True
            if self._thread is None and not self._is_closed:
                self._thread = threading.Thread(target=self._empty, name="efl-outbox", daemon=True)
                self._thread.start()
            if self._is_idle or self._ready(self.packet):
                self._changed.notify_all()

    def flush(self, timeout: float | None = None) -> bool:
        """Send what is done, and wait for that; return whether nothing is left."""
        with self._changed:
            self._is_wanted = True
            self._changed.notify_all()
            return self._changed.wait_for(
                lambda: self._is_closed or not (self._flying or self._ready(1)), timeout
            )

    def abandon(self) -> None:
        """Give up what waits, and end the thread: another outbox goes on."""
        with self._changed:
            self.counts["dropped"] += len(self._queries)
            self._queries.clear()
        self.close()

    def close(self) -> None:
        """End the thread; what was not sent is lost."""
        with self._changed:
            self._is_closed = True
            self._changed.notify_all()

    @property
    def waiting(self) -> int:
        """How many queries have not been handed over."""
        return len(self._queries) + len(self._flying)

    def _ready(self, count: int) -> bool:
        """Say whether so many of the oldest queries are done."""
        return len(self._queries) >= count and all(q.is_done for q in islice(self._queries, count))

    def _give_up(self) -> None:
        """Drop the oldest packet's worth of queries while there are too many."""
        while len(self._queries) > self.bound:
            for _ in range(min(self.packet, len(self._queries))):
                self._queries.popleft()
                self.counts["dropped"] += 1

    def _take(self) -> list[_Query]:
        """Take the oldest queries that go into one packet: of one version, all done, in a row."""
        found: list[_Query] = []
        while self._queries and self._queries[0].is_done and len(found) < self.packet:
            query = self._queries[0]
            if query.is_lost:
                if found:
                    break
                self.counts["dropped"] += 1
            elif found and query.version is not found[0].version:
                break
            else:
                found.append(query)
            self._queries.popleft()
        return found

    def _empty(self) -> None:
        """Send packets until the outbox is closed."""
        pause = PAUSE
        while True:
            with self._changed:
                self._changed.wait_for(
                    lambda: self._is_closed or self._is_wanted or self._ready(self.packet), LINGER
                )
                if self._is_closed:
                    return
                self._flying = self._take()
                if not self._flying:
                    self._is_wanted, self._is_idle = False, True
                    self._changed.notify_all()
                    self._changed.wait_for(lambda: self._is_closed or self._is_wanted or self._ready(1))
                    self._is_idle = False
                    continue
            if self._send():
                pause = PAUSE
                continue
            with self._changed:  # no new query shortens it
                self._changed.wait_for(lambda: self._is_closed, pause)
            pause = min(LONGEST, 2 * pause)

    def _send(self) -> bool:
        """Send the packet that is under way; return whether its queries are off our hands."""
        batch = self._flying
        first, packet = batch[0].sequence, self._encoded(batch)
        try:
            refusal, _, expected = self.link.submit(packet)
        except Exception as error:  # whatever keeps a learner away, it must not reach those who answer
            if not self.counts["away"]:
                LOGGER.warning("the learner is away, and answers go on: %s: %s", type(error).__name__, error)
            with self._changed:
                self.counts["away"] += 1
                self._queries.extendleft(reversed(batch))
                self._flying = []
                self._give_up()
            return False
        with self._changed:
            self._flying = []
            if refusal == "gap" and self._sent <= expected < first:
                self._sent = expected
                self._queries.extendleft(reversed(batch))  # and say again what was dropped
            elif refusal in (None, "duplicate"):
                self._sent = first + len(batch)
                self.counts["sent"] += len(batch)
            else:
                self.counts["refused"] += len(batch)
                LOGGER.warning("the learner refused %d queries: %s", len(batch), refusal)
                self.is_over = self.is_over or refusal in ENDED
            self._changed.notify_all()
        return True

    def _encoded(self, batch: list[_Query]) -> bytes:
        native = batch[0].version.native
        assert native is not None  # or they had not been kept
        taught = [query for query in batch if query.teaches is not None]
        split = batch[0].version.roster.split

        def table(bits: list[Bits | None], shots: int) -> Bits:
            shape = (len(bits), shots, native.n_qubits)
            return np.ascontiguousarray(np.stack(bits) if bits else np.zeros(shape, np.uint8), dtype=np.uint8)  # type: ignore[arg-type]

        return native.encode(
            replica=self.life.replica,
            incarnation=self.life.incarnation,
            first=batch[0].sequence,
            queries=len(batch),
            answers=table([query.answers for query in taught], split.answer_shots),
            teaches=table([query.teaches for query in taught], split.teach_shots),
            dropped=batch[0].sequence - self._sent,
        )
