"""What the answer shots of queries say: the outputs, their standard errors, and what is left without a shot.

A version of a fleet reads its outputs in a fixed list of settings, each with its own number of shots. An
output is a sum of words; a word that several settings reveal is read in all of their shots alike.

What a noisy readout leaves of a word is divided out; how wrong a calibration may be is the same for all
queries, and part of every standard error.

Invariant: values are unbiased; no standard error is zero unless the output is a constant.
Cost: one product of bits and masks, queries x shots x qubits x words.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.observables import PauliSum
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.value_plans import plan_values

__all__ = ["AnswerPlan", "Readout"]

Floats = NDArray[np.float64]
Slope = Callable[[Floats, NDArray[np.generic]], Floats]
"""From values, ``(queries, outputs)``, and labels to the slopes of a loss, of the shape of the values."""


@dataclass(frozen=True, slots=True, eq=False)
class Readout:
    """The answer shots of some queries, as numbers."""

    constant: Floats
    """What every output has beside its words, shape ``(outputs,)``."""
    shots: tuple[Floats, ...]
    """For each setting what its shots say, shape ``(queries, shots, outputs)``: outputs are sums of the
    means.
    """
    squares: tuple[Floats, ...]
    """The mean squares of those numbers on the maximally mixed state, shape ``(outputs,)`` each."""
    word: float | None
    """What a sign of the only word counts, where the outputs are one, with one word in one setting."""
    wrong: Floats | None = None
    """How wrong outputs are in each direction of a calibration, ``(queries, directions, outputs)``."""

    @property
    def mean(self) -> Floats:
        """The outputs, shape ``(queries, outputs)``."""
        found: Floats = self.constant + sum(own.mean(axis=1) for own in self.shots)
        return found

    @property
    def stderr(self) -> Floats:
        """Their standard errors: of so many shots, and one more that differs as on the mixed state.

        That of a calibration is added.
        """
        variance = np.zeros((len(self.shots[0]), len(self.constant)))
        for own, square in zip(self.shots, self.squares, strict=True):
            count = own.shape[1]
            variance = variance + (count * own.var(axis=1) + square) / count**2
        if self.wrong is not None:
            variance = variance + np.square(self.wrong).sum(axis=1)
        return np.sqrt(variance)

    @property
    def pluses(self) -> NDArray[np.int64]:
        """How many shots of each query say +1, where the output is one word."""
        assert self.word is not None
        found: NDArray[np.int64] = np.count_nonzero(self.shots[0][:, :, 0] * self.word > 0, axis=1)
        return found

    def jackknifed(self, function: Slope, labels: NDArray[np.generic]) -> Floats:
        """Return a function of the outputs without the bias of order 1 / shots.

        A setting with one shot has nothing to leave out: its part of the bias stays.
        """
        mean = self.mean
        found = function(mean, labels)
        corrected = found.copy()
        for own in self.shots:
            _, count, outputs = own.shape
            if count < 2:
                continue
            total = own.sum(axis=1, keepdims=True)
            without = mean[:, None] - total / count + (total - own) / (count - 1)
            values = function(without.reshape(-1, outputs), np.repeat(labels, count, axis=0))
            corrected += (count - 1) * (found - values.reshape(own.shape).mean(axis=1))
        return corrected


@dataclass(frozen=True, eq=False)
class AnswerPlan:
    """How a version reads its outputs: settings with their shots, the same for every query."""

    sums: tuple[PauliSum, ...]
    runs: tuple[tuple[Setting, int], ...]
    correction: Correction | None = None
    """What readings are divided by; None where nothing is known of the device."""

    @staticmethod
    def of(sums: Sequence[PauliSum], shots: int, correction: Correction | None = None) -> "AnswerPlan":
        """Design the settings of some outputs, and share the shots among them."""
        plan = plan_values(tuple(sums))
        if shots < plan.n_settings:
            raise InvalidInputError.of(
                "shots",
                f"{plan.n_settings} answer shots or more, one for each setting that outputs are read in",
                shots,
            )
        found = plan.allocate(shots, 0) if plan.n_settings else []
        # An output without words is a constant, and any setting serves.
        runs = tuple(found) or ((Setting("Z" * sums[0].n_qubits), shots),)
        return AnswerPlan(tuple(sums), runs, correction)

    def corrected(self, correction: Correction | None) -> "AnswerPlan":
        """Return the same settings, read with another correction."""
        return AnswerPlan(self.sums, self.runs, correction)

    @property
    def shots(self) -> int:
        """Answer shots of a query."""
        return sum(count for _, count in self.runs)

    @property
    def outputs(self) -> int:
        """How many outputs there are."""
        return len(self.sums)

    @cached_property
    def constant(self) -> Floats:
        """The coefficients of the identity."""
        return np.array([sum(c for word, c in sum_.terms() if not word.weight) for sum_ in self.sums])

    @cached_property
    def _left(self) -> "tuple[dict[str, tuple[float, Floats | None]], ...]":
        """For each setting what the device leaves of the words that it reveals, and the errors of that."""
        words = list(
            {word.label: word for own in self.sums for word, _ in own.terms() if word.weight}.values()
        )
        found: list[dict[str, tuple[float, Floats | None]]] = []
        for setting, _ in self.runs:
            read = [word for word in words if setting.reveal(word) is not None]
            left, errors = np.ones(len(read)), None
            if self.correction is not None:
                left, errors = self.correction.left(setting, read)
            wrong = [None] * len(read) if errors is None else errors
            found.append({w.label: (float(c), e) for w, c, e in zip(read, left, wrong, strict=True)})
        return tuple(found)

    @cached_property
    def sums_read(self) -> tuple[tuple[PauliSum, ...], ...]:
        """For each setting what is read for each output: words count by the part of their shots there."""
        told: dict[str, int] = {}
        for setting, shots in self.runs:
            for word in {word for own in self.sums for word, _ in own.terms()}:
                if setting.reveal(word) is not None:
                    told[word.label] = told.get(word.label, 0) + shots
        return tuple(
            tuple(
                PauliSum(
                    [
                        (word, c * shots / told[word.label] / left[word.label][0])
                        for word, c in own.terms()
                        if word.label in left
                    ],
                    n_qubits=own.n_qubits,
                )
                for own in self.sums
            )
            for (_, shots), left in zip(self.runs, self._left, strict=True)
        )

    @property
    def native(self) -> list[tuple[Setting, int, list[tuple[int, PauliSum]]]]:
        """What the compiled reader takes; it reads no constants."""
        return [
            (setting, shots, [(o, own) for o, own in enumerate(sums) if len(own)])
            for (setting, shots), sums in zip(self.runs, self.sums_read, strict=True)
        ]

    @cached_property
    def readings(self) -> tuple[tuple[NDArray[np.uint8], Floats, Floats | None], ...]:
        """For each setting masks over the measured bits, shape ``(qubits, words)``, and coefficients.

        Those are what the signs of the words count for each output, shape ``(words, outputs)``. With a
        calibration, by which part of itself each word is wrong in each direction, ``(words, directions)``.
        """
        tables = []
        for (setting, _), sums, left in zip(self.runs, self.sums_read, self._left, strict=True):
            words = list({word.label: word for own in sums for word, _ in own.terms()}.values())
            masks, coefficients = (
                np.zeros((setting.n_qubits, len(words)), np.uint8),
                np.zeros((len(words), len(sums))),
            )
            for row, word in enumerate(words):
                bits, sign = setting.reveal(word) or ([], 1)
                masks[bits, row] = 1
                coefficients[row] = [sign * own.coefficient(word) for own in sums]
            errors = [left[word.label][1] for word in words]
            known = [own for own in errors if own is not None]
            tables.append((masks, coefficients, np.stack(known) if known else None))
        return tuple(tables)

    @cached_property
    def word(self) -> float | None:
        """What a sign of the only word counts, where there is one output with one word in one setting."""
        if self.outputs != 1 or len(self.runs) != 1:
            return None
        found = [c for _, c in self.sums_read[0][0].terms()]
        return float(found[0]) if len(found) == 1 else None

    @cached_property
    def squares(self) -> tuple[Floats, ...]:
        """The mean squares of what a shot says on the maximally mixed state, shape ``(outputs,)`` each."""
        return tuple(np.square(coefficients).sum(axis=0) for _, coefficients, _ in self.readings)

    def readout(self, bits: NDArray[np.uint8]) -> Readout:
        """Return what outcomes say: bits of shape ``(queries, shots, qubits)``, setting after setting."""
        read, start = [], 0
        wrong: Floats | None = None
        for (_, count), (masks, coefficients, errors) in zip(self.runs, self.readings, strict=True):
            signs = 1.0 - 2.0 * ((bits[:, start : start + count] @ masks) & 1)
            read.append(signs @ coefficients)
            if errors is not None:
                own = np.einsum("qw,wd,wo->qdo", signs.mean(axis=1), errors, coefficients)
                wrong = own if wrong is None else wrong + own
            start += count
        return Readout(self.constant, tuple(read), self.squares, self.word, wrong)

    def of_shots(self, shots: Floats) -> Readout:
        """Return what shots say that were read before, shape ``(queries, shots, outputs)``."""
        ends = np.cumsum([count for _, count in self.runs])[:-1]
        return Readout(self.constant, tuple(np.split(shots, ends, axis=1)), self.squares, self.word)
