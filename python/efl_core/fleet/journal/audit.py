"""What a journal says: a summary, all gradients once more, whether it is whole, and its queries as rows.

Nothing here needs the circuit: frames hold the compiled readings of every version.

Cost: that of the events, once.
"""

from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass, field
from os import PathLike
from typing import Any, TypeAlias

import numpy as np

from efl_core import _native
from efl_core.errors import CorruptDataError
from efl_core.fleet.journal.recovery import Recovered, Taught, replay
from efl_core.fleet.journal.store import Store

__all__ = ["Found", "Summary", "gradients", "queries", "summary", "verified"]

# Bytes of a packet before its planes, and after them.
HEADER, TRAILER = 64, 4
Place: TypeAlias = "PathLike[str] | str"


@dataclass
class Summary:
    """What a journal holds."""

    events: int = 0
    frames: int = 0
    bytes: int = 0
    checkpoints: list[int] = field(default_factory=list)
    """Behind how many events."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Events by name."""
    counts: dict[str, int] = field(default_factory=dict)
    """What became of queries and labels."""
    fleet: int | None = None
    versions: int = 0
    served: int | None = None
    candidate: int | None = None
    steps: int = 0
    params: Any = None
    """The parameters that are served."""

    def to_dict(self) -> dict[str, Any]:
        """Return the facts by name, ready to be printed."""
        return {
            "events": self.events,
            "frames": f"{self.frames}, {self.bytes:,} bytes",
            "checkpoints": ", ".join(f"behind event {number}" for number in self.checkpoints) or "none",
            "fleet": "none" if self.fleet is None else f"{self.fleet:016x}",
            "versions": self.versions,
            "served": self.served,
            "candidate": "none" if self.candidate is None else self.candidate,
            "steps": self.steps,
            "parameters": "none" if self.params is None else f"shape {self.params.shape}",
            **{f"{name} events": count for name, count in sorted(self.kinds.items())},
            **{name: count for name, count in self.counts.items() if count},
        }


@dataclass(frozen=True, slots=True)
class Found:
    """What is wrong with a journal: nothing, or where it is damaged first."""

    events: int
    """Events that are sound, from the beginning."""
    damage: str | None = None
    checkpoints: tuple[str, ...] = ()
    """What is wrong with checkpoints."""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is wrong."""
        return self.damage is None and not self.checkpoints


def summary(path: Place) -> Summary:
    """Return what a journal holds."""
    with closing(Store(path, must_exist=True)) as store:
        found, known = Summary(), Recovered()
        found.checkpoints = [checkpoint.next for checkpoint in store.checkpoints()]
        for frame in store.frames():
            found.frames, found.bytes = found.frames + 1, found.bytes + len(frame)
            for _, name, facts, _ in known.frame(frame):
                found.kinds[name] += 1
                if name == "open":
                    found.fleet = facts[0]
        if found.frames:
            machine = known.replay.machine()
            found.served, found.candidate = machine.served, machine.candidate
            found.counts = {**machine.counts, "early": len(known.early), **known.counts}
        found.events, found.steps, found.params = known.replay.next, known.steps, known.params
        found.versions = found.kinds["publish"] + found.kinds["propose"]
        return found


def gradients(path: Place) -> Iterator[Taught]:
    """Add up the contributions of every step again; yields the steps, and whether bits are the same."""
    with closing(Store(path, must_exist=True)) as store:
        for events in replay(store, Recovered()):
            for _, _, _, taught in events:
                if taught is not None:
                    yield taught


def verified(path: Place) -> Found:
    """Read all of a journal: every checksum and event, and every checkpoint against what is before."""
    with closing(Store(path, must_exist=True)) as store:
        known, checkpoints, wrong = Recovered(), store.checkpoints(), []
        states = {checkpoint.next: checkpoint for checkpoint in checkpoints}
        damage = None
        try:
            for frame in store.frames():
                known.frame(frame)
                checkpoint = states.pop(known.replay.next, None)
                if checkpoint is None:
                    continue
                try:
                    other = Recovered.from_bytes(checkpoint.state, checkpoint.learner)
                    same = other.replay.machine().to_bytes() == known.replay.machine().to_bytes()
                    if not same or other.content() != known.content():
                        wrong.append(f"checkpoint behind event {checkpoint.next}: not what the events make")
                except CorruptDataError as error:
                    wrong.append(f"checkpoint behind event {checkpoint.next}: {error}")
        except CorruptDataError as error:
            damage = str(error)
        if damage is None:
            wrong += [f"checkpoint behind event {number}: there are no such events" for number in states]
        return Found(known.replay.next, damage, tuple(wrong))


def queries(path: Place) -> Iterator[dict[str, Any]]:
    """Yield what is known of every query that taught or may yet: whose it is, bits, weights and loss."""
    with closing(Store(path, must_exist=True)) as store:
        versions: dict[int, _native.FleetVersion] = {}
        waiting: dict[tuple[int, int, int], dict[str, Any]] = {}
        for events in replay(store, Recovered()):
            for _, name, facts, _ in events:
                if name in ("publish", "propose"):
                    versions[facts[0].version.number] = facts[0].version
                elif name == "submit":
                    for row in _rows(facts, versions):
                        waiting[row["replica"], row["incarnation"], row["sequence"]] = row
                elif name == "weights":
                    yield from _weighed(facts, waiting)
        yield from waiting.values()


def _rows(packet: bytes, versions: dict[int, _native.FleetVersion]) -> Iterator[dict[str, Any]]:
    """Yield the queries of a packet that teach."""

    def number(start: int, size: int) -> int:
        return int.from_bytes(packet[start : start + size], "little")

    version = versions[number(24, 4)]
    replica, incarnation, count, first = number(32, 8), number(40, 4), number(44, 4), number(48, 8)
    entries = version.entries(replica, incarnation, first, count)
    answer = version.n_qubits * -(-version.answer_shots // 8)
    at = HEADER
    for sequence, own in enumerate(entries.tolist(), first):
        if own[0] < 0:
            continue
        planes = packet[at : at + version.stride]
        at += version.stride
        yield {
            "version": version.number,
            "replica": replica,
            "incarnation": incarnation,
            "sequence": sequence,
            "entries": own,
            "answers": planes[:answer],
            "teaches": planes[answer:],
            "weights": None,
            "loss": None,
        }


def _weighed(facts: Any, waiting: dict[tuple[int, int, int], dict[str, Any]]) -> Iterator[dict[str, Any]]:  # noqa: ANN401
    """Yield the queries that weights have taught."""
    replica, incarnation, sequence, weights, losses, outcomes = facts
    rows = weights.reshape(len(outcomes), -1) if len(outcomes) else weights
    for i in np.flatnonzero(outcomes == 0):
        row = waiting.pop((int(replica[i]), int(incarnation[i]), int(sequence[i])))
        loss = _known(losses[i]) if losses is not None else None
        yield {**row, "weights": rows[i].tolist(), "loss": loss}


def _known(value: float) -> float | None:
    """Return a loss, or None where nobody knows it."""
    return None if np.isnan(value) else float(value)
