"""What is run for a gradient, and what outcomes say of it.

Circuits with the same gates are planned once, at angles of their own; a gradient starts from that plan, at
its angles and through its chain rule. Values are read in settings of their own, and in all others that
measure the circuit itself.
"""

import math
import pickle
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter

from efl_core import _native
from efl_core.chains import Chain
from efl_core.circuits import Circuit
from efl_core.designs import Connectivity
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.estimates import estimate
from efl_core.experiments import Experiment
from efl_core.observables import PauliSum
from efl_core.plans import Cost, Plan, PlanOptions, PlanRow, made_plan, preferred
from efl_core.qiskit.circuits import Reading
from efl_core.qiskit.submission import Bits, Run, Served, Written, rounded
from efl_core.snapshots import Snapshots

__all__ = ["Asked", "Found", "Planner", "Task"]

Table = NDArray[np.float64]
# What is within this factor of the best may be better at other angles.
NEAR = 1.1
# Plans that are kept, of circuits and of values.
KEPT = 64


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """Derivatives of some observables of one circuit, at values of its parameters."""

    circuit: QuantumCircuit
    reading: Reading
    values: tuple[float, ...]
    """Of the circuit's parameters, in Qiskit's order."""
    sums: tuple[PauliSum, ...]
    precision: float | None
    """RMS error of the derivatives; or else the shots."""
    shots: int | None


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What was measured: a row for each observable."""

    gradient: Table
    stderr: Table
    value: Table | None
    value_stderr: Table | None


@dataclass(frozen=True, slots=True, eq=False)
class Task:
    """Runs, and how their outcomes are read."""

    asked: Asked
    method: str
    slopes: Table
    """Of the circuit's angles by the parameters that are differentiated by."""
    experiments: tuple[Experiment, ...]
    gradient_runs: tuple[Run, ...]
    """One for each experiment."""
    value_runs: tuple[Run, ...]
    has_values: bool

    @property
    def runs(self) -> list[Run]:
        """What is run."""
        return [*self.gradient_runs, *self.value_runs]

    def read(self, outcomes: Sequence[Bits]) -> Found:
        """Return what the outcomes of the runs say."""
        rows, (angles, arguments) = len(self.asked.sums), self.slopes.shape
        gradient, stderr = np.zeros((rows, arguments)), np.zeros((rows, arguments))
        if self.experiments:
            pairs = zip(self.experiments, outcomes, strict=False)
            counted = _native.Outcomes.count([(experiment._native, bits) for experiment, bits in pairs])
            means, _ = _native.read_together(counted, rows * angles)
            gradient = means.reshape(rows, angles) @ self.slopes
            combined = np.ascontiguousarray(np.kron(np.eye(rows), self.slopes.T))
            stderr = np.sqrt(_native.read_combined(counted, combined)).reshape(rows, arguments)
        value = self._values(outcomes) if self.has_values else (None, None)
        return Found(gradient, stderr, *value)

    def _values(self, outcomes: Sequence[Bits]) -> tuple[Table, Table]:
        served = [
            (run.setting, bits)
            for run, bits in zip(self.runs, outcomes, strict=True)
            if isinstance(run.body, Served)
        ]
        if not served:  # multiples of the identity
            value = np.array([float(own.coefficients.sum()) for own in self.asked.sums])
            return value, np.zeros(len(value))
        counts = np.array([len(bits) for _, bits in served])
        ensemble = Ensemble.settings([setting for setting, _ in served], counts / counts.sum())
        which = np.repeat(np.arange(len(served)), counts)
        snaps = Snapshots.from_settings(
            np.concatenate([bits for _, bits in served]), which, ensemble=ensemble, allocated=True
        )
        found = estimate(snaps, self.asked.sums, combine="hit_normalised")
        return np.asarray(found.value), np.asarray(found.stderr)


class Planner:
    """Plans gradients by one method, or by the best of each circuit."""

    def __init__(
        self, method: str, connectivity: Connectivity, cost: Cost | None, values: bool, seed: int | None
    ) -> None:
        self._method, self._values, self._cost = method, values, cost
        self._options = PlanOptions(connectivity=connectivity, cost=cost)
        self._random = np.random.default_rng(seed)
        # Pickled circuits are keys: equal gates are equal bytes.
        self._plan = lru_cache(KEPT)(self._planned)
        self._value_plan = lru_cache(KEPT)(_planned_values)

    def task(self, asked: Asked) -> Task:
        """Plan what is asked, and share its shots."""
        parameters: list[Parameter] = list(asked.circuit.parameters)
        circuit, slopes = asked.reading.at(dict(zip(parameters, asked.values, strict=True)))
        key = pickle.dumps((asked.reading.circuit, asked.sums))
        served = Served(asked.circuit, key, asked.values)
        for_gradient, for_values = self._shots(asked, key, circuit, slopes)
        experiments: tuple[Experiment, ...] = ()
        gradient_runs: tuple[Run, ...] = ()
        method = "none"
        if for_gradient:
            found, row, shots = for_gradient
            method = row.name
            allocated = found.allocate(shots, method, seed=int(self._random.integers(2**63)))
            experiments = tuple(experiment for experiment, _ in allocated)
            elsewhere = circuit._theta + 0.1 + np.arange(len(circuit._theta)) % 7
            bodies = [served if own.served else Written.of(own, elsewhere) for own in experiments]
            counts = rounded([count for _, count in allocated])
            gradient_runs = tuple(
                Run(body, own.setting, count)
                for body, own, count in zip(bodies, experiments, counts, strict=True)
            )
        value_runs: tuple[Run, ...] = ()
        if for_values:
            found, _, shots = for_values
            allocated = found.allocate(shots, "product", seed=int(self._random.integers(2**63)))
            counts = rounded([count for _, count in allocated])
            value_runs = tuple(
                Run(served, own.setting, count) for (own, _), count in zip(allocated, counts, strict=True)
            )
        return Task(asked, method, slopes, experiments, gradient_runs, value_runs, self._values)

    def _shots(
        self, asked: Asked, key: bytes, circuit: Circuit, slopes: Table
    ) -> "tuple[tuple[Plan, PlanRow, int] | None, tuple[Plan, PlanRow, int] | None]":
        """Return plans of the derivatives and of the values, each with its method and shots."""
        values = self._value_plan(asked.sums[0].n_qubits, pickle.dumps(asked.sums)) if self._values else None
        own = None if values is None or not values[1].settings else values
        least = 0 if own is None else own[1].settings or 0
        part = 0
        chosen = None
        if circuit.n_parameters and slopes.any():
            chain = Chain.of(slopes, len(slopes))
            most = math.inf if asked.shots is None else asked.shots - least
            chosen = self._chosen(key, circuit, None if chain is None else chain.compact, most)
            chosen = chosen if chosen[1].cost > 0 else None
        if own is not None:
            plan, row, cost = own
            if asked.shots is None:
                assert asked.precision is not None
                part = max(math.ceil(cost / asked.precision**2), least)
            elif chosen is None:
                part = asked.shots
            else:  # the values get the error of the derivatives
                part = max(round(asked.shots * cost / (cost + chosen[1].cost)), least)
                part = min(part, asked.shots - (chosen[1].settings or 1))
            own = plan, row, part
        if chosen is None:
            return None, own
        found, row = chosen
        if asked.shots is None:
            assert asked.precision is not None
            shots = max(math.ceil(row.cost / asked.precision**2), row.settings or 1)
        else:
            shots = asked.shots - part
        return (found, row, shots), own

    def _chosen(self, key: bytes, circuit: Circuit, chain: Chain | None, most: float) -> tuple[Plan, PlanRow]:
        """Return the method that is run, of those that have a list of settings."""

        def figure(row: PlanRow) -> float:
            if self._cost is None or not self._cost.circuit:
                return row.cost
            shots = row.cost / self._options.target**2 if math.isinf(most) else most
            time = self._cost.of(row.settings or 1, shots)
            return time if math.isinf(most) else time * row.cost

        base = self._plan(key, None)
        found, row = self._best(base, circuit, chain, figure)
        if (row.settings or 0) <= most:
            return found, row
        expected = f"at least {row.settings}, one for every circuit and setting"
        try:
            base = self._plan(key, max(int(most), 1))
        except InvalidInputError as error:
            if error.argument != "max_settings":
                raise
            raise InvalidInputError.of("shots", expected, f"{most:g}") from error
        found, row = self._best(base, circuit, chain, figure)
        if (row.settings or 0) > most:
            raise InvalidInputError.of("shots", expected, f"{most:g}")
        return found, row

    def _best(
        self, base: Plan, circuit: Circuit, chain: Chain | None, figure: Callable[[PlanRow], float]
    ) -> tuple[Plan, PlanRow]:
        seen = base.seen_through(chain)
        lists = {row.name: row for row in seen if row.applies and row.settings is not None}
        if self._method != "auto":
            if self._method not in lists:
                raise InvalidInputError.of(
                    "method",
                    f"one that has a list of settings for this circuit, {', '.join(lists)}",
                    f"{self._method!r} ({base[self._method].note or 'it draws a setting for every shot'})",
                )
            found = base.through(chain, circuit, [self._method])
            return found, found[self._method]
        least = min(figure(row) for row in lists.values())
        names = [name for name, row in lists.items() if figure(row) <= NEAR * least or name == "mixture"]
        found = base.through(chain, circuit, names)
        return found, preferred((row for row in found if row.applies and row.settings is not None), figure)

    def _planned(self, key: bytes, max_settings: int | None) -> Plan:
        """Return the plan of circuits with the same gates, at angles that do not depend on who asks first."""
        circuit, sums = pickle.loads(key)
        random = np.random.default_rng(0)
        angles = random.uniform(-np.pi, np.pi, circuit.n_parameters)
        elsewhere = circuit.at(angles, random.uniform(-np.pi, np.pi, len(circuit.inputs)))
        options = replace(self._options, max_settings=max_settings)
        return made_plan(elsewhere, sums, options, of_qnode=False)


def _planned_values(n_qubits: int, sums: bytes) -> tuple[Plan, PlanRow, float]:
    """Return product settings for sums, and the variance of one shot, averaged over them."""
    wanted = pickle.loads(sums)
    options = PlanOptions(value_weight=1.0, connectivity="none")
    found = made_plan(Circuit(n_qubits).prepare(None), wanted, options, of_qnode=False)
    row = found["product"]
    cost = float(np.mean(found.ensemble("product").predicted_variance(wanted))) if row.settings else 0.0
    return found, row, cost
