"""How a replica reaches the shards of a cluster: its own one with packets, all of them with labels.

As with a learner at an address, what answers need is always there, and a thread asks for newer versions.

Invariant: nothing that is called while a query is answered waits for a shard, the constructor excepted.
Cost: one call a second.
"""

import logging
import os
import threading
import weakref
from collections.abc import Sequence
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import integer, real
from efl_core.errors import EflError, InvalidInputError
from efl_core.fleet.cluster.drafts import Port
from efl_core.fleet.cluster.routing import hand_in, outputs_of, shard_of
from efl_core.fleet.links import Candidate
from efl_core.fleet.models import Model, made_model
from efl_core.fleet.outbox import Life
from efl_core.fleet.tickets import Ticket
from efl_core.fleet.versions import Version
from efl_core.fleet.web.wire import Described, made_here, read_version

__all__ = ["Spread"]

LOGGER = logging.getLogger("efl_core")
LONGEST = 5.0
NOBODY = Life(0, 0)

Floats = NDArray[np.float64]


class Spread:
    """The link of one replica to the shards of a cluster: ``Replica(qnode, Spread(qnode, shards))``.

    Parameters
    ----------
    qnode
        What the replica serves.
    shards
        All of them, in the order of their indices.
    name
        The replica's number, by which it has a shard; another one for each replica, drawn by default.
    every
        Seconds between two questions for a newer version.
    """

    rejoins = True

    def __init__(
        self,
        qnode: object,
        shards: Sequence[Port],
        *,
        name: SupportsIndex | None = None,
        every: SupportsFloat = 1.0,
    ) -> None:
        self._qnode, self._ports = qnode, tuple(shards)
        if not self._ports:
            raise InvalidInputError.of("shards", "one or more", "none")
        self._every = real("every", every)
        self._pid = os.getpid()
        self._name = _drawn() if name is None else integer("name", name, 0, 2**64 - 1)
        self._lock = threading.RLock()
        self._model: Model | None = None
        self._version: Version | None = None
        self._candidate: Candidate | None = None
        self._described: Described | None = None
        self._hash = ""
        self._fetch()
        self._life: tuple[int, Life] | None = None
        self._is_wanted = False
        self._join()
        self._poke = threading.Event()
        self._watcher: tuple[int, threading.Thread] | None = None
        self._is_closed = False
        self._told = ""

    @property
    def _home(self) -> Port:
        return self._ports[shard_of(self._name, len(self._ports))]

    # ---- versions ----------------------------------------------------------------------------------------

    def agree(self, shots: object, share: object, serve: object) -> None:
        """Refuse another split than that of the fleet."""
        assert self._described is not None  # the constructor has fetched it
        split = self._described.split
        known = {"shots": split.shots, "share": split.share, "serve": split.serve}
        for name, wanted in (("shots", shots), ("share", share), ("serve", serve)):
            if wanted is not None and wanted != known[name]:
                raise InvalidInputError.of(
                    name, f"{known[name]!r}, as everywhere in this fleet", repr(wanted)
                )

    def version(self, inputs: tuple[Any, ...]) -> Version:
        """Return the newest version that is known here."""
        if self._watcher is None or self._watcher[0] != os.getpid():
            self._watch()
        if self._version is None:
            with self._lock:
                if self._version is None:
                    assert self._described is not None
                    model = made_model(self._qnode, self._described.params, inputs)
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
        home = self._home
        told = home.newest()
        if told.hash != self._hash:
            found = read_version(home.wire(told.hash))
            with self._lock:  # never while a shard is waited for
                if self._model is not None:
                    self._version = made_here(found, self._model)
                self._described, self._hash = found, told.hash
        if told.candidate is None:
            self._candidate = None
        elif self._model is not None and (
            self._candidate is None or self._candidate.version.number != told.candidate
        ):
            version = made_here(read_version(home.wire(told.candidate_hash)), self._model)
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
        """Join if that is wanted, and fetch; return whether the shard was there."""
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

    # ---- packets and labels ------------------------------------------------------------------------------

    def _join(self) -> None:
        if self._pid != os.getpid():  # a forked worker is another one
            self._pid, self._name = os.getpid(), _drawn()
        life = Life(self._name, self._home.join(self._name))
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

    def ticket(self, life: Life, sequence: int, teaches: bool) -> str:
        """Return the ticket, which needs no tag among workers that are trusted."""
        return Ticket(*life, sequence, teaches).text

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Hand a packet to the shard of the replica."""
        found = self._home.submit(packet)
        if found[1] != self._number:
            self._poke.set()
        return found

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Hand labels or gradients to the shards of their tickets; see `Coordinator.feedback`."""
        return hand_in(self._ports, tickets, label, gradient)

    def outputs(self, tickets: object) -> Floats:
        """Ask what queries that wait were answered with."""
        return outputs_of(self._ports, tickets)

    def close(self) -> None:
        """End the thread."""
        self._is_closed = True
        self._poke.set()


def _drawn() -> int:
    return int.from_bytes(os.urandom(8), "little")


def _watched(which: "weakref.ref[Spread]", poke: threading.Event) -> None:
    """Ask again and again, as long as there is somebody to ask for."""
    pause = 0.0
    while True:
        poke.wait(pause)
        poke.clear()
        link = which()
        if link is None or link._is_closed:
            return
        pause = link._every if link._ask() else min(LONGEST, 2 * max(pause, link._every))
        del link
