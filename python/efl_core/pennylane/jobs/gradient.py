"""From one tape to the report of its gradient: words, projectors that are too wide for words, or both.

Both parts of a tape are one submission. The shots are shared so that the error of all derivatives together is
least: in proportion to the roots of what both cost.

Invariant: a gradient is one batch of tapes, whatever the number of parameters, outputs and copies of a shot
vector.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Protocol

from pennylane.tape import QuantumScript

from efl_core.errors import InvalidInputError
from efl_core.pennylane.calling import Found
from efl_core.pennylane.execution import (
    Job,
    Outcome,
    Program,
    Submission,
    has_equal_shots,
    known_cost,
    submit,
)
from efl_core.pennylane.execution.tapes import Twirl
from efl_core.pennylane.jobs.mixed import (
    Mix,
    cost_of_words,
    of_projectors,
    of_words,
    shares_of,
    with_shots,
    words_tape,
)
from efl_core.pennylane.jobs.projected import Projected, check_options, compared_for
from efl_core.pennylane.jobs.steps import Numbering
from efl_core.pennylane.jobs.wanted import read_tape, shots_of
from efl_core.pennylane.jobs.whole import read_projectors
from efl_core.pennylane.jobs.words import draft_words, plans_of
from efl_core.pennylane.options import Options
from efl_core.pennylane.reports import Report, deliver
from efl_core.pennylane.statistics import Table
from efl_core.pennylane.tapes.projectors import Split, has_projector

__all__ = ["GradientJob", "gradient_job"]


class Draft(Protocol):
    """A measurement that is ready to be submitted."""

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""

    @property
    def wires(self) -> Sequence[Hashable]:
        """The wire of each qubit."""

    @property
    def outcomes_seed(self) -> int:
        """The seed of settings that are drawn, and of outcomes that are simulated."""

    @property
    def twirl(self) -> Twirl | None:
        """How readouts are flipped."""

    def report(self, outcomes: Sequence[Outcome], submission: Submission, device: Found) -> Report:
        """Return what was measured."""

    def react(self, report: Report) -> None:
        """Do what was asked for in view of the report."""


@dataclass(frozen=True, slots=True, eq=False)
class GradientJob:
    """The measurement of a gradient, ready to run."""

    drafts: tuple[Draft, ...]
    """One, or those of words and of projectors."""
    mix: Mix | None
    """How results follow from both."""
    options: Options
    device: Found
    slopes: Table | None
    """Of the trainable parameters by the arguments, where they are known."""
    submission: Submission

    @property
    def tapes(self) -> list[QuantumScript]:
        """What the device runs."""
        return self.submission.tapes

    def read(self, results: Sequence[Any]) -> Report:
        """Return what was measured, from the results of the tapes; hand it to whom it was asked for."""
        taken = iter(self.submission.read(results))
        reports = [
            draft.report(list(islice(taken, len(draft.jobs))), self.submission, self.device)
            for draft in self.drafts
        ]
        report = reports[0] if self.mix is None else self.mix.report(reports, self.slopes)
        deliver(report, self.options.report)
        for draft in self.drafts:
            draft.react(report)
        return report


def gradient_job(
    tape: QuantumScript,
    options: Options,
    device: Found,
    *,
    values: bool = False,
    value_target: float | None = None,
    slopes: Table | None = None,
    numbering: Numbering | None = None,
) -> GradientJob:
    """Prepare the measurement of the gradient of a tape, and of its values on demand.

    With the ``slopes`` of its trainable parameters by some arguments, errors are those by the arguments.
    The values are to have the error ``value_target``; without one they share the shots of the gradient. They
    are measured too where derivatives follow from them, as those of a variance do.
    Steps of a few settings are numbered by ``numbering``, by default that of all transforms. Where
    there are fewer shots than circuits and settings, as many of these are drawn as there are shots for.
    """
    if has_projector(tape.measurements):
        drafts, mix = _Asked(tape, options, device, values, value_target, slopes, numbering).drafts()
    else:
        of_words = draft_words(
            tape,
            options,
            device,
            values=values,
            value_target=value_target,
            slopes=slopes,
            numbering=numbering,
        )
        drafts, mix = (of_words,), None
    submission = submit(
        [job for draft in drafts for job in draft.jobs],
        drafts[0].wires,
        mode=options.mode,
        seed=drafts[0].outcomes_seed,
        device=device.device,
        max_tapes=options.max_tapes,
        twirl=drafts[0].twirl,
    )
    return GradientJob(drafts, mix, options, device, slopes, submission)


@dataclass(frozen=True, slots=True, eq=False)
class _Asked:
    """What is asked of a tape with wide projectors."""

    tape: QuantumScript
    options: Options
    device: Found
    values: bool
    value_target: float | None
    slopes: Table | None
    numbering: Numbering | None

    def drafts(self) -> tuple[tuple[Draft, ...], Mix | None]:
        """Return the measurements, and how results follow from them where they are two."""
        options = self.options
        split, whole = read_projectors(self.tape, options)
        check_options(options, alone=not split.words)
        if options.cost is None:
            options = replace(options, cost=known_cost(self.device.device, options.mode))
        equal = has_equal_shots(options.mode, self.device.device, options.equal_shots)
        totals = shots_of(self.tape, options)
        compared = compared_for(whole, options, self.device, self.slopes)
        chosen = Projected.choose(
            compared,
            options if not split.words else of_projectors(options),
            self.device,
            math.inf if totals is None else min(totals),
            values=self.values,
            equal=equal,
        )
        final = Program(lambda: whole.tape.operations)
        if split.words:
            if equal:
                raise InvalidInputError(
                    "tape: expected nothing beside a projector on more than four wires on a device whose "
                    "tapes all have the same shots, got other measurements; return them in another QNode"
                )
            return self._both(split, chosen, totals, final)
        if totals is None:
            copies = max(1, int(self.tape.shots.num_copies))
            totals = (chosen.needed(compared.target, self.value_target),) * copies
        return (chosen.draft(totals, final, self.value_target),), None

    def _both(
        self, split: Split, chosen: Projected, totals: Sequence[int] | None, final: Program
    ) -> tuple[tuple[Draft, ...], Mix]:
        words, columns = words_tape(self.tape, split)
        options = of_words(self.options, columns)
        slopes = None if self.slopes is None else self.slopes[columns]
        wires = chosen.compared.whole.circuit.wires
        wanted = replace(read_tape(words, options, wires), shots=None)  # what it costs, whatever its part
        plans = plans_of(wanted, options, slopes, values=self.values)
        shares = shares_of(
            self.tape,
            split,
            wanted.outputs,
            cost_of_words(wanted, plans, slopes),
            (chosen.compared.live, chosen.cost),
        )
        if totals is None:
            target = chosen.compared.target
            for_words, for_projectors = shares.targets(target)
            options = replace(options, target=for_words)
            copies = max(1, int(self.tape.shots.num_copies))
            shots: Sequence[int] = (chosen.needed(for_projectors, self.value_target),) * copies
        else:
            split_shots = [shares.split(total, plans.fewest, chosen.fewest) for total in totals]
            words, options = with_shots(words, options, [own for own, _ in split_shots])
            shots = [own for _, own in split_shots]
        first = draft_words(
            words,
            options,
            self.device,
            values=self.values,
            value_target=self.value_target,
            slopes=slopes,
            numbering=self.numbering,
            final=final,
            wires=wires,
        )
        mix = Mix.of(self.tape, split, columns, shares)
        return (first, chosen.draft(shots, final, self.value_target)), mix
