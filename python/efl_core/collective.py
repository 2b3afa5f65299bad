"""Replicas, simulated, whose mean derivative one pointer reads that is coupled to all of them.

Pointers that are not too narrow disturb the answers less than any measurement of single copies of the same
error (`efl_core.pointers`). A device would need coherent access to all replicas: this is a simulation of it.

Invariant: each reading by itself has its exact law, and so has what is left on average over readings.
Cost: some passes over the amplitudes for a reading: ``2**(n N)`` of a joint state, else ``N 2**n``.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core._native import PauliSum
from efl_core.arguments import array, described, integer, listed
from efl_core.errors import InputTypeError, InvalidInputError, ResourceLimitError, ShapeError
from efl_core.gradients import GradientObservables
from efl_core.observables import Observable, WordLike, read_sum, read_word
from efl_core.pointers import CollectivePointer, damping_of, read_weights

__all__ = ["CollectiveReading", "EntangledFleet"]

MOST_JOINT = 20
"""Qubits of a joint state."""
MOST_DENSE = 10
"""Qubits on which a sum of several words may act: it is diagonalised as a matrix of ``2**10`` rows."""
AT_ONCE = 4
"""Qubits that are turned in one pass over the amplitudes."""

_FLIPS = {"I": 0, "X": 1, "Y": 1, "Z": 0}
_ENTRIES: dict[str, list[complex]] = {"I": [1, 1], "X": [1, 1], "Y": [1j, -1j], "Z": [1, -1]}
"""What a letter multiplies 0 and 1 by, before it flips them or not."""
_TO_Z: dict[str, NDArray[Any]] = {
    "X": np.array([[1, 1], [1, -1]]) / 2**0.5,
    "Y": np.array([[1, -1j], [1, 1j]]) / 2**0.5,
}


@dataclass(frozen=True, slots=True, eq=False)
class CollectiveReading:
    """What pointers showed: numbers for one observable, arrays for those of a gradient."""

    value: NDArray[np.float64] | float
    """Where the pointer stood: unbiased for the weighted mean on the state that it was coupled to."""
    stderr: NDArray[np.float64] | float
    """Standard deviation of the reading on that state, of pointer and states: exact, not estimated."""
    damping: NDArray[np.float64]
    """Factor, for each replica, that answers keep: with sums, they change by at most one minus it."""
    is_joint: bool
    """Whether the state was joint. If not, what follows is independent of the value, right to order 1/N."""

    def __repr__(self) -> str:
        if np.ndim(self.value) == 0:
            return f"CollectiveReading({self.value:.6g} +- {self.stderr:.2g})"
        return f"CollectiveReading({np.size(self.value)} derivatives, damping {self.damping.min():.3g})"


@dataclass(frozen=True, slots=True, eq=False)
class _Basis:
    """An observable in its eigenbasis."""

    qubits: list[int]
    """Where it acts, ascending."""
    values: NDArray[np.float64]
    """Its eigenvalues, by basis states of these qubits."""
    turns: list[tuple[list[int], NDArray[Any]]]
    """Unitaries that lead into the eigenbasis."""

    @property
    def reach(self) -> float:
        """Half of the distance of its extreme eigenvalues: 1 for a word."""
        return float(self.values.max() - self.values.min()) / 2


class EntangledFleet:
    """Replicas, simulated, that a pointer reads together.

    Up to 20 qubits in all, the joint state is kept and everything is exact. Beyond, each replica has a state
    of its own and a pointer turns all of them by one common random angle: each reading by itself, each
    answer, and all expectation values on average, still have their exact law. What a reading says of later
    readings and answers is left out: covariances of order 1 / N.

    Parameters
    ----------
    states
        The state of each replica, ``2**n`` amplitudes, which may differ: those of a mini-batch.
    joint
        Whether to keep the joint state; by default wherever it has at most 20 qubits.
    seed
        0 to 2^64 - 1. Without one, fresh entropy is drawn.

    Examples
    --------
    Readings and answers change the fleet, as measurements do.

    >>> import efl_core as efl
    >>> fleet = efl.EntangledFleet([[0.6, 0.8]] * 5, seed=1)
    >>> found = fleet.read("X", 0.25)
    >>> bool(abs(found.value - 0.96) < 4 * found.stderr), round(float(found.damping[0]), 3)
    (True, 0.726)
    >>> fleet.answer("Z").shape
    (5,)
    """

    __slots__ = ("_joint", "_n_qubits", "_random", "_replicas", "_tensor")

    def __init__(
        self,
        states: ArrayLike | Sequence[ArrayLike],
        *,
        joint: bool | None = None,
        seed: SupportsIndex | None = None,
    ) -> None:
        vectors = _vectors(states)
        self._replicas, self._n_qubits = len(vectors), int(vectors.shape[1]).bit_length() - 1
        total = self._replicas * self._n_qubits
        if joint and total > MOST_JOINT:
            raise ResourceLimitError.of(
                "joint", f"at most {MOST_JOINT} qubits in all", f"{total}; without it each has its own state"
            )
        self._joint = total <= MOST_JOINT if joint is None else bool(joint)
        self._random = _generator(seed)
        shape = (2,) * self._n_qubits
        self._tensor = vectors.reshape(self._replicas, *shape)
        if self._joint:
            joined = vectors[0]
            for vector in vectors[1:]:
                joined = np.kron(joined, vector)
            self._tensor = joined.reshape(1, *shape * self._replicas)

    @property
    def n_qubits(self) -> int:
        """Number of qubits of a replica."""
        return self._n_qubits

    @property
    def is_joint(self) -> bool:
        """Whether the joint state is kept."""
        return self._joint

    @property
    def state(self) -> NDArray[np.complex128]:
        """The amplitudes: joint ones, the first replica most significant; else a row for each replica."""
        shape = (-1,) if self._joint else (self._replicas, -1)
        return self._tensor.reshape(shape).copy()

    def __len__(self) -> int:
        return self._replicas

    def copy(self, *, seed: SupportsIndex | None = None) -> "EntangledFleet":
        """Return a fleet in the same state, with chance of its own."""
        made = object.__new__(EntangledFleet)
        made._joint, made._n_qubits, made._replicas = self._joint, self._n_qubits, self._replicas
        made._tensor, made._random = self._tensor.copy(), _generator(seed)
        return made

    def read(
        self,
        observable: Observable | Sequence[Observable],
        width: SupportsFloat,
        *,
        weights: ArrayLike | None = None,
    ) -> CollectiveReading:
        """Couple a pointer to all replicas, look at it, and leave them as that leaves them.

        Parameters
        ----------
        observable
            What is read, or a list with one for each replica, as where inputs enter between parameters. A
            word of any width, or a sum that acts on at most 10 qubits: it is diagonalised there.
        width
            Standard deviation of the pointer.
        weights
            Weight of each replica, ``1 / N`` if not given.
        """
        pointer = CollectivePointer(width, self._weights(weights))
        return self._read(self._bases(self._sums("observable", observable)), pointer)

    def gradient(
        self,
        observables: GradientObservables | Sequence[GradientObservables],
        width: SupportsFloat,
        *,
        weights: ArrayLike | None = None,
    ) -> CollectiveReading:
        """Read the mean over the replicas of all derivatives, one pointer after another.

        A later pointer finds derivatives that earlier ones damped, as they damp answers.

        Parameters
        ----------
        observables
            Those of the circuit, or a list with those of each replica's.
        width
            Standard deviation of each pointer: a narrow one makes later readings worse.
        weights
            Weight of each replica, ``1 / N`` if not given: those of a loss.

        Examples
        --------
        >>> import efl_core as efl
        >>> circuit = efl.Circuit(1, parameters=[0.7]).ry(efl.Parameter(0), 0)
        >>> fleet = efl.EntangledFleet([efl.simulate(circuit)] * 300, seed=1)
        >>> found = fleet.gradient(efl.gradient_observables(circuit, "Z"), 0.05)
        >>> bool(abs(found.value[0] + np.sin(0.7)) < 4 * found.stderr[0]), round(float(found.damping[0]), 4)
        (True, 0.9978)
        """
        if isinstance(observables, GradientObservables):
            given = [observables]
        else:
            expected = "GradientObservables, or a list with those of each replica"
            given = listed("observables", observables, expected)
            self._check_count("observables", given)
        for i, one in enumerate(given):
            if not isinstance(one, GradientObservables):
                raise InputTypeError.of(f"observables[{i}]", "GradientObservables", type(one).__name__)
            if one.n_qubits != self._n_qubits:
                raise ShapeError.of("observables", f"{self._n_qubits} qubits", f"{one.n_qubits} qubits")
            if one.n_observables != 1:
                raise InvalidInputError.of("observables", "those of one output", one.n_observables)
            if one.n_parameters != given[0].n_parameters:
                expected = f"{given[0].n_parameters} parameters, as the first has"
                raise ShapeError.of(f"observables[{i}]", expected, one.n_parameters)
        pointer = CollectivePointer(width, self._weights(weights))
        rows = [[one.derivative(0, k) for one in given] for k in range(given[0].n_parameters)]
        for row in rows:  # all of them, before the first reading changes anything
            for total in row:
                _check_dense("observables", total)
        spread = 1 if len(given) > 1 else self._replicas
        found = [self._read(self._bases(row * spread), pointer) for row in rows]
        return CollectiveReading(
            np.array([reading.value for reading in found]),
            np.array([reading.stderr for reading in found]),
            np.prod([np.ones(self._replicas), *(reading.damping for reading in found)], axis=0),
            self._joint,
        )

    def expectation(self, observable: Observable | Sequence[Observable]) -> NDArray[np.float64]:
        """Return the exact expectation value on each replica, which measures nothing."""
        places = self._places(self._bases(self._sums("observable", observable)))
        parts = [_chances(_turned(self._tensor[p.rows], p), p) @ p.basis.values for p in places]
        return np.concatenate(parts)

    def answer(self, word: WordLike) -> NDArray[np.int8]:
        """Measure a Pauli word on each replica, and return what was found: 1 or -1."""
        basis = _basis(PauliSum([(read_word("word", word, self._n_qubits), 1.0)]))
        found = []
        for place in self._places([basis] * self._replicas):
            part = _turned(self._tensor[place.rows], place)
            signs = _draw(_chances(part, place), basis.values, self._random)
            part = part * (_along(place, part.ndim) == _by_row(signs, part.ndim))
            part /= _by_row(np.linalg.norm(part.reshape(len(part), -1), axis=1), part.ndim)
            self._tensor[place.rows] = _turned(part, place, back=True)
            found.append(signs)
        return np.concatenate(found).astype(np.int8)

    def _read(self, bases: list[_Basis], pointer: CollectivePointer) -> CollectiveReading:
        read = self._read_joint if self._joint else self._read_apart
        value, variance = read(bases, pointer.weights, pointer.width)
        reaches = np.array([basis.reach for basis in bases])
        damping = damping_of(pointer.weights * reaches, pointer.width)
        return CollectiveReading(value, math.sqrt(variance), damping, self._joint)

    def _read_joint(
        self, bases: list[_Basis], weights: NDArray[np.float64], width: float
    ) -> tuple[float, float]:
        """Return what a pointer shows, and its variance; the state is what the Kraus operator leaves."""
        tensor, places = self._tensor, self._places(bases)
        for place in places:
            tensor = _turned(tensor, place)
        levels = sum(w * _along(place, tensor.ndim) for w, place in zip(weights, places, strict=True))
        levels = np.asarray(levels)
        rest = tuple(axis for axis in range(tensor.ndim) if levels.shape[axis] == 1)
        chances = (np.abs(tensor) ** 2).sum(axis=rest, keepdims=True).reshape(1, -1)
        level = float(_draw(chances, levels.ravel(), self._random)[0])
        value = level + width * self._random.standard_normal()
        variance = width * width + float(_moments(chances, levels.ravel())[1][0])
        tensor = tensor * kraus(value, levels, width)
        tensor /= np.linalg.norm(tensor)
        for place in places:
            tensor = _turned(tensor, place, back=True)
        self._tensor = np.ascontiguousarray(tensor)
        return value, variance

    def _read_apart(
        self, bases: list[_Basis], weights: NDArray[np.float64], width: float
    ) -> tuple[float, float]:
        """Return what a pointer shows, and its variance; one random angle turns all states."""
        # exp(-(a - b)^2 / (8 s^2)), the factor on an entry of the joint density matrix between eigenvalues a
        # and b, is the mean of exp(-i k (a - b)) over k of variance 1 / (4 s^2).
        kick = self._random.standard_normal() / (2 * width)
        value, variance = width * self._random.standard_normal(), width * width
        for place in self._places(bases):
            own = weights[place.members]
            part = _turned(self._tensor[place.rows], place)
            chances = _chances(part, place)
            value += float(own @ _draw(chances, place.basis.values, self._random))
            variance += float(own**2 @ _moments(chances, place.basis.values)[1])
            turned = part * np.exp(-1j * kick * _by_row(own, part.ndim) * _along(place, part.ndim))
            self._tensor[place.rows] = _turned(turned, place, back=True)
        return value, variance

    def _places(self, bases: list[_Basis]) -> list["_Place"]:
        n, each = self._n_qubits, range(self._replicas)
        if self._joint:
            return [_Place(slice(0, 1), 1 + i * n, slice(i, i + 1), bases[i]) for i in each]
        if all(basis is bases[0] for basis in bases):
            return [_Place(slice(None), 1, slice(None), bases[0])]
        return [_Place(slice(i, i + 1), 1, slice(i, i + 1), bases[i]) for i in each]

    def _sums(self, name: str, observable: Observable | Sequence[Observable]) -> list[PauliSum]:
        """Return what is read of each replica."""
        given: Any = observable
        if isinstance(given, (list, tuple)):
            self._check_count(name, given)
            names = [f"{name}[{i}]" for i in range(len(given))]
        else:
            given, names = [given], [name]
        sums = [read_sum(own, one, self._n_qubits) for own, one in zip(names, given, strict=True)]
        for own, total in zip(names, sums, strict=True):
            _check_dense(own, total)
        return sums if len(sums) > 1 else sums * self._replicas

    def _bases(self, sums: list[PauliSum]) -> list[_Basis]:
        """Return eigenbases, one and the same object for equal neighbours."""
        made = [_basis(sums[0])]
        for last, total in itertools.pairwise(sums):
            same = total is last or total == last
            made.append(made[-1] if same else _basis(total))
        return made

    def _check_count(self, name: str, given: Sequence[object]) -> None:
        if len(given) != self._replicas:
            raise ShapeError.of(name, f"one for all or {self._replicas}, one for each replica", len(given))

    def _weights(self, weights: ArrayLike | None) -> NDArray[np.float64]:
        if weights is None:
            return read_weights("weights", self._replicas)
        if array("weights", weights, "a number for each replica").ndim == 0:
            raise InputTypeError.of("weights", "a number for each replica", described(weights))
        found = read_weights("weights", weights)
        if len(found) != self._replicas:
            raise ShapeError.of("weights", f"{self._replicas}, one for each replica", len(found))
        return found

    def __repr__(self) -> str:
        kind = "joint state" if self._joint else "states apart"
        return f"EntangledFleet({self._replicas} replicas of {self._n_qubits} qubits, {kind})"


@dataclass(frozen=True, slots=True, eq=False)
class _Place:
    """Where an observable is in the amplitudes: a joint state is one row, else each replica has one."""

    rows: slice
    at: int
    """The axis of the replica's first qubit."""
    members: slice
    """The replicas that it belongs to: as many as rows."""
    basis: _Basis

    def axes(self, qubits: list[int]) -> list[int]:
        return [self.at + q for q in qubits]


def kraus(value: float, levels: NDArray[np.float64], width: float) -> NDArray[np.float64]:
    """Return the Kraus operator of a pointer that shows a value, on eigenvalues of what it reads."""
    # Beyond 40 the factor is zero in double precision; squares would overflow.
    distance = np.minimum(np.abs(value - levels) / (2 * width), 40)
    factor: NDArray[np.float64] = np.exp(-(distance**2)) / (2 * math.pi * width * width) ** 0.25
    return factor


def _support(observable: PauliSum) -> list[int]:
    return sorted({q for word in observable.words for q in word.support})


def _check_dense(name: str, observable: PauliSum) -> None:
    """Refuse a sum that would be too large a matrix."""
    if len(observable) > 1 and len(_support(observable)) > MOST_DENSE:
        expected = f"a word, or a sum that acts on at most {MOST_DENSE} qubits"
        got = f"{len(observable)} words on {len(_support(observable))} qubits"
        raise InvalidInputError.of(name, expected, got)


def _basis(observable: PauliSum) -> _Basis:
    """Return a word, or a sum on a few qubits, in its eigenbasis."""
    terms, support = observable.terms(), _support(observable)
    letters = [[word.support.get(q, "I") for q in support] for word, _ in terms]
    if len(terms) == 1:
        each = [(q, _TO_Z[x]) for q, x in zip(support, letters[0], strict=True) if x in _TO_Z]
        parts = [each[i : i + AT_ONCE] for i in range(0, len(each), AT_ONCE)]
        turns = [([q for q, _ in part], reduce(np.kron, [turn for _, turn in part])) for part in parts]
        return _Basis(support, terms[0][1] * _joined([[1.0, -1.0]] * len(support)), turns)
    if not support:
        return _Basis([], np.array([0.0]), [])
    size = 1 << len(support)
    matrix, columns = np.zeros((size, size), dtype=np.complex128), np.arange(size)
    for (_, coefficient), row in zip(terms, letters, strict=True):
        flips = int("".join(str(_FLIPS[letter]) for letter in row), 2)
        matrix[columns ^ flips, columns] += coefficient * _joined([_ENTRIES[letter] for letter in row])
    values, vectors = np.linalg.eigh(matrix)
    return _Basis(support, values, [(support, vectors.conj().T)])


def _joined(factors: list[list[Any]]) -> NDArray[Any]:
    """Return the products of one entry of each, the first most significant."""
    found: NDArray[Any] = np.ones(1)
    for factor in factors:
        found = np.multiply.outer(found, np.array(factor)).ravel()
    return found


def _turned(tensor: NDArray[np.complex128], place: _Place, *, back: bool = False) -> NDArray[np.complex128]:
    """Return amplitudes in the eigenbasis of an observable, or back from there."""
    for qubits, matrix in place.basis.turns:
        k, axes = len(qubits), place.axes(qubits)
        table = (matrix.conj().T if back else matrix).reshape((2,) * (2 * k))
        tensor = np.moveaxis(np.tensordot(table, tensor, axes=(range(k, 2 * k), axes)), range(k), axes)
    return tensor


def _along(place: _Place, dimensions: int) -> NDArray[np.float64]:
    """Return the eigenvalues in the shape in which they multiply amplitudes."""
    shape = [1] * dimensions
    for axis in place.axes(place.basis.qubits):
        shape[axis] = 2
    return place.basis.values.reshape(shape)


def _by_row(values: NDArray[np.float64], dimensions: int) -> NDArray[np.float64]:
    return values.reshape(-1, *(1,) * (dimensions - 1))


def _chances(tensor: NDArray[np.complex128], place: _Place) -> NDArray[np.float64]:
    """Return the probability of each eigenvalue, a row for each row."""
    kept = {0, *place.axes(place.basis.qubits)}
    rest = tuple(axis for axis in range(tensor.ndim) if axis not in kept)
    found: NDArray[np.float64] = (np.abs(tensor) ** 2).sum(axis=rest).reshape(len(tensor), -1)
    return found


def _draw(
    chances: NDArray[np.float64], values: NDArray[np.float64], random: "np.random.Generator"
) -> NDArray[np.float64]:
    """Return a value for each row."""
    sums = np.cumsum(chances, axis=1)
    below = sums <= random.random(len(chances))[:, np.newaxis] * sums[:, -1:]
    found: NDArray[np.float64] = values[np.minimum(below.sum(axis=1), len(values) - 1)]
    return found


def _moments(
    chances: NDArray[np.float64], values: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the mean and the variance of each row."""
    mean: NDArray[np.float64] = chances @ values
    variance: NDArray[np.float64] = (chances * (values - mean[:, np.newaxis]) ** 2).sum(axis=1)
    return mean, variance


def _vectors(states: ArrayLike | Sequence[ArrayLike]) -> NDArray[np.complex128]:
    found = array("states", states, "amplitudes, a row for each replica")  # type: ignore[arg-type]
    if found.ndim != 2 or found.shape[1] < 2 or found.shape[1] & (found.shape[1] - 1) or not len(found):
        raise ShapeError.of("states", "shape (replicas, 2^n)", found.shape)
    if found.shape[1] > 1 << 30:
        raise ShapeError.of("states", "at most 30 qubits", found.shape)
    vectors: NDArray[np.complex128] = np.array(found, dtype=np.complex128, order="C")
    norms = np.linalg.norm(vectors, axis=1)
    bad = ~(np.abs(norms - 1) < 1e-6)  # NaN as well
    if bad.any():
        i = int(np.argmax(bad))
        raise InvalidInputError.of(f"states[{i}]", "a normalised vector", f"norm {norms[i]:.6g}")
    vectors /= norms[:, np.newaxis]
    return vectors


def _generator(seed: SupportsIndex | None) -> "np.random.Generator":
    return np.random.default_rng(None if seed is None else integer("seed", seed, 0, 2**64 - 1))
