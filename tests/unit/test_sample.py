"""Simulated snapshots: repeatable, independent of threads, and a shorter run begins a longer one."""

import numpy as np
import pytest
from tests.oracle.dense import random_state

from efl_core import Ensemble, Snapshots, estimate, num_threads, sample, set_num_threads, tally

BIASED = Ensemble.biased(
    [[0.5, 0.3, 0.2], [0.1, 0.1, 0.8], [1.0, 0.0, 0.0], [0.2, 0.6, 0.2], [0.3, 0.3, 0.4]]
)


@pytest.fixture
def threads():
    before = num_threads()
    yield set_num_threads
    set_num_threads(before)


@pytest.mark.parametrize("ensemble", [None, BIASED], ids=["uniform", "biased"])
def test_a_seed_gives_the_same_snapshots_again(ensemble):
    state = random_state(5, 1)
    first = sample(state, ensemble, shots=1000, seed=7)
    assert first == sample(state, ensemble, shots=1000, seed=7)
    assert first != sample(state, ensemble, shots=1000, seed=8)
    assert first.ensemble == (ensemble or Ensemble.uniform(5))
    assert (len(first), first.n_qubits) == (1000, 5)


def test_without_a_seed_every_call_differs():
    state = random_state(5, 1)
    assert sample(state, shots=200) != sample(state, shots=200)
    assert sample(state, shots=200, seed=None) != sample(state, shots=200, seed=0)


@pytest.mark.parametrize("seed", [0, 1, 2**63, 2**64 - 1, np.uint64(2**64 - 1), np.int8(3)])
def test_the_whole_range_of_seeds_is_used(seed):
    state = random_state(3, 2)
    found = sample(state, shots=300, seed=seed)
    assert found == sample(state, shots=300, seed=int(seed))
    assert found != sample(state, shots=300, seed=int(seed) ^ 2**40)


@pytest.mark.parametrize("n_qubits", [1, 2, 5, 17])
def test_fewer_shots_are_the_first_of_more(n_qubits):
    state = random_state(n_qubits, 3)
    whole = sample(state, shots=20_000, seed=5)
    for shots in (1, 63, 64, 65, 16_383, 16_384, 16_385, 19_999):
        assert sample(state, shots=shots, seed=5) == whole[:shots]


def test_the_prefix_law_holds_across_batches():
    state = random_state(2, 3)
    shots = 2**20 + 70
    assert sample(state, shots=shots, seed=5)[: 2**20 + 1] == sample(state, shots=2**20 + 1, seed=5)


@pytest.mark.parametrize("n_qubits", [1, 4, 10, 18])
def test_threads_do_not_change_anything(threads, n_qubits):
    state = random_state(n_qubits, 4)
    words = [w.ljust(n_qubits, "I")[:n_qubits] for w in ("X", "YZ", "ZIX", "IZZY")]
    terms = {w: 1.0 / (i + 3) for i, w in enumerate(words)}
    results = []
    for count in (1, 2, 4):
        threads(count)
        assert num_threads() == count
        snaps = sample(state, shots=40_000, seed=11)
        found = estimate(snaps, [*words, terms])
        results.append((snaps, tally(snaps, words, buckets=7), found.value.tobytes(), found.stderr.tobytes()))
    assert results[0] == results[1] == results[2]


@pytest.mark.parametrize(
    "make",
    [
        list,
        tuple,
        np.array,
        lambda s: np.array(s, dtype=np.complex64),
        lambda s: np.array(s, dtype=np.float32),
        lambda s: np.array(s, dtype=np.float64),
        lambda s: np.repeat(np.array(s, dtype=complex), 2)[::2],
        lambda s: np.array(s[::-1], dtype=complex)[::-1],
    ],
    ids=["list", "tuple", "array", "complex64", "float32", "float64", "strided", "reversed"],
)
def test_states_of_every_kind(make):
    state = [0.5, -0.5, 0.5, 0.5]
    assert sample(make(state), shots=500, seed=1) == sample(np.array(state, dtype=complex), shots=500, seed=1)


def test_integer_amplitudes():
    assert sample([0, 1], shots=50, seed=1) == sample([0.0, 1.0], shots=50, seed=1)
    assert sample([0, 1j], shots=50, seed=1) == sample([0, 1], shots=50, seed=1)


def test_single_precision_states_are_normal_enough():
    state = random_state(10, 5).astype(np.complex64)
    assert len(sample(state, shots=10, seed=1)) == 10


def test_the_state_is_left_alone():
    state = random_state(4, 6)
    state.setflags(write=False)
    copy = state.copy()
    sample(state, shots=100, seed=1)
    np.testing.assert_array_equal(state, copy)


def test_certain_outcomes_are_certain():
    zero_one = sample([0, 1, 0, 0], shots=5000, seed=3)
    bits, bases = zero_one.to_arrays()
    assert (bits[bases[:, 0] == 2, 0] == 0).all()
    assert (bits[bases[:, 1] == 2, 1] == 1).all()
    plus_i = sample([2**-0.5, 2**-0.5 * 1j], shots=5000, seed=3)
    bits, bases = plus_i.to_arrays()
    assert (bits[bases == 1] == 0).all()
    assert 0 < bits[bases == 0].mean() < 1


def test_letters_of_probability_zero_are_never_drawn():
    rows = [[0.0, 0.5, 0.5], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0], [0.5, 0.5, 0.0], [0.0, 1.0, 0.0]]
    _, bases = sample(random_state(5, 1), Ensemble.biased(rows), shots=20_000, seed=2).to_arrays()
    for qubit, row in enumerate(rows):
        assert set(np.unique(bases[:, qubit])) == {letter for letter in range(3) if row[letter] > 0}


def test_what_is_sampled_is_ordinary():
    snaps = sample(random_state(3, 1), shots=100, seed=1)
    assert isinstance(snaps, Snapshots)
    assert Snapshots.from_arrays(*snaps.to_arrays()) == snaps
    assert (snaps.version, snaps.replica, snaps.sequence) == (None, None, None)
