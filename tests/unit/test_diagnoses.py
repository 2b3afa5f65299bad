"""Diagnoses: what they say, and what they refuse."""

import matplotlib
import numpy as np
import pytest

import efl_core as efl
from efl_core.diagnoses import SHOWN

matplotlib.use("Agg")


def layer(n, angle=1.0):
    circuit = efl.Circuit(n, parameters=np.full(n, angle))
    for q in range(n):
        circuit.ry(efl.Parameter(q), q)
    return circuit


def diagnosed(observable, n=3, shots=10_000, ensemble=None, **options):
    circuit = layer(n)
    observables = efl.gradient_observables(circuit, observable)
    snaps = efl.sample(efl.simulate(circuit), ensemble, shots=shots, seed=1)
    return efl.diagnose(snaps, observables, **options)


def test_shapes_follow_the_gradient():
    one = diagnosed("ZII")
    assert one.gradient.shape == one.bound.shape == one.snr.shape == one.flat.shape == (3,)
    two = diagnosed(["ZII", "IZZ"])
    assert two.power.shape == two.support.shape == (2, 3)
    assert two.support.tolist() == [[1, 0, 0], [0, 2, 2]]
    assert two.weight == 2
    assert "0, 0" in str(two)


def test_a_gradient_that_is_there():
    found = diagnosed("ZII")
    assert found.verdict == "trainable"
    assert found.advice == ()
    assert found.seen.tolist() == [True, False, False]
    assert found.snr[0] > 100
    assert found.bound[0] >= np.sin(1.0)
    assert found.is_zero.tolist() == [False, True, True]
    assert str(found).startswith("diagnosis: trainable")


def test_too_few_shots_say_how_many():
    found = diagnosed("ZZZ", shots=50, resolution=0.01)
    assert found.verdict == "unseen"
    assert found.shots_needed > 50
    assert f"{found.shots_needed:,} shots" in found.advice[0]


def test_nothing_is_trained_that_matters():
    circuit = efl.Circuit(2, parameters=[0.3]).rz(efl.Parameter(0), 1).clifford("H", 0)
    observables = efl.gradient_observables(circuit, "XI")
    found = efl.diagnose(efl.sample(efl.simulate(circuit), shots=100, seed=1), observables)
    assert found.verdict == "constant"
    assert found.rms == (0.0, 0.0)
    assert "light cone" in found.advice[0]


def test_words_that_settings_do_not_reveal_bound_nothing():
    found = diagnosed("ZII", ensemble=efl.Ensemble.settings(["XXX", "ZZZ"]))
    assert np.isinf(found.bound[0])
    assert diagnosed("ZII", max_support=0).bound[0] == np.inf
    assert diagnosed("ZII", shots=30).bound[0] == np.inf  # too few for the error of a purity
    assert " - " in str(found)


def test_long_tables_are_cut():
    total = {"I" * q + "Z" + "I" * (15 - q): 1.0 for q in range(16)}
    text = str(diagnosed(total, n=16, shots=2_000))
    assert f"and {16 - SHOWN} smaller ones" in text


def test_refusals():
    with pytest.raises(efl.InvalidInputError, match=r"^resolution: expected a derivative above zero, got 0"):
        diagnosed("ZII", resolution=0)
    with pytest.raises(efl.InvalidInputError, match=r"^resolution"):
        diagnosed("ZII", resolution=float("nan"))
    with pytest.raises(efl.InvalidInputError, match=r"^max_support: expected an integer from 0 to 8"):
        diagnosed("ZII", max_support=9)
    with pytest.raises(efl.InputTypeError, match="snaps"):
        efl.diagnose("snaps", efl.gradient_observables(layer(1), "Z"))


def test_calibrations_are_taken():
    rng = np.random.default_rng(1)
    circuit = layer(1)
    observables = efl.gradient_observables(circuit, "Z")
    bits, letters = efl.sample(efl.simulate(circuit), shots=40_000, seed=1).to_arrays()
    flips = rng.random(bits.shape) < 0.1
    noisy = efl.Snapshots.from_arrays(bits ^ flips, letters)
    calibration = efl.Calibration.from_bits((rng.random((40_000, 1)) < 0.1).astype(np.uint8))
    found = efl.diagnose(noisy, observables, calibration=calibration)
    assert abs(found.gradient[0] + np.sin(1.0)) < 4.5 * found.stderr[0]
    assert abs(efl.diagnose(noisy, observables).gradient[0] + 0.8 * np.sin(1.0)) < 0.05


def test_plot():
    ax = diagnosed("ZII").plot()
    assert ax.get_title() == "trainable"
    with pytest.raises(efl.InputTypeError, match="ax"):
        diagnosed("ZII").plot("axes")
