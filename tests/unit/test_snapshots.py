"""Snapshots: from arrays of any integer kind and layout, back to arrays, selected, joined, carried."""

import copy
import itertools
import pickle
import warnings

import numpy as np
import pytest

from efl_core import Ensemble, InputTypeError, Snapshots

SHOTS, QUBITS = 197, 70


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(1)
    return (
        rng.integers(0, 2, (SHOTS, QUBITS), dtype=np.uint8),
        rng.integers(0, 3, (SHOTS, QUBITS), dtype=np.uint8),
    )


@pytest.fixture(scope="module")
def snaps(arrays):
    columns = {
        "version": np.arange(SHOTS, dtype=np.uint32),
        "replica": np.arange(SHOTS, dtype=np.uint64) * 3,
        "sequence": np.arange(SHOTS, dtype=np.uint64)[::-1],
    }
    return Snapshots.from_arrays(*arrays, **columns)


def holds(snaps, bits, bases):
    found = snaps.to_arrays()
    np.testing.assert_array_equal(found[0], bits)
    np.testing.assert_array_equal(found[1], bases)
    assert len(snaps) == len(bits)


INTEGERS = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64", ">i4", ">u8"]


@pytest.mark.parametrize("dtype", INTEGERS)
def test_every_integer_dtype_is_read(arrays, dtype):
    holds(Snapshots.from_arrays(*(a.astype(dtype) for a in arrays)), *arrays)


def test_booleans_are_read_as_bits(arrays):
    bits, bases = arrays
    holds(Snapshots.from_arrays(bits.astype(bool), bases), bits, bases)


def test_lists_are_read(arrays):
    bits, bases = (a[:9, :5] for a in arrays)
    holds(Snapshots.from_arrays(bits.tolist(), bases.tolist()), bits, bases)
    holds(Snapshots.from_arrays(tuple(map(tuple, bits)), list(bases)), bits, bases)


@pytest.mark.parametrize("dtype", ["uint8", "int8", "int64"])
@pytest.mark.parametrize(
    "view",
    [
        np.asfortranarray,
        lambda a: np.repeat(a, 2, axis=0)[::2],
        lambda a: np.repeat(a, 3, axis=1)[:, ::3],
        lambda a: a[::-1, ::-1].copy()[::-1, ::-1],
        lambda a: np.ascontiguousarray(a.T).T,
        lambda a: np.pad(a, 3, constant_values=99)[3:-3, 3:-3],
    ],
    ids=["fortran", "row stride", "column stride", "negative strides", "transposed", "window"],
)
def test_every_layout_is_read(arrays, view, dtype):
    holds(Snapshots.from_arrays(*(view(a.astype(dtype)) for a in arrays)), *arrays)


def test_read_only_arrays_are_read(arrays):
    frozen = [a.copy() for a in arrays]
    for a in frozen:
        a.setflags(write=False)
    holds(Snapshots.from_arrays(*frozen), *arrays)


@pytest.mark.parametrize("shots", [0, 1, 63, 64, 65, 128, 32_768, 32_769])
@pytest.mark.parametrize("n_qubits", [1, 7, 8, 9])
def test_arrays_round_trip_at_every_boundary(shots, n_qubits):
    rng = np.random.default_rng(shots + n_qubits)
    bits = rng.integers(0, 2, (shots, n_qubits), dtype=np.uint8)
    bases = rng.integers(0, 3, (shots, n_qubits), dtype=np.uint8)
    snaps = Snapshots.from_arrays(bits, bases)
    holds(snaps, bits, bases)
    assert snaps.to_arrays()[0].dtype == np.uint8
    assert snaps.n_qubits == n_qubits


@pytest.mark.parametrize("n_qubits", [63, 64, 65, 128, 129, 200])
def test_wide_arrays_round_trip(n_qubits):
    rng = np.random.default_rng(n_qubits)
    bits = rng.integers(0, 2, (130, n_qubits), dtype=np.uint8)
    bases = rng.integers(0, 3, (130, n_qubits), dtype=np.uint8)
    holds(Snapshots.from_arrays(bits, bases), bits, bases)


def test_pennylane_results_are_read_as_array_tuple_and_list(arrays):
    bits, bases = arrays
    expected = Snapshots.from_arrays(bits, bases)
    stacked = np.stack([bits, bases]).astype(np.int8)
    for shadow in (stacked, stacked.tolist(), tuple(stacked), (bits, bases.astype(np.int64)), [bits, bases]):
        assert Snapshots.from_pennylane(shadow) == expected
    biased = Ensemble.biased([[0.5, 0.25, 0.25]] * QUBITS)
    assert Snapshots.from_pennylane(stacked, ensemble=biased).ensemble == biased


def test_what_was_packed_does_not_follow_its_source(arrays):
    bits, bases = (a.copy() for a in arrays)
    snaps = Snapshots.from_arrays(bits, bases)
    bits[:] = 0
    bases[:] = 0
    holds(snaps, *arrays)
    for found in snaps.to_arrays():
        found[:] = 1
    holds(snaps, *arrays)


def test_the_ensemble_is_kept_and_replaced(arrays):
    biased = Ensemble.biased([[0.2, 0.3, 0.5]] * QUBITS)
    snaps = Snapshots.from_arrays(*arrays)
    assert snaps.ensemble == Ensemble.uniform(QUBITS)
    assert Snapshots.from_arrays(*arrays, ensemble=biased).ensemble == biased
    other = snaps.with_ensemble(biased)
    assert other.ensemble == biased
    assert snaps.ensemble == Ensemble.uniform(QUBITS)
    assert other != snaps
    holds(other, *arrays)


SLICES = [
    np.s_[:],
    np.s_[3:],
    np.s_[:-5],
    np.s_[64:128],
    np.s_[63:65],
    np.s_[5:5],
    np.s_[9:2],
    np.s_[1000:],
    np.s_[-1000:1000],
    np.s_[-7:],
    np.s_[::2],
    np.s_[1::3],
    np.s_[::-1],
    np.s_[150:3:-7],
    np.s_[-1:-5:-1],
    np.s_[10:0:1],
    np.s_[::1000],
    np.s_[np.int64(4) : np.int32(9)],
]


@pytest.mark.parametrize("key", SLICES, ids=str)
def test_slices_are_those_of_numpy(arrays, snaps, key):
    part = snaps[key]
    holds(part, *(a[key] for a in arrays))
    for name in ("version", "replica", "sequence"):
        np.testing.assert_array_equal(getattr(part, name), getattr(snaps, name)[key])
    assert part.ensemble == snaps.ensemble


INDICES = [
    np.arange(SHOTS) % 3 == 0,
    (np.arange(SHOTS) % 2 == 0).tolist(),
    np.zeros(SHOTS, dtype=bool),
    [],
    [0],
    [-1, 0, -SHOTS, SHOTS - 1],
    (4, 4, 4),
    np.array([5, 3, 190], dtype=np.int16),
    np.array([5, 3, 190], dtype=np.uint8),
    np.array([-1, -128], dtype=np.int16),
    np.array([1, 2], dtype=np.uint64),
    np.random.default_rng(2).permutation(SHOTS),
    np.repeat(np.arange(SHOTS), 3),
]


@pytest.mark.parametrize("key", INDICES, ids=range(len(INDICES)))
def test_masks_and_indices_are_those_of_numpy(arrays, snaps, key):
    part = snaps[key]
    order = np.asarray(key)
    order = order if order.dtype == bool else order.astype(np.int64)
    holds(part, *(a[order] for a in arrays))
    np.testing.assert_array_equal(part.version, snaps.version[order])


def test_parts_are_joined_in_order(arrays, snaps):
    cuts = [0, 1, 1, 64, 70, 133, SHOTS]
    parts = [snaps[a:b] for a, b in itertools.pairwise(cuts)]
    assert Snapshots.concat(parts) == snaps
    assert Snapshots.concat(iter(parts)) == snaps
    assert Snapshots.concat([snaps]) == snaps
    assert snaps[:10] + snaps[10:] == snaps
    holds(snaps[90:] + snaps[:90], *(np.concatenate([a[90:], a[:90]]) for a in arrays))


def test_provenance_is_absent_unless_given(arrays):
    snaps = Snapshots.from_arrays(*arrays)
    assert (snaps.version, snaps.replica, snaps.sequence) == (None, None, None)


def test_provenance_scalars_fill_a_column(arrays):
    snaps = Snapshots.from_arrays(*arrays, version=7, replica=2**64 - 1)
    np.testing.assert_array_equal(snaps.version, np.full(SHOTS, 7))
    np.testing.assert_array_equal(snaps.replica, np.full(SHOTS, 2**64 - 1, dtype=np.uint64))
    assert (snaps.version.dtype, snaps.replica.dtype) == (np.uint32, np.uint64)
    assert snaps.sequence is None


def test_provenance_columns_of_any_integer_kind(arrays):
    for column in (list(range(SHOTS)), np.arange(SHOTS, dtype=np.int16), np.arange(2 * SHOTS)[::2] // 2):
        snaps = Snapshots.from_arrays(*arrays, version=column, sequence=column)
        np.testing.assert_array_equal(snaps.version, np.arange(SHOTS))
        np.testing.assert_array_equal(snaps.sequence, np.arange(SHOTS))
    extremes = np.array([0, 2**32 - 1] * SHOTS)[:SHOTS]
    np.testing.assert_array_equal(Snapshots.from_arrays(*arrays, version=extremes).version, extremes)


def test_with_provenance_replaces_all_columns(snaps):
    other = snaps.with_provenance(replica=4)
    assert (other.version, other.sequence) == (None, None)
    assert other.replica.tolist() == [4] * SHOTS
    assert snaps.version is not None
    assert other.with_provenance().replica is None


def test_provenance_cannot_be_changed_through_what_is_returned(snaps):
    snaps.version[:] = 0
    assert snaps.version.tolist() == list(range(SHOTS))


def test_equality_sees_every_part(arrays, snaps):
    plain = Snapshots.from_arrays(*arrays)
    assert plain == Snapshots.from_arrays(*arrays)
    assert plain != snaps
    assert plain != plain[:-1]
    assert plain.with_provenance(version=1) != plain.with_provenance(version=2)
    bits, bases = (a.copy() for a in arrays)
    bits[100, 65] ^= 1
    assert Snapshots.from_arrays(bits, bases) != plain
    bases[196, 69] = (bases[196, 69] + 1) % 3
    assert Snapshots.from_arrays(arrays[0], bases) != plain
    assert plain != arrays
    assert (plain == 3) is False


def test_repr_and_size(snaps):
    assert repr(snaps) == "Snapshots(197 of 70 qubits, uniform)"
    assert snaps.nbytes == 3 * 70 * 4 * 8 + 197 * (4 + 8 + 8)
    assert repr(snaps[:0]) == "Snapshots(0 of 70 qubits, uniform)"


@pytest.mark.parametrize("carry", [lambda s: pickle.loads(pickle.dumps(s)), copy.copy, copy.deepcopy])
@pytest.mark.parametrize("part", [np.s_[:], np.s_[:0], np.s_[3:67]], ids=str)
def test_snapshots_survive_pickle_and_copy(snaps, part, carry):
    original = snaps[part].with_ensemble(Ensemble.biased([[0.5, 0.25, 0.25]] * QUBITS))
    carried = carry(original)
    assert carried == original
    assert carried.ensemble == original.ensemble
    for bare in (original.with_provenance(), original.with_provenance(sequence=5)):
        assert carry(bare) == bare


def test_a_pickle_costs_no_more_than_the_rows(snaps):
    rows = 3 * SHOTS * 2 * 8 + SHOTS * 20
    assert len(pickle.dumps(snaps)) < rows + 2_000


def test_snapshots_are_not_iterated_one_by_one(snaps):
    for use in (iter, list, next, tuple, set):
        with pytest.raises(TypeError):
            use(snaps)
    with pytest.raises(InputTypeError, match="slices"):
        iter(snaps)


def test_snapshots_are_immutable_and_not_hashed(snaps):
    for name in ("n_qubits", "version", "ensemble", "colour"):
        with pytest.raises(AttributeError):
            setattr(snaps, name, 1)
    with pytest.raises(TypeError):
        snaps[0:1] = snaps[1:2]
    with pytest.raises(TypeError, match="unhashable"):
        hash(snaps)


def test_reading_warns_of_nothing(arrays):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Snapshots.from_arrays(*(a.astype(np.int64) for a in arrays), version=3)
