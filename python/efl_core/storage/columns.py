"""Between Arrow arrays and numpy arrays, without a copy where memory allows it.

Invariant: the numpy array has exactly the rows of the Arrow array (its offset and length, no nulls, every
value of the exact width), is read-only, C-contiguous, aligned and in native byte order. Letters and padding
are checked later, by the core.
Cost: none; a copy of the column if its memory is misaligned, if the host is big-endian, or for binary
views.
"""

from collections.abc import Iterable, Mapping
from typing import Any, SupportsIndex, TypeAlias

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.arguments import integer
from efl_core.errors import CorruptDataError
from efl_core.snapshots import Snapshots
from efl_core.storage.backend import Array, RecordBatch, Table, blame, pa
from efl_core.storage.layout import PROVENANCE, Layout

__all__ = ["Columns", "assemble", "budget", "export", "extract"]

Columns: TypeAlias = Mapping[str, NDArray[Any]]

_ROWS = ("x", "z", "outcome", "setting")
"""The tables of the core, in its order; those that an ensemble has no use for have no columns."""
_PART_BYTES = 1 << 25
"""Batches are gathered to parts of about this size before the core checks and transposes them."""


def export(snaps: Snapshots, layout: Layout) -> tuple[Table, Columns]:
    """Return a table that shares the memory of the columns returned with it."""
    rows: dict[str, NDArray[Any]] = dict(zip(_ROWS, snaps._native.rows(), strict=True))
    columns = {name: rows[name] if name in rows else getattr(snaps, name) for name in layout.columns}
    arrays = []
    for name, column in columns.items():
        stored = column.astype(column.dtype.newbyteorder("<"), copy=False)
        stored.flags.writeable = False
        columns[name] = stored
        arrays.append(pa.Array.from_buffers(layout.type(name), len(snaps), [None, pa.py_buffer(stored)], 0))
    return pa.Table.from_arrays(arrays, schema=layout.schema()), columns


def extract(source: str, layout: Layout, batch: RecordBatch, start: int) -> Columns:
    """Return the columns of a batch whose first row is row ``start`` of the source."""
    with blame(source):
        batch = batch.select(list(layout.columns))
        batch.validate(full=True)
        return {name: _column(source, layout, name, batch.column(name), start) for name in layout.columns}


def _column(source: str, layout: Layout, name: str, array: Array, start: int) -> NDArray[Any]:
    if array.null_count:
        row = start + array.is_null().index(True).as_py()
        raise CorruptDataError(f"{source}: column {name}: row {row} is null")
    if name in PROVENANCE:
        dtype: np.dtype[Any] = np.dtype(PROVENANCE[name])
        return _view(array.buffers()[1], dtype, array.offset * dtype.itemsize, len(array))
    count, width = len(array), layout.width(name)
    numbers, kind = layout.shape(name)
    if pa.types.is_fixed_size_binary(array.type):
        data, first = array.buffers()[1], array.offset * width
    else:
        data, first = _even(source, name, array, width, start)
    return _view(data, np.dtype(kind), first, count * numbers).reshape(count, numbers)


def _even(source: str, name: str, array: Array, width: int, start: int) -> tuple[Any, int]:
    """Check that all values of a binary column have one width; return its data and where they start."""
    if pa.types.is_binary_view(array.type):
        array = array.cast(pa.large_binary())
    if len(array) == 0:
        return None, 0
    dtype = np.dtype(np.int64 if pa.types.is_large_binary(array.type) else np.int32)
    offsets = _view(array.buffers()[1], dtype, array.offset * dtype.itemsize, len(array) + 1)
    wrong = np.flatnonzero(np.diff(offsets) != width)
    if wrong.size:
        row = int(wrong[0])
        found = int(offsets[row + 1] - offsets[row])
        raise CorruptDataError(
            f"{source}: column {name}: expected {width} bytes in every row, got {found} in row {start + row}"
        )
    return array.buffers()[2], int(offsets[0])


def _view(buffer: Any, dtype: np.dtype[Any], first: int, count: int) -> NDArray[Any]:  # noqa: ANN401
    """Return ``count`` numbers from byte ``first`` of an Arrow buffer."""
    if count == 0:
        return np.empty(0, dtype)
    found = np.frombuffer(buffer, dtype.newbyteorder("<"), count, first)
    found.flags.writeable = False
    return np.require(found, dtype, ["C", "A"])


def budget(max_bytes: SupportsIndex | None) -> int:
    """Return how many bytes may be read: if not given, half of the memory left, as joining doubles it."""
    return _native.memory_budget() if max_bytes is None else integer("max_bytes", max_bytes, 0)


def assemble(source: str, layout: Layout, batches: Iterable[Columns]) -> Snapshots:
    """Check the bits of all batches, in order, and join them."""
    parts: list[Snapshots] = []
    gathered: list[Columns] = []
    start = rows = 0
    for batch in batches:
        gathered.append(batch)
        rows += len(batch["outcome"])
        if rows * layout.row_bytes >= _PART_BYTES:
            parts.append(_check(source, layout, gathered, start))
            gathered, start, rows = [], start + rows, 0
    if gathered or not parts:
        parts.append(_check(source, layout, gathered, start))
    return parts[0] if len(parts) == 1 else Snapshots.concat(parts)


def _check(source: str, layout: Layout, batches: list[Columns], start: int) -> Snapshots:
    def column(name: str) -> NDArray[Any]:
        if not batches:
            if name in PROVENANCE:
                return np.empty(0, PROVENANCE[name])
            numbers, kind = layout.shape(name)
            return np.empty((0, numbers), kind)
        return batches[0][name] if len(batches) == 1 else np.concatenate([batch[name] for batch in batches])

    outcome = column("outcome")
    x, z, settings = (
        column(name) if name in layout.columns else np.empty((len(outcome), 0), kind)
        for name, kind in (("x", np.uint64), ("z", np.uint64), ("setting", np.uint32))
    )
    version, replica, sequence = (column(name) if name in layout.columns else None for name in PROVENANCE)
    try:
        native = _native.Snapshots.from_rows(
            x, z, outcome, settings, layout.ensemble, version, replica, sequence, layout.allocated
        )
    except CorruptDataError as error:
        raise CorruptDataError(f"{source}: counting rows from {start}: {error}") from error
    return Snapshots(native)
