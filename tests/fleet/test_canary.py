"""Candidates: a bad version is given up before many have seen it, a good one is served; nobody chooses."""

import logging
import threading
from contextlib import closing

import numpy as np
import pytest
from tests.fleet.cases import brick

import efl_core as efl
from efl_core.fleet import Learner, Replica, losses
from efl_core.fleet.canary import Canary
from efl_core.fleet.journal import Store, recover
from efl_core.fleet.journal.audit import gradients, verified

CIRCUIT = brick(3, layers=1, outputs="word", seed=4)
GOOD = CIRCUIT.parameters
# Such that the labels of the good parameters are all but lost.
BAD = np.random.default_rng(1).permutation(GOOD)
RANDOM = np.random.default_rng(2)
X = RANDOM.uniform(-1.5, 1.5, (3_200, 3))
Y = np.array(
    [np.sign(efl.propagate(CIRCUIT.at(GOOD, x), CIRCUIT.observables[0]).value) for x in X], dtype=np.float64
)


def learner_of(params, **options):
    circuit = CIRCUIT.copy()
    circuit.observables = CIRCUIT.observables
    return Learner(circuit.at(params), loss=losses.Logistic(4.0), inputs=X[0], seed=3, **options)


def served(learner, replica, places, labels=True):
    """Serve and label queries in blocks of 8, as versions are chosen; yields the version of each block."""
    for start in range(places.start, places.stop, 8):
        part = slice(start, start + 8)
        found = replica.answers(X[part])
        replica.flush(5)
        if labels:
            learner.feedback(found.tickets, Y[part])
        yield found.version


def run(learner, params, *, queries=3_200, publish=800, **options):
    """Serve, and try parameters on the way; returns the versions of all blocks."""
    with Replica(learner._qnode, learner, seed=5) as replica:
        versions = list(served(learner, replica, range(publish)))
        learner.publish(params, canary=0.1, **options)
        versions += served(learner, replica, range(publish, queries))
    return np.array(versions)


def test_shuffled_parameters_are_given_up_before_many_have_seen_them(caplog):
    """The loss doubles, at 32 labels of each: 8 standard errors."""
    learner = learner_of(GOOD)
    with caplog.at_level(logging.WARNING, "efl_core"):
        versions = run(learner, BAD)
    [verdict] = learner.verdicts
    assert (verdict.version, verdict.is_good) == (2, False)
    assert 0 < np.mean(versions == 2) < 0.02
    assert versions[-1] == learner.version.number == 1
    assert (learner.params == GOOD).all()
    assert learner.canary is None
    assert learner.counts["rolled_back"] == 1
    assert "version 2 was given up: loss" in caplog.text
    # The next version has the number after it, and contributions of the bad one are in no gradient.
    assert learner.gradient().queries == 8 * np.sum(versions == 1)
    assert learner.step("descent").version == 3


@pytest.mark.parametrize("before", [BAD, GOOD], ids=["after a bad one", "after one as good"])
def test_a_good_version_is_served(before):
    """As good ones are given up once in 44 times; this seed is another one."""
    learner = learner_of(before)
    versions = run(learner, GOOD, queries=1_600)
    [verdict] = learner.verdicts
    assert (verdict.version, verdict.is_good) == (2, True)
    assert np.sum(versions[:150] == 2) >= 4
    assert versions[-1] == learner.version.number == 2
    assert learner.counts["promoted"] == 1


def test_the_queries_of_a_candidate_are_its_part_in_blocks():
    learner = learner_of(GOOD)
    candidate = learner.publish(BAD, canary=0.125)
    assert learner.canary.version is candidate
    assert learner.version.number == 1
    with Replica(learner._qnode, learner, seed=5) as replica:
        versions = list(served(learner, replica, range(1_600), labels=False))
        assert versions.count(2) == 25
        # A batch over several blocks is answered by both, and says the older one.
        found = replica.answers(X[:64])
        assert found.version == 1
        replica.flush(5)
        told = learner.feedback(found.tickets, Y[:64])
        assert told == {"taught": 64}
        numbers = {number: tally.queries for number, _, tally in learner._machine.tallies(1, 2)}
        assert numbers == {1: 56, 2: 8}


def test_a_replica_cannot_choose():
    learner = learner_of(GOOD)
    candidate = learner.publish(BAD, canary=0.25)
    native = candidate.native
    chosen = native.chosen(0.25, 9, 1, 0, 32)
    assert chosen.reshape(4, 8).all(axis=1).sum() == chosen.sum() / 8 == 1
    learner.join(9)
    refusals = []
    for block in range(4):
        packet = native.encode(
            replica=9,
            incarnation=1,
            first=8 * block,
            queries=8,
            answers=np.zeros((8, native.answer_shots, 3), np.uint8),
            teaches=np.zeros((8, native.teach_shots, 3), np.uint8),
            dropped=0 if not block else 8,
        )
        refusals.append(learner.submit(packet)[0])
    first = int(np.flatnonzero(chosen)[0]) // 8
    assert all(refusals[k] in ("not_chosen", "gap") for k in range(4) if k != first)
    assert learner.counts["not_chosen"] >= 1


def test_a_verdict_needs_labels_of_both():
    canary = Canary(learner_of(GOOD).version, 0.1, 20)
    assert canary.judged((1.0, 0.1, 19), (0.5, 0.1, 500)) is None
    assert canary.judged((1.0, 0.1, 20), (0.5, 0.1, 19)) is None
    assert not canary.judged((1.0, 0.1, 20), (0.7, 0.1, 20)).is_good  # 2.1 standard errors
    assert canary.judged((1.0, 0.1, 20), (0.73, 0.1, 20)).is_good  # 1.9
    assert canary.judged((0.2, 0.0, 20), (0.2, 0.0, 20)).is_good


def test_training_gives_up_a_step_that_makes_it_worse():
    """An update that goes wrong once; the same thread serves on and on."""
    learner, steps = learner_of(GOOD + 0.1), []

    def update(params, gradient):
        steps.append(params)
        return BAD if len(steps) == 2 else params - 0.05 * gradient

    stop = threading.Event()

    def serve():
        with Replica(learner._qnode, learner, seed=6) as replica:
            while not stop.is_set():
                for _ in served(learner, replica, range(320)):
                    if stop.is_set():
                        return

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        reports = list(learner.train(update, queries=128, steps=4, timeout=60))
    finally:
        stop.set()
        thread.join()
    assert [report.canary for report in reports] == [0.25] * 4
    assert [report.version for report in reports] == [2, 3, 4, 5]
    verdicts = {verdict.version: verdict.is_good for verdict in learner.verdicts}
    assert verdicts[3] is False
    # What came after the bad step started from the version before it.
    assert (steps[2] == steps[1]).all()
    assert not (learner.params == BAD).all()


def test_losses_that_nobody_knows_cannot_be_compared():
    circuit = brick(3, layers=1, outputs="word")
    learner = Learner(circuit, inputs=X[0], seed=1)
    with pytest.raises(efl.InvalidInputError, match=r"^canary: expected none with a loss"):
        learner.publish(GOOD, canary=0.1)
    with pytest.raises(efl.InvalidInputError, match=r"^canary: expected a part of the queries"):
        learner.publish(GOOD, canary=1)
    with pytest.raises(efl.InvalidInputError, match=r"^candidate: expected .* `keep` of 2"):
        learner_of(GOOD, keep=1).publish(BAD, canary=0.1)
    assert learner.version.number == 1


def test_another_publish_gives_the_candidate_up():
    learner = learner_of(GOOD)
    learner.publish(BAD, canary=0.1)
    learner.publish(GOOD + 0.01)
    assert (learner.version.number, learner.canary) == (3, None)
    assert learner.counts["rolled_back"] == 1


def test_a_learner_that_ends_with_a_candidate_goes_back(tmp_path):
    path = tmp_path / "fleet.journal"
    with learner_of(GOOD, journal=path) as learner:
        run(learner, GOOD + 0.02, queries=1_200, publish=320)
        assert learner.verdicts[0].is_good
        learner.step("descent")
        params = learner.params
        learner.publish(BAD, canary=0.1)
    with learner_of(GOOD, journal=path) as learner:
        assert (learner.params == params).all()
        assert learner.canary is None
        assert learner.counts["rolled_back"] == learner.counts["promoted"] == 1
        assert learner.version.number == 5
    assert verified(path).is_whole
    assert all(taught.is_same for taught in gradients(path))
    with closing(Store(path)) as store:
        assert (recover(store).params == params).all()
