"""The ways to a gradient that a trainer can take: designed settings, and random directions.

A source is asked for so many shots in so many settings, and answers with a gradient and what it took.
Designed settings, echoes and shifts (`Designed`) give every derivative without bias. Random directions
(`Directions`, known as SPSA) compare the loss at two points that all parameters are moved to: biased by the
third derivative, and the cheapest where few parameters feed many gates.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.circuits import Circuit, simulate
from efl_core.designs import design
from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.observables import PauliSum
from efl_core.plans import Plan

__all__ = [
    "Designed",
    "Directions",
    "Loss",
    "Measured",
    "Movable",
    "Request",
    "Run",
    "Source",
    "simulated",
]

Vector: TypeAlias = NDArray[np.float64]
Table: TypeAlias = NDArray[np.float64]
# How much more a kept design may cost before another is searched, and after how many steps one is searched.
STALE, AGE = 1.15, 40
GOLDEN = (5**0.5 - 1) / 2
# How far all parameters are moved: the bias is about a sixth of its square, relatively.
DISTANCE = 0.2


@dataclass(frozen=True, slots=True, eq=False)
class Request:
    """Shots of a circuit in a setting; with an experiment, its circuit is what is run."""

    circuit: Circuit
    setting: Setting
    shots: int
    experiment: Experiment | None = None


Run: TypeAlias = Callable[[Sequence[Request], int], Sequence[NDArray[np.uint8]]]
"""From requests and a seed to the bits of each, shape ``(shots, n_qubits)``."""


@dataclass(frozen=True, slots=True, eq=False)
class Measured:
    """A gradient, and what it took."""

    gradient: Vector
    variance: Vector
    """Of every derivative; that of the direction is not in it."""
    shots: int
    circuits: int
    value: float | None = None
    """The loss, where it was measured on the way."""
    value_variance: float = 0.0


class Movable(Protocol):
    """What is a circuit at any parameters: a `Circuit`, or a QNode that becomes one."""

    @property
    def n_parameters(self) -> int:
        """Number of parameters."""

    def at(self, parameters: Vector) -> Circuit:
        """Return the circuit at some parameters."""


class Source(Protocol):
    """What measures gradients."""

    name: str
    spread: float
    """What one shot leaves as variance, all derivatives together, on average over states."""

    def measure(self, parameters: Vector, shots: int, settings: int, step: int, seed: int) -> Measured:
        """Return a gradient from so many shots in at most so many settings."""

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps, ready for JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""


def simulated(requests: Sequence[Request], seed: int) -> list[NDArray[np.uint8]]:
    """Run requests on a simulator of state vectors."""
    seeds = np.random.SeedSequence(seed).generate_state(max(len(requests), 1), np.uint64)
    bits: dict[int, NDArray[np.uint8]] = {}
    of_states: dict[int, list[int]] = {}
    of_experiments: list[int] = []
    for i, request in enumerate(requests):
        if request.experiment is None or request.experiment.served:
            of_states.setdefault(id(request.circuit), []).append(i)
        else:
            of_experiments.append(i)
    for places in of_states.values():
        state = simulate(requests[places[0]].circuit)
        runs = [(requests[i].setting, requests[i].shots, int(seeds[i])) for i in places]
        bits |= zip(places, _native.measured(state, runs), strict=True)
    if of_experiments:
        circuit = requests[of_experiments[0]].circuit
        if circuit.bloch is None:
            raise InvalidInputError.of("circuit", "a product input state", "another one")
        wanted = [
            (experiment._native, requests[i].shots, int(seeds[i]))
            for i in of_experiments
            if (experiment := requests[i].experiment) is not None
        ]
        bits |= zip(of_experiments, _native.simulated(wanted, circuit._theta, circuit.bloch), strict=True)
    return [bits[i] for i in range(len(requests))]


class Designed:
    """The settings, echoes and shifts of a plan, drawn by their shares."""

    def __init__(self, made: Plan, run: Run, method: str | None = None) -> None:
        lists = [row for row in made if row.applies and row.settings]
        if method is None and not lists:
            raise InvalidInputError.of("circuit", "a gradient that something measures", f"{made!r}")
        if method is not None and not (made[method].applies and made[method].settings is not None):
            known = ", ".join(row.name for row in lists)
            raise InvalidInputError.of("method", f"one with a list of settings ({known})", repr(method))
        self.name = min(lists, key=lambda row: row.cost).name if method is None else method
        # Every design is searched from the first one, so that it is a function of the angles it is made at.
        self._first, self._plan, self._run, self._age = made, made, run, 0
        self._designed_at: Vector | None = None
        self.spread = made[self.name].cost * made.n_derivatives

    def _at(self, parameters: Vector) -> Plan:
        """Return a plan at the parameters: the kept design, as long as it is good."""
        if self._age < AGE:
            held = self._plan.at(parameters, methods=[self.name], redesign=False)
            if held.methods and held[self.name].cost <= STALE * self._plan[self.name].cost:
                self._age += 1
                return held
        self._design(parameters)
        return self._plan

    def _design(self, parameters: Vector) -> None:
        self._plan = self._first.at(parameters, methods=[self.name])
        self._designed_at, self._age = parameters, 0

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps: where the design was made, and how old it is."""
        where = None if self._designed_at is None else self._designed_at.tolist()
        return {"designed_at": where, "age": self._age}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        if state["designed_at"] is not None:
            self._design(np.array(state["designed_at"], dtype=np.float64))
        self._age = int(state["age"])

    def measure(self, parameters: Vector, shots: int, settings: int, step: int, seed: int) -> Measured:
        """Return a gradient from so many shots in at most so many settings."""
        held = self._at(parameters)
        if not held[self.name].cost > 0:  # nothing moves the loss here
            nothing = np.zeros(len(parameters))
            return Measured(nothing, nothing, 0, 0)
        least = 2 if any(not e.served for e, _ in held.allocate(2, self.name, settings=1)) else 1
        found = held.allocate(max(shots, least), self.name, settings=settings, step=step, seed=seed)
        requests = [Request(held.circuit, e.setting, number, e) for e, number in found]
        bits = self._run(requests, _mixed(seed, step))
        counted = _native.Outcomes.count([(e._native, own) for (e, _), own in zip(found, bits, strict=True)])
        value, variance = self._read(counted, held.circuit.n_parameters)
        return Measured(value, variance, sum(number for _, number in found), len(found))

    def _read(self, counted: list[_native.Outcomes], count: int) -> tuple[Vector, Vector]:
        """Return the derivatives by the parameters of the circuit, so many, and their variances."""
        return _native.read_together(counted, count)


class Loss:
    """The value of an observable, from product settings that are drawn by their shares."""

    def __init__(self, loss: PauliSum, run: Run) -> None:
        ensemble = design(loss, "product")
        self._run, self._settings = run, ensemble.setting_list
        self._ends = np.cumsum(np.asarray(ensemble.probabilities))
        terms = [(word, c) for word, c in loss.terms() if word.weight]
        chances = [ensemble.reveal_probability(word) for word, _ in terms]
        self.constant = sum(c for word, c in loss.terms() if not word.weight)
        self.square = sum(c * c / chance for (_, c), chance in zip(terms, chances, strict=True))
        """The variance of one shot, on the maximally mixed state."""
        self._reads = [_reads(setting, terms, chances, loss.n_qubits) for setting in self._settings]

    def measure(
        self, circuits: Sequence[Circuit], draws: int, shots: int, step: int, seed: int
    ) -> tuple[Table, int, int]:
        """Return what each draw says, a row for every circuit; and the shots and circuits that it took.

        All circuits are measured in the same settings, with ``shots`` shots each.
        """
        start = (np.random.default_rng(seed).random() + step * GOLDEN) % 1
        drawn = np.searchsorted(self._ends, (start + np.arange(draws)) / draws * self._ends[-1])
        which, times = np.unique(drawn, return_counts=True)
        each = [max(int(t), round(shots * t / draws)) for t in times]
        wanted = [(c, int(e), number) for c in circuits for e, number in zip(which, each, strict=True)]
        requests = [Request(circuit, self._settings[e], number) for circuit, e, number in wanted]
        bits = self._run(requests, _mixed(seed, step))
        seen = [self._read(e, own) for (_, e, _), own in zip(wanted, bits, strict=True)]
        table = np.repeat(np.reshape(seen, (len(circuits), -1)), times, axis=1)
        return table, sum(number for *_, number in wanted), len(wanted)

    def _read(self, setting: int, bits: NDArray[np.uint8]) -> float:
        masks, coefficients = self._reads[setting]
        parities = (bits.astype(np.int64) @ masks) % 2
        return float(np.mean(1 - 2 * parities, axis=0) @ coefficients)


class Directions:
    """Differences of the loss in random directions: all parameters moved by a distance, up or down."""

    name = "directions"

    def __init__(self, circuit: Movable, loss: PauliSum, run: Run, distance: float = DISTANCE) -> None:
        self._circuit, self._loss, self._distance = circuit, Loss(loss, run), distance
        self.spread = circuit.n_parameters * self._loss.square / distance**2

    def measure(self, parameters: Vector, shots: int, settings: int, step: int, seed: int) -> Measured:
        """Return a gradient from so many shots in at most so many settings, half of them at each end."""
        random, distance = np.random.default_rng((seed, step)), self._distance
        sides = random.choice([-1.0, 1.0], len(parameters))
        draws, half = max(1, min(settings, shots) // 2), max(shots // 2, 1)
        ends = [self._circuit.at(parameters + sign * distance * sides) for sign in (1, -1)]
        (up, down), taken, circuits = self._loss.measure(ends, draws, half, step, seed)
        # One more draw that differs as on the maximally mixed state, as for experiments that are drawn.
        square = self._loss.square * draws / half
        of_slope = (draws * float(np.var(up - down)) + 2 * square) / draws**2
        of_value = (draws * float(np.var((up + down) / 2)) + square / 2) / draws**2
        return Measured(
            gradient=float(np.mean(up - down)) / (2 * distance) * sides,
            variance=np.full(len(parameters), of_slope / (4 * distance**2)),
            shots=taken,
            circuits=circuits,
            value=self._loss.constant + float(np.mean(up + down)) / 2,
            value_variance=of_value,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return nothing: no step depends on others."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over nothing."""


def _reads(
    setting: Setting,
    terms: Sequence[tuple[_native.PauliWord, float]],
    chances: Sequence[float],
    n_qubits: int,
) -> tuple[NDArray[np.int64], Vector]:
    """Return the masks of the words that a setting reveals, a column each, and what each parity counts."""
    masks, coefficients = [], []
    for (word, c), chance in zip(terms, chances, strict=True):
        found = setting.reveal(word)
        if found is not None:
            bits, sign = found
            masks.append(np.isin(np.arange(n_qubits), bits))
            coefficients.append(sign * c / chance)
    return np.array(masks, dtype=np.int64).T, np.array(coefficients)


def _mixed(seed: int, step: int) -> int:
    """Return a seed for a step."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
