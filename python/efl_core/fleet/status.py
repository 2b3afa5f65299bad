"""How a learner is doing, as numbers and as text for a terminal.

Cost: what is kept is the last thousand steps, some KB.
"""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from efl_core import _native
from efl_core.fleet.reports import Report

__all__ = ["HISTORY", "Status", "StepNote", "shown"]

# Steps that are remembered.
HISTORY = 1_000
WIDTH = 60
BARS = "▁▂▃▄▅▆▇█"
REFUSALS = frozenset({*_native.FLEET_REFUSALS, "unknown_or_used"})


@dataclass(frozen=True, slots=True)
class StepNote:
    """What is remembered of a step."""

    step: int
    version: int
    at: float
    """Seconds since 1970."""
    loss: float
    loss_stderr: float
    gradient: float
    """The RMS of the derivatives."""
    error: float
    """The RMS of their standard errors."""
    queries: int
    age: float
    """Of the contributions, in versions."""

    @staticmethod
    def of(report: Report) -> "StepNote":
        """Return what is remembered of a report."""
        found = report.gradient
        size = math.sqrt(float((found.value**2).mean())) if found.value.size else 0.0
        return StepNote(
            report.step,
            report.version,
            time.time(),
            report.loss,
            report.loss_stderr,
            size,
            found.error,
            found.queries,
            found.age,
        )


@dataclass(frozen=True, slots=True)
class Status:
    """What `Learner.status` returns: print it."""

    version: int
    candidate: int | None
    """The version that is tried on a part of the queries, if there is one."""
    steps: int
    waiting: int
    """Contributions that no step has used."""
    shots: int
    share: float
    method: str
    counts: dict[str, int]
    """What became of queries and labels; see `Learner.counts`."""
    history: tuple[StepNote, ...]
    """The last steps, the newest at the end."""

    def to_dict(self) -> dict[str, Any]:
        """Return all of it as plain numbers and text; NaN is None."""
        return {
            "version": self.version,
            "candidate": self.candidate,
            "steps": self.steps,
            "waiting": self.waiting,
            "shots": self.shots,
            "share": self.share,
            "method": self.method,
            "counts": dict(self.counts),
            "history": [
                {
                    name: _plain(getattr(note, name))
                    for name in (
                        "step",
                        "version",
                        "at",
                        "loss",
                        "loss_stderr",
                        "gradient",
                        "error",
                        "queries",
                        "age",
                    )
                }
                for note in self.history
            ],
        }

    def __str__(self) -> str:
        return shown({"learner": self.to_dict()})


def shown(status: Mapping[str, Any], now: float | None = None) -> str:
    """Return a status as text: that of a learner, and of its server where it has one."""
    own = status["learner"]
    history, counts = own["history"], own["counts"]
    tried = "" if own["candidate"] is None else f", candidate {own['candidate']} is tried"
    lines = [
        f"version {own['version']}, {own['steps']} steps, {own['waiting']} contributions wait{tried}",
        f"{own['shots']} shots a query, {own['share']:.3g} of them teach by {own['method']!r}",
    ]
    if history:
        last = history[-1]
        seconds = max(0.0, (time.time() if now is None else now) - last["at"])
        loss = "" if last["loss"] is None else f"loss {last['loss']:.4f} +- {_given(last['loss_stderr'])}  "
        lines += [
            f"last step {seconds:.0f} s ago: {loss}gradient {last['gradient']:.4f} "
            f"+- {_given(last['error'])}  queries {last['queries']}  age {last['age']:.1f}",
        ]
        losses = [note["loss"] for note in history if note["loss"] is not None]
        if losses:
            lines.append(f"loss      {_bars(losses)}  {losses[0]:.3f} to {losses[-1]:.3f}")
        errors = [note["error"] for note in history if note["error"] is not None]
        if errors:
            lines.append(f"gradient error {_bars(errors)}  {errors[0]:.3g} to {errors[-1]:.3g}")
    else:
        lines.append("no step yet")
    if counts:
        lines.append("queries   " + _listed(counts, ("admitted", "taught", "pending", "expired", "dropped")))
        refused = {name: count for name, count in counts.items() if count and name in REFUSALS}
        if refused:
            lines.append("refused   " + _listed(refused, sorted(refused)))
    server = status.get("server")
    if server is not None:
        lines.append("requests  " + (_listed(server["requests"], sorted(server["requests"])) or "none"))
        lines.append(
            f"replicas  {server['active']} at work of {len(server['replicas'])}; "
            f"{server['flying']:,} bytes under way"
        )
        worst = sorted(server["replicas"], key=lambda own: -own["gaps"])[:3]
        lines += [
            f"          {own['name'] or 'anybody'} #{own['slot']}: {own['sent']:,} queries, "
            f"{own['gaps']:.1%} given up, {own['refused']} packets refused"
            for own in worst
            if own["gaps"] > 0 or own["refused"]
        ]
        if server["trouble"]:
            lines.append(f"TROUBLE   {server['trouble']}")
    return "\n".join(lines)


def _listed(counts: Mapping[str, int], names: Sequence[str]) -> str:
    return ", ".join(
        f"{name.replace('_', ' ')} {counts[name]:,}" for name in names if counts.get(name) is not None
    )


def _given(value: float | None) -> str:
    return "?" if value is None else f"{value:.4f}"


def _bars(values: Sequence[float]) -> str:
    """Draw values as bars, each the mean of some neighbours."""
    count = min(WIDTH, len(values))
    ends = [round(i * len(values) / count) for i in range(count + 1)]
    means = [sum(values[a:b]) / (b - a) for a, b in pairwise(ends)]
    low, high = min(means), max(means)
    scale = (len(BARS) - 1) / (high - low) if high > low else 0.0
    return "".join(BARS[round((value - low) * scale)] for value in means)


def _plain(value: float) -> float | None:
    return value if math.isfinite(value) else None
