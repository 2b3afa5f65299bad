"""Group commit: one thread makes events durable, and whoever waits for one is told together with others.

A batch is closed when half of those wait who do so of late, after 20 ms, or with 1 MB: a caller alone never
waits for others, and of many one half prepares what comes next while the other half is written.

Invariant: `Journal.wait` returns when everything that has happened so far is on disk, or raises. After a
write that failed nothing is written any more: nobody knows what of it is on disk, until it is read again.
Cost: an fsync for each batch; between them the bytes of the events of those who wait.
"""

import logging
import os
import threading
import time
from collections.abc import Callable

from efl_core import _native
from efl_core.errors import JournalError
from efl_core.fleet.journal.store import Checkpoint, Store

__all__ = ["Journal"]

LOGGER = logging.getLogger("efl_core")
# Seconds and bytes after which a batch waits for nobody else.
LINGER, BATCH = 0.02, 1 << 20
# All of the state is written after so many bytes of frames, and so many times its own size: a start then has
# little to read, and states are a small part of what is written.
CHECKPOINT, TIMES = 64 << 20, 4

Snapshot = Callable[[], tuple[bytes | None, bytes, bytes]]


class Journal:
    """The journal of a machine that is running.

    Parameters
    ----------
    store
        The file, which belongs to the journal from now on.
    machine
        A machine that writes down what happens.
    durable
        How many of its events are on disk.
    snapshot
        Returns the frame of what happened last, the state behind it, and what the learner knows beside.
    """

    def __init__(self, store: Store, machine: _native.FleetMachine, durable: int, snapshot: Snapshot) -> None:
        self._store, self._machine, self._snapshot = store, machine, snapshot
        self._lock = threading.Lock()
        self._work, self._done = threading.Condition(self._lock), threading.Condition(self._lock)
        self._durable = durable
        self._wanted, self._waiting, self._known = self._durable, 0, 1
        self._since, self._due = 0, CHECKPOINT
        self._is_asked, self._is_closed = False, False
        self._failure: BaseException | None = None
        self._pid = os.getpid()
        self.commits = 0
        """Transactions so far."""
        self.seconds = 0.0
        """Spent in them."""
        self._thread = threading.Thread(target=self._run, name="efl-journal", daemon=True)
        self._thread.start()

    @property
    def path(self) -> str:
        """The file."""
        return str(self._store.path)

    @property
    def failure(self) -> BaseException | None:
        """Why nothing is acknowledged any more, if that is so."""
        return self._failure

    @property
    def durable(self) -> int:
        """How many events are on disk."""
        return self._durable

    def check(self) -> None:
        """Raise if nothing can become durable any more: then nothing is to happen either."""
        if self._failure is not None:
            raise JournalError(
                f"journal: {self.path!r} could not be written ({self._failure}); nothing is acknowledged "
                "until the learner is started again"
            ) from self._failure
        if self._is_closed:
            raise JournalError.of("journal", "one that is open", "one that was closed")
        if self._pid != os.getpid():
            raise JournalError.of("journal", "the process that opened it", "one that was forked from that")

    def wait(self) -> None:
        """Return when everything that has happened so far is on disk."""
        wanted = self._machine.recorded
        with self._lock:
            if self._durable >= wanted:
                return
            self.check()
            self._wanted = max(self._wanted, wanted)
            self._waiting += 1
            self._work.notify()
            self._done.wait_for(lambda: self._durable >= wanted or self._failure is not None)
            if self._durable < wanted:
                self.check()

    def checkpoint(self) -> None:
        """Write all of the state, so that a start reads nothing else."""
        with self._lock:
            self.check()
            self._is_asked = True
            self._work.notify()
            self._done.wait_for(lambda: not self._is_asked or self._failure is not None)
            if self._is_asked:
                self.check()

    def close(self) -> None:
        """Write all of the state if that is possible, and let go of the file."""
        with self._lock:
            if self._is_closed:
                return
        if self._pid == os.getpid() and self._failure is None:
            self.checkpoint()
        with self._lock:
            self._is_closed = True
            self._work.notify()
        if self._pid == os.getpid():
            self._thread.join()
            self._store.close()

    # ---- the thread --------------------------------------------------------------------------------------

    def _run(self) -> None:
        while True:
            with self._lock:
                self._work.wait_for(lambda: self._is_closed or self._is_asked or self._wanted > self._durable)
                if self._is_closed and self._wanted <= self._durable:
                    return
                self._work.wait_for(self._is_full, LINGER)
                batch, self._waiting = self._waiting, 0
                is_asked = self._is_asked
            try:
                durable = self._commit(is_asked or self._since >= self._due)
            except BaseException as error:  # whatever it was: nobody may be told that it went well
                LOGGER.error("the journal failed, nothing is acknowledged from now on: %s", error)
                with self._lock:
                    self._failure = error
                    self._done.notify_all()
                return
            with self._lock:
                self._durable, self._known = durable, batch + self._waiting
                self._is_asked = self._is_asked and not is_asked
                self._done.notify_all()

    def _is_full(self) -> bool:
        """Say whether the batch waits for nobody else."""
        return (
            self._is_closed
            or self._is_asked
            or 2 * self._waiting >= self._known
            or self._machine.unframed >= BATCH
        )

    def _commit(self, with_state: bool) -> int:
        """Make durable what has happened; return how many events are."""
        durable, checkpoint = self._durable, None
        if with_state:
            frame, state, learner = self._snapshot()
        else:
            frame = self._machine.frame()
        began = time.perf_counter()
        if frame is not None:
            first, count, _, _ = _native.fleet_frame(frame)
            durable = first + count
            self._since += len(frame)
        if with_state:
            checkpoint = Checkpoint(durable, state, learner)
            self._since, self._due = 0, max(CHECKPOINT, TIMES * (len(state) + len(learner)))
        self._store.append(frame, checkpoint)
        self.commits += 1
        self.seconds += time.perf_counter() - began
        return durable
