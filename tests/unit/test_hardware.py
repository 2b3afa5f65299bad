"""Durations of circuits against the coherence of devices."""

import math
from dataclasses import replace

import numpy as np
import pytest

import efl_core as efl

PLAIN = efl.Hardware(
    "plain",
    t1=100.0,
    t2=50.0,
    one_qubit_time=1.0,
    two_qubit_time=4.0,
    readout_time=10.0,
    one_qubit=0.01,
    two_qubit=0.1,
    readout=0.02,
)


def chain():
    """A rotation on each of three qubits, then gates one after the other."""
    circuit = efl.Circuit(3, parameters=[0.1, 0.2, 0.3])
    for q in range(3):
        circuit.ry(efl.Parameter(q), q)
    return circuit.clifford("CZ", 0, 1).clifford("CZ", 1, 2)


def test_a_snapshot_takes_the_longest_way_a_setting_and_a_readout():
    [found] = efl.coherence(PLAIN, chain())
    held = 1 + 4 + 4 + 1  # rotations at once, two gates that share a qubit, the letters of a setting
    assert found.single.time == held + 10
    assert found.single.used == pytest.approx((held + 10) / 50)
    assert found.single.gates == pytest.approx(0.99**6 * 0.9**2 * 0.98**3)
    assert found.single.idle == pytest.approx(((1 + np.exp(-held / 100) + 2 * np.exp(-held / 50)) / 4) ** 3)
    assert found.single.left == pytest.approx(found.single.idle * found.single.gates)
    assert found.single.shots == pytest.approx(found.single.left**-2)


def test_gates_on_other_qubits_run_at_once():
    circuit = efl.Circuit(4).clifford("CZ", 0, 1).clifford("CZ", 2, 3)
    assert efl.coherence(PLAIN, circuit)[0].single.time == 4 + 1 + 10


def test_a_joint_measurement_waits_for_pairs_and_messages():
    linked = replace(PLAIN, pair_time=7.0, pair=0.05)
    [one] = efl.coherence(linked, chain(), round_trip=30.0)
    [all_at_once] = efl.coherence(linked, chain(), round_trip=30.0, pairs_at_once=3)
    length = 1 + 4 + 4
    assert one.joint.time == length + 3 * 7 + 30 + 5 + 10
    assert all_at_once.joint.time == length + 7 + 30 + 5 + 10
    assert one.joint.left < all_at_once.joint.left < all_at_once.single.left


def test_settings_with_gates_take_longer():
    plain, deep = (efl.coherence(PLAIN, chain(), setting_depth=depth)[0].single for depth in (0, 2))
    assert deep.time == plain.time + 2 * 5
    assert deep.gates == pytest.approx(plain.gates * 0.99**6 * 0.9**2)


def test_wide_gates_are_compiled():
    word = efl.Circuit(3, parameters=[0.1]).rotation("XYZ", efl.Parameter(0))
    assert efl.coherence(PLAIN, word)[0].single.time == 4 * 4 + 1 + 1 + 10
    total = efl.Circuit(2, parameters=[0.1]).evolution({"XX": 1.0, "ZZ": 0.5}, efl.Parameter(0))
    assert efl.coherence(PLAIN, total)[0].single.time == 2 * (2 * 4 + 1) + 1 + 10
    matrix = efl.Circuit(2).unitary(np.eye(4), 0, 1).unitary(np.eye(2), 0)
    assert efl.coherence(PLAIN, matrix)[0].single.time == 3 * 4 + 8 + 1 + 1 + 10


def test_noise_takes_no_time():
    noisy = efl.Noise(two_qubit=0.1).on(chain())
    assert efl.coherence(PLAIN, noisy)[0].single == efl.coherence(PLAIN, chain())[0].single


def test_repeats_end_where_little_is_left():
    [found] = efl.coherence(
        replace(PLAIN, t1=1e9, t2=1e9, readout=0.0, one_qubit=0.0, two_qubit=0.01), chain()
    )
    assert found.repeats == math.floor(1 / (2 * -math.log(0.99)) - 1)
    [none] = efl.coherence(PLAIN, chain())
    assert none.repeats == 0 if none.single.left < np.exp(-0.5) else none.repeats > 0


def test_the_table_prints_figures_and_where_they_are_from():
    table = efl.coherence(None, chain())
    text = str(table)
    assert len(table) == len(efl.HARDWARE) == 4
    for row in efl.HARDWARE.values():
        assert row.name in text
        assert row.source
        assert row.source in text
        assert row.assumed in text
    assert efl.coherence(["ions", PLAIN], chain())[1].hardware is PLAIN
    # A network between replicas is nothing to an atom, and everything to a superconducting qubit.
    used = {row.hardware.name.split()[0]: row.joint.used / row.single.used for row in table}
    assert used["Willow"] > 50 > used["neutral"]


def test_hardware_is_a_table_of_noise():
    assert efl.HARDWARE["willow"].noise() == efl.Noise(one_qubit=0.00035, two_qubit=0.0033)


def test_refusals():
    with pytest.raises(efl.InvalidInputError, match=r"^devices: expected some of willow, nighthawk"):
        efl.coherence("sycamore", chain())
    with pytest.raises(efl.InvalidInputError, match=r"^devices: expected at least one"):
        efl.coherence([], chain())
    with pytest.raises(efl.InputTypeError, match=r"^devices"):
        efl.coherence([3], chain())
    with pytest.raises(efl.InputTypeError, match=r"^circuit"):
        efl.coherence("willow", "circuit")
    with pytest.raises(efl.InvalidInputError, match=r"^round_trip"):
        efl.coherence("willow", chain(), round_trip=-1)
    with pytest.raises(efl.InvalidInputError, match=r"^pairs_at_once"):
        efl.coherence("willow", chain(), pairs_at_once=0)
    for name, value in {"t1": 0.0, "t2": 300.0, "readout_time": -1.0, "two_qubit": 1.0, "pair": -0.1}.items():
        with pytest.raises(efl.InvalidInputError, match=f"^{name}: expected"):
            replace(PLAIN, **{name: value})
