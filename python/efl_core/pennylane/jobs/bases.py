"""Derivatives of projectors from snapshots of the final state in random bases of all qubits.

One set of snapshots has the values and all derivatives. The variance of a reading of a derivative is at most
``1 - <target|P|target>**2``, P being the generator of the parameter's rotation moved to the end of the
circuit: neither the number of qubits nor that of parameters makes it grow. A projector that leaves out qubits
is several operators of that kind, whose variances add. Where a calibration of the readout is given the bases
are twirled.

Cost: ``2**n`` numbers for each parameter and vector, which each snapshot is compared with; on devices that
sample a tape for each shot.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.calibrations import Calibration, check_basis_contrast, divided
from efl_core.pennylane.execution import Draw, Job
from efl_core.pennylane.jobs.whole import Lifted, LowRank, Whole
from efl_core.pennylane.statistics import Table
from efl_core.snapshots import Snapshots

__all__ = ["BasesFound", "BasesPart", "variances_in_bases"]


def variances_in_bases(whole: Whole, weights: Table, state: NDArray[np.complex128] | None) -> Table | None:
    """Return the variances of a snapshot by columns of the weights: on a state, or at most.

    None where projectors are made of too many vectors.
    """
    if whole.lifted is None:
        return None
    d = 1 << whole.n_qubits
    table = np.zeros((len(whole.lifted), weights.shape[1]))
    for m, lifted in enumerate(whole.lifted):
        for a, operator in enumerate(lifted.along(weights.T)):
            total, largest = operator.figures()
            if total == 0:
                continue
            if state is None:
                table[m, a] = total + 2 * largest
            else:
                value, square = operator.on(state)
                table[m, a] = (d + 1) / (d + 2) * (total + 2 * square) - value**2
    return table


@dataclass(frozen=True, slots=True, eq=False)
class BasesPart:
    """Snapshots in random bases."""

    whole: Whole
    draw: Draw
    calibration: Calibration | None

    @property
    def jobs(self) -> tuple[Job, ...]:
        """What is to be run."""
        return (self.draw,)

    def read(self, outcomes: Sequence[Snapshots]) -> "BasesFound":
        """Estimate values and derivatives."""
        [snaps] = outcomes
        return BasesFound.of(self.whole, snaps, self.calibration)


@dataclass(frozen=True, slots=True, eq=False)
class BasesFound:
    """What snapshots say of all derivatives; see `Found`."""

    whole: Whole
    snaps: Snapshots
    calibration: Calibration | None
    value: Table
    variance: Table
    values: Table
    """The values of the observables, and their standard errors."""

    @staticmethod
    def of(whole: Whole, snaps: Snapshots, calibration: Calibration | None) -> "BasesFound":
        """Estimate values and derivatives."""
        assert whole.lifted is not None  # or nothing is measured in bases
        value, variance, values = np.zeros(whole.shape), np.zeros(whole.shape), []
        every = np.eye(len(whole.by_gates))
        for m, lifted in enumerate(whole.lifted):
            found, stderr = _along(lifted, snaps, every, calibration)
            values.append((found[0], stderr[0]))
            value[m, list(whole.by_gates)] = found[1:]
            variance[m, list(whole.by_gates)] = np.square(stderr[1:])
        return BasesFound(whole, snaps, calibration, value, variance, np.array(values).T)

    @property
    def nbytes(self) -> int:
        """Memory of what is kept."""
        return self.snaps.nbytes + sum(own.tangents.nbytes for own in self.whole.lifted or ())

    def variances(self, weights: Table) -> Table:
        """Return variances of combinations."""
        assert self.whole.lifted is not None
        found, lifted = np.zeros(len(weights)), self.whole.lifted
        own = weights[:, :, list(self.whole.by_gates)]
        used: NDArray[np.bool_] = np.any(own, axis=2)
        for m, terms in enumerate(lifted):
            alone = np.flatnonzero(used[:, m] & (used.sum(axis=1) == 1))
            if len(alone):
                _, stderr = _along(terms, self.snaps, own[alone, m], self.calibration)
                found[alone] = np.square(stderr[1:])
        for c in np.flatnonzero(used.sum(axis=1) > 1):
            parts = [next(lifted[m].along(own[c, m : m + 1])) for m in np.flatnonzero(used[c])]
            total = LowRank.total(parts)
            found[c] = _read(total, self.snaps, self.calibration)[1] ** 2
        return found


def _along(
    lifted: Lifted, snaps: Snapshots, weights: Table, calibration: Calibration | None
) -> tuple[Table, Table]:
    """Return a value and its derivatives by combinations of the parameters, and standard errors."""
    if len(lifted.factors) > 1:
        operators = chain([lifted.value()], lifted.along(weights))
        found = np.array([_read(operator, snaps, calibration) for operator in operators])
        return found[:, 0], found[:, 1]
    moved = np.ascontiguousarray(weights @ lifted.tangents[0], dtype=np.complex128)
    value, stderr, *_ = _native.fidelity_along(snaps._native, lifted.targets[0], moved)
    center = np.zeros(len(value))
    center[0] = 0.5**snaps.n_qubits
    contrast = check_basis_contrast(calibration, snaps.ensemble)
    value, stderr = divided(value, stderr, center, contrast)
    return lifted.factors[0] * value, abs(lifted.factors[0]) * stderr


def _read(operator: LowRank, snaps: Snapshots, calibration: Calibration | None) -> tuple[float, float]:
    """Return the value of an operator and its standard error."""
    vectors, values = operator.diagonal()
    if not values:
        return 0.0, 0.0
    value, stderr, *_ = _native.low_rank(snaps._native, vectors, values, "mean", 1)
    center = sum(values) * 0.5**snaps.n_qubits
    contrast = check_basis_contrast(calibration, snaps.ensemble)
    found = divided(value[0], stderr[0], center, contrast)
    return float(found[0]), float(found[1])
