"""Gradients in every framework that PennyLane speaks; those that are not installed are skipped.

All errors are compared with five standard errors of the measurement that was made, through `Report.stderr_of`
or, where the chain rule is the identity, as they are.
"""

import numpy as np
import pennylane as qml
import pytest
from tests.pennylane import models
from tests.pennylane.models import MODELS, arguments, exact, trainable, wires_of

import efl_core as efl

pytestmark = [
    pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning"),  # of PennyLane
    pytest.mark.filterwarnings("ignore:method 'echo' needs"),
]
OPTIONS = {"shots": 20_000, "seed": 5}
THETA = np.random.default_rng(2).uniform(-1, 1, (2, 3))
INPUTS = np.random.default_rng(3).uniform(-1, 1, (4, 3))


def classifier(theta, x):
    qml.AngleEmbedding(x, wires=range(3))
    qml.BasicEntanglerLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0))


def two_outputs(theta):
    qml.BasicEntanglerLayers(theta, wires=range(3), rotation=qml.RY)
    return qml.expval(qml.Z(0) @ qml.X(1)), qml.expval(0.5 * qml.Y(2) + qml.Z(1) + qml.X(0))


def node(model, device=None, diff_method=efl.shadow_grad):
    device = qml.device("default.qubit") if device is None else device
    return qml.QNode(model, device, diff_method=diff_method, gradient_kwargs=OPTIONS)


def assert_close(found, wanted, reports=1):
    stderr = efl.shadow_grad.last_report().stderr
    assert np.shape(found) == np.shape(wanted)
    assert np.all(np.abs(np.asarray(found) - wanted) <= 5 * np.sqrt(reports) * np.max(stderr))


@pytest.fixture
def jax():
    jax = pytest.importorskip("jax")
    jax.config.update("jax_enable_x64", True)
    return jax


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


@pytest.mark.parametrize("transform", [efl.shadow_grad, efl.echo_grad], ids=["shadow", "echo"])
@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "jit"])
def test_jax(jax, transform, compiled):
    wrap = jax.jit if compiled else lambda f: f
    theta, x = jax.numpy.array(THETA), jax.numpy.array(INPUTS[0])
    device = qml.device("default.qubit")
    with device.tracker:
        found = wrap(jax.grad(node(classifier, device, transform)))(theta, x)
    assert device.tracker.totals["batches"] == 1
    assert_close(found, exact(classifier, trainable(THETA), INPUTS[0])[0])

    found = wrap(jax.jacobian(node(two_outputs, device, transform)))(theta)
    assert_close(np.stack(found), exact(two_outputs, trainable(THETA)))


def test_jax_vmap(jax):
    """PennyLane takes it inside jit alone, with its own gradients as well."""
    gradient = jax.vmap(jax.jit(jax.grad(node(classifier))), (None, 0))
    found = gradient(jax.numpy.array(THETA), jax.numpy.array(INPUTS))
    wanted = [exact(classifier, trainable(THETA), x)[0] for x in INPUTS]
    assert_close(found, np.stack(wanted))


def torch_jacobian(torch, qnode, theta):
    stacked = lambda theta: torch.stack([*qnode(theta)])  # noqa: E731
    return torch.autograd.functional.jacobian(stacked, torch.tensor(theta, requires_grad=True)).numpy()


@pytest.mark.parametrize("transform", [efl.shadow_grad, efl.echo_grad], ids=["shadow", "echo"])
def test_torch_measures_once(torch, transform):
    device = qml.device("default.qubit")
    with device.tracker:
        found = torch_jacobian(torch, node(two_outputs, device, transform), THETA)
    report = efl.shadow_grad.last_report()
    # The value, and one measurement for all rows; echoes are simulated by efl_core.
    assert device.tracker.totals["batches"] == (2 if transform is efl.shadow_grad else 1)
    assert np.allclose(report.gradient, found.reshape(2, -1))
    assert_close(found, exact(two_outputs, trainable(THETA)))


def test_torch_layer(torch):
    """Training goes down."""

    def model(inputs, theta):
        return classifier(theta, inputs)

    torch.manual_seed(0)
    layer = qml.qnn.TorchLayer(node(model), {"theta": (2, 3)}).double()
    inputs, wanted = torch.tensor(INPUTS), torch.tensor([1.0, -1, 1, -1], dtype=torch.float64)
    optimiser = torch.optim.Adam(layer.parameters(), lr=0.2)
    losses = []
    for _ in range(8):
        optimiser.zero_grad()
        loss = torch.mean((layer(inputs) - wanted) ** 2)
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
    assert losses[-1] < losses[0] - 0.1


def test_torch_broadcast(torch):
    theta = torch.tensor(THETA, requires_grad=True)
    node(classifier)(theta, torch.tensor(INPUTS)).sum().backward()
    wanted = sum(exact(classifier, trainable(THETA), x)[0] for x in INPUTS)
    assert_close(theta.grad.numpy(), wanted, reports=len(INPUTS))


def test_torch_errors(torch):
    """Errors are those by the tensors, through what torch computes."""
    scale = torch.tensor(0.7, requires_grad=True, dtype=torch.float64)
    theta = torch.tensor(THETA, requires_grad=True)

    def model(theta, scale):
        return classifier(torch.sin(theta) * scale, INPUTS[0])

    qnode = qml.QNode(model, qml.device("default.qubit"))
    found, stderr = efl.gradient_with_errors(qnode, **OPTIONS)(theta, scale)
    exactly = qml.QNode(model, qml.device("default.qubit"), diff_method="backprop")
    wanted = torch.autograd.functional.jacobian(exactly, (theta, scale))
    for own, error, true in zip(found, stderr, wanted, strict=True):
        assert np.all(np.abs(own - true.numpy()) <= 5 * error + 1e-9)
        assert np.any(error > 0)


@pytest.mark.parametrize("argnums", [None, 0, [1], (0, 1), (-1, 0)])
def test_jax_errors(jax, argnums):
    """Errors are those by the arrays, through what JAX computes; by the first where nobody says by which."""
    theta, scale = jax.numpy.array(THETA), jax.numpy.array(0.7)

    def model(theta, scale):
        return classifier(jax.numpy.sin(theta) * scale, INPUTS[0])

    qnode = qml.QNode(model, qml.device("default.qubit"))
    found = efl.gradient_with_errors(qnode, argnums=argnums, **OPTIONS)(theta, scale)
    exactly = qml.QNode(model, qml.device("default.qubit"), diff_method="backprop")
    given = tuple(argnums) if isinstance(argnums, list) else argnums
    wanted = jax.jacobian(exactly, argnums=0 if given is None else given)(theta, scale)
    pairs = list(zip(*found, wanted, strict=True)) if isinstance(given, tuple) else [(*found, wanted)]
    assert len(pairs) == (len(given) if isinstance(given, tuple) else 1)
    for own, error, true in pairs:
        assert own.shape == error.shape == true.shape
        assert np.all(np.abs(own - true) <= 5 * error + 1e-6)
        assert np.any(error > 0)


def test_jax_errors_of_a_broadcast(jax):
    theta = jax.numpy.array(THETA)
    qnode = qml.QNode(lambda theta: classifier(theta, np.array(INPUTS)), qml.device("default.qubit"))
    found, error = efl.gradient_with_errors(qnode, **OPTIONS)(theta)
    wanted = jax.jacobian(qml.QNode(qnode.func, qml.device("default.qubit"), diff_method="backprop"))(theta)
    assert found.shape == error.shape == wanted.shape
    assert np.all(np.abs(found - wanted) <= 5 * error + 1e-6)


# ---- the table of models -------------------------------------------------------------------------


def model(name, wrapped):
    device = qml.device("default.qubit", wires=wires_of(name))
    if wrapped:
        return qml.QNode(MODELS[name].function, qml.device("efl.fleet", device, **OPTIONS))
    return node(MODELS[name].function, device)


def assert_model(name, found, wrapped):
    """Compare with the error bars of another gradient: those of autograd, whose chain rule they know.

    The device reads values from some of the shots, which it chooses; a quarter is left for the gradient.
    """
    qnode = qml.QNode(MODELS[name].function, qml.device("default.qubit"))
    options = {**OPTIONS, "shots": OPTIONS["shots"] // 4} if wrapped else OPTIONS
    stderr = efl.gradient_with_errors(qnode, **options)(*arguments(name))[1]
    models.assert_close(name, tuple(map(np.asarray, found)), stderr)


@pytest.mark.parametrize("wrapped", [False, True], ids=["transform", "device"])
# PennyLane binds no states of projectors inside jit.
@pytest.mark.parametrize("name", [name for name in list(MODELS)[::4] if not name.endswith("projectors")])
def test_models_in_jax(jax, name, wrapped):
    qnode, args = model(name, wrapped), [jax.numpy.array(part) for part in arguments(name)]
    jacobian = jax.jacobian(models.stacked(qnode), argnums=range(len(args)))
    assert_model(name, jax.jit(jacobian)(*args), wrapped)


# PennyLane decomposes exponentials by a function that torch lacks.
@pytest.mark.parametrize("wrapped", [False, True], ids=["transform", "device"])
@pytest.mark.parametrize("name", [name for name in MODELS if name != "evolutions"])
def test_models_in_torch(torch, name, wrapped):
    qnode = model(name, wrapped)
    args = tuple(torch.tensor(np.array(part), requires_grad=True) for part in arguments(name))
    found = torch.autograd.functional.jacobian(models.stacked(qnode), args)
    assert_model(name, found, wrapped)
