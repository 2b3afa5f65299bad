"""A version of a fleet: parameters, and all that its queries and their readings need. It never changes.

What the compiled side knows of it (`_native.FleetVersion`, `_native.FleetReader`) is made here.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.fleet.losses import Expectation, Loss
from efl_core.fleet.models import Model
from efl_core.fleet.roster import Roster, Split
from efl_core.pennylane.serving import Point

__all__ = [
    "Kind",
    "Version",
    "content_of",
    "kind_of",
    "made_reader",
    "made_version",
    "name_of_fleet",
    "name_of_served",
]


@dataclass(frozen=True, eq=False)
class Version:
    """Parameters that are served, and how their queries are run and read."""

    number: int
    """Versions count from 1."""
    params: NDArray[np.float64]
    """The parameters, in the user's shape (read-only)."""
    model: Model
    point: Point
    roster: Roster
    native: _native.FleetVersion | None
    """What goes into packets; None where nothing is taught."""

    def __repr__(self) -> str:
        roster = self.roster
        return f"Version({self.number}, {roster.method!r}, {len(roster.entries)} entries)"

    @cached_property
    def shares(self) -> NDArray[np.float64]:
        """How often each entry is run, as readings are divided by it."""
        return np.zeros(0) if self.native is None else self.native.shares


Kind: TypeAlias = "tuple[str, float | None, float | None]"
"""A loss by its name, scale and margin."""


def kind_of(loss: Loss) -> Kind:
    """Return what tells losses apart."""
    return type(loss).__name__, getattr(loss, "scale", None), getattr(loss, "margin", None)


def name_of_fleet(model: Model, point: Point, kind: Kind, split: Split) -> int:
    """Return 64 bits that tell fleets apart: gates, noise, outputs, loss, and how shots are split."""
    return _name(model, point.circuit._gates, kind, split)


def name_of_served(model: Model, point: Point, kind: Kind, split: Split) -> int:
    """Return the same without what devices do by themselves, which workers elsewhere do not know."""
    return _name(model, [gate for gate in point.circuit._gates if gate[0] != "noise"], kind, split)


def _name(model: Model, gates: Sequence[tuple[str, Any]], kind: Kind, split: Split) -> int:
    outputs = [[(word.label, c) for word, c in own.terms()] for own in model.outputs]
    text = repr(([(name, repr(arguments)) for name, arguments in gates], outputs, kind, split))
    if model.options.calibration is not None:
        text += " calibrated"  # its replicas flip readouts
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "little")


def made_version(
    number: int, shape: tuple[int, ...], model: Model, point: Point, roster: Roster, *, fleet: int, seed: int
) -> Version:
    """Make a version of some parameters."""
    params = point.vector.reshape(shape).copy()
    params.flags.writeable = False
    native, split = None, roster.split
    if roster.entries:
        native = _native.FleetVersion(
            fleet=fleet,
            number=number,
            seed=int(np.random.SeedSequence((seed, number)).generate_state(1, np.uint64)[0]),
            n_qubits=point.circuit.n_qubits,
            answer_shots=split.answer_shots,
            teach_shots=split.teach_shots,
            settings=split.settings,
            shares=np.array([entry.share for entry in roster.entries]),
            teach=split.teach,
            content=content_of(point, roster),
        )
    return Version(number, params, model, point, roster, native)


def content_of(point: Point, roster: Roster) -> bytes:
    """Return what makes a version beside its roster: it goes into the hash that every packet repeats."""
    return b"|".join([point.vector.tobytes(), point.slopes.tobytes(), roster.method.encode()])


def made_reader(version: Version, loss: Loss) -> _native.FleetReader:
    """Compile what the bits of a version mean."""
    assert version.native is not None  # or nothing is taught
    outputs, roster = version.model.outputs, version.roster
    constant = loss.of(len(outputs)) if isinstance(loss, Expectation) else None
    return _native.FleetReader(
        version.native,
        n_outputs=len(outputs),
        n_parameters=version.point.circuit.n_parameters,
        entries=[entry.native for entry in roster.entries],
        answers=[] if roster.answers is None else roster.answers.native,
        slopes=version.point.slopes,
        weights=constant,
        calibration=None if roster.correction is None else roster.correction.contrasts,
    )
