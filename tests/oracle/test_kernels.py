"""Projected kernels and alignments against dense matrices; statistics at fixed seeds.

A comparison of an estimate with the truth allows 5 standard errors, which has a false-alarm rate of 6e-7 for
normal errors and below 1e-4 for the mildly skewed ones here.
"""

import itertools

import numpy as np
import pytest
from tests.oracle.dense import random_state

import efl_core as efl


def reduced(state, part, n_qubits):
    """The density matrix of a part."""
    tensor = np.moveaxis(state.reshape((2,) * n_qubits), part, range(len(part))).reshape(2 ** len(part), -1)
    return tensor @ tensor.conj().T


def distances(states, parts, others=None):
    """Sums over parts of squared Frobenius distances."""
    n_qubits = len(states[0]).bit_length() - 1

    def each(some):
        return [[reduced(state, part, n_qubits) for part in parts] for state in some]

    rows = each(states)
    columns = rows if others is None else each(others)
    return np.array(
        [[sum(np.linalg.norm(a - b) ** 2 for a, b in zip(x, y, strict=True)) for y in columns] for x in rows]
    )


def alignment(kernel, labels, centred):
    """The definition, with the centring matrix written out."""
    target, count = np.outer(labels, labels), len(labels)
    if centred:
        centre = np.eye(count) - 1 / count
        kernel, target = centre @ kernel @ centre, centre @ target @ centre
    return np.sum(kernel * target) / np.linalg.norm(kernel) / np.linalg.norm(target)


PARTS = {"qubits": [[0], [1], [2]], "overlapping parts": [[2, 0], [1], [0]]}


@pytest.mark.parametrize("parts", PARTS)
def test_a_projected_kernel_compares_reduced_states(parts):
    states = [random_state(3, seed) for seed in range(5)]
    given = None if parts == "qubits" else PARTS[parts]
    for ensemble in (efl.Ensemble.uniform(3), efl.Ensemble.biased([[0.5, 0.3, 0.2]] * 3)):
        snaps = [efl.sample(state, ensemble, shots=30_000, seed=10 + i) for i, state in enumerate(states)]
        exact = np.exp(-0.7 * distances(states, PARTS[parts]))
        kernel = efl.projected_kernel(snaps, gamma=0.7, parts=given)
        # A squared distance of 2 at most has an error of about 2 sqrt(18 / 30,000) sqrt(2) / 2: 5 of them.
        assert np.abs(kernel - exact).max() < 5 * 0.7 * 0.035
        assert (np.diag(kernel) == 1).all()
        assert (kernel == kernel.T).all()
        across = efl.projected_kernel(snaps[:2], snaps[2:], gamma=0.7, parts=given)
        assert across == pytest.approx(kernel[:2, 2:])


def test_settings_of_a_list_do_as_letters_do():
    states = [random_state(2, seed) for seed in range(3)]
    ensemble = efl.Ensemble.settings(["XX", "YY", "ZZ"])
    snaps = [efl.sample(state, ensemble, shots=30_000, seed=i) for i, state in enumerate(states)]
    exact = np.exp(-distances(states, [[0], [1]]))
    assert np.abs(efl.projected_kernel(snaps, gamma=1) - exact).max() < 5 * 0.03


def test_squared_distances_have_no_bias_of_shot_noise():
    """Of 40 snapshots: what words estimated with noise would add is 0.4 of a squared distance."""
    states, runs = [random_state(2, 1), random_state(2, 2)], 400
    exact = distances(states, [[0], [1]])[0, 1]
    found = []
    for run in range(runs):
        snaps = [efl.sample(state, shots=40, seed=2 * run + i) for i, state in enumerate(states)]
        found.append(-np.log(efl.projected_kernel(snaps, gamma=0.3)[0, 1]) / 0.3)
    assert np.std(found) / runs**0.5 < 0.04
    assert abs(np.mean(found) - exact) < 5 * np.std(found) / runs**0.5


def test_a_shift_of_the_diagonal_makes_a_kernel_positive():
    """What the docs say: the lowest eigenvalue is at least 1 - exp(2 gamma b), b = sum of variances / 2."""
    states, gamma = [random_state(2, seed) for seed in range(12)], 1.5
    snaps = [efl.sample(state, shots=100, seed=i) for i, state in enumerate(states)]
    kernel = efl.projected_kernel(snaps, gamma=gamma)
    words = ["XI", "YI", "ZI", "IX", "IY", "IZ"]
    noise = max(np.sum(np.square(efl.estimate(one, words).stderr)) / 2 for one in snaps)
    lowest = np.linalg.eigvalsh(kernel)[0]
    assert 1 - np.exp(2 * gamma * noise) < lowest < 0


@pytest.mark.parametrize("centred", [True, False])
def test_alignment_is_what_its_definition_says(centred):
    points = np.random.default_rng(1).normal(size=(7, 2))
    kernel = points @ points.T
    labels = np.array([1, -1, -1, 1, 1, 1, -1])
    found = efl.kernel_alignment(kernel, labels, centred=centred)
    assert found == pytest.approx(alignment(kernel, labels, centred))
    assert efl.kernel_alignment(np.outer(labels, labels), labels, centred=centred) == pytest.approx(1)
    if centred:
        assert efl.kernel_alignment(kernel, labels == 1) == pytest.approx(found)


POINTS = np.random.default_rng(5).uniform(0, 3, (6, 2))
LABELS = np.array([-1, -1, -1, 1, 1, 1])
ANGLES = np.random.default_rng(6).uniform(-2, 2, 4)
GAMMA = 0.7


def embedded(point, angles):
    """A data point between trained rotations; one parameter turns two gates."""
    made = efl.Circuit(2, parameters=angles)
    for q in range(2):
        made.ry(point[q], q)
    made.clifford("CZ", 0, 1)
    for q in range(2):
        made.rx(efl.Parameter(q), q).rz(efl.Parameter(2 + q), q)
    made.clifford("CNOT", 0, 1).rx(0.5 * efl.Parameter(1), 1)
    for q in range(2):
        made.ry(point[q], q)
    return made


def exact_alignment(angles, parts, centred):
    states = [efl.simulate(embedded(point, angles)) for point in POINTS]
    return alignment(np.exp(-GAMMA * distances(states, parts)), LABELS, centred)


def exact_gradient(parts, centred):
    moved = [
        [exact_alignment(ANGLES + side * 1e-4 * unit, parts, centred) for side in (1, -1)]
        for unit in np.eye(len(ANGLES))
    ]
    return np.array([(up - down) / 2e-4 for up, down in moved])


def measured(shots, seed, ensemble=None):
    circuits = [embedded(point, ANGLES) for point in POINTS]
    states = [efl.simulate(circuit) for circuit in circuits]
    snaps = [efl.sample(s, ensemble, shots=shots, seed=100 * seed + i) for i, s in enumerate(states)]
    return snaps, circuits


@pytest.mark.parametrize("centred", [True, False])
@pytest.mark.parametrize("parts", [[[0], [1]], [[0, 1], [1]]])
def test_all_derivatives_of_an_alignment_come_from_the_same_snapshots(parts, centred):
    settings = efl.Ensemble.settings([a + b for a, b in itertools.product("XYZ", repeat=2)])
    for ensemble in (None, settings):
        snaps, circuits = measured(40_000, 3, ensemble)
        found = efl.alignment_gradient(snaps, circuits, LABELS, gamma=GAMMA, parts=parts, centred=centred)
        assert abs(found.value - exact_alignment(ANGLES, parts, centred)) < 5 * found.value_stderr
        exact = exact_gradient(parts, centred)
        assert (np.abs(found.gradient - exact) < 5 * found.stderr).all()
        # The comparison means something: derivatives are many standard errors long.
        assert np.linalg.norm(exact) > 20 * found.stderr.max()
        assert found.shots == 240_000


@pytest.mark.parametrize("angles", [[-1.2, 1.5], [1.3, -1.7]])
def test_error_bars_of_an_alignment_and_its_gradient_are_the_scatter(angles):
    """200 runs of 3 figures: a standard deviation is known to 5 %, so 25 % are 5 sigma.

    Without the noise of the weights errors would be up to 3 times too short, or 20 times too long.
    """
    runs, points, labels, gamma = 200, [0.1, 0.4, 1.2, 2.0], [0, 0, 1, 1], 2.0

    def circuits(at):
        theta = [efl.Parameter(k) for k in range(2)]
        return [efl.Circuit(1, at).ry(x, 0).rx(theta[0], 0).ry(x, 0).rz(theta[1], 0).rx(x, 0) for x in points]

    def exact(at):
        states = [efl.simulate(circuit) for circuit in circuits(at)]
        return alignment(np.exp(-gamma * distances(states, [[0]])), np.array(labels), True)

    made = circuits(angles)
    found = []
    for run in range(runs):
        snaps = [efl.sample(efl.simulate(c), shots=4000, seed=4 * run + i) for i, c in enumerate(made)]
        found.append(efl.alignment_gradient(snaps, made, labels, gamma=gamma))
    values = np.array([[one.value, *one.gradient] for one in found])
    errors = np.array([[one.value_stderr, *one.stderr] for one in found])
    scatter = values.std(axis=0)
    assert np.sqrt(np.mean(errors**2, axis=0)) == pytest.approx(scatter, rel=0.25)
    steps = 1e-4 * np.eye(2)
    truth = [exact(angles), *((exact(angles + step) - exact(angles - step)) / 2e-4 for step in steps)]
    assert (np.abs(values.mean(axis=0) - truth) < 5 * scatter / runs**0.5).all()


def test_noise_does_not_multiply_itself():
    """Weights of one half by derivatives of the other, both ways, less what the curve of weights adds."""
    snaps, circuits = measured(2000, 8)
    found = efl.alignment_gradient(snaps, circuits, LABELS, gamma=GAMMA)
    words, step = ["XI", "YI", "ZI", "IX", "IY", "IZ"], 1e-5
    values, noises, slopes = [], [], []
    for start in (0, 1):
        half = [one[start::2] for one in snaps]
        read = [efl.estimate(one, words) for one in half]
        values.append(np.array([one.value for one in read]))
        noises.append(np.array([np.sum(one.stderr**2) for one in read]) / 2)
        made = [efl.gradient_observables(circuit, words) for circuit in circuits]
        slopes.append(np.array([efl.gradient(*pair).gradient for pair in zip(half, made, strict=True)]))

    def aligned(values, noises):
        squares = np.sum((values[:, None] - values) ** 2, axis=2) / 2 - noises[:, None] - noises
        np.fill_diagonal(squares, 0)
        return efl.kernel_alignment(np.exp(-GAMMA * squares), LABELS)

    def along(values, noises, slope):
        return (aligned(values + step * slope, noises) - aligned(values - step * slope, noises)) / (2 * step)

    whole = sum(values) / 2, sum(noises) / 4
    for k in range(len(ANGLES)):
        first, second = (each[:, :, k] for each in slopes)
        both = (first + second) / 2
        halves = list(zip(values, noises, strict=True))
        crossed = (along(*halves[0], second) + along(*halves[1], first)) / 2
        curved = along(*halves[0], both) + along(*halves[1], both) - 2 * along(*whole, both)
        assert found.gradient[k] == pytest.approx(crossed - curved, rel=1e-5, abs=1e-7)


def test_few_snapshots_leave_no_bias():
    """300 runs of 60 snapshots of each state; without the halves the mean alignment is off by 7 errors."""
    runs = 300
    found = [efl.alignment_gradient(*measured(60, 90 + run), LABELS, gamma=GAMMA) for run in range(runs)]
    values = np.array([[one.value, *one.gradient] for one in found])
    truth = [exact_alignment(ANGLES, [[0], [1]], True), *exact_gradient([[0], [1]], True)]
    assert (np.abs(values.mean(axis=0) - truth) < 5 * values.std(axis=0) / runs**0.5).all()
