"""A fleet: replicas answer queries by one circuit, and what they measure meanwhile teaches its parameters.

A `Replica` lives in a worker of the user's, a `Learner` anywhere else; `asgi` puts HTTP between them, and
`Fleet` is both in threads. A shot answers or teaches: ``share`` of them teach. See ``docs/fleet.md``.
"""

from efl_core.fleet import losses, updates
from efl_core.fleet.buckets import LiarBound, Trimmed
from efl_core.fleet.learner import Learner
from efl_core.fleet.replica import Answer, Answers, Replica
from efl_core.fleet.reports import FleetGradient, Forecast, Price, Report
from efl_core.fleet.threads import Fleet
from efl_core.fleet.tickets import Ticket
from efl_core.fleet.versions import Version
from efl_core.fleet.web.app import asgi
from efl_core.fleet.web.signing import Keys

__all__ = [
    "Answer",
    "Answers",
    "Fleet",
    "FleetGradient",
    "Forecast",
    "Keys",
    "Learner",
    "LiarBound",
    "Price",
    "Replica",
    "Report",
    "Ticket",
    "Trimmed",
    "Version",
    "asgi",
    "losses",
    "updates",
]
