"""A learner at an address, as a replica knows it: requests over HTTP.

Invariant: see `efl_core.fleet.away`. Cost: one request a second.
"""

import hashlib
import json
import logging
import os
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import described, listed
from efl_core.errors import CorruptDataError, InputTypeError, InvalidInputError, LearnerAwayError
from efl_core.fleet.away import Away, Newest
from efl_core.fleet.outbox import Life
from efl_core.fleet.tickets import Ticket
from efl_core.fleet.web.calls import MOST_BODY, Caller
from efl_core.fleet.web.signing import TAG_BYTES, Credential, tag_of
from efl_core.fleet.web.wire import Described, read_version

__all__ = ["Remote"]

LOGGER = logging.getLogger("efl_core")
# Seconds between two questions for a newer version.
REFRESH = 1.0
TIMEOUT = 10.0

Floats = NDArray[np.float64]


class Remote(Away):
    """The link to a learner that `efl_core.fleet.asgi` serves.

    Parameters
    ----------
    qnode
        What the replica serves: the learner does not send it.
    url
        Where the learner is.
    key
        What its `Keys` gave out for this replica; None where it asks for none.
    """

    def __init__(self, qnode: object, url: str, key: str | None) -> None:
        super().__init__(qnode, every=REFRESH, first=REFRESH)
        self._caller = Caller(url, None if key is None else Credential.read(key), TIMEOUT)
        self._tags: dict[Life, bytes] = {}
        self._instance: tuple[int, str] = (0, "")
        self._former = 0
        self._fetch()
        try:
            self._join()
        except LearnerAwayError as error:  # no room for another worker, say: it may come
            LOGGER.warning("answers teach nothing yet: %s", error)
            self._is_wanted = True

    def _newest(self) -> Newest:
        told = self._caller.call("GET", "/v1/version").json()
        number, name, tried = int(told["number"]), str(told["hash"]), told.get("candidate")
        if tried is None:
            return Newest(number, name, None, "", 0.0)
        return Newest(number, name, int(tried["number"]), str(tried["hash"]), float(tried["share"]))

    def _read(self, name: str) -> Described:
        data = self._caller.call("GET", f"/v1/versions/{name}").body
        if hashlib.sha256(data).hexdigest() != name:
            raise CorruptDataError.of("version", f"bytes with the hash {name[:12]}", "others")
        return read_version(data)

    def _join(self) -> None:
        """Ask for a number and an incarnation of this process."""
        if self._instance[0] != os.getpid():  # a forked worker is another one
            self._instance, self._former = (os.getpid(), os.urandom(16).hex()), 0
        asked = {"instance": self._instance[1], "former": self._former}
        found = self._caller.call("POST", "/v1/join", json.dumps(asked).encode()).json()
        life = Life(int(found["replica"]), int(found["incarnation"]))
        with self._lock:
            self._tags[life] = bytes.fromhex(found["tickets"])
            self._former = life.replica
            self._lives(life)

    def ticket(self, life: Life, sequence: int, teaches: bool) -> str:
        """Return a ticket with its tag."""
        key = self._tags.get(life)
        tag = bytes(TAG_BYTES) if key is None else tag_of(key, sequence, teaches)
        return Ticket(*life, sequence, teaches).tagged(tag)

    def submit(self, packet: bytes) -> tuple[str | None, int | None, int]:
        """Send a packet."""
        found = self._caller.call("POST", "/v1/packets", packet).json()
        tried = None if self._candidate is None else self._candidate.version.number
        if found["newest"] != self._number or found["candidate"] != tried:
            self._poke.set()
        return found["refused"], found["newest"], int(found["expected"])

    def feedback(self, tickets: object, label: object = None, *, gradient: object = None) -> dict[str, int]:
        """Send labels or gradients."""
        if (label is None) == (gradient is None):
            got = "both" if label is not None else "none"
            raise InvalidInputError.of("label", "a label or a gradient", got)
        names = [tickets] if isinstance(tickets, str) else listed("ticket", tickets, "a ticket, or several")
        what = "label" if label is not None else "gradient"
        told: Counter[str] = Counter()
        self._hand_in(names, what, _plain(what, label if label is not None else gradient), told)
        return dict(told)

    def _hand_in(self, names: list[Any], what: str, values: Any, told: "Counter[str]") -> None:  # noqa: ANN401
        """Send labels or gradients, by several requests where one would be too long."""
        body = _json(what, {"tickets": names, f"{what}s": values})
        half = len(names) // 2
        if len(body) > MOST_BODY and half and isinstance(values, list) and len(values) == len(names):
            self._hand_in(names[:half], what, values[:half], told)
            self._hand_in(names[half:], what, values[half:], told)
            return
        found = self._caller.call("POST", f"/v1/{what}s", body).json()
        told.update({str(name): int(count) for name, count in found.items()})

    def outputs(self, tickets: object) -> Floats:
        """Ask what queries that wait were answered with."""
        names = [tickets] if isinstance(tickets, str) else listed("ticket", tickets, "a ticket, or several")
        found = self._caller.call("POST", "/v1/outputs", _json("ticket", {"tickets": names})).json()
        return np.array(found["outputs"], dtype=np.float64)

    def close(self) -> None:
        """End the thread, and close what nobody uses."""
        super().close()
        self._caller.close()


def _plain(name: str, value: Any) -> Any:  # noqa: ANN401 (labels are whatever the loss takes)
    if hasattr(value, "detach"):
        value = value.detach().cpu().numpy()
    found = np.asarray(value)
    if found.dtype.kind not in "biufU":
        raise InputTypeError.of(name, "numbers or text, which can be sent", described(value))
    return found.tolist()


def _json(name: str, value: object) -> bytes:
    try:
        return json.dumps(value, allow_nan=False).encode()
    except ValueError:
        raise InvalidInputError.of(name, "finite numbers", "some that are not") from None
    except TypeError:
        expected = "the text that an answer has as .ticket"
        raise InputTypeError.of("ticket", expected, "something else") from None
