"""What a journal costs: packets acknowledged per second, beside plain append and fsync on the same disk.

The plain side writes the same bytes in the same batches: it knows beforehand which packets come together, has
no callers to wake, and no checksums. Goal: a learner with a journal within 1.5 times of that, with 64 callers
that each wait for their own packet. Both run in turn, and the ratio is the median of the pairs.

Two floors are printed beside the ratio. In memory is the same learner with its journal in /dev/shm, where a
sync does nothing: what admission takes with so many threads. Waking is what it takes that so many threads of
Python wait, are told and go on, and nothing else. A disk that is faster than these is not what bounds it.
"""

import argparse
import math
import os
import sys
import tempfile
import threading
import time
from contextlib import closing
from pathlib import Path

import numpy as np

import efl_core as efl
from efl_core.fleet import Learner
from efl_core.fleet.journal import Store

GOAL = 1.5
MEMORY = Path("/dev/shm")


def circuit(n_qubits):
    """Angles of the inputs, a layer of RY and RZ, a chain of CZ, another layer."""
    made = efl.Circuit(n_qubits, parameters=np.linspace(-1, 1, 4 * n_qubits))
    for q in range(n_qubits):
        made.ry(made.input(0.1 * q), q)
    for layer in range(2):
        for q in range(n_qubits):
            k = 2 * (layer * n_qubits + q)
            made.ry(efl.Parameter(k), q).rz(efl.Parameter(k + 1), q)
        if not layer:
            for q in range(n_qubits - 1):
                made.clifford("CZ", q, q + 1)
    made.observables = (efl.PauliSum("Z" + "I" * (n_qubits - 1)),)
    return made


def packets(learner, replica, incarnation, count, queries):
    """Packets of random bits."""
    native, random = learner.version.native, np.random.default_rng(replica)
    shape = native.n_qubits
    answers = random.integers(0, 2, (queries, native.answer_shots, shape), dtype=np.uint8)
    teaches = random.integers(0, 2, (queries, native.teach_shots, shape), dtype=np.uint8)
    return [
        native.encode(
            replica=replica,
            incarnation=incarnation,
            first=queries * k,
            queries=queries,
            answers=answers,
            teaches=teaches,
        )
        for k in range(count)
    ]


def acknowledged(path, callers, count, queries):
    """Let callers hand in packets, each waiting for its own; return packets per second, frames, commits."""
    options = {"loss": "squared", "inputs": np.full(10, 0.1), "seed": 1}
    with Learner(circuit(10), journal=path, **options) as learner:
        mine = [packets(learner, k + 1, learner.join(k + 1), count, queries) for k in range(callers)]
        before, failed = learner._journal.commits, []

        def hand_in(own):
            for packet in own:
                if learner.submit(packet)[0] is not None:
                    failed.append(packet)

        threads = [threading.Thread(target=hand_in, args=(own,)) for own in mine]
        began = time.perf_counter()
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        seconds = time.perf_counter() - began
        assert not failed
        commits = learner._journal.commits - before
    with closing(Store(path)) as store:
        frames = [frame for frame in store.frames() if len(frame) > len(mine[0][0])]
    return callers * count / seconds, frames, commits


def plain(path, frames):
    """Append and fsync the same frames; return how long that took."""
    began = time.perf_counter()
    with open(path, "wb", buffering=0) as file:
        for frame in frames:
            file.write(frame)
            os.fdatasync(file.fileno()) if hasattr(os, "fdatasync") else os.fsync(file.fileno())
    return time.perf_counter() - began


def woken(callers, count):
    """Let callers wait until they are told, by a thread that does nothing else; return how long one takes."""
    guard, asked, waiting, left = threading.Lock(), threading.Lock(), [], callers * count
    asked.acquire()

    def wait():
        for _ in range(count):
            gate = threading.Lock()
            gate.acquire()
            with guard:
                waiting.append(gate)
                if asked.locked():
                    asked.release()
            gate.acquire()

    threads = [threading.Thread(target=wait) for _ in range(callers)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    while left:
        asked.acquire()
        with guard:
            told = waiting.copy()
            waiting.clear()
        for gate in told:
            gate.release()
        left -= len(told)
    for thread in threads:
        thread.join()
    return (time.perf_counter() - began) / (callers * count)


def pair(folder, callers, count, queries):
    """Return microseconds for a packet: with a journal, plain, and the floors; and packets of a commit."""
    with tempfile.TemporaryDirectory(dir=folder) as own:
        rate, frames, commits = acknowledged(Path(own, "fleet.journal"), callers, count, queries)
        raw = plain(Path(own, "plain"), frames) / (callers * count)
    floor = math.nan
    if MEMORY.is_dir():
        with tempfile.TemporaryDirectory(dir=MEMORY) as own:
            floor = 1e6 / acknowledged(Path(own, "fleet.journal"), callers, count, queries)[0]
    return 1e6 / rate, 1e6 * raw, floor, 1e6 * woken(callers, count), callers * count / commits


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--smoke", action="store_true", help="a tenth of it, and no goals")
    parser.add_argument("--folder", type=Path, help="on the disk that is measured (a temporary one)")
    parser.add_argument("--pairs", type=int, default=7, help="of runs, whose median counts")
    options = parser.parse_args()
    missed, pairs = [], 1 if options.smoke else options.pairs
    for callers, count, queries in [(1, 200, 64), (16, 100, 64), (64, 100, 64), (64, 50, 256)]:
        count = max(2, count // 10) if options.smoke else count
        found = np.array([pair(options.folder, callers, count, queries) for _ in range(pairs)])
        ratios = found[:, 0] / found[:, 1]
        ratio, (ours, raw, floor, waking, batch) = np.median(ratios), np.median(found, axis=0)
        print(
            f"{callers:3d} callers, packets of {queries:3d} queries: {ours:6.1f} us a packet "
            f"({1e6 / ours:7.0f} packets/s, {1e6 / ours * queries:9.0f} queries/s, {batch:4.1f} a commit); "
            f"plain append + fsync of the same bytes {raw:6.1f} us; in memory {floor:6.1f} us, "
            f"waking alone {waking:6.1f} us; {ratio:.2f} times ({ratios.min():.2f} to {ratios.max():.2f})"
        )
        if callers == 64 and ratio > GOAL:
            missed.append(f"{callers} callers, {queries} queries: {ratio:.2f}")
    print(f"goal: within {GOAL} times with 64 callers: {'missed: ' + '; '.join(missed) if missed else 'met'}")
    if hasattr(os, "getloadavg") and os.getloadavg()[0] > os.cpu_count():
        print(f"load {os.getloadavg()[0]:.1f}: plain syncs wait for processors, ratios are too small")
    if missed and not options.smoke:
        sys.exit(1)


if __name__ == "__main__":
    main()
