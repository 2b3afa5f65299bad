"""The trainer of a circuit: it reaches minima, stays within its budget, and goes on where it stopped.

Seeds are fixed. Bounds that chance could break are said with the rate at which it would.
"""

import json

import numpy as np
import pytest

import efl_core as efl
from efl_core.training import Adam, Descent, sources
from efl_core.training.pace import Progress
from efl_core.training.sources import simulated

ISING = {"ZZII": -1.0, "IZZI": -1.0, "IIZZ": -1.0, "XIII": -0.5, "IXII": -0.5, "IIXI": -0.5, "IIIX": -0.5}
METHODS = ["auto", "product", "echo", "shift-pruned", "directions"]


def circuit(n_qubits=4, layers=2, seed=0):
    count = 2 * n_qubits * layers
    found = efl.Circuit(n_qubits, parameters=np.random.default_rng(seed).uniform(-1, 1, count))
    numbers = iter(range(count))
    for _ in range(layers):
        for gate in (found.ry, found.rz):
            for q in range(n_qubits):
                gate(efl.Parameter(next(numbers)), q)
        for q in range(n_qubits - 1):
            found.clifford("CZ", q, q + 1)
    return found


def small():
    """Two qubits, of which the loss is -1.5 at pi and pi."""
    found = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    return found.clifford("CZ", 0, 1), {"ZI": 1.0, "IZ": 0.5}


def ring(layers):
    """QAOA on a ring of six qubits, and its loss."""
    found, bonds = efl.Circuit(6, parameters=np.tile([0.2, 0.3], layers)), {}
    for q in range(6):
        bonds["".join("Z" if k in (q, (q + 1) % 6) else "I" for k in range(6))] = 1.0
        found.clifford("H", q)
    mixer = {"I" * q + "X" + "I" * (5 - q): 1.0 for q in range(6)}
    for layer in range(layers):
        found.evolution(bonds, efl.Parameter(2 * layer)).evolution(mixer, efl.Parameter(2 * layer + 1))
    return found, bonds


def trainer(**options):
    return efl.Trainer(circuit(), ISING, **{"seed": 1, **options})


def exact(found, parameters, loss=ISING):
    return efl.propagate(found.at(parameters), loss).value


def lowest(loss):
    words = {"I": np.eye(2), "X": np.array([[0, 1], [1, 0]]), "Z": np.diag([1, -1])}
    total = 0
    for label, coefficient in loss.items():
        part = np.eye(1)
        for letter in label:
            part = np.kron(part, words[letter])
        total = total + coefficient * part
    return np.linalg.eigvalsh(total)[0]


@pytest.mark.parametrize("method", [*METHODS, "mixture", "clifford", "surface"])
def test_a_small_problem_reaches_its_minimum(method):
    model, loss = small()
    found = efl.Trainer(model, loss, method=method, seed=2, budget=efl.Budget(shots=5_000))
    found.run()
    assert exact(model, found.parameters, loss) < -1.5 + 0.05
    assert method in ("auto", found.method)


@pytest.mark.parametrize("optimizer", ["adam", "descent"])
def test_an_ising_chain_comes_near_its_ground_state(optimizer):
    found = trainer(optimizer=optimizer, budget=efl.Budget(shots=60_000))
    begin, end = exact(circuit(), circuit().parameters), lowest(ISING)
    found.run()
    assert found.stopped == "shots"
    reached = exact(circuit(), found.parameters)
    assert (begin - reached) / (begin - end) > 0.95


@pytest.mark.parametrize("method", ["product", "echo", "shift-pruned"])
@pytest.mark.parametrize("settings", [1, 3])
def test_gradients_have_no_bias(method, settings):
    """Of 400 steps that do not move: 16 derivatives within 4.5 standard errors of their mean.

    Six cases of 16 exceed that by chance once in 1,500, were steps independent; they are balanced, which
    makes means better than that.
    """
    model, seen = circuit(), []
    plan = efl.plan(model, ISING)

    def stay(parameters, gradient):
        seen.append(gradient)
        return parameters

    found = efl.Trainer(
        model, ISING, optimizer=stay, method=method, shots=12, settings_per_step=settings, seed=5
    )
    found.run(steps=400)
    wanted = np.asarray(efl.propagate(model, ISING).gradient).ravel()
    error = plan.exact_error(12, method, settings=settings).ravel() / np.sqrt(400)
    assert np.all(np.abs(np.mean(seen, axis=0) - wanted) <= 4.5 * error + 1e-12)
    # The errors that steps report are right on average, and too long rather than too short.
    reported = found.history.column("error")
    squares = ((np.array(seen) - wanted) ** 2).sum(axis=1)
    assert squares.mean() < 1.15 * np.mean(reported**2)


def test_shots_and_settings_of_a_step_can_be_fixed():
    found = trainer(shots=30, settings_per_step=5, method="product")
    for step in found.run(steps=10):
        assert step.shots == 30
        assert step.circuits <= 5


def test_shots_grow_as_the_gradient_falls():
    model, loss = small()
    found = efl.Trainer(model, loss, seed=3, noise=1.0, method="product")
    shots = found.run(steps=80).column("shots")
    assert shots[:5].mean() < 20 < 5 * 20 < shots[-20:].mean()


def test_circuits_that_cost_are_few():
    free, dear = (trainer(cost=efl.Cost(circuit=c), shots=300, method="product") for c in (0, 1_000))
    assert dear.run(steps=5)[-1].total_circuits * 3 < free.run(steps=5)[-1].total_circuits


# ---- where a run ends -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "most", "column"),
    [
        ("shots", 2_000, "total_shots"),
        ("circuits", 100, "total_circuits"),
        ("cost", 30_000.0, "cost"),
        ("steps", 7, "number"),
    ],
)
def test_a_run_ends_where_its_budget_does(name, most, column):
    found = trainer(budget=efl.Budget(**{name: most}), cost=efl.Cost(circuit=100))
    history = found.run()
    assert found.stopped == name
    spent = history.column(column) + (name == "steps")
    assert spent[-2] < most <= spent[-1]
    if name == "shots":
        assert spent[-1] == most
    assert len(found.run()) == len(history)  # it is over
    assert not list(found)


def test_steps_of_a_call_are_no_bound_of_the_run():
    found = trainer()
    assert len(found.run(steps=3)) == 3
    assert found.stopped is None
    assert len(found.run(steps=2)) == 5


@pytest.mark.parametrize("method", ["product", "directions", "surface"])
def test_a_run_ends_at_its_goal(method):
    model, loss = small()
    found = efl.Trainer(model, loss, goal=-1.3, method=method, seed=4, budget=efl.Budget(steps=1500))
    history = found.run()
    assert found.stopped == "goal"
    value, error = found.value
    assert value + 2 * error <= -1.3
    assert (history[-1].value, history[-1].value_error) == (value, error)
    # Five standard errors: by chance not once in 10^5 runs. Running means lag behind, and the loss is lower.
    assert exact(model, found.parameters, loss) < -1.3 + 5 * error


def test_a_run_ends_where_no_gradient_is_left_to_see():
    model, loss = small()
    found = efl.Trainer(model, loss, seed=4, budget=efl.Budget(steps=1_000))
    history = found.run()
    assert found.stopped == "converged"
    assert exact(model, found.parameters, loss) < -1.5 + 0.01
    # What is left is below a thirtieth of the largest gradient, which was above a half.
    assert history.column("gradient")[-10:].max() < 0.2
    assert len(found.run()) == len(history)
    again = efl.Trainer(model, loss, seed=4, budget=efl.Budget(steps=1_000)).restore(found.to_dict())
    assert again.stopped == "converged"


def test_a_run_that_never_saw_a_gradient_has_not_converged():
    """Nothing but noise, 10 runs of 200 steps: false alarms are below one in 1,000 for a step or so.

    One run that takes noise for a gradient, and then sees that there is none, ends.
    """
    ended = 0
    for seed in range(10):
        progress, random = Progress(), np.random.default_rng(seed)
        ended += any(progress.add(random.normal(size=8).tolist(), 8.0, 4) for _ in range(200))
    assert ended <= 1


def test_a_lucky_start_is_no_goal():
    """The first values are from one draw each: of 40 runs none ends far from where it should."""
    for seed in range(40):
        found = trainer(goal=-3.0, seed=seed, method="product", budget=efl.Budget(steps=12))
        found.run()
        assert found.stopped == "steps" or exact(circuit(), found.parameters) < -2.0


def test_the_loss_is_not_measured_where_nobody_asks():
    found = trainer(method="product")
    history = found.run(steps=2)
    assert found.value is None
    assert history[0].value is None
    assert np.isnan(history.column("value")).all()


def test_what_is_at_a_minimum_already_takes_no_shots():
    """Nothing moves the loss: the parameter turns a qubit that the loss does not look at."""
    model = efl.Circuit(2, parameters=[0.4]).ry(efl.Parameter(0), 1)
    found = efl.Trainer(model, "ZI", method="shift", budget=efl.Budget(steps=3))
    assert found.run()[-1].total_shots == 0
    assert found.parameters == [0.4]


# ---- going on -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("optimizer", ["adam", "descent"])
def test_a_run_that_is_taken_up_again_goes_on_to_the_same_bits(method, optimizer, monkeypatch):
    monkeypatch.setattr(sources, "AGE", 7)  # so that designs are made on both sides
    options = {"method": method, "optimizer": optimizer, "goal": -100.0}
    whole, first = trainer(**options), trainer(**options)
    whole.run(steps=30)
    first.run(steps=12)
    state = json.loads(json.dumps(first.to_dict()))
    second = trainer(**options).restore(state)
    assert np.array_equal(second.parameters, first.parameters)
    second.run(steps=18)
    assert np.array_equal(second.parameters, whole.parameters)
    assert second.history.to_dict() == whole.history.to_dict()
    assert second.value == whole.value


def test_a_run_that_is_over_stays_over():
    options = {"budget": efl.Budget(steps=2)}
    first = trainer(**options)
    first.run()
    second = trainer(**options).restore(first.to_dict())
    assert second.stopped == "steps"
    assert len(second.run()) == 2


def test_a_run_is_a_function_of_its_seed():
    once, again, other = trainer(), trainer(), trainer(seed=2)
    for found in (once, again, other):
        found.run(steps=5)
    assert np.array_equal(once.parameters, again.parameters)
    assert not np.array_equal(once.parameters, other.parameters)


@pytest.mark.parametrize("cost", [efl.Cost(), efl.Cost(circuit=1_000)], ids=["noisy", "exact"])
def test_a_surface_that_is_taken_up_again_goes_on_to_the_same_bits(cost):
    model, loss = small()
    options = {"method": "surface", "seed": 1, "cost": cost, "goal": -100.0}
    whole, first = efl.Trainer(model, loss, **options), efl.Trainer(model, loss, **options)
    whole.run(steps=16)
    first.run(steps=8)  # between the two sides of a pair
    second = efl.Trainer(model, loss, **options).restore(json.loads(json.dumps(first.to_dict())))
    second.run(steps=8)
    assert np.array_equal(second.parameters, whole.parameters)
    assert second.history.to_dict() == whole.history.to_dict()
    assert second.value == whole.value


def test_few_parameters_of_many_gates_are_a_surface():
    """What circuits cost decides how many shots a value has; an optimizer that is asked for is used."""
    model, loss = ring(2)
    cheap, dear = (efl.Trainer(model, loss, seed=1, cost=efl.Cost(circuit=c)) for c in (0, 1_000))
    assert cheap.method == dear.method == "surface"
    assert efl.Trainer(model, loss, seed=1, lr=0.05).method == "directions"
    assert efl.Trainer(*ring(3), seed=1).method == "directions"
    assert exact(model, model.parameters, loss) > 2
    assert exact(model, cheap.run(steps=200) and cheap.parameters, loss) < -2.5
    assert exact(model, dear.run(steps=40) and dear.parameters, loss) < -2.5
    assert dear.history[0].shots > 50 * cheap.history[0].shots


# ---- what the user brings -------------------------------------------------------------------------


def test_a_function_is_an_optimizer():
    ours, named = (trainer(optimizer=o) for o in (lambda p, g: p - 0.1 * g, "descent"))
    for found in (ours, named):
        found.run(steps=5)
    assert np.array_equal(ours.parameters, named.parameters)


def test_an_object_is_an_optimizer():
    ours, named = trainer(optimizer=Adam(lr=0.05)), trainer(optimizer="adam", lr=0.05)
    for found in (ours, named):
        found.run(steps=5)
    assert np.array_equal(ours.parameters, named.parameters)
    assert Descent(0.5).to_dict() == {"lr": 0.5}


@pytest.mark.parametrize(
    ("update", "error", "message"),
    [
        (lambda p, g: p[:-1], efl.ShapeError, r"optimizer: expected \(16,\) from update, got \(15,\)"),
        (lambda p, g: p * np.nan, efl.InvalidInputError, "optimizer: expected finite parameters from update"),
    ],
)
def test_what_an_optimizer_returns_is_checked(update, error, message):
    with pytest.raises(error, match=message):
        trainer(optimizer=update).run(steps=1)


def test_a_device_of_the_users_runs_everything():
    """Its requests say what is run; and a device that simulates gives what the simulator does."""
    seen = []

    def execute(requests, seed):
        seen.append([(r.circuit.n_qubits, r.setting.n_qubits, r.shots) for r in requests])
        return simulated(requests, seed)

    ours, own = trainer(execute=execute, goal=-100.0), trainer(goal=-100.0)
    for found in (ours, own):
        found.run(steps=4)
    assert np.array_equal(ours.parameters, own.parameters)
    requests = [request for batch in seen for request in batch]
    assert sum(shots for *_, shots in requests) == ours.history[-1].total_shots
    assert len(requests) == ours.history[-1].total_circuits
    assert {n for *ns, _ in requests for n in ns} == {4}


def test_a_plan_is_trained_as_it_is():
    plan = efl.plan(circuit(), ISING)
    given, made = efl.Trainer(plan, seed=1), trainer()
    for found in (given, made):
        found.run(steps=4)
    assert np.array_equal(given.parameters, made.parameters)


def test_a_callback_sees_every_step():
    seen = []
    history = trainer().run(steps=4, callback=seen.append)
    assert seen == list(history)
    assert [step.number for step in trainer(budget=efl.Budget(steps=3))] == [0, 1, 2]


# ---- history --------------------------------------------------------------------------------------


def test_history_adds_up():
    found = trainer(goal=-100.0, cost=efl.Cost(circuit=10.0, shot=2.0))
    history = found.run(steps=6)
    for one in ("shots", "circuits"):
        assert np.array_equal(np.cumsum(history.column(one)), history.column(f"total_{one}"))
    spent = 10 * history.column("total_circuits") + 2 * history.column("total_shots")
    assert np.array_equal(history.column("cost"), spent)
    assert np.array_equal(history.column("number"), np.arange(6))
    # The loss is measured as soon as a fifth of the shots is enough for it, and known from then on.
    known = np.isfinite(history.column("value_error"))
    assert known[-1]
    assert np.all(known[np.argmax(known) :])
    assert len(history[1:3]) == 2
    assert json.loads(json.dumps(history.to_dict()))[5]["shots"] == history[5].shots
    assert str(history[5]) in repr(history)
    assert "16 parameters" in repr(found)
    assert repr(efl.History()) == "History(0 steps)"


@pytest.mark.parametrize("goal", [None, -100.0])
def test_history_is_plotted(goal):
    plt = pytest.importorskip("matplotlib.pyplot", reason="History.plot needs matplotlib")
    plt.switch_backend("Agg")
    history = trainer(goal=goal).run(steps=8)
    axes = history.plot()
    [gradient, error] = axes.get_lines()
    assert np.array_equal(gradient.get_ydata(), history.column("gradient"))
    assert np.array_equal(error.get_xdata(), history.column("total_shots"))
    assert len(axes.figure.axes) == (1 if goal is None else 2)  # the loss has an axis of its own
    plt.close(axes.figure)
    _, own = plt.subplots()
    assert history.plot(own) is own
    plt.close(own.figure)
    with pytest.raises(efl.InputTypeError, match="ax: expected matplotlib Axes, got int"):
        history.plot(3)


# ---- what is refused ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"lr": 0}, "lr: expected a number above zero"),
        ({"lr": 0.1, "optimizer": Adam()}, "lr: expected none beside an optimizer that has its own"),
        ({"optimizer": "sgd"}, "optimizer: expected 'adam', 'descent'"),
        ({"optimizer": 3}, "optimizer: expected 'adam', 'descent'"),
        ({"shots": 1}, "shots: expected"),
        ({"settings_per_step": 0}, "settings_per_step: expected"),
        ({"noise": 0}, "noise: expected a number above zero"),
        ({"noise": float("nan")}, "noise: expected"),
        ({"method": "best"}, "method: expected 'auto', 'directions', 'surface' or one of"),
        ({"method": 3}, "method: expected the name of a method, or a source with measure"),
        ({"method": "uniform"}, "method: expected one with a list of settings"),
        ({"method": "surface"}, "method: expected at most 8 parameters for 'surface', got 16"),
        ({"goal": "low"}, "goal: expected"),
        ({"seed": -1}, "seed: expected"),
        ({"loss": "ZZ"}, "loss: expected"),
        ({"loss": None}, "loss: expected an observable, as the circuit has not one of its own"),
    ],
    ids=str,
)
def test_arguments_are_checked_by_name(options, message):
    loss = options.pop("loss", ISING)
    with pytest.raises(efl.EflError, match=message):
        efl.Trainer(circuit(), loss, **options)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: efl.Trainer(efl.Circuit(1), "Z"), "circuit: expected one with parameters"),
        (lambda: efl.Trainer("model", "Z"), "circuit: expected a Circuit, a Plan or a PennyLane QNode"),
        (lambda: efl.Trainer(efl.plan(circuit(), ISING), "ZZZZ"), "loss: expected none beside a plan"),
        (lambda: trainer().run(), "steps: expected a number, where there is no budget"),
        (lambda: trainer().run(steps=0), "steps: expected"),
        (lambda: efl.Budget(shots=0), "shots: expected"),
        (lambda: efl.Budget(cost=0), "cost: expected a number above zero"),
        (lambda: efl.Cost(circuit=-1), "cost: circuit: expected a finite time"),
        (lambda: efl.Cost(shot=float("inf")), "cost: shot: expected"),
        (lambda: efl.Cost(0, 0), "cost: expected a time above zero"),
        (lambda: trainer().restore({"parameters": [1.0]}), "state: expected what to_dict returned"),
        (lambda: trainer().restore(other_state()), "state: expected 16 parameters"),
    ],
)
def test_other_input_is_checked_by_name(make, message):
    with pytest.raises(efl.EflError, match=message):
        make()


def other_state():
    model, loss = small()
    return efl.Trainer(model, loss).to_dict()
