"""What the gradient costs on the circuits that people train: the planner's methods beside parameter-shift.

A row is a circuit of `catalogue.py` at one draw of its angles. All figures are N eps^2: total shots times the
squared error averaged over the M parameters whose derivative is not identically zero.

- words: distinct words of the derivatives and the observable. uniform: snapshots in random letters, the sum
  of c^2 3^weight.
- shift, pruned, reached: parameter-shift at the actual state (`competitors.py`): as PennyLane has it; without
  derivatives that vanish and with optimal shots; and with the words only that the shifted gate reaches.
- shift0, pruned0, reached0: the same at the maximally mixed state, where no knowledge of the state is used.
- a column for each method of the plan, as predicted for the target, and the best of them; /pruned, /reached:
  the best divided by those; s: seconds of the plan.

Goals: best at most pruned on every row, and at most half of it on four rows out of five.

Checks: parameter-shift as PennyLane makes it has the same circuits, groups and gradient; which derivatives
vanish, and all of them on |0...0>, agree with efl_core; simulated shots give the error that the table says
(each of these has a false-alarm rate below 1e-4).

    python benches/python/bench_plan.py [--smoke] [--only TEXT] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import dataclasses
import math
import signal
import time
from contextlib import contextmanager

import numpy as np
import pennylane as qml
from catalogue import CATALOGUE
from competitors import ParameterShift

import efl_core as efl

TARGET, SEED = 0.01, 0
TERMS, SECONDS = 2**18, 20
"""Beyond so many terms of a sum, or seconds, the words of a row are left out."""
METHODS = ("product", "clifford", "block", "echo", "mixture", "commuting")
BEFORE = ("n", "M", "words", "uniform", "shift", "pruned", "reached", "shift0", "pruned0", "reached0")
AFTER = (*METHODS, "best", "winner", "/pruned", "/reached", "s")
SMOKE = (
    "brick L2, Z3 n=6",
    "SEL-CNOT L1, Z3 n=6",
    "fidelity kernel n=4",
    "QAOA 3-regular p=1 n=4",
    "HEA-CZ H2 n=4",
)
CHECKED = (*SMOKE, "brick L1, vector n=6", "SEL-CNOT L2, Z3 n=6", "HEA-CNOT LiH n=6")
SHOTS, REPEATS = 200_000, 200


@contextmanager
def limit(seconds):
    """Raise TimeoutError after so many seconds, where there are signals for it."""

    def stop(*_):
        raise TimeoutError

    if not hasattr(signal, "setitimer"):
        yield
        return
    previous = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, previous)


def words(case):
    """The gradient observables of a case and the cost of uniform snapshots, or why they are left out."""
    try:
        with limit(SECONDS):
            truncation = efl.Truncation(max_terms=TERMS)  # an error beyond it: nothing is left out
            rows = efl.gradient_observables(case.circuit, case.observable, truncation=truncation)
            return rows, uniform(rows)
    except (efl.ResourceLimitError, TimeoutError) as error:
        return None, str(error) or f"more than {SECONDS} s"


def uniform(rows):
    """Sum of c^2 3^weight over all words of all derivatives, by the number of those that do not vanish."""
    total = 0.0
    for k in np.flatnonzero(~rows.is_zero):
        row = rows.derivative(0, k)
        weights = np.array([word.weight for word in row.words])
        total += float(np.sum(row.coefficients**2 * 3.0**weights))
    return total / np.count_nonzero(~rows.is_zero)


def planned(case):
    """N eps^2 of each method of the plan and of the best one, its name, and the seconds it took."""
    start = time.perf_counter()
    plan = efl.plan(case.circuit, [case.observable], target=TARGET)
    seconds = time.perf_counter() - start
    found = {name: plan[name].shots * TARGET**2 if name in plan.methods else "-" for name in METHODS}
    return {**found, "best": plan.best.shots * TARGET**2, "winner": plan.best.name, "s": seconds}


def compare(report, entries):
    """Print the table; return what the checks need, and the best costs beside those of parameter-shift."""
    report.title(f"N eps^2, {len(entries)} circuits, angles of seed {SEED}")
    planning = hasattr(efl, "plan")
    report.head("", [*BEFORE, *(AFTER if planning else ())])
    made, best, left_out = [], [], []
    for entry in entries:
        case = entry.make(SEED)
        shift, (rows, cost) = ParameterShift(case.tape), words(case)
        costs = shift.costs()
        line = [entry.n, costs.parameters, rows.n_words if rows else "-", cost if rows else "-"]
        line += dataclasses.astuple(costs)[1:]
        if not rows:
            left_out.append(f"{entry.name}: words are left out: {cost}")
        if planning:
            plan = planned(case)
            ratios = {"/pruned": plan["best"] / costs.pruned, "/reached": plan["best"] / costs.reached}
            line += [(plan | ratios)[name] for name in AFTER]
            best.append(list(ratios.values()))
        report.row(entry.name, dict(zip([*BEFORE, *AFTER], line, strict=False)))
        made.append((entry.name, case, shift, costs, rows))
    print(*left_out, "" if planning else "efl_core has no plan: parameter-shift only", sep="\n")
    return made, np.array(best)


def judge(report, ratios):
    report.figure("rows where best is above pruned", int(np.sum(ratios[:, 0] > 1)), "rows", at_most=0)
    report.figure("share of rows above half of pruned", float(np.mean(ratios[:, 0] > 0.5)), "", at_most=0.2)
    report.figure("rows where best is above reached", int(np.sum(ratios[:, 1] > 1)), "rows")


def check_vanishing(report, made):
    """Compare derivatives with those of efl_core: which vanish, and their values on |0...0>."""
    known = [(shift, case, rows) for _, case, shift, _, rows in made if rows]
    wrong = sum(not np.array_equal(rows.is_zero, ~shift.alive) for shift, _, rows in known)
    report.check("derivatives that vanish", wrong == 0, f"{len(known)} rows")
    few = [(s.gradient(), c) for s, c, rows in known if rows.n_words < 10_000]
    differences = [np.abs(g - efl.propagate(c.circuit, c.observable).gradient).max() for g, c in few]
    worst = max(differences, default=0.0)
    report.check("gradients of propagate", worst < 1e-9, f"{len(few)} rows, largest difference {worst:.1g}")


def check_pennylane(report, name, case, shift):
    """Compare with the circuits that PennyLane makes."""
    tapes, gather = qml.gradients.param_shift(case.tape)
    results = qml.execute(tapes, qml.device("default.qubit"), diff_method=None)
    gradient = np.array(gather(results), dtype=float).ravel()
    report.close(gradient, shift.gradient(), f"{name}, gradient of PennyLane")
    groups, _ = qml.transforms.split_non_commuting(case.tape)
    same = len(tapes) == shift.circuits() and len(groups) == len(shift.groupings[0])
    report.check(f"{name}, circuits of PennyLane", same, f"{len(tapes)}, {len(groups)} groups")


def check_shots(report, name, shift, costs):
    """Compare the error of simulated shots with the table."""
    for way, expected in (("pruned", costs.pruned), ("reached", costs.reached)):
        errors, spent = shift.simulate(SHOTS, REPEATS, seed=1, only_reached=way == "reached")
        squares = spent * np.mean(errors**2, axis=1)
        z = (squares.mean() - expected) / (squares.std() / math.sqrt(REPEATS))
        bias = math.sqrt(REPEATS) * np.abs(errors.mean(0) / np.maximum(errors.std(0), 1e-12)).max()
        detail = f"{squares.mean():.3g}, expected {expected:.3g}; bias {bias:.1f} sigma"
        report.check(f"{name}, {way}, {REPEATS} runs of {spent:,} shots", abs(z) < 4.5 and bias < 5.5, detail)


def main(report):
    text = report.options.only or ""
    entries = [e for e in CATALOGUE if text in e.name and (e.name in SMOKE or text or not report.smoke)]
    if not entries:
        raise SystemExit(f"--only: expected part of the name of a row, got {text!r}")
    made, ratios = compare(report, entries)
    if len(ratios):
        judge(report, ratios)
    report.title("checks of parameter-shift")
    check_vanishing(report, made)
    for name, case, shift, costs, _ in made:
        if name in CHECKED:
            if not name.startswith("QAOA"):  # PennyLane cannot shift the angle of an evolution
                check_pennylane(report, name, case, shift)
            check_shots(report, name, shift, costs)


if __name__ == "__main__":
    sidebyside.run(main, __doc__.splitlines()[0], only="only the rows whose name contains this")
