"""Gradients of projectors on all wires, from snapshots of the final state in random bases of all qubits.

One set of snapshots has the values and all derivatives. The variance of a reading of a derivative is at most
``1 - <target|P|target>**2``, P being the generator of the parameter's rotation moved to the end of the
circuit: neither the number of qubits nor that of parameters makes it grow. Where a calibration of the readout
is given the bases are twirled.

Invariant: a gradient is one batch of tapes.
Cost: ``2**n`` numbers for each parameter, which each snapshot is compared with; on devices that sample a tape
for each shot.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pennylane.tape import QuantumScript

from efl_core import _native
from efl_core.calibrations import Calibration, check_basis_contrast, divided
from efl_core.circuits import Circuit
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.pennylane.calling import Found
from efl_core.pennylane.execution import Program, Submission, submit
from efl_core.pennylane.execution.runs import Draw, different_settings
from efl_core.pennylane.execution.tapes import Twirl
from efl_core.pennylane.jobs.seeds import Purpose, Seeds
from efl_core.pennylane.jobs.wanted import parameters_of, shots_of
from efl_core.pennylane.options import Options
from efl_core.pennylane.reports import Report, deliver
from efl_core.pennylane.statistics import Measured, Table, observed
from efl_core.pennylane.tapes.conversion import converted, wire_order
from efl_core.pennylane.tapes.numbers import with_numbers
from efl_core.pennylane.tapes.projectors import WideProjector, read_projectors
from efl_core.propagation import Dropped
from efl_core.snapshots import Snapshots

__all__ = ["Whole", "WholeJob", "read_whole", "whole_job"]

METHOD = "global_clifford"
# The largest variance of a reading of a fidelity.
VALUE_VARIANCE = 3.0


@dataclass(frozen=True, slots=True, eq=False)
class Whole:
    """A tape of projectors, read."""

    tape: QuantumScript
    """With plain numbers."""
    circuit: Circuit
    """Its parameters are those of `by_gates`."""
    by_gates: tuple[int, ...]
    """Trainable parameters of the tape that turn gates."""
    projectors: tuple[WideProjector, ...]
    tangents: tuple[NDArray[np.complex128], ...]
    """Where the target of each projector goes with each parameter of the circuit."""

    @property
    def shape(self) -> tuple[int, int]:
        """Numbers of observables and of trainable parameters."""
        return len(self.projectors), len(self.tape.trainable_params)

    def bounds(self, slopes: Table | None) -> Table:
        """Return bounds of the variance of a shot: by parameters, or by arguments with ``slopes``."""
        weights = np.eye(self.shape[1]) if slopes is None else slopes
        return np.array(
            [
                _bounds(*own, weights[list(self.by_gates)])
                for own in zip(self.projectors, self.tangents, strict=True)
            ]
        )


def _bounds(projector: WideProjector, tangents: NDArray[np.complex128], weights: Table) -> Table:
    moved = weights.T @ tangents
    lengths = np.square(np.abs(moved)).sum(axis=1)
    found = projector.factor**2 * (lengths - np.square(np.abs(moved @ projector.target.conj())))
    return np.where(found > 1e-12 * (1 + lengths), found, 0.0)


@dataclass(frozen=True, slots=True, eq=False)
class WholeFound:
    """What snapshots say of all derivatives; see `Found`."""

    whole: Whole
    snaps: Snapshots
    calibration: Calibration | None
    value: Table
    variance: Table
    values: Table
    """The values of the projectors, and their standard errors."""

    @staticmethod
    def read(whole: Whole, snaps: Snapshots, calibration: Calibration | None) -> "WholeFound":
        """Estimate values and derivatives."""
        value, variance, values = np.zeros(whole.shape), np.zeros(whole.shape), []
        for m, tangents in enumerate(whole.tangents):
            found, stderr = _along(whole, m, snaps, tangents, calibration)
            values.append((found[0], stderr[0]))
            value[m, list(whole.by_gates)] = found[1:]
            variance[m, list(whole.by_gates)] = np.square(stderr[1:])
        return WholeFound(whole, snaps, calibration, value, variance, np.array(values).T)

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return self.snaps.nbytes + sum(tangents.nbytes for tangents in self.whole.tangents)

    def variances(self, weights: Table) -> Table:
        """Return variances of combinations."""
        errors = np.zeros(len(weights))  # of several projectors their sum: never too little
        for m, tangents in enumerate(self.whole.tangents):
            own = weights[:, m][:, list(self.whole.by_gates)]
            moved = np.flatnonzero(own.any(axis=1))
            if len(moved):
                _, stderr = _along(self.whole, m, self.snaps, own[moved] @ tangents, self.calibration)
                errors[moved] += stderr[1:]
        return np.square(errors)


def _along(
    whole: Whole,
    m: int,
    snaps: Snapshots,
    tangents: NDArray[np.complex128],
    calibration: Calibration | None,
) -> tuple[Table, Table]:
    """Return the value of a projector and its derivatives along tangents, and standard errors."""
    projector = whole.projectors[m]
    moved = np.ascontiguousarray(tangents, dtype=np.complex128)
    value, stderr, *_ = _native.fidelity_along(snaps._native, projector.target, moved)
    center = np.zeros(len(value))
    center[0] = 0.5**snaps.n_qubits
    contrast = check_basis_contrast(calibration, snaps.ensemble)
    value, stderr = divided(value, stderr, center, contrast)
    return projector.factor * value, abs(projector.factor) * stderr


@dataclass(frozen=True, slots=True, eq=False)
class WholeJob:
    """The measurement of a gradient of projectors, ready to run."""

    whole: Whole
    options: Options
    device: Found
    draws: tuple[Draw, ...]
    """One for each copy of a shot vector."""
    submission: Submission
    slopes: Table | None

    @property
    def tapes(self) -> list[QuantumScript]:
        """What the device runs."""
        return self.submission.tapes

    def read(self, results: Sequence[Any]) -> Report:
        """Return what was measured, from the results of the tapes; hand it to whom it was asked for."""
        outcomes = self.submission.read(results)
        calibration = self.options.calibration
        own = None if calibration is None else calibration.of(self.whole.circuit.wires)
        copies = tuple(
            WholeFound.read(self.whole, snaps, own) for snaps in outcomes if isinstance(snaps, Snapshots)
        )
        partitioned = bool(self.whole.tape.shots.has_partitioned_shots)
        measured = Measured(tuple((copy,) for copy in copies), self.whole.shape, partitioned)
        squeeze = slice(None) if partitioned else 0
        value, value_stderr = np.array([copy.values for copy in copies]).swapaxes(0, 1)[:, squeeze]
        bounds, shots = self.whole.bounds(self.slopes), sum(draw.shots for draw in self.draws)
        report = Report(
            method=METHOD,
            mode=self.submission.mode,
            found_device=self.device.by,
            shots=shots,
            settings=different_settings(self.draws, outcomes),
            tapes=len(self.submission.tapes),
            gradient=measured.gradient,
            stderr=measured.stderr,
            predicted=math.sqrt(_mean(bounds) * len(self.draws) / shots),
            observed=observed(measured, self.slopes),
            of="parameters" if self.slopes is None else "arguments",
            best=METHOD,
            factor=1.0,
            dropped=Dropped(0, 0.0),
            value=value,
            value_stderr=value_stderr,
            audit=None,
            _measured=measured,
        )
        deliver(report, self.options.report)
        return report


def _mean(bounds: Table) -> float:
    """Return the mean over what is not identically zero."""
    return float(bounds[bounds > 0].mean()) if (bounds > 0).any() else 0.0


def read_whole(tape: QuantumScript, argnum: int | Sequence[int] | None) -> Whole:
    """Read a tape of projectors."""
    by_gates, places = parameters_of(tape, argnum)
    if places:
        raise InvalidInputError(
            "tape: expected a projector without trainable coefficients, got one with; multiply the value of "
            "the QNode instead"
        )
    plain = with_numbers(tape)
    wires = tuple(wire_order(plain))
    gates = plain.copy(measurements=[])
    marked = [plain.trainable_params[t] for t in by_gates]
    circuit, _ = converted(gates, trainable=marked, wires=wires, inputs=True)
    if circuit.n_parameters != len(marked):
        raise InvalidInputError(
            "tape: expected trainable parameters that are numbers, got an array; decompose its operation"
        )
    projectors = tuple(read_projectors(plain.measurements, wires))
    tangents = tuple(_native.tangents(circuit._native, circuit._theta, own.target) for own in projectors)
    return Whole(plain, circuit, by_gates, projectors, tangents)


def whole_job(
    tape: QuantumScript,
    options: Options,
    device: Found,
    *,
    value_target: float | None = None,
    slopes: Table | None = None,
) -> WholeJob:
    """Prepare the measurement of a gradient of projectors, see `gradient_job`; values come with it."""
    _check_options(options)
    totals = shots_of(tape, options)
    whole = read_whole(tape, options.argnum)
    if totals is None:
        assert options.target is not None
        needed = _mean(whole.bounds(slopes)) / options.target**2
        if value_target is not None:
            needed = max(needed, VALUE_VARIANCE / value_target**2)
        totals = (max(2, math.ceil(needed)),) * max(1, int(tape.shots.num_copies))
    calibration = None if options.calibration is None else options.calibration.check(whole.circuit.wires)
    ensemble = options.ensemble
    if ensemble is None:
        ensemble = Ensemble.global_clifford(whole.circuit.n_qubits, twirled=calibration is not None)
    check_basis_contrast(calibration, ensemble)
    final = Program(lambda: whole.tape.operations)
    draws = tuple(Draw(final, ensemble, shots) for shots in totals)
    seeds = Seeds.of_circuit(options.seed, whole.circuit)
    submission = submit(
        draws,
        whole.circuit.wires,
        mode=options.mode,
        seed=seeds.seed(Purpose.OUTCOMES),
        device=device.device,
        max_tapes=options.max_tapes,
        # The bases flip what they read by themselves.
        twirl=None if calibration is None else Twirl(None, 0, calibrated=False, equal=True),
    )
    return WholeJob(whole, options, device, draws, submission, slopes)


def _check_options(options: Options) -> None:
    """Refuse what says nothing of bases of all qubits."""
    given = {
        "method": options.method != "auto",
        "ensemble": options.ensemble is not None and options.ensemble.kind != METHOD,
        "settings_per_step": options.settings_per_step is not None,
        "combine": options.combine != "mean",
        "truncation": options.truncation is not None,
        "noise": options.noise is not None,
        "mitigate": options.mitigate,
        "audit": options.audit is not None,
        "device_options": options.connectivity != "all",
    }
    for name, is_given in given.items():
        if is_given:
            raise InvalidInputError(
                f"{name}: expected its default for a projector on more than four wires, which is measured in "
                "random bases of all qubits (ensemble=efl.Ensemble.global_clifford(n)), got another"
            )
