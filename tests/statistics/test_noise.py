"""Noise: the power of audits, their false alarms, and variances as predicted. Seeds are fixed.

Each limit is 4 standard deviations of what is counted: a false-alarm rate of 6e-5.
"""

import warnings
from statistics import NormalDist

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.oracle.dense import word_matrix

import efl_core as efl
from efl_core.pennylane import noise_model
from efl_core.pennylane.audits import Audit, compared

NORMAL = NormalDist()


def audits(bias, count, correlation=0.0, derivatives=3, false_alarm=0.01, seed=0):
    """How many of `count` audits find a bias of one derivative, in units of what is detectable."""
    rng = np.random.default_rng(seed)
    audit = Audit(derivatives=derivatives, false_alarm=false_alarm)
    ones, found = np.ones((1, derivatives)), 0
    places = [(0, k) for k in range(derivatives)]
    size = compared(audit, places, (ones, ones), (ones, ones), 1).detectable[0]
    for _ in range(count):
        common = rng.normal()
        noise = np.sqrt(correlation) * common + np.sqrt(1 - correlation) * rng.normal(size=derivatives)
        value = noise[np.newaxis, :]
        value[0, 0] += bias * size
        shift = rng.normal(size=(1, derivatives))
        found += compared(audit, places, (value, ones), (shift, ones), 1).is_biased
    return found / count


@pytest.mark.parametrize("correlation", [0.0, 0.5, 0.95])
def test_alarms_without_a_bias_are_as_rare_as_promised(correlation):
    count, rate = 20_000, 0.01
    assert audits(0.0, count, correlation) < rate + 4 * np.sqrt(rate * (1 - rate) / count)


def test_a_detectable_bias_is_found_nine_times_out_of_ten():
    count = 4000
    assert audits(1.0, count) > 0.9 - 4 * np.sqrt(0.09 / count)


@pytest.mark.slow
def test_a_wrong_model_is_found_at_the_promised_power():
    """An over-rotation that the model leaves out, on a simulator that has it."""
    theta = pnp.array([0.5, -0.8, 0.3], requires_grad=True)

    def gates(t):
        qml.RY(t[0], 0)
        qml.RY(t[1], 1)
        qml.CNOT([0, 1])
        qml.RX(t[2], 1)

    def model(t):
        gates(t)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    def state(t):
        gates(t)
        return qml.state()

    noise = qml.NoiseModel({qml.noise.op_eq(qml.CNOT): lambda op, **_: qml.RX(0.2, wires=op.wires[1])})
    mixed = qml.device("default.mixed", wires=2)
    truth = qml.grad(qml.add_noise(qml.QNode(model, mixed), noise))(theta)
    circuit = efl.circuit(qml.QNode(model, qml.device("default.qubit", wires=2)))(theta)
    found = np.asarray(qml.add_noise(qml.QNode(state, mixed), noise)(theta))
    rho = found if found.ndim == 2 else np.outer(found, found.conj())

    def read(total):
        return sum(c * np.trace(rho @ word_matrix(w.label)).real for w, c in total.terms())

    clean = [read(g) for g in efl.gradient_observables(circuit).gradients]
    bias = np.array(clean) - truth
    runs, found, expected, variance = 40, 0, 0.0, 0.0
    for seed in range(runs):
        device = qml.add_noise(qml.device("default.mixed", wires=2, seed=seed), noise)
        options = {"shots": 30_000, "seed": seed, "method": "product", "audit": efl.Audit(0.5, 3)}
        qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            qml.grad(qnode)(theta)
        audit = efl.shadow_grad.last_report().audit
        found += audit.is_biased
        # At least as often as the derivative that is off the most would be found by itself.
        places = [k for _, k in audit.places]
        size = np.abs(bias[places]) / np.maximum(audit.error, 1e-9)
        power = max(NORMAL.cdf(s - audit.threshold) for s in size)
        expected, variance = expected + power, variance + power * (1 - power)
    assert 0.2 * runs < expected  # or nothing is shown
    assert found > expected - 4 * np.sqrt(variance)


@pytest.mark.slow
@pytest.mark.parametrize("method", ["product", "shift-pruned"])
def test_variances_on_a_noisy_device_are_as_predicted(method):
    """So noisy a device leaves almost the maximally mixed state, where variances are predicted."""
    noise = efl.Noise(two_qubit=0.3)

    def model(t):
        angles = iter(t)
        for layer in range(3):
            for q in range(4):
                qml.RY(next(angles), q)
                qml.RZ(next(angles), q)
            for q in range(layer % 2, 3, 2):
                qml.CZ([q, q + 1])
        return qml.expval(qml.Z(1) @ qml.Z(2))

    ratios = []
    for seed in range(12):
        theta = pnp.array(np.random.default_rng(seed).uniform(-np.pi, np.pi, 24), requires_grad=True)
        device = qml.add_noise(qml.device("default.mixed", wires=4, seed=seed), noise_model(noise))
        options = {"shots": 20_000, "seed": seed, "method": method, "noise": noise}
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message=r"method '[a-z-]+' needs")
            qml.grad(qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options))(theta)
        report = efl.shadow_grad.last_report()
        ratios.append((report.observed / report.predicted) ** 2)
    assert abs(np.mean(ratios) - 1) < 0.05, ratios
