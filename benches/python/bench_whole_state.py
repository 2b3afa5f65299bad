"""Random bases of all qubits: sampling, fidelities, and functionals of parts, in microseconds per snapshot.

Run:

    python benches/python/bench_whole_state.py [--smoke] [--rounds N] [--json FILE]
"""

import sidebyside as side  # first: it sets one thread before numpy is loaded

# isort: split
import numpy as np

import efl_core as efl


def ghz(qubits):
    return efl.StabiliserState(qubits, [("H", 0), *(("CNOT", q, q + 1) for q in range(qubits - 1))])


def main(report):
    shots = 500 if report.smoke else 20_000
    many = 5_000 if report.smoke else 1_000_000
    report.title("random stabiliser bases, one thread")
    rng = np.random.default_rng(3)
    vector = rng.normal(size=2**10) + 1j * rng.normal(size=2**10)
    vector /= np.linalg.norm(vector)
    states = {
        "GHZ 10": (ghz(10), 10),
        "GHZ 20": (ghz(20), 20),
        "GHZ 100": (ghz(100), 100),
        "vector 10": (vector, 10),
    }
    goals = {"GHZ 10": (3, 1), "GHZ 20": (8, 3), "GHZ 100": (None, None), "vector 10": (10, 2)}
    methods = []
    for name, (state, qubits) in states.items():
        ensemble = efl.Ensemble.global_clifford(qubits)
        snaps = efl.sample(state, ensemble, shots=shots, seed=1)
        methods += [
            side.Method(f"sample {name}", lambda s=state, e=ensemble: efl.sample(s, e, shots=shots, seed=1)),
            side.Method(f"fidelity {name}", lambda s=state, d=snaps: efl.fidelity(d, s, combine="mean")),
        ]
    local = efl.sample(vector, shots=many, seed=2)
    methods.append(side.Method("purity of 3 of 10", lambda: efl.purity(local, [1, 4, 8])))
    timings = report.race(methods)
    report.table(timings.values())
    for name, (sample, fidelity) in goals.items():
        per = 1e6 / shots
        report.figure(
            f"random basis and sample, {name}", timings[f"sample {name}"].median * per, "us", sample
        )
        report.figure(f"fidelity, {name}", timings[f"fidelity {name}"].median * per, "us", fidelity)
    report.figure(f"purity of 3 of 10 qubits, {many:,}", timings["purity of 3 of 10"].median, "s", at_most=1)
    for name in states:
        found = timings[f"fidelity {name}"].result
        report.check(f"fidelity of {name} with itself", abs(found.value - 1) < 5 * found.stderr, repr(found))
    tensor = np.moveaxis(vector.reshape((2,) * 10), (1, 4, 8), (0, 1, 2)).reshape(8, -1)
    exact = np.linalg.norm(tensor @ tensor.conj().T) ** 2
    found = timings["purity of 3 of 10"].result
    report.check("purity within 5 standard errors", abs(found.value - exact) < 5 * found.stderr, repr(found))


if __name__ == "__main__":
    side.run(main, __doc__)
