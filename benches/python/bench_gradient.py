"""Gradient observables of the circuits that people train, at 10 qubits: time, words and memory.

Workload: all derivatives of a combination of the Z of every qubit (of Z0 for the ring), without truncation,
for six circuits. At 5 qubits their expectation values on a simulated final state must be the gradient that
`propagate` computes.

Goal: at most 2 s for each circuit on one thread. Peak memory is what the process grew by in a child of its
own, interpreter and imports left out.

    python benches/python/bench_gradient.py [--smoke] [--rounds N] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import resource
import subprocess
import sys
from pathlib import Path

import numpy as np
from sidebyside import Method

import efl_core as efl

SECONDS, CHECKED = 2, 5


class Builder:
    """A circuit whose every rotation has a parameter of its own, drawn from U(-pi, pi)."""

    def __init__(self, n, count):
        rng = np.random.default_rng(7)
        self.n, self.used = n, 0
        self.circuit = efl.Circuit(n, rng.uniform(-np.pi, np.pi, count))
        self.gates = []
        """For the check: kind, axis, wires, angle."""
        for q in range(n):  # the input features
            angle = float(rng.uniform(0, np.pi))
            self.circuit.ry(angle, q)
            self.gates.append(("rotation", "Y", (q,), angle))

    def turn(self, axes, q):
        for axis in axes:
            self.circuit.rotation({q: axis}, efl.Parameter(self.used))
            self.gates.append(("rotation", axis, (q,), self.circuit.parameters[self.used]))
            self.used += 1

    def entangle(self, name, *wires):
        self.circuit.clifford(name, *wires)
        self.gates.append((name, "", wires, 0.0))


def strongly_entangling(n, gate):
    """Two layers of RZ RY RZ and a ring of two-qubit gates, of range 1 and 2."""
    made = Builder(n, 6 * n)
    for reach in (1, 2):
        for q in range(n):
            made.turn("ZYZ", q)
        for q in range(n):
            made.entangle(gate, q, (q + reach) % n)
    return made


def brick(n, layers):
    """Layers of RY RZ and every other CZ of a chain, then RY RZ."""
    made = Builder(n, 2 * n * (layers + 1))
    for layer in range(layers + 1):
        for q in range(n):
            made.turn("YZ", q)
        for q in range(layer % 2, n - 1, 2) if layer < layers else ():
            made.entangle("CZ", q, q + 1)
    return made


def ring(n):
    """CNOT(q, q + 1) RY(q + 1) three times around a ring."""
    made = Builder(n, 3 * n)
    for _ in range(3):
        for q in range(n):
            made.entangle("CNOT", q, (q + 1) % n)
            made.turn("Y", (q + 1) % n)
    return made


def chain(n):
    """Two layers of RY and a chain of CNOT, then RY."""
    made = Builder(n, 3 * n)
    for layer in range(3):
        for q in range(n):
            made.turn("Y", q)
        for q in range(n - 1) if layer < 2 else ():
            made.entangle("CNOT", q, q + 1)
    return made


CIRCUITS = {
    "SEL-CNOT L2": lambda n: strongly_entangling(n, "CNOT"),
    "SEL-CZ L2": lambda n: strongly_entangling(n, "CZ"),
    "brick CZ L2": lambda n: brick(n, 2),
    "brick CZ L3": lambda n: brick(n, 3),
    "CNOT-RY ring": ring,
    "RY-CNOT chain L2": chain,
}


def answer(name, n):
    """A unit combination of all Z, as a vector-Jacobian product has it; Z0 for the ring."""
    if name == "CNOT-RY ring":
        return {"Z" + "I" * (n - 1): 1.0}
    weights = np.random.default_rng(11).normal(size=n)
    weights /= np.linalg.norm(weights)
    return {"I" * q + "Z" + "I" * (n - q - 1): float(w) for q, w in enumerate(weights)}


def observables(name, n):
    return efl.gradient_observables(CIRCUITS[name](n).circuit, answer(name, n))


def peak():
    """Largest resident size of this process so far, in MB."""
    status = Path("/proc/self/status")
    if status.exists():  # Linux: ru_maxrss would start from the size of the parent
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)


def grown(name, n):
    """Megabytes that a fresh process grows by."""
    command = [sys.executable, __file__, "--child", name, str(n)]
    return float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)


def child(name, n):
    observables("brick CZ L2", 3)
    before = peak()
    observables(name, n)
    print(peak() - before)


def exact(name, n):
    """Expectation value of every observable on the final state, by a simulator of a few lines."""
    made = CIRCUITS[name](n)
    state = np.zeros((2,) * n, dtype=complex)
    state[(0,) * n] = 1
    for kind, axis, wires, angle in made.gates:
        if kind == "rotation":
            other = np.flip(state, wires[0]) if axis in "XY" else state
            sign = np.array([1, -1]).reshape([2 if q == wires[0] else 1 for q in range(n)])
            moved = {"Y": -1j * sign * other, "Z": sign * state, "X": other}[axis]
            state = np.cos(angle / 2) * state - 1j * np.sin(angle / 2) * moved
        elif kind == "CZ":
            state[tuple(1 if q in wires else slice(None) for q in range(n))] *= -1
        else:
            chosen = tuple(1 if q == wires[0] else slice(None) for q in range(n))
            target = wires[1] - (wires[0] < wires[1])
            state[chosen] = np.flip(state[chosen], target).copy()
    state, index = state.ravel(), np.arange(2**n)

    def expectation(row):
        total = 0.0
        for word, coefficient in row.terms():
            label = str(word)
            flips = int("".join("01"[x in "XY"] for x in label), 2)
            signs = int("".join("01"[x in "YZ"] for x in label), 2)
            phase = (-1.0) ** np.bitwise_count(index & signs) * 1j ** label.count("Y")
            total += coefficient * np.vdot(state[index ^ flips], phase * state).real
        return total

    return [expectation(row) for row in observables(name, n).gradients]


def main(report):
    n = 6 if report.smoke else 10
    for name, make in CIRCUITS.items():
        made = make(n)
        report.title(f"{name}, {n} qubits, {made.used} parameters, {made.circuit.n_gates} gates")
        observable = answer(name, n)
        direct = Method(
            "gradient_observables", lambda c=made.circuit, o=observable: efl.gradient_observables(c, o)
        )
        moved = made.circuit.parameters + 0.1
        first = direct.run()
        first.at(moved)  # finds the structure
        again = Method("at(other angles), structure known", lambda rows=first, x=moved: rows.at(x))
        timings = report.race([direct, again])
        report.table(list(timings.values()))
        found = timings[direct.name]
        report.figure("all derivatives", found.median, "s", at_most=SECONDS)
        report.figure("distinct words", found.result.n_words, "words")
        report.figure("derivatives identically zero", int(found.result.is_zero.sum()), "")
        report.figure("peak memory", grown(name, n), "MB")
        slopes = efl.propagate(make(CHECKED).circuit, answer(name, CHECKED)).gradient
        report.close(exact(name, CHECKED), slopes, f"gradient at {CHECKED} qubits, from the final state")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], int(sys.argv[3]))
    else:
        sidebyside.run(main, __doc__.splitlines()[0])
