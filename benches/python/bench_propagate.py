"""Heisenberg propagation against bloqade-ppvm and paulistrings-rs, in one run on the same angles and one thread.

Workload: the value of Z9 Z10 on |0...0> after 10 layers of RY, RZ on every one of 20 qubits and a brick wall of CZ,
keeping words of weight at most 6 and coefficients of at least 1e-4.

Goals: the value not slower than the faster peer (ratio at most 1); value and all 400 derivatives together at most 3
times the value; values and numbers of terms equal to those of the peers.

The clock covers the propagation only, with the circuit built beforehand; ppvm has no circuit, so its time includes
590 calls from Python (below 1 ms, which matters in the rows of small angles).

    pip install bloqade-ppvm paulistrings-rs numpy
    python benches/python/bench_propagate.py
"""

import math
import os
import random
import subprocess
import time
from pathlib import Path

os.environ["RAYON_NUM_THREADS"] = "1"

import paulistrings
import ppvm

N, DEPTH, WEIGHT, CUT = 20, 10, 6, 1e-4
ROOT = Path(__file__).resolve().parents[2]
CZS = [(q, q + 1) for q in [*range(0, N - 1, 2), *range(1, N - 1, 2)]]


def best(run, repeats=5):
    """The result of a function and the best of its times."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        result = run()
        times.append(time.perf_counter() - start)
    return result, min(times)


def run_ppvm(theta):
    """Gates in reverse order, as ppvm wants them in the Heisenberg picture."""
    total = ppvm.PauliSum.new(N, "I" * 9 + "ZZ" + "I" * 9, min_abs_coeff=CUT, max_pauli_weight=WEIGHT)
    for layer in reversed(range(DEPTH)):
        for a, b in reversed(CZS):
            total.cz(a, b)
        for q in reversed(range(N)):
            k = 2 * (layer * N + q)
            total.rz(q, theta=theta[k + 1])
            total.ry(q, theta=theta[k])
    return total.overlap_with_zero(), len(total)


def prepare_paulistrings(theta):
    """The circuit forwards, built outside the clock; what is returned propagates it backwards."""
    circuit = paulistrings.Circuit(N)
    for layer in range(DEPTH):
        for q in range(N):
            k = 2 * (layer * N + q)
            circuit.ry(theta[k], q)
            circuit.rz(theta[k + 1], q)
        for a, b in CZS:
            circuit.cz(a, b)
    total = paulistrings.PauliSum.from_strings({"I" * 9 + "ZZ" + "I" * 9: 1.0}, num_qubits=N)
    policy = paulistrings.truncation.coeff(CUT) & paulistrings.truncation.weight(WEIGHT)

    def run():
        result = total.propagate(circuit, policy, direction="heisenberg")
        return result.expectation("z+").real, len(result.coefficients())

    return run


def main():
    """Print a row per set of angles."""
    ranges = [("0.3", 0.3), ("pi", math.pi)]
    sets = [(name, seed, half) for name, half in ranges for seed in range(3)]
    angles = []
    for _, seed, half in sets:
        rng = random.Random(seed)
        angles.append([rng.uniform(-half, half) for _ in range(2 * N * DEPTH)])
    command = ["cargo", "run", "--quiet", "--release", "-p", "efl-benches", "--example", "propagate_angles"]
    lines = "\n".join(" ".join(map(repr, theta)) for theta in angles)
    ours = subprocess.run(command, input=lines, capture_output=True, text=True, check=True, cwd=ROOT)
    print(
        "angles seed |   value     terms | ms: efl  ppvm  paulistrings | value/peer (goal <= 1)"
        " | gradient/value (goal <= 3)"
    )
    for (name, seed, _), theta, line in zip(sets, angles, ours.stdout.splitlines(), strict=True):
        value, terms, seconds, gradient = map(float, line.split())
        (v1, n1), t1 = best(lambda theta=theta: run_ppvm(theta))
        (v2, n2), t2 = best(prepare_paulistrings(theta))
        agree = max(abs(value - v1), abs(value - v2)) < 1e-9 and terms == n1 == n2
        print(
            f"{name:>6} {seed:4} | {value:9.6f} {terms:7.0f} | {seconds * 1e3:7.2f} {t1 * 1e3:7.2f} {t2 * 1e3:7.2f}"
            f" | {seconds / min(t1, t2):5.2f} | {gradient / seconds:5.2f}"
            f"{'' if agree else f'  DIFFERS: {v1} {n1} {v2} {n2}'}"
        )


if __name__ == "__main__":
    main()
