"""What the outcomes of a part of a measurement say of the derivatives that it measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["Found", "Measured", "Table"]

Table: TypeAlias = NDArray[np.float64]


class Found(Protocol):
    """The derivatives of one part, and what is kept to combine them."""

    @property
    def value(self) -> Table:
        """Derivatives, shape (measurements, trainable parameters); 0 where the part measures none."""

    @property
    def variance(self) -> Table:
        """Their variances."""

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""

    def variances(self, weights: Table) -> Table:
        """Return variances of combinations, shape (measurements, combinations), covariances included.

        Weights have the shape (combinations, trainable parameters).
        """


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All parts of a gradient, by the copies of a shot vector."""

    copies: tuple[tuple[Found, ...], ...]
    shape: tuple[int, int]
    is_partitioned: bool

    @property
    def gradient(self) -> Table:
        """Derivatives, shape (measurements, trainable parameters); a shot vector leads."""
        return self._summed([[found.value for found in copy] for copy in self.copies], self.shape)

    @property
    def stderr(self) -> Table:
        """Their standard errors."""
        return np.sqrt(self._summed([[found.variance for found in copy] for copy in self.copies], self.shape))

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return sum(found.nbytes for copy in self.copies for found in copy)

    def errors(self, weights: Table) -> Table:
        """Return the standard errors of combinations of derivatives."""
        variances = [[found.variances(weights) for found in copy] for copy in self.copies]
        return np.sqrt(self._summed(variances, (self.shape[0], len(weights))))

    def _summed(self, tables: Sequence[Sequence[Table]], shape: tuple[int, int]) -> Table:
        summed = np.zeros((len(tables), *shape))
        for total, copy in zip(summed, tables, strict=True):
            for table in copy:
                total += table
        return summed if self.is_partitioned else summed[0]
