"""Parquet and Arrow: what is declared larger than the memory, or does not end, is given up."""

import numpy as np
import pyarrow as pa
import pytest
from tests.unit.stored import make, run, same

import efl_core as efl
from efl_core import storage
from efl_core.storage import parquet


@pytest.fixture
def path(tmp_path):
    return tmp_path / "snapshots.parquet"


def test_a_small_file_cannot_declare_its_way_to_all_memory(path, monkeypatch):
    shots = 200_000
    ones = efl.Snapshots.from_arrays(np.zeros((shots, 64), np.uint8), np.zeros((shots, 64), np.uint8))
    ones.write_parquet(path)
    assert path.stat().st_size * 500 < shots * 24
    with pytest.raises(
        efl.ResourceLimitError, match=f"declares {shots * 24} bytes .* limit is 1000000; .*max_bytes"
    ):
        storage.read_parquet(path, max_bytes=1_000_000)
    monkeypatch.setattr(parquet, "budget", lambda _: shots * 24 - 1)
    with pytest.raises(efl.ResourceLimitError):
        efl.Snapshots.read_parquet(path)
    monkeypatch.undo()
    assert storage.inspect(path)["snapshots"] == shots
    assert same(efl.Snapshots.read_parquet(path, max_bytes=shots * 24), ones)


def test_a_stream_that_does_not_end_is_given_up():
    table = make(3, 1000).to_arrow()
    asked = []

    def batches():
        while True:
            asked.append(1)
            yield from table.to_batches()

    def stream():
        return pa.RecordBatchReader.from_batches(table.schema, batches())

    row = sum(table.schema.field(name).type.byte_width for name in table.schema.names)
    with pytest.raises(efl.ResourceLimitError, match=f"{11_000 * row} bytes .* limit is {10_000 * row}; "):
        efl.Snapshots.from_arrow(stream(), max_bytes=10_000 * row)
    assert len(asked) <= 12
    assert len(efl.Snapshots.from_arrow(table, max_bytes=1000 * row)) == 1000
    with pytest.raises(efl.InvalidInputError, match="max_bytes: expected an integer from 0"):
        efl.Snapshots.from_arrow(table, max_bytes=-1)


def test_an_endless_stream_meets_the_limit_on_addresses():
    script = """
        import resource
        import numpy as np
        import pyarrow as pa
        import efl_core as efl
        shots = 1 << 20
        snaps = efl.Snapshots.from_arrays(np.zeros((shots, 8), np.uint8), np.zeros((shots, 8), np.uint8))
        table = snaps.to_arrow()
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30,) * 2)  # pyarrow reserves one for itself
        def batches():
            while True:
                yield from table.to_batches()
        try:
            efl.Snapshots.from_arrow(pa.RecordBatchReader.from_batches(table.schema, batches()))
        except efl.ResourceLimitError as error:
            print("refused", "max_bytes" in str(error))
    """
    done = run(script)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stdout.split() == ["refused", "True"]
