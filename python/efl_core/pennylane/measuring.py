"""From one tape to the jobs that measure its gradient, and from their outcomes to derivatives with errors.

The values of the tape can be measured along with them. Settings of the final state that are there for the
gradient are read for the values as well; the values get settings of their own where those do not do.

Derivatives by the parameters of gates are measured as the plan says, or by snapshots in an ensemble that was
given. Derivatives by the coefficients of an observable are expectation values of its words on the final
state; they get their share of the shots by their number.

Invariant: a gradient is one batch of tapes, whatever the number of parameters, outputs and copies of a shot
vector.
"""

import math
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeAlias

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import Device, LegacyDeviceFacade
from pennylane.gradients.gradient_transform import choose_trainable_param_indices
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core import _native
from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InvalidInputError
from efl_core.estimates import Combine, estimate
from efl_core.experiments import Experiment
from efl_core.gradients import GradientObservables, gradient_observables
from efl_core.observables import PauliSum
from efl_core.pennylane.conversion import derivative_by_coefficient, from_tape, with_numbers
from efl_core.pennylane.execution import (
    Draw,
    Job,
    Program,
    Run,
    choose_mode,
    gate_operations,
    preparation,
    submit,
)
from efl_core.pennylane.options import Options, check_measurements, shots_of
from efl_core.pennylane.planning import Chosen, choose
from efl_core.pennylane.reports import Report, deliver
from efl_core.pennylane.tracing import described
from efl_core.pennylane.values import Values, equal_piece
from efl_core.plans import Plan, PlanRow
from efl_core.propagation import Dropped
from efl_core.snapshots import Snapshots

__all__ = ["Request", "has_equal_shots", "measurement"]


Table: TypeAlias = NDArray[np.float64]

# Outcomes that one measurement may have, in bits; each takes about three bytes on the way.
MAX_BITS = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class _Part:
    """Jobs, and what adds their outcomes to tables of (measurements, trainable parameters)."""

    jobs: list[Job]
    add: Callable[[Sequence[Any], Table, Table], None]
    spread: Callable[[Sequence[Any], Table], Table]
    """Variances of the derivatives times a matrix (combinations, trainable parameters), by measurement."""


def measurement(
    tape: QuantumScript, options: Options, device: Device | None
) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], Report]]:
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
        self.tape = with_numbers(tape)
        self.options, self.device = options, device
        self.shape = (len(tape.measurements), len(tape.trainable_params))
        n_gates = len(self.tape.operations)
        given = [options.argnum] if isinstance(options.argnum, int) else options.argnum or []
        if any(t >= self.shape[1] for t in given):
            raise InvalidInputError(f"argnum: expected numbers below {self.shape[1]}, got {options.argnum}")
        chosen = choose_trainable_param_indices(self.tape, options.argnum)
        places = {t: self.tape.get_operation(t) for t in chosen}
        self.by_gates = [t for t, (_, which, _) in places.items() if which < n_gates]
        self.by_words = {
            t: (which - n_gates, place)
            for t, (op, which, place) in places.items()
            if which >= n_gates and self._is_coefficient(op, place, t, tape)
        }
        marked = [self.tape.trainable_params[t] for t in self.by_gates]
        self.circuit = from_tape(self.tape.copy(trainable_params=marked), inputs=True)
        if self.circuit.n_parameters != len(marked):
            raise InvalidInputError(
                "tape: expected trainable parameters that are numbers, got an array; decompose its operation"
            )
        self.final = Program(self.tape.operations)
        self.dropped = Dropped(0, 0.0)
        self.piece: int | None = None
        self.seeds = np.random.SeedSequence(self._entropy())

        self.chosen: Chosen | None = None
        self.values = Values(self.circuit.observables, value_target) if values else None
        self.shots = self._shots()
        for_values = [0] * len(self.shots)
        if self.values is not None:
            self.shots, for_values = self._share(self.values)
        if sum(self.shots) * self.circuit.n_qubits > MAX_BITS:
            most = MAX_BITS // self.circuit.n_qubits
            raise InvalidInputError(
                f"shots: expected at most {most:,} in one measurement, which is held in memory, got "
                f"{sum(self.shots):,}; average several, or ask for a larger target"
            )
        self.parts = [self._parts(shots) for shots in self.shots]
        self.own = [self._own_runs(count) for count in for_values]

    @staticmethod
    def _is_coefficient(observable: Operator, place: int, t: int, tape: QuantumScript) -> bool:
        """Say whether a parameter of an observable is a number; PennyLane marks constant matrices as well."""
        if np.ndim(observable.data[place]) == 0:
            return True
        if qml.math.requires_grad(tape.get_parameters()[t]):
            raise InvalidInputError(
                "tape: expected trainable parameters that are angles or coefficients, got one of "
                f"{described(observable)}; leave it out of tape.trainable_params (requires_grad=False)"
            )
        return False

    def _entropy(self) -> list[int] | None:
        """Return what random numbers depend on: the seed, and all that tells two tapes of a circuit apart."""
        if self.options.seed is None:
            return None
        bloch = np.zeros(0) if self.circuit.bloch is None else self.circuit.bloch.ravel()
        numbers = np.concatenate([self.circuit._theta, bloch]).view(np.uint32)
        return [self.options.seed, *(int(number) for number in numbers)]

    @property
    def _most_tapes(self) -> float:
        """The longest batch, for one copy of a shot vector and without settings of the values' own."""
        own = 0 if self.values is None else self.values.n_settings
        copies = max(1, int(self.tape.shots.num_copies))
        return max(1.0, self.options.max_tapes / copies - own)

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
        if self.by_gates and options.ensemble is None:
            self.chosen = choose(
                self.circuit,
                options.method,
                shots=math.inf if shots is None else min(shots),
                max_tapes=self._most_tapes,
                connectivity=options.connectivity,
                value_weight=0.0 if self.values is None else 1 / len(self.by_gates),
            )
            if shots is None and options.target is not None:
                row = self.chosen.row
                shots = [max(int(np.ceil(row.cost / options.target**2)), row.settings or 1)] * copies
        if shots is None:
            raise InvalidInputError(
                "target: expected trainable gates, whose errors are planned, got none; write shots= instead"
            )
        return shots

    def _share(self, values: Values) -> tuple[list[int], list[int]]:
        """Return the shots of the gradient and those of the values' own settings, copy by copy."""
        free = np.inf  # the variance of one shot of the gradient, where that reads the values as well
        cost = values.cost
        if self.chosen is not None:
            row = self.chosen.row
            cost = row.cost
            if row.served and row.settings is not None and cost > 0:
                free = values.cost_in(self.chosen.plan.ensemble(row.name))
        if values.target is not None:
            return self.shots, [values.missing(shots, free) for shots in self.shots]
        own = [values.part(shots, cost, free) for shots in self.shots]
        return [shots - count for shots, count in zip(self.shots, own, strict=True)], own

    def _own_runs(self, shots: int) -> list[Run]:
        """Return the settings of the values alone."""
        if self.values is None or not shots:
            return []
        piece = self._piece((shots, self.values.n_settings))
        return self.values.runs(self.final, shots, self._seed(), piece)

    def _piece(self, *parts: tuple[int, int]) -> int:
        """Return the shots of one tape, where all have the same; 1 where a tape has any number.

        The first to ask says how many shots the parts of the measurement have, and in how many settings.
        """
        if self.piece is None:
            equal = has_equal_shots(self.options, self.device)
            total, settings = (sum(numbers) for numbers in zip(*parts, strict=True))
            shortest = math.ceil(total / self._most_tapes)
            if total // max(1, shortest) < settings:  # rounded up, it would leave too few for all settings
                shortest -= 1
            self.piece = max(shortest, min(equal_piece(*part) for part in parts)) if equal else 1
        return self.piece

    def _parts(self, shots: int) -> list[_Part]:
        parts = []
        if self.by_words:
            count = len(self.by_words)
            part, used = self._words(shots, max(1, shots * count // (count + len(self.by_gates))))
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
        elif self.chosen is not None and self.chosen.row.cost > 0:
            parts.append(self._designed(self.chosen.plan, self.chosen.row, shots))
        return parts

    def _designed(self, plan: Plan, method: PlanRow, shots: int) -> _Part:
        if method.settings is None:
            observables = GradientObservables(plan._native.observables, self.circuit, single=False, made=None)
            return self._snapshots(observables, plan.ensemble(method.name), shots)
        # Pieces of equal shots: an experiment with c of them is c tapes.
        size = self._piece((shots, method.settings))
        count = int(min(shots // size, self._most_tapes)) if size > 1 else shots
        allocated = plan.allocate(count, method.name, seed=self._seed())
        jobs: list[Job] = []
        ends = []
        known: dict[Hashable, Operator] = {}
        prepared = preparation(self.tape, self.circuit.bloch, self.circuit.wires)

        def written(experiment: Experiment) -> list[Operator]:
            return [*prepared, *gate_operations(experiment.gates(), self.circuit.wires, known)]

        for experiment, count in allocated:
            other = Program(partial(written, experiment), experiment, self.circuit)
            program = self.final if experiment.served else other
            pieces = [size] * count if size > 1 else [count]
            jobs += [Run(program, experiment.setting, piece) for piece in pieces]
            ends.append(len(jobs))

        def measured(outcomes: Sequence[Any]) -> list[tuple[Experiment, NDArray[np.uint8]]]:
            if size == 1:
                return [(experiment, bits) for (experiment, _), bits in zip(allocated, outcomes, strict=True)]
            parts = zip(allocated, [0, *ends], ends, strict=False)
            return [(experiment, np.concatenate(outcomes[a:b])) for (experiment, _), a, b in parts]

        shape = (self.shape[0], len(self.by_gates))

        def add(outcomes: Sequence[Any], values: Table, variances: Table) -> None:
            runs = [(experiment._native, bits) for experiment, bits in measured(outcomes)]
            means, spreads = _native.read_together(runs, shape[0] * shape[1])
            values[:, self.by_gates] += means.reshape(shape)
            variances[:, self.by_gates] += spreads.reshape(shape)

        def spread(outcomes: Sequence[Any], weights: Table) -> Table:
            variances = np.zeros((self.shape[0], len(weights)))
            for experiment, bits in measured(outcomes):
                rows = np.array(experiment.derivatives, dtype=np.intp).reshape(-1, 2)
                m, t = rows[:, 0], np.array(self.by_gates)[rows[:, 1]]
                for own in np.unique(m):
                    combined = experiment._native.combined(np.where(m == own, weights[:, t], 0.0))
                    variances[own, combined.rows] += combined.read(bits)[1] / len(bits)
            return variances

        return _Part(jobs, add, spread)

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

        def spread(outcomes: Sequence[Any], weights: Table) -> Table:
            return _spread_of_sums(outcomes[0], sums, place, weights, self.shape[0], self.options.combine)

        self.dropped = observables.dropped
        return _Part([Draw(self.final, ensemble, shots)], add, spread)

    def _words(self, total: int, shots: int) -> tuple[_Part, int]:
        """Measure what coefficients multiply by some of all shots; return their number as well."""
        sums = [
            derivative_by_coefficient(self.tape.measurements[m].obs, place, self.circuit)
            for m, place in self.by_words.values()
        ]
        labels = _product_settings(sums, self.circuit.n_qubits)
        settings = self.chosen.row.settings if self.chosen is not None else None
        parts = [(shots, len(labels)), *([(total - shots, settings)] if settings else [])]
        size = self._piece(*parts)
        pieces = max(1, shots // (size * len(labels)))
        each = pieces * size
        ensemble = Ensemble.settings(labels)

        place = (np.array([m for m, _ in self.by_words.values()]), np.array(list(self.by_words)))
        order = np.repeat(np.arange(len(labels), dtype=np.uint32), each)

        def packed(outcomes: Sequence[Any]) -> Snapshots:
            return Snapshots.from_settings(np.concatenate(outcomes), order, ensemble=ensemble)

        def add(outcomes: Sequence[Any], values: Table, variances: Table) -> None:
            found = estimate(packed(outcomes), sums, combine="hit_normalised")
            values[place] += found.value
            variances[place] += np.square(found.stderr)

        def spread(outcomes: Sequence[Any], weights: Table) -> Table:
            snaps = packed(outcomes)
            return _spread_of_sums(snaps, sums, place, weights, self.shape[0], "hit_normalised")

        sizes = [size] * pieces if size > 1 else [each]
        jobs: list[Job] = [Run(self.final, Setting(label), n) for label in labels for n in sizes]
        return _Part(jobs, add, spread), each * len(labels)

    def submit(self) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], Report]]:
        """Return the tapes, and the function from their results to what was measured."""
        jobs = [job for parts in self.parts for part in parts for job in part.jobs]
        jobs += [run for own in self.own for run in own]
        mode = self.options.mode
        if mode is None:
            mode = choose_mode(self.device, jobs, self.circuit.n_qubits)
        tapes, outcomes_of = submit(
            jobs, self.circuit.wires, mode=mode, seed=self._seed(), device=self.device
        )
        if len(tapes) > self.options.max_tapes:
            raise InvalidInputError(
                f"device_settings: expected at most {self.options.max_tapes} tapes, got {len(tapes)}"
            )
        self.mode, self.jobs, self.tapes = mode, jobs, len(tapes)
        return tapes, lambda results: self._report(outcomes_of(results))

    def _report(self, outcomes: Sequence[Any]) -> Report:
        values = np.zeros((len(self.parts), *self.shape))
        variances = np.zeros_like(values)
        for copy, part, own in self._by_part(outcomes):
            part.add(own, values[copy], variances[copy])
        stderr = np.sqrt(variances)
        value, value_stderr = self._values(outcomes)
        moving = stderr[stderr > 0]
        name = "words" if self.options.ensemble is None else self.options.ensemble.kind
        best, factor, predicted = name, 1.0, 0.0
        if self.chosen is not None:
            name, best, factor = self.chosen.row.name, self.chosen.best, self.chosen.factor
            shots = max(1.0, float(np.mean(self.shots)))  # none, where no derivative takes any
            predicted = float(np.sqrt(self.chosen.row.cost / shots))
        squeeze = slice(None) if self.tape.shots.has_partitioned_shots else 0
        report = Report(
            method=name,
            mode=self.mode,
            shots=sum(job.shots for job in self.jobs),
            settings=len(self.jobs),
            tapes=self.tapes,
            gradient=values[squeeze],
            stderr=stderr[squeeze],
            predicted=predicted,
            observed=float(np.sqrt(np.mean(np.square(moving)))) if moving.size else 0.0,
            best=best,
            factor=factor,
            dropped=self.dropped,
            value=value[squeeze] if value.size else value,
            value_stderr=value_stderr[squeeze] if value.size else value_stderr,
            _errors=lambda weights: self._errors(outcomes, weights)[squeeze],
        )
        deliver(report, self.options.report)
        return report

    def _values(self, outcomes: Sequence[Any]) -> tuple[Table, Table]:
        """Return values and standard errors, of shape (copies, measurements); empty if not wanted."""
        found: list[list[tuple[Setting, NDArray[np.uint8]]]] = [[] for _ in self.parts]
        for copy, part, bits in self._by_part(outcomes):
            jobs = zip(part.jobs, bits, strict=True)
            found[copy] += [
                (job.setting, own) for job, own in jobs if isinstance(job, Run) and job.program is self.final
            ]
        end = len(outcomes) - sum(map(len, self.own))
        for copy, runs in enumerate(self.own):
            start, end = end, end + len(runs)
            found[copy] += [(run.setting, own) for run, own in zip(runs, outcomes[start:end], strict=True)]
        read = [] if self.values is None else [self.values.read(measured) for measured in found]
        return np.array([value for value, _ in read]), np.array([error for _, error in read])

    def _errors(self, outcomes: Sequence[Any], weights: Table) -> Table:
        """Return standard errors of combinations, of shape (copies, measurements, combinations)."""
        variances = np.zeros((len(self.parts), self.shape[0], len(weights)))
        for copy, part, own in self._by_part(outcomes):
            variances[copy] += part.spread(own, weights)
        return np.sqrt(variances)

    def _by_part(self, outcomes: Sequence[Any]) -> Iterator[tuple[int, _Part, Sequence[Any]]]:
        start = 0
        for copy, parts in enumerate(self.parts):
            for part in parts:
                end = start + len(part.jobs)
                yield copy, part, outcomes[start:end]
                start = end


def _spread_of_sums(
    snaps: Snapshots,
    sums: Sequence[PauliSum],
    place: tuple[NDArray[np.int64], NDArray[np.int64]],
    weights: Table,
    n_measurements: int,
    combine: Combine,
) -> Table:
    """Return the variances of combinations of sums that were estimated from the same snapshots."""
    variances = np.zeros((n_measurements, len(weights)))
    for m in np.unique(place[0]):
        own = [(total, t) for total, row, t in zip(sums, *place, strict=True) if row == m]
        wanted = [c for c in range(len(weights)) if any(weights[c, t] for _, t in own)]
        if wanted:
            combined = [sum((total * weights[c, t] for total, t in own), 0 * own[0][0]) for c in wanted]
            variances[m, wanted] = np.square(estimate(snaps, combined, combine=combine).stderr)
    return variances


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
