"""The QNodes that gradients are tested on, and the devices that run them.

`MODELS` is the table: what people write, on two to six wires, each with the shapes of the arrays that are
trained. Values of the arrays are fixed by the name.
"""

import warnings
import zlib
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from typing import NamedTuple

import networkx as nx
import numpy as np
import pennylane as qml
from pennylane import numpy as pnp
from pennylane.devices import QubitDevice
from tests.oracle.programs import CLIFFORDS, random_program
from tests.pennylane import returns


class Model(NamedTuple):
    """A quantum function, and the shapes of its arguments."""

    function: Callable
    shapes: tuple


MODELS = {}
SIGMAS = 5  # standard errors
MATRIX = np.array([[1, 2 - 1j], [2 + 1j, 0]])
MOLECULE = qml.Hamiltonian(
    [-0.1, 0.17, 0.17, 0.12, 0.045],
    [qml.Identity(0), qml.Z(0), qml.Z(1), qml.Z(0) @ qml.Z(2), qml.X(0) @ qml.X(1) @ qml.Y(2) @ qml.Y(3)],
)
CHAIN = qml.dot(
    [0.7, 0.5, -0.4, 0.3, -0.6],
    [qml.Z(0) @ qml.Z(1), qml.Z(1) @ qml.Z(2), qml.X(0), qml.X(1), qml.X(2)],
)
SQUARE = nx.cycle_graph(4)
CUTS, FLIPS = qml.qaoa.maxcut(SQUARE)
SWAPS = qml.qaoa.xy_mixer(SQUARE)
FEATURES = np.array([0.4, -0.9, 0.7])


def given(*shapes, name=None):
    """Enter a function in the table."""

    def enter(function):
        MODELS[name or function.__name__] = Model(function, shapes)
        return function

    return enter


# ---- layers --------------------------------------------------------------------------------------


@given((1, 3, 3))
@given((2, 3, 3), name="two_layers")
def layers(theta):
    qml.StronglyEntanglingLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0))


@given((1, 6, 3))
def wide(theta):
    qml.StronglyEntanglingLayers(theta, wires=range(6), imprimitive=qml.CZ)
    return [qml.expval(qml.Z(wire) @ qml.Z(wire + 1)) for wire in range(5)]


@given((2, 3))
def entangler(theta):
    qml.AngleEmbedding([0.1, 0.5, -0.3], wires=range(3))
    qml.BasicEntanglerLayers(theta, wires=range(3), rotation=qml.RY)
    return qml.expval(qml.Z(0) @ qml.X(1)), qml.expval(0.5 * qml.Y(2) + qml.Z(1))


@given((3, 3))
def ring(theta):
    qml.BasicEntanglerLayers(theta, wires=range(3), rotation=qml.RY)
    return [qml.expval(qml.Z(wire)) for wire in range(3)]


@given((7,))
def two_design(theta):
    qml.SimplifiedTwoDesign(theta[:3], theta[3:].reshape(1, 2, 2), wires=range(3))
    return qml.expval(qml.Hermitian(MATRIX, wires=1))


@given((2, 5, 2))
def brick(theta):
    for k, row in enumerate(theta):
        for wire, (a, b) in enumerate(row):
            qml.RY(a, wires=wire)
            qml.RZ(b, wires=wire)
        for wire in range(k % 2, 4, 2):
            qml.CZ(wires=[wire, wire + 1])
    return qml.expval(qml.sum(*(qml.X(wire) for wire in range(5))))


@given((2, 3))
def random_layers(theta):
    qml.RandomLayers(theta, wires=range(3), seed=42)
    return qml.expval(qml.Z(0)), qml.expval(qml.Y(1) @ qml.X(2))


@given((3, 2))
def tensor_network(theta):
    def block(weights, wires):
        qml.RY(weights[0], wires=wires[0])
        qml.RY(weights[1], wires=wires[1])
        qml.CNOT(wires=wires)

    qml.TTN(range(4), 2, block, 2, theta)
    return qml.expval(qml.Z(3)), qml.expval(qml.X(3))


@given((2, 3))
def backwards(theta):
    qml.BasicEntanglerLayers(theta, wires=range(3))
    qml.QubitUnitary(np.array([[0, 1], [1j, 0]]), wires=2)
    qml.adjoint(qml.BasicEntanglerLayers)(0.6 * qml.math.stack([theta[1], theta[0]]) + 0.2, wires=range(3))
    qml.pow(qml.RY(theta[0, 0], wires=1), 3)
    return qml.expval(qml.Z(2) + 0.4 * qml.X(1))


# ---- chemistry -----------------------------------------------------------------------------------


@given((3,))
def excitations(theta):
    qml.BasisState(np.array([1, 1, 0, 0]), wires=range(4))
    qml.DoubleExcitation(theta[0], wires=[0, 1, 2, 3])
    qml.SingleExcitation(theta[1], wires=[0, 2])
    qml.SingleExcitation(theta[2], wires=[1, 3])
    return qml.expval(MOLECULE)


@given((3,))
def coupled_cluster(theta):
    doubles = [[[0, 1], [2, 3]]]
    qml.UCCSD(theta, range(4), [[0, 1, 2], [1, 2, 3]], doubles, np.array([1, 1, 0, 0]))
    return qml.expval(MOLECULE)


@given((3,))
def singles_doubles(theta):
    singles, doubles = qml.qchem.excitations(2, 4)
    qml.AllSinglesDoubles(theta, range(4), np.array([1, 1, 0, 0]), singles, doubles)
    return qml.expval(MOLECULE), qml.expval(qml.Z(3))


@given((1, 6))
def generalised_pairs(theta):
    qml.kUpCCGSD(theta, wires=range(4), k=1, delta_sz=0, init_state=np.array([1, 1, 0, 0]))
    return qml.expval(MOLECULE)


@given((1, 1, 2))
def fabric(theta):
    qml.GateFabric(theta, wires=range(4), init_state=np.array([1, 1, 0, 0]), include_pi=True)
    return qml.expval(MOLECULE)


@given((1, 2, 2))
def conserving_u1(theta):
    qml.ParticleConservingU1(theta, wires=range(3), init_state=np.array([1, 1, 0]))
    return qml.expval(qml.Z(0) - 0.5 * qml.Z(1)), qml.expval(qml.X(1) @ qml.X(2))


@given((2, 5))
def conserving_u2(theta):
    qml.ParticleConservingU2(theta, wires=range(3), init_state=np.array([1, 0, 1]))
    return qml.expval(qml.Z(0) - 0.5 * qml.Z(1)), qml.expval(qml.X(1) @ qml.X(2))


@given((3,))
def fermions(theta):
    qml.BasisState(np.array([1, 0, 1, 0]), wires=range(4))
    qml.FermionicSWAP(theta[0], wires=[0, 1])
    qml.OrbitalRotation(theta[1], wires=range(4))
    qml.SingleExcitationMinus(theta[2], wires=[1, 2])
    hop = 0.5 * qml.X(0) @ qml.Z(1) @ qml.Z(2) @ qml.X(3) + 0.5 * qml.Y(0) @ qml.Z(1) @ qml.Z(2) @ qml.Y(3)
    return qml.expval(hop), qml.expval(qml.Z(1))


# ---- Hamiltonians --------------------------------------------------------------------------------


@given((2, 2))
def maxcut(theta):
    for wire in range(4):
        qml.H(wire)
    for gamma, beta in theta:
        qml.qaoa.cost_layer(gamma, CUTS)
        qml.qaoa.mixer_layer(beta, FLIPS)
    return qml.expval(CUTS)


@given((2, 2))
def constrained(theta):
    qml.BasisState(np.array([1, 0, 0, 1]), wires=range(4))
    qml.RY(0.8, wires=0)
    for gamma, beta in theta:
        qml.qaoa.cost_layer(gamma, CUTS)
        qml.qaoa.mixer_layer(beta, SWAPS)
    return qml.expval(CUTS - 0.4 * qml.Z(2))


@given((), ())
def time_evolution(time, angle):
    qml.RY(angle, wires=1)
    qml.ApproxTimeEvolution(CHAIN, time, 2)
    return qml.expval(qml.Z(0)), qml.expval(qml.Y(1) @ qml.Z(2))


@given((2,))
def trotter(times):
    qml.TrotterProduct(CHAIN, times[0], n=1, order=2)
    qml.RX(0.4, wires=2)
    qml.TrotterProduct(CHAIN, times[1], n=2, order=1)
    return qml.expval(CHAIN)


@given((2,))
def evolutions(times):
    qml.AngleEmbedding(FEATURES, wires=range(3), rotation="Y")
    qml.evolve(0.6 * qml.X(0) @ qml.Y(1), times[0])
    qml.CommutingEvolution(qml.dot([0.5, -0.3], [qml.X(1) @ qml.X(2), qml.Z(1) @ qml.Z(2)]), times[1])
    qml.exp(qml.Y(2), 1j * times[0] * times[1])
    return qml.expval(qml.Z(0) @ qml.X(2)), qml.expval(qml.Z(1))


@given((3,), (5,))
def hamiltonian_variational(theta, couplings):
    """Couplings are trained inside of a gate and in front of the words of an observable."""
    words = CHAIN.terms()[1]
    qml.RY(theta[0], wires=0)
    qml.ApproxTimeEvolution(qml.Hamiltonian(couplings, words), theta[1], 1)
    qml.RX(theta[2], wires=2)
    return qml.expval(qml.Hamiltonian(couplings**2, words)), qml.expval(qml.Y(0))


# ---- inputs --------------------------------------------------------------------------------------


@given((1, 3, 3))
def iqp(theta):
    qml.IQPEmbedding(FEATURES, wires=range(3), n_repeats=2)
    qml.StronglyEntanglingLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0) @ qml.Z(2))


@given((2, 3), (2, 3, 3))
def reuploading(scales, theta):
    for scale, row in zip(scales, theta, strict=True):
        qml.AngleEmbedding(
            qml.math.stack([s * x for s, x in zip(scale, FEATURES, strict=True)]), wires=range(3)
        )
        qml.StronglyEntanglingLayers(row[None], wires=range(3))
    return qml.expval(qml.X(0))


@given((2, 2, 3))
def feature_map(theta):
    qml.QAOAEmbedding(FEATURES[:2], theta.reshape(4, 3), wires=range(2))
    return qml.expval(qml.Z(0)), qml.expval(qml.Y(1))


@given((2, 3))
def amplitudes(theta):
    qml.AmplitudeEmbedding(np.arange(1.0, 7.0), wires=range(3), pad_with=0.5, normalize=True)
    qml.BasicEntanglerLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(2))


@given((1, 3, 3))
def bits(theta):
    qml.BasisEmbedding([1, 0, 1], wires=range(3))
    qml.StronglyEntanglingLayers(theta, wires=range(3), ranges=(2,))
    return qml.expval(qml.Z(0) - qml.Z(1) @ qml.Z(2))


@given((4,))
def prepared(theta):
    """A state that is prepared by gates, and turned."""
    qml.MottonenStatePreparation(np.array([1, 1j, 0, -1]) / np.sqrt(3), wires=[0, 1])
    for k, angle in enumerate(theta):
        qml.RY(angle, wires=k % 2)
        qml.CNOT(wires=[k % 2, 1 - k % 2])
    return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.X(0))


@given((2, 3), (4, 3))
def batch_of_inputs(theta, x):
    qml.AngleEmbedding(x, wires=range(3))
    qml.BasicEntanglerLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0)), qml.expval(qml.X(1))


@given((4,), ())
def batch_of_angles(theta, angle):
    qml.RY(theta, wires=0)
    qml.CRX(angle, wires=[0, 1])
    qml.IsingXX(0.5 * theta, wires=[0, 1])
    return qml.expval(qml.Z(1) + 0.3 * qml.Y(0))


# ---- gates ---------------------------------------------------------------------------------------


@given((9,))
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


@given((8,))
def couplings(theta):
    qml.AngleEmbedding(FEATURES, wires=range(3), rotation="Y")
    qml.MultiRZ(theta[0], wires=range(3))
    qml.IsingXX(theta[1], wires=[0, 1])
    qml.IsingYY(theta[2], wires=[1, 2])
    qml.IsingZZ(theta[3], wires=[2, 0])
    qml.IsingXY(theta[4], wires=[0, 1])
    qml.PSWAP(theta[5], wires=[1, 2])
    qml.PauliRot(theta[6], "YIX", wires=range(3))
    qml.PCPhase(theta[7], dim=3, wires=[0, 1])
    return qml.expval(qml.X(0) @ qml.X(2)), qml.expval(qml.Z(1))


@given((3,))
def commuting(theta):
    for wire in range(3):
        qml.H(wire)
    for k, angle in enumerate(theta):
        qml.IsingZZ(angle, wires=[k, (k + 1) % 3])
    return qml.expval(qml.X(0) @ qml.X(1) + 0.5 * qml.Y(2))


@given((9,))
def controlled(theta):
    qml.AngleEmbedding(FEATURES, wires=range(3), rotation="Y")
    qml.CRY(theta[0], wires=[0, 1])
    qml.CRZ(theta[1], wires=[1, 2])
    qml.CRot(*theta[2:5], wires=[2, 0])
    qml.ctrl(qml.RX, control=[0, 1], control_values=[1, 0])(theta[5], wires=2)
    qml.CPhaseShift01(theta[6], wires=[0, 1])
    qml.Toffoli(wires=[2, 1, 0])
    qml.ctrl(qml.IsingZZ(theta[7], wires=[1, 2]), control=0)
    qml.MultiControlledX(wires=[0, 1, 2], control_values=[0, 1])
    qml.ctrl(qml.GlobalPhase(theta[8]), control=1)
    return qml.expval(qml.X(0)), qml.expval(qml.Y(1) @ qml.Z(2))


@given((6,))
def phases(theta):
    qml.H(0)
    qml.PhaseShift(theta[0], wires=0)
    qml.U2(theta[1], theta[2], wires=1)
    qml.GlobalPhase(theta[3])
    qml.CNOT(wires=[0, 1])
    qml.U1(theta[4], wires=1)
    qml.U3(theta[5], 0.2 * theta[0], theta[4], wires=0)
    return qml.expval(qml.X(0)), qml.expval(qml.X(1))


@given((2,))
def shared(theta):
    """Every angle is a function of the same two."""
    a, b = theta
    for wire in range(3):
        qml.RX(a * (wire + 1), wires=wire)
        qml.RZ(qml.math.sin(b) * a, wires=wire)
    for pair in pairwise(range(3)):
        qml.IsingZZ(a - b, wires=pair)
    qml.Rot(b, -a, b**2, wires=1)
    return qml.expval(qml.Z(1)), qml.expval(qml.Z(0) @ qml.X(1) @ qml.Y(2))


@given((2, 4))
def selected(theta):
    """Angles that depend on bits."""
    qml.H(0)
    qml.H(1)
    qml.SelectPauliRot(theta[0], control_wires=[0, 1], target_wire=2, rot_axis="Y")
    qml.RX(0.3, wires=0)
    qml.Select([qml.RX(angle, wires=2) for angle in theta[1]], control=[0, 1])
    return qml.expval(qml.Z(2)), qml.expval(qml.Z(0) @ qml.X(2))


@given((6,))
def fourier(theta):
    qml.AngleEmbedding(theta[:3], wires=range(3), rotation="Y")
    qml.QFT(wires=range(3))
    qml.AngleEmbedding(theta[3:], wires=range(3), rotation="X")
    qml.adjoint(qml.QFT)(wires=range(3))
    return qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(2))


@given((8,))
def arithmetic(theta):
    """Fixed parts that act on several wires at once."""
    qml.AngleEmbedding(theta[:4], wires=range(4), rotation="Y")
    qml.QubitCarry(wires=range(4))
    qml.QubitSum(wires=[1, 2, 3])
    qml.AngleEmbedding(theta[4:], wires=range(4), rotation="X")
    qml.PhaseAdder(3, x_wires=[0, 1, 2])
    qml.GroverOperator(wires=[0, 1, 2])
    qml.Permute([3, 0, 2, 1], wires=range(4))
    return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.Y(3))


@given((3,))
def powers(theta):
    """The circuit of phase estimation."""
    qml.H(0)
    qml.H(1)
    qml.RY(theta[0], wires=2)
    qml.ControlledSequence(qml.RX(theta[1], wires=2), control=[0, 1])
    qml.adjoint(qml.QFT)(wires=[0, 1])
    qml.RX(theta[2], wires=0)
    return qml.expval(qml.Z(0)), qml.expval(qml.Z(1))


# ---- measurements --------------------------------------------------------------------------------


@given((2, 3))
def matrices(theta):
    """Observables that are no Pauli words."""
    matrix = np.random.default_rng(5).normal(size=(8, 8))
    qml.BasicEntanglerLayers(theta, wires=range(3))
    return (
        qml.expval(qml.Hermitian(matrix + matrix.T, wires=range(3))),
        qml.expval(qml.Hermitian(MATRIX, wires=2) @ qml.X(0)),
        qml.expval(qml.Projector([1, 0], wires=[0, 1])),
        qml.expval(qml.Hadamard(1)),
    )


@given((2,), (3,))
def coefficients(theta, weights):
    qml.RY(theta[0] * theta[1], wires=0)
    qml.CNOT(wires=[0, 1])
    qml.RX(qml.math.sin(theta[1]), wires=1)
    terms = [qml.Z(0) @ qml.Z(1), qml.X(1), qml.Y(0) @ qml.X(1)]
    return qml.expval(qml.Hamiltonian(weights, terms)), qml.expval(qml.Y(1))


@given((4, 3))
def many_outputs(theta):
    for wire, angles in enumerate(theta):
        qml.Rot(*angles, wires=wire)
    for pair in pairwise(range(4)):
        qml.CNOT(wires=pair)
    words = [qml.Z(wire) for wire in range(4)] + [qml.X(a) @ qml.Y(b) for a, b in pairwise(range(4))]
    return [qml.expval(word) for word in words] + [qml.expval(qml.sum(*words) - 0.5 * qml.I(0))]


@given((2,))
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


for seed in range(5):
    given((6,), name=f"program_{seed}")(program(seed))


for name, function, shape in returns.entries():
    given(shape, name=name)(function)


# ---- what is done with them ----------------------------------------------------------------------


def arguments(name):
    """The arrays that a model is trained at."""
    rng = np.random.default_rng(zlib.crc32(name.encode()))
    return [trainable(rng.uniform(-2, 2, shape)) for shape in MODELS[name].shapes]


def wires_of(name):
    """The wires of a model, in order."""
    wires = qml.tape.make_qscript(MODELS[name].function)(*arguments(name)).wires
    return wires.tolist() if name == "labelled" else range(len(wires))


def stacked(qnode):
    """The QNode as a function with one array for its outputs."""
    return lambda *args: as_array(qnode(*args))


def as_array(found):
    """What a QNode returns as one array: an axis of outputs, where they have one shape, or of all numbers."""
    outputs = [*found] if isinstance(found, (tuple, list)) else [found]
    if len({qml.math.shape(output) for output in outputs}) == 1:
        return qml.math.stack(outputs)
    return qml.math.concatenate([qml.math.reshape(output, (-1,)) for output in outputs])


def exact(model, *args):
    """The Jacobian without noise; outputs have an axis of their own."""
    qnode = qml.QNode(model, qml.device("default.qubit"), diff_method="backprop")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # inside autograd
        return qml.jacobian(stacked(qnode))(*args)


def as_tuple(found):
    return found if isinstance(found, tuple) else (found,)


@cache
def wanted(name):
    """The exact Jacobians, one for each argument; outputs have an axis of their own."""
    return as_tuple(exact(MODELS[name].function, *arguments(name)))


def assert_close(name, found, stderr, sigmas=SIGMAS):
    """Compare the Jacobians of all arguments, whose axes of outputs may be missing."""
    for part, own, error in zip(wanted(name), as_tuple(found), as_tuple(stderr), strict=True):
        difference = np.abs(np.reshape(own, part.shape) - part)
        assert np.all(difference <= sigmas * np.reshape(error, part.shape) + 1e-9), (own, part, error)


def trainable(values):
    return pnp.array(values, requires_grad=True)


class Former(QubitDevice):
    """A state-vector simulator behind the interface that devices had before, which notes its batches."""

    name, short_name, version, author = "former", "tests.former", "0", "tests"
    pennylane_requires = ">=0.45"
    operations = frozenset({"RX", "RY", "RZ", "CNOT", "CZ", "Hadamard", "S", "Adjoint(S)", "PauliX"})
    observables = frozenset({"PauliX", "PauliY", "PauliZ", "Identity"})

    def __init__(self, wires, shots=None):
        super().__init__(wires=wires, shots=shots)
        self.submissions = []

    def batch_execute(self, circuits):
        self.submissions.append(len(circuits))
        return super().batch_execute(circuits)

    def apply(self, operations, rotations=None, **_):
        state = np.zeros((2,) * self.num_wires, dtype=complex)
        state.flat[0] = 1
        places = dict(self.wire_map)
        for operation in [*operations, *(rotations or [])]:
            state = qml.devices.qubit.apply_operation(operation.map_wires(places), state)
        self._state = state.ravel()

    def analytic_probability(self, wires=None):
        return self.marginal_prob(np.abs(self._state) ** 2, wires)
