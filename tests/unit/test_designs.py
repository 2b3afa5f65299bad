"""Designed ensembles, and what ensembles are predicted to do."""

import itertools

import numpy as np
import pytest
from tests.oracle.dense import random_state, word_matrix

import efl_core as efl
from efl_core import InputTypeError, InvalidInputError, ResourceLimitError, ShapeError

KINDS = ["uniform", "biased", "product", "clifford", "block"]
SUMS = [
    {"XXII": 0.5, "ZZII": -0.3, "IYYI": 0.7},
    {"IIZX": 1.0, "IIXZ": 0.4, "ZIIZ": 0.2},
    {"XYZX": 0.6, "YXZX": 0.3},
]


def brick(n_qubits, layers, seed):
    """RY and RZ on all qubits, CZ between neighbours, again and again."""
    rng = np.random.default_rng(seed)
    circuit = efl.Circuit(n_qubits, parameters=rng.uniform(-np.pi, np.pi, 2 * n_qubits * layers))
    angles = (efl.Parameter(k) for k in itertools.count())
    for layer in range(layers):
        for q in range(n_qubits):
            circuit.ry(next(angles), q).rz(next(angles), q)
        for q in range(layer % 2, n_qubits - 1, 2):
            circuit.clifford("CZ", q, q + 1)
    return circuit


def words_of(sums):
    return [(efl.PauliWord(word), c) for word, c in sums.items()]


def slow_variance(ensemble, terms, state=None):
    """The definition, pair by pair, with dense matrices."""
    if state is None:
        return sum(c * c / ensemble.reveal_probability(w) for w, c in terms)
    density = np.outer(state, state.conj())
    value = sum(c * np.trace(word_matrix(w.label) @ density).real for w, c in terms)
    second = 0.0
    for (a, c), (b, d) in itertools.product(terms, repeat=2):
        both = ensemble.pair_probability(a, b)
        if both > 0:
            product = np.trace(word_matrix(a.label) @ word_matrix(b.label) @ density).real
            second += c * d * both / ensemble.reveal_probability(a) / ensemble.reveal_probability(b) * product
    return second - value**2


@pytest.mark.parametrize("kind", KINDS)
def test_predictions_agree_with_the_definition(kind):
    ensemble = efl.design(SUMS, kind)
    state = random_state(4, seed=1)
    mixed, exact = ensemble.predicted_variance(SUMS), ensemble.predicted_variance(SUMS, state)
    for j, sums in enumerate(SUMS):
        assert np.isclose(mixed[j], slow_variance(ensemble, words_of(sums)))
        assert np.isclose(exact[j], slow_variance(ensemble, words_of(sums), state))


@pytest.mark.parametrize("kind", KINDS)
def test_the_observed_variance_is_the_predicted_one(kind):
    ensemble = efl.design(SUMS, kind)
    state = random_state(4, seed=2)
    shots, runs = 200, 400
    found = np.array(
        [
            efl.estimate(efl.sample(state, ensemble, shots=shots, seed=seed), SUMS).value
            for seed in range(runs)
        ]
    )
    ratio = found.var(axis=0, ddof=1) / (ensemble.predicted_variance(SUMS, state) / shots)
    # A sample variance of 400 nearly normal means has a relative deviation of 7.1 %: 4.5 sigma, a false-alarm
    # rate of 1e-4 for the fifteen figures of all kinds.
    assert (abs(ratio - 1) < 4.5 * np.sqrt(2 / (runs - 1))).all(), ratio


def test_the_mean_over_states_is_the_prediction_without_a_state():
    ensemble = efl.design(SUMS, "clifford")
    states = np.array([ensemble.predicted_variance(SUMS, random_state(4, seed)) for seed in range(300)])
    values = np.array([sum(c * c for c in sums.values()) for sums in SUMS]) / (2**4 + 1)
    error = states.std(axis=0) / np.sqrt(len(states))
    # Four sigma, three figures: a false-alarm rate of 2e-4.
    assert (abs(states.mean(axis=0) + values - ensemble.predicted_variance(SUMS)) < 4 * error).all()


def test_the_identity_costs_nothing():
    uniform = efl.Ensemble.uniform(2)
    assert uniform.predicted_variance({"II": 5.0, "ZI": 1.0}) == 3.0
    assert np.isclose(uniform.predicted_variance({"II": 5.0, "ZI": 1.0}, [1, 0, 0, 0]), 2.0)
    assert uniform.predicted_variance("II") == 0.0
    bell = efl.Ensemble.settings(["ZZ"])
    assert np.isclose(bell.predicted_variance({"II": 5.0, "ZI": 1.0}, [1, 0, 0, 0]), 0.0)


def test_better_kinds_have_smaller_variances():
    obs = efl.gradient_observables(brick(6, 3, seed=0), "IIIZII")
    found = {kind: efl.design(obs, kind).predicted_variance(obs).mean() for kind in KINDS}
    assert found["clifford"] < found["product"] < found["biased"] < found["uniform"]
    assert found["block"] < found["biased"]
    auto = efl.design(obs)
    assert auto == efl.design(obs, "clifford")


def test_a_simpler_kind_is_preferred_among_equals():
    assert efl.design("ZZ").kind == "biased"  # letters alone can always measure one word
    assert efl.design(["XX", "YY", "ZZ"]).kind == "settings"
    assert efl.design(["XI", "YI", "ZI", "IX", "IY", "IZ"]).kind == "uniform"


def test_the_goal_is_what_is_made_small():
    obs = efl.gradient_observables(brick(4, 3, seed=1), "IZII")
    live = ~np.asarray(obs.is_zero)
    mean = efl.design(obs, "clifford").predicted_variance(obs)[live]
    largest = efl.design(obs, "clifford", goal="max").predicted_variance(obs)[live]
    assert largest.max() < mean.max()
    assert largest.mean() > mean.mean()

    place = int(np.flatnonzero(live)[0])
    weights = np.where(np.arange(obs.n_parameters) == place, 1.0, 1e-3)
    first = efl.design(obs, "clifford", goal=weights).predicted_variance(obs)
    assert first[place] < efl.design(obs, "clifford").predicted_variance(obs)[place]
    assert efl.design(obs, "biased", goal=weights[np.newaxis]) == efl.design(obs, "biased", goal=weights)


def test_plain_observables_have_weights_too():
    heavy = efl.design(["XX", "ZI"], "product", goal=[100.0, 1.0])
    assert heavy.reveal_probability("XX") > 0.9 * 10 / 11


@pytest.mark.parametrize("kind", ["biased", "block"])
def test_the_largest_variance_is_made_small_by_drawn_settings_too(kind):
    sums = [{"XX": 1.0}, {"ZZ": 0.2}, {"YI": 0.5}]
    mean = efl.design(sums, kind).predicted_variance(sums)
    largest = efl.design(sums, kind, goal="max").predicted_variance(sums)
    assert largest.max() < mean.max()


def test_values_are_revealed_if_they_weigh_something():
    circuit = brick(4, 2, seed=3)
    obs = efl.gradient_observables(circuit, "IZII")
    state = efl.simulate(circuit)
    exact = efl.propagate(circuit, "IZII")

    without = efl.design(obs, "clifford")
    found = efl.gradient(efl.sample(state, without, shots=20_000, seed=5), obs)
    assert np.isnan(found.value)
    assert np.isinf(found.value_stderr)
    # 16 derivatives, five sigma: a false-alarm rate of 1e-5.
    assert (abs(found.gradient - exact.gradient) < 5 * found.stderr + 1e-12).all()
    with pytest.raises(InvalidInputError, match=r"IZII, which it never does: add a setting that reveals it"):
        without.predicted_variance("IZII")

    with_values = efl.design(obs, "clifford", value_weight=0.5)
    found = efl.gradient(efl.sample(state, with_values, shots=20_000, seed=5), obs)
    assert abs(found.value - exact.value) < 5 * found.value_stderr


def test_several_observables_have_a_leading_axis():
    circuit = brick(3, 2, seed=4)
    obs = efl.gradient_observables(circuit, ["ZII", "IZI"])
    ensemble = efl.design(obs)
    assert ensemble.predicted_variance(obs).shape == (2, 12)
    found = efl.gradient(efl.sample(efl.simulate(circuit), ensemble, shots=20_000, seed=1), obs)
    exact = np.array([efl.propagate(circuit, word).gradient for word in ["ZII", "IZI"]])
    assert (abs(found.gradient - exact) < 5 * found.stderr + 1e-12).all()  # 24 at five sigma: 1e-5


@pytest.mark.parametrize("connectivity", ["line", "none"])
def test_settings_keep_to_the_connectivity(connectivity):
    obs = efl.gradient_observables(brick(5, 3, seed=5), "IIZII")
    ensemble = efl.design(obs, "product" if connectivity == "none" else "clifford", connectivity=connectivity)
    for setting in ensemble.setting_list:
        for _, *wires in setting.gates:
            assert len(wires) == 1 or (connectivity == "line" and abs(wires[0] - wires[1]) == 1)
    assert efl.design(obs, connectivity="none").kind in ("uniform", "biased", "settings")


@pytest.mark.parametrize("qubits", [1, 2, 3, 4])
def test_blocks_have_the_wanted_size(qubits):
    ensemble = efl.design(SUMS, "block", qubits_per_block=qubits)
    if qubits == 1:
        assert ensemble.kind == "biased"
    elif ensemble.kind == "blocks":
        assert max(len(wires) for wires, *_ in ensemble.block_list) <= qubits


def test_designs_do_not_depend_on_threads():
    obs = efl.gradient_observables(brick(5, 3, seed=6), "IIZII")
    threads = efl.num_threads()
    try:
        found = []
        for count in (1, 3):
            efl.set_num_threads(count)
            ensemble = efl.design(obs, "clifford")
            found.append((ensemble, ensemble.predicted_variance(obs, random_state(5, 0)).tobytes()))
    finally:
        efl.set_num_threads(threads)
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("error", "match", "arguments", "options"),
    [
        (InvalidInputError, "observables: expected a word other than the identity", (["II"],), {}),
        (InvalidInputError, "observables: expected at least one", ([],), {}),
        (InputTypeError, "observables: expected a Pauli word", (3,), {}),
        (InputTypeError, "observables: expected a Pauli word", (b"ZZ",), {}),
        (InvalidInputError, "observables: expected n_qubits", ({0: "X"},), {}),
        (InvalidInputError, r"kind: expected 'auto' or one of 'uniform'.*got 'best'", ("ZZ", "best"), {}),
        (InputTypeError, "kind: expected a name", ("ZZ", 3), {}),
        (InvalidInputError, "goal: expected 'mean'", ("ZZ",), {"goal": "least"}),
        (
            ShapeError,
            r"goal: expected weights of shape \(2,\), got \(3,\)",
            (["ZZ", "XX"],),
            {"goal": [1, 2, 3]},
        ),
        (InvalidInputError, r"goal\[1\]: expected a weight that is not", (["ZZ", "XX"],), {"goal": [1, -2]}),
        (InvalidInputError, r"goal\[0\]: expected a weight", (["ZZ", "XX"],), {"goal": [float("nan"), 2]}),
        (InvalidInputError, "goal: expected a weight above zero", (["ZZ", "XX"],), {"goal": [0, 0]}),
        (InputTypeError, "goal: expected real weights", (["ZZ"],), {"goal": [1j]}),
        (InputTypeError, "goal: expected 'mean'", (["ZZ"],), {"goal": None}),
        (InvalidInputError, "value_weight: expected a finite number", ("ZZ",), {"value_weight": -1.0}),
        (InvalidInputError, "connectivity: expected 'all'", ("ZZ",), {"connectivity": "ring"}),
        (InvalidInputError, "kind: expected .* 'none'", ("ZZ", "clifford"), {"connectivity": "none"}),
        (InvalidInputError, "qubits_per_block", ("ZZ", "block"), {"qubits_per_block": 5}),
        (InvalidInputError, "effort", ("ZZ",), {"effort": 0}),
        (InputTypeError, "effort", ("ZZ",), {"effort": 1.5}),
    ],
)
def test_bad_input_of_a_design_is_refused(error, match, arguments, options):
    with pytest.raises(error, match=match):
        efl.design(*arguments, **options)


def test_an_ensemble_that_cannot_reveal_a_word_says_what_to_add():
    product = efl.Ensemble.settings(["XX", "ZZ"])
    with pytest.raises(InvalidInputError, match=r"XY, which it never does: add a setting .* such as XY"):
        product.predicted_variance(["XX", "XY"])
    biased = efl.Ensemble.biased([[1, 0, 0], [0, 0, 1]])
    with pytest.raises(InvalidInputError, match="ZI, which it never does: give its letters"):
        biased.predicted_variance("ZI")


def test_a_word_without_a_coefficient_need_not_be_revealed():
    circuit = efl.Circuit(1, parameters=[0.0, 0.0]).ry(efl.Parameter(0), 0).rx(efl.Parameter(1), 0)
    obs = efl.gradient_observables(circuit, "Z").at(
        [0.3, 0.0]
    )  # words of all angles, some with coefficient 0
    ensemble = efl.design(obs, "product")
    assert np.isfinite(ensemble.predicted_variance(obs)).all()
    found = efl.gradient(efl.sample(efl.simulate(obs.circuit), ensemble, shots=5_000, seed=1), obs)
    assert (abs(found.gradient - efl.propagate(obs.circuit, "Z").gradient) < 5 * found.stderr + 1e-12).all()


def test_bad_states_are_refused():
    uniform = efl.Ensemble.uniform(2)
    for error, match, state in [
        (ShapeError, "state: expected 2 qubits", [1, 0]),
        (ShapeError, "state: expected", [1, 0, 0]),
        (ShapeError, "state: expected a vector", [[1, 0], [0, 0]]),
        (InvalidInputError, "state: expected a normalised", [1, 1, 0, 0]),
        (InputTypeError, "state: expected a vector", ["a"]),
    ]:
        with pytest.raises(error, match=match):
            uniform.predicted_variance("ZZ", state)
    wide = np.zeros(2**13)
    wide[0] = 1
    with pytest.raises(ResourceLimitError, match="13 needed, the limit is 12"):
        efl.Ensemble.uniform(13).predicted_variance("Z" * 13, wide)
    with pytest.raises(ShapeError):
        uniform.predicted_variance("ZZZ")
