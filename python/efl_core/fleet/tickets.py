"""The name of a query, by which its label finds it later: which replica gave which answer.

A ticket is 32 letters and digits, so that it passes through JSON, logs and databases. Where replicas reach
the learner over a network it is 48, the last 16 of which are a tag that nobody else can make.
"""

import base64
import binascii
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import described, listed
from efl_core.errors import InputTypeError, InvalidInputError

__all__ = ["Ticket", "Tickets", "read_tickets"]

_LAYOUT = struct.Struct(">QIQ")
# The highest bit of the incarnation.
_TEACHES = 1 << 31
# Letters of a ticket without and with its tag.
_PLAIN, _TAGGED = 32, 48


class Ticket(NamedTuple):
    """A query: the replica that answered it, its incarnation, its number there, and whether it teaches.

    >>> from efl_core.fleet.tickets import Ticket
    >>> Ticket(7, 1, 42).text
    'AAAAAAAAAAAAPAAAAAAQAAAAAAAAAABK'
    >>> Ticket.read('AAAAAAAAAAAAPAAAAAAQAAAAAAAAAABK')
    Ticket(replica=7, incarnation=1, sequence=42, teaches=True)
    """

    replica: int
    incarnation: int
    sequence: int
    teaches: bool = True

    @property
    def text(self) -> str:
        """The ticket as letters and digits."""
        return self.tagged(b"")

    def tagged(self, tag: bytes) -> str:
        """Return the ticket with a tag of 10 bytes behind it."""
        flagged = self.incarnation | (_TEACHES if self.teaches else 0)
        return base64.b32encode(_LAYOUT.pack(self.replica, flagged, self.sequence) + tag).decode()

    @staticmethod
    def read(text: object) -> "Ticket":
        """Return the ticket that a text is, whatever its tag; refuse anything else."""
        return Ticket.read_tagged(text)[0]

    @staticmethod
    def read_tagged(text: object) -> "tuple[Ticket, bytes]":
        """Return the ticket that a text is, and its tag, which may be empty; refuse anything else."""
        if not isinstance(text, str):
            raise InputTypeError.of("ticket", "the text that an answer has as .ticket", described(text))
        try:
            plain = base64.b32decode(text)
        except (binascii.Error, ValueError):
            plain = b""
        if len(text) not in (_PLAIN, _TAGGED) or 8 * len(plain) != 5 * len(text):
            raise InvalidInputError.of(
                "ticket",
                f"the {_PLAIN} letters and digits ({_TAGGED} with a tag) that an answer has as .ticket",
                described(text),
            )
        replica, flagged, sequence = _LAYOUT.unpack(plain[: _LAYOUT.size])
        ticket = Ticket(replica, flagged & ~_TEACHES, sequence, bool(flagged & _TEACHES))
        return ticket, plain[_LAYOUT.size :]


class Tickets(NamedTuple):
    """Several tickets, as columns."""

    replica: NDArray[np.uint64]
    incarnation: NDArray[np.uint32]
    sequence: NDArray[np.uint64]

    @staticmethod
    def of(tickets: Sequence[Ticket]) -> "Tickets":
        """Return tickets as columns."""
        return Tickets(
            np.array([t.replica for t in tickets], dtype=np.uint64),
            np.array([t.incarnation for t in tickets], dtype=np.uint32),
            np.array([t.sequence for t in tickets], dtype=np.uint64),
        )


def read_tickets(tickets: object) -> list[Ticket]:
    """Return the tickets of one text, or of a sequence of them."""
    if isinstance(tickets, str):
        return [Ticket.read(tickets)]
    return [Ticket.read(text) for text in listed("ticket", tickets, "a ticket, or a sequence of them")]
