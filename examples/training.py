"""Ground state of an Ising chain, trained with as few shots, or as few circuits, as a step needs.

    python examples/training.py              # 20,000 shots in all: seconds
    python examples/training.py --circuits   # where a circuit takes as long as 1,000 shots

The trainer draws a few settings for each step from the list that the plan of the circuit has, and takes more
shots as the gradient falls, until the budget is spent. What must come out is a loss that is most of the way
from the start to the ground energy; it is computed without shots, once, at the end. Beside the circuits that
training took stand those of parameter-shift for as many steps, two for each angle and each of two settings.
"""

import argparse
from typing import NamedTuple

import numpy as np
import pennylane as qml

import efl_core as efl

QUBITS, LAYERS = 4, 2
FIELD = 0.7
REACHED = 0.5
"""Of the way from the start to the ground energy: what must come out."""
BUDGET = efl.Budget(shots=20_000)
BY_CIRCUITS = efl.Budget(cost=1_500_000)
COST = efl.Cost(circuit=1_000)


class Trained(NamedTuple):
    way: float
    """Of the way from the start to the ground energy, without shot noise."""
    steps: int
    shots: int
    circuits: int
    shift: int
    """Circuits of parameter-shift for as many steps."""


def energy():
    """Return the energy of the chain."""
    bonds = [qml.Z(q) @ qml.Z(q + 1) for q in range(QUBITS - 1)]
    fields = [qml.X(q) for q in range(QUBITS)]
    return qml.dot([-1.0] * len(bonds) + [-FIELD] * len(fields), bonds + fields)


def circuit(theta):
    for layer in theta:
        for q in range(QUBITS):
            qml.RY(layer[q, 0], wires=q)
            qml.RZ(layer[q, 1], wires=q)
        for q in range(QUBITS - 1):
            qml.CZ(wires=[q, q + 1])
    return qml.expval(energy())


def main(by_circuits=False, seed=0):
    model = qml.QNode(circuit, qml.device("lightning.qubit", wires=QUBITS))
    start = np.random.default_rng(seed).uniform(-0.5, 0.5, size=(LAYERS, QUBITS, 2))
    options = {"budget": BY_CIRCUITS, "cost": COST} if by_circuits else {"budget": BUDGET}
    trainer = efl.Trainer(model, start, seed=seed, **options)
    history = trainer.run(callback=lambda step: step.number % 10 or print(step))

    ground = float(np.linalg.eigvalsh(qml.matrix(energy(), wire_order=range(QUBITS)))[0])
    begin, end = float(model(start)), float(model(trainer.parameters))
    shift = 2 * start.size * 2 * len(history)
    way, last = (end - begin) / (ground - begin), history[-1]
    found = Trained(way, len(history), last.total_shots, last.total_circuits, shift)
    print(f"from {begin:.3f} to {end:.3f}, {100 * way:.0f} % of the way to the ground energy {ground:.3f}")
    print(f"{found.steps} steps, {found.shots:,} shots, {found.circuits:,} circuits ({trainer.stopped})")
    print(f"circuits of parameter-shift for as many steps: {found.shift:,}")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--circuits", action="store_true", help="circuits take as long as 1,000 shots")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    main(given.circuits, given.seed)
