"""Ground energy of a molecule: unitary coupled cluster trained on gradients of finite shots.

    python examples/vqe_h2.py             # H2, 4 qubits: seconds
    python examples/vqe_h2.py --full      # LiH, 6 qubits: half a minute

Every step of Adam has one gradient, of a stated number of shots for all derivatives together. What must come
out is an energy within 1.6e-3 hartree (chemical accuracy) of the exact one. Beside the shots that this took
stand those that parameter-shift needs for the same errors on the same states.
"""

import argparse
import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pennylane as qml
from pennylane import numpy as pnp

import efl_core as efl

CHEMICAL_ACCURACY = 1.6e-3
"""In hartree."""
DATA = Path(__file__).parents[1] / "benches" / "data"


class Size(NamedTuple):
    molecule: str
    shots: int
    """Of each gradient."""
    steps: int


SMALL = Size("h2_4", shots=3_000, steps=40)
FULL = Size("lih_6", shots=20_000, steps=60)


class Trained(NamedTuple):
    energy: float
    """Of the state that was reached, without shot noise."""
    exact: float
    """The lowest there is."""
    shots: int
    """Of all gradients."""
    shift: float
    """Shots of parameter-shift for gradients of the same RMS errors, as PennyLane writes it."""
    pruned: float
    """The same without gates that do nothing, shots where they help most."""


def ansatz(molecule):
    """Return a function that makes the circuit and its energy, the number of angles, the exact energy."""
    stored = json.loads((DATA / f"{molecule}.json").read_text())
    words, electrons = stored["words"], stored["electrons"]
    n = len(next(iter(words)))
    wires = range(n)
    energy = qml.dot(list(words.values()), [qml.pauli.string_to_pauli_word(word) for word in words])
    singles, doubles = qml.qchem.excitations(electrons, n)

    def circuit(theta):
        qml.BasisState(np.array([1] * electrons + [0] * (n - electrons)), wires=wires)
        for angle, pair in zip(theta[: len(doubles)], doubles, strict=True):
            qml.DoubleExcitation(angle, wires=pair)
        for angle, pair in zip(theta[len(doubles) :], singles, strict=True):
            qml.SingleExcitation(angle, wires=pair)
        return qml.expval(energy)

    lowest = np.linalg.eigvalsh(qml.matrix(energy, wire_order=wires))[0]
    return circuit, n, len(singles) + len(doubles), float(lowest)


def train(size, seed=0):
    circuit, n, count, exact = ansatz(size.molecule)
    device = qml.device("lightning.qubit", wires=n)
    reports = []
    options = {"shots": size.shots, "seed": seed, "report": reports}
    cost = qml.QNode(circuit, device, diff_method=efl.shadow_grad, gradient_kwargs=options)

    theta = pnp.zeros(count, requires_grad=True)  # the Hartree-Fock state
    optimiser = qml.AdamOptimizer(0.1)
    plan = efl.plan(cost, target=0.01)(theta)
    used, shift, pruned = 0, 0.0, 0.0
    for step in range(size.steps):
        optimiser.stepsize = 0.1 * (1 - step / size.steps)  # noise that is averaged away at the end
        plan = plan.at(theta)
        theta = optimiser.step(cost, theta)
        shots, method = reports[-1].shots, reports[-1].method
        used += shots
        shift += shots * variance(plan, "shift") / variance(plan, method)
        pruned += shots * variance(plan, "shift-pruned") / variance(plan, method)
    return Trained(float(qml.QNode(circuit, device)(theta)), exact, used, shift, pruned)


def variance(plan, method):
    """Return the mean square error of one shot, on the state that is prepared."""
    return np.mean(plan.exact_error(1, method) ** 2)


def main(size=SMALL):
    found = train(size)
    error = found.energy - found.exact
    print(f"{size.molecule}: energy {found.energy:.6f}, exact {found.exact:.6f} hartree")
    print(f"error {error:.1e} hartree (chemical accuracy: {CHEMICAL_ACCURACY})")
    print(f"shots of {size.steps} gradients            {found.shots:>12,}")
    print(f"parameter-shift, the same errors   {found.shift:>12,.0f}  ({found.shift / found.shots:.1f} x)")
    print(f"  pruned, its shots at their best  {found.pruned:>12,.0f}  ({found.pruned / found.shots:.1f} x)")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="the larger molecule")
    main(FULL if parser.parse_args().full else SMALL)
