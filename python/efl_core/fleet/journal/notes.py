"""What a learner writes down beside its machine: parameters, steps, and labels that came early.

Arrays are written as numpy writes them, without pickle; what is read is bytes of our own, from frames whose
checksums are right.
"""

import io
import json
import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.errors import CorruptDataError
from efl_core.fleet.tickets import Ticket

__all__ = ["LABELS", "VERSION", "Early", "Labels", "Step", "VersionNote", "packed", "unpacked"]

VERSION, LABELS = 128, 129
_COUNTS = struct.Struct("<III")
Floats = NDArray[np.float64]
Early = tuple[Ticket, Any, bool]
"""A label that waits for its packet: of which query, the label, and whether it is a gradient."""


def packed(facts: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> bytes:
    """Return facts that JSON knows, and arrays, as bytes."""
    file = io.BytesIO()
    text = np.frombuffer(json.dumps(facts).encode(), dtype=np.uint8)
    np.savez(file, allow_pickle=False, facts=text, **arrays)
    return file.getvalue()


def unpacked(data: bytes) -> tuple[dict[str, Any], dict[str, NDArray[Any]]]:
    """Return what `packed` was given."""
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as file:
            arrays = {name: file[name] for name in file.files}
        facts = json.loads(arrays.pop("facts").tobytes())
    except Exception as error:  # numpy and zipfile raise many kinds
        raise CorruptDataError(
            f"journal: expected a note of a learner, got {len(data)} bytes ({error})"
        ) from error
    return facts, arrays


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    """A step: the gradient that a version was made by, as it was applied, and how that was summed."""

    value: Floats
    stderr: Floats
    queries: int
    oldest: int
    """The oldest version whose contributions were used."""
    served: int
    """The version of the parameters before."""
    decay: float
    update: str | None = None
    """The name of the update, if it has one, ..."""
    state: dict[str, Any] = field(default_factory=dict)
    """... and what it keeps."""
    trim: float | None = None
    """The part of the buckets that was left out at each end; None for the mean."""
    used: int | None = None
    """How many of the tallies that were taken; None for all of them. A shard may hold more."""


@dataclass(frozen=True, slots=True, eq=False)
class VersionNote:
    """What is known of the version that is published next."""

    params: Floats
    """Its parameters, in the user's shape."""
    step: Step | None = None
    """The step that made it."""
    settings: tuple[str, ...] = ()
    """What each entry of its roster runs, for people to read."""
    buckets: int = 1
    """Among how many the replicas are spread."""
    draft: bytes = b""
    """All of the version, where it was made elsewhere: by the coordinator of a cluster."""

    def to_bytes(self) -> bytes:
        """Return the note as bytes."""
        facts: dict[str, Any] = {"settings": list(self.settings), "buckets": self.buckets}
        arrays: dict[str, NDArray[Any]] = {"params": self.params}
        if self.draft:
            arrays["draft"] = np.frombuffer(self.draft, dtype=np.uint8)
        if self.step is not None:
            own = self.step
            names = ("queries", "oldest", "served", "decay", "update", "state", "trim")
            facts["step"] = {name: getattr(own, name) for name in names}
            if own.used is not None:
                facts["step"]["used"] = own.used
            arrays |= {"value": own.value, "stderr": own.stderr}
        return packed(facts, arrays)

    @staticmethod
    def from_bytes(data: bytes) -> "VersionNote":
        """Return the note that bytes are."""
        facts, arrays = unpacked(data)
        step = None
        if "step" in facts:
            step = Step(arrays["value"], arrays["stderr"], **facts["step"])
        draft = arrays["draft"].tobytes() if "draft" in arrays else b""
        return VersionNote(arrays["params"], step, tuple(facts["settings"]), facts["buckets"], draft)


@dataclass(frozen=True, slots=True, eq=False)
class Labels:
    """What became of labels that were handed in together, beside those that the machine has weighed."""

    count: int
    answered_only: int
    unknown_or_used: int
    early: Sequence[Early] = ()
    """Those that wait for their packets from now on."""

    def to_bytes(self) -> bytes:
        """Return the note as bytes."""
        head = _COUNTS.pack(self.count, self.answered_only, self.unknown_or_used)
        return head + (packed({}, columns(self.early)) if self.early else b"")

    @staticmethod
    def from_bytes(data: bytes) -> "Labels":
        """Return the note that bytes are."""
        rest = data[_COUNTS.size :]
        count, answered_only, unknown = _COUNTS.unpack_from(data)
        return Labels(count, answered_only, unknown, tuple(rows(unpacked(rest)[1])) if rest else ())


def columns(early: Sequence[Early]) -> dict[str, NDArray[Any]]:
    """Return labels that wait as arrays: those that are gradients apart."""
    is_gradient = np.array([own for _, _, own in early], dtype=bool)
    found: dict[str, NDArray[Any]] = {
        "replica": np.array([ticket.replica for ticket, _, _ in early], dtype=np.uint64),
        "incarnation": np.array([ticket.incarnation for ticket, _, _ in early], dtype=np.uint32),
        "sequence": np.array([ticket.sequence for ticket, _, _ in early], dtype=np.uint64),
        "is_gradient": is_gradient,
    }
    for name, wanted in (("labels", False), ("gradients", True)):
        values = [value for _, value, own in early if own is wanted]
        if values:
            found[name] = np.array(values)
    return found


def rows(arrays: Mapping[str, NDArray[Any]]) -> list[Early]:
    """Return the labels that arrays hold, in their order."""
    values = {own: iter(arrays.get(name, ())) for name, own in (("labels", False), ("gradients", True))}
    tickets = zip(*(arrays[name].tolist() for name in ("replica", "incarnation", "sequence")), strict=True)
    return [
        (Ticket(*ticket), next(values[own]), own)
        for ticket, own in zip(tickets, arrays["is_gradient"].tolist(), strict=True)
    ]


def tallies_to(counted: Sequence[tuple[int, int, _native.FleetTally]]) -> dict[str, NDArray[Any]]:
    """Return tallies as arrays."""
    data = [tally.to_bytes() for _, _, tally in counted]
    return {
        "left": np.array([own[:2] for own in counted], dtype=np.int64).reshape(-1, 2),
        "lengths": np.array([len(one) for one in data], dtype=np.int64),
        "tallies": np.frombuffer(b"".join(data), dtype=np.uint8),
    }


def tallies_of(arrays: Mapping[str, NDArray[Any]]) -> list[tuple[int, int, _native.FleetTally]]:
    """Return the tallies that arrays hold."""
    data, found, start = arrays["tallies"].tobytes(), [], 0
    for (version, bucket), length in zip(arrays["left"].tolist(), arrays["lengths"].tolist(), strict=True):
        tally = _native.FleetTally.from_bytes(data[start : start + length])
        found.append((version, bucket, tally))
        start += length
    return found
