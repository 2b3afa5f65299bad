"""Counts, and values with error bars.

`tally` counts (integers, mergeable); `estimate` turns snapshots or tallies into values and standard errors;
`gradient` does so for the value and all derivatives of a circuit at once.
"""

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core._native import Ensemble, Tally
from efl_core.arguments import described, integer, listed
from efl_core.calibrations import (
    BasisCalibration,
    Calibration,
    check_basis_contrast,
    check_calibration,
    divided,
)
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.gradients import GradientObservables
from efl_core.observables import Observable, PauliWord, WordLike, read_observables, without_operators
from efl_core.snapshots import Snapshots

__all__ = ["Combine", "Estimate", "Gradient", "Tally", "estimate", "gradient", "tally"]

Combine: TypeAlias = Literal["mean", "hit_normalised", "median_of_means"]
"""How snapshots become a value; see `estimate`."""


@dataclass(frozen=True, slots=True, eq=False)
class Estimate:
    """Values with standard errors: arrays for a list of observables, numbers for a single one."""

    value: NDArray[np.float64] | float
    """Estimated expectation values."""
    stderr: NDArray[np.float64] | float
    """Standard error of each value."""
    revealed: NDArray[np.uint64] | int
    """How many snapshots revealed the observable (for a sum: its rarest word)."""
    shots: int
    """Number of snapshots used."""
    unrevealed: NDArray[np.float64] | float = 0.0
    """1-norm of the words that no snapshot revealed: their part of the value is zero."""

    def __len__(self) -> int:
        return int(np.size(self.value))

    def __repr__(self) -> str:
        if np.ndim(self.value) == 0:
            return f"Estimate({self.value:.6g} +- {self.stderr:.2g}, shots={self.shots})"
        shown = [f"{v:.6g} +- {e:.2g}" for v, e in zip(self.value[:4], self.stderr[:4], strict=True)]  # type: ignore[index]
        more = ", ..." if len(self) > 4 else ""
        return f"Estimate([{', '.join(shown)}{more}], {len(self)} observables, shots={self.shots})"


def tally(snaps: Snapshots, words: Iterable[WordLike] | WordLike, *, buckets: SupportsIndex = 1) -> Tally:
    """Count how often each word was revealed, and with which sign.

    Parameters
    ----------
    snaps
        The snapshots.
    words
        Pauli words; the tally keeps their order and repetitions.
    buckets
        Number of contiguous parts that are counted apart. Sums of words need at least two (better 32) to
        get an error bar from a tally, because counts of single words hold no covariances.

    Examples
    --------
    Replicas count, a coordinator adds; the result has the bits of a single count.

    >>> import efl_core as efl
    >>> words = ["ZZ", "XX"]
    >>> parts = [efl.tally(efl.sample([1, 0, 0, 0], shots=5000, seed=s), words) for s in range(4)]
    >>> total = sum(parts)
    >>> total
    Tally(2 words of 2 qubits, 20000 shots, 1 buckets)
    >>> efl.estimate(total, "ZZ")
    Estimate(0.9783 +- 0.02, shots=20000)
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    words = without_operators("words", words, snaps.n_qubits, words=True)
    one = isinstance(words, (str, PauliWord, Mapping))
    found: list[Any] = [words] if one else listed("words", words, "a sequence of Pauli words")
    return _native.tally(snaps._native, found, integer("buckets", buckets, 1))


def estimate(
    data: Snapshots | Tally,
    observables: Observable | Iterable[Observable] | None = None,
    *,
    combine: Combine = "mean",
    buckets: SupportsIndex | None = None,
    calibration: Calibration | BasisCalibration | None = None,
) -> Estimate:
    """Estimate expectation values, each with its standard error.

    Parameters
    ----------
    data
        Snapshots, or a tally that counted every word needed.
    observables
        A Pauli word (``"XIZ"``, ``{0: "X"}``, `PauliWord`), a sum (``{"XX": 0.5, "ZI": 1}``, `PauliSum`), or
        a list of them. One observable gives numbers, a list gives arrays. For a tally the default is its
        own words.
    combine
        ``"mean"``: the mean over all snapshots, unbiased. ``"hit_normalised"``: the mean over the snapshots
        that reveal a word; less error when hits are many, 0 with error 1 when there are none (its error bars
        are those of a normal distribution from about 50 hits on).
        Of a list of settings in fixed numbers of shots (`Snapshots.allocated`) the two are one: the latter.
        ``"median_of_means"``: the median over ``buckets`` of the means of the observable (PennyLane takes
        the median word by word; the two agree for words).
    buckets
        Only for ``"median_of_means"`` of snapshots; by default the smallest odd number that is at least
        ``2 log(2 M / 0.05)``, the theory's choice for a 5 % chance of an outlier among M observables.
    calibration
        Contrasts of the readout that took the snapshots: signs are divided by them, and errors include
        theirs. Of snapshots in letters, in a list of settings, or in random bases that are twirled.

    Returns
    -------
    Estimate
        ``value``, ``stderr``, ``revealed`` and ``shots``. The error of a sum includes the covariances of its
        words.

    Examples
    --------
    >>> import efl_core as efl
    >>> snaps = efl.sample([2**-0.5, 0, 0, 2**-0.5], shots=50_000, seed=1)
    >>> found = efl.estimate(snaps, ["XX", {"ZZ": 0.5, "XX": 0.5}])
    >>> found.value.round(1), bool((found.stderr < 0.02).all())
    (array([1., 1.]), True)
    """
    if isinstance(data, Tally):
        if buckets is not None:
            raise InvalidInputError.of("buckets", "none with a Tally, which has its own", "one")
        wanted = data.words if observables is None else observables
        check_rule(combine)
        compiled, single = read_observables(wanted, data.ensemble.n_qubits)
        columns = _calibrated(
            lambda contrasts: _native.estimate_tally(data, compiled, combine, contrasts),
            calibration,
            data.ensemble,
            compiled,
        )
        return _estimate(columns, single)
    if not isinstance(data, Snapshots):
        raise InputTypeError.of("data", "Snapshots or a Tally", type(data).__name__)
    if observables is None:
        raise InvalidInputError.of("observables", "a Pauli word or sum, or a list of them", "none")
    compiled, single = read_observables(observables, data.n_qubits)
    count = check_combination(combine, buckets, len(compiled), len(data))
    columns = _calibrated(
        lambda contrasts: _native.estimate(data._native, compiled, combine, count, contrasts),
        calibration,
        data.ensemble,
        compiled,
    )
    return _estimate(columns, single)


@dataclass(frozen=True, slots=True, eq=False)
class Gradient:
    """Values and gradients estimated from snapshots; with a leading axis if there are several observables."""

    value: NDArray[np.float64] | float
    """Estimated value of the observable; NaN if the ensemble was not designed to reveal its words."""
    value_stderr: NDArray[np.float64] | float
    """Its standard error."""
    gradient: NDArray[np.float64]
    """Estimated derivative by each parameter."""
    stderr: NDArray[np.float64]
    """Standard error of each derivative, covariances between its words included."""
    revealed: NDArray[np.uint64]
    """How many snapshots revealed the rarest word of each derivative."""
    bound: NDArray[np.float64]
    """How far each derivative may be off besides, because of truncation."""
    shots: int
    """Number of snapshots used."""

    def __repr__(self) -> str:
        rms = float(np.sqrt(np.mean(np.square(self.stderr)))) if self.stderr.size else 0.0
        return f"Gradient({self.gradient.shape[-1]} parameters, rms stderr {rms:.2g}, shots={self.shots})"


def gradient(
    snaps: Snapshots,
    observables: GradientObservables,
    *,
    combine: Combine = "mean",
    buckets: SupportsIndex | None = None,
    calibration: Calibration | BasisCalibration | None = None,
) -> Gradient:
    """Estimate the value and all derivatives from one set of snapshots of the final state.

    Parameters
    ----------
    snaps
        Snapshots of the state at the parameters that the observables were made (or rebased) for.
    observables
        Made by `gradient_observables`.
    combine, buckets, calibration
        As in `estimate`.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(1, parameters=[0.3]).ry(efl.Parameter(0), 0)
    >>> state = [np.cos(0.15), np.sin(0.15)]
    >>> found = efl.gradient(efl.sample(state, shots=50_000, seed=3), efl.gradient_observables(circuit, "Z"))
    >>> bool(abs(found.gradient[0] + np.sin(0.3)) < 5 * found.stderr[0])
    True
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    if not isinstance(observables, GradientObservables):
        raise InputTypeError.of(
            "observables", "the result of gradient_observables", type(observables).__name__
        )
    if snaps.n_qubits != observables.n_qubits:
        raise ShapeError.of(
            "snaps", f"{observables.n_qubits} qubits, as the circuit has", f"{snaps.n_qubits} qubits"
        )
    rows, single = observables.n_observables, observables._single
    count = check_combination(combine, buckets, len(observables._native.row_lengths()), len(snaps))
    value, stderr, revealed, _, shots = _calibrated(
        lambda contrasts: _native.estimate_gradient(
            snaps._native, observables._native, combine, count, contrasts
        ),
        calibration,
        snaps.ensemble,
        observables._native,
    )
    shape = (observables.n_parameters,) if single else (rows, observables.n_parameters)
    return Gradient(
        value=float(value[0]) if single else value[:rows],
        value_stderr=float(stderr[0]) if single else stderr[:rows],
        gradient=value[rows:].reshape(shape),
        stderr=stderr[rows:].reshape(shape),
        revealed=revealed[rows:].reshape(shape),
        bound=observables._native.dropped_rows()[rows:].reshape(shape),
        shots=shots,
    )


def check_rule(combine: str) -> None:
    """Refuse an unknown combination rule."""
    if combine not in get_args(Combine):
        *others, last = (repr(rule) for rule in get_args(Combine))
        raise InvalidInputError.of("combine", f"{', '.join(others)} or {last}", described(combine))


def check_combination(combine: str, buckets: SupportsIndex | None, observables: int, shots: int) -> int:
    """Return the number of buckets that a rule takes, 1 unless medians are combined."""
    check_rule(combine)
    if combine == "median_of_means":
        if buckets is not None:
            return integer("buckets", buckets, 1)
        wanted = math.ceil(2 * math.log(2 * max(observables, 1) / 0.05))
        return max(1, min(wanted + 1 - wanted % 2, shots))
    if buckets is not None:
        raise InvalidInputError.of("buckets", "none unless combine='median_of_means'", described(buckets))
    return 1


_Columns: TypeAlias = tuple[
    NDArray[np.float64], NDArray[np.float64], NDArray[np.uint64], NDArray[np.float64], int
]


def _calibrated(
    columns: Callable[[_native.Calibration | None], _Columns],
    calibration: Calibration | BasisCalibration | None,
    ensemble: Ensemble,
    observables: _native.Observables | _native.GradientObservables,
) -> _Columns:
    """Return columns of estimates, divided by contrasts: of each word, or in random bases the one of all."""
    if ensemble.kind != "global_clifford":
        return columns(check_calibration(calibration, ensemble.n_qubits))
    contrast = check_basis_contrast(calibration, ensemble)
    value, stderr, *others = columns(None)
    return (*divided(value, stderr, observables.constants(), contrast), *others)


def _estimate(columns: _Columns, single: bool) -> Estimate:
    value, stderr, revealed, unrevealed, shots = columns
    if single:
        return Estimate(float(value[0]), float(stderr[0]), int(revealed[0]), shots, float(unrevealed[0]))
    return Estimate(value, stderr, revealed, shots, unrevealed)
