"""Qiskit's Aer under PennyLane: another stack of software, behind the former interface (`make test-aer`).

Gradients are within five standard errors of PennyLane's exact ones. Aer has no seed here: with some 200
comparisons at 6e-7 each, a run fails by chance once in 8,000. Nothing leaves the machine, which is enforced.
"""

import socket

import numpy as np
import pennylane as qml
import pytest
from tests.pennylane.models import MODELS, SIGMAS, arguments, assert_close, stacked, wires_of

import efl_core as efl

pytest.importorskip("pennylane_qiskit", reason="`make test-aer` installs it")
pytest.importorskip("qiskit_aer", reason="`make test-aer` installs it")
pytestmark = pytest.mark.filterwarnings("ignore")  # those of Qiskit

SHOTS = 20_000
# Words and sums, several outputs, coefficients, a broadcast, wires by name, states to prepare.
NAMES = ["entangler", "excitations", "coefficients", "batch_of_inputs", "labelled", "prepared"]


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    def refuse(*address):
        raise AssertionError(f"a test may not ask the network, asked {address}")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)


@pytest.fixture
def aer(monkeypatch):
    """Return a function that makes a device, and a list of its jobs: how many circuits, and the shots."""

    def make(wires):
        device = qml.device("qiskit.aer", wires=wires, optimization_level=0)
        backend, jobs = device.target_device.backend, []
        run = backend.run

        def counted(circuits, shots=None, **options):
            jobs.append((len(circuits), shots))
            return run(circuits, shots=shots, **options)

        monkeypatch.setattr(backend, "run", counted)
        return device, jobs

    return make


@pytest.mark.parametrize("name", NAMES)
def test_transform(aer, name):
    """The gradients of all parameters and outputs are one job of equal shots; so is each entry of a batch."""
    device, jobs = aer(wires_of(name))
    qnode = qml.QNode(MODELS[name].function, device)
    reports = []
    gradients = efl.gradient_with_errors(qnode, shots=SHOTS, seed=1, report=reports)
    assert_close(name, *gradients(*arguments(name)))
    assert sum(tapes for tapes, _ in jobs) == sum(report.tapes for report in reports)
    assert sum(tapes * shots for tapes, shots in jobs) == sum(report.shots for report in reports)
    assert len(jobs) == len({shots for _, shots in jobs}) <= len(reports)


@pytest.mark.parametrize("transform", [efl.shadow_grad, efl.echo_grad], ids=["shadow", "echo"])
def test_gradient_method(aer, transform):
    device, jobs = aer(range(3))
    qnode = qml.QNode(MODELS["entangler"].function, device, diff_method=transform)
    qnode = qml.set_shots(qnode.update(gradient_kwargs={"shots": SHOTS, "seed": 1}), 1_000)
    found = qml.jacobian(stacked(qnode))(*arguments("entangler"))
    report = transform.last_report()
    assert jobs[0] == (2, 1_000)  # the value, in two settings
    assert jobs[1:] == [(report.tapes, report.shots // report.tapes)]
    assert_close("entangler", found, report.stderr)


@pytest.mark.parametrize("name", ["entangler", "labelled"])
def test_device(aer, name):
    """Values and Jacobian are one job, for each argument that PennyLane differentiates by."""
    inner, jobs = aer(wires_of(name))
    function, args, reports = MODELS[name].function, arguments(name), []
    fleet = qml.device("efl.fleet", inner, shots=SHOTS, seed=9, report=reports)
    found = qml.jacobian(stacked(qml.QNode(function, fleet)))(*args)
    assert len(jobs) == len(reports) == len(args)
    if len(args) == 1:
        assert_close(name, found, reports[0].stderr)
    value = stacked(qml.QNode(function, qml.device("default.qubit")))(*args)
    for (tapes, shots), report in zip(jobs, reports, strict=True):
        assert tapes * shots == report.shots <= SHOTS
        assert np.all(np.abs(report.value - value) <= SIGMAS * report.value_stderr)

    jobs.clear()
    values = np.array(qml.QNode(function, fleet)(*args))
    assert len(jobs) == 1
    assert np.all(np.abs(values - value) <= SIGMAS * reports[0].value_stderr.max())
