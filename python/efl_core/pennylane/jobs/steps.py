"""The numbers of steps: which of many measurements of one circuit a gradient is.

Steps that follow each other run different settings, each in proportion to its share. That needs a first draw
that all of them have in common, and a number for each: both are kept with the plan of the circuit.

Invariant: with a seed, the same gradients in the same order have the same numbers, and one at angles that
were seen before has the number that it had, so that a run in the same process repeats. Without one, every
gradient has a number of its own.
"""

import os
from dataclasses import dataclass

from efl_core.pennylane.caches import Cache, Steps
from efl_core.pennylane.jobs.seeds import Purpose, Seeds
from efl_core.plans import Plan

__all__ = ["Numbering", "Step"]

STEPS = Cache(128)


@dataclass(frozen=True, slots=True)
class Step:
    """One of many measurements of a circuit."""

    number: int
    seeds: Seeds
    """The same for all."""

    def seed(self, copy: int) -> int:
        """Return what the first draw of settings comes from, for a copy of a shot vector."""
        return self.seeds.seed(Purpose.SETTINGS, copy)


@dataclass(frozen=True, slots=True, eq=False)
class Numbering:
    """Who numbers steps."""

    kept: Cache
    seed: int | None
    repeats: bool
    """Whether the same angles are the same step."""

    @staticmethod
    def of_transforms(seed: int | None) -> "Numbering":
        """Return that of all transforms in this process that have the same seed."""
        return Numbering(STEPS, seed, seed is not None)

    def next(self, plan: Plan, angles: Seeds) -> Step:
        """Return the next step of circuits with a plan."""
        # A process that was forked off draws settings of its own, unless there is a seed.
        owner = ("process", os.getpid()) if self.seed is None else ("seed", self.seed)

        def make() -> tuple[Plan, Steps, Seeds]:
            return plan, Steps(), Seeds.of(self.seed)  # with the plan, whose identity they are known by

        _, steps, seeds = self.kept.get((id(plan), *owner), make)
        return Step(steps.number(angles.words if self.repeats else None), seeds)
