"""A classifier in torch, trained on gradients of finite shots: `qml.qnn.TorchLayer` with `efl.shadow_grad`.

    python examples/classifier_torch.py           # 4 qubits: seconds
    python examples/classifier_torch.py --full    # 10 qubits: longer, and held by no test

The two classes are the points of a square whose coordinates have the same sign, and those whose have not: no
straight line does much better than half. What must come out is 90 % of right answers on points that were not
trained on. torch is no dependency of efl_core: pip install torch.
"""

import argparse
from typing import NamedTuple

import numpy as np
import pennylane as qml
import torch

import efl_core as efl

ACCURACY = 0.9
MARGIN = 0.15
"""No point is closer than this to an axis."""
STEEPNESS = 5
"""How sharply the loss tells one class from the other."""


class Size(NamedTuple):
    qubits: int
    layers: int
    points: int
    """To train on: so many gradients in every epoch."""
    shots: int
    """Of each gradient."""
    epochs: int


SMALL = Size(qubits=4, layers=1, points=16, shots=1_000, epochs=15)
FULL = Size(qubits=10, layers=2, points=24, shots=2_000, epochs=25)


class Trained(NamedTuple):
    accuracy: float
    """On points that were not trained on, without shot noise."""
    gradients: int
    shots: int
    """Of all gradients."""


def points(count, rng):
    """Return points and their classes, 1 and -1."""
    signs = rng.choice([-1.0, 1.0], (count, 2))
    return torch.tensor(signs * rng.uniform(MARGIN, 1, (count, 2))), torch.tensor(signs.prod(axis=1))


def classifier(size, rng, **options):
    n = size.qubits

    @qml.qnode(qml.device("lightning.qubit", wires=n), diff_method=efl.shadow_grad, gradient_kwargs=options)
    def circuit(inputs, theta):
        for q in range(n):
            qml.RY(np.pi / 2 * inputs[..., q % 2], wires=q)
        for angles in theta:
            for q in range(n):
                qml.RX(angles[q, 0], wires=q)
                qml.RY(angles[q, 1], wires=q)
            for q in range(n - 1):
                qml.CZ(wires=[q, q + 1])
        for q in range(2):
            qml.RY(theta[0, q, 1], wires=q)
        return qml.expval(qml.Z(0) @ qml.Z(1))

    layer = qml.qnn.TorchLayer(circuit, {"theta": (size.layers, n, 2)}).double()
    with torch.no_grad():
        layer.theta.copy_(torch.tensor(rng.normal(0.0, 0.3, layer.theta.shape)))
    return layer


def train(size, seed=0):
    rng = np.random.default_rng(seed)
    inputs, classes = points(size.points, rng)
    reports = []
    model = classifier(size, rng, shots=size.shots, seed=seed, report=reports)
    optimiser = torch.optim.Adam(model.parameters(), lr=0.2)
    for _ in range(size.epochs):
        optimiser.zero_grad()
        loss = torch.nn.functional.softplus(-STEEPNESS * classes * model(inputs)).mean()
        loss.backward()
        optimiser.step()
    unseen, wanted = points(200, rng)
    with torch.no_grad():
        right = torch.sign(model(unseen)) == wanted
    return Trained(right.double().mean().item(), len(reports), sum(report.shots for report in reports))


def main(size=SMALL, seed=0):
    found = train(size, seed)
    print(f"{size.qubits} qubits: {found.accuracy:.1%} of unseen points are right (goal: {ACCURACY:.0%})")
    print(f"{found.gradients:,} gradients of {size.shots:,} shots: {found.shots:,} in all")
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--full", action="store_true", help="10 qubits")
    main(FULL if parser.parse_args().full else SMALL)
