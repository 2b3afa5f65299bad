"""Gradient transforms: ``diff_method=efl.shadow_grad`` and ``diff_method=efl.echo_grad``.

One measurement per tape gives the derivatives of all its outputs by all its parameters: what is measured is
planned for the circuit, submitted as one batch, and read for every derivative. A tape that is asked again, as
torch asks for every row of a Jacobian, is answered from the same outcomes.
"""

import threading
import weakref
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any, Literal, SupportsFloat, SupportsIndex

import numpy as np
import pennylane as qml
from autograd.builtins import SequenceBox
from autograd.numpy.numpy_boxes import ArrayBox
from numpy.typing import NDArray
from pennylane.gradients.gradient_transform import _no_trainable_grad, contract_qjac_with_cjac
from pennylane.measurements import MeasurementProcess, SampleMP
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.calibrations import Calibration
from efl_core.ensembles import Ensemble
from efl_core.errors import InvalidInputError
from efl_core.estimates import Combine
from efl_core.pennylane.audits import Audit
from efl_core.pennylane.calling import (
    find_device,
    find_slopes,
    refuse_second_derivatives,
    second_derivative,
)
from efl_core.pennylane.differentiated import slopes_of
from efl_core.pennylane.jobs.gradient import gradient_job
from efl_core.pennylane.noise import NoiseLike
from efl_core.pennylane.options import Options, check_names
from efl_core.pennylane.reports import Sink, last_report
from efl_core.pennylane.tapes.operations import AFFINE, MEASURED_MIDWAY, NOT_ANGLES
from efl_core.pennylane.tapes.outputs import n_outcomes, with_wires
from efl_core.pennylane.tapes.tracing import described
from efl_core.propagation import Truncation

__all__ = ["deferred", "echo_grad", "expand", "nested", "shadow_grad"]

Gradient = NDArray[np.float64]
Batch = tuple[Sequence[QuantumScript], Callable[[Sequence[Any]], Any]]


def expand(tape: QuantumScript, **options: Any) -> Batch:  # noqa: ANN401 (those of the transform)
    """Rewrite a tape so that trainable parameters are numbers, one circuit per entry of a broadcast."""
    check_names(options)
    tape = deferred(_detached(tape))
    if not all(map(_is_kept, tape.operations)):
        given = tape.get_parameters(trainable_only=False)
        [tape], _ = qml.transforms.decompose(
            tape, gate_set=qml.decomposition.gate_sets.ROTATIONS_PLUS_CNOT, stopping_condition=_is_kept
        )
        if any(map(qml.math.requires_grad, given)):  # plain numbers say nothing: all of them are trained then
            tape.trainable_params = qml.math.get_trainable_indices(tape.get_parameters(trainable_only=False))
    if tape.batch_size is not None:
        tapes, _ = qml.transforms.broadcast_expand(tape)
        return tapes, _stacked
    return [tape], _first


def deferred(tape: QuantumScript) -> QuantumScript:
    """Move measurements in the circuit to its end, each onto a wire of its own: values are the same."""
    if not any(isinstance(op, MEASURED_MIDWAY) for op in tape.operations):
        return tape
    for op in tape.operations:
        if getattr(op, "postselect", None) is not None:
            raise InvalidInputError(
                f"tape: expected measurements without postselection, got {described(op)}; a value that some "
                "outcomes are left out of is a quotient: return qml.probs(op=[m, ...]) of this measurement m "
                "and of what is read after it, and divide probabilities by their sum"
            )
    given = tape.get_parameters(trainable_only=False)
    [found], _ = qml.defer_measurements(tape)
    if any(map(qml.math.requires_grad, given)):  # plain numbers say nothing: all of them are trained then
        found.trainable_params = qml.math.get_trainable_indices(found.get_parameters(trainable_only=False))
    return found


def _detached(tape: QuantumScript) -> QuantumScript:
    """Unmark states and matrices that nothing is differentiated through.

    PennyLane normalises a state with its own arrays, which say that they are trained whatever they came from.
    """
    if not any(isinstance(p, ArrayBox) for p in tape.get_parameters(trainable_only=False)):
        return tape
    operations = list(tape.operations)
    marked = [
        i
        for i, op in enumerate(operations)
        if isinstance(op, NOT_ANGLES) and any(isinstance(d, np.ndarray) for d in op.data)
    ]
    if not marked:
        return tape
    for i in marked:
        plain = [np.asarray(d) if isinstance(d, np.ndarray) else d for d in operations[i].data]
        operations[i] = qml.ops.functions.bind_new_parameters(operations[i], plain)
    found = tape.copy(operations=operations)
    found.trainable_params = qml.math.get_trainable_indices(found.get_parameters(trainable_only=False))
    return found


def _first(results: Sequence[Any]) -> Any:  # noqa: ANN401 (whatever they are)
    return results[0]


def _stacked(results: Sequence[Any]) -> Any:  # noqa: ANN401 (nested as they are)
    """Stack the results of a broadcast, and its gradients too, which are nested more deeply."""
    if isinstance(results[0], (tuple, list, SequenceBox)):
        return tuple(map(_stacked, zip(*results, strict=True)))
    if isinstance(results[0], dict):  # counts
        return tuple(results)
    return qml.math.stack(results)


def _is_kept(op: Operator) -> bool:
    """Say whether an operation can be converted as it is, its parameters being numbers."""
    if not op.num_params or isinstance(op, NOT_ANGLES) or not op.has_decomposition:
        return True
    if any(getattr(op, "ndim_params", ())):  # operators of operators have none
        return False
    if isinstance(op, qml.ops.Exp):  # PennyLane takes the coefficients of the operator for its data
        return False
    return op.name in AFFINE or (op.num_params == 1 and op.has_generator)


class _Kept:
    """Gradients of tapes that are still alive, by the identity of the tape.

    Equal tapes of another forward pass are other tapes: they are measured anew.
    """

    def __init__(self) -> None:
        self._found: dict[int, tuple[weakref.ref[QuantumScript], Options, Gradient]] = {}
        self._lock = threading.Lock()

    def get(self, tape: QuantumScript, options: Options) -> Gradient | None:
        with self._lock:
            found = self._found.get(id(tape))
        if found is None or found[0]() is not tape or found[1] != options:
            return None
        return found[2]

    def put(self, tape: QuantumScript, options: Options, gradient: Gradient) -> None:
        place = id(tape)
        reference = weakref.ref(tape, lambda _: self._found.pop(place, None))
        with self._lock:
            self._found[place] = (reference, options, gradient)


_kept = _Kept()


def _gradient(tape: QuantumScript, options: Options) -> Batch:
    if not tape.trainable_params:
        return _no_trainable_grad(tape)  # type: ignore[no-any-return]
    if tape.batch_size is not None:
        raise InvalidInputError(
            f"tape: expected one circuit, got a broadcast of {tape.batch_size}; apply "
            "qml.transforms.broadcast_expand"
        )
    refuse_second_derivatives(tape)
    if any(map(qml.math.is_abstract, tape.get_parameters(trainable_only=False))):
        return _within_jit(tape, options)
    known = _kept.get(tape, options)
    device = find_device(options.device)
    named = with_wires(tape, device.device)
    if known is not None:
        return [], lambda _: nested(named, known)
    slopes = slopes_of(tape)
    if slopes is None:
        slopes = find_slopes(len(tape.trainable_params))
    job = gradient_job(named, options, device, slopes=slopes)
    at_once = device.execute(tuple(job.tapes)) if device.execute is not None and job.tapes else ()

    def post(results: Sequence[Any]) -> Any:  # noqa: ANN401 (nested tuples of numbers)
        gradient = job.read(results).gradient
        _kept.put(tape, options, gradient)
        return nested(named, gradient)

    if device.execute is not None:
        return [], lambda _: post(at_once)
    return job.tapes, post


def _within_jit(tape: QuantumScript, options: Options) -> Batch:
    """Measure the gradient when a function that JAX compiles runs: before, there are no numbers."""
    import jax

    found = find_device(options.device)
    if found.device is None:
        raise InvalidInputError(
            'device_options: expected "device" inside jax.jit, where the transform submits its tapes itself, '
            "got none"
        )
    tape = with_wires(tape, found.device)
    device, parameters = found.device, tape.get_parameters(trainable_only=False)
    dtype = jax.numpy.zeros(0, dtype=float).dtype  # double precision, if that is on
    copies = (tape.shots.num_copies,) if tape.shots.has_partitioned_shots else ()
    rows = sum(1 if count is None else count for count in n_outcomes(tape))
    shape = (*copies, rows, len(tape.trainable_params))

    def measure(*values: Any) -> Gradient:  # noqa: ANN401 (JAX's arrays)
        numbers = [np.asarray(value) for value in values]
        plain = tape.bind_new_parameters(numbers, list(range(len(numbers))))
        plain.trainable_params = tape.trainable_params
        job = gradient_job(plain, options, found)
        results = qml.execute(job.tapes, device, diff_method=None) if job.tapes else ()
        return job.read(results).gradient.astype(dtype)

    @jax.custom_jvp
    def measured(*values: Any) -> Any:  # noqa: ANN401 (JAX's arrays)
        return jax.pure_callback(measure, jax.ShapeDtypeStruct(shape, dtype), *values)  # type: ignore[no-untyped-call]

    @measured.defjvp
    def _(*_: Any) -> tuple[Any, Any]:  # noqa: ANN401 (numbers, and their derivatives)
        raise second_derivative()  # of a function that was compiled before it was differentiated twice

    def post(_: Sequence[Any]) -> Any:  # noqa: ANN401 (nested tuples of numbers)
        return nested(tape, measured(*parameters), jax.numpy.asarray)

    return [], post


def nested(
    tape: QuantumScript,
    gradient: Any,  # noqa: ANN401 (an array)
    number: Callable[[Any], Any] = np.asarray,
) -> Any:  # noqa: ANN401 (nested tuples of numbers)
    """Return the gradient as PennyLane nests it: copies, measurements, parameters; single ones left out.

    Derivatives of probabilities are arrays of one for each outcome; those of samples are zeros.
    """
    counts = n_outcomes(tape)
    ends = np.cumsum([1 if count is None else count for count in counts])
    parameters = gradient.shape[-1]

    def row(values: Any) -> Any:  # noqa: ANN401
        numbers = tuple(number(v) for v in values)
        return numbers[0] if len(numbers) == 1 else numbers

    def part(values: Any, end: int, count: int | None, m: MeasurementProcess, shots: int | None) -> Any:  # noqa: ANN401
        if count == 0:
            shape = m.shape(shots, len(tape.wires)) if isinstance(m, SampleMP) else ()
            return row(np.zeros((parameters, *shape)))
        return row(values[end - 1] if count is None else values[end - count : end].T)

    def table(values: Any, shots: int | None) -> Any:  # noqa: ANN401
        places = zip(ends, counts, tape.measurements, strict=True)
        rows = tuple(part(values, *place, shots) for place in places)
        return rows[0] if len(rows) == 1 else rows

    if tape.shots.has_partitioned_shots:
        return tuple(map(table, gradient, tape.shots))
    return table(gradient, tape.shots.total_shots)


_transform = partial(
    qml.transform,
    expand_transform=expand,
    classical_cotransform=contract_qjac_with_cjac,
    final_transform=True,
)


@_transform
def shadow_grad(
    tape: QuantumScript,
    shots: SupportsIndex | None = None,
    target: SupportsFloat | None = None,
    method: str = "auto",
    ensemble: str | Ensemble = "auto",
    settings_per_step: SupportsIndex | Literal["auto"] | None = None,
    combine: Combine = "mean",
    seed: SupportsIndex | None = None,
    argnum: SupportsIndex | Sequence[SupportsIndex] | None = None,
    truncation: Truncation | None = None,
    device_options: Mapping[str, Any] | None = None,
    report: Sink | None = None,
    noise: NoiseLike | None = None,
    calibration: Calibration | None = None,
    mitigate: bool = False,
    audit: Audit | SupportsFloat | None = None,
) -> Batch:
    """Estimate the gradient by all parameters from one measurement that is designed for it.

    A gradient transform, for ``diff_method=`` (options in ``gradient_kwargs=``) or for a QNode:
    ``efl.shadow_grad(qnode, shots=20_000)(x)``. Works with autograd, torch, jax and jax.jit; with
    ``qml.expval`` and ``qml.var`` of words, sums, Hamiltonians and Hermitian matrices, and ``qml.probs`` of
    at most 8 wires, in any mixture; with shot vectors and broadcasts. Projectors on more than four wires are
    measured in random bases of all qubits or by parameter-shift, whichever takes fewer shots.

    Parameters
    ----------
    tape
        The circuit.
    shots
        Shots of the gradient, for all parameters and outputs together. By default `target` decides, else the
        shots of the QNode.
    target
        Instead of shots: the RMS error of the user's derivatives of every output, over those that are not
        identically zero. Through classical code, where several gates share an argument or scale it, the chain
        rule is followed to what is differentiated by: with autograd and torch, in `gradient_with_errors`, and
        where the transform is applied to a QNode. JAX does not tell how parameters were computed, nor does a
        bare tape: there it is the error by the tape's parameters. ``Report.of`` says which. What a loss
        makes of outputs multiplies their errors.
    method
        A row of `efl.plan`, by its name; ``"auto"`` takes the best. One that needs over twice the shots of
        the best is warned of, once. Beside words ``"global_clifford"`` is for wide projectors alone,
        ``"shift"`` for both, and any other method for words alone.
    ensemble
        Instead of a plan: snapshots of the final state in settings of this `Ensemble`.
    settings_per_step
        Settings that a gradient runs (an echo or a shift is one, of two circuits), drawn from the list of the
        method by their shares, so that a step of training takes as few shots and circuits as it needs; or
        ``"auto"``, as many as shots and ``"max_tapes"`` allow, and the whole list where it fits. Gradients
        that follow each other run each setting in proportion. They stay unbiased; error bars count how much
        settings differ, and that is most of the error where few are run. By default all are run.
    combine
        How snapshots become a value, as in `estimate`; only where a setting is drawn for every shot.
    seed
        With it, what is drawn here is a function of the seed and the angles. Devices have their own. With
        ``settings_per_step`` also of how many other angles the circuit had in this process before, so that a
        script repeats, and a training that is begun again in the same process too. Without it all is new.
    argnum
        Trainable parameters of the tape to differentiate by; the other derivatives are 0.
    truncation
        Leaves out words of the gradient observables, with `ensemble`.
    device_options
        ``"device"``: the device that runs the tapes. It decides the mode; without it, it is looked for in the
        calls of PennyLane that ask for the gradient, and ``Report.found_device`` says what was found.
        ``"mode"``: how settings reach the device (`efl_core.pennylane.execution`), by default ``"state"`` on
        simulators of state vectors, where one ``qml.state()`` replaces all settings and shots and other
        circuits (echoes, shifts) are simulated by `efl_core` itself, and ``"tapes"`` elsewhere, a tape for
        each circuit and setting; or ``"broadcast"``. ``"max_tapes"``: the longest batch.
        ``"equal_shots"``: the same for every tape, which is how devices of the former interface batch.
        ``"connectivity"``: two-qubit gates of settings, ``"all"``, ``"line"`` or ``"none"``. ``"cost"``: an
        `efl.Cost`, what a circuit and a shot take; where circuits take time, the method and the length of its
        list are those that reach an error the soonest, and tapes of equal shots are few. It is known for
        Qiskit's devices; ``efl.Cost()`` counts shots alone.
    report
        A list or a function that is handed a `Report` for every measured gradient; the last one of all is
        ``efl.shadow_grad.last_report()``.
    noise
        What the device does by itself after each operation: an `efl.Noise` or a ``qml.NoiseModel``. The
        gradient is that of the noisy value then, as parameter-shift would measure it. Without it settings
        are those of the clean circuit, and biased on a noisy device.
    calibration
        Contrasts of the readout, from `efl.calibrate`: readings are divided by them and their errors added.
    mitigate
        Whether the gradient is the one without the ``noise``, read on the noisy device: settings only, at the
        price that the plan tells.
    audit
        Some derivatives again by parameter-shift, with a part of the shots: a share such as 0.1, or an
        `efl.Audit` that says what happens when they differ. ``Report.audit`` has what was found.

    Notes
    -----
    The plan of a circuit is kept while its gates stay the same. It follows their angles: trained ones, and
    fixed ones such as embedded data. The gradient of a tape is one batch of tapes after the forward
    execution; a further row of its Jacobian is read from the same outcomes. There are no second derivatives:
    with ``max_diff=2`` a gradient is the same, and a Hessian is refused.

    Examples
    --------
    >>> import pennylane as qml
    >>> from pennylane import numpy as pnp
    >>> dev = qml.device("default.qubit", wires=2)
    >>> @qml.qnode(dev, diff_method=efl.shadow_grad, gradient_kwargs={"shots": 20_000, "seed": 1})
    ... def model(theta):
    ...     qml.RY(theta[0], wires=0)
    ...     qml.CNOT(wires=[0, 1])
    ...     qml.RX(theta[1], wires=1)
    ...     return qml.expval(qml.Z(1))
    >>> gradient = qml.grad(model)(pnp.array([0.4, 0.7]))
    >>> bool(np.allclose(gradient, [-np.sin(0.4) * np.cos(0.7), -np.cos(0.4) * np.sin(0.7)], atol=0.05))
    True
    >>> report = efl.shadow_grad.last_report()
    >>> report.shots, report.mode, report.tapes
    (20000, 'state', 1)
    """
    given = {
        "shots": shots,
        "target": target,
        "method": method,
        "ensemble": ensemble,
        "settings_per_step": settings_per_step,
        "combine": combine,
        "seed": seed,
        "argnum": argnum,
        "truncation": truncation,
        "device_options": device_options,
        "report": report,
        "noise": noise,
        "calibration": calibration,
        "mitigate": mitigate or None,
        "audit": audit,
    }
    return _gradient(tape, Options.read(given))


@_transform
def echo_grad(
    tape: QuantumScript,
    shots: SupportsIndex | None = None,
    target: SupportsFloat | None = None,
    settings_per_step: SupportsIndex | Literal["auto"] | None = None,
    seed: SupportsIndex | None = None,
    argnum: SupportsIndex | Sequence[SupportsIndex] | None = None,
    device_options: Mapping[str, Any] | None = None,
    report: Sink | None = None,
) -> Batch:
    """Estimate the gradient by all parameters from layered echoes.

    `shadow_grad` with ``method="echo"``: the circuit, a kick by the observable, and a part of the circuit
    backwards give all derivatives of a layer of commuting gates at once, at a variance below 1 for each.

    Parameters
    ----------
    tape, shots, target, settings_per_step, seed, argnum, device_options, report
        As in `shadow_grad`.

    Examples
    --------
    >>> import pennylane as qml
    >>> from pennylane import numpy as pnp
    >>> dev = qml.device("default.qubit", wires=2)
    >>> @qml.qnode(dev, diff_method=efl.echo_grad, gradient_kwargs={"shots": 20_000, "seed": 1})
    ... def model(theta):
    ...     qml.StronglyEntanglingLayers(theta, wires=[0, 1])
    ...     return qml.expval(qml.Z(0))
    >>> theta = pnp.array([[[0.1, 0.4, 0.3], [0.5, 0.2, 0.6]]])
    >>> exact = qml.grad(model.update(diff_method="backprop", gradient_kwargs={}))(theta)
    >>> bool(np.allclose(qml.grad(model)(theta), exact, atol=0.05))
    True
    """
    given = {
        "shots": shots,
        "target": target,
        "method": "echo",
        "settings_per_step": settings_per_step,
        "seed": seed,
        "argnum": argnum,
        "device_options": device_options,
        "report": report,
    }
    return _gradient(tape, Options.read(given))


for _made in (shadow_grad, echo_grad):

    @_made.custom_qnode_transform  # type: ignore[untyped-decorator]
    def _with_device(self: Any, qnode: Any, targs: Any, tkwargs: Any) -> Any:  # noqa: ANN401 (PennyLane's)
        options = {"device": qnode.device, **(tkwargs.get("device_options") or {})}
        return self.default_qnode_transform(qnode, targs, {**tkwargs, "device_options": options})

    _made.last_report = last_report
