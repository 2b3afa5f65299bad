"""QNodes as they are served: what is read of their structure, and what is refused."""

import numpy as np
import pennylane as qml
import pytest

import efl_core as efl
from efl_core.fleet import Learner, Replica
from efl_core.pennylane.serving import ServedQNode

N = 3
THETA = np.random.default_rng(1).uniform(-1, 1, (2, N))
X = np.array([0.3, -0.8, 0.5])


def qnode(function, device="default.qubit", **options):
    return qml.QNode(function, qml.device(device, wires=N, **options))


def layers(theta):
    for row in theta:
        for q in range(N):
            qml.RY(row[q], wires=q)
        for q in range(N - 1):
            qml.CZ(wires=[q, q + 1])
    for q in range(N):
        qml.RX(np.pi / 2, wires=q)  # a Clifford gate, written as an angle


def plain(x, theta):
    qml.AngleEmbedding(x, wires=range(N))
    layers(theta)
    return qml.expval(qml.Y(0))


def pair(x, theta):
    qml.AngleEmbedding(x, wires=range(N))
    qml.RZ(0.3, wires=0)
    layers(theta)
    return qml.expval(qml.Y(0)), qml.expval(qml.Z(1) @ qml.Z(2))


def listed(x, theta):
    first, second = pair(x, theta)
    return [first, second]


def amplitudes(x, theta):
    qml.AmplitudeEmbedding(x, wires=range(N), normalize=True)
    layers(theta)
    return qml.expval(qml.Y(0))


def controlled(x, theta):
    qml.CRot(*x, wires=[0, 1])
    layers(theta)
    return qml.expval(qml.Y(0))


def bits(x, theta):
    qml.BasisEmbedding(x, wires=range(N))
    layers(theta)
    return qml.expval(qml.Y(0))


def reuploaded(x, theta):
    for row in theta:
        qml.AngleEmbedding(x, wires=range(N))
        for q in range(N):
            qml.RY(row[q], wires=q)
        qml.CZ(wires=[0, 1])
    return qml.expval(qml.Z(0))


def two(x, more, theta):
    qml.AngleEmbedding(x, wires=range(N))
    qml.RX(more, wires=0)
    layers(theta)
    return qml.expval(qml.Y(0))


def alone(theta):
    layers(theta)
    return qml.expval(qml.Y(0))


@pytest.mark.parametrize(
    ("function", "inputs", "once"),
    [
        (plain, (X,), True),
        (plain, (np.full(N, np.pi / 2),), True),
        (plain, ([0.3, 0.0, 0.0],), True),
        (pair, (X,), True),
        (reuploaded, (X,), True),
        (two, (X, 0.7), True),
        (alone, (), True),
        (controlled, (X,), True),
        (amplitudes, (np.arange(1.0, 9.0),), False),
        (bits, (np.array([1, 0, 1]),), False),
    ],
)
def test_a_query_is_the_circuit_of_the_qnode(function, inputs, once):
    node = qnode(function)
    served = ServedQNode(node, THETA, inputs)
    assert served.is_converted_once is once
    point = served.at(THETA.ravel() + 0.1)
    asked = served.ask(point, inputs)
    values = np.ravel(node(*inputs, THETA + 0.1))
    if asked.circuit.bloch is not None:
        found = [efl.propagate(asked.circuit, own).value for own in served.outputs]
        assert found == pytest.approx(values, abs=1e-12)
    assert point.slopes == pytest.approx(np.eye(THETA.size))


@pytest.mark.parametrize(
    ("function", "inputs"),
    [(plain, (X,)), (amplitudes, (np.arange(1.0, 9.0),)), (bits, (np.array([1, 0, 1]),))],
)
def test_answers_are_those_of_the_qnode(function, inputs):
    """The mean of 200 answers of 64 shots, 4.5 standard errors: a false alarm in 100,000."""
    node = qnode(function)
    learner = Learner(node, THETA, inputs=inputs, seed=1)
    with Replica(node, learner, seed=2) as replica:
        found = [replica.answer(*inputs) for _ in range(200)]
    values = np.array([answer.value for answer in found])
    error = np.sqrt(np.mean(np.square([answer.stderr for answer in found])) / len(found))
    assert abs(values.mean() - node(*inputs, THETA)) < 4.5 * error
    assert values.std() == pytest.approx(error * np.sqrt(200), rel=0.25)


def test_values_have_the_form_of_the_qnode():
    for function, kind in ((plain, np.ndarray), (pair, tuple), (listed, list)):
        node = qnode(function)
        replica = Replica(node, Learner(node, THETA, seed=1), seed=1)
        one, several = replica.answer(X), replica.answers(np.tile(X, (5, 1)))
        exact = node(X, THETA)
        if kind is np.ndarray:
            assert np.shape(one.value) == np.shape(exact) == ()
            assert several.value.shape == (5,)
        else:
            assert type(one.value) is type(several.value) is type(exact) is kind
            assert [np.shape(v) for v in several.value] == [(5,), (5,)]
            assert len(one.stderr) == 2
        assert len(several) == len(several.tickets) == 5
        replica.close()


def test_shots_of_a_device_are_its_own():
    """Without state vectors every setting is a tape of samples; a tracker counts them."""
    node = qnode(plain, "default.mixed")
    learner = Learner(node, THETA, shots=20, share=0.2, inputs=X, seed=1)
    assert learner.version.roster.split.settings == 2
    with Replica(node, learner) as replica, qml.Tracker(node.device) as tracker:
        found = replica.answers(np.tile(X, (3, 1)))
    assert tracker.totals["shots"] == 60
    assert tracker.totals["executions"] == 9  # an answer and two settings that teach, for each query
    assert (np.abs(found.value) <= 1).all()


def test_the_rest_of_a_worker_is_another_device():
    """A replica of another device of the same circuit; a replica of another circuit is refused."""
    learner = Learner(qnode(plain), THETA, inputs=X, seed=1)
    with Replica(qnode(plain, "default.mixed"), learner) as replica:
        assert abs(replica.answer(X).value) <= 1
    with pytest.raises(
        efl.InvalidInputError, match=r"^qnode: expected the gates and outputs that the learner"
    ):
        Replica(qnode(pair), learner).answer(X)


def test_other_fixed_angles_at_other_inputs_are_refused():
    def branching(x, theta):
        qml.AngleEmbedding(x, wires=range(N))
        if x[0] > 0.9:
            qml.Hadamard(0)
        layers(theta)
        return qml.expval(qml.Y(0))

    def constants(x, theta):
        qml.AngleEmbedding(x, wires=range(N))
        qml.RZ(0.1 if x[0] > 0.9 else 0.2, wires=0)
        layers(theta)
        return qml.expval(qml.Y(0))

    for function in (branching, constants):
        node = qnode(function)
        learner = Learner(node, THETA, inputs=X, seed=1)
        with Replica(node, learner) as replica:
            replica.answer(X)
            with pytest.raises(
                efl.InvalidInputError, match=r"^inputs: expected the same gates and constants"
            ):
                replica.answer(np.ones(N))
            replica.answer(X)
            assert replica.flush(5)
        assert learner.counts["admitted"] == 2


def test_inputs_are_checked():
    node = qnode(plain)
    learner = Learner(node, THETA, inputs=X, seed=1)
    with Replica(node, learner) as replica:
        with pytest.raises(efl.InvalidInputError, match=r"^inputs: expected finite numbers"):
            replica.answer(np.array([0.1, np.nan, 0.2]))
        with pytest.raises(efl.InvalidInputError, match=r"^inputs: expected the same gates"):
            replica.answer(np.zeros((2, N)))
        with pytest.raises(efl.InvalidInputError, match=r"^inputs: expected those of one query or more"):
            replica.answers([])
        with pytest.raises(efl.InputTypeError, match=r"^inputs: expected a sequence"):
            replica.answers(3)
        replica.answer(X)
        replica.flush(5)
    assert learner.counts["admitted"] == 1


def mixed(x, theta):
    qml.RX(x[0] * theta[0, 0], wires=0)
    layers(theta)
    return qml.expval(qml.Y(0))


def added(x, theta):
    qml.RX(x[0] + theta[0, 0], wires=0)
    layers(theta)
    return qml.expval(qml.Y(0))


def midway(x, theta):
    qml.AngleEmbedding(x, wires=range(N))
    qml.measure(0)
    layers(theta)
    return qml.expval(qml.Y(1))


def probabilities(x, theta):
    qml.AngleEmbedding(x, wires=range(N))
    layers(theta)
    return qml.probs(wires=0)


def weighted(x, theta):
    qml.AngleEmbedding(x, wires=range(N))
    layers(theta)
    return qml.expval(qml.Hamiltonian([theta[0, 0]], [qml.Y(0)]))


def fixed(x, theta):
    qml.AngleEmbedding(x, wires=range(N))
    return qml.expval(qml.Y(0))


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (
            mixed,
            "params: expected numbers that turn gates by themselves, got some that inputs are mixed with",
        ),
        (added, "params: expected numbers that turn gates by themselves"),
        (midway, "qml.defer_measurements"),
        (probabilities, "qnode: expected expectation values"),
        (weighted, "params: expected numbers that turn gates"),
        (fixed, "params: expected numbers that a gate depends on"),
    ],
)
def test_what_cannot_be_served_is_refused(function, message):
    with pytest.raises(efl.EflError, match=message):
        Learner(qnode(function), THETA, inputs=X)


def test_reuploading_teaches_by_echoes_or_shifts():
    learner = Learner(qnode(reuploaded), THETA, inputs=X, seed=1)
    assert learner.version.roster.method in ("echo", "shift-pruned", "shift")
    assert Learner(qnode(plain), THETA, inputs=X, seed=1).version.roster.method not in ("echo", "shift")
    with pytest.raises(
        efl.InvalidInputError, match=r"^qnode: expected with served_only inputs that enter before"
    ):
        Learner(qnode(reuploaded), THETA, inputs=X, served_only=True)
    with pytest.raises(
        efl.InvalidInputError, match=r"^method: expected 'auto' or one of .*echo.*got 'clifford'"
    ):
        Learner(qnode(reuploaded), THETA, inputs=X, method="clifford")
    assert Learner(qnode(plain), THETA, inputs=X, served_only=True).price.circuits == 1


def test_parameters_may_be_computed_from():
    """Shared and scaled arguments: a derivative is that by the argument. No |z| > 4.5 of 7."""

    def shared(x, theta):
        qml.AngleEmbedding(x, wires=range(N))
        for q in range(N):
            qml.RY(2 * theta[0] + theta[q + 1], wires=q)
        qml.CZ(wires=[0, 1])
        for q in range(N):
            qml.RX(theta[q + 4] * theta[0], wires=q)
        return qml.expval(qml.Z(0))

    node, theta = qnode(shared), qml.numpy.array(np.linspace(0.2, 0.9, 7), requires_grad=True)
    learner = Learner(node, theta, loss="energy", inputs=X, seed=1)
    with Replica(node, learner, seed=3) as replica:
        replica.answers(np.tile(X, (3000, 1)))
        assert replica.flush(20)
    found = learner.gradient()
    exact = qml.grad(node, argnums=1)(X, theta)
    moving = found.stderr > 0
    assert moving.sum() >= 4
    assert np.abs((found.value - exact)[moving] / found.stderr[moving]).max() < 4.5
    assert found.value[~moving] == pytest.approx(exact[~moving], abs=1e-12)
    assert found.error < 0.1


@pytest.mark.parametrize(
    ("function", "options"),
    [
        (reuploaded, {"shots": 16, "share": 0.5}),
        (plain, {"shots": 16, "share": 0.5}),
        (plain, {"shots": 1, "share": 0.5}),
        (amplitudes, {"shots": 16, "share": 0.5}),
    ],
)
@pytest.mark.parametrize("device", ["default.mixed", "default.qubit"])
def test_whatever_teaches_runs_on_the_device(function, options, device):
    """Echoes, settings, kicks, and states that are given, written as tapes: no |z| > 4.5 of 6 derivatives."""
    node = qnode(function, device, seed=1)
    inputs = np.arange(1.0, 9.0) if function is amplitudes else X
    learner = Learner(node, THETA, loss="energy", inputs=inputs, seed=1, **options)
    with Replica(node, learner, seed=3) as replica:
        replica.answers(np.tile(inputs, (150, 1)))
        assert replica.flush(20)
    found = learner.gradient()
    exact = qml.grad(node, argnums=1)(inputs, qml.numpy.array(THETA, requires_grad=True))
    moving = found.stderr > 0
    assert found.queries == 150
    assert np.abs((found.value - exact)[moving] / found.stderr[moving]).max() < 4.5
    assert found.value[~moving] == pytest.approx(exact[~moving], abs=1e-12)
