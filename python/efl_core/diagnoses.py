"""Whether a gradient is there to be seen: signal against noise, and what the state leaves room for.

`diagnose` reads the snapshots that a gradient is estimated from once more. Squares of derivatives are
estimated without the bias that noise adds to them; a derivative that touches few qubits is bounded by the
purity of their state; and what a random state would leave of it is known without measuring.

Invariant: a square is the mean over pairs of different snapshots, so its expectation is that of the square,
whatever the noise. A bound holds for the true derivative, but for the error of the purity, which it includes.

Cost: that of `gradient`, and for every support of at most ``max_support`` qubits 20 counts of its words.
"""

from dataclasses import dataclass
from itertools import product
from statistics import NormalDist
from typing import TYPE_CHECKING, Literal, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import integer, real
from efl_core.calibrations import Calibration
from efl_core.errors import InvalidInputError
from efl_core.estimates import estimate, gradient
from efl_core.gradients import GradientObservables
from efl_core.observables import PauliSum, PauliWord
from efl_core.snapshots import Snapshots

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["Diagnosis", "Verdict", "diagnose"]

Verdict: TypeAlias = Literal["trainable", "plateau", "unseen", "constant"]
"""What a diagnosis comes to; see `Diagnosis.verdict`."""
# Parts of the snapshots that are held against each other for the error of a purity.
PARTS = 20
# A limit is that many standard errors away.
SIGNIFICANCE = 3.0
# The chance that a diagnosis sees any derivative where all are zero, at most.
FALSE_ALARM = 0.01
# A gradient of at most so many times the RMS of a random state is one of a random state, where that RMS is at
# most this part of the observable: on few qubits random states have gradients.
RANDOM, SMALL = 2.0, 0.05
SHOWN = 12


@dataclass(frozen=True, slots=True, eq=False)
class Diagnosis:
    """What snapshots say of a gradient, parameter by parameter. Made by `diagnose`.

    Arrays have the shape of the gradient: ``(n_parameters,)``, or ``(n_observables, n_parameters)``.
    """

    gradient: NDArray[np.float64]
    """Estimated derivatives."""
    stderr: NDArray[np.float64]
    """Their standard errors."""
    power: NDArray[np.float64]
    """Squares of the derivatives without bias: an estimate of a small square may be below zero."""
    support: NDArray[np.int64]
    """How many qubits each derivative is an observable of; 0 where it is identically zero."""
    bound: NDArray[np.float64]
    """No derivative is larger, by the purity of its support's state; infinite where that is not known."""
    random: NDArray[np.float64]
    """The RMS of each derivative over all states: what a circuit leaves whose state is as good as random."""
    observable: float
    """2-norm of the observable's words (RMS over several observables)."""
    weight: int
    """Letters of its longest word."""
    n_qubits: int
    """Number of qubits."""
    shots: int
    """Number of snapshots."""
    resolution: float
    """The derivative that is worth having, as it was asked for."""

    @property
    def is_zero(self) -> NDArray[np.bool_]:
        """Which derivatives vanish on every state."""
        return np.equal(self.support, 0)

    @property
    def snr(self) -> NDArray[np.float64]:
        """Squares of the derivatives over those of their errors; zero where both are."""
        noise = np.square(self.stderr)
        return np.divide(self.power, noise, out=np.zeros_like(noise), where=noise > 0)

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Which derivatives are clearly not zero: one mistake in a hundred diagnoses at most."""
        live = max(int(np.count_nonzero(~self.is_zero)), 1)
        threshold = NormalDist().inv_cdf(1 - FALSE_ALARM / (2 * live))
        return ~self.is_zero & (np.abs(self.gradient) > threshold * self.stderr)

    @property
    def flat(self) -> NDArray[np.bool_]:
        """Which derivatives are certainly below the resolution, by their bound or by what was measured."""
        most = np.minimum(self.bound, np.abs(self.gradient) + SIGNIFICANCE * self.stderr)
        return ~self.is_zero & (most < self.resolution)

    @property
    def rms(self) -> tuple[float, float]:
        """Limits of the RMS of the derivatives that are not identically zero.

        Three standard errors to each side, however the errors of derivatives go together.
        """
        live = ~self.is_zero
        if not live.any():
            return 0.0, 0.0
        mean, blur = self._power()
        least = max(mean - SIGNIFICANCE * blur, 0.0)
        most = max(mean + SIGNIFICANCE * blur, 0.0)
        bound = float(np.mean(np.square(self.bound[live])))
        return float(np.sqrt(min(least, bound))), float(np.sqrt(min(most, bound)))

    @property
    def shots_needed(self) -> int:
        """Shots after which a gradient of the size of the resolution is three standard errors, RMS."""
        live = ~self.is_zero
        noise = float(np.mean(np.square(self.stderr[live]))) if live.any() else 0.0
        return int(np.ceil(self.shots * noise * (SIGNIFICANCE / self.resolution) ** 2))

    @property
    def level(self) -> float:
        """The RMS of the derivatives on a random state."""
        live = ~self.is_zero
        return float(np.sqrt(np.mean(np.square(self.random[live])))) if live.any() else 0.0

    @property
    def is_random(self) -> bool:
        """Whether the gradient is at most twice that of a random state, where that is next to nothing."""
        level = self.level
        return 0 < level <= SMALL * self.observable and self.rms[1] <= RANDOM * level

    @property
    def verdict(self) -> Verdict:
        """What it comes to.

        ``"plateau"``: the gradient is certainly below the resolution, or no more than a random state has.
        ``"trainable"``: it is there, and seen. ``"unseen"``: these shots cannot tell. ``"constant"``: no
        parameter matters.
        """
        if self.is_zero.all():
            return "constant"
        least, most = self.rms
        if most < self.resolution or self.is_random:
            return "plateau"
        return "trainable" if least > 0 or self.seen.any() else "unseen"

    @property
    def advice(self) -> tuple[str, ...]:
        """What to change, the likeliest first."""
        if self.verdict == "constant":
            return ("no gate before the observable's light cone is trained: check the observable",)
        if self.verdict == "trainable":
            hidden = int(np.count_nonzero(~self.seen & ~self.is_zero & ~self.flat))
            return (f"{hidden} derivatives need more shots to be seen",) if hidden else ()
        if self.verdict == "unseen":
            return (f"take {self.shots_needed:,} shots, which see a gradient of {self.resolution:.2g}",)
        found = []
        if self.weight > max(2, self.n_qubits // 2):
            found.append(
                f"a local observable: this one has words of {self.weight} letters on {self.n_qubits} qubits"
            )
        wide = float(np.mean(self.support[~self.is_zero]))
        if wide > self.n_qubits / 2:
            found.append(
                f"fewer layers, or gates between neighbours: a derivative touches {wide:.1f} of "
                f"{self.n_qubits} qubits on average"
            )
        found.append("a warm start: angles near zero, or trained by efl.propagate before a shot is taken")
        return tuple(found)

    def _power(self) -> tuple[float, float]:
        """Return the mean square of the derivatives that are not zero, and a bound of its error."""
        live = ~self.is_zero
        noise = np.square(self.stderr[live])
        each = np.sqrt(4 * np.maximum(self.power[live], 0) * noise + 2 * np.square(noise))
        return float(np.mean(self.power[live])), float(np.mean(each))

    def __str__(self) -> str:
        least, most = self.rms
        live = int(np.count_nonzero(~self.is_zero))
        lines = [
            f"diagnosis: {self.verdict}",
            f"  {live} of {self.is_zero.size} derivatives not identically zero, {self.n_qubits} qubits, "
            f"{self.shots:,} shots",
            f"  RMS derivative {least:.3g} to {most:.3g}; a random state has {self.level:.3g}; "
            f"worth having: {self.resolution:.3g}",
            f"  {np.count_nonzero(self.seen)} seen, {np.count_nonzero(self.flat)} certainly flat",
        ]
        lines += [f"  change: {text}" for text in self.advice]
        return "\n".join([*lines, *self._table()])

    def _table(self) -> list[str]:
        order = np.flatnonzero(~self.is_zero)
        order = order[np.argsort(-np.abs(self.gradient.ravel()[order]), kind="stable")]
        if not len(order):
            return []
        columns = {
            "parameter": 10,
            "derivative": 12,
            "+-": 9,
            "SNR": 9,
            "qubits": 8,
            "at most": 9,
            "random": 9,
        }
        head = "  " + "".join(f"{name:>{width}}" for name, width in columns.items())
        flat = [table.ravel() for table in (self.gradient, self.stderr, self.snr, self.support)]
        rows = [head]
        for k in order[:SHOWN]:
            bound = self.bound.ravel()[k]
            place = "{}" if self.gradient.ndim == 1 else "{}, {}"
            name = place.format(*np.unravel_index(k, self.gradient.shape))
            rows.append(
                f"  {name:>10}{flat[0][k]:>12.3g}{flat[1][k]:>9.2g}{flat[2][k]:>9.3g}{flat[3][k]:>8}"
                f"{f'{bound:.2g}' if np.isfinite(bound) else '-':>9}{self.random.ravel()[k]:>9.2g}"
            )
        more = len(order) - SHOWN
        return [*rows, f"  and {more} smaller ones"] if more > 0 else rows

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot the size of every derivative against its error, its bound and the level of a random state."""
        from efl_core.plots import plot_diagnosis

        return plot_diagnosis(self, ax)


def diagnose(
    snaps: Snapshots,
    observables: GradientObservables,
    *,
    resolution: SupportsFloat | None = None,
    max_support: SupportsIndex = 3,
    calibration: Calibration | None = None,
) -> Diagnosis:
    """Say whether the gradient of a circuit is there to be seen, and what to change if it is not.

    Parameters
    ----------
    snaps
        Snapshots of the state at the parameters that the observables were made (or rebased) for. Those in
        random letters bound derivatives by purities too; a designed list of settings does not reveal what
        that takes.
    observables
        Made by `gradient_observables`.
    resolution
        The derivative that is worth having; a hundredth of the observable's 2-norm if not given.
    max_support
        A derivative that is an observable of at most so many qubits is bounded by the purity of their state.
        Each qubit more takes four times the words, and about five times the snapshots.
    calibration
        As in `gradient`.

    Examples
    --------
    A product of many letters has no gradient to speak of, however shallow the circuit:

    >>> import efl_core as efl
    >>> def layer(n):
    ...     circuit = efl.Circuit(n, parameters=np.full(n, 1.4))
    ...     for q in range(n):
    ...         circuit.ry(efl.Parameter(q), q)
    ...     return circuit
    >>> circuit = layer(6)
    >>> snaps = efl.sample(efl.simulate(circuit), shots=20_000, seed=1)
    >>> efl.diagnose(snaps, efl.gradient_observables(circuit, "ZIIIII")).verdict
    'trainable'
    >>> settings = efl.Ensemble.settings(["Z" * q + "X" + "Z" * (5 - q) for q in range(6)])
    >>> snaps = efl.sample(efl.simulate(circuit), settings, shots=200_000, seed=1)
    >>> found = efl.diagnose(snaps, efl.gradient_observables(circuit, "Z" * 6), resolution=0.05)
    >>> found.verdict, found.advice[0]
    ('plateau', 'a local observable: this one has words of 6 letters on 6 qubits')
    """
    most = integer("max_support", max_support, 0, 8)
    found = gradient(snaps, observables, calibration=calibration)
    rows, parameters = observables.n_observables, observables.n_parameters
    sums = [observables.derivative(o, k) for o in range(rows) for k in range(parameters)]
    values = observables.value if isinstance(observables.value, list) else [observables.value]
    size = float(np.sqrt(np.mean([np.sum(_squares(own)) for own in values])))
    worth = 0.01 * size if resolution is None else real("resolution", resolution)
    if not (np.isfinite(worth) and worth > 0):
        raise InvalidInputError.of("resolution", "a derivative above zero", worth)
    supports = [_support(own) for own in sums]
    norms = np.array([np.sqrt(np.sum(_squares(own))) for own in sums])
    room = _room(snaps, set(supports), most, calibration)
    bounds = np.array(
        [norm * room.get(own, np.inf) if own else 0.0 for norm, own in zip(norms, supports, strict=True)]
    )
    shape = found.gradient.shape
    return Diagnosis(
        gradient=found.gradient,
        stderr=found.stderr,
        power=np.square(found.gradient) - np.square(found.stderr),
        support=np.array([len(own) for own in supports], dtype=np.int64).reshape(shape),
        bound=bounds.reshape(shape),
        random=(norms / np.sqrt(2.0**observables.n_qubits + 1)).reshape(shape),
        observable=size,
        weight=max((word.weight for own in values for word in own.words), default=0),
        n_qubits=observables.n_qubits,
        shots=found.shots,
        resolution=worth,
    )


def _squares(total: PauliSum) -> NDArray[np.float64]:
    """Return the squares of the coefficients of all words but the identity."""
    return np.array([c * c for word, c in total.terms() if word.weight])


def _support(total: PauliSum) -> tuple[int, ...]:
    return tuple(sorted({q for word in total.words for q in word.support}))


def _room(
    snaps: Snapshots, supports: set[tuple[int, ...]], most: int, calibration: Calibration | None
) -> dict[tuple[int, ...], float]:
    """Return, for the supports whose words are all revealed, the largest value of a sum of 2-norm 1 on them.

    With purity p of the state of a qubits it is the root of ``2^a p - 1``, the sum of the squares of the
    values of all words.
    """
    found: dict[tuple[int, ...], float] = {}
    for own in sorted(supports):
        if not 0 < len(own) <= most or len(snaps) < 2 * PARTS:
            continue
        words = [
            PauliWord(
                {q: letter for q, letter in zip(own, letters, strict=True) if letter != "I"},
                n_qubits=snaps.n_qubits,
            )
            for letters in product("IXYZ", repeat=len(own))
        ][1:]
        if min(snaps.ensemble.reveal_probability(word) for word in words) > 0:
            found[own] = _largest(snaps, words, calibration)
    return found


def _largest(snaps: Snapshots, words: list[PauliWord], calibration: Calibration | None) -> float:
    """Return an upper limit of the root of the sum of squared values, from parts of the snapshots."""
    means = []
    for part in range(PARTS):
        own = estimate(snaps[part::PARTS], words, calibration=calibration)
        if np.any(np.asarray(own.unrevealed) > 0):
            return float("inf")
        means.append(np.asarray(own.value))
    table = np.array(means)
    total, squares = table.sum(axis=0), np.sum(np.square(table), axis=1)
    pairs = (total @ total - squares.sum()) / (PARTS * (PARTS - 1))
    left = total - table  # sums without one part, for the jackknife
    without = (np.sum(np.square(left), axis=1) - (squares.sum() - squares)) / ((PARTS - 1) * (PARTS - 2))
    blur = np.sqrt((PARTS - 1) * np.mean(np.square(without - without.mean())))
    return float(np.sqrt(max(pairs + SIGNIFICANCE * blur, 0.0)))
