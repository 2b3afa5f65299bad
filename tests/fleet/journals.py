"""Learners with a journal, and what happens to its files."""

import numpy as np
from tests.fleet.cases import brick

from efl_core.fleet import Learner, Replica

CIRCUIT = brick(3, layers=1, outputs="word")
X = np.random.default_rng(2).uniform(-1, 1, (24, 3))
Y = np.where(X.sum(axis=1) > 0, 1.0, -1.0)


def learner_at(path, loss="logistic", circuit=CIRCUIT, **options):
    return Learner(circuit, loss=loss, inputs=X[0], seed=1, journal=path, **options)


def taught(learner, steps=3, update="adam"):
    """Let a replica serve and teach, and step after every batch."""
    with Replica(CIRCUIT, learner, seed=learner.version.number) as replica:
        for _ in range(steps):
            found = replica.answers(X)
            replica.feedback(found.tickets, Y)
            learner.step(update)
        found = replica.answers(X)
        replica.flush(5)
        learner.feedback(found.tickets[:10], Y[:10])
    return found


def flipped(path, place):
    """Flip a bit of the frames."""
    with open(f"{path}-frames", "r+b") as file:
        file.seek(place)
        [byte] = file.read(1)
        file.seek(place)
        file.write(bytes([byte ^ 1]))
