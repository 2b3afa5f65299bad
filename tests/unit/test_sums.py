"""Pauli sums: written, printed, added, scaled, carried between processes."""

import copy
import pickle

import numpy as np
import pytest
from tests.oracle.dense import sum_matrix

from efl_core import PauliSum, PauliWord

ENERGY = {"ZI": 1.0, "XX": 0.5, "II": -2.0}


def as_dict(total):
    return {word.label: coefficient for word, coefficient in total.terms()}


@pytest.mark.parametrize(
    "terms",
    [
        ENERGY,
        {PauliWord(label): c for label, c in ENERGY.items()},
        list(ENERGY.items()),
        tuple((PauliWord(label), np.float64(c)) for label, c in ENERGY.items()),
        ((word, c) for word, c in ENERGY.items()),
        [({0: "Z"}, 1.0), ("XX", 0.5), ({}, -2)],
        [("ZI", 0.25), ("XX", 0.5), ("ZI", 0.75), ("II", -2.0), ("YY", 0.0)],
        PauliSum(ENERGY),
    ],
    ids=["dict", "words", "pairs", "tuple", "generator", "dict words", "repeated words", "sum"],
)
def test_every_way_to_write_a_sum_gives_the_same_sum(terms):
    total = PauliSum(terms, n_qubits=2)
    assert as_dict(total) == ENERGY
    assert total == PauliSum(ENERGY)
    assert (total.n_qubits, len(total)) == (2, 3)


def test_words_are_sorted_and_fit_the_coefficients():
    total = PauliSum(ENERGY)
    assert total.words == sorted(total.words)
    assert total.coefficients.dtype == np.float64
    assert dict(zip((word.label for word in total.words), total.coefficients, strict=True)) == ENERGY
    assert total.terms() == list(zip(total.words, total.coefficients, strict=True))


def test_a_word_is_a_sum_with_coefficient_one():
    for word in ("XZ", PauliWord("XZ"), {0: "X", 1: "Z"}):
        assert as_dict(PauliSum(word, n_qubits=2)) == {"XZ": 1.0}


def test_coefficient_of_a_word_present_and_absent():
    total = PauliSum(ENERGY)
    assert total.coefficient("XX") == 0.5
    assert total.coefficient({0: "Z"}) == 1.0
    assert total.coefficient(PauliWord("YY")) == 0.0


def test_terms_that_cancel_are_dropped():
    assert len(PauliSum([("X", 1.0), ("X", -1.0)])) == 0
    assert len(PauliSum({"X": 0.0})) == 0
    assert as_dict(PauliSum(ENERGY) - {"XX": 0.5}) == {"ZI": 1.0, "II": -2.0}


def test_the_empty_sum_has_a_width():
    empty = PauliSum({}, n_qubits=3)
    assert (len(empty), empty.n_qubits, empty.l1_norm, empty.l2_norm) == (0, 3, 0.0, 0.0)
    assert empty == PauliSum([], n_qubits=3)
    assert empty != PauliSum({}, n_qubits=2)
    assert str(empty) == "0"
    assert empty + PauliSum("XYZ") == PauliSum("XYZ")


def test_arithmetic_is_that_of_the_matrices():
    a, b = PauliSum(ENERGY), PauliSum({"XX": 1.5, "YZ": -0.25})
    for found, expected in [
        (a + b, sum_matrix(ENERGY) + sum_matrix(as_dict(b))),
        (a - b, sum_matrix(ENERGY) - sum_matrix(as_dict(b))),
        (3 * a, 3 * sum_matrix(ENERGY)),
        (a * -0.5, -0.5 * sum_matrix(ENERGY)),
        (-a, -sum_matrix(ENERGY)),
        (a + "XX", sum_matrix(ENERGY) + sum_matrix({"XX": 1.0})),
        (a - {0: "Z"}, sum_matrix(ENERGY) - sum_matrix({"ZI": 1.0})),
        (a + {"XX": 1, "ZZ": 2}, sum_matrix(ENERGY) + sum_matrix({"XX": 1.0, "ZZ": 2.0})),
    ]:
        np.testing.assert_array_equal(sum_matrix(as_dict(found)), expected)
    assert len(a - a) == 0
    assert len(0 * a) == 0


def test_norms():
    total = PauliSum({"XI": 3.0, "ZZ": -4.0})
    assert (total.l1_norm, total.l2_norm) == (7.0, 5.0)
    assert PauliSum({"X": 1e200, "Y": 1e200}).l2_norm == pytest.approx(2**0.5 * 1e200)


def test_equality_ignores_order_and_sees_coefficients():
    assert PauliSum({"X": 1.0, "Z": 2.0}) == PauliSum({"Z": 2.0, "X": 1.0})
    assert PauliSum({"X": 1.0}) != PauliSum({"X": 1.0 + 2**-52})
    assert PauliSum({"X": 1.0}) != PauliSum({"Y": 1.0})
    assert PauliSum({"X": 1.0}) != {"X": 1.0}


def test_printing():
    total = PauliSum(ENERGY)
    assert str(total) == "-2*II + 1*ZI + 0.5*XX"
    assert repr(total) == "PauliSum('-2*II + 1*ZI + 0.5*XX')"


def test_long_sums_print_their_size():
    words = {PauliWord({q: "Z"}, n_qubits=50): 1.0 for q in range(50)}
    text = str(PauliSum(words))
    assert text.endswith("(50 terms)")
    assert len(text) < 700


@pytest.mark.parametrize("terms", [ENERGY, {}, {"IX": 1e-300, "ZI": 1e300}, {"YX": 0.1}])
@pytest.mark.parametrize("carry", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy])
def test_sums_survive_pickle_and_copy(terms, carry):
    total = PauliSum(terms, n_qubits=2)
    carried = carry(total)
    assert carried == total
    assert (carried.n_qubits, as_dict(carried)) == (2, terms)


def test_sums_cannot_be_changed_through_what_they_return():
    total = PauliSum(ENERGY)
    total.coefficients[:] = 0
    total.words.clear()
    total.terms().clear()
    assert as_dict(total) == ENERGY
    with pytest.raises(AttributeError):
        total.n_qubits = 3


def test_sums_are_not_hashed():
    with pytest.raises(TypeError, match="unhashable"):
        hash(PauliSum("X"))


def test_wide_sums():
    n_qubits = 3000
    total = PauliSum({PauliWord({q: "X"}, n_qubits=n_qubits): float(q + 1) for q in range(n_qubits)})
    assert len(total) == n_qubits
    assert total.l1_norm == n_qubits * (n_qubits + 1) / 2
    assert total.coefficient({2999: "X"}) == 3000.0
