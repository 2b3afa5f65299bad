"""Snapshots: round trips, slices and joins are those of numpy arrays."""

import itertools
import pickle

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from efl_core import Snapshots


@st.composite
def tables(draw):
    n_qubits = draw(st.integers(1, 200) | st.sampled_from([1, 8, 63, 64, 65, 128]))
    shots = draw(st.integers(0, 300) | st.sampled_from([0, 1, 63, 64, 65, 128, 129]))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    columns = {
        name: rng.integers(0, 2**32, shots)
        for name in ("version", "replica", "sequence")
        if draw(st.booleans())
    }
    return (
        rng.integers(0, 2, (shots, n_qubits), dtype=np.uint8),
        rng.integers(0, 3, (shots, n_qubits), dtype=np.uint8),
        columns,
    )


def check(snaps, bits, bases, columns, order=slice(None)):
    assert len(snaps) == len(bits[order])
    for found, expected in zip(snaps.to_arrays(), (bits, bases), strict=True):
        np.testing.assert_array_equal(found, expected[order])
    for name in ("version", "replica", "sequence"):
        if name in columns:
            np.testing.assert_array_equal(getattr(snaps, name), columns[name][order])
        else:
            assert getattr(snaps, name) is None


@given(tables())
def test_arrays_and_pickles_round_trip(data):
    bits, bases, columns = data
    snaps = Snapshots.from_arrays(bits, bases, **columns)
    check(snaps, *data)
    again = Snapshots.from_arrays(*snaps.to_arrays(), **columns)
    assert again == snaps
    assert pickle.loads(pickle.dumps(snaps)) == snaps


@given(tables(), st.data())
def test_slices_are_those_of_numpy(data, choose):
    bits, bases, columns = data
    key = choose.draw(st.slices(len(bits)))
    check(Snapshots.from_arrays(bits, bases, **columns)[key], *data, key)


@given(tables(), st.data())
def test_a_slice_of_a_slice_is_that_of_numpy(data, choose):
    bits, bases, columns = data
    first = choose.draw(st.slices(len(bits)))
    second = choose.draw(st.slices(len(bits[first])))
    order = np.arange(len(bits))[first][second]
    check(Snapshots.from_arrays(bits, bases, **columns)[first][second], *data, order)


@given(tables(), st.data())
def test_masks_and_indices_are_those_of_numpy(data, choose):
    bits, bases, columns = data
    snaps = Snapshots.from_arrays(bits, bases, **columns)
    mask = np.array(choose.draw(st.lists(st.booleans(), min_size=len(bits), max_size=len(bits))), dtype=bool)
    check(snaps[mask], *data, mask)
    assert snaps[mask] == snaps[np.flatnonzero(mask)]
    if len(bits):
        order = choose.draw(st.lists(st.integers(-len(bits), len(bits) - 1), max_size=150))
        check(snaps[order], *data, np.array(order, dtype=np.int64))


@given(tables(), st.lists(st.floats(0, 1), max_size=6))
def test_joined_slices_are_the_whole(data, cuts):
    bits, bases, columns = data
    snaps = Snapshots.from_arrays(bits, bases, **columns)
    edges = [0, *sorted(round(cut * len(bits)) for cut in cuts), len(bits)]
    parts = [snaps[a:b] for a, b in itertools.pairwise(edges)]
    assert Snapshots.concat(parts) == snaps
    total = parts[0]
    for part in parts[1:]:
        total = total + part
    assert total == snaps


@given(tables(), tables())
def test_joining_is_that_of_numpy(first, second):
    width = min(first[0].shape[1], second[0].shape[1])
    (a_bits, a_bases), (b_bits, b_bases) = ((d[0][:, :width], d[1][:, :width]) for d in (first, second))
    joined = Snapshots.from_arrays(a_bits, a_bases) + Snapshots.from_arrays(b_bits, b_bases)
    check(joined, np.concatenate([a_bits, b_bits]), np.concatenate([a_bases, b_bases]), {})


@given(tables())
def test_reversing_twice_changes_nothing(data):
    bits, bases, columns = data
    snaps = Snapshots.from_arrays(bits, bases, **columns)
    assert snaps[::-1][::-1] == snaps
