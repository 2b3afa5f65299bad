"""Derivatives by the experiments of a plan: settings, echoes, shifts, and mixtures of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import chain

import numpy as np

from efl_core import _native
from efl_core.ensembles import Setting
from efl_core.experiments import Experiment
from efl_core.pennylane.caches import Cache
from efl_core.pennylane.execution.runs import Bits, Job, Program, Run
from efl_core.pennylane.jobs.wanted import Wanted
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.planning import Chosen, Plans
from efl_core.pennylane.statistics import Table
from efl_core.pennylane.tapes.writing import Writer

__all__ = ["DesignedPart", "designed_part"]

ALLOCATED = Cache(1)


@dataclass(frozen=True, slots=True, eq=False)
class DesignedFound:
    """What experiments say; see `Found`."""

    value: Table
    variance: Table
    outcomes: tuple[_native.Outcomes, ...]
    by_gates: tuple[int, ...]
    contrasts: _native.Calibration | None = None
    """What readings were divided by, beside what is known exactly."""

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return sum(counted.nbytes for counted in self.outcomes)

    def variances(self, weights: Table) -> Table:
        """Return variances of combinations."""
        own = weights[:, :, list(self.by_gates)].reshape(len(weights), -1)
        own = np.ascontiguousarray(own, dtype=np.float64)
        found = _native.read_combined(self.outcomes, own)
        if self.contrasts is not None:
            found = found + _native.calibration_variances(self.outcomes, self.contrasts, own)
        return found


@dataclass(frozen=True, slots=True, eq=False)
class DesignedPart:
    """Experiments, each in one run or in several."""

    wanted: Wanted
    experiments: tuple[tuple[Experiment, tuple[Run, ...]], ...]
    correction: Correction

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""
        return list(chain.from_iterable(runs for _, runs in self.experiments))

    def read(self, outcomes: Sequence[Bits]) -> DesignedFound:
        """Return what the outcomes of the jobs say."""
        bits = iter(outcomes)
        taken = [(self.correction.of(e), _joined([next(bits) for _ in runs])) for e, runs in self.experiments]
        counted = tuple(_native.Outcomes.count(taken))
        rows, by_gates = self.wanted.shape[0], list(self.wanted.by_gates)
        value, variance = np.zeros(self.wanted.shape), np.zeros(self.wanted.shape)
        means, spreads = _native.read_together(counted, rows * len(by_gates))
        value[:, by_gates] = means.reshape(rows, -1)
        contrasts = self.correction.contrasts
        if contrasts is not None:
            spreads = spreads + _native.calibration_variances(counted, contrasts, np.eye(len(spreads)))
        variance[:, by_gates] = spreads.reshape(rows, -1)
        return DesignedFound(value, variance, counted, self.wanted.by_gates, contrasts)


def _joined(parts: Sequence[Bits]) -> Bits:
    return parts[0] if len(parts) == 1 else np.concatenate(parts)


def designed_part(
    wanted: Wanted,
    final: Program,
    plans: Plans,
    shots: int,
    piece: int,
    seed: int,
    correction: Correction,
    step: int = 0,
) -> DesignedPart:
    """Allocate shots to the chosen method, in runs of ``piece`` shots, where 1 is any number.

    Where the plans say that a step runs only some settings, they are those of this one.
    """
    assert plans.chosen is not None  # or nothing is designed
    number = shots if piece == 1 else int(min(shots // piece, plans.most_runs))
    writer = Writer(wanted.tape, wanted.circuit)
    experiments = []
    for found, setting, own in _allocated(plans.chosen, number, plans.draws(number), step, seed):
        experiment, program = found.at(wanted.circuit), final
        if not experiment.served:
            program = Program(partial(writer.operations, experiment), experiment, wanted.circuit)
        sizes = [own] if piece == 1 else [piece] * own
        experiments.append((experiment, tuple(Run(program, setting, n) for n in sizes)))
    return DesignedPart(wanted, tuple(experiments), correction)


def _allocated(
    chosen: Chosen, shots: int, settings: int | None, step: int, seed: int
) -> list[tuple[Experiment, Setting, int]]:
    """Return what is run, or what was for the same plan: inputs of a batch have it in common."""
    plan, method = chosen.plan, chosen.row.name
    native = plan._native

    def make() -> tuple[_native.Plan, list[tuple[Experiment, Setting, int]]]:
        found = plan.allocate(shots, method, settings=settings, step=step, seed=seed)
        runs = [(experiment, experiment.setting, count) for experiment, count in found]
        return native, runs  # with the plan, whose identity they are known by

    return ALLOCATED.get((id(native), method, shots, settings, step, seed), make)[1]
