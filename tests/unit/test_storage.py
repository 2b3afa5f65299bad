"""Parquet and Arrow: round trips, the layout, and what is said where pyarrow is missing."""

import itertools

import numpy as np
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.stored import make, run, same

import efl_core as efl
from efl_core import storage
from efl_core.storage import columns, parquet


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshots.parquet"


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
