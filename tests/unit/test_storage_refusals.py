"""Parquet and Arrow: what readers and writers refuse, and how they say it."""

import ctypes
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from tests.unit.stored import make, same

import efl_core as efl
from efl_core import storage


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshots.parquet"


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


@pytest.mark.parametrize("path", ["a\0b", "./\ud800"])
def test_paths_that_no_file_system_holds_are_refused(path):
    for call in (storage.read_parquet, storage.inspect, make(3, 3).write_parquet):
        with pytest.raises(efl.InvalidInputError, match=r"^path: expected .*, got './|^path: .*NUL, got 'a"):
            call(path)


# Bytes and columns


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


class CArray(ctypes.Structure):
    """The head of a C `ArrowArray`, as far as its children."""

    _fields_ = (
        *((name, ctypes.c_int64) for name in ("length", "null_count", "offset", "n_buffers", "n_children")),
        ("buffers", ctypes.c_void_p),
        ("children", ctypes.POINTER(ctypes.c_void_p)),
    )


def test_a_producer_with_a_negative_offset_is_refused():
    batch = make(3, 100, provenance=False).to_arrow().to_batches()[0]
    room = ctypes.create_string_buffer(80)
    batch._export_to_c(ctypes.addressof(room))
    CArray.from_address(CArray.from_buffer(room).children[0]).offset = -5
    broken = pa.RecordBatch._import_from_c(ctypes.addressof(room), batch.schema)
    with pytest.raises(efl.CorruptDataError, match="Arrow data: damaged"):
        efl.Snapshots.from_arrow(broken)
