"""The sampler against exact probabilities: letters, outcomes, and independence of the snapshots.

Chi-square tests at fixed seeds, refused below p = 1e-4: that is the false-alarm rate of each. Cells with
fewer than ten expected are pooled.
"""

import itertools

import numpy as np
import pytest
from scipy import stats
from tests.oracle.dense import outcome_probabilities, random_state

from efl_core import Ensemble, sample

ALARM = 1e-4
BIASED = [[0.5, 0.3, 0.2], [0.1, 0.15, 0.75], [0.34, 0.33, 0.33]]


def p_value(observed, probabilities):
    """Of observed counts (any shape) under the given probabilities; impossible cells must be empty."""
    observed, probabilities = np.ravel(observed), np.ravel(probabilities)
    expected = probabilities * observed.sum() / probabilities.sum()
    possible = probabilities > 1e-14
    assert observed[~possible].sum() == 0
    observed, expected = observed[possible], expected[possible]
    few = expected < 10
    if few.any():
        observed = np.append(observed[~few], observed[few].sum())
        expected = np.append(expected[~few], expected[few].sum())
        if expected[-1] < 10:
            smallest = np.argmin(expected[:-1])
            observed[smallest] += observed[-1]
            expected[smallest] += expected[-1]
            observed, expected = observed[:-1], expected[:-1]
    return stats.chisquare(observed, expected, sum_check=False).pvalue


def code(table, base):
    """One integer per row."""
    return table.astype(np.int64) @ base ** np.arange(table.shape[1])[::-1]


def letter_probabilities(rows):
    return np.array([np.prod(choice) for choice in itertools.product(*rows)])


def joint_probabilities(state, rows):
    """Of (setting, outcome), settings in the order of `code`."""
    n_qubits = len(rows)
    settings = letter_probabilities(rows)
    letters = itertools.product("XYZ", repeat=n_qubits)
    return np.array([p * outcome_probabilities(state, w) for p, w in zip(settings, letters, strict=True)])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    "rows", [None, BIASED, [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.2, 0.0, 0.8]]], ids=range(3)
)
def test_settings_have_their_probabilities(rows, seed):
    ensemble = None if rows is None else Ensemble.biased(rows)
    _, bases = sample(random_state(3, 1), ensemble, shots=200_000, seed=seed).to_arrays()
    counts = np.bincount(code(bases, 3), minlength=27)
    assert p_value(counts, letter_probabilities(rows or [[1 / 3] * 3] * 3)) > ALARM


def test_letters_of_many_qubits_are_independent():
    """18 qubits take several random numbers, so neighbours and qubits 8 and 16 apart are looked at."""
    rng = np.random.default_rng(5)
    rows = rng.dirichlet([4, 4, 4], size=18)
    for ensemble, table in ((None, np.full((18, 3), 1 / 3)), (Ensemble.biased(rows), rows)):
        _, bases = sample(random_state(18, 2), ensemble, shots=30_000, seed=6).to_arrays()
        p_values = []
        for a, b in [(q, q + gap) for gap in (1, 7, 8, 9, 15, 16, 17) for q in range(18 - gap)]:
            counts = np.bincount(code(bases[:, [a, b]], 3), minlength=9)
            p_values.append(p_value(counts, np.outer(table[a], table[b])))
        # 53 pairs: Bonferroni keeps the false-alarm rate
        assert min(p_values) > ALARM / len(p_values)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("biased", [False, True], ids=["uniform", "biased"])
@pytest.mark.parametrize("n_qubits", [1, 2, 3])
def test_settings_and_outcomes_have_their_joint_probabilities(n_qubits, biased, seed):
    state = random_state(n_qubits, 10 * n_qubits + seed)
    rows = BIASED[:n_qubits] if biased else [[1 / 3] * 3] * n_qubits
    snaps = sample(state, Ensemble.biased(rows) if biased else None, shots=200_000, seed=seed)
    bits, bases = snaps.to_arrays()
    counts = np.bincount(code(bases, 3) * 2**n_qubits + code(bits, 2), minlength=6**n_qubits)
    assert p_value(counts, joint_probabilities(state, rows)) > ALARM


ENTANGLED = {
    "bell": np.array([1, 0, 0, 1]) / 2**0.5,
    "phased bell": np.array([0, 1, 1j, 0]) / 2**0.5,
    "ghz": np.array([1, 0, 0, 0, 0, 0, 0, 1j]) / 2**0.5,
    "w": np.array([0, 1, 1, 0, 1, 0, 0, 0]) / 3**0.5,
    "computational": np.eye(8)[5],
}


@pytest.mark.parametrize("state", ENTANGLED.values(), ids=ENTANGLED)
def test_entangled_states_have_their_joint_probabilities(state):
    n_qubits = len(state).bit_length() - 1
    bits, bases = sample(state, shots=200_000, seed=9).to_arrays()
    counts = np.bincount(code(bases, 3) * 2**n_qubits + code(bits, 2), minlength=6**n_qubits)
    assert p_value(counts, joint_probabilities(state, [[1 / 3] * 3] * n_qubits)) > ALARM


@pytest.mark.parametrize("n_qubits", [8, 17])
def test_outcomes_of_wide_states_agree_on_any_three_qubits(n_qubits):
    """A product of a three-qubit state on chosen wires and a random rest has known probabilities there."""
    inner, outer = random_state(3, 1), random_state(n_qubits - 3, 2)
    wires = [0, n_qubits // 2, n_qubits - 1]
    rest = [q for q in range(n_qubits) if q not in wires]
    order = np.argsort(wires + rest)
    state = np.kron(inner, outer).reshape([2] * n_qubits).transpose(order).ravel()
    bits, bases = sample(state, shots=100_000, seed=4).to_arrays()
    counts = np.bincount(code(bases[:, wires], 3) * 8 + code(bits[:, wires], 2), minlength=216)
    assert p_value(counts, joint_probabilities(inner, [[1 / 3] * 3] * 3)) > ALARM


@pytest.mark.parametrize("lag", [1, 2, 63, 64, 65, 4096, 16_384])
def test_snapshots_are_independent_of_those_before(lag):
    state = random_state(1, 3)
    bits, bases = sample(state, shots=400_000, seed=lag).to_arrays()
    cells = bases[:, 0].astype(np.int64) * 2 + bits[:, 0]
    starts = np.arange(len(cells) - lag)
    starts = starts[(starts // lag) % 2 == 0]  # disjoint pairs
    counts = np.bincount(cells[starts] * 6 + cells[starts + lag], minlength=36)
    single = joint_probabilities(state, [[1 / 3] * 3]).ravel()
    assert p_value(counts, np.outer(single, single)) > ALARM


def test_the_order_of_the_snapshots_says_nothing():
    """First and second half, and each residue of the position modulo 64, have the same distribution."""
    state = random_state(2, 4)
    bits, bases = sample(state, shots=384_000, seed=1).to_arrays()
    cells = code(bases, 3) * 4 + code(bits, 2)
    probabilities = joint_probabilities(state, [[1 / 3] * 3] * 2).ravel()
    for part in (cells[:192_000], cells[192_000:]):
        assert p_value(np.bincount(part, minlength=36), probabilities) > ALARM
    table = np.stack([np.bincount(cells[r::64], minlength=36) for r in range(64)])
    table = table[:, table.sum(axis=0) > 0]
    assert stats.chi2_contingency(table).pvalue > ALARM


def test_seeds_give_independent_snapshots():
    state = random_state(1, 5)
    single = joint_probabilities(state, [[1 / 3] * 3]).ravel()
    runs = {seed: sample(state, shots=200_000, seed=seed).to_arrays() for seed in (0, 1, 2, 2**63, 2**64 - 1)}
    cells = {seed: bases[:, 0].astype(np.int64) * 2 + bits[:, 0] for seed, (bits, bases) in runs.items()}
    for a, b in itertools.combinations(cells, 2):
        counts = np.bincount(cells[a] * 6 + cells[b], minlength=36)
        assert p_value(counts, np.outer(single, single)) > ALARM / 10
