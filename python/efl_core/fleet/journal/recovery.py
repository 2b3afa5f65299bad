"""The learner that a journal makes: a checkpoint, and what has happened since.

What is here beside the machine follows from the same events, so that it has the same bits as that of the
learner which wrote them.

Invariant: a step that was not published has not happened, and its contributions wait for the next one.
Cost: that of the events; nothing is simulated and nothing planned.
"""

import logging
from collections import Counter, OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.errors import CorruptDataError, NewerFormatError
from efl_core.fleet.buckets import pooled_mean, trimmed_mean
from efl_core.fleet.journal.notes import (
    LABELS,
    VERSION,
    Early,
    Labels,
    Step,
    VersionNote,
    columns,
    packed,
    rows,
    tallies_of,
    tallies_to,
    unpacked,
)
from efl_core.fleet.journal.store import Store

__all__ = ["Recovered", "Taught", "recover", "replay"]

LOGGER = logging.getLogger("efl_core")
Floats = NDArray[np.float64]
Counted = tuple[int, int, _native.FleetTally]
Key = tuple[int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Taught:
    """A step, and whether its gradient has the bits of its contributions."""

    version: int
    step: Step
    is_same: bool


@dataclass
class Recovered:
    """What a learner knows, up to some event."""

    params: Floats | None = None
    """Those that are served, in the user's shape."""
    trial: Floats | None = None
    """Those of the candidate, if there is one."""
    draft: bytes = b""
    """The version that is served, where it was made by the coordinator of a cluster, ..."""
    trial_draft: bytes = b""
    """... and the candidate."""
    steps: int = 0
    served: list[int] = field(default_factory=list)
    """Queries that could teach, when each version came."""
    left: list[Counted] = field(default_factory=list)
    """What a step has taken and could not use."""
    updates: dict[str, dict[str, Any]] = field(default_factory=dict)
    """What updates keep, by name."""
    early: "OrderedDict[Key, Early]" = field(default_factory=OrderedDict)
    """Labels that wait for their packets."""
    counts: Counter[str] = field(default_factory=Counter)
    """Labels by what became of them."""
    pending: int = 1
    """How many labels may wait."""
    buckets: int = 1
    """Among how many replicas are spread."""
    note: VersionNote | None = None
    """That of the version which comes next."""
    replay: _native.FleetReplay = field(default_factory=_native.FleetReplay)

    # ---- as bytes ----------------------------------------------------------------------------------------

    def to_bytes(self) -> bytes:
        """Return all but the machine as bytes."""
        facts = {
            "steps": self.steps,
            "updates": self.updates,
            "counts": dict(self.counts),
            "pending": self.pending,
            "buckets": self.buckets,
        }
        arrays: dict[str, NDArray[Any]] = {"served": np.array(self.served, dtype=np.int64)}
        arrays |= tallies_to(self.left)
        for name, own in (("params", self.params), ("trial", self.trial)):
            if own is not None:
                arrays[name] = own
        for name, data in (("draft", self.draft), ("trial_draft", self.trial_draft)):
            if data:
                arrays[name] = np.frombuffer(data, dtype=np.uint8)
        return packed(facts, {**arrays, **columns(list(self.early.values()))})

    def content(self) -> tuple[dict[str, Any], dict[str, tuple[str, tuple[int, ...], bytes]]]:
        """Return all but the machine in a form that can be compared; the bytes of a file have its date."""
        facts, arrays = unpacked(self.to_bytes())
        facts["counts"] = {name: count for name, count in facts["counts"].items() if count}
        return facts, {name: (str(own.dtype), own.shape, own.tobytes()) for name, own in arrays.items()}

    @staticmethod
    def from_bytes(state: bytes, learner: bytes) -> "Recovered":
        """Return what a checkpoint says."""
        facts, arrays = unpacked(learner)
        try:
            return Recovered(
                params=arrays.get("params"),
                trial=arrays.get("trial"),
                draft=arrays["draft"].tobytes() if "draft" in arrays else b"",
                trial_draft=arrays["trial_draft"].tobytes() if "trial_draft" in arrays else b"",
                steps=facts["steps"],
                served=arrays["served"].tolist(),
                left=tallies_of(arrays),
                updates=facts["updates"],
                early=OrderedDict((own[0][:3], own) for own in rows(arrays)),
                counts=Counter(facts["counts"]),
                pending=facts["pending"],
                buckets=facts["buckets"],
                replay=_native.FleetReplay(state),
            )
        except KeyError as error:
            raise CorruptDataError(
                f"journal: expected a checkpoint of a learner, got one without {error}"
            ) from error

    # ---- from events -------------------------------------------------------------------------------------

    def frame(self, frame: bytes) -> list[tuple[int, str, Any, Taught | None]]:
        """Do what a frame says; return its events, with the steps that were published."""
        return [(*event, self._apply(event[1], event[2])) for event in self.replay.frame(frame)]

    def _apply(self, name: str, facts: Any) -> Taught | None:  # noqa: ANN401 (those of the event)
        if name in ("publish", "propose"):
            return self._published(name == "propose", *facts)
        if name == "settle":
            if facts:
                self.params, self.draft = self.trial, self.trial_draft
            self.trial, self.trial_draft = None, b""
            self.counts["promoted" if facts else "rolled_back"] += 1
        elif name == "take":
            self.left += facts[2]
        elif name == "weights":
            replica, incarnation, sequence, *_ = facts
            for key in zip(replica.tolist(), incarnation.tolist(), sequence.tolist(), strict=True):
                self.early.pop(key, None)
        elif name == "open":
            self.pending = facts[2]
        elif name == "note":
            self._noted(*facts)
        return None

    def _published(
        self, is_trial: bool, reader: _native.FleetReader, canary: float, served: int
    ) -> Taught | None:
        note, self.note = self.note, None
        self.served.append(served)
        if note is None:
            raise CorruptDataError(
                f"journal: expected the parameters of version {reader.version.number}, got none"
            )
        if is_trial:
            self.trial, self.trial_draft = note.params, note.draft
        else:
            self.params, self.draft = note.params, note.draft
        step = note.step
        if step is None:
            return None
        found = self.gradient(step)
        self.left = [] if step.used is None else self.left[step.used :]
        self.steps += 1
        if step.update is not None:
            self.updates[step.update] = step.state
        # A shard of a cluster may have had nothing to do with it.
        same = not step.queries
        if found is not None:
            same = all(
                one.tobytes() == other.tobytes()
                for one, other in zip(found, (step.value, step.stderr), strict=True)
            )
        return Taught(reader.version.number, step, same)

    def _noted(self, kind: int, body: bytes) -> None:
        if kind == VERSION:
            self.note = VersionNote.from_bytes(body)
            self.buckets = self.note.buckets
        elif kind == LABELS:
            labels = Labels.from_bytes(body)
            self.counts["labels"] += labels.count
            self.counts["answered_only_labels"] += labels.answered_only
            self.counts["unknown_or_used"] += labels.unknown_or_used
            for own in labels.early:
                self.early[own[0][:3]] = own
            while len(self.early) > self.pending:
                self.early.popitem(last=False)
                self.counts["early_lost"] += 1
        else:
            raise NewerFormatError(
                f"journal: expected notes of kinds 128 and 129, got {kind}: upgrade efl-core"
            )

    def gradient(self, step: Step) -> tuple[Floats, Floats] | None:
        """Return the gradient of the contributions that were taken, and its errors, summed as for a step."""
        held = [own for own in self.left[: step.used] if own[0] >= step.oldest]
        if not held:
            return None
        weights = step.decay ** np.array([step.served - number for number, _, _ in held], dtype=np.float64)
        if step.trim is not None:
            trimmed = trimmed_mean(held, weights, step.value.shape, step.trim)
            return trimmed.value, trimmed.stderr
        value, stderr, _ = pooled_mean([tally for _, _, tally in held], weights, step.value.size)
        return value, stderr


def recover(store: Store) -> Recovered:
    """Return the learner behind the last event of a journal, from its last checkpoint on."""
    for last, checkpoint in enumerate(store.checkpoints()):
        try:
            found = Recovered.from_bytes(checkpoint.state, checkpoint.learner)
        except NewerFormatError:
            raise
        except CorruptDataError as error:
            LOGGER.warning(
                "checkpoint %d of %s is damaged, and another one is used: %s", last, store.path, error
            )
            continue
        for frame in store.frames(checkpoint):
            found.frame(frame)
        return found
    found = Recovered()
    for _ in replay(store, found):
        pass
    return found


def replay(store: Store, into: Recovered) -> Iterator[Sequence[tuple[int, str, Any, Taught | None]]]:
    """Do what all frames of a journal say, from its beginning; yields the events of each."""
    for frame in store.frames():
        yield into.frame(frame)
