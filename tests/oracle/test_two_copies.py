"""Two copies against dense matrices and a wide stabiliser state; statistics at fixed seeds.

A comparison of an estimate with the truth allows 5 standard errors, which has a false-alarm rate of 6e-7.
"""

import itertools

import numpy as np
import pytest
from tests.oracle.dense import expectation, random_state, word_matrix

import efl_core as efl


def all_words(n_qubits):
    return ["".join(word) for word in itertools.product("IXYZ", repeat=n_qubits)][1:]


@pytest.mark.parametrize("n_qubits", [1, 2, 3])
def test_every_word_is_revealed_with_its_sign(n_qubits):
    setting = efl.bell_setting(n_qubits)
    for word in all_words(n_qubits):
        bits, sign = setting.reveal(word + word)
        letters = {q: word[q] for q in range(n_qubits)}
        # X is read from the first copy's bit, Z from the second's, Y from both: YY = -XX ZZ.
        first = [q for q, letter in letters.items() if letter in "XY"]
        second = [n_qubits + q for q, letter in letters.items() if letter in "YZ"]
        assert sorted(bits) == first + second
        assert sign == (-1) ** word.count("Y")
    assert setting.reveal("X" + "I" * (2 * n_qubits - 1)) is None


@pytest.mark.parametrize("n_qubits", [1, 2, 4])
def test_squares_of_all_words_come_from_the_same_snapshots(n_qubits):
    state = random_state(n_qubits, 3)
    ensemble = efl.Ensemble.settings([efl.bell_setting(n_qubits)])
    snaps = efl.sample(np.kron(state, state), ensemble, shots=10_000, seed=n_qubits)
    words = all_words(n_qubits)
    found = efl.word_squares(snaps, words)
    exact = np.array([expectation(state, word) ** 2 for word in words])
    assert (np.abs(found.value - exact) < 5 * found.stderr).all()
    assert (found.stderr <= 10_000**-0.5 * 1.001).all()
    assert found.stderr == pytest.approx(np.sqrt((1 - exact**2) / 10_000), rel=0.1)
    assert (found.revealed == 10_000).all()
    one = efl.word_squares(snaps, words[-1])
    assert (one.value, one.stderr) == (found.value[-1], found.stderr[-1])


def program():
    """Every kind of gate, with a parameter in two places and an input."""
    rng = np.random.default_rng(2)
    matrix, _ = np.linalg.qr(rng.normal(size=(4, 4)) + 1j * rng.normal(size=(4, 4)))
    made = efl.Circuit(3, parameters=[0.4, -1.1])
    x = made.input(0.7)
    made.prepare([[0, 0, 1], [0.6, 0, 0.8], [0, 1, 0]])
    made.clifford("CNOT", 2, 0).rotation("XIY", 2 * efl.Parameter(0) + 0.3).ry(x, 1)
    made.evolution({"ZZI": 0.4, "IXI": -0.7}, efl.Parameter(1)).unitary(matrix, 2, 1)
    return made.rx(efl.Parameter(0), 2).clifford("S", 1)


def test_two_copies_of_a_circuit_leave_two_copies_of_its_state():
    circuit = program()
    pair = efl.two_copies(circuit)
    assert (pair.n_qubits, pair.n_parameters, pair.n_gates) == (6, 2, 2 * circuit.n_gates)
    for angles, inputs in (([0.4, -1.1], [0.7]), ([1.3, 0.2], [-0.4])):
        state = efl.simulate(circuit.at(angles, inputs))
        assert abs(np.vdot(np.kron(state, state), efl.simulate(pair.at(angles, inputs)))) == pytest.approx(1)


def test_two_copies_of_a_noisy_circuit_have_the_squares_of_its_values():
    damp = [np.diag([1, 0.8]), np.array([[0, 0.6], [0, 0]])]
    flip = [np.eye(2) * 0.9**0.5, word_matrix("X") * 0.1**0.5]
    circuit = efl.Circuit(2, parameters=[0.4]).ry(efl.Parameter(0), 0).channel(damp, 0)
    circuit.clifford("CNOT", 0, 1).noise(flip, 1)
    for word in ("ZI", "XX", "ZZ", "YY"):
        value = efl.propagate(circuit, word).value
        assert efl.propagate(efl.two_copies(circuit), word + word).value == pytest.approx(value**2)


def test_an_input_that_is_not_known_stays_so():
    assert efl.two_copies(efl.Circuit(2).prepare(None)).bloch is None


def test_words_of_all_weights_on_two_hundred_qubits():
    n = 200
    rng = np.random.default_rng(4)
    gates = [("H", q) for q in range(n)]
    for _ in range(3 * n):
        a, b = (int(q) for q in rng.choice(n, 2, replace=False))
        gates += [("CNOT", a, b), ("SDG", b), ("H", a)]
    state = efl.StabiliserState(n, gates)
    # Bits of the Bell setting: its gates on two copies, and a readout of Z.
    copies = [(name, *(by + q for q in wires)) for by in (0, n) for name, *wires in gates]
    pair = efl.StabiliserState(2 * n, [*copies, *efl.bell_setting(n).gates])
    read = efl.sample(pair, efl.Ensemble.biased([[0, 0, 1]] * (2 * n)), shots=400, seed=1)
    ensemble = efl.Ensemble.settings([efl.bell_setting(n)])
    snaps = efl.Snapshots.from_settings(read.to_arrays()[0], np.zeros(400, dtype=int), ensemble=ensemble)
    held = [word for _, word in state.words]
    assert max(n - word.count("I") for word in held) > 100
    assert (efl.word_squares(snaps, held).value == 1).all()
    # A random word is not in the group, up to a chance of 2**-200.
    others = ["".join(rng.choice(list("IXYZ"), n)) for _ in range(50)]
    found = efl.word_squares(snaps, others)
    assert (np.abs(found.value) < 5 / 20).all()


def test_magnitudes_of_wide_derivatives():
    """Words of a Clifford tail: `|g_k|` of all of them from one set of snapshots."""
    n, angles = 4, [0.5, 1.0, -0.7, 2.0]
    circuit = efl.Circuit(n, parameters=angles)
    for q in range(n):
        circuit.ry(efl.Parameter(q), q)
    for q in range(n - 1):
        circuit.clifford("CNOT", q, q + 1).clifford("S", q)
    sums = efl.gradient_observables(circuit, "IIIZ").gradients
    assert all(len(one) == 1 for one in sums)
    state = efl.simulate(efl.two_copies(circuit))
    snaps = efl.sample(state, efl.Ensemble.settings([efl.bell_setting(n)]), shots=20_000, seed=5)
    squares = efl.word_squares(snaps, [one.words[0] for one in sums])
    scale = np.array([one.coefficients[0] for one in sums]) ** 2
    exact = [expectation(efl.simulate(circuit), {w.label: c for w, c in one.terms()}) ** 2 for one in sums]
    assert np.max(exact) > 0.02
    assert (np.abs(scale * squares.value - exact) < 5 * scale * squares.stderr).all()


def test_two_circuits_at_different_inputs_leave_both_states():
    one, other = program(), program().at([0.4, -1.1], [-0.3])
    pair = efl.two_copies(one, other)
    assert pair.inputs.tolist() == [0.7, -0.3]
    for inputs in ([0.7, -0.3], [0.1, 2.0]):
        states = [efl.simulate(one.at([0.4, -1.1], [x])) for x in inputs]
        whole = efl.simulate(pair.at([0.4, -1.1], inputs))
        assert abs(np.vdot(np.kron(*states), whole)) == pytest.approx(1)


def model(x):
    circuit = efl.Circuit(2, parameters=[0.8, 0.5])
    angle = circuit.input(x)
    circuit.ry(angle, 0).ry(efl.Parameter(0), 0).clifford("CNOT", 0, 1)
    return circuit.rx(efl.Parameter(1), 1)


WORDS = ["XX", "ZI", "YY", "IZ"]


def exact_values(x):
    return np.array([efl.propagate(model(x), word).value for word in WORDS])


def test_pairs_estimate_the_square_of_the_mean_over_inputs():
    """200 batches of 30 pairs, 6 shots each.

    The mean square of deviations over bars is within 0.6 and 1.6: four standard errors of 200 runs.
    """
    rng, ensemble = np.random.default_rng(3), efl.Ensemble.settings([efl.bell_setting(2)])
    grid = np.linspace(-1, 2, 301)
    truth = np.mean([exact_values(x) for x in grid], axis=0) ** 2  # inputs are drawn from the grid
    states = [efl.simulate(model(x)) for x in grid]
    found = []
    for batch in range(200):
        drawn = rng.integers(0, len(grid), (30, 2))
        pairs = [np.kron(states[i], states[j]) for i, j in drawn]
        snaps = [efl.sample(p, ensemble, shots=6, seed=1000 * batch + k) for k, p in enumerate(pairs)]
        found.append(efl.word_squares(snaps, WORDS))
    value, stderr = (np.array([getattr(one, name) for one in found]) for name in ("value", "stderr"))
    assert (np.abs(value.mean(0) - truth) < 5 * value.std(0) / 200**0.5).all()
    scores = ((value - truth) ** 2 / stderr**2).mean(0)
    assert ((scores > 0.6) & (scores < 1.6)).all()
    assert found[0].shots == 180
    assert len(found[0]) == 4
    one = efl.word_squares(snaps, "XX")
    assert (one.value, one.stderr) == pytest.approx((value[-1, 0], stderr[-1, 0]))


def test_a_finite_batch_in_pairs_is_the_mean_over_different_inputs():
    """Without replacement: the square of the batch's mean less its variance over N, exactly."""
    own = np.array([exact_values(x) for x in (0.1, 0.5, -0.4, 1.2, 0.9, 1.9)])
    n = len(own)
    pairs = np.mean([own[i] * own[j] for i, j in itertools.permutations(range(n), 2)], axis=0)
    assert pairs == pytest.approx(own.mean(0) ** 2 - own.var(0, ddof=1) / n)


def test_pairs_that_agree_still_have_an_error():
    ensemble = efl.Ensemble.settings([efl.bell_setting(1)])
    snaps = [efl.sample([1, 0, 0, 0], ensemble, shots=50, seed=seed) for seed in range(4)]
    found = efl.word_squares(snaps, "Z")
    assert found.value == 1
    assert 0.01 < found.stderr < 0.1
