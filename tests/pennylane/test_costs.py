"""Circuits as a cost beside shots: which method is chosen, how many tapes it takes, what is counted."""

import logging

import numpy as np
import pennylane as qml
import pytest
from tests.pennylane.models import Former, layers, trainable, two_design

import efl_core as efl
from efl_core.pennylane import planning
from efl_core.pennylane.caches import Cache
from efl_core.pennylane.execution import known_cost
from efl_core.pennylane.execution import state as by_state

THETA = trainable(np.random.default_rng(3).uniform(-np.pi, np.pi, (2, 4, 2)))
SHOTS = 20_000


def model(theta):
    for layer in range(2):
        for w in range(4):
            qml.RY(theta[layer, w, 0], wires=w)
            qml.RZ(theta[layer, w, 1], wires=w)
        for w in range(3):
            qml.CNOT(wires=[w, w + 1])
    return qml.expval(qml.Z(0) @ qml.Z(1))


def report(device=None, **options):
    found = []
    device = qml.device("default.qubit", wires=4) if device is None else device
    kwargs = {"shots": SHOTS, "seed": 1, "report": found, **options}
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=kwargs)
    gradient = qml.grad(qnode)(THETA)
    exact = qml.grad(qml.QNode(model, qml.device("default.qubit", wires=4)))(THETA)
    assert np.sqrt(np.mean((gradient - exact) ** 2)) < 2 * found[0].observed
    return found[0]


def tapes(cost, **options):
    return report(device_options={"mode": "tapes", "cost": cost, **options})


def test_where_circuits_cost_there_are_fewer():
    free, dear = tapes(None), tapes(efl.Cost(circuit=0.15, shot=2e-5))
    assert dear.tapes < free.tapes / 3
    assert dear.tapes == dear.settings
    assert dear.predicted < 1.5 * free.predicted
    # Time for an equal error, which shots buy.
    cost = efl.Cost(circuit=0.15, shot=2e-5)
    times = [cost.of(r.tapes, r.shots) * r.predicted**2 for r in (dear, free)]
    assert times[0] < 0.5 * times[1]
    # Shots alone: as without a cost.
    assert tapes(efl.Cost()).tapes == free.tapes


def test_named_methods_are_thinned():
    free = report(method="mixture", device_options={"mode": "tapes"})
    dear = report(method="mixture", device_options={"mode": "tapes", "cost": efl.Cost(circuit=1, shot=1e-6)})
    assert dear.method == free.method == "mixture"
    assert dear.settings < free.settings


def test_equal_shots_cost_few_tapes():
    """A setting is one tape or two, where tapes cost; about four, where they do not."""
    free = tapes(None, equal_shots=True)
    assert free.tapes > 3 * free.settings
    dear = tapes(efl.Cost(circuit=0.15, shot=2e-5), equal_shots=True)
    assert dear.tapes <= 2 * dear.settings
    assert dear.shots % dear.tapes == 0


def test_a_target_is_met_with_few_circuits():
    found = report(shots=None, target=0.02, device_options={"mode": "tapes", "cost": efl.Cost(1.0, 1e-5)})
    free = report(shots=None, target=0.02, device_options={"mode": "tapes"})
    assert found.predicted == pytest.approx(0.02, rel=0.01)
    assert found.settings < free.settings


def test_kinds_of_devices_are_known():
    assert known_cost(qml.device("default.qubit"), None) is None
    assert known_cost(None, None) is None
    assert known_cost(Former(wires=2), None) is None

    class Aer(qml.devices.DefaultQubit):
        name = "qiskit.aer"

    assert known_cost(Aer(), None).circuit > 1000 * known_cost(Aer(), None).shot
    assert known_cost(Aer(), "state") is None


def test_a_plan_has_times():
    qnode = qml.QNode(model, qml.device("default.qubit", wires=4))
    cost = efl.Cost(circuit=0.2, shot=1e-6)
    plan = efl.plan(qnode, target=0.01, cost=cost)(THETA)
    assert plan.cost == cost
    least = min(plan.time(plan[name]) for name in plan.methods)
    assert plan.time(plan.best) <= 1.02 * least
    assert plan.best.settings < efl.plan(qnode, target=0.01)(THETA).best.settings
    assert plan.time(plan.best) == pytest.approx(0.2 * plan.best.settings + 1e-6 * plan.best.shots)
    text = str(plan)
    assert text.splitlines()[2].endswith("time")
    assert "time: 0.2 for every circuit and setting, 1e-06 for every shot." in text
    options = {"target": 0.01, "device_options": {"mode": "tapes", "cost": cost}}
    ran = report(shots=None, **options)
    assert (ran.method, ran.settings) == (plan.best.name, plan.best.settings)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (ValueError, "cost: circuit: expected a finite time that is not negative, got -1", {"circuit": -1}),
        (ValueError, "cost: shot: expected a finite time that is not negative, got nan", {"shot": np.nan}),
        (ValueError, "cost: expected a time above zero", {"shot": 0}),
        (TypeError, "cost: circuit: expected a real number", {"circuit": "dear"}),
    ],
)
def test_costs_are_checked(error, match, options):
    with pytest.raises(error, match=match):
        efl.Cost(**options)


def test_what_is_no_cost_is_refused():
    with pytest.raises(TypeError, match=r"cost: expected efl\.Cost\(circuit=\.\.\., shot=\.\.\.\)"):
        efl.plan(efl.Circuit(1), "Z", cost=3)
    with pytest.raises(TypeError, match=r"device_options: expected cost efl\.Cost"):
        report(device_options={"cost": 3})


@pytest.mark.parametrize("method", ["auto", "echo"])
def test_a_tracker_counts_the_shots_of_a_state(method):
    device = qml.device("default.qubit", wires=4)
    with qml.Tracker(device) as tracker:
        found = report(device=device, method=method)
    assert found.mode == "state"
    assert tracker.totals["shots"] == found.shots == SHOTS
    # One for the value, and what the gradient would be on a device that samples.
    assert tracker.totals["executions"] == 1 + found.settings
    fleet = qml.device("efl.fleet", device, shots=1_000)
    with qml.Tracker(device) as tracker:
        qml.grad(qml.QNode(model, fleet))(THETA)
    assert tracker.totals["shots"] == 1_000


def test_many_circuits_are_warned_of_and_counted(monkeypatch, caplog):
    """What takes long is said before, and how far it has come while it runs; the outcomes are the same."""
    theta = trainable(np.random.default_rng(1).uniform(-1, 1, (1, 3, 3)))
    found = []
    kwargs = {"shots": 1_000, "seed": 1, "method": "echo", "report": found}
    qnode = qml.QNode(
        layers, qml.device("default.qubit"), diff_method=efl.shadow_grad, gradient_kwargs=kwargs
    )
    first = qml.grad(qnode)(theta)
    monkeypatch.setattr(planning, "MANY", found[0].settings - 1)
    monkeypatch.setattr(planning, "_TOLD", Cache(8))
    monkeypatch.setattr(by_state, "PART", 1)
    with caplog.at_level(logging.INFO, logger="efl_core"):
        with pytest.warns(UserWarning, match=f"takes {found[0].settings} circuits and settings, each with a"):
            second = qml.grad(qnode)(theta)
        third = qml.grad(qnode)(theta)  # and is not said again
    assert np.array_equal(first, second)
    assert np.array_equal(first, third)
    assert any(f"1 of {found[0].settings} are done" in record.getMessage() for record in caplog.records)
    monkeypatch.undo()
    monkeypatch.setattr(planning, "PLANS", Cache(8))
    with caplog.at_level(logging.INFO, logger="efl_core"):
        other = qml.QNode(two_design, qml.device("default.qubit"), diff_method=efl.shadow_grad)
        qml.grad(other.update(gradient_kwargs={"shots": 1_000}))(trainable(np.linspace(0, 1, 7)))
    assert any("planning the gradient of" in record.getMessage() for record in caplog.records)
