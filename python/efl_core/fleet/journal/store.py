"""The file of a journal: frames of events and checkpoints, in SQLite.

One connection, exclusive from its first moment on, so that a second learner on the same file is refused;
``synchronous=FULL``, so that what is committed survives the loss of power as far as the disk keeps its word.
SQLite sees to it that a transaction is there or not; frames have checksums of their own, and each names the
one before it.

Invariant: a frame is written once, under the number of its first event; nothing that is written changes.
Cost: a transaction is one write to the log and one fsync; what is large is written a second time later.
"""

import os
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from efl_core.errors import CorruptDataError, JournalError, NewerFormatError

__all__ = ["Checkpoint", "Store"]

# "EFLJ", by which the file is known.
MARK = 0x45464C4A
FORMAT = 1
# Where locks or fsync are not those of a disk.
NETWORKS = (
    "nfs",
    "cifs",
    "smb",
    "9p",
    "afs",
    "fuse.sshfs",
    "fuse.s3",
    "fuse.gcs",
    "glusterfs",
    "lustre",
    "ceph",
)
SCHEMA = (
    "CREATE TABLE frames(first INTEGER PRIMARY KEY, frame BLOB NOT NULL)",
    "CREATE TABLE checkpoints(next INTEGER PRIMARY KEY, state BLOB NOT NULL, learner BLOB NOT NULL)",
)


class Checkpoint(NamedTuple):
    """All of a learner behind some event."""

    next: int
    """The number of the event after it."""
    state: bytes
    """The machine."""
    learner: bytes
    """What the learner knows beside it."""


class Store:
    """The file of a journal, which is made if it is not there.

    Parameters
    ----------
    path
        The file; SQLite keeps its log beside it.
    must_exist
        Whether a file that is not there is refused.
    """

    def __init__(self, path: "os.PathLike[str] | str", *, must_exist: bool = False) -> None:
        self.path = Path(path)
        self._check_place(must_exist)
        try:
            self._db = sqlite3.connect(
                self._address(), uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        try:
            self._open()
        except sqlite3.Error as error:
            self._db.close()
            raise self._refusal(error) from error
        except BaseException:
            self._db.close()
            raise

    # ---- opening -----------------------------------------------------------------------------------------

    def _check_place(self, must_exist: bool) -> None:
        path = self.path
        if path.is_dir():
            raise JournalError.of("journal", "the name of a file", f"the folder {str(path)!r}")
        if must_exist and not path.is_file():
            raise JournalError.of("journal", "a file that is there", repr(str(path)))
        folder = path.resolve().parent
        if not folder.is_dir():
            raise JournalError.of("journal", "a file in a folder that is there", repr(str(path)))
        kind = _filesystem(folder)
        if kind.startswith(NETWORKS):
            raise JournalError.of(
                "journal",
                "a disk of this machine, whose locks and writes can be relied on",
                f"{kind} at {folder}",
            )

    def _address(self) -> str:
        """Return the address of the file; one that cannot change and needs no log is read as it is."""
        address = self.path.resolve().as_uri()
        log = self.path.with_name(self.path.name + "-wal")
        fixed = self.path.is_file() and not os.access(self.path, os.W_OK)
        return address + ("?immutable=1" if fixed and not (log.exists() and log.stat().st_size) else "")

    def _open(self) -> None:
        run = self._db.execute
        run("PRAGMA locking_mode=EXCLUSIVE")
        run("PRAGMA page_size=65536")  # of a file that is new: frames are large
        [mark] = run("PRAGMA application_id").fetchone()
        [tables] = run("SELECT count(*) FROM sqlite_master").fetchone()
        if (tables or mark) and mark != MARK:
            raise JournalError.of("journal", "a journal of a fleet", f"another database, {str(self.path)!r}")
        [found] = run("PRAGMA user_version").fetchone()
        if found > FORMAT:
            raise NewerFormatError(
                f"journal: expected format {FORMAT} at most, got {found} in {str(self.path)!r}: "
                "upgrade efl-core"
            )
        self.is_fixed = "immutable" in self._address()
        if self.is_fixed:
            return
        [mode] = run("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise JournalError.of("journal", "a disk on which SQLite can keep a log", f"mode {mode!r}")
        run("PRAGMA synchronous=FULL")
        run("PRAGMA wal_autocheckpoint=1024")  # 64 MB, else every few frames are written twice at once
        if sys.platform == "darwin":
            run("PRAGMA fullfsync=1")
        run("BEGIN IMMEDIATE")  # from here on the file is ours
        if not tables:
            for statement in SCHEMA:
                run(statement)
            run(f"PRAGMA application_id={MARK}")
            run(f"PRAGMA user_version={FORMAT}")
        run("COMMIT")

    def _refusal(self, error: sqlite3.Error) -> JournalError | CorruptDataError:
        text, name = str(error), str(self.path)
        if "locked" in text:
            return JournalError.of(
                "journal", "a file that no other learner holds", f"{name!r}, which one does"
            )
        if "readonly" in text or "unable to open" in text:
            return JournalError.of(
                "journal", "a folder and a file that can be written to", f"{name!r} ({text})"
            )
        if "not a database" in text or "malformed" in text:
            return CorruptDataError(f"journal: expected a journal of a fleet, got {name!r} ({text})")
        return JournalError.of("journal", "a file that can be written to", f"{name!r} ({text})")

    # ---- writing and reading -----------------------------------------------------------------------------

    def append(self, frame: tuple[int, bytes] | None, checkpoint: Checkpoint | None = None) -> None:
        """Make a frame durable, under the number of its first event, and a checkpoint behind it."""
        run = self._db.execute
        run("BEGIN IMMEDIATE")
        if frame is not None:
            run("INSERT INTO frames VALUES(?, ?)", frame)
        if checkpoint is not None:
            run("INSERT OR REPLACE INTO checkpoints VALUES(?, ?, ?)", checkpoint)
            # The one before stays: a checkpoint that turns out to be damaged is not the end.
            run(
                "DELETE FROM checkpoints WHERE next NOT IN "
                "(SELECT next FROM checkpoints ORDER BY next DESC LIMIT 2)"
            )
        run("COMMIT")

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that are kept, the last one first."""
        return [Checkpoint(*row) for row in self._read("SELECT * FROM checkpoints ORDER BY next DESC")]

    def frames(self, start: int = 0) -> Iterator[bytes]:
        """Return the frames whose first event is ``start`` or a later one, in their order."""
        for [frame] in self._read("SELECT frame FROM frames WHERE first >= ? ORDER BY first", start):
            yield frame

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been written."""
        return next(self.frames(), None) is None

    def _read(self, query: str, *values: int) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query, values)
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Let go of the file."""
        self._db.close()


def _filesystem(folder: Path) -> str:
    """Return the kind of file system that a folder is on, as Linux names it; elsewhere nothing is known."""
    try:
        lines = Path("/proc/self/mounts").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return ""
    found, longest = "", -1
    for line in lines:
        _, place, kind, *_ = line.split()
        mount = place.replace("\\040", " ")
        if folder.is_relative_to(mount) and len(mount) >= longest:
            found, longest = kind, len(mount)
    return found
