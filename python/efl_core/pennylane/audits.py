"""The audit of a gradient: some of its derivatives again, by parameter-shift on the same device.

Parameter-shift estimates the derivative of what the device gives, whatever that does by itself, as long as it
does the same to the shifted circuits. What else is measured rests on a model of it, and so does which gates
have no derivative. A few derivatives, drawn anew for every gradient, are measured both ways and compared.

Invariant: no assumption on how the errors of derivatives go together. The chance of an alarm where there is
no bias is at most ``false_alarm`` for each audit, by the union bound.
"""

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist
from typing import Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import integer, real
from efl_core.errors import BiasError, InputTypeError, InvalidInputError

__all__ = ["Audit", "AuditReport", "OnBias", "compared", "react", "read_audit"]

OnBias: TypeAlias = Literal["warn", "raise", "shift"]
# The probability with which a bias of the size `AuditReport.detectable` is found.
POWER = 0.9


@dataclass(frozen=True, slots=True)
class Audit:
    """How a gradient is audited: ``audit=efl.Audit(...)``, or ``audit=0.1`` for a tenth of the shots."""

    share: float = 0.1
    """Which part of the shots it takes."""
    derivatives: int = 3
    """How many parameters are measured again, drawn anew for every gradient."""
    on_bias: OnBias = "warn"
    """What happens when a bias is found: a warning, a `BiasError`, or a warning and parameter-shift for the
    circuit from its next gradient on."""
    false_alarm: float = 0.001
    """The chance of an alarm where there is no bias, at most."""

    def __post_init__(self) -> None:
        for name in ("share", "false_alarm"):
            value = real(f"audit: {name}", getattr(self, name))
            if not 0 < value < 1:
                raise InvalidInputError(f"audit: expected {name} between 0 and 1, got {value:g}")
            object.__setattr__(self, name, value)
        object.__setattr__(self, "derivatives", integer("audit: derivatives", self.derivatives, 1))
        if self.on_bias not in get_args(OnBias):
            raise InvalidInputError(
                f"audit: expected on_bias {', '.join(map(repr, get_args(OnBias)))}, got {self.on_bias!r:.40}"
            )


def read_audit(value: object) -> Audit:
    """Return an audit, given as one or as a share of the shots."""
    if isinstance(value, Audit):
        return value
    if isinstance(value, bool) or not isinstance(value, (int, float, np.floating)):
        raise InputTypeError(f"audit: expected efl.Audit(...) or a share of the shots, got {value!r:.40}")
    return Audit(share=float(value))


@dataclass(frozen=True, slots=True, eq=False)
class AuditReport:
    """Some derivatives, measured by the method and by parameter-shift."""

    places: tuple[tuple[int, int], ...]
    """Observable and trainable parameter of each."""
    value: NDArray[np.float64]
    """By the method."""
    stderr: NDArray[np.float64]
    """Their standard errors."""
    shift: NDArray[np.float64]
    """By parameter-shift."""
    shift_stderr: NDArray[np.float64]
    """Their standard errors."""
    threshold: float
    """A difference of more than so many of its standard errors is a bias."""
    shots: int
    """Shots of the audit."""

    @property
    def error(self) -> NDArray[np.float64]:
        """Standard errors of the differences."""
        return np.hypot(self.stderr, self.shift_stderr)

    @property
    def z(self) -> NDArray[np.float64]:
        """Differences over their standard errors; zero where both are certain and agree."""
        difference = self.value - self.shift
        certain = self.error == 0
        infinite = np.where(difference == 0, 0.0, np.inf)
        return np.where(certain, infinite, difference / np.where(certain, 1.0, self.error))

    @property
    def is_biased(self) -> bool:
        """Whether a bias was found."""
        return bool(np.any(np.abs(self.z) > self.threshold))

    @property
    def bias(self) -> tuple[float, float]:
        """RMS difference of the derivatives without what their errors add, and its standard error."""
        squares = np.square(self.value - self.shift) - np.square(self.error)
        mean = float(np.mean(squares))
        size = math.sqrt(max(mean, 0.0))
        blur = math.sqrt(float(np.mean(4 * size**2 * self.error**2 + 2 * self.error**4)) / len(squares))
        return size, blur / max(2 * size, math.sqrt(blur)) if blur else 0.0

    @property
    def detectable(self) -> NDArray[np.float64]:
        """The bias of each derivative that is found with a probability of 90 %."""
        return (self.threshold + NormalDist().inv_cdf(POWER)) * self.error

    def __str__(self) -> str:
        size, blur = self.bias
        found = f"a bias of {size:.2g} +- {blur:.1g} (RMS)" if self.is_biased else "no bias"
        worst = float(np.max(np.abs(self.z)))
        return (
            f"audit of {len(self.places)} derivatives by parameter-shift, {self.shots:,} shots: {found}; the "
            f"largest difference is {worst:.1f} standard errors, and one of {np.max(self.detectable):.2g} "
            "would be found"
        )


def compared(
    audit: Audit,
    places: Sequence[tuple[int, int]],
    gradient: tuple[NDArray[np.float64], NDArray[np.float64]],
    shift: tuple[NDArray[np.float64], NDArray[np.float64]],
    shots: int,
) -> AuditReport:
    """Compare derivatives and their errors, shape (observables, trainable parameters), at some places."""
    where = tuple(np.transpose(places))
    threshold = NormalDist().inv_cdf(1 - audit.false_alarm / (2 * len(places)))
    value, stderr = (table[where] for table in gradient)
    again, again_stderr = (table[where] for table in shift)
    return AuditReport(tuple(places), value, stderr, again, again_stderr, threshold, shots)


def react(audit: Audit, found: AuditReport) -> None:
    """Say what was found, as the audit wants it."""
    if not found.is_biased:
        return
    text = f"the gradient is biased: {found}"
    if audit.on_bias == "raise":
        raise BiasError(f"{text}; its model of the device is wrong, which method='shift' does not need")
    more = "; the next ones of this circuit are measured by 'shift'" if audit.on_bias == "shift" else ""
    warnings.warn(text + more, UserWarning, stacklevel=2)
