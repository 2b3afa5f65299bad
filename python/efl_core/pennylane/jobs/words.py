"""The measurement of what words say: read the tape, share the shots, write jobs, read outcomes.

Every step takes frozen values and returns one. Derivatives by the parameters of gates are measured as the
plan says, or by snapshots in an ensemble that was given; derivatives by the coefficients of an observable are
expectation values of its words on the final state. The values of the tape can be measured along with them.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from itertools import chain, islice

import numpy as np
from numpy.typing import NDArray
from pennylane.tape import QuantumScript

from efl_core.chains import Chain
from efl_core.errors import InvalidInputError
from efl_core.pennylane.audits import AuditReport, react
from efl_core.pennylane.calling import Found
from efl_core.pennylane.execution import Job, Outcome, Program, Submission, has_equal_shots, known_cost
from efl_core.pennylane.execution.runs import different_settings
from efl_core.pennylane.execution.tapes import Twirl
from efl_core.pennylane.jobs.auditing import AuditPart, audit_part, is_switched, switch
from efl_core.pennylane.jobs.budget import Budget, share
from efl_core.pennylane.jobs.corrections import correction_of, twirl_of
from efl_core.pennylane.jobs.parts import Copy, write_copies
from efl_core.pennylane.jobs.seeds import Purpose, Seeds
from efl_core.pennylane.jobs.steps import Numbering
from efl_core.pennylane.jobs.values import Values
from efl_core.pennylane.jobs.wanted import Wanted, read_tape
from efl_core.pennylane.noise import connectivity_of
from efl_core.pennylane.options import OF_PROJECTORS, Options
from efl_core.pennylane.planning import Plans, TooFewShotsError, make_plans
from efl_core.pennylane.reports import Report
from efl_core.pennylane.statistics import Found as MeasuredPart
from efl_core.pennylane.statistics import Measured, observed
from efl_core.pennylane.tapes.tracing import described
from efl_core.propagation import Dropped
from efl_core.snapshots import Snapshots

__all__ = ["WordsDraft", "draft_words", "plans_of"]


@dataclass(frozen=True, slots=True, eq=False)
class WordsDraft:
    """The measurement of a gradient by words, ready to be submitted."""

    wanted: Wanted
    options: Options
    plans: Plans
    budget: Budget
    copies: tuple[Copy, ...]
    seeds: Seeds
    equal: bool
    """Whether all tapes have the same shots."""
    slopes: NDArray[np.float64] | None
    """Of the trainable parameters by the arguments, where they are known."""
    audit: AuditPart | None
    """What is measured again by parameter-shift."""

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""
        audited = [] if self.audit is None else self.audit.jobs
        return [*chain.from_iterable(copy.jobs for copy in self.copies), *audited]

    @property
    def wires(self) -> Sequence[Hashable]:
        """The wire of each qubit."""
        return self.wanted.circuit.wires

    @property
    def outcomes_seed(self) -> int:
        """The seed of settings that are drawn, and of outcomes that are simulated."""
        return self.seeds.seed(Purpose.OUTCOMES)

    @property
    def twirl(self) -> Twirl | None:
        """How readouts are flipped."""
        return twirl_of(self.options, self.seeds.seed(Purpose.FLIPS), equal=self.equal)

    def report(self, outcomes: Sequence[Outcome], submission: Submission, device: Found) -> Report:
        """Return what was measured."""
        again = outcomes[len(outcomes) - len(self.audit.jobs) :] if self.audit is not None else []
        outcomes = outcomes[: len(outcomes) - len(again)]
        taken = iter(outcomes)
        found = [copy.read(list(islice(taken, len(copy.jobs)))) for copy in self.copies]
        values = [values for _, values in found if values is not None]
        readouts = None
        if not self.wanted.outputs.is_linear:
            readouts = tuple(own.readout for own in values if own.readout is not None)
        parts = tuple(parts for parts, _ in found)
        measured = Measured(parts, self.wanted.shape, self.wanted.is_partitioned, readouts)
        audited = None if self.audit is None else self._audited(self.audit, parts, again)
        return self._report(measured, outcomes, values, audited, submission, device)

    def react(self, report: Report) -> None:
        """Do what an audit asks for that found a bias."""
        if self.audit is not None and report.audit is not None:
            if report.audit.is_biased and self.audit.audit.on_bias == "shift":
                switch(self.wanted.circuit)
            react(self.audit.audit, report.audit)

    def _audited(
        self, audit: AuditPart, parts: Sequence[Sequence[MeasuredPart]], outcomes: Sequence[Outcome]
    ) -> AuditReport:
        [copy] = parts
        value = sum((found.value for found in copy), np.zeros(self.wanted.shape))
        variance = sum((found.variance for found in copy), np.zeros(self.wanted.shape))
        bits = [own for own in outcomes if not isinstance(own, Snapshots)]
        return audit.read(bits, value, np.sqrt(variance))

    def _report(
        self,
        measured: Measured,
        outcomes: Sequence[Outcome],
        values: Sequence[Values],
        audited: AuditReport | None,
        submission: Submission,
        device: Found,
    ) -> Report:
        jobs = list(chain.from_iterable(copy.jobs for copy in self.copies))
        chosen, ensemble = self.plans.chosen, self.options.ensemble
        name = "words" if ensemble is None else ensemble.kind
        best, factor, predicted = name, 1.0, 0.0
        if chosen is not None:
            name, best, factor = chosen.row.name, chosen.best, chosen.factor
            shots = max(1.0, self.budget.for_gradient)  # none, where no derivative takes any
            predicted = float(np.sqrt(chosen.row.cost / shots))
        gradient, stderr = measured.gradient, measured.stderr
        squeeze = slice(None) if self.wanted.is_partitioned else 0
        shown = np.array([[own.value for own in values], [own.stderr for own in values]])
        value, value_stderr = shown[:, squeeze] if values else np.zeros((2, 0))
        drawn = self.plans.drawn
        return Report(
            method=name,
            mode=submission.mode,
            found_device=device.by,
            shots=sum(job.shots for job in jobs) + (0 if audited is None else audited.shots),
            settings=different_settings(jobs, outcomes),
            tapes=len(submission.tapes),
            gradient=gradient,
            stderr=stderr,
            predicted=predicted,
            observed=observed(measured, self.slopes),
            of="parameters" if self.slopes is None else "arguments",
            best=best,
            factor=factor,
            dropped=Dropped(0, 0.0) if drawn is None else drawn.observables.dropped,
            value=value,
            value_stderr=value_stderr,
            audit=audited,
            _measured=measured,
        )


def draft_words(
    tape: QuantumScript,
    options: Options,
    device: Found,
    *,
    values: bool = False,
    value_target: float | None = None,
    slopes: NDArray[np.float64] | None = None,
    numbering: Numbering | None = None,
    final: Program | None = None,
    wires: Sequence[Hashable] | None = None,
) -> WordsDraft:
    """Write the measurement of what a tape says by words, see `gradient_job`.

    ``final`` is its circuit, and ``wires`` the wire of each qubit, where others measure it too.
    """
    if options.method == OF_PROJECTORS:
        raise InvalidInputError(
            f"method: expected {options.method!r} for projectors on more than four wires only, got it for "
            f"{described(tape.measurements[0])}"
        )
    wanted = read_tape(tape, options, wires)
    final = Program(lambda: wanted.tape.operations) if final is None else final
    correction = correction_of(options, wanted.circuit.wires)
    if options.audit is not None:
        options, wanted = _to_be_audited(options, wanted)
    if options.connectivity == "all":
        options = replace(options, connectivity=connectivity_of(options.noise, wanted.circuit.wires))
    if options.cost is None:
        options = replace(options, cost=known_cost(device.device, options.mode))
    equal = has_equal_shots(options.mode, device.device, options.equal_shots)

    def planned(options: Options) -> tuple[Plans, Budget]:
        plans = plans_of(wanted, options, slopes, values=values)
        return plans, share(wanted, plans, options, value_target=value_target, equal=equal)

    try:
        plans, budget = planned(options)
    except TooFewShotsError:
        if options.settings_per_step is not None:
            raise
        options = replace(options, settings_per_step="auto")
        plans, budget = planned(options)
    seeds = Seeds.of_circuit(options.seed, wanted.circuit)
    step = None
    if options.settings_per_step is not None and plans.chosen is not None:
        who = Numbering.of_transforms(options.seed) if numbering is None else numbering
        step = who.next(plans.chosen.kept, seeds)
    copies = write_copies(wanted, plans, budget, seeds, options.combine, correction, final, step)
    audit = None
    if options.audit is not None:
        part = options.audit.share / (1 - options.audit.share)
        shots = round(budget.for_gradient * part)
        audit = audit_part(options.audit, wanted, plans, shots, correction, seeds.seed(Purpose.AUDIT))
    return WordsDraft(wanted, options, plans, budget, copies, seeds, equal, slopes, audit)


def plans_of(wanted: Wanted, options: Options, slopes: NDArray[np.float64] | None, *, values: bool) -> Plans:
    """Plan what is wanted of a tape, for derivatives by arguments where their slopes are known."""
    return make_plans(
        wanted.circuit,
        [coefficient.sum for coefficient in wanted.coefficients],
        options,
        shots=math.inf if wanted.shots is None else min(wanted.shots),
        copies=wanted.copies,
        values=values,
        outputs=wanted.outputs,
        chain=None if slopes is None else Chain.of(slopes[list(wanted.by_gates)], len(wanted.by_gates)),
    )


def _to_be_audited(options: Options, wanted: Wanted) -> tuple[Options, Wanted]:
    """Leave the audit its part of the shots; or measure by shifts, where an audit has found a bias before."""
    assert options.audit is not None
    if wanted.is_partitioned:
        raise InvalidInputError("audit: expected one number of shots, got a shot vector")
    if options.audit.on_bias == "shift" and is_switched(wanted.circuit):
        return replace(options, method="shift", audit=None), wanted
    if wanted.shots is None:
        return options, wanted
    rest = tuple(max(1, int(shots * (1 - options.audit.share))) for shots in wanted.shots)
    return options, replace(wanted, shots=rest)
