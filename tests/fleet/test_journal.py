"""A learner with a journal: it goes on where it ended, with the same bits, and says what it cannot do."""

import logging
import os
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from tests.fleet.cases import brick
from tests.fleet.journals import CIRCUIT, X, Y, flipped, learner_at, taught

import efl_core as efl
from efl_core._native import fleet_frame
from efl_core.cli import main
from efl_core.fleet import Learner, Replica, Ticket
from efl_core.fleet.journal import Store, recover
from efl_core.fleet.journal import commits as commits_module
from efl_core.fleet.journal import store as store_module
from efl_core.fleet.journal.audit import gradients, queries, summary, verified
from efl_core.fleet.journal.commits import Journal


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fleet.journal"


def test_a_learner_goes_on_where_another_ended(path):
    with learner_at(path) as first:
        found = taught(first)
        held = first._machine.to_bytes()
        counts, params, gradient = first.counts, first.params, first.gradient()
    with learner_at(path) as second:
        assert second.counts == counts
        assert (second.params == params).all()
        assert (second.gradient().value == gradient.value).all()
        assert second._machine.to_bytes() != held  # it serves a version of its own
        # Labels of queries that the first one answered.
        assert second.feedback(found.tickets, Y) == {"taught": 14, "unknown_or_used": 10}
        assert second.step("adam").step == 4
    with closing(Store(path)) as store:
        assert recover(store).steps == 4


def test_training_goes_on_as_if_nothing_had_happened(path, tmp_path):
    """Gradients depend on what was measured; given those, parameters and Adam's moments are the same."""

    def trained(learner, start, count):
        for k in range(start, start + count):
            learner._optimizers.setdefault("adam", efl.training.Adam(0.1))
            with Replica(CIRCUIT, learner, seed=k) as replica:
                replica.feedback(replica.answers(X).tickets, Y)
            learner.step("adam")
        return learner._optimizers["adam"].to_dict()

    with learner_at(path) as learner:
        before = trained(learner, 0, 3)
        params = learner.params
    with learner_at(path) as learner:
        assert learner._optimizers["adam"].to_dict() == before
        assert (learner.params == params).all()


def test_a_killed_learner_comes_back_with_the_same_bits(path, tmp_path):
    """Without a checkpoint at its end: what is on disk at some moment is copied, and read again."""
    with learner_at(path) as first:
        taught(first)
        copy = tmp_path / "copy.journal"
        for suffix in ("", "-wal", "-frames"):
            copy.with_name(copy.name + suffix).write_bytes(Path(f"{path}{suffix}").read_bytes())
        held, counts, params = first._machine.to_bytes(), first.counts, first.params
    with closing(Store(copy)) as store:
        assert not store.checkpoints()
        found = recover(store)
        assert found.replay.machine().to_bytes() == held
    with learner_at(copy) as second:
        assert second.counts == counts
        assert (second.params == params).all()


def test_labels_that_came_early_are_kept(path):
    tickets = [Ticket(7, 1, i).text for i in range(4)]
    with learner_at(path) as first:
        assert first.join(7) == 1
        assert first.feedback(tickets[:3], Y[:3]) == {"early": 3}
        assert first.feedback(Ticket(7, 1, 2).text, 1.0) == {"unknown_or_used": 1}
        counts = first.counts
    with learner_at(path) as second:
        assert second.counts == counts
        native = second.version.native
        packet = native.encode(
            replica=7,
            incarnation=1,
            first=0,
            queries=4,
            answers=np.zeros((4, native.answer_shots, 3), np.uint8),
            teaches=np.zeros((4, native.teach_shots, 3), np.uint8),
        )
        assert second.submit(packet)[0] is None
        assert (second.counts["taught"], second.counts["pending"], second.counts["early"]) == (3, 1, 0)
        assert second.submit(packet)[0] == "duplicate"
        assert second.join(7) == 2


def test_every_gradient_is_added_up_again_bit_for_bit(path, capsys):
    with learner_at(path) as learner:
        taught(learner, steps=4)
    with learner_at(path) as learner:
        taught(learner, steps=2, update=lambda params, gradient: params - 0.1 * gradient)
    found = list(gradients(path))
    assert len(found) == 6
    assert all(one.is_same for one in found)
    assert main(["fleet", "replay", str(path)]) == 0
    out = capsys.readouterr().out
    assert out.count("the same bits") == 6
    assert "6 gradients, all with the bits that were published" in out
    assert main(["fleet", "verify", str(path)]) == 0
    assert main(["fleet", "inspect", str(path)]) == 0
    assert "checkpoints  behind event" in capsys.readouterr().out
    known = summary(path)
    assert (known.steps, known.versions, known.served) == (6, 8, 8)
    assert known.counts["taught"] == 6 * 24 + 2 * 10


def test_a_gradient_that_was_written_down_wrongly_is_seen(path, capsys, monkeypatch):
    with learner_at(path) as learner:
        pooled = learner._pooled

        def forged(*arguments):
            gradient, loss, error = pooled(*arguments)
            gradient.value[0] = np.nextafter(gradient.value[0], 1)
            return gradient, loss, error

        monkeypatch.setattr(learner, "_pooled", forged)
        taught(learner, steps=1)
    assert [one.is_same for one in gradients(path)] == [False]
    assert main(["fleet", "replay", "--quiet", str(path)]) == 1
    assert "got others for versions [2]" in capsys.readouterr().err


def test_queries_are_exported(path, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    with learner_at(path) as learner:
        taught(learner, steps=1)
        shape = learner.version.native
    file = tmp_path / "queries.parquet"
    assert main(["fleet", "export", str(path), "--parquet", str(file)]) == 0
    rows = parquet.read_table(file).to_pylist()
    assert len(rows) == 48
    assert sum(row["weights"] is not None for row in rows) == 34
    assert all(len(row["answers"] + row["teaches"]) == shape.stride for row in rows)
    assert all(len(row["entries"]) == shape.settings for row in rows)
    assert [row["sequence"] for row in queries(path)] == [row["sequence"] for row in rows]
    assert main(["fleet", "export", str(path), "--parquet", str(file)]) == 1  # it is there


# ---- what is refused -------------------------------------------------------------------------------------


def test_a_second_learner_is_refused(path):
    code = (
        "import sys, efl_core as efl\n"
        "from efl_core.fleet.journal import Store\n"
        "try: Store(sys.argv[1])\n"
        "except efl.JournalError as error: print(error)\n"
    )
    with learner_at(path):
        with pytest.raises(efl.JournalError, match=r"^journal: expected a file that no other learner holds"):
            learner_at(path)
        ran = subprocess.run(
            [sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True
        )
        assert "expected a file that no other learner holds" in ran.stdout
    learner_at(path).close()


def test_a_learner_that_was_replaced_cannot_write(path, caplog):
    """As if its lock had been lost: where its next frame goes there is one already."""
    with learner_at(path) as learner:
        end = os.path.getsize(f"{path}-frames")
        with open(f"{path}-frames", "ab") as file:
            file.write(b"another")
        with pytest.raises(efl.JournalError, match=f"expected {end} bytes, as written, got {end + 7}"):
            learner.join(1)
        assert learner._journal.failure == f"expected {end} bytes, as written, got {end + 7}"
        assert os.path.getsize(f"{path}-frames") == end + 7
    assert caplog.text.count("nothing is acknowledged from now on") == 1


def test_journals_of_others_are_refused(path, tmp_path):
    with learner_at(path) as learner:
        taught(learner, steps=1)
    with pytest.raises(
        efl.InvalidInputError, match=r"^journal: expected that of this circuit, loss and split"
    ):
        learner_at(path, loss="squared")
    with pytest.raises(efl.ShapeError, match=r"^journal: expected parameters of shape"):
        Learner(brick(4, layers=1, outputs="word"), loss="logistic", journal=path)
    other = brick(3, layers=1, outputs="word")
    other.rx(0.3, 0)
    with pytest.raises(efl.InvalidInputError, match=r"^journal: expected that of this circuit"):
        learner_at(path, circuit=other)
    learner_at(path).close()  # it has not been harmed
    text = tmp_path / "text"
    text.write_text("no database, but long enough to be read as one" * 40)
    with pytest.raises(efl.CorruptDataError, match=r"^journal: expected a journal of a fleet"):
        learner_at(text)
    database = tmp_path / "database"
    with closing(sqlite3.connect(database)) as db:
        db.execute("CREATE TABLE mine(a)")
    with pytest.raises(
        efl.JournalError, match=r"^journal: expected a journal of a fleet, got another database"
    ):
        learner_at(database)


def test_newer_formats_are_refused(path):
    learner_at(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=3")
    with pytest.raises(efl.NewerFormatError, match=r"^journal: expected format 2 at most, got 3"):
        learner_at(path)
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA user_version=1")
    with pytest.raises(
        efl.JournalError, match=r"^journal: expected format 2, got format 1, which no release"
    ):
        learner_at(path)


def test_places_that_cannot_be_written_to_are_refused(tmp_path, monkeypatch):
    with pytest.raises(efl.JournalError, match=r"^journal: expected the name of a file, got the folder"):
        learner_at(tmp_path)
    with pytest.raises(efl.JournalError, match=r"^journal: expected a file in a folder that is there"):
        learner_at(tmp_path / "no" / "journal")
    monkeypatch.setattr(store_module, "_filesystem", lambda folder: "nfs4")
    with pytest.raises(efl.JournalError, match=r"^journal: expected a disk of this machine, .* got nfs4"):
        learner_at(tmp_path / "journal")
    monkeypatch.undo()
    if Path("/proc/self/mounts").exists():
        assert store_module._filesystem(Path("/proc").resolve()) == "proc"
        with pytest.raises(
            efl.JournalError, match=r"^journal: expected a folder and a file that can be written"
        ):
            learner_at("/proc/self/journal")


def test_nothing_taught_needs_no_journal(path):
    with pytest.raises(efl.InvalidInputError, match=r"^journal: expected none where nothing is taught"):
        learner_at(path, share=0)


def test_damage_is_found_and_said(path, capsys):
    with learner_at(path) as learner:
        taught(learner, steps=1)
    with closing(Store(path)) as store:
        frames = list(store.frames())
    middle = len(frames) // 2
    first = fleet_frame(frames[middle])[0]
    flipped(path, sum(16 + len(frame) for frame in frames[:middle]) + len(frames[middle]) // 2)
    found = verified(path)
    assert (found.is_whole, found.events) == (False, first)
    assert main(["fleet", "verify", str(path)]) == 1
    assert f"at event {first}" in capsys.readouterr().err
    # A checkpoint behind the damage goes on without it; one before does not.
    learner_at(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute("DELETE FROM checkpoints")
        db.commit()
    with pytest.raises(efl.CorruptDataError, match=f"at event {first}"):
        learner_at(path)


def test_a_damaged_checkpoint_is_not_the_end(path, caplog):
    for _ in range(2):
        with learner_at(path) as learner:
            taught(learner, steps=1)
            counts, params = learner.counts, learner.params
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "UPDATE checkpoints SET state=zeroblob(100) WHERE next=(SELECT max(next) FROM checkpoints)"
        )
        db.commit()
    assert not verified(path).is_whole
    with caplog.at_level(logging.WARNING, "efl_core"), learner_at(path) as learner:
        assert (learner.counts, learner.params.tolist()) == (counts, params.tolist())
    assert "is damaged, and another one is used" in caplog.text


# ---- what fails ------------------------------------------------------------------------------------------


def assert_failed_but_answers(learner, replica, caplog):
    """Nothing is acknowledged, nothing changes, and answers go on."""
    version = learner.version
    for act in (
        lambda: learner.join(99),
        lambda: learner.submit(b""),
        lambda: learner.feedback(Ticket(2, 1, 0).text, 1.0),
        lambda: learner.publish(learner.params),
    ):
        with pytest.raises(
            efl.JournalError, match="nothing is acknowledged until the learner is started again"
        ):
            act()
    assert learner.version is version
    assert len(replica.answers(X)) == len(X)
    assert "nothing is acknowledged from now on" in caplog.text


def failed_by(learner, replica):
    """Hand in until the journal fails; return how many queries were acknowledged."""
    acknowledged = 0
    for _ in range(2000):
        found = replica.answers(X)
        if not replica.flush(2):
            break
        acknowledged += len(found)
        try:
            learner.feedback(found.tickets, Y)
        except efl.JournalError:
            break
    return acknowledged


@pytest.mark.skipif(sys.platform == "win32", reason="files have no limit on their size there")
def test_a_full_disk_stops_acknowledgements(path, caplog):
    """A limit on the size of files is what a full disk looks like: a part of a frame is written."""
    import resource

    with learner_at(path) as learner, Replica(CIRCUIT, learner, seed=2) as replica:
        replica.answers(X)
        assert replica.flush(5)
        limits, end = resource.getrlimit(resource.RLIMIT_FSIZE), learner._store._log.end
        resource.setrlimit(resource.RLIMIT_FSIZE, (end + 5000, limits[1]))
        try:
            acknowledged = failed_by(learner, replica)
            assert_failed_but_answers(learner, replica, caplog)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        assert learner._store._log.end < os.path.getsize(f"{path}-frames") == end + 5000
    assert "too large" in caplog.text
    with learner_at(path) as learner:
        counts = learner.counts
        assert acknowledged + len(X) <= counts["admitted"]
        assert learner.step("descent").step == 1
    assert verified(path).is_whole


@pytest.mark.skipif(sys.platform != "linux", reason="a descriptor is replaced by way of /proc")
@pytest.mark.parametrize(
    ("device", "said"), [("/dev/null", "Invalid argument"), ("/dev/full", "No space left")]
)
def test_writes_and_syncs_that_fail_stop_acknowledgements(path, caplog, device, said):
    """/dev/null takes what is written and cannot be synced, /dev/full takes nothing."""
    with learner_at(path) as learner, Replica(CIRCUIT, learner, seed=2) as replica:
        replica.answers(X)
        assert replica.flush(5)
        assert replica.feedback(replica.answer(X[0]).ticket, 1.0) == {"taught": 1}
        log = f"{path}-frames"
        [own] = [fd for fd in os.listdir("/proc/self/fd") if _target(fd) == log]
        kept = os.dup(int(own))
        with open(device, "r+b", buffering=0) as other:
            os.dup2(other.fileno(), int(own))
        assert failed_by(learner, replica) == 0
        assert_failed_but_answers(learner, replica, caplog)
        os.dup2(kept, int(own))
        os.close(kept)
    assert said in caplog.text
    with learner_at(path) as learner:
        assert (learner.counts["admitted"], learner.counts["taught"]) == (25, 1)


def _target(fd):
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return ""


def test_a_new_replica_answers_when_the_journal_has_failed(path):
    with learner_at(path) as learner:
        with open(f"{path}-frames", "ab") as file:
            file.write(b"another")
        with pytest.raises(efl.JournalError):
            learner.join(3)
        with Replica(CIRCUIT, learner, seed=4) as replica:
            assert len(replica.answers(X)) == len(X)
            assert replica.counts["waiting"] == 0


def test_a_checkpoint_that_fails_stops_acknowledgements(path, caplog, monkeypatch):
    """Nobody knows what of it is on disk; what was acknowledged before is there."""
    monkeypatch.setattr(commits_module, "CHECKPOINT", 100)
    with learner_at(path) as learner, Replica(CIRCUIT, learner, seed=2) as replica:
        found = replica.answers(X)
        assert replica.flush(5)
        assert learner._store.checkpoints()  # by whoever came when one was due
        monkeypatch.setattr(learner._store, "keep", _full)
        with pytest.raises(efl.JournalError, match="No space left on device"):
            learner.checkpoint()
        assert_failed_but_answers(learner, replica, caplog)
    with learner_at(path) as learner:
        assert learner.counts["admitted"] == len(X)
        assert learner.feedback(found.tickets, Y) == {"taught": 24}


def _full(*_):
    raise OSError(28, "No space left on device")


def test_a_checkpoint_is_all_there_or_not_at_all(path):
    """What is interrupted is undone, and the next one is written."""
    with learner_at(path) as learner:
        learner.checkpoint()
        before = learner._store.checkpoints()
        with pytest.raises(sqlite3.Error):
            learner._store.keep(before[0]._replace(next=before[0].next + 1, learner=object()))
        assert learner._store.checkpoints() == before
        learner.join(1)
        learner.checkpoint()
        assert len(learner._store.checkpoints()) == 2


def test_a_version_is_on_disk_before_anybody_sees_it(path, monkeypatch):
    with learner_at(path) as learner:
        wait, seen = learner._journal.wait, []

        def watched():
            seen.append((learner.version.number, learner._journal.durable < learner._machine.recorded))
            wait()
            seen.append((learner.version.number, learner._journal.durable < learner._machine.recorded))

        monkeypatch.setattr(learner._journal, "wait", watched)
        learner.publish(learner.params + 0.1)
        assert (seen, learner.version.number) == ([(1, True), (1, False)], 2)


# Threads of JAX or of the learner may be alive where the whole folder is tested; the child touches none.
@pytest.mark.filterwarnings("ignore:os.fork:RuntimeWarning", "ignore:.*multi-threaded:DeprecationWarning")
def test_a_forked_process_has_no_journal(path):
    with learner_at(path) as learner:
        child = os.fork()
        if not child:
            try:
                learner.join(5)
            except efl.JournalError:
                os._exit(0)
            os._exit(1)
        assert os.waitpid(child, 0)[1] == 0
        assert learner.join(5) == 1


# ---- commits ---------------------------------------------------------------------------------------------


def test_many_share_a_commit_and_one_waits_for_nobody(path):
    with learner_at(path) as learner:
        journal = learner._journal
        assert isinstance(journal, Journal)
        before = journal.commits
        for name in range(20):
            learner.join(name)
        assert journal.commits - before == 20
        before, count = journal.commits, 32

        def many(k):
            for i in range(20):
                learner.join(1000 + 100 * k + i)

        threads = [threading.Thread(target=many, args=(k,)) for k in range(count)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert journal.commits - before < 20 * count / 4
        assert learner.counts["replicas"] == 20 + 20 * count


def test_checkpoints_are_written_while_many_hand_in(path, tmp_path, monkeypatch):
    """By whoever finds that one is due; no event is lost between a state and the frames behind it."""
    monkeypatch.setattr(commits_module, "CHECKPOINT", 200)
    monkeypatch.setattr(commits_module, "TIMES", 0)
    with learner_at(path) as learner:
        kept, keep = [], learner._store.keep
        monkeypatch.setattr(learner._store, "keep", lambda one: (kept.append(one.next), keep(one)))

        def many(k):
            for i in range(20):
                learner.join(1000 + 100 * k + i)
                if not i % 10:
                    learner.checkpoint()

        threads = [threading.Thread(target=many, args=(k,)) for k in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(kept) > 16  # those that were asked for, and others
        assert kept == sorted(kept)
        held = learner._machine.to_bytes()
        copies = tmp_path / "copy.journal"
        for suffix in ("", "-wal", "-frames"):
            copies.with_name(copies.name + suffix).write_bytes(Path(f"{path}{suffix}").read_bytes())
    for name in (path, copies):
        with closing(Store(name)) as store:
            assert len(store.checkpoints()) == 2
            assert recover(store).replay.machine().to_bytes() == held
        assert verified(name).is_whole


def test_bounds_may_change(path):
    with learner_at(path, keep=8) as learner:
        taught(learner, steps=2)
        assert learner.counts["pending"] == 14
    with learner_at(path, keep=2, pending=5) as learner:
        assert learner._machine.versions == [3, 4]
        assert learner.counts["pending"] == 5
        counts = learner.counts
    with learner_at(path, keep=2, pending=5) as learner:
        # One more version: the older ones are read no more.
        assert learner._machine.versions == [4, 5]
        assert (learner.counts["pending"], learner.counts["expired"]) == (0, counts["expired"] + 5)
    assert verified(path).is_whole


def buckets_at(path, combine, trim=0.2, buckets=64):
    """Go on with a fleet of thirty replicas, and step by what it is told to."""
    options = {"loss": "energy", "inputs": X[0], "seed": 1, "journal": path}
    with Learner(CIRCUIT, buckets=buckets, combine=combine, trim=trim, **options) as learner:
        for seed in range(30):
            with Replica(CIRCUIT, learner, seed=seed) as replica:
                replica.answers(X[:4])
        before = learner.params
        report = learner.step(lambda params, gradient: params - gradient)
        return report.gradient, before - learner.params


def test_what_was_applied_is_added_up_again(path):
    """Also by a learner that goes on with another mean; other buckets cannot be."""
    wanted = []
    for combine, trim in (("trimmed", 0.2), ("mean", 0.2), ("trimmed", 0.1)):
        gradient, moved = buckets_at(path, combine, trim)
        used = gradient.value if combine == "mean" else gradient.trimmed.value
        assert moved == pytest.approx(used)
        assert not np.allclose(gradient.value, gradient.trimmed.value)
        wanted.append(used)
    found = list(gradients(path))
    assert [one.step.trim for one in found] == [0.2, None, 0.1]
    assert all(one.is_same for one in found)
    assert all((one.step.value == used).all() for one, used in zip(found, wanted, strict=True))
    with pytest.raises(efl.InvalidInputError, match=r"^buckets: expected 64, as in the journal, got 32"):
        buckets_at(path, "mean", buckets=32)
    assert verified(path).is_whole
