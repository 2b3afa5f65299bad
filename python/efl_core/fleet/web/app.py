"""A learner over HTTP, as an ASGI application that needs no framework.

A request passes these gates, in this order: its route; its signature, which covers the hash of the body; its
size as announced; room for it among all that is under way; its body as it comes, with a cap and a deadline;
the hash; the quota of its key. Only then is it read. What the learner does with it happens in threads, and
the request is acknowledged when the learner has returned: with a journal, after the commit.

Invariant: nothing is unpickled; a refusal is a counter; what is acknowledged has been taken.
Cost: two hashes, a hop to a thread, and what the learner does.
"""

import asyncio
import json
import logging
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

from efl_core.arguments import integer, real
from efl_core.errors import EflError, InputTypeError, InvalidInputError, ResourceLimitError
from efl_core.fleet.canary import read_canary
from efl_core.fleet.learner import Learner
from efl_core.fleet.web.admission import Admission, Refused
from efl_core.fleet.web.calls import MOST_BODY
from efl_core.fleet.web.operating import Operating, Teaching
from efl_core.fleet.web.routes import Routes
from efl_core.fleet.web.signing import Keys, Signature, body_hash

__all__ = ["App", "asgi"]

LOGGER = logging.getLogger("efl_core")
# Lines of the log that one reason is worth in a second: whoever is refused may be many.
LINES = 5
# Refusals that come before a body has been read, which nobody is going to.
UNREAD = (401, 403, 408, 413)
Message: TypeAlias = "dict[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[Message]]"
Send: TypeAlias = "Callable[[Message], Awaitable[None]]"


def asgi(
    learner: Learner,
    *,
    keys: "Keys | str | bytes | None",
    update: object = None,
    queries: SupportsIndex = 64,
    canary: SupportsFloat | None = 0.25,
    operator: str | None = None,
    workers: SupportsIndex = 16,
    quota: SupportsFloat | None = None,
    flying: SupportsIndex = 64 << 20,
    slow: SupportsFloat = 10.0,
) -> "App":
    """Serve a learner over HTTP: an ASGI application, by itself or mounted in another one.

    Parameters
    ----------
    learner
        A learner that knows the inputs of a query (``inputs=``), because inputs stay in workers.
    keys
        The `Keys` of the replicas, or their secret; None believes everybody who reaches the port.
    update
        How it learns: then it steps whenever ``queries`` queries have taught, as by `Learner.train`. By
        default somebody else calls `Learner.step`.
    queries
        Contributions of a step.
    canary
        The part of the queries on which the parameters of a step are tried before all of them get those; None
        serves them at once.
    operator
        A password for what operators read (`/`, `/status`, `/metrics`); by default anybody may.
    workers
        Processes that may use one key at the same time. With replicas that are not trusted, 1.
    quota
        Queries and labels a second of one key, on average over 10 s; any number by default.
    flying
        Bytes of requests that are under way at most; what is beyond that is told to come again (503).
    slow
        Seconds in which a body has to come.

    Returns
    -------
    App
        Call its ``close`` where whoever mounts it does not pass on ASGI's lifespan.
    """
    return App(
        learner, keys=keys, update=update, queries=queries, canary=canary, operator=operator,
        workers=workers, quota=quota, flying=flying, slow=slow,
    )  # fmt: skip


class App:
    """What `asgi` returns."""

    def __init__(
        self,
        learner: Learner,
        *,
        keys: "Keys | str | bytes | None",
        update: object,
        queries: SupportsIndex,
        canary: SupportsFloat | None,
        operator: str | None,
        workers: SupportsIndex,
        quota: SupportsFloat | None,
        flying: SupportsIndex,
        slow: SupportsFloat,
    ) -> None:
        if not isinstance(learner, Learner):
            raise InputTypeError.of("learner", "a Learner", type(learner).__name__)
        if not learner.is_open:
            raise InvalidInputError.of(
                "learner", "one that knows the inputs of a query: Learner(..., inputs=...)", "another"
            )
        known = Keys(keys) if isinstance(keys, (str, bytes)) else keys
        if known is not None and not isinstance(known, Keys):
            raise InputTypeError.of("keys", "Keys, a secret, or None", type(known).__name__)
        rate = None if quota is None else real("quota", quota)
        if rate is not None and not rate > 0:
            raise InvalidInputError.of("quota", "queries a second, above 0", rate)
        self._slow = real("slow", slow)
        self._admission = Admission(
            known,
            workers=integer("workers", workers, 1, 1024),
            quota=rate,
            flying=integer("flying", flying, MOST_BODY),
        )
        self._teaching = None
        if update is not None:
            trial = None if canary is None else read_canary(canary, 8)[0]
            self._teaching = Teaching(learner, update, integer("queries", queries, 1), trial)
        self._operating = Operating(learner, self._admission, self._teaching, operator)
        self._routes = Routes(learner, self._admission)
        self._pool: ThreadPoolExecutor | None = None
        self._is_closing = False
        self._busy = 0
        # Lines of the log in this second, by reason.
        self._second, self._said = 0, Counter[str]()

    # ---- beginning and ending ----------------------------------------------------------------------------

    @property
    def counts(self) -> dict[str, int]:
        """What became of requests, by name."""
        return dict(self._admission.counts)

    def start(self) -> None:
        """Begin to learn; the first request, or ASGI's lifespan, does that too."""
        if self._pool is None and not self._is_closing:
            # As many wait for a commit at the same time.
            self._pool = ThreadPoolExecutor(32, thread_name_prefix="efl-serve")
            if self._teaching is not None:
                self._teaching.start()

    def close(self) -> None:
        """Take nothing more, let what is under way end, and end the threads."""
        self._is_closing = True
        if self._teaching is not None:
            self._teaching.stop()
        if self._pool is not None:
            self._pool.shutdown(wait=True)
            self._pool = None

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.startup":
                self.start()
                await send({"type": "lifespan.startup.complete"})
            elif message["type"] == "lifespan.shutdown":
                self._is_closing = True
                while self._busy:  # each of them ends: bodies have a deadline
                    await asyncio.sleep(0.01)
                await asyncio.get_running_loop().run_in_executor(None, self.close)
                await send({"type": "lifespan.shutdown.complete"})
                return

    # ---- requests ----------------------------------------------------------------------------------------

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer a request, as ASGI has it."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["type"] == "http":
            self._busy += 1
            try:
                status, headers, body = await self._answered(scope, receive)
            finally:
                self._busy -= 1
            await _reply(send, status, headers, body, is_head=scope["method"] == "HEAD")
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1000})

    async def _answered(self, scope: Message, receive: Receive) -> tuple[int, dict[str, str], bytes]:
        method, path = scope["method"], scope["path"]
        root = scope.get("root_path", "").rstrip("/")
        if root and path.startswith(root):
            path = path[len(root) :]
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        counts = self._admission.counts
        try:
            if self._operating.answers(path):
                call = partial(self._operating.answer, method, path, headers, is_closing=self._is_closing)
                if path == "/health":
                    return call()
                return await asyncio.get_running_loop().run_in_executor(None, call)
            found = await self._replica(method, path, headers, receive)
        except Refused as refused:
            counts[refused.reason] += 1
            self._log(refused.reason, method, path, str(refused))
            return _refusal(refused)
        except (InvalidInputError, InputTypeError, ResourceLimitError) as error:
            counts["invalid"] += 1
            self._log("invalid", method, path, str(error))
            return 422, {}, _told(type(error).__name__, str(error), error.argument)
        except EflError as error:  # a journal that cannot commit: nothing is acknowledged
            counts["unavailable"] += 1
            self._operating.trouble = str(error)
            LOGGER.exception("%s %.80r: nothing is taken", method, path)
            return _refusal(Refused("unavailable", 503, str(error), 1.0))
        except Exception:
            counts["failed"] += 1
            LOGGER.exception("%s %.80r failed", method, path)
            return 500, {}, _told("EflError", "the learner has failed; its log says how", None)
        counts["accepted"] += 1
        return found

    def _log(self, reason: str, method: str, path: str, message: str) -> None:
        """Say why a request was refused; no more than some of each reason in a second."""
        second = int(time.monotonic())
        if second != self._second:
            self._second, self._said = second, Counter()
        self._said[reason] += 1
        if self._said[reason] <= LINES:
            LOGGER.info("%s: %s %.80r: %s", reason, method, path, message)

    async def _replica(
        self, method: str, path: str, headers: dict[str, str], receive: Receive
    ) -> tuple[int, dict[str, str], bytes]:
        """Answer a replica."""
        handler = self._routes.find(method, path)
        signature = Signature.of(headers)
        name = self._admission.name(method, path, signature)
        size = _announced(headers)
        try:
            if self._is_closing:
                raise Refused("closing", 503, "the learner is being shut down", 5.0)
            self._admission.reserve(size)
        except Refused:
            # Who is known gets his answer: it would be lost if the rest of his body met a closed connection.
            await self._body(receive, size, is_kept=False)
            raise
        try:
            body = await self._body(receive, size)
            if signature is not None and body_hash(body) != signature.body:
                raise Refused("bad_signature", 401, "the body is not the one that was signed")
            self.start()
            loop = asyncio.get_running_loop()
            started = loop.time()
            found = await loop.run_in_executor(self._pool, handler(name, body, headers))
            is_taken = method == "POST" and path != "/v1/outputs"
            self._operating.took(loop.time() - started, is_taken=is_taken)
            return found
        finally:
            self._admission.release(size)

    async def _body(self, receive: Receive, size: int, *, is_kept: bool = True) -> bytes:
        try:
            async with asyncio.timeout(self._slow):
                return await _read(receive, size, is_kept=is_kept)
        except TimeoutError:
            raise Refused("too_slow", 408, f"the body has not come in {self._slow:g} s") from None


def _announced(headers: dict[str, str]) -> int:
    """Return how many bytes a body may have: as many as announced, or the most where that is not said."""
    announced = headers.get("content-length")
    if announced is None:
        return MOST_BODY if "transfer-encoding" in headers else 0
    if not announced.isdecimal() or len(announced) > 12 or int(announced) > MOST_BODY:
        raise Refused("too_large", 413, f"a body of more than {MOST_BODY} bytes")
    return int(announced)


async def _read(receive: Receive, most: int, *, is_kept: bool) -> bytes:
    """Read a body; stop as soon as it is longer than it may be. One that is not kept is b""."""
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Refused("gone", 400, "the sender is gone")
        part, more = message.get("body", b""), message.get("more_body", False)
        size += len(part)
        if size > most:
            raise Refused("too_large", 413, f"a body of more than {most} bytes")
        if is_kept:
            parts.append(part)
    return b"".join(parts)


async def _reply(send: Send, status: int, headers: dict[str, str], body: bytes, *, is_head: bool) -> None:
    fields = {"content-type": "application/json", **headers, "content-length": str(len(body))}
    listed = [(name.encode(), value.encode()) for name, value in fields.items()]
    await send({"type": "http.response.start", "status": status, "headers": listed})
    await send({"type": "http.response.body", "body": b"" if is_head else body})


def _told(error: str, message: str, argument: str | None) -> bytes:
    return json.dumps({"error": error, "message": message, "argument": argument}).encode()


def _refusal(refused: Refused) -> tuple[int, dict[str, str], bytes]:
    headers = {} if refused.after is None else {"retry-after": str(max(1, round(refused.after)))}
    if refused.status in UNREAD:
        headers["connection"] = "close"
    return refused.status, headers, _told(refused.reason, str(refused), None)
