"""Circuits and devices that the tests of gradients share."""

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp
from pennylane.devices import QubitDevice
from tests.oracle.programs import CLIFFORDS, random_program

MATRIX = np.array([[1, 2 - 1j], [2 + 1j, 0]])
MOLECULE = qml.Hamiltonian(
    [-0.1, 0.17, 0.17, 0.12, 0.045],
    [qml.Identity(0), qml.Z(0), qml.Z(1), qml.Z(0) @ qml.Z(2), qml.X(0) @ qml.X(1) @ qml.Y(2) @ qml.Y(3)],
)


def layers(theta):
    qml.StronglyEntanglingLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0))


def entangler(theta):
    qml.AngleEmbedding([0.1, 0.5, -0.3], wires=range(3))
    qml.BasicEntanglerLayers(theta, wires=range(3), rotation=qml.RY)
    return qml.expval(qml.Z(0) @ qml.X(1)), qml.expval(0.5 * qml.Y(2) + qml.Z(1))


def two_design(theta):
    qml.SimplifiedTwoDesign(theta[:3], theta[3:].reshape(1, 2, 2), wires=range(3))
    return qml.expval(qml.Hermitian(MATRIX, wires=1))


def chemistry(theta):
    qml.BasisState(np.array([1, 1, 0, 0]), wires=range(4))
    qml.DoubleExcitation(theta[0], wires=[0, 1, 2, 3])
    qml.SingleExcitation(theta[1], wires=[0, 2])
    qml.SingleExcitation(theta[2], wires=[1, 3])
    return qml.expval(MOLECULE)


def maxcut(theta):
    edges = [(0, 1), (1, 2), (2, 3), (3, 0)]
    for wire in range(4):
        qml.H(wire)
    for gamma, beta in theta:
        for edge in edges:
            qml.IsingZZ(gamma, wires=edge)
        for wire in range(4):
            qml.RX(beta, wires=wire)
    return qml.expval(qml.sum(*(qml.Z(a) @ qml.Z(b) for a, b in edges)))


def mixed_gates(theta):
    qml.StatePrep(np.array([1, 1j, 0, -1]) / np.sqrt(3), wires=[0, 1])
    qml.Rot(*theta[:3], wires=0)
    qml.CRX(theta[3], wires=[0, 1])
    qml.PauliRot(theta[4] * theta[5], "XYZ", wires=[0, 1, 2])
    qml.ControlledPhaseShift(theta[5], wires=[1, 2])
    qml.T(0)
    qml.U3(*theta[6:9], wires=2)
    qml.QubitUnitary(np.array([[0, 1], [1j, 0]]), wires=2)
    return qml.expval(qml.X(0)), qml.expval(qml.Z(1) @ qml.Y(2)), qml.expval(qml.Z(2))


def labelled(theta):
    qml.RY(theta[0], wires="b")
    qml.CNOT(wires=["b", 3])
    qml.RX(theta[1], wires=3)
    return qml.expval(qml.Z(3) @ qml.Z("b"))


def program(seed):
    """A random circuit: shared parameters, all kinds of gates."""
    gates = random_program(seed, 4, 10, 6)

    def model(theta):
        for gate in gates:
            kind, *rest = gate
            if kind == "clifford":
                CLIFFORDS[rest[0]][1](wires=rest[1])
            elif kind == "unitary":
                qml.QubitUnitary(rest[0], wires=rest[1])
            elif kind == "rotation":
                qml.PauliRot(_angle(rest[1], theta), rest[0], wires=range(4))
        return qml.expval(qml.Z(0) @ qml.X(2)), qml.expval(qml.Y(3) + 0.5 * qml.Z(1))

    return model


def _angle(angle, theta):
    return theta[angle[0]] * angle[1] + angle[2] if isinstance(angle, tuple) else angle


# Model and shape of its parameters.
MODELS = {
    "layers": (layers, (1, 3, 3)),
    "two layers": (layers, (2, 3, 3)),
    "entangler": (entangler, (2, 3)),
    "two_design": (two_design, (7,)),
    "chemistry": (chemistry, (3,)),
    "maxcut": (maxcut, (2, 2)),
    "mixed_gates": (mixed_gates, (9,)),
    "labelled": (labelled, (2,)),
    **{f"program {seed}": (program(seed), (6,)) for seed in range(5)},
}


def angles(name):
    return np.random.default_rng(len(name)).uniform(-2, 2, MODELS[name][1])


def stacked(qnode):
    """The QNode as a function with one array for its outputs."""
    return lambda *args: qml.math.stack([*found] if isinstance(found := qnode(*args), tuple) else [found])


def exact(model, *args, diff_method="parameter-shift"):
    """The Jacobian without noise; outputs have an axis of their own."""
    qnode = qml.QNode(model, qml.device("default.qubit"), diff_method=diff_method)
    return qml.jacobian(stacked(qnode))(*args)


def trainable(values):
    return pnp.array(values, requires_grad=True)


class Former(QubitDevice):
    """A state-vector simulator behind the interface that devices had before."""

    name, short_name, version, author = "former", "tests.former", "0", "tests"
    pennylane_requires = ">=0.45"
    operations = frozenset({"RX", "RY", "RZ", "CNOT", "CZ", "Hadamard", "S", "Adjoint(S)", "PauliX"})
    observables = frozenset({"PauliX", "PauliY", "PauliZ", "Identity"})
    batches = 0

    def batch_execute(self, circuits):
        self.batches += 1
        return super().batch_execute(circuits)

    def apply(self, operations, rotations=None, **_):
        circuit = qml.tape.QuantumScript([*operations, *(rotations or [])])
        start = np.zeros(2**self.num_wires)
        start[0] = 1
        self._state = qml.matrix(circuit, wire_order=self.wires) @ start

    def analytic_probability(self, wires=None):
        return self.marginal_prob(np.abs(self._state) ** 2, wires)
