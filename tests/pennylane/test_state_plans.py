"""Plans of QNodes for a state: derivatives by arguments, shared ones included."""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp

import efl_core as efl

DEVICE = qml.device("default.qubit", wires=4)


@qml.qnode(DEVICE)
def shared(angles):
    """Two arguments in eight gates, and one in a gate of its own."""
    for q in range(4):
        qml.Hadamard(q)
    for q in range(4):
        qml.IsingZZ(angles[0], [q, (q + 1) % 4])
    for q in range(4):
        qml.RX(0.5 * angles[1], q)
    qml.RY(angles[2], 0)
    return qml.expval(qml.sum(*(qml.Z(q) @ qml.Z((q + 1) % 4) for q in range(4))))


@qml.qnode(DEVICE)
def scaled(angles):
    """An argument for each gate, times a number."""
    for q in range(4):
        qml.RY(2 * angles[q], q)
    qml.CNOT([0, 1])
    qml.CZ([1, 2])
    return qml.expval(qml.Z(1) @ qml.X(2))


@pytest.mark.parametrize("qnode", [shared, scaled])
def test_figures_are_those_of_the_arguments(qnode):
    theta = pnp.array([0.4, 0.7, -0.3, 0.2][: 3 if qnode is shared else 4])
    average, plan = efl.plan(qnode)(theta), efl.plan(qnode, state="prepared")(theta)
    assert plan.n_derivatives == len(theta)
    lists = [row.name for row in plan if row.applies and row.settings]
    for name in lists:
        assert plan[name].at_state
        error = plan.exact_error(1, name) ** 2
        np.testing.assert_allclose(plan[name].variances, error, rtol=1e-6, atol=1e-9)
        assert error.sum() <= np.sum(average.exact_error(1, name) ** 2) * (1 + 1e-9)
    figures = [plan[name].cost for name in plan.methods if plan[name].at_state]
    assert plan.best.at_state
    assert plan.best.cost <= 1.02 * min(figures)
    assert "gradient_kwargs" not in str(plan)


def test_gradients_at_a_state_have_no_bias():
    """Five standard errors of the mean of 100 runs, three derivatives: a false alarm in 5e5 seeds."""
    theta = pnp.array([0.4, 0.7, -0.3])
    plan = efl.plan(shared, state="prepared")(theta)
    exact = qml.grad(qml.QNode(shared.func, DEVICE))(theta)
    for name in ("clifford", "mixture", "shift-pruned"):
        runs = np.array([plan.simulate(4000, name, seed=seed).gradient[0] for seed in range(100)])
        assert np.all(np.abs(runs.mean(0) - exact) < 5 * runs.std(0, ddof=1) / 10)
        predicted = np.sqrt(plan[name].variances[0] / 4000)
        # 100 runs know a standard deviation to 7 %: four of these.
        np.testing.assert_allclose(runs.std(0, ddof=1), predicted, rtol=0.28)


@pytest.mark.parametrize("qnode", [shared, scaled])
def test_a_memory_tells_the_figures_of_the_arguments(qnode):
    """Of 200,000 shots, after which variances are known to a few parts in a hundred."""
    theta = pnp.array([0.4, 0.7, -0.3, 0.2][: 3 if qnode is shared else 4])
    plan, memory = efl.plan(qnode)(theta), efl.Memory()
    simulate = efl.training.sources.simulated
    for name in ("product", "clifford", "mixture"):
        found = plan.allocate(200_000, name, seed=1)
        requests = [efl.training.Request(plan.circuit, e.setting, shots, e) for e, shots in found]
        memory.observe(list(zip([e for e, _ in found], simulate(requests, 2), strict=True)))
    seen, known = plan.at_state(memory), plan.at_state("prepared")
    for name in ("product", "clifford", "mixture"):
        assert seen[name].at_state
        error = seen.exact_error(1, name) ** 2
        assert error.sum() == pytest.approx(known[name].variances.sum(), rel=0.1, abs=1e-6)
        np.testing.assert_allclose(seen[name].variances.sum(), error.sum(), rtol=0.1)
