"""What the two ways of measuring the gradient of wide projectors cost: random bases, and parameter-shift.

Both have figures without any search: those of the state that the circuit prepares, where it is simulated;
else bounds that hold whatever the state is.

Cost: a vector of ``2**n`` numbers for each parameter; at a state a simulation of each shifted circuit.
"""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.pennylane.jobs.bases import variances_in_bases
from efl_core.pennylane.jobs.hits import Hits, hits_of
from efl_core.pennylane.jobs.whole import MOST_VECTORS, Whole
from efl_core.pennylane.options import OF_PROJECTORS
from efl_core.pennylane.statistics import Table
from efl_core.plans import PlanRow

__all__ = ["BASES", "SHIFT", "Compared"]

BASES, SHIFT = OF_PROJECTORS, "shift"
# In which a number of shots settles to a part in a thousand.
ROUNDS = 6
# Bases whose gates are counted.
COUNTED = 20
EMPTY = PlanRow(
    name="",
    shots=None,
    worst_shots=None,
    settings=None,
    circuits=0,
    extra_gates=0,
    extra_two_qubit_gates=0,
    extra_depth=0,
    served=False,
    bound=False,
    note=None,
    cost=math.inf,
    variances=None,
    gain=None,
)


@dataclass(frozen=True, eq=False)
class Compared:
    """Both ways, for derivatives by parameters of the tape or by arguments."""

    whole: Whole
    slopes: Table | None
    """Of the trainable parameters of the tape by arguments."""
    at_state: bool
    """Whether figures are those of the state that the circuit prepares."""
    target: float
    """The RMS error that shots are for."""

    @cached_property
    def weights(self) -> Table:
        """Slopes of the circuit's parameters."""
        return self.whole.weights(self.slopes)

    @cached_property
    def state(self) -> NDArray[np.complex128] | None:
        """The state, if figures are those of it."""
        whole = self.whole
        return whole.state(whole.circuit, lambda: whole.tape.operations) if self.at_state else None

    @cached_property
    def live(self) -> NDArray[np.bool_]:
        """Which derivatives are not identically zero, by observable and argument."""
        return self.whole.moving(self.weights)

    @cached_property
    def hits(self) -> Hits | InvalidInputError:
        """The circuits of parameter-shift, or why there are none."""
        try:
            return hits_of(self.whole)
        except InvalidInputError as error:
            return error

    @cached_property
    def _moving(self) -> NDArray[np.bool_]:
        """Which observables the parameter of each shift moves, as far as anybody asks."""
        assert isinstance(self.hits, Hits)
        used = self.whole.moving(np.eye(len(self.whole.by_gates))) & self.weights.any(axis=1)
        found: NDArray[np.bool_] = used[:, np.array([shift.parameter for shift in self.hits.shifts], int)].T
        return found

    def _contributions(self, *, at_state: bool) -> Table:
        """Return what a shot of each circuit and readout adds to the variance of each derivative.

        Shape ``(shifts, readouts, observables, arguments)``.
        """
        assert isinstance(self.hits, Hits)
        spreads = self.hits.spreads(at_state=at_state)
        slopes = [shift.coefficient * self.weights[shift.parameter] for shift in self.hits.shifts]
        moved = np.square(slopes).reshape(len(slopes), self.weights.shape[1])
        found: Table = np.einsum("egm,ea,em->egma", spreads, moved, self._moving.astype(np.float64))
        return found

    @cached_property
    def _known(self) -> Table:
        return self._contributions(at_state=self.at_state)

    @cached_property
    def _most(self) -> Table:
        """What shots add at most to the error, whatever the state: roots of sums of variances."""
        found: Table = np.sqrt(self._contributions(at_state=False).sum(axis=(2, 3)))
        return found

    @property
    def n_circuits(self) -> int:
        """Circuits and readouts of parameter-shift that anything follows from."""
        return int(np.count_nonzero(self._most))

    def deviations(self, shots: float = math.inf) -> Table:
        """Return what shares of the shots are in proportion to, by circuit and readout.

        What does not vary at this state is run all the same, so that it is measured and not known: m shots
        that agree leave a variance of 1 / m, and are so many that it is no more than what others add.
        """
        found: Table = np.sqrt(self._known.sum(axis=(2, 3)))
        least: Table = 2 * self._most * math.sqrt(self.n_circuits / shots)
        return np.maximum(found, least)

    def predicted(self, counts: Table) -> float:
        """Return the variance with these shots of each circuit and readout, averaged over derivatives."""
        each = np.divide(1.0, counts, out=np.zeros_like(counts), where=counts > 0)
        variances = np.einsum("egma,eg->ma", self._known, each)[self.live]
        return float(variances.mean()) if variances.size else 0.0

    def needed(self, row: PlanRow, target: float) -> int:
        """Return the shots of a way for an RMS error of the derivatives."""
        shots = row.cost / target**2
        if row.name == SHIFT and shots > 0:
            for _ in range(ROUNDS):  # of what does not vary, some; the more, the smaller a part
                deviations = self.deviations(shots)
                shots *= self.predicted(deviations * shots / deviations.sum()) / target**2
        return max(math.ceil(shots * (1 - 1e-9)), int(row.cost > 0))

    @cached_property
    def rows(self) -> tuple[PlanRow, PlanRow]:
        """Random bases, and parameter-shift."""
        return self._bases, self._shift

    @property
    def _bases(self) -> PlanRow:
        variances = variances_in_bases(self.whole, self.weights, self.state)
        if variances is None:
            note = "under noise derivatives are no operators of few vectors"
            if not self.whole.is_noisy:
                count = self.whole.n_vectors
                note = f"projectors on too few of the wires: {count:,} vectors, {MOST_VECTORS} at most"
            return replace(EMPTY, name=BASES, circuits=1, served=True, note=note)
        ensemble = Ensemble.global_clifford(self.whole.n_qubits)
        settings = [ensemble.draw_setting(0, index) for index in range(COUNTED)]
        return self._row(
            replace(
                EMPTY,
                name=BASES,
                circuits=1,
                extra_gates=max(len(s.gates) for s in settings),
                extra_two_qubit_gates=max(s.two_qubit_gates for s in settings),
                extra_depth=max(s.depth for s in settings),
                served=True,
                note=None if self.at_state else "at most, whatever the state; random bases of all qubits",
            ),
            variances,
        )

    @property
    def _shift(self) -> PlanRow:
        if not isinstance(self.hits, Hits):
            return replace(EMPTY, name=SHIFT, note=str(self.hits))
        deviations = self.deviations()
        shares = deviations / max(deviations.sum(), 1e-300)
        each = np.divide(1.0, shares, out=np.zeros_like(shares), where=shares > 0)
        variances = np.einsum("egma,eg->ma", self._known, each)
        circuits = self.n_circuits
        note = (
            None if self.at_state else "at most, whatever the state; fewer where fidelities are near 0 or 1"
        )
        row = replace(EMPTY, name=SHIFT, settings=circuits, circuits=circuits, note=note)
        return self._row(row, variances)

    def _row(self, row: PlanRow, variances: Table) -> PlanRow:
        live = variances[self.live]
        cost, worst = (float(live.mean()), float(live.max())) if live.size else (0.0, 0.0)
        row = replace(row, cost=cost, variances=variances, at_state=self.at_state)
        shots = self.needed(row, self.target)
        return replace(row, shots=shots, worst_shots=math.ceil(shots * worst / cost) if cost > 0 else 0)
