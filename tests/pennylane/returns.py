"""Models of the table that return probabilities, variances, projectors, matrices, and mixtures of them.

Every circuit on three wires is entered with every return: 30 models.
"""

from itertools import product

import numpy as np
import pennylane as qml

MATRIX = np.array([[0.3, 0.2 + 0.1j], [0.2 - 0.1j, -0.5]])
WIDER = np.kron(MATRIX, [[0, 1], [1, 0]]) + np.diag([0.1, -0.4, 0.3, 0.2])


def strong(theta):
    qml.StronglyEntanglingLayers(theta, wires=range(3))


def turned(theta):
    qml.AngleEmbedding([0.1, 0.5, -0.3], wires=range(3))
    qml.BasicEntanglerLayers(theta, wires=range(3), rotation=qml.RY)


def shared(theta):
    for wire in range(3):
        qml.RX(theta[0] * (wire + 1) / 2, wires=wire)
        qml.RZ(theta[1] + 0.3, wires=wire)
    qml.CZ(wires=[0, 1])
    qml.IsingXX(theta[1] ** 2 / 2, wires=[1, 2])
    qml.RY(theta[0], wires=1)


def controlled(theta):
    for wire in range(3):
        qml.Hadamard(wire)
    qml.CRX(theta[0], wires=[0, 1])
    qml.ControlledPhaseShift(theta[1], wires=[1, 2])
    qml.CRot(*theta[2:5], wires=[2, 0])
    qml.SX(1)


def excited(theta):
    qml.BasisState(np.array([1, 0, 0]), wires=range(3))
    qml.SingleExcitation(theta[0], wires=[0, 1])
    qml.SingleExcitation(theta[1], wires=[1, 2])
    qml.RY(theta[2], wires=0)


CIRCUITS = {strong: (1, 3, 3), turned: (2, 3), shared: (2,), controlled: (5,), excited: (3,)}


def probabilities():
    return qml.probs(wires=[2, 0])


def all_probabilities():
    return qml.probs(wires=range(3))


def variances():
    return qml.var(qml.Z(0)), qml.var(0.5 * qml.X(1) + qml.Z(2))


def projectors():
    return qml.expval(qml.Projector([1, 0], wires=[0, 1])), qml.var(qml.Projector([0], wires=[2]))


def hermitian():
    return [qml.expval(qml.Hermitian(WIDER, wires=[0, 2])), qml.var(qml.Hermitian(MATRIX, wires=1))]


def mixture():
    return qml.expval(qml.Z(0) @ qml.X(1)), qml.var(qml.Y(2)), qml.probs(wires=1), qml.probs(wires=[0, 2])


RETURNS = (probabilities, all_probabilities, variances, projectors, hermitian, mixture)


def entries():
    """Yield the name of each model, its function, and the shape of its argument."""
    for (circuit, shape), returned in product(CIRCUITS.items(), RETURNS):

        def model(theta, circuit=circuit, returned=returned):
            circuit(theta)
            return returned()

        yield f"{circuit.__name__}_{returned.__name__}", model, shape
