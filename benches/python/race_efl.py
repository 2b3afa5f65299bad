"""efl_core's trainer in the race: `efl.Trainer`, with its own choice of a method.

Its hyper-parameters are the learning rate, how large the noise of a step may be beside the gradient, how
far random directions go where it takes those, and what it believes that a circuit costs. Points of data are
drawn, each with a setting of its own: a source of this file, for the trainer has one circuit.
"""

import sidebyside  # isort: skip (before numpy)  # noqa: F401

import numpy as np

import efl_core as efl
from efl_core._native import Outcomes, read_together
from efl_core.training import Adam, Designed, Directions, Measured, Request
from efl_core.training.sources import simulated

PLANS = {}
ADVANTAGE = 1.5
"""How many times less variance random directions must have; the trainer's own figure."""


def draw_efl(problem, rng):
    def log(low, high):
        return float(np.exp(rng.uniform(np.log(low), np.log(high))))

    return {
        "rate": problem.length * log(0.01, 0.3),
        "noise": log(2, 20),
        "reach": log(0.05, 0.5),
        "circuit": float(rng.choice([30, 0, 1000])),
    }


class Points:
    """Drawn points of the data, each in one setting of one plan for all."""

    name, spread = "points", 1.0

    def __init__(self, problem, made):
        self.circuits, self.weights, self.made = problem.circuits, np.asarray(problem.weights), made
        rows = [row for row in made if row.applies and row.settings]
        self.method = min(rows, key=lambda row: row.cost).name
        self.shares = np.abs(self.weights) / np.abs(self.weights).sum()

    def measure(self, parameters, shots, settings, step, seed):
        rng = np.random.default_rng((seed, step))
        points = rng.choice(len(self.weights), max(1, min(settings, shots)), p=self.shares)
        each, found, runs = max(1, shots // len(points)), [], []
        for draw, point in enumerate(points):
            inputs = self.circuits[point].inputs
            held = self.made.at(parameters, inputs, methods=self.method, redesign=False)
            number = int(rng.integers(2**32))
            runs.append(
                [
                    (held, experiment, count)
                    for experiment, count in held.allocate(
                        max(each, 2), self.method, settings=1, step=draw, seed=number
                    )
                ]
            )
        requests = [Request(h.circuit, e.setting, n, e) for run in runs for h, e, n in run]
        bits = iter(simulated(requests, int(rng.integers(2**32))))
        for point, run in zip(points, runs, strict=True):
            counted = Outcomes.count([(e._native, next(bits)) for _, e, _ in run])
            value, _ = read_together(counted, len(parameters))
            found.append(self.weights[point] / self.shares[point] * value)
        table = np.array(found)
        spread = table.var(axis=0, ddof=1) if len(table) > 1 else table[0] ** 2
        taken = sum(n for run in runs for *_, n in run)
        return Measured(table.mean(axis=0), spread / len(table), taken, sum(map(len, runs)))


def run_efl(problem, seed, hyper, trace):
    if problem.name not in PLANS:
        PLANS[problem.name] = efl.plan(problem.circuits[0], problem.circuits[0].observables[0])
    made, start = PLANS[problem.name], problem.initial(seed)
    circuit = made.circuit.at(start)
    if problem.labels is not None:
        source = Points(problem, made)
    else:
        source = Designed(made, simulated)
        directions = Directions(circuit, made.observables[0], simulated, hyper["reach"])
        if ADVANTAGE * directions.spread < source.spread:
            source = directions
    trainer = efl.Trainer(
        circuit,
        made.observables[0],
        optimizer=Adam(hyper["rate"]),
        noise=hyper["noise"],
        method=source,
        cost=efl.Cost(circuit=hyper["circuit"], shot=1.0),
        seed=seed,
    )
    for step in trainer:
        if trace.add(trainer.parameters, step.total_shots, step.total_circuits):
            return trace
    return trace
