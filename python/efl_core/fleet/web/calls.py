"""Requests to a learner: signed, over connections that are kept, with errors as the learner raised them.

Only the standard library. TLS where the address begins with ``https``.

Invariant: a request is repeated only where the connection was kept from an earlier one and turned out to be
closed; all requests may be repeated. Cost: a connection for each
thread that asks at the same time.
"""

import http.client
import json
import os
import ssl
import weakref
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from efl_core.errors import (
    CorruptDataError,
    EflError,
    InputTypeError,
    InvalidInputError,
    LearnerAwayError,
    ResourceLimitError,
    ShapeError,
)
from efl_core.fleet.web.signing import Credential

__all__ = ["MOST_BODY", "Caller", "Reply"]

# Bytes of a request at most: a packet has no more, and labels are sent in parts.
MOST_BODY = 1 << 20
# A version with thousands of circuits has some MB.
MOST_BYTES = 256 << 20
ERRORS: dict[str, type[EflError]] = {
    own.__name__: own for own in (InputTypeError, InvalidInputError, ResourceLimitError, ShapeError)
}


class Reply(NamedTuple):
    """What came back."""

    status: int
    body: bytes

    def json(self) -> dict[str, Any]:
        """Return the object that it is."""
        try:
            found = json.loads(self.body)
        except (ValueError, RecursionError):
            found = None
        if not isinstance(found, dict):
            raise CorruptDataError.of("learner", "an answer of a learner", f"{self.body[:60]!r}")
        return found


class _Idle:
    """Connections that nobody uses at the moment; a forked process has none."""

    def __init__(self) -> None:
        self._kept: list[http.client.HTTPConnection] = []
        self._pid = os.getpid()

    def take(self) -> http.client.HTTPConnection | None:
        """Take one; None if there is none."""
        if self._pid != os.getpid():
            self.close()
            self._pid = os.getpid()
        try:
            return self._kept.pop()
        except IndexError:
            return None

    def give(self, connection: http.client.HTTPConnection) -> None:
        """Give one back."""
        self._kept.append(connection)

    def close(self) -> None:
        """Close all of them."""
        while self._kept:
            self._kept.pop().close()


class Caller:
    """An address, and the name under which it is called."""

    def __init__(self, url: str, credential: Credential | None, timeout: float) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1 or parts.query:
            raise InvalidInputError.of("learner", "a Learner, or an address such as http://host:7070", url)
        self.url = url.rstrip("/")
        """The address."""
        self._host, self._port, self._prefix = parts.hostname, port, parts.path.rstrip("/")
        self._tls = ssl.create_default_context() if parts.scheme == "https" else None
        self._credential, self._timeout = credential, timeout
        self._idle = _Idle()
        weakref.finalize(self, self._idle.close)

    def call(self, method: str, path: str, body: bytes = b"") -> Reply:
        """Ask, and return what came; raise what the learner raised, or that it is away."""
        headers = {} if self._credential is None else self._credential.sign(method, path, body).headers
        if body:
            headers["content-type"] = "application/octet-stream"
        reply = self._sent(method, self._prefix + path, body, headers)
        if reply.status not in (200, 304):
            raise self._error(reply)
        return reply

    def close(self) -> None:
        """Close the connections that nobody uses."""
        self._idle.close()

    def _sent(self, method: str, path: str, body: bytes, headers: dict[str, str]) -> Reply:
        while True:
            kept = self._idle.take()
            connection = kept or self._connection()
            try:
                connection.request(method, path, body or None, headers)
                found = connection.getresponse()
                data = found.read(MOST_BYTES)
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if kept is None:
                    what = f"{type(error).__name__}: {error}".rstrip(": ")
                    raise LearnerAwayError.of("learner", f"one that answers at {self.url}", what) from error
                continue
            if found.will_close or not found.isclosed():
                connection.close()
            else:
                self._idle.give(connection)
            return Reply(found.status, data)

    def _connection(self) -> http.client.HTTPConnection:
        if self._tls is None:
            return http.client.HTTPConnection(self._host, self._port, timeout=self._timeout)
        return http.client.HTTPSConnection(self._host, self._port, timeout=self._timeout, context=self._tls)

    def _error(self, reply: Reply) -> EflError:
        """Return what a refusal is here."""
        try:
            found = reply.json()
        except CorruptDataError:
            found = {}
        message, argument = str(found.get("message", "")), found.get("argument")
        if reply.status in (401, 403):
            said = message or f"HTTP {reply.status}"
            return InvalidInputError.of("key", f"one that {self.url} takes", said)
        if 400 <= reply.status < 500 and reply.status not in (408, 429):
            error = ERRORS.get(str(found.get("error")), InvalidInputError)(message or f"HTTP {reply.status}")
            error.argument = argument if isinstance(argument, str) else None
            return error
        return LearnerAwayError.of(
            "learner", f"one that takes requests at {self.url}", message or f"HTTP {reply.status}"
        )
