"""Shards with their coordinator in one process, and what may become of them."""

import shutil
import time

import numpy as np
from tests.fleet.cases import brick

from efl_core.fleet import Replica
from efl_core.fleet.cluster import Coordinator, Shard
from efl_core.fleet.journal.notes import Step

CIRCUIT = brick(3, layers=1, outputs="word")
X = np.random.default_rng(2).uniform(-1, 1, (24, 3))
Y = np.where(X.sum(axis=1) > 0, 1.0, -1.0)
OPTIONS = {"inputs": X[0], "loss": "logistic"}
STEP = Step(np.zeros(12), np.zeros(12), 8, 1, 2, 1.0)


def shards(count, folder=None, **options):
    return [
        Shard(
            CIRCUIT,
            index=index,
            shards=count,
            journal=None if folder is None else folder / f"{index}.journal",
            **{**OPTIONS, **options},
        )
        for index in range(count)
    ]


def coordinator(ports, **options):
    """One that looks at its shards when it is told to."""
    return Coordinator(CIRCUIT, shards=ports, **{**OPTIONS, "seed": 1, "every": 600, **options})


def teach(learner, names, count=24):
    """Let replicas of these names answer, and hand in the labels."""
    for name in names:
        with Replica(CIRCUIT, learner, seed=name) as replica:
            found = replica.answers(X[:count])
            assert replica.feedback(found.tickets, Y[:count]) == {"taught": count}


def packet_of(learner, replica, incarnation, first=0, queries=4):
    native = learner.version.native
    random = np.random.default_rng((replica, first))
    bits = [
        random.integers(0, 2, (queries, shots, native.n_qubits), dtype=np.uint8)
        for shots in (native.answer_shots, native.teach_shots)
    ]
    return native.encode(
        replica=replica,
        incarnation=incarnation,
        first=first,
        queries=queries,
        answers=bits[0],
        teaches=bits[1],
    )


class Dead(Exception):
    """The process is gone."""


class Mortal:
    """A shard whose coordinator dies after so many calls to all of them."""

    def __init__(self, shard, left):
        self._shard, self._left = shard, left

    def __getattr__(self, name):
        def call(*arguments, **named):
            try:  # calls come from two threads
                self._left.pop()
            except IndexError:
                raise Dead from None
            return getattr(self._shard, name)(*arguments, **named)

        return call


def crashed(part, folder):
    """The shard that another process finds: the files of one that has not ended."""
    old = part._journal.path
    new = folder / f"{time.monotonic_ns()}.journal"
    for suffix in ("", "-wal", "-frames"):  # checkpoints first: there may be more frames, never fewer
        shutil.copy(f"{old}{suffix}", f"{new}{suffix}")
    part.close()
    return Shard(CIRCUIT, index=part._index, shards=part._shards, journal=new, **OPTIONS)
