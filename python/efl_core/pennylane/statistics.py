"""What the outcomes of a part of a measurement say of the derivatives that it measures."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core.chains import Chain
from efl_core.pennylane.tapes.outputs import Readout

__all__ = ["Found", "Joined", "Measured", "Placed", "Table", "observed"]

Table: TypeAlias = NDArray[np.float64]

# Of combinations that are read together: 32 MB.
MOST_WEIGHTS = 2**22


class Found(Protocol):
    """The derivatives of one part, and what is kept to combine them."""

    @property
    def value(self) -> Table:
        """Derivatives, shape (observables, trainable parameters); 0 where the part measures none."""

    @property
    def variance(self) -> Table:
        """Their variances."""

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""

    def variances(self, weights: Table) -> Table:
        """Return variances of combinations, covariances included.

        Weights have the shape (combinations, observables, trainable parameters).
        """


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """All parts of a gradient, by the copies of a shot vector."""

    copies: tuple[tuple[Found, ...], ...]
    shape: tuple[int, int]
    """Numbers of observables and of trainable parameters."""
    is_partitioned: bool
    readouts: tuple[Readout, ...] | None = None
    """How the rows of results depend on observables, for each copy; None where they are the observables."""

    @property
    def gradient(self) -> Table:
        """Derivatives, shape (rows, trainable parameters); a shot vector leads."""
        found = self._by_observables
        if self.readouts is not None:
            found = [own.slopes @ table for own, table in zip(self.readouts, found, strict=True)]
        return self._stacked(found)

    @property
    def stderr(self) -> Table:
        """Their standard errors."""
        if self.readouts is not None:
            return self.errors(np.eye(self.shape[1]))
        variances = [sum((found.variance for found in copy), np.zeros(self.shape)) for copy in self.copies]
        return np.sqrt(self._stacked(variances))

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return sum(found.nbytes for copy in self.copies for found in copy)

    def errors(self, weights: Table) -> Table:
        """Return the standard errors of combinations of derivatives, shape (rows, combinations)."""
        observables = np.eye(self.shape[0])
        if self.readouts is None:
            return np.sqrt(self._stacked([_spread(copy, observables, weights) for copy in self.copies]))
        spread = []
        by_observables = self._by_observables
        for copy, readout, gradient in zip(self.copies, self.readouts, by_observables, strict=True):
            # A slope that is measured itself blurs what it multiplies.
            blurred = readout.blur @ np.square(gradient @ weights.T)
            # Where both are lost in their noise, and happen to be small, their product has the noise of both.
            blurs = np.flatnonzero(readout.blur.any(axis=0))
            least = readout.blur[:, blurs] @ _spread(copy, observables[blurs], weights)
            spread.append(np.maximum(_spread(copy, readout.slopes, weights) + blurred, least))
        return np.sqrt(self._stacked(spread))

    @property
    def _by_observables(self) -> list[Table]:
        return [sum((found.value for found in copy), np.zeros(self.shape)) for copy in self.copies]

    def _stacked(self, tables: Sequence[Table]) -> Table:
        return np.stack(tables) if self.is_partitioned else tables[0]


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """Where the results of a part of a tape are among those of the tape."""

    rows: Table
    """Ones and zeros, shape ``(rows of the tape, rows of the part)``."""
    columns: tuple[int, ...]
    """The trainable parameters of the part."""

    def spread(self, table: Table, n_parameters: int) -> Table:
        """Return a table by rows and parameters of the part, as one of the tape."""
        found = np.zeros((*table.shape[:-2], len(self.rows), n_parameters))
        found[..., list(self.columns)] = self.rows @ table
        return found


@dataclass(frozen=True, slots=True, eq=False)
class Joined:
    """Parts of a tape that are measured independently of each other; read as `Measured` is."""

    parts: tuple[tuple[Placed, "Measured | Joined"], ...]
    n_parameters: int

    @property
    def gradient(self) -> Table:
        """Derivatives, shape (rows, trainable parameters); a shot vector leads."""
        return _total([place.spread(own.gradient, self.n_parameters) for place, own in self.parts])

    @property
    def stderr(self) -> Table:
        """Their standard errors."""
        return np.sqrt(_total([place.spread(own.stderr**2, self.n_parameters) for place, own in self.parts]))

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return sum(own.nbytes for _, own in self.parts)

    def errors(self, weights: Table) -> Table:
        """Return the standard errors of combinations of derivatives, shape (rows, combinations)."""
        parts = [place.rows @ own.errors(weights[:, list(place.columns)]) ** 2 for place, own in self.parts]
        return np.sqrt(_total(parts))


def _total(tables: Sequence[Table]) -> Table:
    return sum(tables[1:], tables[0])


def _spread(copy: Sequence[Found], slopes: Table, weights: Table) -> Table:
    """Return the variances of rows by combinations of parameters, from independent parts."""
    piece = max(1, MOST_WEIGHTS // max(1, slopes.shape[1] * weights.size))
    found = [_spread_of(copy, slopes[i : i + piece], weights) for i in range(0, len(slopes), piece)]
    return np.concatenate(found) if found else np.zeros((0, len(weights)))


def _spread_of(copy: Sequence[Found], slopes: Table, weights: Table) -> Table:
    rows, combinations = len(slopes), len(weights)
    joined = np.einsum("ro,cp->rcop", slopes, weights).reshape(
        rows * combinations, slopes.shape[1], weights.shape[1]
    )
    total = sum((found.variances(joined) for found in copy), np.zeros(rows * combinations))
    return total.reshape(rows, combinations)


def observed(measured: Measured | Joined, slopes: Table | None) -> float:
    """Return the RMS of the standard errors that are not zero: by arguments, where their slopes are known."""
    stderr, chain = measured.stderr, None if slopes is None else Chain.of(slopes, len(slopes))
    if chain is None:
        live, total = stderr > 0, np.square(stderr).sum()
    else:
        live = chain.live(stderr > 0)
        own = chain.compact
        errors = measured.errors(own.slopes.T) if own.is_shared else np.sqrt(own.of_parameters(stderr**2))
        total = np.square(errors).sum()
    return float(np.sqrt(total / live.sum())) if live.any() else 0.0
