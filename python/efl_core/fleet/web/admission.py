"""Who may send what, and how much of it: decided before a body is read, and before anything is parsed.

A key has a bounded number of workers, whose numbers the learner gives out; a bucket of tokens for queries and
labels, and another one for joining, because whoever could join at will could wait for the settings that he
likes. All bodies that are being read, or that wait, have a bounded number of bytes together.

Invariant: memory is bounded by the keys that were given out and by `flying`, whatever is sent.
Cost: some dictionary look-ups for a request. The event loop alone calls this; it has no lock.
"""

import secrets
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from efl_core.fleet.web.signing import Keys, Signature

__all__ = ["Admission", "Refused", "Worker"]

# Seconds after which a worker that sends nothing makes room for another one of its key.
IDLE = 60.0
# Lives that a worker may begin in a row, and how long another one takes to be allowed.
LIVES, EVERY = 4, 30.0
# Seconds that a key may save up what it does not send.
BURST = 10.0
# Bytes that a request takes beside its body.
REQUEST = 4096
OPEN = ""
"""The name of everybody, where no keys are asked for."""


class Refused(Exception):
    """A request that is not taken: the reason, which is a counter, and what HTTP calls it."""

    def __init__(self, reason: str, status: int, message: str, after: float | None = None) -> None:
        super().__init__(message)
        self.reason, self.status, self.after = reason, status, after


@dataclass(slots=True)
class Worker:
    """A replica that has joined by a key."""

    name: str
    slot: int
    replica: int
    instance: str
    seen: float
    joined: int = 0
    """When the request was made by which it last joined, by its own clock."""
    sent: int = 0
    """Queries that were admitted."""
    dropped: int = 0
    """Queries that it has declared as given up: that those are chosen by their outcomes, nobody can see."""
    refused: int = 0
    """Packets that were refused."""

    @property
    def gaps(self) -> float:
        """The part of its queries that never came."""
        return self.dropped / max(1, self.sent + self.dropped)


@dataclass(slots=True)
class _Tokens:
    """What a key may still send: it grows with time, up to a bound."""

    rate: float
    most: float
    left: float
    at: float

    def take(self, count: float, now: float) -> float:
        """Take some, and return 0; or the seconds until there will be enough."""
        self.left = min(self.most, self.left + self.rate * (now - self.at))
        self.at = now
        # A request larger than the whole bucket passes when that is full.
        wanted = min(count, self.most)
        if self.left < wanted:
            return (wanted - self.left) / self.rate
        self.left -= count
        return 0.0


@dataclass
class _Account:
    """What is known of a key."""

    queries: _Tokens | None
    workers: dict[int, Worker] = field(default_factory=dict)
    lives: dict[int, _Tokens] = field(default_factory=dict)


class Admission:
    """The bounds of a server, and what of them is used up."""

    def __init__(
        self,
        keys: Keys | None,
        *,
        workers: int,
        quota: float | None,
        flying: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._keys = keys
        # Without keys there are no names: numbers and tags follow from a secret of this process.
        self._numbers = Keys(secrets.token_bytes(32)) if keys is None else keys
        self._workers, self._quota, self._most = workers, quota, flying
        self._clock = clock
        self._accounts: dict[str, _Account] = {}
        self._by_replica: dict[int, Worker] = {}
        self.flying = 0
        """Bytes of bodies that are being read or wait."""
        self.counts: Counter[str] = Counter()
        """Requests by what became of them."""

    # ---- requests ----------------------------------------------------------------------------------------

    def name(self, method: str, path: str, signature: Signature | None) -> str:
        """Return the name of the key that a request is signed by; refuse any other request."""
        if self._keys is None:
            return OPEN
        reason = self._keys.refusal(method, path, signature)
        if reason is not None or signature is None:
            status = 403 if reason == "revoked" else 401
            raise Refused(reason or "unsigned", status, f"the request is refused: {reason}")
        return signature.name

    def reserve(self, size: int) -> None:
        """Make room for a request with such a body; give it back by `release`."""
        if self.flying + size + REQUEST > self._most:
            raise Refused(
                "over_capacity", 503, f"{self.flying} bytes are under way, {self._most} at most", 1.0
            )
        self.flying += size + REQUEST

    def release(self, size: int) -> None:
        """Give room back."""
        self.flying -= size + REQUEST

    def charge(self, name: str, queries: int) -> None:
        """Count queries or labels against the quota of a key."""
        tokens = self._account(name).queries
        if tokens is None:
            return
        wait = tokens.take(max(1, queries), self._clock())
        if wait:
            raise Refused("over_quota", 429, f"more than {self._quota:g} queries a second of a key", wait)

    def _account(self, name: str) -> _Account:
        found = self._accounts.get(name)
        if found is None:
            quota = self._quota
            most = 0.0 if quota is None else quota * BURST
            tokens = None if quota is None else _Tokens(quota, most, most, self._clock())
            found = self._accounts[name] = _Account(tokens)
        return found

    # ---- workers -----------------------------------------------------------------------------------------

    def join(self, name: str, instance: str, former: int, made: int = 0) -> Worker:
        """Return the worker that a process is: the same as before, or a free one of its key.

        A process that has joined this learner before it was started again says its former number. A request
        that was made no later than the last one of the process is an old one, by which somebody else would
        end its life.
        """
        account, now = self._account(name), self._clock()
        known = next((own for own in account.workers.values() if own.instance == instance), None)
        if known is not None and made <= known.joined and self._keys is not None:
            raise Refused("replayed", 409, "a request to join that has been made before")
        slot = self._slot(name, account, instance, former, now)
        lives = account.lives.setdefault(slot, _Tokens(1 / EVERY, LIVES, LIVES, now))
        wait = lives.take(1, now)
        if wait:
            raise Refused("over_quota", 429, "a worker that has begun too often", wait)
        replica = self._numbers.replica(name, slot)
        worker = account.workers.get(slot)
        if worker is None or worker.instance != instance:
            worker = Worker(name, slot, replica, instance, now)
            account.workers[slot] = self._by_replica[replica] = worker
        worker.seen, worker.joined = now, made
        return worker

    def _slot(self, name: str, account: _Account, instance: str, former: int, now: float) -> int:
        for slot, worker in account.workers.items():
            if worker.instance == instance or (not worker.instance and worker.replica == former):
                return slot
        free = [slot for slot in range(self._workers) if slot not in account.workers]
        for slot in free:
            if former and self._numbers.replica(name, slot) == former:
                return slot
        if free:
            return free[0]
        oldest = min(account.workers.values(), key=lambda worker: worker.seen)
        if now - oldest.seen < IDLE:
            raise Refused(
                "over_capacity", 429, f"a key has {self._workers} workers at most, all at work", IDLE
            )
        return oldest.slot

    def owner(self, name: str, replica: int) -> Worker:
        """Return the worker that a packet is from; refuse one whose number is not of this key."""
        worker = self._by_replica.get(replica)
        if worker is None:
            worker = self._again(name, replica)
        if worker is None or worker.name != name:
            raise Refused("other_replica", 403, "the packet of another replica than the key's")
        worker.seen = self._clock()
        return worker

    def _again(self, name: str, replica: int) -> Worker | None:
        """Return a worker that joined before the learner was started again; None if the key has no such."""
        for slot in range(self._workers):
            if self._numbers.replica(name, slot) == replica:
                worker = Worker(name, slot, replica, "", self._clock())
                self._account(name).workers[slot] = self._by_replica[replica] = worker
                return worker
        return None

    def for_tickets(self, replica: int, incarnation: int) -> bytes:
        """Return the key by which an incarnation tags its tickets."""
        return self._numbers.for_tickets(replica, incarnation)

    @property
    def workers(self) -> list[Worker]:
        """All workers that are known."""
        return list(self._by_replica.values())

    def active(self, within: float = IDLE) -> int:
        """Return how many workers have been heard of lately."""
        now = self._clock()
        return sum(now - worker.seen < within for worker in self._by_replica.values())
