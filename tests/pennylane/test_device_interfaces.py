"""The device efl.fleet under torch and JAX: one submission for value and Jacobian, whatever asks for it."""

import numpy as np
import pennylane as qml
import pytest

from efl_core.pennylane.reports import last_report

# PennyLane 0.45 calls what JAX is about to remove.
pytestmark = pytest.mark.filterwarnings("ignore:jax.core.:DeprecationWarning")

POINT = [0.3, 0.5]
# Standard errors of a word from 20,000 shots are at most 0.007 here, derivatives included: 5 of them.
CLOSE = 0.04


def gates(x):
    qml.RY(x[0], wires=0)
    qml.CNOT([0, 1])
    qml.RX(x[1], wires=1)
    return qml.expval(qml.Z(1)), qml.expval(qml.Y(1))


def value(a, b):
    return [np.cos(a) * np.cos(b), -np.cos(a) * np.sin(b)]


def jacobian(a, b):
    return [[-np.sin(a) * np.cos(b), -np.cos(a) * np.sin(b)], [np.sin(a) * np.sin(b), -np.cos(a) * np.cos(b)]]


@pytest.fixture
def inner():
    return qml.device("default.qubit", wires=2)


@pytest.fixture
def device(inner):
    return qml.device("efl.fleet", inner, shots=20_000, seed=1)


def counted(inner, function, *arguments):
    with qml.Tracker(inner) as tracker:
        found = function(*arguments)
    return found, tracker.totals["batches"]


# ---- JAX -----------------------------------------------------------------------------------------


@pytest.fixture(params=[False, True], ids=["float32", "float64"])
def jax(request):
    jax = pytest.importorskip("jax")
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", request.param)
    yield jax
    jax.config.update("jax_enable_x64", before)


@pytest.mark.parametrize("way", ["jacrev", "jacfwd", "jit"])
def test_jax_jacobian_is_one_submission(jax, inner, device, way):
    node = qml.QNode(gates, device)

    def stacked(x):
        return jax.numpy.stack(node(x))

    transform = {"jacrev": jax.jacrev, "jacfwd": jax.jacfwd, "jit": lambda f: jax.jit(jax.jacobian(f))}[way]
    found, batches = counted(inner, transform(stacked), jax.numpy.array(POINT))
    assert batches == 1
    np.testing.assert_allclose(found, jacobian(*POINT), atol=CLOSE)


def test_jax_evaluation_measures_values_only(jax, inner):
    settings = {"mode": "tapes"}
    device = qml.device("efl.fleet", inner, shots=20_000, seed=1, device_options=settings)
    node = qml.QNode(gates, device)
    for function in (node, jax.jit(node)):
        with qml.Tracker(inner) as tracker:
            found = function(jax.numpy.array(POINT))
        assert (tracker.totals["batches"], tracker.totals["simulations"]) == (1, 2)
        np.testing.assert_allclose(found, value(*POINT), atol=CLOSE)


def test_jax_vmap_under_jit(jax, device):
    node = qml.QNode(gates, device)
    points = jax.numpy.array([POINT, [0.1, -0.4], [1.2, 0.8]])

    def total(x):
        return jax.numpy.stack(node(x)).sum()

    values = jax.jit(jax.vmap(total))(points)
    np.testing.assert_allclose(values, [sum(value(*p)) for p in points.tolist()], atol=2 * CLOSE)
    slopes = jax.jit(jax.vmap(jax.grad(total)))(points)
    expected = [np.sum(jacobian(*p), axis=0) for p in points.tolist()]
    np.testing.assert_allclose(slopes, expected, atol=2 * CLOSE)


# ---- torch ---------------------------------------------------------------------------------------


@pytest.fixture
def torch():
    return pytest.importorskip("torch")


def test_torch_jacobian_is_one_submission(torch, inner, device):
    node = qml.QNode(gates, device)
    point = torch.tensor(POINT, requires_grad=True)
    functional = torch.autograd.functional.jacobian
    found, batches = counted(inner, functional, lambda x: torch.stack(node(x)), point)
    assert batches == 1
    np.testing.assert_allclose(found, jacobian(*POINT), atol=CLOSE)


def test_torch_evaluation_measures_values_only(torch, inner):
    settings = {"mode": "tapes"}
    device = qml.device("efl.fleet", inner, shots=20_000, seed=1, device_options=settings)
    node = qml.QNode(gates, device)
    point = torch.tensor(POINT, requires_grad=True)
    with qml.Tracker(inner) as tracker, torch.no_grad():
        node(point)
    assert (tracker.totals["batches"], tracker.totals["simulations"]) == (1, 2)
    with qml.Tracker(inner) as tracker:
        node(point.detach())
    assert (tracker.totals["batches"], tracker.totals["simulations"]) == (1, 2)
    _, batches = counted(inner, lambda: torch.stack(node(point)).sum().backward())
    assert batches == 1
    assert point.grad is not None


def test_torch_layer(torch, inner, device):
    @qml.qnode(device)
    def circuit(inputs, weights):
        qml.AngleEmbedding(inputs, wires=range(2))
        qml.BasicEntanglerLayers(weights, wires=range(2))
        return [qml.expval(qml.Z(w)) for w in range(2)]

    torch.manual_seed(1)
    layer = qml.qnn.TorchLayer(circuit, {"weights": (2, 2)})
    inputs = torch.rand(4, 2)
    found, batches = counted(inner, lambda: layer(inputs).sum().backward() or layer.weights.grad.clone())
    assert batches == 1
    error = float(np.sqrt(4) * np.linalg.norm(last_report().stderr))

    reference = qml.QNode(circuit.func, qml.device("default.qubit"))
    weights = layer.weights.detach().clone().requires_grad_()
    torch.stack(reference(inputs, weights)).sum().backward()
    np.testing.assert_allclose(found, weights.grad, atol=5 * error)
