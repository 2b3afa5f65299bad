"""Threads, forks and memory: the pool survives them, and results do not change."""

import concurrent.futures
import os
import sys
import threading

import numpy as np
import pytest
from tests.oracle.dense import random_state
from tests.robustness.child import run

import efl_core as efl

SETUP = """
import os, signal, sys, threading, time
import numpy as np
import efl_core as efl

efl.set_num_threads(2)
bell = [2**-0.5, 0, 0, 2**-0.5]
snaps = efl.sample(bell, shots=300_000, seed=1)
expected = efl.estimate(snaps, {"XX": 1.0, "ZZ": 0.5})

def child():
    found = efl.estimate(snaps, {"XX": 1.0, "ZZ": 0.5})
    again = efl.sample(bell, shots=300_000, seed=1)
    efl.set_num_threads(3)
    more = efl.tally(again, ["XX", "ZZ"], buckets=4)
    same = (found.value, found.stderr) == (expected.value, expected.stderr)
    return same and again == snaps and more.shots == 300_000

def fork_and_wait():
    pid = os.fork()
    if pid == 0:
        status = 9
        try:
            status = 0 if child() else 1
        finally:
            os._exit(status)
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.01)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return "hung"
"""


def test_a_forked_child_estimates():
    out = run(SETUP + "\nprint(fork_and_wait(), fork_and_wait())\nprint(child())")
    assert out.split() == ["0", "0", "True"]


def test_a_child_forked_during_a_call_of_another_thread_estimates():
    script = (
        SETUP
        + """
busy = True
def work():
    while busy:
        efl.sample(bell, shots=200_000, seed=3)
thread = threading.Thread(target=work)
thread.start()
print([fork_and_wait() for _ in range(10)])
busy = False
thread.join()
"""
    )
    assert run(script).strip() == str([0] * 10)


def test_a_grandchild_estimates():
    script = (
        SETUP
        + """
def child():
    return fork_and_wait() == 0
outer, child = child, (lambda: efl.estimate(snaps, "XX").shots == 300_000)
pid = os.fork()
if pid == 0:
    efl.estimate(snaps, "XX")
    os._exit(0 if fork_and_wait() == 0 else 1)
_, status = os.waitpid(pid, 0)
print(os.waitstatus_to_exitcode(status))
"""
    )
    assert run(script).strip() == "0"


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_multiprocessing_pools_count_and_merge(method, tmp_path):
    script = tmp_path / "pool.py"
    script.write_text("""
import multiprocessing, sys
import efl_core as efl

def count(seed):
    return efl.tally(efl.sample([2**-0.5, 0, 0, 2**-0.5], shots=50_000, seed=seed), ["XX", "ZZ"], buckets=4)

if __name__ == "__main__":
    here = [count(seed) for seed in range(6)]
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        there = pool.map_async(count, range(6)).get(timeout=30)
    assert there == here
    assert sum(there).to_bytes() == sum(here).to_bytes()
    print("same")
""")
    out = run(
        f"import runpy, sys; sys.argv = ['', '{method}']; runpy.run_path(r'{script}', run_name='__main__')"
    )
    assert out.strip() == "same"


def test_threads_estimating_at_the_same_time_agree():
    state = random_state(6, 1)
    snaps = efl.sample(state, shots=100_000, seed=1)
    observables = ["XIIIII", "ZZIIII", "IXYZII", {"ZIIIII": 1.0, "IZIIIZ": -0.5, "XXIIII": 0.25}]
    expected = efl.estimate(snaps, observables)
    counted = efl.tally(snaps, observables[:3], buckets=5)
    gate = threading.Barrier(4)

    def work(i):
        gate.wait()
        results = []
        for _ in range(10):
            found = efl.estimate(snaps, observables)
            results.append(found.value.tobytes() + found.stderr.tobytes())
            assert efl.tally(snaps, observables[:3], buckets=5) == counted
            assert efl.sample(state, shots=20_000, seed=1) == snaps[:20_000]
        return results

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        results = [r for part in pool.map(work, range(4)) for r in part]
    assert set(results) == {expected.value.tobytes() + expected.stderr.tobytes()}


def test_threads_may_change_the_number_of_threads_meanwhile():
    snaps = efl.sample(random_state(5, 2), shots=50_000, seed=1)
    expected = efl.tally(snaps, ["XYZII", "IIZZI"], buckets=3)
    before = efl.num_threads()
    try:

        def work(threads):
            for _ in range(15):
                efl.set_num_threads(threads)
                assert efl.tally(snaps, ["XYZII", "IIZZI"], buckets=3) == expected

        with concurrent.futures.ThreadPoolExecutor(3) as pool:
            list(pool.map(work, (1, 2, 3), timeout=60))
    finally:
        efl.set_num_threads(before)


def test_errors_reach_the_thread_that_caused_them():
    snaps = efl.sample(random_state(3, 2), shots=5000, seed=1)

    def work(i):
        if i % 2:
            efl.estimate(snaps, ["XII", "QII"])
        return efl.estimate(snaps, "XII").value

    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        futures = [pool.submit(work, i) for i in range(40)]
    values = {future.result() for future in futures[::2]}
    assert len(values) == 1
    for future in futures[1::2]:
        assert type(future.exception()) is efl.InvalidInputError
        assert "'Q' at position 0" in str(future.exception())


def test_a_bad_value_met_by_many_threads_is_one_error():
    bits = np.zeros((400_000, 3), np.uint8)
    bits[[70_000, 200_000, 399_999], 2] = 5
    for _ in range(5):
        with pytest.raises(efl.InvalidInputError, match=r"^bits\[70000, 2\]: "):
            efl.Snapshots.from_arrays(bits, np.zeros_like(bits))


THREADS = """
import os, threading
import efl_core as efl

print(efl.num_threads())

def names():
    tasks = "/proc/self/task"
    for task in os.listdir(tasks):
        try:
            with open(f"{tasks}/{task}/comm") as name:
                yield name.read().strip()
        except (FileNotFoundError, ProcessLookupError):  # it has ended meanwhile
            pass

most, done = 0, threading.Event()
def work():
    efl.sample([1, 0], shots=60_000_000, seed=1)
    done.set()
threading.Thread(target=work).start()
if os.path.exists("/proc/self/task"):
    while not done.wait(0.001):
        most = max(most, sum(name == "efl" for name in names()))
    print(most)
else:
    print(efl.num_threads())
"""


@pytest.mark.parametrize("threads", [1, 3, 5])
def test_the_environment_sets_the_number_of_threads(threads):
    assert run(THREADS, EFL_NUM_THREADS=str(threads)).split() == [str(threads)] * 2


def test_the_environment_of_this_library_goes_before_that_of_rayon():
    assert run(THREADS, EFL_NUM_THREADS="2", RAYON_NUM_THREADS="4").split()[0] == "2"


@pytest.mark.parametrize("nonsense", ["", "0", "-1", "many", "99999"])
def test_a_number_of_threads_that_makes_no_sense_is_passed_over(nonsense):
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    found = run(
        "import efl_core as efl; print(efl.num_threads())", EFL_NUM_THREADS=nonsense, RAYON_NUM_THREADS=""
    )
    assert int(found) == cores


def test_set_num_threads_goes_before_the_environment():
    script = "import efl_core as efl; efl.set_num_threads(2); print(efl.num_threads())"
    assert run(script, EFL_NUM_THREADS="4").strip() == "2"


def test_no_thread_outlives_a_call():
    script = """
    import os
    import efl_core as efl
    snaps = efl.sample([1, 0], shots=200_000, seed=1)
    for threads in range(1, 60):
        efl.set_num_threads(threads)
        efl.estimate(snaps, "Z")
    print(len(os.listdir("/proc/self/task")) if os.path.exists("/proc/self/task") else "few")
    """
    found = run(script, OPENBLAS_NUM_THREADS="1").strip()
    assert found == "few" or int(found) <= 2


REFUSED = """
import resource
import threading
import efl_core as efl

snaps = efl.sample([1, 0], shots=4_000_000, seed=1)
expected = efl.tally(snaps, ["Z", "X"], buckets=64)
efl.set_num_threads(1024)
limit = {limit}
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    print(efl.tally(snaps, ["Z", "X"], buckets=64) == expected)
except efl.ResourceLimitError as error:
    print(str(error).startswith("threads: "))
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="only Linux limits the address space")
# With no room at all the C library ends the process when a thread first touches its own data.
@pytest.mark.parametrize("room", [1 << 18, 1 << 20, 64 << 20, 1 << 30])
def test_threads_that_the_system_refuses_are_done_without_or_named(room):
    limit = f'int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize() + {room}'
    assert run(REFUSED.format(limit=limit), OPENBLAS_NUM_THREADS="1").strip() == "True"


BESIDE = """
import os, signal, threading, time
import efl_core as efl

efl.set_num_threads({threads})
snaps = efl.sample([1, 0], shots=1000, seed=1)
stop, busy = False, threading.Barrier(3)

def work():
    busy.wait()
    try:
        while not stop:
            efl.sample([1, 0], shots=300_000_000, seed=3)
    except KeyboardInterrupt:
        pass

others = [threading.Thread(target=work, daemon=True) for _ in range(2)]
[other.start() for other in others]
busy.wait()
time.sleep(0.1)
times = []
for _ in range(10):
    start = time.perf_counter()
    efl.estimate(snaps, "X")
    times.append(time.perf_counter() - start)
print(min(times), flush=True)
os._exit(0)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_small_call_does_not_wait_for_a_large_one(threads):
    # The large ones take seconds, this one a millisecond, and a busy machine keeps any of them waiting.
    assert float(run(BESIDE.format(threads=threads))) < 0.5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_child_that_a_signal_handler_lets_go_on_ends_with_a_message():
    script = """
    import os, signal
    import efl_core as efl

    def handler(*_):
        global child
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGALRM, signal.SIG_DFL)
            signal.alarm(20)  # a child that hangs

    efl.set_num_threads(2)
    signal.signal(signal.SIGALRM, handler)
    signal.setitimer(signal.ITIMER_REAL, 0.1)
    me = os.getpid()
    efl.sample([1, 0], shots=100_000_000, seed=3)
    assert os.getpid() == me
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == -signal.SIGABRT)
    """
    assert run(script).strip() == "True"


PEAK = """
import sys
import numpy as np
import efl_core as efl

rng = np.random.default_rng(0)
psi = rng.normal(size=2**10) + 1j * rng.normal(size=2**10)
psi /= np.linalg.norm(psi)
snaps = efl.sample(psi, shots=1_000_000, seed=1)
assert snaps.nbytes < 4_000_000
efl.tally(snaps, ["XIIIIIIIII", "ZZIIIIIIII"], buckets=32)
efl.estimate(snaps, ["XIIIIIIIII", {"ZZIIIIIIII": 1.0, "XXIIIIIIII": 0.5}])
if sys.platform == "linux":  # getrusage would include the parent's memory, inherited through exec
    with open("/proc/self/status") as status:
        print(next(int(line.split()[1]) for line in status if line.startswith("VmHWM")) * 1024)
else:
    import resource
    print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""


@pytest.mark.parametrize("threads", [1, 2])
def test_a_million_snapshots_of_ten_qubits_fit_in_150_megabytes(threads):
    peak = int(run(PEAK, EFL_NUM_THREADS=str(threads)))
    print(f"peak {peak / 1e6:.0f} MB on {sys.platform}, {threads} threads")
    assert peak < 150e6
