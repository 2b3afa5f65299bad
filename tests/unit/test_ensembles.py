"""Ensembles: how settings are drawn, and which words they reveal."""

import copy
import itertools
import pickle

import numpy as np
import pytest

from efl_core import Ensemble, PauliWord

BIASED = [[0.5, 0.25, 0.25], [0.0, 1.0, 0.0], [0.1, 0.2, 0.7]]


def test_uniform_letters():
    ensemble = Ensemble.uniform(3)
    assert (ensemble.n_qubits, ensemble.kind) == (3, "uniform")
    np.testing.assert_array_equal(ensemble.probabilities, np.full((3, 3), 1 / 3))
    assert repr(ensemble) == "Ensemble.uniform(n_qubits=3)"


@pytest.mark.parametrize("make", [list, np.array, lambda rows: np.asfortranarray(rows, dtype=np.float64)])
def test_biased_letters(make):
    ensemble = Ensemble.biased(make(BIASED))
    assert (ensemble.n_qubits, ensemble.kind) == (3, "biased")
    np.testing.assert_array_equal(ensemble.probabilities, BIASED)
    assert ensemble.probabilities.shape == (3, 3)
    assert repr(ensemble) == "Ensemble.biased(n_qubits=3)"


def test_probabilities_of_strided_and_single_precision_arrays():
    table = np.tile(np.array([[0.5, 0.25, 0.25]], dtype=np.float32), (6, 1))
    np.testing.assert_array_equal(Ensemble.biased(table[::2]).probabilities, table[::2])


@pytest.mark.parametrize("weight", range(6))
def test_uniform_letters_reveal_a_word_with_three_to_minus_its_weight(weight):
    word = PauliWord({q: "XYZ"[q % 3] for q in range(weight)}, n_qubits=6)
    assert Ensemble.uniform(6).reveal_probability(word) == 1 / 3**weight


def test_biased_letters_reveal_a_word_with_the_product_over_its_support():
    ensemble = Ensemble.biased(BIASED)
    for letters in itertools.product("IXYZ", repeat=3):
        expected = np.prod(
            [row["XYZ".index(letter)] for row, letter in zip(BIASED, letters, strict=True) if letter != "I"]
        )
        assert ensemble.reveal_probability("".join(letters)) == pytest.approx(expected, rel=1e-15)


def test_words_are_read_in_every_form():
    ensemble = Ensemble.biased(BIASED)
    assert ensemble.reveal_probability("IIX") == 0.1
    assert ensemble.reveal_probability({2: "X"}) == 0.1
    assert ensemble.reveal_probability(PauliWord("IIX")) == 0.1


def test_rows_may_miss_one_by_rounding_only():
    assert Ensemble.biased([[1 / 3, 1 / 3, 1 / 3 + 1e-12]]).n_qubits == 1


def test_equality():
    assert Ensemble.uniform(2) == Ensemble.uniform(2)
    assert Ensemble.uniform(2) != Ensemble.uniform(3)
    assert Ensemble.biased(BIASED) == Ensemble.biased(np.array(BIASED))
    assert Ensemble.biased(BIASED) != Ensemble.biased(BIASED[::-1])
    assert Ensemble.uniform(2) != "uniform"


@pytest.mark.parametrize(
    "ensemble", [Ensemble.uniform(4), Ensemble.biased(BIASED)], ids=["uniform", "biased"]
)
@pytest.mark.parametrize("carry", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_ensembles_survive_pickle_and_copy(ensemble, carry):
    carried = carry(ensemble)
    assert carried == ensemble
    assert (carried.kind, carried.n_qubits) == (ensemble.kind, ensemble.n_qubits)
    np.testing.assert_array_equal(carried.probabilities, ensemble.probabilities)


def test_an_ensemble_cannot_be_changed_through_its_probabilities():
    source = np.array(BIASED)
    ensemble = Ensemble.biased(source)
    source[:] = 0
    ensemble.probabilities[:] = 0
    np.testing.assert_array_equal(ensemble.probabilities, BIASED)


def test_ensembles_are_made_by_name_only():
    with pytest.raises(TypeError, match="cannot create"):
        Ensemble()
