"""A file that appears complete or not at all.

Invariant: under the target name there is, at any moment and after any failure of the process, what was
there before or the whole new file. Written to a temporary file in the same directory, synced, renamed over
the target, and the directory synced: once the block has ended, the file survives a power failure as far as
the disk keeps its word. The temporary is removed on every exception, KeyboardInterrupt too; only a killed
process leaves one (``.efl-*.tmp``).
Cost: two syncs.
"""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

__all__ = ["replacement"]


@contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """Open a file that takes the place of ``path`` when the block ends without an exception.

    A symbolic link is followed, so that what it points to is replaced. The mode is that of a new file.

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
    directory = os.path.dirname(target)
    temporary = os.path.join(directory, f".efl-{secrets.token_hex(8)}.tmp")
    held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)  # a missing directory is named here
    try:
        try:
            with open(temporary, "xb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            os.replace(temporary, target)
        except BaseException:
            if os.path.exists(temporary):
                os.unlink(temporary)
            raise
        os.fsync(held)
    finally:
        os.close(held)
