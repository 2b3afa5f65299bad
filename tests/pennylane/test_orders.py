"""First derivatives whatever the order that a QNode is ready for, and Hessians refused in every interface."""

import jax
import jax.numpy as jnp
import numpy as np
import pennylane as qml
import pytest
from pennylane.workflow.jacobian_products import TransformJacobianProducts
from tests.pennylane.models import trainable

import efl_core as efl

pytestmark = [
    pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning"),  # of PennyLane
    pytest.mark.filterwarnings("ignore:method .echo. needs"),
]
SIGMAS = 5
THETA = (0.4, 0.7)
EXACT = np.array([-np.sin(0.4) * np.cos(0.7), -np.cos(0.4) * np.sin(0.7)])
FIRST = "diff_method: expected first derivatives, .*got a derivative of one; for a Hessian"


def model(theta):
    qml.RY(theta[0], wires=0)
    qml.RX(theta[1], wires=0)
    return qml.expval(qml.Z(0))


def made(max_diff, **options):
    reports = []
    options = {"shots": 20_000, "seed": 1, "report": reports, **options}
    device = qml.device("default.qubit")
    return qml.QNode(
        model, device, diff_method=efl.shadow_grad, gradient_kwargs=options, max_diff=max_diff
    ), reports


def assert_right(found, reports):
    [report] = reports
    assert np.all(np.abs(np.asarray(found) - EXACT) <= SIGMAS * report.stderr[0])


@pytest.mark.parametrize("max_diff", [1, 2, 3])
@pytest.mark.parametrize("options", [{}, {"method": "echo"}, {"device_options": {"mode": "tapes"}}], ids=str)
def test_first_derivatives_by_autograd(max_diff, options):
    qnode, reports = made(max_diff, **options)
    assert_right(qml.grad(qnode)(trainable(THETA)), reports)


@pytest.mark.parametrize("max_diff", [1, 2])
@pytest.mark.parametrize(
    "differentiate", [jax.grad, jax.jacfwd, jax.jacrev, lambda f: jax.jit(jax.grad(f))], ids=range(4)
)
def test_first_derivatives_by_jax(max_diff, differentiate):
    qnode, reports = made(max_diff)
    assert_right(differentiate(qnode)(jnp.array(THETA)), reports)


def test_the_batch_is_the_same():
    """What PennyLane would record for another derivative is submitted at once instead, with its tracker."""
    totals = []
    for max_diff in (1, 2):
        qnode, _ = made(max_diff, device_options={"mode": "tapes"})
        with qml.Tracker(qnode.device) as tracker:
            qml.grad(qnode)(trainable(THETA))
        totals.append((tracker.totals["batches"], tracker.totals["simulations"], tracker.totals["shots"]))
    assert totals[0] == totals[1]


@pytest.mark.parametrize("max_diff", [1, 2])
def test_hessians_by_autograd(max_diff):
    qnode, _ = made(max_diff)
    with pytest.raises(ValueError, match=FIRST):
        qml.jacobian(qml.grad(qnode))(trainable(THETA))


@pytest.mark.parametrize("max_diff", [1, 2])
@pytest.mark.parametrize(
    "differentiate", [jax.hessian, lambda f: jax.jacrev(jax.grad(f)), lambda f: jax.jacfwd(jax.jacfwd(f))]
)
def test_hessians_by_jax(max_diff, differentiate):
    qnode, _ = made(max_diff)
    with pytest.raises(ValueError, match=FIRST):
        differentiate(qnode)(jnp.array(THETA))


def test_derivatives_of_the_transform_itself():
    """Nobody but the user asks here: where they differentiate what it returns, the answer would be 0."""
    device = qml.device("default.qubit")
    qnode = qml.QNode(model, device)
    tape = qml.workflow.construct_tape(qnode)(trainable(THETA))

    def of_qnode(theta):
        return qml.numpy.hstack(efl.shadow_grad(qnode, shots=20_000, seed=1)(theta))

    def of_tape(theta):
        batch, read = efl.shadow_grad(tape.bind_new_parameters(list(theta), [0, 1]), shots=20_000, seed=1)
        return qml.numpy.hstack(read(qml.execute(batch, device, diff_method=None)))

    def of_product(theta):
        product = TransformJacobianProducts(device.execute, efl.shadow_grad, {"shots": 20_000, "seed": 1})
        return product.compute_vjp((tape.bind_new_parameters(list(theta), [0, 1]),), (1.0,))[0]

    for gradient in (of_qnode, of_tape, of_product):
        assert np.allclose(gradient(trainable(THETA)), EXACT, atol=0.05)
        with pytest.raises(ValueError, match=FIRST):
            qml.jacobian(gradient)(trainable(THETA))


@pytest.mark.parametrize(
    "differentiate", [lambda f: jax.hessian(jax.jit(f)), lambda f: jax.jacrev(jax.jit(jax.grad(f)))]
)
def test_hessians_of_what_jax_compiled(differentiate):
    """With ``max_diff=1`` the callback is PennyLane's own, and JAX refuses it."""
    qnode, _ = made(2)
    with pytest.raises(ValueError, match=FIRST):
        differentiate(qnode)(jnp.array(THETA))


def test_a_derivative_by_something_else_in_between_is_none_of_the_circuit():
    """The scale of a gradient is differentiated: the circuit's own derivative is differentiated once."""
    qnode, reports = made(2)
    theta = trainable(THETA)
    found = qml.jacobian(lambda scale: scale * qml.grad(qnode)(theta))(trainable(2.0))
    assert_right(found, reports)


def test_torch():
    torch = pytest.importorskip("torch", reason="`make test-torch` installs it")
    for max_diff in (1, 2):
        qnode, reports = made(max_diff)
        theta = torch.tensor(THETA, requires_grad=True, dtype=torch.float64)
        qnode(theta).backward()
        assert_right(theta.grad.numpy(), reports)
        with pytest.raises(ValueError, match=FIRST):
            torch.autograd.functional.hessian(made(max_diff)[0], theta)
