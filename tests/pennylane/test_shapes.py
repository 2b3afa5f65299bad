"""Results are nested as PennyLane nests them, and cost what is promised: counted by `qml.Tracker`."""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.pennylane.models import entangler, exact, layers, stacked, trainable

import efl_core as efl

THETA = np.random.default_rng(1).uniform(-1, 1, (2, 3))


def tape_of(count, outputs, shots=None):
    gates = [qml.RY(0.3 * (k + 1), wires=k % 2) for k in range(count)] + [qml.CNOT(wires=[0, 1])]
    measured = [qml.expval(qml.Z(1)), qml.expval(qml.X(0) @ qml.Z(1))][:outputs]
    return qml.tape.QuantumScript(gates, measured, shots=shots, trainable_params=range(count))


def structure(nested):
    return tuple(map(structure, nested)) if isinstance(nested, tuple) else np.shape(nested)


@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("outputs", [1, 2])
@pytest.mark.parametrize("shots", [100, (100, 200), (100, 100)])
def test_nesting(count, outputs, shots):
    tape = tape_of(count, outputs, shots)
    found = []
    for transform in (qml.gradients.param_shift, efl.shadow_grad, efl.echo_grad):
        tapes, post = transform(tape)
        found.append(structure(post(qml.execute(tapes, qml.device("default.qubit", seed=1)))))
    assert found[0] == found[1] == found[2]


def test_one_batch_after_the_forward_execution():
    device = qml.device("default.qubit")
    qnode = qml.QNode(entangler, device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 1_000})
    with device.tracker:
        qml.jacobian(stacked(qnode))(trainable(THETA))
    assert device.tracker.totals["batches"] == 2
    assert device.tracker.totals["simulations"] == 2  # the value, and one state for everything


@pytest.mark.parametrize("device", ["default.mixed", "default.qubit"])
def test_shots_are_those_asked_for(device):
    device = qml.device(device, wires=3)
    options = {"shots": 1_000, "device_options": {"mode": "tapes"}}
    qnode = qml.QNode(entangler, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    with device.tracker:
        qml.jacobian(stacked(qnode))(trainable(THETA))
    report = efl.shadow_grad.last_report()
    assert device.tracker.totals["shots"] == report.shots == 1_000
    assert device.tracker.totals["simulations"] == 1 + report.tapes


def test_the_shots_of_the_qnode_are_the_default():
    qnode = qml.set_shots(qml.QNode(layers, qml.device("default.qubit"), diff_method=efl.shadow_grad), 700)
    qml.grad(qnode)(trainable(THETA.reshape(1, 2, 3)[:, [0, 1, 0]]))
    assert efl.shadow_grad.last_report().shots == 700


def test_shot_vectors():
    device = qml.device("default.qubit", seed=4)
    qnode = qml.set_shots(qml.QNode(entangler, device, diff_method=efl.shadow_grad), (20_000, 30_000))
    found = qml.jacobian(lambda theta: qml.math.stack([qml.math.stack(copy) for copy in qnode(theta)]))
    gradient = found(trainable(THETA))
    report = efl.shadow_grad.last_report()
    assert report.shots == 50_000
    assert report.gradient.shape[0] == 2
    stderr = report.stderr.max()
    assert np.all(np.abs(gradient - exact(entangler, trainable(THETA))) < 5 * stderr)


def test_direct_form():
    theta = trainable(THETA)
    device = qml.device("default.qubit")
    with device.tracker:
        found = efl.shadow_grad(qml.QNode(entangler, device), shots=20_000)(theta)
    assert device.tracker.totals["batches"] == 1
    report = efl.shadow_grad.last_report()
    assert report.mode == "state"
    assert np.all(np.abs(np.stack(found) - exact(entangler, theta)) < 5 * report.stderr.max())


def test_argnum():
    tape = tape_of(3, 1)
    tapes, post = efl.shadow_grad(tape, argnum=[1], shots=500, device_options={"mode": "state"})
    found = post(qml.execute(tapes, qml.device("default.qubit")))
    assert found[0] == found[2] == 0
    assert found[1] != 0


def test_a_tape_that_is_asked_again_is_not_measured_again():
    tape = tape_of(3, 2)
    options = {"shots": 500, "device_options": {"mode": "state"}}
    tapes, post = efl.shadow_grad(tape, **options)
    first = post(qml.execute(tapes, qml.device("default.qubit")))
    again, post = efl.shadow_grad(tape, **options)
    assert again == []
    assert post([]) == first
    equal, _ = efl.shadow_grad(tape_of(3, 2), **options)
    assert len(equal) == 1


def test_nothing_to_measure():
    def model(theta):
        qml.RZ(theta, wires=0)
        return qml.expval(qml.Z(0))

    device = qml.device("default.qubit")
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 100})
    with device.tracker:
        assert qml.grad(qnode)(trainable(0.3)) == 0
    assert device.tracker.totals["simulations"] == 1


def test_reports():
    reports = []
    options = {"shots": 1_000, "report": reports}
    qnode = qml.QNode(entangler, qml.device("default.qubit"), diff_method=efl.shadow_grad)
    gradient = qml.jacobian(stacked(qnode.update(gradient_kwargs=options)))(trainable(THETA))
    [report] = reports
    assert np.allclose(report.gradient, gradient.reshape(2, -1))
    assert report is efl.shadow_grad.last_report() is efl.echo_grad.last_report()
    assert report.observed == pytest.approx(report.predicted, rel=0.5)
    assert np.allclose(report.stderr_of(np.eye(6)), report.stderr)


def test_a_losing_method_is_warned_of_once():
    options = {"shots": 1_000, "method": "uniform"}
    theta = trainable(np.random.default_rng(3).uniform(-1, 1, (2, 4, 3)))

    def model(theta):
        qml.StronglyEntanglingLayers(theta, wires=range(4))
        return qml.expval(qml.Z(0))

    qnode = qml.QNode(model, qml.device("default.qubit"), diff_method=efl.shadow_grad)
    qnode = qnode.update(gradient_kwargs=options)
    with pytest.warns(UserWarning, match="method 'uniform' needs .* times as many shots as"):
        qml.grad(qnode)(theta)
    qml.grad(qnode)(theta)


@pytest.mark.parametrize("is_trained", [False, True])
@pytest.mark.parametrize("shots", [40_000, (40_000, 30_000)])
@pytest.mark.parametrize("name", ["value", "probabilities", "both"])
def test_broadcasts_of_a_qnode_that_the_transform_is_applied_to(name, shots, is_trained):
    """Gradients of the entries are stacked parameter by parameter, each as PennyLane nests it."""

    @qml.qnode(qml.device("default.qubit"))
    def model(theta, x):
        qml.RX(theta[0], wires=0)
        qml.RX(theta[1], wires=0)
        qml.RY(x, wires=0)
        if name == "value":
            return qml.expval(qml.Z(0))
        return qml.probs(wires=0) if name == "probabilities" else (qml.expval(qml.Z(0)), qml.probs(wires=0))

    args = pnp.array([0.5, 0.8]), pnp.array([1.2, 2.3, 3.4], requires_grad=is_trained)
    gradient = efl.shadow_grad(qml.set_shots(model, shots), seed=1)(*args)
    for copy in gradient if isinstance(shots, tuple) else (gradient,):
        for i, row in enumerate(copy if name == "both" else (copy,)):
            wanted = qml.jacobian(lambda *a, i=i: model(*a)[i] if name == "both" else model(*a))(*args)
            parts, wanted = (row, wanted) if is_trained else ((row,), (wanted,))
            assert len(parts) == len(wanted) == 1 + is_trained
            for part, by_argument in zip(parts, wanted, strict=True):
                assert np.shape(part) == np.shape(by_argument)
                np.testing.assert_allclose(part, by_argument, atol=0.06)
