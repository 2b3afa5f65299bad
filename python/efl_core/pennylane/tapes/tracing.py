"""How the parameters of a decomposition depend on those of the operation.

PennyLane's decompositions are functions of numbers, so the dependence is read off by evaluating them: at two
shifted points if every number depends on one parameter at most, at one more per parameter otherwise, and at a
last point that decides whether what was read off is true.
"""

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator

from efl_core.errors import InvalidInputError
from efl_core.pennylane.tapes.gates import ROTATIONS

__all__ = ["Form", "bound", "decompose", "described", "trace"]

Form = dict[int, complex]
"""The slopes of a number by the parameters of the circuit; a number that is fixed has none."""

TOLERANCE = 1e-9
PATCHED = (qml.ops.Evolution, qml.ops.CompositeOp)
WRAPPERS = (qml.ops.Adjoint, qml.ops.Pow, qml.ops.Controlled)


@dataclass(frozen=True, slots=True)
class _Evaluation:
    parts: list[Operator]
    signature: Sequence[object]
    numbers: NDArray[np.complex128]


def described(operation: object) -> str:
    """Return what an operation or a measurement is called in messages."""
    return " ".join(repr(operation).split())[:80]


def decompose(operation: Operator) -> list[Operator]:
    """Return PennyLane's decomposition."""
    with qml.QueuingManager.stop_recording():
        return _controlled_parts(operation) or list(operation.decomposition())


def _controlled_parts(operation: Operator) -> list[Operator] | None:
    """Return the parts of a controlled operation, each controlled.

    PennyLane prefers a general rule for one target, with angles that are not affine. None if the parts do not
    multiply to the operation with its phase, or if that is not known.
    """
    if not isinstance(operation, qml.ops.Controlled):
        return None
    base = operation.base
    if not (base.data and base.has_decomposition and base.has_matrix and len(base.wires) <= 3):
        return None
    parts = base.decomposition()
    product = qml.prod(*reversed(parts)).matrix(wire_order=base.wires)
    if not np.allclose(product, base.matrix(wire_order=base.wires), rtol=0, atol=TOLERANCE):
        return None
    return [qml.ctrl(part, operation.control_wires, operation.control_values) for part in parts]


def bound(operation: Operator, data: Sequence[Any]) -> Operator:
    """Return the operation with other data, as ``qml.ops.functions.bind_new_parameters`` intends it."""
    with qml.QueuingManager.stop_recording():
        return _bound(operation, list(data))


def _bound(operation: Operator, data: list[Any]) -> Operator:
    if operation.name in ROTATIONS:  # which are most gates, and do not have to be made anew
        changed = copy.copy(operation)
        changed.data = tuple(data)
        return changed
    # PennyLane 0.45 takes the coefficients of an evolution's generator for its data, and the operands of a
    # change of basis in the wrong order.
    if isinstance(operation, qml.ops.Evolution):
        return type(operation)(operation.base, *data)
    if isinstance(operation, qml.ops.CompositeOp):
        parts = [_bound(part, [data.pop(0) for _ in part.data]) for part in operation.operands]
        return type(operation)(*(parts[::-1] if isinstance(operation, qml.ops.ChangeOpBasis) else parts))
    if isinstance(operation, WRAPPERS) and isinstance(operation.base, (*WRAPPERS, *PATCHED)):
        changed = copy.copy(operation)
        changed.hyperparameters["base"] = _bound(operation.base, data)
        return changed
    return qml.ops.functions.bind_new_parameters(operation, data)


def trace(operation: Operator, traced: Sequence[int]) -> tuple[list[Operator], list[Form]]:
    """Decompose an operation and differentiate the parameters of the parts.

    Parameters
    ----------
    operation
        The operation.
    traced
        Positions of the parameters that vary, in its flattened data.

    Returns
    -------
    tuple
        The parts, and the slopes of their flattened data by the traced parameters.
    """
    base = _evaluate(operation)

    def change(step: NDArray[np.float64]) -> NDArray[np.complex128]:
        found = _evaluate(_shifted(operation, traced, step))
        if found.signature != base.signature:
            raise _refusal(operation, "decomposes into other gates at other parameters")
        return found.numbers - base.numbers

    try:
        with np.errstate(all="ignore"):
            rows = _slopes(change, len(traced))
    except InvalidInputError:
        raise
    except Exception as error:  # rules that check their input, for example that a matrix is unitary
        raise _refusal(operation, f"cannot be decomposed at other parameters ({error})") from error
    if rows is None:
        raise _refusal(operation, "decomposes into gates whose angles are not affine in it")
    if len({j for row in rows for j in row}) < len(traced):
        raise _refusal(operation, "decomposes into gates that do not depend on all of its parameters")
    return base.parts, rows


def _slopes(change: Callable[[NDArray[np.float64]], NDArray[np.complex128]], count: int) -> list[Form] | None:
    """Return the slopes of each number, None if one is not affine."""
    # Steps of unlike sizes: numbers that do not follow the slopes have no chance to agree.
    check = 0.5 + np.arange(1, count + 1) * (5**0.5 - 1) / 2 % 1
    expected = change(check)

    def confirmed(rows: list[Form]) -> bool:
        found = np.array([sum(s * check[j] for j, s in row.items()) for row in rows], dtype=complex)
        return bool(np.all(np.abs(found - expected) <= TOLERANCE * (1 + np.abs(expected))))

    # If each number depends on at most one parameter, a ramp tells which.
    level = change(np.ones(count))
    ramp = change(np.arange(1, count + 1) / count)
    rows: list[Form] = []
    for slope, rise in zip(_rounded(level), ramp, strict=True):
        j = round((rise / slope).real * count) - 1 if slope != 0 and np.isfinite(rise / slope) else -1
        rows.append({j: complex(slope)} if 0 <= j < count else {})
    if confirmed(rows):
        return rows

    columns = [_rounded(change(step)) for step in np.eye(count)]
    rows = [{j: complex(s) for j, s in enumerate(row) if s != 0} for row in np.transpose(columns)]
    return rows if confirmed(rows) else None


def _rounded(slopes: NDArray[np.complex128]) -> NDArray[np.complex128]:
    """Remove the rounding of differences: slopes are simple fractions as a rule."""
    near = np.round(slopes * 1024) / 1024
    return np.where(np.abs(near - slopes) < np.where(near == 0, 1e-14, 1e-12), near, slopes)


def _evaluate(operation: Operator) -> _Evaluation:
    parts = decompose(operation)
    signature = [(part.name, part.wires, [np.shape(d) for d in part.data]) for part in parts]
    data = [np.ravel(d) for part in parts for d in part.data]
    numbers = np.concatenate([np.zeros(0, complex), *data])
    return _Evaluation(parts, signature, numbers)


def _shifted(operation: Operator, traced: Sequence[int], step: NDArray[np.float64]) -> Operator:
    """Return the operation with other values of the traced parameters."""
    flat = [np.array(d, dtype=np.result_type(np.asarray(d).dtype, np.float64)) for d in operation.data]
    ends = np.cumsum([d.size for d in flat])
    changed = set()
    for position, shift in zip(traced, step, strict=True):
        which = int(np.searchsorted(ends, position, side="right"))
        flat[which].flat[position - ends[which]] += shift
        changed.add(which)
    data = [flat[i][()] if i in changed else d for i, d in enumerate(operation.data)]
    return bound(operation, data)


def _refusal(operation: Operator, reason: str) -> InvalidInputError:
    return InvalidInputError(
        f"tape: expected trainable parameters that enter gates as angles a * theta + b, got "
        f"{described(operation)}, which {reason}; leave its parameter out of tape.trainable_params "
        "(requires_grad=False), or write the gate as rotations"
    )
