"""Shards and their coordinator, whoever dies between which two calls: nothing is lost, or counts twice."""

from contextlib import ExitStack
from dataclasses import replace

import pytest
from tests.fleet.clusters import (
    STEP,
    Dead,
    Mortal,
    Y,
    coordinator,
    crashed,
    packet_of,
    shards,
    teach,
)

import efl_core as efl
from efl_core.fleet import Ticket
from efl_core.fleet.journal.audit import gradients, verified


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
