"""Noise models of Qiskit's Aer: read exactly, and what gradients on a noisy Aer are (`make test-aer`).

Aer has no seed here: derivatives are within five standard errors, 6e-7 for each of some 40 comparisons.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

import efl_core as efl
from efl_core.pennylane import noise_model
from efl_core.pennylane.noise import is_pauli, kraus_of, read_noise

pytest.importorskip("pennylane_qiskit", reason="`make test-aer` installs it")
aer = pytest.importorskip("qiskit_aer", reason="`make test-aer` installs it")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of Qiskit

ONE = ["rx", "ry", "rz", "h", "s", "p", "x"]
SIGMAS = 5
THETA = np.random.default_rng(5).uniform(-2, 2, 6)


def relaxing(one=0.002, two=0.02):
    """Depolarising errors, relaxation that differs between qubits, and an over-rotation of one pair."""
    from qiskit.quantum_info import Operator

    errors = aer.noise
    model = errors.NoiseModel()
    model.add_all_qubit_quantum_error(errors.depolarizing_error(one, 1), ONE)
    model.add_all_qubit_quantum_error(errors.depolarizing_error(two, 2), ["cx"])
    slow = errors.thermal_relaxation_error(60.0, 50.0, 4.0)
    fast = errors.thermal_relaxation_error(90.0, 120.0, 4.0)
    model.add_quantum_error(slow.tensor(fast).compose(errors.depolarizing_error(two, 2)), ["cx"], [0, 1])
    turn = np.diag(np.exp(-0.05j * np.array([1, -1, -1, 1])))
    model.add_quantum_error(errors.coherent_unitary_error(Operator(turn)), ["cx"], [1, 2])
    return model


def pauli(readout=0.0, two=3):
    errors = aer.noise
    model = errors.NoiseModel()
    model.add_all_qubit_quantum_error(errors.depolarizing_error(0.002, 1), ONE)
    model.add_all_qubit_quantum_error(errors.depolarizing_error(0.04, 2), ["cx", "cz", "swap"][:two])
    if readout:
        model.add_all_qubit_readout_error([[1 - readout / 2, readout / 2], [readout, 1 - readout]])
    return model


def gates(theta):
    for q in range(3):
        qml.RY(theta[q], q)
    qml.CNOT([0, 1])
    qml.CNOT([2, 1])
    for q in range(3):
        qml.RX(theta[3 + q], q)
    qml.CNOT([1, 2])


def value(theta):
    gates(theta)
    return qml.expval(qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(2))


def exact(model):
    qnode = qml.QNode(value, qml.device("default.mixed", wires=3), diff_method="parameter-shift")
    return qml.grad(qml.add_noise(qnode, model))(pnp.array(THETA, requires_grad=True))


def test_channels_are_those_of_aer():
    """The state that Aer's simulator of density matrices has, qubit by qubit and gate by gate."""
    from qiskit import QuantumCircuit

    model = relaxing()
    circuit = QuantumCircuit(3)
    for q in range(3):
        circuit.ry(THETA[q], q)
    circuit.cx(0, 1)
    circuit.cx(2, 1)
    for q in range(3):
        circuit.rx(THETA[3 + q], q)
    circuit.cx(1, 2)
    circuit.save_density_matrix()
    simulator = aer.AerSimulator(method="density_matrix", noise_model=model)
    theirs = np.asarray(simulator.run(circuit).result().data()["density_matrix"]).reshape([2] * 6)
    theirs = theirs.transpose(2, 1, 0, 5, 4, 3).reshape(8, 8)  # their qubit 0 is the last

    @qml.qnode(qml.device("default.mixed", wires=3))
    def state(theta):
        gates(theta)
        return qml.density_matrix([0, 1, 2])

    ours = qml.add_noise(state, noise_model(model))(THETA)
    np.testing.assert_allclose(ours, theirs, atol=1e-12)


def test_circuits_have_the_noise_of_aer():
    circuit = efl.circuit(qml.QNode(value, qml.device("default.qubit", wires=3)), noise=relaxing())(
        pnp.array(THETA, requires_grad=True)
    )
    found = efl.propagate(circuit)
    np.testing.assert_allclose(found.gradient, exact(noise_model(relaxing())), atol=1e-10)


def test_readouts_are_confused_as_aer_does():
    joint = np.array(
        [[0.9, 0.05, 0.03, 0.02], [0.1, 0.8, 0.04, 0.06], [0, 0.2, 0.7, 0.1], [0.1, 0, 0.1, 0.8]]
    )
    model = aer.noise.NoiseModel()
    model.add_readout_error(joint, [0, 1])
    model.add_all_qubit_readout_error([[0.95, 0.05], [0.2, 0.8]])

    @qml.qnode(qml.device("default.mixed", wires=3))
    def read(bits):
        qml.BasisState(np.array(bits), wires=[0, 1, 2])
        return qml.probs([0, 1, 2])

    noisy = qml.add_noise(read, noise_model(model))
    for bits in ((0, 0, 0), (1, 0, 1), (0, 1, 1)):
        found = noisy(bits).reshape(2, 2, 2)
        pair = joint[bits[0] + 2 * bits[1]].reshape(2, 2).T  # their qubit 0 is the last bit
        alone = [0.2, 0.8] if bits[2] else [0.95, 0.05]
        np.testing.assert_allclose(found, pair[:, :, None] * np.array(alone), atol=1e-12)


@pytest.mark.parametrize(("readout", "two"), [(0.0, 3), (0.06, 1)])
def test_gradients_on_a_noisy_aer(readout, two):
    """Where the model lists CNOTs alone, settings have no gates on two qubits."""
    model = pauli(readout, two)
    device = qml.device("qiskit.aer", wires=3, noise_model=model, optimization_level=0)
    options = {"shots": 100_000, "seed": 1, "noise": model}
    if readout:
        options["calibration"] = efl.calibrate(device, shots=100_000, seed=1)
    qnode = qml.QNode(value, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    found = qml.grad(qnode)(pnp.array(THETA, requires_grad=True))
    report = efl.shadow_grad.last_report()
    assert report.mode == "tapes"
    expected = exact(noise_model(pauli()))
    live = report.stderr[0] > 0
    assert np.all(np.abs(found - expected)[live] < SIGMAS * report.stderr[0][live])
    clean = qml.QNode(
        value, device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 100_000, "seed": 1}
    )
    biased = qml.grad(clean)(pnp.array(THETA, requires_grad=True))
    errors = efl.shadow_grad.last_report().stderr[0]
    assert np.max(np.abs(biased - expected)[errors > 0] / errors[errors > 0]) > SIGMAS


def test_a_model_that_stays_the_same_is_the_same():
    model = pauli()
    first = read_noise(model)
    assert read_noise(model) is first
    assert noise_model(model) is first
    assert noise_model(model, twirled=True) is not first
    model.add_all_qubit_quantum_error(aer.noise.depolarizing_error(0.1, 2), ["cy"])
    assert read_noise(model) is not first


def test_twirls():
    """What is no Pauli error becomes one, with the same chances of Pauli errors."""
    plain, twirled = noise_model(relaxing()), noise_model(relaxing(), twirled=True)

    def errors(model):
        tape = qml.tape.QuantumScript([qml.CNOT([0, 1])])
        [[noisy], _] = qml.add_noise(tape, model)
        return kraus_of(noisy.operations[1])

    ours, theirs = errors(twirled), errors(plain)
    assert is_pauli(ours)
    assert not is_pauli(theirs)
    for kraus in (ours, theirs):
        np.testing.assert_allclose(sum(k.conj().T @ k for k in kraus), np.eye(4), atol=1e-12)
    words = [np.eye(2), np.array([[0, 1], [1, 0]]), np.array([[0, -1j], [1j, 0]]), np.diag([1, -1])]
    for word in (np.kron(a, b) for a in words for b in words):
        left = [np.trace(word @ sum(k @ word @ k.conj().T for k in kraus)) for kraus in (ours, theirs)]
        assert abs(left[0] - left[1]) < 1e-12


def test_refusals():
    def circuit(gate, model):
        qnode = qml.QNode(lambda t: (gate(t), qml.expval(qml.Z(0)))[1], qml.device("default.qubit", wires=3))
        return efl.circuit(qnode, noise=model)(pnp.array(0.3, requires_grad=True))

    model = pauli()
    with pytest.raises(efl.InvalidInputError, match=r"^noise: expected gates that .* lists .*got IsingXX"):
        circuit(lambda t: qml.IsingXX(t, [0, 1]), model)
    local = aer.noise.NoiseModel()
    local.add_quantum_error(aer.noise.depolarizing_error(0.1, 1), ["rx"], [0])
    qnode = qml.QNode(
        lambda t: (qml.RX(t, "a"), qml.expval(qml.Z("a")))[1], qml.device("default.qubit", wires=["a"])
    )
    with pytest.raises(efl.InvalidInputError, match="expected wires that are numbers"):
        efl.circuit(qnode, noise=local)(pnp.array(0.3, requires_grad=True))
    device = qml.device("qiskit.aer", wires=3)
    qnode = qml.QNode(
        value, device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 100, "noise": pauli(0.1)}
    )
    with pytest.raises(efl.InvalidInputError, match="calibration: expected one"):
        qml.grad(qnode)(pnp.array(THETA, requires_grad=True))
    with pytest.raises(efl.InvalidInputError, match="twirled"):
        noise_model(efl.Noise(two_qubit=0.1), twirled=True)
    with pytest.raises(efl.InputTypeError, match=r"noise: expected efl.Noise or a NoiseModel of qiskit_aer"):
        noise_model("noise")
