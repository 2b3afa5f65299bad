"""Pauli words form a group up to phases, and sums a vector space."""

import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from efl_core import PauliSum, PauliWord


@st.composite
def words(draw, count):
    n_qubits = draw(st.integers(1, 12) | st.integers(1, 200) | st.sampled_from([63, 64, 65, 128, 129]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    density = draw(st.sampled_from([0.0, 0.05, 0.5, 1.0]))
    letters = np.where(rng.random((count, n_qubits)) < density, rng.integers(1, 4, (count, n_qubits)), 0)
    return ["".join("IXYZ"[letter] for letter in row) for row in letters]


@st.composite
def sums(draw, count):
    """Sums with dyadic coefficients, so that their arithmetic is exact."""
    n_qubits = draw(st.integers(1, 4) | st.sampled_from([64, 65]))
    label = st.lists(st.sampled_from("IXYZ"), min_size=n_qubits, max_size=n_qubits).map("".join)
    terms = st.dictionaries(label, st.integers(-64, 64).map(lambda c: c / 8), max_size=6)
    return [PauliSum(draw(terms), n_qubits=n_qubits) for _ in range(count)]


@given(words(1))
def test_labels_and_supports_round_trip(labels):
    word = PauliWord(labels[0])
    assert word.label == labels[0]
    assert PauliWord(word.support, n_qubits=word.n_qubits) == word
    assert word.weight == len(word.support) == word.n_qubits - labels[0].count("I")
    assert pickle.loads(pickle.dumps(word)) == word
    assert hash(PauliWord(word.label)) == hash(word)


@given(words(3))
def test_products_are_associative_with_their_phases(labels):
    a, b, c = map(PauliWord, labels)
    phase_ab, ab = a.multiply(b)
    phase_left, left = ab.multiply(c)
    phase_bc, bc = b.multiply(c)
    phase_right, right = a.multiply(bc)
    assert left == right
    assert phase_ab * phase_left == phase_bc * phase_right


@given(words(2))
def test_exchanging_the_factors_gives_a_sign_that_says_whether_they_commute(labels):
    a, b = map(PauliWord, labels)
    (phase, product), (other_phase, other) = a.multiply(b), b.multiply(a)
    assert product == other
    assert other_phase == phase.conjugate()
    assert a.commutes_with(b) is b.commutes_with(a) is (phase == other_phase)
    assert phase.real == 0 or phase.imag == 0
    assert a.commutes_with(b) is (phase.imag == 0)
    if a.qubit_wise_commutes(b):
        assert a.commutes_with(b)


@given(words(1))
def test_a_word_is_its_own_inverse_and_the_identity_is_neutral(labels):
    word = PauliWord(labels[0])
    identity = PauliWord({}, n_qubits=word.n_qubits)
    assert word.multiply(word) == (1, identity)
    assert word.multiply(identity) == identity.multiply(word) == (1, word)
    assert word.commutes_with(word)


@given(words(3))
def test_commutation_is_a_symplectic_form(labels):
    a, b, c = map(PauliWord, labels)
    _, bc = b.multiply(c)
    assert a.commutes_with(bc) is (a.commutes_with(b) is a.commutes_with(c))


@given(words(2), st.data())
def test_restrictions_split_a_word_and_respect_products(labels, choose):
    a, b = map(PauliWord, labels)
    kept = sorted(choose.draw(st.sets(st.integers(0, a.n_qubits - 1))))
    rest = [q for q in range(a.n_qubits) if q not in kept]
    assert a.restrict(kept).multiply(a.restrict(rest)) == (1, a)
    assert a.restrict(kept).restrict(kept) == a.restrict(kept)
    _, product = a.multiply(b)
    assert a.restrict(kept).multiply(b.restrict(kept))[1] == product.restrict(kept)


@given(words(3))
def test_order_is_transitive_and_agrees_with_equality(labels):
    a, b, c = map(PauliWord, labels)
    low, middle, high = sorted([a, b, c])
    assert low <= middle <= high
    assert low <= high
    assert (a == b) is (labels[0] == labels[1])
    assert (a < b) is (b > a)
    assert (a < b or b < a) is (a != b)


@given(sums(3))
def test_sums_are_a_vector_space(operators):
    a, b, c = operators
    zero = PauliSum({}, n_qubits=a.n_qubits)
    assert a + b == b + a
    assert (a + b) + c == a + (b + c)
    assert a + zero == a
    assert a - a == zero
    assert 2 * (a + b) == 2 * a + 2 * b
    assert 0.5 * (4 * a) == 2 * a
    assert a - b == a + -b


@given(sums(2))
def test_norms_obey_the_triangle_inequality(operators):
    a, b = operators
    assert (a + b).l1_norm <= a.l1_norm + b.l1_norm
    assert (a + b).l2_norm <= (a.l2_norm + b.l2_norm) * (1 + 1e-15)
    assert a.l2_norm <= a.l1_norm * (1 + 1e-15)
    assert (-3 * a).l1_norm == 3 * a.l1_norm


@given(sums(1), st.randoms(use_true_random=False))
def test_the_order_of_the_terms_does_not_matter(operators, order):
    terms = operators[0].terms()
    n_qubits = operators[0].n_qubits
    order.shuffle(terms)
    assert PauliSum(terms, n_qubits=n_qubits) == operators[0]
    assert PauliSum(dict(terms), n_qubits=n_qubits) == operators[0]
    assert pickle.loads(pickle.dumps(operators[0])) == operators[0]
    assert all(operators[0].coefficient(word) == c for word, c in terms)
