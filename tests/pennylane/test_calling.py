"""Who names the device of a gradient, and the private names of PennyLane that it is read from otherwise."""

import numpy as np
import pennylane as qml
import pytest
from pennylane.devices import Device
from pennylane.workflow import jacobian_products
from tests.pennylane.models import Former, layers, trainable

import efl_core as efl

THETA = trainable([[[0.1, 0.4, 0.3], [0.5, 0.2, 0.6], [0.2, 0.1, 0.7]]])
TAPE = qml.tape.QuantumScript([qml.RY(0.3, wires=0)], [qml.expval(qml.X(0))], trainable_params=[0])


def gradient(device, **options):
    qnode = qml.QNode(layers, device, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 100, **options})
    qml.grad(qnode)(THETA)
    return efl.shadow_grad.last_report()


def test_frames_are_the_fallback():
    report = gradient(qml.device("default.qubit"))
    assert (report.found_device, report.mode) == ("frame", "state")


def test_an_option_goes_first():
    mixed = qml.device("default.mixed", wires=3)
    report = gradient(qml.device("default.qubit"), device_options={"device": mixed})
    assert (report.found_device, report.mode) == ("option", "tapes")


def test_where_nobody_names_one_tapes_serve_all():
    tapes, post = efl.shadow_grad(TAPE, shots=100)
    post(qml.execute(tapes, qml.device("default.qubit")))
    report = efl.shadow_grad.last_report()
    assert (report.found_device, report.mode) == (None, "tapes")


def test_a_device_of_the_former_interface_is_wrapped_once():
    """PennyLane wraps it when a QNode is made; a transform of that QNode hands over what was wrapped."""

    def turn(x):
        qml.RY(x, wires=0)
        return qml.expval(qml.Z(0))

    given = trainable(0.3)
    for device in (Former(wires=1), qml.QNode(turn, Former(wires=1)).device):
        qnode = qml.QNode(turn, device)
        assert abs(efl.shadow_grad(qnode, shots=1_000, seed=1)(given) + np.sin(0.3)) < 0.2
        assert (
            gradient(qml.device("default.qubit"), device_options={"device": device}).found_device == "option"
        )


def test_the_other_doors_know_their_device():
    qnode = qml.QNode(layers, qml.device("default.qubit"))
    for measured in (efl.shadow_grad(qnode, shots=100), efl.gradient_with_errors(qnode, shots=100)):
        measured(THETA)
        assert efl.shadow_grad.last_report().found_device == "option"
    reports = []
    fleet = qml.device("efl.fleet", qml.device("default.qubit"), shots=100, report=reports)
    qml.grad(qml.QNode(layers, fleet))(THETA)
    assert reports[0].found_device == "option"


def test_pennylane_holds_the_device_where_it_is_looked_for(monkeypatch):
    """The contract with PennyLane: when it moves these names, `efl_core.pennylane.calling` has to follow."""
    seen = []
    compute = jacobian_products.TransformJacobianProducts.compute_vjp

    def watched(self, *args):
        names = self._inner_execute.__code__.co_freevars
        cells = [cell.cell_contents for cell in self._inner_execute.__closure__]
        seen.append(dict(zip(names, cells, strict=True))["device"])
        return compute(self, *args)

    monkeypatch.setattr(jacobian_products.TransformJacobianProducts, "compute_vjp", watched)
    device = qml.device("default.qubit")
    gradient(device)
    assert seen == [device]
    assert isinstance(seen[0], Device)


@pytest.mark.parametrize("call", [efl.shadow_grad, efl.echo_grad], ids=["shadow", "echo"])
def test_the_former_name_of_the_options_is_refused(call):
    with pytest.raises(TypeError, match="device_settings: expected device_options, which is its name now"):
        call(TAPE, shots=100, device_settings={"mode": "tapes"})
    qnode = qml.QNode(layers, qml.device("default.qubit"))
    with pytest.raises(TypeError, match="expected device_options"):
        efl.gradient_with_errors(qnode, shots=100, device_settings={"mode": "tapes"})
    with pytest.raises(TypeError, match="expected device_options"):
        qml.device("efl.fleet", "default.qubit", wires=1, device_settings={"mode": "tapes"})


@pytest.mark.filterwarnings("ignore:jax.core:DeprecationWarning")  # of PennyLane
@pytest.mark.parametrize("outputs", [1, 2])
def test_a_transform_works_where_jax_compiles(outputs):
    """There are no numbers before the compiled function runs; the gradient is measured when it does."""
    jax = pytest.importorskip("jax")
    device = qml.device("default.qubit", wires=1)
    observables = [qml.expval(qml.Z(0)), qml.expval(qml.X(0))][:outputs]

    def gradient(x, **options):
        gates = [qml.RY(x[0], wires=0), qml.RX(x[1], wires=0)]
        tape = qml.tape.QuantumScript(gates, observables, trainable_params=[0, 1])
        tapes, post = efl.shadow_grad(tape, shots=20_000, seed=1, **options)
        return post(qml.execute(tapes, device) if tapes else ())

    x = jax.numpy.array([0.3, 0.5])
    options = {"device_options": {"device": device}}
    eager, compiled = gradient(x, **options), jax.jit(lambda x: gradient(x, **options))(x)
    flat = [jax.tree_util.tree_leaves(found) for found in (eager, compiled)]
    assert len(flat[0]) == 2 * outputs
    for one, other in zip(*flat, strict=True):
        assert abs(one - other) < 1e-6
    assert abs(flat[1][0] + jax.numpy.sin(0.3) * jax.numpy.cos(0.5)) < 0.05
    with pytest.raises(ValueError, match=r'device_options: expected "device" inside jax\.jit'):
        jax.jit(gradient)(x)
