"""What cannot be done is refused with what to write instead."""

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from tests.pennylane.models import trainable

import efl_core as efl


def run(measurement=None, options=None, shots=None, **arguments):
    def model(theta):
        qml.RY(theta, wires=0)
        qml.CNOT(wires=[0, 1])
        return qml.expval(qml.Z(1)) if measurement is None else measurement()

    options = {"shots": 100} if options is None else options
    device = qml.device("default.qubit", wires=2)
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options, **arguments)
    qnode = qnode if shots is None else qml.set_shots(qnode, shots)
    return qml.jacobian(qnode)(trainable(0.3))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ({"options": {}}, ValueError, r"shots: .*gradient_kwargs=\{\"shots\": 10_000\}.*target"),
        ({"options": {"shots": 0}}, ValueError, "shots: expected an integer from 1"),
        ({"options": {"shots": 1e4}}, TypeError, "shots: expected an integer"),
        (
            {"options": {"shots": 1}, "measurement": lambda: qml.var(qml.Z(1))},
            ValueError,
            "shots: expected at least 2, 1 of them for the settings that values are read in, got 1",
        ),
        ({"options": {"shots": 10, "target": 0.1}}, ValueError, "either shots or target"),
        ({"options": {"target": -1}}, ValueError, "target: expected a positive"),
        ({"options": {"snapshots": 10}}, TypeError, "expected some of shots, target.*got 'snapshots'"),
        (
            {"options": {"shots": 10, "method": "magic"}},
            ValueError,
            "method: expected 'auto' or one of",
        ),
        ({"options": {"shots": 10, "ensemble": "uniform"}}, TypeError, "ensemble: .*method="),
        ({"options": {"shots": 10, "combine": "median_of_means"}}, ValueError, "combine: .*ensemble="),
        ({"options": {"shots": 10, "combine": "median"}}, ValueError, "combine: expected one of mean"),
        ({"options": {"shots": 10, "truncation": efl.Truncation()}}, ValueError, "truncation: .*ensemble="),
        ({"options": {"shots": 10, "device_options": {"mode": "fast"}}}, ValueError, "mode auto, state"),
        ({"options": {"shots": 10, "device_options": {"chunk": 3}}}, ValueError, "expected some of mode"),
        ({"options": {"shots": 10, "device_options": 3}}, TypeError, "device_options: expected a dict"),
        ({"options": {"shots": 10, "report": 3}}, TypeError, "report: expected a list or a function"),
        ({"options": {"shots": 10, "argnum": 0.5}}, TypeError, "argnum: expected an integer"),
        ({"options": {"shots": 10, "seed": -1}}, ValueError, "seed: expected an integer from 0"),
        ({"measurement": lambda: qml.purity(wires=0)}, ValueError, "qml.expval.*finite-diff"),
        (
            {"measurement": lambda: qml.var(qml.Z(0)), "options": {"target": 0.1}},
            ValueError,
            "target: expected shots for qml.var",
        ),
        ({"grad_on_execution": True}, ValueError, "grad_on_execution"),
    ],
    ids=str,
)
def test_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        run(**arguments)


@pytest.mark.parametrize("measured", [qml.state(), qml.sample(wires=0), qml.vn_entropy(wires=0)], ids=str)
def test_measurements(measured):
    tape = qml.tape.QuantumScript([qml.RX(0.1, wires=0)], [measured], shots=10, trainable_params=[0])
    with pytest.raises(efl.EflError, match=r"expected measurements qml\.expval"):
        efl.shadow_grad(tape)


def test_methods_that_do_not_apply():
    with pytest.raises(ValueError, match=r"method: .*commuting"):
        run(options={"shots": 100, "method": "block", "device_options": {"connectivity": "none"}})


def test_too_many_tapes():
    options = {"shots": 100, "method": "shift", "device_options": {"mode": "tapes", "max_tapes": 1}}
    with pytest.raises(
        ValueError,
        match=r"device_options: expected max_tapes for every .*, got 1 \(.*at least 2",
    ):
        run(options=options)


def test_arrays_that_no_angle_is():
    matrix = trainable(np.eye(2))

    def model(matrix):
        qml.RX(0.3, wires=0)
        return qml.expval(qml.Hermitian(matrix, wires=0))

    device = qml.device("default.qubit")
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 100})
    with pytest.raises(ValueError, match="angles, or coefficients of exp"):
        qml.jacobian(qnode)(matrix)


def test_gradient_with_errors_of_what_is_no_qnode():
    with pytest.raises(TypeError, match="expected a PennyLane QNode"):
        efl.gradient_with_errors(lambda x: x)
    qnode = qml.QNode(lambda x: qml.expval(qml.Z(0)), qml.device("default.qubit"))
    with pytest.raises(ValueError, match="expected one that PennyLane trains"):
        efl.gradient_with_errors(qnode, shots=10)(0.3)
    with pytest.raises(ValueError, match="that a gate depends on"):
        efl.gradient_with_errors(qnode, shots=10)(trainable(0.3))
    for argnums, message in ((1, "argnums: expected an integer"), ((0, -1), "argnums: expected different")):
        with pytest.raises(ValueError, match=message):
            efl.gradient_with_errors(qnode, argnums=argnums, shots=10)(trainable(0.3))
    with pytest.raises(ValueError, match="argnums: expected different arguments, at least one"):
        efl.gradient_with_errors(qnode, argnums=[], shots=10)(trainable(0.3))


def test_numbers_of_parameters_that_are_not_there():
    qnode = qml.QNode(lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1], qml.device("default.qubit"))
    with pytest.raises(ValueError, match="argnum: expected numbers below 1"):
        efl.gradient_with_errors(qnode, shots=100, argnum=3)(trainable(np.array(0.3)))


def test_more_outcomes_than_fit_in_memory():
    qnode = qml.QNode(lambda x: (qml.RX(x, 0), qml.expval(qml.Z(0)))[1], qml.device("default.qubit"))
    with pytest.raises(ValueError, match=r"shots: expected at most .* held in memory"):
        efl.gradient_with_errors(qnode, target=1e-6)(trainable(np.array(0.3)))


def test_states_that_are_data():
    """PennyLane normalises a state with arrays that say they are trained."""

    def model(x, theta):
        qml.AmplitudeEmbedding(x, wires=range(2), normalize=True)
        qml.RY(theta[0], wires=0)
        qml.CNOT([0, 1])
        return qml.expval(qml.Z(1))

    device = qml.device("default.qubit", wires=2)
    x, theta = pnp.array([0.3, 0.1, 0.9, 0.2], requires_grad=False), trainable(np.array([0.3]))
    options = {"shots": 20_000, "seed": 3}
    found = qml.grad(qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options))(x, theta)
    error = efl.shadow_grad.last_report().stderr.max()
    assert abs(found - qml.grad(qml.QNode(model, device))(x, theta))[0] < 5 * error
    with pytest.raises(ValueError, match="args: expected trained parameters of gates that are angles"):
        efl.gradient_with_errors(qml.QNode(model, device), **options)(x, theta)
    qnode = qml.QNode(model, device, diff_method=efl.shadow_grad, gradient_kwargs=options)
    with pytest.raises(ValueError, match="expected trainable parameters to be angles"):
        qml.grad(qnode)(trainable(np.array([0.3, 0.1, 0.9, 0.2])), theta)
