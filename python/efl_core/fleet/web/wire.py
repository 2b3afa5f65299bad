"""A version as bytes: what a worker elsewhere needs to run its queries. JSON, read by nobody but us.

Parameters, settings, shares and the circuits that teach are in it; readings stay with the learner. A worker
has the model itself, so gates and outputs are compared, not sent. Of noisy devices the calibration is sent,
and what noise leaves of letters before a readout: by both, workers divide their answers.

Invariant: the same version has the same bytes; what is read back runs the same circuits and writes packets
with the same hash, or is refused.
Cost: some KB with a list of settings, some hundred where circuits of their own teach; a calibration has a few
bytes for each different outcome.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple, cast

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.calibrations import Calibration
from efl_core.ensembles import Setting
from efl_core.errors import CorruptDataError, EflError, InvalidInputError, NewerFormatError
from efl_core.experiments import Experiment
from efl_core.fleet.models import Model
from efl_core.fleet.readouts import AnswerPlan
from efl_core.fleet.recipes import Recipe, spelt
from efl_core.fleet.roster import Entry, Roster, Split
from efl_core.fleet.versions import Kind, Version, content_of, name_of_served
from efl_core.noise import Noise
from efl_core.observables import PauliSum, PauliWord
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.options import Options

__all__ = ["Described", "described_version", "made_here", "read_version"]

FORMAT = 1
# Parameters and slopes of a version at most, once they are unpacked: 2,000 by 2,000.
MOST_CONTENT = 64 << 20


def described_version(version: Version, kind: Kind, fleet: int) -> bytes:
    """Return a version as bytes, given the name of its fleet and of its loss."""
    roster, point, native = version.roster, version.point, version.native
    others = [e for e in roster.entries if isinstance(e.experiment, Experiment) and not e.experiment.served]
    recipes, places = spelt([cast(Experiment, entry.experiment) for entry in others])
    circuits = {id(entry): place for entry, place in zip(others, places, strict=True)}
    split = roster.split
    found = {
        "format": FORMAT,
        "fleet": fleet,
        "served": name_of_served(version.model, point, kind, roster.split),
        "number": version.number,
        "seed": None if native is None else native.seed,
        "hash": None if native is None else native.hash,
        "kind": list(kind),
        "shape": list(version.params.shape),
        "content": base64.b64encode(zlib.compress(content_of(point, roster))).decode(),
        "split": [
            split.shots,
            split.share,
            split.serve,
            split.teach_shots,
            split.settings,
            split.teach,
        ],
        "method": roster.method,
        "cost": roster.cost if np.isfinite(roster.cost) else None,
        "circuits": roster.circuits,
        "recipes": [recipe.to_list() for recipe in recipes],
        "entries": [_entry(entry, circuits.get(id(entry))) for entry in roster.entries],
        "answers": None if roster.answers is None else _runs(roster.answers),
        "untaught": _runs(roster.untaught),
        "device": _device(version),
    }
    return json.dumps(found, separators=(",", ":"), allow_nan=False).encode()


def _device(version: Version) -> list[Any] | None:
    """Return what a worker has to know of its device; None where nothing is known."""
    known = version.roster.correction
    if known is None:
        return None
    letters = None
    if known.noise is not None:
        read = {
            (q, letter)
            for own in version.model.outputs
            for word, _ in own.terms()
            for q, letter in enumerate(word.label)
            if letter != "I"
        }
        letters = [[q, letter, known.of_letter(q, letter)] for q, letter in sorted(read)]
    return [letters, None if known.calibration is None else _calibration(known.calibration)]


def _calibration(known: Calibration) -> str:
    if not all(isinstance(wire, (int, str)) for wire in known.wires):
        what = "one of wires that are numbers or texts, where replicas are elsewhere"
        raise InvalidInputError.of("calibration", what, list(known.wires))
    return base64.b64encode(zlib.compress(known.to_json().encode())).decode()


def _entry(entry: Entry, circuit: int | None) -> list[Any]:
    kick = None if entry.kick is None else [entry.kick[0].label, entry.kick[1]]
    answers = [[row, [[word.label, c] for word, c in own.terms()]] for row, own in entry.answers]
    return [_setting(entry.setting), entry.share, circuit, kick, answers]


def _setting(setting: Setting) -> Any:  # noqa: ANN401 (letters, or gates)
    _, arguments = cast("tuple[Any, tuple[Any, ...]]", setting.__reduce__())
    return arguments[0] if len(arguments) == 1 else [list(gate) for gate in arguments[1]]


def _runs(plan: AnswerPlan) -> list[Any]:
    return [[_setting(setting), shots] for setting, shots in plan.runs]


@dataclass(frozen=True, eq=False)
class Told(Correction):
    """What answers are divided by, as a worker elsewhere knows it: not the noise, but what it leaves."""

    letters: dict[tuple[int, str], float] = field(default_factory=dict)

    def of_letter(self, qubit: int, letter: str) -> float:
        """Return what the gates before the readout of a letter leave of it."""
        if (qubit, letter) not in self.letters:
            raise CorruptDataError.of("version", "what noise leaves of all letters", f"none of {letter}")
        return self.letters[qubit, letter]


class Described(NamedTuple):
    """A version that was read, for a worker that has not seen a query yet."""

    number: int
    split: Split
    params: NDArray[np.float64]
    content: dict[str, Any]
    """The rest, as it came."""
    told: Told | None
    """What is known of noisy devices."""

    @property
    def device(self) -> Options:
        """What a model has to know of its device: that it is noisy, and whether readouts are flipped."""
        if self.told is None:
            return Options()
        return Options(noise=self.told.noise, calibration=self.told.calibration)


def read_version(data: bytes) -> Described:
    """Read what `described_version` wrote."""
    try:
        found = json.loads(data)
        form = found["format"]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise CorruptDataError.of("version", "that of a learner", f"{data[:40]!r}") from None
    if form != FORMAT:
        raise NewerFormatError.of("version", f"format {FORMAT} (install a newer efl-core)", f"format {form}")
    try:
        shape = tuple(int(side) for side in found["shape"])
        packed = base64.b64decode(found["content"], validate=True)
        unpacked = zlib.decompressobj().decompress(packed, MOST_CONTENT)
        count = int(np.prod(shape, dtype=np.int64))
        params = np.frombuffer(unpacked[: 8 * count], dtype="<f8").reshape(shape).astype(np.float64)
        shots, share, serve, teach_shots, settings, teach = found["split"]
        split = Split(int(shots), float(share), serve, int(teach_shots), int(settings), float(teach))
        rest = {**found, "kind": tuple(found["kind"]), "content": unpacked}
        return Described(int(found["number"]), split, params, rest, _told(found["device"]))
    except CorruptDataError:
        raise
    except (ValueError, TypeError, KeyError, OverflowError, zlib.error):
        raise CorruptDataError.of("version", "that of a learner", "a damaged one") from None


def _told(found: Any) -> Told | None:  # noqa: ANN401 (as it came)
    if found is None:
        return None
    letters, text = found
    known = None if text is None else _read_calibration(text)
    left = {} if letters is None else {(int(q), str(letter)): float(own) for q, letter, own in letters}
    if not all(0 < own < 1 + 1e-9 for own in left.values()):
        raise CorruptDataError.of("version", "what noise leaves of letters, above 0 up to 1", left)
    # Which noise it is, is not known here: none that the circuit would have.
    noise = None if letters is None else Noise()
    return Told(known, noise, () if known is None else known.wires, letters=left)


@lru_cache(maxsize=4)
def _read_calibration(text: str) -> Calibration:
    """Read a calibration, which versions have in common."""
    reader = zlib.decompressobj()
    unpacked = reader.decompress(base64.b64decode(text, validate=True), MOST_CONTENT)
    if not reader.eof:
        raise CorruptDataError.of("version", "all of a calibration", f"{len(unpacked)} bytes of one")
    return Calibration.from_json(unpacked.decode())


def made_here(described: Described, model: Model) -> Version:
    """Make the version of a worker's own model; refuse one of another model."""
    own, content = described.split, described.content
    point = model.at(described.params.ravel())
    if described.told is not None and described.told.wires not in ((), model.wires):
        what = f"wires {list(described.told.wires)}, whose readout the learner has calibrated"
        raise InvalidInputError.of("qnode", what, list(model.wires))
    if name_of_served(model, point, content["kind"], own) != content["served"]:
        raise InvalidInputError.of("qnode", "the gates and outputs that the learner knows", "others")
    try:
        roster = _roster(described, model, point.circuit.n_qubits, len(point.circuit._theta))
        native = None
        if roster.entries:
            native = _native.FleetVersion(
                fleet=content["fleet"],
                number=described.number,
                seed=content["seed"],
                n_qubits=point.circuit.n_qubits,
                answer_shots=own.answer_shots,
                teach_shots=own.teach_shots,
                settings=own.settings,
                shares=np.array([entry.share for entry in roster.entries]),
                teach=own.teach,
                content=content["content"],
            )
    except CorruptDataError:
        raise
    except (EflError, TypeError, ValueError, KeyError, IndexError) as error:
        raise CorruptDataError.of("version", "that of a learner", str(error)) from error
    if native is not None and native.hash != content["hash"]:
        raise CorruptDataError.of("version", f"the hash {content['hash']}", native.hash)
    params = described.params.copy()
    params.flags.writeable = False
    return Version(described.number, params, model, point, roster, native)


def _roster(described: Described, model: Model, n_qubits: int, n_angles: int) -> Roster:
    found, told = described.content, described.told
    recipes = [Recipe.of_list(gates, n_qubits, n_angles) for gates in found["recipes"]]

    def entry(own: Sequence[Any]) -> Entry:
        setting, share, circuit, kick, answers = own
        return Entry(
            _read_setting(setting, n_qubits),
            float(share),
            None if circuit is None else recipes[circuit],
            None if kick is None else (PauliWord(kick[0]), float(kick[1])),
            answers=tuple(
                (int(row), PauliSum([(PauliWord(label), c) for label, c in terms])) for row, terms in answers
            ),
        )

    def plan(runs: Sequence[Any]) -> AnswerPlan:
        own = tuple((_read_setting(setting, n_qubits), int(shots)) for setting, shots in runs)
        made = AnswerPlan(model.outputs, own, told)
        made.readings  # noqa: B018 (says so, if something is missing)
        return made

    return Roster(
        described.split,
        str(found["method"]),
        tuple(map(entry, found["entries"])),
        None if found["answers"] is None else plan(found["answers"]),
        plan(found["untaught"]),
        np.inf if found["cost"] is None else float(found["cost"]),
        int(found["circuits"]),
        told,
    )


def _read_setting(found: Any, n_qubits: int) -> Setting:  # noqa: ANN401 (letters, or gates)
    if isinstance(found, str):
        return Setting(found)
    return Setting.from_gates(n_qubits, [tuple(gate) for gate in found])
