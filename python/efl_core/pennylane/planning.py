"""Plans of gradients, one per structure of a circuit.

What depends on the gates alone is planned once and kept; other parameters and inputs start from it. A plan is
a function of the circuit and its angles, not of what was planned before: the kept one is made at its own
angles. Of the input state it knows which rotations leave a qubit as it is, and no more.
"""

import threading
import warnings
from collections import OrderedDict
from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.circuits import Circuit
from efl_core.designs import Connectivity
from efl_core.errors import InvalidInputError
from efl_core.observables import PauliSum, PauliWord
from efl_core.plans import Plan, PlanRow, plan

__all__ = ["choose", "planned"]

CAPACITY = 64
# Costs within this factor count as equal.
CLOSE = 1.02
# What a method that is asked for may cost, in shots of the best, before there is a warning.
LOSING = 2.0

_kept: OrderedDict[Hashable, Plan] = OrderedDict()
_told: set[Hashable] = set()
_lock = threading.Lock()


def planned(circuit: Circuit, connectivity: Connectivity = "all", value_weight: float = 0.0) -> Plan:
    """Return the plan of the gradients of a circuit's observables at its current angles.

    It is there to be run: what it says of simulated states is not of the circuit's input state.
    """
    key = (_key(circuit), _key(circuit.observables), connectivity, value_weight)
    with _lock:
        base = _kept.get(key)
        if base is not None:
            _kept.move_to_end(key)
    if base is None:
        counts = [circuit.n_parameters, len(circuit.inputs)]
        random = np.random.default_rng(0)
        elsewhere = circuit.at(*(random.uniform(-np.pi, np.pi, count) for count in counts))
        elsewhere.prepare(_kept_letters(circuit))
        base = plan(elsewhere, value_weight=value_weight, connectivity=connectivity)
        with _lock:
            _kept[key] = base
            while len(_kept) > CAPACITY:
                _kept.popitem(last=False)
    return base.at(circuit.parameters, circuit.inputs)


def choose(found: Plan, method: str, most_runs: float) -> PlanRow:
    """Return the row of a method; for ``"auto"`` the cheapest with at most so many circuits and settings."""
    if method != "auto":
        row = found[method]
        if not row.applies:
            raise InvalidInputError(
                f"method: expected one that applies to this circuit, {', '.join(found.methods)}, got "
                f"{method!r} ({row.note})"
            )
        _warn_if_losing(found, row)
        return row
    rows = [row for row in found if row.applies]
    possible = [row for row in rows if (row.settings or 1) <= most_runs]
    if not possible:
        fewest = min((row.settings or 1 for row in rows), default=0)
        raise InvalidInputError(
            f"shots: expected at least {fewest}, one for each circuit and setting, got {most_runs:g}"
        )
    least = min(row.cost for row in possible)
    # Lists of settings before drawn ones, of which a device would have to run many more.
    return min((row for row in possible if row.cost <= least * CLOSE), key=lambda row: row.settings is None)


def _warn_if_losing(found: Plan, row: PlanRow) -> None:
    """Say once for a circuit and a method how much less the best one needs."""
    best = found.best
    if not row.cost > LOSING * best.cost > 0:
        return
    told = (found.circuit.n_qubits, found.circuit.n_gates, found.circuit.n_parameters, row.name, best.name)
    with _lock:
        if told in _told:
            return
        _told.add(told)
    warnings.warn(
        f"method {row.name!r} needs {row.cost / best.cost:.1f} times as many shots as {best.name!r} for this "
        f"circuit (variance of one shot {row.cost:.3g}, against {best.cost:.3g})",
        UserWarning,
        stacklevel=2,
    )


def _kept_letters(circuit: Circuit) -> NDArray[np.float64] | None:
    """Return the letter that leaves each qubit's input as it is, as Bloch vectors; zero where none does."""
    return None if circuit.bloch is None else (np.abs(circuit.bloch) == 1).astype(np.float64)


def _key(value: Any) -> Hashable:  # noqa: ANN401 (what circuits are made of)
    """Return what tells plans of two circuits, or parts of those, apart; current angles do not."""
    if isinstance(value, Circuit):
        return value.n_qubits, value.n_parameters, _key(_kept_letters(value)), _key(value._gates)
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, PauliSum):
        return tuple((word.label, c) for word, c in value.terms())
    if isinstance(value, PauliWord):
        return value.label
    if isinstance(value, (list, tuple)):
        return tuple(_key(v) for v in value)
    found: Hashable = value  # names, wires and angles
    return found
