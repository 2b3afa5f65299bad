"""A learner at an address, as a replica knows it.

What answers need is always there: the newest version that has been heard of, and the number under which the
replica has joined. A thread of its own asks for newer versions, and joins where that is still to be done; an
outbox sends packets by another one. So a learner that is away is noticed by nobody who answers.

Invariant: nothing that is called while a query is answered waits for the network, the first version and the
first joining excepted, which the constructor sees to. Cost: one request a second.
"""

import hashlib
import json
import logging
import os
import threading
import weakref
from collections import Counter
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import described, listed
from efl_core.errors import CorruptDataError, EflError, InputTypeError, InvalidInputError, LearnerAwayError
from efl_core.fleet.links import Candidate
from efl_core.fleet.models import Model, made_model
from efl_core.fleet.outbox import Life
from efl_core.fleet.tickets import Ticket
from efl_core.fleet.versions import Version
from efl_core.fleet.web.calls import MOST_BODY, Caller
from efl_core.fleet.web.signing import TAG_BYTES, Credential, tag_of
from efl_core.fleet.web.wire import Described, made_here, read_version

__all__ = ["Remote"]

LOGGER = logging.getLogger("efl_core")
# Seconds between two questions for a newer version, and at most while the learner is away.
REFRESH, LONGEST = 1.0, 5.0
TIMEOUT = 10.0
NOBODY = Life(0, 0)

Floats = NDArray[np.float64]


class Remote:
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

    rejoins = True

    def __init__(self, qnode: object, url: str, key: str | None) -> None:
        self._qnode = qnode
        self._caller = Caller(url, None if key is None else Credential.read(key), TIMEOUT)
        self._lock = threading.RLock()
        self._model: Model | None = None
        self._version: Version | None = None
        self._candidate: Candidate | None = None
        self._described: Described | None = None
        self._hash = ""
        self._fetch()
        # The life that the next outbox takes, and the process that it is for.
        self._life: tuple[int, Life] | None = None
        self._is_wanted = False
        self._tags: dict[Life, bytes] = {}
        self._instance: tuple[int, str] = (0, "")
        self._former = 0
        try:
            self._join()
        except LearnerAwayError as error:  # no room for another worker, say: it may come
            LOGGER.warning("answers teach nothing yet: %s", error)
            self._is_wanted = True
        self._poke = threading.Event()
        self._watcher: tuple[int, threading.Thread] | None = None
        self._is_closed = False
        self._told = ""

    # ---- versions ----------------------------------------------------------------------------------------

    def agree(self, shots: object, share: object, serve: object) -> None:
        """Refuse another split than that of the fleet."""
        assert self._described is not None  # the constructor has fetched it
        split = self._described.split
        for name, wanted, known in (
            ("shots", shots, split.shots),
            ("share", share, split.share),
            ("serve", serve, split.serve),
        ):
            if wanted is not None and wanted != known:
                raise InvalidInputError.of(name, f"{known!r}, as everywhere in this fleet", repr(wanted))

    def version(self, inputs: tuple[Any, ...]) -> Version:
        """Return the newest version that is known here."""
        if self._watcher is None or self._watcher[0] != os.getpid():
            self._watch()
        if self._version is None:
            with self._lock:
                if self._version is None:
                    assert self._described is not None
                    model = made_model(self._qnode, self._described.params, inputs)
                    self._version = made_here(self._described, model)
                    self._model = model
        return self._version

    @property
    def candidate(self) -> Candidate | None:
        """The candidate that is known here."""
        return self._candidate

    def refresh(self) -> int:
        """Ask for the newest version now, and return its number."""
        self._fetch()
        assert self._described is not None
        return self._described.number

    def _fetch(self) -> None:
        """Get the newest version, if it is not the one that is known."""
        told = self._caller.call("GET", "/v1/version").json()
        tried, newest = told.get("candidate"), str(told["hash"])
        if newest != self._hash:
            found = self._read(newest)
            with self._lock:  # never while the network is waited for
                if self._model is not None:
                    self._version = made_here(found, self._model)
                self._described, self._hash = found, newest
        if tried is None:
            self._candidate = None
        elif self._model is not None and (
            self._candidate is None or self._candidate.version.number != tried["number"]
        ):
            version = made_here(self._read(str(tried["hash"])), self._model)
            self._candidate = Candidate(version, float(tried["share"]))

    def _read(self, name: str) -> Described:
        """Get the version whose bytes have this hash."""
        data = self._caller.call("GET", f"/v1/versions/{name}").body
        if hashlib.sha256(data).hexdigest() != name:
            raise CorruptDataError.of("version", f"bytes with the hash {name[:12]}", "others")
        return read_version(data)

    # ---- the thread that asks ----------------------------------------------------------------------------

    def _watch(self) -> None:
        if self._watcher is not None and self._watcher[0] != os.getpid():
            self._lock = threading.RLock()  # who held it when the process forked is not here
        with self._lock:
            if self._watcher is not None and self._watcher[0] == os.getpid():
                return
            self._poke = threading.Event()
            thread = threading.Thread(
                target=_watched, args=(weakref.ref(self), self._poke), name="efl-versions", daemon=True
            )
            self._watcher = os.getpid(), thread
            thread.start()

    def _ask(self) -> bool:
        """Join if that is wanted, and fetch; return whether the learner was there."""
        try:
            if self._is_wanted:
                self._join()
            self._fetch()
        except EflError as error:
            if str(error) != self._told:
                LOGGER.warning("answers go on with version %s: %s", self._number, error)
            self._told = str(error)
            return False
        self._told = ""
        return True

    @property
    def _number(self) -> int:
        assert self._described is not None
        return self._described.number

    # ---- packets and tickets -----------------------------------------------------------------------------

    def _join(self) -> None:
        """Ask for a number and an incarnation of this process."""
        if self._instance[0] != os.getpid():  # a forked worker is another one
            self._instance, self._former = (os.getpid(), os.urandom(16).hex()), 0
        asked = {"instance": self._instance[1], "former": self._former}
        found = self._caller.call("POST", "/v1/join", json.dumps(asked).encode()).json()
        life = Life(int(found["replica"]), int(found["incarnation"]))
        with self._lock:
            self._tags[life] = bytes.fromhex(found["tickets"])
            self._life, self._former, self._is_wanted = (os.getpid(), life), life.replica, False

    def begin(self, name: int) -> Life:
        """Return the life that this process has joined with; nobody's, if it has not yet."""
        with self._lock:
            found, self._life = self._life, None
            if found is not None and found[0] == os.getpid():
                return found[1]
            if not self._is_wanted:
                self._is_wanted = True
                self._poke.set()
            return NOBODY

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
        self._is_closed = True
        self._poke.set()
        self._caller.close()


def _watched(which: "weakref.ref[Remote]", poke: threading.Event) -> None:
    """Ask again and again, as long as there is somebody to ask for."""
    pause = REFRESH
    while True:
        poke.wait(pause)
        poke.clear()
        remote = which()
        if remote is None or remote._is_closed:
            return
        pause = REFRESH if remote._ask() else min(LONGEST, 2 * pause)
        del remote


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
