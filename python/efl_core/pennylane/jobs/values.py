"""Values of observables on the final state of a tape, in product settings that are designed for them.

A word is pooled over all settings that reveal it, those of a gradient included that measure the final state.

Invariant: a value depends on the outcomes alone; its standard error includes the covariances of its words.
Cost: one search for settings for each list of observables, which is kept; then one count for each tape.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pennylane.devices import Device
from pennylane.tape import QuantumScript

from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InvalidInputError
from efl_core.estimates import Estimate, estimate
from efl_core.observables import PauliSum
from efl_core.pennylane.execution import Submission, has_equal_shots, known_cost, submit
from efl_core.pennylane.execution.runs import Bits, Job, Program, Run
from efl_core.pennylane.jobs.budget import equal_piece, needed_shots
from efl_core.pennylane.jobs.corrections import correction_of, twirl_of
from efl_core.pennylane.jobs.seeds import Purpose, Seeds
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.options import Options
from efl_core.pennylane.tapes.conversion import converted
from efl_core.pennylane.tapes.numbers import with_numbers
from efl_core.pennylane.tapes.outputs import Outputs, Readout
from efl_core.pennylane.value_plans import ValuePlan, plan_values
from efl_core.snapshots import Snapshots

__all__ = [
    "InSetting",
    "ValueJob",
    "ValuePart",
    "Values",
    "value_job",
    "value_runs",
    "value_snapshots",
]

InSetting = tuple[Setting, Bits]
"""Bits of the final state, and the setting that they were measured in."""
Row = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Values:
    """The values of observables, and the results of the tape that are made of them."""

    value: Row
    """Of the rows of the results."""
    stderr: Row
    """Their standard errors."""
    readout: Readout | None
    """How the rows depend on observables; None where they are the observables."""


@dataclass(frozen=True, slots=True, eq=False)
class ValuePart:
    """Values of some observables, from settings of their own and from others of the same state."""

    sums: tuple[PauliSum, ...]
    """All observables."""
    measured: tuple[int, ...]
    """Those of them whose values are measured; the others count as 0."""
    runs: tuple[Run, ...]
    outputs: Outputs
    correction: Correction

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""
        return list(self.runs)

    def read(self, outcomes: Sequence[Any], others: Sequence[InSetting] = ()) -> Values:
        """Return the values and their standard errors."""
        settings = [run.setting for run in self.runs]
        outcomes = [*others, *zip(settings, outcomes, strict=True)]
        chosen, sums = list(self.measured), [self.sums[i] for i in self.measured]
        value, stderr = np.zeros((2, len(self.sums)))
        if not outcomes or not sums:  # nothing but multiples of the identity
            value[chosen] = [float(total.coefficients.sum()) for total in sums]
            return self._made_of(value, stderr, None)
        snaps = value_snapshots(outcomes)
        found = self._estimate(snaps, sums)
        value[chosen], stderr[chosen] = found.value, found.stderr
        return self._made_of(value, stderr, snaps)

    def _estimate(self, snaps: Snapshots, sums: Sequence[PauliSum]) -> Estimate:
        read, calibration = self.correction.sums(sums), self.correction.calibration
        return estimate(snaps, read, combine="hit_normalised", calibration=calibration)

    def _made_of(self, value: Row, stderr: Row, snaps: Snapshots | None) -> Values:
        if self.outputs.is_linear:
            return Values(value, stderr, None)
        variances = np.square(stderr)
        readout = self.outputs.readout(value, variances)
        errors = np.zeros(len(readout.slopes))
        if snaps is not None and len(self.measured) == len(self.sums):
            combined = [
                sum((self.sums[i] * row[i] for i in np.flatnonzero(row)), 0 * self.sums[0])
                for row in readout.slopes
            ]
            errors = np.asarray(self._estimate(snaps, combined).stderr)
        # What is left where a slope is zero: the square of a value that may as well be another.
        blurred = readout.blur @ variances / 2
        return Values(self.outputs.values(value, variances), np.sqrt(errors**2 + blurred), readout)


@dataclass(frozen=True, slots=True, eq=False)
class ValueJob:
    """The measurement of the values of a tape, and of nothing else."""

    part: ValuePart
    submission: Submission

    @property
    def tapes(self) -> list[QuantumScript]:
        """What the device runs."""
        return self.submission.tapes

    def read(self, results: Sequence[Any]) -> Row:
        """Return the values, from the results of the tapes."""
        return self.part.read(self.submission.read(results)).value


def value_job(
    tape: QuantumScript,
    options: Options,
    device: Device,
    target: float | None,
) -> ValueJob:
    """Measure the values by the shots of the options, or with the RMS error ``target``."""
    circuit, outputs = converted(with_numbers(QuantumScript([], tape.measurements)), wires=tape.wires)
    plan = plan_values(circuit.observables)
    shots = needed_shots(plan, target) if options.shots is None else options.shots
    seeds = Seeds.of(options.seed)
    equal = has_equal_shots(options.mode, device, options.equal_shots)
    cost = known_cost(device, options.mode) if options.cost is None else options.cost
    piece = equal_piece(shots, max(1, plan.n_settings), cost) if equal else 1
    final = Program(lambda: tape.operations)
    runs = value_runs(plan, final, shots, piece, seeds.seed(Purpose.VALUES))
    wires: Sequence[Hashable] = tape.wires
    correction = correction_of(options, wires)
    every = tuple(range(len(circuit.observables)))
    part = ValuePart(circuit.observables, every, runs, outputs, correction)
    return ValueJob(
        part,
        submit(
            part.jobs,
            wires,
            mode=options.mode,
            seed=seeds.seed(Purpose.OUTCOMES),
            device=device,
            max_tapes=options.max_tapes,
            twirl=twirl_of(options, seeds.seed(Purpose.FLIPS), equal=equal),
        ),
    )


def value_runs(
    plan: ValuePlan | None, program: Program, shots: int, piece: int, seed: int
) -> tuple[Run, ...]:
    """Return the settings of a plan in runs of ``piece`` shots, where 1 is any number."""
    if plan is None or not plan.n_settings:
        return ()
    if shots < plan.n_settings:
        raise InvalidInputError(
            f"shots: expected at least {plan.n_settings}, one for each setting that the values are read in, "
            f"got {shots}"
        )
    runs: list[Run] = []
    for setting, count in plan.allocate(max(shots // piece, plan.n_settings), seed):
        own = [count] if piece == 1 else [piece] * count
        runs += [Run(program, setting, shots) for shots in own]
    return tuple(runs)


def value_snapshots(measured: Sequence[InSetting]) -> Snapshots:
    """Pack bits of one state that were measured in several settings."""
    counts = np.array([len(bits) for _, bits in measured])
    ensemble = Ensemble.settings([setting for setting, _ in measured], counts / counts.sum())
    bits = np.concatenate([bits for _, bits in measured])
    which = np.repeat(np.arange(len(measured)), counts)
    return Snapshots.from_settings(bits, which, ensemble=ensemble)
