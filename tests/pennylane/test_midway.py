"""Measurements in the middle of circuits, and samples beside expectation values."""

import numpy as np
import pennylane as qml
import pytest
from tests.pennylane.models import trainable

import efl_core as efl

SIGMAS = 5
THETA = (0.4, 0.7)


def conditional(theta):
    qml.RY(theta[0], wires=0)
    m = qml.measure(0)
    qml.cond(m, qml.RY)(theta[1], wires=1)
    return qml.expval(qml.Z(1))


def of_measured(theta):
    qml.RY(theta[0], wires=0)
    first = qml.measure(0, reset=True)
    qml.RX(theta[1], wires=0)
    second = qml.measure(0)
    return (
        qml.expval(2 * first + second),
        qml.var(first * second + first),
        qml.probs(op=[first, second]),
        qml.expval(first),
    )


def flat(qnode):
    def values(theta):
        found = qnode(theta)
        return (
            qml.math.concatenate([qml.math.reshape(v, (-1,)) for v in found])
            if isinstance(found, (tuple, list))
            else qml.math.reshape(found, (-1,))
        )

    return values


def exact(function):
    device = qml.device("default.qubit")
    return qml.jacobian(flat(qml.QNode(function, device, diff_method="backprop")))(trainable(THETA))


@pytest.mark.parametrize("function", [conditional, of_measured])
@pytest.mark.parametrize("mcm_method", [None, "deferred", "tree-traversal"])
def test_by_transform(function, mcm_method):
    reports = []
    options = {"shots": 40_000, "seed": 1, "report": reports}
    qnode = qml.QNode(
        function,
        qml.device("default.qubit"),
        diff_method=efl.shadow_grad,
        gradient_kwargs=options,
        mcm_method=mcm_method,
    )
    found = qml.jacobian(flat(qnode))(trainable(THETA))
    assert np.all(np.abs(found - exact(function)) <= SIGMAS * reports[0].stderr + 1e-9)


@pytest.mark.parametrize("function", [conditional, of_measured])
def test_on_the_device(function):
    reports = []
    device = qml.device("efl.fleet", qml.device("default.qubit"), shots=40_000, seed=1, report=reports)
    qnode = qml.QNode(function, device, mcm_method="deferred")
    found = qml.jacobian(flat(qnode))(trainable(THETA))
    assert np.all(np.abs(found - exact(function)) <= SIGMAS * reports[0].stderr + 1e-9)
    value = flat(qml.QNode(function, qml.device("default.qubit")))(np.array(THETA))
    assert np.all(np.abs(reports[0].value - value) <= SIGMAS * reports[0].value_stderr + 1e-9)


def test_the_device_says_what_to_write():
    device = qml.device("efl.fleet", qml.device("default.qubit"), shots=1_000)
    with pytest.raises(ValueError, match=r'after measurements in the circuit \(mcm_method="deferred"'):
        qml.grad(qml.QNode(conditional, device))(trainable(THETA))
    with pytest.raises(TypeError, match=r"inner: expected a PennyLane device .*, got none"):
        qml.device("efl.fleet", wires=2)


def test_counts_of_a_broadcast_are_a_tuple():
    @qml.set_shots(50)
    @qml.qnode(qml.device("default.qubit"), diff_method=efl.shadow_grad)
    def model(theta):
        qml.RX(theta, wires=0)
        return qml.counts(wires=0)

    assert model(np.array([0.0, np.pi])) == ({"0": 50}, {"1": 50})


def test_a_postselected_measurement_is_refused():
    def postselected(theta):
        qml.RY(theta, wires=0)
        qml.measure(0, postselect=1)
        return qml.expval(qml.Z(0))

    qnode = qml.QNode(
        postselected, qml.device("default.qubit"), diff_method=efl.shadow_grad, gradient_kwargs={"shots": 100}
    )
    with pytest.raises(ValueError, match=r"without postselection, got MidMeasure.*qml\.probs\(op="):
        qml.grad(qnode)(trainable(0.4))


def test_a_quotient_of_probabilities_takes_the_place_of_postselection():
    """As the refusal says; 4.5 standard errors of three derivatives."""

    def gates(theta):
        qml.RX(theta[0], wires=0)
        qml.RY(theta[1], wires=1)
        qml.CNOT(wires=[0, 1])
        qml.RY(theta[2], wires=0)

    def joint(theta):
        gates(theta)
        return qml.probs(op=[qml.measure(0), qml.measure(1)])

    def postselected(theta):
        gates(theta)
        qml.measure(0, postselect=1)
        return qml.expval(qml.Z(1))

    def kept(qnode):
        def quotient(theta):
            p = qnode(theta)
            return (p[2] - p[3]) / (p[2] + p[3])

        return quotient

    theta, device = trainable([0.7, 0.9, 0.4]), qml.device("default.qubit")
    options = {"shots": 50_000, "seed": 1}
    measured = qml.QNode(joint, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    found, wanted = qml.grad(kept(measured))(theta), qml.grad(qml.QNode(postselected, device))(theta)
    p = np.asarray(measured(theta))
    value, total = (p[2] - p[3]) / (p[2] + p[3]), p[2] + p[3]
    slopes = np.array([0.0, 0.0, (1 - value) / total, (-1 - value) / total])
    error = np.linalg.norm(slopes[:, np.newaxis] * efl.shadow_grad.last_report().stderr, axis=0)
    assert np.all(np.abs(found - wanted) <= 4.5 * np.sqrt(2) * error)  # two errors may be alike
    assert np.all(error < 0.05)


def sampled(theta):
    qml.RY(theta[0], wires=0)
    qml.CNOT(wires=[0, 1])
    qml.RX(theta[1], wires=1)
    return qml.expval(qml.Z(1)), qml.sample(wires=[0, 1]), qml.probs(wires=0)


SAMPLED = np.array(
    [[-np.sin(0.4) * np.cos(0.7), -np.cos(0.4) * np.sin(0.7)], [-np.sin(0.4) / 2, 0], [np.sin(0.4) / 2, 0]]
)


def without_samples(qnode, shapes):
    def values(theta):
        value, samples, probabilities = qnode(theta)
        shapes.append(np.shape(samples))
        return qml.math.concatenate([qml.math.reshape(value, (1,)), probabilities])

    return values


def test_samples_beside_expectation_values():
    reports, shapes = [], []
    options = {"shots": 20_000, "seed": 1, "report": reports}
    qnode = qml.QNode(
        sampled, qml.device("default.qubit", seed=1), diff_method=efl.shadow_grad, gradient_kwargs=options
    )
    found = qml.jacobian(without_samples(qml.set_shots(qnode, 50), shapes))(trainable(THETA))
    assert shapes == [(50, 2)]
    assert np.all(np.abs(found - SAMPLED) <= SIGMAS * reports[0].stderr + 1e-9)


def test_samples_on_the_device_share_the_submission():
    reports, shapes = [], []
    inner = qml.device("default.qubit", wires=2, seed=1)
    device = qml.device("efl.fleet", inner, shots=20_000, seed=1, report=reports)
    with qml.Tracker(inner) as tracker:
        found = qml.jacobian(without_samples(qml.QNode(sampled, device), shapes))(trainable(THETA))
    assert tracker.totals["batches"] == 1
    assert shapes == [(20_000, 2)]
    assert np.all(np.abs(found - SAMPLED) <= SIGMAS * reports[0].stderr + 1e-9)


def test_samples_alone_have_no_gradient():
    def alone(theta):
        qml.RY(theta, wires=0)
        return qml.sample(wires=0)

    tape = qml.workflow.construct_tape(qml.set_shots(qml.QNode(alone, qml.device("default.qubit")), 10))(0.3)
    tape.trainable_params = [0]
    with pytest.raises(ValueError, match=r"expected measurements qml\.expval, .* beside samples"):
        efl.shadow_grad(tape)


@pytest.mark.parametrize("approximation", [None, "block-diag", "diag"])
def test_metric_tensor(approximation):
    """PennyLane's own transform, whose circuits the device measures: within five errors of 20,000 shots."""

    def model(theta):
        qml.RY(theta[0], wires=0)
        qml.RY(theta[1], wires=1)
        qml.CNOT(wires=[0, 1])
        qml.RX(theta[2], wires=1)
        return qml.expval(qml.Z(1))

    theta = trainable([0.4, 0.7, 0.2])
    device = qml.device("efl.fleet", qml.device("default.qubit", wires=3), shots=20_000, seed=2)
    exactly = qml.metric_tensor(qml.QNode(model, qml.device("default.qubit", wires=3)), approx=approximation)
    found = qml.metric_tensor(qml.QNode(model, device), approx=approximation)(theta)
    assert np.all(np.abs(found - exactly(theta)) <= 5 * 0.5 / np.sqrt(20_000) * 3)
    moved = qml.QNGOptimizer(0.1, approx="block-diag").step(qml.QNode(model, device), theta)
    assert np.isfinite(moved).all()
