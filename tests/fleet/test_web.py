"""Replicas that reach their learner by an address do what those beside it do."""

import hashlib
import json
import os
import socket
import subprocess
import sys
import threading
import time

import numpy as np
import pennylane as qml
import pytest
from tests.fleet.cases import brick, reuploading, ring
from tests.fleet.served import joined, key, learner_of, packet_of, sent, serving

import efl_core as efl
from efl_core.cli.fleet_serving import listening
from efl_core.errors import CorruptDataError, InvalidInputError, LearnerAwayError, NewerFormatError
from efl_core.fleet import Learner, Replica
from efl_core.fleet.models import made_model
from efl_core.fleet.serving import serve
from efl_core.fleet.versions import kind_of
from efl_core.fleet.web.wire import described_version, made_here, read_version

CIRCUIT = brick(3, outputs="word")
X = np.random.default_rng(2).uniform(-1, 1, (64, 3))
Y = np.where(X.sum(axis=1) > 0, 1, -1)


def written(learner, version=None):
    return described_version(version or learner.version, kind_of(learner._loss), learner._fleet)


def model_of(circuit):
    return made_model(circuit, circuit.parameters, (circuit.inputs,))


@pytest.mark.parametrize(
    ("circuit", "options"),
    [
        (brick(4), {}),
        (brick(4, outputs="many"), {}),
        (ring(5), {"method": "mixture"}),
        (ring(4), {"method": "shift"}),
        (reuploading(3), {}),
        (brick(3, outputs="word"), {"shots": 1, "share": 0.3}),
        (brick(3, outputs="vector"), {"shots": 1, "share": 0.3, "loss": "energy"}),
        (brick(3), {"share": 0}),
    ],
    ids=["settings", "many", "mixture", "shifts", "echoes", "gentle", "gentle sum", "nothing"],
)
def test_a_version_that_was_sent_runs_the_same_shots(circuit, options):
    usual = "logistic" if len(circuit.observables) == 1 else "cross-entropy"
    learner = learner_of(circuit, **{"loss": usual, **options})
    learner.publish(learner.params + 0.1)
    version = learner.version
    data = written(learner)
    assert data == written(learner)
    found = made_here(read_version(data), model_of(circuit))
    assert (found.params == version.params).all()
    assert (found.native is None) == (version.native is None)

    queries = [(x,) for x in np.random.default_rng(3).uniform(-1, 1, (12, len(circuit.inputs)))]
    entries = np.full((12, 1), -1)
    if version.native is not None:
        assert found.native.hash == version.native.hash
        entries = version.native.entries(7, 1, 0, 12)
        assert (found.native.entries(7, 1, 0, 12) == entries).all()
    own = serve(version.model, version.point, version.roster, queries, entries, 5)
    there = serve(found.model, found.point, found.roster, queries, entries, 5)
    for one, other in zip(own, there, strict=True):
        assert (one.answers == other.answers).all()
        assert (one.readout.mean == other.readout.mean).all()
        assert (one.readout.stderr == other.readout.stderr).all()
        assert (one.teaches is None) == (other.teaches is None)
        if one.teaches is not None:
            assert (one.teaches == other.teaches).all()


def test_a_version_that_was_sent_writes_the_same_tapes():
    device = qml.device("default.mixed", wires=3)

    def circuit(x, theta):
        qml.AngleEmbedding(x, wires=range(3))
        for row in theta:
            for q in range(3):
                qml.RY(row[q], wires=q)
                qml.RZ(0.3 * row[q], wires=q)
            qml.CNOT(wires=[0, 1])
            qml.CNOT(wires=[1, 2])
        return qml.expval(qml.Z(0)), qml.expval(qml.Z(2))

    node = qml.QNode(circuit, device)
    theta = np.random.default_rng(1).uniform(-1, 1, (2, 3))
    learner = Learner(node, theta, loss="squared", inputs=X[0], seed=1, method="shift")
    version = learner.version
    found = made_here(read_version(written(learner)), made_model(node, theta, (X[0],)))
    seen = []
    for own in (version, found):
        asked = own.model.ask(own.point, (X[1],))
        seen.append([entry.experiment.at(asked.circuit).gates() for entry in own.roster.entries])
    assert seen[0] == seen[1]
    entries = version.native.entries(7, 1, 0, 2)
    served = serve(found.model, found.point, found.roster, [(X[1],), (X[2],)], entries, 5)
    assert served[0].teaches.shape == (version.roster.split.teach_shots, 3)


def test_a_damaged_version_is_refused():
    """No change of a byte goes unnoticed, or is anything but a named error: 400 of them."""
    learner = learner_of(ring(4), method="mixture")
    data, model = written(learner), model_of(ring(4))
    intact = made_here(read_version(data), model)
    random = np.random.default_rng(0)
    refused = 0
    for _ in range(400):
        place = int(random.integers(len(data)))
        broken = data[:place] + bytes([int(random.integers(32, 127))]) + data[place + 1 :]
        try:
            found = made_here(read_version(broken), model)
        except (CorruptDataError, InvalidInputError):
            refused += 1
        else:  # a digit of an angle, another gate: replicas compare the hash of the bytes before
            assert found.native.hash == intact.native.hash
    assert refused > 100
    newer = json.dumps({**json.loads(data), "format": 2}).encode()
    with pytest.raises(NewerFormatError, match=r"^version: expected format 1"):
        read_version(newer)


def test_a_replica_elsewhere_teaches_as_one_here():
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, app), Replica(CIRCUIT, url, shots=64, key=key(), seed=3) as replica:
        before = learner.version.number
        for start in range(0, 64, 16):
            found = replica.answers(X[start : start + 16])
            assert replica.feedback(found.tickets, Y[start : start + 16]) == {"taught": 16}
        first = learner.step("adam")
        assert first.gradient.queries == 64
        assert replica.refresh() == before + 1
        assert replica.answer(X[0]).version == before + 1
        assert replica.flush(5)
        counts = learner.counts
        assert (counts["admitted"], counts["taught"], counts["pending"]) == (65, 64, 1)
        assert app.counts["accepted"] == sum(app.counts.values())
        assert replica.counts == {"sent": 65, "waiting": 0}


def test_bits_that_were_sent_say_the_same_gradient():
    learner, beside = learner_of(CIRCUIT), learner_of(CIRCUIT)
    with serving(learner) as (url, _):
        replica = Replica(CIRCUIT, url, key=key(), seed=3)
        there = replica.answers(X)
        replica.feedback(there.tickets, Y)
        number = replica._box.life.replica
        here = Replica(CIRCUIT, beside, seed=3)
        here._begun = lambda before: type(replica._box)(
            here._link, type(replica._box.life)(number, beside.join(number)), 64, 1000
        )
        here._pid = replica._pid
        same = here.answers(X)
        assert (same.value == there.value).all()
        here.feedback(same.tickets, Y)
        assert (learner.gradient().value == beside.gradient().value).all()
        here.close()
        replica.close()


def test_gradients_and_outputs_cross():
    learner = learner_of(CIRCUIT, "upstream")
    with serving(learner) as (url, _), Replica(CIRCUIT, url, key=key()) as replica:
        found = replica.answers(X[:8])
        replica.flush(5)
        assert replica.outputs(found.tickets)[:, 0] == pytest.approx(found.value)
        assert replica.feedback(found.tickets, gradient=np.full((8, 1), 0.5)) == {"taught": 8}
    served = learner_of(CIRCUIT)
    with serving(served) as (url, _), Replica(CIRCUIT, url, key=key()) as replica:
        ticket = replica.answer(X[0]).ticket
        with pytest.raises(InvalidInputError, match=r"^gradient: expected a label"):
            replica.feedback(ticket, gradient=[[1.0]])


def test_labels_of_many_queries_take_several_requests(monkeypatch):
    monkeypatch.setattr("efl_core.fleet.web.remote.MOST_BODY", 2_000)
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, app), Replica(CIRCUIT, url, key=key()) as replica:
        found = replica.answers(X)
        before = app.counts["accepted"]
        assert replica.feedback(found.tickets, Y) == {"taught": 64}
        assert app.counts["accepted"] > before + 1


def test_refusals_are_those_of_the_learner():
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, _):
        with pytest.raises(InvalidInputError, match=r"^shots: expected 64, as everywhere"):
            Replica(CIRCUIT, url, shots=32, key=key())
        with pytest.raises(InvalidInputError, match=r"^key: expected one that http"):
            Replica(CIRCUIT, url)
        with pytest.raises(InvalidInputError, match=r"^key: expected one that http"):
            Replica(CIRCUIT, url, key=efl.fleet.Keys("another secret, long enough").of("shop"))
        with pytest.raises(InvalidInputError, match=r"^key: expected one with the address"):
            Replica(CIRCUIT, learner, key=key())
        other = Replica(brick(3, outputs="vector"), url, key=key())
        with pytest.raises(InvalidInputError, match=r"^qnode: expected the gates and outputs that"):
            other.answer(X[0])
        with Replica(CIRCUIT, url, key=key("second")) as replica:
            ticket = replica.answer(X[0]).ticket
            with pytest.raises(InvalidInputError, match=r"^label: ") as refused:
                replica.feedback(ticket, 7)
            assert refused.value.argument == "label"
            with pytest.raises(InvalidInputError, match=r"^label: expected finite numbers"):
                replica.feedback(ticket, float("nan"))
            assert replica.feedback(ticket, 1) == {"taught": 1}
    with pytest.raises(LearnerAwayError, match=r"^learner: expected one that answers at http"):
        Replica(CIRCUIT, url, key=key())
    with pytest.raises(InvalidInputError, match=r"^learner: expected a Learner, or an address"):
        Replica(CIRCUIT, "learner:7070", key=key())


def test_answers_go_on_without_a_learner_and_packets_come_later():
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, _):
        replica = Replica(CIRCUIT, url, key=key(), seed=3, packet=8, bound=24)
        replica.answers(X[:8])
        assert replica.flush(5)
    for x in X[:40]:  # more than the bound: whole packets are given up, and counted
        assert replica.answer(x).version == 1
    assert replica.counts["dropped"] == 16
    with pytest.raises(LearnerAwayError):
        replica.feedback(replica.answer(X[0]).ticket, 1)
    with serving(learner, port=int(url.rpartition(":")[2])):
        assert replica.flush(20)
        counts = learner.counts
        assert counts["admitted"] + counts["dropped"] == 49
        assert counts["admitted"] == replica.counts["sent"]
    replica.close()


def test_a_learner_that_begins_anew_is_joined_again():
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, _):
        replica = Replica(CIRCUIT, url, key=key(), packet=8)
        replica.answers(X[:8])
        assert replica.flush(5)
    again = Learner(CIRCUIT, loss="logistic", inputs=np.zeros(3), seed=2)
    with serving(again, port=int(url.rpartition(":")[2])):
        for _ in range(100):
            found = replica.answers(X[:8])
            replica.flush(1)
            if again.counts["admitted"]:
                break
            time.sleep(0.05)
        assert replica.feedback(found.tickets, Y[:8]) == {"taught": 8}
        assert replica.counts["refused"] > 0
    replica.close()


def test_a_worker_for_whom_there_is_no_room_answers_and_joins_later():
    learner = learner_of(CIRCUIT)
    with serving(learner, workers=1) as (url, app), Replica(CIRCUIT, url, key=key()) as first:
        first.answer(X[0])
        first.flush(5)
        second = Replica(CIRCUIT, url, key=key(), shots=64)
        found = second.answers(X[:8])
        assert found.version == 1
        assert second.counts == {"waiting": 0}
        assert second.feedback(found.tickets, Y[:8]) == {"answered_only": 8}
        [worker] = app._admission.workers
        worker.seen -= 100  # the other one has not been heard of for a while

        def teaches():
            second.answer(X[0])
            second.flush(1)
            return second.counts.get("sent", 0)

        eventually(teaches)
        assert learner.counts["replicas"] == 1  # the number is that of the place
        second.close()


FORKS = """
import os, sys, time
import numpy as np
from efl_core.fleet import Replica
from tests.fleet.cases import brick

replica = Replica(brick(3, outputs="word"), sys.argv[1], key=sys.argv[2], shots=64)
replica.answers(np.zeros((8, 3)))
assert replica.flush(10)
child = os.fork()
end = time.monotonic() + 20
replica.answers(np.zeros((4, 3)))  # a child answers before it has joined, too
while replica.counts.get("sent", 0) < 20 and time.monotonic() < end:
    replica.answers(np.zeros((4, 3)))
    replica.flush(1)
assert replica.counts["sent"] >= 20
replica.close()
if not child:
    os._exit(0)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""


def test_a_forked_worker_is_another_replica():
    learner = learner_of(CIRCUIT, "energy")
    with serving(learner) as (url, app):
        subprocess.run(
            [sys.executable, "-W", "ignore", "-c", FORKS, url, key()],
            check=True,
            timeout=100,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        assert learner.counts["replicas"] == 2
        assert learner.counts["gap"] == learner.counts["duplicate"] == 0
        assert sorted(own.slot for own in app._admission.workers) == [0, 1]


def test_a_service_that_mounts_it():
    def mount(app):
        async def service(scope, receive, send):
            if scope["type"] == "http":
                assert scope["path"].startswith("/fleet")
                scope = {**scope, "root_path": "/fleet"}
            await app(scope, receive, send)

        return service

    learner = learner_of(CIRCUIT)
    with serving(learner, mount=mount) as (url, _):
        with Replica(CIRCUIT, url + "/fleet/", key=key()) as replica:
            assert replica.teach(X[0], label=1).version == 1
        assert sent(url, "GET", "/health", prefix="/fleet")[::2] == (200, b"ok\n")
        assert sent(url, "GET", "", prefix="/fleet")[1]["location"] == "./"
    assert learner.counts["taught"] == 1


@pytest.mark.parametrize("canary", [None, 0.25])
def test_it_learns_by_itself(canary):
    learner = learner_of(CIRCUIT)
    with (
        serving(learner, update="adam", queries=16, canary=canary) as (url, _),
        Replica(CIRCUIT, url, key=key()) as replica,
    ):

        def taught():
            replica.feedback(replica.answers(X[:32]).tickets, Y[:32])
            return learner.status().steps >= 3

        eventually(taught)
        assert learner.version.number > 1 or canary
        # Versions are asked for every second.
        eventually(lambda: replica.answer(X[0]).version == learner.version.number)


def eventually(holds):
    for _ in range(200):
        if holds():
            return
        time.sleep(0.05)
    pytest.fail("it has not come to that in 10 s")


def test_versions_have_the_name_of_their_bytes():
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, _):
        status, _, newest = sent(url, "GET", "/v1/version")
        assert (status, newest["number"]) == (200, 1)
        path = f"/v1/versions/{newest['hash']}"
        status, fields, _ = sent(url, "GET", path)
        assert status == 200
        assert "immutable" in fields["cache-control"]
        assert hashlib.sha256(written(learner)).hexdigest() == newest["hash"]
        status, _, body = sent(url, "GET", path, headers={"if-none-match": fields["etag"]})
        assert (status, body) == (304, b"")
        assert sent(url, "GET", "/v1/versions/" + "0" * 64)[0] == 404
        learner.publish(learner.params + 0.1)
        assert sent(url, "GET", "/v1/version")[2]["hash"] != newest["hash"]
        assert sent(url, "GET", path)[0] == 200  # for replicas that are behind


def test_a_candidate_answers_its_share_elsewhere_too():
    learner = learner_of(CIRCUIT)
    with serving(learner) as (url, _), Replica(CIRCUIT, url, key=key(), seed=1, packet=16) as replica:
        assert replica.answer(X[0]).version == 1
        replica.flush(5)
        worse = learner.params + np.random.default_rng(1).uniform(1, 2, len(learner.params))
        candidate = learner.publish(worse, canary=0.25, labels=24)
        assert learner.version.number == replica.refresh() == 1
        assert replica._link.candidate.version.native.hash == candidate.native.hash
        seen = []
        while learner.canary is not None and len(seen) < 40:
            found = replica.answers(X)
            seen.append(found.version)
            replica.feedback(found.tickets, Y)
        [verdict] = learner.verdicts
        assert verdict.version == 2
        counts = learner.counts
        assert counts.get("promoted", 0) + counts.get("rolled_back", 0) == 1
        assert counts["taught"] == 64 * len(seen)
        replica.answer(X[0])
        replica.flush(5)
        eventually(lambda: replica._link.candidate is None)  # as soon as a packet was acknowledged
        eventually(lambda: replica.answer(X[0]).version == learner.version.number)


def test_a_packet_is_acknowledged_when_it_is_taken():
    learner = learner_of(CIRCUIT)
    taking, go = threading.Event(), threading.Event()
    submit = learner.submit

    def slow(packet):
        taking.set()
        assert go.wait(10)
        return submit(packet)

    learner.submit = slow
    with serving(learner) as (url, _):
        life = joined(url)[2]
        packet = packet_of(learner, life["replica"], life["incarnation"])
        found = []
        thread = threading.Thread(target=lambda: found.append(sent(url, "POST", "/v1/packets", packet)))
        thread.start()
        assert taking.wait(10)
        assert not found
        assert sent(url, "GET", "/health")[0] == 200  # others are answered meanwhile
        go.set()
        thread.join()
        assert found[0][::2] == (200, {"refused": None, "newest": 1, "candidate": None, "expected": 4})


def test_a_learner_that_cannot_commit_acknowledges_nothing():
    learner = learner_of(CIRCUIT)
    submit = learner.submit

    def failing(packet):
        raise efl.EflError("journal: expected a disk with room, got none")

    with serving(learner) as (url, app):
        replica = Replica(CIRCUIT, url, key=key(), packet=4)
        learner.submit = failing
        for x in X[:8]:
            replica.answer(x)
        assert not replica.flush(0.3)
        life = joined(url, "other")[2]
        packet = packet_of(learner, life["replica"], life["incarnation"])
        status, fields, told = sent(url, "POST", "/v1/packets", packet, name="other")
        assert (status, fields["retry-after"]) == (503, "1")
        assert "expected a disk with room" in told["message"]
        assert app.counts["unavailable"] >= 2
        assert sent(url, "GET", "/v1/version")[0] == 200  # versions are still given out
        assert sent(url, "GET", "/health")[::2] == (503, b"unavailable\n")
        learner.submit = submit
        assert replica.flush(20)
        assert sent(url, "GET", "/health")[::2] == (200, b"ok\n")
        assert learner.counts["admitted"] == 8
        replica.close()


def test_what_was_acknowledged_is_in_the_journal(tmp_path):
    path = tmp_path / "journal"
    with (
        learner_of(CIRCUIT, journal=path) as learner,
        serving(learner) as (url, _),
        Replica(CIRCUIT, url, key=key(), seed=1) as replica,
    ):
        found = replica.answers(X)
        assert replica.feedback(found.tickets[:40], Y[:40]) == {"taught": 40}
        before, gradient = learner.counts, learner.gradient()
        life = replica._box.life
    with learner_of(CIRCUIT, journal=path) as again, serving(again, port=int(url.rpartition(":")[2])):
        assert again.counts["admitted"] == before["admitted"] == 64
        assert (again.gradient().value == gradient.value).all()
        # Who had joined goes on under his number, and his labels are good.
        with Replica(CIRCUIT, url, key=key(), seed=2) as later:
            assert later.feedback(found.tickets[40:], Y[40:]) == {"taught": 24}
            assert later.teach(X[0], label=1).version == again.version.number
            assert later._box.life.replica == life.replica
            assert later._box.life.incarnation == life.incarnation + 1


def test_a_journal_that_fails_is_an_answer(tmp_path):
    learner = learner_of(CIRCUIT, journal=tmp_path / "journal")
    with serving(learner) as (url, app):
        replica = Replica(CIRCUIT, url, key=key(), packet=4)
        replica.answer(X[0])
        replica.flush(5)
        learner.close()
        for x in X[:8]:
            assert replica.answer(x).version == 1
        assert not replica.flush(0.5)
        assert app.counts["unavailable"] > 0
        assert sent(url, "GET", "/health")[0] == 503
        replica.close(timeout=0)


def test_what_is_under_way_ends_before_the_server_does():
    learner = learner_of(CIRCUIT)
    taking = threading.Event()
    submit = learner.submit

    def slow(packet):
        taking.set()
        time.sleep(0.5)
        return submit(packet)

    learner.submit = slow
    found = []
    with serving(learner) as (url, app):
        life = joined(url)[2]
        packet = packet_of(learner, life["replica"], life["incarnation"])
        thread = threading.Thread(target=lambda: found.append(sent(url, "POST", "/v1/packets", packet)))
        thread.start()
        assert taking.wait(10)
    thread.join()
    assert found[0][0] == 200
    assert learner.counts["admitted"] == 4
    assert app._pool is None


def test_no_part_of_an_answer_waits_for_an_acknowledgement():
    with (
        listening("127.0.0.1", 0) as place,
        socket.create_connection(place.getsockname()),
        place.accept()[0] as connection,
    ):
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
