"""The device ``efl.fleet``: value and Jacobian of a QNode from one submission to the device inside.

A tape of expectation values becomes what its values, and its gradient when that is asked for, are read from.
Any other tape runs on the device inside as it is.

Invariant: a batch of tapes is one submission. A forward pass that nobody differentiates measures values only.
Cost: planning once for each structure of a circuit; then what the plan says, and reading the outcomes.
"""

import math
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from operator import itemgetter
from typing import Any, Literal

import numpy as np
import pennylane as qml
from autograd.numpy.numpy_boxes import ArrayBox
from numpy.typing import NDArray
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking, single_tape_support
from pennylane.devices.preprocess import validate_device_wires, validate_measurements
from pennylane.measurements import (
    ClassicalShadowMP,
    ExpectationMP,
    MeasurementProcess,
    ProbabilityMP,
    SampleMeasurement,
    ShadowExpvalMP,
    Shots,
    StateMeasurement,
    VarianceMP,
)
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline

from efl_core.arguments import described, real
from efl_core.calibrations import Calibration
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.pennylane.audits import Audit
from efl_core.pennylane.caches import Cache
from efl_core.pennylane.calling import Found, find_tapes
from efl_core.pennylane.differentiated import slopes_of
from efl_core.pennylane.jobs.gradient import gradient_job
from efl_core.pennylane.jobs.steps import Numbering
from efl_core.pennylane.jobs.values import value_job
from efl_core.pennylane.noise import NoiseLike
from efl_core.pennylane.options import Options, check_names
from efl_core.pennylane.reports import Sink
from efl_core.pennylane.tapes.conversion import converted
from efl_core.pennylane.tapes.operations import MEASURED_MIDWAY
from efl_core.pennylane.tapes.outputs import DRAWN, Output, Outputs, n_outcomes
from efl_core.pennylane.tapes.projectors import has_projector
from efl_core.pennylane.transforms import deferred, expand, nested

__all__ = ["FleetDevice"]

Batch = Sequence[QuantumScript]
Job = tuple[list[QuantumScript], Callable[[Sequence[Any]], tuple[Any, Any]]]
"""Tapes for the inner device, and what takes their results to a result and a Jacobian."""

OTHER_GRADIENT = (
    'write diff_method="parameter-shift", or "finite-diff" for a function of the state that is no '
    "expectation value, which run on this device as on the one that it wraps"
)


@simulator_tracking
@single_tape_support
class FleetDevice(Device):  # type: ignore[misc] # PennyLane ships no types
    """The device ``efl.fleet``: value and Jacobian of a QNode from one submission to the device inside.

    It is one device in one process, for one who trains. Replicas that serve, and a learner apart from them,
    are those of `efl_core.fleet`.

    Parameters
    ----------
    inner
        The device that runs the circuits: any PennyLane device, or the name of one, which is then made with
        ``wires``.
    wires
        Wires of a device that is given by its name.
    shots
        Shots of one tape, for its values and its gradient together. A QNode's own shots go first.
    seed
        Seed of what is random here: how shots are rounded, and the outcomes where a state vector is sampled.
    method
        How gradients are measured: a name in the table of ``efl.plan``, or ``"auto"`` for the best one.
    target
        In place of ``shots``: the root-mean-square error of the derivatives, as in ``efl.shadow_grad``.
    value_target
        In place of ``shots``: the root-mean-square error of the values; ``target`` by default.
    settings_per_step
        Settings of every gradient, as in ``efl.shadow_grad``. Values that are measured with it keep all
        settings of their own: fewer shots than those and one draw take are an error.
    device_options
        How settings reach the inner device, as in ``efl.shadow_grad``.
    report
        A list or a function that is handed a `Report` for every measured Jacobian, one for each tape.
    noise, calibration, mitigate, audit
        As in ``efl.shadow_grad``. Values are those of the noisy circuit, readout errors divided out.

    ``expval``, ``var`` and ``probs`` (of at most 8 wires) are measured in settings that are designed for
    them. Probabilities are estimates as all values are, and may be a little below zero. Samples and counts
    beside them are a tape more of the same submission. Anything else (states, or samples alone) runs on the
    inner device as usual and has no device gradient.

    Examples
    --------
    >>> import pennylane as qml
    >>> from pennylane import numpy as pnp
    >>> inner = qml.device("default.qubit", wires=2)
    >>> @qml.qnode(qml.device("efl.fleet", inner, shots=20_000, seed=1))
    ... def model(theta):
    ...     qml.RY(theta, wires=0)
    ...     qml.CNOT(wires=[0, 1])
    ...     return qml.expval(qml.Z(1))
    >>> theta = pnp.array(0.5, requires_grad=True)
    >>> with qml.Tracker(inner) as tracker:
    ...     slope = qml.grad(model)(theta)
    >>> bool(abs(slope + np.sin(0.5)) < 0.05), tracker.totals["batches"]
    (True, 1)
    """

    def __init__(
        self,
        inner: Any = None,  # noqa: ANN401 (new and legacy devices have no common base)
        wires: Any = None,  # noqa: ANN401
        *,
        shots: Any = None,  # noqa: ANN401
        seed: int | None = None,
        method: str = "auto",
        target: float | None = None,
        value_target: float | None = None,
        settings_per_step: int | Literal["auto"] | None = None,
        device_options: dict[str, Any] | None = None,
        report: Sink | None = None,
        noise: NoiseLike | None = None,
        calibration: Calibration | None = None,
        mitigate: bool = False,
        audit: Audit | float | None = None,
        **others: Any,  # noqa: ANN401 (refused by name)
    ) -> None:
        check_names(others)
        self._inner = _inner(inner, wires)
        super().__init__(wires=self._inner.wires)
        # Device(shots=...) is deprecated, but a default for QNodes is what the argument means here.
        self._shots = _shots(shots)
        if self._shots and (target is not None or value_target is not None):
            raise InvalidInputError("shots: expected either shots, or target and value_target, got both")
        given = {
            "target": target,
            "method": method,
            "settings_per_step": settings_per_step,
            "seed": seed,
            "device_options": device_options,
            "report": report,
            "noise": noise,
            "calibration": calibration,
            "mitigate": mitigate or None,
            "audit": audit,
        }
        self._options = Options.read(given)
        if self._options.device is not None:
            raise InvalidInputError(
                "device_options: expected no device, as it is the first argument, got one"
            )
        self._value_target = self._options.target if value_target is None else _positive(value_target)
        if self._options.settings_per_step is not None and self._value_target is not None:
            raise InvalidInputError(
                "settings_per_step: expected shots beside it, which values share, got value_target"
            )
        self._numbering = Numbering(Cache(128), self._options.seed, repeats=False)
        self._random = np.random.default_rng(self._options.seed)
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """``"efl.fleet"``."""
        return "efl.fleet"

    @property
    def inner(self) -> Device:
        """The device that runs the circuits."""
        return self._inner

    # ---- what PennyLane asks before it runs anything ----------------------------------------------

    def supports_derivatives(
        self, execution_config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> bool:
        """Whether ``diff_method="device"`` (or ``"best"``) means this device: first derivatives."""
        if execution_config is None:
            return True
        wanted = execution_config.gradient_method in ("device", "best")
        return wanted and execution_config.derivative_order == 1

    supports_vjp = supports_derivatives

    def setup_execution_config(
        self, config: ExecutionConfig | None = None, circuit: QuantumScript | None = None
    ) -> ExecutionConfig:
        """Decide, where the user does not, that gradients are the device's and measured with the values."""
        config = config or ExecutionConfig()
        if not self.supports_derivatives(config, circuit):
            return config
        at_once = config.grad_on_execution
        if config.interface in (qml.math.Interface.JAX, qml.math.Interface.JAX_JIT):
            at_once = False  # JAX says by itself when it wants both
        elif at_once is None and circuit is not None:
            at_once = any(map(_is_differentiated, circuit.get_parameters(trainable_only=False)))
        return replace(config, gradient_method="device", use_device_gradient=True, grad_on_execution=at_once)

    def preprocess_transforms(self, execution_config: ExecutionConfig | None = None) -> CompilePipeline:
        """Return what PennyLane differentiates through: broadcasts and arrays become single angles."""
        pipeline = CompilePipeline()
        pipeline.add_transform(validate_device_wires, wires=self.wires, name=self.name)
        pipeline.add_transform(
            validate_measurements,
            analytic_measurements=_is_measurement,
            sample_measurements=_is_measurement,
            name=self.name,
        )
        if execution_config is not None and execution_config.mcm_config.mcm_method == "deferred":
            pipeline.add_transform(_deferring)
        pipeline.add_transform(_numeric)
        return pipeline

    # ---- execution --------------------------------------------------------------------------------

    def execute(self, circuits: Batch, execution_config: ExecutionConfig | None = None) -> tuple[Any, ...]:
        """Measure values."""
        return self._run(circuits, execution_config, values=True, jacobians=False)[0]

    def compute_derivatives(
        self, circuits: Batch, execution_config: ExecutionConfig | None = None
    ) -> tuple[Any, ...]:
        """Measure Jacobians."""
        return self._run(circuits, execution_config, values=False, jacobians=True)[1]

    def execute_and_compute_derivatives(
        self, circuits: Batch, execution_config: ExecutionConfig | None = None
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        """Measure values and Jacobians, in one submission."""
        return self._run(circuits, execution_config, values=True, jacobians=True)

    def compute_vjp(
        self,
        circuits: Batch,
        cotangents: Any,  # noqa: ANN401 (nested as PennyLane does)
        execution_config: ExecutionConfig | None = None,
    ) -> tuple[Any, ...]:
        """Measure Jacobians and multiply them from the left: a submission apart from that of the values."""
        jacobians = self._run(circuits, execution_config, values=False, jacobians=True)[1]
        return tuple(map(_vjp, circuits, cotangents, jacobians))

    def _run(
        self, circuits: Batch, config: ExecutionConfig | None, *, values: bool, jacobians: bool
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        traced = find_tapes(circuits) if jacobians else circuits
        jobs = [
            self._job(tape, values, jacobians, slopes_of(own) if jacobians else None)
            for tape, own in zip(circuits, traced, strict=True)
        ]
        outcomes = iter(self._submit([tape for tapes, _ in jobs for tape in tapes], config))
        found = [read([next(outcomes) for _ in tapes]) for tapes, read in jobs]
        return tuple(value for value, _ in found), tuple(jacobian for _, jacobian in found)

    def _submit(self, tapes: Batch, config: ExecutionConfig | None) -> Sequence[Any]:
        """Run tapes on the inner device, all at once."""
        if not tapes:
            return ()
        asked = ExecutionConfig() if config is None else ExecutionConfig(mcm_config=config.mcm_config)
        inner = self._inner.setup_execution_config(asked, tapes[0])
        batch, combine = self._inner.preprocess_transforms(inner)(tuple(tapes))
        results: Sequence[Any] = combine(self._inner.execute(batch, inner))
        return results

    def _job(
        self, tape: QuantumScript, values: bool, jacobians: bool, slopes: NDArray[np.float64] | None = None
    ) -> Job:
        """Return what the inner device runs for a tape, and how that becomes its values and its Jacobian."""
        outputs = _outputs(tape)
        if outputs is None and jacobians and tape.trainable_params and _has_wide_projector(tape):
            outputs = _outputs_by_rows(tape)
        if outputs is not None and any(isinstance(m, DRAWN) for m in tape.measurements):
            outputs = outputs if jacobians and outputs.n_rows else None
        if outputs is None:
            if jacobians:
                midway = ""
                if any(isinstance(op, MEASURED_MIDWAY) for op in tape.operations):
                    midway = ' after measurements in the circuit (mcm_method="deferred" moves those)'
                raise InvalidInputError(
                    f"measurements: expected expval, var or probs of Pauli words and sums after gates, for a "
                    f"gradient that {self.name} measures, got {tape.measurements}{midway}; {OTHER_GRADIENT}"
                )
            return [tape], lambda results: (results[0], None)
        if tape.batch_size is not None and not jacobians:  # jax.vmap broadcasts after the expansion
            entries, stack = qml.transforms.broadcast_expand(tape)
            parts = [self._job(entry, values, jacobians) for entry in entries]
            return [t for tapes, _ in parts for t in tapes], lambda results: (
                stack(_read_parts(parts, results)[0]),
                None,
            )
        drawn = [isinstance(m, DRAWN) for m in tape.measurements]
        if any(drawn) and not tape.shots.has_partitioned_shots:
            return self._beside(tape, drawn, self._measure(tape, outputs, values, jacobians, slopes))
        if tape.shots.has_partitioned_shots:
            parts = [self._job(tape.copy(shots=shots), values, jacobians, slopes) for shots in tape.shots]
            return [t for tapes, _ in parts for t in tapes], partial(_read_parts, parts)
        return self._measure(tape, outputs, values, jacobians, slopes)

    @staticmethod
    def _beside(tape: QuantumScript, drawn: Sequence[bool], job: Job) -> Job:
        """Add the tape of samples and counts, which have no derivatives, to the same submission."""
        tapes, read = job
        chosen = [m for m, own in zip(tape.measurements, drawn, strict=True) if own]
        others = tape.copy(measurements=chosen, trainable_params=[])

        def both(results: Sequence[Any]) -> tuple[Any, Any]:
            value, jacobian = read(results[:-1])
            sampled = iter([results[-1]] if len(chosen) == 1 else results[-1])
            if value is not None:
                value = tuple(next(sampled) if own else v for v, own in zip(value, drawn, strict=True))
            return value, jacobian

        return [*tapes, others], both

    def _measure(
        self,
        tape: QuantumScript,
        outputs: Outputs,
        values: bool,
        jacobians: bool,
        slopes: NDArray[np.float64] | None,
    ) -> Job:
        options = replace(self._options, seed=self._next_seed())
        if tape.shots:
            options = replace(options, shots=tape.shots.total_shots, target=None)
        elif self._options.target is None and (jacobians or self._value_target is None):
            raise InvalidInputError(
                "shots: expected a number of shots, or an error to reach, got neither; write "
                f"qml.device({self.name!r}, inner, shots=20_000), or target=0.01 there, or "
                "qml.set_shots(qnode, 20_000)"
            )
        if jacobians and tape.trainable_params:
            return self._values_and_jacobian(tape, options, values, slopes)
        if not values or not outputs.items:
            return [], lambda _: (None, nested(tape, np.zeros((outputs.n_rows, 0))))
        return self._values(tape, options)

    def _values_and_jacobian(
        self, tape: QuantumScript, options: Options, values: bool, slopes: NDArray[np.float64] | None
    ) -> Job:
        target = None if tape.shots else self._value_target
        device = Found(self._inner, "option")
        job = gradient_job(
            tape,
            options,
            device,
            values=values,
            value_target=target,
            slopes=slopes,
            numbering=self._numbering,
        )

        def read(results: Sequence[Any]) -> tuple[Any, Any]:
            found = job.read(results)
            return (_nested(tape, found.value) if values else None), nested(tape, found.gradient)

        return job.tapes, read

    def _values(self, tape: QuantumScript, options: Options) -> Job:
        """Measure the values alone; derivatives by no parameter come with them."""
        job = value_job(tape, options, self._inner, self._value_target)

        def read(results: Sequence[Any]) -> tuple[Any, Any]:
            found = job.read(results)
            return _nested(tape, found), nested(tape, np.zeros((len(found), 0)))

        return job.tapes, read

    def _next_seed(self) -> int:
        with self._lock:
            return int(self._random.integers(2**63))


def _inner(device: Any, wires: Any) -> Device:  # noqa: ANN401
    expected = (
        'a PennyLane device or the name of one, as in qml.device("efl.fleet", "default.qubit", wires=2)'
    )
    if device is None:
        raise InputTypeError.of("inner", expected, "none")
    if isinstance(device, str):
        return qml.device(device, wires=wires)
    if wires is not None:
        raise InvalidInputError("wires: expected none with a device, which has its own, got wires")
    if isinstance(device, Device):
        return device
    if isinstance(device, qml.devices.LegacyDevice):
        return qml.devices.LegacyDeviceFacade(device)
    raise InputTypeError.of("inner", expected, described(device))


def _shots(value: Any) -> Shots:  # noqa: ANN401
    try:
        return Shots(value)
    except ValueError as error:
        raise InvalidInputError(f"shots: expected positive integers, got {value!r:.40}") from error


def _positive(value: object) -> float:
    found = real("value_target", value)
    if not 0 < found < math.inf:
        raise InvalidInputError(f"value_target: expected a positive RMS error, got {found:g}")
    return found


def _is_differentiated(parameter: Any) -> bool:  # noqa: ANN401
    """Whether derivatives by a parameter are being recorded; that it is trainable does not say so."""
    interface = qml.math.get_interface(parameter)
    if interface == "torch":
        return bool(parameter.requires_grad) and sys.modules["torch"].is_grad_enabled()
    return interface == "autograd" and isinstance(parameter, ArrayBox)


def _expanded(tape: QuantumScript) -> tuple[Sequence[QuantumScript], Callable[[Sequence[Any]], Any]]:
    """Expand broadcasts and arrays of angles, in a tape that is read from settings."""
    known = all(isinstance(m, (ExpectationMP, VarianceMP, ProbabilityMP, *DRAWN)) for m in tape.measurements)
    known = known and not all(isinstance(m, DRAWN) for m in tape.measurements)
    if known and not any(isinstance(op, MEASURED_MIDWAY) for op in tape.operations):
        return expand(tape)
    return [tape], itemgetter(0)


_numeric = qml.transform(_expanded)
_deferring = qml.transform(lambda tape: ([deferred(tape)], itemgetter(0)))


def _is_measurement(measurement: MeasurementProcess) -> bool:
    known = (SampleMeasurement, StateMeasurement, ClassicalShadowMP, ShadowExpvalMP)
    return isinstance(measurement, known)


def _outputs(tape: QuantumScript) -> Outputs | None:
    """Return what a tape returns, if that can be read from settings."""
    if not tape.measurements or any(isinstance(op, MEASURED_MIDWAY) for op in tape.operations):
        return None
    try:
        return converted(QuantumScript([], tape.measurements), wires=tape.wires)[1]
    except InvalidInputError:
        return None


def _has_wide_projector(tape: QuantumScript) -> bool:
    """Say whether a tape asks for what is measured in other ways than in settings."""
    midway = any(isinstance(op, MEASURED_MIDWAY) for op in tape.operations)
    return not midway and has_projector(tape.measurements)


def _outputs_by_rows(tape: QuantumScript) -> Outputs:
    """Return how many rows each measurement has, whatever they are made of."""
    items: list[Output] = []
    for m, count in enumerate(n_outcomes(tape)):
        row = sum(item.n_rows for item in items)
        items.append(Output(m, 1, row, () if count is None else (count,)))
    return Outputs(tuple(items))


def _nested(tape: QuantumScript, rows: NDArray[np.float64]) -> Any:  # noqa: ANN401
    """One measurement is an array, several are a tuple of arrays."""
    return nested(tape, rows[:, None])


def _read_parts(parts: Sequence[Job], results: Sequence[Any]) -> tuple[Any, Any]:
    """Return a tuple of values, and one of Jacobians."""
    outcomes = iter(results)
    found = [read([next(outcomes) for _ in tapes]) for tapes, read in parts]
    return tuple(value for value, _ in found), tuple(jacobian for _, jacobian in found)


def _vjp(tape: QuantumScript, cotangent: Any, jacobian: Any) -> Any:  # noqa: ANN401
    contract = (
        qml.gradients.compute_vjp_multi if len(tape.measurements) > 1 else qml.gradients.compute_vjp_single
    )
    if not tape.shots.has_partitioned_shots:
        return contract(cotangent, jacobian)
    return sum(contract(dy, part) for dy, part in zip(cotangent, jacobian, strict=True))
