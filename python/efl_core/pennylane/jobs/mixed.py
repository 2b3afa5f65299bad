"""Wide projectors beside words in one tape: who measures what, with how many shots, and how results add up.

Invariant: both parts are measured by shots of their own, so that what both add to a result adds its variance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from pennylane.measurements import Shots
from pennylane.tape import QuantumScript

from efl_core.errors import InvalidInputError
from efl_core.pennylane.jobs.compared import BASES, SHIFT
from efl_core.pennylane.jobs.wanted import Wanted
from efl_core.pennylane.options import Options
from efl_core.pennylane.planning import Plans
from efl_core.pennylane.reports import Report
from efl_core.pennylane.statistics import Joined, Placed, Table, observed
from efl_core.pennylane.tapes.outputs import Outputs, n_outcomes
from efl_core.pennylane.tapes.projectors import Split
from efl_core.plans import Plan

__all__ = [
    "Mix",
    "Shares",
    "cost_of_words",
    "live_words",
    "of_projectors",
    "of_words",
    "shares_of",
    "with_shots",
    "words_tape",
]


def words_tape(tape: QuantumScript, split: Split) -> tuple[QuantumScript, list[int]]:
    """Return the tape of the measurements by words, and which trainable parameters it has."""
    n_gates, own = len(tape.operations), list(split.words)
    kept = {}
    for m, (words, sums) in enumerate(split.places):
        if words is not None and sums is None:
            own[words], kept[m] = tape.measurements[m], words
    made = tape.copy(measurements=own, trainable_params=[])
    places = {(info["op_idx"], info["p_idx"]): i for i, info in enumerate(made.par_info)}
    columns, trained = [], []
    for t, index in enumerate(tape.trainable_params):
        which, place = tape.par_info[index]["op_idx"], tape.par_info[index]["p_idx"]
        if which >= n_gates:
            if which - n_gates not in kept:
                continue
            which = n_gates + kept[which - n_gates]
        columns.append(t)
        trained.append(places[which, place])
    return made.copy(trainable_params=trained), columns


def of_words(options: Options, columns: Sequence[int]) -> Options:
    """Return what of the options is for words."""
    given = [options.argnum] if isinstance(options.argnum, int) else options.argnum
    argnum = None if given is None else tuple(columns.index(t) for t in given if t in columns)
    ensemble = options.ensemble
    return replace(
        options,
        argnum=argnum,
        method="auto" if options.method == BASES else options.method,
        ensemble=None if ensemble is not None and ensemble.kind == BASES else ensemble,
    )


def of_projectors(options: Options) -> Options:
    """Return what of the options is for wide projectors: words have other methods, and other ensembles."""
    ensemble = options.ensemble
    return replace(
        options,
        method=options.method if options.method in (BASES, SHIFT) else "auto",
        ensemble=ensemble if ensemble is not None and ensemble.kind == BASES else None,
        combine="mean",
        truncation=None,
    )


def shares_of(
    tape: QuantumScript,
    split: Split,
    outputs: Outputs,
    words: tuple[NDArray[np.bool_], float],
    projectors: tuple[NDArray[np.bool_], float],
) -> "Shares":
    """Return what both parts of a tape cost.

    Given are, for each, which derivatives there are, by observable and argument, and the variance of a shot
    averaged over those.
    """
    (live, cost), (others, other_cost) = words, projectors
    width = max(live.shape[1], others.shape[1])
    of_words, of_projectors = places_of(tape, split)
    every = of_words @ _by_rows(outputs, live, width) + of_projectors @ _widened(others, width) > 0
    return Shares(
        words=cost * float(live.sum()),
        projectors=other_cost * float(others.sum()),
        n_words=int(live.sum()),
        n_projectors=int(others.sum()),
        n_all=int(every.sum()),
    )


def cost_of_words(wanted: Wanted, plans: Plans, slopes: Table | None) -> tuple[NDArray[np.bool_], float]:
    """Return which derivatives of words there are, and what they and values in shots of their own cost."""
    weights = np.eye(wanted.shape[1]) if slopes is None else slopes
    own, cost = weights[list(wanted.by_gates)], 0.0
    live = np.zeros((wanted.shape[0], own.shape[1]), dtype=bool)
    if plans.chosen is not None and own.size:
        live, cost = live_words(plans.chosen.plan, own), plans.chosen.row.cost
    elif plans.drawn is not None and own.size:
        found, ensemble = plans.drawn.observables, plans.drawn.ensemble
        moving = ~found.is_zero.reshape(wanted.shape[0], len(own))
        each = [float(ensemble.predicted_variance(found.derivative(m, k))) for m, k in np.argwhere(moving)]
        live = moving.astype(np.float64) @ (own != 0) > 0
        cost = float(np.mean(each)) if each else 0.0
    if plans.words is not None:
        cost += plans.words.cost * len(wanted.coefficients) / max(1, int(live.sum()))
    if plans.values is not None and plans.values.n_settings and math.isinf(plans.free):
        cost += plans.values.cost
    return live, cost


def live_words(plan: Plan, slopes: Table) -> NDArray[np.bool_]:
    """Return which derivatives by arguments are not identically zero, by observable."""
    shape = len(plan.observables), len(slopes)
    known = plan._native.moving()
    moving = np.ones(shape) if known is None else np.reshape(known, shape).astype(np.float64)
    found: NDArray[np.bool_] = moving @ (slopes != 0) > 0
    return found


def _widened(table: NDArray[np.bool_], width: int) -> Table:
    return np.pad(table.astype(np.float64), ((0, 0), (0, width - table.shape[1])))


def _by_rows(outputs: Outputs, live: NDArray[np.bool_], width: int) -> Table:
    """Return which derivatives of rows there are, given those of observables."""
    found = np.zeros((outputs.n_rows, width))
    for item in outputs.items:
        own = _widened(live[item.first : item.first + item.count], width)
        found[item.row : item.row + item.n_rows] = own.any(axis=0) if item.is_variance else own
    return found


@dataclass(frozen=True, slots=True, eq=False)
class Shares:
    """What words and projectors cost, and how shots are shared for the least error of all derivatives.

    A cost is the sum of the variances of a shot.
    """

    words: float
    projectors: float
    n_words: int
    """Derivatives of words that are not identically zero."""
    n_projectors: int
    n_all: int
    """Derivatives of results that are not."""

    @property
    def of_words(self) -> float:
        """The part of the shots that words get."""
        one, other = math.sqrt(self.words), math.sqrt(self.projectors)
        return one / (one + other) if one + other > 0 else 0.5

    def needed(self, target: float) -> int:
        """Return the shots for an RMS error of all derivatives."""
        return math.ceil(
            (math.sqrt(self.words) + math.sqrt(self.projectors)) ** 2 / max(1, self.n_all) / target**2
        )

    def targets(self, target: float) -> tuple[float, float]:
        """Return the errors of both that make up one of all derivatives."""

        def own(part: float, count: int) -> float:
            return target * math.sqrt(part * max(1, self.n_all) / count) if count and part > 0 else target

        return own(self.of_words, self.n_words), own(1 - self.of_words, self.n_projectors)

    def split(self, total: int, fewest_words: int, fewest_projectors: int) -> tuple[int, int]:
        """Return the shots of both; refuse fewer than both take at least."""
        if total <= fewest_projectors:
            raise InvalidInputError(
                f"shots: expected at least {fewest_words + fewest_projectors}, {fewest_projectors} of them "
                f"for projectors on more than four wires, got {total}"
            )
        words = min(max(round(total * self.of_words), fewest_words), total - fewest_projectors)
        return words, total - words


@dataclass(frozen=True, slots=True, eq=False)
class Mix:
    """How the results of a tape follow from those of its words and of its projectors."""

    words: Placed
    projectors: Placed
    shares: Shares

    @staticmethod
    def of(tape: QuantumScript, split: Split, columns: Sequence[int], shares: Shares) -> "Mix":
        """Return it for a tape whose words are differentiated by some of its parameters."""
        words, projectors = places_of(tape, split)
        every = range(len(tape.trainable_params))
        return Mix(Placed(words, tuple(columns)), Placed(projectors, tuple(every)), shares)

    def report(self, reports: Sequence[Report], slopes: Table | None) -> Report:
        """Join the reports of words and of projectors."""
        words, projectors = reports
        assert words._measured is not None  # nothing was let go yet
        assert projectors._measured is not None
        parts = ((self.words, words._measured), (self.projectors, projectors._measured))
        measured = Joined(parts, len(self.projectors.columns))
        of_words = words.predicted**2 * self.shares.n_words
        if not of_words and words.shots:  # in an ensemble that was given, which no plan is made for
            copies = len(words.gradient) if words.gradient.ndim == 3 else 1
            of_words = self.shares.words * copies / words.shots
        total = of_words + projectors.predicted**2 * self.shares.n_projectors
        value, value_stderr = self._values(words, projectors)
        return replace(
            words,
            method=f"{words.method} + {projectors.method}",
            shots=words.shots + projectors.shots,
            settings=words.settings + projectors.settings,
            gradient=measured.gradient,
            stderr=measured.stderr,
            predicted=math.sqrt(total / max(1, self.shares.n_all)),
            observed=observed(measured, slopes),
            of="parameters" if slopes is None else "arguments",
            best=f"{words.best} + {projectors.best}",
            factor=self._factor(words.factor, projectors.factor),
            value=value,
            value_stderr=value_stderr,
            _measured=measured,
        )

    def _factor(self, words: float, projectors: float) -> float:
        """Return how many times more shots both take than the best of both would."""
        one, other = self.shares.words, self.shares.projectors
        least = math.sqrt(one / words) + math.sqrt(other / projectors)
        return ((math.sqrt(one) + math.sqrt(other)) / least) ** 2 if least > 0 else 1.0

    def _values(self, words: Report, projectors: Report) -> tuple[Table, Table]:
        """Return the values of the results and their errors; none where one part did not measure any."""
        if not (words.value.shape[-1] and projectors.value.shape[-1]):
            return np.zeros(0), np.zeros(0)
        value = words.value @ self.words.rows.T + projectors.value @ self.projectors.rows.T
        variance = (
            words.value_stderr**2 @ self.words.rows.T + projectors.value_stderr**2 @ self.projectors.rows.T
        )
        return value, np.sqrt(variance)


def places_of(tape: QuantumScript, split: Split) -> tuple[Table, Table]:
    """Return which results words add to, and which projectors: tables of ones and zeros."""
    counts = [1 if count is None else count for count in n_outcomes(tape)]
    n_words = sum(c for c, (w, _) in zip(counts, split.places, strict=True) if w is not None)
    words, projectors = np.zeros((sum(counts), n_words)), np.zeros((sum(counts), len(split.sums)))
    row = own = 0
    for count, (of_words, of_sums) in zip(counts, split.places, strict=True):
        if of_words is not None:
            words[range(row, row + count), range(own, own + count)] = 1
            own += count
        if of_sums is not None:
            projectors[row, of_sums] = 1
        row += count
    return words, projectors


def with_shots(tape: QuantumScript, options: Options, shots: Sequence[int]) -> tuple[QuantumScript, Options]:
    """Give a tape shots for each copy of a shot vector."""
    if options.shots is not None:
        return tape, replace(options, shots=shots[0])
    given = list(shots) if tape.shots.has_partitioned_shots else shots[0]
    return tape.copy(shots=Shots(given), trainable_params=tape.trainable_params), options
