"""What a fleet promises: it is right, it learns nearly as fast as exact gradients, and answers cost no time.

    python benches/python/bench_fleet_learns.py            # all parts: two hours on two cores
    python benches/python/bench_fleet_learns.py --part late --seeds 3

Parts: `right` (2,000 fleets of 50 queries for each circuit, loss and number of answer shots), `digits` (10
seeds beside exact gradients and parameter-shift), `late` (labels late, twice, for nobody, or never), `ring`
(circuits whose cheapest list is a mixture of circuits: 10 qubits are trained, and 6 beside parameter-shift
with as many more extra shots as the plan says), `latency` (beside the plain QNode). Goals are
printed beside figures; the exit code says whether all were reached.
"""

import argparse
import statistics
import sys
import time
from functools import partial
from pathlib import Path

import sidebyside  # noqa: F401 (one thread for everybody, before numpy is there)

import numpy as np  # isort: skip
import pennylane as qml

import efl_core as efl
from efl_core.cli.digit_head import Labels, by_exact_gradients, by_fleet, head
from efl_core.fleet import Learner, Replica, losses
from efl_core.fleet.digits import digits

sys.path.insert(0, str(Path(__file__).parents[2]))
from tests.fleet.cases import cases, fleets, ring

QUERIES, SEEDS = 12_800, 10
ANSWER, TEACH, START = 48, 16, 0.3
# Labels that are 16 steps late on average ask for smaller steps; the clean run makes the same.
LATE_RATE = 0.015
LATE = Labels(late=lambda random: float(random.geometric(1 / 1000)), missing=0.3, repeated=0.05, unknown=0.05)


class Goals:
    """What was asked, what came, and whether that is enough."""

    def __init__(self):
        self.missed = []

    def __call__(self, name, value, goal, reached):
        print(f"    {name:<58} {value:>9.3f}   goal {goal:<12} {'ok' if reached else 'MISSED'}", flush=True)
        if not reached:
            self.missed.append(name)


def right(goals, options):
    """Bias, coverage and predicted errors of many small fleets."""
    for case in cases():
        if options.only not in case.name:
            continue
        for wanted in (1, 2, 8):
            shots = max(wanted, 2) if case.name.startswith("energy") else wanted
            found, given = fleets(case, shots, count=options.fleets)
            print(f"  {case.name}, {shots} answer shots")
            goals(
                "largest |z|, given the answers",
                np.abs(given.z).max(),
                "<= 4.5",
                np.abs(given.z).max() <= 4.5,
            )
            if found.exact is None:
                continue
            goals(
                "largest |z|, of the objective", np.abs(found.z).max(), "<= 4.5", np.abs(found.z).max() <= 4.5
            )
            wide = 0.025 if options.fleets >= 1000 else 0.1
            for sigmas, part in ((1.0, 0.683), (1.96, 0.95)):
                cover = found.coverage(sigmas)
                goals(
                    f"within {sigmas} standard errors", cover, f"{part} +- {wide}", abs(cover - part) <= wide
                )
            goals(
                "predicted over observed error", found.ratio, "0.9 to 1.1", abs(found.ratio - 1) <= 4 * wide
            )


def digit_runs(goals, options):
    """Training losses after the same queries."""
    rows = []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        data = digits(10, seed=seed)
        exact = by_exact_gradients(data, options.queries, seed, every=1000)
        fleet, _ = by_fleet(data, options.queries, seed, every=1000)
        rows.append((exact, fleet))
        print(
            f"  seed {seed}: exact {exact.loss:.3f} {exact.accuracy:.3f}, fleet {fleet.loss:.3f} "
            f"{fleet.accuracy:.3f}",
            flush=True,
        )
    ratio = np.mean([fleet.loss for _, fleet in rows]) / np.mean([exact.loss for exact, _ in rows])
    lost = np.array([exact.accuracy - fleet.accuracy for exact, fleet in rows])
    error = lost.std(ddof=1) / np.sqrt(len(lost)) if len(lost) > 1 else np.nan
    goals("training loss over that of exact gradients", ratio, "<= 1.2", ratio <= 1.2 or options.smoke)
    print(f"    (accuracy lost: standard error {error:.3f})")
    goals("accuracy lost, mean", lost.mean(), "<= 0.02", lost.mean() <= 0.02 or options.smoke)
    shift(goals, options, np.mean([fleet.loss for _, fleet in rows]))


def shift(goals, options, wanted):
    """Parameter-shift with eight times the teaching shots, on the first seeds."""
    found = []
    for seed in range(options.first_seed, options.first_seed + min(options.seeds, 3)):
        run, _ = by_fleet(
            digits(10, seed=seed), options.queries, seed, method="shift-pruned", every=1000, teach_shots=128
        )
        found.append(run.loss)
    ratio = np.mean(found) / wanted
    goals(
        "loss of pruned shift at 8 times the extra shots, over it", ratio, ">= 1", ratio >= 1 or options.smoke
    )


def late(goals, options):
    """Labels late, missing, repeated and of unknown queries, against as many clean ones."""
    clean, messy = [], []
    for seed in range(options.first_seed, options.first_seed + options.seeds):
        data, more = digits(10, seed=seed), round(options.queries / (1 - LATE.missing) / 64) * 64
        clean.append(by_fleet(data, options.queries, seed, every=1000, rate=LATE_RATE)[0].loss)
        run, counts = by_fleet(data, more, seed, labels=LATE, every=1000, rate=LATE_RATE)
        messy.append(run.loss)
        whole = sum(counts[name] for name in ("taught", "expired", "pending", "answered_only"))
        print(
            f"  seed {seed}: clean {clean[-1]:.3f}, late {messy[-1]:.3f}, taught {counts['taught']:,}",
            flush=True,
        )
        off = counts["admitted"] - whole
        goals("admitted - taught - expired - pending", off, "0", off == 0)
    ratio = np.mean(messy) / np.mean(clean)
    goals("loss with late and missing labels, over clean", ratio, "<= 1.25", ratio <= 1.25 or options.smoke)


def rings(goals, options):
    """Rings of CNOTs: 10 qubits and 60 angles are trained by their mixture; 6 beside parameter-shift."""
    task = Taught(4 if options.smoke else 10, seed=0)
    steps = 2 if options.smoke else 60
    learner = task.learner()
    roster = learner.version.roster
    angles = task.circuit.n_parameters
    print(f"  {angles} angles by {roster.method!r}, {roster.circuits} circuits, {roster.cost:.1f}")
    ratio = task.trained(learner, steps, 4) / task.loss(task.circuit.parameters)
    goals(
        "squared loss after 15,360 queries, over that before", ratio, "<= 0.5", ratio <= 0.5 or options.smoke
    )
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    ratios = np.array([factor(seed, steps, options) for seed in seeds])
    mean, error = ratios.mean(), ratios.std() / np.sqrt(max(len(ratios) - 1, 1))
    print(f"    (of {len(ratios)} seeds: standard error {error:.3f})")
    goals(
        "loss of shifts at the plan's factor, over it", mean, ">= 1", mean + 2 * error >= 1 or options.smoke
    )


def factor(seed, steps, options):
    """The loss of 6 qubits by pruned shifts with the plan's factor of extra shots, over that by the plan."""
    task = Taught(4 if options.smoke else 6, seed)
    own, other = task.learner(), task.learner("shift-pruned")
    more = other.version.roster.cost / own.version.roster.cost
    other = task.learner("shift-pruned", round(TEACH * more))
    found = [task.trained(learner, steps, 2) for learner in (own, other)]
    print(f"  seed {seed}: factor {more:.2f}, loss {found[0]:.4f}, by shifts {found[1]:.4f}", flush=True)
    return found[1] / found[0]


class Taught:
    """A ring that learns what the same ring says at other angles."""

    def __init__(self, qubits, seed):
        random = np.random.default_rng(seed)
        whole = ring(qubits, outputs="vector")
        # Small angles to start at, as people do: far from zero, deep rings say nearly nothing of a qubit.
        self.circuit, self.seed = whole.at(START * whole.parameters), seed
        moved = self.circuit.parameters + random.normal(0, 0.3, self.circuit.n_parameters)
        self.inputs = random.uniform(-1, 1, (64, qubits))
        self.labels = self.outputs(moved)

    def outputs(self, params):
        return np.array([self._output(self.circuit.at(params, x)) for x in self.inputs])

    def _output(self, circuit):
        chances = np.abs(efl.simulate(circuit)) ** 2
        bits = (np.arange(len(chances))[:, None] >> np.arange(circuit.n_qubits)) & 1
        return chances @ (1 - 2 * bits).sum(1) / np.sqrt(circuit.n_qubits)

    def loss(self, params):
        return float(np.mean(np.square(self.outputs(params) - self.labels)))

    def learner(self, method="auto", teach=TEACH):
        return Learner(
            self.circuit,
            loss="squared",
            inputs=self.circuit.inputs,
            shots=ANSWER + teach,
            share=teach / (ANSWER + teach),
            method=method,
            seed=self.seed + 1,
        )

    def trained(self, learner, steps, rounds):
        """The loss after steps, each of so many rounds of 64 queries."""
        with Replica(self.circuit, learner, seed=self.seed + 2) as replica:
            for _ in range(steps):
                for _ in range(rounds):
                    found = replica.answers(self.inputs)
                    replica.feedback(found.tickets, self.labels)
                learner.step("adam")
        return self.loss(learner.params)


def latency(goals, options):
    """An answer beside the plain QNode with the same shots, in turns."""
    circuit = head(0)
    inputs = np.linspace(-1, 1, 10)
    learner = Learner(circuit, loss=losses.Logistic(6), inputs=inputs, seed=1)
    with Replica(circuit, learner, seed=1) as replica:
        own = _median(lambda: replica.answer(inputs), options)
    goals("milliseconds of an answer, efl.Circuit", own * 1e3, "<= 0.5", own <= 0.5e-3 or options.smoke)
    for name in ("lightning.qubit", "default.qubit"):
        qnode = qml.QNode(_function, qml.device(name, wires=10))
        params = np.array(circuit.parameters).reshape(3, 10, 2)
        learner = Learner(qnode, params, loss=losses.Logistic(6), inputs=inputs, seed=1)
        plain = qml.set_shots(qnode, 64)
        with Replica(qnode, learner, seed=1) as replica:
            tasks = partial(replica.answer, inputs), partial(plain, inputs, params)
            replica.answer(inputs)
            times = [[_timed(task) for task in tasks] for _ in range(3 if options.smoke else 40)]
        ours, theirs = (statistics.median(own) for own in zip(*times, strict=True))
        print(f"  {name}: answer {ours * 1e3:.1f} ms, plain QNode {theirs * 1e3:.1f} ms")
        goals(f"answer over plain QNode, {name}", ours / theirs, "<= 1", ours <= theirs or options.smoke)


def _function(x, theta):
    qml.AngleEmbedding(x, wires=range(10), rotation="Y")
    for layer in range(3):
        for q in range(10):
            qml.RY(theta[layer, q, 0], wires=q)
            qml.RZ(theta[layer, q, 1], wires=q)
        for first in (0, 1) if layer < 2 else ():
            for q in range(first, 9, 2):
                qml.CZ(wires=[q, q + 1])
    return qml.expval(qml.sum(*(qml.Z(q) / np.sqrt(10) for q in range(10))))


def _timed(task):
    start = time.perf_counter()
    task()
    return time.perf_counter() - start


def _median(task, options):
    task()
    return statistics.median(_timed(task) for _ in range(10 if options.smoke else 400))


PARTS = {"right": right, "digits": digit_runs, "late": late, "ring": rings, "latency": latency}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=PARTS, action="append", help="only this part; may be repeated")
    parser.add_argument("--seeds", type=int, default=SEEDS)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--queries", type=int, default=QUERIES)
    parser.add_argument("--fleets", type=int, default=2000)
    parser.add_argument("--only", default="", help="of part right: cases with this in their name")
    parser.add_argument("--smoke", action="store_true", help="small, to see that it runs")
    options = parser.parse_args()
    if options.smoke:
        options.seeds, options.queries, options.fleets = 1, 256, 10
    goals = Goals()
    for name, part in PARTS.items():
        if options.part is None or name in options.part:
            print(f"{name}: {part.__doc__}")
            part(goals, options)
    print(f"missed: {', '.join(goals.missed)}" if goals.missed else "all goals reached")
    return bool(goals.missed) and not options.smoke


if __name__ == "__main__":
    sys.exit(main())
