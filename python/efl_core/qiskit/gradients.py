"""Gradients of expectation values with the interface of Qiskit's estimator gradients.

A `ShadowEstimatorGradient` stands where a ``ParamShiftEstimatorGradient`` of qiskit-algorithms or
qiskit-machine-learning does (VQE, ``EstimatorQNN``, ``TorchConnector``), and runs on a sampler instead of an
estimator: what is measured is planned for each circuit, and all of it is one job.

Observables of one circuit at the same values are measured together.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, SupportsFloat, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from qiskit import QuantumCircuit
from qiskit.circuit import Parameter
from qiskit.primitives import BasePrimitiveJob, BaseSamplerV2
from qiskit.quantum_info import SparseObservable
from qiskit.quantum_info.operators.base_operator import BaseOperator

from efl_core._native import METHODS
from efl_core.arguments import array, described, integer, listed, real
from efl_core.designs import Connectivity, read_connectivity
from efl_core.errors import InputTypeError, InvalidInputError, ShapeError
from efl_core.plans import Cost
from efl_core.qiskit.circuits import Reading, check_circuit, read_circuit
from efl_core.qiskit.measuring import Asked, Planner, Task
from efl_core.qiskit.observables import pauli_sum
from efl_core.qiskit.submission import Circuits, submission, taken

__all__ = ["GradientJob", "GradientResult", "ShadowEstimatorGradient"]

Vector: TypeAlias = NDArray[np.float64]
Observable: TypeAlias = BaseOperator | SparseObservable
# That of Qiskit's own estimators.
PRECISION = 1 / 64
# Outcomes that one job may have, in bits; each takes about three bytes on the way.
MAX_BITS = 2**31


@dataclass(frozen=True, slots=True, eq=False)
class GradientResult:
    """Gradients in the order of the circuits that were handed over."""

    gradients: list[Vector]
    """The derivatives by the parameters asked for, in their order."""
    stderrs: list[Vector]
    """Their standard errors."""
    values: list[float] | None
    """The expectation values, where they were asked for."""
    value_stderrs: list[float] | None
    """Their standard errors."""
    metadata: list[dict[str, Any]]
    """Of each: the ``parameters``, the ``method``, and the ``shots`` and ``settings`` that it shared with
    other observables of the same circuit and values."""
    precision: float | list[float] | None
    """The RMS errors of the derivatives that were asked for; None where there were shots."""
    shots: int
    """Shots in all."""


class GradientJob(BasePrimitiveJob[GradientResult, Any]):  # type: ignore[misc] # Qiskit is not read
    """Gradients that are being measured: the one job of a sampler."""

    def __init__(
        self,
        job: BasePrimitiveJob[Any, Any] | None,
        tasks: Sequence[Task],
        places: Sequence[Sequence[int]],
        owners: Sequence[tuple[int, int, Sequence[Parameter]]],
        precision: float | list[float] | None,
    ) -> None:
        super().__init__("none" if job is None else job.job_id())
        self._job, self._tasks, self._places = job, tasks, places
        self._owners, self._precision = owners, precision
        self._found: GradientResult | None = None

    @property
    def sampler_job(self) -> BasePrimitiveJob[Any, Any] | None:
        """The job of the sampler; None where every derivative is known to be zero."""
        return self._job

    def result(self) -> GradientResult:
        """Wait for the sampler, and return the gradients."""
        if self._found is None:
            self._found = self._read()
        return self._found

    def _read(self) -> GradientResult:
        runs = [run for task in self._tasks for run in task.runs]
        bits = [] if self._job is None else taken(self._job.result(), self._places, runs)
        rest = iter(bits)
        found = [task.read([next(rest) for _ in task.runs]) for task in self._tasks]
        counts = [sum(run.shots for run in task.runs) for task in self._tasks]
        own = [(found[t], row) for t, row, _ in self._owners]
        has_values = bool(own) and own[0][0].value is not None
        return GradientResult(
            gradients=[task.gradient[row] for task, row in own],
            stderrs=[task.stderr[row] for task, row in own],
            values=[float(task.value[row]) for task, row in own if task.value is not None]
            if has_values
            else None,
            value_stderrs=[
                float(task.value_stderr[row]) for task, row in own if task.value_stderr is not None
            ]
            if has_values
            else None,
            metadata=[
                {
                    "parameters": list(parameters),
                    "method": self._tasks[t].method,
                    "shots": counts[t],
                    "settings": len(self._tasks[t].runs),
                }
                for t, _, parameters in self._owners
            ],
            precision=self._precision,
            shots=sum(counts),
        )

    def status(self) -> Any:  # noqa: ANN401 (what the sampler says)
        """Return the status of the sampler's job."""
        return "DONE" if self._job is None else self._job.status()

    def done(self) -> bool:
        """Return whether it has run."""
        return self._job is None or bool(self._job.done())

    def running(self) -> bool:
        """Return whether it is running."""
        return self._job is not None and bool(self._job.running())

    def cancelled(self) -> bool:
        """Return whether it was cancelled."""
        return self._job is not None and bool(self._job.cancelled())

    def in_final_state(self) -> bool:
        """Return whether it has ended."""
        return self._job is None or bool(self._job.in_final_state())

    def cancel(self) -> Any:  # noqa: ANN401 (what the sampler says)
        """Ask the sampler to give up."""
        return None if self._job is None else self._job.cancel()


class ShadowEstimatorGradient:
    """Gradients by measurements that are designed for each circuit, on any sampler.

    Parameters
    ----------
    sampler
        A ``BaseSamplerV2``: Qiskit's own, Aer's, IBM's runtime. A call of `run` is one job of it.
    precision
        RMS error of the derivatives of each circuit that are not identically zero; 1/64 if neither it nor
        shots are given.
    shots
        Instead: shots for all derivatives of the observables of a circuit at the same values.
    method
        A row of `efl.plan` that has a list of settings; ``"auto"`` takes the best.
    connectivity
        Two-qubit gates of settings: ``"all"``, ``"line"`` or ``"none"``.
    cost
        An `efl.Cost`: what a circuit and a shot take, if not only shots count.
    values
        Whether expectation values are measured too.
    seed
        Decides how shots are rounded; samplers have seeds of their own.
    pass_manager
        What has a ``run`` that makes a circuit fit the device. Circuits keep their parameters, so each
        structure is transpiled once.

    Angles may be any expressions of parameters. Where some are not differentiated by, such as inputs of a
    model, a plan holds for all their values.

    Examples
    --------
    >>> from qiskit.circuit.library import real_amplitudes
    >>> from qiskit.primitives import StatevectorSampler
    >>> from qiskit.quantum_info import SparsePauliOp
    >>> from efl_core.qiskit import ShadowEstimatorGradient
    >>> gradient = ShadowEstimatorGradient(StatevectorSampler(seed=1), shots=20_000, seed=1)
    >>> circuit, energy = real_amplitudes(2, reps=1), SparsePauliOp(["ZZ", "XI"], [1.0, 0.5])
    >>> found = gradient.run([circuit], [energy], [[0.1, 0.2, 0.3, 0.4]]).result()
    >>> found.gradients[0].shape, found.shots <= 20_000, bool(found.stderrs[0].max() < 0.02)
    ((4,), True, True)
    """

    def __init__(
        self,
        sampler: BaseSamplerV2,
        precision: SupportsFloat | None = None,
        *,
        shots: SupportsIndex | None = None,
        method: str = "auto",
        connectivity: Connectivity = "all",
        cost: Cost | None = None,
        values: bool = False,
        seed: SupportsIndex | None = None,
        pass_manager: Any = None,  # noqa: ANN401 (anything that has run)
    ) -> None:
        if not isinstance(sampler, BaseSamplerV2):
            raise InputTypeError.of("sampler", "a BaseSamplerV2", described(sampler))
        if method != "auto" and method not in METHODS:
            raise InvalidInputError.of("method", f"'auto' or one of {', '.join(METHODS)}", described(method))
        if pass_manager is not None and not callable(getattr(pass_manager, "run", None)):
            raise InputTypeError.of("pass_manager", "something with run(circuit)", described(pass_manager))
        read_connectivity(connectivity)
        number = None if seed is None else integer("seed", seed, 0, 2**64 - 1)
        self._sampler = sampler
        self._precision, self._shots = _errors_or_shots(precision, shots)
        self._planner = Planner(method, connectivity, cost, bool(values), number)
        self._circuits = Circuits(None if pass_manager is None else pass_manager.run)

    @property
    def precision(self) -> float | None:
        """The RMS error of derivatives, if one was given."""
        return self._precision

    @precision.setter
    def precision(self, precision: SupportsFloat) -> None:
        self._precision, self._shots = _errors_or_shots(precision, None)

    @property
    def shots(self) -> int | None:
        """The shots for a circuit, if they were given."""
        return self._shots

    @property
    def n_circuits(self) -> int:
        """How many different circuits were made, and transpiled, so far."""
        return len(self._circuits)

    def run(
        self,
        circuits: QuantumCircuit | Sequence[QuantumCircuit],
        observables: Observable | Sequence[Observable],
        parameter_values: ArrayLike | Sequence[Sequence[float]],
        parameters: Sequence[Sequence[Parameter] | None] | None = None,
        *,
        precision: SupportsFloat | Sequence[SupportsFloat] | None = None,
        shots: SupportsIndex | None = None,
    ) -> GradientJob:
        """Submit the measurement of gradients: of each observable, of the circuit with its values.

        Parameters
        ----------
        circuits, observables
            As many of one as of the other.
        parameter_values
            For each circuit the values of its parameters, in the order of ``circuit.parameters``.
        parameters
            For each circuit what to differentiate by; None for all of its parameters.
        precision, shots
            Instead of those of the object; a precision for all circuits, or one for each.
        """
        made = (
            [circuits] if isinstance(circuits, QuantumCircuit) else listed("circuits", circuits, "circuits")
        )
        single = isinstance(observables, (BaseOperator, SparseObservable))
        given = [observables] if single else listed("observables", observables, "observables")
        rows = listed("parameter_values", parameter_values, "a row of numbers for each circuit")
        chosen = [None] * len(made) if parameters is None else listed("parameters", parameters, "lists")
        for name, own in (("observables", given), ("parameter_values", rows), ("parameters", chosen)):
            if len(own) != len(made):
                raise ShapeError.of(name, f"{len(made)}, one for each circuit", len(own))
        wanted, errors, count = self._wanted(len(made), precision, shots)
        asked, owners = _grouped(made, given, rows, chosen, errors, count)
        tasks = [self._planner.task(own) for own in asked]
        runs = [run for task in tasks for run in task.runs]
        bits = sum(run.shots * run.setting.n_qubits for run in runs)
        if bits > MAX_BITS:
            expected = f"at most {MAX_BITS:,} bits in one job, which are held in memory"
            raise InvalidInputError.of("shots" if count else "precision", expected, f"{bits:,}")
        pubs, places = submission(runs, self._circuits)
        job = self._sampler.run(pubs) if pubs else None
        return GradientJob(job, tasks, places, owners, wanted)

    def _wanted(
        self, n: int, precision: SupportsFloat | Sequence[SupportsFloat] | None, shots: SupportsIndex | None
    ) -> tuple[float | list[float] | None, list[float | None], int | None]:
        """Return the precision that a result repeats, that of every circuit, and the shots."""
        if isinstance(precision, (list, tuple, np.ndarray)):
            if len(precision) != n:
                raise ShapeError.of("precision", f"{n}, one for each circuit", len(precision))
            each = [_errors_or_shots(own, shots)[0] for own in precision]
            return [own for own in each if own is not None], list(each), None
        if precision is None and shots is None:
            error, count = self._precision, self._shots
        else:
            error, count = _errors_or_shots(precision, shots)  # type: ignore[arg-type] # no sequence
        if error is None and count is None:
            error = PRECISION
        return error, [error] * n, count


def _errors_or_shots(
    precision: SupportsFloat | None, shots: SupportsIndex | None
) -> tuple[float | None, int | None]:
    if precision is not None and shots is not None:
        raise InvalidInputError.of("shots", "none beside a precision", shots)
    if shots is not None:
        return None, integer("shots", shots, 1)
    if precision is None:
        return None, None
    found = real("precision", precision)
    if not 0 < found < np.inf:
        raise InvalidInputError.of("precision", "a number above zero", found)
    return found, None


def _grouped(
    circuits: Sequence[Any],
    observables: Sequence[Any],
    rows: Sequence[Any],
    chosen: Sequence[Any],
    errors: Sequence[float | None],
    shots: int | None,
) -> tuple[list[Asked], list[tuple[int, int, Sequence[Parameter]]]]:
    """Return what is measured together; and of each circuit its place there, its row and its parameters."""
    readings: dict[tuple[int, tuple[Parameter, ...]], Reading] = {}
    groups: dict[tuple[Any, ...], list[Any]] = {}
    owners: list[tuple[int, int, Sequence[Parameter]]] = []
    places: dict[tuple[Any, ...], int] = {}
    for i, circuit in enumerate(circuits):
        check_circuit(circuit, f"circuits[{i}]")
        trained = _trained(i, circuit, chosen[i])
        values = _values(i, circuit, rows[i])
        if (id(circuit), trained) not in readings:
            readings[id(circuit), trained] = read_circuit(circuit, trained)
        key = (id(circuit), trained, values, errors[i])
        own = groups.setdefault(key, [])
        owners.append((places.setdefault(key, len(places)), len(own), trained))
        own.append((circuit, pauli_sum(observables[i], circuit.num_qubits, f"observables[{i}]")))
    asked = [
        Asked(own[0][0], readings[identity, trained], values, tuple(o for _, o in own), error, shots)
        for (identity, trained, values, error), own in groups.items()
    ]
    return asked, owners


def _trained(i: int, circuit: QuantumCircuit, chosen: Any) -> tuple[Parameter, ...]:  # noqa: ANN401
    if not circuit.num_parameters:
        raise InvalidInputError.of(f"circuits[{i}]", "a circuit with parameters", "one without")
    if chosen is None:
        return tuple(circuit.parameters)
    trained = tuple(listed(f"parameters[{i}]", chosen, "parameters of the circuit"))
    other = next((p for p in trained if p not in circuit.parameters), None)
    if other is not None:
        raise InvalidInputError.of(f"parameters[{i}]", "parameters of the circuit", described(other))
    if len(set(trained)) < len(trained):
        raise InvalidInputError.of(f"parameters[{i}]", "each parameter once", "one of them twice")
    return trained


def _values(i: int, circuit: QuantumCircuit, row: Any) -> tuple[float, ...]:  # noqa: ANN401
    name = f"parameter_values[{i}]"
    found = array(name, row, "real numbers")
    if found.shape != (circuit.num_parameters,):
        raise ShapeError.of(name, f"{circuit.num_parameters} values", f"shape {found.shape}")
    if found.dtype.kind == "c" or not np.isfinite(found).all():
        raise InvalidInputError.of(name, "finite real numbers", described(row))
    return tuple(float(value) for value in found)
