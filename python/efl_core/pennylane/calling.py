"""What PennyLane is doing when it asks for a gradient.

A gradient transform is handed a tape and its own options; the device and the order of the derivative stay
with the caller. A device that is given as an option goes first. Without one, both are read off the calling
frames, where PennyLane's Jacobian product holds them under private names. They only choose how to submit and
what to refuse: where no caller is found, tapes of samples serve every device.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import FrameType
from typing import Any, Literal

from pennylane.devices import Device
from pennylane.workflow.jacobian_products import TransformJacobianProducts

from efl_core.errors import InvalidInputError

__all__ = ["Found", "find_device"]


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


def _calling_device() -> Device | None:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        caller = frame.f_locals.get("self")
        if isinstance(caller, TransformJacobianProducts):
            return _device_of(caller._inner_execute)
        frame = frame.f_back
    return None


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
