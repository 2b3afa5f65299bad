"""Plans of gradients of wide projectors: random bases of all qubits beside parameter-shift.

Both have figures without any search: bounds that hold whatever the state, or those of the prepared state.

Invariant: with the shots of a row, the RMS error of the derivatives that are not identically zero is at most
the target (of a bound), or the target (at the state).
Cost: a vector of ``2**n`` numbers for each parameter; at a state two simulations for each besides.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from efl_core.circuits import Circuit, simulate
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.pennylane.jobs.whole import METHOD, Whole
from efl_core.pennylane.statistics import Table
from efl_core.pennylane.tapes.projectors import WideProjector
from efl_core.plans import Cost, PlanRow
from efl_core.plans.table import as_dict, as_html, as_text

__all__ = ["ProjectorPlan", "projector_plan"]

SHIFT = "shift"
# Bases whose gates are counted.
COUNTED = 20


@dataclass(frozen=True, eq=False)
class ProjectorPlan:
    """What measuring the gradient of projectors costs: a mapping from names to rows, as a `Plan` is."""

    circuit: Circuit
    observables: tuple[WideProjector, ...]
    target: float
    """The RMS error that `PlanRow.shots` is for."""
    n_derivatives: int
    """What every projector is differentiated by."""
    rows: tuple[PlanRow, ...]
    state: str | None
    """``"prepared"`` where the figures are those of the circuit's state; None where they are bounds."""

    cost: Cost | None = None
    redesign_pays: bool = False
    least_copies: int | None = None

    @property
    def best(self) -> PlanRow:
        """The method with the fewest shots; ``"shift"`` is ``diff_method="parameter-shift"``."""
        return min((row for row in self.rows if row.applies), key=lambda row: row.cost)

    @property
    def of_qnode(self) -> bool:
        """Whether `efl.shadow_grad` measures by the best method."""
        return self.best.name == METHOD

    @cached_property
    def methods(self) -> list[str]:
        """Names of the methods that can be run."""
        return [row.name for row in self.rows if row.applies]

    def __iter__(self) -> Iterator[PlanRow]:
        return iter(self.rows)

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, name: str) -> PlanRow:
        for row in self.rows:
            if row.name == name:
                return row
        raise InvalidInputError.of("name", f"one of {', '.join(row.name for row in self.rows)}", name)

    def to_dict(self) -> dict[str, object]:
        """Return everything but the variances of single derivatives."""
        return as_dict(self)  # type: ignore[arg-type] # what a table asks of a plan is here

    def __str__(self) -> str:
        return as_text(self)  # type: ignore[arg-type]

    def _repr_html_(self) -> str:
        return as_html(self)  # type: ignore[arg-type]

    def __repr__(self) -> str:
        return (
            f"ProjectorPlan({self.circuit.n_qubits} qubits, {self.n_derivatives} parameters, "
            f"best={self.best.name!r}, shots={self.best.shots}, target={self.target:g})"
        )


def projector_plan(whole: Whole, slopes: Table | None, target: float, state: object) -> ProjectorPlan:
    """Plan the gradient of projectors: by parameters of the tape, or by arguments with their ``slopes``."""
    if state is not None and not (isinstance(state, str) and state == "prepared"):
        raise InvalidInputError.of("state", 'none or "prepared" for a projector', f"{state!r:.40}")
    weights = np.eye(whole.shape[1]) if slopes is None else slopes
    weights = weights[list(whole.by_gates)]
    psi = None if state is None else simulate(whole.circuit)
    bounds = whole.bounds(slopes)
    variances = bounds if psi is None else _in_bases(whole, weights, psi, bounds)
    rows = (
        _drawn_row(whole, variances, bounds, target, at_state=psi is not None),
        _shift_row(whole, weights, bounds, target, at_state=psi is not None),
    )
    name = None if psi is None else "prepared"
    return ProjectorPlan(whole.circuit, whole.projectors, target, bounds.shape[1], rows, name)


def _in_bases(whole: Whole, weights: Table, psi: np.ndarray, bounds: Table) -> Table:
    """Return variances of readings of ``(i/2) (|chi><phi| - |phi><chi|)`` on a state, in random bases."""
    d, found = len(psi), []
    for projector, tangents in zip(whole.projectors, whole.tangents, strict=True):
        phi, moved = projector.target, weights.T @ tangents
        across = moved - np.outer(moved @ phi.conj(), phi)
        length = np.square(np.abs(across)).sum(axis=1)
        own, other = np.vdot(phi, psi), across.conj() @ psi
        value = -(np.conj(own) * other).imag
        second = (d + 1) / (d + 2) * (length * (1 + abs(own) ** 2) + np.abs(other) ** 2) / 2
        found.append(projector.factor**2 * (second - value**2))
    return np.where(bounds > 0, np.array(found), 0.0)


def _drawn_row(whole: Whole, variances: Table, bounds: Table, target: float, *, at_state: bool) -> PlanRow:
    n = whole.circuit.n_qubits
    ensemble = Ensemble.global_clifford(n)
    settings = [ensemble.draw_setting(0, index) for index in range(COUNTED)]
    live = variances[bounds > 0]
    return PlanRow(
        name=METHOD,
        shots=_shots(float(live.mean()) if live.size else 0.0, target),
        worst_shots=_shots(float(live.max()) if live.size else 0.0, target),
        settings=None,
        circuits=1,
        extra_gates=max(len(s.gates) for s in settings),
        extra_two_qubit_gates=max(s.two_qubit_gates for s in settings),
        extra_depth=max(s.depth for s in settings),
        served=True,
        bound=False,
        note=None if at_state else "at most, whatever the state; random bases of all qubits",
        cost=float(live.mean()) if live.size else 0.0,
        variances=variances,
        gain=None,
        at_state=at_state,
    )


def _shift_row(whole: Whole, weights: Table, bounds: Table, target: float, *, at_state: bool) -> PlanRow:
    """Return what parameter-shift takes, its shots where they help the mean most."""
    lengths = np.linalg.norm(weights, axis=1)  # of what each parameter of a gate adds to the derivatives
    note, total = None, 0.0
    if not _has_shifts(whole.circuit):
        note, total = "not counted: a trained gate is no single rotation of its own parameter", math.inf
    else:
        for m, projector in enumerate(whole.projectors):
            deviations = _deviations(whole.circuit, projector) if at_state else np.full(len(lengths), 0.5)
            total += abs(projector.factor) * float((lengths * deviations)[_moving(whole, m)].sum())
        if not at_state:
            note = "at most, whatever the state; fewer where fidelities are near 0 or 1"
        note = " ".join(filter(None, ['diff_method="parameter-shift"', f"({note})" if note else ""]))
    live = int((bounds > 0).sum())
    cost = total**2 / max(live, 1)
    return PlanRow(
        name=SHIFT,
        shots=_shots(cost, target),
        worst_shots=None,
        settings=2 * whole.circuit.n_parameters,
        circuits=2 * whole.circuit.n_parameters,
        extra_gates=0,
        extra_two_qubit_gates=0,
        extra_depth=0,
        served=False,
        bound=False,
        note=note,
        cost=cost,
        variances=None,
        gain=None,
        at_state=at_state,
    )


def _moving(whole: Whole, m: int) -> np.ndarray:
    """Say which parameters of gates a projector depends on at all."""
    target, tangents = whole.projectors[m].target, whole.tangents[m]
    lengths = np.square(np.abs(tangents)).sum(axis=1)
    return np.asarray(lengths - np.square(np.abs(tangents @ target.conj())) > 1e-12 * (1 + lengths))


def _has_shifts(circuit: Circuit) -> bool:
    """Whether every parameter is the angle of one rotation about a Pauli word."""
    fed: list[int] = []
    for kind, arguments in circuit._gates:
        for angle in arguments:
            if isinstance(angle, tuple) and len(angle) == 3:
                if kind != "rotation" or abs(angle[1]) != 1:
                    return False
                fed.append(angle[0])
    return len(set(fed)) == len(fed)


def _deviations(circuit: Circuit, projector: WideProjector) -> np.ndarray:
    """Return, for each parameter, the mean of the deviations of a shot at both shifts."""
    theta, found = np.array(circuit.parameters, dtype=float), []
    for k in range(circuit.n_parameters):
        spread = []
        for sign in (-1, 1):
            moved = theta.copy()
            moved[k] += sign * np.pi / 2
            fidelity = float(abs(np.vdot(projector.target, simulate(circuit.at(moved)))) ** 2)
            spread.append(math.sqrt(max(0.0, fidelity * (1 - fidelity))))
        found.append(sum(spread) / 2)
    return np.array(found)


def _shots(cost: float, target: float) -> int | None:
    if not math.isfinite(cost):
        return None
    return math.ceil(cost / target**2 * (1 - 1e-12))
