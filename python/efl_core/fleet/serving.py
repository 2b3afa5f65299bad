"""What happens to queries in a worker: their circuits, their shots, and what the answer shots say.

A query that teaches runs its answer settings and the teaching settings that its number decides; another one
spends all shots on the answer.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.fleet.gentle import gentle_readout
from efl_core.fleet.models import Model, run_pieces
from efl_core.fleet.readouts import Readout
from efl_core.fleet.roster import Roster
from efl_core.pennylane.serving import Piece, Point

__all__ = ["Served", "serve"]

Bits = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Served:
    """A query that was run."""

    readout: Readout
    """What it is answered with."""
    answers: Bits
    """The bits that only answer, shape ``(shots, qubits)``."""
    teaches: Bits | None
    """The bits that teach, setting after setting; None where the query teaches nothing."""


def serve(
    model: Model,
    point: Point,
    roster: Roster,
    queries: Sequence[tuple[Any, ...]],
    entries: NDArray[np.int64],
    seed: int,
) -> list[Served]:
    """Run queries, given the entries that each teaches by, shape ``(queries, settings)``; -1 for none."""
    asked = [model.ask(point, inputs) for inputs in queries]
    jobs = [(one, _pieces(roster, own)) for one, own in zip(asked, entries, strict=True)]
    outcomes = run_pieces(jobs, seed) if model.is_simulated else model.run(jobs, seed)
    return [_read(roster, own, bits) for own, bits in zip(entries, outcomes, strict=True)]


def _teaches(entries: NDArray[np.int64]) -> bool:
    return bool(len(entries)) and entries[0] >= 0


def _pieces(roster: Roster, entries: NDArray[np.int64]) -> list[Piece]:
    plan = roster.answers if _teaches(entries) else roster.untaught
    pieces = [] if plan is None else [Piece(setting, shots) for setting, shots in plan.runs]
    if _teaches(entries):
        each = roster.split.teach_shots // roster.split.settings
        pieces += [roster.entries[entry].piece(each) for entry in entries]
    return pieces


def _read(roster: Roster, entries: NDArray[np.int64], bits: Sequence[Bits]) -> Served:
    if not _teaches(entries):
        own = np.concatenate(bits)
        return Served(roster.untaught.readout(own[None]), own, None)
    plan = roster.answers
    if plan is None:
        readout = gentle_readout(roster, entries, bits)
        teaches = np.concatenate(bits)
        return Served(readout, teaches[:0], teaches)
    count = len(plan.runs)
    answers, teaches = np.concatenate(bits[:count]), np.concatenate(bits[count:])
    return Served(plan.readout(answers[None]), answers, teaches)
