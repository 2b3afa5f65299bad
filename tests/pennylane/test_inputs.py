"""Data of a model: one plan for all of them, which is right at each.

A bound of five standard errors fails by chance once in 1.7 million normal deviates: below 1e-3 for all the
gradients of this file together, seeds being fixed.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.pennylane.models import exact, trainable

import efl_core as efl
from efl_core.pennylane import planning
from efl_core.pennylane.caches import Cache
from efl_core.plans import Plan

pytestmark = pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # of PennyLane
OPTIONS = {"shots": 5_000, "seed": 3}
THETA = trainable(np.random.default_rng(2).uniform(-1, 1, (2, 2, 3)))


@pytest.fixture
def kept(monkeypatch):
    """The plans that are kept, of which there are none yet."""
    monkeypatch.setattr(planning, "PLANS", found := Cache(64))
    return found


def angle_embedding(theta, x):
    qml.AngleEmbedding(x, wires=range(3))
    qml.BasicEntanglerLayers(theta[0, :1], wires=range(3))
    return qml.expval(qml.Z(0))


def uploaded_twice(theta, x):
    for layer in theta:
        qml.AngleEmbedding(x, wires=range(3), rotation="Y")
        for wire in range(3):
            qml.RX(layer[wire % 2, wire], wires=wire)
        qml.CZ([0, 1])
        qml.CZ([1, 2])
    return qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Z(2))


def products_of_inputs(theta, x):
    qml.IQPEmbedding(x, wires=range(3), n_repeats=2)
    qml.BasicEntanglerLayers(theta[0, :1], wires=range(3), rotation=qml.RY)
    return qml.expval(qml.Z(1))


def gates_of_several_angles(theta, x):
    qml.RY(theta[0, 0, 0], wires=0)
    qml.Rot(*x, wires=0)
    qml.U3(*x[::-1], wires=1)
    qml.CRot(*x, wires=[0, 1])
    qml.CRX(theta[0, 0, 1], wires=[1, 2])
    qml.SingleExcitation(x[0], wires=[1, 2])
    qml.Rot(theta[0, 0, 2], x[1], theta[0, 1, 0], wires=2)
    qml.T(1)
    return qml.expval(qml.Z(0)), qml.expval(qml.Y(1) @ qml.X(2))


MODELS = [angle_embedding, uploaded_twice, products_of_inputs, gates_of_several_angles]


def assert_close(model, x, theta=THETA, **options):
    qnode = qml.QNode(model, qml.device("default.qubit"))
    x = pnp.array(x, requires_grad=False)
    found, stderr = efl.gradient_with_errors(qnode, **{**OPTIONS, **options})(theta, x)
    wanted = exact(model, theta, x)
    difference = np.abs(np.reshape(found, wanted.shape) - wanted)
    assert np.all(difference <= 5 * np.reshape(stderr, wanted.shape) + 1e-9), (x, found, wanted, stderr)


@pytest.mark.parametrize("model", MODELS)
def test_all_data_share_a_plan(kept, model):
    for x in np.random.default_rng(1).uniform(-np.pi, np.pi, (15, 3)):
        assert_close(model, x)
    assert len(kept) == 1


@pytest.mark.slow
def test_a_hundred_data_share_a_plan(kept):
    for x in np.random.default_rng(4).uniform(-np.pi, np.pi, (100, 3)):
        assert_close(uploaded_twice, x)
    assert len(kept) == 1


@pytest.mark.parametrize("model", MODELS)
def test_data_at_special_angles(kept, model):
    """A rotation by a quarter turn is a Clifford gate: such data have plans of their own."""
    for x in [[0, 0, 0], [np.pi, 0, -np.pi], [0.3, np.pi, 0]]:
        assert_close(model, x)
    # Half of pi is what a controlled rotation by pi turns by.
    assert len(kept) == (3 if model is gates_of_several_angles else 1)
    for x in [[np.pi / 2, 0.2, 0], [np.pi / 2, -np.pi / 2, 3 * np.pi / 2], [np.pi / 2, 0.7, np.pi]]:
        assert_close(model, x)
    assert len(kept) > 1


@pytest.mark.parametrize("options", [{"method": "echo"}, {"method": "shift-pruned"}, {"method": "product"}])
@pytest.mark.filterwarnings("ignore:method .* needs")
def test_every_kind_of_method_follows(kept, options):
    for x in np.random.default_rng(6).uniform(-np.pi, np.pi, (4, 3)):
        assert_close(gates_of_several_angles, x, **options)
    assert len(kept) == 1


def test_basis_states_share_a_plan(kept):
    def model(theta, bits):
        qml.BasisState(bits, wires=range(3))
        qml.BasicEntanglerLayers(theta[0], wires=range(3))
        return qml.expval(qml.Z(0))

    for bits in [[0, 0, 0], [1, 0, 1], [1, 1, 1]]:
        assert_close(model, np.array(bits))
    assert len(kept) == 1


def test_states_that_differ_by_more_do_not(kept):
    """RX leaves |+> as it is, and not |0>."""

    def model(theta, state):
        qml.StatePrep(state, wires=0)
        qml.RX(theta[0, 0, 0], wires=0)
        qml.RZ(theta[0, 0, 1], wires=0)
        return qml.expval(qml.X(0) + qml.Y(0))

    for state in [[1, 0], [0, 1], [0.5**0.5, 0.5**0.5], [0.6, 0.8], [0.8, 0.6j]]:
        assert_close(model, np.array(state))
    assert len(kept) == 3


def test_broadcast_data(kept):
    x = np.random.default_rng(7).uniform(-np.pi, np.pi, (6, 3))
    device = qml.device("default.qubit")
    reports = []
    qnode = qml.QNode(angle_embedding, device, diff_method=efl.shadow_grad)
    qnode = qnode.update(gradient_kwargs={**OPTIONS, "report": reports})
    found = qml.jacobian(qnode)(THETA, pnp.array(x, requires_grad=False))
    stderr = np.max([report.stderr for report in reports])
    for row, own in zip(found, x, strict=True):
        assert np.all(np.abs(row - exact(angle_embedding, THETA, own)[0]) <= 5 * stderr)
    assert (len(kept), len(reports)) == (1, 6)


def test_jit_with_other_data(kept):
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    qnode = qml.QNode(angle_embedding, qml.device("default.qubit"), diff_method=efl.shadow_grad)
    gradient = jax.jit(jax.grad(qnode.update(gradient_kwargs=OPTIONS)))
    for x in np.random.default_rng(8).uniform(-np.pi, np.pi, (5, 3)):
        found = gradient(jax.numpy.array(THETA), jax.numpy.array(x))
        stderr = np.max(efl.shadow_grad.last_report().stderr)
        assert np.all(np.abs(found - exact(angle_embedding, THETA, x)[0]) <= 5 * stderr)
    assert len(kept) == 1


def test_what_was_planned_before_does_not_matter(kept):
    data = np.random.default_rng(9).uniform(-np.pi, np.pi, (4, 3))
    qnode = qml.QNode(uploaded_twice, qml.device("default.qubit"))

    def gradient(x):
        return efl.gradient_with_errors(qnode, **OPTIONS)(THETA, pnp.array(x, requires_grad=False))[0]

    forwards = [gradient(x) for x in data]
    kept.clear()
    backwards = [gradient(x) for x in data[::-1]]
    assert np.array_equal(forwards, backwards[::-1])


def test_errors_of_different_data_are_independent():
    """With a seed too: those of next to equal data would be next to equal if they were drawn alike.

    The mean of 38 squares is 1, and below 0.2 by chance once in a thousand times at most.
    """
    qnode = qml.QNode(angle_embedding, qml.device("default.qubit"))
    errors = []
    for x in 0.4 + 0.001 * np.arange(20):
        own = pnp.array([x] * 3, requires_grad=False)
        found, stderr = efl.gradient_with_errors(qnode, **OPTIONS)(THETA, own)
        moved = stderr > 0
        errors.append((found - exact(angle_embedding, THETA, own)[0])[moved] / stderr[moved])
    steps = np.diff(errors, axis=0) / np.sqrt(2)
    assert steps.size == 38
    assert np.mean(np.square(steps)) > 0.2


def test_small_angles_have_a_plan_of_their_own():
    """Near quarter turns most coefficients are small, which a plan at usual angles does not foresee."""

    def model(theta):
        for layer in theta:
            for q in range(5):
                qml.RY(layer[q, 0], wires=q)
                qml.RZ(layer[q, 1], wires=q)
            for q in range(4):
                qml.CNOT(wires=[q, q + 1])
        return qml.expval(qml.Z(0))

    theta = pnp.array(np.random.default_rng(0).uniform(-0.05, 0.05, (4, 5, 2)), requires_grad=True)
    qnode = qml.QNode(model, qml.device("default.qubit", wires=5))
    efl.gradient_with_errors(qnode, target=0.05, seed=1)(theta)
    predicted = efl.plan(qnode, target=0.05)(theta)
    assert efl.shadow_grad.last_report().shots < 1.15 * predicted.best.shots


def batched(theta, x, again):
    qml.AngleEmbedding(x, wires=range(3))
    qml.StronglyEntanglingLayers(theta, wires=range(3))
    if again:
        qml.AngleEmbedding(x, wires=range(3), rotation="Z")
        qml.RY(theta[0, 0, 0], wires=0)
    return qml.expval(qml.X(0))


@pytest.mark.parametrize(("again", "plans"), [(False, 1), (True, 4)], ids=["first", "uploaded again"])
def test_a_batch_is_planned_once_where_its_inputs_come_first(monkeypatch, again, plans):
    """What is measured then is the same, and so are the gradients, bit by bit."""
    theta = trainable(np.random.default_rng(0).uniform(-1, 1, (1, 3, 3)))
    x = pnp.array(np.random.default_rng(1).uniform(-1, 1, (4, 3)), requires_grad=False)
    made, through = [], Plan.through
    monkeypatch.setattr(Plan, "through", lambda *args, **options: made.append(0) or through(*args, **options))
    options = {"shots": 2_000, "seed": 1}
    qnode = qml.QNode(batched, qml.device("default.qubit"))
    monkeypatch.setattr(planning, "LAST", Cache(1))
    together = efl.gradient_with_errors(qnode, **options)(theta, x, again)
    assert len(made) == plans
    apart = []
    for row in x:
        monkeypatch.setattr(planning, "LAST", Cache(1))
        apart.append(efl.gradient_with_errors(qnode, **options)(theta, row, again))
    for i in (0, 1):
        assert np.array_equal(together[i], [found[i] for found in apart])
