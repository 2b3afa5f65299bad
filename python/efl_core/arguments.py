"""Checks of arguments that several functions share.

What comes out has the type that the signature says; anything else is an error that names the argument.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.errors import InputTypeError, InvalidInputError, ShapeError

__all__ = ["array", "byte_table", "check_range", "column", "integer", "real"]

Unsigned = TypeVar("Unsigned", np.uint32, np.uint64)


def integer(name: str, value: object, least: int, most: int = 2**63 - 1) -> int:
    """Return an integer within bounds; floats and strings are refused."""
    try:
        found = int(value.__index__())  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise InputTypeError(
            f"{name}: expected an integer, got {type(value).__name__} {value!r:.40}"
        ) from None
    if not least <= found <= most:
        raise InvalidInputError(f"{name}: expected an integer from {least} to {most}, got {found}")
    return found


def real(name: str, value: object, expected: str = "a real number") -> float:
    """Return a real number; text and complex numbers are refused."""
    wrong = InputTypeError(f"{name}: expected {expected}, got {type(value).__name__} {value!r:.40}")
    if isinstance(value, (str, bytes, complex, np.complexfloating)):
        raise wrong
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise wrong from None
    except OverflowError:
        raise InvalidInputError(
            f"{name}: expected a number that a float can hold, got a larger one"
        ) from None


def array(name: str, value: ArrayLike, expected: str) -> NDArray[Any]:
    """Return an array of numbers."""
    try:
        found = np.asarray(value)
    except ValueError:
        raise ShapeError(f"{name}: expected {expected}, got rows of different lengths") from None
    if found.dtype.kind not in "biufc":
        raise InputTypeError(f"{name}: expected {expected}, got dtype {found.dtype}")
    return found


def byte_table(name: str, value: ArrayLike, most: int) -> NDArray[np.uint8]:
    """Return a (shots, qubits) table as C-contiguous uint8, without a copy if it is one byte wide already."""
    expected = f"integers from 0 to {most} of shape (shots, n_qubits)"
    found = array(name, value, expected)
    if found.dtype.kind not in "biu":
        raise InputTypeError(f"{name}: expected {expected}, got dtype {found.dtype}")
    if found.ndim != 2 or found.shape[1] == 0:
        raise ShapeError(f"{name}: expected shape (shots, n_qubits), got {found.shape}")
    if found.dtype.itemsize > 1:
        check_range(name, found, most)
        return found.astype(np.uint8, order="C")
    return np.ascontiguousarray(found).view(np.uint8)


def check_range(name: str, table: NDArray[Any], most: int) -> None:
    """Refuse the first value of a table that is not an integer from 0 to ``most``."""
    bad = (table < 0) | (table > most)
    if bad.any():
        row, qubit = (int(i) for i in np.argwhere(bad)[0])
        raise InvalidInputError(
            f"{name}[{row}, {qubit}]: expected an integer from 0 to {most}, got {table[row, qubit]}"
        )


def column(
    name: str, value: ArrayLike | None, dtype: type[Unsigned], length: int
) -> NDArray[Unsigned] | None:
    """Return an optional column of unsigned integers, one per snapshot."""
    if value is None:
        return None
    limits = np.iinfo(dtype)
    expected = f"integers from 0 to {limits.max}, one per snapshot"
    found = array(name, value, expected)
    if found.dtype.kind not in "biu" and found.size:
        raise InputTypeError(f"{name}: expected {expected}, got dtype {found.dtype}")
    if found.ndim == 0:
        found = np.broadcast_to(found, length)
    if found.shape != (length,):
        raise ShapeError(f"{name}: expected shape ({length},), got {found.shape}")
    if found.size and (found.min() < 0 or found.max() > limits.max):
        raise InvalidInputError(
            f"{name}: expected {expected}, got values from {found.min()} to {found.max()}"
        )
    return np.ascontiguousarray(found, dtype=dtype)
