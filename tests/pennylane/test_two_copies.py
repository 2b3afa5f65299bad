"""Two copies of QNodes: by state vectors, by tapes on twice the wires, and what is refused."""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

import efl_core as efl


def on(device):
    @qml.qnode(device)
    def model(angles, x):
        for q, wire in enumerate("abc"):
            qml.RY(angles[q] * x, wires=wire)
        qml.CNOT(wires=["a", "b"])
        qml.CNOT(wires=["b", "c"])
        qml.RX(angles[0] ** 2, wires="c")
        return qml.expval(qml.Z("a") @ qml.Y("c")), qml.expval(qml.X("b") @ qml.Z("c"))

    return model


ANGLES, X = pnp.array([0.4, 0.9, 1.3]), np.array(0.8)


def exact():
    model = on(qml.device("default.qubit", wires=list("abc")))
    return qml.jacobian(lambda angles: qml.math.stack(model(angles, X)))(ANGLES), np.array(model(ANGLES, X))


@pytest.mark.parametrize(
    ("device", "executions"),
    [
        (lambda: qml.device("default.qubit", wires=list("abc")), 1),
        (lambda: qml.device("lightning.qubit", wires=list("abcdef")), 1),
        (lambda: qml.device("default.mixed", wires=list("abcdef"), seed=2), None),
        (lambda: qml.device("default.mixed", wires=["z", "c", "y", "a", "b", "x"], seed=3), None),
    ],
)
def test_gradients_by_arguments_with_values(device, executions):
    """8 figures within 5 standard errors: a false alarm in 2e5 seeds."""
    device, batches = device(), []
    run = device.execute
    device.execute = lambda tapes, *args, **kwargs: batches.append(len(tapes)) or run(tapes, *args, **kwargs)
    with qml.Tracker(device) as tracker:
        found = efl.two_copy_gradient(on(device), error=0.1, value_weight=1, seed=1)(ANGLES, X)
    slopes, values = exact()
    assert found.gradient.shape == slopes.shape
    assert (np.abs(found.gradient - slopes) <= 5 * found.stderr + 1e-9).all()
    assert (np.abs(found.value - values) <= 5 * found.value_stderr).all()
    # Pairs and then all settings: two submissions; from a state it is one, of one copy.
    assert batches == ([executions] if executions else [1, found.settings])
    assert tracker.totals["shots"] == found.pairs + found.shots
    assert tracker.totals["executions"] == 1 + found.settings


def test_pairs_of_a_device_are_those_of_two_states():
    """Squares from tapes with errors of gates: of the noisy state."""
    device = qml.device("default.mixed", wires=4, seed=5)

    @qml.qnode(device)
    def noisy(angle):
        qml.RY(angle, wires=0)
        qml.DepolarizingChannel(0.2, wires=0)
        qml.CNOT(wires=[0, 1])
        return qml.expval(qml.Z(0) @ qml.Z(1)), qml.expval(qml.X(0) @ qml.X(1)), qml.expval(qml.Z(1))

    angle = pnp.array(0.7)
    found = efl.two_copy_gradient(noisy, error=0.05, value_weight=1)(angle)
    values = np.array(noisy(angle))
    slopes = (np.array(noisy(angle + np.pi / 2)) - np.array(noisy(angle - np.pi / 2))) / 2
    assert (np.abs(found.value - values) < 5 * found.value_stderr).all()
    assert (np.abs(found.gradient.ravel() - slopes) <= 5 * found.stderr.ravel() + 1e-9).all()


@pytest.mark.parametrize("name", ["default.qubit", "default.mixed"])
def test_squares_of_a_qnode(name):
    device = qml.device(name, wires=list("abcdef"), seed=3)
    snaps = efl.bell_snapshots(on(device), shots=5000, seed=1)(ANGLES, X)
    found = efl.word_squares(snaps, ["ZIY", "IXZ"])
    assert (np.abs(found.value - exact()[1] ** 2) < 5 * found.stderr).all()
    assert found.shots == 5000
    with pytest.raises(efl.InputTypeError, match="qnode: expected a PennyLane QNode, got function"):
        efl.bell_snapshots(lambda: None, shots=9)


def test_words_of_the_users_own():
    device = qml.device("default.qubit")
    found = efl.two_copy_gradient(on(device), ["ZIY", "IXZ"], error=0.1, seed=1)(ANGLES, X)
    own = efl.two_copy_gradient(on(device), error=0.1, seed=1)(ANGLES, X)
    assert (found.gradient == own.gradient).all()
    assert np.isnan(found.value).all()


def test_refusals():
    narrow = on(qml.device("default.mixed", wires=list("abcde")))
    with pytest.raises(efl.InvalidInputError, match="a device of 6 wires, as two copies of the 3 wires"):
        efl.two_copy_gradient(narrow)(ANGLES, X)

    @qml.qnode(qml.device("default.mixed", wires=4))
    def midway(angle):
        qml.RY(angle, wires=0)
        qml.cond(qml.measure(0), qml.X)(1)
        return qml.expval(qml.Z(1))

    with pytest.raises(efl.InvalidInputError, match="measured midway"):
        efl.two_copy_gradient(midway)(pnp.array(0.3))
    with pytest.raises(efl.InvalidInputError, match="args: expected one that PennyLane trains"):
        efl.two_copy_gradient(narrow)(np.array(ANGLES), X)
    with pytest.raises(efl.InvalidInputError, match="a broadcast of several"):
        efl.two_copy_gradient(on(qml.device("default.qubit")))(ANGLES, np.array([0.1, 0.2]))
    with pytest.raises(efl.InputTypeError, match="expected a Circuit or a PennyLane QNode, got function"):
        efl.two_copy_gradient(lambda: None)
    with pytest.raises(efl.InvalidInputError, match="measure: expected none with a QNode"):
        efl.two_copy_gradient(narrow, measure=print)


def test_the_plan_of_a_qnode_counts_derivatives_by_arguments():
    model = on(qml.device("default.qubit"))
    plan = efl.plan(model, target=0.2, state="prepared")(ANGLES, X)
    cost, found = plan.two_copies(), efl.two_copy_gradient(model, error=0.2, seed=1)(ANGLES, X)
    assert (cost.pairs, cost.words) == (found.pairs, found.n_words)
    assert cost.threshold == pytest.approx(found.threshold)
    assert "take more" in str(cost)
