"""A method of a plan at work on the state that its circuit prepares: exact variances, and simulated shots.

Methods are lists of circuits and settings, or an ensemble of which a setting is drawn for every shot. What
is read are derivatives by the circuit's parameters; a chain takes them to a QNode's arguments.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.chains import Chain
from efl_core.circuits import Circuit, simulate
from efl_core.errors import InvalidInputError
from efl_core.plans.rows import PlanRow

__all__ = ["Method", "Simulated"]


@dataclass(frozen=True, slots=True, eq=False)
class Simulated:
    """A gradient from simulated shots."""

    gradient: NDArray[np.float64]
    """Estimated derivatives, shape ``(n_observables, n_parameters)``."""
    stderr: NDArray[np.float64]
    """Their standard errors."""
    shots: int
    """Shots used."""

    def __repr__(self) -> str:
        rms = float(np.sqrt(np.mean(np.square(self.stderr)))) if self.stderr.size else 0.0
        return f"Simulated({self.gradient.shape[-1]} parameters, rms stderr {rms:.2g}, shots={self.shots})"


@dataclass(frozen=True, slots=True, eq=False)
class Method:
    """A row of a plan, with what it takes to run it."""

    native: _native.Plan
    circuit: Circuit
    chain: Chain | None
    n_observables: int
    row: PlanRow

    @property
    def is_drawn(self) -> bool:
        """Whether a setting is drawn for every shot."""
        return self.row.settings is None

    def allocated(
        self, shots: int, seed: int, settings: int | None, step: int
    ) -> list[tuple[_native.Experiment, int]]:
        """Return the circuits with their shots: all of them, or so many settings of one step."""
        return self.native.allocate(self.row.name, shots, seed, settings, step)

    def variances(self) -> NDArray[np.float64]:
        """Return the variance of one shot of every derivative, all circuits allocated by their shares."""
        name, chain, sums = self.row.name, self.chain, self.native.observables
        if chain is not None and chain.is_shared:
            if self.is_drawn:
                return chain.of_ensemble(self.native.ensemble(name), sums, simulate(self.circuit))
            return chain.of_experiments(self.native.experiments(name), self.n_observables, self._prepared())
        if self.is_drawn:
            found = np.asarray(self.native.ensemble(name).predicted_variance(sums, simulate(self.circuit)))
        else:
            found = self._shaped(self.native.exact(name))
        return found if chain is None else chain.of_parameters(found)

    def variances_of_step(self, shots: int, settings: int) -> NDArray[np.float64]:
        """Return the variances of a step that draws so many settings, as if independently."""
        if self.chain is not None and self.chain.is_shared:
            raise InvalidInputError.of(
                "settings", "none, for derivatives by arguments that several parameters share", settings
            )
        found = self._shaped(self.native.exact_step(self.row.name, shots, settings))
        return found if self.chain is None else self.chain.of_parameters(found)

    def simulate(self, shots: int, seed: int, settings: int | None, step: int) -> Simulated:
        """Return the gradient from simulated shots."""
        if self.chain is not None:
            return Simulated(*self._through(self.chain, shots, seed, settings, step), shots)
        if self.is_drawn:
            ensemble = self.native.ensemble(self.row.name)
            snaps = _native.sample(simulate(self.circuit), ensemble, shots, None, seed)
            value, deviation, *_ = _native.estimate_gradient(snaps, self.native.observables, "mean", 1, None)
            slopes, stderr = value[self.n_observables :], deviation[self.n_observables :]
        else:
            slopes, stderr = self.native.simulate(self.row.name, shots, seed, settings, step)
        return Simulated(self._shaped(slopes), self._shaped(stderr), shots)

    def _through(
        self, chain: Chain, shots: int, seed: int, settings: int | None, step: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        if self.is_drawn:
            ensemble, sums = self.native.ensemble(self.row.name), self.native.observables
            return chain.estimated(ensemble, sums, simulate(self.circuit), shots, seed)
        runs = self.allocated(shots, seed, settings, step)
        key = seed if settings is None else (seed, step)
        return chain.simulated(runs, self.n_observables, self._prepared(), key)

    def _prepared(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the angles and the Bloch vectors that the prepared state follows from."""
        if self.circuit.bloch is None:
            raise InvalidInputError.of("circuit", "a product input state", "another one")
        return self.circuit._theta, self.circuit.bloch

    def _shaped(self, found: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.asarray(found).reshape(self.n_observables, self.circuit.n_parameters)
