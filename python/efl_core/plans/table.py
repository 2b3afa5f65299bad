"""How a plan is shown: as text, as HTML, and as a dict that is ready for JSON.

A line for each method that has a figure, the cheapest first and bounds last; below it what the columns mean,
and why the other methods are not there.
"""

import math
from collections.abc import Iterator, Sized
from html import escape
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.circuits import Circuit
from efl_core.plans.options import Cost
from efl_core.plans.states import State, spelled_state

if TYPE_CHECKING:
    from efl_core.plans import PlanRow

__all__ = ["PlanLike", "as_dict", "as_html", "as_text", "pasted"]

_CURRENCY = (
    "shots: runs of a circuit, all circuits together, until the RMS error of the derivatives is the target.",
    "worst: until the worst derivative has it. served: shots are of the state that answers are read from.",
)
_HEAD = ("", "method", "shots", "worst", "settings", "circuits", "2-qubit gates added", "served")


class PlanLike(Protocol):
    """What can be read of any plan: a mapping from names to rows, and what they are for."""

    @property
    def circuit(self) -> Circuit:
        """The circuit, at the angles of the plan."""

    @property
    def observables(self) -> Sized:
        """What it answers with."""

    @property
    def n_derivatives(self) -> int:
        """What every observable is differentiated by."""

    @property
    def target(self) -> float:
        """The RMS error that shots are for."""

    @property
    def cost(self) -> Cost | None:
        """What circuits and shots take, where that counts."""

    @property
    def state(self) -> State | None:
        """What the figures are for; None where they are averages, or bounds, over all states."""

    @property
    def best(self) -> "PlanRow":
        """The method that is preferred."""

    @property
    def of_qnode(self) -> bool:
        """Whether it was made for a QNode."""

    @property
    def redesign_pays(self) -> bool:
        """Whether a former design is much worse."""

    @property
    def least_copies(self) -> int | None:
        """What two copies of the state take at least; None where they do not pay."""

    def time(self, row: "PlanRow") -> float:
        """Return how long a method takes to reach the target."""

    def curves(self, shots: ArrayLike) -> dict[str, NDArray[np.float64]]:
        """Return the RMS error of each method with these numbers of shots."""

    def __getitem__(self, name: str) -> "PlanRow": ...

    def __iter__(self) -> Iterator["PlanRow"]: ...


def as_text(plan: PlanLike) -> str:
    """Return the table with its heading and its notes."""
    table = [_head(plan), *_cells(plan)]
    widths = [max(len(line[i]) for line in table) for i in range(len(table[0]))]
    lines = [
        "  ".join(
            cell.ljust(w) if i < 2 else cell.rjust(w)
            for i, (cell, w) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in table
    ]
    return "\n".join([_title(plan), "", *lines, "", *_notes(plan)])


def as_html(plan: PlanLike) -> str:
    """Return the same for a notebook."""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in _head(plan))
    rows = ("".join(f"<td>{escape(cell)}</td>" for cell in line) for line in _cells(plan))
    body = "".join(f"<tr>{row}</tr>" for row in rows)
    notes = "<br>".join(escape(line) for line in _notes(plan))
    return (
        f"<p>{escape(_title(plan))}</p><table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
        f"<p><small>{notes}</small></p>"
    )


def as_dict(plan: PlanLike) -> dict[str, Any]:
    """Return everything but the variances of single derivatives; a cost that is infinite becomes None."""
    fields = [name for name in type(plan.best).__slots__ if name != "variances"]
    rows = [{name: getattr(row, name) for name in fields} for row in plan]
    for row in rows:
        row["cost"] = row["cost"] if math.isfinite(row["cost"]) else None
    return {
        "target": plan.target,
        "n_qubits": plan.circuit.n_qubits,
        "n_observables": len(plan.observables),
        "n_parameters": plan.n_derivatives,
        "best": plan.best.name,
        "rows": rows,
    }


def _title(plan: PlanLike) -> str:
    observables = _counted(len(plan.observables), "observable")
    parameters = _counted(plan.n_derivatives, "parameter")
    qubits = _counted(plan.circuit.n_qubits, "qubit")
    where = "" if plan.state is None else f", {spelled_state(plan.state)}"
    what = f"The gradient of {observables} by {parameters} on {qubits}{where}"
    return f"{what}, to an RMS error of {plan.target:g}"


def _head(plan: PlanLike) -> tuple[str, ...]:
    return _HEAD if plan.cost is None else (*_HEAD, "time")


def _cells(plan: PlanLike) -> list[tuple[str, ...]]:
    listed = [row for row in plan if row.shots is not None]
    listed.sort(key=lambda row: (row.bound, row.cost if plan.cost is None else plan.time(row)))
    lines = [_line(row, best=row.name == plan.best.name) for row in listed]
    if plan.cost is None:
        return lines
    times = ["" if row.bound else f"{plan.time(row):.3g}" for row in listed]
    return [(*line, time) for line, time in zip(lines, times, strict=True)]


def _line(row: "PlanRow", *, best: bool) -> tuple[str, ...]:
    return (
        "*" if best else "",
        row.name,
        (">= " if row.bound else "") + _spelled(row.shots),
        "" if row.bound else _spelled(row.worst_shots),
        "drawn" if row.settings is None else str(row.settings),
        str(row.circuits),
        "" if row.bound else str(row.extra_two_qubit_gates),
        "yes" if row.served else "no",
    )


def _notes(plan: PlanLike) -> list[str]:
    lines = [*_CURRENCY]
    if plan.cost is not None:
        lines.append(
            f"time: {plan.cost.circuit:g} for every circuit and setting, {plan.cost.shot:g} for every shot."
        )
    if plan.state is not None:
        averages = [row.name for row in plan if row.applies and not row.at_state]
        lines += [f"on average over all states: {', '.join(averages)}"] if averages else []
    if plan.least_copies is not None:
        least = f"{plan.least_copies:,} copies or more"
        lines.append(f"two copies of the state may take fewer, {least}: plan.two_copies() compares.")
    lines += [f"not here: {row.name} ({row.note})" for row in plan if row.shots is None]
    lines += [f"{row.name}: {row.note}" for row in plan if row.shots is not None and row.note]
    best = plan.best
    if best.shots == 0:
        lines.append("Every derivative is identically zero: nothing has to be measured.")
    elif best.gain is not None and plan.redesign_pays:
        lines.append(
            f"The former design of {best.name} needs {best.gain:.2g} times as many shots: take this one."
        )
    if plan.of_qnode and best.shots and plan.state is None:
        lines.append(pasted(best.shots))
    return lines


def pasted(shots: int) -> str:
    """Return the line that gives a QNode its shots."""
    return f'@qml.qnode(dev, diff_method=efl.shadow_grad, gradient_kwargs={{"shots": {shots}}})'


def _spelled(shots: int | None) -> str:
    return "" if shots is None else f"{shots:,}" if shots < 10**12 else f"{shots:.3g}"


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}" + ("" if count == 1 else "s")
