"""What a measured gradient cost, and how good it is."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.errors import InputTypeError, ResourceLimitError, ShapeError
from efl_core.pennylane.audits import AuditReport
from efl_core.pennylane.statistics import Joined, Measured
from efl_core.propagation import Dropped

__all__ = ["Report", "Sink", "deliver", "last_report"]

# Bytes of counted outcomes that a report holds for as long as somebody keeps it.
MOST_KEPT = 2**26


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """One measured gradient of one tape."""

    method: str
    """The method of the plan, or the kind of the ensemble that was given; of words and of wide projectors
    beside them, as in ``"product + global_clifford"``."""
    mode: str
    """How the settings reached the device: state, broadcast or tapes."""
    found_device: Literal["option", "frame"] | None
    """Who named the device: an option, or the frames of PennyLane's own calls; None where nobody did."""
    shots: int
    """Shots in all, for all derivatives together."""
    settings: int
    """Different circuits and settings that were measured."""
    tapes: int
    """Tapes in the one batch that was submitted."""
    gradient: NDArray[np.float64] = field(repr=False)
    """Derivatives by row and trainable parameter; with a leading axis for a shot vector.

    A measurement has a row, ``probs`` one for every outcome."""
    stderr: NDArray[np.float64] = field(repr=False)
    """Their standard errors."""
    predicted: float
    """RMS error that the plan predicted, over the derivatives that have any; `of` says which derivatives.

    On average over all states; how much settings differ on this one, where some of them were drawn
    (``settings_per_step``), is in `observed` only."""
    observed: float
    """RMS of the standard errors, over the same."""
    of: Literal["arguments", "parameters"]
    """What errors, and a target, are about: derivatives by the numbers that the user differentiates by,
    through the chain rule; or by parameters of the tape, where nothing says what those are computed from."""
    best: str
    """The method that the plan prefers."""
    factor: float
    """How many times more shots `method` needs than `best`."""
    dropped: Dropped
    """What truncation left out."""
    value: NDArray[np.float64] = field(repr=False)
    """Values by row, if they were measured with the gradient; a shot vector leads. NaN where only others
    were, which the derivatives of ``qml.var`` follow from."""
    value_stderr: NDArray[np.float64] = field(repr=False)
    """Their standard errors."""
    audit: AuditReport | None = field(repr=False)
    """Some of the derivatives again, by parameter-shift, if that was asked for."""
    _measured: Measured | Joined | None = field(repr=False)
    """How often each outcome came; None where that is too much to keep."""

    def stderr_of(self, weights: ArrayLike) -> NDArray[np.float64]:
        """Return the standard errors of linear combinations of the derivatives, covariances included.

        Weights have the shape (combinations, trainable parameters): the chain rule through classical code is
        such a matrix. The result is of shape (rows, combinations); a shot vector leads.
        """
        matrix = np.atleast_2d(np.asarray(weights, dtype=np.float64))
        if matrix.ndim != 2 or matrix.shape[1] != self.gradient.shape[-1]:
            raise ShapeError(
                f"weights: expected shape (combinations, {self.gradient.shape[-1]}), got {matrix.shape}"
            )
        if self._measured is None:
            raise ResourceLimitError(
                f"weights: expected a report of at most {MOST_KEPT:,} bytes of outcomes, which is kept, got "
                "one of more; efl.gradient_with_errors combines them before they are let go"
            )
        return self._measured.errors(matrix)

    def kept(self) -> "Report":
        """Return a report that does not hold much memory."""
        if self._measured is None or self._measured.nbytes <= MOST_KEPT:
            return self
        return replace(self, _measured=None)


Sink: TypeAlias = Callable[[Report], object] | list[Report]

_lock = threading.Lock()
_last: list[Report] = []


def last_report() -> Report | None:
    """Return the report of the last gradient that was measured in this process, by any thread.

    Where several threads measure, hand every QNode a list or a function of its own:
    ``gradient_kwargs={"report": reports}``.
    """
    with _lock:
        return _last[0] if _last else None


def check_sink(report: object) -> None:
    """Refuse what reports cannot be handed to."""
    if report is not None and not isinstance(report, list) and not callable(report):
        raise InputTypeError(f"report: expected a list or a function of one Report, got {report!r:.40}")


def deliver(report: Report, sink: Sink | None) -> None:
    """Keep a report, and hand it to whom it was asked for."""
    report = report.kept()
    with _lock:
        _last[:] = [report]
    if isinstance(sink, list):
        sink.append(report)
    elif sink is not None:
        sink(report)
