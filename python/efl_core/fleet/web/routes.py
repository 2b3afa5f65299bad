"""What replicas ask: versions, joining, packets, labels, gradients, outputs.

A handler is given the name of a key and a body that is whole; what it returns runs in a thread.

Invariant: a packet counts for the worker whose number it carries and whose key has signed it; a label for a
query whose ticket was tagged by the replica that answered. Cost: a version is written once.
"""

import hashlib
import hmac
import json
import threading
from collections.abc import Callable
from functools import partial
from typing import Any, TypeAlias

import numpy as np

from efl_core.errors import InvalidInputError
from efl_core.fleet.learner import Learner
from efl_core.fleet.losses import Upstream
from efl_core.fleet.tickets import Ticket
from efl_core.fleet.versions import Version, kind_of
from efl_core.fleet.web.admission import Admission, Refused
from efl_core.fleet.web.signing import TIME, tag_of
from efl_core.fleet.web.wire import described_version

__all__ = ["Routes"]

Reply: TypeAlias = "tuple[int, dict[str, str], bytes]"
Handler: TypeAlias = "Callable[[str, bytes, dict[str, str]], Callable[[], Reply]]"
# Versions whose bytes are kept, for replicas that are a little behind.
KEPT = 4
# The replica, the queries and those given up, in the header of a packet: see docs/fleet.md.
HEADER, REPLICA, QUERIES, DROPPED = 64, slice(32, 40), slice(44, 48), slice(60, 64)
FOREVER = "private, max-age=31536000, immutable"


class Routes:
    """The addresses that replicas know."""

    def __init__(self, learner: Learner, admission: Admission) -> None:
        self._learner, self._admission = learner, admission
        self._lock = threading.Lock()
        self._written: dict[str, tuple[Version, bytes]] = {}
        self._routes: dict[tuple[str, str], Handler] = {
            ("GET", "/v1/version"): self._newest,
            ("POST", "/v1/join"): self._join,
            ("POST", "/v1/packets"): self._packet,
            ("POST", "/v1/labels"): self._labels,
            ("POST", "/v1/gradients"): self._gradients,
            ("POST", "/v1/outputs"): self._outputs,
        }

    def find(self, method: str, path: str) -> Handler:
        """Return what answers a request."""
        if path.startswith("/v1/versions/") and method == "GET":
            return partial(self._version, path.removeprefix("/v1/versions/"))
        found = self._routes.get((method, path))
        if found is None:
            known = [own for own, where in self._routes if where == path]
            raise Refused("not_found", 405 if known else 404, f"nothing answers {method} {path[:80]!r}")
        return found

    # ---- versions ----------------------------------------------------------------------------------------

    def _newest(self, name: str, body: bytes, headers: dict[str, str]) -> Callable[[], Reply]:
        def call() -> Reply:
            version, candidate = self._learner.version, self._learner.canary
            found: dict[str, Any] = {"number": version.number, "hash": self._hash_of(version)}
            if candidate is not None:
                own = candidate.version
                found["candidate"] = {
                    "number": own.number,
                    "hash": self._hash_of(own),
                    "share": candidate.share,
                }
            return _json(found)

        return call

    def _hash_of(self, version: Version) -> str:
        """Return the name of a version's bytes, which are written once."""
        with self._lock:
            for name, (known, _) in self._written.items():
                if known is version:
                    return name
            data = described_version(version, kind_of(self._learner._loss), self._learner._fleet)
            name = hashlib.sha256(data).hexdigest()
            self._written[name] = version, data
            while len(self._written) > KEPT:
                del self._written[next(iter(self._written))]
            return name

    def _version(self, wanted: str, name: str, body: bytes, headers: dict[str, str]) -> Callable[[], Reply]:
        def call() -> Reply:
            with self._lock:
                found = self._written.get(wanted)
            if found is None:
                raise Refused("not_found", 404, "a version that is not kept: ask for the newest one")
            fields = {"etag": f'"{wanted}"', "cache-control": FOREVER}
            if headers.get("if-none-match") == fields["etag"]:
                return 304, fields, b""
            return 200, fields, found[1]

        return call

    # ---- joining and packets -----------------------------------------------------------------------------

    def _join(self, name: str, body: bytes, headers: dict[str, str]) -> Callable[[], Reply]:
        asked = _object(body)
        instance, former = asked.get("instance"), asked.get("former", 0)
        is_named = isinstance(instance, str) and 16 <= len(instance) <= 64
        if not is_named or not isinstance(former, int) or not 0 <= former < 2**64:
            raise InvalidInputError.of("body", "an instance and a former number", "others")
        made = headers.get(TIME, "")
        worker = self._admission.join(name, str(instance), former, int(made) if made.isdecimal() else 0)

        def call() -> Reply:
            incarnation = self._learner.join(worker.replica)
            tickets = self._admission.for_tickets(worker.replica, incarnation).hex()
            return _json({"replica": worker.replica, "incarnation": incarnation, "tickets": tickets})

        return call

    def _packet(self, name: str, body: bytes, headers: dict[str, str]) -> Callable[[], Reply]:
        if len(body) < HEADER:
            raise Refused("malformed", 400, f"a packet of {len(body)} bytes")
        replica, queries, dropped = (
            int.from_bytes(body[part], "little") for part in (REPLICA, QUERIES, DROPPED)
        )
        worker = self._admission.owner(name, replica)
        self._admission.charge(name, queries)

        def call() -> Reply:
            refused, newest, expected = self._learner.submit(body)
            if refused is None:
                worker.sent += queries
                worker.dropped += dropped
            elif refused != "duplicate":
                worker.refused += 1
            candidate = self._learner.canary
            tried = None if candidate is None else candidate.version.number
            return _json({"refused": refused, "newest": newest, "candidate": tried, "expected": expected})

        return call

    # ---- labels ------------------------------------------------------------------------------------------

    def _labels(self, name: str, body: bytes, headers: dict[str, str]) -> Callable[[], Reply]:
        asked = _object(body)
        return self._handed_in(name, asked, "label", asked.get("labels"))

    def _gradients(self, name: str, body: bytes, headers: dict[str, str]) -> Callable[[], Reply]:
        asked = _object(body)
        if not isinstance(self._learner._loss, Upstream):
            raise InvalidInputError.of(
                "gradient", "a label, as the learner that is served has a loss of its own", "one"
            )
        return self._handed_in(name, asked, "gradient", asked.get("gradients"))

    def _handed_in(self, name: str, asked: dict[str, Any], what: str, values: object) -> Callable[[], Reply]:
        tickets = self._tickets(asked)
        self._admission.charge(name, len(tickets))
        given: Any = {what: values}

        def call() -> Reply:
            return _json(self._learner.feedback([ticket.text for ticket in tickets], **given))

        return call

    def _outputs(self, name: str, body: bytes, headers: dict[str, str]) -> Callable[[], Reply]:
        tickets = self._tickets(_object(body))

        def call() -> Reply:
            found = self._learner.outputs([ticket.text for ticket in tickets])
            return _json({"outputs": np.asarray(found).tolist()})

        return call

    def _tickets(self, asked: dict[str, Any]) -> list[Ticket]:
        """Return the tickets of a request; refuse all of them where one was not made by its replica."""
        texts = asked.get("tickets")
        if not isinstance(texts, list) or not texts:
            raise InvalidInputError.of("ticket", "a ticket, or a list of them", "none")
        found = []
        for text in texts:
            ticket, tag = Ticket.read_tagged(text)
            # A query of a replica that had not joined teaches nothing, and has no tag.
            if ticket.incarnation or ticket.teaches:
                key = self._admission.for_tickets(ticket.replica, ticket.incarnation)
                if not hmac.compare_digest(tag, tag_of(key, ticket.sequence, ticket.teaches)):
                    raise Refused("forged_ticket", 422, "a ticket that no replica of this fleet has made")
            found.append(ticket)
        return found


def _object(body: bytes) -> dict[str, Any]:
    """Return the JSON object that a body is; NaN and infinity are none of JSON."""

    def refused(name: str) -> float:
        raise ValueError(name)

    try:
        found = json.loads(body, parse_constant=refused)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused("malformed", 400, "a body that is no JSON object")
    return found


def _json(found: object) -> Reply:
    return 200, {"cache-control": "no-store"}, json.dumps(found).encode()
