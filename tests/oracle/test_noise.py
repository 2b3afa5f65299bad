"""Gradient observables of 20 noisy circuits of 2 to 6 qubits, against density matrices of PennyLane."""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.oracle.dense import word_matrix

import efl_core as efl
from efl_core.pennylane import from_tape, noise_model

TOLERANCE = 1e-10
CIRCUITS = 20


def depolarised(op, **_):
    if len(op.wires) == 1:
        qml.DepolarizingChannel(0.01, op.wires)
        return
    kraus = efl.Noise(two_qubit=0.05).after(2)
    qml.QubitChannel(kraus, wires=op.wires)


def damped(op, **_):
    for wire in op.wires:
        qml.AmplitudeDamping(0.03, wire)
        qml.PhaseFlip(0.02, wire)


def flipped(op, **_):
    for wire in op.wires:
        qml.BitFlip(0.02, wire)
    qml.RX(0.07, wires=op.wires[0])  # and a coherent over-rotation


def is_gate(op):
    return not isinstance(op, qml.operation.Channel)


MODELS = [depolarised, damped, flipped]


def model(seed):
    after = MODELS[seed % len(MODELS)]
    return qml.NoiseModel({qml.BooleanFn(is_gate): after}), after


def gates(seed, n):
    """Layers that differ by the seed, as a function of the angles."""
    depth = 2 if n < 5 else 1

    def run(theta):
        angles = iter(theta)
        for layer in range(depth):
            for q in range(n):
                qml.RY(next(angles), q)
                qml.RZ(next(angles), q)
            for q in range(n - 1):
                [qml.CNOT, qml.CZ, qml.ISWAP][(seed + q + layer) % 3]([q, q + 1])

    return run, 2 * n * depth


def density(run, theta, n, noise):
    """The state that the noisy device leaves."""
    device = qml.device("default.mixed", wires=n)

    @qml.qnode(device)
    def state():
        run(theta)
        return qml.state()

    noisy = state if noise is None else qml.add_noise(state, noise)
    found = np.asarray(noisy())
    return found if found.ndim == 2 else np.outer(found, found.conj())


def expectation(rho, total):
    return sum(c * np.trace(rho @ word_matrix(w.label)).real for w, c in total.terms())


def observed(n, seed):
    words = ["Z" * n, "X" + "Z" * (n - 1), "I" * (n - 1) + "Y"]
    return {words[seed % 3]: 0.7, words[(seed + 1) % 3]: -0.4}


def value_of(run, n, terms, noise):
    operators = [qml.pauli.string_to_pauli_word(w, {q: q for q in range(n)}) for w in terms]

    @qml.qnode(qml.device("default.mixed", wires=n), diff_method="parameter-shift")
    def value(theta):
        run(theta)
        return qml.expval(qml.dot(list(terms.values()), operators))

    return value if noise is None else qml.add_noise(value, noise)


@pytest.mark.parametrize("seed", range(CIRCUITS))
def test_the_noisy_gradient_is_that_of_parameter_shift(seed):
    n = 2 + seed % 5
    run, count = gates(seed, n)
    noise, _ = model(seed)
    theta = np.random.default_rng(seed).uniform(-3, 3, count)
    terms = observed(n, seed)
    tape = qml.tape.make_qscript(run)(theta)
    circuit = from_tape(tape, wires=range(n), noise=noise)
    rho = density(run, theta, n, noise)
    found = efl.gradient_observables(circuit, terms)
    value = value_of(run, n, terms, noise)
    exact = qml.grad(value)(pnp.array(theta, requires_grad=True))
    assert abs(expectation(rho, found.value) - float(value(theta))) < TOLERANCE
    np.testing.assert_allclose([expectation(rho, g) for g in found.gradients], exact, atol=TOLERANCE, rtol=0)
    # And the structure that is kept says the same.
    again = efl.gradient_observables(circuit.at(np.zeros(count) + 0.3), terms).at(theta)
    np.testing.assert_allclose([expectation(rho, g) for g in again.gradients], exact, atol=TOLERANCE, rtol=0)
    clean = efl.gradient_observables(from_tape(tape, wires=range(n)), terms)
    biased = np.array([expectation(rho, g) for g in clean.gradients])
    assert np.abs(biased - exact).max() > 1e-4  # or nothing is shown


@pytest.mark.parametrize("seed", range(0, CIRCUITS, 2))
def test_the_gradient_without_noise_is_read_on_the_noisy_state(seed):
    n = 2 + seed % 3
    run, count = gates(seed, n)
    noise, _ = model(seed)
    theta = np.random.default_rng(seed).uniform(-3, 3, count)
    terms = observed(n, seed)
    circuit = from_tape(qml.tape.make_qscript(run)(theta), wires=range(n), noise=noise)
    found = efl.gradient_observables(circuit, terms, mitigate=True)
    value = value_of(run, n, terms, None)
    rho = density(run, theta, n, noise)
    exact = qml.grad(value)(pnp.array(theta, requires_grad=True))
    assert abs(expectation(rho, found.value) - float(value(theta))) < TOLERANCE
    np.testing.assert_allclose([expectation(rho, g) for g in found.gradients], exact, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize("seed", range(0, CIRCUITS, 4))
def test_channels_of_a_tape_are_passed(seed):
    """A channel that the user writes is run; it is no noise."""
    n = 2 + seed % 3
    run, count = gates(seed, n)
    _, after = model(seed)

    def written(theta):
        recorded = qml.tape.make_qscript(run)(theta)
        for op in recorded.operations:
            qml.apply(op)
            after(op)

    theta = np.random.default_rng(seed).uniform(-3, 3, count)
    terms = observed(n, seed)
    tape = qml.tape.make_qscript(written)(theta)
    indices = [i for i, info in enumerate(tape.par_info) if info["op"].name in ("RY", "RZ")]
    tape.trainable_params = indices[:count] if seed % 3 != 2 else indices
    circuit = from_tape(tape, wires=range(n))
    found = efl.gradient_observables(circuit, terms)
    rho = density(written, theta, n, None)
    exact = qml.grad(value_of(written, n, terms, None))(pnp.array(theta, requires_grad=True))
    np.testing.assert_allclose([expectation(rho, g) for g in found.gradients], exact, atol=TOLERANCE, rtol=0)


def test_pauli_errors_are_those_of_their_letters():
    """PennyLane casts Y to real numbers on the way to its Kraus operators."""
    gates = [qml.RY(0.3, 0), qml.PauliError("YX", 0.1, wires=[1, 0])]
    circuit = from_tape(qml.tape.QuantumScript(gates, [qml.expval(qml.Z(0))], trainable_params=[0]))
    # The second letter acts on wire 0: Z keeps 1 - 2 p there, and so it does where Y acts.
    found = [efl.propagate(circuit, word).value for word in ("ZI", "IZ", "ZZ")]
    np.testing.assert_allclose(found, [0.8 * np.cos(0.3), 0.8, np.cos(0.3)], atol=1e-12)


def test_a_table_and_its_model_say_the_same():
    table = efl.Noise(one_qubit=0.01, two_qubit=0.04)
    run, count = gates(1, 3)
    theta = np.linspace(-1, 2, count)
    tape = qml.tape.make_qscript(run)(theta)
    by_table = from_tape(tape, noise=table)
    by_model = from_tape(tape, noise=noise_model(table))
    on_circuit = table.on(from_tape(tape))
    for other in (by_model, on_circuit):
        one, two = (efl.gradient_observables(c, "ZZI").gradients for c in (by_table, other))
        for a, b in zip(one, two, strict=True):
            assert [w for w, _ in a.terms()] == [w for w, _ in b.terms()]
            np.testing.assert_allclose(a.coefficients, b.coefficients, atol=1e-13)


def test_the_price_of_a_lost_letter_is_an_error():
    circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
    half = [np.eye(2) / 2**0.5, np.array([[0, 1], [1, 0]]) / 2**0.5]
    circuit.noise(half, 0)
    for mitigate in (False, True):
        with pytest.raises(efl.InvalidInputError, match="leave"):
            efl.gradient_observables(circuit, "Z", mitigate=mitigate)
    assert abs(efl.propagate(circuit, "Z").value) < 1e-15
