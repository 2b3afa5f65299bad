"""What came of a training run, step by step."""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["History", "Step"]


@dataclass(frozen=True, slots=True)
class Step:
    """One step: what it took, and what it found at the parameters before it."""

    number: int
    """From 0."""
    shots: int
    """Shots of this step."""
    circuits: int
    """Circuits of this step, each with its setting."""
    total_shots: int
    """Shots of all steps until this one."""
    total_circuits: int
    """Circuits of all steps until this one."""
    cost: float
    """Cost of all steps until this one."""
    gradient: float
    """Norm of the gradient that was measured."""
    error: float
    """Root of the sum of the squared standard errors of its entries."""
    value: float | None
    """The running mean of the loss; None where it was not measured."""
    value_error: float | None
    """Its standard error, as if parameters had not moved."""

    def __str__(self) -> str:
        value = "" if self.value is None else f", loss {self.value:.4g} +- {self.value_error:.2g}"
        return (
            f"step {self.number}: {self.total_shots} shots, {self.total_circuits} circuits, "
            f"gradient {self.gradient:.3g} +- {self.error:.2g}{value}"
        )


class History(Sequence[Step]):
    """The steps of a run."""

    def __init__(self, steps: Sequence[Step] = ()) -> None:
        self._steps = list(steps)

    def append(self, step: Step) -> None:
        """Add a step."""
        self._steps.append(step)

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, index: Any) -> Any:  # noqa: ANN401 (a step, or a list of them)
        return self._steps[index]

    def __iter__(self) -> Iterator[Step]:
        return iter(self._steps)

    def column(self, name: str) -> NDArray[np.float64]:
        """Return one entry of every step; nan where it was not measured."""
        return np.array([getattr(step, name) for step in self._steps], dtype=np.float64)

    def to_dict(self) -> list[dict[str, Any]]:
        """Return all steps, ready for JSON."""
        return [asdict(step) for step in self._steps]

    def plot(self, ax: "Axes | None" = None) -> "Axes":
        """Plot gradient, error and loss against shots; needs matplotlib."""
        from efl_core.plots import plot_history

        return plot_history(self, ax)

    def __repr__(self) -> str:
        return f"History({len(self)} steps)" if not self._steps else f"History({self._steps[-1]})"
