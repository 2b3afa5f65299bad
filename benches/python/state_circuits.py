"""Circuits at states that people measure: trained, at and after Hartree-Fock, and those of the catalogue.

A row is a case: a tape, the same circuit in efl_core, and its observable, at the angles of the state. Trained
angles are where exact optimisation from a seeded start ends.
"""

import json
from pathlib import Path

import pennylane as qml
from catalogue import CATALOGUE, Case, Entry, Script, vector, z
from race_problems import MAKERS, molecule, qaoa
from scipy.optimize import minimize

import efl_core as efl

WIDEST = 6
"""Rows of the catalogue beyond are left out, but for these."""
WIDE = (
    "SEL-CNOT L1, vector n=8",
    "SEL-CZ L2, vector n=8",
    "brick L2, vector n=8",
    "re-uploaded brick N2, Z3 n=8",
    "QCNN, Z0 n=8",
    "QAOA 3-regular p=1 n=8",
    "HEA-CZ LiH n=8",
)
LONG = ("deep SEL L=2n, Z0 n=6",)
"""Rows whose simulation would take most of the time."""


def _case(problem, theta):
    [tape] = problem.tapes(theta)
    circuit = efl.Circuit.from_tape(tape)
    return Case(tape, circuit, circuit.observables[0])


def _trained(problem, seed):
    found = minimize(
        problem.loss, problem.initial(seed), jac=problem.gradient, method="L-BFGS-B", options={"maxiter": 300}
    )
    return found.x


def _of_problem(name, make, where):
    """A training problem at its start (near Hartree-Fock, for molecules) or trained."""

    def case(seed):
        problem = make()
        return _case(problem, _trained(problem, seed) if where == "trained" else problem.initial(seed))

    return Entry(f"{name}, {where}", 0, case)


def _of_script(name, n, build, answer):
    def case(seed):
        script = Script(n, seed)
        build(script)
        return script.case(answer(script))

    return Entry(f"{name} n={n}", n, case)


def su4(script, layers=2):
    """A brick wall of general two-qubit gates, 15 angles each."""
    script.encode()
    for layer in range(layers):
        for q in range(layer % 2, script.n - 1, 2):
            for wire in (q, q + 1):
                script.turn(["RZ", "RY", "RZ"], wire)
            for gate in (qml.IsingXX, qml.IsingYY, qml.IsingZZ):
                script.add(gate(script.draw(), [q, q + 1]), trained=True)
            for wire in (q, q + 1):
                script.turn(["RZ", "RY", "RZ"], wire)


def butterfly(script):
    """Reconfigurable beam splitters of pairs at distances n / 2, n / 4, ..., 1, on a unary state."""
    script.add(qml.X(0))
    distance = script.n // 2
    while distance:
        for q in range(script.n):
            if q // distance % 2 == 0:
                a, b = q, q + distance
                swap = qml.dot([0.5, -0.5], [qml.X(a) @ qml.Y(b), qml.Y(a) @ qml.X(b)])
                script.add(qml.evolve(swap, script.draw()), trained=True)
        distance //= 2


def _molecules(paths):
    named = {"H2": "h2_4", "LiH-6": "lih_6", "LiH-10": "lih_10"}
    found = [
        _of_problem(f"UCCSD {name}", lambda file=file, name=name: molecule(file, name), where)
        for name, file in named.items()
        for where in ("near Hartree-Fock", "trained")
    ]
    for path in map(Path, paths):
        json.loads(path.read_text())  # a file that is none is refused before the bench starts
        file, name = str(path.resolve().with_suffix("")), path.stem
        found += [
            _of_problem(f"UCCSD {name}", lambda file=file, name=name: molecule(file, name), where)
            for where in ("near Hartree-Fock", "trained")
        ]
    return found


def entries(paths=()):
    """All rows; ``paths`` are further molecules, files like those of benches/data."""
    long = [_of_problem(f"QAOA 3-regular p={p} n=8", lambda p=p: qaoa(p), "trained") for p in (3, 4)]
    long += [
        _of_problem("QAOA weighted p=3 n=8", lambda: qaoa(3, weighted=True), "trained"),
        _of_problem("Heisenberg HVA n=8", MAKERS["Heisenberg HVA n=8"], "trained"),
    ]
    molecules = _molecules(paths)
    rows = [
        *(entry for entry in molecules if "LiH-10" not in entry.name),
        _of_problem("TFIM n=6", MAKERS["TFIM n=6"], "trained"),
        _of_script("SU(4) bricks L2, vector", 4, su4, vector),
        _of_script("SU(4) bricks L2, Z2", 6, su4, z(2)),
        *(_of_script("Butterfly of RBS, vector", n, butterfly, vector) for n in (4, 8)),
    ]
    small = [entry for entry in CATALOGUE if entry.n <= WIDEST and entry.name not in LONG]
    wide = [entry for entry in CATALOGUE if entry.name in WIDE]
    return [*rows, *small, *wide, *long, *(entry for entry in molecules if "LiH-10" in entry.name)]
