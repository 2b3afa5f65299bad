"""What PennyLane is doing when it asks for a gradient.

A gradient transform is handed a tape and its own options; the device, the order of the derivative and the
chain rule stay with the caller. Gradients have no derivatives of their own: who asks for a Hessian is told.

A device that is given as an option goes first. Without one, it is read off the calling frames, where
PennyLane's Jacobian product holds it under private names; the classical slopes of a QNode's tape are, too.
They only choose how to submit, what to refuse and what errors are about: where no caller is found, tapes of
samples serve every device, and errors are those by the parameters of the tape.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Literal, TypeAlias

import numpy as np
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.tracer import trace_stack
from numpy.typing import NDArray
from pennylane.devices import Device
from pennylane.tape import QuantumScript
from pennylane.transforms.core import CompilePipeline
from pennylane.workflow.jacobian_products import (
    DeviceDerivatives,
    DeviceJacobianProducts,
    TransformJacobianProducts,
)

from efl_core.errors import InvalidInputError

__all__ = [
    "Found",
    "find_device",
    "find_slopes",
    "find_tapes",
    "refuse_second_derivatives",
    "second_derivative",
]

Execute: TypeAlias = Callable[[Sequence[QuantumScript]], Any]
# What JAX puts in the place of a number whose use it records to differentiate it.
JAX_RECORDS = ("JVPTracer", "LinearizeTracer")


@dataclass(frozen=True, slots=True)
class Found:
    """A device, and who named it."""

    device: Device | None
    by: Literal["option", "frame"] | None
    execute: Execute | None = None
    """What runs tapes, where PennyLane would record them for further derivatives (``max_diff=2``)."""


def find_device(given: Device | None) -> Found:
    """Return the device whose gradient is asked for, given or seen."""
    caller = _jacobian_product()
    execute = None if caller is None else caller._inner_execute
    recorded = isinstance(execute, partial)
    while isinstance(execute, partial):
        execute = execute.keywords["execute_fn"]
    seen = _device_of(execute)
    at_once = execute if recorded else None
    if given is not None:
        return Found(given, "option", at_once)
    return Found(seen, None if seen is None else "frame", at_once)


def refuse_second_derivatives(tape: QuantumScript) -> None:
    """Refuse a gradient whose own derivative is being recorded: it would be zero, and wrong."""
    parameters = tape.get_parameters()
    if any(map(_is_recorded_twice, parameters)):
        raise second_derivative()


def second_derivative() -> InvalidInputError:
    """Return the refusal of a derivative of a gradient."""
    return InvalidInputError(
        "diff_method: expected first derivatives, as gradients from snapshots have no further ones, got "
        'a derivative of one; for a Hessian use diff_method="parameter-shift" and max_diff=2'
    )


def _is_recorded_twice(parameter: Any) -> bool:  # noqa: ANN401 (of any interface)
    """Say whether somebody differentiates what is done with a parameter within the derivative by it."""
    while isinstance(parameter, ArrayBox):
        if parameter._trace <= trace_stack.top:  # which has ended where PennyLane asks
            return True
        parameter = parameter._value
    if type(parameter).__name__ in JAX_RECORDS:
        return True
    torch = sys.modules.get("torch")  # whose backward pass records only with create_graph
    if torch is None or not isinstance(parameter, torch.Tensor):
        return False
    return bool(parameter.requires_grad) and torch.is_grad_enabled() and _jacobian_product() is not None


def find_slopes(count: int) -> NDArray[np.float64] | None:
    """Return the slopes of a tape's parameters by the arguments of the QNode that a transform is applied to.

    PennyLane applies the chain rule to what the transform returns; None where it does not.
    """
    for frame in _frames():
        caller = frame.f_locals.get("self")
        if isinstance(caller, CompilePipeline) and {"bound_transform", "tape_idx"} <= frame.f_locals.keys():
            if caller.cotransform_cache is None:
                return None
            transform, index = frame.f_locals["bound_transform"], frame.f_locals["tape_idx"]
            found = caller.cotransform_cache.get_classical_jacobian(transform, index)
            parts = found if isinstance(found, (tuple, list)) else [found]
            tables = [np.reshape(np.asarray(part, dtype=np.float64), (count, -1)) for part in parts]
            return np.concatenate(tables, axis=1)
    return None


def find_tapes(circuits: Sequence[QuantumScript]) -> Sequence[QuantumScript]:
    """Return the tapes that a device is handed without their interface, as PennyLane has them."""
    for frame in _frames():
        if isinstance(frame.f_locals.get("self"), (DeviceDerivatives, DeviceJacobianProducts)):
            tapes = frame.f_locals.get("tapes")
            if isinstance(tapes, (tuple, list)) and len(tapes) == len(circuits):
                return tapes
    return circuits


def _jacobian_product() -> TransformJacobianProducts | None:
    for frame in _frames():
        caller = frame.f_locals.get("self")
        if isinstance(caller, TransformJacobianProducts):
            return caller
    return None


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _device_of(execute: Execute | None) -> Device | None:
    names = getattr(execute, "__code__", None)
    cells = getattr(execute, "__closure__", None) or ()
    held = dict(zip(names.co_freevars if names else (), cells, strict=False))
    found = held["device"].cell_contents if "device" in held else None
    return found if isinstance(found, Device) else None
