"""Projectors on all of more than four wires: random bases of all qubits, parameter-shift, plans, refusals.

A comparison allows 5 standard errors, 6e-7 for normal errors; seeds are fixed.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.oracle.dense import random_state

import efl_core as efl

pytestmark = pytest.mark.filterwarnings("ignore:method '(shift|global_clifford)' needs")
WIRES = 5
DEVICE = qml.device("default.qubit", wires=WIRES)
RANDOM = random_state(WIRES, 3)


def gates(x):
    """Rotations that share arguments, and scale one: the chain rule has something to do."""
    wires = len(x)
    for q in range(wires):
        qml.RY(x[q], wires=q)
        qml.RX(0.5 * x[(q + 1) % wires], wires=q)
    for q in range(wires - 1):
        qml.CNOT(wires=[q, q + 1])
    qml.CRY(x[0], wires=[4, 0])


def angles(seed=0):
    return pnp.array(np.random.default_rng(seed).uniform(-1, 1, WIRES), requires_grad=True)


def qnode(observable, device=DEVICE, **options):
    def model(x):
        gates(x)
        return qml.expval(observable())

    if options:
        return qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    return qml.QNode(model, device)


OBSERVABLES = {
    "basis state": lambda: qml.Projector([0] * WIRES, wires=range(WIRES)),
    "vector, wires in another order": lambda: qml.Projector(RANDOM, wires=[3, 0, 4, 1, 2]),
    "multiple": lambda: -1.5 * qml.Projector(RANDOM, wires=range(WIRES)),
    "matrix": lambda: qml.Hermitian(0.7 * np.outer(RANDOM, RANDOM.conj()), wires=range(WIRES)),
}


@pytest.mark.parametrize("name", OBSERVABLES)
def test_gradients_are_those_of_backpropagation(name):
    x, observable = angles(), OBSERVABLES[name]
    exact = qml.grad(qnode(observable))(x)
    value = float(qnode(observable)(x))
    node = qnode(observable, shots=20_000, seed=1, method="global_clifford")
    found, stderr = efl.gradient_with_errors(node)(x)
    assert (np.abs(found - exact) < 5 * stderr).all()
    report = efl.shadow_grad.last_report()
    assert (report.method, report.mode, report.tapes, report.shots) == ("global_clifford", "state", 1, 20_000)
    assert np.abs(exact).max() > 5 * report.observed / 2, "nothing to see"
    assert report.observed <= 1.05 * report.predicted  # which is a bound
    assert abs(report.value[0] - value) < 5 * report.value_stderr[0]
    plan = efl.plan(qnode(observable), state="prepared")(x)
    assert report.observed**2 * 20_000 == pytest.approx(plan["global_clifford"].cost, rel=0.1)


@pytest.mark.parametrize("method", ["global_clifford", "shift"])
def test_many_runs_have_no_bias_and_bars_that_hold(method):
    """60 runs of 300 shots: the mean of squared scores has a standard error of 0.18 or less."""
    x, observable = angles(1), OBSERVABLES["basis state"]
    exact = qml.grad(qnode(observable))(x)
    options = {"shots": 300, "method": method}
    found = [efl.gradient_with_errors(qnode(observable, seed=s, **options))(x) for s in range(60)]
    value, stderr = np.array([f[0] for f in found]), np.array([f[1] for f in found])
    scores = (value - exact) / stderr
    assert (np.abs(value.mean(axis=0) - exact) < 5 * value.std(axis=0) / 60**0.5).all()
    assert np.mean(scores**2) == pytest.approx(1, abs=0.6)


def test_several_projectors_share_the_snapshots():
    x = angles(2)

    def model(x):
        gates(x)
        return [qml.expval(OBSERVABLES[name]()) for name in ("basis state", "matrix")]

    def stacked(node):
        return lambda x: qml.math.stack(node(x))

    exact = qml.jacobian(stacked(qml.QNode(model, DEVICE)))(x)
    kwargs = {"shots": 20_000, "seed": 3, "method": "global_clifford"}
    node = qml.QNode(model, DEVICE, diff_method=efl.shadow_grad, gradient_kwargs=kwargs)
    found = qml.jacobian(stacked(node))(x)
    report = efl.shadow_grad.last_report()
    assert report.shots == 20_000
    assert np.abs(found - exact).max() < 6 * report.stderr.max()
    assert report.value.shape == (2,)


@pytest.mark.parametrize("method", ["global_clifford", "shift"])
def test_a_target_is_reached_and_no_more(method):
    x = angles()
    qml.grad(qnode(OBSERVABLES["matrix"], target=0.02, seed=1, method=method))(x)
    report = efl.shadow_grad.last_report()
    assert report.predicted == pytest.approx(0.02, rel=1e-2)
    assert report.observed == pytest.approx(0.02, rel=0.1)


def test_devices_that_sample_run_a_tape_for_every_shot():
    x, observable = angles(), OBSERVABLES["vector, wires in another order"]
    device = qml.device("default.qubit", wires=WIRES, seed=4)
    exact = qml.grad(qnode(observable))(x)
    options = {"method": "global_clifford", "device_options": {"mode": "tapes"}}
    node = qnode(observable, device, shots=150, seed=2, **options)
    found, stderr = efl.gradient_with_errors(node)(x)
    report = efl.shadow_grad.last_report()
    assert (report.mode, report.tapes, report.settings) == ("tapes", 150, 150)
    assert (np.abs(found - exact) < 5 * stderr).all()


@pytest.mark.slow
def test_a_calibrated_readout_is_made_good():
    """10 % of flips: 0.58 are left, and a gradient that does not know is off by more than its bar."""
    flips = {qml.BooleanFn(lambda _: True): lambda mp, **_: [qml.BitFlip(0.1, w) for w in mp.wires]}
    device = qml.add_noise(
        qml.device("default.mixed", wires=WIRES, seed=5), qml.NoiseModel({}, meas_map=flips)
    )
    x = angles(3)
    target = np.array(qml.QNode(lambda x: [gates(x), qml.state()][1], DEVICE)(x + 0.3))

    def observable():
        return qml.Projector(target, wires=range(WIRES))

    exact = qml.grad(qnode(observable))(x)
    known = efl.calibrate(device, shots=20_000, seed=1)
    assert known.mean_contrast.value == pytest.approx(0.576, abs=0.02)  # (32 * 0.9**5 - 1) / 31
    node = qnode(observable, device, shots=150, seed=3, calibration=known)
    found, stderr = efl.gradient_with_errors(node)(x)
    assert (np.abs(found - exact) < 5 * stderr).all()
    report = efl.shadow_grad.last_report()
    assert abs(report.value[0] - float(qnode(observable)(x))) < 5 * report.value_stderr[0]
    # The bars of a readout that leaves 0.58 are as much longer.
    plan = efl.plan(qnode(observable), state="prepared")(x)
    assert report.observed > 1.3 * (plan["global_clifford"].cost / 150) ** 0.5


def test_the_device_of_a_fleet_has_values_and_gradients():
    x, observable = angles(), OBSERVABLES["matrix"]
    fleet = qml.device("efl.fleet", DEVICE, shots=20_000, seed=6)
    node = qnode(observable, fleet)
    exact, value = qml.grad(qnode(observable))(x), float(qnode(observable)(x))
    assert abs(float(node(x)) - value) < 5 * (0.7**2 * value / 0.7 / 20_000) ** 0.5 + 1e-3
    assert np.abs(qml.grad(node)(x) - exact).max() < 6 * (2 / 20_000) ** 0.5


@pytest.mark.parametrize(("count", "method"), [(3, "shift"), (5, "global_clifford")])
def test_the_cheaper_way_is_taken_by_bounds_on_devices_that_sample(count, method):
    """Three parameters: at most 3 / 4 by shifts, at most 1 in random bases; five: the other way round."""
    device = qml.device("default.qubit", wires=WIRES, seed=7)

    def model(x):
        for q in range(WIRES):
            qml.RY(x[q], wires=q) if q < count else qml.Hadamard(q)
        for q in range(WIRES - 1):
            qml.CNOT(wires=[q, q + 1])
        return qml.expval(qml.Projector([0] * WIRES, wires=range(WIRES)))

    x, reports = pnp.array(np.linspace(0.2, 0.9, count), requires_grad=True), []
    options = {"shots": 200, "seed": 1, "device_options": {"mode": "tapes"}, "report": reports}
    found, stderr = efl.gradient_with_errors(qml.QNode(model, device), **options)(x)
    assert (reports[0].method, reports[0].best) == (method, method)
    assert reports[0].tapes == (6 if method == "shift" else 200)
    assert (np.abs(found - qml.grad(qml.QNode(model, device))(x)) < 5 * stderr).all()


def test_a_method_that_loses_is_warned_of():
    def model(x):  # a circuit of its own: once said, it is not said again
        gates(x)
        qml.S(0)
        return qml.expval(qml.Projector([0] * WIRES, wires=range(WIRES)))

    with pytest.warns(UserWarning, match="method 'shift' needs .* times as many shots as 'global_clifford'"):
        efl.gradient_with_errors(qml.QNode(model, DEVICE), shots=500, method="shift")(0.1 * angles())


def test_circuits_that_begin_with_a_vector():
    def model(x):
        qml.StatePrep(random_state(WIRES, 5), wires=[3, 0, 4, 1, 2])
        gates(x)
        return qml.expval(qml.Projector([0] * WIRES, wires=range(WIRES)))

    x, reports, node = angles(), [], qml.QNode(model, DEVICE)
    found, stderr = efl.gradient_with_errors(node, shots=20_000, seed=1, report=reports)(x)
    assert (np.abs(found - qml.grad(node)(x)) < 5 * stderr).all()
    assert (reports[0].method, reports[0].tapes) == ("shift", 20)  # as the fidelity is 0.07
    assert reports[0].observed == pytest.approx(reports[0].predicted, rel=0.1)


def test_tapes_of_equal_shots():
    x, reports = angles(), []
    inner = qml.device("default.qubit", wires=WIRES, seed=8)
    options = {"mode": "tapes", "equal_shots": True}
    fleet = qml.device("efl.fleet", inner, shots=5000, method="shift", device_options=options, report=reports)
    node = qnode(OBSERVABLES["basis state"], fleet)
    with qml.Tracker(inner) as tracker:
        found = qml.grad(node)(x)
    assert np.abs(found - qml.grad(qnode(OBSERVABLES["basis state"]))(x)).max() < 6 * reports[0].stderr.max()
    # Two circuits for each of ten rotations, and that of the value; what is controlled leaves |00000> alone.
    assert set(tracker.history["shots"]) == {5000 // 21}


def test_misses_leave_an_error():
    """No shot hits a target that is never there: bars are those of one hit in all shots, not zero."""

    def model(x):
        for q in range(WIRES):
            qml.RZ(x[q], wires=q)
        qml.RY(x[0], wires=0)
        return qml.expval(qml.Projector([1] * WIRES, wires=range(WIRES)))

    x = pnp.array(np.full(WIRES, 0.3), requires_grad=True)
    node = qml.QNode(model, DEVICE)
    found, stderr = efl.gradient_with_errors(node, shots=1200, seed=1, method="shift")(x)
    assert (found == 0).all()
    assert (stderr[0] > 1 / 1200).all()
    assert (stderr < 0.05).all()


def rotations(x):
    for q in range(WIRES):
        qml.RY(x[q], wires=q)
    for q in range(WIRES - 1):
        qml.CNOT(wires=[q, q + 1])
    for q in range(WIRES):
        qml.RX(x[WIRES + q], wires=q)


def test_a_plan_has_bounds_and_the_figures_of_the_state():
    x = pnp.array(np.random.default_rng(5).uniform(-1, 1, 2 * WIRES), requires_grad=True)
    near = np.array(qml.QNode(lambda x: [rotations(x), qml.state()][1], DEVICE)(x + 0.1))

    def model(target):
        def own(x):
            rotations(x)
            return qml.expval(qml.Projector(target, wires=range(WIRES)))

        return qml.QNode(own, DEVICE)

    bounds, exact = efl.plan(model(near))(x), efl.plan(model(near), state="prepared")(x)
    assert bounds.methods == ["global_clifford", "shift"]
    assert bounds.best.name == exact.best.name == "global_clifford"
    for name in bounds.methods:
        assert exact[name].cost <= bounds[name].cost
    assert bounds["shift"].cost == pytest.approx(2 * WIRES / 4)
    assert bounds["global_clifford"].worst_shots <= 10_000  # one over the target squared
    assert 'diff_method=efl.shadow_grad, gradient_kwargs={"shots"' in str(bounds)
    assert exact.to_dict()["best"] == "global_clifford"
    # Far from the target parameter-shift needs fewer shots, and the plan says so.
    away = random_state(WIRES, 9)
    far = efl.plan(model(away), state="prepared")(x)
    assert far["shift"].cost < far["global_clifford"].cost
    assert far.best.name == "shift"
    report = []
    shots = far["shift"].shots
    found, _ = efl.gradient_with_errors(model(away), shots=shots, seed=1, report=report)(x)
    assert report[0].method == "shift"
    assert report[0].predicted == pytest.approx(0.01, rel=0.01)
    assert np.abs(found - qml.grad(model(away))(x)).max() < 6 * report[0].stderr.max()
    # What shifts cost, by their own formula: shots in proportion to deviations.
    theta = np.array(x)
    spread = []
    for k in range(len(theta)):
        for sign in (1, -1):
            moved = theta.copy()
            moved[k] += sign * np.pi / 2
            value = float(model(near)(moved))
            spread.append((value * (1 - value)) ** 0.5 / 2)
    assert exact["shift"].cost == pytest.approx(sum(spread) ** 2 / len(theta), rel=1e-6)


def test_a_plan_is_read_as_any_other():
    plan = efl.plan(qnode(OBSERVABLES["matrix"]))(angles())
    assert plan.methods == ["global_clifford", "shift"]
    assert plan["shift"].settings == 2 * 2 * WIRES + 4  # a controlled rotation has four shifts
    assert plan.retarget(0.02).best.shots == pytest.approx(plan.best.shots / 4, abs=1)
    assert plan.predicted_error(10_000).shape == (1, WIRES)
    assert plan.curves([100])["shift"] == pytest.approx(plan["shift"].cost ** 0.5 / 10)
    assert plan.time(plan.best) == plan.best.shots == plan.shots
    assert "shift" in plan
    for name in plan.methods:
        known = efl.plan(qnode(OBSERVABLES["matrix"]), state="prepared")(angles())[name]
        assert plan.at_state("prepared")[name].cost == known.cost < plan[name].cost
    waiting = efl.plan(qnode(OBSERVABLES["matrix"]), cost=efl.Cost(circuit=1.0, shot=1e-3))(angles())
    assert waiting.best.name == "shift"  # random bases are a circuit for every shot
    assert "<table>" in plan._repr_html_()
    assert repr(plan).startswith("ProjectorPlan(5 qubits, 5 parameters")
    with pytest.raises(efl.InvalidInputError, match="name: expected one of global_clifford, shift, got"):
        plan["echo"]


BASES, SHIFT = {"method": "global_clifford"}, {"method": "shift"}
LETTERS = {"device_options": {"connectivity": "none"}}
TEN_TAPES = {"device_options": {"mode": "tapes", "max_tapes": 10}}
READOUT = efl.Calibration.from_bits(np.zeros((50, 6), np.uint8))
RATES = efl.Noise(two_qubit=0.01)


@pytest.mark.parametrize(
    ("measured", "options", "message"),
    [
        (lambda: qml.var(qml.Projector([1] * 6, wires=range(6))), {}, r"tape: .*p \* \(1 - p\)"),
        (lambda: qml.expval(1j * qml.Projector([1] * 6, wires=range(6))), {}, "tape: expected real"),
        (None, {"method": "echo"}, "method: expected 'auto', 'global_clifford' or 'shift'"),
        (None, {"settings_per_step": 3}, "settings_per_step: expected its default"),
        (None, {"ensemble": efl.Ensemble.uniform(6)}, "ensemble: expected efl.Ensemble.global_clifford"),
        (None, {"audit": 0.1}, 'audit: expected its default .*; method="shift"'),
        (None, {"combine": "median_of_means", "method": "uniform"}, "combine: expected its default"),
        (None, {**BASES, **LETTERS}, 'device_options: expected connectivity "all" .*method="shift"'),
        (None, {**BASES, **TEN_TAPES}, 'device_options: expected a tape for every shot .*method="shift"'),
        (None, TEN_TAPES, "device_options: expected max_tapes of at least 12, .*not in random bases"),
        (None, {**SHIFT, "shots": 20}, "shots: expected at least 24, 2 for each circuit"),
        (None, {**SHIFT, "calibration": READOUT}, "calibration: expected none for parameter-shift"),
        (None, {**BASES, "noise": RATES}, 'noise: expected none .*method="shift"'),
        (
            lambda: qml.expval(qml.Projector(random_state(6, 1), wires=range(6))),
            {**SHIFT, "device_options": {"mode": "tapes"}},
            r"tape: expected a projector on a basis state, .*qml.adjoint",
        ),
        (
            None,
            {
                "calibration": READOUT,
                "ensemble": efl.Ensemble.global_clifford(6),
            },
            "calibration: expected snapshots of .*twirled=True",
        ),
    ],
)
def test_what_does_not_go_with_it_is_refused(measured, options, message):
    def model(x):
        for q in range(6):
            qml.RY(x, wires=q)
        return qml.expval(qml.Projector([1] * 6, wires=range(6))) if measured is None else measured()

    device = qml.device("default.qubit", wires=6)
    kwargs = {"shots": 100, "seed": 1, **options}
    node = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=kwargs)
    with pytest.raises(efl.EflError, match=message):
        efl.gradient_with_errors(node)(pnp.array(0.3))


@pytest.mark.parametrize(
    ("options", "message"),
    [({"connectivity": "line"}, "connectivity: expected none"), ({"state": np.eye(2)[0]}, "state: expected")],
)
def test_a_plan_refuses_what_it_has_no_use_for(options, message):
    with pytest.raises(efl.InvalidInputError, match=message):
        efl.plan(qnode(OBSERVABLES["matrix"]), **options)(angles())


def test_what_takes_words_alone_says_who_measures_projectors():
    with pytest.raises(efl.InvalidInputError, match=r"tape: expected an observable .* by efl\.shadow_grad"):
        efl.circuit(qnode(OBSERVABLES["basis state"]))(angles())


def test_trained_coefficients_are_refused():
    def model(x, factor):
        gates(x)
        return qml.expval(qml.s_prod(factor, qml.Projector([1] * WIRES, wires=range(WIRES))))

    node = qml.QNode(model, DEVICE, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 100})
    with pytest.raises(efl.InvalidInputError, match=r"tape: .*without trainable coefficients"):
        qml.grad(node)(angles(), pnp.array(2.0, requires_grad=True))


def test_narrow_projectors_are_expanded_as_before():
    def model(x):
        gates(x)
        return qml.expval(qml.Projector([1, 0, 1, 0], wires=range(4)))

    node = qml.QNode(model, DEVICE, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 2000, "seed": 1})
    qml.grad(node)(angles())
    assert efl.shadow_grad.last_report().method != "global_clifford"
