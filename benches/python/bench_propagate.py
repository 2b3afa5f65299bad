"""Heisenberg propagation against bloqade-ppvm and paulistrings-rs, on the same angles and one thread.

Workload: the value of Z9 Z10 on |0...0> after 10 layers of RY, RZ on every one of 20 qubits and a brick wall
of CZ, keeping words of weight at most 6 and coefficients of at least 1e-4.

Goals: the value not slower than either peer, at small and at large angles; value and all 400 derivatives
together at most 3 times the value. Values and numbers of terms must equal those of the peers.

The clock covers the propagation only, with the circuit built beforehand; ppvm has no circuit, so its time
includes 590 calls from Python (below 1 ms, which matters in the rows of small angles).

    pip install bloqade-ppvm==0.1.1 paulistrings-rs==0.1.2
    python benches/python/bench_propagate.py [--smoke] [--rounds N] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import math

import numpy as np
from sidebyside import Method

import efl_core as efl

N, DEPTH, WEIGHT, CUT = 20, 10, 6, 1e-4
ZZ = {9: "Z", 10: "Z"}
LABEL = "I" * 9 + "ZZ" + "I" * 9
CZS = [(q, q + 1) for q in [*range(0, N - 1, 2), *range(1, N - 1, 2)]]


def built(theta):
    """The circuit, ready to be propagated."""
    circuit = efl.Circuit(N, theta)
    for layer in range(DEPTH):
        for q in range(N):
            k = 2 * (layer * N + q)
            circuit.ry(efl.Parameter(k), q).rz(efl.Parameter(k + 1), q)
        for a, b in CZS:
            circuit.clifford("CZ", a, b)
    return circuit


def ours(theta, gradient):
    circuit, truncation = built(theta), efl.Truncation(max_weight=WEIGHT, min_coefficient=CUT)
    return lambda: efl.propagate(circuit, ZZ, truncation=truncation, gradient=gradient)


def difference(theta, k, step=1e-7):
    """A derivative by central differences; the step is too small to change which terms are kept."""
    ends = []
    for sign in (1, -1):
        moved = list(theta)
        moved[k] += sign * step
        ends.append(ours(moved, False)().value)
    return (ends[0] - ends[1]) / (2 * step)


def by_ppvm(ppvm, theta):
    """Gates in reverse order, as ppvm wants them in the Heisenberg picture."""

    def run():
        total = ppvm.PauliSum.new(N, LABEL, min_abs_coeff=CUT, max_pauli_weight=WEIGHT)
        for layer in reversed(range(DEPTH)):
            for a, b in reversed(CZS):
                total.cz(a, b)
            for q in reversed(range(N)):
                k = 2 * (layer * N + q)
                total.rz(q, theta=theta[k + 1])
                total.ry(q, theta=theta[k])
        return total.overlap_with_zero(), len(total)

    return run


def by_paulistrings(paulistrings, theta):
    """The circuit forwards, built outside the clock; what is returned propagates it backwards."""
    circuit = paulistrings.Circuit(N)
    for layer in range(DEPTH):
        for q in range(N):
            k = 2 * (layer * N + q)
            circuit.ry(theta[k], q)
            circuit.rz(theta[k + 1], q)
        for a, b in CZS:
            circuit.cz(a, b)
    total = paulistrings.PauliSum.from_strings({LABEL: 1.0}, num_qubits=N)
    policy = paulistrings.truncation.coeff(CUT) & paulistrings.truncation.weight(WEIGHT)

    def run():
        result = total.propagate(circuit, policy, direction="heisenberg")
        return result.expectation("z+").real, len(result.coefficients())

    return run


def main(report):
    peers = {
        "bloqade-ppvm": (sidebyside.peer("ppvm", "bloqade-ppvm", "0.1.1"), by_ppvm),
        "paulistrings-rs": (sidebyside.peer("paulistrings", "paulistrings-rs", "0.1.2"), by_paulistrings),
    }
    for name, half in (("0.3", 0.3), ("pi", math.pi)):
        for seed in range(1 if report.smoke else 3):
            report.title(f"20 qubits, 590 gates, angles U(-{name}, {name}), seed {seed}")
            theta = np.random.default_rng(seed).uniform(-half, half, 2 * N * DEPTH).tolist()
            value = Method("efl_core value", ours(theta, False))
            gradient = Method("efl_core value and 400 derivatives", ours(theta, True))
            others = [Method(peer, by(module, theta)) for peer, (module, by) in peers.items() if module]
            timings = report.race([value, *others, gradient])
            report.table(list(timings.values()))
            mine, slopes = timings[value.name], timings[gradient.name]
            for other in others:
                report.ratio(f"{other.name} / efl_core", timings[other.name], mine, at_least=1)
            multiple = slopes.median / mine.median
            report.figure("value and gradient / value", multiple, "x", at_most=3)
            found = mine.result
            report.check("value with and without gradient", found.value == slopes.result.value)
            slope = slopes.result.gradient
            largest = [int(k) for k in np.argsort(-np.abs(slope))[:5]]
            by_differences = [difference(theta, k) for k in largest]
            report.close(slope[largest], by_differences, "five largest derivatives", 1e-6)
            for other in others:
                expected, terms = timings[other.name].result
                report.close(found.value, expected, f"value of {other.name}", 1e-6)
                report.check(f"terms of {other.name}", found.terms == terms, f"{found.terms} and {terms}")


if __name__ == "__main__":
    sidebyside.run(main, __doc__.splitlines()[0])
