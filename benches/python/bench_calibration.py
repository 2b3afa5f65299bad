"""Are error bars true? The same measurement, repeated, and how many error bars its values are off.

A row is one measurement, repeated with other seeds. All errors are in units of the observable.

- z2: mean over the repeats of ((value - exact) / stderr)^2, which is 1 where error bars are true; 400 repeats
  know it to about 0.07. Of a gradient the mean over the derivatives that vary; low and high are the extremes.
- cover: how many values are within two error bars, in per cent. rmse: the root of the mean squared error.
- F: settings (or circuits) of the list. left: sum of |c| over the words that no setting of it reveals.

Ground states are those of the Hamiltonians in a folder (``--hamiltonians``; files ``*.tsv``, on each line a
word, a tab and its coefficient), by default of the molecules that `benches/data/molecules.py` makes.
Gradients are those of UCCSD at the Hartree-Fock state and after convergence, and of brick and ring circuits.

Goals: z2 within 0.85 and 1.2 and cover within 93 and 97 on every row of ground states, and on average over
the derivatives of a gradient; the error at 1,000 allocated shots at most that of a list that knows nothing of
their number.

    python benches/python/bench_calibration.py [--smoke] [--hamiltonians FOLDER] [--only TEXT] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import json
from functools import partial
from pathlib import Path

import numpy as np
import pennylane as qml
from catalogue import CATALOGUE, DATA
from pennylane.tape import QuantumScript
from scipy.optimize import minimize
from scipy.sparse.linalg import LinearOperator, eigsh

import efl_core as efl

SHOTS, REPEATS = (300, 1_000, 10_000), 400
RULES = ("mean", "hit_normalised", "median_of_means")
KINDS = ("product", "clifford")
LOW, HIGH, LEAST, MOST = 0.85, 1.2, 93.0, 97.0
MADE = ("h2_4", "lih_8", "lih_12")
REACHED = {
    "BeH2_14": {"product": 0.058, "clifford": 0.036},
    "H2O_14": {"product": 0.155, "clifford": 0.094},
    "NH3_16": {"product": 0.206, "clifford": 0.144},
}
"""Errors at 1,000 allocated shots of lists that knew nothing of their number, by part of a file's name."""
CIRCUITS = ("brick L2, Z3 n=6", "brick L2, vector n=6", "CNOT-RY ring, Z0 n=6", "CNOT-RY ring, vector n=6")
METHODS = ("product", "clifford", "echo", "shift")
COLUMNS = ("shots", "F", "left", "rmse", "z2", "low", "high", "cover", "")


# ---- ground states ---------------------------------------------------------------------------------------


def parities(values):
    """The Walsh-Hadamard transform: from values at masks to sums of values with signs."""
    values, half = values.copy(), 1
    while half < len(values):
        pairs = values.reshape(-1, 2, half)
        values = np.stack([pairs[:, 0] + pairs[:, 1], pairs[:, 0] - pairs[:, 1]], axis=1).ravel()
        half *= 2
    return values


def ground_state(words):
    """The lowest eigenvector of a real Hamiltonian and its energy, by Lanczos; words go by their flips."""
    n = len(next(iter(words)))
    index, diagonals = np.arange(2**n), {}
    for label, coefficient in words.items():
        flips, signs = (int("".join("01"[a in letters] for a in label), 2) for letters in ("XY", "YZ"))
        phase = (1j ** label.count("Y")).real  # a real Hamiltonian has an even number of Y in every word
        diagonals.setdefault(flips, np.zeros(2**n))[signs] += coefficient * phase
    diagonals = {flips: parities(values) for flips, values in diagonals.items()}

    def apply(state):
        state = state.ravel()
        return sum((values * state)[index ^ flips] for flips, values in diagonals.items())

    operator = LinearOperator((2**n, 2**n), matvec=apply, dtype=np.float64)
    start = np.random.default_rng(0).normal(size=2**n)
    energies, states = eigsh(operator, k=1, which="SA", tol=1e-10, v0=start)
    return states[:, 0], float(energies[0])


def hamiltonians(report):
    """Name and words of each."""
    folder = report.options.hamiltonians
    if folder is None:
        for name in MADE[:1] if report.smoke else MADE:
            yield name, json.loads((DATA / f"{name}.json").read_text())["words"]
        return
    for path in sorted(Path(folder).glob("*.tsv")):
        words = {}
        for line in path.read_text().splitlines():
            label, coefficient = line.split("\t")
            words[label] = words.get(label, 0.0) + float(coefficient)
        yield path.stem, words


def asked(report, name):
    return (report.options.only or "") in name


def energies(report, name, words):
    smallest = SHOTS[:2] if report.smoke else SHOTS
    asked_for = [(k, s) for k in KINDS for s in smallest if asked(report, f"{name} {k} {s:,} shots")]
    if not asked_for:
        return
    state, exact = ground_state(words)
    observable = efl.PauliSum({label: c for label, c in words.items() if c != 0})
    for kind, shots in asked_for:
        label = f"{name[-12:]} {kind[:4]}"
        ensemble = efl.design(observable, kind, shots=shots)
        for allocated in (False, True):
            energy_rows(report, label, ensemble, observable, state, exact, shots, allocated)
            known = next((goal for part, goal in REACHED.items() if part in name), None)
            if known and allocated and shots == 1_000:
                error = report.rows[-len(RULES)]["rmse"]
                report.figure(f"{name} {kind} mean, error", error, "Ha", at_most=known[kind])


def energy_rows(report, label, ensemble, observable, state, exact, shots, allocated):
    """One row for each rule, of the same snapshots."""
    terms = [(w, abs(c)) for w, c in observable.terms() if set(w.label) != {"I"}]
    left = sum(c for w, c in terms if ensemble.reveal_probability(w) == 0)
    found = {rule: [] for rule in RULES}
    for seed in range(8 if report.smoke else REPEATS):
        snaps = efl.sample(state, ensemble, shots=shots, allocated=allocated, seed=seed)
        for rule in RULES:
            estimate = efl.estimate(snaps, observable, combine=rule)
            found[rule].append((estimate.value, estimate.stderr))
    for rule in RULES:
        values, stderr = np.array(found[rule]).T
        how = "alloc" if allocated else "drawn"
        settings = len(ensemble.setting_list)
        errors = (values - exact)[:, None]
        row(report, f"{label} {how} {rule[:6]}", shots, settings, left, errors, stderr[:, None])


# ---- gradients -------------------------------------------------------------------------------------------


def uccsd(name, converged):
    """The circuit of unitary coupled clusters, at the Hartree-Fock state or where the energy is lowest."""
    found = json.loads((DATA / f"{name}.json").read_text())
    words = {
        qml.pauli.PauliWord({q: a for q, a in enumerate(label) if a != "I"}): c
        for label, c in found["words"].items()
    }
    n, electrons = len(next(iter(found["words"]))), found["electrons"]
    energy = qml.pauli.PauliSentence(words).operation(range(n))
    singles, doubles = qml.qchem.excitations(electrons, n)

    def operations(angles):
        yield from (qml.X(q) for q in range(electrons))
        gates = [qml.DoubleExcitation] * len(doubles) + [qml.SingleExcitation] * len(singles)
        for gate, angle, wires in zip(gates, angles, doubles + singles, strict=True):
            yield gate(angle, wires)

    def tape(angles):
        trained = range(len(angles))
        return QuantumScript(list(operations(angles)), [qml.expval(energy)], trainable_params=trained)

    angles = np.zeros(len(singles) + len(doubles))
    if converged:
        device = qml.device("lightning.qubit", wires=n)

        def loss(angles):
            tapes, process = qml.gradients.param_shift(tape(angles))
            slopes = process(qml.execute(tapes, device))
            return float(qml.execute([tape(angles)], device)[0]), np.array(slopes, dtype=float)

        angles = minimize(loss, angles, jac=True, method="BFGS", tol=1e-6).x
    return efl.Circuit.from_tape(tape(angles))


def drawn(entry):
    return entry.make(0).circuit


def circuits(report):
    """Name and maker of each."""
    for entry in CATALOGUE:
        if entry.name in CIRCUITS[: 1 if report.smoke else None]:
            yield entry.name, partial(drawn, entry)
    for name in ("h2_4",) if report.smoke else ("lih_6", "lih_8"):
        for converged in (False, True):
            yield f"UCCSD {name} {'converged' if converged else 'HF'}", partial(uccsd, name, converged)


def gradients(report, name, make):
    methods = [method for method in METHODS if asked(report, f"{name} {method}")]
    if not methods:
        return
    circuit = make()
    plan = efl.plan(circuit, circuit.observables)
    for method in methods:
        if method not in plan.methods or not plan[method].applies:
            continue
        experiments = plan.experiments(method)
        exact = np.zeros(circuit.n_parameters)
        for experiment, _ in experiments:
            means, _ = experiment.exact()
            np.add.at(exact, [k for _, k in experiment.derivatives], means)
        for shots in SHOTS[:2] if report.smoke else SHOTS:
            if shots < len(experiments):
                continue
            spread = plan.exact_error(shots, method).ravel()
            found = [
                plan.simulate(shots, method, seed=seed) for seed in range(8 if report.smoke else REPEATS)
            ]
            errors = np.array([one.gradient.ravel() for one in found]) - exact
            stderr = np.array([one.stderr.ravel() for one in found])
            varies = spread > 1e-9
            label = f"{name} {method}"
            row(report, label, shots, len(experiments), 0.0, errors[:, varies], stderr[:, varies])


# ---- the table -------------------------------------------------------------------------------------------


def row(report, name, shots, settings, left, errors, stderr):
    """One line, from errors and standard errors of shape (repeats, observables)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        z2 = np.where(errors == 0, 0.0, (errors / stderr) ** 2)
    of_each, cover = z2.mean(axis=0), 100 * float((z2 <= 4).mean())
    mean = float(of_each.mean())
    good = LOW <= mean <= HIGH and LEAST <= cover <= MOST
    figures = {
        "shots": shots,
        "F": settings,
        "left": left,
        "rmse": float(np.sqrt(np.mean(errors**2))),
        "z2": mean,
        "low": float(of_each.min()),
        "high": float(of_each.max()),
        "cover": cover,
        "verdict": "not judged" if report.smoke else "" if good else "outside",
    }
    report.row(name, figures)
    if report.smoke:
        report.check(f"{name}: error bars are numbers", bool(np.isfinite(stderr).all()))


def main(report):
    report.title(f"ground states: GOAL z2 {LOW} to {HIGH}, cover {LEAST:g} to {MOST:g}")
    report.head("", COLUMNS)
    for name, words in hamiltonians(report):
        energies(report, name, words)
    report.title(f"gradients: GOAL z2 {LOW} to {HIGH}, cover {LEAST:g} to {MOST:g} over the derivatives")
    report.head("", COLUMNS)
    for name, make in circuits(report):
        gradients(report, name, make)
    outside = sum(entry["verdict"] == "outside" for entry in report.rows)
    report.title("summary")
    report.figure("rows outside the goals", outside, f"of {len(report.rows)}", at_most=0)


if __name__ == "__main__":
    sidebyside.run(
        main,
        __doc__,
        hamiltonians="folder of *.tsv files of Hamiltonians",
        only="rows whose name has this text: 'BeH2_14_jw product 1,000 shots', 'ring, Z0 n=6 echo'",
    )
