"""How a replica reaches the shards of a cluster: its own one with packets, all of them with labels.

Invariant: see `efl_core.fleet.away`. Cost: one call a second.
"""

import os
from collections.abc import Sequence
from typing import SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import integer, real
from efl_core.errors import InvalidInputError
from efl_core.fleet.away import Away, Newest
from efl_core.fleet.cluster.drafts import Port
from efl_core.fleet.cluster.routing import hand_in, outputs_of, shard_of
from efl_core.fleet.outbox import Life
from efl_core.fleet.tickets import Ticket
from efl_core.fleet.web.wire import Described, read_version

__all__ = ["Spread"]

Floats = NDArray[np.float64]


class Spread(Away):
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

    def __init__(
        self,
        qnode: object,
        shards: Sequence[Port],
        *,
        name: SupportsIndex | None = None,
        every: SupportsFloat = 1.0,
    ) -> None:
        super().__init__(qnode, every=real("every", every), first=0.0)
        self._ports = tuple(shards)
        if not self._ports:
            raise InvalidInputError.of("shards", "one or more", "none")
        self._pid = os.getpid()
        self._name = _drawn() if name is None else integer("name", name, 0, 2**64 - 1)
        self._fetch()
        self._join()

    @property
    def _home(self) -> Port:
        return self._ports[shard_of(self._name, len(self._ports))]

    def _newest(self) -> Newest:
        return self._home.newest()

    def _read(self, name: str) -> Described:
        return read_version(self._home.wire(name))

    def _join(self) -> None:
        if self._pid != os.getpid():  # a forked worker is another one
            self._pid, self._name = os.getpid(), _drawn()
        self._lives(Life(self._name, self._home.join(self._name)))

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


def _drawn() -> int:
    return int.from_bytes(os.urandom(8), "little")
