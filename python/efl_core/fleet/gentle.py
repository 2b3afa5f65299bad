"""Gentle answers: every shot answers and teaches a little, the only way where a query has one shot.

"Measure D weakly, then read O" is, outcome by outcome, a fair coin c and one readout of ``mu O + c lam D``
with ``mu^2 + lam^2 = 1``; that is a rotation by ``-c phi`` about ``P = i D O``, ``sin phi = lam``, and then a
setting that reveals O and all that commutes with both. No ancilla, no measurement midway: any device runs it.
With ``lam^2`` = share the variances are those of splitting the shots, ``V / share`` for derivatives and ``1 /
(1 - share)`` for the answer; what is gained is that every query is answered by what it measures.

An entry is such a rotation of one sign with its setting. Words of the gradient anticommute with O, so each is
D times a word that the setting reveals: it is read from O times that word, with the sign of the coin.

An output that is a sum, an energy, is answered in the one setting that reveals all of its words, after a kick
about a word P: of those that anticommute with P ``mu`` is left. The kick turns a word s of that setting into
``mu s + c lam i P s``, so it reads all words of the gradient that are ``i P s`` for some s.
"""

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.fleet.readouts import AnswerPlan, Readout
from efl_core.fleet.roster import Entry, Roster, Split
from efl_core.observables import PauliSum, PauliWord
from efl_core.plans import Plan

__all__ = ["check_gentle", "gentle_entries", "gentle_readout", "gentle_shots"]

Signed = tuple[PauliWord, int]


def gentle_entries(split: Split, untaught: AnswerPlan, plan: Plan, method: str) -> tuple[list[Entry], float]:
    """Return gentle entries, two for each kick, and their cost over that of the list that they come from.

    They are those of the settings of the list; for a sum those of the one setting that answers it.
    """
    [output] = untaught.sums
    strength = math.sqrt(split.share)
    words = [term for term in output.terms() if term[0].weight]
    found: list[Entry] = []
    if len(words) == 1:
        for experiment, share in plan.experiments(method):
            found += _pair(experiment, share, *words[0], strength)
        return found, 1.0
    [(setting, _)] = untaught.runs
    found = _kicked(plan, method, setting, words, strength)
    own = split.share * sum(r.l2_norm**2 / entry.share for entry in found for _, r in entry.readings)
    listed = sum(
        experiment.reading(place).l2_norm ** 2 / share
        for experiment, share in plan.experiments(method)
        for place in range(len(experiment.derivatives))
    )
    return found, own / listed


def check_gentle(untaught: AnswerPlan, *, sums: bool) -> None:
    """Refuse outputs that no gentle shot answers: several, or words of several settings.

    A sum, where it may be one, is answered by shots of more than two values: only a word has a served loss.
    """
    words = [word for own in untaught.sums for word, _ in own.terms() if word.weight]
    if untaught.outputs > 1 or not words:
        expected = "'split' where there is not one output that is measured"
        raise InvalidInputError.of("serve", expected, f"'gentle' with {untaught.outputs} outputs")
    if len(words) > 1 and not sums:
        expected = "'split' for a loss with labels, or an output of one word"
        raise InvalidInputError.of("serve", expected, f"'gentle' with {len(words)} words")
    if len(untaught.runs) > 1:
        expected = "'split' where no setting reveals all words of the output"
        raise InvalidInputError.of("serve", expected, f"'gentle' with {len(untaught.runs)} settings")


def _kicked(
    plan: Plan, method: str, setting: Setting, output: Sequence[tuple[PauliWord, float]], strength: float
) -> list[Entry]:
    """Return entries that answer a sum in its setting, and read the words of all derivatives after kicks."""
    rows: dict[PauliWord, dict[int, float]] = {}
    for experiment, _ in plan.experiments(method):
        for place, (_, row) in enumerate(experiment.derivatives):
            for word, c in experiment.reading(place).terms():
                own = rows.setdefault(word, {})
                own[row] = own.get(row, 0.0) + c
    kicks = _kicks(list(rows), setting, [word for word, _ in output])
    size = [math.sqrt(sum(c * c for word in words for c in rows[word].values())) for _, words in kicks]
    n_qubits, left = setting.n_qubits, math.sqrt(1 - strength**2)
    found = []
    for (about, words), part in zip(kicks, size, strict=True):
        value = [(w, c if w.commutes_with(about) else c / left) for w, c in output]
        for coin in (1, -1):
            terms: dict[int, list[tuple[PauliWord, float]]] = {}
            for word in words:
                seen, sign = _times_i(about, word)  # of which i P times is -sign * word
                for row, c in rows[word].items():
                    terms.setdefault(row, []).append((seen, -coin * sign * c / (2 * strength)))
            readings = tuple((row, PauliSum(own, n_qubits=n_qubits)) for row, own in sorted(terms.items()))
            angle = coin * math.asin(strength)
            answers = ((0, PauliSum(value, n_qubits=n_qubits)),)
            share = part / sum(size) / 2
            found.append(Entry(setting, share, kick=(about, angle), readings=readings, answers=answers))
    return found


def _kicks(
    words: Sequence[PauliWord], setting: Setting, output: Sequence[PauliWord]
) -> list[tuple[PauliWord, list[PauliWord]]]:
    """Return words to turn about, each with those of the gradient that it reads: greedily, the most first."""
    left, found = list(words), []
    while left:
        best: tuple[PauliWord, list[PauliWord]] | None = None
        # What one kick reads differs by words of the setting, and so do its candidates.
        alike = [word for word in left if setting.reveal(word.multiply(left[0])[1]) is not None]
        for word in alike:
            for own in output:
                if word.commutes_with(own):
                    continue
                about = word.multiply(own)[1]
                read = [other for other in alike if not other.commutes_with(about)]
                if best is None or len(read) > len(best[1]):
                    best = about, read
        assert best is not None  # a word of a derivative anticommutes with one of the output
        taken = set(best[1])
        left = [word for word in left if word not in taken]
        found.append(best)
    return found


def _pair(
    experiment: Experiment, share: float, answer: PauliWord, coefficient: float, strength: float
) -> list[Entry]:
    """Return the entries of both signs of the kick, for one setting."""
    group = [PauliWord(label) for _, label in experiment.setting.measured]
    against = [word for word in group if not word.commutes_with(answer)]
    weak = against[0]  # every gradient word anticommutes with the answer, so there is one
    kept = [word for word in group if word.commutes_with(answer)]
    kept += [_product(weak, word)[0] for word in against[1:]]
    setting = Setting.of_family([*kept, answer])
    about, sign = _times_i(weak, answer)
    found = []
    for coin in (1, -1):
        readings = []
        for place, (_, row) in enumerate(experiment.derivatives):
            terms = []
            for word, c in experiment.reading(place).terms():
                rest, first = _product(weak, word)
                seen, second = _product(answer, rest)
                terms.append((seen, coin * first * second * c / (2 * strength)))
            readings.append((row, PauliSum(terms, n_qubits=answer.n_qubits)))
        angle = -coin * sign * math.asin(strength)
        value = PauliSum([(answer, coefficient / math.sqrt(1 - strength**2))], n_qubits=answer.n_qubits)
        found.append(
            Entry(setting, share / 2, kick=(about, angle), readings=tuple(readings), answers=((0, value),))
        )
    return found


def _product(one: PauliWord, other: PauliWord) -> Signed:
    """Return the product of two words that commute, and its sign."""
    phase, word = one.multiply(other)
    return word, round(phase.real)


def _times_i(one: PauliWord, other: PauliWord) -> Signed:
    """Return i times the product of two words that anticommute, and its sign."""
    phase, word = one.multiply(other)
    return word, round((1j * phase).real)


def gentle_readout(roster: Roster, entries: NDArray[np.int64], bits: Sequence[NDArray[np.uint8]]) -> Readout:
    """Return what a query is answered with, given the outcomes of its entries."""
    shots = []
    for entry, own in zip(entries, bits, strict=True):
        used = roster.entries[entry]
        [(_, sum_)] = used.answers
        said = np.zeros(len(own))
        for seen, value in sum_.terms():
            found, sign = used.setting.reveal(seen) or ([], 1)
            said += sign * value * (1.0 - 2.0 * (own[:, found].sum(axis=1) & 1))
        shots.append(said)
    return gentle_shots(roster, np.concatenate(shots)[None, :, None])


def gentle_shots(roster: Roster, shots: NDArray[np.float64]) -> Readout:
    """Return what queries were answered with, given what each shot says, ``(queries, shots, outputs)``."""
    square, word = _figures(roster)
    return Readout(roster.untaught.constant, (shots,), (np.array([square]),), word)


@lru_cache(64)
def _figures(roster: Roster) -> tuple[float, float | None]:
    """Return the mean square of a shot on the maximally mixed state, and what it says if it is one word."""
    sums = [sum_ for entry in roster.entries for _, sum_ in entry.answers]
    square = sum(entry.share * s.l2_norm**2 for entry, s in zip(roster.entries, sums, strict=True))
    return float(square), float(sums[0].coefficients[0]) if len(sums[0]) == 1 else None
