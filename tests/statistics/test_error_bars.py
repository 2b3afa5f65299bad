"""Error bars tell the truth: coverage, bias, predicted variance.

Each setting is measured 2,000 times independently. A coverage p passes within 4 standard deviations of its
binomial distribution, sqrt(p (1 - p) / 2000): 4.2 % for 68.27 % and 1.9 % for 95 %. If it is nominal, the
false-alarm rate of one comparison is 6e-5, and with about 200 of them in this file 1 % for new seeds;
the seeds are fixed. Single words take values on a lattice: a uniform jitter of one lattice step makes their
coverage a smooth number (it adds less than 3 % to the variance), which would otherwise depend on where the
lattice falls.

The hit-normalised error of a word near +1 or -1 with few hits is wide on purpose (hits that agree by chance
claim no certainty), so there a coverage may exceed the nominal one by a stated excess; it never falls below.
"""

import itertools
import math

import numpy as np
import pytest
from scipy import stats
from tests.oracle.dense import expectation, random_state, sum_matrix

import efl_core as efl

REPEATS = 2_000
Z = 4.0
ONE_SIGMA = 0.6826894921370859
HIT_EXCESS = 0.12
NORMAL = (1.0, stats.norm.ppf(0.975))

H2 = {
    "IIII": -0.09706,
    "ZIII": 0.17141,
    "IZII": 0.17141,
    "IIZI": -0.22343,
    "IIIZ": -0.22343,
    "ZZII": 0.16869,
    "ZIZI": 0.12063,
    "ZIIZ": 0.16593,
    "IZZI": 0.16593,
    "IZIZ": 0.12063,
    "IIZZ": 0.17441,
    "XXYY": -0.0453,
    "XYYX": 0.0453,
    "YXXY": 0.0453,
    "YYXX": -0.0453,
}
ISING = {
    **{"".join("Z" if q in (i, (i + 1) % 4) else "I" for q in range(4)): -1.0 for i in range(4)},
    **{"".join("X" if q == i else "I" for q in range(4)): -0.7 for i in range(4)},
}
NESTED = {"ZIII": 1.0, "ZZII": -1.0, "ZZZI": 1.0, "IIIY": 0.5}


def mixed_with_noise(state, seed):
    state = state + 0.25 * random_state(4, seed)
    return state / np.linalg.norm(state)


def ground_state(terms):
    return np.linalg.eigh(sum_matrix(terms))[1][:, 0]


STATES = {
    "random": random_state(4, 3),
    "hydrogen": mixed_with_noise(ground_state(H2), 1),
    "ising": ground_state(ISING),
    "ghz": mixed_with_noise(np.eye(16)[[0, 15]].sum(axis=0) / 2**0.5, 2),
}
ENSEMBLES = {
    "uniform": efl.Ensemble.uniform(4),
    "biased": efl.Ensemble.biased([[0.3, 0.3, 0.4], [0.25, 0.3, 0.45], [0.4, 0.3, 0.3], [0.2, 0.35, 0.45]]),
}
WORDS = ["ZIII", "IIXI", "IYII", "ZZII", "XIIX", "IYZI", "ZZZI", "XIYZ", "ZZZZ", "XXYY"]
SUMS = [H2, ISING, NESTED]


def repeats(state, ensemble, shots, seed):
    """2,000 independent runs: sampled snapshots are independent, which test_sampler.py holds."""
    snaps = efl.sample(STATES[state], ENSEMBLES[ensemble], shots=REPEATS * shots, seed=seed)
    return (snaps[i * shots : (i + 1) * shots] for i in range(REPEATS))


def exact(state, observables):
    return np.array([expectation(STATES[state], observable) for observable in observables])


def collect(estimates):
    found = list(estimates)
    return np.array([f.value for f in found]), np.array([f.stderr for f in found])


def check_coverage(pulls, names, quantiles=NORMAL, excess=0.0):
    for nominal, quantile in zip((ONE_SIGMA, 0.95), quantiles, strict=True):
        covered = (np.abs(pulls) <= quantile).mean(axis=0)
        limit = Z * math.sqrt(nominal * (1 - nominal) / len(pulls))
        print(f"nominal {nominal:.4f}:", dict(zip(names, covered.round(4).tolist(), strict=True)))
        high = nominal + limit + excess
        off = {n: c for n, c in zip(names, covered, strict=True) if not nominal - limit <= c <= high}
        assert not off, f"nominal {nominal:.4f} within {limit:.4f}, found {off}"


def check_bias(values, truth, names):
    """The mean of 2,000 values is within 4 of its standard errors."""
    pulls = (values.mean(axis=0) - truth) / (values.std(axis=0, ddof=1) / math.sqrt(len(values)))
    assert np.abs(pulls).max() < Z, dict(zip(names, pulls, strict=True))


def check_variance(values, predicted, names):
    """Observed variance over predicted variance is one, within 4 standard deviations of a sample variance."""
    centred = values - values.mean(axis=0)
    observed = (centred**2).mean(axis=0)
    kurtosis = (centred**4).mean(axis=0) / observed**2
    limit = Z * np.sqrt((kurtosis - 1) / len(values))
    off = np.abs(observed / predicted - 1)
    assert (off < limit).all(), dict(zip(names, observed / predicted, strict=True))


def jitter(values, steps, seed=0):
    return values + np.random.default_rng(seed).uniform(-0.5, 0.5, values.shape) * steps


@pytest.mark.parametrize("ensemble", ENSEMBLES)
@pytest.mark.parametrize("state", ["random", "ghz"])
def test_means_of_words(state, ensemble):
    shots = 2048
    values, errors = collect(efl.estimate(part, WORDS) for part in repeats(state, ensemble, shots, 1))
    truth = exact(state, WORDS)
    h = np.array([ENSEMBLES[ensemble].reveal_probability(word) for word in WORDS])
    check_coverage((jitter(values, 1 / (shots * h)) - truth) / errors, WORDS)
    check_bias(values, truth, WORDS)
    check_variance(values, (1 / h - truth**2) / shots, WORDS)
    # what the error bars say on average is the predicted variance
    assert np.abs((errors**2).mean(axis=0) / ((1 / h - truth**2) / shots) - 1).max() < 0.01


@pytest.mark.parametrize(
    ("state", "ensemble"), [("random", "uniform"), ("random", "biased"), ("ghz", "biased")]
)
def test_hit_normalised_means_of_words(state, ensemble):
    """60 hits or more of every word. Words near +1 or -1 are left to the next test."""
    shots = 8192
    truth = exact(state, WORDS)
    words = [word for word, value in zip(WORDS, truth, strict=True) if abs(value) < 0.9]
    truth = exact(state, words)
    parts = repeats(state, ensemble, shots, 2)
    found = [efl.estimate(part, words, combine="hit_normalised") for part in parts]
    values, errors = collect(found)
    hits = np.array([f.revealed for f in found], dtype=float)
    assert len(words) >= 7
    assert hits.mean(axis=0).min() > 60
    check_coverage((jitter(values, 2 / hits) - truth) / errors, words)
    check_bias(values, truth, words)
    check_variance(values, (1 - truth**2) * (1 / hits).mean(axis=0), words)


def test_hit_normalised_errors_of_few_hits_do_not_claim_certainty():
    """12 hits: 68 % bars cover at least that, also near +1; 95 % bars cover 91 %.

    A normal quantile is too short for so few hits. Both limits are lowered by 4 standard deviations.
    """
    parts = repeats("ghz", "uniform", 1024, 6)
    values, errors = collect(efl.estimate(part, WORDS, combine="hit_normalised") for part in parts)
    truth = exact("ghz", WORDS)
    pulls = np.abs(values - truth) / errors
    assert (pulls <= 1).mean(axis=0).min() > ONE_SIGMA - Z * math.sqrt(ONE_SIGMA * (1 - ONE_SIGMA) / REPEATS)
    assert (pulls <= 1.96).mean(axis=0).min() > 0.91 - Z * math.sqrt(0.91 * 0.09 / REPEATS)
    assert errors.min() > 0


@pytest.mark.parametrize("buckets", [5, 9, 16])
def test_medians_of_means_of_words(buckets):
    """Words of weight 1 and 2: their buckets reveal enough for normal means, which the rule assumes."""
    shots, words = 2304, WORDS[:6]
    values, errors = collect(
        efl.estimate(part, words, combine="median_of_means", buckets=buckets)
        for part in repeats("random", "uniform", shots, 3)
    )
    h = np.array([ENSEMBLES["uniform"].reveal_probability(word) for word in words])
    step = buckets / (shots * h) / (1 if buckets % 2 else 2)
    check_coverage((jitter(values, step) - exact("random", words)) / errors, words)


@pytest.mark.parametrize("combine", ["mean", "hit_normalised", "median_of_means"])
@pytest.mark.parametrize(
    ("state", "ensemble"),
    [
        ("random", "uniform"),
        ("hydrogen", "biased"),
        ("hydrogen", "uniform"),
        ("ising", "uniform"),
        ("ghz", "biased"),
    ],
)
def test_sums_of_correlated_words(state, ensemble, combine):
    names = ["H2", "Ising", "nested"]
    options = {"buckets": 9} if combine == "median_of_means" else {}
    values, errors = collect(
        efl.estimate(part, SUMS, combine=combine, **options) for part in repeats(state, ensemble, 1152, 4)
    )
    truth = exact(state, SUMS)
    check_coverage((values - truth) / errors, names, excess=HIT_EXCESS if combine == "hit_normalised" else 0)
    if combine == "mean":
        check_bias(values, truth, names)
        check_variance(values, (errors**2).mean(axis=0), names)


@pytest.mark.parametrize("combine", ["mean", "hit_normalised"])
@pytest.mark.parametrize("state", ["hydrogen", "ising"])
def test_sums_estimated_from_tallies_of_32_buckets(state, combine):
    """The error is itself estimated, with 31 degrees of freedom: the quantiles are those of Student's t."""
    names = ["H2", "Ising", "nested"]
    words = sorted({word for terms in SUMS for word in terms})
    values, errors = collect(
        efl.estimate(efl.tally(part, words, buckets=32), SUMS, combine=combine)
        for part in repeats(state, "uniform", 2048, 5)
    )
    quantiles = stats.t.ppf([0.5 + ONE_SIGMA / 2, 0.975], 31)
    check_coverage((values - exact(state, SUMS)) / errors, names, quantiles)
    if combine == "mean":
        spread = errors.std(axis=0) / errors.mean(axis=0)
        assert (np.abs(spread - 1 / math.sqrt(2 * 31)) < 0.05).all(), spread


def test_covariances_matter():
    """Errors that ignored covariances would be wrong for these sums: the tests above can fail."""
    for state, terms in (("ising", ISING), ("ghz", NESTED)):
        snaps = efl.sample(STATES[state], shots=50_000, seed=1)
        words = {word: c for word, c in terms.items() if set(word) != {"I"}}
        alone = math.sqrt(sum((c * efl.estimate(snaps, word).stderr) ** 2 for word, c in words.items()))
        assert abs(efl.estimate(snaps, terms).stderr / alone - 1) > 0.05


def test_the_error_of_a_sum_is_that_of_the_exact_covariance_matrix():
    """Var = sum c_Q c_R (Pr[both] / (h_Q h_R) <QR> - <Q><R>) / T, by dense matrices."""
    shots = 400_000
    for state, ensemble, terms in itertools.product(("random", "ising"), ENSEMBLES, SUMS):
        rows = ENSEMBLES[ensemble].probabilities
        psi = STATES[state]
        variance = 0.0
        words = {word: c for word, c in terms.items() if set(word) != {"I"}}
        for (q, c), (r, d) in itertools.product(words.items(), repeat=2):
            both = -expectation(psi, q) * expectation(psi, r)
            if all(a == b or "I" in (a, b) for a, b in zip(q, r, strict=True)):
                shared = [
                    rows[i]["XYZ".index(a)]
                    for i, (a, b) in enumerate(zip(q, r, strict=True))
                    if a == b != "I"
                ]
                _, product = efl.PauliWord(q).multiply(r)
                both += expectation(psi, product.label) / np.prod(shared)
            variance += c * d * both
        found = efl.estimate(efl.sample(psi, ENSEMBLES[ensemble], shots=shots, seed=7), terms)
        # 400,000 snapshots give a standard error to well below 1 %
        assert found.stderr == pytest.approx(math.sqrt(variance / shots), rel=0.02)


def test_the_median_costs_what_the_median_of_normals_costs():
    """3 to 30 buckets; 40,000 medians are known to 0.35 %, so 2.5 % is 4 of them and the 1 % of the fit."""
    rng = np.random.default_rng(1)
    snaps = efl.sample(STATES["random"], shots=30_000, seed=1)
    mean = efl.estimate(snaps, ["ZIII", "XXYY", ISING]).stderr
    for buckets in range(3, 31):
        found = efl.estimate(
            snaps, ["ZIII", "XXYY", ISING], combine="median_of_means", buckets=buckets
        ).stderr
        normals = rng.standard_normal((40_000, buckets), dtype=np.float32)
        expected = np.median(normals, axis=1).std() * math.sqrt(buckets)
        np.testing.assert_allclose(found / mean, expected, rtol=0.025, err_msg=f"{buckets} buckets")
    two = efl.estimate(snaps, ["ZIII", "XXYY", ISING], combine="median_of_means", buckets=2)
    np.testing.assert_allclose(two.stderr, mean, rtol=1e-12)


def test_errors_shrink_with_the_root_of_the_shots():
    snaps = efl.sample(STATES["random"], shots=800_000, seed=3)
    for combine in ("mean", "hit_normalised"):
        small, large = (
            efl.estimate(part, [*WORDS, *SUMS], combine=combine) for part in (snaps[:50_000], snaps)
        )
        np.testing.assert_allclose(small.stderr / large.stderr, 4, rtol=0.1)
