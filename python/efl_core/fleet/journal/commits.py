"""Group commit: whoever waits writes for all, or is told by whoever does; and checkpoints, now and then.

The batches themselves are native (`FleetCommits`): nobody who waits needs the interpreter. One of those who
wait writes what has happened so far while the others prepare what comes next; nothing waits for a batch to
fill.

Invariant: `Journal.wait` returns when everything that has happened so far is on disk, or raises. After a
write that failed nothing is written any more: nobody knows what of it is on disk, until it is read again.
Cost: an fsync for each batch; now and then somebody who waits writes a checkpoint, too.
"""

import logging
import os
import threading
from collections.abc import Callable

from efl_core import _native
from efl_core.errors import JournalError
from efl_core.fleet.journal.store import Checkpoint, Store

__all__ = ["Journal"]

LOGGER = logging.getLogger("efl_core")
# All of the state is written after so many bytes of frames, and so many times its own size: a start then has
# little to read, and states are a small part of what is written.
CHECKPOINT, TIMES = 64 << 20, 4


class Journal:
    """The journal of a machine that is running.

    Parameters
    ----------
    store
        The file, which belongs to the journal from now on.
    machine
        A machine that writes down what happens.
    changed
        Held by whoever changes anything.
    known
        Returns what the learner knows beside the machine.
    """

    def __init__(
        self,
        store: Store,
        machine: _native.FleetMachine,
        durable: int,
        changed: threading.Condition,
        known: Callable[[], bytes],
    ) -> None:
        self._store, self._machine, self._changed, self._known = store, machine, changed, known
        self._commits = store.commits
        self._commits.resume(durable)
        self._due = self._commits.end + CHECKPOINT
        self._checkpointing, self._telling = threading.Lock(), threading.Lock()
        self._is_closed = self._is_told = False
        self._pid = os.getpid()

    @property
    def path(self) -> str:
        """The file."""
        return str(self._store.path)

    @property
    def failure(self) -> str | None:
        """Why nothing is acknowledged any more, if that is so."""
        return self._commits.failure

    @property
    def durable(self) -> int:
        """How many events are on disk."""
        return self._commits.durable

    @property
    def commits(self) -> int:
        """Frames so far."""
        return self._commits.commits

    def check(self) -> None:
        """Raise if nothing can become durable any more: then nothing is to happen either."""
        if self._is_closed:
            raise JournalError.of("journal", "one that is open", "one that was closed")
        failure = self._commits.failure
        if failure is not None:
            raise JournalError(
                f"journal: {self.path!r} could not be written ({failure}); nothing is acknowledged "
                "until the learner is started again"
            )
        if self._pid != os.getpid():
            raise JournalError.of("journal", "the process that opened it", "one that was forked from that")

    def wait(self) -> None:
        """Return when everything that has happened so far is on disk."""
        if not self._commits.wait(self._machine):
            self._tell()
            self.check()
        if self._commits.end >= self._due and self._checkpointing.acquire(blocking=False):
            try:
                self._write_state()
            finally:
                self._checkpointing.release()

    def checkpoint(self) -> None:
        """Write all of the state, so that a start reads nothing else."""
        self.check()
        with self._checkpointing:
            self._write_state()
        self.check()

    def close(self) -> None:
        """Write all of the state if that is possible, and let go of the file."""
        with self._checkpointing:
            if self._is_closed:
                return
            is_ours = self._pid == os.getpid()
            try:
                if is_ours and self._commits.failure is None:
                    self._write_state()
                    self.check()
            finally:
                self._is_closed = True
                if is_ours:
                    self._store.close()

    def _write_state(self) -> None:
        """Write a checkpoint; if that fails, nothing is acknowledged any more."""
        if self._is_closed:
            return  # while somebody waited for his turn
        try:
            with self._changed:  # nothing happens, so that all frames are those before the state
                if not self._commits.wait(self._machine):
                    return self._tell()
                state, learner = self._machine.state(), self._known()
                found = Checkpoint(self._commits.durable, state, learner, self._commits.end)
            self._store.keep(found)
        except Exception as error:  # whatever it was: nobody knows what is on disk
            self._commits.fail(str(error))
            return self._tell()
        self._due = found.place + max(CHECKPOINT, TIMES * (len(state) + len(learner)))

    def _tell(self) -> None:
        """Say once that the journal has failed."""
        with self._telling:
            is_news, self._is_told = not self._is_told, True
        if is_news and not self._is_closed:
            reason = self._commits.failure
            LOGGER.error("the journal failed, nothing is acknowledged from now on: %s", reason)
