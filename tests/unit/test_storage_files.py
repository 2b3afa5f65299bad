"""Files of snapshots appear complete or not at all, and take the place of nothing but files."""

import os
import signal
import socket
import stat
import subprocess
import sys
import textwrap
import time

import pytest
from tests.unit.stored import make, run, same

import efl_core as efl
from efl_core import storage
from efl_core.storage import atomic, columns, parquet


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshots.parquet"


@pytest.fixture(params=["unnamed", "named"])
def temporary(request, monkeypatch):
    """Temporaries without a name, and with one as where the system has none."""
    if request.param == "named":
        monkeypatch.delattr(os, "O_TMPFILE")
    return request.param


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("place", ["rows", "footer", "fsync", "rename"])
@pytest.mark.parametrize("old", [False, True])
def test_nothing_is_left_of_a_write_that_failed(path, monkeypatch, temporary, place, error, old):
    before = make(3, 50, seed=1)
    if old:
        before.write_parquet(path)

    def fail(*_, **__):
        raise error

    owner, name = {
        "rows": (parquet, "export"),
        "footer": (parquet._Checksum, "text"),
        "fsync": (os, "fsync"),
        "rename": (os, "replace"),
    }[place]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(type(error)):
            make(3, 1000).write_parquet(path)
    assert list(path.parent.iterdir()) == ([path] if old else [])
    assert not old or same(storage.read_parquet(path), before)


def test_a_second_group_that_fails(path, monkeypatch):
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 64)
    calls = []

    def export(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return columns.export(*arguments)

    monkeypatch.setattr(parquet, "export", export)
    with pytest.raises(KeyboardInterrupt):
        make(3, 200).write_parquet(path)
    assert list(path.parent.iterdir()) == []


def test_a_full_disk(tmp_path):
    """A real failing write, in the middle of pyarrow: the file-size limit of the process."""
    script = """
        import resource, signal, sys
        import numpy as np
        import efl_core as efl
        rng = np.random.default_rng(0)
        bits, bases = rng.integers(0, 2, (50_000, 64)), rng.integers(0, 3, (50_000, 64))
        snaps = efl.Snapshots.from_arrays(bits, bases)
        import efl_core.storage
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            snaps.write_parquet(sys.argv[1])
        except OSError as error:
            print("OSError", error.errno)
    """
    done = run(script, str(tmp_path / "a.parquet"))
    assert done.stdout.split() == ["OSError", "27"]
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_file(path):
    script = """
        import sys
        import numpy as np
        import efl_core as efl
        rng = np.random.default_rng(0)
        bits, bases = rng.integers(0, 2, (20_000, 10)), rng.integers(0, 3, (20_000, 10))
        snaps = efl.Snapshots.from_arrays(bits, bases)
        snaps.write_parquet(sys.argv[1])
        print("first", flush=True)
        while True:
            snaps.write_parquet(sys.argv[1])
    """
    for wait in (0.0, 0.013, 0.031, 0.07):
        command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"first\n"
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
        assert len(storage.read_parquet(path)) == 20_000


def test_mode_and_links_of_the_target(tmp_path):
    target, link = tmp_path / "target.parquet", tmp_path / "link.parquet"
    link.symlink_to(target)
    umask = os.umask(0o027)
    try:
        make(3, 5).write_parquet(link)
    finally:
        os.umask(umask)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert len(storage.read_parquet(link)) == 5


def test_a_file_that_is_replaced_keeps_its_mode(path, temporary):
    for mode in (0o600, 0o444, 0o640):
        path.touch()
        path.chmod(mode)
        make(3, 5).write_parquet(path)
        assert stat.S_IMODE(path.stat().st_mode) == mode
        assert list(path.parent.iterdir()) == [path]
        path.unlink()


def test_a_private_file_is_private_while_it_is_written(path, temporary):
    path.touch()
    path.chmod(0o600)
    with atomic.replacement(path) as file:
        assert stat.S_IMODE(os.fstat(file.fileno()).st_mode) == 0o600


def test_pipes_sockets_and_devices_are_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with socket.socket(socket.AF_UNIX) as bound:
        bound.bind(str(tmp_path / "socket"))
    (tmp_path / "device").symlink_to("/dev/null")
    for name, kind in [("pipe", "a pipe"), ("socket", "a socket"), ("device", "a device")]:
        before = (tmp_path / name).stat()
        with pytest.raises(efl.InvalidInputError, match=f"path: expected a regular file.*, got {kind}: "):
            make(3, 5).write_parquet(tmp_path / name)
        assert (tmp_path / name).stat().st_mode == before.st_mode
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["device", "pipe", "socket"]


def test_a_loop_of_links_is_not_replaced(tmp_path):
    loop = tmp_path / "loop"
    loop.symlink_to(loop)
    with pytest.raises(OSError, match="loop"):
        make(3, 5).write_parquet(loop)
    assert loop.is_symlink()


@pytest.mark.skipif(not hasattr(os, "O_TMPFILE"), reason="the system has no files without a name")
def test_a_killed_writer_leaves_nothing_beside_its_target(path):
    script = """
        import sys, time
        from pathlib import Path
        from efl_core.storage.atomic import replacement
        with replacement(Path(sys.argv[1])) as file:
            file.write(bytes(100_000))
            file.flush()
            print("written", flush=True)
            time.sleep(60)
    """
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script), str(path)], stdout=subprocess.PIPE
    ) as writer:
        assert writer.stdout.readline() == b"written\n"
        assert list(path.parent.iterdir()) == []
        writer.send_signal(signal.SIGKILL)
    assert list(path.parent.iterdir()) == []
