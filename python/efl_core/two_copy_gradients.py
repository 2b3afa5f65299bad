"""Gradients of very many wide words: their squares from two copies of the state, then the signs of the large.

`WordTable` says how many pairs of copies are measured in the Bell basis, below which threshold a word is
left as zero, and in which settings the others are measured again. A word far above the threshold takes its
size from the pairs as well, where it is more accurate.

Invariant: a word left as zero has the threshold as its error, and what is measured is unbiased but for words
near the threshold, by much less than its error.
Cost: that of `estimate` on twice the qubits; simulated, a vector of ``4**n`` numbers.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, SupportsFloat, SupportsIndex, TypeAlias, TypedDict, Unpack, overload

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import described, integer, real
from efl_core.circuits import Circuit, simulate
from efl_core.designs import Connectivity, read_connectivity
from efl_core.ensembles import Ensemble
from efl_core.errors import InputTypeError, InvalidInputError, ResourceLimitError, ShapeError
from efl_core.estimates import estimate
from efl_core.gradients import gradient_observables
from efl_core.observables import Observable, PauliSum, PauliWord
from efl_core.plans.copies import WordTable, read_accuracy, through
from efl_core.snapshots import Snapshots, sample
from efl_core.two_copies import bell_setting, twice, two_copies

if TYPE_CHECKING:
    from pennylane import QNode

__all__ = ["Asked", "Measure", "TwoCopyGradient", "fresh_seed", "measure_state", "two_copy_gradient"]

Floats = NDArray[np.float64]
# Sizes come from squares where these are so many times that of the threshold and of a signed value's error: a
# sign is then wrong with a probability of 4e-6.
FAR = 20.0
# Widest circuits whose two copies are simulated: 2^26 amplitudes are 1 GiB.
WIDEST = 13
Measure: TypeAlias = Callable[[Circuit, Ensemble, NDArray[np.intp]], Snapshots]
"""Prepares the state of a circuit and measures it in a list of settings, each as often as its count says."""


class TwoCopyKeywords(TypedDict, total=False):
    """The options of `two_copy_gradient`, which says what they are if they are not given."""

    error: SupportsFloat
    deviations: SupportsFloat
    value_weight: SupportsFloat
    connectivity: Connectivity
    seed: SupportsIndex | None


@dataclass(frozen=True, slots=True, eq=False)
class TwoCopyGradient:
    """Values and gradients with signs, from pairs of copies and then from single ones.

    With a leading axis if there are several observables, as `Gradient` has it.
    """

    value: Floats | float
    """Estimated value of the observable; NaN if it was not asked for (``value_weight``)."""
    value_stderr: Floats | float
    """Its standard error."""
    gradient: Floats
    """Estimated derivative by each parameter."""
    stderr: Floats
    """Standard error of each; a word that was left as zero counts with the threshold."""
    left_out: Floats
    """What the words left as zero add up to if each is as large as the threshold; of each derivative."""
    threshold: float
    """The size below which a word is left as zero."""
    n_words: int
    """Different words of what was asked for."""
    signed: tuple[PauliWord, ...]
    """Those that the second stage measured."""
    pairs: int
    """Pairs of copies that the first stage measured."""
    shots: int
    """Copies that the second stage measured."""
    settings: int
    """Its settings."""

    @property
    def copies(self) -> int:
        """Copies in all."""
        return 2 * self.pairs + self.shots

    def __str__(self) -> str:
        small = self.n_words - len(self.signed)
        return "\n".join(
            [
                f"first  {self.pairs:,} pairs in the Bell basis: the squares of {self.n_words:,} words",
                f"       {small:,} of them are below {self.threshold:.3g} and left as zero",
                f"then   {self.shots:,} shots in {self.settings:,} settings: the signs of the others",
                f"copies {self.copies:,}, for an RMS error of {_rms(self.stderr):.2g}",
            ]
        )

    def __repr__(self) -> str:
        return (
            f"TwoCopyGradient({self.gradient.shape[-1] if self.gradient.ndim else 0} parameters, "
            f"rms stderr {_rms(self.stderr):.2g}, copies={self.copies})"
        )


def _rms(errors: Floats) -> float:
    """Return the RMS error of what is not known to be zero."""
    live = errors[errors > 0]
    return float(np.sqrt(np.mean(live**2))) if live.size else 0.0


@overload
def two_copy_gradient(
    circuit: Circuit,
    observables: Observable | Iterable[Observable] | None = None,
    *,
    measure: Measure | None = None,
    **options: Unpack[TwoCopyKeywords],
) -> TwoCopyGradient: ...
@overload
def two_copy_gradient(
    circuit: "QNode",
    observables: Observable | Iterable[Observable] | None = None,
    *,
    measure: None = None,
    **options: Unpack[TwoCopyKeywords],
) -> Callable[..., TwoCopyGradient]: ...
def two_copy_gradient(
    circuit: "Circuit | QNode",
    observables: Observable | Iterable[Observable] | None = None,
    *,
    measure: Measure | None = None,
    **options: Unpack[TwoCopyKeywords],
) -> TwoCopyGradient | Callable[..., TwoCopyGradient]:
    """Measure a gradient of very many wide words: squares from two copies, then the signs of the large ones.

    For many words that do not commute, at a large error; otherwise settings on one copy take less
    (`Plan.two_copies` compares).

    Parameters
    ----------
    circuit
        The circuit at its current parameters; or a PennyLane QNode, and then the result is a function of the
        QNode's arguments, and derivatives are those by the arguments that are trained. Devices other than
        simulators of state vectors need twice the wires.
    observables
        What the circuit answers with: a Pauli word or sum, or a list; by default the circuit's own.
    error
        The RMS of the error bars over the derivatives that are not identically zero; 0.1 if not given.
    deviations
        How many standard errors of a square the threshold lies above zero, 1 if not given: more take more
        pairs, and fewer words below the threshold are measured in vain.
    value_weight
        Weight of all values together, beside one for all derivatives, in what ``error`` is the mean of. With
        0, the default, values are not asked for, unless there are no parameters.
    connectivity
        Two-qubit gates that settings of the second stage may use, as in `design`.
    seed
        Decides simulated outcomes.
    measure
        What measures, in the place of a simulation: it is called with a circuit, a list of settings and how
        often each is to be measured; first for the pairs, then for the signs.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.4, 0.9])
    >>> circuit = circuit.ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1).clifford("CNOT", 0, 1)
    >>> found = efl.two_copy_gradient(circuit, ["ZZ", "XY", "IZ"], error=0.2, seed=1)
    >>> exact = [efl.propagate(circuit, word).gradient for word in ("ZZ", "XY", "IZ")]
    >>> bool((abs(found.gradient - exact) < 4 * found.stderr + 1e-9).all()), found.pairs
    (True, 626)
    """
    accuracy = read_accuracy(options.get("error", 0.1), options.get("deviations", 1.0))
    weight = real("value_weight", options.get("value_weight", 0.0))
    if not (math.isfinite(weight) and weight >= 0):
        raise InvalidInputError.of("value_weight", "a number that is not negative", weight)
    connectivity = options.get("connectivity", "all")
    read_connectivity(connectivity)
    asked = Asked(*accuracy, weight, connectivity)
    seed = options.get("seed")
    key = fresh_seed() if seed is None else integer("seed", seed, 0, 2**64 - 1)
    unknown = set(options) - set(TwoCopyKeywords.__annotations__)
    if unknown:
        raise InputTypeError(f"two_copy_gradient() got an unexpected option {min(unknown)!r}")
    if isinstance(circuit, Circuit):
        return asked.measured(circuit, observables, _simulated(circuit, key) if measure is None else measure)
    if not callable(circuit):
        raise InputTypeError.of("circuit", "a Circuit or a PennyLane QNode", described(circuit))
    if measure is not None:
        raise InvalidInputError.of("measure", "none with a QNode, which has a device", described(measure))
    from efl_core.pennylane.two_copies import of_qnode

    return of_qnode(circuit, observables, asked, key)


def fresh_seed() -> int:
    """Return a seed of fresh entropy."""
    return int(np.random.SeedSequence().generate_state(1, np.uint64)[0])


def _simulated(circuit: Circuit, seed: int) -> Measure:
    """Return what measures on the simulated state of a circuit, and on two copies of it."""
    return measure_state(circuit, simulate(circuit), seed)


def measure_state(circuit: Circuit, state: NDArray[np.complex128], seed: int) -> Measure:
    """Return what measures a state, and two copies of it where the circuit asked for is twice as wide."""
    if circuit.n_qubits > WIDEST:
        raise ResourceLimitError(
            f"circuit: expected at most {WIDEST} qubits, as two copies are simulated as one vector, got "
            f"{circuit.n_qubits}: measure elsewhere (measure=)"
        )
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(2, np.uint64)]

    def measure(asked: Circuit, ensemble: Ensemble, counts: NDArray[np.intp]) -> Snapshots:
        pair = asked.n_qubits != circuit.n_qubits
        vector = np.kron(state, state) if pair else state
        return sample(vector, ensemble, counts=counts, seed=seeds[0 if pair else 1])

    return measure


@dataclass(frozen=True, slots=True)
class Asked:
    """What is asked of both stages, checked."""

    error: float
    deviations: float
    value_weight: float
    connectivity: Connectivity

    def measured(
        self,
        circuit: Circuit,
        observables: Observable | Iterable[Observable] | None,
        measure: Measure,
        slopes: Floats | None = None,
    ) -> TwoCopyGradient:
        """Measure the gradient of a circuit, by what its parameters are computed from with their slopes."""
        sums = gradient_observables(circuit, observables)
        n_values = sums.n_observables
        values = [sums._native.row(o) for o in range(n_values)]
        parts = [sums.derivative(o, k) for o in range(n_values) for k in range(sums.n_parameters)]
        rows = [*values, *(parts if slopes is None else through(parts, slopes))]
        counts = np.array([len(row) > 0 for row in rows], dtype=np.float64)
        if parts:
            counts[:n_values] *= self.value_weight * counts[n_values:].sum() / n_values
        table = WordTable.of(rows, counts / max(float(counts.sum()), 1e-300))
        found, stderr, left, stages = _run(self, circuit, table, measure)
        unasked = np.arange(len(rows)) < n_values * (not self.value_weight and bool(parts))
        found[unasked], stderr[unasked] = np.nan, np.nan
        width = len(rows[n_values:]) // n_values
        shape = (width,) if sums._single else (n_values, width)
        single = sums._single
        return TwoCopyGradient(
            value=float(found[0]) if single else found[:n_values],
            value_stderr=float(stderr[0]) if single else stderr[:n_values],
            gradient=found[n_values:].reshape(shape),
            stderr=stderr[n_values:].reshape(shape),
            left_out=left[n_values:].reshape(shape),
            **stages,
        )


def _run(
    asked: Asked, circuit: Circuit, table: WordTable, measure: Measure
) -> tuple[Floats, Floats, Floats, dict[str, Any]]:
    """Return the values of all rows, their errors, what may be left out of them, and what was measured."""
    pairs = table.pairs(asked.error, asked.deviations)
    threshold, squares = 0.0, _Squares.none()
    if pairs:
        threshold = table.threshold(asked.error)
        bell = Ensemble.settings([bell_setting(circuit.n_qubits)])
        squares = _Squares.of(_taken(measure, two_copies(circuit), bell, np.array([pairs])), table.words)
    kept = squares.value > threshold**2
    signed = table.signed(kept, asked.error, asked.connectivity)
    values = np.zeros(len(table.words))
    variance = np.zeros(len(table.coefficients))
    if signed.ensemble is not None:
        chosen = [word for word, own in zip(table.words, kept, strict=True) if own]
        single = _taken(measure, circuit, signed.ensemble, signed.counts)
        found = estimate(single, chosen)
        own, weights = squares.combined(kept, threshold, np.asarray(found.value), np.asarray(found.stderr))
        values[kept] = own
        doubled = [twice(word) for word in table.words]
        for snaps, weight, words in zip(
            (single, *squares.halves), weights, (table.words, doubled, doubled), strict=True
        ):
            every = np.zeros(len(table.words))
            every[kept] = weight
            variance += _variances(table, snaps, every, words)
    total, left = table.constants.copy(), np.zeros(len(variance))
    for r, (which, factors) in enumerate(table.coefficients):
        zero = factors[~kept[which]]
        total[r] += factors @ values[which]
        variance[r] += threshold**2 * float((zero**2).sum())
        left[r] = threshold * float(np.abs(zero).sum())
    stages = {
        "threshold": threshold,
        "n_words": len(table.words),
        "signed": tuple(word for word, own in zip(table.words, kept, strict=True) if own),
        "pairs": pairs,
        "shots": signed.shots,
        "settings": len(signed.counts),
    }
    return total, np.sqrt(variance), left, stages


@dataclass(frozen=True, slots=True, eq=False)
class _Squares:
    """The squares of words from each half of the pairs."""

    halves: tuple[Snapshots, ...]
    values: Floats
    """Shape ``(2, words)``."""
    variances: Floats

    @staticmethod
    def none() -> "_Squares":
        return _Squares((), np.zeros((2, 0)), np.zeros((2, 0)))

    @staticmethod
    def of(snaps: Snapshots, words: Sequence[PauliWord]) -> "_Squares":
        half, doubled = len(snaps) // 2, [twice(word) for word in words]
        halves = snaps[:half], snaps[half:]
        found = [estimate(part, doubled) for part in halves]
        values, errors = (np.array([getattr(f, name) for f in found]) for name in ("value", "stderr"))
        return _Squares(halves, values, errors**2)

    @property
    def value(self) -> Floats:
        """From all pairs."""
        mean: Floats = self.values.mean(axis=0)
        return mean

    def combined(
        self, kept: NDArray[np.bool_], threshold: float, value: Floats, stderr: Floats
    ) -> tuple[Floats, tuple[Floats, Floats, Floats]]:
        """Return values of the words that are kept, given signed ones.

        A size that is the root of a square takes part where the word lies far above the threshold: there its
        sign is certain, and it does not matter that the word was chosen by its square. Whether it does, and
        with what weight, each half of the pairs says of the other: no weight depends on what it weighs. With
        the values come their slopes: by the signed values, and by the squares of each half.
        """
        squares, variances = self.values[:, kept], self.variances[:, kept]
        sizes = np.sqrt(np.maximum(squares, threshold**2))
        far = squares > FAR * np.maximum(threshold, stderr) ** 2
        spread = variances.mean(axis=0) / 2 / (4 * sizes**2)  # the variance of a size, from all pairs
        weights = np.where(far, stderr**2 / (stderr**2 + spread), 0.0)[::-1]
        signs = np.sign(value)
        found = ((1 - weights) * value + weights * signs * sizes).mean(axis=0)
        by_squares = weights * signs / (4 * sizes)
        return found, (1 - weights.mean(axis=0), by_squares[0], by_squares[1])


def _taken(measure: Measure, circuit: Circuit, ensemble: Ensemble, counts: NDArray[np.intp]) -> Snapshots:
    """Measure, and check what came."""
    snaps = measure(circuit, ensemble, counts)
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("measure", "a function that returns Snapshots", type(snaps).__name__)
    if snaps.ensemble != ensemble or len(snaps) != counts.sum():
        expected = f"{counts.sum()} snapshots in {len(counts)} settings, as it was asked for"
        raise ShapeError.of("measure", expected, f"{len(snaps)} in a {snaps.ensemble.kind} ensemble")
    return snaps


def _variances(table: WordTable, snaps: Snapshots, weights: Floats, words: Sequence[PauliWord]) -> Floats:
    """Return what snapshots add to the variance of each row, with a weight for each word."""
    found, sums, places = np.zeros(len(table.coefficients)), [], []
    for r, (which, factors) in enumerate(table.coefficients):
        terms = [(words[j], c * weights[j]) for j, c in zip(which, factors, strict=True) if weights[j]]
        if terms:
            sums.append(PauliSum(terms, n_qubits=snaps.n_qubits))
            places.append(r)
    if sums:
        found[places] = np.asarray(estimate(snaps, sums).stderr) ** 2
    return found
