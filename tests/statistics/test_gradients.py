"""Gradients from snapshots: no bias, the predicted variance, error bars that tell the truth.

Twenty random circuits of 2 to 5 qubits are run by PennyLane; their snapshots are sampled and estimated here.
Predictions are exact: means from PennyLane, variances (and fourth moments) of one snapshot by summing over
every setting and outcome. Each comparison states how often it would fail by chance for new seeds; the seeds
are fixed. All together: about 1 %.
"""

import functools
import itertools

import numpy as np
import pennylane as qml
import pytest
from pennylane import numpy as pnp
from scipy import stats
from tests.oracle.dense import outcome_probabilities
from tests.oracle.programs import apply, build, matrix_of, operator, random_program

import efl_core as efl

CIRCUITS = range(20)
REPEATS, SHOTS = 400, 2_000
NEGLIGIBLE = 1e-12
ONE_SIGMA = 0.6826894921370859


class Case:
    """A circuit at its parameters: state and gradient from PennyLane, observables from efl_core."""

    def __init__(self, seed, ensemble="uniform"):
        rng = np.random.default_rng(seed + 500)
        self.n = n = 2 + seed % 4
        self.n_parameters = 4 + seed % 3
        self.program = random_program(seed + 100, n, 9, self.n_parameters)
        self.theta = rng.uniform(-2, 2, self.n_parameters)
        labels = ["".join("Z" if q == wire else "I" for q in range(n)) for wire in range(n)]
        self.observable = {label: float(rng.normal()) for label in labels}
        self.circuit = build(self.program, n, self.theta)
        self.rows = efl.gradient_observables(self.circuit, self.observable)
        self.ensemble = efl.Ensemble.uniform(n)
        if ensemble == "biased":
            self.ensemble = efl.Ensemble.biased(rng.dirichlet([6, 6, 6], n))

    @functools.cached_property
    def exact(self):
        """The gradient, by PennyLane."""

        @qml.qnode(qml.device("default.qubit", wires=self.n), diff_method="backprop")
        def model(x):
            apply(self.program, x)
            return qml.expval(operator(self.observable))

        return np.asarray(qml.jacobian(model)(pnp.array(self.theta, requires_grad=True)))

    def state(self, theta=None):
        """The final state, by PennyLane."""

        @qml.qnode(qml.device("default.qubit", wires=self.n))
        def model():
            apply(self.program, self.theta if theta is None else theta)
            return qml.state()

        return np.asarray(model())

    def single_snapshot(self, rows, state):
        """Exact mean, variance and kurtosis of the estimate from one snapshot, for every sum."""
        n, words = self.n, sorted({str(w) for row in rows for w in row.words})
        column = {word: i for i, word in enumerate(words)}
        coefficients = np.zeros((len(rows), len(words)))
        for k, row in enumerate(rows):
            for word, coefficient in row.terms():
                coefficients[k, column[str(word)]] = coefficient
        chances = self.ensemble.probabilities
        reveal = [np.prod([chances[q, "XYZ".index(x)] for q, x in letters(w)]) for w in words]
        outcomes = np.array(list(itertools.product([1, -1], repeat=n)))
        signs = np.array([np.prod(outcomes[:, [q for q, _ in letters(w)]], axis=1) for w in words])
        moments = np.zeros((5, len(rows)))
        for setting in itertools.product("XYZ", repeat=n):
            shown = np.array([all(setting[q] == x for q, x in letters(w)) for w in words])
            value = (coefficients * shown / reveal) @ signs
            weight = np.prod([chances[q, "XYZ".index(x)] for q, x in enumerate(setting)])
            p = weight * outcome_probabilities(state, setting)
            moments += [value**power @ p for power in range(5)]
        one, mean, second, third, fourth = moments
        np.testing.assert_allclose(one, 1)
        variance = second - mean**2
        central = fourth - 4 * mean * third + 6 * mean**2 * second - 3 * mean**4
        with np.errstate(invalid="ignore", divide="ignore"):
            return mean, variance, central / variance**2


def letters(word):
    return [(q, x) for q, x in enumerate(word) if x != "I"]


@functools.cache
def case(seed, ensemble="uniform"):
    return Case(seed, ensemble)


@functools.cache
def repeated(seed):
    """Exact figures, and value and stderr of 400 independent estimates of 2,000 snapshots each."""
    run = case(seed)
    mean, variance, _ = run.single_snapshot(run.rows.gradients, run.state())
    np.testing.assert_allclose(mean, run.exact, atol=1e-9)
    snaps = efl.sample(run.state(), run.ensemble, shots=REPEATS * SHOTS, seed=seed)
    found = [efl.gradient(snaps[i * SHOTS : (i + 1) * SHOTS], run.rows) for i in range(REPEATS)]
    live = np.flatnonzero(variance > NEGLIGIBLE)
    assert len(live) > 1
    gradients, errors = np.array([f.gradient for f in found]), np.array([f.stderr for f in found])
    dead = np.setdiff1d(np.arange(run.n_parameters), live)
    np.testing.assert_allclose(gradients[:, dead], np.broadcast_to(run.exact[dead], (REPEATS, len(dead))))
    assert (errors[:, dead] < 1e-6).all()
    return run.exact[live], variance[live], gradients[:, live], errors[:, live]


def test_no_estimate_is_biased():
    """Every parameter, and all of them together.

    |z| < 5 for about 90 parameters: 5e-5. Hotelling's T^2 per circuit takes their correlations into
    account; Fisher's sum of the 20 p-values has the 0.1 % quantile of chi^2 with 40 degrees of freedom as
    its limit on both sides: 0.2 %.
    """
    scores, p_values = [], []
    for seed in CIRCUITS:
        exact, variance, gradients, _ = repeated(seed)
        offset = gradients.mean(axis=0) - exact
        scores.extend(offset / np.sqrt(variance / (REPEATS * SHOTS)))
        eigenvalues, axes = np.linalg.eigh(np.cov(gradients.T))
        kept = eigenvalues > 1e-9 * eigenvalues[-1]  # gradients may depend on each other linearly
        count = int(kept.sum())
        t2 = REPEATS * np.sum((axes.T @ offset)[kept] ** 2 / eigenvalues[kept])
        f = t2 * (REPEATS - count) / (count * (REPEATS - 1))
        p_values.append(stats.f.sf(f, count, REPEATS - count))
    assert len(scores) > 80
    assert np.abs(scores).max() < 5
    fisher = -2 * np.log(p_values).sum()
    assert stats.chi2.ppf(0.001, 40) < fisher < stats.chi2.isf(0.001, 40)


def test_the_estimates_scatter_as_predicted():
    """Variance of 400 estimates times their shots, over the exact variance of one snapshot.

    A variance of 400 normal values has a relative error of 7.1 %. Averaged over a circuit's parameters, and
    then over 20 independent circuits, it is at most 1.6 %, were all parameters of a circuit alike: 5 % is
    3.2 standard deviations, 0.2 %.
    """
    ratios = []
    for seed in CIRCUITS:
        _, variance, gradients, _ = repeated(seed)
        ratios.append(np.mean(gradients.var(axis=0, ddof=1) * SHOTS / variance))
    assert abs(np.mean(ratios) - 1) < 0.05


def test_every_error_bar_predicts_its_variance():
    """stderr^2 times shots of every parameter, over the exact variance of one snapshot: within 5 %.

    The relative error of a sample variance is sqrt((kurtosis - 1) / shots), and the kurtosis is known, so
    shots are chosen for 5 % to be 4.5 standard deviations of the worst parameter: 7e-6 each.
    """
    used = 0
    for seed in CIRCUITS:
        run = case(seed)
        state = run.state()
        _, variance, kurtosis = run.single_snapshot(run.rows.gradients, state)
        live = variance > NEGLIGIBLE
        shots = max(100_000, int(kurtosis[live].max() * (4.5 / 0.05) ** 2))
        found = efl.gradient(efl.sample(state, run.ensemble, shots=shots, seed=seed + 60), run.rows)
        ratio = found.stderr[live] ** 2 * shots / variance[live]
        assert np.abs(ratio - 1).max() < 0.05, (seed, shots, ratio)
        used += shots
    assert used < 40_000_000


@pytest.mark.parametrize("level", [ONE_SIGMA, 0.95])
def test_error_bars_cover(level):
    """One parameter per repeat, in turn, so that the 8,000 trials are independent.

    Within 4 standard deviations of the binomial distribution (2.1 % for 68 %, 1.0 % for 95 %): 6e-5 each.
    The skewness of single snapshots is gone after 2,000 of them: below 0.3 % of coverage.
    """
    width, hits = stats.norm.ppf((1 + level) / 2), []
    for seed in CIRCUITS:
        exact, _, gradients, errors = repeated(seed)
        inside = np.abs(gradients - exact) <= width * errors
        hits.extend(inside[i, i % len(exact)] for i in range(REPEATS))
    margin = 4 * np.sqrt(level * (1 - level) / len(hits))
    assert abs(np.mean(hits) - level) < margin


@pytest.mark.parametrize("ensemble", ["uniform", "biased"])
@pytest.mark.parametrize("stale", [False, True], ids=["fresh", "stale"])
def test_value_and_gradient_of_any_ensemble_and_of_stale_snapshots(ensemble, stale):
    """|z| of the value and of every parameter of ten circuits, about 55 numbers, below 4.8: 9e-5 each.

    Snapshots of an older state estimate today's gradient through rebased observables; read by today's
    observables they are far off (unless the circuit happens to be flat), which the last line sees.
    """
    scores, wrong = [], []
    for seed in range(10):
        run = case(seed, ensemble)
        old = run.theta + np.random.default_rng(seed).uniform(-0.4, 0.4, run.n_parameters) * stale
        state, rows = run.state(old), run.rows.rebase(old) if stale else run.rows
        shots = 300_000
        snaps = efl.sample(state, run.ensemble, shots=shots, seed=seed + 90)
        found = efl.gradient(snaps, rows)
        answer = np.vdot(run.state(), matrix_of(run.rows.value, run.n) @ run.state()).real
        mean, variance, _ = run.single_snapshot([rows.value, *rows.gradients], state)
        np.testing.assert_allclose(mean, [answer, *run.exact], atol=1e-9)
        live = variance > NEGLIGIBLE
        offset = np.array([found.value, *found.gradient]) - mean
        np.testing.assert_allclose(offset[~live], 0, atol=1e-9)
        predicted = np.sqrt(variance[live] / shots)
        scores.extend(offset[live] / predicted)
        stated = np.array([found.value_stderr, *found.stderr])[live]
        np.testing.assert_allclose(stated, predicted, rtol=0.1)
        assert (found.shots, (found.bound == 0).all()) == (shots, True)
        if stale:
            naive = efl.gradient(snaps, run.rows)
            wrong.append(np.abs((naive.gradient - run.exact) / np.maximum(naive.stderr, 1e-3)).max())
    assert np.abs(scores).max() < 4.8
    assert not stale or np.median(wrong) > 20


@pytest.mark.parametrize("combine", ["hit_normalised", "median_of_means"])
def test_other_rules_estimate_the_same_gradient(combine):
    """At 400,000 snapshots their bias (of order 1 / shots) is gone; |z| < 5 for about 50 numbers: 3e-5."""
    for seed in range(10):
        run = case(seed)
        snaps = efl.sample(run.state(), run.ensemble, shots=400_000, seed=seed + 30)
        found = efl.gradient(snaps, run.rows, combine=combine)
        live = found.stderr > 1e-9
        assert np.abs((found.gradient - run.exact)[live] / found.stderr[live]).max() < 5
        mean = efl.gradient(snaps, run.rows)
        if combine == "hit_normalised":
            assert (found.stderr <= mean.stderr * 1.3 + 1e-12).all()


def test_several_observables_share_the_snapshots():
    """A list gives the numbers of its items, bit for bit, and one more axis."""
    for seed in range(4):
        run = case(seed)
        snaps = efl.sample(run.state(), shots=20_000, seed=seed)
        words = ["Z" + "I" * (run.n - 1), run.observable, "X" * run.n]
        together = efl.gradient(snaps, efl.gradient_observables(run.circuit, words))
        assert together.gradient.shape == together.stderr.shape == together.revealed.shape
        assert together.gradient.shape == (3, run.n_parameters)
        for o, word in enumerate(words):
            alone = efl.gradient(snaps, efl.gradient_observables(run.circuit, word))
            np.testing.assert_allclose(together.gradient[o], alone.gradient, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(together.stderr[o], alone.stderr, rtol=1e-9, atol=1e-12)
            np.testing.assert_array_equal(together.revealed[o], alone.revealed)
            assert together.value[o] == pytest.approx(alone.value, rel=1e-12)
            # And those of `estimate`, for each sum.
            sums = efl.estimate(snaps, efl.gradient_observables(run.circuit, word).gradients)
            np.testing.assert_allclose(alone.gradient, sums.value, rtol=1e-12, atol=1e-14)
            np.testing.assert_allclose(alone.stderr, sums.stderr, rtol=1e-9, atol=1e-12)
