"""From labels to weights: which queries they belong to, and what those were answered with.

A label may come before the packet of its query, by another way: it is kept, up to a bound, and used when the
packet is there. A label of a query that taught already, or was given up, counts as ``unknown_or_used``.

Invariant: a query teaches once; what is refused changes nothing but a counter.
"""

import threading
from collections import Counter, OrderedDict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.fleet.gentle import gentle_shots
from efl_core.fleet.journal.notes import LABELS, Early, Labels
from efl_core.fleet.losses import Expectation, Loss, Upstream, served_weights
from efl_core.fleet.readouts import Readout
from efl_core.fleet.tickets import Ticket, Tickets
from efl_core.fleet.versions import Version

__all__ = ["Desk", "read_shots", "weighed"]

Floats = NDArray[np.float64]


class Desk:
    """Where labels and gradients of answers are handed in."""

    def __init__(
        self,
        machine: _native.FleetMachine,
        loss: Loss,
        early: int,
        waiting: Iterable[Early] = (),
        counts: Counter[str] | None = None,
    ) -> None:
        self._machine, self._loss, self._bound = machine, loss, early
        self._early: OrderedDict[tuple[int, int, int], Early] = OrderedDict()
        self._of: dict[int, list[tuple[int, int, int]]] = {}
        self._lock = threading.RLock()
        self.counts: Counter[str] = Counter() if counts is None else counts
        """Labels by what became of them, beside those that the machine counts."""
        for own in waiting:
            self._add(own)

    @property
    def early(self) -> int:
        """How many labels wait for their packets."""
        return len(self._early)

    @property
    def waiting(self) -> "OrderedDict[tuple[int, int, int], Early]":
        """The labels that wait for their packets, the oldest first, by replica, incarnation and number."""
        return self._early

    def checked(
        self,
        tickets: Sequence[Ticket],
        label: Any,  # noqa: ANN401 (an array of any framework)
        gradient: Any,  # noqa: ANN401
        outputs: int,
    ) -> NDArray[Any]:
        """Return what was handed in as an array with a row for each ticket; refuse anything else."""
        if (label is None) == (gradient is None):
            raise InvalidInputError.of(
                "label", "a label or a gradient", "both" if label is not None else "none"
            )
        if gradient is not None:
            if isinstance(self._loss, Expectation):
                raise InvalidInputError.of("gradient", "none, as the loss is an expectation value", "one")
            found = array("gradient", _plain(gradient), "real numbers")
            if found.dtype.kind == "c":
                raise InputTypeError.of("gradient", "real numbers", f"dtype {found.dtype}")
            if found.size != len(tickets) * outputs:
                raise ShapeError.of("gradient", f"shape ({len(tickets)}, {outputs})", found.shape)
            if not np.isfinite(found).all():
                raise InvalidInputError.of("gradient", "finite numbers", "some that are not")
            return found.reshape(len(tickets), outputs).astype(np.float64)
        own = self._loss.labels(_plain(label), len(tickets), outputs)
        if own.dtype.hasobject and self._machine.recorded:
            raise InputTypeError.of(
                "label", "numbers or texts, which a journal can hold", f"dtype {own.dtype}"
            )
        return own

    def hand_in(
        self, tickets: Sequence[Ticket], given: NDArray[Any], version: Version, *, is_gradient: bool
    ) -> dict[str, int]:
        """Weigh the queries of some tickets; return how many went which way."""
        told: Counter[str] = Counter()
        with self._lock:
            silent = [i for i, ticket in enumerate(tickets) if not ticket.teaches]
            told["answered_only"] += len(silent)
            wanted = [i for i, ticket in enumerate(tickets) if ticket.teaches]
            known, unknown = self._apart([tickets[i] for i in wanted])
            early = []
            for i in (wanted[k] for k in unknown):
                what = self._keep(tickets[i], given[i], is_gradient)
                told[what] += 1
                if what == "early":
                    early.append((tickets[i], given[i], is_gradient))
            if self._machine.recorded:
                note = Labels(len(tickets), len(silent), told["unknown_or_used"], early)
                self._machine.note(LABELS, note.to_bytes())
            chosen = [wanted[k] for k in known]
            if chosen:
                told += self._weigh([tickets[i] for i in chosen], given[chosen], version, is_gradient)
            self.counts["labels"] += len(tickets)
            self.counts["answered_only_labels"] += len(silent)
        return {name: count for name, count in told.items() if count}

    def arrived(self, replica: int, version: Version) -> None:
        """Use the labels that came before a packet of a replica, as far as that is there now."""
        with self._lock:
            waiting = [self._early[key] for key in self._of.get(replica, ())]
            known, _ = self._apart([ticket for ticket, _, _ in waiting])
            for is_gradient in (False, True):
                chosen = [waiting[k] for k in known if waiting[k][2] is is_gradient]
                if chosen:
                    given = np.array([label for _, label, _ in chosen])
                    self._weigh([ticket for ticket, _, _ in chosen], given, version, is_gradient)
            for ticket in (waiting[k][0] for k in known):
                self._forget(ticket[:3])

    def outputs(self, tickets: Sequence[Ticket], version: Version) -> Floats:
        """Return what queries that wait were answered with, shape ``(queries, outputs)``."""
        with self._lock:
            known, unknown = self._apart(tickets)
            if unknown or not known:
                raise InvalidInputError.of(
                    "ticket", "one of a query that waits for its label", tickets[0].text
                )
            return read_shots(version, self._machine.shots(*Tickets.of(tickets))).mean

    def _apart(self, tickets: Sequence[Ticket]) -> tuple[list[int], list[int]]:
        """Return the places of tickets that wait for weights, and of the others."""
        if not tickets:
            return [], []
        codes, *_ = self._machine.values(*Tickets.of(tickets))
        return [int(i) for i in np.flatnonzero(codes == 0)], [int(i) for i in np.flatnonzero(codes != 0)]

    def _keep(self, ticket: Ticket, given: Any, is_gradient: bool) -> str:  # noqa: ANN401 (a label)
        """Keep a label whose packet has not come; say what became of it."""
        incarnation, following = self._machine.expected(ticket.replica)
        if incarnation != ticket.incarnation or ticket.sequence < following or ticket[:3] in self._early:
            self.counts["unknown_or_used"] += 1
            return "unknown_or_used"
        self._add((ticket, given, is_gradient))
        while len(self._early) > self._bound:
            self._forget(next(iter(self._early)))
            self.counts["early_lost"] += 1
        return "early"

    def _add(self, own: Early) -> None:
        key = own[0][:3]
        self._early[key] = own
        self._of.setdefault(key[0], []).append(key)

    def _forget(self, key: tuple[int, int, int]) -> None:
        del self._early[key]
        self._of[key[0]].remove(key)
        if not self._of[key[0]]:
            del self._of[key[0]]

    def _weigh(
        self, tickets: Sequence[Ticket], given: NDArray[Any], version: Version, is_gradient: bool
    ) -> Counter[str]:
        readout = read_shots(version, self._machine.shots(*Tickets.of(tickets)))
        loss = Upstream() if is_gradient else self._loss
        weights, losses = weighed(loss, version, readout, given)
        codes = self._machine.weights(*Tickets.of(tickets), np.ascontiguousarray(weights), losses)
        names = _native.FLEET_OUTCOMES
        return Counter(names[code] for code in codes)


def read_shots(version: Version, shots: Floats) -> Readout:
    """Return what queries were answered with, given what each shot says, ``(queries, shots, outputs)``."""
    roster = version.roster
    if roster.answers is not None:
        return roster.answers.of_shots(shots)
    return gentle_shots(roster, shots)


def weighed(loss: Loss, version: Version, readout: Readout, labels: NDArray[Any]) -> tuple[Floats, Floats]:
    """Return the weights of queries, ``(queries, outputs)``, and the losses of their answers."""
    losses = loss.value(readout.mean, labels)
    if not version.roster.split.is_gentle or isinstance(loss, Expectation):
        return loss.weights(readout, labels), losses

    # A shot that answers and teaches must not weigh itself: the slope of one shot's served loss does not.
    def served(values: Floats, own: Floats) -> Floats:
        return loss.value(values[:, None], own)

    return served_weights(readout, served, labels)[:, None], losses


def _plain(value: Any) -> "ArrayLike":  # noqa: ANN401 (an array of any framework)
    found: ArrayLike = value.detach().cpu().numpy() if hasattr(value, "detach") else value
    return found
