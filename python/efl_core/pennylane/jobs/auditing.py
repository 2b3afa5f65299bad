"""What an audit runs: the shift experiments of some parameters, drawn anew for every gradient."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from efl_core import _native
from efl_core.circuits import Circuit
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.pennylane.audits import Audit, AuditReport, compared
from efl_core.pennylane.caches import Cache
from efl_core.pennylane.execution.runs import Bits, Program, Run
from efl_core.pennylane.jobs.wanted import Wanted
from efl_core.pennylane.keys import circuit_key
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.planning import Plans
from efl_core.pennylane.statistics import Table
from efl_core.pennylane.tapes.writing import Writer

__all__ = ["AuditPart", "audit_part", "is_switched", "switch"]

# Pruned shifts rest on a model too: that gates which commute with all that follows have no derivative.
SHIFT = "shift"
# Circuits whose audit has found a bias, where shifts were wanted then.
_SWITCHED = Cache(1024)


def switch(circuit: Circuit) -> None:
    """Have the gradients of a circuit measured by parameter-shift from now on."""
    _SWITCHED.add(circuit_key(circuit))


def is_switched(circuit: Circuit) -> bool:
    """Say whether a circuit is measured by parameter-shift, as an audit has found a bias."""
    return circuit_key(circuit) in _SWITCHED


@dataclass(frozen=True, slots=True, eq=False)
class AuditPart:
    """Some derivatives by parameter-shift."""

    audit: Audit
    wanted: Wanted
    experiments: tuple[tuple[Experiment, Run], ...]
    parameters: tuple[int, ...]
    """Of the circuit, those that are measured."""
    correction: Correction

    @property
    def jobs(self) -> list[Run]:
        """What is to be run."""
        return [run for _, run in self.experiments]

    def read(self, outcomes: Sequence[Bits], gradient: Table, stderr: Table) -> AuditReport:
        """Compare with the gradient that was measured otherwise."""
        taken = [
            (self.correction.of(experiment), bits)
            for (experiment, _), bits in zip(self.experiments, outcomes, strict=True)
        ]
        counted = _native.Outcomes.count(taken)
        rows, by_gates = self.wanted.shape[0], list(self.wanted.by_gates)
        n_rows = rows * len(by_gates)
        means, variances = _native.read_together(counted, n_rows)
        if self.correction.contrasts is not None:
            # The errors of contrasts, which shift both alike, are counted in both: never too little.
            variances = variances + _native.calibration_variances(
                counted, self.correction.contrasts, np.eye(n_rows)
            )
        shift, error = np.zeros(self.wanted.shape), np.zeros(self.wanted.shape)
        shift[:, by_gates] = means.reshape(rows, -1)
        error[:, by_gates] = np.sqrt(variances).reshape(rows, -1)
        moved = {row for experiment, _ in self.experiments for row in experiment.derivatives}
        places = [(o, by_gates[k]) for k in self.parameters for o in range(rows) if (o, k) in moved]
        shots = sum(run.shots for run in self.jobs)
        return compared(self.audit, places, (gradient, stderr), (shift, error), shots)


def audit_part(
    audit: Audit, wanted: Wanted, plans: Plans, shots: int, correction: Correction, seed: int
) -> AuditPart | None:
    """Draw the parameters that are measured again; None where shifts measure all of them anyway."""
    chosen = plans.chosen
    if chosen is None:
        raise InvalidInputError("audit: expected a method of a plan, got ensemble=")
    if chosen.row.name == SHIFT or not chosen.row.cost > 0:
        return None
    if not chosen.kept[SHIFT].applies:
        raise InvalidInputError(
            "audit: expected a circuit that parameter-shift applies to, got one where "
            f"{chosen.kept[SHIFT].note}"
        )
    found = [Experiment(e._native, wanted.circuit) for e, _ in chosen.kept.experiments(SHIFT)]
    by_parameter: dict[int, list[Experiment]] = {}
    for experiment in found:
        [parameter] = {k for _, k in experiment.derivatives}
        by_parameter.setdefault(parameter, []).append(experiment)
    random = np.random.default_rng(seed)
    count = min(audit.derivatives, len(by_parameter))
    drawn = sorted(int(k) for k in random.choice(sorted(by_parameter), count, replace=False))
    own = [experiment for k in drawn for experiment in by_parameter[k]]
    each = shots // max(1, len(own))
    if each < 2:
        raise InvalidInputError(
            f"audit: expected a share of at least {2 * len(own)} shots, two for each of the {len(own)} "
            f"circuits and settings of {count} derivatives, got {shots}"
        )
    writer = Writer(wanted.tape, wanted.circuit)
    runs = tuple(
        (e, Run(Program(partial(writer.operations, e), e, wanted.circuit), e.setting, each)) for e in own
    )
    return AuditPart(audit, wanted, runs, tuple(drawn), correction)
