"""A file that appears complete or not at all.

Invariant: under the target name there is, at any moment and after any failure of the process, what was
there before or the whole new file. It is written without a name in the same directory, synced, given a
temporary name (``.efl-*.tmp``) and at once renamed over the target, and the directory synced: after the
block, the file survives a power failure as far as the disk keeps its word. Nothing is left of a write that
fails, KeyboardInterrupt included, nor of one that is killed before its last two calls. Only where the system
has no files without a name (macOS, some network file systems) the temporary has its name from the start,
and a killed process leaves it.
What is no regular file is never replaced: not a device, a pipe or a socket.
Cost: two syncs.
"""

import errno
import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from efl_core.errors import InvalidInputError

__all__ = ["replacement"]

_NO_UNNAMED = {errno.EOPNOTSUPP, errno.EISDIR, errno.ENOENT, errno.EINVAL}
"""What systems and file systems that know no O_TMPFILE answer to it."""

_KINDS = {
    stat.S_IFIFO: "a pipe",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends without an exception.

    A symbolic link is followed, so that what it points to is replaced. The mode is that of the file which is
    replaced, or else that of a new file.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = Path(directory, "file")
    ...     with replacement(path) as file:
    ...         written = file.write(b"all of it")
    ...         there = path.exists()
    ...     there, path.read_bytes(), len(list(Path(directory).iterdir()))
    (False, b'all of it', 1)
    """
    target = os.path.realpath(path)
    mode = _mode_of(path)
    held = os.open(os.path.dirname(target), os.O_RDONLY | os.O_DIRECTORY)  # a missing directory is named here
    name = f".efl-{secrets.token_hex(8)}.tmp"
    try:
        # From the start no more open than the old file: it may be private.
        unnamed = _open_unnamed(os.path.dirname(target), 0o666 if mode is None else mode)
        try:
            with _named(name, held, mode) if unnamed is None else open(unnamed, "wb") as file:
                yield file
                file.flush()
                if mode is not None:
                    os.fchmod(file.fileno(), mode)
                os.fsync(file.fileno())
                if unnamed is not None:
                    os.link(f"/proc/self/fd/{unnamed}", name, dst_dir_fd=held)
            os.replace(name, target, src_dir_fd=held)
        except BaseException:
            with suppress(FileNotFoundError):  # it had no name yet, or has its last one already
                os.unlink(name, dir_fd=held)
            raise
        os.fsync(held)
    finally:
        os.close(held)


def _mode_of(path: Path) -> int | None:
    """Return the mode of the file to replace, None if there is none; refuse what is no file."""
    try:
        found = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISDIR(found):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(found):
        kind = _KINDS.get(stat.S_IFMT(found), "something else")
        raise InvalidInputError.of("path", "a regular file, or the name of a new one", f"{kind}: {path}")
    return stat.S_IMODE(found)


def _open_unnamed(directory: str, mode: int) -> int | None:
    """Open a file that has no name; None where that, or naming it later, is not possible."""
    try:
        opened = os.open(directory, os.O_TMPFILE | os.O_WRONLY, mode)
    except AttributeError:
        return None
    except OSError as error:
        if error.errno in _NO_UNNAMED:
            return None
        raise
    if not os.path.exists(f"/proc/self/fd/{opened}"):
        os.close(opened)
        return None
    return opened


def _named(name: str, held: int, mode: int | None) -> BinaryIO:
    created = os.open(
        name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666 if mode is None else mode, dir_fd=held
    )
    return open(created, "wb")
