"""Ways of training a head of 10 qubits to tell a 3 from an 8: by a fleet that serves it, and others.

All see the same queries in the same order and begin at the same parameters; the figures that they are judged
by are exact. What a fleet spends on teaching, others spend on measuring gradients.
"""

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from efl_core.circuits import Circuit, Parameter, simulate
from efl_core.fleet import Fleet, Report, Ticket, losses
from efl_core.fleet.digits import Digits
from efl_core.observables import PauliSum
from efl_core.propagation import propagate
from efl_core.training import Adam

__all__ = [
    "Labels",
    "Run",
    "by_exact_gradients",
    "by_fleet",
    "by_regression",
    "by_spsa",
    "head",
    "judged",
]

Floats = NDArray[np.float64]
QUBITS, LAYERS, SCALE = 10, 2, 6.0
SHOTS, SHARE, BATCH, LATE = 64, 0.25, 64, 500
# Every teaching shot in a setting of its own: where shots are simulated that costs little.
SETTINGS = 16
# Of Adam at the beginning; at the end it is a tenth of that.
RATE = 0.05
LOSS = losses.Logistic(SCALE)
# How far SPSA moves all parameters.
DISTANCE = 0.2


def head(seed: int = 0, *, qubits: int = QUBITS, layers: int = LAYERS) -> Circuit:
    """Return the circuit: angles of the features, then layers of RY, RZ and a brick of CZ."""
    random = np.random.default_rng(seed)
    count = 2 * qubits * (layers + 1)
    circuit = Circuit(qubits, parameters=random.uniform(-0.5, 0.5, count))
    for qubit in range(qubits):
        circuit.ry(circuit.input(0.0), qubit)
    angles = iter(map(Parameter, range(count)))
    for layer in range(layers + 1):
        for qubit in range(qubits):
            circuit.ry(next(angles), qubit).rz(next(angles), qubit)
        for first in (0, 1) if layer < layers else ():
            for qubit in range(first, qubits - 1, 2):
                circuit.clifford("CZ", qubit, qubit + 1)
    words = [("I" * q + "Z" + "I" * (qubits - q - 1), 1 / math.sqrt(qubits)) for q in range(qubits)]
    circuit.observables = (PauliSum(words),)
    return circuit


@dataclass
class Run:
    """A way of training, and how far it came."""

    name: str
    extra_shots: int
    """Shots that only taught."""
    curve: list[tuple[int, float, float]] = field(default_factory=list)
    """Queries, exact training loss and accuracy on the test images, on the way."""

    @property
    def loss(self) -> float:
        """The exact training loss at the end."""
        return self.curve[-1][1]

    @property
    def accuracy(self) -> float:
        """The accuracy on the test images at the end."""
        return self.curve[-1][2]


def outputs(circuit: Circuit, parameters: Floats, inputs: Floats) -> Floats:
    """Return the exact outputs of the head."""
    index = np.arange(2**circuit.n_qubits)
    bits = (index[:, None] >> np.arange(circuit.n_qubits)) & 1
    value = (1 - 2 * bits).sum(axis=1) / math.sqrt(circuit.n_qubits)
    states = (simulate(circuit.at(parameters, x)) for x in inputs)
    return np.array([np.square(np.abs(state)) @ value for state in states])


def judged(circuit: Circuit, parameters: Floats, data: Digits) -> tuple[float, float]:
    """Return the exact training loss, and the accuracy on the test images."""
    train, test = (outputs(circuit, parameters, x) for x in (data.train, data.test))
    loss = float(np.mean(LOSS.loss(train, data.train_labels)))
    return loss, float(np.mean(test * data.test_labels > 0))


def drawn(data: Digits, queries: int, seed: int) -> NDArray[np.int64]:
    """Return which training image each query is: the same for every way of training."""
    return np.random.default_rng((seed, 1)).integers(0, len(data.train), queries)


def optimizer(steps: int, rate: float) -> Callable[[Floats, Floats], Floats]:
    """Return Adam, ever more slowly."""
    adam = Adam(rate)

    def update(parameters: Floats, gradient: Floats) -> Floats:
        adam.lr = rate * (1 - 0.9 * min(1.0, adam.steps / steps))
        return adam.update(parameters, gradient)

    return update


@dataclass(frozen=True)
class Labels:
    """When labels come: some never, some twice, and some of queries that nobody knows."""

    late: Callable[[np.random.Generator], float] = lambda _: 0.0
    """After how many queries one comes."""
    missing: float = 0.0
    repeated: float = 0.0
    unknown: float = 0.0


def by_fleet(
    data: Digits,
    queries: int,
    seed: int,
    *,
    method: str = "auto",
    teach_shots: int = round(SHARE * SHOTS),
    rate: float = RATE,
    labels: Labels | None = None,
    replicas: int = 1,
    told: Callable[[Run, Fleet, Report], None] | None = None,
    every: int = 25,
    name: str = "the fleet",
) -> tuple[Run, dict[str, int]]:
    """Serve queries, hand in labels as they come, and step after every batch that has taught.

    Returns the run, and what became of queries and labels.
    """
    circuit, order, plan = head(seed), drawn(data, queries, seed), labels or Labels()
    random, update = np.random.default_rng((seed, 2)), optimizer(queries // BATCH, rate)
    shots = SHOTS - round(SHARE * SHOTS) + teach_shots
    share = teach_shots / shots
    found, waiting = Run(name, teach_shots * queries), deque[_Label]()
    found.curve.append((0, *judged(circuit, circuit.parameters, data)))
    with Fleet(
        circuit,
        replicas=replicas,
        seed=seed,
        loss=LOSS,
        method=method,
        shots=shots,
        share=share,
        settings=SETTINGS,
    ) as fleet:
        learner, step = fleet.learner, 0
        for start in range(0, queries, BATCH):
            own = order[start : start + BATCH]
            served = fleet.answers(data.train[own])
            waiting += _coming(plan, start, served.tickets, data.train_labels[own], random)
            is_last = start + BATCH >= queries
            ready = [one for one in waiting if is_last or one.at <= start]
            waiting = deque(one for one in waiting if not (is_last or one.at <= start))
            fleet.flush()
            _hand_in(fleet, ready, plan, random)
            while learner.taught >= BATCH or (is_last and learner.taught):
                report = learner.step(update)
                step += 1
                if step % every == 0:
                    found.curve.append((start + BATCH, *judged(circuit, learner.params, data)))
                    if told is not None:
                        told(found, fleet, report)
        found.curve.append((queries, *judged(circuit, learner.params, data)))
        return found, learner.counts


@dataclass(frozen=True, slots=True)
class _Label:
    """A label on its way."""

    at: float
    """After how many queries it is there."""
    ticket: str
    label: float


def _coming(
    plan: Labels, start: int, tickets: list[str], labels: Floats, random: np.random.Generator
) -> list[_Label]:
    """Return the labels that some queries will get."""
    found = []
    for ticket, label in zip(tickets, labels, strict=True):
        if random.random() >= plan.missing:
            times = 1 + int(random.random() < plan.repeated)
            found += [_Label(start + plan.late(random), ticket, float(label)) for _ in range(times)]
    return found


def _hand_in(fleet: Fleet, ready: list[_Label], plan: Labels, random: np.random.Generator) -> None:
    """Hand in labels, and some of queries that nobody knows."""
    tickets, values = [one.ticket for one in ready], [one.label for one in ready]
    strange = sum(random.random() < plan.unknown for _ in ready)
    tickets += [Ticket(int(random.integers(2**63)), 1, 0).text for _ in range(strange)]
    if tickets:
        fleet.learner.feedback(tickets, np.array([*values, *[1.0] * strange]))


def by_exact_gradients(data: Digits, queries: int, seed: int, *, rate: float = RATE, every: int = 25) -> Run:
    """Train on the same queries by exact gradients of the loss of exact outputs."""
    circuit, order = head(seed), drawn(data, queries, seed)
    found, update = Run("exact gradients", 0), optimizer(queries // BATCH, rate)
    parameters = circuit.parameters.copy()
    found.curve.append((0, *judged(circuit, parameters, data)))
    for step, start in enumerate(range(0, queries, BATCH), 1):
        gradient = np.zeros_like(parameters)
        for image in order[start : start + BATCH]:
            one = propagate(circuit.at(parameters, data.train[image]))
            slope = LOSS.slope(np.array([one.value]), data.train_labels[[image]])[0]
            gradient += slope * one.gradient / BATCH
        parameters = update(parameters, gradient)
        if step % every == 0 or start + BATCH >= queries:
            found.curve.append((start + BATCH, *judged(circuit, parameters, data)))
    return found


def by_spsa(data: Digits, queries: int, seed: int, *, rate: float = RATE, every: int = 25) -> Run:
    """Train by differences of the measured loss in a random direction, with as many extra shots."""
    circuit, order = head(seed), drawn(data, queries, seed)
    found, update = Run("SPSA", round(SHARE * SHOTS * queries)), optimizer(queries // BATCH, rate)
    random, half = np.random.default_rng((seed, 3)), round(SHARE * SHOTS / 2)
    parameters = circuit.parameters.copy()
    found.curve.append((0, *judged(circuit, parameters, data)))
    for step, start in enumerate(range(0, queries, BATCH), 1):
        own, sides = order[start : start + BATCH], random.choice([-1.0, 1.0], len(parameters))
        ends = []
        for sign in (1, -1):
            exact = outputs(circuit, parameters + sign * DISTANCE * sides, data.train[own])
            # Shots of the sum of all Z, as sums of bits of about this spread: no more is needed of them here.
            noisy = exact + random.normal(0, 1 / math.sqrt(half), len(own))
            ends.append(np.mean(LOSS.loss(noisy, data.train_labels[own])))
        parameters = update(parameters, (ends[0] - ends[1]) / (2 * DISTANCE) * sides)
        if step % every == 0 or start + BATCH >= queries:
            found.curve.append((start + BATCH, *judged(circuit, parameters, data)))
    return found


def by_regression(data: Digits) -> Run:
    """Fit logistic regression to the same features, by Newton steps with a little damping."""
    train, test = (np.column_stack([x, np.ones(len(x))]) for x in (data.train, data.test))
    weights = np.zeros(train.shape[1])
    for _ in range(50):
        margin = data.train_labels * (train @ weights)
        chance = np.exp(-np.logaddexp(0.0, margin))
        slope = -(chance * data.train_labels) @ train / len(train) + 1e-3 * weights
        curve = (train * (chance * (1 - chance))[:, None]).T @ train / len(train) + 1e-3 * np.eye(
            len(weights)
        )
        weights = weights - np.linalg.solve(curve, slope)
    loss = float(np.mean(np.logaddexp(0.0, -data.train_labels * (train @ weights))))
    accuracy = float(np.mean((test @ weights) * data.test_labels > 0))
    return Run("logistic regression", 0, [(0, loss, accuracy)])
