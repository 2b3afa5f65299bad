"""The training problems of the race: circuits, starts and targets.

Targets are `initial + fraction * (best - initial)`: the mean loss of 20 starts, and the lowest that exact
optimisation from 12 starts found. They are kept in benches/data/race.json, with how many of the 12 reached
the target and the largest curvature at a start. This file makes it in minutes:

    python benches/python/race_problems.py [NAME ...]
"""

import sidebyside  # noqa: F401 isort: skip (before numpy)
import json
import sys

import numpy as np
import pennylane as qml
from catalogue import DATA, Script, _cubic, cut, hardware_efficient, max_cut
from race_digits import digits
from race_problem import Problem

TARGETS = DATA / "race.json"
STARTS, MEAN_STARTS = 12, 20


def _normal(size, width, centre=0.0):
    return lambda rng: rng.normal(centre, width, size)


def _made(name, script, observable, start, **options):
    tape = qml.tape.QuantumScript(
        script.operations, [qml.expval(observable)], trainable_params=script.trained
    )
    size = len(script.trained)
    return Problem(name, tape, lambda rng: start(rng, size), **options)


def ising(n):
    """The transverse-field Ising chain at its critical point."""
    script = Script(n, 0)
    hardware_efficient(script, qml.CZ, 2, 0)
    pairs = [qml.Z(q) @ qml.Z(q + 1) for q in range(n - 1)]
    energy = qml.dot([-1.0] * (2 * n - 1), pairs + [qml.X(q) for q in range(n)])
    return _made(f"TFIM n={n}", script, energy, lambda rng, size: rng.normal(0, 0.5, size))


def qaoa(layers, weighted=False):
    script, edges = Script(8, 0), _cubic(8)
    cost, mixer = cut(edges), qml.dot([1.0] * 8, [qml.X(q) for q in range(8)])
    if weighted:
        weights = np.random.default_rng(3).uniform(0.2, 1.0, len(edges))
        cost = qml.dot(weights, [qml.Z(a) @ qml.Z(b) for a, b in edges])
        for q in range(8):
            script.add(qml.Hadamard(q))
        for _ in range(layers):
            script.add(qml.evolve(cost, 0.1), trained=True)
            script.add(qml.evolve(mixer, 0.1), trained=True)
    else:
        max_cut(script, edges, layers)
    kind = "weighted" if weighted else "3-regular"
    step = (np.arange(layers) + 0.5) / layers
    ramp = 0.3 * np.column_stack([step, step - 1]).ravel()
    return _made(f"QAOA {kind} p={layers}", script, cost, lambda rng, size: rng.normal(ramp, 0.1))


def molecule(file, name):
    """UCCSD, from near the Hartree-Fock state."""
    found = json.loads((DATA / f"{file}.json").read_text())
    n = len(next(iter(found["words"])))
    energy = qml.dot(
        list(found["words"].values()),
        [qml.pauli.string_to_pauli_word(label, dict(enumerate(range(n)))) for label in found["words"]],
    )
    script = Script(n, 0)
    for q in range(found["electrons"]):
        script.add(qml.X(q))
    singles, doubles = qml.qchem.excitations(found["electrons"], n)
    for taken, given in [((a,), (b,)) for a, b in singles] + [((a, b), (c, d)) for a, b, c, d in doubles]:
        script.add(qml.evolve(_excitation(taken, given), 0.1), trained=True)
    return _made(f"UCCSD {name}", script, energy, lambda rng, size: rng.normal(0, 0.01, size))


def _excitation(taken, given):
    """The generator i (T - T^dag), T taking electrons from some orbitals to others: commuting words."""
    up = qml.fermi.FermiWord(
        {(k, q): "+" if q in given else "-" for k, q in enumerate([*reversed(given), *taken])}
    )
    sentence = qml.jordan_wigner(1j * (up - up.adjoint()), ps=True)
    return qml.dot([float(c.real) for c in sentence.values()], [word.operation() for word in sentence])


def heisenberg(n, layers):
    """The Hamiltonian variational ansatz of the Heisenberg chain, from singlets on its even bonds."""

    def bonds(first, factor=1.0):
        words = [qml.prod(p(q), p(q + 1)) for q in range(first, n - 1, 2) for p in (qml.X, qml.Y, qml.Z)]
        return qml.dot([factor] * len(words), words)

    script = Script(n, 0)
    for q in range(0, n, 2):
        for gate in (qml.X(q), qml.X(q + 1), qml.Hadamard(q), qml.CNOT([q, q + 1])):
            script.add(gate)
    for _ in range(layers):
        script.add(qml.evolve(bonds(1, 0.25), 0.1), trained=True)
        script.add(qml.evolve(bonds(0, 0.25), 0.1), trained=True)
    return _made(
        f"Heisenberg HVA n={n}", script, bonds(0) + bonds(1), lambda rng, size: rng.uniform(-0.8, 0.8, size)
    )


def classifier(n, layers):
    """A brick wall that tells synthetic threes from eights, by Z of a middle qubit."""
    features, labels = digits(n)
    script = Script(n, 0)
    for x in features[0]:
        script.add(qml.RY(float(x), len(script.operations)))
    for layer in range(layers):
        script.turn_all("RY", "RZ")
        script.bricks(layer)
    script.turn_all("RY", "RZ")
    return _made(
        f"digits n={n}",
        script,
        qml.Z(n // 2),
        lambda rng, size: rng.normal(0, 0.5, size),
        inputs=features,
        labels=labels,
        fraction=0.8,
    )


MAKERS = {
    "TFIM n=6": lambda: ising(6),
    "TFIM n=10": lambda: ising(10),
    **{f"QAOA 3-regular p={p}": lambda p=p: qaoa(p) for p in (1, 2, 3, 4)},
    "QAOA weighted p=3": lambda: qaoa(3, weighted=True),
    "UCCSD H2": lambda: molecule("h2_4", "H2"),
    "UCCSD LiH-6": lambda: molecule("lih_6", "LiH-6"),
    "UCCSD H4": lambda: molecule("h4_8", "H4"),
    "Heisenberg HVA n=8": lambda: heisenberg(8, 3),
    "digits n=6": lambda: classifier(6, 3),
}


def load(name):
    """A problem with its figures."""
    problem = MAKERS[name]()
    problem.figures = json.loads(TARGETS.read_text())[name]
    return problem


def optimise(problem, seed):
    """The lowest loss that exact optimisation finds from a start."""
    from scipy.optimize import minimize

    found = minimize(
        problem.loss, problem.initial(seed), jac=problem.gradient, method="L-BFGS-B", options={"maxiter": 300}
    )
    return float(found.fun)


def curvature(problem, seed):
    """The largest eigenvalue of the Hessian at a start, in absolute value."""
    theta, step = problem.initial(seed), 1e-4
    moved = np.eye(problem.n_parameters) * step
    hessian = [(problem.gradient(theta + d) - problem.gradient(theta - d)) / (2 * step) for d in moved]
    return float(np.abs(np.linalg.eigvalsh((np.array(hessian) + np.transpose(hessian)) / 2)).max())


def main():
    wanted = sys.argv[1:] or list(MAKERS)
    table = json.loads(TARGETS.read_text()) if TARGETS.exists() else {}
    for name in wanted:
        problem = MAKERS[name]()
        starts = [problem.loss(problem.initial(seed)) for seed in range(MEAN_STARTS)]
        ends = [optimise(problem, seed) for seed in range(STARTS)]
        problem.figures = {"initial": float(np.mean(starts)), "best": min(ends)}
        problem.figures["reached"] = sum(end <= problem.target for end in ends)
        problem.figures["curvature"] = curvature(problem, 1000)
        table[name] = {key: round(value, 6) for key, value in problem.figures.items()}
        TARGETS.write_text(json.dumps(table, indent=1) + "\n")
        print(name, problem.figures, f"target {problem.target:.6g}", np.round(np.sort(ends), 4), flush=True)


if __name__ == "__main__":
    main()
