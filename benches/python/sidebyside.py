"""Side-by-side timing: methods take turns in one process, medians and ratios are printed beside their goals.

Import this module before numpy: it asks every thread pool for one thread.
"""

import argparse
import gc
import importlib.metadata
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

for _pool in ("OMP", "OPENBLAS", "MKL", "VECLIB_MAXIMUM", "NUMEXPR", "RAYON"):
    os.environ[f"{_pool}_NUM_THREADS"] = "1"

import numpy as np  # noqa: E402 (reads the variables above)

import efl_core as efl  # noqa: E402
from efl_core._native import cpu_level  # noqa: E402

efl.set_num_threads(1)
CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


@dataclass
class Method:
    """One competitor: what to call, how often, and how its time scales to the full task."""

    name: str
    run: Callable[[], object]
    runs: int | None = None
    """At most so many timed runs, spread over the rounds; all rounds if None."""
    threads: int = 1
    """Threads of efl_core."""
    times: float = 1.0
    """The measured time is multiplied by this, where only a part of the task is run."""
    part: str = ""
    """Says which part, in words."""
    awake: bool = False
    """Call it twice before the timed call, where that takes few milliseconds: an idle virtual core needs more
    to wake (15 ms become 60 after a pause of half a second), which is no part of a comparison."""


@dataclass
class Timing:
    """Seconds by round, after scaling, and the result of the last run."""

    method: Method
    seconds: dict[int, float] = field(default_factory=dict)
    result: object = None

    @property
    def median(self) -> float:
        return statistics.median(self.seconds.values())

    def __add__(self, other):
        """Return the sum round by round, as of two steps that follow each other."""
        both = Timing(Method(f"{self.method.name} + {other.method.name}", self.method.run))
        both.seconds = {i: s + other.seconds[i] for i, s in self.seconds.items() if i in other.seconds}
        return both


class Report:
    """Prints the comparison, judges goals, and remembers everything for `--json`."""

    def __init__(self, options):
        self.options = options
        self.smoke, self.rounds = options.smoke, 2 if options.smoke else options.rounds
        self._path, self._title, self._failed = options.json, "", 0
        self._data = {
            "machine": _machine(),
            "smoke": self.smoke,
            "timings": [],
            "goals": [],
            "checks": [],
            "rows": [],
            "load": [],
        }
        print("machine:", self._data["machine"])
        if self.smoke:
            print("smoke run: tiny sizes, results are checked, goals are not judged")

    def title(self, text):
        self._title = text
        print(f"\n## {text}")

    def race(self, methods: list[Method]) -> dict[str, Timing]:
        """Time the methods in turns, A B C C B A A B C ..., after one call of each that does not count.

        Where it can (Linux), say how busy the machine was with other work meanwhile.
        """
        timings = {m.name: Timing(m) for m in methods}
        for m in methods:
            self._once(m)
        gc.collect()
        gc.disable()
        before = _others()
        for i in range(self.rounds):
            for m in methods if i % 2 == 0 else methods[::-1]:
                runs = min(m.runs or self.rounds, self.rounds)
                if i * runs // self.rounds != (i + 1) * runs // self.rounds:
                    timings[m.name].result = None  # what it held is freed outside the timed call
                    timings[m.name].seconds[i], timings[m.name].result = self._once(m)
        gc.enable()
        if before and (after := _others()):
            busy = max(0, (after[0] - before[0]) / (after[1] - before[1]))
            print(f"other work took {busy:.1f} of {os.cpu_count()} cores meanwhile")
            self._note("load", others=busy)
        return timings

    @staticmethod
    def _once(method):
        efl.set_num_threads(method.threads)
        for _ in range(2 if method.awake else 0):
            method.run()
        start = time.perf_counter()
        result = method.run()
        seconds = time.perf_counter() - start
        efl.set_num_threads(1)
        return seconds * method.times, result

    def table(self, timings: list[Timing]):
        print(f"{'':46}{'median':>12}{'lowest':>12}{'highest':>12}{'runs':>6}")
        for t in timings:
            low, high = min(t.seconds.values()), max(t.seconds.values())
            columns = "".join(f"{_seconds(s):>12}" for s in (t.median, low, high))
            part = f"  scaled from {t.method.part}" if t.method.times != 1 else ""
            print(f"{t.method.name:46}{columns}{len(t.seconds):>6}{part}")
            self._note("timings", method=t.method.name, seconds=list(t.seconds.values()), part=part.strip())

    def head(self, name, columns):
        """The names above the lines that `row` prints."""
        print(f"{name:36}" + "".join(f"{x:>11}" for x in columns))

    def row(self, name, figures: dict[str, float | str]):
        """A line of a table of figures, under the names that `head` prints."""
        columns = "".join(f"{x if isinstance(x, str) else _round(x):>11}" for x in figures.values())
        print(f"{name:36}{columns}", flush=True)
        self._note("rows", name=name, **figures)

    @property
    def rows(self) -> list[dict]:
        """What `row` has printed so far."""
        return self._data["rows"]

    def ratio(self, name, slow: Timing, fast: Timing, at_least: float | None = None):
        """Ratio of the medians of the rounds both ran in; in brackets the extremes within one round."""
        pairs = [(s, fast.seconds[i]) for i, s in slow.seconds.items() if i in fast.seconds]
        within = [s / f for s, f in pairs]
        value = statistics.median(s for s, _ in pairs) / statistics.median(f for _, f in pairs)
        scaled = ", scaled" if slow.method.times != 1 or fast.method.times != 1 else ""
        text = f"{_round(value)}x ({_round(min(within))} to {_round(max(within))}{scaled})"
        self._judge(name, text, value, at_least=at_least)

    def figure(self, name, value: float, unit: str, at_most: float | None = None):
        self._judge(name, f"{_round(value)} {unit}", value, at_most=at_most)

    def _judge(self, name, text, value, at_least=None, at_most=None):
        goal = verdict = ""
        if at_least is not None:
            goal, verdict = f"GOAL >= {at_least:,g}x", "reached" if value >= at_least else "missed"
        elif at_most is not None:
            goal, verdict = f"GOAL <= {at_most:,g}", "reached" if value <= at_most else "missed"
        if self.smoke and verdict:
            verdict = "not judged"
        print(f"{name:46}{text:<44}{goal:<18}{verdict}".rstrip())
        self._note("goals", name=name, value=value, text=text, goal=goal, verdict=verdict)

    def check(self, name, agree, detail=""):
        """Record whether results agree; a disagreement makes the exit code 1."""
        self._failed += not agree
        print(f"{'agree' if agree else 'DISAGREE'}: {name}{f' ({detail})' if detail else ''}")
        self._note("checks", name=name, agree=bool(agree), detail=detail)

    def close(self, values, expected, name, tolerance=1e-9):
        worst = float(np.abs(np.asarray(values) - np.asarray(expected)).max())
        self.check(name, worst <= tolerance, f"largest difference {worst:.1g}, allowed {tolerance:g}")

    def _note(self, kind, **entry):
        self._data.setdefault(kind, []).append({"section": self._title, **entry})

    def remember(self, kind, **entry):
        """Keep for `--json` what is not printed."""
        self._note(kind, **entry)

    def finish(self) -> int:
        if self._path:
            Path(self._path).write_text(json.dumps(self._data, indent=1) + "\n")
        print(f"\n{self._failed} disagreements" if self._failed else "\nall results agree")
        return 1 if self._failed else 0


def start(description, **texts) -> Report:
    """Read the command line and print what machine this is.

    ``texts`` are further options of the bench that take a text, and what they are for.
    """
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--smoke", action="store_true", help="tiny sizes: checks the results, judges no goal")
    parser.add_argument("--rounds", type=int, default=15, help="timed rounds (default 15)")
    parser.add_argument("--json", metavar="FILE", help="write all numbers to FILE")
    for name, use in texts.items():
        parser.add_argument(f"--{name}", metavar="TEXT", help=use)
    options = parser.parse_args()
    if options.rounds < 1:
        parser.error("--rounds: expected at least 1")
    return Report(options)


def peer(module, package, version):
    """Import another library, or say how to get it and return None."""
    try:
        found = importlib.import_module(module)
    except ImportError:
        print(f"{package}: not installed: pip install {package}=={version}")
        return None
    print(f"{package} {importlib.metadata.version(package)}")
    return found


def _others():
    """CPU seconds that everything but this process has used (stolen ones included), and the time."""
    if not Path("/proc/stat").exists():
        return None
    user, nice, system, _, _, *interrupts_and_stolen = map(int, Path("/proc/stat").read_text().split()[1:9])
    ticks = user + nice + system + sum(interrupts_and_stolen)
    return ticks / os.sysconf("SC_CLK_TCK") - time.process_time(), time.perf_counter()


def _seconds(s):
    if s >= 1:
        return f"{s:,.1f} s" if s >= 10 else f"{s:.2f} s"
    return f"{s * 1e3:.1f} ms" if s >= 0.01 else f"{s * 1e3:.2f} ms"


def _round(number):
    return f"{number:,.0f}" if number >= 100 else f"{number:.3g}"


def _machine():
    model = platform.processor() or platform.machine()
    if Path("/proc/cpuinfo").exists():
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
        model = names[0] if names else model
    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    return (
        f"{model}, {CORES} cores{load}; {platform.system()}, Python {platform.python_version()}, "
        f"numpy {np.__version__}, efl_core {efl.__version__} ({cpu_level()})"
    )


def run(main, description, **texts):
    """Run a bench and exit with its verdict."""
    report = start(description, **texts)
    main(report)
    sys.exit(report.finish())
