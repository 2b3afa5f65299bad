"""The outcomes of experiments, counted, and what they say.

Invariant: what is kept is how often each outcome came, which is all that means and covariances depend on.
Cost: one sort of the shots; a row of 64 qubits and a count for each different outcome.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.experiments import Experiment
from efl_core.pennylane.execution.runs import Bits

__all__ = ["Counted", "read_together"]

Table = NDArray[np.float64]


@dataclass(frozen=True, slots=True, eq=False)
class Counted:
    """How often each outcome of an experiment came."""

    experiment: Experiment
    rows: NDArray[np.uint64]
    """The different outcomes, packed; shape ``(different, limbs)``."""
    counts: NDArray[np.uint32]

    @staticmethod
    def of(experiment: Experiment, bits: Bits) -> "Counted":
        """Count the rows of bits."""
        packed = np.packbits(bits, axis=1)
        limbs = -(-packed.shape[1] // 8)
        padded = np.zeros((len(packed), 8 * limbs), dtype=np.uint8)
        padded[:, : packed.shape[1]] = packed
        table = padded.view(np.uint64)
        keys, axis = (table[:, 0], None) if limbs == 1 else (table, 0)
        rows, counts = np.unique(keys, axis=axis, return_counts=True)
        return Counted(experiment, rows.reshape(-1, limbs), counts.astype(np.uint32))

    @property
    def nbytes(self) -> int:
        """Memory that is kept."""
        return self.rows.nbytes + self.counts.nbytes

    def variances(self, weights: Table) -> tuple[NDArray[np.intp], Table]:
        """Return the variances of combinations of the derivatives, and which combinations it has any of.

        Weights have a column for each of `Experiment.derivatives`.
        """
        combined = self.experiment._native.combined(weights)
        bits = np.unpackbits(self.rows.view(np.uint8), axis=1, count=self.experiment.n_qubits)
        shots = int(self.counts.sum())
        _, variance = combined.read(np.repeat(bits, self.counts, axis=0))
        return np.asarray(combined.rows, dtype=np.intp), variance / shots


def read_together(runs: Sequence[tuple[Experiment, Bits]], n_rows: int) -> tuple[Table, Table]:
    """Return the mean of every row of a gradient, and its variance, of all experiments together."""
    return _native.read_together([(experiment._native, bits) for experiment, bits in runs], n_rows)
