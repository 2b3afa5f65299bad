"""What the gradient costs at the actual state: plans that know it beside the best parameter-shift that does.

All figures are N eps^2: total shots times the squared error averaged over the M parameters whose derivative
is not identically zero, at the state that the circuit prepares.

- shift: parameter-shift that knows the variances: pruned, the better of two groupings and two rules, shots in
  proportion to standard deviations (`competitors.py`; or the plan's own shift-pruned at the state, if lower).
- average: what the plan's best method says on average over all states. unaware: what that method, with the
  shares of the average, takes at the state.
- a column for each method of the plan for the state (`Plan.at_state`), the best and which it is; /shift: the
  best divided by parameter-shift, and unaware divided by it. observed: the squared error of simulated
  gradients of the best, divided by what was predicted (of its root: goal 10 %); s: seconds of `at_state`.

Goals: the best at most parameter-shift on every row, at most half of it on three rows out of four; predicted
within 10 % of observed.

    python benches/python/bench_state.py [--smoke] [--only TEXT] [--molecules FILE,FILE] [--json FILE]
        [--markdown FILE]

The last option writes the table of the states into docs/plan.md. `--molecules` adds UCCSD of further
Hamiltonians: JSON files like those of benches/data.
"""

import sidebyside  # isort: skip (before numpy)
import math
import time
from pathlib import Path

import numpy as np
from competitors import ParameterShift
from state_circuits import entries

import efl_core as efl

SEED, SAMPLES = 1, 2000
METHODS = ("product", "clifford", "echo", "mixture", "commuting", "shift-pruned")
COLUMNS = ("M", "shift", "average", "unaware", *METHODS, "best", "winner")
RATIOS = ("unaware/shift", "/shift", "observed", "settings", "s")
SMOKE = ("UCCSD H2, trained", "re-uploaded qubit r=1, Z0 n=1", "brick L1, Z3 n=6")
BEGIN, END = "<!-- states: written by the bench -->\n", "<!-- end of the states -->\n"


def mean_square(plan, name, count):
    """N eps^2 of a method at the state, by simulation."""
    return float((plan.exact_error(1, name) ** 2).sum() / count)


def observed(plan, gradient):
    """The root of the mean squared error of simulated gradients, divided by what was predicted."""
    best, live = plan.best, np.count_nonzero(gradient) or 1
    settings = best.settings or 0
    shots = max(10_000, 200 * settings)  # whole numbers of shots hardly matter
    # Long lists are run less often: the figure is known to 3 to 6 %.
    runs = max(8, math.ceil((SAMPLES if settings < 200 else SAMPLES / 12) / live))
    errors = [plan.simulate(shots, seed=seed).gradient.ravel() - gradient for seed in range(runs)]
    return math.sqrt(np.mean(np.sum(np.square(errors), axis=1)) * shots / np.sum(best.variances))


def measure(case):
    """The figures of a row."""
    shift = ParameterShift(case.tape).costs()
    average = efl.plan(case.circuit, [case.observable])
    efl.set_num_threads(sidebyside.CORES)
    start = time.perf_counter()
    plan = average.at_state("prepared")
    seconds = time.perf_counter() - start
    count = shift.parameters
    rows = {name: plan[name].cost for name in METHODS if plan[name].applies and plan[name].at_state}
    reached = min(shift.reached, rows.get("shift-pruned", math.inf))
    name = average.best.name
    unaware = (
        mean_square(average, name, count) if average.best.settings or case.circuit.n_qubits < 6 else None
    )
    gradient = efl.propagate(case.circuit, case.observable).gradient.ravel()
    found = {"M": count, "shift": reached, "average": average.best.cost, "unaware": unaware, **rows}
    found |= {"best": plan.best.cost, "winner": plan.best.name, "/shift": plan.best.cost / reached}
    found |= {"unaware/shift": None if unaware is None else unaware / reached}
    found |= {"observed": observed(plan, gradient), "settings": plan.best.settings, "s": seconds}
    efl.set_num_threads(1)
    return found


def judge(report, found):
    """Compare with the goals."""
    ratios = np.array([row["/shift"] for row in found])
    before = np.array([row["unaware/shift"] for row in found if row["unaware/shift"] is not None])
    report.figure("rows above parameter-shift", int(np.sum(ratios > 1.0001)), f"of {len(ratios)}", at_most=0)
    report.figure("share of rows above half of it", float(np.mean(ratios > 0.5)), "", at_most=0.25)
    report.figure("median of the best / shift", float(np.median(ratios)), "")
    report.figure("rows above it without the state", int(np.sum(before > 1.0001)), f"of {len(before)}")
    report.figure("median without the state", float(np.median(before)), "")
    worst = max(abs(row["observed"] - 1) for row in found)
    report.figure("worst of observed / predicted, less one", worst, "", at_most=0.1)


def markdown(page, rows):
    """Write the table into the documentation: rows that were not measured stay, those that are gone go."""
    head = ("circuit", "M", "parameter-shift", "average", "unaware", *METHODS[:4])
    head += ("best", "best / shift", "observed")
    columns = ("M", "shift", "average", "unaware", *METHODS[:4], "winner", "/shift", "observed")

    def cell(value):
        if value is None or value == "-":
            return "-"
        return value if isinstance(value, str) else f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"

    before, rest = page.read_text().split(BEGIN)
    table, after = rest.split(END)
    lines = {line.split(" | ")[0][2:]: line for line in table.splitlines() if line.startswith("| ")}
    for row in rows:
        lines[row["name"]] = f"| {row['name']} | " + " | ".join(cell(row[c]) for c in columns) + " |"
    wanted = [lines[entry.name] for entry in entries() if entry.name in lines]
    rule = "| " + " | ".join(["---"] * len(head)) + " |"
    made = "\n".join(["| " + " | ".join(head) + " |", rule, *wanted])
    page.write_text(f"{before}{BEGIN}\n{made}\n\n{END}{after}")


def main(report):
    options = report.options
    text, paths = options.only or "", (options.molecules or "").split(",")
    wanted = [
        entry
        for entry in entries([path for path in paths if path])
        if text in entry.name and (entry.name in SMOKE or text or not report.smoke)
    ]
    if not wanted:
        raise SystemExit(f"--only: expected part of the name of a row, got {text!r}")
    report.title(f"N eps^2 at the state, {len(wanted)} circuits, seed {SEED}")
    report.head("", [*COLUMNS, *RATIOS])
    found = []
    for entry in wanted:
        row = measure(entry.make(SEED))
        found.append(row)
        values = {column: row.get(column) for column in (*COLUMNS, *RATIOS)}
        report.row(entry.name, {key: "-" if value is None else value for key, value in values.items()})
        if options.markdown:  # row by row, so that a bench that is stopped has left what it found
            markdown(Path(options.markdown), [row for row in report.rows if "winner" in row])
    judge(report, found)


if __name__ == "__main__":
    sidebyside.run(
        main,
        __doc__.splitlines()[0],
        only="only the rows whose name contains this",
        molecules="further Hamiltonians, files separated by commas",
        markdown="write the table of states in docs/plan.md",
    )
