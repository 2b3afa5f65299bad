"""The chain rule from the parameters of a circuit to what they are computed from.

A parameter may be an argument times a factor, several may be the same argument, and one may depend on
many. The derivatives that count are those by the arguments: combinations of the derivatives by parameters,
covariances included.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core import _native
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError, ShapeError
from efl_core.observables import PauliSum

__all__ = ["Chain"]

# Least weight of a parameter in a design, of the largest: its derivative is measured in any case.
LEAST_WEIGHT = 1e-6


@dataclass(frozen=True, eq=False)
class Chain:
    """The slopes of the parameters of a circuit by arguments."""

    slopes: NDArray[np.float64]
    """Shape ``(n_parameters, n_arguments)``."""
    pattern: NDArray[np.bool_]
    """Which arguments a parameter depends on; those of `compact` slopes are other ones."""

    @staticmethod
    def of(slopes: ArrayLike, n_parameters: int) -> "Chain | None":
        """Return the chain rule of these slopes; None where every parameter is an argument by itself."""
        table = np.ascontiguousarray(slopes, dtype=np.float64)
        if table.ndim != 2 or len(table) != n_parameters:
            raise ShapeError.of("slopes", f"shape ({n_parameters}, arguments)", table.shape)
        if not np.isfinite(table).all():
            raise InvalidInputError.of("slopes", "finite slopes of the parameters", "some that are not")
        used = np.count_nonzero(table, axis=0)
        alone = (used <= 1).all() and (np.abs(table).sum(axis=1) == 1).all()
        return None if alone and (np.abs(table[table != 0]) == 1).all() else Chain(table, table != 0)

    @cached_property
    def is_shared(self) -> bool:
        """Whether some argument feeds several parameters, so that covariances count."""
        return bool((np.count_nonzero(self.slopes, axis=0) > 1).any())

    @cached_property
    def compact(self) -> "Chain":
        """The same sum of variances, by no more arguments than there are parameters."""
        if self.slopes.shape[1] <= self.slopes.shape[0]:
            return self
        values, vectors = np.linalg.eigh(self.slopes @ self.slopes.T)
        return Chain(np.ascontiguousarray(vectors * np.sqrt(np.maximum(values, 0))), self.pattern)

    @cached_property
    def squares(self) -> NDArray[np.float64]:
        """How much the variance of each parameter's derivative counts."""
        found: NDArray[np.float64] = np.square(self.slopes).sum(axis=1)
        return found

    def live(self, moving: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which derivatives by arguments may move, given those by parameters; observables lead."""
        found: NDArray[np.bool_] = (moving.astype(np.float64) @ self.pattern) > 0
        return found

    def weights(self, goal: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Return what parameters weigh in a design, given what arguments do; None if equal."""
        found: NDArray[np.float64] = goal @ np.square(self.slopes).T
        most = found.max(initial=0.0)
        if most == 0 or np.allclose(found, most):
            return None
        return np.ravel(np.maximum(found / most, LEAST_WEIGHT))

    def of_experiments(
        self,
        runs: Sequence[tuple[_native.Experiment, float]],
        n_observables: int,
        prepared: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None,
    ) -> NDArray[np.float64]:
        """Return the variances by arguments from experiments with their shots; observables lead.

        On the maximally mixed state, or on the one that is prepared by these angles from these Bloch vectors.
        """
        found = _native.chained(runs, self.slopes, n_observables, prepared)
        return found.reshape(n_observables, -1)

    def observables(self, found: _native.GradientObservables) -> list[PauliSum]:
        """Return the sums of the derivatives by arguments, observable by observable."""
        first, count = found.n_observables, found.n_parameters

        def combined(o: int, slopes: NDArray[np.float64]) -> PauliSum:
            used = np.flatnonzero(slopes)
            parts = (found.row(first + o * count + int(k)) * float(slopes[k]) for k in used)
            return sum(parts, 0 * found.row(o))

        return [combined(o, own) for o in range(first) for own in self.slopes.T]

    def of_ensemble(
        self,
        ensemble: Ensemble,
        observables: _native.GradientObservables,
        state: NDArray[np.complex128] | None = None,
    ) -> NDArray[np.float64]:
        """Return the variances of one shot in settings that are drawn, on average or on a state."""
        sums = self.observables(observables)
        found = [float(ensemble.predicted_variance(sum, state)) if len(sum) else 0.0 for sum in sums]
        return np.array(found).reshape(observables.n_observables, -1)

    def estimated(
        self,
        ensemble: Ensemble,
        observables: _native.GradientObservables,
        state: NDArray[np.complex128],
        shots: int,
        seed: int,
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return derivatives by arguments and their standard errors, from snapshots of a state."""
        snaps = _native.sample(state, ensemble, shots, None, seed)
        compiled, _ = _native.Observables.read(self.observables(observables), observables.n_qubits)
        value, deviation, *_ = _native.estimate(snaps, compiled, "mean", 1, None)
        first = observables.n_observables
        return value.reshape(first, -1), deviation.reshape(first, -1)

    def simulated(
        self,
        runs: Sequence[tuple[_native.Experiment, int]],
        n_observables: int,
        prepared: tuple[NDArray[np.float64], NDArray[np.float64]],
        seed: int | tuple[int, int],
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return derivatives by arguments and their standard errors, from simulated experiments."""
        seeds = np.random.SeedSequence(seed).generate_state(len(runs), np.uint64)
        wanted = [(run, shots, int(own)) for (run, shots), own in zip(runs, seeds, strict=True)]
        bits = _native.simulated(wanted, *prepared)
        counted = _native.Outcomes.count([(run, own) for (run, _), own in zip(runs, bits, strict=True)])
        slopes, _ = _native.read_together(counted, n_observables * len(self.slopes))
        rows = np.ascontiguousarray(np.kron(np.eye(n_observables), self.slopes.T), dtype=np.float64)
        variances = _native.read_combined(counted, rows).reshape(n_observables, -1)
        return slopes.reshape(n_observables, -1) @ self.slopes, np.sqrt(variances)

    def of_parameters(self, variances: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the variances by arguments that feed no more than one parameter each."""
        return variances @ np.square(self.slopes)
