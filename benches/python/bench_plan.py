"""What the gradient costs on the circuits that people train: the planner's methods beside parameter-shift.

A row is a circuit of `catalogue.py` at one draw of its angles. All figures are N eps^2: total shots times the
squared error averaged over the M parameters whose derivative is not identically zero.

- words: distinct words of the derivatives and the observable. uniform: snapshots in random letters, the sum
  of c^2 3^weight.
- shift, pruned, reached: parameter-shift at the actual state (`competitors.py`): as PennyLane has it; without
  derivatives that vanish and with optimal shots; and with the words only that the shifted gate reaches.
- shift0, pruned0, reached0: the same at the maximally mixed state, where no knowledge of the state is used.
- a column for each method of the plan at the maximally mixed state ("> 3" is a bound), the best and which it
  is; /pruned0, /reached0: the best divided by those (by the plan's own shift-pruned, if that is lower).
- best*, /reached*: the best at the actual state, and divided by parameter-shift there. s, next: seconds of
  the plan, and of the next one, at other angles, with as many threads as there are cores.

Goals: the best at most parameter-shift on every row, at most half of it on four rows out of five; a plan in
at most 5 s and the next in at most 0.3 s on circuits of up to 10 qubits and 60 parameters; planning a
training run takes less time than simulating its parameter-shift without shots.

Checks: parameter-shift as PennyLane makes it has the same circuits, groups and gradient; which derivatives
vanish, and all of them on |0...0>, agree with efl_core; simulated shots give the error that the table says
(each of these has a false-alarm rate below 1e-4), and within 10 % over 20 repeats for the plan's winner and
its parameter-shift on ten rows.

    python benches/python/bench_plan.py [--smoke] [--only TEXT] [--json FILE] [--markdown FILE]

The last option writes the table of docs/plan.md.
"""

import sidebyside  # isort: skip (before numpy)
import dataclasses
import math
import signal
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pennylane as qml
from catalogue import CATALOGUE
from competitors import ParameterShift

import efl_core as efl

TARGET, SEED = 0.01, 0
MARK = "<!-- what follows is written by the bench -->\n"
TERMS, SECONDS = 2**18, 20
"""Beyond so many terms of a sum, or seconds, the words of a row are left out."""
METHODS = ("product", "clifford", "block", "echo", "mixture", "commuting")
BEFORE = ("n", "M", "words", "uniform", "shift", "pruned", "reached", "shift0", "pruned0", "reached0")
AFTER = (*METHODS, "best", "winner", "/pruned0", "/reached0", "best*", "/reached*", "s", "next")
WIDEST, MOST_SETTINGS = 8, 1000
"""Rows beyond are not simulated."""
SMOKE = (
    "brick L2, Z3 n=6",
    "SEL-CNOT L1, Z3 n=6",
    "fidelity kernel n=4",
    "QAOA 3-regular p=1 n=4",
    "HEA-CZ H2 n=4",
)
CHECKED = (*SMOKE, "brick L1, vector n=6", "SEL-CNOT L2, Z3 n=6", "HEA-CNOT LiH n=6")
SHOTS, REPEATS, STEPS = 200_000, 200, 100
CONFIRMED = (
    "SEL-CNOT L1, Z3 n=6",
    "SEL-CNOT L2, Z3 n=6",
    "SEL-CNOT L2, vector n=4",
    "SEL-CZ L2, vector n=6",
    "brick L2, vector n=8",
    "brick L3, Z3 n=6",
    "CNOT-RY ring, Z0 n=6",
    "RY-CNOT ring L2, Z3 n=6",
    "HEA-CZ H2 n=4",
    "HEA-CZ LiH n=6",
)
"""Rows of many parameters, so that the RMS error of 20 repeats is known to a few percent."""


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
    """The plan of a case, N eps^2 of its methods, and the seconds that it and the next one took."""
    theta = case.circuit.parameters
    turned = theta + np.random.default_rng(SEED).normal(0, 0.02, len(theta))
    efl.set_num_threads(sidebyside.CORES)
    start = time.perf_counter()
    plan = efl.plan(case.circuit, [case.observable], target=TARGET)
    middle = time.perf_counter()
    plan.at(turned)
    end = time.perf_counter()
    efl.set_num_threads(1)
    rows = [row for row in plan if math.isfinite(row.cost)]
    found = {row.name: f">{row.cost:.3g}" if row.bound else row.cost for row in rows}
    found |= {"best": plan.best.cost, "winner": plan.best.name}
    return plan, {**dict.fromkeys(AFTER, "-"), **found, "s": middle - start, "next": end - middle}


def exact(plan, name):
    """N eps^2 of a method at the actual state, or nothing where the simulation would be long."""
    if plan.circuit.n_qubits > WIDEST or plan[name].settings > MOST_SETTINGS:
        return None
    variances = plan.exact_error(1, name) ** 2
    return float(variances.sum() / np.count_nonzero(plan[name].variances))


def compare(report, entries):
    """Print the table; return what the checks need, and for each row what the goals are about."""
    report.title(f"N eps^2, {len(entries)} circuits, angles of seed {SEED}")
    report.head("", [*BEFORE, *AFTER])
    made, goals, left_out = [], [], []
    for entry in entries:
        case = entry.make(SEED)
        shift, (rows, cost) = ParameterShift(case.tape), words(case)
        costs = shift.costs()
        line = [entry.n, costs.parameters, rows.n_words if rows else "-", cost if rows else "-"]
        line += dataclasses.astuple(costs)[1:]
        if not rows:
            left_out.append(f"{entry.name}: words are left out: {cost}")
        plan, figures = planned(case)
        best = plan.best.cost
        own = plan["shift-pruned"]
        reached = min(costs.reached_mixed, own.cost if own.applies else math.inf)
        figures["/pruned0"], figures["/reached0"] = best / costs.pruned_mixed, best / reached
        actual = exact(plan, plan.best.name) if plan.best.settings is not None else None
        if actual is not None:
            figures["best*"], figures["/reached*"] = actual, actual / costs.reached
        report.row(
            entry.name, dict(zip([*BEFORE, *AFTER], [*line, *(figures[c] for c in AFTER)], strict=True))
        )
        small = entry.n <= 10 and case.circuit.n_parameters <= 60
        goals.append(
            (figures["/reached0"], actual and actual / costs.reached, small, figures["s"], figures["next"])
        )
        made.append((entry.name, case, shift, costs, rows, plan))
    print(*left_out, sep="\n")
    return made, goals


def judge(report, goals):
    """Compare with the goals."""
    mixed = np.array([row[0] for row in goals])
    actual = np.array([row[1] for row in goals if row[1] is not None])
    report.figure(
        "rows where the best is above parameter-shift", int(np.sum(mixed > 1.0001)), "rows", at_most=0
    )
    report.figure("share of rows above half of it", float(np.mean(mixed > 0.5)), "", at_most=0.2)
    report.figure(
        f"the same at the actual state, of {len(actual)}", int(np.sum(actual > 1)), "rows", at_most=0
    )
    report.figure("share of rows above half of it there", float(np.mean(actual > 0.5)), "", at_most=0.2)
    seconds = [row[3:] for row in goals if row[2]] or [(0.0, 0.0)]
    report.figure(
        "slowest plan of up to 10 qubits and 60 parameters", max(s for s, _ in seconds), "s", at_most=5
    )
    report.figure("slowest next plan", max(s for _, s in seconds), "s", at_most=0.3)


def check_simulated(report, name, case, plan):
    """Compare the RMS error of simulated gradients with the exact prediction."""
    gradient = efl.propagate(case.circuit, case.observable).gradient
    for method in {plan.best.name: None, "shift-pruned": None}:
        shots = 50 * max(plan[method].settings or 0, 400)
        expected = math.sqrt(np.sum(plan.exact_error(shots, method) ** 2))
        runs = [plan.simulate(shots, method, seed=seed).gradient.ravel() - gradient for seed in range(20)]
        found = math.sqrt(np.mean(np.sum(np.square(runs), axis=1)))
        agree = abs(found / expected - 1) < 0.1
        report.check(
            f"{name}, {method}, 20 runs of {shots:,} shots", agree, f"{found:.4g}, expected {expected:.4g}"
        )


def check_vanishing(report, made):
    """Compare derivatives with those of efl_core: which vanish, and their values on |0...0>."""
    known = [(shift, case, rows) for _, case, shift, _, rows, _ in made if rows]
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


def training(report):
    """Seconds of planning in a training run, beside those that a simulator takes for parameter-shift."""
    report.title(f"{STEPS} steps on 'brick L2, vector n=10': planning beside simulating parameter-shift")
    case = next(e for e in CATALOGUE if e.name == "brick L2, vector n=10").make(SEED)
    theta = np.array(case.circuit.parameters)
    start = time.perf_counter()
    plan = efl.plan(case.circuit, [case.observable], target=TARGET)
    planning = time.perf_counter() - start
    for _ in range(STEPS - 1):
        theta = theta - 0.05 * efl.propagate(case.circuit.at(theta), case.observable).gradient
        start = time.perf_counter()
        plan = plan.at(theta)
        planning += time.perf_counter() - start
    tapes, _ = qml.gradients.param_shift(case.tape)
    device, seconds = qml.device("lightning.qubit", wires=10), []
    for _ in range(5):
        start = time.perf_counter()
        qml.execute(tapes, device, diff_method=None)
        seconds.append(time.perf_counter() - start)
    simulating = STEPS * float(np.median(seconds))
    report.row("seconds", {"planning": planning, "simulating": simulating})
    report.figure("planning, divided by simulating", planning / simulating, "", at_most=1)


def markdown(rows):
    """The table for the documentation."""
    columns = ["M", "words", "uniform", *METHODS, "best", "shift", "shift-pruned", "/reached0", "/reached*"]
    head = ["circuit", *columns[:-4], "shift", "shift-pruned", "best / shift-pruned", "at the actual state"]

    def cell(value):
        return value if isinstance(value, str) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

    def line(row):
        figures = row | {"shift": row["shift0"], "shift-pruned": row["reached0"], "best": row["winner"]}
        return [row["name"], *(cell(figures[column]) for column in columns)]

    table = [head, ["---"] * len(head), *map(line, rows)]
    return "".join("| " + " | ".join(row) + " |\n" for row in table)


def main(report):
    text = report.options.only or ""
    entries = [e for e in CATALOGUE if text in e.name and (e.name in SMOKE or text or not report.smoke)]
    if not entries:
        raise SystemExit(f"--only: expected part of the name of a row, got {text!r}")
    made, goals = compare(report, entries)
    judge(report, goals)
    if report.options.markdown:
        rows = [row for row in report.rows if "winner" in row]
        page = Path(report.options.markdown)
        head = page.read_text().split(MARK)[0] if page.exists() else ""
        page.write_text(head + MARK + "\n" + markdown(rows))
    if not report.smoke and not text:
        training(report)
    report.title("checks")
    check_vanishing(report, made)
    for name, case, shift, costs, _, plan in made:
        if name in CONFIRMED:
            check_simulated(report, name, case, plan)
        if name in CHECKED:
            if not name.startswith("QAOA"):  # PennyLane cannot shift the angle of an evolution
                check_pennylane(report, name, case, shift)
            check_shots(report, name, shift, costs)


if __name__ == "__main__":
    sidebyside.run(
        main,
        __doc__.splitlines()[0],
        only="only the rows whose name contains this",
        markdown="write the table of docs/plan.md",
    )
