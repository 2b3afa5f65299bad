"""Ground energy of H2 with Qiskit: gradients of finite shots from one job of a sampler each.

    python examples/vqe_qiskit.py       # seconds; pip install "efl-core[qiskit]"

The circuit starts in the Hartree-Fock state and turns by the double excitation and by the two single ones.
Every step of Adam takes one gradient of a stated number of shots, in qubit-wise settings that are values of
the parameters of a single circuit. What must come out is an energy within 1.6e-3 hartree (chemical accuracy)
of the exact one; it is computed without shots, once, at the end. Seeds 0 to 9 reach it, each time.
"""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
from qiskit import QuantumCircuit
from qiskit.circuit import ParameterVector
from qiskit.circuit.library import PauliEvolutionGate
from qiskit.primitives import StatevectorSampler
from qiskit.quantum_info import SparsePauliOp, Statevector

from efl_core.qiskit import ShadowEstimatorGradient

CHEMICAL_ACCURACY = 1.6e-3
"""In hartree."""
SHOTS, STEPS = 10_000, 50
DATA = Path(__file__).parents[1] / "benches" / "data" / "h2_4.json"
# From orbitals to orbitals: a word of each, up to a basis of the two electrons.
EXCITATIONS = {"XXXY": [0, 1, 2, 3], "XZY": [0, 1, 2], "YZX": [1, 2, 3]}


class Trained(NamedTuple):
    energy: float
    """Of the state that was reached, without shot noise."""
    exact: float
    """The lowest there is."""
    shots: int
    """Of all gradients."""
    circuits: int
    """Different circuits that were handed to the sampler."""


def problem():
    """Return the circuit and the energy; qubit i is orbital i."""
    stored = json.loads(DATA.read_text())
    energy = SparsePauliOp.from_list([(word[::-1], c) for word, c in stored["words"].items()])
    angles = ParameterVector("angle", len(EXCITATIONS))
    circuit = QuantumCircuit(4)
    circuit.x(range(stored["electrons"]))
    for angle, (word, orbitals) in zip(angles, EXCITATIONS.items(), strict=True):
        circuit.append(PauliEvolutionGate(SparsePauliOp(word[::-1]), time=angle / 2), orbitals)
    return circuit, energy


def main(seed=0):
    circuit, energy = problem()
    gradient = ShadowEstimatorGradient(
        StatevectorSampler(seed=seed), shots=SHOTS, method="product", seed=seed
    )
    angles, mean, square, shots = np.zeros(circuit.num_parameters), 0.0, 0.0, 0
    for step in range(1, STEPS + 1):
        found = gradient.run(circuit, energy, [angles]).result()
        slopes, shots = found.gradients[0], shots + found.shots
        mean, square = 0.9 * mean + 0.1 * slopes, 0.99 * square + 0.01 * slopes**2
        moved = (mean / (1 - 0.9**step)) / (np.sqrt(square / (1 - 0.99**step)) + 1e-8)
        angles = angles - 0.1 * (1 - (step - 1) / STEPS) * moved
    state = Statevector(circuit.decompose("PauliEvolution").assign_parameters(angles))
    reached = state.expectation_value(energy).real
    exact = float(np.linalg.eigvalsh(energy.to_matrix())[0])
    print(f"energy {reached:.6f}, exact {exact:.6f} hartree, error {reached - exact:.1e}")
    print(f"{STEPS} gradients took {shots:,} shots of {gradient.n_circuits} circuits")
    return Trained(reached, exact, shots, gradient.n_circuits)


if __name__ == "__main__":
    main()
