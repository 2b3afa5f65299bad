"""The file of frames: what a crash leaves at its end is cut off, and anything else is damage."""

import os
from contextlib import closing
from pathlib import Path

import pytest
from tests.fleet.journals import flipped, learner_at, taught

import efl_core as efl
from efl_core.fleet.journal import Store, recover
from efl_core.fleet.journal.audit import verified


@pytest.fixture
def path(tmp_path):
    return tmp_path / "fleet.journal"


def killed(path, to, cut=None):
    """Copy a journal without a checkpoint at its end, as a process that was killed leaves it."""
    for suffix in ("", "-wal", "-frames"):
        to.with_name(to.name + suffix).write_bytes(Path(f"{path}{suffix}").read_bytes())
    if cut is not None:
        os.truncate(f"{to}-frames", cut)
    return to


def test_a_frame_that_was_not_written_to_its_end_was_not_acknowledged(path, tmp_path, caplog):
    with learner_at(path) as learner:
        taught(learner, steps=1)
        before, counts, held = learner._store._log.end, learner.counts, learner._machine.to_bytes()
        found = learner.join(99)
        after = learner._store._log.end
        sizes = [before, before + 1, before + 15, before + 16, before + 17, after - 1, after]
        for size in sizes:
            copy = killed(path, tmp_path / f"{size}.journal", size)
            with closing(Store(copy)) as store:
                machine = recover(store).replay.machine()
                assert (machine.to_bytes() == held) is (size < after)
            assert os.path.getsize(f"{copy}-frames") == (after if size == after else before)
            torn = f"{size - before} bytes of {copy}-frames were not written to their end"
            assert (torn in caplog.text) is (before < size < after)
        copy = tmp_path / f"{before + 16}.journal"
        assert verified(copy).is_whole
        with learner_at(copy) as second:  # as if it had never been asked
            assert second.join(99) == found
        # The size has reached the disk, and nothing of what was written.
        copy = killed(path, tmp_path / "hole.journal", before)
        os.truncate(f"{copy}-frames", after)
        with learner_at(copy) as second:
            assert second.counts == counts


@pytest.mark.parametrize("byte", [0, 3, 9])
def test_a_length_that_was_altered_ends_nothing(path, tmp_path, byte):
    """Of a frame in the middle, without a checkpoint behind it: what follows was acknowledged."""
    with learner_at(path) as learner:
        taught(learner, steps=1)
        copy = killed(path, tmp_path / "copy.journal")
        frames = list(learner._store.frames())
    place = sum(16 + len(frame) for frame in frames[: len(frames) // 2])
    flipped(copy, place + byte)
    with pytest.raises(efl.CorruptDataError, match=f"^journal: expected a frame .* at byte {place} of"):
        learner_at(copy)


def test_bytes_of_a_replica_pass_for_no_frame(path, tmp_path):
    """What a replica sends may be a whole frame, which it has seen somewhere."""
    with learner_at(path) as learner:
        learner.join(1)
        data = Path(f"{path}-frames").read_bytes()
        before = learner._store._log.end
        learner._machine.note(200, data)
        learner._commit()
        copy = killed(path, tmp_path / "copy.journal", learner._store._log.end - 1)
    with open(f"{copy}-frames", "r+b") as file:  # and its own length is not there
        file.seek(before)
        file.write(bytes(16))
    with closing(Store(copy)) as store:
        assert recover(store).replay.machine().counts["replicas"] == 1
    assert os.path.getsize(f"{copy}-frames") == before


def test_frames_belong_to_their_journal(path, tmp_path):
    with learner_at(path) as learner:
        taught(learner, steps=1)
        end = learner._store._log.end
    other = tmp_path / "other.journal"
    with learner_at(other) as learner:
        taught(learner, steps=2)
    kept = Path(f"{path}-frames").read_bytes()
    Path(f"{path}-frames").write_bytes(Path(f"{other}-frames").read_bytes())
    assert "expected a frame of this journal at byte 0" in verified_damage(path)
    Path(f"{path}-frames").write_bytes(kept[: end - 1])
    with pytest.raises(efl.CorruptDataError, match=r"^journal: expected \d+ bytes or more in .*, got"):
        learner_at(path)
    os.unlink(f"{path}-frames")
    with pytest.raises(efl.JournalError, match=r"^journal: expected its frames beside it, got no file"):
        learner_at(path)
    Path(f"{path}-frames").write_bytes(kept)
    os.unlink(path)
    with pytest.raises(efl.JournalError, match=r"^journal: expected no frames beside a new journal"):
        learner_at(path)


def verified_damage(path):
    try:
        return verified(path).damage
    except efl.CorruptDataError as error:
        return str(error)
