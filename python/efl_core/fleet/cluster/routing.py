"""Whose a replica is: shards share replicas by a hash of their numbers, and labels follow their tickets.

Invariant: a replica has one shard, which all of its packets and labels reach.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.errors import InvalidInputError, ShapeError
from efl_core.fleet.cluster.drafts import Port
from efl_core.fleet.tickets import Ticket, read_tickets

__all__ = ["hand_in", "outputs_of", "replica_of", "shard_of"]

# The replica in the header of a packet: see docs/fleet.md.
REPLICA = slice(32, 40)


def shard_of(replica: int, shards: int) -> int:
    """Return the shard of a replica, of so many.

    >>> from efl_core.fleet.cluster import shard_of
    >>> [shard_of(replica, 4) for replica in (7, 8, 9, 10)]
    [2, 2, 2, 1]
    """
    found = hashlib.blake2b(replica.to_bytes(8, "little"), digest_size=8, person=b"efl shard").digest()
    return int.from_bytes(found, "little") * shards >> 64


def replica_of(packet: bytes) -> int:
    """Return the replica that a packet names, whatever else it is."""
    return int.from_bytes(packet[REPLICA], "little")


def hand_in(
    ports: Sequence[Port], tickets: object, label: object = None, gradient: object = None
) -> dict[str, int]:
    """Hand in labels, or gradients, at the shards of their tickets; return how many went which way.

    Where a shard is away some of them may have been taken: hand in all of them again, and each counts once.
    """
    if (label is None) == (gradient is None):
        raise InvalidInputError.of("label", "a label or a gradient", "both" if label is not None else "none")
    found = read_tickets(tickets)
    name, given = ("label", label) if gradient is None else ("gradient", gradient)
    places = _places(ports, found)
    if len(places) == 1:
        [index] = places
        return ports[index].feedback([own.text for own in found], **{name: given})
    rows = _rows(name, given, len(found))
    told: Counter[str] = Counter()
    for index, own in sorted(places.items()):
        told.update(ports[index].feedback([found[i].text for i in own], **{name: rows[own]}))
    return dict(told)


def outputs_of(ports: Sequence[Port], tickets: object) -> NDArray[np.float64]:
    """Return what queries that wait were answered with, in the order of their tickets."""
    found = read_tickets(tickets)
    places = _places(ports, found)
    parts = {index: ports[index].outputs([found[i].text for i in own]) for index, own in places.items()}
    joined = np.concatenate([parts[index] for index in places])
    order = np.concatenate([np.array(own) for own in places.values()])
    return joined[np.argsort(order)]


def _places(ports: Sequence[Port], tickets: Sequence[Ticket]) -> dict[int, list[int]]:
    """Return the places of the tickets of each shard."""
    if not tickets:
        raise InvalidInputError.of("ticket", "a ticket, or several", "none")
    found: dict[int, list[int]] = {}
    for place, ticket in enumerate(tickets):
        found.setdefault(shard_of(ticket.replica, len(ports)), []).append(place)
    return found


def _rows(name: str, given: Any, count: int) -> NDArray[Any]:  # noqa: ANN401 (an array of any framework)
    """Return what was handed in, a row for each ticket."""
    plain = given.detach().cpu().numpy() if hasattr(given, "detach") else given
    try:
        rows = np.asarray(plain)
    except ValueError:
        raise ShapeError.of(name, f"one for each of {count} tickets", "rows of different lengths") from None
    if rows.ndim == 0 or len(rows) != count:
        raise ShapeError.of(name, f"one for each of {count} tickets", f"shape {rows.shape}")
    return rows
