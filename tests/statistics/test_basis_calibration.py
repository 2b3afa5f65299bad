"""Twirled random bases on devices that err: calibrated values are unbiased, and their bars hold.

Devices here change the bits of `Snapshots.to_arrays`, which are those that a readout sees. A single
comparison allows 5 standard errors (6e-7 for normal errors). Where the mean of squared scores is held, the
limit is five of its standard errors, from as many runs as the test says.
"""

import itertools

import numpy as np
import pytest
from tests.oracle.dense import expectation as dense_expectation
from tests.oracle.dense import random_state

import efl_core as efl


def asymmetric(bits, rng):
    """Reads 1 as 0 in 9 % of cases, 0 as 1 in 1 %, more on later qubits."""
    rates = np.where(bits == 1, 0.09, 0.01) * np.linspace(0.5, 1.5, bits.shape[1])
    return bits ^ (rng.random(bits.shape) < rates)


def correlated(bits, rng):
    """Flips qubit 0 and the last one together in 12 % of the shots, and all qubits in 5 %."""
    both, every = rng.random((2, len(bits), 1)) < [[[0.12]], [[0.05]]]
    ends = np.arange(bits.shape[1]) % (bits.shape[1] - 1) == 0 if bits.shape[1] > 1 else [True]
    return bits ^ (both & ends) ^ every


def depolarising(bits, rng):
    """Loses the state in 30 % of the shots, and a single qubit in 5 % each."""
    lost = (rng.random((len(bits), 1)) < 0.3) | (rng.random(bits.shape) < 0.05)
    return np.where(lost, rng.integers(0, 2, bits.shape), bits)


DEVICES = {device.__name__: device for device in (asymmetric, correlated, depolarising)}


def measured(state, ensemble, device, shots, seed):
    bits, addresses = efl.sample(state, ensemble, shots=shots, seed=seed).to_arrays()
    noisy = device(bits, np.random.default_rng(seed)).astype(np.uint8)
    return efl.Snapshots.from_addresses(noisy, addresses, ensemble=ensemble)


def zeros(n_qubits):
    return efl.StabiliserState(n_qubits, [])


def readout(device, n_qubits, shots, seed):
    """What `efl.calibrate` does: |0...0> after random flips, which are undone in the bits."""
    rng = np.random.default_rng(seed)
    flips = rng.integers(0, 2, (shots, n_qubits), dtype=np.uint8)
    return efl.Calibration.from_bits(device(flips, rng).astype(np.uint8), flips)


def circuit_of(n_qubits):
    angles = np.random.default_rng(n_qubits).uniform(-3, 3, 2 * n_qubits)
    made = efl.Circuit(n_qubits, parameters=angles)
    for q in range(n_qubits):
        made.ry(efl.Parameter(2 * q), q).rx(efl.Parameter(2 * q + 1), q)
    for q in range(n_qubits - 1):
        made.clifford("CNOT", q, q + 1)
    return made


@pytest.mark.parametrize("n_qubits", [1, 3, 5])
@pytest.mark.parametrize("name", DEVICES)
def test_fidelities_gradients_words_and_operators_are_unbiased(name, n_qubits):
    device, ensemble = DEVICES[name], efl.Ensemble.global_clifford(n_qubits, twirled=True)
    circuit = circuit_of(n_qubits)
    state = efl.simulate(circuit)
    near = state + 0.4 * random_state(n_qubits, 3)
    target = near / np.linalg.norm(near)
    snaps = measured(state, ensemble, device, 40_000, 1)
    exact = abs(np.vdot(target, state)) ** 2
    wrong = efl.fidelity(snaps, target, combine="mean")
    assert exact - wrong.value > 5 * wrong.stderr, "the device does not err"
    step = 1e-5

    def value(theta):
        return abs(np.vdot(target, efl.simulate(circuit.at(theta)))) ** 2

    theta = np.array(circuit.parameters, dtype=float)
    shifts = step * np.eye(len(theta))
    slopes = np.array([(value(theta + s) - value(theta - s)) / (2 * step) for s in shifts])
    other = random_state(n_qubits, 7)
    words = ["Z" * n_qubits, "XYZXYZ"[:n_qubits], {"I" * n_qubits: 2.0, "Y" + "I" * (n_qubits - 1): -1.0}]
    rows = efl.gradient_observables(circuit, {"Z" * n_qubits: 0.7, "I" * n_qubits: 1.0})
    ideal = [efl.propagate(circuit, word).value for word in words]
    counted = [words[0], words[1], "Y" + "I" * (n_qubits - 1), "I" * n_qubits]
    counts = efl.tally(snaps, counted, buckets=32)
    # Two ways to know what is left: the readout by itself, and the bases on |0...0>.
    for known in (
        readout(device, n_qubits, 200_000, 2),
        efl.BasisCalibration.from_snapshots(measured(zeros(n_qubits), ensemble, device, 200_000, 3)),
    ):
        for combine in ("mean", "median_of_means"):
            found = efl.fidelity(snaps, target, combine=combine, calibration=known)
            assert abs(found.value - exact) < 5 * found.stderr, combine
        whole = efl.fidelity_gradient(snaps, circuit, target, calibration=known)
        assert abs(whole.value - exact) < 5 * whole.value_stderr
        assert (np.abs(whole.gradient - slopes) < 5 * whole.stderr + 1e-9).all()
        overlap = efl.low_rank(snaps, [target, other], [[0.3, 0.5], [0.5, -1.0]], calibration=known)
        a, b = np.vdot(target, state), np.vdot(other, state)
        truth = 0.3 * abs(a) ** 2 - abs(b) ** 2 + (a.conj() * b).real
        assert abs(overlap.value - truth) < 5 * overlap.stderr
        for data in (snaps, counts):
            found = efl.estimate(data, words, calibration=known)
            assert (np.abs(found.value - ideal) < 5 * found.stderr).all()
        found = efl.gradient(snaps, rows, calibration=known)
        assert abs(found.value - expectation(state, rows.value)) < 5 * found.value_stderr
        truth = np.array([expectation(state, one) for one in rows.gradients])
        assert (np.abs(found.gradient - truth) < 5 * found.stderr + 1e-12).all()


def expectation(state, observable):
    """The exact value of a sum."""
    terms = {word.label: factor for word, factor in observable.terms()}
    return dense_expectation(state, terms) if terms else 0.0


@pytest.mark.parametrize("name", DEVICES)
def test_what_is_left_is_the_mean_contrast_of_all_parities(name):
    """The three ways to it agree: all parities of a calibration, its right shots, random bases."""
    n_qubits, device = 3, DEVICES[name]
    known = readout(device, n_qubits, 100_000, 5)
    parities = [part for k in range(1, 4) for part in itertools.combinations(range(3), k)]
    mean = np.mean([known.contrast(part).value for part in parities])
    assert known.mean_contrast.value == pytest.approx(mean, abs=1e-12)
    ensemble = efl.Ensemble.global_clifford(n_qubits, twirled=True)
    found = efl.BasisCalibration.from_snapshots(
        measured(zeros(3), ensemble, device, 100_000, 6)
    ).mean_contrast
    error = np.hypot(found.stderr, known.mean_contrast.stderr)
    assert abs(found.value - known.mean_contrast.value) < 5 * error


def test_without_the_twirl_words_are_left_with_different_parts():
    """Why it is there: Z on qubit 0 is read by bit 0, the product of Y by all bits."""
    ensemble = efl.Ensemble.global_clifford(3)
    state = efl.StabiliserState.from_words([(1, "ZII"), (1, "IZI"), (1, "IIZ")])
    turned = efl.StabiliserState.from_words([(1, "YII"), (1, "IYI"), (1, "IIY")])

    def device(bits, rng):
        return bits ^ (rng.random(bits.shape) < 0.15)

    one = efl.estimate(measured(state, ensemble, device, 40_000, 1), "ZII")
    all_ = efl.estimate(measured(turned, ensemble, device, 40_000, 2), "YYY")
    assert abs(one.value - 0.7) < 5 * one.stderr
    assert abs(all_.value - 0.7**3) < 5 * all_.stderr
    twirled = efl.Ensemble.global_clifford(3, twirled=True)
    left = np.mean([0.7, 0.7, 0.7, 0.49, 0.49, 0.49, 0.343])
    for prepared, word in ((state, "ZII"), (turned, "YYY")):
        found = efl.estimate(measured(prepared, twirled, device, 40_000, 3), word)
        assert abs(found.value - left) < 5 * found.stderr


@pytest.mark.parametrize("ways", ["readout", "bases"])
def test_bars_know_the_error_of_a_short_calibration(ways):
    """200 runs: the mean of squared scores has a standard error of 0.1, so 0.5 are five."""
    n_qubits, ensemble = 4, efl.Ensemble.global_clifford(4, twirled=True)
    ghz = efl.StabiliserState(4, [("H", 0), ("CNOT", 0, 1), ("CNOT", 1, 2), ("CNOT", 2, 3)])
    scores, words = [], []
    for k in range(200):
        snaps = measured(ghz, ensemble, asymmetric, 3000, 1000 + k)
        if ways == "readout":
            known = readout(asymmetric, n_qubits, 150, 5000 + k)
        else:
            known = efl.BasisCalibration.from_snapshots(
                measured(zeros(n_qubits), ensemble, asymmetric, 200, 5000 + k)
            )
        found = efl.fidelity(snaps, ghz, calibration=known)
        scores.append((found.value - 1) / found.stderr)
        found = efl.estimate(snaps, {"XXXX": 0.5, "ZZII": 0.5}, calibration=known)
        words.append((found.value - 1) / found.stderr)
    assert np.mean(np.square(scores)) == pytest.approx(1, abs=0.5)
    assert np.mean(np.square(words)) == pytest.approx(1, abs=0.5)


def test_a_wide_register_is_calibrated():
    """60 qubits that lose a third of their shots: the fidelity of what they prepared is 1."""
    n_qubits = 60
    ensemble = efl.Ensemble.global_clifford(n_qubits, twirled=True)
    ghz = efl.StabiliserState(n_qubits, [("H", 0), *(("CNOT", q, q + 1) for q in range(n_qubits - 1))])

    def device(bits, rng):
        return bits ^ (rng.random(bits.shape) < 0.01)

    snaps = measured(ghz, ensemble, device, 5000, 1)
    known = efl.BasisCalibration.from_snapshots(measured(zeros(n_qubits), ensemble, device, 5000, 2))
    # All bits have to be right, where a wrong one makes every parity of it a coin.
    assert abs(known.mean_contrast.value - 0.99**n_qubits) < 5 * known.mean_contrast.stderr
    found = efl.fidelity(snaps, ghz, calibration=known)
    assert abs(found.value - 1) < 5 * found.stderr
    assert found.stderr < 0.05
    assert 1 - efl.fidelity(snaps, ghz).value > 0.3
