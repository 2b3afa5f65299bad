"""Plans of gradients, one per structure of a circuit.

What depends on the gates alone is planned once and kept; other angles start from it. A plan is a function of the
circuit and its angles, not of what was planned before: the kept one is made at angles of its own.
"""

import threading
from collections import OrderedDict
from collections.abc import Hashable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from efl_core import _native
from efl_core.circuits import Circuit
from efl_core.errors import InvalidInputError
from efl_core.gradients import GradientObservables
from efl_core.observables import PauliSum, PauliWord

__all__ = ["Method", "Planned", "planned"]

CAPACITY = 64
# Methods that draw a setting for every shot; the others have a list of experiments.
DRAWN = ("uniform", "biased", "block")
METHODS = (
    "uniform",
    "biased",
    "product",
    "clifford",
    "block",
    "commuting",
    "echo",
    "mixture",
    "shift-pruned",
    "shift",
)
# Costs within this factor count as equal.
CLOSE = 1.02

_kept: OrderedDict[Hashable, _native.Plan] = OrderedDict()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True)
class Method:
    """A row of a plan."""

    name: str
    cost: float
    """Mean variance of one shot: ``cost / eps**2`` shots give an RMS error of eps."""
    runs: int
    """How many circuits and settings are run; 1 where settings are drawn."""
    bound: bool
    note: str | None

    @property
    def applies(self) -> bool:
        """Whether it can be run."""
        return bool(np.isfinite(self.cost)) and not self.bound


@dataclass(frozen=True)
class Planned:
    """A plan at the angles of a circuit."""

    native: _native.Plan

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The rows by their names."""
        rows = self.native.rows()
        return {
            name: Method(name, cost, settings or 1, bound, note)
            for name, cost, _, settings, _, _, _, bound, note in rows
        }

    @property
    def best(self) -> Method:
        """The cheapest method."""
        return self.methods[self.native.best]

    def observables(self, circuit: Circuit) -> GradientObservables:
        """Return the sums that settings of the final state measure."""
        return GradientObservables(self.native.observables, circuit, single=False, made=None)

    def choose(self, name: str, most_runs: float) -> Method:
        """Return the method of that name, or the cheapest one with at most so many runs for ``"auto"``."""
        if name != "auto":
            method = self.methods[name]
            if not method.applies:
                raise InvalidInputError(
                    f"method: expected one that applies to this circuit, got {name!r} ({method.note}); "
                    'method="auto" takes the best'
                )
            return method
        possible = [m for m in self.methods.values() if m.applies and m.runs <= most_runs]
        if not possible:
            fewest = min((m.runs for m in self.methods.values() if m.applies), default=0)
            raise InvalidInputError(
                f"shots: expected at least {fewest}, one for each circuit and setting, got {most_runs:g}"
            )
        least = min(m.cost for m in possible)
        # Lists of settings before drawn ones, of which a device would have to run many more.
        close = [m for m in possible if m.cost <= least * CLOSE]
        return min(close, key=lambda m: m.name in DRAWN)


def planned(circuit: Circuit, connectivity: str = "all") -> Planned:
    """Return the plan of the gradients of a circuit's observables at its current angles."""
    observables = list(circuit.observables)
    key = (_key(circuit), _key(observables), connectivity)
    with _lock:
        native = _kept.get(key)
        if native is not None:
            _kept.move_to_end(key)
    if native is None:
        angles = np.random.default_rng(0).uniform(-np.pi, np.pi, circuit.n_parameters)
        native = _native.Plan(
            circuit._native,
            angles,
            observables,
            circuit.bloch,
            "mean",
            None,
            0.0,
            connectivity,
            None,
            None,
        )
        with _lock:
            _kept[key] = native
            while len(_kept) > CAPACITY:
                _kept.popitem(last=False)
    return Planned(native.at(circuit.parameters))


def _key(value: Any) -> Hashable:  # noqa: ANN401 (what circuits are made of)
    """Return what tells two circuits, or parts of them, apart; current parameters do not."""
    if isinstance(value, Circuit):
        bloch = None if value.bloch is None else value.bloch.tobytes()
        return value.n_qubits, value.n_parameters, bloch, _key(value._gates)
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, PauliSum):
        return tuple((word.label, c) for word, c in value.terms())
    if isinstance(value, PauliWord):
        return value.label
    if isinstance(value, (list, tuple)):
        return tuple(_key(v) for v in value)
    return value  # names, wires and angles
