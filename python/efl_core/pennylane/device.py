"""The device ``efl.fleet``: value and Jacobian of a QNode from one submission to the device that it wraps.

A tape of expectation values becomes tapes of samples: the settings that read its values, and, when a gradient is
asked for, the experiments of the plan. Any other tape runs on the wrapped device as it is.

Invariant: a batch of tapes is one submission. A forward pass that nobody differentiates measures values only.
Cost: planning once for each structure of a circuit; then what the plan says, and reading the outcomes.
"""

import math
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import pennylane as qml
from autograd.tracer import Box
from numpy.typing import NDArray
from pennylane.devices import Device, ExecutionConfig
from pennylane.devices.modifiers import simulator_tracking, single_tape_support
from pennylane.devices.preprocess import decompose, validate_device_wires
from pennylane.measurements import ExpectationMP, Shots
from pennylane.operation import Operator
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline

from efl_core.arguments import integer, real
from efl_core.ensembles import Setting
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.observables import PauliSum
from efl_core.pennylane.conversion import from_tape
from efl_core.pennylane.values import Values

__all__ = ["FleetDevice"]

Batch = Sequence[QuantumScript]
Job = tuple[list[QuantumScript], Callable[[Sequence[Any]], tuple[Any, Any]]]
"""Tapes for the inner device, and what takes their results to a result and a Jacobian."""

NOT_GATES = (qml.ops.MidMeasure, qml.ops.PauliMeasure, qml.ops.Conditional)
# Gates of settings as PennyLane writes them.
CLIFFORDS: dict[str, Callable[[Any], Operator]] = {
    "H": qml.Hadamard,
    "S": qml.S,
    "SDG": lambda wires: qml.adjoint(qml.S(wires)),
    "CNOT": qml.CNOT,
    "CZ": qml.CZ,
}

OTHER_GRADIENT = 'write diff_method="parameter-shift", which runs on this device as on the one that it wraps'


@simulator_tracking
@single_tape_support
class FleetDevice(Device):
    """The device ``efl.fleet``: value and Jacobian of a QNode from one submission to the device that it wraps.

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
        In place of ``shots``: the root-mean-square error of the derivatives.
    value_target
        In place of ``shots``: the root-mean-square error of the values; ``target`` by default.
    device_settings
        How settings reach the inner device, as in ``efl.shadow_grad``.

    Expectation values are measured by settings of this package. Anything else (``sample``, ``counts``, ``probs``,
    ``var``, states) runs on the inner device as usual and has no device gradient.

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
        inner: Any,  # noqa: ANN401 (new and legacy devices have no common base)
        wires: Any = None,  # noqa: ANN401
        *,
        shots: Any = None,  # noqa: ANN401
        seed: int | None = None,
        method: str = "auto",
        target: float | None = None,
        value_target: float | None = None,
        device_settings: dict[str, Any] | None = None,
    ) -> None:
        self._inner = _inner(inner, wires)
        super().__init__(wires=self._inner.wires)
        # Device(shots=...) is deprecated, but a default for QNodes is what the argument means here.
        self._shots = Shots(shots)
        if self._shots and (target is not None or value_target is not None):
            raise InvalidInputError("shots: expected none with target or value_target, which decide them")
        self._target = None if target is None else _positive("target", target)
        self._value_target = self._target if value_target is None else _positive("value_target", value_target)
        self._method = method
        self._settings = dict(device_settings or {})
        if seed is not None:
            integer("seed", seed, 0, 2**64 - 1)
        self._random = np.random.default_rng(seed)
        self._lock = threading.Lock()

    @property
    def name(self) -> str:
        """``"efl.fleet"``."""
        return "efl.fleet"

    @property
    def inner(self) -> Device:
        """The device that runs the circuits."""
        return self._inner

    # ---- what PennyLane asks before it runs anything --------------------------------------------------------

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
        """What PennyLane differentiates through: broadcasts and arrays of angles become single angles."""
        pipeline = CompilePipeline()
        pipeline.add_transform(validate_device_wires, wires=self.wires, name=self.name)
        pipeline.add_transform(_single_angles)
        return pipeline

    # ---- execution ------------------------------------------------------------------------------------------

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
        cotangents: Any,
        execution_config: ExecutionConfig | None = None,  # noqa: ANN401
    ) -> tuple[Any, ...]:
        """Measure Jacobians and multiply them from the left: a submission apart from that of the values."""
        jacobians = self._run(circuits, execution_config, values=False, jacobians=True)[1]
        return tuple(map(_vjp, circuits, cotangents, jacobians))

    def _run(
        self, circuits: Batch, config: ExecutionConfig | None, *, values: bool, jacobians: bool
    ) -> tuple[tuple[Any, ...], tuple[Any, ...]]:
        jobs = [self._job(tape, values, jacobians) for tape in circuits]
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
        return combine(self._inner.execute(batch, inner))

    def _job(self, tape: QuantumScript, values: bool, jacobians: bool) -> Job:
        """Return what the inner device runs for a tape, and how that becomes its values and its Jacobian."""
        observables = _observables(tape)
        if observables is None:
            if jacobians:
                raise InvalidInputError(
                    f"measurements: expected expectation values of Pauli words and sums after gates, for a "
                    f"gradient that {self.name} measures, got {tape.measurements}; {OTHER_GRADIENT}"
                )
            return [tape], lambda results: (results[0], None)
        if tape.shots.has_partitioned_shots:
            parts = [self._job(tape.copy(shots=shots), values, jacobians) for shots in tape.shots]
            return [t for tapes, _ in parts for t in tapes], partial(_read_parts, parts)
        return self._measure(tape, observables, values, jacobians)

    def _measure(
        self, tape: QuantumScript, observables: Sequence[PauliSum], values: bool, jacobians: bool
    ) -> Job:
        wanted = Values(observables)
        shots = self._shots_for_values(tape, wanted)
        settings = wanted.allocate(shots, self._next_seed())
        tapes = [_rotated(tape, setting, count) for setting, count in settings]

        def read(results: Sequence[Any]) -> tuple[Any, Any]:
            bits = [np.reshape(result, (-1, len(tape.wires))) for result in results]
            measured = [(setting, b) for (setting, _), b in zip(settings, bits, strict=True)]
            found, _ = wanted.read(measured)
            return _nested(found), None

        return tapes, read

    def _shots_for_values(self, tape: QuantumScript, values: Values) -> int:
        if tape.shots:
            return int(tape.shots.total_shots)
        if self._value_target is not None:
            return max(values.n_settings, math.ceil(values.cost / self._value_target**2))
        raise InvalidInputError(
            f"shots: expected a number of shots or an error to reach, since {self.name} measures; write "
            f"qml.device({self.name!r}, inner, shots=20_000), or target=0.01, or qml.set_shots(qnode, 20_000)"
        )

    def _next_seed(self) -> int:
        with self._lock:
            return int(self._random.integers(2**63))


def _inner(device: Any, wires: Any) -> Device:  # noqa: ANN401
    if isinstance(device, str):
        return qml.device(device, wires=wires)
    if wires is not None:
        raise InvalidInputError("wires: expected none with a device, which has its own, got wires")
    if isinstance(device, Device):
        return device
    if isinstance(device, qml.devices.LegacyDevice):
        return qml.devices.LegacyDeviceFacade(device)
    raise InputTypeError(
        f"inner: expected a PennyLane device or the name of one, got {type(device).__name__} {device!r:.40}"
    )


def _positive(name: str, value: object) -> float:
    found = real(name, value)
    if not 0 < found < math.inf:
        raise InvalidInputError(f"{name}: expected a positive number, got {found}")
    return found


def _is_differentiated(parameter: Any) -> bool:  # noqa: ANN401
    """Whether a derivative by a parameter is being recorded, which a trainable parameter alone does not say."""
    interface = qml.math.get_interface(parameter)
    if interface == "torch":
        return bool(parameter.requires_grad) and sys.modules["torch"].is_grad_enabled()
    return interface == "autograd" and isinstance(parameter, Box)


@qml.transform
def _single_angles(tape: QuantumScript) -> tuple[list[QuantumScript], Callable[[Any], Any]]:
    """Expand broadcasts and what has arrays of trainable angles, in a tape of expectation values."""
    if not all(isinstance(m, ExpectationMP) for m in tape.measurements):
        return [tape], lambda results: results[0]
    [tape], _ = decompose(tape, stopping_condition=_has_single_angles, name="efl.fleet")
    return qml.transforms.broadcast_expand(tape)


def _has_single_angles(op: Operator) -> bool:
    trained = [d for d in op.data if qml.math.requires_grad(d)]
    return op.batch_size is not None or all(qml.math.ndim(d) == 0 for d in trained)


def _observables(tape: QuantumScript) -> tuple[PauliSum, ...] | None:
    """Return the observables of a tape whose results can be read from settings."""
    if not tape.measurements or any(isinstance(op, NOT_GATES) for op in tape.operations):
        return None
    try:
        return from_tape(QuantumScript([], tape.measurements), wires=tape.wires).observables
    except InvalidInputError:
        return None


def _rotated(tape: QuantumScript, setting: Setting, shots: int) -> QuantumScript:
    gates = [CLIFFORDS[name]([tape.wires[q] for q in wires]) for name, *wires in setting.gates]
    return QuantumScript([*tape.operations, *gates], [qml.sample(wires=tape.wires)], shots=shots)


def _nested(row: NDArray[np.float64]) -> Any:  # noqa: ANN401
    """One measurement is an array, several are a tuple of arrays."""
    parts = tuple(np.asarray(x) for x in row)
    return parts[0] if len(parts) == 1 else parts


def _read_parts(parts: Sequence[Job], results: Sequence[Any]) -> tuple[Any, Any]:
    """Of a shot vector: a tuple of values, and one of Jacobians."""
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
