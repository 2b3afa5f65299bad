"""Snapshots at rest and in transit: Parquet files and Arrow tables.

One row per snapshot. Columns ``x``, ``z`` and ``outcome`` are bit planes of ``fixed_size_binary``, 8 bytes
for every 64 qubits begun, in little-endian words: qubit q is bit ``q % 64`` of word ``q // 64``, a letter is
(x, z) = X 10, Y 11, Z 01, and padding bits are zero. Settings that are drawn from lists have a column
``setting`` in the place of ``x`` and ``z``: an index for each block, 4 bytes little-endian, together one
``fixed_size_binary``. Columns ``version`` (uint32), ``replica`` and ``sequence`` (uint64) are there if
known. The schema metadata say the rest: ``efl.schema`` (the format, 1 for letters and 2 for lists),
``efl.n_qubits`` and ``efl.ensemble`` (JSON; product settings by their letters, others by their gates).

Invariant: what a reader returns has been checked down to every bit, or it raises an error of
`efl_core.errors` that names the source and what is wrong with it. A file also carries a checksum of its
content, so `read_parquet` returns what was written or raises; and it appears under its name complete or not
at all.
Cost: 24 bytes a row for up to 64 qubits, 20 more with all provenance, before compression. Importing this
module imports pyarrow, which no other module of the package does.

Examples
--------
>>> import tempfile, pathlib
>>> import efl_core as efl
>>> from efl_core import storage
>>> snaps = efl.Snapshots.from_arrays(bits=[[0, 1], [1, 1]], bases=[[0, 2], [2, 1]], version=7)
>>> with tempfile.TemporaryDirectory() as directory:
...     path = pathlib.Path(directory, "snapshots.parquet")
...     storage.write_parquet(snaps, path)
...     storage.read_parquet(path) == snaps
True
>>> storage.to_arrow(snaps).column_names
['x', 'z', 'outcome', 'version']
"""

from efl_core.storage.parquet import inspect, read_parquet, write_parquet
from efl_core.storage.stream import from_arrow, to_arrow

__all__ = ["from_arrow", "inspect", "read_parquet", "to_arrow", "write_parquet"]
