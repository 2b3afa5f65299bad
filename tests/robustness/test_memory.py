"""With little memory a call ends with an exception, never with the process.

Each call runs in a process of its own whose address space is limited, as a container limits memory, and
needs more than that. What follows shows that the process and its thread pool still work.
"""

import pytest
from tests.robustness.child import run

SETUP = """
import resource
resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
resource.setrlimit(resource.RLIMIT_AS, (int(float("{gigabytes}") * 2**30),) * 2)
import numpy as np
import efl_core as efl
efl.set_num_threads({threads})
rng = np.random.default_rng(0)

def deep(n, layers):
    circuit = efl.Circuit(n, parameters=rng.uniform(-3, 3, 2 * n * layers))
    for k in range(n * layers):
        circuit.ry(efl.Parameter(2 * k), k % n)
        circuit.rz(efl.Parameter(2 * k + 1), k % n)
        if k % n == n - 1:
            for q in range(n):
                circuit.clifford("CNOT", q, (q + 1) % n)
    return circuit

def words(count, n):
    return ["".join(row) for row in rng.choice(list("IXYZ"), size=(count, n))]

{prepare}
try:
    {call}
    print("finished")
except efl.ResourceLimitError as error:
    print("refused:", error)
except MemoryError as error:
    print("refused: memory", error)
assert efl.estimate(efl.sample([1, 0], shots=10, seed=1), "X").shots == 10
"""

CALLS = {
    "propagate": ("c = deep(20, 20)", "efl.propagate(c, 'Z' * 20)"),
    "propagate wide words": ("c = deep(130, 20)", "efl.propagate(c, 'Z' * 130)"),
    "gradient observables": ("c = deep(20, 6)", "efl.gradient_observables(c, 'Z' * 20)"),
    "template of a gradient": (
        "c = deep(20, 6)",
        "efl._native.GradientTemplate(c._native, [efl.PauliSum('Z' * 20)], None)",
    ),
    "tally": (
        "s = efl.sample(np.eye(2**10)[0], shots=3000, seed=1); w = words(100_000, 10)",
        "efl.tally(s, w, buckets=3000)",
    ),
    "a setting of many qubits": ("", "efl.Setting.from_gates(65536, [])"),
    "labels of a wide setting": ("s = efl.Setting('X' * 2**20)", "s.measured"),
}


@pytest.mark.parametrize("name", list(CALLS))
def test_no_memory_is_an_exception(name):
    prepare, call = CALLS[name]
    out = run(SETUP.format(gigabytes=0.55, threads=2, prepare=prepare, call=call), seconds=110)
    assert out.startswith("refused:"), out


def test_many_threads_share_one_budget():
    prepare, call = CALLS["gradient observables"]
    out = run(SETUP.format(gigabytes=0.9, threads=7, prepare=prepare, call=call), seconds=110)
    assert out.startswith("refused:"), out


def test_a_stream_without_end_is_refused():
    pytest.importorskip("pyarrow")
    prepare = """
import pyarrow as pa
table = efl.sample([1, 0], shots=500_000, seed=1).to_arrow()
def batches():
    while True:
        yield from table.to_batches()
reader = pa.RecordBatchReader.from_batches(table.schema, batches())
"""
    call = "efl.Snapshots.from_arrow(reader)"
    assert "max_bytes" in run(SETUP.format(gigabytes=2, threads=2, prepare=prepare, call=call))


def test_the_budget_is_that_of_the_container():
    out = run(SETUP.format(gigabytes=2, threads=1, prepare="", call="print(efl._native.memory_budget())"))
    assert 0 < int(out.split()[0]) < 2**30
