"""The measurement of wide projectors: in random bases or by parameter-shift, whichever is cheaper.

Figures are exact where the state is simulated anyway, and bounds elsewhere. What a device or an option rules
out is left out of the choice, and where nothing is left the error says what to write.

Invariant: a gradient is one batch of tapes.
"""

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from efl_core.calibrations import Calibration, check_basis_contrast
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.pennylane.calling import Found
from efl_core.pennylane.execution import Draw, Job, Outcome, Program, Submission, has_states
from efl_core.pennylane.execution.runs import SIMULATED_QUBITS, different_settings
from efl_core.pennylane.execution.tapes import Twirl
from efl_core.pennylane.execution.yes_or_no import check_product
from efl_core.pennylane.jobs.bases import BasesPart
from efl_core.pennylane.jobs.budget import MAX_BITS
from efl_core.pennylane.jobs.compared import BASES, SHIFT, Compared
from efl_core.pennylane.jobs.hits import FEWEST, Hits, HitsPart
from efl_core.pennylane.jobs.seeds import Purpose, Seeds
from efl_core.pennylane.jobs.whole import Whole
from efl_core.pennylane.options import Options
from efl_core.pennylane.planning import Figure, warn_if_losing
from efl_core.pennylane.reports import Report
from efl_core.pennylane.statistics import Measured, Table, observed
from efl_core.plans import PlanRow, preferred
from efl_core.propagation import Dropped

__all__ = ["Projected", "ProjectedDraft", "check_options", "compared_for"]

# The largest variance of a reading of a fidelity.
VALUE_VARIANCE = 3.0


def compared_for(whole: Whole, options: Options, device: Found, slopes: Table | None) -> Compared:
    """Compare both ways, at the state where it is simulated here."""
    simulated = has_states(device.device, options.mode, whole.n_qubits) and not options.is_noisy
    target = 0.01 if options.target is None else options.target
    return Compared(whole, slopes, simulated and whole.n_qubits <= SIMULATED_QUBITS, target)


@dataclass(frozen=True, slots=True, eq=False)
class Projected:
    """The way that was chosen for wide projectors."""

    compared: Compared
    options: Options
    device: Found
    row: PlanRow
    best: str
    factor: float
    values: bool
    """Whether the values are asked for."""
    equal: bool
    """Whether all tapes have the same shots."""

    @property
    def fewest(self) -> int:
        """The fewest shots that there have to be."""
        if self.row.name == BASES:
            return FEWEST
        assert isinstance(self.compared.hits, Hits)
        own = len(self.compared.hits.readouts) if self.values else 0
        return FEWEST * ((self.row.settings or 0) + own)

    @property
    def value_cost(self) -> float:
        """What the values add to the variance of a shot, where they have shots of their own."""
        if not self.values or self.row.name == BASES:
            return 0.0
        assert isinstance(self.compared.hits, Hits)
        spreads = self.compared.hits.value_spreads(self.compared.state)
        return float(len(spreads) * spreads.sum(axis=0).mean())

    @property
    def cost(self) -> float:
        """The variance of one shot, averaged over the derivatives that are not identically zero."""
        return self.row.cost + self.value_cost

    @staticmethod
    def choose(
        compared: Compared, options: Options, device: Found, shots: float, *, values: bool, equal: bool
    ) -> "Projected":
        """Choose the cheaper way of those that there are."""
        refused = {row.name: _refusal(row, compared, options, device, shots, values) for row in compared.rows}
        usable = [row for row in compared.rows if refused[row.name] is None]
        named = BASES if options.ensemble is not None else options.method
        if named in refused and (error := refused[named]) is not None:
            raise error
        if not usable:
            [bases, shift] = refused.values()
            assert bases is not None
            assert shift is not None
            raise InvalidInputError(f"{shift}; and not in random bases of all qubits ({bases})")
        figure = Figure(options.cost, shots, compared.target)
        best = preferred(usable, figure)
        row = next((row for row in usable if row.name == named), best)
        if row.name == options.method:
            warn_if_losing(compared.whole.circuit, row, best)
        factor = row.cost / best.cost if best.cost > 0 else 1.0
        return Projected(compared, options, device, row, best.name, factor, values, equal)

    def needed(self, target: float, value_target: float | None) -> int:
        """Return the shots for an RMS error of the derivatives, and of the values."""
        needed = self.compared.needed(self.row, target)
        largest = max(sum(abs(own.factor) for own in terms) ** 2 for terms in self.compared.whole.sums)
        if self.row.name == BASES:
            of_values = 0 if value_target is None else math.ceil(VALUE_VARIANCE * largest / value_target**2)
            return max(FEWEST, needed, of_values)
        return max(needed, FEWEST * (self.row.settings or 0)) + self._for_values(0, value_target)

    def _for_values(self, shots: int, value_target: float | None) -> int:
        """Return the shots of the values: for an error, or so many that they get that of the derivatives."""
        if not self.values or self.row.name == BASES:
            return 0
        assert isinstance(self.compared.hits, Hits)
        fewest = FEWEST * len(self.compared.hits.readouts)
        if value_target is not None:
            return max(fewest, math.ceil(self.value_cost / value_target**2))
        return max(fewest, round(shots * self.value_cost / max(self.cost, 1e-300)))

    def draft(
        self, totals: Sequence[int], final: Program, value_target: float | None = None
    ) -> "ProjectedDraft":
        """Write what is run for each copy of a shot vector."""
        whole, options = self.compared.whole, self.options
        if sum(totals) * whole.n_qubits > MAX_BITS:
            raise InvalidInputError(
                f"shots: expected at most {MAX_BITS // whole.n_qubits:,} in one measurement, which is held "
                f"in memory, got {sum(totals):,}; average several, or ask for a larger target"
            )
        given = options.calibration
        calibration = None if given is None else given.check(whole.circuit.wires)
        parts = tuple(
            self._in_bases(calibration, shots, final)
            if self.row.name == BASES
            else self._by_shift(value_target, shots, final)
            for shots in totals
        )
        return ProjectedDraft(self, parts, Seeds.of_circuit(options.seed, whole.circuit))

    def _in_bases(self, calibration: Calibration | None, shots: int, final: Program) -> BasesPart:
        ensemble = self.options.ensemble
        if ensemble is None:
            n_qubits = self.compared.whole.n_qubits
            ensemble = Ensemble.global_clifford(n_qubits, twirled=calibration is not None)
        check_basis_contrast(calibration, ensemble)
        return BasesPart(self.compared.whole, Draw(final, ensemble, shots), calibration)

    def _by_shift(self, value_target: float | None, shots: int, final: Program) -> HitsPart:
        assert isinstance(self.compared.hits, Hits)
        values = self._for_values(shots, value_target)
        rest = shots - values
        deviations = self.compared.deviations(rest)
        return self.compared.hits.part(deviations, rest, values, final, equal=self.equal)


@dataclass(frozen=True, slots=True, eq=False)
class ProjectedDraft:
    """The measurement of wide projectors, ready to be submitted."""

    chosen: Projected
    parts: tuple[BasesPart | HitsPart, ...]
    """One for each copy of a shot vector."""
    seeds: Seeds

    @property
    def jobs(self) -> list[Job]:
        """What is to be run."""
        return [job for part in self.parts for job in part.jobs]

    @property
    def wires(self) -> Sequence[Hashable]:
        """The wire of each qubit."""
        return self.chosen.compared.whole.circuit.wires

    @property
    def outcomes_seed(self) -> int:
        """The seed of settings that are drawn, and of outcomes that are simulated."""
        return self.seeds.seed(Purpose.OUTCOMES)

    @property
    def twirl(self) -> Twirl | None:
        """How readouts are flipped: random bases do it by themselves."""
        noisy = self.chosen.options.is_noisy
        return Twirl(None, 0, calibrated=False, equal=True) if noisy else None

    @property
    def _predicted(self) -> float:
        """The variance of the derivatives, with the average shots of a copy."""
        counts = [part.counts for part in self.parts if isinstance(part, HitsPart)]
        if counts:
            return self.chosen.compared.predicted(np.mean(counts, axis=0))
        shots = sum(job.shots for job in self.jobs) / len(self.parts)
        return self.chosen.row.cost / shots

    def report(self, outcomes: Sequence[Outcome], submission: Submission, device: Found) -> Report:
        """Return what was measured."""
        compared, taken = self.chosen.compared, iter(outcomes)
        copies = tuple(self._read(part, [next(taken) for _ in part.jobs]) for part in self.parts)
        partitioned = bool(compared.whole.tape.shots.has_partitioned_shots)
        measured = Measured(tuple((copy,) for copy in copies), compared.whole.shape, partitioned)
        squeeze = slice(None) if partitioned else 0
        value, value_stderr = np.array([copy.values for copy in copies]).swapaxes(0, 1)[:, squeeze]
        row = self.chosen.row
        return Report(
            method=row.name,
            mode=submission.mode,
            found_device=device.by,
            shots=sum(job.shots for job in self.jobs),
            settings=different_settings(self.jobs, outcomes),
            tapes=len(submission.tapes),
            gradient=measured.gradient,
            stderr=measured.stderr,
            predicted=math.sqrt(self._predicted),
            observed=observed(measured, compared.slopes),
            of="parameters" if compared.slopes is None else "arguments",
            best=self.chosen.best,
            factor=self.chosen.factor,
            dropped=Dropped(0, 0.0),
            value=value,
            value_stderr=value_stderr,
            audit=None,
            _measured=measured,
        )

    def react(self, report: Report) -> None:
        """Nothing is asked for in view of a report."""

    @staticmethod
    def _read(part: BasesPart | HitsPart, outcomes: list[Any]) -> Any:  # noqa: ANN401 (what the part finds)
        return part.read(outcomes)


def check_options(options: Options, *, alone: bool) -> None:
    """Refuse what says nothing of wide projectors; some of it is for words, where they are not alone."""
    for name, is_given, instead in (
        ("settings_per_step", options.settings_per_step is not None, "fewer shots make a step as cheap"),
        ("mitigate", options.mitigate, "with noise= the gradient is that of the noisy value"),
        ("audit", options.audit is not None, 'method="shift" measures what an audit would'),
        ("combine", alone and options.combine != "mean", "random bases are read by their mean"),
        ("truncation", alone and options.truncation is not None, "no words are propagated"),
    ):
        if is_given:
            raise InvalidInputError(
                f"{name}: expected its default for a projector on more than four wires, got another; "
                f"{instead}"
            )
    if not alone:
        return
    if options.method not in ("auto", BASES, SHIFT):
        raise InvalidInputError(
            f"method: expected 'auto', {BASES!r} or {SHIFT!r} for a projector on more than four wires, got "
            f"{options.method!r}"
        )
    if options.ensemble is not None and options.ensemble.kind != BASES:
        raise InvalidInputError(
            "ensemble: expected efl.Ensemble.global_clifford(n) for a projector on more than four wires, got "
            f"one of kind {options.ensemble.kind!r}"
        )


def _refusal(
    row: PlanRow, compared: Compared, options: Options, device: Found, shots: float, values: bool
) -> InvalidInputError | None:
    """Return why a way cannot be gone; None if it can."""
    try:
        if row.name == BASES:
            _check_bases(row, compared, options, device, shots)
        else:
            _check_shift(compared, options, device, shots, values)
    except InvalidInputError as error:
        return error
    return None


def _check_bases(row: PlanRow, compared: Compared, options: Options, device: Found, shots: float) -> None:
    if options.noise is not None:
        raise InvalidInputError(
            "noise: expected none for a projector that is measured in random bases, whose derivative under "
            'noise is no operator of few vectors, got one; method="shift" measures it as it is'
        )
    if row.shots is None:
        raise InvalidInputError(
            f"tape: expected projectors on all wires of the circuit, or nearly all, for random bases of all "
            f'qubits, got {row.note}; method="shift" measures them'
        )
    if options.connectivity != "all":
        raise InvalidInputError(
            'device_options: expected connectivity "all" for random bases of all qubits, got '
            f'{options.connectivity!r}; method="shift" adds no gates'
        )
    by_state = has_states(device.device, options.mode, compared.whole.n_qubits)
    if options.mode == "broadcast" or (not by_state and shots > options.max_tapes):
        raise InvalidInputError(
            "device_options: expected a tape for every shot of random bases of all qubits, "
            f"{shots:g} of them, got mode {options.mode!r} and max_tapes {options.max_tapes:g}; "
            'method="shift" takes two tapes for each parameter'
        )


def _check_shift(compared: Compared, options: Options, device: Found, shots: float, values: bool) -> None:
    if not isinstance(compared.hits, Hits):
        raise compared.hits
    if options.calibration is not None:
        raise InvalidInputError(
            "calibration: expected none for parameter-shift of a projector, whose readout it cannot make "
            'good, got one; random bases can (method="global_clifford", without noise=)'
        )
    n_qubits = compared.whole.n_qubits
    if not has_states(device.device, options.mode, n_qubits):
        for terms in compared.whole.sums:
            for own in terms:
                check_product(own)
    circuits = compared.n_circuits
    fewest = FEWEST * (circuits + (len(compared.hits.readouts) if values else 0))
    if math.isfinite(shots) and shots < fewest:
        raise InvalidInputError(
            f"shots: expected at least {fewest}, {FEWEST} for each circuit of parameter-shift, got {shots:g}"
        )
    if not has_states(device.device, options.mode, n_qubits) and circuits > options.max_tapes:
        raise InvalidInputError(
            f"device_options: expected max_tapes of at least {circuits}, the circuits of parameter-shift, "
            f"got {options.max_tapes:g}"
        )
