"""What measures gradients for a trainer: the settings, echoes and shifts of a plan, drawn by their shares.

A source is asked for so many shots in so many settings, and answers with a gradient and what it took. Here is
what all sources have in common, and `Designed`, which gives every derivative without bias; random directions
are in `directions`, points of data in `points`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.circuits import Circuit, simulate
from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.memory import Memory
from efl_core.plans import Plan

__all__ = [
    "GOLDEN",
    "Designed",
    "Measured",
    "Movable",
    "Request",
    "Run",
    "Source",
    "mixed",
    "simulated",
]

Vector: TypeAlias = NDArray[np.float64]
# How much more a kept design may cost before another is searched, and after how many steps one is searched.
STALE, AGE = 1.15, 40
# By so much of a round draws go on from step to step: they come in proportion.
GOLDEN = (5**0.5 - 1) / 2


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
    noise: float
    """How large the noise of a step may be, beside the gradient."""
    rate: float
    """The learning rate that suits Adam."""
    least: int
    """The fewest shots of a step."""

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
    of_experiments: dict[int, list[int]] = {}
    for i, request in enumerate(requests):
        served = request.experiment is None or request.experiment.served
        (of_states if served else of_experiments).setdefault(id(request.circuit), []).append(i)
    for places in of_states.values():
        state = simulate(requests[places[0]].circuit)
        runs = [(requests[i].setting, requests[i].shots, int(seeds[i])) for i in places]
        bits |= zip(places, _native.measured(state, runs), strict=True)
    for places in of_experiments.values():
        circuit = requests[places[0]].circuit
        if circuit.bloch is None:
            raise InvalidInputError.of("circuit", "a product input state", "another one")
        wanted = [
            (experiment._native, requests[i].shots, int(seeds[i]))
            for i in places
            if (experiment := requests[i].experiment) is not None
        ]
        bits |= zip(places, _native.simulated(wanted, circuit._theta, circuit.bloch), strict=True)
    return [bits[i] for i in range(len(requests))]


class Designed:
    """The settings, echoes and shifts of a plan, drawn by their shares.

    What they answer is remembered: a step of at least as many shots as the list has settings shares them by
    the variances that steps before have seen. With fewer most settings are not run anyway.
    """

    noise, rate, least = 3.0, 0.1, 4

    def __init__(self, made: Plan, run: Run, method: str | None = None) -> None:
        lists = [row for row in made if row.applies and row.settings]
        if method is None and not lists:
            raise InvalidInputError.of("circuit", "a gradient that something measures", f"{made!r}")
        if method is not None and not (made[method].applies and made[method].settings is not None):
            known = ", ".join(row.name for row in lists)
            raise InvalidInputError.of("method", f"one with a list of settings ({known})", repr(method))
        self._method = min(lists, key=lambda row: row.cost).name if method is None else method
        self.name = self._method
        # Every design is searched from the first one, so that it is a function of the angles it is made at.
        self._first, self._plan, self._run, self._age = made, made, run, 0
        self._designed_at: Vector | None = None
        self._memory = Memory()
        self.spread = made[self._method].cost * made.n_derivatives
        """What one shot leaves as variance, all derivatives together, on average over states."""

    def _at(self, parameters: Vector) -> Plan:
        """Return a plan at the parameters: the kept design, as long as it is good."""
        if self._age < AGE:
            held = self._plan.at(parameters, methods=[self._method], redesign=False)
            if held.methods and held[self._method].cost <= STALE * self._plan[self._method].cost:
                self._age += 1
                return held
        self._design(parameters)
        return self._plan

    def _design(self, parameters: Vector) -> None:
        self._plan = self._first.at(parameters, methods=[self._method])
        self._designed_at, self._age = parameters, 0

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps: where the design was made, its age, and what was measured."""
        where = None if self._designed_at is None else self._designed_at.tolist()
        return {"designed_at": where, "age": self._age, "memory": self._memory.to_dict()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        if state["designed_at"] is not None:
            self._design(np.array(state["designed_at"], dtype=np.float64))
        self._age = int(state["age"])
        self._memory = Memory.from_dict(state["memory"])

    def measure(self, parameters: Vector, shots: int, settings: int, step: int, seed: int) -> Measured:
        """Return a gradient from so many shots in at most so many settings."""
        held = self._at(parameters)
        if not held[self._method].cost > 0:  # nothing moves the loss here
            nothing = np.zeros(len(parameters))
            return Measured(nothing, nothing, 0, 0)
        if self._memory.steps and shots >= (held[self._method].settings or 0):
            held = held.at_state(self._memory)
        least = 2 if any(not e.served for e, _ in held.allocate(2, self._method, settings=1)) else 1
        found = held.allocate(max(shots, least), self._method, settings=settings, step=step, seed=seed)
        requests = [Request(held.circuit, e.setting, number, e) for e, number in found]
        bits = self._run(requests, mixed(seed, step))
        counted = _native.Outcomes.count([(e._native, own) for (e, _), own in zip(found, bits, strict=True)])
        self._memory.observe_counted(counted)
        value, variance = self._read(counted, held.circuit.n_parameters)
        return Measured(value, variance, sum(number for _, number in found), len(found))

    def _read(self, counted: list[_native.Outcomes], count: int) -> tuple[Vector, Vector]:
        """Return the derivatives by the parameters of the circuit, so many, and their variances."""
        return _native.read_together(counted, count)


def mixed(seed: int, step: int) -> int:
    """Return a seed for a step."""
    return int(np.random.SeedSequence((seed, step)).generate_state(1, np.uint64)[0])
