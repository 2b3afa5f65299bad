"""What the device efl.fleet submits, serves and refuses.

Every model is compared in `test_stacks`. Comparisons are within 5 standard errors. Seeds are fixed, so a test
passes for good or fails for good; with fresh seeds one of m numbers would fail by chance with probability
m * 6e-7.
"""

import warnings
from itertools import pairwise

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from pennylane.exceptions import DeviceError, QuantumFunctionError
from tests.pennylane.models import MODELS, Former, arguments, stacked

import efl_core as efl
from efl_core.pennylane.reports import last_report

WIDTH = 5.0  # standard errors


def ising(wires):
    couplings = [qml.Z(a) @ qml.Z(b) for a, b in pairwise(wires)]
    fields = [qml.X(w) for w in wires]
    return qml.dot([0.7] * len(couplings) + [-0.4] * len(fields), couplings + fields)


def node(device, name, **options):
    return stacked(qml.QNode(MODELS[name].function, device, **options))


def exact(name):
    reference, [parameters] = node(qml.device("default.qubit"), name), arguments(name)
    return np.array(reference(parameters)), np.array(qml.jacobian(reference)(parameters))


@pytest.mark.parametrize("method", ["uniform", "product", "clifford", "block", "echo", "mixture", "shift"])
def test_every_method_gives_values_too(method):
    inner = qml.device("default.qubit", wires=3)
    device = qml.device("efl.fleet", inner, shots=40_000, seed=5, method=method)
    tape = qml.tape.QuantumScript(
        [
            qml.RY(0.4, 0),
            qml.CNOT([0, 1]),
            qml.RX(0.9, 1),
            qml.CNOT([1, 2]),
            qml.RZ(0.3, 2),
            qml.RY(-0.7, 2),
        ],
        [qml.expval(ising([0, 1, 2])), qml.expval(qml.Z(2))],
        shots=40_000,
        trainable_params=[0, 1, 2, 3],
    )
    exact_tape = tape.copy(shots=None)
    config = qml.devices.ExecutionConfig(gradient_method="adjoint", use_device_gradient=True)
    simulator = qml.device("default.qubit")
    value = simulator.execute(exact_tape)
    split, read = qml.gradients.param_shift(exact_tape)
    jacobian = np.array(read(simulator.execute(split)))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # a method that loses says so
        with qml.Tracker(inner) as tracker:
            found, derivatives = device.execute_and_compute_derivatives(tape, config)
    assert tracker.totals["batches"] == 1
    report = last_report()
    assert report.method == method
    assert (np.abs(np.array(derivatives) - jacobian) <= WIDTH * report.stderr + 1e-12).all()
    assert (np.abs(np.array(found) - np.array(value)) < WIDTH * report.value_stderr).all()


def test_errors_of_values_are_calibrated():
    # 400 numbers: the mean of their squared scores has the standard deviation sqrt(2 / 400) = 0.07.
    device = qml.device("efl.fleet", "default.qubit", wires=3, shots=4_000, seed=7)
    circuit, parameters = node(device, "entangler"), arguments("entangler")[0]
    value, _ = exact("entangler")
    scores = []
    for _ in range(200):
        qml.jacobian(circuit)(parameters)
        report = last_report()
        scores += list((report.value - value) / report.value_stderr)
    assert abs(np.mean(scores)) < 5 / np.sqrt(len(scores))
    assert abs(np.mean(np.square(scores)) - 1) < 5 * np.sqrt(2 / len(scores))


def test_evaluation_measures_values_only():
    inner = qml.device("default.qubit", wires=3)
    device = qml.device("efl.fleet", inner, shots=1_000, seed=1, device_options={"mode": "tapes"})
    circuit, parameters = node(device, "ring"), arguments("ring")[0]
    for given in (parameters, np.array(parameters)):
        with qml.Tracker(inner) as tracker:
            circuit(given)
        assert tracker.totals["batches"] == 1
        assert tracker.totals["simulations"] == 1  # Z on all wires: one setting
        assert tracker.totals["shots"] == 1_000
    with qml.Tracker(inner) as tracker:
        qml.jacobian(circuit)(parameters)
    assert tracker.totals["batches"] == 1
    assert tracker.totals["simulations"] > 1
    assert tracker.totals["shots"] == 1_000


def test_derivatives_that_vanish_take_no_shots():
    inner = qml.device("default.qubit", wires=2)

    def gates(x):
        qml.H(0)
        qml.CNOT([0, 1])
        qml.RX(x, wires=1)
        return qml.expval(qml.X(0) @ qml.X(1)), qml.expval(qml.X(1))

    circuit = stacked(qml.QNode(gates, qml.device("efl.fleet", inner, shots=400, seed=1)))
    with qml.Tracker(inner) as tracker:
        slopes = qml.jacobian(circuit)(pnp.array(0.3, requires_grad=True))
    assert tracker.totals["batches"] == 1
    assert np.array_equal(slopes, [0, 0])
    report = last_report()
    assert report.value[0] == 1
    assert abs(report.value[1]) < WIDTH / np.sqrt(report.shots)
    assert report.shots == 400


def test_derivatives_when_asked_for_later():
    # grad_on_execution=False: the user wants two submissions, and no more shots than are needed.
    inner = qml.device("default.qubit", wires=3)
    device = qml.device("efl.fleet", inner, shots=20_000, seed=2)
    circuit = node(device, "ring", grad_on_execution=False)
    with qml.Tracker(inner) as tracker:
        found = qml.jacobian(circuit)(arguments("ring")[0])
    assert tracker.totals["batches"] == 2
    assert np.abs(found - exact("ring")[1]).max() < WIDTH * last_report().stderr.max()


@pytest.mark.parametrize("shots", [20_000, (10_000, 20_000)])
def test_vector_jacobian_product(shots):
    device = qml.device("efl.fleet", "default.qubit", wires=3, shots=shots, seed=2)
    circuit = node(device, "ring", device_vjp=True)

    def cost(x):
        return pnp.sum(circuit(x))

    reference = node(qml.device("default.qubit"), "ring")
    copies = 2 if isinstance(shots, tuple) else 1
    expected = copies * qml.grad(lambda x: pnp.sum(reference(x)))(arguments("ring")[0])
    found = qml.grad(cost)(arguments("ring")[0])
    error = np.linalg.norm(last_report().stderr)
    assert np.abs(found - expected).max() < WIDTH * copies * error


def test_error_targets():
    inner = qml.device("default.qubit", wires=3)
    device = qml.device("efl.fleet", inner, target=0.02, value_target=0.005, seed=1)
    parameters = arguments("entangler")[0]
    qml.jacobian(node(device, "entangler"))(parameters)
    report = last_report()
    assert report.observed < 1.2 * 0.02
    # The cost of a plan is that of the mixed state; a value has less variance than that.
    assert np.sqrt(np.mean(np.square(report.value_stderr))) < 0.005

    counted = qml.device("efl.fleet", inner, value_target=0.01, device_options={"mode": "tapes"})
    with qml.Tracker(inner) as tracker:
        node(counted, "ring")(arguments("ring")[0])
    assert tracker.totals["shots"] == 10_000  # words of variance 1, one setting


def test_shot_vectors():
    device = qml.device("efl.fleet", "default.qubit", wires=3, shots=(8_000, 16_000), seed=4)

    @qml.qnode(device)
    def circuit(x):
        qml.BasicEntanglerLayers(x, wires=range(3), rotation=qml.RY)
        return qml.expval(qml.Z(0)), qml.expval(qml.Z(1))

    parameters = arguments("ring")[0]
    found = circuit(parameters)
    assert [len(copy) for copy in found] == [2, 2]
    jacobian = qml.jacobian(lambda x: pnp.stack([pnp.stack(copy) for copy in circuit(x)]))(parameters)
    assert jacobian.shape == (2, 2, 3, 3)
    assert np.abs(jacobian - exact("ring")[1][:2]).max() < WIDTH * 2 * last_report().stderr.max()


def test_broadcasts_of_data_and_of_parameters():
    inner = qml.device("default.qubit", wires=2)
    device = qml.device("efl.fleet", inner, shots=20_000, seed=6)

    def gates(theta, x):
        qml.AngleEmbedding(x, wires=range(2))
        qml.RY(theta, wires=0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    circuit, reference = qml.QNode(gates, device), qml.QNode(gates, qml.device("default.qubit"))
    x = pnp.array([[0.3, 0.4], [0.1, -0.8], [0.9, 0.2]], requires_grad=False)
    for theta in (pnp.array(0.4, requires_grad=True), pnp.array([0.4, 0.1, -0.5], requires_grad=True)):
        with qml.Tracker(inner) as tracker:
            found = qml.jacobian(circuit)(theta, x)
        assert tracker.totals["batches"] == 1
        expected = qml.jacobian(reference)(theta, x)
        assert found.shape == expected.shape
        assert np.abs(found - expected).max() < WIDTH * 3 * last_report().stderr.max()


def test_coefficients_are_differentiated():
    device = qml.device("efl.fleet", "default.qubit", wires=2, shots=40_000, seed=8)

    def gates(x, c):
        qml.RY(x, wires=0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Hamiltonian(c, [qml.Z(0), qml.X(0) @ qml.X(1)]))

    x, c = pnp.array(0.6, requires_grad=True), pnp.array([0.5, -0.3], requires_grad=True)
    found = qml.grad(qml.QNode(gates, device))(x, c)
    expected = qml.grad(qml.QNode(gates, qml.device("default.qubit")))(x, c)
    for a, b in zip(found, expected, strict=True):
        assert np.abs(np.array(a) - np.array(b)).max() < WIDTH * last_report().stderr.max()


def test_the_same_seed_gives_the_same_numbers():
    def run():
        device = qml.device("efl.fleet", "default.qubit", wires=3, shots=500, seed=11)
        circuit, parameters = node(device, "ring"), arguments("ring")[0]
        return circuit(parameters), qml.jacobian(circuit)(parameters), circuit(parameters)

    (a, da, second), (b, db, _) = run(), run()
    np.testing.assert_array_equal(a, b)
    np.testing.assert_array_equal(da, db)
    assert (np.array(a) != np.array(second)).any()


# ---- devices inside ------------------------------------------------------------------------------


def test_clifford_simulator():
    inner = qml.device("default.clifford", wires=4)

    @qml.qnode(qml.device("efl.fleet", inner, shots=2_000, seed=1))
    def circuit():
        qml.H(0)
        for w in range(3):
            qml.CNOT([w, w + 1])
        return (
            qml.expval(qml.prod(*(qml.X(w) for w in range(4)))),
            qml.expval(qml.Z(0) @ qml.Z(3)),
            qml.expval(qml.Y(1)),
        )

    a, b, c = circuit()
    assert (a, b) == (1, 1)
    assert abs(c) < WIDTH / np.sqrt(500)


def test_device_of_the_former_interface():
    inner = Former(wires=3)
    device = qml.device("efl.fleet", inner, shots=20_000, seed=9)
    circuit, parameters = node(device, "ring"), arguments("ring")[0]
    jacobian = qml.jacobian(circuit)(parameters)
    # Equal shots for all tapes: the former interface then takes them at once.
    assert len(inner.submissions) == 1
    assert np.abs(jacobian - exact("ring")[1]).max() < WIDTH * last_report().stderr.max()
    inner.submissions.clear()
    values = np.array(circuit(parameters))
    assert len(inner.submissions) == 1
    assert np.abs(values - exact("ring")[0]).max() < WIDTH / np.sqrt(20_000)


def test_wires_in_any_order_and_of_any_name():
    inner = qml.device("default.qubit", wires=["c", 7, "a"])

    def gates(x):
        qml.RY(x, wires="a")
        qml.CNOT(["a", "c"])
        return qml.expval(qml.Z("c") @ qml.Z("a")), qml.expval(qml.X("a") @ qml.X("c")), qml.expval(qml.Z(7))

    x = pnp.array(0.7, requires_grad=True)
    circuit = qml.QNode(gates, qml.device("efl.fleet", inner, shots=20_000, seed=1))
    found = np.array(circuit(x))
    np.testing.assert_allclose(found, [1, np.sin(0.7), 1], atol=WIDTH * 2 / np.sqrt(20_000))


# ---- what is not an expectation value ------------------------------------------------------------


@pytest.mark.parametrize(
    "measure",
    [
        lambda: qml.sample(wires=[0, 1]),
        lambda: qml.counts(wires=0),
        lambda: qml.classical_shadow(wires=[0, 1]),
    ],
)
def test_other_measurements_run_inside(measure):
    inner = qml.device("default.qubit", wires=2, seed=3)

    @qml.qnode(qml.device("efl.fleet", inner, shots=100))
    def circuit(x):
        qml.RY(x, wires=0)
        return measure()

    with qml.Tracker(inner) as tracker:
        circuit(0.0)
        circuit(pnp.array(0.0, requires_grad=True))
    assert tracker.totals["batches"] == 2
    assert tracker.totals["shots"] == 200


def test_state_runs_inside():
    @qml.qnode(qml.device("efl.fleet", "default.qubit", wires=1, target=0.1))
    def circuit():
        qml.X(0)
        return qml.state()

    np.testing.assert_array_equal(circuit(), [0, 1])


def test_other_measurements_have_no_device_gradient():
    device = qml.device("efl.fleet", "default.qubit", wires=1, shots=4_000, seed=1)

    def circuit(x):
        qml.RY(x, wires=0)
        return qml.purity(wires=0)

    x = pnp.array(0.6, requires_grad=True)
    with pytest.raises(efl.InvalidInputError, match='or "finite-diff" for a function'):
        qml.grad(qml.QNode(circuit, device))(x)


def test_other_gradient_methods_work():
    device = qml.device("efl.fleet", "default.qubit", wires=3, shots=20_000, seed=1)
    x = arguments("ring")[0]
    for method in ("parameter-shift", efl.shadow_grad):
        found = qml.jacobian(node(device, "ring", diff_method=method))(x)
        assert np.abs(found - exact("ring")[1]).max() < 0.1


# ---- bad input -----------------------------------------------------------------------------------

BAD = {
    "no device": (lambda: qml.device("efl.fleet", 3), efl.InputTypeError, "PennyLane device"),
    "wires twice": (
        lambda: qml.device("efl.fleet", qml.device("default.qubit"), wires=2),
        efl.InvalidInputError,
        "wires: expected none",
    ),
    "zero shots": (
        lambda: qml.device("efl.fleet", "default.qubit", wires=1, shots=0),
        efl.InvalidInputError,
        "shots: expected positive",
    ),
    "shots and target": (
        lambda: qml.device("efl.fleet", "default.qubit", wires=1, shots=10, target=0.1),
        efl.InvalidInputError,
        "either shots, or target",
    ),
    "target": (
        lambda: qml.device("efl.fleet", "default.qubit", wires=1, target=-0.1),
        efl.InvalidInputError,
        "target: expected a positive",
    ),
    "value target": (
        lambda: qml.device("efl.fleet", "default.qubit", wires=1, target=0.1, value_target=0),
        efl.InvalidInputError,
        "value_target: expected a positive",
    ),
    "method": (
        lambda: qml.device("efl.fleet", "default.qubit", wires=1, method="magic"),
        efl.InvalidInputError,
        "method: expected",
    ),
    "setting": (
        lambda: qml.device("efl.fleet", "default.qubit", wires=1, device_options={"speed": 1}),
        efl.InvalidInputError,
        "device_options: expected some of",
    ),
    "device in settings": (
        lambda: qml.device(
            "efl.fleet", "default.qubit", wires=1, device_options={"device": qml.device("default.qubit")}
        ),
        efl.InvalidInputError,
        "device_options: expected no device",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_devices(case):
    make, error, message = BAD[case]
    with pytest.raises(error, match=message):
        make()


def test_bad_circuits():
    def circuit(x):
        qml.RY(x, wires=0)
        return qml.expval(qml.Z(0) + qml.X(0))

    x = pnp.array(0.3, requires_grad=True)
    analytic = qml.device("efl.fleet", "default.qubit", wires=1)
    with pytest.raises(efl.InvalidInputError, match="shots=20_000"):
        qml.QNode(circuit, analytic)(x)
    with pytest.raises(efl.InvalidInputError, match="shots=20_000"):
        qml.grad(qml.QNode(circuit, analytic))(x)
    only_values = qml.device("efl.fleet", "default.qubit", wires=1, value_target=0.1)
    qml.QNode(circuit, only_values)(x)
    with pytest.raises(efl.InvalidInputError, match=r"target=0\.01"):
        qml.grad(qml.QNode(circuit, only_values))(x)
    few = qml.device("efl.fleet", "default.qubit", wires=1, shots=1)
    with pytest.raises(efl.InvalidInputError, match="shots: expected at least 2"):
        qml.QNode(circuit, few)(x)
    device = qml.device("efl.fleet", "default.qubit", wires=1, shots=100)
    with pytest.raises(QuantumFunctionError, match="does not support"):
        qml.QNode(circuit, device, diff_method="adjoint")
    with pytest.raises(qml.exceptions.WireError):
        qml.QNode(lambda: qml.expval(qml.Z(5)), device)()
    with pytest.raises(DeviceError):
        qml.device("efl.fleets", "default.qubit")
