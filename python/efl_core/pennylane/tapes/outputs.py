"""What a tape returns, as a function of expectation values: which observables, and how results follow.

| measurement | observables | rows of the result | derivative of a row by an expectation value |
|---|---|---|---|
| ``expval(O)`` | O | <O> | 1 |
| ``probs`` | the projector on each outcome | <P_b> | 1 |
| ``var(O)`` | s A, and A^2 if that is no number | <A^2> - <s A>^2 / s^2 | -2 <s A> / s^2, and 1 |
| ``sample``, ``counts`` beside those | none | none | |

A is O without its multiple of the identity, which no variance depends on; s is its size, the root of the sum
of its squared coefficients. So both observables of a variance count as much as they do in its row, and
outputs are weighed against each other in the units of their rows.

Invariant: rows and observables have the order of the measurements. Where every row is an observable nothing
is computed.
Cost: probabilities of k wires are 2^k observables over the 2^k words of Z.
"""

import math
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import product

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import Device
from pennylane.measurements import (
    CountsMP,
    ExpectationMP,
    MeasurementProcess,
    ProbabilityMP,
    SampleMP,
    VarianceMP,
)
from pennylane.tape import QuantumScript

from efl_core.errors import InvalidInputError
from efl_core.observables import PauliSum
from efl_core.pennylane.tapes.observables import MAX_EXPANDED_WIRES, ROUNDING, pauli_sum, square
from efl_core.pennylane.tapes.tracing import described

__all__ = ["DRAWN", "Output", "Outputs", "Readout", "n_outcomes", "read_outputs", "with_wires"]

Table = NDArray[np.float64]

DRAWN = (SampleMP, CountsMP)
"""What has no derivative, and may stand beside what has one."""
# 256 observables.
MAX_PROBABILITY_WIRES = 8


@dataclass(frozen=True, slots=True)
class Output:
    """One measurement: its observables and its rows."""

    first: int
    """Number of its first observable."""
    count: int
    row: int
    """Number of its first row."""
    shape: tuple[int, ...]
    """Of its result."""
    is_variance: bool = False
    square: float | None = None
    """Of what a variance is of, if that is a number."""
    scale: float = 1.0
    """Of the first observable of a variance."""

    @property
    def n_rows(self) -> int:
        """Number of its rows."""
        return self.shape[0] if self.shape else 1


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """How rows depend on observables, at the expectation values that were measured."""

    slopes: Table
    """Shape (rows, observables)."""
    blur: Table
    """Variance of every slope, shape (rows, observables): of the values that it follows from."""


@dataclass(frozen=True)
class Outputs:
    """What a tape returns."""

    items: tuple[Output, ...]

    @property
    def n_observables(self) -> int:
        """Number of observables."""
        return sum(item.count for item in self.items)

    @property
    def n_rows(self) -> int:
        """Number of rows, those of all measurements together."""
        return sum(item.n_rows for item in self.items)

    @cached_property
    def is_linear(self) -> bool:
        """Whether every row is an observable."""
        return not any(item.is_variance for item in self.items)

    def multipliers(self, moving: Sequence[bool]) -> tuple[int, ...]:
        """Return the observables whose values multiply derivatives, of those that are ``moving`` at all."""
        return tuple(item.first for item in self.items if item.is_variance and moving[item.first])

    def values(self, values: Table, variances: Table) -> Table:
        """Return the rows, from the values of observables and their variances; without bias."""
        if self.is_linear:
            return values
        rows = [
            self._variance(item, values, variances)
            if item.is_variance
            else values[item.first : item.first + item.count]
            for item in self.items
        ]
        return np.concatenate(rows)

    @staticmethod
    def _variance(item: Output, values: Table, variances: Table) -> Table:
        mean = values[item.first]
        second = values[item.first + 1] if item.square is None else item.square
        return np.array([second - (mean * mean - variances[item.first]) / item.scale**2])

    def readout(self, values: Table, variances: Table) -> Readout:
        """Return the derivatives of the rows by the observables."""
        slopes, blur = np.zeros((2, self.n_rows, self.n_observables))
        for item in self.items:
            for i in range(item.n_rows):
                slopes[item.row + i, item.first + i] = 1.0
            if item.is_variance:
                slopes[item.row, item.first] = -2.0 * values[item.first] / item.scale**2
                slopes[item.row, item.first + 1 : item.first + item.count] = 1.0
                blur[item.row, item.first] = 4.0 * variances[item.first] / item.scale**4
        return Readout(slopes, blur)


def n_outcomes(tape: QuantumScript) -> list[int | None]:
    """Return how many probabilities each measurement is; None for those that are numbers."""
    return [
        2 ** len(m.wires or tape.wires)
        if isinstance(m, ProbabilityMP)
        else 0
        if isinstance(m, DRAWN)
        else None
        for m in tape.measurements
    ]


def with_wires(tape: QuantumScript, device: Device | None) -> QuantumScript:
    """Give the wires of the device to probabilities of all wires."""
    if device is None or not device.wires:
        return tape
    measurements = [
        qml.probs(wires=device.wires) if isinstance(m, ProbabilityMP) and not m.wires else m
        for m in tape.measurements
    ]
    if all(new is old for new, old in zip(measurements, tape.measurements, strict=True)):
        return tape
    return tape.copy(measurements=measurements, trainable_params=tape.trainable_params)


def read_outputs(
    measurements: Sequence[MeasurementProcess], qubits: Mapping[Hashable, int]
) -> tuple[Outputs, tuple[PauliSum, ...]]:
    """Return what measurements return, and the observables that it is made of."""
    if measurements and all(isinstance(m, DRAWN) for m in measurements):
        raise _refusal(measurements[0])
    items: list[Output] = []
    sums: list[PauliSum] = []
    row = 0
    for measurement in measurements:
        own, shape = _observables(measurement, qubits)
        item = Output(len(sums), len(own), row, shape)
        if isinstance(measurement, VarianceMP):
            own, scale = _centred(*own)
            constant = _constant(own[1])
            own = own[: 1 if constant is not None else 2]
            item = Output(len(sums), len(own), row, shape, True, constant, scale)
        items.append(item)
        sums += own
        row += items[-1].n_rows
    return Outputs(tuple(items)), tuple(sums)


def _observables(
    measurement: MeasurementProcess, qubits: Mapping[Hashable, int]
) -> tuple[list[PauliSum], tuple[int, ...]]:
    if isinstance(measurement, DRAWN):
        return [], (0,)
    if isinstance(measurement, ProbabilityMP):
        found = _projectors(measurement, qubits)
        return found, (len(found),)
    if isinstance(measurement, (ExpectationMP, VarianceMP)) and measurement.mv is not None:
        values = np.asarray(measurement.eigvals(), dtype=np.float64)
        powers = (values, values**2) if isinstance(measurement, VarianceMP) else (values,)
        return [_diagonal(own, measurement, qubits) for own in powers], ()
    if isinstance(measurement, ExpectationMP) and measurement.obs is not None:
        return [pauli_sum(measurement.obs, qubits)], ()
    if isinstance(measurement, VarianceMP) and measurement.obs is not None:
        return [pauli_sum(measurement.obs, qubits), square(measurement.obs, qubits)], ()
    raise _refusal(measurement)


def _refusal(measurement: MeasurementProcess) -> InvalidInputError:
    return InvalidInputError(
        f"tape: expected measurements qml.expval, qml.var or qml.probs, got {described(measurement)}; only "
        "what is made of expectation values of observables can be converted"
    )


def _diagonal(
    values: NDArray[np.float64], measurement: MeasurementProcess, qubits: Mapping[Hashable, int]
) -> PauliSum:
    """Return the observable of numbers that are computed from measured bits, one for each outcome."""
    projectors = _projectors(qml.probs(wires=measurement.wires), qubits)
    return sum((p * float(v) for p, v in zip(projectors, values, strict=True)), 0 * projectors[0])


def _centred(total: PauliSum, square: PauliSum) -> tuple[list[PauliSum], float]:
    """Return ``s A``, ``A**2`` and s; see above."""
    n = total.n_qubits
    shift = total.coefficient("I" * n)
    moved = [(word, factor) for word, factor in total.terms() if word.weight]
    scale = math.sqrt(sum(factor**2 for _, factor in moved)) or 1.0
    squared = square - total * (2.0 * shift) + PauliSum([("I" * n, shift**2)])
    least = ROUNDING * (scale**2 + shift**2)  # a word that cancels is not to be measured
    left = [(word, factor) for word, factor in squared.terms() if abs(factor) > least or not word.weight]
    scaled = [(word, scale * factor) for word, factor in moved]
    return [PauliSum(scaled, n_qubits=n), PauliSum(left, n_qubits=n)], scale


def _constant(total: PauliSum) -> float | None:
    """Return the number that a sum is, if it is one."""
    identity = total.coefficient("I" * total.n_qubits)
    others = np.abs(total.coefficients).sum() - abs(identity)
    return identity if others <= ROUNDING * abs(identity) else None


def _projectors(measurement: ProbabilityMP, qubits: Mapping[Hashable, int]) -> list[PauliSum]:
    """Return the projector on every outcome, the first wire the most significant."""
    wires = list(measurement.wires or qubits)
    observable = measurement.obs
    letters = {wire: "Z" for wire in wires}
    if len(wires) > MAX_PROBABILITY_WIRES:
        raise InvalidInputError(
            f"tape: expected probabilities of at most {MAX_PROBABILITY_WIRES} wires, got {len(wires)}, which "
            f"are {2 ** len(wires):,} observables; ask for fewer wires, or for expectation values"
        )
    if observable is not None:
        known = observable.pauli_rep
        if known is None or len(known) != 1:
            return _eigenprojectors(measurement, qubits)
        [word] = known
        letters |= dict(word)
    subsets = np.array(list(product((0, 1), repeat=len(wires))))
    signs = 1.0 - 2.0 * ((subsets @ subsets.T) % 2)
    words = [
        {qubits[wire]: letters[wire] for wire, taken in zip(wires, subset, strict=True) if taken}
        for subset in subsets
    ]
    return [PauliSum(list(zip(words, row / len(words), strict=True)), n_qubits=len(qubits)) for row in signs]


def _eigenprojectors(measurement: ProbabilityMP, qubits: Mapping[Hashable, int]) -> list[PauliSum]:
    """Return the projectors on the basis that the gates of an observable diagonalise it in."""
    wires = measurement.wires
    if len(wires) > MAX_EXPANDED_WIRES:
        raise InvalidInputError(
            f"tape: expected probabilities of an observable on at most {MAX_EXPANDED_WIRES} wires, or of a "
            f"Pauli word, got {described(measurement)}"
        )
    with qml.QueuingManager.stop_recording():
        gates = qml.tape.QuantumScript(measurement.diagonalizing_gates())
        turned = qml.matrix(gates, wire_order=wires) if gates.operations else np.eye(2 ** len(wires))
        rows = np.asarray(turned)
        return [pauli_sum(qml.Hermitian(np.outer(row.conj(), row), wires), qubits) for row in rows]
