"""Pauli words: written, printed, compared, multiplied, carried between processes."""

import copy
import itertools
import pickle

import numpy as np
import pytest
from tests.oracle.dense import word_matrix

from efl_core import PauliSum, PauliWord


def labels(n_qubits):
    return ["".join(letters) for letters in itertools.product("IXYZ", repeat=n_qubits)]


@pytest.mark.parametrize("label", ["I", "X", "XIZY", "IIII", "ZZZZZZZZ"])
def test_a_label_is_printed_as_it_was_written(label):
    word = PauliWord(label)
    assert word.label == str(word) == label
    assert repr(word) == f"PauliWord('{label}')"
    assert eval(repr(word), {"PauliWord": PauliWord}) == word


def test_a_word_knows_its_width_weight_and_support():
    word = PauliWord("XIZYI")
    assert (word.n_qubits, word.weight) == (5, 3)
    assert word.support == {0: "X", 2: "Z", 3: "Y"}
    assert list(word.support) == [0, 2, 3]
    assert PauliWord("III").support == {}


@pytest.mark.parametrize(
    ("letters", "label"),
    [
        ({}, "III"),
        ({0: "X"}, "XII"),
        ({2: "Z", 0: "Y"}, "YIZ"),
        ({1: "I"}, "III"),
        ({np.int64(1): "Z"}, "IZI"),
    ],
)
def test_a_dict_names_qubits(letters, label):
    assert PauliWord(letters, n_qubits=3) == PauliWord(label)


def test_a_word_is_made_from_a_word_and_checked_against_a_width():
    word = PauliWord("XZ")
    assert PauliWord(word) == word
    assert PauliWord(word, n_qubits=2) == word
    assert PauliWord("XZ", n_qubits=np.int32(2)) == word
    assert PauliWord(word.support, n_qubits=2) == word


@pytest.mark.parametrize("n_qubits", [1, 2, 3])
def test_products_are_those_of_the_matrices(n_qubits):
    matrices = {label: word_matrix(label) for label in labels(n_qubits)}
    for a, b in itertools.product(matrices, repeat=2):
        phase, product = PauliWord(a).multiply(PauliWord(b))
        assert isinstance(phase, complex)
        np.testing.assert_array_equal(phase * matrices[product.label], matrices[a] @ matrices[b], f"{a} {b}")


@pytest.mark.parametrize("n_qubits", [1, 2])
def test_commutation_is_that_of_the_matrices(n_qubits):
    for a, b in itertools.product(labels(n_qubits), repeat=2):
        left, right = word_matrix(a) @ word_matrix(b), word_matrix(b) @ word_matrix(a)
        assert PauliWord(a).commutes_with(b) is np.array_equal(left, right), (a, b)
        qubit_wise = all(p == q or "I" in (p, q) for p, q in zip(a, b, strict=True))
        assert PauliWord(a).qubit_wise_commutes(b) is qubit_wise, (a, b)


def test_other_words_are_read_in_every_form():
    word = PauliWord("XI")
    for other in ("YZ", {0: "Y", 1: "Z"}, PauliWord("YZ")):
        assert word.multiply(other) == (1j, PauliWord("ZZ"))
        assert not word.commutes_with(other)
        assert not word.qubit_wise_commutes(other)


def test_equal_words_hash_alike_and_others_differ():
    words = {PauliWord(label) for label in labels(3)}
    assert len(words) == 64
    assert words == {PauliWord(PauliWord(label).support, n_qubits=3) for label in labels(3)}
    assert PauliWord("XI") != PauliWord("X")
    assert PauliWord("XI") != PauliWord("IX")
    assert PauliWord("X") != "X"
    assert {PauliWord("XZ"): 1}[PauliWord({0: "X", 1: "Z"}, n_qubits=2)] == 1


def test_order_is_total_and_consistent():
    words = [PauliWord(label) for n in (1, 2) for label in labels(n)]
    for a, b in itertools.product(words, repeat=2):
        assert (a < b) + (a == b) + (a > b) == 1
        assert (a <= b) is (a < b or a == b)
        assert (a >= b) is (b <= a)
    ordered = sorted(words)
    assert all(a < b for a, b in itertools.pairwise(ordered))
    assert sorted(reversed(words)) == ordered
    assert next(word for word in ordered if word.n_qubits == 2) == PauliWord("II")


def test_words_are_not_ordered_against_other_things():
    with pytest.raises(TypeError):
        PauliWord("X") < 3  # noqa: B015
    with pytest.raises(TypeError):
        sorted([PauliWord("X"), "X"])


def test_restrict_keeps_the_letters_on_the_qubits_named():
    word = PauliWord("XYZXY")
    assert word.restrict([0, 3]).label == "XIIXI"
    assert word.restrict([3, 0, 3]).label == "XIIXI"
    assert word.restrict([]).label == "IIIII"
    assert word.restrict(range(5)) == word
    assert word.restrict(np.array([1])).label == "IYIII"


@pytest.mark.parametrize("n_qubits", [1, 2, 63, 64, 65, 127, 128, 129, 200, 1000, 3000])
def test_words_of_any_width(n_qubits):
    rng = np.random.default_rng(n_qubits)
    a, b = ("".join(rng.choice(list("IXYZ"), size=n_qubits)) for _ in range(2))
    first, second = PauliWord(a), PauliWord(b)
    assert first.label == a
    assert first.n_qubits == n_qubits
    assert first.weight == n_qubits - a.count("I")
    assert first.support == {q: letter for q, letter in enumerate(a) if letter != "I"}
    assert PauliWord(first.support, n_qubits=n_qubits) == first

    expected_phase, expected = 1, []
    for p, q in zip(a, b, strict=True):
        phase, letter = PauliWord(p).multiply(q)
        expected_phase *= phase
        expected.append(letter.label)
    assert first.multiply(second) == (expected_phase, PauliWord("".join(expected)))
    clashes = sum(p != q and "I" not in (p, q) for p, q in zip(a, b, strict=True))
    assert first.commutes_with(second) is (clashes % 2 == 0)

    last = PauliWord({n_qubits - 1: "Y"}, n_qubits=n_qubits)
    assert last.label == "I" * (n_qubits - 1) + "Y"
    assert first.restrict([n_qubits - 1]).label == "I" * (n_qubits - 1) + a[-1]


@pytest.mark.parametrize("label", ["X", "XIZY", "IYZ" * 70])
@pytest.mark.parametrize("carry", [lambda w: pickle.loads(pickle.dumps(w)), copy.copy, copy.deepcopy])
def test_words_survive_pickle_and_copy(label, carry):
    word = PauliWord(label)
    carried = carry(word)
    assert carried == word
    assert hash(carried) == hash(word)
    assert carried.label == label


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_words_survive_every_pickle_protocol(protocol):
    assert pickle.loads(pickle.dumps(PauliWord("XYZ"), protocol)) == PauliWord("XYZ")


def test_words_are_immutable():
    word = PauliWord("X")
    with pytest.raises(AttributeError):
        word.label = "Y"
    with pytest.raises(AttributeError):
        word.colour = "red"


def test_a_word_is_not_a_sum():
    assert PauliWord("X") != PauliSum("X")
