"""The gradient of a QNode with the standard error of every entry.

The chain rule through classical code is a matrix of weights for every tape: errors are those of the weighted
sums of derivatives, covariances included.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.tape import QuantumScript

from efl_core.arguments import integer
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.pennylane.calling import Found
from efl_core.pennylane.jobs.gradient import gradient_job
from efl_core.pennylane.options import Options
from efl_core.pennylane.tapes.outputs import n_outcomes, with_wires
from efl_core.pennylane.transforms import echo_grad, expand, shadow_grad

__all__ = ["gradient_with_errors", "linearised", "trained_arguments"]


def gradient_with_errors(
    qnode: qml.QNode,
    *,
    argnums: int | Sequence[int] | None = None,
    **options: Any,  # noqa: ANN401 (those of shadow_grad)
) -> Callable[..., tuple[Any, Any]]:
    """Return a function of the QNode's arguments that measures its gradient and the standard errors.

    Parameters
    ----------
    qnode
        A QNode, with any ``diff_method``.
    argnums
        By which arguments; by default those that PennyLane trains, and where arguments are arrays of JAX,
        which say nothing of that, by the first, as `jax.grad` does.
    **options
        Those of `shadow_grad`; by default the QNode's ``gradient_kwargs`` if that is its ``diff_method``.

    Returns
    -------
    Callable
        Its result is a pair of what ``qml.jacobian(qnode)`` would return: the gradient, and the standard
        error of every entry. Several outputs have an axis of their own, in front, on which probabilities are
        one output for each outcome; several trainable arguments have a tuple. Arguments are
        ``pennylane.numpy`` arrays, torch tensors or arrays of JAX; results are numpy's.

    Examples
    --------
    >>> import pennylane as qml
    >>> from pennylane import numpy as pnp
    >>> @qml.qnode(qml.device("default.qubit", wires=2))
    ... def model(theta):
    ...     qml.RY(theta[0], wires=0)
    ...     qml.CNOT(wires=[0, 1])
    ...     qml.RX(theta[1] ** 2, wires=1)
    ...     return qml.expval(qml.Z(1))
    >>> theta = pnp.array([0.4, 0.7])
    >>> gradient, stderr = efl.gradient_with_errors(model, shots=40_000, seed=1)(theta)
    >>> bool((abs(gradient - qml.grad(model)(theta)) < 5 * stderr).all()), stderr.round(3)
    (True, array([0.005, 0.006]))
    """
    if not isinstance(qnode, qml.QNode):
        raise InputTypeError(f"qnode: expected a PennyLane QNode, got {type(qnode).__name__}")
    if qnode.diff_method is shadow_grad or qnode.diff_method is echo_grad:
        options = {**qnode.gradient_kwargs, **options}
    if qnode.diff_method is echo_grad:
        options = {"method": "echo", **options}
    read = Options.read(options)

    def measured(*args: object, **kwargs: object) -> tuple[Any, Any]:
        trained = trained_arguments(args, argnums)
        batched, tapes, jacobians = linearised(qnode, args, kwargs, trained)
        device = Found(qnode.device if read.device is None else read.device, "option")
        jobs = [
            gradient_job(with_wires(tape, device.device), read, device, slopes=_joined(matrices))
            for tape, matrices in zip(tapes, jacobians, strict=True)
        ]
        batch = [tape for job in jobs for tape in job.tapes]
        results = list(qml.execute(batch, qnode.device, diff_method=None)) if batch else []
        pairs: list[list[tuple[NDArray[Any], NDArray[Any]]]] = [[] for _ in trained]
        for job, matrices in zip(jobs, jacobians, strict=True):
            report = job.read([results.pop(0) for _ in job.tapes])
            for pair, matrix in zip(pairs, matrices, strict=True):
                weights = matrix.reshape(len(matrix), -1)
                shape = (*report.gradient.shape[:-1], *matrix.shape[1:])
                found = report.gradient @ weights, report.stderr_of(weights.T)
                pair.append((found[0].reshape(shape), found[1].reshape(shape)))
        shaped = [
            [_shaped(values, tapes[0], batched) for values in zip(*pair, strict=True)] for pair in pairs
        ]
        if len(shaped) == 1 and not isinstance(argnums, Sequence):
            return shaped[0][0], shaped[0][1]
        return tuple(value for value, _ in shaped), tuple(error for _, error in shaped)

    return measured


def trained_arguments(args: Sequence[object], argnums: int | Sequence[int] | None) -> list[int]:
    """Return which arguments a gradient is taken by."""
    if argnums is not None:
        given = list(argnums) if isinstance(argnums, Sequence) else [argnums]
        found = [integer("argnums", i, -len(args), len(args) - 1) % len(args) for i in given]
        if not found or len(set(found)) < len(found):
            raise InvalidInputError.of("argnums", "different arguments, at least one", argnums)
        return found
    trained = [i for i, arg in enumerate(args) if qml.math.requires_grad(arg)]
    if not trained and args and _is_jax(args[0]):
        return [0]
    if not trained:
        raise InvalidInputError(
            "args: expected one that PennyLane trains (a pennylane.numpy array with requires_grad=True), "
            "got none"
        )
    return trained


def _is_jax(value: object) -> bool:
    jax = sys.modules.get("jax")
    return jax is not None and isinstance(value, jax.Array)


def _joined(matrices: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Return the slopes of a tape's parameters by the numbers of all trained arguments."""
    return np.concatenate([matrix.reshape(len(matrix), -1) for matrix in matrices], axis=1)


def linearised(
    qnode: qml.QNode, args: Sequence[object], kwargs: Mapping[str, object], trained: Sequence[int]
) -> tuple[bool, list[QuantumScript], list[list[NDArray[np.float64]]]]:
    """Return whether there is a broadcast, its tapes, and by tape and argument d(parameters)/d(argument)."""
    marks: list[list[int]] = []

    def expanded(*values: object) -> tuple[bool, list[QuantumScript]]:
        tapes, _ = qml.workflow.construct_batch(qnode, level="user")(*values, **kwargs)
        if len(tapes) != 1:
            raise InvalidInputError(f"qnode: expected one tape, got {len(tapes)} from its transforms")
        marked = qml.math.get_trainable_indices(tapes[0].get_parameters(trainable_only=False))
        tape = tapes[0].copy(trainable_params=sorted(marked))
        found = list(expand(tape)[0])
        if marks:  # by arrays of JAX, which say that they are trained only while they are traced
            found = [own.copy(trainable_params=mark) for own, mark in zip(found, marks, strict=True)]
        return tape.batch_size is not None, found

    places: list[int] = []

    def parameters(*values: object) -> Any:  # noqa: ANN401 (autograd's)
        every = [p for tape in expanded(*values)[1] for p in tape.get_parameters()]
        # The tapes of a broadcast have one and the same number where it is no data of theirs: a pass
        # backwards for each would take the square of what one of them takes.
        different = {id(p): p for p in every}
        known = {name: place for place, name in enumerate(different)}
        places[:] = [known[id(p)] for p in every]
        return qml.math.stack(list(different.values()))

    if any(_is_jax(args[i]) for i in trained):
        marks = _traced(
            lambda *values: [tape.trainable_params for tape in expanded(*values)[1]], args, trained
        )
    batched, tapes = expanded(*args)
    if not any(tape.trainable_params for tape in tapes):
        raise InvalidInputError("args: expected one that a gate depends on, got none")
    arrays = [np.shape(p) for tape in tapes for p in tape.get_parameters() if np.ndim(p)]
    if arrays:
        raise InvalidInputError(
            "args: expected trained parameters of gates that are angles, got an array of shape "
            f"{arrays[0]}; hand data over as plain numpy arrays, and normalise states before"
        )
    found = [np.asarray(matrix)[places] for matrix in _jacobian(parameters, args, trained)]
    ends = np.cumsum([len(tape.trainable_params) for tape in tapes])[:-1]
    split = [np.split(matrix, ends) for matrix in found]
    return batched, tapes, [list(matrices) for matrices in zip(*split, strict=True)]


def _jacobian(function: Callable[..., Any], args: Sequence[Any], trained: Sequence[int]) -> Sequence[Any]:
    """Differentiate a function of some arguments, by autograd, torch or JAX."""
    if any(_is_jax(args[i]) for i in trained):
        import jax

        parts = jax.jacobian(function, argnums=tuple(trained))(*args)
        return [np.asarray(part, dtype=np.float64) for part in parts]
    torch = sys.modules.get("torch")
    if torch is None or not any(isinstance(args[i], torch.Tensor) for i in trained):
        found: Sequence[Any] = qml.jacobian(function, argnums=trained)(*args)
        return found

    def of_trained(*values: object) -> Any:  # noqa: ANN401 (torch's)
        every = list(args)
        for i, value in zip(trained, values, strict=True):
            every[i] = value
        return function(*every)

    leaves = tuple(args[i].detach().requires_grad_() for i in trained)
    return [part.detach().cpu().numpy() for part in torch.autograd.functional.jacobian(of_trained, leaves)]


def _traced(function: Callable[..., list[Any]], args: Sequence[Any], trained: Sequence[int]) -> list[Any]:
    """Return what a function says of tracers of JAX in the place of some arguments."""
    import jax

    found: list[Any] = []

    def of_trained(*values: object) -> int:
        every = list(args)
        for i, value in zip(trained, values, strict=True):
            every[i] = value
        found[:] = function(*every)
        return 0

    jax.eval_shape(of_trained, *(args[i] for i in trained))
    return found


def _shaped(values: Sequence[NDArray[Any]], tape: QuantumScript, batched: bool) -> NDArray[Any]:
    """Return the entries of all tapes in one array; the axis of a broadcast is where PennyLane has it."""
    rows, single = int(tape.shots.has_partitioned_shots), len(tape.measurements) == 1
    found = np.stack(values, axis=rows if single else rows + 1) if batched else values[0]
    if n_outcomes(tape) != [None]:
        return found
    return np.squeeze(found, rows + int(batched))
