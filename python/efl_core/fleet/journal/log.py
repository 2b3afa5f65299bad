"""The frames of a journal: a file that only grows, beside the database that knows where to begin.

A frame is written once and synced once; a database would write it twice. Each has 16 bytes before it: its
length, and a hash of length and place by a key that the database keeps. So the length of a frame that was
not written to its end is known, no bytes that a replica has chosen pass for a frame, and frames of another
journal are none of this one.

Invariant: what ends behind the last whole frame was never acknowledged, and goes when the file is opened;
anything else that is not as it was written is damage, and is said. Cost: a write and an fsync for a frame; at
a start 16 bytes of each frame since the last checkpoint.
"""

import hashlib
import logging
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from efl_core import _native
from efl_core.errors import CorruptDataError, EflError

__all__ = ["Log"]

LOGGER = logging.getLogger("efl_core")
# The length of a frame (8 bytes), and its hash.
HEAD = 16


class Log:
    """The file of frames.

    Parameters
    ----------
    path
        The file, which is there.
    key
        By which its frames are known.
    start
        A place from which on there may be a frame that was not written to its end.
    is_fixed
        Whether the file cannot be written to.
    """

    def __init__(self, path: Path, key: bytes, start: int, *, is_fixed: bool) -> None:
        self.path, self._key = path, key
        with path.open("rb") as file:
            self._end = self._whole(file, start)
        self._commits: _native.FleetCommits | None = None
        if is_fixed:
            return
        torn = path.stat().st_size - self._end
        if torn:
            LOGGER.warning("%d bytes of %s were not written to their end, and are cut off", torn, path)
            os.truncate(path, self._end)  # durable with the next frame
        self._commits = _native.FleetCommits(path, key=key, end=self._end)

    @property
    def end(self) -> int:
        """Where the next frame goes."""
        return self._end if self._commits is None else self._commits.end

    @property
    def commits(self) -> _native.FleetCommits:
        """What writes frames."""
        assert self._commits is not None  # or nothing is written
        return self._commits

    def frames(self, start: int = 0) -> Iterator[bytes]:
        """Return the frames from a place on, where one begins; whether they are sound inside, others see."""
        with self.path.open("rb") as file:
            place = start
            while place < self.end:
                length = self._length(file, place)
                if length is None:
                    raise self._damage(place)
                yield file.read(length)
                place += HEAD + length

    def close(self) -> None:
        """Let go of the file."""
        if self._commits is not None:
            self._commits.close()

    # ---- where it ends -----------------------------------------------------------------------------------

    def _whole(self, file: BinaryIO, start: int) -> int:
        """Return where the last whole frame ends."""
        size, place = os.fstat(file.fileno()).st_size, start
        if size < start:
            raise CorruptDataError.of("journal", f"{start} bytes or more in {str(self.path)!r}", size)
        while place < size:
            length = self._length(file, place)
            if length is None:
                if self._goes_on(file, place, size):
                    raise self._damage(place)
                return place
            after = place + HEAD + length
            if after > size or (after == size and not _is_sound(file.read(length))):
                return place
            place = after
        return place

    def _goes_on(self, file: BinaryIO, place: int, size: int) -> bool:
        """Say whether a frame begins behind a place where none does: then the one there was acknowledged."""
        file.seek(place)
        rest = file.read(size - place)
        return any(
            rest[i + 8 : i + HEAD] == self._hash(place + i, rest[i : i + 8])
            for i in range(1, len(rest) - HEAD + 1)
        )

    def _length(self, file: BinaryIO, place: int) -> int | None:
        """Return the length of the frame at a place, and go to where it begins; None if none does."""
        file.seek(place)
        head = file.read(HEAD)
        if head[8:] != self._hash(place, head[:8]):
            return None
        return int.from_bytes(head[:8], "little")

    def _hash(self, place: int, length: bytes) -> bytes:
        return hashlib.blake2b(place.to_bytes(8, "little") + length, digest_size=8, key=self._key).digest()

    def _damage(self, place: int) -> CorruptDataError:
        return CorruptDataError.of(
            "journal", f"a frame of this journal at byte {place} of {str(self.path)!r}", "other bytes"
        )


def _is_sound(frame: bytes) -> bool:
    try:
        _native.fleet_frame(frame)
    except EflError:
        return False
    return True
