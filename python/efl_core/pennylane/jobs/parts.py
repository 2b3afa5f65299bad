"""The parts of a measurement: what each wants run, and what it reads from the outcomes.

There is a class for each kind: experiments of a plan, settings that are drawn, words that coefficients
multiply, and values. Each has ``jobs``, and ``read`` takes the outcomes of these, in their order.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, islice
from typing import Any, TypeAlias

from efl_core.estimates import Combine
from efl_core.pennylane.execution import Job, Program, Run
from efl_core.pennylane.jobs.budget import Budget
from efl_core.pennylane.jobs.designed import DesignedPart, designed_part
from efl_core.pennylane.jobs.seeds import Purpose, Seeds
from efl_core.pennylane.jobs.steps import Step
from efl_core.pennylane.jobs.sums import DrawnPart, WordsPart, drawn_part
from efl_core.pennylane.jobs.values import ValuePart, Values, value_runs
from efl_core.pennylane.jobs.wanted import Wanted
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.planning import Plans
from efl_core.pennylane.statistics import Found

__all__ = ["Copy", "write_copies"]

Part: TypeAlias = DesignedPart | DrawnPart | WordsPart


@dataclass(frozen=True, slots=True, eq=False)
class Copy:
    """What is measured for one copy of a shot vector."""

    final: Program
    """The circuit of the tape itself."""
    parts: tuple[Part, ...]
    values: ValuePart | None

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""
        return [*chain.from_iterable(part.jobs for part in self.parts), *self._own]

    @property
    def _own(self) -> list[Job]:
        return [] if self.values is None else self.values.jobs

    def read(self, outcomes: Sequence[Any]) -> tuple[tuple[Found, ...], Values | None]:
        """Return what the outcomes of the jobs say of every part, and of the values."""
        taken = iter(outcomes)
        found = tuple(part.read(list(islice(taken, len(part.jobs)))) for part in self.parts)
        if self.values is None:
            return found, None
        served = (
            []
            if self.values.correction.noise is not None
            else [
                (job.setting, bits)
                for job, bits in zip(self.jobs, outcomes[: len(outcomes) - len(self._own)], strict=False)
                if isinstance(job, Run) and job.program is self.final
            ]
        )
        return found, self.values.read(list(taken), served)


def write_copies(
    wanted: Wanted,
    plans: Plans,
    budget: Budget,
    seeds: Seeds,
    combine: Combine,
    correction: Correction,
    final: Program,
    step: Step | None = None,
) -> tuple[Copy, ...]:
    """Write the parts of every copy of a shot vector; with a ``step``, settings are drawn for it."""
    copies = []
    for i, share in enumerate(budget.shares):
        of_values = (plans.words, share.words, Purpose.WORDS), (plans.values, share.values, Purpose.VALUES)
        words, values = (
            value_runs(plan, final, shots, budget.piece, seeds.seed(purpose, i)) if shots else ()
            for plan, shots, purpose in of_values
        )
        parts: list[Part] = []
        if plans.words is not None:
            parts.append(WordsPart(wanted, words, correction))
        if plans.drawn is not None:
            parts.append(drawn_part(wanted, final, plans.drawn, share.gates, combine, correction))
        elif plans.chosen is not None and plans.chosen.row.cost > 0:
            seed, number = (0, 0) if step is None else (step.seed(i), step.number)
            parts.append(
                designed_part(wanted, final, plans, share.gates, budget.piece, seed, correction, number)
            )
        own = None
        if plans.asked is not None:
            own = ValuePart(wanted.circuit.observables, plans.asked, values, wanted.outputs, correction)
        copies.append(Copy(final, tuple(parts), own))
    return tuple(copies)
