"""Queries of a fleet as a Parquet file: a row for each that taught, or that waits for its label.

Columns: ``version`` (uint32), ``replica`` (uint64), ``incarnation`` (uint32), ``sequence`` (uint64),
``entries`` (the entries of the version's roster that it ran, a list of uint32), ``answers`` and ``teaches``
(planes of bits, as in packets), ``weights`` (a list of float64) and ``loss``, null where they are not known.

Invariant: the file appears complete or not at all. Cost: one row group at a time.
"""

import os
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

from efl_core.storage.atomic import replacement
from efl_core.storage.backend import pa, pq

__all__ = ["write_queries"]

GROUP = 1 << 16


def write_queries(rows: Iterable[dict[str, Any]], path: "str | os.PathLike[str]") -> int:
    """Write rows, and return how many there were."""
    schema = pa.schema(
        {
            "version": pa.uint32(),
            "replica": pa.uint64(),
            "incarnation": pa.uint32(),
            "sequence": pa.uint64(),
            "entries": pa.list_(pa.uint32()),
            "answers": pa.binary(),
            "teaches": pa.binary(),
            "weights": pa.list_(pa.float64()),
            "loss": pa.float64(),
        }
    )
    count = 0
    with (
        replacement(Path(path)) as file,
        pq.ParquetWriter(file, schema, compression="zstd", use_dictionary=False) as writer,
    ):
        for group in _groups(iter(rows)):
            writer.write_table(pa.Table.from_pylist(group, schema))
            count += len(group)
    return count


def _groups(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    while group := list(islice(rows, GROUP)):
        yield group
