"""The demonstration: a fleet that learns to tell a 3 from an 8 while it answers, and what else would have.

Four replicas serve a head of 10 qubits, labels come 500 queries late, and a quarter of the shots of a query
teach. Beside it the same head is trained by exact gradients, by parameter-shift and by SPSA with as many
extra shots; and logistic regression, which is as good on data like these, says what the figure is worth.
"""

import math
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from efl_core.cli import digit_head
from efl_core.cli.digit_head import LATE, Labels, Run, by_exact_gradients, by_fleet, by_regression, by_spsa
from efl_core.errors import MissingExtraError
from efl_core.fleet import Fleet, Report
from efl_core.fleet.digits import digits

__all__ = ["run"]

FIGURE = Path("efl_demo_fleet.png")
WIDTH = 24
# Labels that come 8 steps late ask for smaller steps; the other ways wait for none.
RATE = 0.03


def run(queries: int = 12_800, seed: int = 0, replicas: int = 4) -> dict[str, Run]:
    """Run the demonstration, print it, and return the ways of training that it compares, by name."""
    start = time.perf_counter()
    data = digits(digit_head.QUBITS, seed=seed)
    print(
        f"A head of {digit_head.QUBITS} qubits tells handwritten 3s from 8s. {replicas} replicas serve it, "
        f"and labels come {LATE} queries late.\n"
    )
    shown = _Shown(queries)
    found, counts = by_fleet(
        data,
        queries,
        seed,
        labels=Labels(late=lambda _: LATE),
        replicas=replicas,
        rate=RATE,
        told=shown.tell,
        every=10,
    )
    print(f"\n{shown.price}\n")
    print(
        ", ".join(f"{name.replace('_', ' ')} {counts[name]:,}" for name in ("admitted", "taught", "pending"))
    )
    print("\nThe same queries, other ways:\n", flush=True)
    others: list[Callable[[], Run]] = [
        lambda: by_exact_gradients(data, queries, seed),
        lambda: by_fleet(data, queries, seed, method="shift-pruned", name="parameter-shift, pruned")[0],
        lambda: by_spsa(data, queries, seed),
        lambda: by_regression(data),
    ]
    before = Run("the fleet, not learning", 0, found.curve[:1])
    with ThreadPoolExecutor(2) as pool:
        runs = [found, before, *pool.map(lambda way: way(), others)]
    print("\n".join(_table(runs)))
    print(f"\n{time.perf_counter() - start:.0f} s in all. {_drawn(runs)}")
    return {one.name: one for one in runs}


class _Shown:
    """What is printed while the fleet learns."""

    def __init__(self, queries: int) -> None:
        self._queries, self.price = queries, ""
        titles = f"{'loss served':>15}  {'exact':>6}  {'test accuracy':>15}  {'gradient':>17}"
        print(f"  {'queries':>8}  {'':{WIDTH}}  {titles}")

    def tell(self, found: Run, fleet: Fleet, report: Report) -> None:
        """Print a line for a step; on a terminal the last one is written over until the next is due."""
        self.price = str(fleet.learner.price)
        queries, loss, accuracy = found.curve[-1]
        filled = round(WIDTH * (1 - min(1.0, loss / found.curve[0][1])))
        error = math.sqrt(accuracy * (1 - accuracy) / 107)
        line = (
            f"  {queries:>8,}  {'█' * filled:░<{WIDTH}}  {report.loss:6.3f} +- {report.loss_stderr:.3f}"
            f"  {loss:6.3f}  {accuracy:6.3f} +- {error:.3f}"
            f"  {_rms(report.gradient.value):.4f} +- {report.gradient.error:.4f}"
        )
        is_kept = report.step % 20 == 0 or queries >= self._queries
        if sys.stdout.isatty():
            print(f"\r{line}", end="\n" if is_kept else "", flush=True)
        elif is_kept:
            print(line, flush=True)


def _rms(values: NDArray[np.float64]) -> float:
    return float(np.sqrt(np.mean(np.square(values))))


def _table(runs: Sequence[Run]) -> Iterator[str]:
    yield f"  {'':<26} {'training loss':>13} {'test accuracy':>14} {'extra shots':>12}"
    for one in runs:
        yield f"  {one.name:<26} {one.loss:>13.3f} {one.accuracy:>14.3f} {one.extra_shots:>12,}"
    yield "\nLoss and accuracy are exact; extra shots are those that did not answer. Logistic regression"
    yield "is as good on ten features of two digits: they need no quantum computer."


def _drawn(runs: Sequence[Run]) -> str:
    try:
        from efl_core.plots import plot_runs
    except MissingExtraError as error:
        return f"No figure: {error}"
    figure = plot_runs(
        {one.name: one.curve for one in runs if len(one.curve) > 2},
        "queries",
        ("training loss", "test accuracy"),
    )
    figure.savefig(FIGURE, dpi=120)
    return f"The curves are in {FIGURE}."
