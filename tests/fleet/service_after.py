"""A service of a hybrid model as people write it: it answers, and learns while it does."""

import numpy as np
import pennylane as qml
import torch

import efl_core as efl

N = 4
device = qml.device("default.qubit", wires=N)


@qml.qnode(device)
def circuit(x, theta):
    qml.AngleEmbedding(x, wires=range(N))
    for row in theta:
        for q in range(N):
            qml.RY(row[q], wires=q)
        for q in range(N - 1):
            qml.CZ(wires=[q, q + 1])
    return [qml.expval(qml.Z(q)) for q in range(N)]


theta = np.random.default_rng(0).uniform(-0.5, 0.5, (2, N))
head = torch.nn.Linear(N, 1)
optimizer = torch.optim.Adam(head.parameters(), lr=0.05)
learner = efl.fleet.Learner(circuit, theta)
replica = efl.fleet.Replica(circuit, learner, shots=128, share=0.25)


def quantum(x):
    return replica.layer(x).float()


def answer(x):
    features = quantum(x)
    return head(features)[:, 0]


def learn(logits, labels):
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    learner.step("descent")
    return float(loss.detach())
