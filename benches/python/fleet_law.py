"""Draw docs/law.svg: what splitting shots and gentle answers cost, against the bound.

The points are those of one rotation, whose derivative is one word, computed from readings: no shot is taken.
"""

from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

import efl_core as efl
from efl_core.fleet.gentle import gentle_entries
from efl_core.fleet.readouts import AnswerPlan
from efl_core.fleet.roster import Split

SHARES = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)


def figures(share):
    """Return the variances of one shot, (answer, derivative), on the mixed state: split and gentle."""
    circuit = efl.Circuit(1, parameters=[0.7]).ry(efl.Parameter(0), 0)
    circuit.observables = (efl.PauliSum("Z"),)
    plan = efl.plan(circuit)
    split = Split(1, share, "gentle", 1, 1, 1.0)
    entries, _ = gentle_entries(split, AnswerPlan.of(circuit.observables, 1), plan, "clifford")
    gradient = sum(own.l2_norm**2 / entry.share for entry in entries for _, own in entry.readings)
    [(_, answer)] = entries[0].answers
    alone = sum(
        experiment.reading(0).l2_norm ** 2 / part for experiment, part in plan.experiments("clifford")
    )
    return (1 / (1 - share), alone / share), (answer.l2_norm**2, gradient)


def main():
    matplotlib.rcParams["svg.hashsalt"] = "law"
    figure = Figure(figsize=(5, 3.6), layout="constrained")
    ax = figure.subplots()
    answers = np.geomspace(1.02, 12, 200)
    ax.loglog(answers, 1 / (1 - 1 / answers), color="black", label="no measurement of one copy is below")
    ax.fill_between(answers, 1, 1 / (1 - 1 / answers), color="black", alpha=0.08)
    points = np.array([figures(share) for share in SHARES])
    ax.plot(*points[:, 0].T, "o", markersize=9, fillstyle="none", label="shots are split")
    ax.plot(*points[:, 1].T, "x", label="every shot is gentle")
    for share, (answer, gradient) in zip(SHARES, points[:, 0], strict=True):
        if share in (0.1, 0.3, 0.5, 0.9):
            ax.annotate(f"{share:g}", (answer, gradient), (6, 6), textcoords="offset points")
    ax.set_xlabel("variance of the answer, per shot")
    ax.set_ylabel("variance of the derivative, per shot")
    ax.set_title("share of the shots that teach", fontsize=10)
    ax.legend()
    figure.savefig(Path(__file__).parents[2] / "docs" / "law.svg", metadata={"Date": None})


if __name__ == "__main__":
    main()
