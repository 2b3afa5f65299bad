"""Draw docs/entangled.svg: what a pointer on several replicas costs, against the bound of single copies.

Lines are formulas. Each mark is a fleet of one rotation that was simulated 2,000 times: the variance of its
readings, and the mean of the answers that they left.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, NullLocator

import efl_core as efl

FLEETS = (2, 3, 4, 5, 6)
WIDTHS = (1.2, 1.6, 2.5, 5)  # times that at which single copies do as well
SHOTS = 2_000
ANGLE = 0.7


def law(width, replicas):
    """Return the variances of one copy, (answer, derivative), on the mixed state, by the formulas."""
    pointer = efl.CollectivePointer(width, replicas)
    return 1 / pointer.damping[0] ** 2, replicas * pointer.variance()


def simulated(width, replicas, first_seed):
    """Return the same of the readings of a fleet, and of the answers that it would give after them."""
    circuit = efl.Circuit(1, parameters=[ANGLE]).ry(efl.Parameter(0), 0)
    [derivative] = efl.gradient_observables(circuit, "Z").gradients
    start = efl.EntangledFleet([efl.simulate(circuit)] * replicas)
    readings, answers = np.empty(SHOTS), np.empty((SHOTS, replicas))
    for i in range(SHOTS):
        fleet = start.copy(seed=first_seed + i)
        readings[i] = fleet.read(derivative, width).value
        answers[i] = fleet.expectation("Z")
    damping = answers.mean() / np.cos(ANGLE)
    # Second moments, as those of the law: the variance of readings lacks the squared derivative.
    return 1 / damping**2, replicas * readings.var() + np.sin(ANGLE) ** 2


def main():
    matplotlib.rcParams["svg.hashsalt"] = "entangled"
    figure = Figure(figsize=(5.4, 4), layout="constrained")
    ax = figure.subplots()
    answers = np.geomspace(1.02, 12, 300)
    ax.loglog(answers, 1 / (1 - 1 / answers), color="black", label="no measurement of one copy is below")
    ax.fill_between(answers, 1, 1 / (1 - 1 / answers), color="black", alpha=0.08)
    for index, replicas in enumerate(FLEETS):
        even, color = efl.CollectivePointer.break_even(replicas), f"C{index}"
        widths = np.geomspace(0.45, 20, 200) * even
        ax.plot(
            *np.transpose([law(w, replicas) for w in widths]), color=color, label=f"a pointer on {replicas}"
        )
        seeds = range(SHOTS * len(WIDTHS) * index, SHOTS * len(WIDTHS) * (index + 1), SHOTS)
        points = [simulated(w * even, replicas, seed) for w, seed in zip(WIDTHS, seeds, strict=True)]
        ax.plot(*np.transpose(points), "x", color=color)
        for factor, point in zip(WIDTHS, points, strict=True):
            exact = law(factor * even, replicas)
            print(
                f"{replicas} replicas, width {factor * even:.3f}: answer {point[0]:.3f} ({exact[0]:.3f}), "
                f"derivative {point[1]:.3f} ({exact[1]:.3f})"
            )
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(FixedLocator([1.1, 1.5, 2, 3, 5, 10]))
        axis.set_major_formatter("{x:g}")
        axis.set_minor_locator(NullLocator())
    ax.set_xlim(1.02, 12)
    ax.set_ylim(1.02, 12)
    ax.set_xlabel("variance of the answer, per copy")
    ax.set_ylabel("variance of the derivative, per copy")
    ax.legend()
    figure.savefig(Path(__file__).parents[2] / "docs" / "entangled.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
