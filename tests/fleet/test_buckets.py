"""Liars in a fleet: what they can do at most, and what a trimmed mean over buckets leaves of it.

Seeds are fixed. Where a test may fail by chance with another seed its false-alarm rate is said.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fleet.cases import brick, ring

import efl_core as efl
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.fleet import Learner, Replica
from efl_core.fleet.buckets import trimmed_mean

sys.path.insert(0, str(Path(__file__).parents[2] / "benches" / "python"))
from attacks import Fleet

CIRCUIT = brick(3, outputs="word")


def fleet_of(replicas=40, queries=400, **options):
    return Fleet(brick(3, outputs="word"), replicas, queries, **options)


@pytest.fixture(scope="module")
def fleets():
    return [fleet_of(seed=seed) for seed in range(6)]


def test_without_liars_both_means_say_the_gradient(fleets):
    """Some 80 errors by their standard errors, which are those of t: false-alarm rate below 1e-5."""
    scores = []
    for fleet in fleets:
        learner = Learner(fleet.circuit, loss="energy", inputs=fleet.inputs, seed=1, buckets=512)
        for replica in range(fleet.replicas):
            learner.join(fleet.names[replica])
            for packet in fleet.packets(replica, None):
                assert learner.submit(packet)[0] is None
        found = learner.gradient()
        assert found.trimmed.buckets > 35
        assert found.trimmed.cut == int(0.15 * found.trimmed.buckets)
        assert found.trimmed.warning == ""
        real = found.stderr > 1e-12
        scores.append((found.trimmed.value - fleet.exact)[real] / found.trimmed.stderr[real])
        assert np.abs(found.trimmed.value - found.value)[real].max() < 3 * found.stderr[real].max()
    scores = np.concatenate(scores)
    assert np.abs(scores).max() < 6
    assert 0.75 < scores.std() < 1.35


@pytest.mark.parametrize("attack", ["worst bits", "sign flip", "constant", "volume", "selection"])
def test_a_tenth_of_the_replicas_lies(fleets, attack):
    told = np.array([fleet.attacked(attack, 4) for fleet in fleets])
    bias, trimmed = (told[:, :2].mean(axis=0)) * fleets[0].against
    error = told[:, 0].std(ddof=1) / len(fleets) ** 0.5
    bound = fleets[0].bound(told[:, 2].mean())
    assert bias <= bound + 5 * error  # false-alarm rate below 1e-5
    if bias > 5 * error:
        assert abs(trimmed) < 0.3 * bias
    if attack in ("worst bits", "volume"):
        assert bias > 0.5 * bound  # the bound is what such a liar comes near


def test_more_liars_than_are_cut_are_not_survived():
    fleet = fleet_of()
    mean, trimmed, _ = fleet.attacked("worst bits", 16)
    assert abs(trimmed) > 0.3 * abs(mean)


def test_the_bound_is_that_of_the_readings():
    learner = Learner(CIRCUIT, loss="energy", inputs=np.zeros(3), seed=1)
    norm = np.zeros(CIRCUIT.n_parameters)
    for entry in learner.version.roster.entries:
        for place, (_, parameter) in enumerate(entry.experiment.derivatives):
            norm[parameter] += sum(abs(c) for _, c in entry.experiment.reading(place).terms())
    found = learner.bound(0.2)
    assert found.norm == pytest.approx(norm)
    assert found.value == pytest.approx(0.2 * norm)  # nothing has taught: the gradient is not known
    assert "20% of the queries move a derivative by" in str(found)
    logistic = Learner(CIRCUIT, loss="logistic", inputs=np.zeros(3), seed=1)
    assert logistic.bound(0.2, weight=3).norm == pytest.approx(3 * logistic.bound(1).norm)
    many = Learner(
        brick(3, outputs="many"), loss=efl.fleet.losses.Expectation((2.0,) * 5), inputs=np.zeros(3)
    )
    assert many.bound(0.1).norm.shape == many.params.shape


def test_a_bound_of_parameters_that_share_gates():
    import pennylane as qml

    def circuit(x, theta):
        qml.RY(x[0], wires=0)
        for wire in (0, 1):
            qml.RX(2 * theta[0], wires=wire)
            qml.RY(theta[1], wires=wire)
        qml.CZ(wires=[0, 1])
        qml.RX(theta[0], wires=0)
        return qml.expval(qml.Z(0))

    node = qml.QNode(circuit, qml.device("default.qubit", wires=2))
    learner = Learner(node, np.array([0.3, -0.5]), loss="energy", inputs=np.array([0.1]), seed=1)
    with Replica(node, learner, seed=1) as replica:
        replica.answers(np.full((200, 1), 0.1))
    found = learner.bound(1.0)
    assert found.value.shape == (2,)
    assert (found.value >= found.norm).all()


def test_a_small_fleet_is_told_that_it_is_too_small():
    learner = Learner(CIRCUIT, loss="energy", inputs=np.zeros(3), seed=1, buckets=64)
    with Replica(CIRCUIT, learner, seed=1) as replica:
        replica.answers(np.zeros((20, 3)))
    assert "1 buckets have contributions: trimming takes 10 or more" in learner.gradient().trimmed.warning
    for seed in range(2, 30):
        with Replica(CIRCUIT, learner, seed=seed) as replica:
            replica.answers(np.zeros((4, 3)))
    found = learner.gradient().trimmed
    assert f"of {found.buckets} buckets have fewer than 10 queries" in str(found)
    assert found.small >= found.buckets // 2
    assert "trimmed" in str(learner.step("descent"))


def test_the_order_of_tallies_does_not_matter():
    fleet = fleet_of(12, 40)
    learner = Learner(fleet.circuit, loss="energy", inputs=fleet.inputs, seed=1, buckets=64)
    for replica in range(12):
        learner.join(fleet.names[replica])
        for packet in fleet.packets(replica, None):
            learner.submit(packet)
    held = learner._unused(None)
    weights = np.linspace(0.5, 1, len(held))
    there = trimmed_mean(held, weights, (18,), 0.2)
    back = trimmed_mean(held[::-1], weights[::-1].copy(), (18,), 0.2)
    assert (there.value == back.value).all()
    assert (there.stderr == back.stderr).all()


def test_a_step_uses_what_it_was_told_to():
    moved = {}
    for combine in ("mean", "trimmed"):
        learner = Learner(
            CIRCUIT, loss="energy", inputs=np.zeros(3), seed=1, buckets=64, combine=combine, trim=0.2
        )
        for seed in range(20):
            with Replica(CIRCUIT, learner, seed=seed) as replica:
                replica.answers(np.zeros((20, 3)))
        report = learner.step(lambda params, gradient: params - gradient)
        used = report.gradient.value if combine == "mean" else report.gradient.trimmed.value
        moved[combine] = learner.params
        assert learner.params == pytest.approx(CIRCUIT.parameters - used)
    assert not np.allclose(moved["mean"], moved["trimmed"])
    assert Learner(ring(3), loss="energy", inputs=np.zeros(3)).gradient().trimmed is None


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"buckets": 0}, r"^buckets: expected an integer from 1"),
        ({"combine": "median"}, r"^combine: expected 'mean' or 'trimmed', got 'median'"),
        ({"combine": "trimmed"}, r"^buckets: expected several for a trimmed mean"),
        ({"buckets": 8, "trim": 0.5}, r"^trim: expected a part of the buckets"),
    ],
)
def test_bad_options(options, match):
    with pytest.raises(InvalidInputError, match=match):
        Learner(CIRCUIT, loss="energy", inputs=np.zeros(3), **options)


def test_bad_bounds():
    learner = Learner(CIRCUIT, loss="energy", inputs=np.zeros(3))
    with pytest.raises(InvalidInputError, match=r"^fraction: expected a part of the queries"):
        learner.bound(1.5)
    with pytest.raises(InvalidInputError, match=r"^weight: expected the largest slope"):
        learner.bound(0.1, weight=0)
    with pytest.raises(InputTypeError, match=r"^fraction: expected a real number"):
        learner.bound("a tenth")
