"""Random directions: the loss at two points that all parameters are moved to, known as SPSA.

Biased by the third derivative, and the cheapest where few parameters feed many gates. How far points are
moved, and how far a step should go, follows from the circuit: in units of the `natural_length`, beyond which
the loss is another function.
"""

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core.circuits import Circuit
from efl_core.errors import ResourceLimitError
from efl_core.gradients import gradient_observables
from efl_core.observables import PauliSum
from efl_core.propagation import Truncation
from efl_core.training.sources import Measured, Movable, Run
from efl_core.training.values import Loss

__all__ = ["Directions", "natural_length"]

Table: TypeAlias = NDArray[np.float64]
# How far a direction goes, and one step of Adam, in natural lengths.
REACH, RATE = 0.6, 0.07
# Observables of more words than these are not followed through the circuit.
WORDS, UNKNOWN = 10**6, 1 / 3


def natural_length(circuit: Circuit, loss: PauliSum, slopes: Table | None = None) -> float:
    """Return how far a parameter can move until the loss is another function.

    It is ``|O| / sqrt(sum_k |d_k O|^2)``, with the observable that the input state sees, its derivatives by
    the parameters and their 2-norms: what the loss varies by on average over states. Parameters are those of
    the circuit, or those that these depend on with ``slopes``, shape ``(circuit.n_parameters, n)``. It is
    1/3, as in circuits of that size, where the derivatives together have over a million words.

    >>> import efl_core as efl
    >>> from efl_core.training.directions import natural_length
    >>> circuit = efl.Circuit(1, parameters=[0.4]).ry(2 * efl.Parameter(0), 0)
    >>> natural_length(circuit, efl.PauliSum("Z"))
    0.5
    """
    try:
        found = gradient_observables(circuit, loss, truncation=Truncation(max_terms=WORDS))
    except ResourceLimitError:
        return UNKNOWN
    sums = [found.derivative(0, k) for k in range(circuit.n_parameters)]
    if slopes is not None:
        sums = [
            sum((s * c for s, c in zip(sums, column, strict=True) if c), PauliSum({}, n_qubits=loss.n_qubits))
            for column in slopes.T
        ]
    moved = sum(s.l2_norm**2 for s in sums)
    size = sum(c * c for word, c in loss.terms() if word.weight)
    return float(np.sqrt(size / moved)) if moved > 0 else 1.0


class Directions:
    """Differences of the loss in random directions: all parameters moved by a distance, up or down.

    What is measured there is not the loss of the parameters themselves, but a smoothed one.
    """

    name = "directions"
    noise, least = 12.0, 2

    def __init__(self, circuit: Movable, loss: PauliSum, run: Run, distance: float) -> None:
        self._circuit, self._loss, self.distance = circuit, Loss(loss, run), distance
        self.square = self._loss.square
        """The variance of a shot of the loss, on average over states."""
        self.spread = circuit.n_parameters * self.square / distance**2
        """What one shot leaves as variance, all derivatives together, on average over states."""
        self.rate = RATE / REACH * distance
        """What suits Adam as its learning rate."""

    def measure(
        self, parameters: NDArray[np.float64], shots: int, settings: int, step: int, seed: int
    ) -> Measured:
        """Return a gradient from so many shots in at most so many settings, half of them at each end."""
        random, distance = np.random.default_rng((seed, step)), self.distance
        sides = random.choice([-1.0, 1.0], len(parameters))
        draws, half = max(1, min(settings, shots) // 2), max(shots // 2, 1)
        ends = [self._circuit.at(parameters + sign * distance * sides) for sign in (1, -1)]
        seen = self._loss.measure(ends, draws, half, step, seed)
        slope, of_slope = seen.combined([1.0, -1.0])
        return Measured(
            gradient=slope / (2 * distance) * sides,
            variance=np.full(len(parameters), of_slope / (4 * distance**2)),
            shots=seen.shots,
            circuits=seen.circuits,
        )

    def to_dict(self) -> dict[str, Any]:
        """Return nothing: no step depends on others."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over nothing."""
