"""Losses that are sums over points of data: some points are drawn for every step.

Invariant: the gradient has no bias, whatever points are drawn. Cost: for every step that of one plan, where
the inputs come before all trained gates; otherwise that of a plan for every point that is drawn.
"""

from typing import TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.arguments import array
from efl_core.errors import InvalidInputError, ShapeError
from efl_core.gradients import gradient_observables
from efl_core.plans import Plan
from efl_core.training.sources import GOLDEN, Designed, Measured, Request, Run, mixed, simulated

__all__ = ["Points"]

Vector: TypeAlias = NDArray[np.float64]


class Points(Designed):
    """A circuit at several inputs: the loss is the sum of its observable there, each with a weight.

    A step draws points by the sizes of their weights, in proportion over the steps, and settings of the plan
    for each of them.

    Parameters
    ----------
    made
        A `Plan` of the circuit, at any of the inputs.
    inputs
        The inputs of the circuit at each point, a row for each.
    weights
        What the observable counts there, of any sign; by default the loss is its mean.
    run
        What runs circuits; by default a simulator.

    Examples
    --------
    >>> import efl_core as efl
    >>> from efl_core.training import Points
    >>> circuit = efl.Circuit(1, parameters=[0.5])
    >>> circuit = circuit.ry(circuit.input(0.1), 0).ry(efl.Parameter(0), 0)
    >>> made = efl.plan(circuit, "Z")
    >>> trainer = efl.Trainer(made, method=Points(made, [[0.1], [0.3]]), seed=1)
    >>> trainer.run(steps=100)[-1].circuits <= 4
    True
    """

    def __init__(
        self, made: Plan, inputs: ArrayLike, weights: ArrayLike | None = None, run: Run = simulated
    ) -> None:
        super().__init__(made, run)
        self.name = f"points, {self._method}"
        table = array("inputs", inputs, "rows of numbers").astype(np.float64)
        if table.ndim != 2 or not len(table) or table.shape[1] != len(made.circuit.inputs):
            expected = f"shape (points, {len(made.circuit.inputs)}), a row of inputs for each"
            raise ShapeError.of("inputs", expected, table.shape)
        given = np.ones(len(table)) / len(table) if weights is None else weights
        factors = array("weights", given, "numbers").astype(np.float64)
        if factors.shape != (len(table),):
            raise ShapeError.of("weights", f"one for each of {len(table)} points", factors.shape)
        if not (np.isfinite(factors).all() and np.any(factors)):
            raise InvalidInputError.of("weights", "finite numbers, not all zero", f"{factors}")
        self._inputs, self._total = table, float(np.abs(factors).sum())
        self._signs, self._ends = np.sign(factors), np.cumsum(np.abs(factors)) / np.abs(factors).sum()
        self._shared = self._is_shared()

    def _is_shared(self) -> bool:
        """Return whether derivatives have the same words at all inputs."""
        circuit, [loss] = self._first.circuit, self._first.observables
        one, other = (
            gradient_observables(circuit.at(circuit.parameters, circuit.inputs + shift), loss).gradients
            for shift in (0.0, 0.7)
        )
        return bool(one == other)

    def measure(self, parameters: Vector, shots: int, settings: int, step: int, seed: int) -> Measured:
        """Return a gradient from so many shots in at most so many settings, each of one point."""
        held = self._at(parameters)
        if not held[self._method].cost > 0:  # nothing moves the loss here
            nothing = np.zeros(len(parameters))
            return Measured(nothing, nothing, 0, 0)
        draws = max(1, min(settings, shots // 2))
        start = (np.random.default_rng(seed).random() + step * GOLDEN) % 1
        drawn = np.searchsorted(self._ends, (start + np.arange(draws)) / draws * self._ends[-1])
        points, times = np.unique(drawn, return_counts=True)
        requests, runs = [], []
        for place, (point, number) in enumerate(zip(points, times, strict=True)):
            inputs = self._inputs[point]
            circuit = held.circuit.at(parameters, inputs)
            own = held
            if not self._shared:
                own = self._plan.at(parameters, inputs, methods=[self._method], redesign=False)
            share = max(2, round(shots * int(number) / draws))
            runs.append(
                own.allocate(
                    share,
                    self._method,
                    settings=int(number),
                    step=step * len(self._inputs) + place,
                    seed=seed,
                )
            )
            requests += [Request(circuit, e.setting, count, e) for e, count in runs[-1]]
        bits = iter(self._run(requests, mixed(seed, step)))
        found, within = [], []
        for run in runs:
            counted = _native.Outcomes.count([(e._native, next(bits)) for e, _ in run])
            value, variance = self._read(counted, len(parameters))
            found.append(value)
            within.append(variance)
        value, variance = self._together(np.array(found), np.array(within), self._signs[points], times)
        return Measured(value, variance, sum(r.shots for r in requests), len(requests))

    def _together(
        self, found: NDArray[np.float64], within: NDArray[np.float64], signs: Vector, times: NDArray[np.int64]
    ) -> tuple[Vector, Vector]:
        """Return the sum over points and its variance: of the shots, and of points not drawn."""
        draws, signed = int(times.sum()), self._total * signs[:, None] * found
        value = times @ signed / draws
        shots = self._total**2 * (times**2 @ within) / draws**2
        # One more draw as far from the mean as zero is, for one draw says nothing of others.
        apart = times @ (signed - value) ** 2 + value**2
        return value, np.maximum(shots, apart / draws**2)
