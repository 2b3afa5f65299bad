"""Calibrations: contrasts, their errors, what is divided by them, what is refused. Seeds are fixed."""

import pickle
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

import efl_core as efl
from efl_core import Calibration

LETTERS = {"X": 0, "Y": 1, "Z": 2}


def snapshots(outcomes, letters):
    bits = [[int(bit) for bit in row] for row in outcomes]
    bases = [[LETTERS[letter] for letter in row] for row in letters]
    return efl.Snapshots.from_arrays(bits, bases)


def flipped(shots, rates, seed=0):
    rng = np.random.default_rng(seed)
    return (rng.random((shots, len(rates))) < rates).astype(np.uint8)


def test_shadows_of_a_zero_state_have_the_fidelities_of_mitiq():
    """The exact cases of mitiq's own tests: fidelities, and expectation values that are divided by them."""
    snaps = snapshots(["00", "01", "10", "11"], ["XX", "YY", "ZZ", "XY"])
    found = Calibration.from_snapshots(snaps)
    fidelities = {mask: found.fidelity(mask) for mask in [(), (0,), (1,), (0, 1)]}
    assert fidelities == {(): 1.0, (0,): -0.25, (1,): 0.25, (0, 1): -0.25}
    plain = efl.estimate(snapshots(["0101", "0110"], ["ZZXX", "ZZXX"]), "ZZII")
    assert plain.value == pytest.approx(-9)
    ideal = Calibration.from_bits(np.zeros((10_000, 4), dtype=np.uint8))
    noisy = efl.estimate(snapshots(["0101", "0110"], ["YXZZ", "XXXX"]), "YXZZ", calibration=ideal)
    assert noisy.value == pytest.approx(81 / 2)


def test_contrasts_of_masks_are_those_of_correlated_flips():
    """A flip of both qubits leaves their common parity alone."""
    rng = np.random.default_rng(1)
    both = (rng.random(20_000) < 0.1).astype(np.uint8)
    found = Calibration.from_bits(np.stack([both, both, 0 * both], axis=1))
    assert found.contrast([0, 1]).value == 1.0 == found.contrast([2]).value
    assert abs(found.contrast([0]).value - 0.8) < 5 * found.contrast([0]).stderr
    assert set(found.pairs()) == {(0, 1)}
    assert abs(found.pairs()[0, 1].value - (1 - found.contrast([0]).value ** 2)) < 1e-12


def test_flips_are_undone():
    flips = np.random.default_rng(3).integers(0, 2, (500, 3), dtype=np.uint8)
    errors = flipped(500, [0.1, 0.0, 0.2], 4)
    assert Calibration.from_bits(errors ^ flips, flips).contrast([0, 2]) == Calibration.from_bits(
        errors
    ).contrast([0, 2])


def test_what_is_kept_comes_back(tmp_path):
    found = Calibration.from_bits(
        flipped(300, [0.2, 0.05]), wires=["a", 3], made=datetime(2026, 1, 2, tzinfo=UTC), max_age=1e12
    )
    again = Calibration.from_json(found.to_json())
    assert again == found == pickle.loads(pickle.dumps(found))
    assert (again.wires, again.made, again.max_age, again.shots) == (("a", 3), found.made, 1e12, 300)
    assert again.of([3]).contrast([0]) == found.contrast([1])
    robust = Calibration.from_snapshots(efl.sample([1, 0, 0, 0], shots=200, seed=1))
    assert Calibration.from_json(robust.to_json()) == robust


def test_estimates_are_divided_and_their_bars_are_longer():
    """Flips of 10 and 20 % on |00>: the word ZZ keeps 0.8 x 0.6."""
    calibration = Calibration.from_bits(flipped(4000, [0.1, 0.2], 1))
    bits = flipped(3000, [0.1, 0.2], 2)
    snaps = efl.Snapshots.from_arrays(bits, np.full((3000, 2), 2))
    snaps = snaps.with_ensemble(efl.Ensemble.biased([[0, 0, 1]] * 2))
    plain = efl.estimate(snaps, ["ZZ", {"ZZ": 1, "ZI": 1}])
    found = efl.estimate(snaps, ["ZZ", {"ZZ": 1, "ZI": 1}], calibration=calibration)
    contrast = calibration.contrast([0, 1])
    assert found.value[0] == pytest.approx(plain.value[0] / contrast.value)
    added = found.stderr[0] ** 2 - (plain.stderr[0] / contrast.value) ** 2
    assert added == pytest.approx((found.value[0] * contrast.stderr / contrast.value) ** 2, rel=0.02)
    assert abs(plain.value[0] - 1) > 10 * plain.stderr[0]
    assert (abs(found.value - [1, 2]) < 4 * found.stderr).all()


def test_a_tally_of_letters_is_divided_as_its_snapshots_are():
    calibration = Calibration.from_bits(flipped(4000, [0.1, 0.2], 1))
    snaps = efl.sample([0.6, 0, 0, 0.8], shots=2000, seed=5)
    counted = efl.tally(snaps, ["XX", "ZZ"])
    by_tally = efl.estimate(counted, calibration=calibration)
    direct = efl.estimate(snaps, ["XX", "ZZ"], calibration=calibration)
    np.testing.assert_allclose(by_tally.value, direct.value)
    np.testing.assert_allclose(by_tally.stderr, direct.stderr)


def test_settings_read_a_word_by_their_own_parities():
    """ZZ is one bit of a Bell setting, and two of ZZ."""
    bell = efl.Setting.from_gates(2, [("CNOT", 0, 1), ("H", 0)])
    calibration = Calibration.from_bits(flipped(50_000, [0.2, 0.1], 1))
    ensemble = efl.Ensemble.settings([bell, "ZZ"], [0.5, 0.5])
    noise = flipped(6000, [0.2, 0.1], 6)
    snaps = efl.sample([2**-0.5, 0, 0, 2**-0.5], ensemble, shots=6000, seed=2)
    bits, which = snaps.to_arrays()
    for allocated in (False, True):
        noisy = efl.Snapshots.from_settings(bits ^ noise, which, ensemble=ensemble, allocated=allocated)
        found = efl.estimate(noisy, "ZZ", calibration=calibration)
        assert abs(found.value - 1) < 4 * found.stderr < 0.2
        only = np.bincount(which, minlength=2) / 6000 if allocated else np.array([0.5, 0.5])
        one, two = calibration.contrast([1]).value, calibration.contrast([0, 1]).value
        plain = efl.estimate(noisy, "ZZ").value
        assert found.value == pytest.approx(plain / (only @ [one, two]), rel=1e-9)


def test_the_number_of_shots_that_is_needed_is_told():
    found = Calibration.from_bits(flipped(100, [0.4, 0.4, 0.4]))
    with pytest.raises(efl.InvalidInputError, match=r"^calibration: expected contrasts .*about \d+ shots"):
        efl.estimate(efl.sample([1] + [0] * 7, shots=100, seed=0), "ZZZ", calibration=found)
    sure = Calibration.from_bits(flipped(10_000, [0.1]))
    needed = sure.needed_shots([0], 0.01)
    # (1 - 0.8^2) / 0.8^2 / 0.01^2
    assert needed == pytest.approx(5625, rel=0.1)


def test_bases_that_agree_say_what_is_left():
    """100 shots with one word of which 90 agree, 40 with two of which 30 do: 0.8, and 1 - 4 / 3 * 1 / 4."""
    found = efl.BasisCalibration(3, [[0, 70, 70], [1, 100, 90], [2, 40, 30]])
    contrast = found.mean_contrast
    assert contrast.value == pytest.approx((100 * 0.8 + 40 * (1 - 4 / 3 / 4)) / 140)
    assert (contrast.shots, found.shots, found.n_qubits) == (140, 210, 3)
    sure = efl.BasisCalibration(3, [[1, 1000, 1000]]).mean_contrast
    assert (sure.value, sure.stderr) == (1.0, pytest.approx(0.002))  # agreement is no certainty


def test_a_calibration_of_bases_comes_back():
    found = efl.BasisCalibration(3, [[1, 100, 90]], made=datetime(2026, 1, 2, tzinfo=UTC), max_age=1e12)
    again = efl.BasisCalibration.from_json(found.to_json())
    assert again == found == pickle.loads(pickle.dumps(found))
    assert hash(again) == hash(found)
    assert (again.made, again.max_age) == (found.made, 1e12)
    assert found != efl.BasisCalibration(3, [[1, 100, 91]], made=found.made, max_age=1e12)


def test_the_mean_of_all_contrasts_takes_shots_that_saw_all_qubits():
    bits, bases = [[0, 0], [0, 1], [1, 1], [0, 0]], [[2, 2], [2, 2], [0, 2], [2, 2]]
    found = Calibration.from_snapshots(efl.Snapshots.from_arrays(bits, bases)).mean_contrast
    assert (found.value, found.shots) == (pytest.approx((2 / 3 - 1 / 4) / (3 / 4)), 3)
    none = Calibration.from_snapshots(efl.Snapshots.from_arrays([[0, 0]], [[0, 0]])).mean_contrast
    assert (none.value, none.stderr, none.shots) == (0, 1, 0)


OLD = datetime.now(UTC) - timedelta(hours=2)
ONE = np.zeros((10, 1), dtype=np.uint8)


@pytest.mark.parametrize(
    ("call", "error", "parts"),
    [
        (lambda: Calibration.from_bits([[2]]), efl.InvalidInputError, ["bits"]),
        (lambda: Calibration.from_bits(ONE[:0]), efl.ShapeError, ["bits", "at least one"]),
        (lambda: Calibration.from_bits(ONE, [[0]]), efl.ShapeError, ["flips", "(10, 1)"]),
        (lambda: Calibration.from_bits(ONE, wires=["a", "b"]), efl.ShapeError, ["wires"]),
        (lambda: Calibration.from_bits(ONE, max_age=0), efl.InvalidInputError, ["max_age"]),
        (lambda: Calibration.from_bits(ONE, made=datetime(2026, 1, 1)), efl.InvalidInputError, ["time zone"]),
        (lambda: Calibration.from_bits(ONE, made=3), efl.InputTypeError, ["made", "datetime"]),
        (lambda: Calibration.from_bits(ONE).contrast([1]), efl.InvalidInputError, ["qubits"]),
        (lambda: Calibration.from_bits(ONE).of(["b"]), efl.InvalidInputError, ["calibration", "'b'"]),
        (lambda: Calibration.from_bits(ONE).needed_shots([0], 0), efl.InvalidInputError, ["error"]),
        (lambda: Calibration.from_json("{}"), efl.CorruptDataError, ["text"]),
        (lambda: Calibration.from_json("[1]"), efl.CorruptDataError, ["text"]),
        (lambda: Calibration.from_snapshots(3), efl.InputTypeError, ["snaps"]),
        (lambda: Calibration(3), efl.InputTypeError, ["Calibration.from_bits"]),
        (
            lambda: efl.estimate(efl.sample([1, 0], shots=5, seed=1), "Z", calibration=3),
            efl.InputTypeError,
            ["calibration"],
        ),
        (
            lambda: efl.estimate(
                efl.sample([1, 0, 0, 0], shots=5, seed=1), "ZZ", calibration=Calibration.from_bits(ONE)
            ),
            efl.ShapeError,
            ["calibration", "2 qubits"],
        ),
        (
            lambda: efl.estimate(
                efl.sample([1, 0], shots=5, seed=1),
                "Z",
                calibration=Calibration.from_bits(ONE, made=OLD, max_age=60),
            ),
            efl.InvalidInputError,
            ["calibration", "60 s old"],
        ),
        (
            lambda: efl.estimate(
                efl.sample([1] + [0] * 7, efl.Ensemble.random_blocks(3, 2), shots=5, seed=1),
                "ZZI",
                calibration=Calibration.from_bits(np.zeros((50, 3), dtype=np.uint8)),
            ),
            efl.InvalidInputError,
            ["calibration", "settings"],
        ),
        (lambda: efl.Noise(one_qubit=0.75), efl.InvalidInputError, ["one_qubit"]),
        (lambda: efl.Noise(two_qubit=-0.1), efl.InvalidInputError, ["two_qubit"]),
        (lambda: efl.Noise().after(3), efl.InvalidInputError, ["noise", "3"]),
        (
            lambda: efl.Noise(two_qubit=0.1).on(efl.Circuit(3).rotation("XYZ", 0.3)),
            efl.InvalidInputError,
            ["noise", "3"],
        ),
        (lambda: efl.Circuit(1).noise([np.eye(2) / 2], 0), efl.InvalidInputError, ["kraus"]),
        (lambda: efl.plan(efl.Circuit(1), "Z", noise=3), efl.InputTypeError, ["noise"]),
    ],
)
def test_bad_input_is_refused_by_name(call, error, parts):
    with pytest.raises(error) as caught:
        call()
    for part in parts:
        assert part in str(caught.value)
