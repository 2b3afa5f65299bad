"""Plans: what they say, what they give to run, and what they refuse."""

import copy
import dataclasses
import itertools
import json
import pickle
import subprocess
import sys
import textwrap

import matplotlib
import numpy as np
import pytest

import efl_core as efl
from efl_core import InputTypeError, InvalidInputError, ShapeError
from efl_core._native import METHODS
from efl_core.cli import main
from efl_core.plans import PlanKeywords, PlanOptions

matplotlib.use("Agg")


def ring(n_qubits, layers, seed):
    """RZ RY RZ on all qubits and a ring of CNOTs, again and again."""
    rng = np.random.default_rng(seed)
    circuit = efl.Circuit(n_qubits, parameters=rng.uniform(-np.pi, np.pi, 3 * n_qubits * layers))
    angles = (efl.Parameter(k) for k in itertools.count())
    for _ in range(layers):
        for q in range(n_qubits):
            circuit.rz(next(angles), q).ry(next(angles), q).rz(next(angles), q)
        for q in range(n_qubits):
            circuit.clifford("CNOT", q, (q + 1) % n_qubits)
    return circuit


@pytest.fixture(scope="module")
def plan():
    return efl.plan(ring(4, 2, seed=0), "IZII")


@pytest.fixture(scope="module")
def exact():
    return efl.propagate(ring(4, 2, seed=0), "IZII").gradient


def test_a_plan_has_a_row_for_every_method(plan):
    assert [row.name for row in plan] == list(METHODS)
    assert len(plan) == len(METHODS)
    assert plan.methods == [name for name in METHODS if name != "commuting"]
    assert "echo" in plan
    assert "spsa" not in plan
    assert plan["echo"].name == "echo"
    assert plan["commuting"].shots is None
    assert not plan["commuting"].applies
    assert "commute" in plan["commuting"].note
    assert plan.best.shots <= 1.02 * min(plan[name].shots for name in plan.methods)


def test_shots_are_the_cost_over_the_square_of_the_target(plan):
    for row in plan:
        if row.applies:
            assert row.shots == int(np.ceil(row.cost / plan.target**2 * (1 - 1e-12)))
            assert row.worst_shots >= row.shots
            assert row.variances.shape == (1, 24)
            live = row.variances[row.variances > 0]
            assert np.isclose(live.mean(), row.cost)
            assert np.isclose(live.max(), row.cost * row.worst_shots / row.shots, rtol=1e-3)
    assert plan.target == 0.01
    wider = plan.retarget(0.1)
    assert wider.target == 0.1
    assert wider["echo"].shots == int(np.ceil(plan["echo"].cost * 100))
    assert efl.plan(plan.circuit, "IZII", target=0.1)["uniform"].shots == wider["uniform"].shots


def test_rows_describe_what_is_run(plan):
    assert plan["uniform"].settings is None
    assert plan["uniform"].served
    assert plan["uniform"].circuits == 1
    assert plan["uniform"].extra_two_qubit_gates == 0
    assert plan["clifford"].served
    assert plan["clifford"].settings == len(plan.experiments("clifford"))
    assert plan["clifford"].extra_two_qubit_gates == max(
        experiment.setting.two_qubit_gates for experiment, _ in plan.experiments("clifford")
    )
    assert not plan["echo"].served
    assert plan["echo"].circuits == len(plan.experiments("echo"))
    assert plan["product"].extra_depth > 0
    assert plan["product"].extra_gates > 0


@pytest.mark.parametrize("name", [name for name in METHODS if name != "commuting"])
def test_simulated_errors_are_the_predicted_ones(plan, exact, name):
    shots = 20_000
    predicted, known = plan.predicted_error(shots, name), plan.exact_error(shots, name)
    assert predicted.shape == known.shape == (1, 24)
    live = predicted > 0
    # The state is one of many: single derivatives differ from the mean over states, their sum not by much.
    assert 0.5 < (known[live] ** 2).sum() / (predicted[live] ** 2).sum() < 1.7
    runs = [plan.simulate(shots, name, seed=seed) for seed in range(40)]
    scores = np.array([(run.gradient - exact)[live] / known[live] for run in runs])
    # At most 40 * 24 nearly independent squares: five sigma of their mean.
    assert abs((scores**2).mean() - 1) < 5 * np.sqrt(2 / scores.size) * 2
    assert abs(scores.mean(axis=0)).max() < 5 / np.sqrt(len(runs))
    stderr = np.array([run.stderr[live] for run in runs]).mean(axis=0)
    assert np.allclose(stderr, known[live], rtol=0.15)
    assert runs[0].shots == shots
    assert "24 parameters" in repr(runs[0])


def test_experiments_add_up_to_the_gradient(plan, exact):
    for name in ["clifford", "echo", "mixture", "shift", "shift-pruned", "product"]:
        experiments = plan.experiments(name)
        assert np.isclose(sum(share for _, share in experiments), 1.0)
        total = np.zeros(24)
        for experiment, _ in experiments:
            mean, variance = experiment.exact()
            assert (variance >= 0).all()
            for (observable, parameter), value in zip(experiment.derivatives, mean, strict=True):
                assert observable == 0
                total[parameter] += value
        assert np.allclose(total, exact, atol=1e-10), name


def test_an_experiment_says_what_to_run():
    circuit = efl.Circuit(2, parameters=[0.3, 0.8]).ry(efl.Parameter(0), 0).clifford("CNOT", 0, 1)
    circuit.rx(efl.Parameter(1), 1)
    plan = efl.plan(circuit, ["IZ", "ZZ"])
    [(experiment, _), *_] = plan.experiments("shift")
    assert experiment.n_qubits == 2
    assert experiment.gates()[1] == ("clifford", "CNOT", [0, 1])
    assert {gate[0] for gate in experiment.gates()} == {"rotation", "clifford"}
    assert isinstance(experiment.setting, efl.Setting)
    assert experiment.derivatives == sorted(experiment.derivatives)
    sums = [experiment.reading(i) for i in range(len(experiment.derivatives))]
    assert all(isinstance(found, efl.PauliSum) for found in sums)
    assert experiment.n_gates >= 3
    assert experiment.two_qubit_gates >= 1
    assert experiment.depth >= 3
    assert "derivatives" in repr(experiment)
    mean, variance = experiment.read(np.zeros((5, 2), dtype=bool))
    assert mean.shape == variance.shape == (len(sums),)
    with pytest.raises(InvalidInputError, match="index"):
        experiment.reading(len(sums))
    with pytest.raises(ShapeError, match=r"bits: expected shape \(shots, 2\)"):
        experiment.read([[0, 1, 0]])
    with pytest.raises(InvalidInputError, match=r"bits\[0, 1\]"):
        experiment.read([[0, 2]])
    with pytest.raises(InputTypeError, match="bits"):
        experiment.read([[0.5, 1.0]])


def test_shots_are_allocated_to_every_circuit(plan):
    for name in ["clifford", "echo", "mixture", "shift"]:
        found = plan.allocate(10_000, name, seed=3)
        assert sum(shots for _, shots in found) == 10_000
        assert min(shots for _, shots in found) >= 1
        assert len(found) == len(plan.experiments(name))
    with pytest.raises(InvalidInputError, match="shots: expected at least"):
        plan.allocate(3, "shift")


def test_reading_the_bits_of_a_device_gives_the_gradient(plan, exact):
    """The loop that a user writes: run each circuit, read its bits, add up."""
    total, variance = np.zeros(24), np.zeros(24)
    rng = np.random.default_rng(5)
    for experiment, shots in plan.allocate(40_000, "echo", seed=1):
        state = prepared(experiment)
        outcomes = rng.choice(16, size=shots, p=abs(state) ** 2)
        bits = (outcomes[:, np.newaxis] >> np.arange(4)[::-1]) & 1
        for (_, parameter), mean, spread in zip(experiment.derivatives, *experiment.read(bits), strict=True):
            total[parameter] += mean
            variance[parameter] += spread / shots
    assert (abs(total - exact) < 5 * np.sqrt(variance) + 1e-12).all()  # 24 at five sigma: 1e-5


def prepared(experiment):
    """The state before the readout, gate by gate."""
    circuit = efl.Circuit(experiment.n_qubits)
    for kind, what, where in experiment.gates():
        if kind == "rotation":
            circuit.rotation(dict(what), where)
        elif kind == "clifford":
            circuit.clifford(what, *where)
        else:
            circuit.unitary(what, *where)
    for name, *wires in experiment.setting.gates:
        circuit.clifford(name, *wires)
    return efl.simulate(circuit)


def test_an_ensemble_is_what_a_served_method_measures(plan, exact):
    for name in plan.methods:
        if not plan[name].served:
            with pytest.raises(InvalidInputError, match="all of the final state"):
                plan.ensemble(name)
            continue
        ensemble = plan.ensemble(name)
        obs = efl.gradient_observables(plan.circuit, "IZII")
        live = plan[name].variances[0] > 0  # the first rotations do nothing to the input, which is |0000>
        assert np.allclose(ensemble.predicted_variance(obs)[live], plan[name].variances[0][live], rtol=1e-6)
    with pytest.raises(InvalidInputError, match="draws a setting for every shot"):
        plan.experiments("uniform")


def test_a_plan_at_other_angles_keeps_the_design(plan):
    later = plan.at(plan.circuit.parameters + 0.4)
    assert np.array_equal(later.circuit.parameters, plan.circuit.parameters + 0.4)
    assert plan.best.gain is None
    assert plan.gain() is None
    assert not plan.redesign_pays
    assert later.gain("shift") == 1.0
    assert later.gain("clifford") == later["clifford"].gain > 1.0
    assert later.gain("commuting") is None
    fresh = efl.plan(later.circuit, "IZII")
    for name in plan.methods:
        assert later[name].cost < 1.1 * fresh[name].cost
    exact = efl.propagate(later.circuit, "IZII").gradient
    found = later.simulate(30_000, "clifford", seed=2)
    assert (abs(found.gradient - exact) < 5 * found.stderr + 1e-12).all()
    # Back where it was, it costs what it did.
    assert np.isclose(later.at(plan.circuit.parameters)["clifford"].cost, plan["clifford"].cost, rtol=0.05)
    with pytest.raises(ShapeError, match="parameters: expected 24 values"):
        plan.at([0.1])


def test_a_redesign_pays_when_the_angles_have_moved():
    circuit = efl.Circuit(2, parameters=[0.05, 0.05, 0.1])
    circuit.ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1).clifford("CZ", 0, 1).rx(efl.Parameter(2), 0)
    first = efl.plan(circuit, {"ZX": 1.0, "XZ": 0.1})
    later = first.at([1.5, 1.5, 1.4])
    assert later.redesign_pays == (later.best.gain > 1.1)


def test_what_is_identically_zero_needs_no_shots():
    circuit = efl.Circuit(2, parameters=[0.3]).rz(efl.Parameter(0), 0)
    for observable in ["IZ", "II", {"II": 2.0}]:
        plan = efl.plan(circuit, observable)
        assert plan.best.shots == 0
        assert plan.best.worst_shots == 0
        assert "nothing has to be measured" in str(plan)
        assert (plan.predicted_error(100) == 0).all()
        assert all((plan.simulate(100, name).gradient == 0).all() for name in plan.methods)
    assert efl.plan(efl.Circuit(1), "Z").best.shots == 0


def test_the_goal_is_what_is_made_small(plan):
    largest = efl.plan(plan.circuit, "IZII", goal="max")
    for name in ["clifford", "product", "biased", "block", "echo"]:
        assert largest[name].worst_shots <= 1.001 * plan[name].worst_shots
    assert largest.best.worst_shots <= 1.02 * min(largest[name].worst_shots for name in largest.methods)

    weights = np.zeros((1, 24))
    weights[0, 4] = 3.0
    one = efl.plan(plan.circuit, "IZII", goal=weights)
    assert np.isclose(one["clifford"].cost, one["clifford"].variances[0, 4])
    assert one.best.shots < plan.best.shots
    assert efl.plan(plan.circuit, "IZII", goal=weights[0]).best.cost == one.best.cost


def test_values_have_their_share_if_they_weigh_something(plan):
    plain = plan.ensemble("clifford")
    weighted = efl.plan(plan.circuit, "IZII", value_weight=1.0).ensemble("clifford")
    assert weighted.reveal_probability("IZII") > max(0.05, plain.reveal_probability("IZII"))


def test_settings_keep_to_the_connectivity(plan):
    none = efl.plan(plan.circuit, "IZII", connectivity="none")
    assert not none["clifford"].applies
    assert "two-qubit gates" in none["clifford"].note
    assert all(experiment.setting.is_product for experiment, _ in none.experiments("mixture"))
    line = efl.plan(plan.circuit, "IZII", connectivity="line")
    for experiment, _ in line.experiments("clifford"):
        for _, *wires in experiment.setting.gates:
            assert len(wires) == 1 or abs(wires[0] - wires[1]) == 1


def test_echoes_that_are_too_long_and_too_many_are_not_written_down():
    circuit = efl.Circuit(2, parameters=np.linspace(0, 1, 100))
    for k in range(100):
        (circuit.rx if k % 2 else circuit.ry)(efl.Parameter(k), 0).clifford("CNOT", 0, 1)
        for _ in range(1000):
            circuit.clifford("S", 1)
    words = [a + b for a in "IXYZ" for b in "IXYZ"][1:]
    found = efl.plan(circuit, efl.PauliSum([(word, 1.0) for word in words]))
    assert "more than 100000000 gates" in found["echo"].note
    assert {"clifford", "mixture", "shift"} <= set(found.methods)
    assert "echo" not in found.methods


def test_long_sums_are_bounded_and_left_to_others(plan):
    bounded = efl.plan(plan.circuit, "IZII", max_terms=2)
    assert bounded["clifford"].bound
    assert bounded["clifford"].shots <= plan["clifford"].shots
    assert "more than 2 words" in bounded["clifford"].note
    assert "clifford" not in bounded.methods
    assert {"echo", "mixture", "shift"} <= set(bounded.methods)
    assert not bounded.best.bound
    assert ">= " in str(bounded)
    assert bounded["clifford"].variances is None
    with pytest.raises(InvalidInputError, match=r"expected a method that can be run .*got clifford"):
        bounded.simulate(1000, "clifford")


def test_commuting_generators_have_a_method_of_their_own():
    circuit = efl.Circuit(3, parameters=[0.1, 0.2, 0.3]).clifford("H", 0).clifford("H", 1).clifford("H", 2)
    for k, word in enumerate(["ZZI", "IZZ", "ZIZ"]):
        circuit.rotation(word, efl.Parameter(k))
    plan = efl.plan(circuit, "XII")
    assert "commuting" in plan.methods
    assert plan["commuting"].settings == 1
    found = plan.simulate(20_000, "commuting", seed=1)
    exact = efl.propagate(circuit, "XII").gradient
    assert (abs(found.gradient - exact) < 5 * found.stderr + 1e-12).all()


def test_circuits_without_a_known_input_are_planned_but_not_simulated():
    circuit = ring(3, 1, seed=1).prepare(None)
    plan = efl.plan(circuit, "ZII")
    assert plan.best.shots > 0
    for run in (plan.simulate, plan.exact_error):
        for name in ("echo", "uniform"):
            with pytest.raises(InvalidInputError, match=r"circuit: expected .* input"):
                run(1000, name)
    with pytest.raises(InvalidInputError, match="circuit: expected a product input"):
        plan.experiments("echo")[0][0].exact()


def test_gates_that_are_added_later_do_not_change_a_plan():
    circuit = ring(3, 1, seed=1)
    plan = efl.plan(circuit, "ZII")
    circuit.clifford("H", 0)
    assert plan.circuit.n_gates == circuit.n_gates - 1


def test_the_printed_plan_is_a_table(plan):
    text = str(plan)
    assert text.splitlines()[0] == (
        "The gradient of 1 observable by 24 parameters on 4 qubits, to an RMS error of 0.01"
    )
    lines = [line for line in text.splitlines() if line.startswith("*")]
    assert len(lines) == 1
    assert lines[0].split()[1] == plan.best.name
    assert f"{plan.best.shots:,}" in lines[0]
    assert "not here: commuting (the trainable generators do not all commute)" in text
    assert "shots:" in text
    assert "served:" in text
    assert "diff_method" not in text
    assert all(len(line) <= 110 for line in text.splitlines())
    assert repr(plan) == (
        f"Plan(4 qubits, 24 parameters, best='{plan.best.name}', shots={plan.best.shots}, target=0.01)"
    )
    later = plan.at(plan.circuit.parameters + 1.5)
    assert ("The former design" in str(later)) == later.redesign_pays


def test_the_notebook_shows_a_table(plan):
    html = plan._repr_html_()
    assert html.count("<tr>") == 1 + sum(row.shots is not None for row in plan)
    assert html.count("<table>") == html.count("</table>") == 1
    bounded = efl.plan(plan.circuit, "IZII", max_terms=2)._repr_html_()
    assert "&gt;= " in bounded
    assert ">= " not in bounded


def test_curves_and_plots(plan):
    shots = np.array([100.0, 10_000.0])
    curves = plan.curves(shots)
    assert set(curves) == set(plan.methods)
    assert np.allclose(curves["echo"], np.sqrt(plan["echo"].cost / shots))
    ax = plan.plot()
    labels = [line.get_label() for line in ax.get_lines()]
    assert labels == [*plan.methods, "target 0.01"]
    assert ax.get_xscale() == ax.get_yscale() == "log"
    assert plan.plot(ax) is ax
    matplotlib.pyplot.close("all")
    bounded = efl.plan(plan.circuit, "IZII", max_terms=2).plot()
    assert "clifford (at least)" in [line.get_label() for line in bounded.get_lines()]
    assert len(efl.plan(efl.Circuit(1), "Z").plot().get_lines()) == 1
    matplotlib.pyplot.close("all")
    with pytest.raises(InputTypeError, match="ax: expected matplotlib Axes"):
        plan.plot("axes")
    for bad in ([0.0], [-1], [1j]):
        with pytest.raises(InvalidInputError, match="shots: expected numbers above zero"):
            plan.curves(bad)


def test_a_plot_without_matplotlib_says_what_to_install():
    code = """
        import sys
        sys.modules["matplotlib"] = None
        import efl_core as efl
        try:
            efl.plan(efl.Circuit(1, parameters=[0.1]).ry(efl.Parameter(0), 0), "Z").plot()
        except efl.MissingExtraError as error:
            print(error)
    """
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(code)], capture_output=True, text=True, check=True
    )
    assert 'pip install "efl-core[plot]"' in done.stdout


def test_a_plan_as_a_dict_is_json(plan):
    found = json.loads(json.dumps(plan.to_dict()))
    assert found["best"] == plan.best.name
    assert [row["name"] for row in found["rows"]] == list(METHODS)
    assert found["rows"][0]["shots"] == plan["uniform"].shots
    assert found["n_parameters"] == 24
    assert next(row for row in found["rows"] if row["name"] == "commuting")["cost"] is None


def test_plans_are_not_pickled(plan):
    with pytest.raises(InputTypeError, match="a Plan is not pickled"):
        pickle.dumps(plan)
    with pytest.raises(InputTypeError, match="a Plan is not pickled"):
        copy.deepcopy(plan)


def test_plans_do_not_depend_on_threads():
    threads = efl.num_threads()
    found = []
    try:
        for count in (1, 3):
            efl.set_num_threads(count)
            plan = efl.plan(ring(4, 2, seed=3), "IZII")
            runs = [plan.simulate(5_000, name, seed=1).gradient.tobytes() for name in plan.methods]
            costs = [row.cost for row in plan.at(plan.circuit.parameters + 0.1)]
            found.append((str(plan), costs, runs))
    finally:
        efl.set_num_threads(threads)
    assert found[0] == found[1]


def test_the_seed_decides(plan):
    for name in ("uniform", "clifford", "echo"):
        first, again, other = (plan.simulate(500, name, seed=seed).gradient for seed in (1, 1, 2))
        assert np.array_equal(first, again)
        assert not np.array_equal(first, other)


def test_a_qnode_becomes_a_function_of_its_arguments():
    qml = pytest.importorskip("pennylane")
    pnp = qml.numpy

    @qml.qnode(qml.device("default.qubit", wires=2))
    def model(x, theta):
        qml.RX(x, wires=0)
        qml.RY(theta[0], wires=0)
        qml.CNOT(wires=[0, 1])
        qml.RY(theta[1], wires=1)
        return qml.expval(qml.Z(1))

    arguments = (pnp.array(0.2, requires_grad=False), pnp.array([0.3, 0.4]))
    plan = efl.plan(model, target=0.05)(*arguments)
    assert plan.target == 0.05
    assert plan.circuit.n_parameters == 2
    assert plan.observables == [efl.PauliSum("IZ")]
    last = str(plan).splitlines()[-1]
    assert last.startswith("@qml.qnode(dev, diff_method=efl.shadow_grad")
    assert f'"shots": {plan.best.shots}' in last
    assert "shadow_grad" in plan._repr_html_()
    assert "shadow_grad" in str(plan.at([0.1, 0.2]))
    other = efl.plan(model, "XX", goal=np.ones((1, 2)))(*arguments)
    assert other.observables == [efl.PauliSum("XX")]
    again = efl.plan(efl.circuit(model)(*arguments)).best.cost
    assert again == pytest.approx(plan.best.cost, rel=1e-9)
    with pytest.raises(InputTypeError, match="QNode"):
        efl.plan(len)
    with pytest.raises(ShapeError, match="goal"):
        efl.plan(model, goal=np.ones(3))(*arguments)


@pytest.mark.parametrize(
    ("error", "match", "options"),
    [
        (InvalidInputError, "target: expected a number above zero, got 0", {"target": 0}),
        (InvalidInputError, "target: expected a number above zero", {"target": -0.1}),
        (InvalidInputError, "target: expected a number above zero", {"target": float("nan")}),
        (InvalidInputError, "target: expected a number above zero", {"target": float("inf")}),
        (InputTypeError, "target: expected a real number", {"target": "small"}),
        (InvalidInputError, "goal: expected 'mean'", {"goal": "median"}),
        (ShapeError, r"goal: expected weights of shape \(1, 9\)", {"goal": np.ones(8)}),
        (InvalidInputError, r"goal\[0, 3\]: expected a weight", {"goal": -np.eye(9)[[3]]}),
        (InvalidInputError, "goal: expected a weight above zero", {"goal": np.zeros(9)}),
        (InvalidInputError, "value_weight: expected", {"value_weight": -1}),
        (InputTypeError, "value_weight: expected", {"value_weight": None}),
        (InvalidInputError, "connectivity: expected 'all', 'line' or 'none'", {"connectivity": "grid"}),
        (InvalidInputError, "effort", {"effort": 0}),
        (InvalidInputError, "max_terms", {"max_terms": 0}),
        (InputTypeError, "max_terms", {"max_terms": 2.5}),
        (ShapeError, "observables", {"observables": "ZZ"}),
        (InvalidInputError, "observables: expected at least one", {"observables": []}),
        (InputTypeError, "observables", {"observables": 3}),
    ],
)
def test_bad_input_of_a_plan_is_refused(error, match, options):
    observables = options.pop("observables", "ZII") if "observables" in options else "ZII"
    with pytest.raises(error, match=match):
        efl.plan(ring(3, 1, seed=0), observables, **options)


def test_bad_arguments_of_methods_are_refused(plan):
    with pytest.raises(InvalidInputError, match=r"name: expected one of uniform, .*shift, got str 'spsa'"):
        plan["spsa"]
    for bad in (3, None, ["echo"]):
        with pytest.raises(InvalidInputError, match="name: expected one of"):
            plan[bad]
    with pytest.raises(InvalidInputError, match=r"expected a method that can be run .*got commuting"):
        plan.ensemble("commuting")
    for call in (plan.simulate, plan.predicted_error, plan.exact_error, plan.allocate):
        with pytest.raises(InvalidInputError, match="shots"):
            call(0)
        with pytest.raises(InputTypeError, match="shots"):
            call(10.5)
        with pytest.raises(InvalidInputError, match="name"):
            call(1000, "spsa")
    with pytest.raises(InvalidInputError, match="seed"):
        plan.simulate(100_000, seed=-1)
    with pytest.raises(InvalidInputError, match="target"):
        plan.retarget(0)
    with pytest.raises(InputTypeError, match="circuit: expected a Circuit or a PennyLane QNode"):
        efl.plan("circuit")
    with pytest.raises(InvalidInputError, match="observables: expected some, because the circuit has none"):
        efl.plan(ring(3, 1, seed=0))


def test_the_command_line_plans(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(
        textwrap.dedent("""
            import efl_core as efl
            import pennylane as qml
            from pennylane import numpy as pnp

            x = pnp.array(0.1, requires_grad=False)
            circuit = efl.Circuit.from_tape(qml.tape.QuantumScript([qml.RY(0.3, 0)], [qml.expval(qml.Z(0))]))

            @qml.qnode(qml.device("default.qubit", wires=2))
            def model(x, theta):
                qml.RX(x, wires=0)
                qml.RY(theta[0], wires=0)
                qml.CNOT(wires=[0, 1])
                qml.RY(theta[1], wires=1)
                return qml.expval(qml.Z(1))
        """)
    )
    assert main(["plan", "model.py:model", "--target", "0.1", "--args", "x", "[0.1, 0.2]"]) == 0
    printed = capsys.readouterr().out
    assert "by 2 parameters on 2 qubits, to an RMS error of 0.1" in printed
    assert "shadow_grad" in printed
    assert main(["plan", "model.py:circuit"]) == 0
    assert "by 1 parameter on 1 qubit" in capsys.readouterr().out
    for arguments, message in [
        (["model.py:other"], "has no name 'other'"),
        (["model.py"], "expected FILE.py:NAME"),
        (["absent.py:model"], "absent.py"),
        (["model.py:circuit", "--target", "0"], "target: expected"),
        (["model.py:model", "--args", "x", "y + 1"], "--args: expected"),
    ]:
        assert main(["plan", *arguments]) == 1
        assert message in capsys.readouterr().err


def test_the_options_are_stated_alike_for_callers_and_for_the_plan():
    fields = {field.name: field for field in dataclasses.fields(PlanOptions)}
    assert list(fields) == [*PlanKeywords.__annotations__, "valued"]  # which only transforms say
    assert PlanOptions().target == 0.01
    with pytest.raises(dataclasses.FrozenInstanceError):
        PlanOptions().target = 0.1
    with pytest.raises(TypeError, match="unexpected keyword argument 'tarGet'"):
        efl.plan(efl.Circuit(1), "Z", tarGet=0.1)


def test_settings_of_one_shift_share_its_circuits():
    circuit = efl.Circuit(3, parameters=[0.3, 0.4, 0.5])
    for q in range(3):
        circuit.ry(efl.Parameter(q), q)
    circuit.clifford("CZ", 0, 1).clifford("CZ", 1, 2)
    plan = efl.plan(circuit, {"ZZI": 1.0, "IZZ": 1.0, "XII": 0.5, "IXI": 0.5, "IIX": 0.5})
    for name in ("shift", "shift-pruned"):
        assert (plan[name].settings, plan[name].circuits) == (12, 6)
