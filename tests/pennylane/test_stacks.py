"""Every model of the table on several devices: gradients within five standard errors, and true error bars.

Exact gradients are PennyLane's, by backpropagation. Seeds are fixed where outcomes are drawn here. With fresh
ones the 9,000 comparisons of this file would fail by chance once in 190 runs, at 6e-7 each; the bounds of
the error bars state their own rate.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane.exceptions import DeviceError, QuantumFunctionError
from scipy.stats import chi2
from tests.pennylane.models import (
    MODELS,
    SIGMAS,
    Former,
    arguments,
    as_tuple,
    assert_close,
    stacked,
    trainable,
    wanted,
    wires_of,
)

import efl_core as efl

SHOTS = 20_000
COPIES = 40
# A variance where the mean and its derivatives are zero: errors are products of two noises, with longer
# tails, beyond 10 standard errors once in 90,000.
AT_REST = ("excited_mixture",)

# By tapes a model takes up to seconds: those devices share the table.
NAMES = list(MODELS)
TRANSFORM = {
    "default.qubit": NAMES,
    "lightning.qubit": NAMES,
    "default.mixed": NAMES[0::2],
    "former": NAMES[1::5],
}
FLEET = {
    "default.qubit": NAMES[0::2],
    "lightning.qubit": NAMES[1::2],
    "default.mixed": NAMES[1::2],
    "former": NAMES[3::5],
}


def cases(devices):
    return [
        pytest.param(name, kind, id=f"{name}-{kind}") for kind, names in devices.items() for name in names
    ]


def device(kind, name):
    if kind == "former":
        return Former(wires=wires_of(name))
    return qml.device(kind, wires=wires_of(name), seed=3)


@pytest.mark.parametrize(("name", "kind"), cases(TRANSFORM))
def test_transform(name, kind):
    qnode = qml.QNode(MODELS[name].function, device(kind, name))
    assert_close(name, *efl.gradient_with_errors(qnode, shots=SHOTS, seed=7)(*arguments(name)))


@pytest.mark.parametrize("kind", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("name", NAMES)
def test_gradient_method(name, kind):
    """As ``diff_method``, the chain rule is PennyLane's; error bars are those of other outcomes."""
    inner, args, options = device(kind, name), arguments(name), {"shots": SHOTS, "seed": 8}
    function = MODELS[name].function
    qnode = qml.QNode(function, inner, diff_method=efl.shadow_grad, gradient_kwargs=options)
    with qml.Tracker(inner) as tracker:
        found = qml.jacobian(stacked(qnode))(*args)
    # The value, and the gradient; nothing for that where all its circuits are simulated by efl_core.
    executed = efl.shadow_grad.last_report().tapes > 0
    assert tracker.totals["batches"] == (1 + executed) * len(args)
    sigmas = 2 * SIGMAS if name in AT_REST else SIGMAS
    assert_close(name, found, efl.gradient_with_errors(qnode, seed=9)(*args)[1], sigmas)


@pytest.mark.parametrize(("name", "kind"), cases(FLEET))
def test_device(name, kind):
    """Values and Jacobian come from one batch."""
    args, reports = arguments(name), []
    inner = device(kind, name)
    fleet = qml.device("efl.fleet", inner, shots=SHOTS, seed=5, report=reports)
    qnode = qml.QNode(MODELS[name].function, fleet)
    with qml.Tracker(fleet.inner) as tracker:
        found = qml.jacobian(stacked(qnode))(*args)
    assert tracker.totals["batches"] == len(args)  # PennyLane asks once for each argument

    def tapes(*values):
        return fleet.preprocess_transforms()(qml.workflow.construct_batch(qnode, level="user")(*values)[0])[0]

    def parameters(*values):
        return qml.math.stack([p for tape in tapes(*values) for p in tape.get_parameters()])

    count = len(tapes(*args))  # the entries of a broadcast
    assert len(reports) == count * len(args)
    assert max(report.shots for report in reports) <= SHOTS
    stderr = []
    for i, matrix in enumerate(as_tuple(qml.jacobian(parameters)(*args))):
        own = reports[i * count : (i + 1) * count]
        ends = np.cumsum([report.gradient.shape[1] for report in own])[:-1]
        weights = np.split(np.reshape(matrix, (len(matrix), -1)), ends)
        errors = [report.stderr_of(part.T) for report, part in zip(own, weights, strict=True)]
        stderr.append(np.stack(errors, axis=1))
    assert_close(name, found, tuple(stderr))

    values = np.transpose([report.value for report in reports[:count]])
    errors = np.transpose([report.value_stderr for report in reports[:count]])
    analytic = stacked(qml.QNode(MODELS[name].function, qml.device("default.qubit")))(*args)
    assert np.all(np.abs(values - np.reshape(analytic, values.shape)) <= SIGMAS * errors + 1e-9)


def deviates(name):
    """Errors over standard errors, by copy and derivative; those that are identically zero are left out."""
    args = arguments(name)
    qnode = qml.QNode(MODELS[name].function, device("default.qubit", name))
    copied = qml.set_shots(qnode, [4_000] * COPIES)
    found, stderr = map(as_tuple, efl.gradient_with_errors(copied, seed=3)(*args))
    flat = [np.hstack([np.reshape(part, (COPIES, -1)) for part in parts]) for parts in (found, stderr)]
    error = flat[0] - np.hstack([part.ravel() for part in wanted(name)])
    still = np.all(flat[1] < 1e-12, axis=0)
    assert np.all(np.abs(error[:, still]) < 1e-9)
    return error[:, ~still] / flat[1][:, ~still]


def test_error_bars():
    """40 gradients of every model, each from 4,000 shots.

    The mean square of d deviates with correlations r spreads as that of d / mean(r^2) independent ones, if
    normal. Each model is within the quantiles of those at 1e-6, which fails by chance once in 10,000 runs.
    Coverage, over all models: within five of its standard errors, those it would have if all derivatives of a
    gradient had one error in common; that fails by chance less than once in a million.
    """
    covered = []
    for name in MODELS:
        found = deviates(name)
        freedom = COPIES / np.mean(np.square(np.atleast_2d(np.corrcoef(found.T))))
        low, high = chi2.ppf([1e-6, 1 - 1e-6], freedom) / freedom
        assert low < np.mean(np.square(found)) < high, name
        covered.append([np.mean(np.abs(found) < width) for width in (1.0, 1.96)])
    for found, stated in zip(np.mean(covered, axis=0), (0.6827, 0.95), strict=True):
        assert abs(found - stated) < SIGMAS * np.sqrt(stated * (1 - stated) / (len(MODELS) * COPIES))


def test_former_interface():
    """Tapes have equal shots: that is how it takes them in one batch."""
    inner = Former(wires=range(3))
    qnode = qml.QNode(MODELS["ring"].function, inner, diff_method=efl.shadow_grad)
    qnode = qnode.update(gradient_kwargs={"shots": 1_000, "seed": 1})
    qml.jacobian(stacked(qnode))(*arguments("ring"))
    report = efl.shadow_grad.last_report()
    assert report.mode == "tapes"
    assert inner.submissions[-1] == report.tapes
    assert len(inner.submissions) == 2


# ---- what takes no angles ------------------------------------------------------------------------


def clifford(weights):
    qml.H(0)
    qml.CNOT(wires=[0, 1])
    qml.S(1)
    terms = [qml.X(0) @ qml.Y(1), qml.Z(0) @ qml.Z(1), qml.Z(0)]
    return qml.expval(qml.Hamiltonian(weights, terms)), qml.expval(qml.Z(1))


WEIGHTS = trainable([0.3, -0.2, 0.5])
SLOPES = [[1, 1, 0], [0, 0, 0]]


@pytest.mark.filterwarnings("ignore:Differentiating with respect")  # PennyLane, of any weights
def test_clifford_circuits():
    """Coefficients can be trained."""
    inner = qml.device("default.clifford", wires=2, seed=1)
    qnode = qml.QNode(clifford, inner)
    gradient, stderr = efl.gradient_with_errors(qnode, shots=3_000)(WEIGHTS)
    assert np.all(np.abs(gradient - SLOPES) <= SIGMAS * stderr)
    assert np.array_equal(np.stack(efl.shadow_grad(qnode, shots=3_000)(WEIGHTS)).round(), SLOPES)

    fleet = qml.device("efl.fleet", inner, shots=3_000, seed=1)
    with qml.Tracker(inner) as tracker:
        found = qml.jacobian(stacked(qml.QNode(clifford, fleet)))(WEIGHTS)
    assert tracker.totals["batches"] == 1
    assert np.all(np.abs(found - SLOPES) <= SIGMAS * efl.shadow_grad.last_report().stderr)


@pytest.mark.filterwarnings("ignore:Differentiating with respect")
def test_clifford_simulator_refuses_gradient_methods():
    """PennyLane's simulator turns off every one, its own parameter-shift included."""
    for method in ("parameter-shift", efl.shadow_grad):
        options = {} if isinstance(method, str) else {"shots": 100}
        inner = qml.device("default.clifford", wires=2)
        qnode = qml.QNode(clifford, inner, diff_method=method, gradient_kwargs=options)
        with pytest.raises(QuantumFunctionError, match="Derivatives cannot be calculated"):
            qml.jacobian(stacked(qnode))(WEIGHTS)


@pytest.mark.parametrize("wrapped", [False, True], ids=["transform", "device"])
def test_clifford_simulator_refuses_angles(wrapped):
    """Those that are Clifford gates too: the settings of a gradient would not be the hindrance."""

    def model(angle):
        qml.RX(angle, wires=0)
        return qml.expval(qml.Y(0))

    inner = qml.device("default.clifford", wires=1)
    qnode = qml.QNode(model, qml.device("efl.fleet", inner, shots=100) if wrapped else inner)
    with pytest.raises(DeviceError, match=r"RX.* not supported with default\.clifford"):
        (qml.grad(qnode) if wrapped else efl.shadow_grad(qnode, shots=100))(trainable(np.pi / 2))
