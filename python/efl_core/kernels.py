"""Kernels of data points by the reduced states that they are embedded as, and how to train the embedding.

N states are measured once each; all ``N (N - 1) / 2`` entries of a kernel, and the derivatives of its
alignment with labels by all parameters, follow from the words that the snapshots reveal.

Invariant: squared distances are unbiased; what is curved in them, a kernel or an alignment, is not quite.
Cost: an estimate of some words for each state, then a product of N x N matrices, for a gradient one for each
parameter; see `alignment_gradient` for its own.
"""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from typing import SupportsFloat, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import array, described, integer, listed, real
from efl_core.circuits import Circuit
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.estimates import Gradient, estimate, gradient
from efl_core.gradients import GradientObservables, gradient_observables
from efl_core.observables import PauliSum, PauliWord
from efl_core.parts import Part, check_states
from efl_core.snapshots import Snapshots

__all__ = ["alignment_gradient", "kernel_alignment", "projected_kernel"]

_Matrix: TypeAlias = NDArray[np.float64]

_WIDEST = 4
"""Qubits of a part: it has ``4**k`` words."""


def projected_kernel(
    states: Iterable[Snapshots],
    others: Iterable[Snapshots] | None = None,
    *,
    gamma: SupportsFloat,
    parts: Iterable[Part] | None = None,
) -> NDArray[np.float64]:
    """Return ``exp(-gamma * sum_A ||rho_A - sigma_A||_F^2)`` for all pairs of measured states.

    A is each qubit by itself: entries do not fade with the number of qubits as those of `shadow_kernel` do,
    and neither does their error grow fast with it. What ``sklearn.svm.SVC(kernel="precomputed")`` takes:
    ``fit(projected_kernel(train, gamma=1), labels)`` and ``predict(projected_kernel(test, train, gamma=1))``.

    Parameters
    ----------
    states
        Snapshots of each state, in an ensemble that reveals all words of the parts.
    others
        The states of the columns, measured apart from those of the rows; those of the rows if not given.
    gamma
        How fast the kernel falls with the squared distance, above 0.
    parts
        Which reduced states are compared: sequences of one to four qubits; each qubit by itself if not given.

    Returns
    -------
    array
        Squared distances are unbiased: their own noise is taken off. So an entry may be above 1, and the
        kernel is positive semidefinite up to a shift of the diagonal (`docs/whole_state.md`). Entries are
        too high by ``gamma**2 * variance / 2`` of them on average, which falls as one over the snapshots.

    Examples
    --------
    >>> import efl_core as efl
    >>> states = [[1, 0], [0.6, 0.8], [0, 1]]
    >>> snaps = [efl.sample(state, shots=100_000, seed=i) for i, state in enumerate(states)]
    >>> efl.projected_kernel(snaps, gamma=0.5).round(1)
    array([[1. , 0.5, 0.4],
           [0.5, 1. , 0.7],
           [0.4, 0.7, 1. ]])
    """
    rows = check_states("states", states)
    metric = _metric(parts, rows[0].n_qubits)
    rate = _rate(gamma)
    left = _measured("states", rows, metric, 2)
    if others is None:
        return left.kernel(rate, metric)
    right = _measured("others", check_states("others", others), metric, 2)
    scaled = [points.values * np.sqrt(metric.weights) for points in (left, right)]
    squares = left.norms(metric)[:, np.newaxis] + right.norms(metric) - 2 * scaled[0] @ scaled[1].T
    return np.exp(-rate * squares)


def kernel_alignment(kernel: ArrayLike, labels: ArrayLike, *, centred: bool = True) -> float:
    """Return how well a kernel agrees with labels: the cosine of the angle between K and ``y y^T``.

    Parameters
    ----------
    kernel
        A kernel matrix, shape ``(N, N)``.
    labels
        A number for each row. Centred, what counts is only how they differ: 0 and 1 say the same as -1 and 1.
    centred
        Whether rows and columns of both matrices are centred first, as is usual where classes are not of one
        size. Otherwise labels are -1 and 1.

    Examples
    --------
    >>> import efl_core as efl
    >>> kernel = [[1, 0.8, 0.1], [0.8, 1, 0.1], [0.1, 0.1, 1]]
    >>> round(efl.kernel_alignment(kernel, [0, 0, 1]), 2), round(efl.kernel_alignment(kernel, [0, 1, 0]), 2)
    (0.98, 0.38)
    """
    expected = "a square matrix of real numbers"
    matrix = array("kernel", kernel, expected)
    if matrix.dtype.kind == "c":
        raise InputTypeError.of("kernel", expected, f"dtype {matrix.dtype}")
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ShapeError.of("kernel", expected, f"shape {matrix.shape}")
    if not np.isfinite(matrix).all():
        raise InvalidInputError.of("kernel", "finite numbers", "others among them")
    return _alignment(labels, len(matrix), centred).value(matrix.astype(np.float64))


def alignment_gradient(
    states: Iterable[Snapshots],
    circuits: Iterable[Circuit],
    labels: ArrayLike,
    *,
    gamma: SupportsFloat,
    parts: Iterable[Part] | None = None,
    centred: bool = True,
) -> Gradient:
    """Estimate the alignment of the projected kernel with labels, and its derivatives by all parameters.

    No kernel is measured at shifted angles: ``dA/dtheta = sum_i w_i . dr_i/dtheta``, with ``r_i`` the words
    of data point i and ``w_i = dA/dr_i``. The two have noise in common, and weights are curved in what was
    measured. So what all snapshots say is corrected by what their halves say, ``2 G - (G_1 + G_2) / 2``: no
    noise of ``w_i`` multiplies its own of ``dr_i/dtheta``, and a bias of one over the snapshots of a state
    cancels, of values and derivatives. What is left falls as the square of that.

    Parameters
    ----------
    states
        Snapshots of each data point's state, at least four. The ensemble reveals the words of the parts;
        derivatives have the words that the circuits move them to.
    circuits
        The circuit of each data point, all at the same parameters. Words are moved through each twice, and
        its snapshots read three times: some 5 ms for 4 qubits, 16 parameters and 2000 snapshots.
    labels, centred
        As in `kernel_alignment`.
    gamma, parts
        As in `projected_kernel`.

    Returns
    -------
    Gradient
        ``value`` is the alignment. Standard errors are to first order in the noise, that of the weights and
        its correlation with that of the derivatives included: below a hundred snapshots of a state they are
        some 10 % short. ``shots`` counts the snapshots of all states.

    Examples
    --------
    >>> import efl_core as efl
    >>> def embed(x):
    ...     return efl.Circuit(1, parameters=[0.8]).ry(x, 0).rx(efl.Parameter(0), 0).ry(x, 0)
    >>> points, labels = [0.1, 0.2, 1.0, 2.0], [0, 0, 1, 1]
    >>> circuits = [embed(x) for x in points]
    >>> snaps = [efl.sample(efl.simulate(c), shots=100_000, seed=i) for i, c in enumerate(circuits)]
    >>> found = efl.alignment_gradient(snaps, circuits, labels, gamma=1)
    >>> round(found.value, 2), found.gradient.round(2)
    (0.81, array([-0.04]))
    """
    rows = check_states("states", states)
    models = _models(circuits, rows)
    metric = _metric(parts, rows[0].n_qubits)
    rate = _rate(gamma)
    aligned = _alignment(labels, len(rows), centred)
    _check_reveals("states", rows, metric, 4)
    made = [gradient_observables(model, metric.words) for model in models]
    halves = [_half([snaps[start::2] for snaps in rows], made) for start in (0, 1)]
    points = [half for half, _ in halves]
    slopes = [each for _, each in halves]
    # Of all snapshots, first.
    points.insert(0, _joined(*points))
    slopes.insert(0, (slopes[0] + slopes[1]) / 2)
    values = [aligned.value(one.kernel(rate, metric)) for one in points]
    found = [
        np.einsum("iw,iwk->k", _weights(one, aligned, rate, metric), each)
        for one, each in zip(points, slopes, strict=True)
    ]
    variance, revealed = _variances(rows, models, points[0], slopes[0], aligned, rate, metric)
    stderr = np.sqrt(variance)
    return Gradient(
        value=2 * values[0] - (values[1] + values[2]) / 2,
        value_stderr=float(stderr[0]),
        gradient=2 * found[0] - (found[1] + found[2]) / 2,
        stderr=stderr[1:],
        revealed=revealed[1:],
        bound=np.zeros(len(stderr) - 1),
        shots=sum(len(snaps) for snaps in rows),
    )


@dataclass(frozen=True, slots=True)
class _Metric:
    """A squared distance: of each word the square of the difference, weighted."""

    words: list[PauliWord]
    weights: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Points:
    """The words of each state, shape ``(states, words)``, and the variance of each."""

    values: _Matrix
    variances: _Matrix

    def norms(self, metric: _Metric) -> NDArray[np.float64]:
        """Return the squared lengths without bias: a square exceeds that of the truth by its variance."""
        return np.asarray((self.values**2 - self.variances) @ metric.weights)

    def kernel(self, rate: float, metric: _Metric) -> _Matrix:
        """Return the kernel of the points with themselves."""
        scaled = self.values * np.sqrt(metric.weights)
        norms = self.norms(metric)
        squares = norms[:, np.newaxis] + norms - 2 * scaled @ scaled.T
        np.fill_diagonal(squares, 0)
        return np.exp(-rate * squares)


def _joined(first: _Points, second: _Points) -> _Points:
    """Return the points of two halves together."""
    return _Points((first.values + second.values) / 2, (first.variances + second.variances) / 4)


class _Alignment:
    """The alignment of kernels with one set of labels, and its derivatives by entries."""

    def __init__(self, labels: NDArray[np.float64], centred: bool) -> None:
        self._centred = centred
        target = self._seen(np.outer(labels, labels))
        self._target = target / np.linalg.norm(target)

    def _seen(self, matrix: _Matrix) -> _Matrix:
        if not self._centred:
            return matrix
        found: _Matrix = matrix - matrix.mean(axis=0) - matrix.mean(axis=1)[:, np.newaxis] + matrix.mean()
        return found

    def value(self, kernel: _Matrix) -> float:
        return self.slope(kernel)[0]

    def slope(self, kernel: _Matrix) -> tuple[float, _Matrix]:
        """Return the alignment and its derivative by each entry."""
        seen = self._seen(kernel)
        norm = float(np.linalg.norm(seen))
        if norm <= 1e-12 * float(np.linalg.norm(kernel)):
            raise InvalidInputError.of("kernel", "entries that are not all alike", "a kernel of zero norm")
        value = float(np.vdot(seen, self._target)) / norm
        return value, (self._target - value * seen / norm) / norm

    def turn(self, kernel: _Matrix, change: _Matrix) -> _Matrix:
        """Return by how much the derivative changes where the kernel does."""
        value, slope = self.slope(kernel)
        seen, moved = self._seen(kernel), self._seen(change)
        norm = float(np.linalg.norm(seen))
        unit = seen / norm
        longer = float(np.vdot(unit, moved))
        turned = (moved - longer * unit) / norm
        found: _Matrix = longer * slope + float(np.vdot(slope, moved)) * unit + value * turned
        return -found / norm


def _weights(points: _Points, aligned: _Alignment, rate: float, metric: _Metric) -> _Matrix:
    """Return the derivatives of the alignment by each word of each state."""
    kernel = points.kernel(rate, metric)
    pulls = aligned.slope(kernel)[1] * kernel
    return -4 * rate * _laplacian(pulls, points.values) * metric.weights


def _laplacian(pulls: _Matrix, values: _Matrix) -> _Matrix:
    found: _Matrix = pulls.sum(axis=1)[:, np.newaxis] * values - pulls @ values
    return found


def _turned(points: _Points, along: _Matrix, aligned: _Alignment, rate: float, metric: _Metric) -> _Matrix:
    """Return by how much `_weights` change where the words change by ``along``."""
    kernel = points.kernel(rate, metric)
    slope = aligned.slope(kernel)[1]
    cross = (points.values * metric.weights) @ along.T
    own = np.diag(cross)
    change = -2 * rate * kernel * (own[:, np.newaxis] + own - cross - cross.T)
    pulls = aligned.turn(kernel, change) * kernel + slope * change
    moved = _laplacian(pulls, points.values) + _laplacian(slope * kernel, along)
    return -4 * rate * moved * metric.weights


def _variances(
    rows: list[Snapshots],
    models: list[Circuit],
    points: _Points,
    slopes: _Matrix,
    aligned: _Alignment,
    rate: float,
    metric: _Metric,
) -> tuple[NDArray[np.float64], NDArray[np.uint64]]:
    """Return the variances of the alignment and of its derivatives, and how often their words were revealed.

    To first order a snapshot of state i adds to a derivative the words of ``w_i . dr_i`` that it reveals, and
    those of ``r_i`` by what they change in the weights: one sum of words, estimated with its covariances.
    """
    weights = _weights(points, aligned, rate, metric)
    turns = [_turned(points, slopes[:, :, k], aligned, rate, metric) for k in range(slopes.shape[2])]
    variance = np.zeros(1 + len(turns))
    revealed = np.full(1 + len(turns), np.iinfo(np.uint64).max, dtype=np.uint64)
    for i, (snaps, model) in enumerate(zip(rows, models, strict=True)):
        value = PauliSum(list(zip(metric.words, weights[i], strict=True)))
        moved = gradient_observables(model, value)
        sums = [value]
        for k, turn in enumerate(turns):
            sums.append(moved.derivative(0, k) + PauliSum(list(zip(metric.words, turn[i], strict=True))))
        found = estimate(snaps, sums)
        variance += np.square(found.stderr)
        revealed = np.minimum(revealed, np.asarray(found.revealed, dtype=np.uint64))
    return variance, revealed


def _half(rows: list[Snapshots], made: list[GradientObservables]) -> tuple[_Points, _Matrix]:
    """Return the words of each state and their derivatives, shape ``(states, words, parameters)``."""
    found = [gradient(snaps, observables) for snaps, observables in zip(rows, made, strict=True)]
    values = np.array([one.value for one in found])
    errors = np.array([one.value_stderr for one in found])
    return _Points(values, errors**2), np.array([one.gradient for one in found])


def _measured(name: str, rows: list[Snapshots], metric: _Metric, least: int) -> _Points:
    _check_reveals(name, rows, metric, least)
    found = [estimate(snaps, metric.words) for snaps in rows]
    errors = np.array([one.stderr for one in found])
    return _Points(np.array([one.value for one in found]), errors**2)


def _check_reveals(name: str, rows: list[Snapshots], metric: _Metric, least: int) -> None:
    seen = None
    n_qubits = metric.words[0].n_qubits
    for i, snaps in enumerate(rows):
        if snaps.n_qubits != n_qubits:
            expected = f"{n_qubits} qubits, as states[0] has"
            raise ShapeError.of(f"{name}[{i}]", expected, f"{snaps.n_qubits} qubits")
        if len(snaps) < least:
            raise InvalidInputError.of(f"{name}[{i}]", f"at least {least} snapshots", len(snaps))
        if snaps.allocated:
            _check_counts(f"{name}[{i}]", snaps, metric, 1 if least < 4 else 2)
        if snaps.ensemble == seen:
            continue
        seen = snaps.ensemble
        missed = next((word for word in metric.words if seen.reveal_probability(word) == 0), None)
        if missed is not None:
            expected = "snapshots of an ensemble that reveals all words of the parts"
            raise InvalidInputError.of(f"{name}[{i}]", expected, f"one that never reveals {missed.label}")


def _check_counts(name: str, snaps: Snapshots, metric: _Metric, pieces: int) -> None:
    """Refuse fixed numbers of shots that leave out a word: it would count as zero."""
    for start in range(pieces):
        revealed = np.asarray(estimate(snaps[start::pieces], metric.words).revealed)
        if (revealed == 0).any():
            missed = metric.words[int(np.argmin(revealed))]
            expected = "snapshots that reveal each word of the parts" + (
                " in each half" if pieces > 1 else ""
            )
            raise InvalidInputError.of(name, expected, f"none that reveals {missed.label}")


def _metric(parts: Iterable[Part] | None, n_qubits: int) -> _Metric:
    """Return ``sum_A ||rho_A - sigma_A||_F^2`` in words: ``2**-k`` of each that is on a part of k qubits."""
    given = range(n_qubits) if parts is None else listed("parts", parts, "a sequence of parts")
    weights: dict[PauliWord, float] = {}
    for i, part in enumerate(given):
        qubits = [part] if parts is None else listed(f"parts[{i}]", part, "a sequence of qubits")
        wires = [integer(f"parts[{i}][{j}]", q, 0, n_qubits - 1) for j, q in enumerate(qubits)]
        if not 1 <= len(wires) <= _WIDEST or len(set(wires)) < len(wires):
            expected = f"1 to {_WIDEST} different qubits"
            raise InvalidInputError.of(f"parts[{i}]", expected, described(wires))
        for letters in itertools.product("IXYZ", repeat=len(wires)):
            support = {q: letter for q, letter in zip(wires, letters, strict=True) if letter != "I"}
            if support:
                word = PauliWord(support, n_qubits=n_qubits)
                weights[word] = weights.get(word, 0.0) + 2.0 ** -len(wires)
    if not weights:
        raise InvalidInputError.of("parts", "at least one part", "none")
    return _Metric(list(weights), np.array(list(weights.values())))


def _rate(gamma: SupportsFloat) -> float:
    found = real("gamma", gamma)
    if not 0 < found < np.inf:
        raise InvalidInputError.of("gamma", "a finite number above 0", found)
    return found


def _alignment(labels: ArrayLike, count: int, centred: bool) -> _Alignment:
    expected = f"{count} real numbers, one for each state"
    found = array("labels", labels, expected)
    if found.dtype.kind == "c":
        raise InputTypeError.of("labels", expected, f"dtype {found.dtype}")
    if found.shape != (count,):
        raise ShapeError.of("labels", expected, f"shape {found.shape}")
    values = found.astype(np.float64)
    if not np.isfinite(values).all():
        raise InvalidInputError.of("labels", "finite numbers", "others among them")
    if not centred and not (np.abs(values) == 1).all():
        raise InvalidInputError.of("labels", "-1 and 1 with centred=False", "other numbers")
    if centred and (values == values[:1]).all():
        raise InvalidInputError.of("labels", "at least two different ones", "all alike")
    return _Alignment(values, bool(centred))


def _models(circuits: Iterable[Circuit], rows: list[Snapshots]) -> list[Circuit]:
    found = listed("circuits", circuits, "a sequence of circuits")
    if len(found) != len(rows):
        raise ShapeError.of("circuits", f"{len(rows)}, one for each state", len(found))
    for i, model in enumerate(found):
        if not isinstance(model, Circuit):
            raise InputTypeError.of(f"circuits[{i}]", "a Circuit", type(model).__name__)
        if model.n_qubits != rows[i].n_qubits:
            expected = f"{rows[i].n_qubits} qubits, as the snapshots have"
            raise ShapeError.of(f"circuits[{i}]", expected, f"{model.n_qubits} qubits")
        if not np.array_equal(model.parameters, found[0].parameters):
            raise InvalidInputError.of(f"circuits[{i}]", "the parameters of circuits[0]", "others")
    return found
