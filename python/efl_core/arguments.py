"""Checks of arguments that several functions share.

What comes out has the type that the signature says; anything else is an error that names the argument.
"""

from typing import Any, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.errors import InputTypeError, InvalidInputError, ShapeError

__all__ = ["array", "byte_table", "check_range", "column", "described", "integer", "listed", "real"]

Unsigned = TypeVar("Unsigned", np.uint32, np.uint64)


def described(value: object) -> str:
    """Return what came, for a message: its type, and a short form of it."""
    try:
        return f"{type(value).__name__} {value!r:.40}"
    except Exception:  # a message must not fail where the __repr__ of what came does
        return type(value).__name__


def integer(name: str, value: object, least: int, most: int = 2**63 - 1) -> int:
    """Return an integer within bounds; floats and strings are refused."""
    try:
        found = int(value.__index__())  # type: ignore[attr-defined]
    except (AttributeError, TypeError):
        raise InputTypeError.of(name, "an integer", described(value)) from None
    if not least <= found <= most:
        # Python refuses to spell numbers of thousands of digits.
        got = found if found.bit_length() <= 256 else "a larger one"
        raise InvalidInputError.of(name, f"an integer from {least} to {most}", got)
    return found


def real(name: str, value: object, expected: str = "a real number") -> float:
    """Return a real number; text and complex numbers are refused."""
    if isinstance(value, (str, bytes, complex, np.complexfloating)):
        raise InputTypeError.of(name, expected, described(value))
    try:
        return float(value)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise InputTypeError.of(name, expected, described(value)) from None
    except OverflowError:
        raise InvalidInputError.of(name, "a number that a float can hold", "a larger one") from None


def listed(name: str, value: object, expected: str) -> list[Any]:
    """Return the items of a sequence; text is none."""
    if isinstance(value, (str, bytes)):
        raise InputTypeError.of(name, expected, described(value))
    try:
        items = iter(value)  # type: ignore[call-overload]
    except TypeError:  # of an array without axes, too
        raise InputTypeError.of(name, expected, described(value)) from None
    return list(items)


def array(name: str, value: ArrayLike, expected: str) -> NDArray[Any]:
    """Return an array of numbers. What a framework raises on a tracer or a tensor on a device passes."""
    try:
        found = np.asarray(value)
    except ValueError:
        raise ShapeError.of(name, expected, "rows of different lengths") from None
    except TypeError:
        first = value[0] if isinstance(value, (list, tuple)) and value else value
        if type(first).__module__.partition(".")[0] == "efl_core":  # a sequence of no numbers, as snapshots
            raise InputTypeError.of(name, expected, type(first).__name__) from None
        raise
    if found.dtype.kind not in "biufc":
        raise InputTypeError.of(name, expected, f"dtype {found.dtype}")
    return found


def byte_table(name: str, value: ArrayLike, most: int) -> NDArray[np.uint8]:
    """Return a (shots, qubits) table as C-contiguous uint8, without a copy if it is one byte wide already."""
    expected = f"integers from 0 to {most} of shape (shots, n_qubits)"
    found = array(name, value, expected)
    if found.dtype.kind not in "biu":
        raise InputTypeError.of(name, expected, f"dtype {found.dtype}")
    if found.ndim != 2 or found.shape[1] == 0:
        raise ShapeError.of(name, "shape (shots, n_qubits)", found.shape)
    if found.dtype.itemsize > 1:
        check_range(name, found, most)
        return found.astype(np.uint8, order="C")
    return np.ascontiguousarray(found).view(np.uint8)


def check_range(name: str, table: NDArray[Any], most: int) -> None:
    """Refuse the first value of a table that is not an integer from 0 to ``most``."""
    bad = (table < 0) | (table > most)
    if bad.any():
        row, qubit = (int(i) for i in np.argwhere(bad)[0])
        place = f"{name}[{row}, {qubit}]"
        raise InvalidInputError.of(place, f"an integer from 0 to {most}", table[row, qubit])


def column(
    name: str, value: ArrayLike | None, dtype: type[Unsigned], length: int
) -> NDArray[Unsigned] | None:
    """Return an optional column of unsigned integers, one per snapshot."""
    if value is None:
        return None
    limits = np.iinfo(dtype)
    expected = f"integers from 0 to {limits.max}, one per snapshot"
    found = array(name, value, expected)
    if found.dtype.kind not in "iu" and found.size:
        raise InputTypeError.of(name, expected, f"dtype {found.dtype}")
    if found.size and (found.min() < 0 or found.max() > limits.max):
        raise InvalidInputError.of(name, expected, f"values from {found.min()} to {found.max()}")
    if found.ndim == 0:
        found = np.broadcast_to(found, length)
    if found.shape != (length,):
        raise ShapeError.of(name, f"shape ({length},)", found.shape)
    return np.ascontiguousarray(found, dtype=dtype)
