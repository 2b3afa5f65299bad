"""Parquet files of snapshots.

zstd level 3, no dictionary, DELTA_BINARY_PACKED on version and sequence, statistics on the provenance
columns only (letters and outcomes have nothing to prune by), a CRC in every page.

Invariant: `read_parquet` returns exactly what `write_parquet` was given, or raises an error that names the
file. The CRCs of pages leave out headers and footer, so the file metadata hold one more: ``efl.checksum``,
the number of rows and a CRC-32 of every column and of what the metadata say. A file that another tool wrote
or edited has none that fits, and is read as ``from_arrow(pyarrow.parquet.read_table(path))``. The size that
a file declares is compared with a budget before any row is read, so a small file cannot declare its way to
all memory; a page forged to unpack to more than its share can still make pyarrow take up to 2 GiB per
column before it is refused.
Cost: writing holds one row group beside the snapshots; reading about twice the snapshots at its peak.
"""

import json
import os
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, SupportsIndex

from efl_core.errors import CorruptDataError, InputTypeError, InvalidInputError, ResourceLimitError
from efl_core.snapshots import Snapshots
from efl_core.storage.atomic import replacement
from efl_core.storage.backend import blame, pa, pq
from efl_core.storage.columns import Columns, assemble, budget, export, extract
from efl_core.storage.layout import PROVENANCE, Layout, read_ensemble, read_layout

__all__ = ["inspect", "read_parquet", "write_parquet"]

_CHECKSUM = b"efl.checksum"
_GROUP_ROWS = 1 << 20
_GROUP_BYTES = 1 << 26
_REMEDY = "from_arrow(pyarrow.parquet.read_table(path)) reads what another tool wrote or edited"


def write_parquet(snaps: Snapshots, path: "str | os.PathLike[str]") -> None:
    """Write a Parquet file; it appears complete, by rename, or not at all.

    A file that is replaced keeps its mode; a device, a pipe or a socket is not replaced.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import efl_core as efl
    >>> from efl_core import storage
    >>> snaps = efl.sample([0.6, 0.8], shots=1000, seed=1)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = pathlib.Path(directory, "snapshots.parquet")
    ...     storage.write_parquet(snaps, path)
    ...     storage.inspect(path)["snapshots"]
    1000
    """
    if not isinstance(snaps, Snapshots):
        raise InputTypeError.of("snaps", "Snapshots", type(snaps).__name__)
    layout = Layout.of(snaps)
    height = max(64, min(_GROUP_ROWS, _GROUP_BYTES // layout.row_bytes // 64 * 64))
    checksum = _Checksum(layout)
    with (
        replacement(_path(path)) as file,
        pq.ParquetWriter(file, layout.schema(), **_settings(layout)) as writer,
    ):
        for start in range(0, len(snaps), height):
            table, columns = export(snaps[start : start + height], layout)
            checksum.add(columns)
            writer.write_table(table, row_group_size=height)
        writer.add_key_value_metadata({**layout.metadata(), _CHECKSUM: checksum.text()})


def _settings(layout: Layout) -> dict[str, Any]:
    known = [name for name in PROVENANCE if name in layout.columns]
    delta = {name: "DELTA_BINARY_PACKED" for name in ("version", "sequence") if name in known}
    return {
        "version": "2.6",
        "compression": "zstd",
        "compression_level": 3,
        "use_dictionary": False,
        "column_encoding": delta or None,
        "write_statistics": known or False,
        "write_page_checksum": True,
        "store_schema": False,  # the types need none, and the metadata are added once the checksum is known
    }


def read_parquet(path: "str | os.PathLike[str]", *, max_bytes: SupportsIndex | None = None) -> Snapshots:
    """Read a file of `write_parquet`, after checking all of it.

    Parameters
    ----------
    path
        The file.
    max_bytes
        Largest size that the file may declare, unpacked. Half of the memory that is left if not given, since
        reading takes about twice that size.

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import efl_core as efl
    >>> from efl_core import storage
    >>> snaps = efl.sample([0.6, 0.8], shots=1000, seed=1)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = pathlib.Path(directory, "snapshots.parquet")
    ...     storage.write_parquet(snaps, path)
    ...     again = storage.read_parquet(path)
    ...     written = path.write_bytes(path.read_bytes()[:-100])
    ...     try:
    ...         storage.read_parquet(path)
    ...     except efl.CorruptDataError:
    ...         print("truncated")
    truncated
    >>> again == snaps
    True
    """
    limit = budget(max_bytes)
    with _open(path) as file:
        needed = file.rows * file.layout.row_bytes
        if needed > limit:
            raise ResourceLimitError(
                f"{file.source}: declares {needed} bytes of snapshots, the limit is {limit}; "
                "another can be given as max_bytes"
            )
        checksum = _Checksum(file.layout)
        snaps = assemble(file.source, file.layout, file.batches(checksum))
        checksum.compare(file.source, file.metadata)
    return snaps


def inspect(path: "str | os.PathLike[str]") -> dict[str, Any]:
    """Say what a file declares, without reading its rows.

    The keys are ``schema`` (the format), ``n_qubits``, ``snapshots``, ``columns``, ``ensemble`` (its kind),
    ``row_groups`` and ``bytes`` (of the file).

    Examples
    --------
    >>> import tempfile, pathlib
    >>> import efl_core as efl
    >>> from efl_core import storage
    >>> snaps = efl.sample([0.6, 0.8], shots=1000, seed=1)
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     path = pathlib.Path(directory, "snapshots.parquet")
    ...     snaps.write_parquet(path)
    ...     found = storage.inspect(path)
    >>> found["n_qubits"], found["columns"], found["ensemble"], found["row_groups"]
    (1, ['x', 'z', 'outcome'], 'uniform', 1)
    """
    with _open(path) as file:
        return {
            "schema": file.layout.format,
            "n_qubits": file.layout.n_qubits,
            "snapshots": file.rows,
            "columns": list(file.layout.columns),
            "ensemble": file.layout.ensemble.kind,
            "row_groups": len(file.group_rows),
            "bytes": file.size,
        }


class _Opened:
    """A file whose metadata have been checked."""

    def __init__(self, source: str, size: int, content: Any) -> None:  # noqa: ANN401 (a pyarrow file)
        self.source = source
        self.size = size
        with blame(source):
            self._file = pq.ParquetFile(content, pre_buffer=False, page_checksum_verification=True)
            footer = self._file.metadata
            self.metadata: dict[bytes, bytes] = footer.metadata or {}
            ensemble = read_ensemble(source, self.metadata)
            if ensemble is None:
                raise CorruptDataError(
                    f"{source}: a Parquet file, but not of snapshots: no efl.schema in its metadata"
                )
            self.layout = read_layout(source, self._file.schema_arrow, ensemble, ours=True)
            self.group_rows = [footer.row_group(i).num_rows for i in range(footer.num_row_groups)]
            self.rows = sum(self.group_rows)
            if footer.num_rows != self.rows or min(self.group_rows, default=0) < 0:
                raise CorruptDataError(
                    f"{source}: declares {footer.num_rows} rows, but groups of {self.group_rows[:10]}"
                )

    def batches(self, checksum: "_Checksum") -> Iterator[Columns]:
        """Read a row group at a time; what came is added to the checksum."""
        start = 0
        for group, rows in enumerate(self.group_rows):
            with blame(self.source):
                table = self._file.read_row_group(group, columns=list(self.layout.columns))
                batches = table.to_batches()
            if table.num_rows != rows:
                raise CorruptDataError(
                    f"{self.source}: row group {group} declares {rows} rows and has {table.num_rows}"
                )
            for batch in batches:
                columns = extract(self.source, self.layout, batch, start)
                start += batch.num_rows
                checksum.add(columns)
                yield columns


@contextmanager
def _open(path: "str | os.PathLike[str]") -> Iterator[_Opened]:
    found = _path(path)
    with open(found, "rb") as file:  # a missing file or a directory is named here, as Python names it
        size = os.fstat(file.fileno()).st_size
    with blame(str(found)):
        # not memory-mapped: a file that shrinks while it is read would end the process
        content = pa.OSFile(os.fsencode(found))
    with content:
        yield _Opened(str(found), size, content)


def _path(path: "str | os.PathLike[str]") -> Path:
    if not isinstance(path, (str, os.PathLike)):
        raise InputTypeError.of("path", "a path", type(path).__name__)
    found = Path(path)
    try:
        encoded = os.fsencode(found)
    except UnicodeEncodeError:
        raise InvalidInputError.of("path", "characters that a file system can hold", ascii(path)) from None
    if b"\0" in encoded:
        raise InvalidInputError.of("path", "a path without NUL", ascii(path))
    return found


class _Checksum:
    """CRC-32 of every column, whatever the batches it comes in, and of the layout; and the number of rows."""

    def __init__(self, layout: Layout) -> None:
        self._found = dict.fromkeys(layout.columns, 0) | {"metadata": layout.checksum(), "rows": 0}

    def add(self, columns: Columns) -> None:
        for name, column in columns.items():
            stored = column.astype(column.dtype.newbyteorder("<"), copy=False)
            self._found[name] = zlib.crc32(stored, self._found[name])
        self._found["rows"] += len(columns["outcome"])

    def text(self) -> bytes:
        return json.dumps(self._found).encode()

    def compare(self, source: str, metadata: dict[bytes, bytes]) -> None:
        """Raise an error that names what differs from the metadata of a file."""
        try:
            written = json.loads(metadata[_CHECKSUM])
        except (KeyError, ValueError, RecursionError):
            written = None
        if not isinstance(written, dict):
            raise CorruptDataError(f"{source}: no efl.checksum in its metadata; {_REMEDY}")
        names = [name for name in self._found | written if self._found.get(name) != written.get(name)]
        if names:
            raise CorruptDataError(f"{source}: the checksum of {', '.join(names)} does not fit; {_REMEDY}")
