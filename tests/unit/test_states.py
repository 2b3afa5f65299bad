"""Plans for a state, and memories: what they say, what is stored, and what they refuse."""

import copy
import itertools
import json
import pickle

import numpy as np
import pytest

import efl_core as efl
from efl_core import InputTypeError, InvalidInputError, ResourceLimitError, ShapeError


def ring(n_qubits, layers, width=np.pi):
    """RY RZ on all qubits and a ring of CNOTs, again and again."""
    rng = np.random.default_rng(3)
    circuit = efl.Circuit(n_qubits, parameters=rng.uniform(-width, width, 2 * n_qubits * layers))
    angles = (efl.Parameter(k) for k in itertools.count())
    for _ in range(layers):
        for q in range(n_qubits):
            circuit.ry(next(angles), q).rz(next(angles), q)
        for q in range(n_qubits):
            circuit.clifford("CNOT", q, (q + 1) % n_qubits)
    return circuit


@pytest.fixture(scope="module")
def plan():
    return efl.plan(ring(4, 2), {"ZIII": 0.5, "IZZI": 1.0})


@pytest.fixture(scope="module")
def prepared(plan):
    return plan.at_state("prepared")


def outcomes(plan, name, shots, seed=1):
    """Experiments of a method with their bits, by simulation."""
    runs = plan.allocate(shots, name, seed=seed)
    found = []
    for i, (experiment, number) in enumerate(runs):
        state = prepared_by(experiment)
        rng = np.random.default_rng((seed, i))
        drawn = rng.choice(len(state), number, p=state)
        found.append((experiment, (drawn[:, None] >> np.arange(experiment.n_qubits)[::-1]) & 1))
    return found


def prepared_by(experiment):
    """The probabilities of the outcomes of an experiment."""
    n = experiment.n_qubits
    circuit = efl.Circuit(n)
    for gate in experiment.gates():
        if gate[0] == "rotation":
            circuit.rotation(dict(gate[1]), gate[2])
        else:
            circuit.clifford(gate[1], *gate[2])
    for name, *wires in experiment.setting.gates:
        circuit.clifford(name, *wires)
    found = np.abs(efl.simulate(circuit)) ** 2
    return found / found.sum()


def test_figures_are_those_of_the_state(plan, prepared):
    assert prepared.state == "prepared"
    assert plan.state is None
    for name in prepared.methods:
        row = prepared[name]
        assert row.at_state
        assert not plan[name].at_state
        error = prepared.exact_error(1000, name)
        np.testing.assert_allclose(error, np.sqrt(row.variances / 1000), rtol=1e-6, atol=1e-9)
        np.testing.assert_allclose(prepared.predicted_error(1000, name), error, rtol=1e-6, atol=1e-9)
        assert row.gain is None
    costs = [prepared[name].cost for name in prepared.methods]
    assert prepared.best.cost <= 1.02 * min(costs)


def test_shares_and_readings_follow_the_state(plan, prepared):
    for name in ("product", "clifford", "mixture", "echo", "shift-pruned"):
        before = np.sum(plan.exact_error(1, name) ** 2)
        assert np.sum(prepared[name].variances) <= before * (1 + 1e-9)
    # Parameter-shift as a general tool does it has equal shots, whatever the state.
    shares = [share for _, share in prepared.experiments("shift")]
    assert np.ptp(shares) < 1e-12
    shares = np.array([share for _, share in prepared.experiments("shift-pruned")])
    spread = np.array([np.sqrt(e.exact()[1].sum()) for e, _ in prepared.experiments("shift-pruned")])
    wanted = spread > 0.05 * spread.max()
    np.testing.assert_allclose(shares[wanted] / shares.max(), spread[wanted] / spread.max(), rtol=0.05)


def test_predicted_is_observed(prepared):
    """Within 10 %: eight derivatives and more over 60 runs, five standard deviations of the mean square."""
    exact = efl.propagate(prepared.circuit, prepared.observables[0]).gradient
    for name in ("product", "clifford", "mixture", "shift-pruned"):
        shots = 40_000
        runs = [prepared.simulate(shots, name, seed=seed).gradient[0] - exact for seed in range(60)]
        observed = np.sqrt(np.mean(np.square(runs)) * shots)
        predicted = np.sqrt(np.mean(prepared[name].variances))
        assert abs(observed / predicted - 1) < 0.1, name


def test_a_state_in_all_its_forms():
    circuit = ring(3, 1, width=0.0)  # the identity
    plan = efl.plan(circuit, {"ZII": 1.0, "IZZ": 0.5})
    vector = np.eye(8)[0]
    bloch = np.tile([0.0, 0.0, 1.0], (3, 1))
    found = [plan.at_state(state) for state in ("prepared", "000", vector, vector.tolist(), bloch)]
    for other in found[1:]:
        for name in plan.methods:
            assert other[name].cost == pytest.approx(found[0][name].cost, rel=1e-9)
    turned = efl.plan(efl.Circuit(2, parameters=[0.0]).ry(efl.Parameter(0), 0), {"ZI": 1.0, "ZZ": 0.5})
    for state, bloch in (("+1", [[1, 0, 0], [0, 0, -1]]), ("RL", [[0, 1, 0], [0, -1, 0]])):
        kets = {"+": [1, 1], "1": [0, 1], "R": [1, 1j], "L": [1, -1j]}
        vector = np.kron(*(np.array(kets[a]) / np.linalg.norm(kets[a]) for a in state))
        costs = {round(turned.at_state(s)["product"].cost, 9) for s in (state, np.array(bloch), vector)}
        assert len(costs) == 1


def test_a_state_is_an_option_of_plans():
    circuit = ring(3, 1)
    by_option = efl.plan(circuit, "ZII", state="prepared")
    assert by_option.best.cost == efl.plan(circuit, "ZII").at_state("prepared").best.cost
    moved = by_option.at(circuit.parameters + 0.1)
    assert moved.state is None
    assert not moved.best.at_state
    again = by_option.at(circuit.parameters + 0.1, state="prepared")
    assert again.best.at_state
    held = by_option.at(circuit.parameters + 0.1, methods=["product"], redesign=False, state="prepared")
    assert held["product"].at_state
    assert by_option.retarget(0.1).state == "prepared"


def test_tables_say_what_they_are_for(plan, prepared):
    assert "at the state that is prepared" in str(prepared)
    assert "at the state" not in str(plan)
    memory = efl.Memory()
    memory.observe(outcomes(plan, "product", 2000))
    remembered = plan.at_state(memory)
    assert "as remembered" in str(remembered)
    assert "on average over all states: uniform" in str(remembered)
    assert remembered.best.name == "product"
    rows = {row["name"]: row for row in json.loads(json.dumps(prepared.to_dict()))["rows"]}
    assert rows["product"]["at_state"] is True


def test_bounds_do_not_hold_at_a_state():
    plan = efl.plan(ring(4, 2), "ZIII", max_terms=4)
    bounds = [row.name for row in plan if row.bound]
    assert bounds
    prepared = plan.at_state("prepared")
    for name in bounds:
        assert prepared[name].shots is None
        assert prepared[name].note == plan[name].note


@pytest.mark.parametrize("name", ["product", "echo", "mixture"])
def test_a_memory_says_what_was_measured(plan, name):
    memory = efl.Memory(forget=0)
    memory.observe(outcomes(plan, name, 200_000))
    found = plan.at_state(memory)
    assert found[name].at_state
    actual = np.sum(found.exact_error(1, name) ** 2)
    assert abs(np.sum(found[name].variances) / actual - 1) < 0.1
    assert actual <= np.sum(plan.exact_error(1, name) ** 2)


def test_a_memory_is_stored(plan):
    memory = efl.Memory(forget=0.25)
    memory.observe(outcomes(plan, "product", 500))
    memory.observe(outcomes(plan, "echo", 500))
    text = json.dumps(memory.to_dict())
    for other in (efl.Memory.from_dict(json.loads(text)), pickle.loads(pickle.dumps(memory)), memory.copy()):
        assert other == memory
        assert (other.steps, other.forget, len(other)) == (2, 0.25, len(memory))
        assert plan.at_state(other)["product"].cost == plan.at_state(memory)["product"].cost
    later = memory.copy()
    later.observe(outcomes(plan, "product", 500, seed=2))
    assert later != memory
    assert (later.steps, memory.steps) == (3, 2)
    assert copy.copy(memory) == memory


def test_a_memory_forgets(plan):
    memory = efl.Memory(forget=0.9)
    memory.observe(outcomes(plan, "echo", 200))
    assert len(memory) == plan["echo"].settings
    for step in range(4):
        runs = outcomes(plan, "product", 200, seed=step)
        memory.observe(runs)
    assert len(memory) == len(runs)
    assert not plan.at_state(memory)["echo"].at_state


BAD = {
    "a word that is no state": (lambda plan: plan.at_state("ground"), InvalidInputError, "state: expected"),
    "letters": (lambda plan: plan.at_state("00"), ShapeError, "state: expected 4 letters"),
    "length": (lambda plan: plan.at_state(np.ones(8)), ShapeError, "state: expected 2.4 amplitudes"),
    "norm": (lambda plan: plan.at_state(np.ones(16)), InvalidInputError, "state: expected a normalised"),
    "bloch": (lambda plan: plan.at_state(np.zeros((3, 3))), ShapeError, "state: expected Bloch vectors"),
    "mixed": (lambda plan: plan.at_state(np.zeros((4, 3))), InvalidInputError, r"state\[0\]: expected pure"),
    "nothing": (lambda plan: plan.at_state(None), InputTypeError, "state: expected"),
    "ragged": (lambda plan: plan.at_state([[1], [1, 2]]), ShapeError, "state: expected"),
    "forget": (lambda _: efl.Memory(forget=1), InvalidInputError, "forget: expected"),
    "forget not a number": (lambda _: efl.Memory(forget="a"), InputTypeError, "forget: expected"),
    "runs": (lambda _: efl.Memory().observe([1]), InputTypeError, r"runs\[0\]: expected"),
    "bits": (
        lambda plan: efl.Memory().observe([(plan.experiments("echo")[0][0], [[0, 1]])]),
        ShapeError,
        r"runs\[0\]: expected shape \(shots, 4\)",
    ),
    "no dict": (lambda _: efl.Memory.from_dict([]), InputTypeError, "data: expected"),
    "a field": (lambda _: efl.Memory.from_dict({"keep": 0.9}), InvalidInputError, "data: expected"),
}


@pytest.mark.parametrize("case", BAD)
def test_refused(plan, case):
    call, error, message = BAD[case]
    with pytest.raises(error, match=message):
        call(plan)


def test_a_wide_product_state_is_refused():
    circuit = efl.Circuit(30, parameters=[0.1]).ry(efl.Parameter(0), 0)
    with pytest.raises(ResourceLimitError, match="state: expected at most 24 qubits"):
        efl.plan(circuit, "Z" + "I" * 29).at_state("0" * 30)


def test_a_state_that_is_not_a_product_needs_a_vector():
    circuit = efl.Circuit(1, parameters=[0.1]).ry(efl.Parameter(0), 0).prepare(None)
    plan = efl.plan(circuit, "Z")
    with pytest.raises(InvalidInputError, match="state: expected a state vector"):
        plan.at_state("prepared")
    assert plan.at_state([0.6, 0.8]).best.at_state


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("key", "ab", r"settings\[0\]"),
        ("key", "00" * 24, r"settings\[0\].key"),
        ("outcomes", ["zz"], r"settings\[0\].outcomes\[0\]"),
        ("outcomes", ["00" * 16], r"settings\[0\].outcomes"),
        ("outcomes", [], r"seen\[0\].rows"),
        ("weights", [-1.0], r"seen\[0\].weights"),
        ("weights", "a", r"settings\[0\].weights"),
        ("halves", [7.0], r"seen\[0\].halves"),
        ("halves", [], r"seen\[0\].halves"),
        ("n_qubits", 0, r"settings\[0\].n_qubits"),
        ("step", 9, r"seen\[0\].step"),
        ("squares", float("nan"), r"seen\[0\].weights"),
    ],
)
def test_a_stored_memory_is_checked(field, value, message):
    circuit = efl.Circuit(1, parameters=[0.1]).ry(efl.Parameter(0), 0)
    [(experiment, _)] = efl.plan(circuit, "Z").experiments("product")
    memory = efl.Memory()
    memory.observe([(experiment, [[0], [0], [0]])])
    data = memory.to_dict()
    data["settings"][0][field] = value
    with pytest.raises(efl.EflError, match=message):
        efl.Memory.from_dict(data)
