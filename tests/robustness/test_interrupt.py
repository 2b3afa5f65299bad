"""Ctrl-C ends long calls, and the GIL is free while they run.

A child process starts a call that would last for seconds and gets SIGINT after 0.3 s. The latency is counted
from the moment when the signal was due, so a call that holds the GIL cannot hide it. Other processes of the
machine may keep a child waiting for longer than any limit, so the best one counts.
"""

import pytest
from tests.robustness.child import run

LIMIT = 0.2

SETUP = """
import os, signal, threading, time
import numpy as np
import efl_core as efl

rng = np.random.default_rng(0)

def words(count, n):
    return ["".join(row) for row in rng.choice(list("IXYZ"), size=(count, n), p=[0.4, 0.2, 0.2, 0.2])]

def deep(n, layers):
    c = efl.Circuit(n, parameters=rng.uniform(-3, 3, 2 * n * layers))
    for k in range(n * layers):
        c.ry(efl.Parameter(2 * k), k % n).rz(efl.Parameter(2 * k + 1), k % n)
        if k % n == n - 1:
            for q in range(n):
                c.clifford("CNOT", q, (q + 1) % n)
    return c

def state(n):
    psi = rng.normal(size=2**n) + 1j * rng.normal(size=2**n)
    return psi / np.linalg.norm(psi)
"""

CALLS = {
    "sample": ("psi = state(16)", "efl.sample(psi, shots=20_000_000, seed=1)"),
    "sample of a large state": ("psi = state(21)", "efl.sample(psi, shots=20_000, seed=1)"),
    "tally": (
        "snaps = efl.sample(state(6), shots=1_000_000, seed=1)[np.arange(4_000_000) % 1_000_000]\n"
        "listed = [efl.PauliWord(w) for w in set(words(100_000, 6))] * 60",
        "efl.tally(snaps, listed, buckets=1000)",
    ),
    "tally of wide words": (
        "bits = rng.integers(0, 2, (1_000_000, 40), dtype=np.uint8)\n"
        "snaps = efl.Snapshots.from_arrays(bits, bits)\n"
        "listed = [efl.PauliWord(w) for w in words(60_000, 40)]",
        "efl.tally(snaps, listed)",
    ),
    "estimate": (
        "snaps = efl.sample(state(8), shots=1_000_000, seed=1)\n"
        "sums = [efl.PauliSum([(w, 1.0) for w in words(400, 8)]) for _ in range(400)]",
        "efl.estimate(snaps, sums)",
    ),
    "propagate": ("c = deep(20, 20)", "efl.propagate(c, 'Z' * 20)"),
    "gradient observables": ("c = deep(16, 8)", "efl.gradient_observables(c, 'Z' * 16)"),
    "from_arrays": (
        "table = np.zeros((60_000_000, 50), np.uint8)  # pages that are never touched",
        "efl.Snapshots.from_arrays(table, table)",
    ),
}

INTERRUPT = """
{setup}
{prepare}
efl.set_num_threads({threads})
latencies = []
for attempt in range(3):
    due = time.perf_counter() + {after}
    def interrupt():
        time.sleep(max(0, due - time.perf_counter()))
        os.kill(os.getpid(), signal.SIGINT)
    thread = threading.Thread(target=interrupt)
    try:
        thread.start()
        {call}
        ended = "finished"
        time.sleep(1)
    except KeyboardInterrupt:
        latencies.append(time.perf_counter() - due)
        ended = "interrupted"
    thread.join()
    print(ended)
assert efl.estimate(efl.sample([1, 0], shots=10, seed=1), "X").shots == 10  # the pool still works
print("latency", min(latencies), max(latencies))
"""


def ends_in_time(script, rounds=3):
    """Three interrupts a round, and another round where the machine was too busy to say anything."""
    latencies = []
    for _ in range(rounds):
        out = run(script)
        assert out.count("interrupted") == 3, "the call ended before the signal: make it longer"
        latencies.append(float(out.split()[-2]))
        if latencies[-1] < LIMIT:
            return
    raise AssertionError(f"the fastest ends of {rounds} rounds took {latencies} s")


@pytest.mark.parametrize(
    ("name", "threads"), [*((name, 2) for name in CALLS), ("sample", 1), ("tally", 1), ("estimate", 1)]
)
def test_ctrl_c_ends_a_long_call(name, threads):
    prepare, call = CALLS[name]
    ends_in_time(INTERRUPT.format(setup=SETUP, prepare=prepare, call=call, threads=threads, after=0.3))


@pytest.mark.slow
@pytest.mark.parametrize("name", ["propagate", "gradient observables"])
def test_ctrl_c_ends_a_propagation_that_has_grown(name):
    # After two seconds the tables have millions of terms, and growing one takes long.
    prepare, call = CALLS[name]
    ends_in_time(INTERRUPT.format(setup=SETUP, prepare=prepare, call=call, threads=1, after=2.0), rounds=2)


TICKS = """
{setup}
{prepare}
efl.set_num_threads(1)
ticks, running = [], True
def tick():
    while running:
        ticks.append(time.perf_counter())
        time.sleep(0.002)
thread = threading.Thread(target=tick)
threading.Timer(0.6, lambda: os.kill(os.getpid(), signal.SIGINT)).start()
thread.start()
start = time.perf_counter()
try:
    {call}
except KeyboardInterrupt:
    pass
end = time.perf_counter()
running = False
thread.join()
print(len([t for t in ticks if start + 0.05 < t < start + 0.55]), end - start)
"""


@pytest.mark.parametrize("name", ["sample", "tally", "estimate", "from_arrays"])
def test_other_threads_run_during_a_long_call(name):
    prepare, call = CALLS[name]
    ticks, seconds = run(TICKS.format(setup=SETUP, prepare=prepare, call=call)).split()
    assert float(seconds) > 0.55, "the call was too short to say anything"
    # None would be left by a call that keeps the lock; a machine with other work leaves some thirty.
    assert int(ticks) > 12, "of 250 possible ones"
