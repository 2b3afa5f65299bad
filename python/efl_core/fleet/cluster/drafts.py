"""What a coordinator and its shards send each other, as bytes: versions, tallies, and how a shard is doing.

A draft is all of a version: what replicas get of it, what reads its bits, and the step that made it. It is
compiled once, by the coordinator, so that all shards read bits alike, to the last digit.

Invariant: nothing is unpickled; a draft has a name that no other one has.
Cost: a draft has some ten to some hundred KB; tallies 32 bytes for each parameter, version and bucket.
"""

import hashlib
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, NamedTuple, Protocol

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.errors import CorruptDataError, EflError
from efl_core.fleet.away import Newest
from efl_core.fleet.journal.notes import Step, packed, tallies_of, tallies_to, unpacked
from efl_core.fleet.published import Counted

__all__ = ["Draft", "Port", "State", "compiled", "digest_of", "held_as_bytes", "held_of", "merged"]

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Draft:
    """A version on its way to the shards."""

    number: int
    shards: int
    """Among how many replicas are partitioned."""
    wire: bytes
    """What replicas get, see `efl_core.fleet.web.wire`."""
    compiled: bytes
    """What reads bits, see `compiled`."""
    settings: tuple[str, ...] = ()
    """What each entry runs, for people to read."""
    trial: tuple[float, int] | None = None
    """The part of the queries that it answers until so many labels have judged it; None if all of them."""
    step: Step | None = None
    """The step that made it, over the contributions of all shards."""
    used: tuple[tuple[int, str], ...] = ()
    """How many tallies of each shard the step has used up, and their digest, see `digest_of`."""
    steps: int = 0
    """Steps so far, this one included."""
    updates: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What updates keep, by name."""

    @cached_property
    def name(self) -> str:
        """Tells drafts apart: the hash of what replicas get and of the step."""
        return hashlib.sha256(self.to_bytes()).hexdigest()

    @cached_property
    def hash(self) -> str:
        """Return the name of what replicas get."""
        return hashlib.sha256(self.wire).hexdigest()

    def to_bytes(self) -> bytes:
        """Return the draft as bytes, the same ones every time."""
        return self._bytes

    @cached_property
    def _bytes(self) -> bytes:
        facts: dict[str, Any] = {
            "number": self.number,
            "shards": self.shards,
            "settings": list(self.settings),
            "trial": None if self.trial is None else list(self.trial),
            "used": [list(own) for own in self.used],
            "steps": self.steps,
            "updates": self.updates,
        }
        arrays: dict[str, NDArray[Any]] = {
            "wire": np.frombuffer(self.wire, dtype=np.uint8),
            "compiled": np.frombuffer(self.compiled, dtype=np.uint8),
        }
        if self.step is not None:
            own = self.step
            names = ("queries", "oldest", "served", "decay", "update", "state", "trim")
            facts["step"] = {name: getattr(own, name) for name in names}
            arrays |= {"value": own.value, "stderr": own.stderr}
        return packed(facts, arrays)

    @staticmethod
    def of(data: bytes) -> "Draft":
        """Return the draft that bytes are."""
        facts, arrays = unpacked(data)
        try:
            step = None
            if "step" in facts:
                step = Step(arrays["value"], arrays["stderr"], **facts["step"])
            found = Draft(
                number=facts["number"],
                shards=facts["shards"],
                wire=arrays["wire"].tobytes(),
                compiled=arrays["compiled"].tobytes(),
                settings=tuple(facts["settings"]),
                trial=None if facts["trial"] is None else (facts["trial"][0], facts["trial"][1]),
                step=step,
                used=tuple((count, digest) for count, digest in facts["used"]),
                steps=facts["steps"],
                updates=facts["updates"],
            )
        except (KeyError, TypeError, ValueError) as error:
            raise CorruptDataError.of("draft", "one of a coordinator", f"one without {error}") from error
        found.__dict__["_bytes"] = bytes(data)
        return found

    def reader(self) -> _native.FleetReader:
        """Return what reads the bits of the version."""
        try:
            *_, (_, _, [reader, *_]) = _native.FleetReplay().frame(zlib.decompress(self.compiled))
        except (EflError, zlib.error) as error:
            raise CorruptDataError.of("draft", "the compiled readings of a version", str(error)) from error
        found: _native.FleetReader = reader
        return found


def compiled(reader: _native.FleetReader) -> bytes:
    """Return a reader as bytes: as the journal of a machine that knows nothing else has it."""
    machine = _native.FleetMachine(
        fleet=reader.version.fleet,
        n_outputs=reader.n_outputs,
        n_parameters=reader.n_parameters,
        record=True,
    )
    machine.publish(reader)
    frame = machine.frame()
    assert frame is not None  # it has just been published
    return zlib.compress(frame)


# ---- tallies ---------------------------------------------------------------------------------------------


def held_as_bytes(counted: Sequence[Counted]) -> bytes:
    """Return tallies as bytes."""
    return packed({}, tallies_to(counted))


def held_of(data: bytes) -> list[Counted]:
    """Return the tallies that bytes are."""
    return tallies_of(unpacked(data)[1])


def digest_of(counted: Iterable[Counted]) -> str:
    """Return what tells the contributions of a shard from other ones: they have no other name."""
    found = hashlib.blake2b(digest_size=16)
    for version, bucket, tally in counted:
        found.update(f"{version} {bucket} ".encode() + tally.to_bytes())
    return found.hexdigest()


def merged(parts: Iterable[Sequence[Counted]]) -> list[Counted]:
    """Return the contributions of all shards, added up: as one learner has them, with the same bits."""
    found: dict[tuple[int, int], _native.FleetTally] = {}
    for version, bucket, tally in (own for part in parts for own in part):
        known = found.get((version, bucket))
        found[version, bucket] = tally if known is None else known + tally
    return [(*place, found[place]) for place in sorted(found)]


# ---- calls -----------------------------------------------------------------------------------------------


class State(NamedTuple):
    """How a shard is doing."""

    shard: int
    """Its place among them."""
    shards: int
    newest: int | None
    """The number of the last version that it was told of."""
    served: int | None
    candidate: int | None
    """The version that waits to be served, or given up."""
    versions: int
    """How many it was told of."""
    is_shown: bool
    """Whether replicas are given the version that is served."""
    is_tried: bool
    """Whether replicas are given the candidate."""
    drafts: tuple[str, str]
    """The names of the drafts of both; empty where there is none."""
    counts: dict[str, int]
    """What became of queries and labels; see `Learner.counts`."""


class Port(Protocol):
    """A shard, wherever it is: what coordinators and replicas ask of it. Calls may come twice."""

    def state(self) -> State:
        """Return how it is doing."""

    def draft(self, *, served: bool = False) -> bytes | None:
        """Return the last draft that it has, or that of the version which is served."""

    def prepare(self, draft: bytes) -> None:
        """Write down a version that nobody is given yet; contributions of its step are used up."""

    def show(self, number: int) -> None:
        """Give a candidate to replicas, for a part of their queries."""

    def settle(self, number: int, is_good: bool) -> None:
        """Serve a version that was prepared, or give it up."""

    def held(self, first: int, last: int) -> bytes:
        """Return the contributions to some versions that no step has used."""

    def take(self, first: int, last: int) -> bytes:
        """Set them apart for a step, with all that was set apart before, and return those."""

    def newest(self) -> Newest:
        """Return the numbers and names of the versions that replicas are given."""

    def wire(self, name: str) -> bytes:
        """Return the bytes of a version by their name."""

    def join(self, replica: int) -> int:
        """Return the incarnation of a replica that begins."""

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Take a packet."""

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Take labels or gradients of answers."""

    def outputs(self, tickets: object) -> Floats:
        """Return what queries that wait were answered with."""

    def checkpoint(self) -> None:
        """Write all of its state into its journal."""
