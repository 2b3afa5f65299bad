"""PennyLane as the oracle: its estimator on the same arrays, its simulators, wire order, expectation values.

Comparisons with exact values are within 5 standard errors at fixed seeds: a false-alarm rate of 6e-7 each.
"""

import itertools

import numpy as np
import pennylane as qml
import pytest
from tests.oracle.dense import expectation, outcome_probabilities, random_state

import efl_core as efl


def pennylane_word(label):
    return qml.pauli.string_to_pauli_word(label) if set(label) != {"I"} else qml.Identity(0)


def pennylane_sum(terms):
    return qml.Hamiltonian(list(terms.values()), [pennylane_word(label) for label in terms])


@pytest.fixture(
    scope="module", params=[(1, 600), (3, 997), (6, 1200)], ids=["1 qubit", "3 qubits", "6 qubits"]
)
def measured(request):
    n_qubits, shots = request.param
    rng = np.random.default_rng(n_qubits)
    bits, recipes = rng.integers(0, 2, (shots, n_qubits)), rng.integers(0, 3, (shots, n_qubits))
    words = ["".join(rng.choice(list("IXYZ"), size=n_qubits)) for _ in range(20)]
    words += ["X" * n_qubits, "I" * (n_qubits - 1) + "Z", "Y" + "I" * (n_qubits - 1)]
    return bits, recipes, sorted({word for word in words if set(word) != {"I"}})


def test_words_agree_with_pennylane(measured):
    bits, recipes, words = measured
    expected = qml.ClassicalShadow(bits, recipes).expval([pennylane_word(w) for w in words], k=1)
    found = efl.estimate(efl.Snapshots.from_arrays(bits, recipes), words)
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=1e-12)


def test_hamiltonians_agree_with_pennylane(measured):
    bits, recipes, words = measured
    rng = np.random.default_rng(0)
    shadow = qml.ClassicalShadow(bits, recipes)
    snaps = efl.Snapshots.from_arrays(bits, recipes)
    for _ in range(10):
        chosen = rng.choice(words, size=min(len(words), 7), replace=False)
        terms = {str(word): float(rng.normal()) for word in chosen}
        terms["I" * bits.shape[1]] = 0.75
        expected = shadow.expval(pennylane_sum(terms), k=1)
        assert efl.estimate(snaps, terms).value == pytest.approx(float(expected), rel=0, abs=1e-12)


@pytest.mark.parametrize("k", [2, 3, 5, 10, 25])
def test_medians_of_words_agree_with_pennylane_when_the_buckets_are_equal(k):
    rng = np.random.default_rng(k)
    shots = 60 * k
    bits, recipes = rng.integers(0, 2, (shots, 3)), rng.integers(0, 3, (shots, 3))
    words = ["".join(letters) for letters in itertools.product("IXYZ", repeat=3)][1:]
    expected = qml.ClassicalShadow(bits, recipes).expval([pennylane_word(w) for w in words], k=k)
    snaps = efl.Snapshots.from_arrays(bits, recipes)
    found = efl.estimate(snaps, words, combine="median_of_means", buckets=k)
    np.testing.assert_allclose(found.value, expected, rtol=0, atol=1e-12)


def asymmetric_circuit():
    """Entangled, complex, and different on every wire."""
    qml.RY(0.4, 0)
    qml.RX(1.1, 1)
    qml.CNOT([0, 2])
    qml.RZ(0.7, 2)
    qml.RY(-0.9, 2)
    qml.CRX(1.3, [1, 0])
    qml.S(1)
    qml.Hadamard(1)
    qml.CZ([1, 2])


OBSERVABLES = [
    "ZII",
    "IZI",
    "IIZ",
    "XII",
    "IXI",
    "IIX",
    "IYI",
    "YII",
    "IIY",
    "ZXI",
    "IZY",
    "XIZ",
    "YIX",
    "XYZ",
    "ZZY",
    {"ZII": 1.0, "IZI": -2.0, "IIZ": 0.5, "XIY": 0.7, "III": 0.3},
]


def exact(observables, circuit=asymmetric_circuit, wires=3):
    operators = [pennylane_word(o) if isinstance(o, str) else pennylane_sum(o) for o in observables]

    @qml.qnode(qml.device("default.qubit", wires=wires))
    def values():
        circuit()
        return [qml.expval(operator) for operator in operators]

    return np.array(values(), dtype=float)


def test_a_shadow_of_default_qubit_estimates_its_circuit():
    @qml.set_shots(20_000)
    @qml.qnode(qml.device("default.qubit", wires=3, seed=11))
    def shadow():
        asymmetric_circuit()
        return qml.classical_shadow(wires=range(3), seed=12)

    found = shadow()
    snaps = efl.Snapshots.from_pennylane(found)
    assert (len(snaps), snaps.n_qubits) == (20_000, 3)
    assert snaps == efl.Snapshots.from_pennylane(tuple(found))
    bits, recipes = found
    np.testing.assert_array_equal(snaps.to_arrays(), [bits, recipes])
    estimate = efl.estimate(snaps, OBSERVABLES)
    pulls = (estimate.value - exact(OBSERVABLES)) / estimate.stderr
    assert np.abs(pulls).max() < 5
    assert np.abs(pulls).mean() > 0.2  # the error bars are not absurdly wide


def pennylane_state(circuit=asymmetric_circuit, wires=3):
    @qml.qnode(qml.device("default.qubit", wires=wires))
    def state():
        circuit()
        return qml.state()

    return np.asarray(state())


ENSEMBLES = {
    "uniform": None,
    "biased": efl.Ensemble.biased([[0.5, 0.2, 0.3], [0.2, 0.2, 0.6], [0.1, 0.6, 0.3]]),
    "strongly biased": efl.Ensemble.biased([[0.05, 0.05, 0.9], [0.45, 0.1, 0.45], [0.8, 0.15, 0.05]]),
}


@pytest.mark.parametrize("ensemble", ENSEMBLES.values(), ids=ENSEMBLES)
@pytest.mark.parametrize("combine", ["mean", "hit_normalised", "median_of_means"])
def test_samples_of_a_pennylane_state_estimate_its_circuit(ensemble, combine):
    state = pennylane_state()
    truth = exact(OBSERVABLES)
    for seed in range(5):
        snaps = efl.sample(state, ensemble, shots=100_000, seed=seed)
        found = efl.estimate(snaps, OBSERVABLES, combine=combine)
        pulls = (found.value - truth) / found.stderr
        assert np.abs(pulls).max() < 5, (seed, pulls)
        assert np.abs(pulls).mean() > 0.2


def test_wires_are_not_reversed():
    """A state in which every wire differs: |0>, |1>, |+>, |+i>, cos|0> + sin|1>."""

    def product():
        qml.PauliX(1)
        qml.Hadamard(2)
        qml.RX(-np.pi / 2, 3)
        qml.RY(0.9, 4)

    words = ["ZIIII", "IZIII", "IIXII", "IIIYI", "IIIIZ", "IIIIX"]
    truth = exact(words, product, 5)
    np.testing.assert_allclose(truth, [1, -1, 1, 1, np.cos(0.9), np.sin(0.9)], atol=1e-12)
    snaps = efl.sample(pennylane_state(product, 5), shots=60_000, seed=2)
    hits = efl.estimate(snaps, words, combine="hit_normalised")
    np.testing.assert_array_equal(hits.value[:4], [1, -1, 1, 1])
    assert np.abs((hits.value - truth) / hits.stderr).max() < 5
    every = ["".join(w) for w in itertools.product("IXYZ", repeat=5) if sum(c != "I" for c in w) in (1, 2)]
    found = efl.estimate(snaps, every)
    # 105 words: a false alarm has probability 6e-5
    assert np.abs((found.value - exact(every, product, 5)) / found.stderr).max() < 5


@pytest.mark.parametrize("n_qubits", [1, 2, 4, 5])
def test_samples_of_random_states_agree_with_dense_matrices(n_qubits):
    state = random_state(n_qubits, 40 + n_qubits)
    words = ["".join(w) for w in itertools.product("IXYZ", repeat=min(n_qubits, 4))][1:]
    words = [word.ljust(n_qubits, "Y") for word in words]
    found = efl.estimate(efl.sample(state, shots=200_000, seed=n_qubits), words)
    truth = np.array([expectation(state, word) for word in words])
    # at most 255 words: a false alarm has probability 1.5e-4
    assert np.abs((found.value - truth) / found.stderr).max() < 5


def test_dense_probabilities_are_those_of_pennylane():
    """The oracle of the sampler, checked against the oracle."""
    state = pennylane_state()
    for letters in ("ZZZ", "XYZ", "YYX"):

        @qml.qnode(qml.device("default.qubit", wires=3))
        def probabilities(letters=letters):
            asymmetric_circuit()
            for wire, letter in enumerate(letters):
                if letter == "Y":
                    qml.adjoint(qml.S(wire))
                if letter in "XY":
                    qml.Hadamard(wire)
            return qml.probs(wires=range(3))

        np.testing.assert_allclose(outcome_probabilities(state, letters), probabilities(), atol=1e-12)
