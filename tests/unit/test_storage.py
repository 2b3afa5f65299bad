"""Parquet and Arrow: round trips, what readers refuse and how they say it, and files that appear whole."""

import itertools
import json
import os
import signal
import stat
import subprocess
import sys
import textwrap
import time

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import efl_core as efl
from efl_core import storage
from efl_core.storage import columns, parquet


def make(n, shots, *, provenance=True, biased=False, seed=0):
    rng = np.random.default_rng(seed)
    ensemble = None
    if biased:
        weights = rng.random((n, 3))
        ensemble = efl.Ensemble.biased(weights / weights.sum(1, keepdims=True))
    known = {}
    if provenance:
        known = {
            "version": rng.integers(0, 2**32, shots),
            "replica": rng.integers(0, 2**64, shots, dtype=np.uint64),
            "sequence": rng.integers(0, 2**64, shots, dtype=np.uint64),
        }
    bits, bases = rng.integers(0, 2, (shots, n)), rng.integers(0, 3, (shots, n))
    return efl.Snapshots.from_arrays(bits, bases, ensemble=ensemble, **known)


def same(a, b):
    for left, right in zip(a.to_arrays(), b.to_arrays(), strict=True):
        np.testing.assert_array_equal(left, right)
    for name in ("version", "replica", "sequence"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None)
        assert left is None or (left.dtype == right.dtype and (left == right).all())
    assert a.ensemble == b.ensemble
    return a == b


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshots.parquet"


# Round trips


@pytest.mark.parametrize("biased", [False, True])
@pytest.mark.parametrize("provenance", [False, True])
@pytest.mark.parametrize("shots", [0, 1, 63, 64, 130])
@pytest.mark.parametrize("n", [1, 10, 64, 65, 200])
def test_round_trips(path, n, shots, provenance, biased):
    snaps = make(n, shots, provenance=provenance, biased=biased)
    snaps.write_parquet(path)
    assert same(efl.Snapshots.read_parquet(path), snaps)
    assert same(efl.Snapshots.from_arrow(snaps.to_arrow()), snaps)
    assert same(efl.Snapshots.from_arrow(snaps), snaps)


def test_one_provenance_column_alone(path):
    snaps = make(5, 70, provenance=False).with_provenance(replica=9)
    snaps.write_parquet(path)
    again = efl.Snapshots.read_parquet(path)
    assert same(again, snaps)
    assert again.version is None
    assert (again.replica == 9).all()


def test_probabilities_keep_every_bit(path):
    ensemble = efl.Ensemble.biased([[0.1, 0.2, 0.7], [1 / 3, 1 / 3, 1 / 3], [5e-324, 0.0, 1.0]])
    snaps = make(3, 10).with_ensemble(ensemble)
    snaps.write_parquet(path)
    found = efl.Snapshots.read_parquet(path).ensemble.probabilities
    assert found.tobytes() == ensemble.probabilities.tobytes()


def test_slices_of_snapshots_and_of_tables():
    snaps = make(70, 300)
    table = snaps.to_arrow()
    for start, length in ((0, 300), (1, 64), (65, 130), (299, 1), (300, 0)):
        part = snaps[start : start + length]
        assert same(efl.Snapshots.from_arrow(part), part)
        assert same(efl.Snapshots.from_arrow(table.slice(start, length)), part)


def test_many_chunks_with_offsets_and_empty_ones():
    snaps = make(10, 200)
    batch = snaps.to_arrow().to_batches()[0]
    cuts = [0, 0, 7, 64, 65, 65, 129, 200, 200]
    table = pa.Table.from_batches([batch.slice(a, b - a) for a, b in itertools.pairwise(cuts)])
    assert same(efl.Snapshots.from_arrow(table), snaps)
    assert same(efl.Snapshots.from_arrow(table.to_reader()), snaps)
    assert same(efl.Snapshots.from_arrow(batch.slice(3)), snaps[3:])


def test_columns_chunked_differently_in_another_order_with_one_of_the_users_own():
    snaps = make(10, 100)
    table = snaps.to_arrow()
    x = pa.chunked_array([table["x"].chunk(0).slice(0, 33), table["x"].chunk(0).slice(33)])
    table = table.set_column(0, table.schema.field("x"), x).append_column("label", pa.array(["cat"] * 100))
    table = table.select(list(reversed(table.column_names)))
    assert same(efl.Snapshots.from_arrow(table), snaps)


def test_parts_are_joined_in_order(monkeypatch, path):
    snaps = make(3, 1000)
    monkeypatch.setattr(columns, "_PART_BYTES", 1000)
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 192)
    snaps.write_parquet(path)
    assert storage.inspect(path)["row_groups"] == 6
    assert same(efl.Snapshots.read_parquet(path), snaps)
    batches = snaps.to_arrow().to_batches(max_chunksize=11)
    assert same(efl.Snapshots.from_arrow(pa.Table.from_batches(batches)), snaps)


def test_misaligned_memory_is_read():
    snaps = make(64, 50, provenance=False)
    raw = np.concatenate([np.frombuffer(b"\0\0\0", np.uint8), snaps._native.rows()[0].view(np.uint8).ravel()])
    x = pa.Array.from_buffers(pa.binary(8), 50, [None, pa.py_buffer(raw).slice(3)])
    table = snaps.to_arrow()
    assert same(efl.Snapshots.from_arrow(table.set_column(0, table.schema.field("x"), x)), snaps)


@pytest.mark.parametrize("kind", ["binary", "large_binary", "binary_view"])
def test_binary_of_the_exact_width(kind):
    snaps = make(65, 80)
    table = snaps.to_arrow()
    schema = pa.schema(
        [f.with_type(getattr(pa, kind)()) if f.name in ("x", "z", "outcome") else f for f in table.schema],
        metadata=table.schema.metadata,
    )
    loose = pa.table([pa.array(table[f.name].to_pylist(), f.type) for f in schema], schema=schema)
    assert same(efl.Snapshots.from_arrow(loose), snaps)
    assert same(efl.Snapshots.from_arrow(loose.slice(17, 40)), snaps[17:57])
    assert same(efl.Snapshots.from_arrow(loose.slice(80)), snaps[80:])
    values = table["z"].to_pylist()
    values[33] += b"\0"
    wrong = loose.set_column(1, schema.field("z"), pa.array(values, schema.field("z").type))
    with pytest.raises(
        efl.CorruptDataError, match="column z: expected 16 bytes in every row, got 17 in row 33"
    ):
        efl.Snapshots.from_arrow(wrong)


def test_polars_both_ways(path):
    snaps = make(10, 100)
    frame = pl.DataFrame(snaps)
    assert frame.height == 100
    assert frame["version"].to_list() == snaps.version.tolist()
    with pytest.raises(efl.CorruptDataError, match=r"no efl.schema.*polars.*pass ensemble="):
        efl.Snapshots.from_arrow(frame)
    assert same(efl.Snapshots.from_arrow(frame, ensemble=snaps.ensemble), snaps)
    keep = snaps.version > 2**31
    some = frame.filter(pl.col("version") > 2**31)
    assert same(efl.Snapshots.from_arrow(some, ensemble=snaps.ensemble), snaps[keep])
    snaps.write_parquet(path)
    assert same(efl.Snapshots.from_arrow(pl.read_parquet(path), ensemble=snaps.ensemble), snaps)


def test_the_layout_is_as_documented(path):
    snaps = efl.Snapshots.from_arrays([[0, 1, 1]], [[0, 1, 2]], version=3, sequence=2**63)
    table = snaps.to_arrow()
    # X on qubit 0, Y on 1, Z on 2: x has bits 0 and 1, z has bits 1 and 2
    words = {name: int.from_bytes(table[name][0].as_py(), "little") for name in ("x", "z", "outcome")}
    assert words == {"x": 0b011, "z": 0b110, "outcome": 0b110}
    assert {f.name: str(f.type) for f in table.schema} == {
        **dict.fromkeys(("x", "z", "outcome"), "fixed_size_binary[8]"),
        "version": "uint32",
        "sequence": "uint64",
    }
    assert table.schema.metadata == {
        b"efl.schema": b"1",
        b"efl.n_qubits": b"3",
        b"efl.ensemble": b'{"kind": "uniform"}',
    }
    snaps.write_parquet(path)
    stored = pq.read_table(path)
    assert stored.replace_schema_metadata(None).equals(table.replace_schema_metadata(None))
    group = pq.ParquetFile(path).metadata.row_group(0)
    found = {group.column(i).path_in_schema: group.column(i) for i in range(group.num_columns)}
    assert {c.compression for c in found.values()} == {"ZSTD"}
    assert not any(c.has_dictionary_page for c in found.values())
    assert {name for name, c in found.items() if c.is_stats_set} == {"version", "sequence"}
    assert {name for name, c in found.items() if "DELTA_BINARY_PACKED" in c.encodings} == {
        "version",
        "sequence",
    }


def test_exports_are_read_only():
    snaps = make(10, 100)
    for column in snaps.to_arrow().columns:
        buffer = column.chunk(0).buffers()[1]
        assert not buffer.is_mutable
        assert not np.frombuffer(buffer, np.uint8).flags.writeable
        with pytest.raises(ValueError, match="read-only"):
            np.frombuffer(buffer, np.uint8)[0] = 1


def test_a_consumer_may_request_a_schema():
    snaps = make(10, 20)
    asked = pa.schema([f.with_type(pa.binary()) if f.name == "x" else f for f in snaps.to_arrow().schema])
    table = pa.RecordBatchReader.from_stream(snaps, schema=asked).read_all()
    assert table.schema.field("x").type == pa.binary()
    assert same(efl.Snapshots.from_arrow(table, ensemble=snaps.ensemble), snaps)


def test_inspect(path):
    snaps = make(70, 100, biased=True)
    snaps.write_parquet(path)
    assert storage.inspect(path) == {
        "schema": 1,
        "n_qubits": 70,
        "snapshots": 100,
        "columns": ["x", "z", "outcome", "version", "replica", "sequence"],
        "ensemble": "biased",
        "row_groups": 1,
        "bytes": path.stat().st_size,
    }


# Arguments


@pytest.mark.parametrize("data", [None, 5, "snapshots.parquet", {"x": [1]}])
def test_from_arrow_names_what_it_cannot_read(data):
    with pytest.raises(efl.InputTypeError, match=f"__arrow_c_stream__, got {type(data).__name__}"):
        efl.Snapshots.from_arrow(data)


def test_a_stream_that_is_not_of_batches():
    with pytest.raises(efl.InputTypeError, match="stream of record batches, ChunkedArray gave none"):
        efl.Snapshots.from_arrow(pa.chunked_array([[1, 2]]))


def test_a_stream_that_fails_half_way():
    table = make(3, 10).to_arrow()

    def batches():
        yield table.to_batches()[0]
        raise RuntimeError("the line is dead")

    with pytest.raises(efl.CorruptDataError, match=r"Arrow data: .*the line is dead"):
        efl.Snapshots.from_arrow(pa.RecordBatchReader.from_batches(table.schema, batches()))


def test_wrong_arguments(path):
    snaps = make(3, 10)
    with pytest.raises(efl.InputTypeError, match="snaps: expected Snapshots, got str"):
        storage.write_parquet("snaps", path)
    with pytest.raises(efl.InputTypeError, match="snaps: expected Snapshots, got NoneType"):
        storage.to_arrow(None)
    with pytest.raises(efl.InputTypeError, match="path: expected a path, got int"):
        storage.read_parquet(3)
    with pytest.raises(efl.InputTypeError, match="ensemble: expected an Ensemble, got int"):
        storage.from_arrow(snaps, ensemble=3)
    with pytest.raises(efl.ShapeError, match="ensemble: expected 3 qubits, as stored, got 4"):
        storage.from_arrow(snaps, ensemble=efl.Ensemble.uniform(4))
    with pytest.raises(efl.InvalidInputError, match="expected the stored ensemble"):
        storage.from_arrow(snaps, ensemble=make(3, 1, biased=True).ensemble)
    assert not path.exists()


def test_errors_of_the_operating_system_stay_what_they_are(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        efl.Snapshots.read_parquet(tmp_path / "none.parquet")
    with pytest.raises(FileNotFoundError, match=r"none\.parquet"):
        storage.inspect(str(tmp_path / "none.parquet"))
    with pytest.raises(FileNotFoundError, match=r"nowhere'"):
        make(3, 3).write_parquet(tmp_path / "nowhere" / "a.parquet")
    with pytest.raises(IsADirectoryError):
        efl.Snapshots.read_parquet(tmp_path)
    with pytest.raises(IsADirectoryError):
        make(3, 3).write_parquet(tmp_path)
    assert list(tmp_path.iterdir()) == []


# What readers refuse


def rewritten(table, path, changes):
    """Write a file as another tool would, with changed metadata (None removes a key)."""
    metadata = {**table.schema.metadata, **{k.encode(): v for k, v in changes.items()}}
    pq.write_table(table.replace_schema_metadata({k: v for k, v in metadata.items() if v is not None}), path)
    return path


PROBABILITIES = '{"kind": "biased", "probabilities": %s}'


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"efl.schema": "3"}, efl.NewerFormatError, "has snapshot format 3, .* reads up to 2: upgrade"),
        (
            {"efl.schema": "2"},
            efl.CorruptDataError,
            "efl.schema: expected 1 for a uniform ensemble, got b'2'",
        ),
        ({"efl.schema": "0"}, efl.CorruptDataError, "efl.schema: expected 1 to 2, got b'0'"),
        ({"efl.schema": "1.0"}, efl.CorruptDataError, "efl.schema: expected 1"),
        ({"efl.schema": "9" * 5000}, efl.CorruptDataError, "efl.schema: expected 1"),
        ({"efl.schema": None}, efl.CorruptDataError, "have no efl.schema"),
        (
            {"efl.schema": None, "efl.n_qubits": None, "efl.ensemble": None},
            efl.CorruptDataError,
            "efl.schema",
        ),
        ({"efl.schema": "3", "efl.n_qubits": None}, efl.NewerFormatError, "upgrade"),
        ({"efl.n_qubits": None}, efl.CorruptDataError, "have no efl.n_qubits"),
        ({"efl.n_qubits": "0"}, efl.CorruptDataError, "from 1 to 1048576, got b'0'"),
        ({"efl.n_qubits": "-3"}, efl.CorruptDataError, "from 1 to 1048576"),
        ({"efl.n_qubits": "1048577"}, efl.CorruptDataError, "from 1 to 1048576"),
        ({"efl.n_qubits": "99999999999999999999"}, efl.CorruptDataError, "from 1 to 1048576"),
        ({"efl.n_qubits": b"\xff\xfe"}, efl.CorruptDataError, "from 1 to 1048576"),
        ({"efl.n_qubits": "65"}, efl.CorruptDataError, r"column x: expected fixed_size_binary\[16\] for 65"),
        ({"efl.n_qubits": "2"}, efl.CorruptDataError, "bits set past qubit 1"),
        ({"efl.n_qubits": "4"}, efl.CorruptDataError, "no letter on qubit 3"),
        ({"efl.ensemble": None}, efl.CorruptDataError, "have no efl.ensemble"),
        ({"efl.ensemble": "uniform"}, efl.CorruptDataError, "efl.ensemble: expected the JSON"),
        ({"efl.ensemble": b"\xff"}, efl.CorruptDataError, "efl.ensemble"),
        ({"efl.ensemble": "[" * 100_000}, efl.CorruptDataError, "efl.ensemble"),
        ({"efl.ensemble": '{"kind": "clifford"}'}, efl.CorruptDataError, "the kinds are"),
        ({"efl.ensemble": '{"kind": "uniform", "odd": 1}'}, efl.CorruptDataError, "the kinds are"),
        ({"efl.ensemble": PROBABILITIES % "[[1, 0, 0]]"}, efl.CorruptDataError, "expected 3 rows"),
        ({"efl.ensemble": PROBABILITIES % "[[1, 0], [1, 0], [1, 0]]"}, efl.CorruptDataError, "three numbers"),
        (
            {"efl.ensemble": PROBABILITIES % '[["1", 0, 0], [1, 0, 0], [1, 0, 0]]'},
            efl.CorruptDataError,
            "numbers",
        ),
        (
            {"efl.ensemble": PROBABILITIES % "[[NaN, 0, 0], [1, 0, 0], [1, 0, 0]]"},
            efl.CorruptDataError,
            "nan|NaN",
        ),
        (
            {"efl.ensemble": PROBABILITIES % "[[2, 0, 0], [1, 0, 0], [1, 0, 0]]"},
            efl.CorruptDataError,
            "3 qubits",
        ),
        (
            {"efl.ensemble": PROBABILITIES % f"[[1{'0' * 400}, 0, 0], [1, 0, 0], [1, 0, 0]]"},
            efl.CorruptDataError,
            "3 qubits",
        ),
    ],
)
def test_metadata_are_checked(path, changes, error, message):
    table = make(3, 70).to_arrow()
    rewritten(table, path, changes)
    with pytest.raises(error, match=message) as caught:
        storage.read_parquet(path)
    assert str(path) in str(caught.value)
    with pytest.raises(error, match=message):
        storage.from_arrow(pq.read_table(path))
    if "row" not in str(caught.value).split(": ")[-1]:  # what only the bits show, inspect cannot see
        with pytest.raises(error, match=message):
            storage.inspect(path)


def replaced(table, name, type_, values=None):
    i = table.column_names.index(name)
    values = table[name].to_pylist() if values is None else values
    return table.set_column(i, pa.field(name, type_), pa.array(values, type_))


def with_null(table, name):
    return replaced(table, name, table.schema.field(name).type, [*table[name].to_pylist()[:-1], None])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.drop_columns(["z", "outcome"]), "no column z, outcome among x, version"),
        (lambda t: t.append_column("x", t["x"]), "column x is there 2 times|named x found 2 times"),
        (lambda t: t.append_column("sequence", t["replica"]), "column sequence is there 2 times|2 times"),
        (lambda t: replaced(t, "z", pa.binary(16), [bytes(16)] * 70), r"column z: .*\[8\] .*got .*\[16\]"),
        (lambda t: replaced(t, "z", pa.string(), ["a" * 8] * 70), "column z: expected .*got string"),
        (
            lambda t: replaced(t, "version", pa.int32(), [1] * 70),
            "column version: expected uint32.*got int32",
        ),
        (
            lambda t: replaced(t, "version", pa.uint64(), [1] * 70),
            "column version: expected uint32.*got uint64",
        ),
        (
            lambda t: replaced(t, "replica", pa.float64(), [1.0] * 70),
            "column replica: expected uint64.*got double",
        ),
        (lambda t: with_null(t, "outcome"), "column outcome: row 69 is null"),
        (lambda t: with_null(t, "version"), "column version: row 69 is null"),
        (lambda t: replaced(t, "z", pa.binary(8), [bytes(8)] * 70), "no letter on qubit"),
        (lambda t: replaced(t, "outcome", pa.binary(8), [b"\xff" * 8] * 70), "bits set past qubit 2"),
    ],
)
def test_columns_are_checked(path, change, message):
    table = change(make(3, 70).to_arrow())
    with pytest.raises(efl.CorruptDataError, match=f"^Arrow data: .*(?:{message})"):
        storage.from_arrow(table)
    pq.write_table(table, path)
    with pytest.raises(efl.CorruptDataError, match=message) as caught:
        storage.read_parquet(path)
    assert str(path) in str(caught.value)


def test_the_row_at_fault_is_found_in_its_batch():
    snaps = make(3, 100)
    table = snaps.to_arrow()
    whole, holed = snaps.to_arrow()["x"].chunk(0), with_null(table, "x")["x"].chunk(0)
    table = table.set_column(0, "x", pa.chunked_array([whole.slice(0, 90), holed.slice(90)]))
    with pytest.raises(efl.CorruptDataError, match="column x: row 99 is null"):
        storage.from_arrow(table)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"PAR1" * 3, b"not a Parquet file at all", bytes(5000)])
def test_foreign_bytes(path, content):
    path.write_bytes(content)
    for read in (storage.read_parquet, storage.inspect):
        with pytest.raises(efl.CorruptDataError, match=r"snapshots\.parquet: damaged, truncated"):
            read(path)


def test_a_parquet_file_of_something_else(path):
    pq.write_table(pa.table({"a": [1, 2, 3]}), path)
    with pytest.raises(efl.CorruptDataError, match="a Parquet file, but not of snapshots"):
        storage.read_parquet(path)


def test_edited_files_are_told_from_ours_and_can_be_read(path):
    snaps = make(3, 70)
    pq.write_table(snaps.to_arrow(), path)
    with pytest.raises(efl.CorruptDataError, match=r"no efl.checksum.*read_table"):
        storage.read_parquet(path)
    snaps.write_parquet(path)
    pq.write_table(pq.read_table(path).slice(5), path)
    with pytest.raises(efl.CorruptDataError, match=r"checksum of x, z, .*rows does not fit.*read_table"):
        storage.read_parquet(path)
    assert same(storage.from_arrow(pq.read_table(path)), snaps[5:])


def test_an_extra_column_in_a_file(path):
    snaps = make(3, 70)
    pq.write_table(snaps.to_arrow().append_column("label", pa.array([1] * 70)), path)
    with pytest.raises(efl.CorruptDataError, match="unknown column label"):
        storage.read_parquet(path)
    assert same(storage.from_arrow(pq.read_table(path)), snaps)


def test_a_plausible_lie_is_found_by_the_checksum(path):
    """Outcomes have no invalid value at 64 qubits, nor has the last digit of a probability."""
    snaps = make(64, 70, biased=True)
    snaps.write_parquet(path)
    table = pq.read_table(path)
    flipped = [bytes([v[0] ^ 1]) + v[1:] for v in table["outcome"].to_pylist()]
    pq.write_table(replaced(table, "outcome", pa.binary(8), flipped), path)
    with pytest.raises(efl.CorruptDataError, match="checksum of outcome does not fit"):
        storage.read_parquet(path)
    said = json.loads(table.schema.metadata[b"efl.ensemble"])
    said["probabilities"][5][1] = np.nextafter(said["probabilities"][5][1], 0)
    rewritten(table, path, {"efl.ensemble": json.dumps(said)})
    with pytest.raises(efl.CorruptDataError, match="checksum of metadata does not fit"):
        storage.read_parquet(path)
    pq.write_table(table.drop_columns(["version"]), path)
    with pytest.raises(efl.CorruptDataError, match=r"checksum of .*version does not fit"):
        storage.read_parquet(path)


def test_a_small_file_cannot_declare_its_way_to_all_memory(path, monkeypatch):
    shots = 200_000
    ones = efl.Snapshots.from_arrays(np.zeros((shots, 64), np.uint8), np.zeros((shots, 64), np.uint8))
    ones.write_parquet(path)
    assert path.stat().st_size * 500 < shots * 24
    with pytest.raises(
        efl.ResourceLimitError, match=f"declares {shots * 24} bytes .* limit is 1000000; .*max_bytes"
    ):
        storage.read_parquet(path, max_bytes=1_000_000)
    monkeypatch.setattr(parquet._native, "memory_budget", lambda: shots * 24 - 1)
    with pytest.raises(efl.ResourceLimitError):
        efl.Snapshots.read_parquet(path)
    assert storage.inspect(path)["snapshots"] == shots
    assert same(storage.read_parquet(path, max_bytes=shots * 24), ones)


# A file appears complete or not at all


@pytest.mark.parametrize(
    "error", [OSError(28, "No space left on device"), KeyboardInterrupt(), MemoryError()]
)
@pytest.mark.parametrize("place", ["rows", "footer", "fsync", "rename"])
@pytest.mark.parametrize("old", [False, True])
def test_nothing_is_left_of_a_write_that_failed(path, monkeypatch, place, error, old):
    before = make(3, 50, seed=1)
    if old:
        before.write_parquet(path)

    def fail(*_, **__):
        raise error

    owner, name = {
        "rows": (parquet, "export"),
        "footer": (parquet._Checksum, "text"),
        "fsync": (os, "fsync"),
        "rename": (os, "replace"),
    }[place]
    with monkeypatch.context() as patched:
        patched.setattr(owner, name, fail)
        with pytest.raises(type(error)):
            make(3, 1000).write_parquet(path)
    assert list(path.parent.iterdir()) == ([path] if old else [])
    assert not old or same(storage.read_parquet(path), before)


def test_a_second_group_that_fails(path, monkeypatch):
    monkeypatch.setattr(parquet, "_GROUP_ROWS", 64)
    calls = []

    def export(*arguments):
        calls.append(1)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return columns.export(*arguments)

    monkeypatch.setattr(parquet, "export", export)
    with pytest.raises(KeyboardInterrupt):
        make(3, 200).write_parquet(path)
    assert list(path.parent.iterdir()) == []


def test_a_full_disk(tmp_path):
    """A real failing write, in the middle of pyarrow: the file-size limit of the process."""
    script = """
        import resource, signal, sys
        import numpy as np
        import efl_core as efl
        rng = np.random.default_rng(0)
        bits, bases = rng.integers(0, 2, (50_000, 64)), rng.integers(0, 3, (50_000, 64))
        snaps = efl.Snapshots.from_arrays(bits, bases)
        import efl_core.storage
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        try:
            snaps.write_parquet(sys.argv[1])
        except OSError as error:
            print("OSError", error.errno)
    """
    done = run(script, str(tmp_path / "a.parquet"))
    assert done.stdout.split() == ["OSError", "27"]
    assert done.stderr == ""
    assert list(tmp_path.iterdir()) == []


def run(script, *arguments):
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.slow
def test_a_killed_writer_leaves_a_whole_file(path):
    script = """
        import sys
        import numpy as np
        import efl_core as efl
        rng = np.random.default_rng(0)
        bits, bases = rng.integers(0, 2, (20_000, 10)), rng.integers(0, 3, (20_000, 10))
        snaps = efl.Snapshots.from_arrays(bits, bases)
        snaps.write_parquet(sys.argv[1])
        print("first", flush=True)
        while True:
            snaps.write_parquet(sys.argv[1])
    """
    for wait in (0.0, 0.013, 0.031, 0.07):
        command = [sys.executable, "-c", textwrap.dedent(script), str(path)]
        with subprocess.Popen(command, stdout=subprocess.PIPE) as writer:
            assert writer.stdout.readline() == b"first\n"
            time.sleep(wait)
            writer.send_signal(signal.SIGKILL)
        assert len(storage.read_parquet(path)) == 20_000


def test_mode_and_links_of_the_target(tmp_path):
    target, link = tmp_path / "target.parquet", tmp_path / "link.parquet"
    link.symlink_to(target)
    umask = os.umask(0o027)
    try:
        make(3, 5).write_parquet(link)
    finally:
        os.umask(umask)
    assert link.is_symlink()
    assert stat.S_IMODE(target.stat().st_mode) == 0o640
    assert len(storage.read_parquet(link)) == 5


def test_without_pyarrow():
    script = """
        import sys
        sys.modules["pyarrow"] = None
        import efl_core as efl
        snaps = efl.Snapshots.from_arrays([[0]], [[0]])
        uses = (
            snaps.to_arrow,
            snaps.__arrow_c_stream__,
            lambda: snaps.write_parquet("a"),
            lambda: efl.Snapshots.read_parquet("a"),
            lambda: efl.Snapshots.from_arrow(snaps),
        )
        for use in uses:
            try:
                use()
            except efl.MissingExtraError as error:
                assert isinstance(error, ImportError)
                assert 'pip install "efl-core[arrow]"' in str(error).splitlines(), str(error)
                print("said")
    """
    done = run(script)
    assert done.stderr == ""
    assert done.stdout.split() == ["said"] * 5


def test_a_pyarrow_that_is_too_old():
    script = """
        import pyarrow, pyarrow.parquet
        pyarrow.__version__ = "14.0.1"
        import efl_core as efl
        try:
            from efl_core import storage
        except efl.MissingExtraError as error:
            print(error)
    """
    assert run(script).stdout.splitlines() == [
        "Arrow and Parquet need pyarrow 20 or newer, found 14.0.1:",
        'pip install "efl-core[arrow]"',
    ]
