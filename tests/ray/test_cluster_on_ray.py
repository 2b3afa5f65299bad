"""Shards as actors of Ray, some of which are killed. One small cluster on the loopback for all tests."""

import importlib.util
import os
import secrets
import signal
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from tests.fleet.cases import brick

import efl_core as efl
from efl_core.fleet import Learner, Replica
from efl_core.fleet.cluster import Coordinator, Spread, shard_of
from efl_core.fleet.journal.audit import gradients, queries, verified

# Ray reads them when it is imported.
os.environ.update(RAY_USAGE_STATS_ENABLED="0", RAY_AUTH_MODE="token", RAY_AUTH_TOKEN=secrets.token_hex(32))
ray = pytest.importorskip("ray", reason="`make test-ray` installs it")

from efl_core.fleet.ray import shards_of, start_shards, stop_shards  # noqa: E402

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.filterwarnings("default")]
CIRCUIT = brick(3, layers=1, outputs="word")
X = np.random.default_rng(2).uniform(-1, 1, (16, 3))
Y = np.where(X.sum(axis=1) > 0, 1.0, -1.0)
OPTIONS = {"inputs": X[0], "loss": "logistic"}
PACKETS, SENDERS = 4_000, 16


@pytest.fixture(scope="module", autouse=True)
def cluster():
    ray.init(
        num_cpus=2,
        include_dashboard=False,
        object_store_memory=100 << 20,
        log_to_driver=False,
        _node_ip_address="127.0.0.1",
    )
    yield
    ray.shutdown()


def taught(learner, links):
    """What two steps of several replicas lead to, to the last bit."""
    found = []
    for step in range(2):
        for name in range(8 * step, 8 * step + 8):
            with Replica(CIRCUIT, links(name), seed=name) as replica:
                replica.feedback(replica.answers(X).tickets, Y)
        found += [(*own[:2], own[2].to_bytes()) for own in learner._unused(None)]
        gradient = learner.step("adam").gradient
        found.append((gradient.value.tobytes(), gradient.stderr.tobytes(), gradient.queries))
    return found


def test_one_two_and_four_actors_give_the_bits_of_one_learner(tmp_path):
    alone = Learner(CIRCUIT, **OPTIONS, seed=1)
    wanted = taught(alone, lambda name: alone)
    for count in (1, 2, 4):
        shards = start_shards(
            CIRCUIT, folder=tmp_path, shards=count, name=f"of-{count}", **OPTIONS, timeout=120
        )
        assert [one.state().shard for one in shards_of(f"of-{count}")] == list(range(count))
        with Coordinator(CIRCUIT, shards=shards, **OPTIONS, seed=1) as learner:
            assert taught(learner, lambda name, own=shards: Spread(CIRCUIT, own, name=name)) == wanted
        stop_shards(shards)


def test_of_4000_packets_each_counts_once_though_a_shard_is_killed_twice(tmp_path):
    shards = start_shards(CIRCUIT, folder=tmp_path, shards=2, name="killed", **OPTIONS, timeout=120)
    done, wrong = [], []
    with Coordinator(CIRCUIT, shards=shards, **OPTIONS, seed=1) as learner:
        native, number = learner.version.native, learner.version.number

        def send(name):
            """Hand in packets of one query, and again where nobody says that they have come."""
            try:
                incarnation, random = again(lambda: learner.join(name)), np.random.default_rng(name)
                for first in range(PACKETS // SENDERS):
                    bits = [
                        random.integers(0, 2, (1, shots, 3), dtype=np.uint8)
                        for shots in (native.answer_shots, native.teach_shots)
                    ]
                    packet = native.encode(
                        replica=name,
                        incarnation=incarnation,
                        first=first,
                        queries=1,
                        answers=bits[0],
                        teaches=bits[1],
                    )
                    found = again(lambda packet=packet: learner.submit(packet))
                    assert found in ((None, number, first + 1), ("duplicate", number, first + 1)), found
                    done.append((name, incarnation, first))
            except BaseException as error:  # told to the test
                wrong.append(error)

        threads = [threading.Thread(target=send, args=(name,)) for name in range(SENDERS)]
        for thread in threads:
            thread.start()
        victim, killed = shards[0], []
        for part in (1, 2):
            while len(done) < part * PACKETS // 3 and not wrong:
                time.sleep(0.01)
            killed.append(victim.pid())
            os.kill(killed[-1], signal.SIGKILL)
        for thread in threads:
            thread.join()
        assert not wrong
        assert len({*killed, victim.pid()}) == 3
        assert learner.counts["admitted"] == learner.counts["pending"] == PACKETS == len(done)
    stop_shards(shards)
    paths = [tmp_path / f"killed-{index}.journal" for index in range(2)]
    rows = [(row["replica"], row["incarnation"], row["sequence"]) for path in paths for row in queries(path)]
    assert sorted(rows) == sorted(done)
    for index, path in enumerate(paths):
        assert verified(path).is_whole
        assert all(own.is_same for own in gradients(path))
        assert {shard_of(row["replica"], 2) for row in queries(path)} == {index}


def again(call):
    while True:
        try:
            return call()
        except efl.LearnerAwayError:
            time.sleep(0.05)


def test_answers_go_on_where_a_serve_replica_is_killed():
    serve = pytest.importorskip("ray.serve", reason="`make test-ray` installs it")
    spec = importlib.util.spec_from_file_location(
        "fleet_ray", Path(__file__).parents[2] / "examples" / "fleet_ray.py"
    )
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    serve.start(proxy_location="Disabled")
    try:
        found = example.main(kill=True)
    finally:
        serve.shutdown()
    assert found.answered == example.QUERIES
    # The replica that died took along its last queries at most.
    assert example.QUERIES - 2 * example.BATCH <= found.taught <= example.QUERIES
    assert found.steps >= 4
    assert found.after < 0.7 * found.before


def test_what_is_refused(tmp_path):
    with pytest.raises(efl.InvalidInputError, match="name: expected that of a fleet whose shards run"):
        shards_of("nobody")
    with pytest.raises(efl.InputTypeError, match="qnode: expected one that can be sent"):
        start_shards(threading.Lock(), folder=tmp_path, shards=1, inputs=[0.0])
    # The error of the shard's own, by its name, from where it runs.
    with pytest.raises(efl.InvalidInputError, match="loss: expected one of"):
        start_shards(CIRCUIT, folder=tmp_path, shards=1, name="wrong", inputs=X[0], loss="none", timeout=120)
