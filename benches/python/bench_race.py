"""Shots, circuits and time to the target: efl_core's trainer beside what people train circuits with.

Every method gets the same number of tuning trials on each problem: the middle of the ranges of its
hyper-parameters, then random ones; a trial is the median of 3 seeds. The trial with the fewest shots, and
the one with the least time, then race on 10 fresh seeds. A run reaches the target with the first of three
steps in a row after which the exact loss of its parameters is at most that; it fails when shots and time are
both beyond 20 times the best median that a method before it had, or after 2,000 steps. Time is
t_circuit * circuits + t_shot * shots at t_circuit / t_shot = 1,000.

- shots, circuits: of the trial with the fewest shots, medians over seeds; failed runs count as more than all.
- low, high: the second lowest and the second highest seed. fail: seeds that failed.
- time: of the trial with the least time, in units of 1,000 shots; its circuits and its failures.

Opponents (`race_spsa.py`, `race_shift.py`): SPSA; SPSA with Adam; QNSPSA; iCANS, which is what
`qml.ShotAdaptiveOptimizer` does; gCANS; parameter-shift without derivatives that vanish, shots allocated,
with Adam; the same with some of its circuits drawn. All know and share shots in the same way.

Goals: efl the fewest shots on at least 8 of 10 problems and never more than 1.2 times the best; the same for
time.

Checks: losses agree with PennyLane's default.qubit; gradients from shots have the right mean (false-alarm
rate below 1e-4); the counts of circuits and shots are those of the settings submitted.

    python benches/python/bench_race.py [--smoke] [--only TEXT] [--methods TEXT] [--seconds N] [--json FILE]

`--methods` takes names with commas between. `--seconds` bounds the time of a method on a problem, that of
processors, so that other work does not matter: half of it is for trials, and trials and seeds that do not
begin in time are not run; their numbers are printed. Without it one problem takes minutes to an hour.
"""

import sidebyside  # isort: skip (before numpy)
import math
import statistics
import time
import zlib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pennylane as qml
from race_efl import draw_efl, run_efl
from race_measure import RATIO, Trace
from race_problems import MAKERS, load
from race_shift import Shifts, draw_cans, draw_sampled, draw_shift, gcans, icans, sampled, shift
from race_spsa import Directions, draw_adam, draw_qnspsa, draw_spsa, qnspsa, spsa, spsa_adam

TRIALS, TUNING_SEEDS, SEEDS = 8, 3, 10
LATE, LATE_TRIAL = 20, 10
"""A run ends beyond so many times the best median so far."""
SMOKE = ("UCCSD H2", "QAOA 3-regular p=1")


@dataclass(frozen=True)
class Method:
    name: str
    draw: Callable
    """`draw(problem, rng)`: hyper-parameters."""
    run: Callable
    """`run(problem, seed, hyper, trace)`: trains until `trace.add` says so, and returns the trace."""


METHODS = [
    Method("SPSA+Adam", draw_adam, spsa_adam),
    Method("SPSA", draw_spsa, spsa),
    Method("QNSPSA", draw_qnspsa, qnspsa),
    Method("iCANS", draw_cans, icans),
    Method("gCANS", draw_cans, gcans),
    Method("shift", draw_shift, shift),
    Method("shift sampled", draw_sampled, sampled),
    Method("efl", draw_efl, run_efl),
]


@dataclass
class Bounds:
    """The best medians so far: what is far beyond has failed."""

    shots: float = math.inf
    time: float = math.inf

    def lower(self, other):
        self.shots, self.time = min(self.shots, other.shots), min(self.time, other.time)


@dataclass(frozen=True)
class Score:
    """Medians over runs; a run that failed counts as more than all others."""

    traces: list

    def median(self, of):
        costs = [of(t) if t.reached else math.inf for t in self.traces]
        return statistics.median(costs)

    @property
    def shots(self):
        return self.median(lambda t: t.shots[-1])

    @property
    def circuits(self):
        return self.median(lambda t: t.circuits[-1])

    @property
    def time(self):
        return self.median(lambda t: t.time)

    @property
    def failed(self):
        return sum(not t.reached for t in self.traces)

    def spread(self, of):
        """The second lowest and the second highest."""
        costs = sorted(of(t) if t.reached else math.inf for t in self.traces)
        return costs[min(1, len(costs) - 1)], costs[max(len(costs) - 2, 0)]


def runs(method, problem, hyper, seeds, bounds, times, enough=math.inf, until=math.inf):
    """Run the seeds, or until so many have failed that the median has, or the time is over."""
    traces = []
    for seed in seeds:
        if sum(not t.reached for t in traces) >= enough or (traces and time.process_time() > until):
            break
        trace = Trace(problem, times * bounds.shots, times * bounds.time)
        traces.append(method.run(problem, seed, hyper, trace).settle())
    return Score(traces)


class Middle:
    """Draws the middle of every range."""

    @staticmethod
    def uniform(low, high):
        return (low + high) / 2

    @staticmethod
    def choice(values):
        return values[0]


def tune(method, problem, trials, seeds, bounds, until):
    """The hyper-parameters with the fewest shots, and those with the least time; the number of trials."""
    rng = np.random.default_rng(zlib.crc32(f"{problem.name} {method.name}".encode()))
    own, found = Bounds(bounds.shots, bounds.time), []
    for trial in range(trials):
        if found and time.process_time() > until:
            break
        hyper = method.draw(problem, rng if trial else Middle)
        # once a trial has reached the target, what takes twice as long need not end
        limit = Bounds(2 * own.shots, 2 * own.time)
        limit.lower(Bounds(LATE_TRIAL * bounds.shots, LATE_TRIAL * bounds.time))
        score = runs(method, problem, hyper, seeds, limit, 1, enough=len(seeds) // 2 + 1)
        found.append((score, hyper))
        if score.shots < math.inf:
            own.lower(score)
    closest = [np.mean([min(t.losses) for t in score.traces]) for score, _ in found]
    best = [
        min(range(len(found)), key=lambda i: (of(found[i][0]), closest[i]))
        for of in (lambda s: s.shots, lambda s: s.time)
    ]
    return [found[i][1] for i in best], len(found)


def race(report, problem, methods):
    """Tune and run every method; one line each."""
    report.title(
        f"{problem.name}: {problem.n_parameters} parameters, {problem.n_settings} settings; "
        f"from {problem.figures['initial']:.4f} to {problem.target:.4f}"
    )
    columns = ["shots", "low", "high", "circuits", "fail", "time", "circuits", "fail"]
    report.head("", [*columns, "seconds", "trials", "seeds"])
    trials, tuning, fresh = (2, 1, 2) if report.smoke else (TRIALS, TUNING_SEEDS, SEEDS)
    bounds, scores, chosen = Bounds(), {}, {}
    for method in methods:
        start = time.process_time()
        most = float(report.options.seconds or math.inf)
        hyper, tried = tune(method, problem, trials, range(1000, 1000 + tuning), bounds, start + most / 2)
        few = runs(method, problem, hyper[0], range(fresh), bounds, LATE, until=start + most * 3 / 4)
        quick = few
        if hyper[1] != hyper[0]:
            quick = runs(method, problem, hyper[1], range(fresh), bounds, LATE, until=start + most)
        for score in (few, quick):
            bounds.lower(score)
        low, high = few.spread(lambda t: t.shots[-1])
        figures = {
            "shots": few.shots,
            "low": low,
            "high": high,
            "circuits": few.circuits,
            "failed": str(few.failed),
            "time": quick.time / RATIO,
            "time_circuits": quick.circuits,
            "time_failed": str(quick.failed),
            "seconds": time.process_time() - start,
            "trials": str(tried),
            "seeds": str(min(len(few.traces), len(quick.traces))),
        }
        report.row(method.name, figures)
        scores[method.name], chosen[method.name] = (few.shots, quick.time), hyper
        report.remember(
            "runs",
            method=method.name,
            chosen=hyper,
            shots=[t.shots[-1] if t.reached else None for t in few.traces],
            times=[t.time if t.reached else None for t in quick.traces],
        )
    for name, (few, quick) in chosen.items():
        print(f"{name}: {_text(few)}" + ("" if few == quick else f"; for time {_text(quick)}"))
    return scores


def _text(hyper):
    return ", ".join(f"{key} {value:.3g}" for key, value in hyper.items())


# ---- checks ----------------------------------------------------------------------------------------------


def check(report, problem):
    """Compare losses with PennyLane, and what shots say with exact figures."""
    theta = problem.initial(77)
    values = qml.execute(problem.tapes(theta), qml.device("default.qubit"), diff_method=None)
    expected = problem.weights @ np.array(values) + (problem.labels is not None)
    report.close(problem.loss(theta), expected, f"{problem.name}, loss of PennyLane")
    exact = problem.gradient(theta)
    for name, number in (("all shots", 20.0), ("drawn", 0.3)):
        ways = Shifts(problem, 1)
        units = np.full((len(ways.shifts), problem.n_settings), number)
        found = np.array([ways.gradient(theta, units) for _ in range(200)])
        z = _z(found[:, ways.alive] - exact[ways.alive])
        report.check(f"{problem.name}, parameter-shift, {name}", z < 5.5, f"bias {z:.1f} sigma")
        steps, size = 2 * 200 * units.size, problem.n_parameters
        agree = abs(ways.meter.shots / (number * steps) - 1) < 0.01
        agree &= abs(ways.meter.circuits / (min(number, 1) * steps) - 1) < 0.01
        report.check(f"{problem.name}, shots and circuits counted, {name}", agree)
    ways = Directions(problem, 1)
    found = np.array([ways.gradient(theta, 0.01, 4000, 4) for _ in range(200)])
    z = _z(found - exact)
    report.check(f"{problem.name}, SPSA, {size} parameters", z < 5.5, f"bias {z:.1f} sigma")


def _z(errors):
    """The largest mean, in standard errors."""
    return float(np.max(np.abs(errors.mean(0)) / (errors.std(0) / math.sqrt(len(errors)) + 1e-9)))


def judge(report, results, own="efl"):
    """Print how the trainer stands beside the best of the others, problem by problem."""
    raced = {name: scores for name, scores in results.items() if own in scores and len(scores) > 1}
    if not raced:
        return
    for index, unit in enumerate(("shots", "time")):
        report.title(f"{own}, divided by the best of the others: {unit}")
        ratios = []
        for name, scores in raced.items():
            others = {m: s[index] for m, s in scores.items() if m != own}
            best = min(others, key=others.get)
            ratios.append(scores[own][index] / others[best] if others[best] < math.inf else 0.0)
            report.row(name, {"ratio": ratios[-1], "best": best})
        wins = sum(r <= 1 for r in ratios) / len(ratios)
        report.figure(f"{unit}: problems lost, share", 1 - wins, "", at_most=0.2)
        report.figure(f"{unit}: the worst", max(ratios), "times the best of the others", at_most=1.2)


def main(report):
    text, names = report.options.only or "", report.options.methods
    problems = [name for name in MAKERS if text in name and (text or not report.smoke or name in SMOKE)]
    if not problems:
        raise SystemExit(f"--only: expected part of {', '.join(MAKERS)}, got {text!r}")
    wanted = names.split(",") if names else [m.name for m in METHODS]
    unknown = set(wanted) - {m.name for m in METHODS}
    if unknown:
        raise SystemExit(f"--methods: expected some of {', '.join(m.name for m in METHODS)}, got {names!r}")
    methods = [m for m in METHODS if m.name in wanted]
    results, made = {}, [load(name) for name in problems]
    for problem in made:
        results[problem.name] = race(report, problem, methods)
    judge(report, results)
    report.title("checks")
    for problem in made:
        check(report, problem)


if __name__ == "__main__":
    sidebyside.run(
        main,
        "Shots and circuits to the target, beside what people train circuits with.",
        only="problems with TEXT in their name",
        methods="methods to race, commas between",
        seconds="at most so many seconds of a processor for a method on a problem; the rest is not run",
    )
