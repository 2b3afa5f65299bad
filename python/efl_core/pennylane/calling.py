"""What PennyLane is doing when it asks for a gradient.

A gradient transform is handed a tape and its own options; the device, the order of the derivative and the
chain rule stay with the caller. A device that is given as an option goes first. Without one, it is read off
the calling frames, where PennyLane's Jacobian product holds it under private names; the classical slopes of a
QNode's tape are, too. They only choose how to submit, what to refuse and what errors are about: where no
caller is found, tapes of samples serve every device, and errors are those by the parameters of the tape.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Literal

import numpy as np
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

__all__ = ["Found", "find_device", "find_slopes", "find_tapes"]


@dataclass(frozen=True, slots=True)
class Found:
    """A device, and who named it."""

    device: Device | None
    by: Literal["option", "frame"] | None


def find_device(given: Device | None) -> Found:
    """Return the device whose gradient is asked for, given or seen; refuse second derivatives."""
    seen = _calling_device()  # in any case: it refuses
    if given is not None:
        return Found(given, "option")
    return Found(seen, None if seen is None else "frame")


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


def _calling_device() -> Device | None:
    for frame in _frames():
        caller = frame.f_locals.get("self")
        if isinstance(caller, TransformJacobianProducts):
            return _device_of(caller._inner_execute)
    return None


def _frames() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _device_of(execute: Callable[..., Any]) -> Device | None:
    if isinstance(execute, partial):  # the gradient is to be differentiated again
        raise InvalidInputError(
            "max_diff: expected 1, as gradients from snapshots have no further derivative, got 2 or more; "
            'for a Hessian use diff_method="parameter-shift"'
        )
    names = getattr(execute, "__code__", None)
    cells = getattr(execute, "__closure__", None) or ()
    held = dict(zip(names.co_freevars if names else (), cells, strict=False))
    found = held["device"].cell_contents if "device" in held else None
    return found if isinstance(found, Device) else None
