"""Arrow tables and streams: snapshots from and to any library that speaks the Arrow C stream interface.

Invariant: `from_arrow` returns checked snapshots or raises; what `to_arrow` returns is read-only. A stream
lives in this process, so its memory is trusted to be as long as it says: the interface does not carry
lengths of buffers.
Cost: `to_arrow` transposes once; `from_arrow` reads batches where they are, a part at a time, then joins
the parts.
"""

from collections.abc import Iterator
from typing import SupportsIndex

from efl_core._native import Ensemble
from efl_core.errors import (
    CorruptDataError,
    EflError,
    InputTypeError,
    InvalidInputError,
    ResourceLimitError,
    ShapeError,
)
from efl_core.snapshots import Snapshots
from efl_core.storage.backend import RecordBatch, Table, blame, pa
from efl_core.storage.columns import Columns, assemble, budget, export, extract
from efl_core.storage.layout import Layout, read_ensemble, read_layout

__all__ = ["from_arrow", "to_arrow"]

_SOURCE = "Arrow data"


def to_arrow(snaps: Snapshots) -> Table:
    """Return a ``pyarrow.Table`` of packed rows, read-only.

    Examples
    --------
    >>> import efl_core as efl
    >>> from efl_core import storage
    >>> snaps = efl.Snapshots.from_arrays(bits=[[0, 1], [1, 1]], bases=[[0, 2], [2, 1]])
    >>> table = storage.to_arrow(snaps)
    >>> table.schema.metadata[b"efl.n_qubits"], table["outcome"][1].as_py().hex()
    (b'2', '0300000000000000')
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    return export(snaps, Layout.of(snaps))[0]


def from_arrow(
    data: object, *, ensemble: Ensemble | None = None, max_bytes: SupportsIndex | None = None
) -> Snapshots:
    """Read exported snapshots from any object with an Arrow stream: pyarrow, polars, duckdb ...

    Parameters
    ----------
    data
        An object with ``__arrow_c_stream__`` whose record batches have the columns of `to_arrow`, in any
        order. Rows may have been filtered, sorted or cut into batches. Other columns are left alone, as
        tables are passed around with labels of one's own: a misspelt provenance column is left alone too.
    ensemble
        What the settings were drawn from, which also says the number of qubits. Needed if the schema
        metadata are lost, as polars and duckdb lose them; if they are there, it has to agree.
    max_bytes
        Largest size of the snapshots, packed: a stream does not say how long it is, and may have no end.
        Half of the memory that is left if not given, since joining the parts takes about twice that size.

    Examples
    --------
    >>> import efl_core as efl
    >>> from efl_core import storage
    >>> snaps = efl.Snapshots.from_arrays(bits=[[0, 1], [1, 1]], bases=[[0, 2], [2, 1]])
    >>> table = snaps.to_arrow()
    >>> storage.from_arrow(table.slice(1)) == snaps[1:]
    True
    >>> bare = table.replace_schema_metadata(None)
    >>> storage.from_arrow(bare, ensemble=snaps.ensemble) == snaps
    True
    """
    if not hasattr(data, "__arrow_c_stream__"):
        raise InputTypeError.of("data", "an object with __arrow_c_stream__", type(data).__name__)
    if ensemble is not None and not isinstance(ensemble, Ensemble):
        raise InputTypeError.of("ensemble", "an Ensemble", type(ensemble).__name__)
    limit = budget(max_bytes)
    try:
        reader = pa.RecordBatchReader.from_stream(data)
    except EflError:
        raise
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise InputTypeError(
            f"data: expected a stream of record batches, {type(data).__name__} gave none ({error})"
        ) from error
    with blame(_SOURCE):
        found = _agree(read_ensemble(_SOURCE, reader.schema.metadata), ensemble)
        layout = read_layout(_SOURCE, reader.schema, found, ours=False)
    return assemble(_SOURCE, layout, _batches(reader, layout, limit))


def _agree(stored: Ensemble | None, given: Ensemble | None) -> Ensemble:
    if stored is None:
        if given is None:
            raise CorruptDataError(
                f"{_SOURCE}: the schema metadata have no efl.schema; if another library dropped them, "
                "as polars does, pass ensemble=, for instance Ensemble.uniform(n_qubits)"
            )
        return given
    if given is not None and given.n_qubits != stored.n_qubits:
        raise ShapeError.of("ensemble", f"{stored.n_qubits} qubits, as stored", given.n_qubits)
    if given is not None and given != stored:
        raise InvalidInputError.of(
            "ensemble", "the stored ensemble, or none (with_ensemble changes it after)", "another"
        )
    return stored


def _batches(reader: RecordBatch, layout: Layout, limit: int) -> Iterator[Columns]:
    start = 0
    while True:
        with blame(_SOURCE):
            try:
                batch = reader.read_next_batch()
            except StopIteration:
                return
        needed = (start + batch.num_rows) * layout.row_bytes
        if needed > limit:
            raise ResourceLimitError(
                f"{_SOURCE}: {needed} bytes of snapshots or more, the limit is {limit}; "
                "another can be given as max_bytes"
            )
        if batch.num_rows:
            yield extract(_SOURCE, layout, batch, start)
            start += batch.num_rows
