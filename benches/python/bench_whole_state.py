"""Random bases of all qubits, fidelities, functionals of parts and kernels, beside TenCirPauli and stim.

Run:

    python benches/python/bench_whole_state.py [--smoke] [--rounds N] [--json FILE]
"""

import sidebyside as side  # first: it sets one thread before numpy is loaded

# isort: split
import numpy as np

import efl_core as efl

GOALS = {"GHZ 10": (3, 1), "GHZ 20": (8, 3), "GHZ 100": (None, None), "vector 10": (10, 2)}
"""Microseconds per snapshot: to draw a basis and measure, and to read the fidelity."""


def ghz_gates(qubits):
    return [("H", 0), *(("CNOT", q, q + 1) for q in range(qubits - 1))]


def random_vector(qubits):
    rng = np.random.default_rng(3)
    vector = rng.normal(size=2**qubits) + 1j * rng.normal(size=2**qubits)
    return vector / np.linalg.norm(vector)


class Stim:
    """Snapshots as stim takes them from Python: a tableau each."""

    def __init__(self, stim, qubits):
        self.stim, self.qubits = stim, qubits
        self.circuit = stim.Circuit()
        for name, *wires in ghz_gates(qubits):
            self.circuit.append("CX" if name == "CNOT" else name, wires)

    def measured(self):
        simulator = self.stim.TableauSimulator()
        simulator.do(self.circuit)
        return simulator

    def sample(self, shots):
        start, found = self.measured(), []
        for _ in range(shots):
            simulator, basis = start.copy(), self.stim.Tableau.random(self.qubits)
            simulator.do_tableau(basis, range(self.qubits))
            found.append((basis, simulator.measure_many(*range(self.qubits))))
        return found

    def fidelity(self, snaps):
        start, readings = self.measured(), []
        for basis, bits in snaps:
            simulator = start.copy()
            simulator.do_tableau(basis, range(self.qubits))
            probability = 1.0
            for q, bit in enumerate(bits):
                value = simulator.peek_z(q)
                if value == 0:
                    probability /= 2
                    simulator.postselect_z(q, desired_value=bit)
                elif value != 1 - 2 * bit:
                    probability = 0.0
                    break
            readings.append((2.0**self.qubits + 1) * probability - 1)
        return float(np.mean(readings))


def bases(report):
    shots = 500 if report.smoke else 20_000
    few = 50 if report.smoke else 500
    report.title("random stabiliser bases, one thread; ratios at equal numbers of snapshots")
    tencir = side.peer("tencirpauli", "tencirpauli", "0.5.0")
    stim = side.peer("stim", "stim", "1.16.0")
    vector = random_vector(10)
    states = {name: efl.StabiliserState(n, ghz_gates(n)) for name, n in _widths().items()}
    states["vector 10"] = vector
    methods, peers = [], {}
    for name, state in states.items():
        qubits = 10 if name == "vector 10" else state.n_qubits
        ensemble = efl.Ensemble.global_clifford(qubits)
        snaps = efl.sample(state, ensemble, shots=shots, seed=1)
        methods += [
            side.Method(f"sample {name}", lambda s=state, e=ensemble: efl.sample(s, e, shots=shots, seed=1)),
            side.Method(f"fidelity {name}", lambda s=state, d=snaps: efl.fidelity(d, s, combine="mean")),
        ]
        if tencir:
            theirs = vector if name == "vector 10" else _tencir_state(tencir, state)
            taken = tencir.Snapshots.sample(theirs, nsettings=few, protocol="clifford", seed=1)
            read = taken.fidelity_statevector if name == "vector 10" else taken.fidelity
            peers[name] = [*peers.get(name, []), "TenCirPauli"]
            methods += [
                side.Method(
                    f"TenCirPauli sample {name}",
                    lambda s=theirs: tencir.Snapshots.sample(s, nsettings=few, protocol="clifford", seed=1),
                    runs=5,
                    times=shots / few,
                    part=f"{few} snapshots",
                ),
                side.Method(
                    f"TenCirPauli fidelity {name}",
                    lambda read=read, s=theirs: read(s),
                    runs=5,
                    times=shots / few,
                    part=f"{few} snapshots",
                ),
            ]
        if stim and name != "vector 10":
            peers[name] = [*peers.get(name, []), "stim"]
            by_stim = Stim(stim, qubits)
            held = by_stim.sample(few)
            methods += [
                side.Method(
                    f"stim sample {name}",
                    lambda s=by_stim: s.sample(few),
                    runs=5,
                    times=shots / few,
                    part=f"{few} snapshots",
                ),
                side.Method(
                    f"stim fidelity {name}",
                    lambda s=by_stim, d=held: s.fidelity(d),
                    runs=5,
                    times=shots / few,
                    part=f"{few} snapshots",
                ),
            ]
    timings = report.race(methods)
    report.table(timings.values())
    for name, goals in GOALS.items():
        for what, goal in zip(("sample", "fidelity"), goals, strict=True):
            own = timings[f"{what} {name}"]
            report.figure(f"{what} {name}", own.median * 1e6 / shots, "us per snapshot", goal)
            for peer in peers.get(name, []):
                least = {"TenCirPauli": 5, "stim": 10}[peer]
                report.ratio(f"  {peer} / efl_core", timings[f"{peer} {what} {name}"], own, least)
    for name in states:
        found = timings[f"fidelity {name}"].result
        report.check(f"fidelity of {name} with itself", abs(found.value - 1) < 5 * found.stderr, repr(found))
        for peer in peers.get(name, []):
            value = timings[f"{peer} fidelity {name}"].result
            report.check(f"{peer} on {few} snapshots", abs(value - 1) < 5 * (2 / few) ** 0.5, f"{value:.3f}")


def _widths():
    return {"GHZ 10": 10, "GHZ 20": 20, "GHZ 100": 100}


def _tencir_state(tencir, state):
    generators = [(tencir.PauliWord.from_string(label), sign) for sign, label in state.words]
    return tencir.StabilizerState.from_generators(generators)


def gradients(report):
    """All derivatives of a fidelity: the error by width, and what a snapshot costs."""
    shots = 300 if report.smoke else 20_000
    report.title(f"the gradient of a fidelity, {shots:,} snapshots, all parameters from the same ones")
    report.head("", ["parameters", "rms error", "predicted", "us each"])
    for qubits in (2, 4, 6) if report.smoke else (2, 4, 6, 8, 10):
        rng = np.random.default_rng(qubits)
        circuit = efl.Circuit(qubits, parameters=rng.uniform(-3, 3, 6 * qubits))
        for k in range(6 * qubits):
            (circuit.ry if k // qubits % 2 == 0 else circuit.rz)(efl.Parameter(k), k % qubits)
            if k % (2 * qubits) == 2 * qubits - 1:
                for q in range(qubits):
                    circuit.clifford("CNOT", q, (q + 1) % qubits)
        state = efl.simulate(circuit)
        snaps = efl.sample(state, efl.Ensemble.global_clifford(qubits), shots=shots, seed=1)
        target = efl.simulate(circuit.at(np.array(circuit.parameters) + 0.1))
        timing = report.race(
            [side.Method("own", lambda c=snaps, t=target, m=circuit: _read(c, m, t), runs=1)]
        )
        found = timing["own"].result
        exact = _slopes(circuit, target)
        error = float(np.sqrt(np.mean((found.gradient - exact) ** 2)))
        predicted = float(np.sqrt(np.mean(found.stderr**2)))
        each = timing["own"].median * 1e6 / shots
        report.row(
            f"{qubits} qubits",
            {"parameters": 6 * qubits, "rms error": error, "predicted": predicted, "us each": each},
        )
        report.check(
            f"{qubits} qubits: no error above sqrt(1 / shots), every derivative within 5 of its own",
            predicted <= shots**-0.5 and bool((np.abs(found.gradient - exact) < 5 * found.stderr).all()),
        )


def _read(snaps, circuit, target):
    return efl.fidelity_gradient(snaps, circuit, target)


def _slopes(circuit, target):
    theta, found = np.array(circuit.parameters), []
    for k in range(len(theta)):
        values = []
        for shift in (np.pi / 2, -np.pi / 2):
            moved = theta.copy()
            moved[k] += shift
            values.append(abs(np.vdot(target, efl.simulate(circuit.at(moved)))) ** 2)
        found.append((values[0] - values[1]) / 2)
    return np.array(found)


def purities(report):
    many = 5_000 if report.smoke else 1_000_000
    report.title(f"purity of 3 of 10 qubits, {many:,} snapshots in letters")
    vector = random_vector(10)
    local = efl.sample(vector, shots=many, seed=2)
    timing = report.race([side.Method("purity", lambda: efl.purity(local, [1, 4, 8]))])["purity"]
    report.figure("purity of 3 of 10 qubits", timing.median, "s", at_most=1)
    tensor = np.moveaxis(vector.reshape((2,) * 10), (1, 4, 8), (0, 1, 2)).reshape(8, -1)
    exact = np.linalg.norm(tensor @ tensor.conj().T) ** 2
    found = timing.result
    report.check("purity within 5 standard errors", abs(found.value - exact) < 5 * found.stderr, repr(found))


def kernels(report):
    """Breast cancer: 12 principal components on 4 qubits, exact kernel and shadow kernel, 4 splits."""
    shots = 500 if report.smoke else 10_000
    report.title(f"support vectors on breast cancer: 4 qubits, {shots:,} snapshots of each patient")
    if side.peer("sklearn", "scikit-learn", "1.9.1") is None:
        return
    from sklearn.datasets import load_breast_cancer
    from sklearn.decomposition import PCA
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from sklearn.svm import SVC

    features, labels = load_breast_cancer(return_X_y=True)
    scores = []
    for split in range(1 if report.smoke else 4):
        train, test = train_test_split(
            np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=split
        )
        scale = make_pipeline(StandardScaler(), PCA(12)).fit(features[train])
        states = np.array([_embedded(row) for row in 0.2 * scale.transform(features)])
        exact = np.abs(states.conj() @ states.T) ** 2
        snaps = [efl.sample(state, shots=shots, seed=1000 * split + i) for i, state in enumerate(states)]
        of_train, of_test = ([snaps[i] for i in part] for part in (train, test))
        pair = []
        for own, other in (
            (exact[np.ix_(train, train)], exact[np.ix_(test, train)]),
            (efl.shadow_kernel(of_train, pure=True), efl.shadow_kernel(of_test, of_train)),
        ):
            model = SVC(kernel="precomputed").fit(own, labels[train])
            pair.append(balanced_accuracy_score(labels[test], model.predict(other)))
        scores.append(pair)
    by_exact, by_shadows = np.mean(scores, axis=0)
    pairs = len(labels) * (len(labels) - 1) // 2
    report.row("states measured, pairs compared", {"states": len(labels), "pairs": pairs})
    report.row("balanced accuracy", {"exact kernel": by_exact, "shadow kernel": by_shadows})
    if not report.smoke:
        report.check("balanced accuracy of at least 0.95", by_shadows >= 0.95, f"{by_shadows:.4f}")
        report.check("within 0.01 of the exact kernel", abs(by_shadows - by_exact) <= 0.01)


def _embedded(row):
    """Three layers of rotations, with controlled phases on a ring between them."""
    circuit = efl.Circuit(4)
    for layer in range(3):
        for q in range(4):
            circuit.ry(row[4 * layer + q] + (np.pi / 2 if layer == 0 else 0), q)
        if layer < 2:
            for q in range(4):
                circuit.clifford("CZ", q, (q + 1) % 4)
    return efl.simulate(circuit)


def main(report):
    bases(report)
    gradients(report)
    purities(report)
    kernels(report)


if __name__ == "__main__":
    side.run(main, __doc__)
