"""Questions about parts of a state: what they are, how mixed, how much those of two states overlap.

All read snapshots in letters, and of these only how often each pattern of letters and outcomes occurs on a
few qubits: what is a mean over all pairs of snapshots is a form in ``6**k`` counts, and no pair is looked at.

Invariant: values are unbiased (an entropy, as a logarithm, is not quite).
Cost: a pass over the bits, and some ``k * 6**k`` operations.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.arguments import integer, listed
from efl_core.calibrations import Calibration, check_calibration
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.estimates import Estimate
from efl_core.snapshots import Snapshots

__all__ = [
    "ReducedState",
    "entropy",
    "purity",
    "reduced_density_matrix",
    "shadow_kernel",
    "state_overlap",
]

Part: TypeAlias = Iterable[SupportsIndex]
"""Different qubits, at most eight."""

_PAULIS = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]])


@dataclass(frozen=True, slots=True, eq=False)
class ReducedState:
    """The state of some qubits, the first of them most significant."""

    matrix: NDArray[np.complex128]
    """The density matrix: unbiased, so it may have negative eigenvalues."""
    stderr: NDArray[np.float64]
    """Standard error of each entry: the root of the mean square of its distance in the complex plane."""
    shots: int
    """Number of snapshots used."""


def reduced_density_matrix(
    snaps: Snapshots, qubits: Part, *, calibration: Calibration | None = None
) -> ReducedState:
    """Estimate the density matrix of some qubits, at most eight.

    Parameters
    ----------
    snaps
        Snapshots in letters.
    qubits
        Which qubits; the first is the most significant of an index.
    calibration
        Contrasts of the readout, which are divided by; see `purity`.

    Examples
    --------
    >>> import efl_core as efl
    >>> snaps = efl.sample([2**-0.5, 0, 0, 2**-0.5], shots=50_000, seed=3)
    >>> efl.reduced_density_matrix(snaps, [0]).matrix.real.round(1)
    array([[ 0.5, -0. ],
           [-0. ,  0.5]])
    """
    part = _part(snaps, qubits)
    counts, letters, shots = _patterns("snaps", snaps, part, 2)
    contrasts = _contrasts(calibration, snaps, part)

    # A pattern says (1 + s B / beta) / 2 of its qubit: entries, first the row and then the column.
    def forms(contrast: NDArray[np.float64]) -> list[NDArray[Any]]:
        each = zip(letters, contrast, strict=True)
        return [np.tensordot(_readings(*own), _PAULIS, axes=(0, 0)).reshape(6, 4).T / 2 for own in each]

    k = len(letters)
    order = [*range(0, 2 * k, 2), *range(1, 2 * k, 2)]

    def entries(forms: list[NDArray[Any]]) -> NDArray[Any]:
        flat = _along(counts, forms).reshape((2,) * (2 * k)) / shots
        return flat.transpose(order).reshape(1 << k, 1 << k)

    each = forms(contrasts[0])
    matrix = entries(each)
    squares = entries([np.abs(form) ** 2 for form in each])
    variance = np.maximum(squares - np.abs(matrix) ** 2, 0) / (shots - 1)
    for moved in _moved(contrasts):
        variance += np.abs(entries(forms(moved)) - matrix) ** 2
    return ReducedState(matrix, np.sqrt(variance), shots)


def purity(snaps: Snapshots, qubits: Part, *, calibration: Calibration | None = None) -> Estimate:
    """Estimate the purity ``tr rho_A^2`` of some qubits, at most eight.

    The mean over all pairs of snapshots of a kernel, which for uniform letters has a factor 5 for each qubit
    that both measured alike with the same outcome, -4 with different ones, 1/2 where the letters differ.

    Parameters
    ----------
    snaps
        Snapshots in letters, at least two.
    qubits
        Which qubits. The error grows as ``2**k`` with their number or faster.
    calibration
        Contrasts of the readout, which are divided by; qubits of the part may not err together, as what is
        read of each is divided by its own. Its errors are in the error bar.

    Examples
    --------
    >>> import efl_core as efl
    >>> snaps = efl.sample([2**-0.5, 0, 0, 2**-0.5], shots=50_000, seed=3)
    >>> round(efl.purity(snaps, [0]).value, 2), round(efl.purity(snaps, [0, 1]).value, 1)
    (0.5, 1.0)
    """
    part = _part(snaps, qubits)
    counts, letters, shots = _patterns("snaps", snaps, part, 2)
    contrasts = _contrasts(calibration, snaps, part)

    def found(contrast: NDArray[np.float64]) -> tuple[float, NDArray[np.float64], float]:
        """Return the value; of each pattern the mean over the others; the mean square of the kernel."""
        kernels = [_kernel(*own) for own in zip(letters, contrast, strict=True)]
        own = _along(np.ones(()), [np.diag(kernel)[:, np.newaxis] for kernel in kernels])
        own = own.reshape(counts.shape)
        others = (_along(counts, kernels) - own) / (shots - 1)
        squares = _along(counts, [kernel**2 for kernel in kernels]) - own**2
        second = float((counts * squares).sum() / (shots * (shots - 1)))
        return float((counts * others).sum() / shots), others, second

    value, others, second = found(contrasts[0])
    both = max(second - value**2, 0.0)
    variance = _pair_variance(counts, others, value, both, shots)
    variance += sum((found(moved)[0] - value) ** 2 for moved in _moved(contrasts))
    return Estimate(value, math.sqrt(variance), shots, shots)


def _pair_variance(
    counts: NDArray[np.float64], others: NDArray[np.float64], value: float, both: float, shots: int
) -> float:
    """Return the variance of a mean over pairs, of which ``both`` is the variance of a single pair."""
    if shots < 5:
        return math.inf
    t = shots - 1
    scatter = float((counts * (others - value) ** 2).sum() / t)
    # What the scatter of the means over others is on average, in terms of the covariance of two pairs with a
    # snapshot in common and of the variance of a pair. The difference may come out negative by chance: the
    # whole is at least half of what pairs alone would give.
    common = (scatter - both * (1 / t - 1 / t**2)) / (1 - 1 / t - 3 * (t - 1) / t**2)
    return max(4 * (shots - 2) * common + 2 * both, both) / (shots * t)


def entropy(snaps: Snapshots, qubits: Part, *, calibration: Calibration | None = None) -> Estimate:
    """Estimate the Renyi entropy of second order of some qubits, in bits: ``-log2`` of their `purity`.

    NaN, with an infinite error, if the estimate of the purity is not positive.

    >>> import efl_core as efl
    >>> snaps = efl.sample([2**-0.5, 0, 0, 2**-0.5], shots=50_000, seed=3)
    >>> round(efl.entropy(snaps, [1]).value, 1)
    1.0
    """
    found = purity(snaps, qubits, calibration=calibration)
    value, stderr = float(found.value), float(found.stderr)
    if value <= 0:
        return Estimate(math.nan, math.inf, found.revealed, found.shots)
    return Estimate(-math.log2(value), stderr / (value * math.log(2)), found.revealed, found.shots)


def state_overlap(
    a: Snapshots, b: Snapshots, qubits: Part | None = None, *, calibration: Calibration | None = None
) -> Estimate:
    """Estimate the overlap ``tr rho sigma`` of two measured states, or of some of their qubits.

    Parameters
    ----------
    a, b
        Snapshots in letters of the two states, drawn from the same ensemble.
    qubits
        Which qubits, at most eight; all if not given.
    calibration
        Of the readout of both; see `purity`.

    Examples
    --------
    >>> import efl_core as efl
    >>> a, b = efl.sample([1, 0], shots=50_000, seed=3), efl.sample([0.6, 0.8], shots=50_000, seed=4)
    >>> round(efl.state_overlap(a, b).value, 1)
    0.4
    """
    for name, snaps in (("a", a), ("b", b)):
        if not isinstance(snaps, Snapshots):
            raise InputTypeError.of(name, "Snapshots", type(snaps).__name__)
    if a.ensemble != b.ensemble:
        raise InvalidInputError.of(
            "b", "snapshots of the ensemble of a", f"another {b.ensemble.kind} ensemble"
        )
    part = _part(a, range(a.n_qubits) if qubits is None else qubits)
    first, letters, shots = _patterns("a", a, part, 2)
    second, _, others = _patterns("b", b, part, 2)
    contrasts = _contrasts(calibration, a, part)

    def made(contrast: NDArray[np.float64]) -> list[NDArray[np.float64]]:
        return [_kernel(*own) for own in zip(letters, contrast, strict=True)]

    kernels = made(contrasts[0])
    of_first, of_second = _along(second, kernels) / others, _along(first, kernels) / shots
    value = float((first * of_first).sum() / shots)
    squares = float((first * _along(second, [kernel**2 for kernel in kernels])).sum() / (shots * others))
    both = max(squares - value**2, 0.0)
    # Each of the two scatters has the variance of pairs in it, which counts once.
    pairs = both / (shots * others)
    variance = -pairs
    for counts, means, count in ((first, of_first, shots), (second, of_second, others)):
        variance += float((counts * (means - value) ** 2).sum() / (count - 1)) / count
    variance = max(variance, pairs / 2)
    for moved in _moved(contrasts):
        variance += (float((first * _along(second, made(moved))).sum() / (shots * others)) - value) ** 2
    return Estimate(value, math.sqrt(variance), shots + others, shots + others)


def shadow_kernel(
    states: Iterable[Snapshots],
    others: Iterable[Snapshots] | None = None,
    *,
    qubits: Part | None = None,
    pure: bool = False,
    calibration: Calibration | None = None,
) -> NDArray[np.float64]:
    """Return the overlaps of all pairs of measured states: a kernel matrix of N states, measured once.

    What ``sklearn.svm.SVC(kernel="precomputed")`` takes: ``fit(shadow_kernel(train), labels)`` and
    ``predict(shadow_kernel(test, train))``.

    Parameters
    ----------
    states
        Snapshots in letters of each state, all drawn from one ensemble.
    others
        The states of the columns; those of the rows if not given.
    qubits
        Which qubits are compared, at most eight; all if not given.
    pure
        Whether states are known to be pure: the diagonal is then 1, otherwise the `purity`. Of all qubits
        only.
    calibration
        Of the readout of all; see `purity`.

    Examples
    --------
    >>> import efl_core as efl
    >>> states = [[1, 0], [0.6, 0.8], [0, 1]]
    >>> snaps = [efl.sample(state, shots=100_000, seed=i) for i, state in enumerate(states)]
    >>> efl.shadow_kernel(snaps, pure=True).round(1)
    array([[1. , 0.4, 0. ],
           [0.4, 1. , 0.6],
           [0. , 0.6, 1. ]])
    """
    rows = check_states("states", states)
    columns = rows if others is None else check_states("others", others)
    every = [(f"states[{i}]", snaps) for i, snaps in enumerate(rows)]
    if others is not None:
        every += [(f"others[{i}]", snaps) for i, snaps in enumerate(columns)]
    for name, snaps in every:
        if snaps.ensemble != rows[0].ensemble:
            expected = "snapshots of the ensemble of states[0]"
            raise InvalidInputError.of(name, expected, f"another {snaps.ensemble.kind} ensemble")
    part = _part(rows[0], range(rows[0].n_qubits) if qubits is None else qubits)
    if pure and len(part) < rows[0].n_qubits:
        expected = "False where qubits are left out, whose states may be entangled with the others"
        raise InvalidInputError.of("pure", expected, True)

    contrast, _ = _contrasts(calibration, rows[0], part)

    def words(name: str, snaps: Snapshots) -> NDArray[np.float64]:
        counts, letters, shots = _patterns(name, snaps, part, 1 if pure or others is not None else 2)
        readings = [_readings(*own) for own in zip(letters, contrast, strict=True)]
        return _along(counts, readings).ravel() / shots

    table = np.array([words(name, snaps) for name, snaps in every])
    left, right = table[: len(rows)], table if others is None else table[len(rows) :]
    kernel: NDArray[np.float64] = left @ right.T / 2 ** len(part)
    if others is None:
        own = [1.0 if pure else float(purity(s, part, calibration=calibration).value) for s in rows]
        np.fill_diagonal(kernel, own)
    return kernel


def check_states(name: str, states: object) -> list[Snapshots]:
    """Return the snapshots of each state; errors call them ``name``."""
    found = listed(name, states, "a sequence of Snapshots")
    for i, snaps in enumerate(found):
        if not isinstance(snaps, Snapshots):
            raise InputTypeError.of(f"{name}[{i}]", "Snapshots", type(snaps).__name__)
    if not found:
        raise InvalidInputError.of(name, "at least one state", "none")
    return found


def _part(snaps: Snapshots, qubits: Part) -> list[int]:
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    found = listed("qubits", qubits, "a sequence of qubits")
    return [integer(f"qubits[{i}]", q, 0, snaps.n_qubits - 1) for i, q in enumerate(found)]


def _patterns(
    name: str, snaps: Snapshots, part: list[int], least: int
) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
    """Return the counts of patterns (an axis of six for each qubit), the letter probabilities, the shots."""
    if len(snaps) < least:
        raise InvalidInputError.of(name, f"at least {least} snapshots", len(snaps))
    counts = _native.pattern_counts(snaps._native, part).astype(np.float64)
    letters = snaps.ensemble.probabilities[part]
    if not (letters > 0).all():
        q = part[int(np.argmin(letters.min(axis=1)))]
        expected = "letters X, Y and Z that all have a probability above zero on these qubits"
        raise InvalidInputError.of(name, expected, f"one of zero on qubit {q}")
    return counts.reshape((6,) * len(part)), letters, len(snaps)


def _contrasts(
    calibration: Calibration | None, snaps: Snapshots, part: list[int]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what the readout of each qubit leaves, and the errors of that."""
    if calibration is None:
        return np.ones(len(part)), np.zeros(len(part))
    check_calibration(calibration, snaps.n_qubits)
    for pair in calibration.pairs():
        if set(pair) <= set(part):
            expected = f"one of qubits that err apart, or a part without one of {pair[0]} and {pair[1]}"
            raise InvalidInputError.of("calibration", expected, "qubits that err together")
    found = [calibration.contrast([q]) for q in part]
    values, errors = (np.array([getattr(own, name) for own in found]) for name in ("value", "stderr"))
    if (values <= 4 * errors).any():
        q = part[int(np.argmax(4 * errors - values))]
        raise InvalidInputError.of("calibration", "contrasts clearly above zero", f"that of qubit {q}")
    return values, errors


def _moved(contrasts: tuple[NDArray[np.float64], NDArray[np.float64]]) -> list[NDArray[np.float64]]:
    """Return the contrasts, with that of one qubit after the other off by its error."""
    values, errors = contrasts
    return [values + row for row in np.diag(errors) if row.any()]


def _readings(letters: NDArray[np.float64], contrast: float) -> NDArray[np.float64]:
    """Return what each pattern on a qubit says of I, X, Y and Z."""
    readings = np.zeros((4, 6))
    readings[0] = 1
    for letter, probability in enumerate(letters * contrast):
        readings[1 + letter, 2 * letter : 2 * letter + 2] = 1 / probability, -1 / probability
    return readings


def _kernel(letters: NDArray[np.float64], contrast: float) -> NDArray[np.float64]:
    """Return the trace of the product of what two patterns on a qubit say of it."""
    readings = _readings(letters, contrast)
    return readings.T @ readings / 2


def _along(counts: NDArray[Any], forms: list[NDArray[Any]]) -> NDArray[Any]:
    """Apply a form to each axis; of no axes, to ones."""
    if counts.ndim == 0:
        counts = counts.reshape((1,) * len(forms))
    for axis, form in enumerate(forms):
        counts = np.moveaxis(np.tensordot(form, counts, axes=(1, axis)), 0, axis)
    return counts
