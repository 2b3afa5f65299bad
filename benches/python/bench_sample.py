"""Simulate snapshots of a random 10-qubit state (W3): efl_core beside TenCirPauli and PennyLane.

Peak memory is measured in a process of its own that imports numpy and efl_core only. Run:

    python benches/python/bench_sample.py [--smoke] [--rounds N] [--json FILE]
"""

import itertools
import subprocess
import sys

import sidebyside as side  # first: it sets one thread before numpy is loaded

# isort: split
import numpy as np

import efl_core as efl

QUBITS = 10

MEMORY = """
import resource, sys
import numpy as np
import efl_core as efl

def peak():
    used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return used / (1e6 if sys.platform == "darwin" else 1e6 / 1024)

efl.set_num_threads(1)
rng = np.random.default_rng(7)
state = rng.normal(size=2**{n}) + 1j * rng.normal(size=2**{n})
before = peak()
snaps = efl.sample(state / np.linalg.norm(state), shots={shots}, seed=7)
assert len(snaps) == {shots}
print(before, peak(), snaps.nbytes / 1e6)
"""


def measure_memory(shots):
    """Peak resident memory in MB: after the imports, after sampling; and the size of the result."""
    code = MEMORY.format(n=QUBITS, shots=shots)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return map(float, done.stdout.split())


def expectation(state, word):
    """Exact <word>; wire 0 is the most significant bit of the index."""
    turned = state.reshape((2,) * QUBITS)
    for qubit, letter in word.items():
        signs = np.array([1, -1]).reshape((2,) + (1,) * (QUBITS - 1 - qubit))
        if letter == "X":
            turned = np.flip(turned, qubit)
        elif letter == "Y":
            turned = -1j * signs * np.flip(turned, qubit)
        else:
            turned = signs * turned
    return np.vdot(state, turned.ravel()).real


def check_distribution(report, name, snaps, words, exact):
    """All words of weight 1 and 2 within 5 standard errors: one false alarm in about 4,000 seeds."""
    weights = np.array([len(word) for word in words])
    errors = np.sqrt((3.0**weights - exact**2) / len(snaps))
    worst = np.abs((efl.estimate(snaps, words).value - exact) / errors).max()
    detail = f"{len(words)} words, {len(snaps):,} snapshots, farthest {worst:.2f} standard errors"
    report.check(f"{name} within 5 standard errors of the exact values", worst < 5, detail)


def main(report):
    few, some, many = (1_000, 2_000, 5_000) if report.smoke else (20_000, 100_000, 1_000_000)
    report.title(f"W3: snapshots of a random state of {QUBITS} qubits, uniform letters")
    # first, while this process is small: a child's ru_maxrss starts at what its parent held
    before, peak, held = measure_memory(many)
    tencir = side.peer("tencirpauli", "tencirpauli", "0.5.0")
    qml = side.peer("pennylane", "pennylane", "0.45.1")
    rng = np.random.default_rng(11)
    state = rng.normal(size=2**QUBITS) + 1j * rng.normal(size=2**QUBITS)
    state /= np.linalg.norm(state)

    methods = [
        side.Method(f"efl.sample {shots:,}", lambda shots=shots: efl.sample(state, shots=shots, seed=5))
        for shots in (few, some, many)
    ]
    if side.CORES >= 2:
        methods += [
            side.Method(
                f"efl.sample {shots:,}, 2 threads",
                lambda shots=shots: efl.sample(state, shots=shots, seed=5),
                threads=2,
            )
            for shots in (some, many)
        ]
    if tencir:
        methods.append(
            side.Method(
                f"TenCirPauli Snapshots.sample {some:,}",
                lambda: tencir.shadows.Snapshots.sample(state, nsettings=some, seed=5, max_bytes=None),
                runs=5,
            )
        )
    if qml:
        device = qml.device("default.qubit", wires=QUBITS, seed=5)

        @qml.set_shots(shots=few)
        @qml.qnode(device)
        def shadow():
            qml.StatePrep(state, wires=range(QUBITS))
            return qml.classical_shadow(wires=range(QUBITS), seed=5)

        methods.append(side.Method(f"PennyLane classical_shadow {few:,}", shadow, runs=5))

    timings = report.race(methods)
    report.table(timings.values())
    at_few, at_some, at_many = (timings[f"efl.sample {shots:,}"] for shots in (few, some, many))
    report.figure(f"efl.sample {some:,}", at_some.median / some * 1e6, "us per snapshot", at_most=1.5)
    report.figure(f"efl.sample {many:,}", at_many.median / many * 1e6, "us per snapshot", at_most=0.3)
    report.figure(f"efl.sample {few:,}", at_few.median / few * 1e6, "us per snapshot")
    for shots, one in ((some, at_some), (many, at_many)):
        if side.CORES >= 2:
            two = timings[f"efl.sample {shots:,}, 2 threads"]
            report.figure(f"efl.sample {shots:,}, 2 threads", two.median / shots * 1e6, "us per snapshot")
            report.ratio(f"{shots:,}: 1 thread / 2 threads", one, two)
    if side.CORES < 2:
        print("two threads: not measured, this machine has one core")
    # peers are compared at equal numbers of snapshots: efl.sample gets cheaper per snapshot with more of them
    by_tencir = timings.get(f"TenCirPauli Snapshots.sample {some:,}")
    by_qml = timings.get(f"PennyLane classical_shadow {few:,}")
    if by_tencir:
        report.figure(f"TenCirPauli {some:,}", by_tencir.median / some * 1e6, "us per snapshot")
        report.ratio(f"{some:,}: TenCirPauli / efl_core", by_tencir, at_some, at_least=10)
    if by_qml:
        report.figure(f"PennyLane default.qubit {few:,}", by_qml.median / few * 1e6, "us per snapshot")
        report.ratio(f"{few:,}: PennyLane default.qubit / efl_core", by_qml, at_few, at_least=100)
    report.figure(f"peak memory in all, {many:,}", peak, "MB", at_most=150)
    report.figure("  of it interpreter, numpy and efl_core", before, "MB")
    report.figure("  the snapshots themselves", held, "MB")

    places = [qubits for weight in (1, 2) for qubits in itertools.combinations(range(QUBITS), weight)]
    words = [
        dict(zip(qubits, letters, strict=True))
        for qubits in places
        for letters in itertools.product("XYZ", repeat=len(qubits))
    ]
    exact = np.array([expectation(state, word) for word in words])
    for shots in (few, some, many):
        check_distribution(report, "efl.sample", timings[f"efl.sample {shots:,}"].result, words, exact)
    if side.CORES >= 2:
        same = timings[f"efl.sample {many:,}, 2 threads"].result == at_many.result
        report.check("two threads give the same snapshots", same)
    if by_tencir:
        arrays = by_tencir.result.to_arrays()
        snaps = efl.Snapshots.from_arrays(arrays.outcomes[:, 0], arrays.bases - 1)
        check_distribution(report, "TenCirPauli", snaps, words, exact)
    if by_qml:
        check_distribution(report, "PennyLane", efl.Snapshots.from_pennylane(by_qml.result), words, exact)


if __name__ == "__main__":
    side.run(main, __doc__)
