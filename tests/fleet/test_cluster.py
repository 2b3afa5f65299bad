"""Shards and their coordinator, in one process: as one learner, whoever dies between which two calls."""

import importlib
import shutil
import sys
import time
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.fleet.cases import brick
from tests.fleet.served import key, serving

import efl_core as efl
from efl_core.fleet import Learner, Replica, Ticket
from efl_core.fleet.cluster import Coordinator, Shard, Spread, shard_of
from efl_core.fleet.cluster.drafts import Draft
from efl_core.fleet.journal.audit import gradients, verified
from efl_core.fleet.journal.notes import Step

CIRCUIT = brick(3, layers=1, outputs="word")
X = np.random.default_rng(2).uniform(-1, 1, (24, 3))
Y = np.where(X.sum(axis=1) > 0, 1.0, -1.0)
OPTIONS = {"inputs": X[0], "loss": "logistic"}
STEP = Step(np.zeros(12), np.zeros(12), 8, 1, 2, 1.0)


def shards(count, folder=None, **options):
    return [
        Shard(
            CIRCUIT,
            index=index,
            shards=count,
            journal=None if folder is None else folder / f"{index}.journal",
            **{**OPTIONS, **options},
        )
        for index in range(count)
    ]


def coordinator(ports, **options):
    """One that looks at its shards when it is told to."""
    return Coordinator(CIRCUIT, shards=ports, **{**OPTIONS, "seed": 1, "every": 600, **options})


def teach(learner, names, count=24):
    """Let replicas of these names answer, and hand in the labels."""
    for name in names:
        with Replica(CIRCUIT, learner, seed=name) as replica:
            found = replica.answers(X[:count])
            assert replica.feedback(found.tickets, Y[:count]) == {"taught": count}


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


# ---- whoever dies ----------------------------------------------------------------------------------------


class Dead(Exception):
    """The process is gone."""


class Mortal:
    """A shard whose coordinator dies after so many calls to all of them."""

    def __init__(self, shard, left):
        self._shard, self._left = shard, left

    def __getattr__(self, name):
        def call(*arguments, **named):
            try:  # calls come from two threads
                self._left.pop()
            except IndexError:
                raise Dead from None
            return getattr(self._shard, name)(*arguments, **named)

        return call


def test_a_coordinator_may_die_after_any_call_of_a_step():
    """Contributions are used once, and versions are the same everywhere, wherever the next one begins."""
    outcomes = set()
    for calls in range(60):
        parts = shards(2)
        with coordinator(parts) as first:
            teach(first, range(4), count=8)
        left = [None] * 1_000  # enough to begin
        dying = coordinator([Mortal(part, left) for part in parts])
        left[:] = [None] * calls
        died = True
        try:
            dying.step("adam")
            died = False
        except Dead:
            pass
        left.clear()
        dying.close()
        with coordinator(parts) as learner:
            states = [part.state() for part in parts]
            assert len({state.served for state in states}) == len({state.newest for state in states}) == 1
            assert all(state.candidate is None for state in states)
            step = learner._steps
            assert step in ((0, 1) if died else (1,))
            # All or nothing: those of the step are used up, the others wait for the next one.
            assert learner.taught == (0 if step else 32)
            teach(learner, [7], count=8)
            report = learner.step("adam")
            assert (report.step, report.gradient.queries) == ((2, 8) if step else (1, 40))
            outcomes.add((died, step))
        if not died:
            break
    assert outcomes == {(True, 0), (True, 1), (False, 1)}


def test_a_step_that_a_dead_shard_has_kept_from_ending_is_ended_later():
    parts = shards(2)
    gone = []

    class Away(Mortal):
        def __getattr__(self, name):
            if gone and name in gone:
                raise efl.LearnerAwayError.of("shard", "an answer", "none")
            return getattr(self._shard, name)

    with coordinator([parts[0], Away(parts[1], None)]) as learner:
        teach(learner, range(4), count=8)
        before = learner.version.number
        gone[:] = ["prepare"]
        with pytest.raises(efl.LearnerAwayError):
            learner.step("adam")
        # It is decided, as the first shard has it, but nobody is given it.
        assert learner.version.number == before
        assert [part.newest().number for part in parts] == [before, before]
        with pytest.raises(efl.LearnerAwayError):
            learner.publish(learner.params)
        gone[:] = ["take"]
        with pytest.raises(efl.LearnerAwayError):
            learner.step("adam")  # ends the one before, and has nothing to take
        assert [part.newest().number for part in parts] == [before + 1] * 2
        assert (learner.version.number, learner._steps) == (before + 1, 1)
        gone.clear()
        teach(learner, range(10, 14), count=8)
        assert learner.step("adam").gradient.queries == 32
        # One that the first shard has not written down has not happened, nor has Adam moved.
        teach(learner, range(20, 24), count=8)
        kept = learner._optimizers["adam"].to_dict()
        parts[0].prepare, right = None, parts[0].prepare
        with pytest.raises(TypeError):
            learner.step("adam")
        assert learner._optimizers["adam"].to_dict() != kept
        parts[0].prepare = right
        learner.look()
        assert learner._optimizers["adam"].to_dict() == kept
        assert (learner._steps, learner.taught) == (2, 32)
        assert learner.step("adam").gradient.queries == 32


def test_a_call_that_nobody_has_answered_may_be_done_late():
    """As by an actor that was away for longer than its callers wait."""
    parts, late = shards(2), []

    class Slow(Mortal):
        def __getattr__(self, name):
            if name == "prepare" and late == [None]:
                return self.later
            return getattr(self._shard, name)

        def later(self, draft):
            late[:] = [draft]
            raise efl.LearnerAwayError.of("shard", "an answer", "none")

    with coordinator([Slow(parts[0], None), parts[1]]) as learner:
        for steps in (1, 3):
            teach(learner, range(10 * steps, 10 * steps + 4), count=8)
            late[:] = [None]
            with pytest.raises(efl.LearnerAwayError):
                learner.step("adam")
            learner.look()
            assert (learner._steps, learner.taught) == (steps - 1, 32)
            parts[0].prepare(late.pop())
            if steps == 3:  # when another one is under way
                with pytest.raises(efl.InvalidInputError, match="another"):
                    learner._make(
                        learner._moves[-1]._replace(draft=replace(learner._moves[-1].draft, steps=9))
                    )
            learner.look()
            assert (learner._steps, learner.taught) == (steps, 0)
            assert learner._optimizers["adam"].steps == steps
            assert [part.newest().number for part in parts] == [learner.version.number] * 2
            teach(learner, range(50 * steps, 50 * steps + 4), count=8)
            assert learner.step("adam").gradient.queries == 32


def test_of_two_coordinators_one_is_refused():
    parts = shards(2)
    with coordinator(parts) as first, coordinator(parts) as second:
        teach(second, range(4), count=8)
        for call in (first.look, lambda: first.step("adam"), lambda: first.publish(first.params)):
            with pytest.raises(efl.InvalidInputError, match="coordinator: expected no other one"):
                call()
        assert second.taught == 32

        # It sets something apart at the wrong moment.
        def update(params, gradient):
            teach(second, [9], count=8)
            for part in parts:
                part.take(1, 100)
            return params - gradient

        # What it has set apart waits for the next step.
        assert second.step(update).gradient.queries == 32
        assert second.taught == 8
        # One that has used something else is refused, and has changed nothing.
        second._take(1, 100)
        second._used = ((0, ""), *second._used[1:])
        data = [part.draft() for part in parts]
        with pytest.raises(efl.InvalidInputError, match="set apart here"):
            second._publish(*second._made(second.version.model, second.params.ravel()), step=STEP)
        assert [part.draft() for part in parts] == data
        assert second.step("adam").gradient.queries == 8
        assert second.taught == 0


def crashed(part, folder):
    """The shard that another process finds: the files of one that has not ended."""
    old = part._journal.path
    new = folder / f"{time.monotonic_ns()}.journal"
    for suffix in ("", "-wal", "-frames"):  # checkpoints first: there may be more frames, never fewer
        shutil.copy(f"{old}{suffix}", f"{new}{suffix}")
    part.close()
    return Shard(CIRCUIT, index=part._index, shards=part._shards, journal=new, **OPTIONS)


class Restarted:
    """A shard that dies before, or after, some call, and is there again at the next one."""

    def __init__(self, part, folder):
        self.part, self.folder, self.dies = part, folder, None

    def __getattr__(self, name):
        def call(*arguments, **named):
            dies, self.dies = (self.dies, None) if self.dies and self.dies[1] == name else ((), self.dies)
            if dies and dies[0] == "before":
                self.part = crashed(self.part, self.folder)
            found = getattr(self.part, name)(*arguments, **named)
            if dies and dies[0] == "after":
                self.part = crashed(self.part, self.folder)
                raise efl.LearnerAwayError.of("shard", "an answer", "none")
            return found

        return call


@pytest.mark.parametrize("index", [0, 1])
def test_a_shard_may_die_at_any_call_of_a_step(tmp_path, index):
    with ExitStack() as ends:
        ports = [Restarted(part, tmp_path) for part in shards(2, tmp_path)]
        learner = ends.enter_context(coordinator(ports))
        steps = used = 0
        for when in ("before", "after"):
            for name in ("take", "prepare", "settle", "submit", "feedback", "join"):
                ports[index].dies = when, name
                # Handed in again, as replicas do.
                for replica in range(100 * steps, 100 * steps + 4):
                    incarnation = again(lambda replica=replica: learner.join(replica))
                    packet = packet_of(learner, replica, incarnation)
                    assert again(lambda packet=packet: learner.submit(packet))[0] in (None, "duplicate")
                    tickets = [Ticket(replica, incarnation, i).text for i in range(4)]
                    told = again(lambda tickets=tickets: learner.feedback(tickets, Y[:4]))
                    assert set(told) <= {"taught", "unknown_or_used"}
                try:
                    report = learner.step("adam")
                    assert report.gradient.queries == 16
                except efl.LearnerAwayError:
                    if learner.look() and learner._steps == steps:  # it has not happened
                        assert learner.taught == 16
                        learner.step("adam")
                assert ports[index].dies is None
                steps, used = steps + 1, used + 16
                assert (learner._steps, learner.taught, learner.counts["taught"]) == (steps, 0, used)
                states = learner.look()
                assert {state.served for state in states} == {learner.version.number}
        for port in ports:
            path = port.part._journal.path
            port.part.close()
            assert verified(path).is_whole
            said = list(gradients(path))
            assert len(said) == steps
            assert all(own.is_same for own in said)


def again(call):
    try:
        return call()
    except efl.LearnerAwayError:
        return call()


def packet_of(learner, replica, incarnation, first=0, queries=4):
    native = learner.version.native
    random = np.random.default_rng((replica, first))
    bits = [
        random.integers(0, 2, (queries, shots, native.n_qubits), dtype=np.uint8)
        for shots in (native.answer_shots, native.teach_shots)
    ]
    return native.encode(
        replica=replica,
        incarnation=incarnation,
        first=first,
        queries=queries,
        answers=bits[0],
        teaches=bits[1],
    )


def test_all_of_it_goes_on_from_the_journals(tmp_path):
    parts = shards(2, tmp_path)
    with coordinator(parts) as learner:
        teach(learner, range(4))
        learner.step("adam")
        teach(learner, range(10, 14))
        params, moments = learner.params, learner._optimizers["adam"].to_dict()
        merged = [(*own[:2], own[2].to_bytes()) for own in learner._unused(None)]
        counts = learner.counts
    for part in parts:
        part.close()
    parts = shards(2, tmp_path)
    assert all(part.is_open for part in parts)  # replicas need no coordinator
    with coordinator(parts) as learner:
        assert (learner.params == params).all()
        assert learner._optimizers["adam"].to_dict() == moments
        assert learner.counts == counts
        assert [(*own[:2], own[2].to_bytes()) for own in learner._unused(None)] == merged
        assert learner.step("adam").step == 2
    for part in parts:
        part.close()
        assert verified(tmp_path / f"{part._index}.journal").is_whole


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
