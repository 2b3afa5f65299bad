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
