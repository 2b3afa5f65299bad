"""Gradient observables as dense matrices, and their expectation values, against PennyLane and numpy.

Everything here is exact: 1e-9 is far above rounding and far below any error of sign, order or factor.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.oracle.dense import sum_matrix
from tests.oracle.programs import (
    apply,
    build,
    dense_gradients,
    matrix_of,
    operator,
    random_observable,
    random_program,
)

import efl_core as efl

TOLERANCE = 1e-9
SEEDS = range(12)
PARAMETERS = 5


def drawn(seed):
    """Width, program, parameters and two observables: a sum, and a word that squares to one."""
    n = 1 + seed % 4
    program = random_program(seed, n, 9, PARAMETERS)
    rng = np.random.default_rng(seed + 1000)
    word = "".join(rng.choice(list("XYZ"), n))
    return n, program, rng.uniform(-2, 2, PARAMETERS), [random_observable(seed + 2000, n), {word: 1.0}]


def pennylane_gradients(n, program, theta, observables, method):
    """PennyLane's own derivatives, one row per observable."""

    @qml.qnode(qml.device("default.qubit", wires=n), diff_method=method)
    def model(x):
        apply(program, x)
        return [qml.expval(operator(o)) for o in observables]

    return qml.jacobian(lambda x: pnp.stack(model(x)))(pnp.array(theta, requires_grad=True))


def final_state(n, program, theta):
    @qml.qnode(qml.device("default.qubit", wires=n))
    def model():
        apply(program, theta)
        return qml.state()

    return np.asarray(model())


def expectations(rows, n, state):
    """Expectation value of every gradient of one observable."""
    return np.array([np.vdot(state, matrix_of(g, n) @ state).real for g in rows])


@pytest.mark.parametrize("seed", SEEDS)
def test_expectation_values_are_the_gradient_of_pennylane(seed):
    n, program, theta, observables = drawn(seed)
    found = efl.gradient_observables(build(program, n, theta), observables)
    state = final_state(n, program, theta)
    method = "adjoint" if seed % 2 else "backprop"
    exact = pennylane_gradients(n, program, theta, observables, method)
    assert np.abs(exact).max() > 1e-3
    for rows, expected in zip(found.gradients, exact, strict=True):
        np.testing.assert_allclose(expectations(rows, n, state), expected, atol=TOLERANCE, rtol=0)
    for value, observable in zip(found.value, observables, strict=True):
        np.testing.assert_allclose(matrix_of(value, n), sum_matrix(observable), atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_every_gradient_is_the_commutator(seed):
    n, program, theta, observables = drawn(seed)
    found = efl.gradient_observables(build(program, n, theta), observables)
    assert (found.n_observables, found.n_parameters, found.n_qubits) == (2, PARAMETERS, n)
    words = set()
    for o, observable in enumerate(observables):
        expected = dense_gradients(program, n, theta, sum_matrix(observable))
        for k in range(PARAMETERS):
            row = found.derivative(o, k)
            assert row == found.gradients[o][k]
            dense = matrix_of(row, n)
            np.testing.assert_allclose(dense, expected[k], atol=TOLERANCE, rtol=0)
            np.testing.assert_allclose(dense, dense.conj().T, atol=1e-12)
            assert abs(np.trace(dense)) < TOLERANCE
            assert found.is_zero[o, k] == (np.abs(expected[k]).max() < TOLERANCE)
            words |= {str(word) for word in row.words}
        words |= {str(word) for word in found.value[o].words}
    assert found.n_words == len(words)
    assert (found.error_bound == 0).all()
    assert found.error_bound.shape == (2, PARAMETERS)
    assert (found.dropped.count, found.dropped.l1) == (0, 0)


@pytest.mark.parametrize("seed", SEEDS)
def test_an_answer_of_plus_or_minus_one_anticommutes_with_its_gradient(seed):
    n, program, theta, (_, word) = drawn(seed)
    answer = sum_matrix(word)
    for row in efl.gradient_observables(build(program, n, theta), word).gradients:
        gradient = matrix_of(row, n)
        np.testing.assert_allclose(answer @ gradient + gradient @ answer, 0, atol=TOLERANCE)


# A gate of one parameter each, so that the tape's parameters are the entries of theta.
def layered(n, theta):
    for layer, angles in enumerate(theta):
        for q in range(n):
            qml.RY(angles[q, 0], wires=q)
            qml.RZ(angles[q, 1], wires=q)
        for q in range(layer % 2, n - 1, 2):
            qml.CRX(angles[q, 2], wires=[q, q + 1])
        for q in range(n):
            qml.T(wires=q)


@pytest.mark.parametrize("n", [2, 3, 4])
def test_a_qnode_and_its_state(n):
    """The words of `efl.circuit` are in the order of the device's wires, as the amplitudes of `qml.state`."""
    wires, theta = range(n), np.random.default_rng(n).uniform(-2, 2, (2, n, 3))
    device = qml.device("default.qubit", wires=wires)

    def answers():
        return [qml.expval(qml.Z(0)), qml.expval(qml.X(n - 1) @ qml.Y(0) + 0.4 * qml.Z(1))]

    @qml.qnode(device, diff_method="backprop")
    def model(x):
        layered(n, x)
        return answers()

    @qml.qnode(device)
    def state(x):
        layered(n, x)
        return qml.state()

    trained = pnp.array(theta, requires_grad=True)
    circuit = efl.circuit(model)(trained)
    found = efl.gradient_observables(circuit)
    # Position in theta of each of the circuit's parameters: the tape's order, CRX after the rotations.
    order = np.concatenate(
        [
            [(layer * n + q) * 3 + k for q in range(n) for k in (0, 1)]
            + [(layer * n + q) * 3 + 2 for q in range(layer % 2, n - 1, 2)]
            for layer in range(2)
        ]
    )
    np.testing.assert_array_equal(circuit.parameters, theta.ravel()[order])
    exact = qml.jacobian(lambda x: pnp.stack(model(x)))(trained).reshape(2, -1)[:, order]
    psi = np.asarray(state(theta))
    for rows, expected in zip(found.gradients, exact, strict=True):
        np.testing.assert_allclose(expectations(rows, n, psi), expected, atol=TOLERANCE, rtol=0)


def test_derivatives_that_vanish_on_every_state():
    """An RZ before the readout of Z, and what is outside the light cone of the answer."""
    parameters = [efl.Parameter(k) for k in range(5)]
    circuit = efl.Circuit(3, [0.3, 0.4, 0.5, 0.6, 0.7])
    circuit.ry(parameters[0], 0).clifford("CZ", 0, 1).ry(parameters[1], 1).ry(parameters[2], 2)
    circuit.rz(parameters[3], 0).rz(parameters[4], 1)
    one = efl.gradient_observables(circuit, "ZII")
    assert one.is_zero.tolist() == [False, True, True, True, True]
    several = efl.gradient_observables(circuit, ["ZII", "IZI", "IIX", "IYI"])
    assert several.is_zero.tolist() == [
        [False, True, True, True, True],
        [False, False, True, True, True],
        [True, True, False, True, True],
        [False, False, True, True, False],
    ]
    assert "13 derivatives identically zero" in repr(several)
    assert len(several.derivative(0, 4)) == 0


def test_shared_and_scaled_parameters_add_up():
    """RX(2 t) RX(-0.5 t + 1) = RX(1.5 t + 1), whose <Z> is cos(1.5 t + 1)."""
    theta = efl.Parameter(1)
    circuit = efl.Circuit(1, [9.0, 0.3]).rx(2 * theta, 0).rx(1 - theta / 2, 0)
    found = efl.gradient_observables(circuit, "Z")
    assert found.is_zero.tolist() == [True, False]
    assert found.derivative(0, 1) == efl.PauliSum({"Y": 1.5})
    np.testing.assert_allclose(efl.propagate(circuit, "Z").gradient, [0, -1.5 * np.sin(1.45)], atol=1e-14)


def test_sign_and_order_by_hand():
    """tr(rho G_k) is the slope of tr(rho O) for a mixed input, with every matrix written out."""
    i2, x, y = np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]])
    z, s = np.diag([1, -1]), np.diag([1, 1j])
    cnot = np.array([[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]])  # wire 0 controls
    observable = 0.7 * np.kron(z, y) + 0.2 * np.kron(i2, x) - 0.4 * np.kron(x, z)
    # A state of no symmetry: Bloch vectors (0.3, -0.5, 0.6) and (-0.2, 0.4, 0.1).
    rho = np.kron((i2 + 0.3 * x - 0.5 * y + 0.6 * z) / 2, (i2 - 0.2 * x + 0.4 * y + 0.1 * z) / 2)

    def gates(a, b):
        ry = np.array([[np.cos(a / 2), -np.sin(a / 2)], [np.sin(a / 2), np.cos(a / 2)]])
        rx = np.array([[np.cos(b / 2), -1j * np.sin(b / 2)], [-1j * np.sin(b / 2), np.cos(b / 2)]])
        return np.kron(i2, s) @ np.kron(rx, i2) @ cnot @ np.kron(ry, i2)

    def final(a, b):
        return gates(a, b) @ rho @ gates(a, b).conj().T

    def value(a, b):
        return np.trace(final(a, b) @ observable).real

    a, b, h = 0.8, -1.3, np.pi / 2
    slopes = [(value(a + h, b) - value(a - h, b)) / 2, (value(a, b + h) - value(a, b - h)) / 2]
    circuit = efl.Circuit(2, [a, b]).ry(efl.Parameter(0), 0).clifford("CNOT", 0, 1)
    circuit.rx(efl.Parameter(1), 0).clifford("S", 1)
    terms = {"ZY": 0.7, "IX": 0.2, "XZ": -0.4}
    letters = {"I": i2, "X": x, "Y": y, "Z": z}
    found = []
    for gradient in efl.gradient_observables(circuit, terms).gradients:
        matrix = sum(c * np.kron(letters[str(w)[0]], letters[str(w)[1]]) for w, c in gradient.terms())
        found.append(np.trace(final(a, b) @ matrix).real)
    assert min(map(abs, slopes)) > 0.01
    np.testing.assert_allclose(found, slopes, atol=1e-12)
    propagated = efl.propagate(circuit.prepare([[0.3, -0.5, 0.6], [-0.2, 0.4, 0.1]]), terms)
    np.testing.assert_allclose(propagated.value, value(a, b), atol=1e-12)
    np.testing.assert_allclose(propagated.gradient, slopes, atol=1e-12)


@pytest.mark.parametrize("seed", SEEDS)
def test_rebased_observables_read_the_old_state(seed):
    n, program, theta, observables = drawn(seed)
    old = theta + np.random.default_rng(seed).uniform(-1, 1, PARAMETERS)
    new = efl.gradient_observables(build(program, n, theta), observables)
    rebased = new.rebase(old)
    old_state, state = final_state(n, program, old), final_state(n, program, theta)
    exact = pennylane_gradients(n, program, theta, observables, "backprop")
    for o, observable in enumerate(observables):
        found = expectations(rebased.gradients[o], n, old_state)
        np.testing.assert_allclose(found, exact[o], atol=TOLERANCE, rtol=0)
        value = expectations([rebased.value[o]], n, old_state)
        answer = np.vdot(state, sum_matrix(observable) @ state).real
        np.testing.assert_allclose(value, answer, atol=TOLERANCE, rtol=0)
    stale = [expectations(new.gradients[o], n, old_state) for o in range(2)]
    assert np.abs(stale - exact).max() > 1e-3, "without rebasing it is another number"
    assert rebased.is_zero.shape == new.is_zero.shape
    # Nothing moved: the same observables.
    for a, b in zip(new.rebase(theta).gradients[0], new.gradients[0], strict=True):
        assert (a - b).l1_norm < TOLERANCE


@pytest.mark.parametrize(
    "truncation",
    [
        efl.Truncation(max_weight=2),
        efl.Truncation(min_coefficient=0.05),
        efl.Truncation(max_weight=3, min_coefficient=0.02),
    ],
    ids=["weight", "coefficient", "both"],
)
def test_the_stated_bound_holds_on_every_state(truncation):
    """Even the largest eigenvalue of what is missing is within the bound; and something is missing."""
    largest = dropped = 0
    for seed in range(5):
        n = 4
        program = random_program(seed, n, 10, PARAMETERS)
        theta = np.random.default_rng(seed).uniform(-2, 2, PARAMETERS)
        observables = [random_observable(seed + 9, n), {"ZZII": 1.0}]
        circuit = build(program, n, theta)
        exact = efl.gradient_observables(circuit, observables)
        cut = efl.gradient_observables(circuit, observables, truncation=truncation)
        old = theta + 0.3
        rebased = exact.rebase(old)
        cut_twice = cut.rebase(old, truncation=truncation)
        for true, found in ((exact, cut), (rebased, cut_twice)):
            assert found.dropped.l1 >= found.error_bound.max()
            for o in range(2):
                for k in range(PARAMETERS):
                    error = matrix_of(true.derivative(o, k) - found.derivative(o, k), n)
                    norm = np.abs(np.linalg.eigvalsh(error)).max()
                    assert norm <= found.error_bound[o, k] + 1e-12
                    largest = max(largest, norm)
        dropped += cut.dropped.count
        if truncation.max_weight is not None:
            weights = [len(str(w).replace("I", "")) for g in cut.gradients for r in g for w in r.words]
            assert max(weights) <= truncation.max_weight
    assert dropped > 50
    assert largest > 0.05


@pytest.mark.parametrize("seed", SEEDS)
def test_propagation_agrees_with_the_observables(seed):
    n, program, theta, observables = drawn(seed)
    circuit = build(program, n, theta)
    state = final_state(n, program, theta)
    rows = efl.gradient_observables(circuit, observables).gradients
    for o, observable in enumerate(observables):
        found = efl.propagate(circuit, observable)
        np.testing.assert_allclose(found.gradient, expectations(rows[o], n, state), atol=TOLERANCE, rtol=0)
        answer = np.vdot(state, sum_matrix(observable) @ state).real
        np.testing.assert_allclose(found.value, answer, atol=TOLERANCE, rtol=0)
        assert efl.propagate(circuit, observable, gradient=False).value == pytest.approx(found.value)
