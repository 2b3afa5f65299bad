"""Plots: the only part of the package that imports matplotlib."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from efl_core.errors import InputTypeError, MissingExtraError

try:
    import matplotlib.pyplot as plt
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
except ImportError as error:
    raise MissingExtraError(
        f'efl_core.plots needs matplotlib ({error}): pip install "efl-core[plot]"'
    ) from error

if TYPE_CHECKING:
    from efl_core.diagnoses import Diagnosis
    from efl_core.plans.table import PlanLike
    from efl_core.training import History

__all__ = ["plot_diagnosis", "plot_history", "plot_plan", "plot_runs"]


def plot_plan(plan: "PlanLike", ax: Axes | None = None) -> Axes:
    """Plot the RMS error of each method against shots; bounds are dotted, the best method is drawn thick."""
    if ax is None:
        _, ax = plt.subplots()
    elif not isinstance(ax, Axes):
        raise InputTypeError.of("ax", "matplotlib Axes", type(ax).__name__)
    needed = [row.shots for row in plan if row.shots]
    shots = np.geomspace(max(1, min(needed) / 10), max(needed) * 10, 2) if needed else np.array([1.0, 1e6])
    for name, error in plan.curves(shots).items():
        row = plan[name]
        if row.cost > 0:
            ax.loglog(
                shots,
                error,
                linestyle=":" if row.bound else "-",
                linewidth=2.5 if name == plan.best.name else 1.2,
                label=f"{name} (at least)" if row.bound else name,
            )
    ax.axhline(plan.target, color="black", linestyle="--", linewidth=0.8, label=f"target {plan.target:g}")
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("shots")
    ax.set_ylabel("RMS error of the derivatives")
    ax.legend()
    return ax


def plot_history(history: "History", ax: Axes | None = None) -> Axes:
    """Plot the gradient, its error, and the loss where it is known, against all shots so far."""
    if ax is None:
        _, ax = plt.subplots()
    elif not isinstance(ax, Axes):
        raise InputTypeError.of("ax", "matplotlib Axes", type(ax).__name__)
    shots = history.column("total_shots")
    ax.loglog(shots, history.column("gradient"), label="gradient, measured")
    ax.loglog(shots, history.column("error"), linestyle="--", label="its standard error")
    ax.set_xlabel("shots")
    ax.set_ylabel("gradient")
    values = history.column("value")
    if np.isfinite(values).any():
        beside = ax.twinx()
        beside.plot(shots, values, color="black", linewidth=0.8)
        beside.set_ylabel("loss, running mean")
    ax.legend()
    return ax


def plot_diagnosis(diagnosis: "Diagnosis", ax: Axes | None = None) -> Axes:
    """Plot the size of every derivative with its error, beside its bound and the level of a random state."""
    if ax is None:
        _, ax = plt.subplots()
    elif not isinstance(ax, Axes):
        raise InputTypeError.of("ax", "matplotlib Axes", type(ax).__name__)
    live = np.flatnonzero(~diagnosis.is_zero)
    sizes, errors = np.abs(diagnosis.gradient.ravel()[live]), diagnosis.stderr.ravel()[live]
    bounds = diagnosis.bound.ravel()[live]
    known = np.isfinite(bounds)
    ax.errorbar(live, sizes, yerr=errors, fmt="o", markersize=4, label="derivative, absolute")
    ax.plot(live[known], bounds[known], "v", markersize=5, label="at most, by purity")
    ax.plot(live, diagnosis.random.ravel()[live], "_", color="black", label="random state, RMS")
    ax.axhline(diagnosis.resolution, color="black", linestyle="--", linewidth=0.8, label="worth having")
    ax.set_yscale("log")
    ax.set_xlabel("parameter")
    ax.set_ylabel("derivative")
    ax.set_title(diagnosis.verdict)
    ax.legend()
    return ax


def plot_runs(
    curves: Mapping[str, Sequence[tuple[float, ...]]], along: str, figures: Sequence[str]
) -> Figure:
    """Plot the figures of several runs side by side; a curve is of points ``(along, figure, ...)``."""
    figure = Figure(figsize=(5 * len(figures), 3.6), layout="constrained")
    for place, (ax, name) in enumerate(
        zip(np.ravel(figure.subplots(1, len(figures))), figures, strict=True), 1
    ):
        for label, points in curves.items():
            ax.plot([point[0] for point in points], [point[place] for point in points], label=label)
        ax.set_xlabel(along)
        ax.set_ylabel(name)
        ax.set_yscale("log" if "loss" in name else "linear")
        ax.grid(alpha=0.3)
    ax.legend()
    return figure
