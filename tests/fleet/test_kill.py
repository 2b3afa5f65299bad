"""A learner process that is killed again and again while clients hand in packets and labels.

EFL_KILLS says how often; `make soak` kills 200 times.
"""

import os
import random
import signal
import subprocess
import sys
import threading
import time
from multiprocessing.connection import Client as connect

import numpy as np
import pytest
from tests.fleet.killed import learner_at

from efl_core.fleet import Ticket
from efl_core.fleet.journal.audit import gradients, queries, verified

KILLS = int(os.environ.get("EFL_KILLS", "30"))
CLIENTS = 4
AWAY = (OSError, EOFError)


def lives(process):
    """Whether a process is there."""
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    return True


class Client(threading.Thread):
    """Hands in packets and labels one after the other, each until it is acknowledged."""

    def __init__(self, name, address):
        super().__init__(daemon=True)
        self.replica, self.address = name, address
        self.incarnation = self.sequence = 0
        self.acknowledged, self.taught, self.refusals = 0, [], []
        self.wrong = None
        self.connection = None
        self.is_ending = threading.Event()

    def run(self):
        try:
            while not self.is_ending.is_set():
                self.hand_in()
        except Exception as error:  # told to the test
            self.wrong = error

    def ask(self, *request):
        """Ask until there is an answer: what was under way when a learner died is asked again."""
        while True:
            try:
                if self.connection is None:
                    self.connection = connect(self.address, "AF_UNIX")
                self.connection.send(request)
                return self.connection.recv()
            except AWAY:
                if self.connection is not None:
                    self.connection.close()
                self.connection = None
                time.sleep(0.01)

    def hand_in(self):
        if not self.incarnation:
            self.incarnation = self.ask("join", self.replica)
        count = 1 + self.sequence % 5
        packet = self.ask("encode", self.replica, self.incarnation, self.sequence, count)
        refusal, _, following = self.ask("submit", packet)
        # Never a gap: that would be an acknowledged packet that nobody knows of.
        assert refusal in (None, "duplicate"), refusal
        assert following == self.sequence + count
        tickets = [Ticket(self.replica, self.incarnation, self.sequence + i).text for i in range(count)]
        labels = np.where(np.arange(count) % 2, 1.0, -1.0)
        told = self.ask("feedback", tickets, labels)
        # Used: by the same call, whose answer was lost.
        assert sum(told.values()) == count
        assert set(told) <= {"taught", "unknown_or_used"}, told
        self.sequence += count
        self.acknowledged += count


@pytest.mark.slow
@pytest.mark.timeout(60 + 8 * KILLS)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="the learner is forked")
def test_nothing_acknowledged_is_lost_or_doubled(tmp_path):
    path, address = tmp_path / "fleet.journal", str(tmp_path / "s")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen(
        [sys.executable, "-m", "tests.fleet.killed"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env=environment,
    )

    def start():
        if os.path.exists(address):
            os.unlink(address)
        parent.stdin.write(f"{path} {address}\n")
        parent.stdin.flush()
        return int(parent.stdout.readline())

    clients = [Client(1 << (8 * i), address) for i in range(CLIENTS)]
    draws = random.Random(5)
    child = start()
    for client in clients:
        client.start()
    try:
        for _ in range(KILLS):
            # Until somebody was answered: a learner that is killed before has done nothing.
            before = sum(client.acknowledged for client in clients)
            while sum(client.acknowledged for client in clients) == before:
                assert all(client.wrong is None for client in clients), [client.wrong for client in clients]
                assert lives(child)
                time.sleep(0.005)
            time.sleep(draws.uniform(0, 0.3))
            os.kill(child, signal.SIGKILL)
            while lives(child):  # until then the journal is its own
                time.sleep(0.001)
            child = start()
        for client in clients:
            client.is_ending.set()
        for client in clients:
            client.join(60)
            assert not client.is_alive()
            assert client.wrong is None
            client.connection.close()
        last = Client(0, address)
        counts = last.ask("counts")
        last.connection.send(("close",))
        assert last.connection.recv() is None
        last.connection.close()
        while lives(child):
            time.sleep(0.001)
    finally:
        parent.stdin.close()
        parent.stdout.close()
        parent.wait(10)
    acknowledged = sum(client.acknowledged for client in clients)
    assert counts["admitted"] == counts["taught"] == acknowledged
    names = [(row["replica"], row["incarnation"], row["sequence"]) for row in queries(path)]
    wanted = [(c.replica, c.incarnation, i) for c in clients for i in range(c.sequence)]
    assert sorted(names) == sorted(wanted)
    assert all(row["weights"] is not None for row in queries(path))
    assert verified(path).is_whole
    assert all(taught.is_same for taught in gradients(path))
    with learner_at(path) as learner:
        assert learner.counts["admitted"] == acknowledged
