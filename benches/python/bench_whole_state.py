"""Random bases of all qubits, fidelities, functionals of parts and kernels, beside TenCirPauli and stim.

Run:

    python benches/python/bench_whole_state.py [--smoke] [--rounds N] [--json FILE]
"""

import sidebyside as side  # first: it sets one thread before numpy is loaded

# isort: split
import time

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


def projectors(report):
    """Shots of both ways to the gradient of a wide projector, and what the cheaper one reaches with them."""
    import pennylane as qml
    from pennylane import numpy as pnp

    qubits, layers = (5, 2) if report.smoke else (10, 6)
    report.title(f"the projector on zeros of {qubits} qubits, {qubits * layers} parameters: shots for 0.01")
    report.head("angles up to", ["fidelity", "random bases", "shift", "rms error", "bars"])
    device = qml.device("default.qubit", wires=qubits)

    @qml.qnode(device, diff_method=efl.shadow_grad)
    def closeness(angles):
        qml.BasicEntanglerLayers(angles, wires=range(qubits))
        return qml.expval(qml.Projector([0] * qubits, wires=range(qubits)))

    exact = qml.grad(closeness.update(diff_method="backprop"))
    for size in (0.1, 2.0) if report.smoke else (0.1, 0.3, 0.6, 1.0, 2.0):
        drawn = np.random.default_rng(0).uniform(-size, size, (layers, qubits))
        angles = pnp.array(drawn, requires_grad=True)
        plan = efl.plan(closeness, state="prepared")(angles)
        measure = efl.gradient_with_errors(closeness, shots=plan.best.shots, seed=1)
        found, stderr = measure(angles)
        off = found - exact(angles)
        figures = {
            "fidelity": float(closeness.update(diff_method=None)(angles)),
            "random bases": plan["global_clifford"].shots,
            "shift": plan["shift"].shots,
            "rms error": float(np.sqrt(np.mean(off**2))),
            "bars": float(np.sqrt(np.mean(stderr**2))),
        }
        report.row(f"{size:g}", figures)
        within = bool((np.abs(off) <= 5 * stderr + 1e-9).all())
        report.check(f"angles up to {size:g}: within 5 standard errors", within, plan.best.name)


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
    """Breast cancer: 12 principal components on 4 qubits, kernels exact and from shadows, 12 splits."""
    shots = 500 if report.smoke else 10_000
    report.title(f"support vectors on breast cancer: 4 qubits, {shots:,} snapshots of each patient")
    if side.peer("sklearn", "scikit-learn", "1.9.1") is None:
        return
    from sklearn.metrics import balanced_accuracy_score
    from sklearn.svm import SVC

    scores = []
    for split in range(1 if report.smoke else 12):
        train, test, rows, labels = _patients(split)
        states = np.array([_embedded(row) for row in rows])
        snaps = [efl.sample(state, shots=shots, seed=1000 * split + i) for i, state in enumerate(states)]
        of_train, of_test = ([snaps[i] for i in part] for part in (train, test))
        one = []
        for own, other in (
            _parts_of(np.abs(states.conj() @ states.T) ** 2, train, test),
            (efl.shadow_kernel(of_train, pure=True), efl.shadow_kernel(of_test, of_train)),
            _parts_of(_projected(states, GAMMA), train, test),
            (
                efl.projected_kernel(of_train, gamma=GAMMA),
                efl.projected_kernel(of_test, of_train, gamma=GAMMA),
            ),
        ):
            model = SVC(kernel="precomputed").fit(own, labels[train])
            one.append(balanced_accuracy_score(labels[test], model.predict(other)))
        scores.append(one)
    found = np.mean(scores, axis=0)
    pairs = len(labels) * (len(labels) - 1) // 2
    report.row("states measured, pairs compared", {"states": len(labels), "pairs": pairs})
    for name, by_exact, by_shadows in (("overlap", *found[:2]), ("projected", *found[2:])):
        report.row(
            f"balanced accuracy, {name}", {"exact kernel": by_exact, "kernel from shadows": by_shadows}
        )
        if not report.smoke:
            report.check(
                f"{name}: balanced accuracy of at least 0.95", by_shadows >= 0.95, f"{by_shadows:.4f}"
            )
            report.check(f"{name}: within 0.01 of the exact kernel", abs(by_shadows - by_exact) <= 0.01)


GAMMA = 2.0


def _patients(split):
    """Indices of both parts, 12 principal components of each patient as angles, and who is ill."""
    from sklearn.datasets import load_breast_cancer
    from sklearn.decomposition import PCA
    from sklearn.model_selection import train_test_split
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    features, labels = load_breast_cancer(return_X_y=True)
    train, test = train_test_split(np.arange(len(labels)), test_size=0.3, stratify=labels, random_state=split)
    scale = make_pipeline(StandardScaler(), PCA(12)).fit(features[train])
    return train, test, 0.2 * scale.transform(features), labels


def _parts_of(kernel, train, test):
    return kernel[np.ix_(train, train)], kernel[np.ix_(test, train)]


def _blochs(states):
    """Means of X, Y and Z of each qubit, shape (states, 12)."""
    found = []
    for q in range(4):
        pair = np.moveaxis(states.reshape(-1, 2, 2, 2, 2), 1 + q, 1).reshape(len(states), 2, -1)
        cross = np.einsum("ia,ia->i", pair[:, 0].conj(), pair[:, 1])
        weights = (np.abs(pair) ** 2).sum(axis=2)
        found += [2 * cross.real, 2 * cross.imag, weights[:, 0] - weights[:, 1]]
    return np.array(found).T


def _projected(states, gamma):
    """The exact projected kernel: half the squared distance of two Bloch vectors is that of the states."""
    words = _blochs(states)
    return np.exp(-gamma * ((words[:, np.newaxis] - words) ** 2).sum(axis=2) / 2)


def alignments(report):
    """An embedding trained by gradients of its alignment: exact ones, and those of shadows."""
    count, steps = (8, 2) if report.smoke else (40, 30)
    shots = 200 if report.smoke else 2000
    report.title(f"alignment on {count} patients: {steps} steps, {shots:,} snapshots of each in each step")
    if side.peer("sklearn", "scikit-learn", "1.9.1") is None:
        return
    train, _, rows, labels = _patients(0)
    held = [*train[labels[train] == 0][: count // 2], *train[labels[train] == 1][: count // 2]]
    rows, labels = rows[held], labels[held]
    report.head("start", ["before", "by exact", "by shadows", "apart", "ms a step"])
    for start in range(1 if report.smoke else 3):
        angles = np.random.default_rng(start).uniform(-np.pi, np.pi, 16)
        before = _aligned(rows, labels, angles)
        by_exact = _trained(angles, steps, lambda step, at: _exact_slopes(rows, labels, at))
        clock = time.process_time()
        by_shadows = _trained(
            angles,
            steps,
            lambda step, at, start=start: _shadow_slopes(rows, labels, at, shots, 1000 * start + step),
        )
        each = (time.process_time() - clock) * 1e3 / steps
        reached = [_aligned(rows, labels, at) for at in (by_exact, by_shadows)]
        report.row(
            f"{start}",
            {
                "before": before,
                "by exact": reached[0],
                "by shadows": reached[1],
                "apart": reached[1] - reached[0],
                "ms a step": each,
            },
        )
        if not report.smoke:
            report.check(
                "alignment within 0.01 of the exact gradients'", abs(reached[1] - reached[0]) <= 0.01
            )
            report.check("trained at all", reached[1] > before + 0.05)


def _trained(angles, steps, slopes):
    """Ascent with momentum, in proportion to the gradient: noise of small derivatives makes small steps."""
    speed, at = np.zeros_like(angles), angles
    for step in range(steps):
        speed = 0.8 * speed + slopes(step, at)
        at = at + 0.5 * speed
    return at


def _aligned(rows, labels, angles):
    states = np.array([efl.simulate(_trainable(row, angles)) for row in rows])
    return efl.kernel_alignment(_projected(states, GAMMA), labels)


def _exact_slopes(rows, labels, angles):
    step = 1e-4 * np.eye(len(angles))
    return np.array(
        [(_aligned(rows, labels, angles + s) - _aligned(rows, labels, angles - s)) / 2e-4 for s in step]
    )


def _shadow_slopes(rows, labels, angles, shots, seed):
    circuits = [_trainable(row, angles) for row in rows]
    snaps = [
        efl.sample(efl.simulate(circuit), shots=shots, seed=1000 * seed + i)
        for i, circuit in enumerate(circuits)
    ]
    return efl.alignment_gradient(snaps, circuits, labels, gamma=GAMMA).gradient


def _trainable(row, angles):
    """Three layers of data on 4 qubits, with trained rotations and a ring of CZ between them."""
    circuit = efl.Circuit(4, parameters=angles)
    for layer in range(3):
        for q in range(4):
            circuit.ry(row[4 * layer + q], q)
        if layer < 2:
            for q in range(4):
                circuit.rx(efl.Parameter(8 * layer + q), q).rz(efl.Parameter(8 * layer + 4 + q), q)
            for q in range(4):
                circuit.clifford("CZ", q, (q + 1) % 4)
    return circuit


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
    projectors(report)
    purities(report)
    kernels(report)
    alignments(report)


if __name__ == "__main__":
    side.run(main, __doc__)
