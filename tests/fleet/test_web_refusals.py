"""What a served learner does not believe: nothing of it counts, and each refusal is a counter by its name."""

import json
import pickle
import socket
import struct
import threading
import time
import zlib
from collections import Counter
from contextlib import suppress

import numpy as np
import pytest
from tests.fleet.cases import brick
from tests.fleet.served import joined, key, learner_of, packet_of, received, sent, serving

from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.fleet import Keys, Replica, Ticket, asgi
from efl_core.fleet.web.admission import Admission, Refused
from efl_core.fleet.web.signing import Credential, Signature, tag_of

CIRCUIT = brick(3, outputs="word")
X = np.random.default_rng(2).uniform(-1, 1, (16, 3))


@pytest.fixture
def fleet():
    """A learner with a joined replica, a packet of four queries of it, and where it is served."""
    learner = learner_of(CIRCUIT)
    with serving(learner, slow=0.5) as (url, app):
        life = joined(url)[2]
        packet = packet_of(learner, life["replica"], life["incarnation"])
        yield learner, url, app, life, packet


def counted(app):
    return Counter(app.counts)


def refused(fleet, reason, status, *arguments, **options):
    """Send what is refused for a reason, and see that nothing but its counter has changed."""
    learner, url, app, *_ = fleet
    before, known = counted(app), learner.counts
    found = sent(url, *arguments, **options)
    assert found[0] == status, found
    assert counted(app) - before == {reason: 1}
    assert learner.counts == known
    return found


DEEP = b"[" * 100_000


@pytest.mark.parametrize(
    ("reason", "status", "options"),
    [
        ("unsigned", 401, {"signed": False}),
        ("unsigned", 401, {"headers": {"efl-body": None}}),
        ("bad_signature", 401, {"headers": {"efl-signature": "0" * 64}}),
        ("bad_signature", 401, {"headers": {"efl-signature": "\u00e9"}}),
        ("bad_signature", 401, {"headers": {"efl-key": "other"}}),
        ("bad_signature", 401, {"headers": {"efl-key": "x" * 5_000}}),
        ("bad_signature", 401, {"headers": {"efl-time": "1"}}),
        ("bad_signature", 401, {"headers": {"efl-body": "0" * 64}}),
        ("bad_time", 401, {"now": 0}),
        ("bad_time", 401, {"now": 10**40}),
        ("bad_time", 401, {"now": -1}),
    ],
)
def test_a_request_that_nobody_signed(fleet, reason, status, options):
    refused(fleet, reason, status, "POST", "/v1/packets", fleet[4], **options)
    refused(fleet, reason, status, "POST", "/v1/join", b"{}", **options)
    refused(fleet, reason, status, "GET", "/v1/version", **options)


def test_a_signature_holds_for_its_request_only(fleet):
    _, url, app, _, packet = fleet
    signed = Credential.read(key()).sign("POST", "/v1/packets", packet).headers
    for method, path, body in (
        ("POST", "/v1/labels", packet),
        ("GET", "/v1/version", packet),
        ("POST", "/v1/packets", packet[:-1] + b"\0"),
        ("POST", "/v1/packets", b""),
    ):
        before = counted(app)
        assert sent(url, method, path, body, signed=False, headers=signed)[0] == 401
        assert counted(app) - before == {"bad_signature": 1}
    assert sent(url, "POST", "/v1/packets", packet, signed=False, headers=signed)[0] == 200


def test_a_key_that_is_revoked():
    learner = learner_of(CIRCUIT)
    keys = Keys("a secret that all tests know, of 32 and more", revoked=["shop"])
    with serving(learner, keys=keys) as (url, app):
        assert sent(url, "GET", "/v1/version")[0] == 403
        assert sent(url, "GET", "/v1/version", name="other")[0] == 200
        assert app.counts["revoked"] == 1


def test_a_packet_is_counted_once_however_often_it_comes(fleet):
    learner, url, _, _, packet = fleet
    for _ in range(5):
        assert sent(url, "POST", "/v1/packets", packet)[0] == 200
    assert learner.counts["admitted"] == 4
    assert learner.counts["duplicate"] == 4


def test_a_packet_under_the_number_of_another_replica(fleet):
    learner, url, _, life, packet = fleet
    other = joined(url, "other")[2]
    refused(fleet, "other_replica", 403, "POST", "/v1/packets", packet, name="other")
    refused(fleet, "other_replica", 403, "POST", "/v1/packets", packet[:32] + bytes(8) + packet[40:])
    # Nor does a body of one fit under the header of another: the checksum is over all of it.
    spliced = packet[:32] + other["replica"].to_bytes(8, "little") + packet[40:]
    before = learner.counts
    assert sent(url, "POST", "/v1/packets", spliced, name="other")[2]["refused"] == "malformed"
    assert learner.counts["malformed"] == before["malformed"] + 1
    assert learner.counts["admitted"] == 0
    assert life["replica"] != other["replica"]


def test_nobody_chooses_his_settings(fleet):
    """Number, incarnation and seed are the learner's, and the sequence of queries has no gaps."""
    learner, url, _, life, _ = fleet
    numbers = {joined(url, f"shop-{i}")[2]["replica"] for i in range(20)}
    assert len(numbers) == 20
    asked = json.dumps({"instance": "1" * 32, "former": 7, "replica": 7, "incarnation": 3}).encode()
    assert sent(url, "POST", "/v1/join", asked, name="chooser")[2]["replica"] != 7
    for incarnation, first, reason in ((2, 0, "unknown_replica"), (1, 8, "gap")):
        packet = packet_of(learner, life["replica"], incarnation, first)
        assert sent(url, "POST", "/v1/packets", packet)[2]["refused"] == reason
    # What is given up on purpose is declared, or is such a gap; who begins anew to draw again is held up.
    packet = packet_of(learner, life["replica"], 1, 8, dropped=8)
    assert sent(url, "POST", "/v1/packets", packet)[2]["refused"] is None
    lives = [joined(url)[0] for _ in range(8)]
    assert lives == [200] * 3 + [429] * 5


def test_the_log_says_why_and_cannot_be_flooded(fleet, caplog):
    _, url, app, *_ = fleet
    with caplog.at_level("INFO", "efl_core"):
        start = time.monotonic()
        for _ in range(40):
            sent(url, "GET", "/v1/nothing%0aforged", signed=False)
        seconds = time.monotonic() - start
    lines = [record.getMessage() for record in caplog.records if "not_found" in record.getMessage()]
    assert lines[0] == "not_found: GET '/v1/nothing\\nforged': nothing answers GET '/v1/nothing\\nforged'"
    assert 5 <= len(lines) <= 5 * (seconds + 2)
    assert app.counts["not_found"] == 40


def test_a_request_to_join_is_good_once(fleet):
    """Whoever has recorded one could end the life of a replica with it."""
    learner, url, app, _, packet = fleet
    body = json.dumps({"instance": "1" * 32, "former": 0}).encode()
    signed = Credential.read(key("other")).sign("POST", "/v1/join", body).headers
    first = sent(url, "POST", "/v1/join", body, signed=False, headers=signed)
    assert (first[0], first[2]["incarnation"]) == (200, 1)
    assert sent(url, "POST", "/v1/join", body, signed=False, headers=signed)[0] == 409
    assert app.counts["replayed"] == 1
    again = sent(url, "POST", "/v1/join", body, name="other")[2]
    assert (again["replica"], again["incarnation"]) == (first[2]["replica"], 2)
    assert sent(url, "POST", "/v1/packets", packet)[2]["refused"] is None
    assert learner.counts["admitted"] == 4


def test_gaps_are_told_for_each_replica(fleet):
    learner, url, _, life, packet = fleet
    other = joined(url, "honest")[2]
    for i in range(5):
        packet = packet_of(learner, life["replica"], 1, 8 * i + 4, dropped=4)
        assert sent(url, "POST", "/v1/packets", packet)[2]["refused"] is None
        packet = packet_of(learner, other["replica"], 1, 4 * i)
        assert sent(url, "POST", "/v1/packets", packet, name="honest")[2]["refused"] is None
    told = {own["name"]: own["gaps"] for own in sent(url, "GET", "/status")[2]["server"]["replicas"]}
    assert told == {"shop": 0.5, "honest": 0.0}


@pytest.mark.parametrize(
    "forge",
    [
        lambda ticket, tag: ticket.text,
        lambda ticket, tag: ticket.tagged(bytes(10)),
        lambda ticket, tag: ticket.tagged(bytes([tag[0] ^ 1]) + tag[1:]),
        lambda ticket, tag: ticket._replace(sequence=ticket.sequence + 1).tagged(tag),
        lambda ticket, tag: ticket._replace(incarnation=2).tagged(tag),
        lambda ticket, tag: ticket._replace(replica=ticket.replica ^ 1).tagged(tag),
        lambda ticket, tag: ticket._replace(teaches=False).tagged(tag),
    ],
    ids=["none", "zeros", "bit", "sequence", "incarnation", "replica", "teaches"],
)
def test_a_ticket_that_was_not_given(fleet, forge):
    _, url, _, life, packet = fleet
    assert sent(url, "POST", "/v1/packets", packet)[0] == 200
    ticket = Ticket(life["replica"], life["incarnation"], 1)
    tag = tag_of(bytes.fromhex(life["tickets"]), 1, True)
    for path, more in (("labels", {"labels": [1, 1]}), ("outputs", {})):
        body = json.dumps({"tickets": [ticket.tagged(tag), forge(ticket, tag)], **more}).encode()
        refused(fleet, "forged_ticket", 422, "POST", f"/v1/{path}", body)
    body = json.dumps({"tickets": [ticket.tagged(tag)], "labels": [1]}).encode()
    assert sent(url, "POST", "/v1/labels", body)[2] == {"taught": 1}


def test_a_ticket_of_another_worker_is_good_with_its_tag(fleet):
    _, url, _, life, packet = fleet
    sent(url, "POST", "/v1/packets", packet)
    tag = tag_of(bytes.fromhex(life["tickets"]), 0, True)
    ticket = Ticket(life["replica"], life["incarnation"], 0).tagged(tag)
    body = json.dumps({"tickets": ticket and [ticket], "labels": 1}).encode()
    assert sent(url, "POST", "/v1/labels", body, name="other")[2] == {"taught": 1}
    assert sent(url, "POST", "/v1/labels", body, name="other")[2] == {"unknown_or_used": 1}


@pytest.mark.parametrize(
    ("reason", "status", "path", "body"),
    [
        ("malformed", 400, "packets", b""),
        ("malformed", 400, "packets", b"EFLP"),
        ("other_replica", 403, "packets", pickle.dumps(list(range(100)))),
        ("other_replica", 403, "packets", bytes(1_000)),
        ("malformed", 400, "labels", b""),
        ("malformed", 400, "labels", b"\xff\xfe"),
        ("malformed", 400, "labels", pickle.dumps({"tickets": [], "labels": []})),
        ("malformed", 400, "labels", DEEP),
        ("malformed", 400, "labels", b'{"tickets": ["A"], "labels": [NaN]}'),
        ("malformed", 400, "labels", b'{"tickets": ["A"], "labels": [' + b"9" * 5_000 + b"]}"),
        ("malformed", 400, "join", b"[]"),
        ("invalid", 422, "join", b"{}"),
        ("invalid", 422, "join", b'{"instance": "00000000000000000000", "former": -1}'),
        ("invalid", 422, "labels", b'{"labels": [1]}'),
        ("invalid", 422, "labels", b'{"tickets": [7], "labels": [1]}'),
        ("invalid", 422, "labels", b'{"tickets": "A", "labels": [1]}'),
        ("invalid", 422, "gradients", b'{"tickets": ["A"], "gradients": [[1]]}'),
        ("not_found", 404, "nothing", b"{}"),
        ("not_found", 405, "version", b"{}"),
    ],
)
def test_a_body_that_is_nothing(fleet, reason, status, path, body):
    refused(fleet, reason, status, "POST", f"/v1/{path}", body)


def test_mutated_packets_change_nothing(fleet):
    """300 packets with some bytes changed, signed as they are."""
    learner, url, _, _, packet = fleet
    random = np.random.default_rng(0)
    told = Counter()
    for _ in range(300):
        broken = bytearray(packet)
        for place in random.integers(0, len(packet), int(random.integers(1, 4))):
            broken[place] ^= int(random.integers(1, 256))
        if random.random() < 0.5:  # with a checksum that holds
            broken[-4:] = struct.pack("<I", zlib.crc32(bytes(broken[:-4])))
        status, _, found = sent(url, "POST", "/v1/packets", bytes(broken))
        assert status in (200, 403)
        told[found["refused"] if status == 200 else found["error"]] += 1
    assert learner.counts["admitted"] <= 4 * told[None]
    assert told["malformed"] > 100
    assert set(told) <= {None, "other_replica", "malformed", "other_fleet", "unknown_version", "gap",
                         "superseded", "duplicate", "unknown_replica", "out_of_range", "too_old"}  # fmt: skip


def test_sizes_are_capped_before_anything_is_read(fleet):
    refused(fleet, "too_large", 413, "POST", "/v1/packets", b"x", headers={"content-length": "1048577"})
    refused(fleet, "too_large", 413, "POST", "/v1/packets", b"x", headers={"content-length": "9" * 15})
    learner, url, app, *_ = fleet
    chunk = b"10000\r\n" + bytes(0x10000) + b"\r\n"
    before = counted(app)
    fields = Credential.read(key()).sign("POST", "/v1/packets", b"").headers
    head = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20) as line:
        line.sendall(
            f"POST /v1/packets HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n{head}\r\n".encode()
        )
        with suppress(OSError):  # it stops listening, and what it says may be lost with the connection
            for _ in range(64):
                line.sendall(chunk)
            assert received(line)[0] == 413
    assert (counted(app) - before)["too_large"] == 1
    assert learner.counts["admitted"] == 0


def test_a_slow_sender_is_sent_away(fleet):
    _, url, app, _, packet = fleet
    fields = Credential.read(key()).sign("POST", "/v1/packets", packet).headers
    head = "".join(f"{k}: {v}\r\n" for k, v in fields.items())
    with socket.create_connection(("127.0.0.1", int(url.rpartition(":")[2])), timeout=20) as line:
        line.sendall(
            f"POST /v1/packets HTTP/1.1\r\nhost: x\r\ncontent-length: {len(packet)}\r\n{head}\r\n".encode()
        )
        start = time.monotonic()
        line.sendall(packet[:10])
        assert received(line)[0] == 408
    assert 0.3 < time.monotonic() - start < 5
    assert app.counts["too_slow"] == 1
    assert app._admission.flying == 0


def test_what_is_under_way_is_bounded():
    learner = learner_of(CIRCUIT)
    inside, go = threading.Semaphore(0), threading.Event()
    submit = learner.submit

    def waiting(packet):
        inside.release()
        assert go.wait(20)
        return submit(packet)

    learner.submit = waiting
    with serving(learner, flying=1 << 20) as (url, app):
        life = joined(url)[2]
        full = bytes(900_000)
        packet = packet_of(learner, life["replica"], 1)
        large = packet[:64] + full  # malformed, and long
        threads = [
            threading.Thread(target=sent, args=(url, "POST", "/v1/packets", body)) for body in (large, packet)
        ]
        for thread in threads:
            thread.start()
            assert inside.acquire(timeout=10)
        status, fields, _ = sent(url, "POST", "/v1/packets", large)
        assert (status, fields["retry-after"]) == (503, "1")
        assert app.counts["over_capacity"] == 1
        assert sent(url, "GET", "/health")[0] == 200
        go.set()
        for thread in threads:
            thread.join()
        assert app._admission.flying == 0
        assert learner.counts["admitted"] == 4


def test_a_key_has_a_quota():
    learner = learner_of(CIRCUIT)
    with serving(learner, quota=2) as (url, app):
        life, other = joined(url)[2], joined(url, "other")[2]
        for first in range(0, 20, 4):
            assert sent(url, "POST", "/v1/packets", packet_of(learner, life["replica"], 1, first))[0] == 200
        status, fields, _ = sent(url, "POST", "/v1/packets", packet_of(learner, life["replica"], 1, 20))
        assert status == 429
        assert 1 <= int(fields["retry-after"]) <= 3
        assert app.counts["over_quota"] == 1
        packet = packet_of(learner, other["replica"], 1)
        assert sent(url, "POST", "/v1/packets", packet, name="other")[0] == 200
        assert learner.counts["admitted"] == 24


class Clock:
    now = 0.0

    def __call__(self):
        return self.now


def test_the_workers_of_a_key_are_bounded_and_keep_their_numbers():
    clock, keys = Clock(), Keys("a secret that all tests know, of 32 and more")
    admission = Admission(keys, workers=2, quota=None, flying=1 << 20, clock=clock)
    first, second = (admission.join("shop", name * 16, 0) for name in "ab")
    assert first.replica != second.replica
    with pytest.raises(Refused, match="2 workers at most") as found:
        admission.join("shop", "c" * 16, 0)
    assert (found.value.reason, found.value.status) == ("over_capacity", 429)
    assert admission.join("shop", "a" * 16, 0, made=1) is first
    clock.now = 61.0
    assert admission.owner("shop", first.replica) is first  # it has been heard of
    third = admission.join("shop", "c" * 16, 0)
    assert third.replica == second.replica  # and the other one makes room
    # A learner that was started again knows a number that its key has, and gives it to who had it.
    later = Admission(keys, workers=2, quota=None, flying=1 << 20, clock=clock)
    assert later.owner("shop", second.replica).replica == second.replica
    assert later.join("shop", "z" * 16, 0).replica == first.replica
    assert later.join("shop", "c" * 16, second.replica).replica == second.replica
    with pytest.raises(Refused, match="another replica"):
        later.owner("other", first.replica)


def test_quotas_grow_with_time():
    clock = Clock()
    admission = Admission(None, workers=1, quota=3.0, flying=1 << 20, clock=clock)
    admission.charge("", 30)
    with pytest.raises(Refused) as found:
        admission.charge("", 3)
    assert found.value.after == pytest.approx(1.0)
    clock.now = 1.0
    admission.charge("", 3)
    clock.now = 100.0
    admission.charge(
        "", 500
    )  # more than is ever saved up passes when that is full, and is paid for afterwards
    clock.now = 110.0
    with pytest.raises(Refused):
        admission.charge("", 1)


def test_keys_are_names_and_text():
    keys = Keys(b"sixteen bytes ..")
    assert keys.of("shop-3") == Keys("sixteen bytes ..\n").of("shop-3")
    assert keys.of("shop-3") != Keys("sixteen bytes .,").of("shop-3")
    credential = Credential.read(keys.of("shop-3"))
    assert "key" not in repr(credential)
    signed = credential.sign("GET", "/x", b"", now=10**18)
    assert keys.refusal("GET", "/x", signed, now=10**18 + 10**9) is None
    assert keys.refusal("GET", "/y", signed, now=10**18) == "bad_signature"
    assert keys.refusal("GET", "/x", None) == "unsigned"
    assert Signature.of(signed.headers) == signed
    for made, match in (
        (lambda: Keys("short"), r"^secret: expected 16 bytes or more, got 5"),
        (lambda: keys.of("a b"), r"^name: expected 1 to 64 letters"),
        (lambda: keys.of(""), r"^name: expected 1 to 64 letters"),
        (lambda: Credential.read("shop"), r"^key: expected NAME:HEX"),
        (lambda: Credential.read("shop:12"), r"^key: expected NAME:HEX"),
    ):
        with pytest.raises(InvalidInputError, match=match):
            made()
    for made, match in (
        (lambda: Keys(7), r"^secret: expected text or bytes, got int"),
        (lambda: Keys("sixteen bytes ..", revoked="shop"), r"^revoked: expected names"),
        (lambda: Credential.read(7), r"^key: expected NAME:HEX"),
    ):
        with pytest.raises(InputTypeError, match=match):
            made()


def test_what_is_served_is_checked():
    learner = learner_of(CIRCUIT)
    closed = type(learner)(CIRCUIT, loss="logistic")
    for made, match in (
        (lambda: asgi(closed, keys=None), r"^learner: expected one that knows the inputs of a query"),
        (lambda: asgi(learner, keys=None, quota=0), r"^quota: expected queries a second, above 0"),
        (lambda: asgi(learner, keys=None, flying=10), r"^flying: expected an integer from 1048576"),
        (lambda: asgi(learner, keys=None, update="sgd"), r"^optimizer: expected 'adam'"),
    ):
        with pytest.raises(InvalidInputError, match=match):
            made()
    with pytest.raises(InputTypeError, match=r"^learner: expected a Learner, got str"):
        asgi("learner", keys=None)
    with pytest.raises(InputTypeError, match=r"^keys: expected Keys, a secret, or None, got int"):
        asgi(learner, keys=7)
    with serving(learner, keys=None) as (_, app):
        assert app.counts == {}


def test_without_keys_everybody_is_believed():
    learner = learner_of(CIRCUIT)
    app = asgi(learner, keys=None)
    from tests.fleet.served import Served

    server = Served(app)
    try:
        with Replica(CIRCUIT, server.url) as replica:
            assert replica.teach(X[0], label=1).version == 1
        assert sent(server.url, "GET", "/v1/version", signed=False)[0] == 200
    finally:
        server.stop()
    assert learner.counts["taught"] == 1
