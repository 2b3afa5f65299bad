"""What operators see of a served learner: health, metrics, status and a page; and the thread that learns.

Metrics have no label for a replica: of those there may be a million. `/health` is for everybody and says one
word; the rest may ask for a password.
"""

import base64
import hmac
import json
import logging
import threading
import time
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeAlias

from efl_core.errors import ResourceLimitError
from efl_core.fleet.learner import Learner
from efl_core.fleet.web.admission import Admission, Refused
from efl_core.fleet.web.page import PAGE, POLICY

__all__ = ["Operating", "Teaching"]

LOGGER = logging.getLogger("efl_core")
Reply: TypeAlias = "tuple[int, dict[str, str], bytes]"
# Upper ends of the times to an acknowledgement that are counted, in seconds.
ENDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)
# Numbers that also fall.
PRESENT_TEXT = {
    "pending": "Queries that wait for their labels.",
    "early": "Labels that wait for their packets.",
    "replicas": "Replicas that have ever joined.",
}
PRESENT = PRESENT_TEXT.keys()
TEXT = "text/plain; version=0.0.4; charset=utf-8"


class Teaching:
    """A thread that steps whenever enough queries have taught."""

    def __init__(self, learner: Learner, update: object, queries: int, canary: float | None) -> None:
        self._learner, self._queries, self._canary = learner, queries, canary
        learner._read_update(update)  # refused before anything waits
        self._update = update
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self.trouble = ""
        """Why the last step failed; empty if it did not."""

    def start(self) -> None:
        """Begin to learn."""
        if self._thread is None:
            self._thread = threading.Thread(target=self._run, name="efl-learning", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """Let the step at hand end, and take no other one."""
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                for report in self._learner.train(
                    self._update, queries=self._queries, canary=self._canary, timeout=0.5
                ):
                    LOGGER.info("%s", report)
                    self.trouble = ""
                    if self._stopping.is_set():
                        return
            except ResourceLimitError:
                continue  # nothing has taught for a while
            except Exception as error:  # a step may fail by the user's update: serving goes on
                self.trouble = f"{type(error).__name__}: {error}"
                LOGGER.exception("a step has failed; it is tried again")
                self._stopping.wait(1.0)


class Operating:
    """The addresses that operators know."""

    def __init__(
        self, learner: Learner, admission: Admission, teaching: Teaching | None, operator: str | None
    ) -> None:
        self._learner, self._admission, self._teaching = learner, admission, teaching
        self._operator = operator
        self._since = time.time()
        self._times = [0] * (len(ENDS) + 1)
        self._seconds = 0.0
        self.trouble = ""
        """Why nothing was taken when something last came; empty if it was."""

    def took(self, seconds: float, *, is_taken: bool) -> None:
        """Note how long the learner took for a request, and whether it has taken something."""
        if is_taken:
            self._times[bisect_left(ENDS, seconds)] += 1
            self._seconds += seconds
            self.trouble = ""

    def answers(self, path: str) -> bool:
        """Say whether an address is one of these."""
        return path in ("", "/", "/health", "/metrics", "/status")

    def answer(self, method: str, path: str, headers: dict[str, str], *, is_closing: bool) -> Reply:
        """Answer an operator."""
        if method not in ("GET", "HEAD"):
            raise Refused("not_found", 405, f"nothing answers {method} {path}")
        if path == "/health":
            return self._health(is_closing)
        if self._operator is not None and not self._is_known(headers.get("authorization", "")):
            asked = {"www-authenticate": 'Basic realm="efl"', "content-type": TEXT}
            return 401, asked, b"a password is asked for\n"
        plain = {"cache-control": "no-store", "x-content-type-options": "nosniff"}
        if path == "/metrics":
            return 200, {**plain, "content-type": TEXT}, "\n".join([*self._metrics(), ""]).encode()
        if path == "/status":
            return 200, plain, json.dumps(self.status()).encode()
        if not path:  # so that what the page asks for is found beside it
            return 307, {"location": "./"}, b""
        found = {**plain, "content-type": "text/html; charset=utf-8", "content-security-policy": POLICY}
        return 200, found, PAGE.encode()

    def _is_known(self, given: str) -> bool:
        """Say whether the password is right: as a bearer's token, or of any user."""
        kind, _, what = given.partition(" ")
        password = what.strip()
        if kind.lower() == "basic":
            try:
                password = base64.b64decode(what, validate=True).decode().partition(":")[2]
            except ValueError:
                return False
        assert self._operator is not None
        return hmac.compare_digest(password.encode(), self._operator.encode())

    def _health(self, is_closing: bool) -> Reply:
        word = "closing" if is_closing else "unavailable" if self.trouble else "ok"
        return (200 if word == "ok" else 503), {"content-type": TEXT}, f"{word}\n".encode()

    @property
    def _trouble(self) -> str:
        return self.trouble or (self._teaching.trouble if self._teaching is not None else "")

    def status(self) -> dict[str, Any]:
        """Return all that the page shows."""
        return {
            "learner": self._learner.status().to_dict(),
            "server": {
                "since": self._since,
                "now": time.time(),
                "requests": dict(self._admission.counts),
                "flying": self._admission.flying,
                "active": self._admission.active(),
                "trouble": self._trouble,
                "replicas": [
                    {
                        "name": own.name,
                        "slot": own.slot,
                        "sent": own.sent,
                        "dropped": own.dropped,
                        "gaps": own.gaps,
                        "refused": own.refused,
                    }
                    for own in sorted(self._admission.workers, key=lambda w: (-w.gaps, -w.sent))[:100]
                ],
            },
        }

    def _metrics(self) -> Iterator[str]:
        """Yield lines as Prometheus reads them."""
        own = self._learner.status()
        gone = {name: count for name, count in own.counts.items() if name not in PRESENT}
        yield from _counter("efl_queries_total", "Queries and labels, by what became of them.", "fate", gone)
        yield from _counter(
            "efl_requests_total", "Requests, by what became of them.", "result", self._admission.counts
        )
        gauges: dict[str, tuple[str, float]] = {
            "efl_version": ("The version that is served.", own.version),
            "efl_steps": ("Steps so far.", own.steps),
            "efl_waiting": ("Contributions that no step has used.", own.waiting),
            "efl_replicas_active": ("Replicas heard of in the last minute.", self._admission.active()),
            "efl_flying_bytes": ("Bytes of requests that are under way.", self._admission.flying),
            "efl_up_seconds": ("Seconds since the start.", time.time() - self._since),
            "efl_trouble": ("1 where something fails; /status says what.", float(bool(self._trouble))),
        }
        for name in PRESENT & own.counts.keys():
            gauges[f"efl_{name}"] = (PRESENT_TEXT[name], own.counts[name])
        if own.history:
            last = own.history[-1]
            gauges |= {
                "efl_loss": ("Mean loss of the last step.", last.loss),
                "efl_loss_stderr": ("Its standard error.", last.loss_stderr),
                "efl_gradient": ("RMS of the derivatives of the last step.", last.gradient),
                "efl_gradient_error": ("RMS of their standard errors.", last.error),
                "efl_contribution_age_versions": ("Age of its contributions.", last.age),
                "efl_step_seconds_ago": ("Seconds since it.", time.time() - last.at),
            }
        for name, (text, value) in gauges.items():
            yield from (f"# HELP {name} {text}", f"# TYPE {name} gauge", f"{name} {_number(value)}")
        yield "# HELP efl_acknowledge_seconds Time from a whole request to its acknowledgement."
        yield "# TYPE efl_acknowledge_seconds histogram"
        total = 0
        for end, count in zip([*map(str, ENDS), "+Inf"], self._times, strict=True):
            total += count
            yield f'efl_acknowledge_seconds_bucket{{le="{end}"}} {total}'
        yield f"efl_acknowledge_seconds_sum {_number(self._seconds)}"
        yield f"efl_acknowledge_seconds_count {total}"


def _counter(name: str, text: str, label: str, counts: "dict[str, int] | Counter[str]") -> Iterator[str]:
    yield from (f"# HELP {name} {text}", f"# TYPE {name} counter")
    for which, count in sorted(counts.items()):
        yield f'{name}{{{label}="{which}"}} {count}'


def _number(value: float) -> str:
    return "NaN" if value != value else repr(float(value))
