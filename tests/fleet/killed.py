"""A learner to be killed: a process that forks one for every line that it reads, so that each starts at once.

A line is the journal and the socket that the learner listens at; the answer is its process number. Requests
are tuples, a name and arguments; a learner answers each when `Learner` returns.
"""

import os
import signal
import sys
import threading
import time
from multiprocessing.connection import Listener

import numpy as np
from tests.fleet.cases import brick

import efl_core as efl
from efl_core.fleet import Learner

X = np.array([0.3, -0.2, 0.1])


def learner_at(path):
    return Learner(
        brick(3, layers=1, outputs="word"), loss="logistic", inputs=X, seed=1, journal=path, keep=10_000
    )


def encoded(learner, replica, incarnation, first, queries):
    """A packet of random bits of the newest version."""
    native = learner.version.native
    random = np.random.default_rng((replica, first))
    answers = random.integers(0, 2, (queries, native.answer_shots, native.n_qubits), dtype=np.uint8)
    teaches = random.integers(0, 2, (queries, native.teach_shots, native.n_qubits), dtype=np.uint8)
    return native.encode(
        replica=replica,
        incarnation=incarnation,
        first=first,
        queries=queries,
        answers=answers,
        teaches=teaches,
    )


def answer(learner, connection):
    """Answer the requests of one client."""
    acts = {
        "join": learner.join,
        "encode": lambda *arguments: encoded(learner, *arguments),
        "submit": learner.submit,
        "feedback": learner.feedback,
        "counts": lambda: learner.counts,
        "close": learner.close,
    }
    try:
        while True:
            name, *arguments = connection.recv()
            connection.send(acts[name](*arguments))
            if name == "close":
                os._exit(0)
    except EOFError:
        connection.close()


def learn(learner):
    """Make a step whenever there is something to learn from."""
    while True:
        time.sleep(0.03)
        if learner.taught >= 8:
            try:
                learner.step("adam")
            except efl.JournalError:
                return


def serve(path, address):
    learner = learner_at(path)
    threading.Thread(target=learn, args=(learner,), daemon=True).start()
    with Listener(address, "AF_UNIX", backlog=16) as listener:
        while True:
            connection = listener.accept()
            threading.Thread(target=answer, args=(learner, connection), daemon=True).start()


def main():
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for line in sys.stdin:
        path, address = line.split()
        child = os.fork()
        if not child:
            serve(path, address)
        print(child, flush=True)


if __name__ == "__main__":
    main()
