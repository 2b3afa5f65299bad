"""How jobs reach a simulator of states: one execution; what is simulated here says what the device says.

A bound of five standard errors fails by chance once in 1.7 million normal deviates; seeds are fixed.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

import efl_core as efl
from efl_core.pennylane.execution import runs

SHOTS = 20_000
THETA = pnp.array(np.random.default_rng(3).uniform(-1, 1, (2, 3, 3)), requires_grad=True)


def rings(theta):
    qml.RY(0.4, wires=0)
    qml.StronglyEntanglingLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(2))


def after_a_state(theta):
    qml.StatePrep(np.array([1, 0, 1j, 0, 0, 2, 0, 1]) / np.sqrt(7), wires=range(3))
    qml.StronglyEntanglingLayers(theta, wires=range(3))
    return qml.expval(qml.Z(0)), qml.expval(qml.X(1) @ qml.Y(2))


def exact(model):
    device = qml.device("default.qubit", wires=3)
    return np.stack(qml.jacobian(lambda x: pnp.stack(qml.QNode(model, device)(x)))(THETA))


def run(model, method, device):
    gradient = efl.gradient_with_errors(qml.QNode(model, device), shots=SHOTS, seed=5, method=method)
    with qml.Tracker(device) as tracker:
        found, stderr = gradient(THETA)
    return found, stderr, tracker.totals.get("simulations", 0)


@pytest.mark.parametrize("device", ["default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("method", ["auto", "echo", "mixture", "shift-pruned", "shift", "product"])
@pytest.mark.filterwarnings("ignore:method .* needs")
def test_one_state_serves_all_circuits(method, device):
    found, stderr, simulations = run(rings, method, qml.device(device, wires=3))
    assert simulations == (0 if method in ("echo", "shift-pruned", "shift") else 1)
    assert np.all(np.abs(found - exact(rings)) <= 5 * stderr + 1e-9)


@pytest.mark.parametrize("method", ["echo", "mixture", "shift-pruned"])
@pytest.mark.filterwarnings("ignore:method .* needs")
def test_what_is_not_simulated_here_runs_on_the_device(method, monkeypatch):
    device = qml.device("default.qubit", wires=3)
    row = efl.plan(qml.QNode(after_a_state, device))(THETA)[method]
    found, stderr, simulations = run(after_a_state, method, device)
    assert 1 < simulations <= row.circuits * 2
    assert np.all(np.abs(found - exact(after_a_state)) <= 5 * stderr + 1e-9)
    monkeypatch.setattr(runs, "SIMULATED_QUBITS", 2)  # as if the circuit were a wide one
    found, stderr, simulations = run(rings, method, device)
    assert simulations > 1
    assert np.all(np.abs(found - exact(rings)) <= 5 * stderr + 1e-9)


@pytest.mark.filterwarnings("ignore:method .* needs")
def test_only_what_may_be_run_is_planned(monkeypatch):
    asked = []
    through = efl.Plan.through

    def watched(self, chain, circuit, methods=None):
        asked.append(methods)
        return through(self, chain, circuit, methods)

    monkeypatch.setattr(efl.Plan, "through", watched)
    device = qml.device("default.qubit", wires=3)
    run(rings, "auto", device)
    run(rings, "echo", device)
    assert len(asked) == 2
    assert len(asked[0]) <= 3
    assert asked[1] == ["echo"]
    assert efl.shadow_grad.last_report().method == "echo"


@pytest.mark.parametrize("equal", [False, True])
@pytest.mark.parametrize("most", [12, 30, 60])
def test_batches_are_as_short_as_is_asked_for(most, equal):
    """Designs are thinned to what a device may be sent at once."""
    device = qml.device("default.qubit", wires=3, seed=6)
    settings = {"mode": "tapes", "max_tapes": most, "equal_shots": equal}
    gradient = efl.gradient_with_errors(
        qml.QNode(rings, device), shots=SHOTS, seed=5, device_options=settings
    )
    found, stderr = gradient(THETA)
    report = efl.shadow_grad.last_report()
    assert 1 < report.tapes <= most
    assert report.settings <= report.tapes  # two families may have one setting
    assert np.all(np.abs(found - exact(rings)) <= 5 * stderr + 1e-9)
    assert report.shots > 0.9 * SHOTS


def only_measured(theta):
    qml.RY(theta[0], wires=1)
    qml.CNOT(wires=[1, 0])
    return qml.expval(qml.Z(0) @ qml.Z(1) @ qml.Z(2)), qml.expval(qml.X(1) @ qml.X(0))


@pytest.mark.parametrize("name", ["reference.qubit", "default.qubit", "lightning.qubit"])
@pytest.mark.parametrize("wires", [None, 4])
def test_wires_that_no_gate_is_on(name, wires):
    """Devices without wires of their own order them by the gates, and some leave identities out."""
    if name == "lightning.qubit" and wires is None:
        pytest.skip("this device has to be told its wires")
    device, theta = qml.device(name, wires=wires), pnp.array([0.4], requires_grad=True)
    found, stderr = efl.gradient_with_errors(qml.QNode(only_measured, device), shots=SHOTS, seed=5)(theta)
    wanted = np.array([[-0.0], [np.cos(0.4)]])
    assert efl.shadow_grad.last_report().mode == "state"
    assert np.all(np.abs(np.reshape(found, (2, 1)) - wanted) <= 5 * np.reshape(stderr, (2, 1)) + 1e-9)
