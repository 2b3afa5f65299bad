"""Converted PennyLane circuits: value and gradient are those of PennyLane's own simulators, to rounding.

Every operation is tried between generic gates, so that no gradient vanishes by symmetry, against a generic
Hamiltonian and a single word. The parameters of the circuit are those of the tape; where an argument of a
QNode feeds several of them, the chain rule is PennyLane's.
"""

import warnings
from itertools import pairwise

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.devices.qubit import adjoint_jacobian

import efl_core as efl
from efl_core.pennylane import from_qnode, from_tape

TOLERANCE = 1e-9


def trained(values):
    return pnp.array(values, requires_grad=True)


def before(wires):
    for i, wire in enumerate(wires):
        qml.RY(0.4 + 0.3 * i, wires=wire)
        qml.RZ(0.9 - 0.2 * i, wires=wire)
    for a, b in pairwise(wires):
        qml.CNOT(wires=[a, b])


def after(wires):
    for i, wire in enumerate(wires):
        qml.RX(0.7 - 0.25 * i, wires=wire)
        qml.RZ(0.35 + 0.15 * i, wires=wire)
    for a, b in pairwise(wires):
        qml.CZ(wires=[a, b])
        qml.SX(wires=b)


def hamiltonian(wires, seed=5):
    rng = np.random.default_rng(seed)
    words = []
    for _ in range(8):
        letters = rng.choice(list("IXYZ"), len(wires))
        words.append(qml.pauli.PauliWord(dict(zip(wires, letters, strict=True))).operation(wire_order=wires))
    return qml.dot(rng.normal(size=8), words)


def measurements(wires):
    return [qml.expval(hamiltonian(wires)), qml.expval(qml.Y(wires[-1]))]


def check(gates, arguments, wires, method="adjoint", device="default.qubit", measured=None, factors=None):
    """Compare with PennyLane for a function that applies gates to trained arguments."""
    arguments = [trained(a) for a in arguments]
    measured = measured or measurements(wires)

    @qml.qnode(qml.device(device, wires=wires), diff_method=method)
    def model(*theta):
        gates(*theta)
        return [qml.apply(m) for m in measured]

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # PauliError
        circuit = from_qnode(model)(*arguments)
    assert circuit.n_qubits == len(wires)
    assert circuit.wires == tuple(wires)
    assert len(circuit.observables) == len(measured)
    values = [efl.propagate(circuit, o) for o in circuit.observables]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", np.exceptions.ComplexWarning)  # inside autograd and default.mixed
        exact = model(*arguments)
        columns = qml.jacobian(lambda *theta: pnp.stack(model(*theta)))(*arguments)
    np.testing.assert_allclose([v.value for v in values], exact, atol=TOLERANCE, rtol=0)

    columns = columns if isinstance(columns, tuple) else (columns,)
    exact = np.hstack([np.reshape(column, (len(measured), -1)) for column in columns])
    found = np.array([v.gradient for v in values])
    if factors is not None:
        found = found @ np.asarray(factors)
    assert np.abs(exact).max() > 1e-3, "the oracle sees nothing"
    np.testing.assert_allclose(found, exact, atol=TOLERANCE, rtol=0)
    return circuit


def check_between(operation, count, width, **options):
    """Compare one operation with ``count`` scalar angles between generic gates."""
    wires = range(width)

    def gates(*theta):
        before(wires)
        operation(*theta)
        after(wires)

    values = np.random.default_rng(count + 7 * width).uniform(-2, 2, count)
    return check(gates, values, wires, **options)


# Gates without parameters, and the number of wires they act on.
FIXED = {
    "I": (lambda: qml.I(0), 1),
    "X": (lambda: qml.X(0), 1),
    "Y": (lambda: qml.Y(0), 1),
    "Z": (lambda: qml.Z(0), 1),
    "H": (lambda: qml.H(0), 1),
    "S": (lambda: qml.S(0), 1),
    "T": (lambda: qml.T(0), 1),
    "SX": (lambda: qml.SX(0), 1),
    "adjoint S": (lambda: qml.adjoint(qml.S(0)), 1),
    "adjoint T": (lambda: qml.adjoint(qml.T(0)), 1),
    "adjoint SX": (lambda: qml.adjoint(qml.SX(0)), 1),
    "CNOT": (lambda: qml.CNOT([0, 1]), 2),
    "CNOT reversed": (lambda: qml.CNOT([1, 0]), 2),
    "CY": (lambda: qml.CY([0, 1]), 2),
    "CZ": (lambda: qml.CZ([0, 1]), 2),
    "CH": (lambda: qml.CH([0, 1]), 2),
    "SWAP": (lambda: qml.SWAP([0, 1]), 2),
    "ISWAP": (lambda: qml.ISWAP([0, 1]), 2),
    "SISWAP": (lambda: qml.SISWAP([0, 1]), 2),
    "ECR": (lambda: qml.ECR([0, 1]), 2),
    "ECR reversed": (lambda: qml.ECR([1, 0]), 2),
    "adjoint ISWAP": (lambda: qml.adjoint(qml.ISWAP([0, 1])), 2),
    "adjoint SISWAP": (lambda: qml.adjoint(qml.SISWAP([0, 1])), 2),
    "Toffoli": (lambda: qml.Toffoli([2, 0, 1]), 3),
    "CSWAP": (lambda: qml.CSWAP([1, 0, 2]), 3),
    "CCZ": (lambda: qml.CCZ([0, 1, 2]), 3),
    "MultiControlledX": (lambda: qml.MultiControlledX([0, 3, 1, 2], control_values=[1, 0, 1]), 4),
    "GlobalPhase": (lambda: qml.GlobalPhase(0.3), 2),
    "Barrier": (lambda: qml.Barrier([0, 1]), 2),
    "Snapshot": (lambda: qml.Snapshot("here"), 2),
    "ctrl S": (lambda: qml.ctrl(qml.S(0), 1, control_values=0), 2),
    "ctrl SWAP": (lambda: qml.ctrl(qml.SWAP([0, 1]), 2), 3),
    "ctrl H twice": (lambda: qml.ctrl(qml.H(0), [1, 2]), 3),
    "pow X": (lambda: qml.pow(qml.X(0), 0.3), 1),
    "pow S": (lambda: qml.pow(qml.S(0), 3), 1),
    "pow ISWAP": (lambda: qml.pow(qml.ISWAP([0, 1]), 0.5), 2),
    "prod": (lambda: qml.prod(qml.X(0), qml.S(1), qml.CNOT([1, 2])), 3),
    "prod of two": (lambda: qml.prod(qml.H(0), qml.T(0)), 1),
    "fixed RX": (lambda: qml.RX(np.pi / 2, 0), 1),
    "fixed U2": (lambda: qml.U2(0.3, -0.8, 0), 1),
    "fixed U3": (lambda: qml.U3(0.3, 0.7, -0.8, 0), 1),
    "fixed CRot": (lambda: qml.CRot(0.3, 0.7, -0.8, [1, 0]), 2),
    "fixed PSWAP": (lambda: qml.PSWAP(0.4, [0, 1]), 2),
    "fixed DoubleExcitation": (lambda: qml.DoubleExcitation(0.4, [0, 1, 2, 3]), 4),
    "fixed exp": (lambda: qml.exp(qml.X(0) @ qml.Y(1) + 0.5 * qml.Z(0), 0.3j), 2),
    "fixed exp of a word": (lambda: qml.exp(qml.X(0) @ qml.Y(2), -0.3j), 3),
    "adjoint exp": (lambda: qml.adjoint(qml.exp(qml.X(0) @ qml.Y(1), 0.3j)), 2),
    "ctrl exp": (lambda: qml.ctrl(qml.exp(qml.X(0), 0.3j), 1), 2),
    "QubitUnitary of one": (lambda: qml.QubitUnitary(unitary(2, 1), 0), 1),
    "QubitUnitary of two": (lambda: qml.QubitUnitary(unitary(4, 2), [1, 0]), 2),
    "QubitUnitary of three": (lambda: qml.QubitUnitary(unitary(8, 3), [0, 1, 2]), 3),
    "adjoint QubitUnitary": (lambda: qml.adjoint(qml.QubitUnitary(unitary(4, 4), [0, 1])), 2),
    "ctrl QubitUnitary": (lambda: qml.ctrl(qml.QubitUnitary(unitary(2, 5), 0), 1), 2),
    "DiagonalQubitUnitary": (lambda: qml.DiagonalQubitUnitary(np.exp(1j * np.arange(4)), [0, 1]), 2),
    "QFT": (lambda: qml.QFT([0, 1, 2]), 3),
    "adjoint QFT": (lambda: qml.adjoint(qml.QFT([0, 1, 2])), 3),
    "Permute": (lambda: qml.Permute([2, 0, 1], [0, 1, 2]), 3),
    "GroverOperator": (lambda: qml.GroverOperator([0, 1, 2]), 3),
    "FlipSign": (lambda: qml.FlipSign([1, 0, 1], [0, 1, 2]), 3),
}

# Gates whose arguments are angles: function of the angles, their number, number of wires.
ANGLES = {
    "RX": (lambda t: qml.RX(t, 0), 1, 1),
    "RY": (lambda t: qml.RY(t, 0), 1, 1),
    "RZ": (lambda t: qml.RZ(t, 0), 1, 1),
    "PhaseShift": (lambda t: qml.PhaseShift(t, 0), 1, 1),
    "Rot": (lambda a, b, c: qml.Rot(a, b, c, 0), 3, 1),
    "U1": (lambda t: qml.U1(t, 0), 1, 1),
    "U2": (lambda a, b: qml.U2(a, b, 0), 2, 1),
    "U3": (lambda a, b, c: qml.U3(a, b, c, 0), 3, 1),
    "CRX": (lambda t: qml.CRX(t, [0, 1]), 1, 2),
    "CRY": (lambda t: qml.CRY(t, [1, 0]), 1, 2),
    "CRZ": (lambda t: qml.CRZ(t, [0, 1]), 1, 2),
    "CRot": (lambda a, b, c: qml.CRot(a, b, c, [0, 1]), 3, 2),
    "ControlledPhaseShift": (lambda t: qml.ControlledPhaseShift(t, [0, 1]), 1, 2),
    "CPhaseShift00": (lambda t: qml.CPhaseShift00(t, [0, 1]), 1, 2),
    "CPhaseShift01": (lambda t: qml.CPhaseShift01(t, [0, 1]), 1, 2),
    "CPhaseShift10": (lambda t: qml.CPhaseShift10(t, [0, 1]), 1, 2),
    "IsingXX": (lambda t: qml.IsingXX(t, [0, 1]), 1, 2),
    "IsingYY": (lambda t: qml.IsingYY(t, [0, 1]), 1, 2),
    "IsingZZ": (lambda t: qml.IsingZZ(t, [0, 1]), 1, 2),
    "IsingXY": (lambda t: qml.IsingXY(t, [0, 1]), 1, 2),
    "PauliRot": (lambda t: qml.PauliRot(t, "XIYZ", [2, 0, 3, 1]), 1, 4),
    "MultiRZ": (lambda t: qml.MultiRZ(t, [0, 2, 1]), 1, 3),
    "PSWAP": (lambda t: qml.PSWAP(t, [0, 1]), 1, 2),
    "PCPhase": (lambda t: qml.PCPhase(t, dim=3, wires=[0, 1]), 1, 2),
    "SingleExcitation": (lambda t: qml.SingleExcitation(t, [0, 1]), 1, 2),
    "SingleExcitationPlus": (lambda t: qml.SingleExcitationPlus(t, [0, 1]), 1, 2),
    "SingleExcitationMinus": (lambda t: qml.SingleExcitationMinus(t, [1, 0]), 1, 2),
    "DoubleExcitation": (lambda t: qml.DoubleExcitation(t, [0, 2, 1, 3]), 1, 4),
    "DoubleExcitationPlus": (lambda t: qml.DoubleExcitationPlus(t, range(4)), 1, 4),
    "DoubleExcitationMinus": (lambda t: qml.DoubleExcitationMinus(t, range(4)), 1, 4),
    "FermionicSWAP": (lambda t: qml.FermionicSWAP(t, [0, 1]), 1, 2),
    "OrbitalRotation": (lambda t: qml.OrbitalRotation(t, range(4)), 1, 4),
    "evolve a word": (lambda t: qml.evolve(qml.X(0) @ qml.Z(2), t), 1, 3),
    "evolve on four wires": (lambda t: qml.evolve(qml.sum(*map(qml.X, range(4))) + chain(4), t), 1, 4),
    "adjoint RX": (lambda t: qml.adjoint(qml.RX(t, 0)), 1, 1),
    "adjoint Rot": (lambda a, b, c: qml.adjoint(qml.Rot(a, b, c, 0)), 3, 1),
    "adjoint U3": (lambda a, b, c: qml.adjoint(qml.U3(a, b, c, 0)), 3, 1),
    "adjoint CRY": (lambda t: qml.adjoint(qml.CRY(t, [0, 1])), 1, 2),
    "adjoint SingleExcitation": (lambda t: qml.adjoint(qml.SingleExcitation(t, [0, 1])), 1, 2),
    "adjoint PSWAP": (lambda t: qml.adjoint(qml.PSWAP(t, [0, 1])), 1, 2),
    "adjoint evolve": (lambda t: qml.adjoint(qml.evolve(qml.X(0) + qml.Z(0) @ qml.Y(1), t)), 1, 2),
    "ctrl RX": (lambda t: qml.ctrl(qml.RX(t, 0), [1, 2], control_values=[0, 1]), 1, 3),
    "ctrl RZ on 0": (lambda t: qml.ctrl(qml.RZ(t, 0), 1, control_values=[0]), 1, 2),
    "ctrl PhaseShift": (lambda t: qml.ctrl(qml.PhaseShift(t, 0), [2, 1]), 1, 3),
    "ctrl GlobalPhase": (lambda t: qml.ctrl(qml.GlobalPhase(t), [0, 1]), 1, 2),
    "ctrl IsingXX": (lambda t: qml.ctrl(qml.IsingXX(t, [0, 1]), 2), 1, 3),
    "ctrl Rot": (lambda a, b, c: qml.ctrl(qml.Rot(a, b, c, 0), 1), 3, 2),
    "ctrl U3": (lambda a, b, c: qml.ctrl(qml.U3(a, b, c, 0), 1), 3, 2),
    "ctrl Rot twice": (lambda a, b, c: qml.ctrl(qml.Rot(a, b, c, 0), [1, 2]), 3, 3),
    "ctrl SingleExcitation": (lambda t: qml.ctrl(qml.SingleExcitation(t, [0, 1]), 2), 1, 3),
    "ctrl evolve": (lambda t: qml.ctrl(qml.evolve(qml.X(0) + qml.Z(0) @ qml.Y(1), t), 2), 1, 3),
    "ctrl prod": (lambda a, b: qml.ctrl(qml.prod(qml.RX(a, 0), qml.RZ(b, 0)), 1), 2, 2),
    "ctrl adjoint": (lambda t: qml.ctrl(qml.adjoint(qml.RY(t, 0)), 1), 1, 2),
    "pow RX": (lambda t: qml.pow(qml.RX(t, 0), 0.7), 1, 1),
    "pow IsingXY": (lambda t: qml.pow(qml.IsingXY(t, [0, 1]), 2), 1, 2),
    "pow Rot": (lambda a, b, c: qml.pow(qml.Rot(a, b, c, 0), 2), 3, 1),
    "prod": (lambda a, b: qml.prod(qml.RX(a, 0), qml.IsingZZ(b, [0, 1]), qml.H(0)), 2, 2),
    "prod of adjoints": (lambda a, b: qml.adjoint(qml.prod(qml.RX(a, 0), qml.RY(b, 0))), 2, 1),
    "change of basis": (lambda t: qml.change_op_basis(qml.H(0), qml.RZ(t, 0)), 1, 1),
}


def template(name, apply, shape, width):
    return pytest.param(apply, shape, width, id=name)


# Templates whose weights are one array: function of the array, its shape, number of wires.
TEMPLATES = [
    template("StronglyEntanglingLayers", lambda w: qml.StronglyEntanglingLayers(w, range(3)), (2, 3, 3), 3),
    template("BasicEntanglerLayers", lambda w: qml.BasicEntanglerLayers(w, range(3)), (2, 3), 3),
    template("BasicEntanglerLayers RZ", lambda w: qml.BasicEntanglerLayers(w, range(3), qml.RZ), (2, 3), 3),
    template(
        "SimplifiedTwoDesign", lambda w: qml.SimplifiedTwoDesign([0.1, 0.4, 0.3], w, range(3)), (2, 2, 2), 3
    ),
    template("RandomLayers", lambda w: qml.RandomLayers(w, range(3), seed=3), (2, 4), 3),
    template("AngleEmbedding X", lambda w: qml.AngleEmbedding(w, range(3), "X"), (3,), 3),
    template("AngleEmbedding Y", lambda w: qml.AngleEmbedding(w, range(3), "Y"), (3,), 3),
    template("ArbitraryUnitary", lambda w: qml.ArbitraryUnitary(w, range(2)), (15,), 2),
    template("ArbitraryStatePreparation", lambda w: qml.ArbitraryStatePreparation(w, range(2)), (6,), 2),
    template("MPS", lambda w: qml.MPS(range(3), 2, pair, 2, w), (2, 2), 3),
    template("TTN", lambda w: qml.TTN(range(4), 2, pair, 2, w), (3, 2), 4),
    template("adjoint", lambda w: qml.adjoint(qml.StronglyEntanglingLayers(w, range(2))), (1, 2, 3), 2),
    template("ctrl", lambda w: qml.ctrl(qml.BasicEntanglerLayers(w, range(2)), 2), (1, 2), 3),
    template("SelectPauliRot", lambda w: qml.SelectPauliRot(w, [0, 1], 2, rot_axis="Y"), (4,), 3),
]


def pair(weights, wires):
    qml.RY(weights[0], wires=wires[0])
    qml.RX(weights[1], wires=wires[1])
    qml.CNOT(wires=wires)


def unitary(size, seed):
    rng = np.random.default_rng(seed)
    return np.linalg.qr(rng.normal(size=(size, size)) + 1j * rng.normal(size=(size, size)))[0]


def hermitian(size, seed):
    matrix = unitary(size, seed)
    return matrix + matrix.conj().T


def chain(width):
    return qml.sum(*(qml.Z(i) @ qml.Z(i + 1) for i in range(width - 1)))


@pytest.mark.parametrize("name", FIXED)
def test_fixed_gate(name):
    operation, width = FIXED[name]
    wires = range(width)

    def gates(phi, theta):
        qml.RX(phi, wires=0)
        before(wires)
        qml.RX(theta, wires=0)
        operation()
        after(wires)

    check(gates, [0.6, -0.9], wires, method="backprop")


@pytest.mark.parametrize("name", ANGLES)
def test_gate_with_angles(name):
    operation, count, width = ANGLES[name]
    circuit = check_between(operation, count, width, method="adjoint")
    assert circuit.n_parameters == count


# Gates that PennyLane 0.45 cannot rebuild for autograd: its adjoint differentiation gets a tape of floats.
EVOLUTIONS = {
    "commuting words": (lambda t: qml.evolve(qml.X(0) @ qml.X(1) + 0.3 * qml.Z(0) @ qml.Z(1), t), 2),
    "a sum": (lambda t: qml.evolve(0.7 * qml.X(0) + 0.3 * qml.Z(0) @ qml.Y(1) + qml.I(0), t), 2),
    "a Hamiltonian": (lambda t: qml.evolve(qml.Hamiltonian([0.4, -0.9], [qml.X(0), qml.Z(0)]), t), 1),
    "a Hermitian": (lambda t: qml.evolve(qml.Hermitian(hermitian(4, 1), [0, 1]), t), 2),
    "adjoint": (lambda t: qml.adjoint(qml.evolve(0.7 * qml.X(0) + 0.3 * qml.Z(0), t)), 1),
    "wide and commuting": (lambda t: qml.evolve(0.3 * qml.prod(*map(qml.X, range(6))) + chain(6), t), 6),
}


@pytest.mark.parametrize("name", EVOLUTIONS)
def test_evolution(name):
    operation, width = EVOLUTIONS[name]
    wires = range(width)
    with qml.queuing.AnnotatedQueue() as queue:
        before(wires)
        operation(0.37)
        after(wires)
        for measurement in measurements(wires):
            qml.apply(measurement)
    tape = qml.tape.QuantumScript.from_queue(queue)
    position = next(i for i, data in enumerate(tape.get_parameters(trainable_only=False)) if data == 0.37)
    tape.trainable_params = [position]

    circuit = from_tape(tape)
    found = [efl.propagate(circuit, o) for o in circuit.observables]
    values = qml.execute([tape], qml.device("default.qubit"))[0]
    np.testing.assert_allclose([f.value for f in found], values, atol=TOLERANCE, rtol=0)
    exact = np.array(adjoint_jacobian(tape))
    np.testing.assert_allclose([f.gradient[0] for f in found], exact, atol=TOLERANCE, rtol=0)


@pytest.mark.parametrize(("apply", "shape", "width"), TEMPLATES)
def test_template(apply, shape, width):
    wires = range(width)

    def gates(weights):
        before(wires)
        apply(weights)
        after(wires)

    weights = np.random.default_rng(3).uniform(-2, 2, shape)
    circuit = check(gates, [weights], wires)
    np.testing.assert_array_equal(circuit.parameters, weights.ravel())


# Templates that prepare a state, or that are large: they stand alone.
def singles_doubles(weights):
    qml.AllSinglesDoubles(
        weights, range(4), hf_state=np.array([1, 1, 0, 0]), singles=[[0, 2], [1, 3]], doubles=[[0, 1, 2, 3]]
    )


def qaoa(features, weights):
    qml.QAOAEmbedding(features, weights, range(3))


def ising(time, template):
    hamiltonian = qml.dot([0.6, -0.4, 0.8, 0.5], [qml.X(0), qml.X(1), qml.Z(0) @ qml.Z(1), qml.Z(2)])
    return template(hamiltonian, time)


ALONE = {
    "AllSinglesDoubles": (singles_doubles, [[0.4, -0.7, 0.9]], 4),
    "ParticleConservingU1": (
        lambda w: qml.ParticleConservingU1(w, range(3), init_state=np.array([1, 0, 1])),
        [np.linspace(-1, 2, 4).reshape(1, 2, 2)],
        3,
    ),
    "ParticleConservingU2": (
        lambda w: qml.ParticleConservingU2(w, range(3), init_state=np.array([1, 0, 1])),
        [np.linspace(-1, 2, 10).reshape(2, 5)],
        3,
    ),
    "GateFabric": (
        lambda w: qml.GateFabric(w, range(4), init_state=np.array([1, 1, 0, 0]), include_pi=True),
        [np.linspace(-1, 2, 2).reshape(1, 1, 2)],
        4,
    ),
    "UCCSD": (
        lambda w: qml.UCCSD(w, range(4), [[0, 1, 2]], [[[0, 1], [2, 3]]], np.array([1, 1, 0, 0])),
        [[0.6, -0.8]],
        4,
    ),
    "kUpCCGSD": (
        lambda w: qml.kUpCCGSD(w, range(4), k=1, delta_sz=0, init_state=np.array([1, 1, 0, 0])),
        [np.linspace(-1, 2, 6).reshape(1, 6)],
        4,
    ),
    "QAOAEmbedding": (qaoa, [[0.3, 0.7, -0.4], np.linspace(-1, 2, 12).reshape(2, 6)], 3),
    "TrotterProduct": (lambda t: ising(t, lambda h, t: qml.TrotterProduct(h, t, n=2, order=2)), [0.7], 3),
    "ApproxTimeEvolution": (lambda t: ising(t, lambda h, t: qml.ApproxTimeEvolution(h, t, 3)), [0.7], 3),
    "CommutingEvolution": (
        lambda t: qml.CommutingEvolution(qml.dot([0.6, -0.4], [qml.X(0) @ qml.X(1), qml.X(2)]), t),
        [0.7],
        3,
    ),
    "AngleEmbedding of some": (lambda w: qml.AngleEmbedding(w, range(3), "Y"), [[0.4, 0.7]], 3),
    "BasisState": (lambda t: (qml.BasisState([1, 0, 1], range(3)), qml.RX(t, 1)), [0.7], 3),
    "BasisEmbedding of some": (lambda t: (qml.BasisEmbedding([1, 0], [2, 0]), qml.RX(t, 2)), [0.7], 3),
    "BasisState after other wires": (lambda t: (qml.RX(t, 0), qml.BasisState([1], 1)), [0.7], 3),
    "StatePrep of a product": (
        lambda t: (qml.StatePrep(np.kron([0.6, 0.8j], [0.8, -0.6]), [2, 0]), qml.RX(t, 2)),
        [0.7],
        3,
    ),
}


@pytest.mark.parametrize("name", ALONE)
def test_template_on_its_own(name):
    gates, arguments, width = ALONE[name]
    wires = range(width)
    # PennyLane 0.45 cannot rebuild the evolutions of a TrotterProduct for adjoint differentiation.
    method = "backprop" if name == "TrotterProduct" else "adjoint"
    check(lambda *theta: (gates(*theta), after(wires)), arguments, wires, method=method)


@pytest.mark.parametrize("seed", range(10))
def test_random_circuit(seed):
    """Gates of every kind on random wires; each argument is used once."""
    rng = np.random.default_rng(seed)
    table = [(f, n, w) for f, n, w in ANGLES.values() if w <= 4]
    picked = [(*table[i], rng.permutation(4)) for i in rng.integers(len(table), size=8)]
    fixed = [qml.T, qml.SX, qml.H, qml.S]

    def gates(theta):
        before(range(4))
        start = 0
        for k, (operation, count, _, order) in enumerate(picked):
            with qml.QueuingManager.stop_recording():
                gate = operation(*theta[start : start + count])
            qml.apply(qml.map_wires(gate, dict(enumerate(int(q) for q in order))))
            fixed[k % 4](int(order[0]))
            start += count

    count = sum(n for _, n, _, _ in picked)
    check(gates, [rng.uniform(-3, 3, count)], range(4))


@pytest.mark.parametrize("wires", [["b", "a", "c"], [2, 0, 1], ["x", 7, -2.5]], ids=str)
def test_wire_labels(wires):
    def gates(theta):
        before(wires[::-1])
        qml.CRot(*theta, wires=[wires[2], wires[0]])
        qml.DoubleExcitationPlus(0.3, wires=[wires[1], wires[0], "spare", wires[2]])
        after(wires)

    check(gates, [[0.4, 0.7, -0.6]], [*wires, "spare"], measured=measurements(wires))


# What the QNode computes from its arguments is PennyLane's to differentiate.
PROCESSED = {
    "shared": (lambda x: [qml.RX(x, 0), qml.RY(x, 1), qml.CRX(x, [0, 1])], [[1], [1], [1]]),
    "scaled": (lambda x: [qml.RX(2 * x + 1, 0), qml.SingleExcitation(-x / 3, [0, 1])], [[2], [-1 / 3]]),
    "square": (lambda x: [qml.RX(x**2, 0), qml.CRY(x, [0, 1])], [[2 * 0.7], [1]]),
    "several gates per parameter": (lambda x: [qml.U3(x, 0.3, 2 * x, 1), qml.H(0)], [[1], [2]]),
}


@pytest.mark.parametrize("name", PROCESSED)
def test_processed_arguments(name):
    operations, factors = PROCESSED[name]

    def gates(x):
        before(range(2))
        operations(x)
        after(range(2))

    check(gates, [0.7], range(2), factors=factors)


OBSERVABLES = {
    "word": lambda: qml.X(0) @ qml.Y(2),
    "identity": lambda: qml.I(0) + qml.Z(1),
    "product of sums": lambda: (qml.X(0) + 0.3 * qml.Z(0)) @ (qml.Y(1) - qml.Z(2)),
    "Hamiltonian": lambda: qml.Hamiltonian([0.3, -0.8], [qml.X(0) @ qml.Z(1), qml.Y(2)]),
    "LinearCombination": lambda: qml.ops.LinearCombination([0.3, -0.8], [qml.X(0) @ qml.Z(1), qml.Y(2)]),
    "Hadamard": lambda: qml.H(1),
    "Hermitian": lambda: qml.Hermitian(hermitian(2, 3), 1),
    "Hermitian of two": lambda: qml.Hermitian(hermitian(4, 3), [2, 0]),
    "Hermitian of three": lambda: qml.Hermitian(hermitian(8, 3), [1, 0, 2]),
    "Projector": lambda: qml.Projector([1, 0], [2, 1]),
    "state Projector": lambda: qml.Projector(np.array([0.6, 0, 0, 0.8j]), [2, 1]),
    "Hermitian with a word": lambda: 0.5 * qml.Hermitian(hermitian(2, 3), 1) @ qml.Z(0) + qml.Y(2),
    "SparseHamiltonian": lambda: qml.SparseHamiltonian(
        hamiltonian(range(3)).sparse_matrix(range(3)), wires=range(3)
    ),
}


@pytest.mark.parametrize("name", OBSERVABLES)
def test_observable(name):
    wires = range(3)
    measured = [qml.expval(OBSERVABLES[name]()), qml.expval(qml.Z(0))]

    def gates(theta):
        qml.StronglyEntanglingLayers(theta, wires)

    weights = np.random.default_rng(1).uniform(-2, 2, (2, 3, 3))
    method = "parameter-shift" if name == "SparseHamiltonian" else "adjoint"
    check(gates, [weights], wires, measured=measured, method=method)


CHANNELS = {
    "BitFlip": lambda: qml.BitFlip(0.2, 0),
    "PhaseFlip": lambda: qml.PhaseFlip(0.2, 1),
    "DepolarizingChannel": lambda: qml.DepolarizingChannel(0.2, 0),
    "AmplitudeDamping": lambda: qml.AmplitudeDamping(0.3, 0),
    "GeneralizedAmplitudeDamping": lambda: qml.GeneralizedAmplitudeDamping(0.3, 0.8, 1),
    "PhaseDamping": lambda: qml.PhaseDamping(0.3, 0),
    "ResetError": lambda: qml.ResetError(0.1, 0.3, 0),
    "PauliError": lambda: qml.PauliError("XZ", 0.3, [1, 0]),
    "ThermalRelaxationError": lambda: qml.ThermalRelaxationError(0.1, 1.4, 1.1, 0.6, 0),
    "QubitChannel": lambda: qml.QubitChannel(kraus(4), [1, 0]),
}


def kraus(size):
    halves = unitary(2 * size, 9)[:, :size]
    return [halves[:size], halves[size:]]


@pytest.mark.parametrize("name", CHANNELS)
def test_channel(name):
    def gates(a, b):
        before(range(2))
        qml.CRX(a, wires=[0, 1])
        CHANNELS[name]()
        qml.Rot(0.3, b, 0.6, wires=0)
        qml.CNOT(wires=[0, 1])
        CHANNELS[name]()
        after(range(2))

    check(gates, [0.4, -0.8], range(2), method="backprop", device="default.mixed")
