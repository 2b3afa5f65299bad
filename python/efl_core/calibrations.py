"""Calibrations of readouts: the contrast that a parity has after a readout that errs.

A readout that is twirled (every shot flips random qubits before it and undoes that in its bits) multiplies
the mean of every parity by one number, its contrast, however the errors of qubits differ or go together.
Shots of |0...0> say what it is. `estimate`, `gradient` and the gradient transforms divide by it and add its
error.

In random bases that are twirled (`Ensemble.global_clifford` with ``twirled=True``) every word is read by all
parities alike, so that one number, the mean of their contrasts, is what is left of any: a `Calibration` of
the readout knows it, and a `BasisCalibration` measures it with the gates of the bases in it.

Invariant: a calibration is shots, counted; every contrast and every error follows from them.
"""

import json
import math
from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
from numpy.typing import ArrayLike

from efl_core import _native
from efl_core._native import Ensemble
from efl_core.arguments import byte_table, described, integer, real
from efl_core.errors import CorruptDataError, InputTypeError, InvalidInputError, ShapeError
from efl_core.snapshots import Snapshots

__all__ = [
    "BasisCalibration",
    "Calibration",
    "Contrast",
    "check_basis_contrast",
    "check_calibration",
    "divided",
]

FORMAT = "efl_core calibration 1"
BASIS_FORMAT = "efl_core basis calibration 1"
SIGNIFICANT = 4.0
"""How many of its standard errors a contrast has to be above zero."""


@dataclass(frozen=True, slots=True)
class Contrast:
    """The contrast of a parity of readout bits."""

    value: float
    """The mean of the parity on |0...0>; what is left of any other mean."""
    stderr: float
    """Its standard error."""
    shots: int
    """How many shots saw all of its qubits."""


class _Dated:
    """When something was measured, and after how many seconds it must not be used."""

    __slots__ = ("_made", "_max_age")

    def __init__(self, made: datetime | None, max_age: SupportsFloat | None) -> None:
        self._made = datetime.now(UTC) if made is None else _date(made)
        self._max_age = None
        if max_age is not None:
            self._max_age = real("max_age", max_age)
            if not self._max_age > 0:
                raise InvalidInputError.of("max_age", "seconds, a number above zero", self._max_age)

    @property
    def made(self) -> datetime:
        """When it was measured."""
        return self._made

    @property
    def max_age(self) -> float | None:
        """After how many seconds it must not be used; None for never."""
        return self._max_age

    @property
    def age(self) -> float:
        """Seconds since it was measured."""
        return (datetime.now(UTC) - self._made).total_seconds()

    def _check_age(self) -> None:
        if self._max_age is not None and self.age > self._max_age:
            raise InvalidInputError.of(
                "calibration",
                f"one that is at most {self._max_age:g} s old (efl.calibrate measures it again)",
                f"one of {self.age:.0f} s, made at {self._made.isoformat(timespec='seconds')}",
            )


class Calibration(_Dated):
    """The contrasts of a readout, from shots of |0...0>. Made by `efl.calibrate`, or from arrays.

    Examples
    --------
    >>> import efl_core as efl
    >>> bits = np.zeros((1000, 2), dtype=np.uint8)
    >>> bits[:50, 0] = 1  # qubit 0 is read wrongly in 5 % of the shots
    >>> calibration = efl.Calibration.from_bits(bits)
    >>> calibration.contrast([0]).value, calibration.contrast([0, 1]).value
    (0.9, 0.9)
    >>> calibration
    Calibration(2 qubits, 1000 shots, contrasts 0.9 to 1)
    """

    __slots__ = ("_native", "_wires")

    def __init__(
        self,
        native: _native.Calibration,
        *,
        wires: Sequence[Hashable] | None = None,
        made: datetime | None = None,
        max_age: SupportsFloat | None = None,
    ) -> None:
        if not isinstance(native, _native.Calibration):
            raise InputTypeError(
                "Calibrations are made by efl_core.calibrate, Calibration.from_bits, .from_snapshots or "
                f".from_json, not from {type(native).__name__}"
            )
        self._native = native
        self._wires = tuple(range(native.n_qubits)) if wires is None else tuple(wires)
        if len(self._wires) != native.n_qubits or len(set(self._wires)) < native.n_qubits:
            raise ShapeError.of("wires", f"{native.n_qubits} different wires", list(self._wires))
        super().__init__(made, max_age)

    @classmethod
    def from_bits(
        cls,
        bits: ArrayLike,
        flips: ArrayLike | None = None,
        *,
        wires: Sequence[Hashable] | None = None,
        made: datetime | None = None,
        max_age: SupportsFloat | None = None,
    ) -> "Calibration":
        """Count shots of |0...0>.

        Parameters
        ----------
        bits
            What was read, 0 or 1, shape ``(shots, n_qubits)``.
        flips
            Which qubits were flipped by an X before the readout, same shape; none if not given. Readouts that
            confuse 0 and 1 unequally have to be flipped at random, here and where the calibration is used.
        wires
            What the qubits are called; their numbers if not given.
        made
            When, with a time zone; now if not given.
        max_age
            After how many seconds it must not be used any more; never if not given.
        """
        table = byte_table("bits", bits, 1)
        if flips is not None:
            turned = byte_table("flips", flips, 1)
            if turned.shape != table.shape:
                raise ShapeError.of("flips", f"shape {table.shape}, as bits has", turned.shape)
            table = table ^ turned
        if not table.size:
            raise ShapeError.of("bits", "at least one shot", f"shape {table.shape}")
        return cls(_native.Calibration(np.ascontiguousarray(table)), wires=wires, made=made, max_age=max_age)

    @classmethod
    def from_snapshots(
        cls, snaps: Snapshots, *, made: datetime | None = None, max_age: SupportsFloat | None = None
    ) -> "Calibration":
        """Count snapshots of |0...0> in random letters, as robust shadows do: qubits read in Z are seen."""
        if not isinstance(snaps, Snapshots):
            raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
        if snaps.ensemble.kind not in ("uniform", "biased"):
            expected = "snapshots in letters (BasisCalibration.from_snapshots takes those in twirled bases)"
            raise InvalidInputError.of("snaps", expected, f"a {snaps.ensemble.kind} ensemble")
        if not len(snaps):
            raise ShapeError.of("snaps", "at least one snapshot", "none")
        bits, letters = snaps.to_arrays()
        seen = np.ascontiguousarray(letters == 2, dtype=np.uint8)
        return cls(_native.Calibration(bits, seen), made=made, max_age=max_age)

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self._native.n_qubits

    @property
    def shots(self) -> int:
        """Number of shots."""
        return self._native.shots

    @property
    def wires(self) -> tuple[Hashable, ...]:
        """What the qubits are called."""
        return self._wires

    def contrast(self, qubits: Iterable[SupportsIndex]) -> Contrast:
        """Return the contrast of the parity of some qubits, by their numbers."""
        return Contrast(*self._native.contrast(self._checked(qubits)))

    @property
    def qubits(self) -> list[Contrast]:
        """The contrast of every qubit by itself."""
        return [self.contrast([q]) for q in range(self.n_qubits)]

    @property
    def mean_contrast(self) -> Contrast:
        """The mean of the contrasts of all parities: what twirled random bases leave of every word.

        It is ``(2**n p - 1) / (2**n - 1)``, p the part of the shots that read every qubit rightly.

        >>> import efl_core as efl
        >>> known = efl.Calibration.from_bits([[0, 0]] * 97 + [[0, 1]] * 3)
        >>> np.mean([known.contrast(qubits).value for qubits in ([0], [1], [0, 1])])
        np.float64(0.96)
        >>> round(known.mean_contrast.value, 6)
        0.96
        """
        bits, seen, counts = self._native.patterns()
        whole = seen.all(axis=1)
        shots = int(counts[whole].sum())
        if not shots:
            return Contrast(0.0, 1.0, 0)
        right = int(counts[whole & ~bits.any(axis=1)].sum())
        left = 0.5**self.n_qubits
        # Of two imagined shots more one was read rightly: shots that all agree claim no certainty.
        chance = (right + 1) / (shots + 2)
        error = math.sqrt(chance * (1 - chance) / shots)
        return Contrast((right / shots - left) / (1 - left), error / (1 - left), shots)

    def fidelity(self, qubits: Iterable[SupportsIndex]) -> float:
        """Return the mean over all shots of the parity where all of the qubits were seen, else of zero.

        It is the ``f_S`` of robust shadows: the probability that a shot sees them, times the contrast.
        """
        found = self.contrast(qubits)
        return found.value * found.shots / self.shots

    def pairs(self, significance: SupportsFloat = 4.0) -> dict[tuple[int, int], Contrast]:
        """Return the pairs of qubits whose errors go together, with their correlation.

        It is the contrast of the pair less the product of those of the qubits, where that is more than
        ``significance`` of its standard errors from zero.
        """
        limit = real("significance", significance)
        bits, seen, counts = self._native.patterns()
        signs = 1.0 - 2.0 * bits
        found = {}
        for a in range(self.n_qubits):
            for b in range(a + 1, self.n_qubits):
                both = (seen[:, a] & seen[:, b]).astype(bool)
                shots = int(counts[both].sum())
                if shots < 2:
                    continue
                share = counts[both] / shots
                one, other = signs[both, a], signs[both, b]
                means = share @ one, share @ other
                # The influence of a shot on the correlation.
                moved = one * other - means[1] * one - means[0] * other
                correlation = float(share @ (one * other) - means[0] * means[1])
                error = math.sqrt(max(share @ moved**2 - (share @ moved) ** 2, 4 / shots) / shots)
                if abs(correlation) > limit * error:
                    found[a, b] = Contrast(correlation, error, shots)
        return found

    def needed_shots(self, qubits: Iterable[SupportsIndex], error: SupportsFloat) -> int:
        """Return how many shots would tell the contrast of some qubits to a relative error."""
        wanted = real("error", error)
        if not (math.isfinite(wanted) and wanted > 0):
            raise InvalidInputError.of("error", "a relative error above zero", wanted)
        found = self.contrast(qubits)
        size = max(found.value, found.stderr)
        each = found.stderr**2 * self.shots  # of one shot, of those that see the qubits or not
        return max(1, math.ceil(each / (size * wanted) ** 2))

    def of(self, wires: Iterable[Hashable]) -> "Calibration":
        """Return the calibration of some of the wires, in their order."""
        wanted = list(wires)
        unknown = [wire for wire in wanted if wire not in self._wires]
        if unknown:
            raise InvalidInputError.of("calibration", f"one of the wires {wanted}", list(self._wires))
        if tuple(wanted) == self._wires:
            return self
        columns = [self._wires.index(wire) for wire in wanted]
        bits, seen, counts = self._native.patterns()
        native = _native.Calibration(
            np.ascontiguousarray(np.repeat(bits[:, columns], counts.astype(np.intp), axis=0)),
            np.ascontiguousarray(np.repeat(seen[:, columns], counts.astype(np.intp), axis=0)),
        )
        return Calibration(native, wires=wanted, made=self._made, max_age=self._max_age)

    def to_json(self) -> str:
        """Return it as text, which `from_json` reads."""
        bits, seen, counts = self._native.patterns()
        rows = ["".join(map(str, row)) for row in bits]
        saw = ["".join(map(str, row)) for row in seen]
        return json.dumps(
            {
                "format": FORMAT,
                "wires": list(self._wires),
                "made": self._made.isoformat(),
                "max_age": self._max_age,
                "patterns": [list(row) for row in zip(rows, saw, map(int, counts), strict=True)],
            }
        )

    @classmethod
    def from_json(cls, text: str) -> "Calibration":
        """Read what `to_json` wrote, after checking all of it.

        >>> import efl_core as efl
        >>> known = efl.Calibration.from_bits(np.zeros((100, 2), dtype=np.uint8))
        >>> efl.Calibration.from_json(known.to_json()) == known
        True
        """
        try:
            found = json.loads(text)
            if found["format"] != FORMAT:
                raise CorruptDataError(f"text: expected {FORMAT!r}, got {found['format']!r:.40}")
            rows, saw, counts = zip(*found["patterns"], strict=True)
            each = np.array([integer("text: counts", count, 1, 2**32) for count in counts])
            table = np.repeat(np.array([list(map(int, row)) for row in rows], dtype=np.uint8), each, axis=0)
            seen = np.repeat(np.array([list(map(int, row)) for row in saw], dtype=np.uint8), each, axis=0)
            return cls(
                _native.Calibration(table, seen),
                wires=found["wires"],
                made=datetime.fromisoformat(found["made"]),
                max_age=found["max_age"],
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, CorruptDataError):
                raise
            raise CorruptDataError(
                f"text: expected a calibration, got one that cannot be read: {error}"
            ) from error

    def check(self, wires: Sequence[Hashable]) -> "Calibration":
        """Return the calibration of some wires; refuse one that is too old, or of other wires."""
        self._check_age()
        return self.of(wires)

    def _checked(self, qubits: Iterable[SupportsIndex]) -> list[int]:
        found = [integer("qubits", q, 0, self.n_qubits - 1) for q in qubits]
        if len(set(found)) < len(found):
            raise InvalidInputError.of("qubits", "each qubit once", found)
        return found

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Calibration):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self._wires, self._made, self.shots))

    def __reduce__(self) -> tuple[Any, ...]:
        return Calibration.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        values = [contrast.value for contrast in self.qubits]
        return (
            f"Calibration({self.n_qubits} qubits, {self.shots} shots, contrasts {min(values):.3g} to "
            f"{max(values):.3g})"
        )


class BasisCalibration(_Dated):
    """What is left of every word in twirled random bases, from snapshots of |0...0>.

    One number, whatever the errors of the readout are, and those of the gates of the bases as far as they do
    not depend on the basis.

    Examples
    --------
    >>> import efl_core as efl
    >>> ensemble = efl.Ensemble.global_clifford(10, twirled=True)
    >>> zeros = efl.sample(efl.StabiliserState(10, []), ensemble, shots=2000, seed=1)
    >>> bits, addresses = zeros.to_arrays()
    >>> bits ^= np.random.default_rng(2).random(bits.shape) < 0.02  # a readout that flips 2 % of the bits
    >>> read = efl.Snapshots.from_addresses(bits, addresses, ensemble=ensemble)
    >>> efl.BasisCalibration.from_snapshots(read)
    BasisCalibration(10 qubits, 2000 shots, contrast 0.82 +- 0.02)
    """

    __slots__ = ("_n_qubits", "_table")

    def __init__(
        self,
        n_qubits: SupportsIndex,
        table: ArrayLike,
        *,
        made: datetime | None = None,
        max_age: SupportsFloat | None = None,
    ) -> None:
        """Take what `from_snapshots` counts.

        ``table`` has rows ``[fixed, shots, agreeing]``: of so many shots, in bases in which |0...0> fixes so
        many words, how many agreed with all of these.
        """
        self._n_qubits = integer("n_qubits", n_qubits, 1, 2**30)
        rows = np.asarray(table)
        expected = "integers, rows of [fixed, shots, agreeing]"
        if rows.ndim != 2 or rows.shape[1] != 3 or rows.dtype.kind not in "iu":
            raise ShapeError.of("table", expected, f"shape {rows.shape}, dtype {rows.dtype}")
        self._table = tuple((int(k), int(shots), int(agreeing)) for k, shots, agreeing in rows)
        for k, shots, agreeing in self._table:
            if not (0 <= k <= self._n_qubits and 0 <= agreeing <= shots) or (k == 0 and agreeing < shots):
                raise InvalidInputError.of("table", f"{expected} that can be", [k, shots, agreeing])
        if not any(k and shots for k, shots, _ in self._table):
            expected = "shots in bases that have a word of |0...0> (58 % do)"
            raise InvalidInputError.of("table", expected, f"{self.shots} in others")
        super().__init__(made, max_age)

    @classmethod
    def from_snapshots(
        cls, snaps: Snapshots, *, made: datetime | None = None, max_age: SupportsFloat | None = None
    ) -> "BasisCalibration":
        """Count snapshots of |0...0> in twirled bases; ``made`` and ``max_age`` as of `Calibration`."""
        if not isinstance(snaps, Snapshots):
            raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
        _check_twirled("snaps", snaps.ensemble)
        rows = [(k, *row) for k, row in enumerate(_native.agreements(snaps._native).tolist()) if row[0]]
        if len(rows) < 2 and rows[0][0] == 0:
            expected = "more snapshots (58 % of the bases have a word of |0...0>)"
            raise InvalidInputError.of("snaps", expected, f"{len(snaps)} in others")
        return cls(snaps.n_qubits, rows, made=made, max_age=max_age)

    @property
    def n_qubits(self) -> int:
        """Number of qubits."""
        return self._n_qubits

    @property
    def shots(self) -> int:
        """Number of shots."""
        return sum(shots for _, shots, _ in self._table)

    @property
    def mean_contrast(self) -> Contrast:
        """What is left of every word. ``shots`` are those whose bases say something of it."""
        # Where k words are fixed, 2^k - 1 parities are known to be 1: their mean is 1 where all agree, and
        # else -1 / (2^k - 1). One imagined shot has read a single word wrongly: agreement is no certainty.
        told = [(2.0**k - 1, shots, agreeing) for k, shots, agreeing in self._table if k]
        count = sum(shots for _, shots, _ in told)
        readings = [(1.0, sum(agreeing for _, _, agreeing in told))]
        readings += [(-1 / parities, shots - agreeing) for parities, shots, agreeing in told]
        value = sum(reading * number for reading, number in readings) / count
        square = sum((reading - value) ** 2 * number for reading, number in [*readings, (-1.0, 1)])
        return Contrast(value, math.sqrt(square) / count, count)

    def to_json(self) -> str:
        """Return it as text, which `from_json` reads."""
        known = {"made": self._made.isoformat(), "max_age": self._max_age}
        return json.dumps({"format": BASIS_FORMAT, "n_qubits": self._n_qubits, "table": self._table, **known})

    @classmethod
    def from_json(cls, text: str) -> "BasisCalibration":
        """Read what `to_json` wrote, after checking all of it.

        >>> import efl_core as efl
        >>> known = efl.BasisCalibration(2, [[1, 100, 97]])
        >>> efl.BasisCalibration.from_json(known.to_json()) == known
        True
        """
        try:
            found = json.loads(text)
            if found["format"] != BASIS_FORMAT:
                raise CorruptDataError(f"text: expected {BASIS_FORMAT!r}, got {found['format']!r:.40}")
            made = datetime.fromisoformat(found["made"])
            return cls(found["n_qubits"], found["table"], made=made, max_age=found["max_age"])
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if isinstance(error, CorruptDataError):
                raise
            raise CorruptDataError(
                f"text: expected a basis calibration, got one that cannot be read: {error}"
            ) from error

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, BasisCalibration):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash((self._n_qubits, self._table, self._made))

    def __reduce__(self) -> tuple[Any, ...]:
        return BasisCalibration.from_json, (self.to_json(),)

    def __repr__(self) -> str:
        found = self.mean_contrast
        shown = f"contrast {found.value:.2g} +- {found.stderr:.1g}"
        return f"BasisCalibration({self._n_qubits} qubits, {self.shots} shots, {shown})"


def _date(made: object) -> datetime:
    if not isinstance(made, datetime):
        raise InputTypeError.of("made", "a datetime", type(made).__name__)
    if made.tzinfo is None:
        raise InvalidInputError.of("made", "a datetime with a time zone", made.isoformat())
    return made


def check_calibration(calibration: object, n_qubits: int) -> "_native.Calibration | None":
    """Return what signs of so many qubits are divided by; refuse what does not fit or is too old."""
    if calibration is None:
        return None
    if not isinstance(calibration, Calibration):
        raise InputTypeError.of("calibration", "an efl_core.Calibration", described(calibration))
    if calibration.n_qubits != n_qubits:
        raise ShapeError.of("calibration", f"one of {n_qubits} qubits", f"{calibration.n_qubits} qubits")
    return calibration.check(calibration.wires)._native


def check_basis_contrast(calibration: object, ensemble: Ensemble) -> Contrast | None:
    """Return what is left of every word in random bases; refuse what does not fit, is old or too small."""
    if calibration is None:
        return None
    if not isinstance(calibration, (Calibration, BasisCalibration)):
        expected = "an efl_core.Calibration or BasisCalibration"
        raise InputTypeError.of("calibration", expected, described(calibration))
    if calibration.n_qubits != ensemble.n_qubits:
        expected = f"one of {ensemble.n_qubits} qubits"
        raise ShapeError.of("calibration", expected, f"{calibration.n_qubits} qubits")
    _check_twirled("calibration", ensemble)
    calibration._check_age()
    found = calibration.mean_contrast
    if found.value > SIGNIFICANT * found.stderr:
        return found
    size = max(found.value, found.stderr)
    needed = math.ceil((SIGNIFICANT * found.stderr / size) ** 2 * calibration.shots)
    raise InvalidInputError.of(
        "calibration",
        f"a contrast that is {SIGNIFICANT:g} standard errors above zero (about {needed:,} shots would do if "
        "it is what it seems)",
        f"{found.value:.3g} +- {found.stderr:.2g} from {calibration.shots:,} shots",
    )


def _check_twirled(name: str, ensemble: Ensemble) -> None:
    if not ensemble.twirled:
        plain = " that is not twirled" if ensemble.kind == "global_clifford" else ""
        raise InvalidInputError.of(
            name,
            "snapshots of Ensemble.global_clifford(n, twirled=True) (without the twirl each word has "
            "parities of its own, which err differently)",
            f"a {ensemble.kind} ensemble{plain}",
        )


def divided(value: Any, stderr: Any, center: Any, contrast: Contrast | None) -> tuple[Any, Any]:  # noqa: ANN401 (numbers or arrays)
    """Return values that errors reduced by one contrast as they would be, and their errors with its own.

    ``center`` is the value on the maximally mixed state, which no error moves.
    """
    if contrast is None:
        return value, stderr
    rest = (value - center) / contrast.value
    return center + rest, np.hypot(stderr, rest * contrast.stderr) / contrast.value
