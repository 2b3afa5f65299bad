"""Wide projectors beside words, in sums, and on some of the wires.

A comparison allows 5 standard errors, 6e-7 for normal errors; seeds are fixed.
"""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.oracle.dense import random_state
from tests.pennylane.test_projectors import gates

import efl_core as efl
from efl_core.pennylane.jobs.mixed import Shares
from efl_core.pennylane.jobs.whole import LowRank
from efl_core.pennylane.tapes.projectors import WideProjector

pytestmark = pytest.mark.filterwarnings("ignore:method '(shift|global_clifford)' needs")
WIRES = 6
DEVICE = qml.device("default.qubit", wires=WIRES)


def angles(seed=0):
    return pnp.array(np.random.default_rng(seed).uniform(-0.8, 0.8, WIRES), requires_grad=True)


def all_wires(bit=0):
    return qml.Projector([bit] * WIRES, wires=range(WIRES))


def five_of_six():
    return qml.Projector([0] * 5, wires=[5, 1, 2, 0, 3])


MIXTURES = {
    "beside words and probabilities": lambda: [
        qml.probs(wires=[0, 1]),
        qml.expval(all_wires()),
        qml.expval(qml.Z(0)),
    ],
    "two, and a variance": lambda: [
        qml.expval(all_wires(1)),
        qml.var(qml.Z(1)),
        qml.expval(qml.Projector(random_state(WIRES, 3), wires=range(WIRES))),
    ],
    "sums": lambda: [
        qml.expval(0.3 * all_wires() - 0.5 * all_wires(1) + qml.Z(0) @ qml.Z(1) + 0.2 * qml.I(3)),
        qml.expval(qml.Hamiltonian([0.4, 2.0], [qml.X(2), all_wires()])),
    ],
    "some wires": lambda: [qml.expval(five_of_six()), qml.expval(qml.X(0) - 2 * five_of_six())],
}


def model(measured, device=DEVICE, gates=gates):
    def own(x):
        gates(x)
        return measured()

    return qml.QNode(own, device)


def exact(measured, x, gates=gates):
    node = model(measured, gates=gates)
    return qml.jacobian(lambda x: qml.math.hstack([qml.math.atleast_1d(v) for v in node(x)]))(x)


@pytest.mark.parametrize("method", ["auto", "global_clifford", "shift"])
@pytest.mark.parametrize("name", MIXTURES)
def test_gradients_are_those_of_backpropagation(name, method):
    x, reports = angles(), []
    node = model(MIXTURES[name])
    options = {"shots": 40_000, "seed": 1, "method": method, "report": reports}
    found, stderr = efl.gradient_with_errors(node, **options)(x)
    truth = exact(MIXTURES[name], x)
    assert found.shape == truth.shape
    assert (np.abs(found - truth) < 5 * stderr + 1e-12).all()
    [report] = reports
    assert method == "auto" or report.method.endswith(f" + {method}")
    assert (report.mode, report.shots) == ("state", 40_000)
    assert report.tapes <= 1, "one state for words and bases"
    # Words are planned for the average state; probabilities and variances are larger or smaller at this one.
    assert report.observed == pytest.approx(report.predicted, rel=0.4)
    assert np.square(stderr[stderr > 0]).mean() == pytest.approx(report.observed**2, rel=0.01)


@pytest.mark.parametrize("method", ["global_clifford", "shift"])
def test_sums_have_the_variance_that_the_plan_says(method):
    def measured():
        return [qml.expval(0.3 * all_wires() - 0.5 * all_wires(1)), qml.expval(five_of_six())]

    x, reports = angles(), []
    node = model(measured)
    found, stderr = efl.gradient_with_errors(node, shots=20_000, seed=1, method=method, report=reports)(x)
    assert (np.abs(found - exact(measured, x)) < 5 * stderr).all()
    assert reports[0].method == method
    assert reports[0].observed == pytest.approx(reports[0].predicted, rel=0.1)
    plan = efl.plan(node, state="prepared")(x)
    assert np.allclose(plan.predicted_error(20_000, method), stderr, rtol=0.35)
    bounds = efl.plan(node)(x)
    assert (bounds.predicted_error(100, method) >= plan.predicted_error(100, method)).all()


@pytest.mark.parametrize(
    ("options", "method"),
    [
        ({"ensemble": efl.Ensemble.uniform(WIRES)}, "uniform + global_clifford"),
        ({"method": "echo"}, "echo + global_clifford"),
        ({"device_options": {"connectivity": "none"}}, "mixture + shift"),
    ],
)
def test_options_are_those_of_the_part_that_they_fit(options, method):
    x, measured, reports = angles(), MIXTURES["sums"], []
    found, stderr = efl.gradient_with_errors(
        model(measured), shots=40_000, seed=1, report=reports, **options
    )(x)
    assert (np.abs(found - exact(measured, x)) < 5 * stderr).all()
    assert reports[0].method == method
    assert reports[0].observed == pytest.approx(reports[0].predicted, rel=0.3)


def test_many_runs_of_a_sum_have_no_bias_and_bars_that_hold():
    """40 runs of 600 shots: the mean of squared scores has a standard error of 0.23 or less."""
    x = angles(1)
    node = model(MIXTURES["sums"])
    truth = exact(MIXTURES["sums"], x)
    found = [efl.gradient_with_errors(node, shots=600, seed=s)(x) for s in range(40)]
    value, stderr = np.array([f[0] for f in found]), np.array([f[1] for f in found])
    assert (np.abs(value.mean(axis=0) - truth) < 5 * value.std(axis=0) / 40**0.5).all()
    assert np.mean(((value - truth) / stderr) ** 2) == pytest.approx(1, abs=0.7)


def test_shots_are_shared_for_the_least_error():
    shares = Shares(words=9.0, projectors=1.0, n_words=6, n_projectors=2, n_all=7)
    assert shares.of_words == pytest.approx(0.75)

    def error(part):
        return 9 / part + 1 / (1 - part)

    assert error(0.75) <= min(error(part) for part in np.linspace(0.01, 0.99, 99))
    assert shares.needed(0.1) == pytest.approx(16 / 7 * 100, abs=1)
    of_words, of_projectors = shares.targets(0.1)
    assert (6 * of_words**2 + 2 * of_projectors**2) / 7 == pytest.approx(0.01)
    assert shares.split(1000, 10, 24) == (750, 250)
    assert shares.split(60, 10, 24) == (36, 24)
    with pytest.raises(efl.InvalidInputError, match="shots: expected at least 34, 24 of them"):
        shares.split(20, 10, 24)


def test_a_target_is_that_of_all_derivatives():
    x, reports = angles(), []
    node = model(MIXTURES["beside words and probabilities"])
    _, stderr = efl.gradient_with_errors(node, target=0.02, seed=1, report=reports)(x)
    assert reports[0].predicted == pytest.approx(0.02, rel=0.02)
    assert np.square(stderr).mean() ** 0.5 == pytest.approx(0.02, rel=0.4)
    plan = efl.plan(node, target=0.02, state="prepared")(x)
    assert (plan.words.best.name, plan.best.name) == tuple(reports[0].method.split(" + "))
    assert f"Together: {plan.shots:,} shots" in str(plan)
    assert "Together" in plan._repr_html_()
    assert plan.to_dict()["words"]["best"] == plan.words.best.name
    assert efl.plan(node, target=0.02)(x).at_state("prepared").shots == plan.shots
    assert plan.retarget(0.04).shots == pytest.approx(plan.shots / 4, abs=1)
    average = efl.plan(node, target=0.02)(x)
    assert average.shots >= plan.best.shots
    assert reports[0].shots == pytest.approx(average.shots, rel=0.5)


def test_few_of_the_wires_are_measured_by_shifts():
    n = 9
    device = qml.device("default.qubit", wires=n)

    def wide(x):
        for q in range(n):
            qml.RY(x[q], wires=q)
        for q in range(n - 1):
            qml.CNOT(wires=[q, q + 1])

    def measured():
        return [qml.expval(qml.Projector([0] * 5, wires=range(5))), qml.expval(qml.Z(8))]

    x = pnp.array(np.random.default_rng(2).uniform(-0.8, 0.8, n), requires_grad=True)
    node = model(measured, device, wide)
    plan = efl.plan(node)(x)
    assert plan.methods == ["shift"]
    assert "16 vectors" in plan["global_clifford"].note
    reports = []
    found, stderr = efl.gradient_with_errors(node, shots=40_000, seed=3, report=reports)(x)
    truth = qml.jacobian(lambda x: qml.math.stack(node(x)))(x)
    assert (np.abs(found - truth) < 5 * stderr + 1e-12).all()
    assert reports[0].method.endswith("shift")
    with pytest.raises(
        efl.InvalidInputError, match=r'tape: expected projectors on all wires .*method="shift"'
    ):
        efl.gradient_with_errors(node, shots=1000, method="global_clifford")(x)


@pytest.mark.parametrize("method", ["global_clifford", "shift"])
def test_devices_that_sample(method):
    x, reports = angles(), []
    plus = np.array([1, 1]) / 2**0.5
    product = np.kron(np.kron(np.kron(plus, [1, 0]), np.kron([0, 1j], [0.6, 0.8j])), np.kron([1, 0], [1, 0]))

    def measured():
        return [qml.expval(qml.Z(0)), qml.expval(qml.Projector(product, wires=range(WIRES)) + all_wires())]

    node = model(measured, qml.device("default.qubit", wires=WIRES, seed=4))
    options = {"shots": 400, "seed": 2, "method": method, "device_options": {"mode": "tapes"}}
    found, stderr = efl.gradient_with_errors(node, **options, report=reports)(x)
    assert reports[0].mode == "tapes"
    assert (np.abs(found - exact(measured, x)) < 5 * stderr).all()


def test_noise_is_measured_by_shifts():
    x, reports = angles(2), []
    noise = efl.Noise(one_qubit=0.01, two_qubit=0.1)
    device = qml.device("default.mixed", wires=WIRES, seed=3)
    noisy = qml.add_noise(device, efl.pennylane.noise_model(noise))

    def few(x):
        for q in range(WIRES):
            qml.RY(x[q], wires=q)
        for q in range(WIRES - 1):
            qml.CNOT(wires=[q, q + 1])

    def measured():
        return [qml.expval(all_wires()), qml.expval(qml.Z(WIRES - 1))]

    node = model(measured, noisy, few)
    truth = qml.jacobian(lambda x: qml.math.stack(node(x)))(x)
    found, stderr = efl.gradient_with_errors(node, shots=20_000, noise=noise, seed=1, report=reports)(x)
    assert reports[0].method.endswith(" + shift")
    assert (np.abs(found - truth) < 5 * stderr + 1e-12).all()
    assert np.abs(exact(measured, x, few) - truth)[0].max() > 10 * stderr[0].max(), "noise would not be seen"
    assert efl.plan(node, noise=noise)(x).methods == ["shift"]


@pytest.mark.parametrize("method", ["auto", "shift"])
def test_the_device_of_a_fleet_has_values_and_gradients(method):
    x, measured, reports = angles(), MIXTURES["beside words and probabilities"], []
    fleet = qml.device("efl.fleet", DEVICE, shots=40_000, seed=6, method=method, report=reports)

    def own(x):
        gates(x)
        return measured()

    node = qml.QNode(own, fleet)

    def flat(x):
        return qml.math.hstack([qml.math.atleast_1d(v) for v in node(x)])

    found = qml.jacobian(flat)(x)
    [report] = reports
    assert np.abs(found - exact(measured, x)).max() < 6 * report.stderr.max()
    values = np.hstack([np.atleast_1d(v) for v in model(measured)(x)])
    assert (np.abs(report.value - values) < 5 * report.value_stderr).all()
    assert report.shots == 40_000
    fixed = qml.QNode(lambda: [qml.RY(0.4, 0), *measured()][1:], fleet)
    assert len(fixed()) == 3


def test_a_shot_vector_has_an_axis():
    x, measured = angles(), MIXTURES["some wires"]
    node = qml.set_shots(model(measured), (20_000, 10_000))
    found, stderr = efl.gradient_with_errors(node, seed=2)(x)
    assert found.shape == (2, 2, WIRES)
    assert (np.abs(found - exact(measured, x)) < 5 * stderr).all()
    assert stderr[0].mean() < stderr[1].mean()


def test_coefficients_of_words_are_trained_beside_projectors():
    def own(x, c):
        gates(x)
        return qml.expval(all_wires()), qml.expval(qml.s_prod(c, qml.Z(0) @ qml.Z(1)))

    x, c = angles(), pnp.array(0.7, requires_grad=True)
    node = qml.QNode(own, DEVICE)
    (by_x, by_c), (error_x, error_c) = efl.gradient_with_errors(node, shots=20_000, seed=4)(x, c)
    truth = qml.jacobian(lambda x, c: qml.math.stack(node(x, c)))(x, c)
    assert (np.abs(by_x - truth[0]) < 5 * error_x).all()
    assert (np.abs(by_c - truth[1]) < 5 * error_c + 1e-12).all()
    tape = qml.workflow.construct_tape(node)(x, c)
    options = {"device_options": {"device": DEVICE}, "shots": 2000, "seed": 1}
    tapes, post = efl.shadow_grad(tape, argnum=[0], **options)
    assert np.count_nonzero(np.array(post(DEVICE.execute(tapes)))) == 2


def test_a_tape_of_one_shot_length_has_nothing_beside_projectors():
    kwargs = {"shots": 1000, "device_options": {"equal_shots": True}}
    with pytest.raises(efl.InvalidInputError, match="tape: expected nothing beside a projector"):
        efl.gradient_with_errors(model(MIXTURES["some wires"]), **kwargs)(angles())


def test_operators_of_few_vectors_are_those_of_dense_matrices():
    random = np.random.default_rng(4)
    vectors = random.normal(size=(4, 16)) + 1j * random.normal(size=(4, 16))
    vectors[3] = vectors[0] - 2j * vectors[1]  # dependent, as those of parameters that do the same
    weights = random.normal(size=(4, 4)) + 1j * random.normal(size=(4, 4))
    operator = LowRank(vectors, weights + weights.conj().T)
    dense = np.einsum("jd,jk,ke->de", vectors, operator.weights, vectors.conj())
    eigenvalues, state = np.linalg.eigvalsh(dense), random_state(4, 7)
    assert np.allclose(operator.figures(), (np.sum(eigenvalues**2), np.max(eigenvalues**2)))
    moved = dense @ state
    assert np.allclose(operator.on(state), (np.vdot(state, moved).real, np.vdot(moved, moved).real))
    found, values = operator.diagonal()
    assert len(values) == 3
    assert np.allclose(found.conj() @ found.T, np.eye(3))
    assert np.allclose(np.einsum("j,jd,je->de", values, found, found.conj()), dense)
    assert LowRank(vectors[:1], np.zeros((1, 1))).figures() == (0, 0)


def test_a_target_on_some_qubits_is_as_many_on_all():
    target, state = random_state(3, 1), random_state(5, 2)
    own = WideProjector(1.0, target, (4, 0, 2))
    lifted = own.lifted(5)
    assert np.allclose(lifted.conj() @ lifted.T, np.eye(4))
    assert own.chance(state) == pytest.approx(np.square(np.abs(lifted.conj() @ state)).sum())
    assert own.parts is None
    assert own.bits is None
    plus, other = np.array([1, 1j]) / 2**0.5, np.array([0, 1])
    product = WideProjector(1.0, np.kron(np.kron(plus, other), plus), (0, 1, 2))
    for part, state in zip(product.parts, (plus, other, plus), strict=True):
        assert abs(np.vdot(part, state)) == pytest.approx(1)
    assert WideProjector(1.0, np.eye(8)[5], (0, 1, 2)).bits == (1, 0, 1)
