"""QNodes whose gates share arguments and scale them, with batches and with several outputs."""

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp

SHARED = {}
MATRIX = np.random.default_rng(5).normal(size=(9, 3))


def given(*shapes):
    """Enter a function in the table, with the shapes of its arguments."""

    def enter(function):
        SHARED[function.__name__] = (function, shapes)
        return function

    return enter


def arguments(name):
    """Return angles that are fixed by the name; data of a batch are not trained."""
    random = np.random.default_rng(sum(map(ord, name)))
    shapes = SHARED[name][1]
    found = [pnp.array(random.uniform(-np.pi, np.pi, shape)) for shape in shapes]
    if name.startswith("batch"):
        found[1] = pnp.array(found[1], requires_grad=False)
    return found


def ring(n):
    """Return the sum of neighbours."""
    return qml.sum(*[qml.Z(i) @ qml.Z((i + 1) % n) for i in range(n)])


@given((2,))
def one_layer_of_qaoa(t):
    for i in range(6):
        qml.Hadamard(i)
    for i in range(6):
        qml.IsingZZ(t[0], [i, (i + 1) % 6])
    for i in range(6):
        qml.RX(t[1], i)
    return qml.expval(ring(6))


@given((4,))
def two_layers_of_qaoa(t):
    for i in range(5):
        qml.Hadamard(i)
    for layer in range(2):
        for i in range(5):
            qml.IsingZZ(0.5 * t[2 * layer], [i, (i + 1) % 5])
        for i in range(5):
            qml.RX(2 * t[2 * layer + 1], i)
    return qml.expval(ring(5))


@given((3,))
def weighted_edges(t):
    for i in range(4):
        qml.Hadamard(i)
    for i, weight in enumerate((0.3, 1.7, 0.9, 2.4)):
        qml.IsingZZ(weight * t[0], [i, (i + 1) % 4])
    for i in range(4):
        qml.RX(t[1], i)
        qml.RY(0.2 * t[2] * (i + 1), i)
    return qml.expval(ring(4)), qml.expval(qml.X(0))


@given((3,))
def hamiltonian_variational(t):
    for layer in range(2):
        for i in range(4):
            qml.RY(0.7 * t[2], i)
        for i in range(3):
            qml.IsingXX(t[0] * (layer + 1), [i, i + 1])
        for i in range(4):
            qml.RZ(t[1], i)
    return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.X(2)), qml.expval(qml.Y(3))


@given((2, 2), (2, 3))
def reuploading(scales, w):
    for layer in range(2):
        for i, x in enumerate((0.4, -0.9)):
            qml.RX(scales[layer, i] * x, i)
            qml.RY(w[layer, i], i)
        qml.CNOT([0, 1])
        qml.RZ(w[layer, 2], 1)
    return qml.expval(qml.Z(0) @ qml.X(1))


@given((6,))
def squares(t):
    for i in range(3):
        qml.RY(t[i] ** 2, i)
    for i in range(3):
        qml.CZ([i, (i + 1) % 3])
        qml.RX(3 * t[3 + i], i)
    for i in range(2):
        qml.CNOT([i, i + 1])
    return qml.expval(qml.Z(2)), qml.expval(qml.X(0) @ qml.X(1))


@given((2,))
def products(t):
    qml.RY(t[0] * t[1], 0)
    qml.RX(t[0], 1)
    qml.CNOT([0, 1])
    qml.RY(t[1] - 2 * t[0], 1)
    qml.RX(t[0] * t[1], 0)
    qml.CNOT([1, 2])
    qml.RY(t[1], 2)
    return qml.expval(qml.Z(0) @ qml.Z(2))


@given((3,))
def every_angle_of_all(t):
    angles = MATRIX @ t
    for i in range(3):
        qml.RY(angles[i], i)
    for i in range(3):
        qml.CNOT([i, (i + 1) % 3])
        qml.RX(angles[3 + i], i)
    for i in range(2):
        qml.CZ([i, i + 1])
    for i in range(3):
        qml.RY(angles[6 + i], i)
    return qml.expval(qml.Z(0)), qml.expval(qml.Z(1) @ qml.Z(2))


@given((2, 4, 2))
def far_apart_scales(t):
    for layer in range(2):
        for i in range(4):
            qml.RY(10 * t[layer, i, 0], i)
            qml.RZ(0.1 * t[layer, i, 1], i)
        for i in range(4):
            qml.CNOT([i, (i + 1) % 4])
    return qml.expval(qml.sum(*[0.5 * qml.Z(i) for i in range(4)]))


@given((2, 3), (5, 2))
def batch_of_inputs(t, x):
    for layer in range(2):
        for i in range(2):
            qml.RX(2 * x[:, i], i)
            qml.RY(t[layer, i], i)
        qml.CNOT([0, 1])
        qml.RZ(t[layer, 2], 1)
        qml.RX(t[layer, 2], 0)
    return qml.expval(qml.Z(0)), qml.expval(qml.X(1))


@given((4,))
def tied_layers(t):
    for _ in range(3):
        for i in range(4):
            qml.RY(t[i], i)
        for i in range(3):
            qml.CNOT([i, i + 1])
    return qml.expval(qml.Z(3))


@given((2,), (4,))
def few_and_many(t, s):
    for i in range(4):
        qml.RX(t[0] + 0.1 * i, i)
    for i in range(3):
        qml.IsingZZ(t[1], [i, i + 1])
    for i in range(4):
        qml.RY(s[i] / 3, i)
    return qml.expval(qml.X(0) @ qml.X(1)), qml.expval(qml.Z(2)), qml.expval(qml.Y(3) @ qml.Z(0))
