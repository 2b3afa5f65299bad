"""Gentle answers: every shot answers and teaches a little, the only way where a query has one shot.

"Measure D weakly, then read O" is, outcome by outcome, a fair coin c and one readout of ``mu O + c lam D``
with ``mu^2 + lam^2 = 1``; that is a rotation by ``-c phi`` about ``P = i D O``, ``sin phi = lam``, and then a
setting that reveals O and all that commutes with both. No ancilla, no measurement midway: any device runs it.
With ``lam^2`` = share the variances are those of splitting the shots, ``V / share`` for derivatives and ``1 /
(1 - share)`` for the answer; what is gained is that every query is answered by what it measures.

An entry is such a rotation of one sign with its setting. Words of the gradient anticommute with O, so each is
D times a word that the setting reveals: it is read from O times that word, with the sign of the coin.
"""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.fleet.readouts import Readout
from efl_core.fleet.roster import Entry, Roster, Split
from efl_core.observables import PauliSum, PauliWord
from efl_core.plans import Plan

__all__ = ["gentle_entries", "gentle_readout"]

Signed = tuple[PauliWord, int]


def gentle_entries(split: Split, outputs: Sequence[PauliSum], plan: Plan, method: str) -> list[Entry]:
    """Return the gentle entries of a list of settings of the final state: two for each."""
    answer, coefficient = answer_word(outputs)
    found: list[Entry] = []
    for experiment, share in plan.experiments(method):
        found += _pair(experiment, share, answer, coefficient, math.sqrt(split.share))
    return found


def answer_word(outputs: Sequence[PauliSum]) -> tuple[PauliWord, float]:
    """Return the only word of the only output, and its coefficient."""
    terms = [term for own in outputs for term in own.terms() if term[0].weight]
    if len(outputs) != 1 or len(terms) != 1:
        raise InvalidInputError.of(
            "serve", "'split' where outputs are not one word", f"'gentle' with {len(terms)} words"
        )
    return terms[0]


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
    plan = roster.untaught
    word, shots = None, []
    for entry, own in zip(entries, bits, strict=True):
        used = roster.entries[entry]
        [(_, sum_)] = used.answers
        [(seen, value)] = sum_.terms()
        found, sign = used.setting.reveal(seen) or ([], 1)
        parity = own[:, found].sum(axis=1) & 1
        shots.append(sign * value * (1.0 - 2.0 * parity))
        word = value
    each = np.concatenate(shots)[None, :, None]
    assert word is not None  # of a query that teaches
    return Readout(plan.constant, (each,), (np.array([word**2]),), float(word))
