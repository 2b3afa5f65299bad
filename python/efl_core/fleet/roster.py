"""What the queries of a version run: how shots are split, which settings answer, and which circuits teach.

A shot answers or teaches, never both. The teaching ones run entries of the roster, a list of circuits with a
setting, a share and what outcomes say of derivatives: the plan's best list. Where inputs enter after the
first trained gate, only echoes and shifts are read alike for all queries, and the roster is one of those.

What is known of the device is divided out: of noise, by reading the derivative of the noisy value; of the
readout, by the contrast of the parity that a word is read by.

Invariant: a roster never changes; all queries of a version use it.
Cost: planning once for each structure; a millisecond for each version while the former design is good.
"""

import math
from collections.abc import Callable, Sequence
from copy import copy
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

from efl_core import _native
from efl_core.arguments import integer, real
from efl_core.chains import Chain
from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.fleet.models import Model, reuploads
from efl_core.fleet.readouts import AnswerPlan
from efl_core.fleet.recipes import Recipe
from efl_core.observables import PauliSum, PauliWord
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.planning import Costs, Figure, kept_plan
from efl_core.pennylane.serving import Piece, Point
from efl_core.plans import Plan, PlanOptions, PlanRow, preferred

__all__ = ["Designer", "Entry", "Roster", "Serve", "Split"]

Serve: TypeAlias = Literal["split", "gentle"]
Readings: TypeAlias = "Sequence[tuple[int, PauliSum]]"
# What is read alike for all inputs, wherever those enter.
FOR_ALL_INPUTS = ("echo", "shift-pruned", "shift")
# A design is kept as long as it costs no more than this times what it did when it was made.
STALE = 1.1
# Teaching settings of a query: where each is a circuit of a device, and where circuits are simulated.
FEW, SIMULATED = 2, 4


@dataclass(frozen=True, slots=True)
class Split:
    """How the shots of a query are shared between its answer and teaching."""

    shots: int
    """All of them."""
    share: float
    """The part that teaches, on average; with gentle answers the square of the strength of a kick."""
    serve: Serve
    """Whether shots answer or teach, or each does a little of both."""
    teach_shots: int
    """Shots that teach, of a query that does."""
    settings: int
    """Settings that those are in."""
    teach: float
    """The part of the queries that teach."""

    @staticmethod
    def of(shots: object, share: object, serve: object, settings: object, *, simulated: bool) -> "Split":
        """Share the shots of a query.

        One shot cannot be split, so that it is gentle. Fewer teaching shots than one mean that some queries
        teach with one shot.
        """
        count, part = integer("shots", shots, 1, 65_535), real("share", share)
        if serve not in get_args(Serve):
            raise InvalidInputError.of("serve", " or ".join(map(repr, get_args(Serve))), repr(serve))
        if not 0 <= part < 1:
            raise InvalidInputError.of("share", "a part of the shots, from 0 up to less than 1", part)
        most = None if settings is None else integer("settings", settings, 1, 65_535)
        if part == 0:
            return Split(count, 0.0, "split", 0, 0, 0.0)
        if serve == "gentle" or count == 1:
            number = most or 1
            if count % number:
                raise InvalidInputError.of("settings", f"a divisor of the {count} shots", number)
            return Split(count, part, "gentle", count, number, 1.0)
        taught = max(1, round(part * count))
        if taught >= count:
            raise InvalidInputError.of("share", f"one that leaves some of {count} shots to the answer", part)
        if most is None:
            usual = SIMULATED if simulated else FEW
            most = max(d for d in range(1, usual + 1) if taught % d == 0)
        elif taught % most:
            raise InvalidInputError.of("settings", f"a divisor of the {taught} teaching shots", most)
        return Split(
            count, part, "split", taught, most, min(1.0, part * count / taught) if part * count < 1 else 1.0
        )

    @property
    def is_gentle(self) -> bool:
        """Whether every shot answers and teaches."""
        return self.serve == "gentle"

    @property
    def answer_shots(self) -> int:
        """Shots that only answer, of a query that teaches."""
        return 0 if self.is_gentle else self.shots - self.teach_shots

    @property
    def stretch(self) -> float:
        """By how much standard errors of answers are longer than with all shots."""
        answering = self.shots - self.teach * self.teach_shots if self.serve == "split" else None
        return math.sqrt(1 / (1 - self.share) if answering is None else self.shots / answering)


@dataclass(frozen=True, slots=True, eq=False)
class Entry:
    """One way of teaching: a circuit, its setting, how often it is run, and what outcomes say."""

    setting: Setting
    share: float
    experiment: Experiment | Recipe | None = None
    kick: tuple[PauliWord, float] | None = None
    """A gentle entry: the rotation after the circuit."""
    readings: Readings = ()
    """A gentle entry: what outcomes say of derivatives, by their row."""
    answers: Readings = ()
    """A gentle entry: what they say of outputs."""
    divided: _native.Experiment | None = None
    """The experiment with its readings divided by what a noisy device leaves of them."""

    def piece(self, shots: int) -> Piece:
        """Return shots of it."""
        return Piece(self.setting, shots, self.experiment, self.kick)

    @property
    def native(self) -> Any:  # noqa: ANN401 (one of two forms)
        """What the compiled reader takes."""
        if self.divided is not None:
            return self.divided
        if isinstance(self.experiment, Experiment):
            return self.experiment._native
        return self.setting, list(self.readings), list(self.answers)


@dataclass(frozen=True, slots=True, eq=False)
class Roster:
    """What the queries of a version run."""

    split: Split
    method: str
    """The row of the plan that teaches."""
    entries: tuple[Entry, ...]
    answers: AnswerPlan | None
    """How queries that teach are answered; None where their teaching shots are read for that too."""
    untaught: AnswerPlan
    """How all other queries are answered, with all shots."""
    cost: float
    """The variance of one teaching shot, averaged over derivatives, on the maximally mixed state."""
    circuits: int
    """Different circuits that teach, settings left out."""
    correction: Correction | None = None
    """What readings were divided by; None where nothing is known of the device."""


class Designer:
    """Makes the rosters of a model, from one version of its parameters to the next."""

    def __init__(
        self,
        model: Model,
        split: Split,
        *,
        method: str = "auto",
        served_only: bool = False,
        options: PlanOptions | None = None,
        gentle: "Callable[[Split, AnswerPlan, Plan, str], tuple[Sequence[Entry], float]] | None" = None,
        correction: Correction | None = None,
    ) -> None:
        self._model, self._split, self._gentle = model, split, gentle
        self._method, self._served_only = method, served_only
        self._options = PlanOptions() if options is None else options
        self._correction = correction
        # By how much variances grow where readings are divided; known with the first roster of a design.
        self._growth: float | None = None
        self._plan: Plan | None = None
        self._name = ""
        self.untaught = AnswerPlan.of(model.outputs, split.shots, correction)
        self.answers = (
            None
            if split.is_gentle
            else AnswerPlan.of(model.outputs, split.shots - split.teach_shots, correction)
        )

    def check(self) -> None:
        """Refuse a calibration that is too old by now."""
        if self._correction is not None and self._correction.calibration is not None:
            self._correction.calibration.check(self._correction.wires)

    def corrected(self, correction: Correction) -> "Designer":
        """Return one that goes on with another correction."""
        found = copy(self)
        found._correction, found.untaught = correction, self.untaught.corrected(correction)
        found._growth = None
        found.answers = None if self.answers is None else self.answers.corrected(correction)
        return found

    def at(self, point: Point) -> Roster:
        """Return the roster of a version with these parameters."""
        self.check()
        known = self._correction
        if not self._split.share:
            return Roster(self._split, "none", (), self.answers, self.untaught, math.inf, 0, known)
        found = self._designed(point)
        row = found[self._name]
        if self._gentle is not None and self._split.is_gentle:
            found_entries, factor = self._gentle(self._split, self.untaught, found, self._name)
            entries, cost, circuits = tuple(found_entries), row.cost * factor, row.circuits
        else:
            entries = tuple(
                Entry(e.setting, share, e, divided=None if known is None else known.of(e))
                for e, share in found.experiments(self._name)
            )
            if self._growth is None:
                self._growth = 1.0 if known is None else _grown(entries)
            cost, circuits = row.cost * self._growth, row.circuits
        return Roster(self._split, self._name, entries, self.answers, self.untaught, cost, circuits, known)

    def _designed(self, point: Point) -> Plan:
        """Return the former design, read at other angles, as long as it is good; else a new one."""
        if self._plan is not None:
            held = self._plan.at(
                point.circuit.parameters, point.circuit.inputs, methods=[self._name], redesign=False
            )
            if held[self._name].applies and held[self._name].cost <= STALE * self._plan[self._name].cost:
                return held
        chain = Chain.of(point.slopes, point.circuit.n_parameters)
        base = kept_plan(point.circuit, self._options)
        names = [self._name] if self._plan is not None else self._candidates(base, chain, point)
        found = base.through(chain, point.circuit, names)
        self._plan, self._growth = found, None
        if not self._name:
            self._name = preferred([found[name] for name in names], lambda row: row.cost).name
        if not found[self._name].cost > 0:
            raise InvalidInputError.of("qnode", "outputs that depend on the parameters", "none that does")
        return found

    def _candidates(self, base: Plan, chain: Chain | None, point: Point) -> list[str]:
        """Return the methods that may be the best list; refuse where there is none."""
        anywhere = reuploads(self._model, point)

        def allowed(row: PlanRow) -> bool:
            listed = row.applies and row.settings is not None
            return (
                listed
                and (row.served or not self._served_only)
                and (row.served or not self._split.is_gentle)
                and (not anywhere or row.name in FOR_ALL_INPUTS)
            )

        names = [row.name for row in base if allowed(row)]
        if self._method != "auto":
            if self._method not in names:
                raise InvalidInputError.of(
                    "method", f"'auto' or one of {', '.join(names)}", repr(self._method)
                )
            return [self._method]
        if not names:
            why = "inputs that enter before the first trained gate" if anywhere else "a plan with such a list"
            which = "with served_only" if self._served_only else "with gentle answers"
            raise InvalidInputError.of("qnode", f"{which} {why}", "one whose list runs other circuits")
        known = Costs.of(base, chain, Figure(None, math.inf, self._options.target))
        near = [name for name in known.promising_lists if name in names]
        return near or [min(names, key=lambda name: known.costs.get(name, math.inf))]


def _grown(entries: Sequence[Entry]) -> float:
    """Return by how much the variance of readings grows where they are divided."""
    plain = divided = 0.0
    for entry in entries:
        assert entry.divided is not None  # something is known of the device
        assert isinstance(entry.experiment, Experiment)  # of a plan that was made here
        for place in range(len(entry.divided.rows)):
            plain += entry.experiment.reading(place).l2_norm ** 2 / entry.share
            divided += entry.divided.reading(place).l2_norm ** 2 / entry.share
    return divided / plain if plain else 1.0
