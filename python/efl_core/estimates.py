"""Counts, and values with error bars.

`tally` counts (integers, mergeable); `estimate` turns snapshots or tallies into values and standard errors.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal, SupportsIndex, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core._native import Tally
from efl_core.arguments import integer
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import Observable, PauliWord, WordLike, read_observables
from efl_core.snapshots import Snapshots

__all__ = ["Combine", "Estimate", "Tally", "estimate", "tally"]

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
        raise InputTypeError(f"snaps: expected Snapshots, got {type(snaps).__name__}")
    if isinstance(words, (str, PauliWord)):
        words = [words]
    if not isinstance(words, Iterable):
        raise InputTypeError(f"words: expected a sequence of Pauli words, got {type(words).__name__}")
    listed: list[Any] = [words] if isinstance(words, Mapping) else list(words)
    return _native.tally(snaps._native, listed, integer("buckets", buckets, 1))


def estimate(
    data: Snapshots | Tally,
    observables: Observable | Iterable[Observable] | None = None,
    *,
    combine: Combine = "mean",
    buckets: SupportsIndex | None = None,
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
        ``"median_of_means"``: the median over ``buckets`` of the means of the observable (PennyLane takes
        the median word by word; the two agree for words).
    buckets
        Only for ``"median_of_means"`` of snapshots; by default the smallest odd number that is at least
        ``2 log(2 M / 0.05)``, the theory's choice for a 5 % chance of an outlier among M observables.

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
            raise InvalidInputError("buckets: expected none with a Tally, which has its own, got one")
        wanted = data.words if observables is None else observables
        check_rule(combine)
        compiled, single = read_observables(wanted, data.ensemble.n_qubits)
        columns = _native.estimate_tally(data, compiled, combine)
        return _estimate(columns, single)
    if not isinstance(data, Snapshots):
        raise InputTypeError(f"data: expected Snapshots or a Tally, got {type(data).__name__}")
    if observables is None:
        raise InvalidInputError("observables: expected a Pauli word or sum, or a list of them, got none")
    compiled, single = read_observables(observables, data.n_qubits)
    count = check_combination(combine, buckets, len(compiled), len(data))
    return _estimate(_native.estimate(data._native, compiled, combine, count), single)


def check_rule(combine: str) -> None:
    """Refuse an unknown combination rule."""
    if combine not in get_args(Combine):
        *others, last = (repr(rule) for rule in get_args(Combine))
        raise InvalidInputError(f"combine: expected {', '.join(others)} or {last}, got {combine!r}")


def check_combination(combine: str, buckets: SupportsIndex | None, observables: int, shots: int) -> int:
    """Return the number of buckets that a rule takes, 1 unless medians are combined."""
    check_rule(combine)
    if combine == "median_of_means":
        if buckets is not None:
            return integer("buckets", buckets, 1)
        wanted = math.ceil(2 * math.log(2 * max(observables, 1) / 0.05))
        return max(1, min(wanted + 1 - wanted % 2, shots))
    if buckets is not None:
        raise InvalidInputError(f"buckets: expected none unless combine='median_of_means', got {buckets!r}")
    return 1


def _estimate(
    columns: tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.uint64], int], single: bool
) -> Estimate:
    value, stderr, revealed, shots = columns
    if single:
        return Estimate(float(value[0]), float(stderr[0]), int(revealed[0]), shots)
    return Estimate(value, stderr, revealed, shots)
