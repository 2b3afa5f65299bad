"""The files of a journal: checkpoints in SQLite, and frames of events in a file beside it.

One connection, exclusive from its first moment on, so that a second learner on the same file is refused;
``synchronous=FULL``, so that what is committed survives the loss of power as far as the disk keeps its word.
SQLite sees to it that a checkpoint is there or not; frames have checksums of their own, and each names the
one before it.

Invariant: a frame is written once; a checkpoint is written after all frames that are in it. Cost: a frame is
one write and one fsync; a checkpoint is a transaction.
"""

import os
import secrets
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from efl_core import _native
from efl_core.errors import CorruptDataError, EflError, JournalError, NewerFormatError
from efl_core.fleet.journal.log import Log

__all__ = ["Checkpoint", "Store"]

# "EFLJ", by which the file is known.
MARK = 0x45464C4A
# Format 1, which no release has written, had its frames in the database.
FORMAT = 2
FRAMES = "-frames"
"""What is behind the name of the journal in that of its frames."""
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
    "CREATE TABLE log(key BLOB NOT NULL)",
    "CREATE TABLE checkpoints(next INTEGER PRIMARY KEY, state BLOB NOT NULL, learner BLOB NOT NULL, "
    "place INTEGER NOT NULL)",
)


class Checkpoint(NamedTuple):
    """All of a learner behind some event."""

    next: int
    """The number of the event after it."""
    state: bytes
    """The machine."""
    learner: bytes
    """What the learner knows beside it."""
    place: int
    """Where the frames after it begin, in their file."""


class Store:
    """The file of a journal, which is made if it is not there.

    Parameters
    ----------
    path
        The file; its frames are beside it, and SQLite's log.
    must_exist
        Whether a file that is not there is refused.
    """

    def __init__(self, path: "os.PathLike[str] | str", *, must_exist: bool = False) -> None:
        self.path = Path(path)
        self._beside = self.path.with_name(self.path.name + FRAMES)
        self._check_place(must_exist)
        try:
            self._db = sqlite3.connect(
                self._address(), uri=True, timeout=0, isolation_level=None, check_same_thread=False
            )
        except sqlite3.Error as error:
            raise self._refusal(error) from error
        try:
            self._open()
        except BaseException as error:
            self._db.close()
            if isinstance(error, sqlite3.Error):
                raise self._refusal(error) from error
            if isinstance(error, OSError) and not isinstance(error, EflError):
                expected, got = (
                    "a folder and files that can be written to",
                    f"{self._beside} ({error.strerror})",
                )
                raise JournalError.of("journal", expected, got) from error
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
        run("PRAGMA page_size=65536")  # of a file that is new: states are large
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
        if tables and found < FORMAT:
            raise JournalError.of(
                "journal", f"format {FORMAT}", f"format {found}, which no release has written"
            )
        self.is_fixed = "immutable" in self._address()
        if not self.is_fixed:
            self._claim(is_new=not tables)
        [key] = run("SELECT key FROM log").fetchone()
        [start] = run("SELECT coalesce(max(place), 0) FROM checkpoints").fetchone()
        if not self._beside.is_file():
            raise JournalError.of("journal", "its frames beside it", f"no file {str(self._beside)!r}")
        self._log = Log(self._beside, key, start, is_fixed=self.is_fixed)

    def _claim(self, *, is_new: bool) -> None:
        """Make the file ours, and what is to be in it."""
        run = self._db.execute
        [mode] = run("PRAGMA journal_mode=WAL").fetchone()
        if mode != "wal":
            raise JournalError.of("journal", "a disk on which SQLite can keep a log", f"mode {mode!r}")
        run("PRAGMA synchronous=FULL")
        if sys.platform == "darwin":
            run("PRAGMA fullfsync=1")
        run("BEGIN IMMEDIATE")  # from here on the file is ours
        if is_new:
            _made_empty(self._beside)  # before the file says that it is there
            for statement in SCHEMA:
                run(statement)
            run("INSERT INTO log VALUES(?)", (secrets.token_bytes(16),))
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

    @property
    def commits(self) -> _native.FleetCommits:
        """What writes frames."""
        return self._log.commits

    def keep(self, checkpoint: Checkpoint) -> None:
        """Write a checkpoint, whose frames are durable."""
        run = self._db.execute
        run("BEGIN IMMEDIATE")
        try:
            run("INSERT OR REPLACE INTO checkpoints VALUES(?, ?, ?, ?)", checkpoint)
            # The one before stays: a checkpoint that turns out to be damaged is not the end.
            run(
                "DELETE FROM checkpoints WHERE next NOT IN "
                "(SELECT next FROM checkpoints ORDER BY next DESC LIMIT 2)"
            )
            run("COMMIT")
        except BaseException:
            if self._db.in_transaction:
                run("ROLLBACK")
            raise

    def checkpoints(self) -> list[Checkpoint]:
        """Return the checkpoints that are kept, the last one first."""
        rows = self._read("SELECT next, state, learner, place FROM checkpoints ORDER BY next DESC")
        return [Checkpoint(*row) for row in rows]

    def frames(self, since: Checkpoint | None = None) -> Iterator[bytes]:
        """Return the frames behind a checkpoint, or all of them, in their order."""
        return self._log.frames(0 if since is None else since.place)

    @property
    def is_empty(self) -> bool:
        """Whether nothing has been written."""
        return not self._log.end

    def _read(self, query: str) -> Iterator[tuple[Any, ...]]:
        try:
            yield from self._db.execute(query)
        except sqlite3.DatabaseError as error:
            raise self._refusal(error) from error

    def close(self) -> None:
        """Let go of the files."""
        self._log.close()
        self._db.close()


def _made_empty(path: Path) -> None:
    """Make a file that is empty, or find one."""
    try:
        size = path.stat().st_size
    except FileNotFoundError:
        size = 0
    if size:
        raise JournalError.of("journal", f"no frames beside a new journal, in {str(path)!r}", f"{size} bytes")
    path.touch()
    if sys.platform != "win32":  # the name of the file is on disk with its folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
