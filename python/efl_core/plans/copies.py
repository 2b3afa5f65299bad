"""What two copies of a state take: pairs in the Bell basis, then signs in settings on one copy.

The first stage reads the square of every word from the same pairs. A word whose square lies below a
threshold is left as zero, with the threshold as its error; the others are measured once more, with signs, in
settings that are designed for them. The threshold follows from the error asked for, the number of pairs from
the threshold.

Invariant: the mean square of the error bars is at most that of the error asked for, however many words are
left out.
Cost: one design of settings for the words that are large; of a prediction at a state, 2 to 32 of them and a
vector.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import real
from efl_core.circuits import Circuit, simulate
from efl_core.designs import Connectivity, design
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.gradients import gradient_observables
from efl_core.memory import Memory
from efl_core.observables import PauliSum, PauliWord
from efl_core.plans.states import State, read_state
from efl_core.propagation import Truncation

if TYPE_CHECKING:
    from efl_core.plans.plan import Plan

__all__ = ["Signed", "TwoCopyCost", "WordTable", "least_copies", "read_accuracy", "two_copy_cost"]

Floats = NDArray[np.float64]
# Beyond, a number of pairs is no plan.
MOST_PAIRS = 1e15
# Words, over all draws of the first stage's noise that a prediction at a state is averaged over.
DRAWN = 5000
# A printed plan looks at no more derivatives and words than that for the line on two copies.
MANY = 20_000


def read_accuracy(error: object, deviations: object) -> tuple[float, float]:
    """Return the error asked for and the distance of the threshold from zero, checked."""
    wanted, distance = real("error", error), real("deviations", deviations)
    if not (math.isfinite(wanted) and wanted > 0):
        raise InvalidInputError.of("error", "a number above zero", wanted)
    if not (math.isfinite(distance) and distance >= 1):
        raise InvalidInputError.of("deviations", "a number of standard errors, 1 or more", distance)
    return wanted, distance


@dataclass(frozen=True, slots=True, eq=False)
class WordTable:
    """Sums that are asked of two copies, and their distinct words."""

    words: tuple[PauliWord, ...]
    """All but the identity, of the rows that count."""
    coefficients: tuple[tuple[NDArray[np.intp], Floats], ...]
    """Of each row: which words it has, and with what factors."""
    constants: Floats
    """What the identity adds to each row."""
    squares: Floats
    """What the variance of each word counts in the mean over the rows."""

    @staticmethod
    def of(rows: Sequence[PauliSum], counts: Floats) -> "WordTable":
        """Return the table of some sums; ``counts`` are what they weigh in the mean square, one in all."""
        places: dict[PauliWord, int] = {}
        coefficients: list[tuple[NDArray[np.intp], Floats]] = []
        constants = np.zeros(len(rows))
        for r, (row, count) in enumerate(zip(rows, counts, strict=True)):
            terms = row.terms() if count > 0 else []
            constants[r] = sum(factor for word, factor in terms if not word.weight)
            terms = [(word, factor) for word, factor in terms if word.weight]
            found = [places.setdefault(word, len(places)) for word, _ in terms]
            factors = np.array([factor for _, factor in terms], dtype=np.float64)
            coefficients.append((np.array(found, dtype=np.intp), factors))
        squares = np.zeros(len(places))
        for (which, factors), count in zip(coefficients, counts, strict=True):
            np.add.at(squares, which, count * factors**2)
        return WordTable(tuple(places), tuple(coefficients), constants, squares)

    def threshold(self, error: float) -> float:
        """Return the size below which a word is left as zero; no word is larger than 1."""
        total = float(self.squares.sum())
        return min(1.0, error / math.sqrt(total)) if total > 0 else 0.0

    def pairs(self, error: float, deviations: float) -> int:
        """Return how many pairs tell the square of the threshold from zero by so many standard errors."""
        if not self.words:
            return 0
        found = pairs_for(self.threshold(error), deviations)
        if not found < MOST_PAIRS:
            raise InvalidInputError.of("error", f"one that fewer than {MOST_PAIRS:g} pairs reach", error)
        return int(found)

    def signed(self, kept: NDArray[np.bool_], error: float, connectivity: Connectivity = "all") -> "Signed":
        """Return the second stage, in which the words that are kept get the threshold as their error."""
        threshold, counts = self.threshold(error), np.where(kept, self.squares, 0.0)
        if not counts.any():
            return Signed(None, np.zeros(0, dtype=np.intp))
        chosen = np.flatnonzero(counts > 0)
        words, weights = [self.words[j] for j in chosen], counts[chosen]
        ensemble = design(words, "clifford", goal=weights, connectivity=connectivity)
        variance = float(weights @ np.asarray(ensemble.predicted_variance(words)) / weights.sum())
        # Two shots or more in every setting, for a spread.
        shots = np.ceil(np.array(ensemble.probabilities) * (variance / threshold**2 * (1 - 1e-12)))
        return Signed(ensemble, np.maximum(2, shots).astype(np.intp))


@dataclass(frozen=True, slots=True, eq=False)
class Signed:
    """The second stage: settings on one copy, and how often each is measured."""

    ensemble: Ensemble | None
    """None where nothing is left to be measured."""
    counts: NDArray[np.intp]
    """One for each setting."""

    @property
    def shots(self) -> int:
        """Shots in all."""
        return int(self.counts.sum())


@dataclass(frozen=True, slots=True)
class TwoCopyCost:
    """What two copies take for a gradient, beside the best method on one copy. Made by `Plan.two_copies`.

    Everything is counted in copies of the state: a pair is two, a shot of a circuit or a setting is one.
    """

    error: float
    """The RMS of the error bars of the derivatives."""
    words: int
    """How many words the derivatives have."""
    threshold: float
    """Words of smaller size are left as zero, with this as their error."""
    pairs: int
    """Pairs of copies that are measured in the Bell basis."""
    shots: float | None
    """Shots of the second stage at the plan's state, on average; None where there is no state."""
    most_shots: int
    """Shots of the second stage if no word is small."""
    kept: float | None
    """How many words get one, on average; None where there is no state."""
    best: str
    """The best method on one copy."""
    best_shots: int
    """Its shots for the same error."""

    @property
    def copies(self) -> float:
        """Copies at the state, or if no word is small."""
        return 2 * self.pairs + (self.most_shots if self.shots is None else self.shots)

    @property
    def least(self) -> int:
        """Copies if all words are small."""
        return 2 * self.pairs

    @property
    def wins(self) -> bool | None:
        """Whether two copies take less than the best method; None where that depends on the state."""
        if self.shots is not None or self.copies < self.best_shots:
            return self.copies < self.best_shots
        return False if self.least >= self.best_shots else None

    def __str__(self) -> str:
        found = f"{self.copies:,.0f}" if self.shots is not None else f"{self.least:,} to {self.copies:,.0f}"
        signs = f"{self.shots:,.0f} shots" if self.shots is not None else f"up to {self.most_shots:,} shots"
        kept = "words" if self.kept is None else f"{self.kept:,.0f} words, those"
        kept = f"{kept} above {self.threshold:.3g}"
        verdict = {
            True: "two copies take less",
            False: "two copies take more",
            None: "the state decides",
        }
        return "\n".join(
            [
                f"Two copies, {self.words:,} words, to an RMS error of {self.error:g}",
                f"  first  {self.pairs:,} pairs in the Bell basis: the squares of all words",
                f"  then   {signs} in settings on one copy: the signs of {kept}",
                f"  copies {found}, against {self.best_shots:,} of {self.best!r}: {verdict[self.wins]}",
            ]
        )


def two_copy_cost(plan: "Plan", error: float | None, deviations: float) -> TwoCopyCost:
    """Return what two copies take for the gradient of a plan."""
    wanted, distance = read_accuracy(plan.target if error is None else error, deviations)
    options = plan._options
    if options.mitigate:
        raise InvalidInputError.of("plan", "derivatives of the state as it is", "one with mitigate=True")
    sums = gradient_observables(
        plan.circuit, plan.observables, truncation=Truncation(max_terms=options.limits()["max_terms"])
    )
    parts = [sums.derivative(o, k) for o in range(sums.n_observables) for k in range(sums.n_parameters)]
    table = WordTable.of(*_derivatives(plan, parts))
    pairs, threshold = table.pairs(wanted, distance), table.threshold(wanted)
    everything = np.ones(len(table.words), dtype=bool)
    most = table.signed(everything, wanted, options.connectivity).shots
    shots = kept = None
    vector = None if plan.state is None else _vector(plan.state, plan.circuit)
    if vector is not None:
        squares = values_of(vector, table.words) ** 2
        shots, kept = _expected(table, squares, pairs, wanted, options.connectivity)
    best = (plan if error is None else plan.retarget(wanted)).best
    assert best.shots is not None  # of a method that can be run
    return TwoCopyCost(
        error=wanted,
        words=len(table.words),
        threshold=threshold,
        pairs=pairs,
        shots=shots,
        most_shots=most,
        kept=kept,
        best=best.name,
        best_shots=best.shots,
    )


def least_copies(plan: "Plan") -> int | None:
    """Return what two copies take if all words are small; None if the best method takes no more."""
    best, native = plan.best.shots, plan._native.observables
    size = len(plan.observables) * plan.circuit.n_parameters
    other = plan._options.mitigate or plan.slopes is not None or not isinstance(plan._options.goal, str)
    incomplete = any(row.bound for row in plan)  # sums are too long for settings
    if not best or other or incomplete or max(size, native.n_words) > MANY:
        return None
    rows = [native.row(len(plan.observables) + i) for i in range(size)]
    norms = [row.l2_norm for row in rows if len(row)]
    if not norms:
        return None
    rms = math.hypot(*norms) / math.sqrt(len(norms))
    least = 2 * pairs_for(min(1.0, plan.target / rms), 1.0)
    return int(least) if least < best else None


def pairs_for(threshold: float, deviations: float) -> float:
    """Return how many pairs tell the square of a threshold from zero: an even number, or infinity."""
    half = deviations / threshold / threshold if threshold > 0 else math.inf
    half *= half / 2 * (1 - 1e-12)
    return 2.0 * max(2, math.ceil(half)) if half < MOST_PAIRS else math.inf


def _derivatives(plan: "Plan", parts: Sequence[PauliSum]) -> tuple[list[PauliSum], Floats]:
    """Return the sums of the derivatives that a plan is for, and what they weigh in the mean square."""
    rows, slopes = list(parts), plan.slopes
    if slopes is not None:
        rows = through(parts, slopes)
    live = np.array([len(row) > 0 for row in rows], dtype=np.float64)
    goal = plan._options.goal
    counts = live if isinstance(goal, str) else live * np.ravel(np.asarray(goal, dtype=np.float64))
    return rows, counts / max(float(counts.sum()), 1e-300)


def through(parts: Sequence[PauliSum], slopes: Floats) -> list[PauliSum]:
    """Return derivatives by arguments, given those by parameters, observable by observable."""
    n_parameters, n_arguments = slopes.shape
    nothing = [parts[0] * 0.0] if len(parts) else []
    rows = []
    for start in range(0, len(parts), max(n_parameters, 1)):
        for a in range(n_arguments):
            used = np.flatnonzero(slopes[:, a])
            terms = [parts[start + int(k)] * float(slopes[k, a]) for k in used]
            rows.append(sum(terms[1:], start=terms[0]) if terms else nothing[0])
    return rows


def _vector(state: State, circuit: Circuit) -> NDArray[np.complex128] | None:
    """Return the vector of a plan's state; None of one that is remembered."""
    if isinstance(state, Memory):
        return None
    found = read_state(state, circuit).get("vector")
    return simulate(circuit) if found is None else found


def _expected(
    table: WordTable, squares: Floats, pairs: int, error: float, connectivity: Connectivity
) -> tuple[float, float]:
    """Return the shots of the second stage, and the words that it measures, averaged over noise."""
    if not pairs:
        return 0.0, 0.0
    random, threshold = np.random.default_rng(0), table.threshold(error)
    plus = ((1 + squares) / 2).clip(0, 1)
    draws = range(min(32, max(2, DRAWN // len(squares))))
    masks = [2 * random.binomial(pairs, plus) / pairs - 1 > threshold**2 for _ in draws]
    shots = [table.signed(kept, error, connectivity).shots for kept in masks]
    return float(np.mean(shots)), float(np.mean([kept.sum() for kept in masks]))


def values_of(vector: NDArray[np.complex128], words: Sequence[PauliWord]) -> Floats:
    """Return the exact values of words at a state: a transform for each pattern of flips among them."""
    n = words[0].n_qubits if words else 0
    flips: dict[int, list[tuple[int, int, int]]] = {}
    for j, word in enumerate(words):
        x = z = turns = 0
        for q, letter in word.support.items():
            bit = 1 << (n - 1 - q)
            x |= bit * (letter in "XY")
            z |= bit * (letter in "YZ")
            turns += letter == "Y"
        flips.setdefault(x, []).append((j, z, turns))
    found, index = np.zeros(len(words)), np.arange(len(vector))
    for x, own in flips.items():
        table = (vector[index ^ x].conj() * vector).reshape((2,) * n)
        for axis in range(n):
            zero, one = np.take(table, 0, axis), np.take(table, 1, axis)
            table = np.stack([zero + one, zero - one], axis)
        flat = table.ravel()
        for j, z, turns in own:
            found[j] = (1j**turns * flat[z]).real
    return found
