"""Probabilities and variances beside expectation values: shapes, values, gradients and error bars.

Seeds are fixed. A bound of five standard errors fails by chance once in 1.7 million normal deviates; the mean
square of 6 to 48 deviates is held to a bound that fails once in 10,000.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from scipy.stats import chi2

import efl_core as efl

THETA = pnp.array([0.3, 0.9, -0.4, 0.7, 1.2, 0.5])
ENERGY = qml.Hamiltonian([0.5, 0.3, -0.7], [qml.Z(0), qml.X(1) @ qml.Z(2), qml.Y(0)])
MATRIX = np.array([[0.3, 0.2 + 0.1j], [0.2 - 0.1j, -0.5]])

OUTPUTS = {
    "probs": lambda: qml.probs(wires=[2, 0]),
    "probs of all wires": lambda: qml.probs(),
    "probs of a word": lambda: qml.probs(op=qml.X(0) @ qml.Y(1)),
    "probs of a matrix": lambda: qml.probs(op=qml.Hermitian(MATRIX, 1)),
    "variance of a word": lambda: qml.var(qml.Z(0) @ qml.Z(1)),
    "variance of a scaled word": lambda: qml.var(3.0 * qml.X(2)),
    "variance of a sum": lambda: qml.var(ENERGY),
    "variance of a matrix": lambda: qml.var(qml.Hermitian(MATRIX, 1)),
    "variance of a projector": lambda: qml.var(qml.Projector([0, 1], wires=[0, 1])),
    "a projector": lambda: qml.expval(qml.Projector([0, 1], wires=[0, 1])),
}


def gates(theta):
    for q in range(3):
        qml.RY(theta[q], wires=q)
    qml.CNOT([0, 1])
    qml.CZ([1, 2])
    for q in range(3):
        qml.RX(theta[3 + q], wires=q)


def node(output, device=None, **options):
    def model(theta):
        gates(theta)
        return output()

    return qml.QNode(model, device or qml.device("default.qubit", wires=3), **options)


def exact(output, function=qml.jacobian):
    return function(node(output, diff_method="backprop"))(THETA)


@pytest.mark.filterwarnings("ignore:Using q.* with a Hermitian", "ignore:method .* needs")
@pytest.mark.parametrize("name", OUTPUTS)
@pytest.mark.parametrize("method", ["auto", "echo", "uniform"])
def test_gradients_and_their_error_bars(name, method):
    wanted = exact(OUTPUTS[name])
    options = {"shots": 60_000, "seed": 5, "method": method}
    qnode = node(OUTPUTS[name], diff_method=efl.shadow_grad, gradient_kwargs=options)
    found, stderr = efl.gradient_with_errors(qnode)(THETA)
    again = qml.jacobian(qnode)(THETA)
    assert found.shape == stderr.shape == again.shape == wanted.shape
    moved = stderr > 0
    z = (found - wanted)[moved] / stderr[moved]
    np.testing.assert_allclose(found[~moved], wanted[~moved], atol=1e-9)
    assert np.abs(z).max() < 5
    # Rows of probabilities depend on each other: they are counted as if they were one.
    assert np.square(z).mean() < chi2.ppf(1 - 1e-4, len(THETA)) / len(THETA)
    assert np.all(np.abs(again - wanted) < 5 * np.maximum(stderr, 1e-9) * 1.5)


@pytest.mark.parametrize("name", ["variance of a word", "variance of a sum", "variance of a projector"])
def test_error_bars_of_variances_are_true(name):
    wanted, repeats = exact(OUTPUTS[name]), 200
    z = []
    for seed in range(repeats):
        found, stderr = efl.gradient_with_errors(node(OUTPUTS[name]), shots=2_000, seed=seed)(THETA)
        z.append((found - wanted) / np.maximum(stderr, 1e-12))
    z = np.array(z)[:, np.abs(wanted) > 1e-12]
    assert np.abs(z.mean(axis=0)).max() * np.sqrt(repeats) < 5
    # Deviates of one gradient depend on each other: they are counted as if they were one.
    low, high = chi2.ppf([1e-4, 1 - 1e-4], repeats) / repeats
    assert low < np.square(z).mean() < high


def test_a_mixture_of_measurements_is_nested_as_pennylane_does():
    def model(theta):
        gates(theta)
        return qml.expval(qml.X(1)), qml.probs(wires=[0, 2]), qml.var(qml.Z(0))

    def stacked(qnode):
        return lambda theta: pnp.hstack(qnode(theta))

    device = qml.device("default.qubit", wires=3)
    wanted = qml.jacobian(stacked(qml.QNode(model, device)))(THETA)
    options = {"shots": 60_000, "seed": 2}
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    found, stderr = efl.gradient_with_errors(qnode)(THETA)
    assert found.shape == wanted.shape == (6, 6)
    assert np.all(np.abs(found - wanted) < 5 * stderr + 1e-9)
    assert np.all(np.abs(qml.jacobian(stacked(qnode))(THETA) - wanted) < 7.5 * stderr + 1e-9)
    report = efl.shadow_grad.last_report()
    assert report.gradient.shape == (6, 6)
    assert report.value.shape == (6,)
    assert np.isnan(report.value).tolist() == [True] * 5 + [False]  # measured for the variance of a word


@pytest.mark.parametrize("name", ["default.qubit", "default.mixed"])
def test_variances_that_no_trained_gate_moves_take_no_shots(name):
    def model(theta, outputs):
        qml.RX(theta, wires=0)
        for wire in (1, 2):
            qml.RX(0.54, wires=wire)
        return [output() for output in outputs]

    moved = [lambda: qml.var(qml.Z(0))]
    unmoved = [lambda: qml.var(qml.Hermitian(20 * MATRIX, 1)), lambda: qml.probs(wires=[1, 2])]
    theta, device = pnp.array(0.54), qml.device(name, wires=3)
    options = {"shots": 20_000, "seed": 3}
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    reports = []
    for outputs in (moved, moved + unmoved, unmoved):
        found = qml.jacobian(lambda x, outputs=outputs: pnp.hstack(qnode(x, outputs)))(theta)
        reports.append(efl.shadow_grad.last_report())
        wanted = np.sin(1.08) if outputs is not unmoved else 0
        assert abs(np.ravel(found)[0] - wanted) <= 5 * reports[-1].stderr[0, 0]
        assert not np.ravel(found)[1:].any()
    alone, beside, none = reports
    assert alone.shots == beside.shots == 20_000
    assert beside.stderr[0, 0] < 1.1 * alone.stderr[0, 0] < 0.05
    assert none.shots == 0
    assert not none.stderr.any()


def test_the_device_measures_values_and_jacobians_at_once():
    inner = qml.device("default.qubit", wires=3)
    device = qml.device("efl.fleet", inner, shots=60_000, seed=4)
    for name in ("probs of all wires", "variance of a sum", "probs of a word"):
        with qml.Tracker(inner) as tracker:
            found = qml.jacobian(node(OUTPUTS[name], device))(THETA)
        assert tracker.totals["batches"] == 1
        np.testing.assert_allclose(found, exact(OUTPUTS[name]), atol=0.06)
        value = node(OUTPUTS[name], device)(THETA)
        np.testing.assert_allclose(value, node(OUTPUTS[name])(THETA), atol=0.03)
        assert np.shape(value) == np.shape(node(OUTPUTS[name])(THETA))


def test_probabilities_add_up_to_one():
    device = qml.device("efl.fleet", qml.device("default.qubit", wires=3), shots=1_000, seed=4)
    assert abs(sum(node(OUTPUTS["probs of all wires"], device)(THETA)) - 1) < 1e-12


def test_a_variance_of_few_shots_is_unbiased():
    device = qml.device("efl.fleet", qml.device("default.qubit", wires=3), shots=10, seed=4)
    qnode, wanted = node(OUTPUTS["variance of a word"], device), node(OUTPUTS["variance of a word"])(THETA)
    found = [qnode(THETA) for _ in range(400)]
    assert abs(np.mean(found) - wanted) < 4 * np.std(found) / 20


def test_shot_vectors_and_broadcasts():
    qnode = node(OUTPUTS["probs"], diff_method=efl.shadow_grad, gradient_kwargs={"seed": 2})
    two = qml.jacobian(lambda theta: pnp.stack(qml.set_shots(qnode, [4_000, 40_000])(theta)))(THETA)
    assert two.shape == (2, 4, 6)
    np.testing.assert_allclose(two[1], exact(OUTPUTS["probs"]), atol=0.06)

    def broadcast(theta):
        gates([theta[0], theta[1], np.array([0.1, 0.2]), theta[3], theta[4], theta[5]])
        return qml.probs(wires=[0, 2])

    device = qml.device("default.qubit", wires=3)
    options = {"shots": 60_000, "seed": 2}
    measured = qml.QNode(broadcast, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    wanted = qml.jacobian(qml.QNode(broadcast, device))(THETA)
    np.testing.assert_allclose(qml.jacobian(measured)(THETA), wanted, atol=0.06)
    found, _ = efl.gradient_with_errors(measured)(THETA)
    assert found.shape == wanted.shape


@pytest.mark.filterwarnings("ignore:jax.core.:DeprecationWarning")
def test_jax_compiles_probabilities():
    jax = pytest.importorskip("jax")
    device = qml.device("default.qubit", wires=3)
    options = {"shots": 60_000, "seed": 2, "device_options": {"device": device}}
    qnode = node(OUTPUTS["probs"], device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    found = jax.jit(jax.jacobian(qnode))(jax.numpy.array(THETA))
    np.testing.assert_allclose(found, exact(OUTPUTS["probs"]), atol=0.06)


def test_all_wires_are_those_of_the_device():
    def model(theta):
        qml.RY(theta, wires="b")
        return qml.probs()

    theta, device = pnp.array(0.6), qml.device("default.qubit", wires=["a", "b"])
    options = {"shots": 10_000, "seed": 1}
    found = qml.jacobian(qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options))(
        theta
    )
    wanted = qml.jacobian(qml.QNode(model, device))(theta)
    assert found.shape == wanted.shape == (4,)
    np.testing.assert_allclose(found, wanted, atol=0.05)


def test_plans_price_the_probabilities():
    plan = efl.plan(node(OUTPUTS["probs"]), target=0.02)(THETA)
    assert len(plan.observables) == 4
    assert plan.best.shots > 0


def test_what_no_parameter_moves_gets_no_shots():
    def beside_a_large_one(theta):
        gates(theta)
        qml.RX(0.3, wires=3)
        return qml.var(qml.Z(0)), qml.var(qml.Hermitian(100 * MATRIX, 3))

    device = qml.device("default.qubit", wires=4)
    qnode = qml.QNode(beside_a_large_one, device, diff_method=efl.shadow_grad)
    found, stderr = efl.gradient_with_errors(qnode, shots=40_000, seed=3)(THETA)
    value = efl.shadow_grad.last_report().value
    alone = node(lambda: qml.var(qml.Z(0)))
    assert np.all(np.abs(found[0] - exact(lambda: qml.var(qml.Z(0)))) < 5 * stderr[0] + 1e-9)
    assert not found[1].any()
    assert not stderr[1].any()
    assert abs(value[0] - alone(THETA)) < 0.05
    assert np.isnan(value[1])
    bars = efl.gradient_with_errors(alone, shots=40_000, seed=3)(THETA)[1]
    assert np.square(stderr[0]).sum() < 1.1 * np.square(bars).sum()


def test_the_constant_of_an_observable_does_not_blur_its_variance():
    shifted = efl.gradient_with_errors(node(lambda: qml.var(ENERGY + 30.0 * qml.I(0))), shots=2_000, seed=3)
    found, stderr = shifted(THETA)
    again, same = efl.gradient_with_errors(node(lambda: qml.var(ENERGY)), shots=2_000, seed=3)(THETA)
    np.testing.assert_allclose(found, again, atol=1e-9)
    np.testing.assert_allclose(stderr, same, atol=1e-9)


def test_coefficients_of_variances_are_not_trained():
    def model(theta, weight):
        qml.RY(theta, wires=0)
        return qml.var(qml.s_prod(weight, qml.Z(0)))

    device = qml.device("default.qubit", wires=1)
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 1_000})
    with pytest.raises(efl.InvalidInputError, match="coefficients of expectation values"):
        qml.grad(qnode)(pnp.array(0.3), pnp.array(0.5))
