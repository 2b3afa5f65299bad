"""A learner that is elsewhere, as a replica knows it: what its links have in common.

What answers need is always there: the newest version that has been heard of, and the number under which the
replica has joined. A thread of its own asks for newer versions, and joins where that is still to be done; an
outbox sends packets by another one. So a learner that is away is noticed by nobody who answers.

Invariant: nothing that is called while a query is answered waits for the learner, the first version and the
first joining excepted, which constructors see to. Cost: one request for each look.
"""

import logging
import os
import threading
import weakref
from abc import abstractmethod
from typing import Any, NamedTuple

from efl_core.errors import EflError, InvalidInputError
from efl_core.fleet.links import Candidate, Uplink
from efl_core.fleet.models import Model, made_model
from efl_core.fleet.outbox import Life
from efl_core.fleet.versions import Version
from efl_core.fleet.web.wire import Described, made_here

__all__ = ["Away", "Newest"]

LOGGER = logging.getLogger("efl_core")
# The longest pause between two looks while the learner does not answer, in seconds.
LONGEST = 5.0
NOBODY = Life(0, 0)


class Newest(NamedTuple):
    """What a replica is told when it asks for newer versions."""

    number: int
    hash: str
    """The name of the bytes of the version."""
    candidate: int | None
    candidate_hash: str
    share: float
    """The part of the queries that the candidate answers."""


class Away(Uplink):
    """A link that looks for newer versions.

    A constructor calls `_fetch` and joins, when all is there that `_newest`, `_read` and `_join` need.

    Parameters
    ----------
    qnode
        What the replica serves: the learner does not send it.
    every
        Seconds between two looks.
    first
        Seconds before the first one.
    """

    rejoins = True

    def __init__(self, qnode: object, *, every: float, first: float) -> None:
        self._qnode, self._every, self._first = qnode, every, first
        self._lock = threading.RLock()
        self._model: Model | None = None
        self._version: Version | None = None
        self._candidate: Candidate | None = None
        self._described: Described | None = None
        self._hash = ""
        # The life that the next outbox takes, and the process that it is for.
        self._life: tuple[int, Life] | None = None
        self._is_wanted = False
        self._poke = threading.Event()
        self._watcher: tuple[int, threading.Thread] | None = None
        self._is_closed = False
        self._told = ""

    @abstractmethod
    def _newest(self) -> Newest:
        """Ask which versions there are."""

    @abstractmethod
    def _read(self, name: str) -> Described:
        """Get the version whose bytes have this hash."""

    @abstractmethod
    def _join(self) -> None:
        """Ask for an incarnation of this process, for `_lives`."""

    # ---- versions ----------------------------------------------------------------------------------------

    def agree(self, shots: object, share: object, serve: object) -> None:
        """Refuse another split than that of the fleet."""
        assert self._described is not None  # the constructor has fetched it
        split = self._described.split
        for name, wanted, known in (
            ("shots", shots, split.shots),
            ("share", share, split.share),
            ("serve", serve, split.serve),
        ):
            if wanted is not None and wanted != known:
                raise InvalidInputError.of(name, f"{known!r}, as everywhere in this fleet", repr(wanted))

    def version(self, inputs: tuple[Any, ...]) -> Version:
        """Return the newest version that is known here."""
        if self._watcher is None or self._watcher[0] != os.getpid():
            self._watch()
        if self._version is None:
            with self._lock:
                if self._version is None:
                    assert self._described is not None
                    model = made_model(self._qnode, self._described.params, inputs, self._described.device)
                    self._version = made_here(self._described, model)
                    self._model = model
        return self._version

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that is known here."""
        return self._candidate

    def refresh(self) -> int:
        """Ask for the newest version now, and return its number."""
        self._fetch()
        return self._number

    @property
    def _number(self) -> int:
        assert self._described is not None
        return self._described.number

    def _fetch(self) -> None:
        """Get the newest version, if it is not the one that is known."""
        told = self._newest()
        if told.hash != self._hash:
            found = self._read(told.hash)
            with self._lock:  # never while the learner is waited for
                if self._model is not None:
                    self._version = made_here(found, self._model)
                self._described, self._hash = found, told.hash
        if told.candidate is None:
            self._candidate = None
        elif self._model is not None and (
            self._candidate is None or self._candidate.version.number != told.candidate
        ):
            version = made_here(self._read(told.candidate_hash), self._model)
            self._candidate = Candidate(version, told.share)

    # ---- the thread that asks ----------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watcher is not None and self._watcher[0] != os.getpid():
            self._lock = threading.RLock()  # who held it when the process forked is not here
        with self._lock:
            if self._watcher is not None and self._watcher[0] == os.getpid():
                return
            self._poke = threading.Event()
            thread = threading.Thread(
                target=_watched, args=(weakref.ref(self), self._poke), name="efl-versions", daemon=True
            )
            self._watcher = os.getpid(), thread
            thread.start()

    def _ask(self) -> bool:
        """Join if that is wanted, and fetch; return whether the learner was there."""
        try:
            if self._is_wanted:
                self._join()
            self._fetch()
        except EflError as error:
            if str(error) != self._told:
                LOGGER.warning("answers go on with version %s: %s", self._number, error)
            self._told = str(error)
            return False
        self._told = ""
        return True

    # ---- lives -------------------------------------------------------------------------------------------

    def _lives(self, life: Life) -> None:
        """Keep the life that this process has joined with, for whoever begins."""
        with self._lock:
            self._life, self._is_wanted = (os.getpid(), life), False

    def begin(self, name: int) -> Life:
        """Return the life that this process has joined with; nobody's, if it has not yet."""
        with self._lock:
            found, self._life = self._life, None
            if found is not None and found[0] == os.getpid():
                return found[1]
            if not self._is_wanted:
                self._is_wanted = True
                self._poke.set()
            return NOBODY

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._poke.set()


def _watched(which: "weakref.ref[Away]", poke: threading.Event) -> None:
    """Ask again and again, as long as there is somebody to ask for."""
    link = which()
    pause = 0.0 if link is None else link._first
    while True:
        del link
        poke.wait(pause)
        poke.clear()
        link = which()
        if link is None or link._is_closed:
            return
        pause = link._every if link._ask() else min(LONGEST, 2 * max(pause, link._every))
