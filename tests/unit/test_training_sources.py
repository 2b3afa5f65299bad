"""What measures for a trainer: errors of the loss, distances from the circuit, points of data.

Seeds are fixed. Bounds that chance could break are said with the rate at which it would.
"""

import json

import numpy as np
import pytest

import efl_core as efl
from efl_core.training import Adam, Designed, Directions, Points, Request, natural_length
from efl_core.training.sources import simulated
from efl_core.training.values import Loss

PRODUCTS = {"XX": 0.7, "ZZ": -1.0, "ZI": 0.4, "YY": 0.3}
INPUTS = np.random.default_rng(1).uniform(-1.5, 1.5, (6, 2))
WEIGHTS = np.array([0.5, -0.25, 0.3, -0.4, 0.1, 0.2])


def pair():
    return (
        efl.Circuit(2, parameters=[0.7, -0.4])
        .ry(efl.Parameter(0), 0)
        .rx(efl.Parameter(1), 1)
        .clifford("CNOT", 0, 1)
    )


def classifier(uploads=1):
    """Two inputs, once or twice, and four parameters after each."""
    count = 4 * uploads
    found, numbers = efl.Circuit(2, parameters=np.linspace(-0.8, 0.9, count)), iter(range(count))
    first = [found.input(0.1), found.input(0.2)]
    for _ in range(uploads):
        for q in range(2):
            found.ry(first[q], q)
        for gate in (found.ry, found.rz):
            for q in range(2):
                gate(efl.Parameter(next(numbers)), q)
        found.clifford("CZ", 0, 1)
    return found.rx(0.3, 0)


# ---- the loss -------------------------------------------------------------------------------------


@pytest.mark.parametrize("loss", [{"ZZ": 1.0, "ZI": 0.5}, PRODUCTS], ids=["one setting", "several"])
@pytest.mark.parametrize(("draws", "shots"), [(1, 4), (4, 16), (40, 40), (5, 400)])
def test_errors_of_the_loss_are_those_of_its_scatter(loss, draws, shots):
    """Of 600 values: the mean is right, and errors are neither short nor, where settings are known, long.

    The mean is within 4.5 standard errors: by chance once in 10^4 runs of all cases. Squares of 600 errors
    are known to a tenth or so.
    """
    measured, circuit = Loss(efl.PauliSum(loss), simulated), pair()
    found = np.array(
        [measured.measure([circuit], draws, shots, step, 7).combined([1.0]) for step in range(600)]
    )
    exact = efl.propagate(circuit, loss).value
    scatter, reported = np.mean((found[:, 0] - exact) ** 2), np.mean(found[:, 1])
    assert abs(np.mean(found[:, 0]) - exact) < 4.5 * np.sqrt(scatter / 600)
    assert scatter < 1.25 * reported
    if len(loss) == 2 and shots >= 16:
        assert reported < 1.6 * scatter


def test_draws_of_one_setting_are_no_more_shots():
    """However a number of shots is divided in draws, one setting has one error."""
    measured = Loss(efl.PauliSum({"ZZ": 1.0, "ZI": 0.5}), simulated)
    errors = [measured.measure([pair()], draws, 64, 0, 1).combined([1.0])[1] for draws in (1, 8, 64)]
    assert errors == pytest.approx([errors[0]] * 3)
    ends = [measured.measure([pair(), pair()], 8, 64, 0, 1).combined(f)[1] for f in ([1, -1], [0.5, 0.5])]
    assert ends[0] == pytest.approx(4 * ends[1])


# ---- directions -----------------------------------------------------------------------------------


def test_the_natural_length_is_that_of_the_derivatives():
    circuit = efl.Circuit(2, parameters=[0.3, 0.4]).ry(3 * efl.Parameter(0), 0).ry(4 * efl.Parameter(1), 1)
    assert natural_length(circuit, efl.PauliSum("ZZ")) == pytest.approx(1 / 5)
    assert natural_length(circuit, efl.PauliSum({"ZI": 1.0, "II": 7.0})) == pytest.approx(1 / 3)
    shared = np.array([[1.0], [1.0]])  # one number turns both
    assert natural_length(circuit, efl.PauliSum("ZZ"), shared) == pytest.approx(1 / 5)
    still = efl.Circuit(2, parameters=[0.3]).ry(efl.Parameter(0), 0)
    assert natural_length(still, efl.PauliSum("IZ")) == 1.0


def test_directions_have_the_mean_of_the_smoothed_slope():
    """Of 3,000 steps from one place: within 4.5 standard errors, by chance once in 10^5 for each of two."""
    circuit, distance = pair(), 0.4
    source = Directions(circuit, efl.PauliSum("ZZ"), simulated, distance)
    found = np.array([source.measure(circuit.parameters, 4, 2, step, 3).gradient for step in range(3_000)])
    sides = [(1, 1), (1, -1), (-1, 1), (-1, -1)]
    values = {
        s: efl.propagate(circuit.at(circuit.parameters + distance * np.array(s)), "ZZ").value for s in sides
    }
    wanted = np.mean(
        [np.array(s) * (values[s] - values[-s[0], -s[1]]) / (2 * distance) for s in sides], axis=0
    )
    assert np.all(np.abs(found.mean(0) - wanted) < 4.5 * found.std(0) / np.sqrt(3_000))


# ---- points ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("uploads", [1, 2])
@pytest.mark.parametrize(("shots", "settings"), [(2, 1), (40, 9)])
def test_points_have_no_bias(uploads, shots, settings):
    """Of 800 steps from one place: within 4.5 standard errors, by chance once in 6,000 runs of all cases."""
    circuit = classifier(uploads)
    source = Points(efl.plan(circuit, "ZI"), INPUTS, WEIGHTS)
    found = np.array(
        [source.measure(circuit.parameters, shots, settings, step, 5).gradient for step in range(800)]
    )
    wanted = sum(
        w * np.ravel(efl.propagate(circuit.at(circuit.parameters, x), "ZI").gradient)
        for w, x in zip(WEIGHTS, INPUTS, strict=True)
    )
    errors = found.std(axis=0) / np.sqrt(800)
    assert np.all(np.abs(found.mean(axis=0) - wanted) < 4.5 * errors + 1e-9)
    assert np.linalg.norm(wanted) > 0.1


def test_points_are_trained_and_taken_up_again():
    circuit = classifier()
    made = efl.plan(circuit, "ZI")

    def trainer():
        return efl.Trainer(made, method=Points(made, INPUTS, WEIGHTS), optimizer=Adam(0.05), seed=2)

    def loss(parameters):
        values = [efl.propagate(circuit.at(parameters, x), "ZI").value for x in INPUTS]
        return float(WEIGHTS @ values)

    whole, first = trainer(), trainer()
    whole.run(steps=120)
    first.run(steps=50)
    second = trainer().restore(json.loads(json.dumps(first.to_dict())))
    second.run(steps=70)
    assert np.array_equal(second.parameters, whole.parameters)
    assert loss(whole.parameters) < loss(circuit.parameters) - 0.3


def test_the_mean_is_the_loss_where_there_are_no_weights():
    made = efl.plan(classifier(), "ZI")
    plain, given = Points(made, INPUTS), Points(made, INPUTS, np.full(6, 1 / 6))
    found = [s.measure(made.circuit.parameters, 40, 9, 0, 5).gradient for s in (plain, given)]
    assert np.array_equal(*found)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((INPUTS[:, :1],), r"inputs: expected shape \(points, 2\), a row of inputs for each, got \(6, 1\)"),
        ((INPUTS[:0],), "inputs: expected shape"),
        ((INPUTS, WEIGHTS[:5]), r"weights: expected one for each of 6 points, got \(5,\)"),
        ((INPUTS, np.zeros(6)), "weights: expected finite numbers, not all zero"),
        ((INPUTS, WEIGHTS * np.nan), "weights: expected finite numbers"),
    ],
)
def test_points_are_checked_by_name(arguments, message):
    with pytest.raises(efl.EflError, match=message):
        Points(efl.plan(classifier(), "ZI"), *arguments)


def test_a_goal_beside_points_is_refused():
    made = efl.plan(classifier(), "ZI")
    with pytest.raises(efl.InvalidInputError, match="goal: expected none beside points"):
        efl.Trainer(made, method=Points(made, INPUTS), goal=0.1)


def test_the_simulator_runs_every_experiment_on_its_own_circuit():
    """Echoes of circuits that differ by their inputs: bits of each are those of it alone."""
    circuit = classifier()
    plan = efl.plan(circuit, "ZI")
    circuits = [circuit.at(circuit.parameters, x) for x in INPUTS[:3]]
    [(experiment, _), *_] = plan.allocate(400, "echo", settings=1, step=0, seed=1)
    requests = [Request(c, experiment.setting, 400, experiment) for c in circuits]
    together = simulated(requests, 3)
    seeds = np.random.SeedSequence(3).generate_state(3, np.uint64)
    assert not experiment.served
    for bits, own, seed in zip(together, circuits, seeds, strict=True):
        assert np.array_equal(bits, alone(own, experiment, int(seed)))


def alone(circuit, experiment, seed):
    from efl_core import _native

    [bits] = _native.simulated([(experiment._native, 400, seed)], circuit._theta, circuit.bloch)
    return bits


# ---- memory ---------------------------------------------------------------------------------------


class Forgetful(Designed):
    """Every step is the first one."""

    def measure(self, parameters, shots, settings, step, seed):
        self._memory = efl.Memory()
        return super().measure(parameters, shots, settings, step, seed)


def hartree_fock():
    """Near a state of the computational basis, where words of Z are nearly known and others are not."""
    circuit, angles = efl.Circuit(4, parameters=[0.05, -0.04, 0.06, 0.03]), iter(range(4))
    circuit.clifford("X", 0).clifford("X", 1)
    for word in ("XXXY", "XYII", "IIYX", "YXXX"):
        circuit.rotation(word, efl.Parameter(next(angles)))
    return circuit


MOLECULE = {"ZIII": 0.4, "IZII": 0.4, "IIZI": -0.6, "IIIZ": -0.6, "ZZII": 0.5, "XXYY": -0.2, "YYXX": -0.2}
MOLECULE |= {"XYYX": 0.2, "YXXY": 0.2, "ZIZI": 0.3, "IZIZ": 0.3, "XXII": 0.1}


def test_shots_follow_what_was_seen():
    """Of 200 steps that do not move: no bias within 4.5 standard errors (once in 10^5), and less variance."""
    made, parameters = efl.plan(hartree_fock(), MOLECULE), hartree_fock().parameters
    exact = np.asarray(efl.propagate(made.circuit, MOLECULE).gradient).ravel()
    seen = {}
    for kind in (Designed, Forgetful):
        source = kind(made, simulated)
        steps = [source.measure(parameters, 400, 400, step, 3) for step in range(200)]
        found = np.array([step.gradient for step in steps])
        off = (found.mean(0) - exact) / (found.std(0, ddof=1) / 200**0.5)
        assert np.abs(off).max() < 4.5
        seen[kind] = found.var(0, ddof=1).sum()
        assert 0.8 < seen[kind] / np.mean([step.variance.sum() for step in steps]) < 1.25
    assert seen[Designed] < 0.75 * seen[Forgetful]


def test_few_shots_do_not_ask_the_memory():
    made = efl.plan(hartree_fock(), MOLECULE)
    parameters, most = made.circuit.parameters, made.best.settings
    one, other = Designed(made, simulated), Forgetful(made, simulated)
    for step in range(5):
        pair = [source.measure(parameters, most - 1, most, step, 1) for source in (one, other)]
        assert (pair[0].gradient == pair[1].gradient).all()
