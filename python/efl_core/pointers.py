"""What a pointer that is coupled to several replicas at once tells of their mean, and what it costs them.

Formulas: the error of a reading, what it leaves of the answers, and what any measurement of single copies
would leave. `efl_core.collective` simulates replicas that are read so.

Invariant: a pointer of width s on ``D = sum w_i D_i`` has the Kraus operators
``exp(-(x - D)**2 / (4 s**2)) / (2 pi s**2)**(1/4)``.
Cost: numpy operations on one number for each replica.
"""

import math
from typing import SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import array, described, integer, real
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError

__all__ = ["CollectivePointer", "damping_of", "read_weights"]

MOST_REPLICAS = 10**7


class CollectivePointer:
    """What one pointer tells of N replicas, and what it costs them.

    Formulas, without a simulation. They hold for observables whose square is one, as that of a Pauli word;
    where the square is at most one, errors and damping are no worse than they say.

    Parameters
    ----------
    width
        Standard deviation of the pointer, above zero: narrow ones read well and disturb.
    replicas
        How many, each with the weight ``1 / N``; or a weight for each, as those of a mini-batch.

    Examples
    --------
    >>> import efl_core as efl
    >>> pointer = efl.CollectivePointer(0.25, 5)
    >>> pointer.damping.round(3)
    array([0.726, 0.726, 0.726, 0.726, 0.726])
    >>> round(pointer.gentle_damping, 3), round(pointer.split_damping, 3)
    (0.488, 0.238)
    """

    __slots__ = ("_weights", "_width")

    def __init__(self, width: SupportsFloat, replicas: SupportsIndex | ArrayLike) -> None:
        self._width = _positive("width", width)
        self._weights = read_weights("replicas", replicas)

    @classmethod
    def of_damping(cls, damping: SupportsFloat, replicas: SupportsIndex | ArrayLike) -> "CollectivePointer":
        """Return the narrowest pointer that damps no replica's answer by a smaller factor than this.

        >>> import efl_core as efl
        >>> efl.CollectivePointer.of_damping(0.95, 20)
        CollectivePointer(width=0.156, 20 replicas)
        """
        weights = read_weights("replicas", replicas)
        factor = _share("damping", damping)
        return cls(float(np.abs(weights).max()) / math.sqrt(-2 * math.log(factor)), weights)

    @classmethod
    def of_error(cls, error: SupportsFloat, replicas: SupportsIndex | ArrayLike) -> "CollectivePointer":
        """Return the pointer whose reading has this standard error where all expectation values are zero.

        >>> import efl_core as efl
        >>> efl.CollectivePointer.of_error(0.3, 20)
        CollectivePointer(width=0.2, 20 replicas)
        """
        weights = read_weights("replicas", replicas)
        wanted, least = _positive("error", error), math.sqrt(float((weights**2).sum()))
        if wanted <= least:
            raise InvalidInputError.of("error", f"more than {least:.4g}, that of projective readings", wanted)
        return cls(math.sqrt((wanted - least) * (wanted + least)), weights)

    @classmethod
    def of_gradient(
        cls,
        parameters: SupportsIndex,
        *,
        error: SupportsFloat,
        damping: SupportsFloat,
        commutators: SupportsFloat | None = None,
    ) -> "CollectivePointer":
        """Return the pointer of the smallest fleet that reads all derivatives, one after another.

        Parameters
        ----------
        parameters
            How many derivatives are read.
        error
            Standard error of each where its expectation value is zero.
        damping
            Factor on the answers, at least, that all readings together leave.
        commutators
            Sum over the earlier readings of ``mean(<i [D_j, D_k]>)**2`` over the replicas. 0 where they
            commute on average; at most 4 where all of them anticommute; if not given the worst,
            ``4 (parameters - 1)``.

        Examples
        --------
        >>> import efl_core as efl
        >>> efl.CollectivePointer.of_gradient(100, error=0.1, damping=0.95, commutators=0).replicas
        367
        """
        count = integer("parameters", parameters, 1)
        wanted, loss = _positive("error", error) ** 2, -math.log(_share("damping", damping))
        square = 4.0 * (count - 1) if commutators is None else real("commutators", commutators)
        if not (0 <= square < math.inf):
            raise InvalidInputError.of("commutators", "a finite number that is not negative", square)

        def squared_width(n: int) -> float:
            # No narrower than the damping allows; wider where the kicks of earlier pointers then cost less.
            return max(count / (2 * loss * n * n), math.sqrt(square) / (2 * n))

        def enough(n: int) -> bool:
            width = squared_width(n)
            return width + square / (4 * n * n * width) + 1 / n <= wanted

        most = 1
        while not enough(most):
            most *= 2
            if most > MOST_REPLICAS:
                raise InvalidInputError.of("error", "one that 10^7 replicas reach", math.sqrt(wanted))
        least = most // 2  # not enough, or zero
        while most - least > 1:
            middle = (least + most) // 2
            least, most = (least, middle) if enough(middle) else (middle, most)
        return cls(math.sqrt(squared_width(most)), most)

    @staticmethod
    def break_even(replicas: SupportsIndex) -> float:
        """Return the width at which single copies do as well as N replicas of equal weight.

        Wider pointers damp less than any measurement of single copies of the same error, narrower ones more.
        For one replica it is infinite.

        >>> import efl_core as efl
        >>> [round(efl.CollectivePointer.break_even(n), 3) for n in (1, 2, 5)]
        [inf, 0.446, 0.123]
        """
        n = integer("replicas", replicas, 1)
        if n == 1:
            return math.inf
        # exp(-u / N) = 1 / (1 + u), with u = 1 / (N width^2): falls to the root above zero from any larger u.
        u, last = 4.0 * n * n, math.inf
        while u < last:
            last, u = u, n * math.log1p(u)
        return 1 / math.sqrt(n * u)

    @property
    def width(self) -> float:
        """Standard deviation of the pointer."""
        return self._width

    @property
    def weights(self) -> NDArray[np.float64]:
        """Weight of each replica in what is read."""
        return self._weights.copy()

    @property
    def replicas(self) -> int:
        """Number of replicas."""
        return len(self._weights)

    @property
    def damping(self) -> NDArray[np.float64]:
        """Factor, for each replica, on expectation values of what anticommutes with the word that is read."""
        return damping_of(self._weights, self._width)

    @property
    def gentle_damping(self) -> float:
        """Factor that the best measurement of single copies would leave at the same error.

        It is that of a gentle measurement, of the same strength on all, by the law
        ``1 / V_derivative + 1 / V_answer <= 1``.
        """
        return math.sqrt(self.split_damping)

    @property
    def split_damping(self) -> float:
        """Factor that is left at the same error where each replica teaches with some chance, else answers."""
        square = self._width * self._width
        return square / (square + float((self._weights**2).sum()))

    def variance(self, expectations: ArrayLike = 0.0) -> float:
        """Return the variance of a reading of uncorrelated replicas, which is unbiased.

        Parameters
        ----------
        expectations
            Expectation value of what is read, on each replica or one for all; 0, the worst, if not given.

        Examples
        --------
        >>> import efl_core as efl
        >>> round(efl.CollectivePointer(0.25, 5).variance(), 4)
        0.2625
        """
        values = self._each("expectations", expectations)
        if (np.abs(values) > 1 + 1e-9).any():
            raise InvalidInputError.of("expectations", "values from -1 to 1", f"{np.abs(values).max():.6g}")
        spread = np.maximum(1 - values**2, 0)
        return float(self._width * self._width + (self._weights**2 * spread).sum())

    def extra_variance(self, commutators: ArrayLike) -> float:
        """Return what this pointer adds to the variance of a later mean over the replicas, to leading order.

        It kicks all replicas alike, so a mean over them does not average the kick away: that of a later
        pointer of these weights, which else has the `variance` of damped expectation values; that of answers.

        Parameters
        ----------
        commutators
            ``<i [D, B]>`` on each replica, or one for all: D is what this pointer reads, B what comes later.

        Examples
        --------
        >>> import efl_core as efl
        >>> round(efl.CollectivePointer(0.25, 5).extra_variance(1.0), 4)
        0.128
        """
        kicks = self._weights**2 * self._each("commutators", commutators) / (2 * self._width)
        # Of pairs of different replicas: that of one replica with itself is in its own variance.
        return float(kicks.sum() ** 2 - (kicks**2).sum())

    def _each(self, name: str, value: ArrayLike) -> NDArray[np.float64]:
        found = array(name, value, "real numbers, one for each replica")
        if found.dtype.kind == "c" or not np.isfinite(found).all():
            raise InvalidInputError.of(name, "finite real numbers", "others")
        if found.shape not in ((), self._weights.shape):
            raise ShapeError.of(name, f"a number or {self.replicas}, one for each replica", found.shape)
        return np.broadcast_to(found.astype(np.float64), self._weights.shape)

    def __repr__(self) -> str:
        return f"CollectivePointer(width={self._width:.3g}, {self.replicas} replicas)"


def damping_of(weights: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the factor of each replica, on what anticommutes with a word that is read."""
    found: NDArray[np.float64] = np.exp(-((weights / width) ** 2) / 2)
    return found


def read_weights(name: str, value: object) -> NDArray[np.float64]:
    """Return a weight for each replica: of a number of them, equal ones."""
    expected = "a number of replicas, or real numbers, one for each"
    found = array(name, value, expected)  # type: ignore[arg-type]
    if found.ndim == 0:
        count = integer(name, value, 1, MOST_REPLICAS)
        return np.full(count, 1 / count)
    if found.ndim != 1:
        raise ShapeError.of(name, "a number for each replica", found.shape)
    if found.dtype.kind == "c":
        raise InputTypeError.of(name, expected, f"dtype {found.dtype}")
    weights: NDArray[np.float64] = np.array(found, dtype=np.float64)
    if not (np.abs(weights) <= 1e9).all() or not weights.any():
        raise InvalidInputError.of(name, "weights from -1e9 to 1e9, not all zero", described(value))
    return weights


def _positive(name: str, value: object) -> float:
    """Return a number whose square, and that of its inverse, are no trouble."""
    found = real(name, value)
    if not 1e-9 <= found <= 1e9:
        raise InvalidInputError.of(name, "a number from 1e-9 to 1e9", found)
    return found


def _share(name: str, value: object) -> float:
    found = real(name, value)
    if not 0 < found < 1:
        raise InvalidInputError.of(name, "a factor above 0 and below 1", found)
    return found
