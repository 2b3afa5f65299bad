"""The outcomes of experiments, counted, and what they say.

Invariant: what is kept is how often each outcome came, which is all that means and covariances depend on.
Cost: an integer of up to 32 bits for each shot, or a sort of the shots of an experiment that has more of them
than it has outcomes, and then an integer and a count for each outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.experiments import Experiment
from efl_core.pennylane.execution.runs import Bits

__all__ = ["Counted", "count", "read_together"]

Table = NDArray[np.float64]
LIMB = 32


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """How often each outcome of an experiment came."""

    experiment: Experiment
    rows: NDArray[np.uint32]
    """Outcomes, shape ``(rows, limbs)``; qubit q is bit ``q % 32`` of limb ``q // 32``."""
    counts: NDArray[np.intp] | None
    """How often each row came; None where rows are shots."""

    @property
    def nbytes(self) -> int:
        """Memory that is kept."""
        return self.rows.nbytes + (0 if self.counts is None else self.counts.nbytes)

    def variances(self, weights: Table) -> tuple[NDArray[np.intp], Table]:
        """Return the variances of combinations of the derivatives, and which combinations it has any of.

        Weights have a column for each of `Experiment.derivatives`.
        """
        combined = self.experiment._native.combined(weights)
        rows = self.rows if self.counts is None else np.repeat(self.rows, self.counts, axis=0)
        bits = np.empty((len(rows), self.experiment.n_qubits), dtype=np.uint8)
        for q in range(bits.shape[1]):
            bits[:, q] = rows[:, q // LIMB] >> np.uint32(q % LIMB) & np.uint32(1)
        _, variance = combined.read(bits)
        return np.asarray(combined.rows, dtype=np.intp), variance / len(bits)


def count(runs: Sequence[tuple[Experiment, Bits]]) -> tuple[Counted, ...]:
    """Count the outcomes of experiments of one width."""
    if not runs:
        return ()
    packed = _packed(np.concatenate([bits for _, bits in runs]))
    ends = np.cumsum([len(bits) for _, bits in runs])[:-1]
    return tuple(
        _counted(experiment, rows) for (experiment, _), rows in zip(runs, np.split(packed, ends), strict=True)
    )


def _packed(bits: Bits) -> NDArray[np.uint32]:
    shots, width = bits.shape
    limbs = np.zeros((-(-width // LIMB), shots), dtype=np.uint32)
    for q, column in enumerate(bits.T):
        limbs[q // LIMB] |= column.astype(np.uint32) << np.uint32(q % LIMB)
    return np.ascontiguousarray(limbs.T)


def _counted(experiment: Experiment, rows: NDArray[np.uint32]) -> Counted:
    if experiment.n_qubits > LIMB or len(rows) <= 2**experiment.n_qubits:
        return Counted(experiment, rows, None)
    different, counts = np.unique(rows, return_counts=True)
    return Counted(experiment, different.reshape(-1, 1), counts)


def read_together(runs: Sequence[tuple[Experiment, Bits]], n_rows: int) -> tuple[Table, Table]:
    """Return the mean of every row of a gradient, and its variance, of all experiments together."""
    return _native.read_together([(experiment._native, bits) for experiment, bits in runs], n_rows)
