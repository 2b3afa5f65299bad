"""Plans of gradients, one per structure of a circuit, and the method that is chosen from them.

What depends on the gates alone is planned once and kept; other parameters and inputs start from it, and
only the methods that may be run are planned there. A plan is a function of the circuit and its angles, not of
what was planned before: the kept one is made at its own angles. Of the input state it knows which rotations
leave a qubit as it is, and no more.
"""

import math
import threading
import warnings
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core._native import TIE
from efl_core.circuits import Circuit
from efl_core.designs import Connectivity
from efl_core.errors import InvalidInputError
from efl_core.observables import PauliSum, PauliWord
from efl_core.plans import Plan, PlanRow, plan

__all__ = ["Chosen", "choose"]

CAPACITY = 64
# Costs within this factor count as equal.
CLOSE = TIE
# What is within this factor of the best may be better at other angles.
NEAR = 1.1
# Angles this close to quarter turns, all of them, are planned from a plan near those: training starts there.
SPECIAL = 0.25
QUARTER = np.pi / 2
# What a method that is asked for may cost, in shots of the best, before there is a warning.
LOSING = 2.0

_kept: OrderedDict[Hashable, Plan] = OrderedDict()
_told: set[Hashable] = set()
_lock = threading.Lock()


@dataclass(frozen=True, slots=True, eq=False)
class Chosen:
    """A method, and the plan that has it."""

    plan: Plan
    """At the current angles, to be run: its simulated errors are not those of the circuit's input state."""
    row: PlanRow
    """The method."""
    best: str
    """The best method of this circuit."""
    factor: float
    """How many times more shots the method needs than the best one."""


def choose(
    circuit: Circuit,
    method: str = "auto",
    *,
    shots: float = math.inf,
    max_tapes: float = math.inf,
    connectivity: Connectivity = "all",
    value_weight: float = 0.0,
) -> Chosen:
    """Plan the gradients of a circuit's observables at its current angles, by a method or by the cheapest.

    The cheapest is the mixture, or a method that is no part of it and came close in the kept plan. Every
    circuit and setting is a tape and takes a shot: where they are too many, a design with fewer is made.
    """
    most = min(shots, max_tapes)

    def fits(row: PlanRow) -> bool:
        return (shots if row.settings is None else row.settings) <= most  # drawn ones may all differ

    def kept(most: float = math.inf) -> Plan:
        return _kept_plan(circuit, connectivity, value_weight, most)

    def fewer(methods: Sequence[str] | None = None) -> Plan:
        named = "shots: expected" if shots <= max_tapes else "device_settings: expected max_tapes of"
        try:
            found = at(kept(most), methods)
        except InvalidInputError as error:
            if not str(error).startswith("max_settings"):
                raise
            raise InvalidInputError(f"{named} {str(error).partition('expected ')[2]}") from None
        for name in methods or []:
            if not found[name].applies:
                raise InvalidInputError(f"{named} more for method {name!r}, got {most} ({found[name].note})")
        return found

    def at(base: Plan, methods: Sequence[str] | None = None) -> Plan:
        return base.at(circuit.parameters, circuit.inputs, methods=methods)

    base = kept()
    if method == "auto":
        found = at(base, _promising(base))
        row = _cheapest(found)
        if not fits(row):
            found = fewer()
            row = _cheapest(found)
        return Chosen(found, row, row.name, 1.0)
    row = base[method]
    if not row.applies:
        raise InvalidInputError(
            f"method: expected one that applies to this circuit, {', '.join(base.methods)}, got {method!r} "
            f"({row.note})"
        )
    _warn_if_losing(base, row)
    factor = row.cost / base.best.cost if row.cost > 0 else 1.0
    found = at(base, [method])
    if not fits(found[method]):
        found = fewer([method])
    return Chosen(found, found[method], base.best.name, factor)


def _kept_plan(circuit: Circuit, connectivity: Connectivity, value_weight: float, most: float) -> Plan:
    """Return the plan of circuits with the same gates, at angles of its own: usual or near quarter turns."""
    turns = np.round(circuit.parameters / QUARTER)
    special = bool(np.all(np.abs(circuit.parameters - turns * QUARTER) < SPECIAL))
    pattern = tuple(turns % 4) if special else ()
    key = (_key(circuit), _key(circuit.observables), connectivity, value_weight, most, pattern)
    with _lock:
        base = _kept.get(key)
        if base is not None:
            _kept.move_to_end(key)
    if base is None:
        random = np.random.default_rng(0)
        parameters = random.uniform(-np.pi, np.pi, circuit.n_parameters)
        if special:  # where many words have small coefficients, which a usual plan does not foresee
            parameters = turns * QUARTER + SPECIAL / np.pi / 2 * parameters
        elsewhere = circuit.at(parameters, random.uniform(-np.pi, np.pi, len(circuit.inputs)))
        elsewhere.prepare(_kept_letters(circuit))
        base = plan(
            elsewhere,
            value_weight=value_weight,
            connectivity=connectivity,
            max_settings=None if math.isinf(most) else int(most),
        )
        with _lock:
            _kept[key] = base
            while len(_kept) > CAPACITY:
                _kept.popitem(last=False)
    return base


def _promising(base: Plan) -> list[str]:
    """Return the methods that may be the cheapest at other angles."""
    rows = [row for row in base if row.applies]
    if base["mixture"].applies:  # of all lists of settings, echoes and shifts it is the best
        rows = [row for row in rows if row.settings is None or row.name in ("commuting", "mixture")]
    near = NEAR * min(row.cost for row in base if row.applies)
    return [row.name for row in rows if row.cost <= near or row.name == "mixture"]


def _cheapest(found: Plan) -> PlanRow:
    """Return the row with the least cost."""
    rows = [row for row in found if row.applies]
    least = min(row.cost for row in rows)
    # Lists of settings before drawn ones, of which a device would have to run many more.
    return min((row for row in rows if row.cost <= least * CLOSE), key=lambda row: row.settings is None)


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
