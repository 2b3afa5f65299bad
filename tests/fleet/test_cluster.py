"""Shards and their coordinator, in one process: as one learner."""

import importlib
import sys
from pathlib import Path

import numpy as np
import pytest
from tests.fleet.cases import brick
from tests.fleet.clusters import (
    CIRCUIT,
    OPTIONS,
    Mortal,
    X,
    Y,
    coordinator,
    crashed,
    packet_of,
    shards,
    teach,
)
from tests.fleet.served import key, serving

import efl_core as efl
from efl_core.fleet import Learner, Replica, Ticket
from efl_core.fleet.cluster import Coordinator, Shard, Spread, shard_of
from efl_core.fleet.cluster.drafts import Draft

# ---- as one learner --------------------------------------------------------------------------------------


def trained(learner, combine):
    """What three steps of several replicas lead to, to the last bit."""
    found = []
    for step in range(2):
        teach(learner, range(100 * step, 100 * step + 8), count=16)
        found += [(*own[:2], own[2].to_bytes()) for own in learner._unused(None)]
        report = learner.step("adam")
        used = report.gradient if combine == "mean" else report.gradient.trimmed
        found.append((used.value.tobytes(), used.stderr.tobytes(), report.loss, report.gradient.queries))
        found.append(learner.params.tobytes())
    counts = {name: count for name, count in learner.counts.items() if count}
    return found, counts


@pytest.mark.parametrize(("combine", "buckets"), [("mean", 1), ("trimmed", 32)])
def test_any_number_of_shards_gives_the_bits_of_one_learner(combine, buckets):
    own = {"combine": combine, "buckets": buckets}
    alone = trained(Learner(CIRCUIT, **OPTIONS, **own, seed=1), combine)
    for count in (1, 2, 4):
        parts = shards(count, buckets=buckets)
        with coordinator(parts, **own) as learner:
            assert trained(learner, combine) == alone
        # And each has done its part.
        assert all(part.counts["taught"] for part in parts)


def test_replicas_are_spread_evenly():
    found = np.bincount([shard_of(name, 4) for name in range(4_000)], minlength=4)
    assert abs(found - 1_000).max() < 5 * np.sqrt(4_000 * 3 / 16)  # false alarm: 1 in 400,000


def test_a_learner_trains_while_others_serve():
    with coordinator(shards(2), every=0.01) as learner:
        link = Spread(CIRCUIT, learner._ports, name=3, every=0.01)
        with Replica(CIRCUIT, link, seed=3) as replica:
            steps = learner.train("descent", queries=24, canary=None, timeout=20)
            for number in (1, 2, 3):
                assert replica.answer(X[0]).version >= 1
                replica.feedback(replica.answers(X).tickets, Y)
                report = next(steps)
                assert (report.step, report.gradient.queries) == (number, 24)
                assert replica.refresh() == learner.version.number


# ---- candidates ------------------------------------------------------------------------------------------


def test_candidates_are_judged_by_the_losses_of_all_shards(caplog):
    parts = shards(2)
    random = np.random.default_rng(4)
    with coordinator(parts) as learner:
        first, good = learner.version.number, learner.params
        for params, is_good in ((-good, False), (good + 1e-3, True)):
            candidate = learner.publish(params, canary=0.4, labels=64)
            assert learner.version.number < candidate.number
            assert all(part.newest().candidate == candidate.number for part in parts)
            for name in range(12):
                inputs = random.uniform(-1, 1, (64, 3))
                labels = np.sign([efl.propagate(CIRCUIT.at(good, x)).value for x in inputs])
                with Replica(CIRCUIT, learner, seed=name + 50 * is_good) as replica:
                    for start in range(0, 64, 8):
                        found = replica.answers(inputs[start : start + 8])
                        replica.feedback(found.tickets, labels[start : start + 8])
                learner.look()
            [*_, verdict] = learner.verdicts
            assert verdict.is_good is is_good
            assert learner.canary is None
            assert learner.version.number == (candidate.number if is_good else first)
            assert {part.newest().number for part in parts} == {learner.version.number}
        assert learner.counts["promoted"] == learner.counts["rolled_back"] == 1


def test_a_candidate_without_a_coordinator_is_given_up(tmp_path):
    parts = shards(2, tmp_path)
    with coordinator(parts) as learner:
        before = learner.params
        learner.publish(before + 1, canary=0.5)
    parts = [crashed(part, tmp_path) for part in parts]
    assert [part.state().is_tried for part in parts] == [False, False]
    with coordinator(parts) as learner:
        assert (learner.params == before).all()
        assert [part.state().candidate for part in parts] == [None, None]
    for part in parts:
        part.close()


# ---- what replicas see -----------------------------------------------------------------------------------


def test_a_replica_answers_while_its_shard_is_away():
    [part] = shards(1)
    away = []

    class Port(Mortal):
        def __getattr__(self, name):
            if away:
                raise efl.LearnerAwayError.of("shard", "an answer", "none")
            return getattr(self._shard, name)

    with coordinator([part]) as learner:
        link = Spread(CIRCUIT, [Port(part, None)], name=5, every=0.02)
        with Replica(CIRCUIT, link, seed=5) as replica:
            replica.answers(X)
            away.append(True)
            found = replica.answers(X)
            assert not replica.flush(0.05)
            with pytest.raises(efl.LearnerAwayError):
                replica.feedback(found.tickets, Y)
            away.clear()
            assert replica.flush(5)
            assert replica.feedback(found.tickets, Y) == {"taught": 24}
        assert learner.counts["admitted"] == 48


def test_what_comes_twice_counts_once_and_strangers_are_sent_away():
    parts = shards(2)
    with pytest.raises(efl.LearnerAwayError, match="shard: expected a version from its coordinator"):
        parts[shard_of(1, 2)].join(1)
    with coordinator(parts) as learner:
        incarnation = learner.join(1)
        packet = packet_of(learner, 1, incarnation)
        assert learner.submit(packet)[0] is None
        assert learner.submit(packet) == ("duplicate", learner.version.number, 4)
        assert learner.counts["admitted"] == 4
        tickets = [Ticket(1, incarnation, i).text for i in range(4)]
        assert learner.feedback(tickets, Y[:4]) == {"taught": 4}
        assert learner.feedback(tickets, Y[:4]) == {"unknown_or_used": 4}
        stranger = parts[1 - shard_of(1, 2)]
        for call in (lambda: stranger.join(1), lambda: stranger.submit(packet)):
            with pytest.raises(efl.InvalidInputError, match="replica: expected one of shard"):
                call()


def test_labels_and_outputs_find_the_shards_of_their_tickets():
    with coordinator(shards(2)) as learner:
        tickets = []
        for name in range(4):
            with Replica(CIRCUIT, learner, seed=name) as replica:
                tickets += replica.answers(X[:2]).tickets
                replica.flush(5)
        assert len({shard_of(Ticket.read(text).replica, 2) for text in tickets}) == 2
        alone = np.concatenate([learner.outputs(text) for text in tickets])
        assert (learner.outputs(tickets) == alone).all()
        order = np.random.default_rng(0).permutation(8)
        assert (learner.outputs([tickets[i] for i in order]) == alone[order]).all()
        for given, error in (
            (dict(label=Y[:3]), "label: expected one for each of 8 tickets, got shape"),
            (dict(label=1.0), "label: expected one for each of 8 tickets"),
            (dict(label=Y[:8], gradient=Y[:8]), "label: expected a label or a gradient, got both"),
            (dict(), "label: expected a label or a gradient, got none"),
        ):
            with pytest.raises(efl.InvalidInputError, match=error):
                learner.feedback(tickets, **given)
        with pytest.raises(efl.InvalidInputError, match="ticket: expected a ticket"):
            learner.feedback([], [])
        assert learner.feedback(tickets, Y[:8]) == {"taught": 8}


# ---- what is refused -------------------------------------------------------------------------------------


def test_a_shard_neither_steps_nor_publishes():
    [part] = shards(1)
    with coordinator([part]) as learner:
        for call in (
            lambda: part.step("adam"),
            lambda: next(part.train("adam")),
            lambda: part.publish(learner.params),
        ):
            with pytest.raises(efl.InvalidInputError, match="the coordinator's"):
                call()


@pytest.mark.parametrize(
    ("ports", "options", "error"),
    [
        (lambda: [], {}, "shards: expected one or more, got none"),
        (lambda: shards(2)[:1], {}, r"shards\[0\]: expected shard 0 of 1, got shard 0 of 2"),
        (lambda: shards(2)[::-1], {}, r"shards\[0\]: expected shard 0 of 2, got shard 1 of 2"),
        (lambda: shards(1), {"journal": "x"}, "journal: expected none here"),
        (lambda: shards(1), {"share": 0}, "share: expected above 0"),
        (lambda: shards(1, loss="hinge"), {}, "loss: expected .'Logistic'.*as the coordinator has it"),
    ],
)
def test_what_coordinators_refuse(ports, options, error):
    with pytest.raises(efl.InvalidInputError, match=error):
        coordinator(ports(), **options)


def test_a_shard_of_another_circuit_is_refused():
    other = brick(3, layers=2, outputs="word")
    part = Shard(other, **OPTIONS)
    with pytest.raises(efl.ShapeError, match=r"params: expected shape \(12,\), as the coordinator's"):
        coordinator([part])
    parts = shards(1)
    coordinator(parts).close()
    with pytest.raises(efl.ShapeError, match="shards: expected parameters of shape"):
        Coordinator(other, shards=parts, **OPTIONS)
    turned = CIRCUIT.copy()
    turned.ry(efl.Parameter(0), 0)
    turned.observables = CIRCUIT.observables
    with pytest.raises(efl.InvalidInputError, match="qnode: expected the gates and outputs"):
        coordinator([Shard(turned, **OPTIONS)])
    with pytest.raises(efl.InvalidInputError, match="shards: expected those of this circuit"):
        Coordinator(turned, shards=parts, **OPTIONS)


def test_journals_that_do_not_belong_together_are_refused(tmp_path):
    parts = shards(2, tmp_path)
    coordinator(parts).close()
    old = crashed(parts[1], tmp_path)
    old_path = Path(old._journal.path)
    old.close()
    parts[1] = Shard(CIRCUIT, index=1, shards=2, journal=tmp_path / "1.journal", **OPTIONS)
    for _ in range(2):
        coordinator(parts).close()
    parts[0].close()
    with pytest.raises(efl.InvalidInputError, match="shards: expected 2, as in the journal, got 3"):
        Shard(CIRCUIT, index=0, shards=3, journal=tmp_path / "0.journal", **OPTIONS)
    parts[0] = Shard(CIRCUIT, index=0, shards=2, journal=tmp_path / "0.journal", **OPTIONS)
    stale = Shard(CIRCUIT, index=1, shards=2, journal=old_path, **OPTIONS)
    with pytest.raises(efl.InvalidInputError, match=r"shards\[1\]: expected a journal as new as"):
        coordinator([parts[0], stale])
    with Learner(CIRCUIT, **OPTIONS, journal=tmp_path / "alone.journal"):
        pass
    with pytest.raises(efl.InvalidInputError, match="journal: expected that of a shard"):
        Shard(CIRCUIT, journal=tmp_path / "alone.journal", **OPTIONS)
    for part in (*parts, stale):
        part.close()


@pytest.mark.parametrize("index", [0, 1])
def test_a_shard_that_has_lost_its_journal_begins_anew_if_that_is_wanted(index):
    parts = shards(2)
    with coordinator(parts) as learner:
        teach(learner, range(8), count=8)
        params = learner.step("adam").gradient.value * 0 + learner.params
        teach(learner, range(10, 18), count=8)
    rest = parts[1 - index].state().counts["taught"]
    left = parts[1 - index]._unused(None)
    parts[index] = shards(2)[index]
    with pytest.raises(efl.InvalidInputError, match=rf"shards\[{index}\]: expected a journal that has"):
        coordinator(parts)
    with coordinator(parts, renew=True) as learner:
        assert (learner.params == params).all()
        assert learner.counts["taught"] == rest
        assert learner.taught == sum(own[2].queries for own in left) > 0
        teach(learner, range(20, 28), count=8)
        assert learner.step("adam").gradient.queries == 64 + sum(own[2].queries for own in left)
    with coordinator(parts) as learner:
        assert learner._steps == 2


def test_a_draft_is_read_as_it_was_written():
    [part] = shards(1)
    with coordinator([part]) as learner:
        teach(learner, range(2))
        learner.step("adam")
    data = part.draft()
    draft = Draft.of(data)
    assert draft.to_bytes() == data
    assert (draft.number, draft.steps, draft.step.queries) == (2, 1, 48)
    assert draft.reader().version == part.version.native
    for damaged in (b"", data[:100], data[:-300]):
        with pytest.raises(efl.CorruptDataError):
            Draft.of(damaged)


def test_without_ray_its_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.delitem(sys.modules, "efl_core.fleet.ray", raising=False)
    with pytest.raises(efl.MissingExtraError, match=r'pip install "efl-core\[ray\]"'):
        importlib.import_module("efl_core.fleet.ray")


def test_a_learner_of_shards_is_served_over_http():
    """Which is how replicas that are not trusted reach it."""
    with coordinator(shards(2)) as learner, serving(learner, workers=4) as (url, app):
        for name in ("shop-1", "shop-2"):
            with Replica(CIRCUIT, url, key=key(name), seed=1) as replica:
                assert replica.feedback(replica.answers(X).tickets, Y) == {"taught": 24}
        assert learner.step("adam").gradient.queries == 48
        assert app.counts["accepted"] >= 6
