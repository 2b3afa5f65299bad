"""Derivatives of projectors by parameter-shift: how often the state of a shifted circuit is the target.

The rule for each parameter is that of the frequencies of its operation, as PennyLane knows them: two circuits
for a rotation, four for one that is controlled. Basis states are read from the same shots; any other target
has shots of its own.

Invariant: every circuit has two shots or more, so that each has a spread of its own; what all agree on has an
error all the same.
Cost: two circuits or four for each parameter and readout; a shot is n bits.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.circuits import Circuit
from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution import Job, Program, Question, Run
from efl_core.pennylane.execution.runs import Bits
from efl_core.pennylane.jobs.whole import Whole
from efl_core.pennylane.statistics import Table
from efl_core.pennylane.tapes.projectors import WideProjector
from efl_core.pennylane.tapes.tracing import bound, described

__all__ = ["Hits", "HitsPart", "Shift", "hits_of"]

FEWEST = 2  # shots of a circuit


@dataclass(frozen=True, slots=True)
class Shift:
    """A circuit with one parameter elsewhere; without a parameter it is that of the tape."""

    parameter: int | None
    """Of the circuit."""
    angle: float
    coefficient: float
    """What the value there adds to the derivative."""


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """Projectors that the same shots tell of."""

    terms: tuple[WideProjector, ...]
    factors: Table
    """What each adds to the observables, shape ``(observables, terms)``."""

    @property
    def are_exclusive(self) -> bool:
        """Whether a state is found in one of the targets at most."""
        return len({own.qubits for own in self.terms}) == 1

    def spread(self, weights: Table) -> Table:
        """Return by how much combinations of the terms, a row each, differ between two shots at most."""
        if self.are_exclusive:  # a state is found in one of them, or in none
            weights = np.concatenate([weights, np.zeros((len(weights), 1))], axis=1)
            found: Table = np.ptp(weights, axis=1)
        else:
            found = np.abs(weights).sum(axis=1)
        return found

    def variances(self, state: NDArray[np.complex128] | None) -> Table:
        """Return the variances of a shot of the observables on a state; at most, where none is known."""
        if state is None:
            return np.square(self.spread(self.factors)) / 4
        chances = np.clip([own.chance(state) for own in self.terms], 0, 1)
        if self.are_exclusive:
            found: Table = np.square(self.factors) @ chances - np.square(self.factors @ chances)
        else:
            found = np.square(np.abs(self.factors) @ np.sqrt(chances * (1 - chances)))
        return np.maximum(0.0, found)

    def job(self, program: Program, n_qubits: int, shots: int) -> Job:
        """Return the run that answers."""
        if self.terms[0].bits is None:
            [term] = self.terms
            return Question(program, term, shots)
        return Run(program, Setting.from_gates(n_qubits, []), shots)

    def answers(self, bits: Bits) -> Table:
        """Return ones and zeros, a column for each term."""
        if self.terms[0].bits is None:
            return bits.astype(np.float64)
        found = [(bits[:, list(own.qubits)] == own.bits).all(axis=1) for own in self.terms]
        return np.array(found, dtype=np.float64).T


@dataclass(frozen=True, slots=True, eq=False)
class Hits:
    """Parameter-shift of projectors: what is run, and what each circuit counts."""

    whole: Whole
    shifts: tuple[Shift, ...]
    readouts: tuple[Readout, ...]

    def spreads(self, *, at_state: bool) -> Table:
        """Return the variances of a shot of each circuit and readout: at the state, or at most.

        Shape ``(shifts, readouts, observables)``.
        """
        states = (self.whole.state(*self._shifted(shift)) if at_state else None for shift in self.shifts)
        found = [[readout.variances(state) for readout in self.readouts] for state in states]
        return np.array(found).reshape(len(self.shifts), len(self.readouts), self.whole.shape[0])

    def value_spreads(self, state: NDArray[np.complex128] | None) -> Table:
        """Return the same for the values, shape ``(readouts, observables)``."""
        return np.array([readout.variances(state) for readout in self.readouts])

    def _shifted(self, shift: Shift) -> tuple[Circuit, Callable[[], list[Operator]]]:
        """Return a circuit, as it is simulated here and as a device runs it."""
        theta = np.array(self.whole.circuit.parameters)
        if shift.parameter is not None:
            theta[shift.parameter] += shift.angle
        return self.whole.circuit.at(theta), partial(_operations, self.whole.tape, self.whole.by_gates, shift)

    def part(self, deviations: Table, shots: int, values: int, final: Program, *, equal: bool) -> "HitsPart":
        """Share shots where they help most, and ``values`` more for the values; or all circuits alike."""
        needed, n_values = deviations > 0, len(self.readouts) if values else 0
        if equal:
            n_needed = int(needed.sum())
            piece = (shots + values) // max(1, n_needed + n_values)
            shots, values = piece * n_needed, piece * n_values
            deviations = needed.astype(np.float64)
        own, jobs, counts = [], [], np.zeros_like(deviations)
        counts[needed] = _shared(deviations[needed], shots)
        programs: dict[int, Program] = {}
        for e, g in np.argwhere(counts > 0):
            shift, readout = self.shifts[e], self.readouts[g]
            if e not in programs:
                circuit, write = self._shifted(shift)
                programs[e] = Program(write, circuit=circuit)
            own.append((shift, readout))
            jobs.append(readout.job(programs[e], self.whole.n_qubits, int(counts[e, g])))
        for readout, count in zip(self.readouts[:n_values], _shared(np.ones(n_values), values), strict=True):
            own.append((Shift(None, 0.0, 1.0), readout))
            jobs.append(readout.job(final, self.whole.n_qubits, int(count)))
        return HitsPart(self.whole, tuple(own), tuple(jobs), counts)


def hits_of(whole: Whole) -> Hits:
    """Return the parameter-shift of projectors, or say why there is none."""
    shifts = []
    for k, t in enumerate(whole.by_gates):
        operation, _, place = whole.tape.get_operation(t)
        try:
            rule = qml.gradients.generate_shift_rule(operation.parameter_frequencies[place])
        except (qml.exceptions.OperatorPropertyUndefined, ValueError, IndexError) as error:
            raise InvalidInputError(
                "tape: expected trained operations that PennyLane has a shift rule for, got "
                f"{described(operation)}; write it as rotations"
            ) from error
        shifts += [Shift(k, float(angle), float(coefficient)) for coefficient, angle in rule]
    return Hits(whole, tuple(shifts), tuple(_readouts(whole.sums)))


def _readouts(sums: Sequence[Sequence[WideProjector]]) -> list[Readout]:
    """Gather the projectors that are read from the same shots."""
    flat = [(m, own) for m, terms in enumerate(sums) for own in terms]
    groups: list[list[tuple[int, WideProjector]]] = [[own] for own in flat if own[1].bits is None]
    basis = [own for own in flat if own[1].bits is not None]
    found = []
    for group in [*groups, *([basis] if basis else [])]:
        factors = np.zeros((len(sums), len(group)))
        for place, (m, own) in enumerate(group):
            factors[m, place] = own.factor
        found.append(Readout(tuple(own for _, own in group), factors))
    return found


def _operations(tape: QuantumScript, by_gates: Sequence[int], shift: Shift) -> list[Operator]:
    """Return the operations of a tape, one of them at a shifted parameter."""
    operations = list(tape.operations)
    if shift.parameter is not None:
        operation, which, place = tape.get_operation(by_gates[shift.parameter])
        data = list(operation.data)
        data[place] = data[place] + shift.angle
        operations[which] = bound(operation, data)
    return operations


def _shared(deviations: Table, shots: int) -> NDArray[np.intp]:
    """Return shots in proportion to deviations, two at least each."""
    count = len(deviations)
    if not count or not shots:
        return np.zeros(count, dtype=np.intp)
    if shots < FEWEST * count:
        raise InvalidInputError(
            f"shots: expected at least {FEWEST * count}, {FEWEST} for each circuit of parameter-shift, got "
            f"{shots}"
        )
    exact = FEWEST + (shots - FEWEST * count) * deviations / deviations.sum()
    found: NDArray[np.intp] = np.floor(exact).astype(np.intp)
    last = np.argsort(found - exact, kind="stable")[: shots - int(found.sum())]
    found[last] += 1
    return found


@dataclass(frozen=True, slots=True, eq=False)
class HitsPart:
    """Circuits of parameter-shift with their shots."""

    whole: Whole
    own: tuple[tuple[Shift, Readout], ...]
    """The circuit and the readout of each job."""
    jobs: tuple[Job, ...]
    """What is to be run."""
    counts: Table
    """Shots by shift and readout."""

    def read(self, outcomes: Sequence[Bits]) -> "HitsFound":
        """Return what the outcomes of the jobs say."""
        counted = []
        for (shift, readout), bits in zip(self.own, outcomes, strict=True):
            answers = readout.answers(bits)
            spread = np.cov(answers, rowvar=False).reshape(answers.shape[1], -1)
            counted.append(Counted(shift, readout, answers.mean(axis=0), spread, len(answers)))
        return HitsFound(self.whole, tuple(counted))


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """What the shots of one circuit and readout say."""

    shift: Shift
    readout: Readout
    mean: Table
    spread: Table
    """Covariances of a shot."""
    shots: int


@dataclass(frozen=True, eq=False)
class HitsFound:
    """What shifted circuits say; see `Found`."""

    whole: Whole
    counted: tuple[Counted, ...]

    @property
    def value(self) -> Table:
        """Derivatives by observable and trainable parameter."""
        found = np.zeros(self.whole.shape)
        for own in self.counted:
            if own.shift.parameter is not None:
                t = self.whole.by_gates[own.shift.parameter]
                found[:, t] += own.shift.coefficient * (own.readout.factors @ own.mean)
        return found

    @property
    def variance(self) -> Table:
        """Their variances."""
        rows, count = self.whole.shape
        single = np.eye(rows * count).reshape(rows * count, rows, count)
        return self.variances(single).reshape(rows, count)

    @property
    def values(self) -> Table:
        """The values of the observables and their standard errors; empty where they were not measured."""
        measured = [own for own in self.counted if own.shift.parameter is None]
        if not measured:
            return np.zeros((2, 0))
        value = sum(own.readout.factors @ own.mean for own in measured)
        variance = _variances([(own, own.readout.factors) for own in measured], self.whole.shape[0])
        return np.array([value, np.sqrt(variance)])

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return sum(own.spread.nbytes + own.mean.nbytes for own in self.counted)

    def variances(self, weights: Table) -> Table:
        """Return variances of combinations."""
        parts = []
        for own in self.counted:
            if own.shift.parameter is not None:
                t = self.whole.by_gates[own.shift.parameter]
                parts.append((own, own.shift.coefficient * weights[:, :, t] @ own.readout.factors))
        return _variances(parts, len(weights))


def _variances(parts: Sequence[tuple[Counted, Table]], count: int) -> Table:
    """Return the variances of sums of readings, each by weights of its terms: a row for each sum.

    Shots that all agree are as good as one more that does not: no variance is less than what that leaves.
    """
    total, most, spread = np.zeros((3, count))
    for own, weights in parts:
        total += np.einsum("ci,ij,cj->c", weights, own.spread, weights) / own.shots
        largest = np.square(own.readout.spread(weights)) / own.shots
        most += largest
        spread += largest**2 / own.shots
    shots = np.divide(most**2, spread, out=np.zeros(count), where=spread > 0)
    found: Table = np.maximum(total, most * (shots + 1) / np.square(shots + 2))
    return found
