"""The table of what a device does after a gate: channels, and what is refused."""

import numpy as np
import pytest

import efl_core as efl
from efl_core.noise import PAULIS, fewest, relaxation


def applied(kraus, rho):
    return sum(k @ rho @ k.conj().T for k in kraus)


RHO = np.array([[0.3, 0.2 + 0.1j], [0.2 - 0.1j, 0.7]])


def test_a_qubit_relaxes():
    after = applied(relaxation(1.0, 3.0, 2.0), RHO)
    np.testing.assert_allclose(after[1, 1], 0.7 * np.exp(-1 / 3), atol=1e-14)
    np.testing.assert_allclose(after[0, 1], (0.2 + 0.1j) * np.exp(-1 / 2), atol=1e-14)
    np.testing.assert_allclose(np.trace(after), 1, atol=1e-14)


def test_its_twirl_keeps_what_pauli_letters_keep():
    plain, twirled = relaxation(1.0, 3.0, 2.0), relaxation(1.0, 3.0, 2.0, twirled=True)
    for letter in PAULIS:
        kept = np.trace(letter @ applied(plain, letter)).real / 2
        np.testing.assert_allclose(applied(twirled, letter), kept * letter, atol=1e-14)


@pytest.mark.parametrize("twirled", [False, True])
def test_errors_come_before_relaxation_and_both_are_one_channel(twirled):
    noise = efl.Noise(0.01, 0.02, t1=3.0, t2=2.0, one_qubit_time=0.1, two_qubit_time=0.5, twirled=twirled)
    for width, chance, time in ((1, 0.01, 0.1), (2, 0.02, 0.5)):
        kraus = noise.after(width)
        assert len(kraus) <= 4**width
        np.testing.assert_allclose(sum(k.conj().T @ k for k in kraus), np.eye(2**width), atol=1e-14)
        rho = RHO if width == 1 else np.kron(RHO, RHO.T)
        mixed = 4**width * chance / (4**width - 1)
        expected = (1 - mixed) * rho + mixed * np.eye(2**width) / 2**width
        each = relaxation(time, 3.0, 2.0, twirled=twirled)
        both = each if width == 1 else [np.kron(a, b) for a in each for b in each]
        np.testing.assert_allclose(applied(kraus, rho), applied(both, expected), atol=1e-14)


def test_times_of_zero_and_lives_without_end_leave_the_errors_alone():
    plain = efl.Noise(two_qubit=0.1)
    for other in (efl.Noise(two_qubit=0.1, two_qubit_time=1.0), efl.Noise(two_qubit=0.1, t1=1.0, t2=1.0)):
        np.testing.assert_array_equal(np.array(plain.after(2)), np.array(other.after(2)))
    assert efl.Noise(t1=1.0, t2=1.0).after(1) == []
    assert efl.Noise(t1=1.0).t2 == 2.0  # the decay dephases by itself


def test_the_fewest_operators_are_of_the_same_channel():
    rng = np.random.default_rng(1)
    kraus = list(rng.normal(size=(9, 2, 2)) + 1j * rng.normal(size=(9, 2, 2)))
    short = fewest(kraus)
    assert len(short) == 4
    np.testing.assert_allclose(applied(short, RHO), applied(kraus, RHO), atol=1e-12)


def test_circuits_relax_as_long_as_their_gates_take():
    noise = efl.Noise(t1=100e-6, t2=80e-6, one_qubit_time=1e-6, two_qubit_time=4e-6)
    circuit = efl.Circuit(2).clifford("X", 0).clifford("CZ", 0, 1)
    found = efl.propagate(noise.on(circuit), "ZI").value
    assert found == pytest.approx(1 - 2 * np.exp(-5 / 100))


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({"t1": 0}, "t1"),
        ({"t1": -1.0}, "t1"),
        ({"t2": float("nan")}, "t2"),
        ({"t1": 1.0, "t2": 2.5}, "t2"),
        ({"one_qubit_time": -1e-9}, "one_qubit_time"),
        ({"two_qubit_time": float("inf")}, "two_qubit_time"),
        ({"one_qubit": 0.75}, "one_qubit"),
    ],
)
def test_refused_numbers(options, name):
    with pytest.raises(efl.InvalidInputError, match=f"^{name}: expected"):
        efl.Noise(**options)


def test_refused_types():
    with pytest.raises(efl.InputTypeError, match=r"^twirled: expected True or False"):
        efl.Noise(twirled="yes")
    with pytest.raises(efl.InputTypeError, match=r"^t1"):
        efl.Noise(t1="long")
