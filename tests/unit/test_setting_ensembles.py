"""Ensembles that draw settings from lists: what they hold, and snapshots of them along the whole path."""

import copy
import json
import pickle

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import efl_core as efl
from efl_core import storage

BELL = efl.Setting.from_gates(2, [("CNOT", 0, 1), ("H", 0)])
LIST = efl.Ensemble.settings([BELL, "ZX", "YZ"], [0.5, 0.125, 0.375])
BLOCKS = efl.Ensemble.blocks(3, [((2, 0), [BELL, "XY"], [0.75, 0.25]), ([1], ["X", "Z"])])
RANDOM = efl.Ensemble.random_blocks(5, 2)
ALL = pytest.mark.parametrize("ensemble", [LIST, BLOCKS, RANDOM], ids=["list", "blocks", "random"])


def drawn(ensemble, shots=500, seed=3):
    random = np.random.default_rng(seed)
    state = random.normal(size=2**ensemble.n_qubits) + 1j * random.normal(size=2**ensemble.n_qubits)
    return efl.sample(state / np.linalg.norm(state), ensemble, shots=shots, seed=seed)


def test_a_list_shows_its_settings():
    assert (LIST.kind, LIST.n_qubits) == ("settings", 2)
    assert LIST.setting_list == [BELL, efl.Setting("ZX"), efl.Setting("YZ")]
    np.testing.assert_array_equal(LIST.probabilities, [0.5, 0.125, 0.375])
    ((qubits, settings, probabilities),) = LIST.block_list
    assert (qubits, settings) == ((0, 1), LIST.setting_list)
    np.testing.assert_array_equal(probabilities, LIST.probabilities)
    assert repr(LIST) == "Ensemble.settings(3 settings of 2 qubits)"


def test_settings_are_equally_likely_by_default():
    np.testing.assert_array_equal(efl.Ensemble.settings(["XX", "YY"]).probabilities, [0.5, 0.5])


def test_blocks_show_their_qubits():
    assert BLOCKS.kind == "blocks"
    (first, second) = BLOCKS.block_list
    assert (first[0], first[1]) == ((2, 0), [BELL, efl.Setting("XY")])
    assert (second[0], second[1]) == ((1,), [efl.Setting("X"), efl.Setting("Z")])
    assert repr(BLOCKS) == "Ensemble.blocks(2 blocks of 3 qubits)"


def test_letters_and_blocks_have_no_list():
    assert efl.Ensemble.uniform(2).block_list == []
    for ensemble in (efl.Ensemble.uniform(2), BLOCKS):
        with pytest.raises(efl.InvalidInputError, match=r"^setting_list: expected an ensemble of kind"):
            _ = ensemble.setting_list
    with pytest.raises(efl.InvalidInputError, match=r"^probabilities: .*block_list"):
        _ = BLOCKS.probabilities


def test_random_blocks_have_all_stabiliser_bases():
    assert [len(settings) for _, settings, _ in RANDOM.block_list] == [15, 15, 3]
    assert [qubits for qubits, _, _ in RANDOM.block_list] == [(0, 1), (2, 3), (4,)]
    assert efl.Ensemble.clifford(4).kind == "settings"
    assert len(efl.Ensemble.clifford(4).setting_list) == 2295


def test_words_on_blocks():
    assert BLOCKS.reveal_probability("ZIZ") == 0.75
    assert BLOCKS.reveal_probability("XXX") == 0.375
    assert BLOCKS.reveal_probability("YII") == 0.25
    assert BLOCKS.pair_probability("YII", "IIX") == 0.25
    assert BLOCKS.pair_probability("YII", "ZIZ") == 0
    assert BLOCKS.pair_probability("IZI", "ZIZ") == 0.375
    assert efl.Ensemble.uniform(2).pair_probability("XI", "IY") == 1 / 9
    assert efl.Ensemble.uniform(2).pair_probability("XI", "YI") == 0


@ALL
@pytest.mark.parametrize("carry", [lambda e: pickle.loads(pickle.dumps(e)), copy.copy, copy.deepcopy])
def test_ensembles_and_snapshots_survive_pickle_and_copy(ensemble, carry):
    assert carry(ensemble) == ensemble
    snaps = drawn(ensemble).with_provenance(version=7)
    assert carry(snaps) == snaps
    assert carry(snaps).ensemble == ensemble


def test_equality_is_that_of_settings_and_probabilities():
    assert efl.Ensemble.settings([BELL, "ZX", "YZ"], [0.5, 0.125, 0.375]) == LIST
    assert efl.Ensemble.settings([BELL, "ZX", "YZ"]) != LIST
    assert efl.Ensemble.settings([BELL, "ZX", "XZ"], [0.5, 0.125, 0.375]) != LIST
    assert efl.Ensemble.blocks(2, [((0, 1), LIST.setting_list, LIST.probabilities)]) == LIST
    assert efl.Ensemble.blocks(2, [((1, 0), LIST.setting_list, LIST.probabilities)]) != LIST


@ALL
def test_arrays_round_trip(ensemble):
    snaps = drawn(ensemble)
    bits, settings = snaps.to_arrays()
    assert bits.dtype == np.uint8
    assert settings.dtype == np.uint32
    assert settings.shape == ((500,) if ensemble.kind == "settings" else (500, len(ensemble.block_list)))
    options = {"ensemble": ensemble, "allocated": snaps.allocated}
    assert efl.Snapshots.from_settings(bits, settings, **options) == snaps
    assert efl.Snapshots.from_settings(bits.astype(bool), settings.tolist(), **options) == snaps
    assert snaps[100:] + snaps[:100] == snaps[np.r_[100:500, :100]]


@ALL
def test_files_and_tables_round_trip(ensemble, tmp_path):
    snaps = drawn(ensemble).with_provenance(replica=np.arange(500))
    path = tmp_path / "snapshots.parquet"
    snaps.write_parquet(path)
    assert efl.Snapshots.read_parquet(path) == snaps
    assert storage.inspect(path)["ensemble"] == ensemble.kind
    assert storage.inspect(path)["schema"] == 2
    assert storage.inspect(path)["columns"] == ["setting", "outcome", "replica"]
    table = snaps.to_arrow()
    assert efl.Snapshots.from_arrow(table.slice(100)) == snaps[100:]
    bare = table.replace_schema_metadata(None)
    lost = efl.Snapshots.from_arrow(bare, ensemble=ensemble)
    assert lost.with_allocated(snaps.allocated) == snaps
    assert not lost.allocated
    empty = snaps[:0]
    empty.write_parquet(path)
    assert efl.Snapshots.read_parquet(path) == empty


def test_letters_are_still_written_as_format_1(tmp_path):
    path = tmp_path / "snapshots.parquet"
    efl.sample([0.6, 0.8], shots=10, seed=1).write_parquet(path)
    assert storage.inspect(path)["schema"] == 1


def test_an_index_that_does_not_exist_is_found_in_a_file():
    table = drawn(LIST, 5).to_arrow()
    values = [(3).to_bytes(4, "little"), *table["setting"].to_pylist()[1:]]
    wrong = table.set_column(0, table.schema.field("setting"), pa.array(values, pa.binary(4)))
    with pytest.raises(efl.CorruptDataError, match="row 0 has setting 3 of block 0, expected 0 to 2"):
        efl.Snapshots.from_arrow(wrong)


@pytest.mark.parametrize(
    ("said", "message"),
    [
        ({"kind": "settings", "settings": ["XX"]}, "own keys"),
        ({"kind": "settings", "settings": ["XXX"], "probabilities": [1]}, "2 qubits"),
        ({"kind": "settings", "settings": ["XI"], "probabilities": [1]}, "X, Y or Z"),
        ({"kind": "settings", "settings": [[["NO", 0]]], "probabilities": [1]}, "NO"),
        ({"kind": "settings", "settings": [[["H", 2]]], "probabilities": [1]}, "qubits below 2"),
        ({"kind": "settings", "settings": [[["H", "0"]]], "probabilities": [1]}, "integer"),
        ({"kind": "settings", "settings": [3], "probabilities": [1]}, "letters, or a list"),
        ({"kind": "settings", "settings": ["XX"], "probabilities": ["1"]}, "numbers"),
        ({"kind": "settings", "settings": ["XX"], "probabilities": [0.5]}, "sum to 1|sums to"),
        ({"kind": "settings", "settings": ["XX"], "probabilities": [1, 0]}, "one for each"),
        ({"kind": "settings", "settings": {}, "probabilities": [1]}, "expected lists"),
        ({"kind": "blocks", "lists": [], "blocks": [{"qubits": [0], "list": 0}]}, "list below 0"),
        ({"kind": "blocks", "lists": [], "blocks": []}, "a block for every qubit"),
        ({"kind": "blocks", "lists": 1, "blocks": []}, "expected lists"),
        ({"kind": "blocks", "lists": [], "blocks": [[0]]}, "qubits and a list"),
        ({"kind": "blocks", "lists": [3], "blocks": [{"qubits": [0, 1], "list": 0}]}, "settings and prob"),
        ({"kind": "blocks", "lists": [], "blocks": [{"qubits": "01", "list": 0}]}, "list below 0"),
        ({"kind": ["blocks"]}, "the kinds are"),
    ],
)
def test_metadata_of_lists_are_checked(said, message, tmp_path):
    table = drawn(LIST, 5).to_arrow()
    metadata = {**table.schema.metadata, b"efl.ensemble": json.dumps(said).encode()}
    path = tmp_path / "snapshots.parquet"
    pq.write_table(table.replace_schema_metadata(metadata), path)
    for read in (storage.read_parquet, storage.inspect, lambda p: storage.from_arrow(pq.read_table(p))):
        with pytest.raises(efl.CorruptDataError, match=message):
            read(path)


def test_settings_of_very_many_qubits_are_refused_before_they_are_made():
    said = {"kind": "settings", "settings": [[]], "probabilities": [1]}
    table = drawn(LIST, 5).to_arrow()
    metadata = {b"efl.ensemble": json.dumps(said).encode(), b"efl.n_qubits": b"1000000", b"efl.schema": b"2"}
    with pytest.raises(efl.CorruptDataError, match="bytes of them in memory"):
        efl.Snapshots.from_arrow(table.replace_schema_metadata(metadata))


@ALL
def test_tallies_travel_as_bytes(ensemble):
    word = "Z" * ensemble.n_qubits
    counted = efl.tally(drawn(ensemble), [word], buckets=3)
    assert efl.Tally.from_bytes(counted.to_bytes()) == counted
    assert efl.Tally.from_bytes(counted.to_bytes()).ensemble == ensemble


def test_counts_of_settings_are_kept():
    counts = LIST.allocate(1001, seed=5)
    assert counts.dtype == np.uint64
    assert counts.sum() == 1001
    snaps = efl.sample([1, 0, 0, 0], LIST, counts=counts, seed=2)
    np.testing.assert_array_equal(snaps.to_arrays()[1], np.repeat([0, 1, 2], counts.astype(int)))
    assert efl.sample([1, 0, 0, 0], LIST, counts=counts.tolist(), seed=2) == snaps
    assert efl.estimate(snaps, "ZZ").value == 1.0  # the shots that there are
    assert efl.estimate(snaps.with_allocated(False), "ZZ").value == pytest.approx(counts[0] / 1001 / 0.5)


def test_a_bell_state_is_certain_in_the_bell_basis():
    snaps = efl.sample([0.5**0.5, 0, 0, 0.5**0.5], efl.Ensemble.settings([BELL]), shots=1000, seed=1)
    found = efl.estimate(snaps, ["XX", "YY", "ZZ", {"XX": 1, "YY": -1, "ZZ": 1}])
    np.testing.assert_array_equal(found.value, [1, -1, 1, 3])
    # 1,000 shots that agree leave 1 - (1000 / 1002)^2 of a sign's variance.
    left = np.sqrt((1 - (1000 / 1002) ** 2) / 1000)
    np.testing.assert_allclose(found.stderr, left * np.sqrt([1, 1, 1, 3]), rtol=1e-9)
    np.testing.assert_array_equal(found.revealed, 1000)


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: efl.Ensemble.settings("XX"), efl.InputTypeError, "^settings: expected a sequence"),
        (lambda: efl.Ensemble.settings([]), efl.InvalidInputError, "^settings: expected at least one"),
        (lambda: efl.Ensemble.settings(["XX", 3]), efl.InputTypeError, r"^settings\[1\]"),
        (lambda: efl.Ensemble.settings(["XX", "XI"]), efl.InvalidInputError, r"^settings\[1\]: .*XI"),
        (lambda: efl.Ensemble.settings(["XX", "X"]), efl.ShapeError, r"^settings\[1\]: expected 2 qubits"),
        (lambda: efl.Ensemble.settings(["X"], [0.5]), efl.InvalidInputError, "^probabilities: .* 0.5"),
        (lambda: efl.Ensemble.settings(["X", "Y"], [2, -1]), efl.InvalidInputError, r"^probabilities\[1\]"),
        (
            lambda: efl.Ensemble.settings(["X"], [[1]]),
            efl.ShapeError,
            r"^probabilities: .* \(n_settings,\), got shape",
        ),
        (lambda: efl.Ensemble.settings(["X"], ["1"]), efl.InputTypeError, "^probabilities: expected real"),
        (
            lambda: efl.Ensemble.settings(["X"], [0.5, 0.5]),
            efl.ShapeError,
            "^probabilities: expected one for",
        ),
        (lambda: efl.Ensemble.blocks(2, [((0,), ["X"])]), efl.InvalidInputError, "^blocks: .*qubit 1"),
        (lambda: efl.Ensemble.blocks(1, [((1,), ["X"])]), efl.InvalidInputError, r"^blocks\[0\]: .*qubit 1"),
        (lambda: efl.Ensemble.blocks(2, [((0, 0), ["XX"])]), efl.InvalidInputError, r"^blocks\[0\].qubits"),
        (lambda: efl.Ensemble.blocks(1, [((0,),)]), efl.ShapeError, r"^blocks\[0\]: expected .qubits"),
        (lambda: efl.Ensemble.blocks(1, [((0,), ["X"], [2])]), efl.InvalidInputError, r"^blocks\[0\].prob"),
        (lambda: efl.Ensemble.blocks(1, 3), efl.InputTypeError, "^blocks: expected a sequence"),
        (lambda: efl.Ensemble.blocks(5, [(range(5), ["XXXXX"])]), efl.InvalidInputError, "1 to 4 qubits"),
        (
            lambda: efl.Ensemble.random_blocks(5, 5),
            efl.InvalidInputError,
            "^qubits_per_block: expected 1 to 4",
        ),
        (lambda: efl.Ensemble.clifford(5), efl.InvalidInputError, "^n_qubits: .*random_blocks"),
        (lambda: BLOCKS.allocate(10, 1), efl.InvalidInputError, "^ensemble: expected a list"),
        (lambda: LIST.allocate(-1, 1), efl.InvalidInputError, "^shots"),
        (lambda: LIST.pair_probability("XX", "X"), efl.ShapeError, "^b: expected a word of 2 qubits"),
        (lambda: efl.sample([1, 0, 0, 0], LIST, shots=1, counts=[1, 1, 1]), efl.InvalidInputError, "^counts"),
        (lambda: efl.sample([1, 0, 0, 0], LIST), efl.InputTypeError, "^shots"),
        (lambda: efl.sample([1, 0, 0, 0], LIST, counts=[1, 1]), efl.ShapeError, "^counts: expected one for"),
        (lambda: efl.sample([1, 0, 0, 0], LIST, counts=[1, 1, -1]), efl.InvalidInputError, "^counts"),
        (lambda: efl.sample([1, 0, 0, 0], LIST, counts=[1, 1, 0.5]), efl.InputTypeError, "^counts"),
        (lambda: efl.sample([1, 0, 0, 0], LIST, counts=3), efl.ShapeError, "^counts"),
        (lambda: efl.sample([1, 0, 0, 0], LIST, counts=[2**62] * 3), efl.ResourceLimitError, "memory"),
        (lambda: efl.sample([1, 0], efl.Ensemble.uniform(1), counts=[1]), efl.InvalidInputError, "^ensemble"),
        (lambda: settings([[0, 1]], [3]), efl.InvalidInputError, r"^setting_index\[0, 0\]: expected 0 to 2"),
        (lambda: settings([[0, 1]], [-1]), efl.InvalidInputError, r"^setting_index\[0, 0\]: .*got -1"),
        (lambda: settings([[0, 2]], [1]), efl.InvalidInputError, r"^bits\[0, 1\]"),
        (lambda: settings([[0, 1]], [1, 1]), efl.ShapeError, r"^setting_index: expected shape \(1,\)"),
        (lambda: settings([[0, 1]], [0.5]), efl.InputTypeError, "^setting_index: expected indices"),
        (lambda: settings([[0, 1]], ["0"]), efl.InputTypeError, "^setting_index"),
        (lambda: settings([[0]], [0]), efl.ShapeError, "^ensemble: expected 1 qubits"),
        (lambda: efl.Snapshots.from_arrays([[0, 1]], [[0, 1]], ensemble=LIST), efl.InvalidInputError, "^ens"),
        (lambda: drawn(LIST).with_ensemble(efl.Ensemble.uniform(2)), efl.InvalidInputError, "^ensemble"),
        (
            lambda: efl.estimate(drawn(LIST), "XI"),
            efl.InvalidInputError,
            "XI, which it never does: add a .*XZ",
        ),
        (lambda: efl.estimate(drawn(BLOCKS), "IYI"), efl.InvalidInputError, "IYI, which .*give each block"),
    ],
)
def test_bad_input_is_refused(call, error, message):
    with pytest.raises(error, match=message) as caught:
        call()
    assert type(caught.value) is error


def settings(bits, indices):
    return efl.Snapshots.from_settings(bits, indices, ensemble=LIST)


def test_probabilities_of_the_same_settings_may_change():
    snaps = drawn(LIST)
    other = efl.Ensemble.settings(LIST.setting_list)
    assert snaps.with_ensemble(other).ensemble == other
    with pytest.raises(efl.InvalidInputError, match=r"parts\[1\]"):
        _ = snaps + snaps.with_ensemble(other)
