"""Replicas that lie: how far they move a derivative, with the mean and with a trimmed mean over buckets.

60 replicas of 400 queries each, of which 0 to 40 % lie; the bias is that of the largest derivative, over 8
fleets, beside the bound that holds for any lie. Packets go through the machine, as a learner takes them.

- worst bits: every teaching shot says as much as its setting allows, against the derivative
- sign flip: it says the opposite of what was measured
- constant: zeros
- volume: worst bits, ten times as many queries; the mean counts queries, buckets have one vote each
- selection: honest bits, and the half of the queries that one likes less is given up

Goals: no lie beyond the bound; at 10 % the trimmed mean is biased by 0.3 of the mean's bias at most, wherever
that is five standard errors. (What is left of a mild lie falls as one over the root of the queries of a
replica: with 100 of them 0.4 of the bias by selection stays.) Draws docs/attacks.svg.

    python benches/python/bench_fleet_attacks.py [--smoke] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import sys
from pathlib import Path

import matplotlib
import numpy as np
from attacks import ATTACKS, Fleet
from matplotlib.figure import Figure

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fleet.cases import brick

FRACTIONS = (0.0, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4)
REPLICAS, QUERIES, FLEETS = 60, 400, 8


def biases(fleets, attack):
    """For each fraction mean, trimmed mean, their standard errors, and the liars' part of the queries."""
    found = []
    for fraction in FRACTIONS:
        told = np.array([fleet.attacked(attack, round(fraction * REPLICAS)) for fleet in fleets])
        told[:, :2] *= fleets[0].against  # towards where the liars push
        error = told[:, :2].std(axis=0, ddof=1) / len(fleets) ** 0.5
        found.append([*told[:, :2].mean(axis=0), *error, told[:, 2].mean()])
    return np.array(found)


def main(report):
    count = 2 if report.smoke else FLEETS
    fleets = [Fleet(brick(4, outputs="word"), REPLICAS, QUERIES, seed=seed) for seed in range(count)]
    table = {attack: biases(fleets, attack) for attack in ATTACKS}
    # Of a few fleets an error bar is known to no digit; that of all attacks together is.
    usual = float(np.sqrt(np.mean([found[:, 2] ** 2 for found in table.values()])))
    for attack, found in table.items():
        report.title(attack)
        for fraction, (mean, trimmed, error, other, part) in zip(FRACTIONS, found, strict=True):
            bound = fleets[0].bound(part)
            print(
                f"  {fraction:>4.0%} of the replicas, {part:>4.0%} of the queries: "
                f"mean {mean:+.4f} +- {error:.4f}   trimmed {trimmed:+.4f} +- {other:.4f}   "
                f"bound {bound:.4f}",
                flush=True,
            )
            within = mean <= bound + 5 * max(error, usual)
            report.check(f"{attack} at {fraction:.0%}: within the bound", within)
        mean, trimmed, error, *_ = found[FRACTIONS.index(0.1)]
        if mean > 5 * error:
            report.figure(f"{attack} at 10 %, trimmed by mean", abs(trimmed) / mean, "", at_most=0.3)
    for fleet in fleets:
        fleet._packets.clear()
    if not report.smoke:
        draw(table, fleets[0])


def draw(table, fleet):
    matplotlib.rcParams["svg.hashsalt"] = "attacks"
    figure = Figure(figsize=(8.4, 3.4), layout="constrained")
    axes = figure.subplots(1, 2, sharey=True)
    percent = 100 * np.array(FRACTIONS)
    for which, (ax, title) in enumerate(zip(axes, ("mean", "trimmed mean, 15 % at each end"), strict=True)):
        for attack in ATTACKS:
            ax.plot(percent, np.abs(table[attack][:, which]), "o-", markersize=3, label=attack)
        ax.plot(percent, [fleet.bound(f) for f in FRACTIONS], color="black", label="bound, equal volumes")
        ax.axhline(
            abs(fleet.exact[fleet.target]), color="black", linestyle=":", label="the derivative itself"
        )
        ax.set_title(title, fontsize=10)
        ax.set_xlabel("replicas that lie, %")
        ax.set_yscale("symlog", linthresh=0.01)
        ax.set_ylim(0, None)
    axes[0].set_ylabel("bias of a derivative")
    axes[1].legend(fontsize=8)
    figure.savefig(Path(__file__).parents[2] / "docs" / "attacks.svg", metadata={"Date": None})


if __name__ == "__main__":
    sidebyside.run(main, __doc__.splitlines()[0])
