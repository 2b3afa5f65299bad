"""Makes the Hamiltonians of H2, LiH and H4 that the benches read, so that no chemistry runs in a bench.

STO-3G, bond lengths of equilibrium (H4: a chain, 0.9 angstrom apart), Jordan-Wigner, by PennyLane's own
Hartree-Fock. A file maps each Pauli word to its coefficient in hartree; coefficients below 1e-10 are left
out. Seconds per molecule.

    python benches/data/molecules.py
"""

import json
from pathlib import Path

import numpy as np
import pennylane as qml

H2 = (["H", "H"], [[0, 0, 0], [0, 0, 0.7414]])
LIH = (["Li", "H"], [[0, 0, 0], [0, 0, 1.5949]])
H4 = (["H"] * 4, [[0, 0, 0.9 * k] for k in range(4)])
ACTIVE = {
    "h2_4": (*H2, 2, 2),
    "lih_4": (*LIH, 2, 2),
    "lih_6": (*LIH, 2, 3),
    "lih_8": (*LIH, 2, 4),
    "lih_10": (*LIH, 2, 5),
    "lih_12": (*LIH, 4, 6),
    "h4_8": (*H4, 4, 4),
}
"""Atoms, positions in angstrom, active electrons and orbitals; two qubits for each orbital."""


def hamiltonian(symbols, positions, electrons, orbitals):
    molecule = qml.qchem.Molecule(symbols, np.array(positions, dtype=float), unit="angstrom")
    total, n = qml.qchem.molecular_hamiltonian(
        molecule, method="dhf", active_electrons=electrons, active_orbitals=orbitals
    )
    words = {}
    for word, coefficient in total.pauli_rep.items():
        if abs(coefficient) > 1e-10:
            label = "".join(word.get(q, "I") for q in range(n))
            words[label] = round(float(np.real(coefficient)), 12)
    return {"electrons": electrons, "words": dict(sorted(words.items()))}


def main():
    for name, active in ACTIVE.items():
        found = hamiltonian(*active)
        path = Path(__file__).with_name(f"{name}.json")
        path.write_text(json.dumps(found, indent=0) + "\n")
        print(f"{path.name}: {len(found['words'])} words, {path.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
