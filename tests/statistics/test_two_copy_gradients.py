"""Gradients from two copies: bars that hold near zero, at the threshold and far above it; no bias; the cost.

Seeds are fixed. The mean square of `(value - exact) / stderr` is compared with a window: below 1 for words
below the threshold, whose bar is a bound, and 0.75 to 1.5 for those above, of which some are left as zero
that are larger than their bar (found: 0.2 to 0.77, and 1 to 1.33). With 16 pairs bars of few shots are on the
long side, 0.4 to 1.5. Means over 200 runs scatter by 0.05 between seeds: a false-alarm rate below 1e-3 each.
"""

import itertools

import numpy as np
import pytest
from tests.oracle.dense import expectation, random_state

import efl_core as efl
from efl_core.plans.copies import WordTable, values_of

ALL = ["".join(word) for word in itertools.product("IXYZ", repeat=3)][1:]


def state_of(seed):
    """Words of all sizes, from zero to nearly one."""
    random = np.random.default_rng(seed)
    circuit = efl.Circuit(3)
    for _ in range(2):
        for q in range(3):
            circuit.ry(random.choice([0.1, 0.3, 0.5, 0.7, 1.0]), q).rz(random.choice([0.0, 0.2, 0.9]), q)
        circuit.clifford("CNOT", 0, 1).clifford("CNOT", 1, 2)
    return circuit.clifford("S", 0)


@pytest.mark.parametrize(("error", "pairs"), [(0.5, 16), (0.3, 124), (0.1, 10_000)])
def test_bars_hold_at_every_size(error, pairs):
    runs = 200
    sizes, scores, bars = [], [], []
    for seed in range(runs):
        circuit = state_of(seed)
        found = efl.two_copy_gradient(circuit, ALL, error=error, seed=seed)
        exact = values_of(efl.simulate(circuit), [efl.PauliWord(word) for word in ALL])
        sizes.append(np.abs(exact) / found.threshold)
        scores.append(((found.value - exact) / found.value_stderr) ** 2)
        bars.append(np.mean(found.value_stderr**2))
    assert found.pairs == pairs
    assert found.threshold == pytest.approx(error)
    assert np.sqrt(np.mean(bars)) < 1.05 * error
    size, score = np.concatenate(sizes), np.concatenate(scores)
    assert np.mean(score) < 1.0
    for low, high in ((0, 0.5), (0.5, 1), (1, 1.5), (1.5, 3), (3, 20)):
        inside = (size >= low) & (size < high)
        if inside.sum() < 300:
            continue
        least, most = (0.0, 1.0) if high <= 1 else (0.75 if pairs > 100 else 0.4, 1.5)
        assert least < score[inside].mean() < most, (low, high)


def test_nothing_is_biased_far_from_the_threshold():
    """400 runs, five standard errors; near the threshold there is a bias, of less than half of it."""
    state = random_state(2, 4)
    words = ["".join(word) for word in itertools.product("IXYZ", repeat=2)][1:]
    exact = np.array([expectation(state, word) for word in words])
    circuit = efl.Circuit(2)

    seeds = iter(range(10_000))

    def measure(asked, ensemble, counts):
        vector = np.kron(state, state) if asked.n_qubits == 4 else state
        return efl.sample(vector, ensemble, counts=counts, seed=next(seeds))

    found = [efl.two_copy_gradient(circuit, words, error=0.1, measure=measure) for _ in range(400)]
    values = np.array([one.value for one in found])
    off = values.mean(0) - exact
    far = np.abs(exact) > 0.3
    assert far.sum() >= 4
    assert (np.abs(off) < 5 * values.std(0, ddof=1) / 20)[far].all()
    assert (np.abs(off) < 0.05 + 5 * 0.1 / 20).all()
    # Sizes from the pairs are more accurate than signs need to be.
    assert (values.std(0)[np.abs(exact) > 0.5] < 0.05).all()


def test_derivatives_of_many_words_have_honest_bars():
    """60 runs of derivatives that are sums of several words, some of them left as zero."""
    circuit = efl.Circuit(3, parameters=[0.3, 0.8, -0.5, 1.1, 0.4, 0.9])
    for k in range(6):
        (circuit.ry if k < 3 else circuit.rx)(efl.Parameter(k), k % 3)
        if k % 3 == 2:
            circuit.clifford("CNOT", 0, 1).clifford("CNOT", 1, 2)
    observables = [{"ZZZ": 1.0, "XXI": 0.7, "III": 2.0}, {"YIY": 0.8}]
    exact = [efl.propagate(circuit, observable) for observable in observables]
    slopes, values = np.array([e.gradient for e in exact]), np.array([e.value for e in exact])
    scores = []
    for seed in range(60):
        found = efl.two_copy_gradient(circuit, observables, error=0.15, value_weight=1, seed=seed)
        live = found.stderr > 0
        assert np.abs((found.gradient - slopes)[~live]).max(initial=0) < 1e-12
        scores.append(((found.gradient - slopes)[live] / found.stderr[live]) ** 2)
        scores.append(((found.value - values) / found.value_stderr) ** 2)
        assert (found.left_out >= 0).all()
    assert 0.5 < np.mean(np.concatenate(scores)) < 1.3


def test_the_cost_is_predicted():
    """The mean of 30 runs within a tenth of what the plan says, the second stage by itself too."""
    n = 5
    circuit = efl.Circuit(n, parameters=np.linspace(0.2, 1.2, n))
    for q in range(n):
        circuit.ry(efl.Parameter(q), q)
    for q in range(n - 1):
        circuit.clifford("CNOT", q, q + 1).clifford("S", q)
    random = np.random.default_rng(1)
    asked = ["".join(random.choice(list("XYZ"), n)) for _ in range(100)]
    plan = efl.plan(circuit, asked, target=0.2, state="prepared")
    cost = plan.two_copies()
    runs = [efl.two_copy_gradient(circuit, asked, error=0.2, seed=seed) for seed in range(30)]
    assert {run.pairs for run in runs} == {cost.pairs}
    assert np.mean([run.shots for run in runs]) == pytest.approx(cost.shots, rel=0.1)
    assert np.mean([run.copies for run in runs]) == pytest.approx(cost.copies, rel=0.1)
    assert np.mean([len(run.signed) for run in runs]) == pytest.approx(cost.kept, rel=0.1)
    without = efl.plan(circuit, asked, target=0.2).two_copies()
    assert without.shots is None
    assert without.least < cost.copies < without.copies
    assert cost.best_shots == plan.best.shots
    assert cost.wins is False


def test_exact_values_of_words_are_those_of_matrices():
    state = random_state(3, 8)
    words = [efl.PauliWord(word) for word in ALL]
    np.testing.assert_allclose(
        values_of(state, words), [expectation(state, word) for word in ALL], atol=1e-12
    )


def test_a_table_counts_words_by_what_they_add_to_the_mean_square():
    rows = [
        efl.PauliSum({"XX": 2.0, "II": 5.0}),
        efl.PauliSum({"XX": 1.0, "ZZ": 3.0}),
        efl.PauliSum({"YY": 1.0}),
    ]
    table = WordTable.of(rows, np.array([0.25, 0.75, 0.0]))
    assert dict(zip([w.label for w in table.words], table.squares, strict=True)) == {"XX": 1.75, "ZZ": 6.75}
    assert table.constants.tolist() == [5, 0, 0]
    assert table.threshold(0.5) == pytest.approx(0.5 / 8.5**0.5)
    assert (table.pairs(0.5, 1), table.pairs(0.5, 2)) == (1156, 4624)


def test_a_printed_plan_names_two_copies_only_where_they_may_win():
    n = 6
    circuit = efl.Circuit(n, parameters=[0.1] * n)
    for q in range(n):
        circuit.ry(efl.Parameter(q), q)
    random = np.random.default_rng(3)
    asked = ["".join(random.choice(list("XYZ"), n)) for _ in range(600)]
    plan = efl.plan(circuit, asked, target=0.45)
    cost = plan.two_copies()
    assert plan.least_copies == cost.least < plan.best.shots
    assert "two copies of the state may take fewer" in str(plan)
    assert plan.retarget(0.05).least_copies is None
    assert "two copies" not in str(plan.retarget(0.05))
    assert cost.wins is None
    assert "the state decides" in str(cost)


def test_a_plan_with_weights_or_a_memory():
    circuit = efl.Circuit(2, parameters=[0.4, 0.3]).ry(efl.Parameter(0), 0).ry(efl.Parameter(1), 1)
    circuit = circuit.clifford("CZ", 0, 1)
    plan = efl.plan(circuit, ["ZZ", "XX"], target=0.3, goal=[[1.0, 0.0], [0.0, 0.0]])
    assert plan.two_copies().words == 1
    remembered = efl.plan(circuit, "ZZ", target=0.3, state=efl.Memory())
    assert remembered.two_copies().shots is None
    with pytest.raises(efl.InvalidInputError, match="deviations: expected"):
        plan.two_copies(deviations=0)


def test_too_wide_to_be_simulated():
    with pytest.raises(efl.ResourceLimitError, match="at most 13 qubits, as two copies"):
        efl.two_copy_gradient(efl.Circuit(14, [0.1]).ry(efl.Parameter(0), 0), "Z" * 14)


def test_errors_beyond_all_sizes_and_below_all_pairs():
    circuit = efl.Circuit(1, parameters=[0.4]).ry(efl.Parameter(0), 0)
    found = efl.two_copy_gradient(circuit, "Z", error=1e200, seed=1)
    assert (found.threshold, found.pairs) == (1, 4)  # no word is larger than 1
    nothing = efl.two_copy_gradient(circuit, "Y", error=0.1)
    assert (nothing.gradient, nothing.stderr, nothing.copies) == (0, 0, 0)
    for call in (
        efl.plan(circuit, "Z").two_copies,
        lambda error: efl.two_copy_gradient(circuit, "Z", error=error),
    ):
        with pytest.raises(efl.InvalidInputError, match="error: expected one that fewer than"):
            call(1e-200)
