"""Gradients that run a few settings of a list, drawn anew for each step.

Seeds are fixed. Means of m numbers within 4.5 standard errors fail by chance with probability m * 7e-6, were
steps independent; they are balanced, which makes means better than that.
"""

from functools import cache

import numpy as np
import pennylane as qml
import pytest
from tests.pennylane.models import MODELS, Former, arguments, stacked, trainable

import efl_core as efl
from efl_core.pennylane import from_tape
from efl_core.pennylane.caches import Steps
from efl_core.pennylane.jobs.steps import STEPS
from efl_core.pennylane.planning import Costs, Figure, choose, kept_plan
from efl_core.plans import PlanOptions

pytestmark = pytest.mark.filterwarnings("ignore:method .* needs")
REPEATS = 100
THETA = trainable(np.random.default_rng(0).uniform(-1, 1, (1, 4, 3)))
# One of each kind that people train: layers, chemistry, QAOA, evolution, re-uploading, several outputs.
KINDS = [
    "layers",
    "excitations",
    "fabric",
    "maxcut",
    "trotter",
    "iqp",
    "mixed_gates",
    "shared",
    "many_outputs",
    "labelled",
]


@pytest.fixture(autouse=True)
def from_the_first_step():
    """Numbers of steps do not depend on the tests before."""
    STEPS.clear()


def model(theta):
    qml.StronglyEntanglingLayers(theta, wires=range(4))
    return qml.expval(qml.Z(0) @ qml.Z(1) + 0.5 * qml.X(2))


def node(device="lightning.qubit", **options):
    made = qml.device(device, wires=4) if isinstance(device, str) else device
    return qml.QNode(model, made, diff_method=efl.shadow_grad, gradient_kwargs=options)


@cache
def exact():
    return np.asarray(qml.grad(qml.QNode(model, qml.device("lightning.qubit", wires=4)))(THETA))


def gradient(theta=THETA, device="lightning.qubit", **options):
    """A gradient, and its report."""
    reports = []
    found = qml.grad(node(device, report=reports, **options))(theta)
    return np.asarray(found), reports[-1]


@pytest.mark.parametrize("settings", [1, 2, 5])
@pytest.mark.parametrize("method", ["product", "echo"])
def test_gradients_have_no_bias_and_true_errors(method, settings):
    """The scatter of the steps is that of independent ones or less; bars are not shorter than it."""
    measured = efl.gradient_with_errors(node(), shots=16, settings_per_step=settings, method=method)
    found, bars = (np.array(x) for x in zip(*(measured(THETA) for _ in range(REPEATS)), strict=True))
    live = np.abs(exact()) > 1e-9
    plan = efl.plan(node())(THETA)
    error = plan.exact_error(16, method, settings=settings).reshape(THETA.shape)
    off = np.abs(found.mean(axis=0) - exact())
    assert np.all(off[live] <= 4.5 * error[live] / np.sqrt(REPEATS))
    # Of 100 x 12 squares: 25 % is more than four of their deviations, heavy tails of single draws included.
    assert np.mean((found - exact()) ** 2) < 1.25 * np.mean(bars**2)


@pytest.mark.parametrize("method", ["echo", "shift", "auto"])
def test_one_shot_is_enough(method):
    """It is for one of the two circuits of an echo or a shift; 4.5 deviations of a mean, of 12 of them."""
    repeats = 300
    measured = efl.gradient_with_errors(node(), shots=1, method=method)
    found, bars = (np.array(x) for x in zip(*(measured(THETA) for _ in range(repeats)), strict=True))
    off = np.abs(found.mean(axis=0) - exact())
    # Most shots say nothing of a derivative: the spread of those that were seen is no bound, the bars are.
    assert np.all(off <= 4.5 * np.sqrt(np.mean(bars**2, axis=0) / repeats) + 1e-12)
    assert np.mean((found - exact()) ** 2) < 1.25 * np.mean(bars**2)
    assert efl.shadow_grad.last_report().shots == 1


@pytest.mark.parametrize("shots", [2, 3])
def test_a_variance_takes_a_shot_for_its_value_and_another_for_its_derivative(shots):
    """Both enter as a product, which is unbiased as they are independent: 4.5 deviations of a mean."""
    repeats = 300
    qnode = qml.QNode(lambda x: (qml.RX(x, 0), qml.var(qml.Z(0)))[1], qml.device("default.qubit"))
    measured = efl.gradient_with_errors(qnode, shots=shots)
    found = np.array([measured(trainable(0.7))[0] for _ in range(repeats)])
    wanted = 2 * np.cos(0.7) * np.sin(0.7)
    assert abs(found.mean() - wanted) < 4.5 * found.std() / np.sqrt(repeats)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("settings", [1, "auto"])
def test_ten_shots_are_enough(name, settings):
    """On circuits whose lists are longer than that, or not."""
    reports = []
    options = {"shots": 10, "settings_per_step": settings, "report": reports, "seed": 1}
    qnode = qml.QNode(MODELS[name].function, qml.device("default.qubit"), diff_method=efl.shadow_grad)
    found = qml.jacobian(stacked(qnode.update(gradient_kwargs=options)))(*arguments(name))
    assert np.isfinite(
        np.concatenate([np.ravel(part) for part in (found if isinstance(found, tuple) else (found,))])
    ).all()
    for report in reports:
        assert report.shots == 10
        assert report.settings <= (2 if settings == 1 else 10)
        assert report.observed > 0


@pytest.mark.parametrize("mode", ["state", "tapes"])
def test_reports_say_what_was_run(mode):
    device = qml.device("lightning.qubit", wires=4)
    options = {"method": "product", "shots": 30, "settings_per_step": 3, "seed": 1}
    with qml.Tracker(device) as tracker:
        found, report = gradient(device=device, device_options={"mode": mode}, **options)
    assert report.shots == 30
    assert report.settings == 3
    assert report.tapes == (1 if mode == "state" else 3)
    assert tracker.totals["shots"] == 30
    assert np.array_equal(report.gradient, np.ravel(found)[np.newaxis])
    # How much settings differ is in the error bars, and in no prediction.
    assert report.observed > 1.5 * report.predicted


def test_the_whole_list_is_run_where_it_fits():
    auto, report = gradient(method="product", shots=5_000, settings_per_step="auto", seed=1)
    every, full = gradient(method="product", shots=5_000, seed=1)
    assert report.settings == full.settings
    assert report.observed == pytest.approx(full.observed, rel=0.1)
    assert np.allclose(auto, every, atol=10 * full.observed)


def test_auto_is_as_many_as_tapes_allow():
    options = {"shots": 200, "settings_per_step": "auto", "seed": 1}
    for method, most in [("product", 6), ("echo", 7)]:
        _, report = gradient(method=method, device_options={"mode": "tapes", "max_tapes": most}, **options)
        assert report.tapes == 6


@pytest.mark.parametrize("name", ["layers", "maxcut", "excitations"])
def test_only_lists_are_chosen_from(name):
    """Of methods that draw a setting for every shot there is nothing to draw a few of."""
    tape = qml.workflow.construct_tape(qml.QNode(MODELS[name].function, qml.device("default.qubit")))
    circuit = from_tape(tape(*arguments(name)))
    base = kept_plan(circuit, PlanOptions())
    lists = Costs.of(base, None, Figure(None, np.inf, 0.01)).promising_lists
    assert lists
    assert all(base[method].settings for method in lists)
    found = choose(circuit, shots=2, sampled=True)
    assert found.row.settings is not None
    assert found.row.name in lists
    assert found.kept is base
    alone = choose(circuit, shots=1, sampled=True)  # of an echo or a shift there are two circuits
    assert alone.row.settings is not None
    assert alone.row.served


# ---- steps ------------------------------------------------------------------------------------------


def readings(theta=THETA, **options):
    """Which derivatives a step of one product setting measures; of an odd number of shots none is zero."""
    found, _ = gradient(theta, method="product", shots=31, settings_per_step=1, **options)
    return found != 0


def test_steps_run_different_settings():
    angles = [trainable(THETA + 1e-6 * step) for step in range(8)]
    assert len({readings(a, seed=1).tobytes() for a in angles}) > 2
    assert len({readings().tobytes() for _ in range(8)}) > 2  # without a seed also at the same angles
    assert len({readings(seed=1).tobytes() for _ in range(4)}) == 1


def test_every_derivative_is_measured_soon():
    """Settings come in proportion to their shares: independent draws leave gaps of several times as long."""
    plan = efl.plan(node())(THETA)
    least = min(share for _, share in plan.experiments("product"))
    moving = np.abs(exact()) > 1e-9
    seen = np.zeros(THETA.shape, dtype=bool)
    for step in range(int(np.ceil(2 / least))):
        seen |= readings(trainable(THETA + 1e-9 * step), seed=3)
    assert seen[moving].all()


def training(seed):
    theta, found = THETA, []
    qnode = node(method="product", shots=31, settings_per_step=1, seed=seed)
    for _ in range(4):
        found.append(np.asarray(qml.grad(qnode)(theta)))
        theta = trainable(theta - 0.1 * found[-1])
    return np.array(found)


def test_a_training_repeats():
    """In a process that is begun again, and in the same one, whatever else was trained in between."""
    first = training(seed=1)
    assert np.array_equal(training(seed=1), first)
    assert not np.array_equal(training(seed=2), first)
    assert np.array_equal(training(seed=1), first)
    STEPS.clear()
    assert np.array_equal(training(seed=1), first)


def test_copies_of_a_shot_vector_run_different_settings():
    qnode = node(method="product", settings_per_step=1, seed=1)
    copies = qml.set_shots(qnode, [31] * 6)
    found = qml.jacobian(lambda x: qml.math.stack(copies(x)))(THETA)
    assert len({(own != 0).tobytes() for own in found}) > 1


def test_numbers_are_kept_in_bounds():
    steps = Steps(capacity=2)
    assert [steps.number(key) for key in "abab"] == [0, 1, 0, 1]
    assert [steps.number(key) for key in "ca"] == [2, 3]  # the oldest was forgotten
    assert [steps.number() for _ in range(2)] == [4, 5]


# ---- devices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", [2, "auto"])
def test_the_device_measures_values_too(settings):
    """Values have all of their own settings, and are as good as ever."""
    reports = []
    inner = qml.device("lightning.qubit", wires=4)
    device = qml.device("efl.fleet", inner, shots=400, seed=1, settings_per_step=settings, report=reports)
    found = []
    for _ in range(30):
        value, slope = [], qml.grad(qml.QNode(model, device))
        slope(THETA)
        value.append(reports[-1].value[0])
        found.append((value[0], reports[-1].value_stderr[0]))
    values, errors = np.transpose(found)
    wanted = float(qml.QNode(model, inner)(THETA))
    z = (values - wanted) / errors
    assert abs(z.mean()) < 4.5 / np.sqrt(30)
    assert 0.5 < z.std() < 1.5  # thirty draws: by chance once in 3,000
    assert all(report.shots == 400 for report in reports)


def test_the_device_repeats_with_its_seed():
    def slopes(seed):
        inner = qml.device("lightning.qubit", wires=4)
        device = qml.device("efl.fleet", inner, shots=62, seed=seed, settings_per_step=1, method="product")
        qnode = qml.QNode(model, device)
        return np.array([qml.grad(qnode)(THETA) for _ in range(4)])

    once = slopes(1)
    assert np.array_equal(once, slopes(1))
    assert len(np.unique(once.reshape(4, -1), axis=0)) == 4
    assert not np.array_equal(once, slopes(2))


def test_too_few_shots_for_the_values_are_refused():
    inner = qml.device("lightning.qubit", wires=4)
    device = qml.device("efl.fleet", inner, shots=1, seed=1, settings_per_step=1, method="product")
    with pytest.raises(efl.InvalidInputError, match="shots: expected at least 2, 1 of them for the settings"):
        qml.grad(qml.QNode(model, device))(THETA)


def test_equal_shots_are_a_tape_for_each_setting():
    """Devices of the former interface batch those only."""

    def turns(theta):
        for q in range(3):
            qml.RY(theta[q], wires=q)
        for q in range(2):
            qml.CNOT(wires=[q, q + 1])
        for q in range(3):
            qml.RX(theta[3 + q], wires=q)
        return qml.expval(qml.Z(0) @ qml.Z(1) + qml.X(2))

    device, reports = Former(wires=3), []
    options = {"shots": 90, "settings_per_step": 3, "method": "product", "report": reports, "seed": 1}
    start = trainable(np.linspace(0.1, 0.9, 6))
    found, stderr = efl.gradient_with_errors(qml.QNode(turns, device), **options)(start)
    wanted = qml.grad(qml.QNode(turns, qml.device("default.qubit")))(start)
    assert np.all(np.abs(found - wanted) <= 5 * stderr + 1e-9)
    assert reports[0].shots == 90
    assert reports[0].tapes == 3


# ---- what is refused --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"settings_per_step": 0}, "settings_per_step: expected"),
        ({"settings_per_step": "all"}, "settings_per_step: expected 'auto' or a number, got 'all'"),
        ({"settings_per_step": 2.5}, "settings_per_step: expected"),
        ({"settings_per_step": 2, "method": "uniform"}, "settings_per_step: expected none where a setting"),
        (
            {"settings_per_step": 2, "ensemble": efl.Ensemble.uniform(4)},
            "settings_per_step: expected none where a setting is drawn for every shot",
        ),
        ({"settings_per_step": 2, "shots": None, "target": 0.1}, "settings_per_step: expected shots= beside"),
        (
            {
                "settings_per_step": 9,
                "method": "product",
                "device_options": {"mode": "tapes", "max_tapes": 3},
            },
            "device_options: expected at most 3 tapes",
        ),
    ],
    ids=str,
)
def test_options_are_checked_by_name(options, message):
    with pytest.raises(efl.EflError, match=message):
        gradient(**{"shots": 40, **options})


@pytest.mark.parametrize("name", ["target", "value_target"])
def test_the_device_takes_shots_with_it(name):
    inner = qml.device("lightning.qubit", wires=4)
    with pytest.raises(efl.InvalidInputError, match="settings_per_step: expected shots"):
        qml.device("efl.fleet", inner, settings_per_step=2, **{name: 0.1})


def test_echoes_are_drawn_too():
    reports = []
    options = {"shots": 6, "settings_per_step": 1, "report": reports, "seed": 1}
    qnode = qml.QNode(model, qml.device("lightning.qubit", wires=4), diff_method=efl.echo_grad)
    qml.grad(qnode.update(gradient_kwargs=options))(THETA)
    assert (reports[0].method, reports[0].shots, reports[0].settings) == ("echo", 6, 2)


@pytest.mark.parametrize(("shots", "method"), [(1, "auto"), (2, "auto"), (2, "echo"), (3, "shift-pruned")])
def test_fewer_shots_than_circuits(shots, method):
    """Some are drawn: without bias, and errors say so. By chance it fails once in 10,000 runs."""

    def model(theta):
        qml.StronglyEntanglingLayers(theta, wires=range(3))
        return qml.expval(qml.Z(0))

    theta = trainable(np.random.default_rng(0).uniform(-1, 1, (1, 3, 3)))
    device, reports = qml.device("default.qubit"), []
    exact = qml.grad(qml.QNode(model, device))(theta)
    options = {"shots": shots, "method": method, "report": reports}
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    found = np.array([qml.grad(qnode)(theta) for _ in range(400)])
    assert {report.shots for report in reports} == {shots}
    assert np.all(np.abs(found.mean(axis=0) - exact) <= 4.5 * found.std(axis=0) / 20 + 1e-9)
    errors = np.mean([report.stderr**2 for report in reports])
    assert 0.6 * errors < found.var(axis=0).mean() < 1.2 * errors


def test_copies_of_one_shot():
    qnode = qml.QNode(
        lambda x: (qml.RY(x, wires=0), qml.expval(qml.Z(0)))[1],
        qml.device("default.qubit", seed=1),
        diff_method=efl.shadow_grad,
        gradient_kwargs={"seed": 1},
    )
    found = qml.jacobian(lambda x: qml.math.stack(qml.set_shots(qnode, (1, 1, 10_000))(x)))(trainable(0.4))
    assert found.shape == (3,)
    assert set(np.abs(found[:2])) == {1.0}
    assert abs(found[2] + np.sin(0.4)) < 0.05
