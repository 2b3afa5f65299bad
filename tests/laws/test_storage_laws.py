"""Storage laws: what is read is what was written, whatever the cuts, and damage is never silent."""

import functools
import itertools

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import efl_core as efl
from efl_core import storage

WIDTHS = st.sampled_from([1, 2, 10, 63, 64, 65, 128, 200])


@st.composite
def snapshots(draw, fewest=0):
    n, count = draw(WIDTHS), draw(st.integers(fewest, 200))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    ensemble = None
    if draw(st.booleans()):
        weights = rng.random((n, 3))
        ensemble = efl.Ensemble.biased(weights / weights.sum(1, keepdims=True))
    known = {
        name: rng.integers(0, draw(st.sampled_from([1, 2, most])), count, dtype=np.uint64, endpoint=True)
        for name, most in (("version", 2**32 - 1), ("replica", 2**64 - 1), ("sequence", 2**64 - 1))
        if draw(st.booleans())
    }
    bits, bases = rng.integers(0, 2, (count, n)), rng.integers(0, 3, (count, n))
    return efl.Snapshots.from_arrays(bits, bases, ensemble=ensemble, **known)


@settings(deadline=None, max_examples=50)
@given(snaps=snapshots())
def test_a_file_gives_back_what_was_written(tmp_path_factory, snaps):
    path = tmp_path_factory.mktemp("file") / "a.parquet"
    storage.write_parquet(snaps, path)
    assert storage.read_parquet(path) == snaps
    assert storage.inspect(path)["snapshots"] == len(snaps)


@settings(deadline=None, max_examples=100)
@given(snaps=snapshots(), data=st.data())
def test_cutting_a_table_into_batches_changes_nothing(snaps, data):
    table = snaps.to_arrow()
    cuts = [0, *sorted(data.draw(st.lists(st.integers(0, len(snaps)), max_size=6))), len(snaps)]
    parts = [table.slice(a, b - a) for a, b in itertools.pairwise(cuts)]
    assert storage.from_arrow(pa.concat_tables(parts)) == snaps
    start, stop = cuts[len(cuts) // 2], cuts[-1]
    assert storage.from_arrow(table.slice(start, stop - start)) == snaps[start:stop]


@settings(deadline=None, max_examples=100)
@given(snaps=snapshots(fewest=1), data=st.data())
def test_taking_rows_commutes_with_storage(snaps, data):
    order = data.draw(st.lists(st.integers(0, len(snaps) - 1), max_size=50))
    taken = snaps.to_arrow().take(pa.array(order, pa.int64()))
    assert storage.from_arrow(taken) == snaps[np.array(order, dtype=np.int64)]


@functools.cache
def originals():
    """Files of several shapes: one qubit, no padding, two words, no rows, pages of some length."""
    found = []
    for seed, (n, shots, known, biased) in enumerate(
        [
            (1, 5, True, True),
            (64, 70, True, False),
            (65, 33, False, True),
            (3, 0, True, True),
            (2, 3000, True, True),
        ]
    ):
        rng = np.random.default_rng(seed)
        ensemble = efl.Ensemble.biased(np.tile([0.25, 0.125, 0.625], (n, 1))) if biased else None
        columns = {name: rng.integers(0, 9, shots) for name in ("version", "replica", "sequence") if known}
        bits, bases = rng.integers(0, 2, (shots, n)), rng.integers(0, 3, (shots, n))
        found.append(efl.Snapshots.from_arrays(bits, bases, ensemble=ensemble, **columns))
    return found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    directory = tmp_path_factory.mktemp("originals")
    found = []
    for i, snaps in enumerate(originals()):
        storage.write_parquet(snaps, directory / f"{i}.parquet")
        found.append((snaps, (directory / f"{i}.parquet").read_bytes()))
    return found, directory / "damaged.parquet"


def never_silent(path, content, snaps):
    path.write_bytes(content)
    try:
        found = storage.read_parquet(path, max_bytes=1 << 28)
    except efl.EflError as error:
        message = str(error)
    else:
        message = None
        assert found == snaps
    assert message is None or str(path) in message


@settings(deadline=None, max_examples=1000, suppress_health_check=[HealthCheck.too_slow])
@given(
    which=st.integers(0, 4),
    flips=st.lists(
        st.tuples(st.booleans(), st.integers(0, 2**20), st.integers(1, 255)), min_size=1, max_size=4
    ),
)
def test_flipped_bytes_are_never_silent(files, which, flips):
    found, path = files
    snaps, content = found[which]
    damaged = bytearray(content)
    for at_the_end, place, mask in flips:  # half of them in the footer, which no CRC of Parquet covers
        span = min(len(damaged), 900) if at_the_end else len(damaged)
        damaged[len(damaged) - 1 - place % span] ^= mask
    never_silent(path, damaged, snaps)


@settings(deadline=None, max_examples=200)
@given(
    which=st.integers(0, 4),
    start=st.integers(0, 2**20),
    length=st.integers(1, 2**20),
    filler=st.binary(max_size=50),
)
def test_lost_and_foreign_bytes_are_never_silent(files, which, start, length, filler):
    found, path = files
    snaps, content = found[which]
    start %= len(content)
    never_silent(path, content[:start] + filler + content[start + length :], snaps)


@settings(deadline=None, max_examples=100)
@given(which=st.integers(0, 4), keep=st.integers(0, 2**20))
def test_truncation_is_always_found(files, which, keep):
    found, path = files
    content = found[which][1]
    path.write_bytes(content[: keep % len(content)])
    for read in (storage.read_parquet, storage.inspect):
        with pytest.raises(efl.CorruptDataError, match=r"damaged\.parquet"):
            read(path)
