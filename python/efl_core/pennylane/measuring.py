"""From one tape to the jobs that measure its gradient, and from their outcomes to derivatives with errors.

The values of the tape can be measured along with them. Settings of the final state that are there for the
gradient are read for the values as well; the values get settings of their own where those do not do.

Derivatives by the parameters of gates are measured as the plan says, or by snapshots in an ensemble that was
given. Derivatives by the coefficients of an observable are expectation values of its words on the final
state; they get their share of the shots by their number.

Invariant: a gradient is one batch of tapes, whatever the number of parameters, outputs and copies of a shot
vector.
"""

import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import Device, LegacyDeviceFacade
from pennylane.gradients.gradient_transform import choose_trainable_param_indices
from pennylane.tape import QuantumScript

from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InvalidInputError
from efl_core.estimates import estimate
from efl_core.gradients import Dropped, GradientObservables, gradient_observables
from efl_core.observables import PauliSum
from efl_core.pennylane.conversion import derivative_by_coefficient, from_tape
from efl_core.pennylane.execution import Draw, Job, Run, choose_mode, gate_operations, preparation, submit
from efl_core.pennylane.options import Options, check_measurements, shots_of
from efl_core.pennylane.planning import choose, planned
from efl_core.pennylane.reports import Report, deliver
from efl_core.pennylane.values import Values, equal_piece
from efl_core.plans import Plan, PlanRow
from efl_core.snapshots import Snapshots

__all__ = ["Measured", "Request", "has_equal_shots", "measurement"]

# What a forced method may cost, in shots of the best, before there is a warning.
LOSING = 2.0

Table: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A gradient with errors, both of shape (copies, measurements, trainable parameters)."""

    gradient: Table
    stderr: Table
    value: Table
    """Of shape (copies, measurements); empty if the values were not asked for."""
    value_stderr: Table


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Jobs, and what adds their outcomes to tables of (measurements, trainable parameters)."""

    jobs: list[Job]
    add: Callable[[Sequence[Any], Table, Table], None]


def measurement(
    tape: QuantumScript, options: Options, device: Device | None
) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], Measured]]:
    """Return the tapes that measure the gradient of a tape, and the function from their results to it."""
    check_measurements(tape)
    return Request(tape, options, device if options.device is None else options.device).submit()


class Request:
    """The measurement of the gradient of one tape, and of its values on demand.

    The values are to have the error ``value_target``; without one they share the shots of the gradient.
    """

    def __init__(
        self,
        tape: QuantumScript,
        options: Options,
        device: Device | None,
        *,
        values: bool = False,
        value_target: float | None = None,
    ) -> None:
        [self.tape], _ = qml.transforms.convert_to_numpy_parameters(tape)
        self.options, self.device = options, device
        self.shape = (len(tape.measurements), len(tape.trainable_params))
        n_gates = len(self.tape.operations)
        chosen = choose_trainable_param_indices(self.tape, options.argnum)
        places = {t: self.tape.get_operation(t) for t in chosen}
        self.by_gates = [t for t, (_, which, _) in places.items() if which < n_gates]
        self.by_words = {
            t: (which - n_gates, place) for t, (_, which, place) in places.items() if which >= n_gates
        }
        marked = [self.tape.trainable_params[t] for t in self.by_gates]
        self.circuit = from_tape(self.tape.copy(trainable_params=marked))
        if self.circuit.n_parameters != len(marked):
            raise InvalidInputError(
                "tape: expected trainable parameters that are numbers, got an array; decompose its operation"
            )
        self.operations = self.tape.operations
        self.dropped = Dropped(0, 0.0)
        self.piece: int | None = None
        theta = self.circuit.parameters
        entropy = None if options.seed is None else [options.seed, *np.frombuffer(theta.tobytes(), np.uint32)]
        self.seeds = np.random.SeedSequence(entropy)

        self.plan: Plan | None = None
        self.method: PlanRow | None = None
        if self.by_gates and options.ensemble is None:
            weight = 1 / len(self.by_gates) if values else 0.0
            self.plan = planned(self.circuit, options.connectivity, weight)
        self.values = Values(self.circuit.observables, value_target) if values else None
        self.shots = self._shots()
        for_values = [0] * len(self.shots)
        if self.values is not None:
            self.shots, for_values = self._share(self.values)
        self.parts = [self._parts(shots) for shots in self.shots]
        self.own = [self._own_runs(count) for count in for_values]

    def _seed(self) -> int:
        return int(self.seeds.spawn(1)[0].generate_state(1, np.uint64)[0])

    def _shots(self) -> list[int]:
        """Return the shots of every copy of a shot vector, and choose the method."""
        options, copies = self.options, max(1, self.tape.shots.num_copies)
        shots = None
        if options.shots is not None:
            shots = [options.shots] * copies
        elif options.target is None:
            shots = shots_of(self.tape)
        if self.plan is not None:
            most = min([options.max_tapes, *(shots or [])])
            self.method = choose(self.plan, options.method, most)
            self._warn_if_losing(self.plan.best, self.method)
            if shots is None and options.target is not None:
                needed = int(np.ceil(self.method.cost / options.target**2))
                shots = [max(needed, self.method.settings or 1)] * copies
        if shots is None:
            raise InvalidInputError(
                "target: expected trainable gates, whose errors are planned, got none; write shots= instead"
            )
        return shots

    def _share(self, values: Values) -> tuple[list[int], list[int]]:
        """Return the shots of the gradient and those of the values' own settings, copy by copy."""
        free = np.inf  # the variance of one shot of the gradient, where that reads the values as well
        cost = values.cost
        if self.plan is not None and self.method is not None:
            cost = self.method.cost
            if self.method.served and self.method.settings is not None and cost > 0:
                free = values.cost_in(self.plan.ensemble(self.method.name))
        if values.target is not None:
            return self.shots, [values.missing(shots, free) for shots in self.shots]
        own = [values.part(shots, cost, free) for shots in self.shots]
        return [shots - count for shots, count in zip(self.shots, own, strict=True)], own

    def _own_runs(self, shots: int) -> list[Run]:
        """Return the settings of the values alone."""
        if self.values is None or not shots:
            return []
        piece = self._piece(shots, self.values.n_settings)
        return self.values.runs(self.operations, shots, self._seed(), piece)

    def _piece(self, shots: int, settings: int) -> int:
        """Return the shots of one tape, where all have the same; 1 where a tape has any number."""
        if self.piece is None:
            self.piece = equal_piece(shots, settings) if has_equal_shots(self.options, self.device) else 1
        return self.piece

    def _warn_if_losing(self, best: PlanRow, method: PlanRow) -> None:
        if method.cost > LOSING * best.cost > 0 and self.options.method != "auto":
            warnings.warn(
                f"method {method.name!r} needs {method.cost / best.cost:.1f} times more shots than "
                f"{best.name!r} for this circuit (variance of one shot {method.cost:.3g}, against "
                f"{best.cost:.3g})",
                UserWarning,
                stacklevel=2,
            )

    def _parts(self, shots: int) -> list[_Part]:
        parts = []
        if self.by_words:
            count = len(self.by_words)
            part, used = self._words(max(1, shots * count // (count + len(self.by_gates))))
            parts.append(part)
            shots -= used
        if self.by_gates and shots < 1:
            raise InvalidInputError(
                f"shots: expected more, as coefficients alone take {used}, got {shots + used}"
            )
        if self.options.ensemble is not None and self.by_gates:
            observables = gradient_observables(
                self.circuit, list(self.circuit.observables), truncation=self.options.truncation
            )
            parts.append(self._snapshots(observables, self.options.ensemble, shots))
        elif self.plan is not None and self.method is not None and self.method.cost > 0:
            parts.append(self._designed(self.plan, self.method, shots))
        return parts

    def _designed(self, plan: Plan, method: PlanRow, shots: int) -> _Part:
        if method.settings is None:
            observables = GradientObservables(plan._native.observables, self.circuit, single=False, made=None)
            return self._snapshots(observables, plan.ensemble(method.name), shots)
        # Pieces of equal shots: an experiment with c of them is c tapes.
        size = self._piece(shots, method.settings)
        allocated = plan.allocate(shots // size, method.name, seed=self._seed())
        jobs: list[Job] = []
        owners = []
        prepared = preparation(self.tape, self.circuit.bloch, self.circuit.wires)
        for i, (experiment, count) in enumerate(allocated):
            operations = self.operations
            if not experiment.served:
                written = gate_operations(experiment.gates(), self.circuit.wires)
                operations = [*prepared, *written]
            pieces = [size] * count if size > 1 else [count]
            jobs += [Run(operations, experiment.setting, piece) for piece in pieces]
            owners += [i] * len(pieces)

        def add(outcomes: Sequence[Any], values: Table, variances: Table) -> None:
            for i, (experiment, _) in enumerate(allocated):
                bits = np.concatenate([o for o, owner in zip(outcomes, owners, strict=True) if owner == i])
                means, spread = experiment.read(bits)
                m, k = np.transpose(experiment.derivatives)
                place = (m, np.array(self.by_gates)[k])
                values[place] += means
                variances[place] += spread / len(bits)

        return _Part(jobs, add)

    def _snapshots(self, observables: GradientObservables, ensemble: Ensemble, shots: int) -> _Part:
        # Derivatives only: an ensemble that was designed for them may never reveal the value.
        moving = np.argwhere(~observables.is_zero.reshape(self.shape[0], -1))
        sums = [observables.derivative(m, k) for m, k in moving]
        place = (moving[:, 0], np.array(self.by_gates)[moving[:, 1]])

        def add(outcomes: Sequence[Any], values: Table, variances: Table) -> None:
            [snaps] = outcomes
            if sums:
                found = estimate(snaps, sums, combine=self.options.combine)
                values[place] += found.value
                variances[place] += np.square(found.stderr)

        self.dropped = observables.dropped
        return _Part([Draw(self.operations, ensemble, shots)], add)

    def _words(self, shots: int) -> tuple[_Part, int]:
        """Measure what coefficients multiply; return the number of shots as well."""
        sums = [
            derivative_by_coefficient(self.tape.measurements[m].obs, place, self.circuit)
            for m, place in self.by_words.values()
        ]
        labels = _product_settings(sums, self.circuit.n_qubits)
        each = max(1, shots // len(labels))
        ensemble = Ensemble.settings(labels)

        def add(outcomes: Sequence[Any], values: Table, variances: Table) -> None:
            order = np.repeat(np.arange(len(labels), dtype=np.uint32), each)
            snaps = Snapshots.from_settings(np.concatenate(outcomes), order, ensemble=ensemble)
            found = estimate(snaps, sums, combine="hit_normalised")
            place = ([m for m, _ in self.by_words.values()], list(self.by_words))
            values[place] += found.value
            variances[place] += np.square(found.stderr)

        return _Part([Run(self.operations, Setting(label), each) for label in labels], add), each * len(
            labels
        )

    def submit(self) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], Measured]]:
        """Return the tapes, and the function from their results to what was measured."""
        jobs: list[Job] = []
        for parts, own in zip(self.parts, self.own, strict=True):
            jobs += [job for part in parts for job in part.jobs]
            jobs += own
        mode = self.options.mode
        if mode is None:
            n_circuits = len({id(job.operations) for job in jobs})
            mode = choose_mode(self.device, n_circuits, self.circuit.n_qubits)
        tapes, outcomes_of = submit(
            jobs, self.circuit.wires, mode=mode, seed=self._seed(), device=self.device
        )
        if len(tapes) > self.options.max_tapes:
            raise InvalidInputError(
                f"device_settings: expected at most {self.options.max_tapes} tapes, got {len(tapes)}"
            )
        self.mode, self.jobs, self.tapes = mode, jobs, len(tapes)
        return tapes, lambda results: self._measured(outcomes_of(results))

    def _measured(self, outcomes: Sequence[Any]) -> Measured:
        values = np.zeros((len(self.parts), *self.shape))
        variances = np.zeros_like(values)
        found = []
        end = 0
        for copy, (parts, own) in enumerate(zip(self.parts, self.own, strict=True)):
            first = end
            for part in parts:
                start, end = end, end + len(part.jobs)
                part.add(outcomes[start:end], values[copy], variances[copy])
            end += len(own)
            if self.values is not None:
                found.append(self.values.read(self._of_final_state(outcomes, range(first, end))))
        measured = Measured(
            values,
            np.sqrt(variances),
            np.array([value for value, _ in found]),
            np.array([error for _, error in found]),
        )
        deliver(self._report(measured), self.options.report)
        return measured

    def _of_final_state(
        self, outcomes: Sequence[Any], places: Iterable[int]
    ) -> list[tuple[Setting, NDArray[np.uint8]]]:
        jobs = [(self.jobs[i], outcomes[i]) for i in places]
        return [
            (job.setting, bits)
            for job, bits in jobs
            if isinstance(job, Run) and job.operations is self.operations
        ]

    def _report(self, measured: Measured) -> Report:
        gates = measured.stderr[:, :, self.by_gates]
        predicted = observed = 0.0
        best = name = "words" if self.options.ensemble is None else self.options.ensemble.kind
        factor = 1.0
        if self.plan is not None and self.method is not None:
            best, name = self.plan.best.name, self.method.name
            factor = self.method.cost / self.plan.best.cost if self.plan.best.cost > 0 else 1.0
            predicted = float(np.sqrt(self.method.cost / np.mean(self.shots)))
        moving = gates[gates > 0]
        if moving.size:
            observed = float(np.sqrt(np.mean(np.square(moving))))
        squeeze = 0 if len(self.parts) == 1 else slice(None)
        return Report(
            method=name,
            mode=self.mode,
            shots=sum(job.shots for job in self.jobs),
            settings=len(self.jobs),
            tapes=self.tapes,
            gradient=measured.gradient[squeeze],
            stderr=measured.stderr[squeeze],
            predicted=predicted,
            observed=observed,
            best=best,
            factor=factor,
            dropped=self.dropped,
        )


def has_equal_shots(options: Options, device: Device | None) -> bool:
    """Whether all tapes of a batch are to have the same shots."""
    if options.equal_shots is not None:
        return options.equal_shots
    # Devices of the former interface batch tapes of equal shots only.
    return options.mode == "broadcast" or isinstance(device, LegacyDeviceFacade)


def _product_settings(sums: Iterable[PauliSum], n_qubits: int) -> list[str]:
    """Return product settings that reveal all words, each word in the first one that it fits in."""
    words = sorted({word.label for total in sums for word in total.words}, key=lambda s: (s.count("I"), s))
    settings: list[list[str]] = []
    for word in words:
        for setting in settings:
            if all(a in ("I", b) or b == "I" for a, b in zip(word, setting, strict=True)):
                setting[:] = [b if a == "I" else a for a, b in zip(word, setting, strict=True)]
                break
        else:
            settings.append(list(word))
    return ["".join(setting).replace("I", "Z") for setting in settings] or ["Z" * n_qubits]
