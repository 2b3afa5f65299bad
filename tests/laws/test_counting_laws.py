"""Counting: equal to the naive twin at every CPU level, and merging is exact in any order."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.laws import twins

import efl_core as efl
from efl_core import _native

LEVELS = _native.available_cpu_levels()


@pytest.fixture(params=LEVELS)
def cpu_level(request):
    before = _native.cpu_level()
    _native.set_cpu_level(request.param)
    yield request.param
    _native.set_cpu_level(before)


@st.composite
def measured(draw, most_shots=700, most_qubits=200):
    """Snapshots, their arrays and words, many of which some snapshot reveals."""
    edges = [n for n in (1, 2, 63, 64, 65, 128, 129) if n <= most_qubits]
    n_qubits = draw(st.integers(1, most_qubits) | st.sampled_from(edges))
    shots = draw(st.integers(1, most_shots) | st.sampled_from([1, 63, 64, 65, 128, 4095, 4097]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    bits = rng.integers(0, 2, (shots, n_qubits), dtype=np.uint8)
    bases = rng.integers(0, 3, (shots, n_qubits), dtype=np.uint8)
    labels = []
    for weight in draw(st.lists(st.integers(0, 8) | st.just(n_qubits), max_size=12)):
        support = rng.permutation(n_qubits)[:weight]
        source = bases[rng.integers(shots)] if rng.random() < 0.7 else rng.integers(0, 3, n_qubits)
        label = np.full(n_qubits, "I")
        label[support] = np.array(list("XYZ"))[source[support]]
        labels.append("".join(label))
    labels += draw(st.lists(st.sampled_from(labels), max_size=3)) if labels else []
    return efl.Snapshots.from_arrays(bits, bases), bits, bases, labels


@given(data=measured(), buckets=st.integers(1, 40))
def test_a_tally_is_the_naive_count_at_every_cpu_level(data, buckets):
    snaps, bits, bases, labels = data
    buckets = min(buckets, len(bits))
    revealed, minus = twins.tally(bits, bases, labels, buckets)
    edges = twins.bucket_edges(len(bits), buckets)
    before = _native.cpu_level()
    try:
        for level in LEVELS:
            _native.set_cpu_level(level)
            found = efl.tally(snaps, labels, buckets=buckets)
            np.testing.assert_array_equal(found.revealed, revealed)
            np.testing.assert_array_equal(found.minus, minus)
            np.testing.assert_array_equal(found.bucket_shots, np.diff(edges))
            assert [word.label for word in found.words] == labels
    finally:
        _native.set_cpu_level(before)


def test_a_tally_of_many_words_and_blocks_is_the_naive_count(cpu_level):
    rng = np.random.default_rng(8)
    bits = rng.integers(0, 2, (20_011, 5), dtype=np.uint8)
    bases = rng.integers(0, 3, (20_011, 5), dtype=np.uint8)
    labels = ["".join(letters) for letters in itertools.product("IXYZ", repeat=5)]
    found = efl.tally(efl.Snapshots.from_arrays(bits, bases), labels, buckets=3)
    revealed, minus = twins.tally(bits, bases, labels, 3)
    np.testing.assert_array_equal(found.revealed, revealed)
    np.testing.assert_array_equal(found.minus, minus)


def test_more_words_than_one_tree_holds_are_counted(cpu_level):
    rng = np.random.default_rng(9)
    bits = rng.integers(0, 2, (130, 12), dtype=np.uint8)
    bases = rng.integers(0, 3, (130, 12), dtype=np.uint8)
    letters = np.array(list("IXYZ"))[rng.integers(0, 4, (17_000, 12)) * (rng.random((17_000, 12)) < 0.3)]
    labels = ["".join(row) for row in letters]
    found = efl.tally(efl.Snapshots.from_arrays(bits, bases), labels)
    # Vectorised over words, a second twin: revealed where every letter of the support was measured.
    codes = np.array(["XYZ".find(letter) for letter in "IXYZ"])[np.searchsorted(list("IXYZ"), letters)]
    revealed, minus = np.zeros((2, len(labels)), dtype=np.uint64)
    for outcome, setting in zip(bits, bases, strict=True):
        hit = ((codes < 0) | (codes == setting)).all(axis=1)
        revealed += hit
        minus += hit & (((codes >= 0) & (outcome == 1)).sum(axis=1) % 2 == 1)
    np.testing.assert_array_equal(found.revealed[0], revealed)
    np.testing.assert_array_equal(found.minus[0], minus)


@given(data=measured(), cuts=st.lists(st.floats(0, 1), max_size=5), order=st.randoms(use_true_random=False))
def test_tallies_of_parts_merge_to_the_tally_of_the_whole_in_any_order(data, cuts, order):
    snaps, bits, _, labels = data
    edges = sorted({0, len(bits), *(round(cut * len(bits)) for cut in cuts)})
    parts = [efl.tally(snaps[a:b], labels) for a, b in itertools.pairwise(edges)]
    whole = efl.tally(snaps, labels)
    assert sum(parts) == whole
    order.shuffle(parts)
    merged = sum(parts)
    assert merged == whole
    assert merged.to_bytes() == whole.to_bytes()


@given(data=measured(most_shots=200), buckets=st.integers(1, 5))
def test_merging_is_associative_and_commutative(data, buckets):
    snaps, bits, _, labels = data
    buckets = min(buckets, len(bits))
    a, b, c = (efl.tally(snaps[::step], labels, buckets=1) for step in (1, 2, -3))
    assert ((a + b) + c).to_bytes() == (a + (b + c)).to_bytes()
    assert (a + b).to_bytes() == (b + a).to_bytes()
    many = efl.tally(snaps, labels, buckets=buckets)
    np.testing.assert_array_equal((many + many).revealed, 2 * many.revealed)
    np.testing.assert_array_equal((many + many).minus, 2 * many.minus)


@given(data=measured(), buckets=st.integers(1, 40))
def test_buckets_of_a_tally_are_tallies_of_the_parts(data, buckets):
    snaps, bits, _, labels = data
    buckets = min(buckets, len(bits))
    whole = efl.tally(snaps, labels, buckets=buckets)
    edges = twins.bucket_edges(len(bits), buckets)
    for b in range(buckets):
        part = efl.tally(snaps[edges[b] : edges[b + 1]], labels)
        np.testing.assert_array_equal(whole.revealed[b], part.revealed[0])
        np.testing.assert_array_equal(whole.minus[b], part.minus[0])


@given(data=measured(), buckets=st.integers(1, 9))
def test_tallies_round_trip_through_bytes(data, buckets):
    snaps, bits, _, labels = data
    original = efl.tally(snaps, labels, buckets=min(buckets, len(bits)))
    carried = efl.Tally.from_bytes(original.to_bytes())
    assert carried == original
    assert carried.to_bytes() == original.to_bytes()


@given(data=measured(most_qubits=8), seed=st.integers(0, 2**32))
def test_estimates_are_those_of_the_naive_twin(data, seed):
    snaps, bits, bases, labels = data
    n_qubits, shots = snaps.n_qubits, len(bits)
    rng = np.random.default_rng(seed)
    rows = rng.dirichlet([3, 3, 3], size=n_qubits)
    snaps = snaps.with_ensemble(efl.Ensemble.biased(rows))
    terms = {label: float(rng.normal()) for label in labels}
    buckets = 1 + seed % min(shots, 9)
    observables = [terms, {**terms, "I" * n_qubits: 2.5}, *({label: -2.0} for label in terms)]
    found = {rule: efl.estimate(snaps, observables, combine=rule) for rule in ("mean", "hit_normalised")}
    median = efl.estimate(snaps, observables, combine="median_of_means", buckets=buckets)
    for i, observable in enumerate(observables):
        scale = sum(abs(c) / twins.reveal_probability(rows, label) for label, c in observable.items())
        close = {"rel": 1e-9, "abs": 1e-12 * (1 + scale)}
        expected = twins.mean_with_error(bits, bases, observable, rows) if shots > 1 else None
        if expected is not None:
            assert found["mean"].value[i] == pytest.approx(expected[0], **close)
            assert found["mean"].stderr[i] == pytest.approx(expected[1], rel=1e-6, abs=1e-6 * scale)
        expected = twins.hit_normalised(bits, bases, observable)
        assert found["hit_normalised"].value[i] == pytest.approx(expected, **close)
        expected = twins.median_of_means(bits, bases, observable, rows, buckets)
        assert median.value[i] == pytest.approx(expected, **close)


@given(data=measured(most_qubits=70), seed=st.integers(0, 2**32))
@settings(max_examples=25)
def test_the_bits_of_an_estimate_depend_on_neither_cpu_level_nor_threads(data, seed):
    snaps, _, _, labels = data
    rng = np.random.default_rng(seed)
    sums = [{label: float(rng.normal()) for label in labels[i:]} for i in range(min(3, len(labels)))]
    level, threads = _native.cpu_level(), efl.num_threads()
    results = set()
    try:
        for name, count in itertools.product(LEVELS, (1, 2, 4)):
            _native.set_cpu_level(name)
            efl.set_num_threads(count)
            for rule in ("mean", "hit_normalised"):
                found = efl.estimate(snaps, [*labels, *sums], combine=rule)
                results.add((rule, found.value.tobytes(), found.stderr.tobytes(), found.revealed.tobytes()))
    finally:
        _native.set_cpu_level(level)
        efl.set_num_threads(threads)
    assert len(results) == 2


def test_sampling_does_not_depend_on_the_cpu_level():
    rng = np.random.default_rng(4)
    state = rng.normal(size=2**9) + 1j * rng.normal(size=2**9)
    state /= np.linalg.norm(state)
    before = _native.cpu_level()
    found = []
    try:
        for level in LEVELS:
            _native.set_cpu_level(level)
            found.append(efl.sample(state, shots=20_000, seed=3))
    finally:
        _native.set_cpu_level(before)
    assert all(snaps == found[0] for snaps in found)
