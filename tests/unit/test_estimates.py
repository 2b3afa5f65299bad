"""Counting and estimating: what goes in, what comes out."""

import copy
import math
import pickle

import numpy as np
import pytest
from tests.oracle.dense import random_state

import efl_core as efl

WORDS = ["XII", "ZZI", "XYZ", "III", "ZZI"]
RULES = ["mean", "hit_normalised", "median_of_means"]


@pytest.fixture(scope="module")
def snaps():
    return efl.sample(random_state(3, 1), shots=3000, seed=1)


@pytest.fixture(scope="module")
def counts(snaps):
    return efl.tally(snaps, WORDS, buckets=32)


def same(a, b):
    np.testing.assert_array_equal(a.value, b.value)
    np.testing.assert_array_equal(a.stderr, b.stderr)
    np.testing.assert_array_equal(a.revealed, b.revealed)
    assert a.shots == b.shots


@pytest.mark.parametrize("combine", RULES)
def test_one_observable_gives_numbers_and_a_list_gives_arrays(snaps, combine):
    one = efl.estimate(snaps, "ZZI", combine=combine, **({"buckets": 9} if "median" in combine else {}))
    many = efl.estimate(snaps, ["ZZI"], combine=combine, **({"buckets": 9} if "median" in combine else {}))
    assert (type(one.value), type(one.stderr), type(one.revealed)) == (float, float, int)
    assert many.value.dtype == many.stderr.dtype == np.float64
    assert many.revealed.dtype == np.uint64
    assert many.value.shape == many.stderr.shape == many.revealed.shape == (1,)
    assert (one.value, one.stderr, one.revealed) == (many.value[0], many.stderr[0], many.revealed[0])
    assert one.shots == many.shots == 3000
    assert len(one) == len(many) == 1


@pytest.mark.parametrize(
    "observable",
    [
        "ZZI",
        {0: "Z", 1: "Z"},
        efl.PauliWord("ZZI"),
        {"ZZI": 1.0},
        {"ZZI": 1},
        {efl.PauliWord("ZZI"): np.float32(1)},
        efl.PauliSum("ZZI"),
    ],
    ids=["label", "dict word", "word", "sum", "integer", "dict of words", "PauliSum"],
)
def test_every_way_to_write_an_observable_gives_the_same(snaps, observable):
    same(efl.estimate(snaps, observable), efl.estimate(snaps, "ZZI"))
    same(efl.estimate(snaps, [observable]), efl.estimate(snaps, ["ZZI"]))


def test_a_list_mixes_words_and_sums(snaps):
    terms = {"XII": 0.5, "XYZ": -1.0}
    mixed = ["ZZI", {0: "X"}, terms, efl.PauliSum(terms), efl.PauliWord("III"), {}]
    found = efl.estimate(snaps, mixed)
    for i, observable in enumerate(mixed):
        one = efl.estimate(snaps, observable)
        assert (found.value[i], found.stderr[i], found.revealed[i]) == (one.value, one.stderr, one.revealed)
    same(efl.estimate(snaps, iter(mixed)), found)
    same(efl.estimate(snaps, tuple(mixed)), found)
    same(efl.estimate(snaps, np.array(["ZZI", "XII"])), efl.estimate(snaps, ["ZZI", "XII"]))


def test_order_and_repetition_of_observables_do_not_matter(snaps):
    forward, backward = efl.estimate(snaps, WORDS), efl.estimate(snaps, WORDS[::-1])
    np.testing.assert_array_equal(forward.value, backward.value[::-1])
    np.testing.assert_array_equal(forward.stderr, backward.stderr[::-1])
    assert forward.value[1] == forward.value[4]


@pytest.mark.parametrize("combine", RULES)
def test_the_identity_is_known_exactly(snaps, combine):
    for observable, value in [("III", 1.0), ({"III": -2.5}, -2.5), ({}, 0.0), ({"XYZ": 0.0}, 0.0)]:
        found = efl.estimate(snaps, observable, combine=combine)
        assert (found.value, found.stderr, found.revealed) == (value, 0.0, 3000)


@pytest.mark.parametrize("combine", RULES)
def test_the_identity_shifts_a_sum_and_leaves_its_error(snaps, combine):
    terms = {"XII": 0.5, "ZZI": -1.5}
    plain = efl.estimate(snaps, terms, combine=combine)
    shifted = efl.estimate(snaps, terms | {"III": 4.0}, combine=combine)
    assert shifted.value == pytest.approx(plain.value + 4, abs=1e-12)
    assert shifted.stderr == pytest.approx(plain.stderr, rel=1e-12)
    assert shifted.revealed == plain.revealed


@pytest.mark.parametrize("combine", RULES)
def test_scale_is_carried_through(snaps, combine):
    terms = {"XII": 0.5, "ZZI": -1.5, "XYZ": 0.25}
    plain = efl.estimate(snaps, terms, combine=combine)
    scaled = efl.estimate(snaps, -4 * efl.PauliSum(terms), combine=combine)
    assert scaled.value == pytest.approx(-4 * plain.value, rel=1e-12)
    assert scaled.stderr == pytest.approx(4 * plain.stderr, rel=1e-12)


def test_revealed_of_a_sum_is_that_of_its_rarest_word(snaps):
    hits = dict(zip(WORDS, efl.tally(snaps, WORDS).revealed[0], strict=True))
    assert efl.estimate(snaps, {"XII": 1, "XYZ": 1, "III": 1}).revealed == min(hits["XII"], hits["XYZ"])


def test_a_word_never_revealed_has_a_large_error():
    snaps = efl.Snapshots.from_arrays([[0, 0]] * 10, [[0, 0]] * 10)
    mean = efl.estimate(snaps, "ZZ")
    assert (mean.value, mean.revealed) == (0.0, 0)
    assert mean.stderr == pytest.approx(math.sqrt(9 / 9))
    hit = efl.estimate(snaps, "ZZ", combine="hit_normalised")
    assert (hit.value, hit.stderr, hit.revealed) == (0.0, 1.0, 0)


def test_one_snapshot_is_enough_for_a_value_and_a_bound():
    snaps = efl.Snapshots.from_arrays([[0, 1]], [[2, 2]])
    found = efl.estimate(snaps, ["ZZ", {"ZI": 1.0, "IZ": 1.0}, "XX"])
    assert found.value.tolist() == [-9.0, 0.0, 0.0]
    assert np.isfinite(found.stderr).all()
    assert (found.stderr > 0).all()


@pytest.mark.parametrize("observables", [1, 5, 400])
def test_default_buckets_follow_the_number_of_observables(snaps, observables):
    wanted = math.ceil(2 * math.log(2 * observables / 0.05))
    wanted += 1 - wanted % 2
    words = ["XII"] * observables
    same(
        efl.estimate(snaps, words, combine="median_of_means"),
        efl.estimate(snaps, words, combine="median_of_means", buckets=wanted),
    )


def test_default_buckets_never_exceed_the_shots(snaps):
    same(
        efl.estimate(snaps[:3], "XII", combine="median_of_means"),
        efl.estimate(snaps[:3], "XII", combine="median_of_means", buckets=3),
    )


def test_one_bucket_is_the_mean(snaps):
    same(
        efl.estimate(snaps, WORDS, combine="median_of_means", buckets=1),
        efl.estimate(snaps, WORDS),
    )


def test_no_observables_give_empty_arrays(snaps):
    for combine in RULES:
        found = efl.estimate(snaps, [], combine=combine)
        assert found.value.shape == found.stderr.shape == (0,)
        assert (len(found), found.shots) == (0, 3000)
    assert len(efl.tally(snaps, [])) == 0


def test_estimates_print_value_and_error():
    one = efl.Estimate(0.51234567, 0.0123, 7, 1000)
    assert repr(one) == "Estimate(0.512346 +- 0.012, shots=1000)"
    few = efl.Estimate(np.array([1.0, -0.5]), np.array([0.1, 0.25]), np.array([3, 4]), 10)
    assert repr(few) == "Estimate([1 +- 0.1, -0.5 +- 0.25], 2 observables, shots=10)"
    many = efl.Estimate(np.arange(6.0), np.ones(6), np.ones(6, dtype=np.uint64), 10)
    assert repr(many).endswith("3 +- 1, ...], 6 observables, shots=10)")


def test_estimates_are_frozen_and_survive_pickle(snaps):
    found = efl.estimate(snaps, WORDS)
    with pytest.raises(AttributeError):
        found.value = 3
    same(pickle.loads(pickle.dumps(found)), found)
    same(copy.deepcopy(found), found)


def test_a_tally_tells_what_it_counted(snaps, counts):
    assert [word.label for word in counts.words] == WORDS
    assert counts.ensemble == snaps.ensemble
    assert (counts.shots, len(counts)) == (3000, 5)
    assert counts.bucket_shots.sum() == 3000
    assert counts.bucket_shots.shape == (32,)
    assert counts.bucket_shots.max() - counts.bucket_shots.min() <= 1
    assert counts.revealed.shape == counts.minus.shape == (32, 5)
    assert counts.revealed.dtype == counts.minus.dtype == counts.bucket_shots.dtype == np.uint64
    assert (counts.minus <= counts.revealed).all()
    assert repr(counts) == "Tally(5 words of 3 qubits, 3000 shots, 32 buckets)"


def test_words_of_a_tally_are_read_in_every_form(snaps):
    expected = efl.tally(snaps, ["ZZI"])
    for words in ("ZZI", efl.PauliWord("ZZI"), {0: "Z", 1: "Z"}, [{0: "Z", 1: "Z"}], iter(["ZZI"])):
        assert efl.tally(snaps, words) == expected


def test_tallies_add_up(snaps, counts):
    parts = [efl.tally(snaps[a : a + 1000], WORDS) for a in (0, 1000, 2000)]
    whole = efl.tally(snaps, WORDS)
    assert sum(parts) == whole
    assert parts[2] + parts[0] + parts[1] == whole
    assert 0 + parts[0] == parts[0]
    double = counts + counts
    np.testing.assert_array_equal(double.revealed, 2 * counts.revealed)
    np.testing.assert_array_equal(double.bucket_shots, 2 * counts.bucket_shots)
    assert counts.shots == 3000


def test_tallies_compare_every_part(snaps, counts):
    assert counts == efl.tally(snaps, WORDS, buckets=32)
    assert counts != efl.tally(snaps, WORDS, buckets=31)
    assert counts != efl.tally(snaps, WORDS[::-1], buckets=32)
    assert counts != efl.tally(snaps[::-1], WORDS, buckets=32)
    biased = efl.Ensemble.biased([[1 / 3] * 3] * 3)
    assert counts != efl.tally(snaps.with_ensemble(biased), WORDS, buckets=32)
    assert counts != 3


@pytest.mark.parametrize("buckets", [1, 32])
@pytest.mark.parametrize("bias", [None, [[0.5, 0.3, 0.2]] * 3], ids=["uniform", "biased"])
def test_tallies_survive_bytes_pickle_and_copy(snaps, buckets, bias):
    if bias is not None:
        snaps = snaps.with_ensemble(efl.Ensemble.biased(bias))
    for words in (WORDS, []):
        original = efl.tally(snaps, words, buckets=buckets)
        data = original.to_bytes()
        assert isinstance(data, bytes)
        carried = [efl.Tally.from_bytes(data), pickle.loads(pickle.dumps(original)), copy.deepcopy(original)]
        for other in carried:
            assert other == original
            assert other.ensemble == snaps.ensemble
            assert other.to_bytes() == data


def test_a_tally_cannot_be_changed_through_what_it_returns(counts):
    before = counts.to_bytes()
    counts.revealed[:] = 0
    counts.minus[:] = 0
    counts.bucket_shots[:] = 0
    counts.words.clear()
    assert counts.to_bytes() == before
    with pytest.raises(AttributeError):
        counts.shots = 3


@pytest.mark.parametrize("combine", ["mean", "hit_normalised"])
def test_words_estimated_from_a_tally_equal_those_from_snapshots(snaps, combine):
    for buckets in (1, 32):
        counted = efl.tally(snaps, WORDS, buckets=buckets)
        same(efl.estimate(counted, WORDS, combine=combine), efl.estimate(snaps, WORDS, combine=combine))
        one = efl.estimate(counted, "XYZ", combine=combine)
        assert type(one.value) is float
        same(one, efl.estimate(snaps, "XYZ", combine=combine))


def test_medians_estimated_from_a_tally_equal_those_from_snapshots(snaps):
    counted = efl.tally(snaps, WORDS, buckets=9)
    same(
        efl.estimate(counted, combine="median_of_means"),
        efl.estimate(snaps, WORDS, combine="median_of_means", buckets=9),
    )


def test_sums_estimated_from_a_tally_have_the_same_value_and_a_similar_error(snaps, counts):
    terms = {"XII": 0.5, "XYZ": -1.0, "ZZI": 2.0, "III": 3.0}
    for combine in ("mean", "hit_normalised"):
        found, direct = (efl.estimate(data, terms, combine=combine) for data in (counts, snaps))
        assert found.value == pytest.approx(direct.value, rel=1e-12)
        # 31 degrees of freedom: the ratio of the errors spreads by 13 %, four times that is 0.51
        assert 0.49 < found.stderr / direct.stderr < 1.51


def test_a_tally_estimates_its_own_words_by_default(counts):
    same(efl.estimate(counts), efl.estimate(counts, WORDS))
    same(efl.estimate(counts), efl.estimate(counts, counts.words))


def test_a_tally_estimates_a_part_of_its_words(counts):
    whole = efl.estimate(counts)
    part = efl.estimate(counts, ["XYZ", "XII"])
    np.testing.assert_array_equal(part.value, whole.value[[2, 0]])
    np.testing.assert_array_equal(part.stderr, whole.stderr[[2, 0]])


def test_the_number_of_threads_is_set_for_the_process():
    before = efl.num_threads()
    try:
        efl.set_num_threads(3)
        assert efl.num_threads() == 3
        efl.set_num_threads(np.int64(1))
        assert efl.num_threads() == 1
    finally:
        efl.set_num_threads(before)


def test_show_versions_names_what_a_bug_report_needs(capsys):
    efl.show_versions()
    text = capsys.readouterr().out
    for name in ("efl_core", "python", "platform", "cpu level", "threads", "tally format", "numpy"):
        assert name in text
    assert efl.__version__ in text
