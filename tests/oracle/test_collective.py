"""Collective pointers against dense matrices: what they show, what they leave, and the law of single copies.

Statistics: fixed seeds, bounds at 4.4 standard errors or a Kolmogorov-Smirnov level of 1e-4: on other seeds
one of the file's 50 comparisons would fail by chance with a probability of 1e-3.
"""

from functools import reduce
from math import erf

import numpy as np
import pytest
from tests.oracle.dense import expectation, random_state, sum_matrix, word_matrix

import efl_core as efl
from efl_core.collective import kraus

WIDE, SUM = 4.4, {"XZ": 0.5, "YI": -0.3, "ZZ": 0.4, "II": 0.2}


def matrix(observable):
    return word_matrix(observable) if isinstance(observable, str) else sum_matrix(observable)


def placed(matrices, weights):
    """The weighted sum of one matrix for each replica."""
    size, n = len(matrices[0]), len(matrices)
    parts = [[one if j == i else np.eye(size) for j in range(n)] for i, one in enumerate(matrices)]
    return sum(w * reduce(np.kron, part) for w, part in zip(weights, parts, strict=True))


def left(state, total, width):
    """The density matrix that a pointer leaves where nobody looks at it."""
    values, vectors = np.linalg.eigh(total)
    inside = vectors.conj().T @ np.outer(state, state.conj()) @ vectors
    inside = inside * np.exp(-((values[:, np.newaxis] - values) ** 2) / (8 * width**2))
    return vectors @ inside @ vectors.conj().T


def vectors(n_qubits, replicas, seed=0):
    return [random_state(n_qubits, 100 * seed + i) for i in range(replicas)]


CASES = {
    "a word": (["XY"] * 3, "XY", None),
    "a word on one qubit": (["IY"] * 3, {1: "Y"}, None),
    "nothing but the identity": (["II"] * 2, "II", None),
    "a sum": ([SUM] * 3, SUM, None),
    "a scaled word, weights": ([{"ZX": 0.7}] * 3, {"ZX": 0.7}, [0.5, -0.2, 0.9]),
    "one for each": (["XY", SUM, "ZI"], ["XY", SUM, "ZI"], [0.3, 0.3, 0.1]),
    "zero": ([{"XX": 0.0}] * 2, efl.PauliSum({"XX": 0.0}), None),
    "one replica": (["YZ"], "YZ", None),
}


@pytest.mark.parametrize("case", CASES)
def test_a_reading_leaves_what_the_kraus_operator_leaves(case):
    """Two readings in turn, so that the second finds an entangled state."""
    each, observable, weights = CASES[case]
    n = len(each)
    total = placed([matrix(one) for one in each], np.full(n, 1 / n) if weights is None else weights)
    values, basis = np.linalg.eigh(total)
    fleet = efl.EntangledFleet(vectors(2, n), seed=3)
    assert np.allclose(fleet.state, reduce(np.kron, vectors(2, n)))
    for width in (0.2, 0.6):
        before = fleet.state
        found = fleet.read(observable, width, weights=weights)
        spread = np.vdot(before, total @ total @ before).real - np.vdot(before, total @ before).real ** 2
        assert found.stderr == pytest.approx(np.sqrt(width**2 + max(spread, 0)), abs=1e-9)
        operator = basis @ np.diag(np.exp(-((found.value - values) ** 2) / (4 * width**2))) @ basis.conj().T
        after = operator @ before
        assert np.allclose(fleet.state, after / np.linalg.norm(after), atol=1e-10)
        assert found.is_joint
        assert found.damping.shape == (n,)


def test_kraus_operators_are_complete():
    levels, points = np.array([-1.0, -0.2, 0.0, 0.6, 1.0]), np.linspace(-6, 6, 4001)
    for width in (0.05, 0.25, 0.8):
        squares = np.array([kraus(x, levels, width) ** 2 for x in points])
        assert np.allclose(squares.sum(axis=0) * (points[1] - points[0]), 1, atol=1e-9)
    assert kraus(1e9, levels, 1e-9).max() == 0


@pytest.mark.parametrize("joint", [True, False])
@pytest.mark.parametrize(("observable", "weights"), [("XY", [0.5, -0.2, 0.9]), (SUM, None)])
def test_readings_have_their_law(joint, observable, weights):
    """A mixture of normal distributions about the eigenvalues, exact in either mode."""
    width, shots, states = 0.15, 500, vectors(2, 3, seed=1)
    total = placed([matrix(observable)] * 3, np.full(3, 1 / 3) if weights is None else weights)
    values, basis = np.linalg.eigh(total)
    chances = np.abs(basis.conj().T @ reduce(np.kron, states)) ** 2
    fleet = efl.EntangledFleet(states, joint=joint, seed=2)
    found = np.sort([fleet.copy(seed=i).read(observable, width, weights=weights).value for i in range(shots)])
    distances = (found[:, np.newaxis] - values) / (width * 2**0.5)
    below = (0.5 + 0.5 * np.vectorize(erf)(distances)) @ chances
    steps = np.arange(shots + 1) / shots
    distance = max(np.abs(below - steps[1:]).max(), np.abs(below - steps[:-1]).max())
    assert distance < np.sqrt(-np.log(1e-4 / 2) / 2 / shots)


def test_states_apart_are_turned_by_one_common_angle():
    """Each by its own observable and weight; the angle of the first is read off the overlap."""
    each, weights, states = ["XY", SUM, "ZI"], [0.5, 0.4, -0.7], vectors(2, 3, seed=8)
    for observable in (each, "XY"):
        fleet = efl.EntangledFleet(states, joint=False, seed=4)
        fleet.read(observable, 0.8, weights=weights)
        overlap = np.vdot(states[0], fleet.state[0])
        kick = np.arctan2(-overlap.imag / expectation(states[0], "XY"), overlap.real) / weights[0]
        assert abs(kick) > 0.01
        own = each if observable is each else ["XY"] * 3
        for state, found, one, w in zip(states, fleet.state, own, weights, strict=True):
            values, basis = np.linalg.eigh(matrix(one))
            turned = basis @ (np.exp(-1j * kick * w * values) * (basis.conj().T @ state))
            assert np.allclose(found, turned, atol=1e-10)
        assert fleet.expectation(each)[2] == pytest.approx(expectation(fleet.state[2], "ZI"))


@pytest.mark.parametrize("replicas", [2, 3, 4, 5, 6])
def test_a_fleet_breaks_the_law_of_single_copies(replicas):
    """All of it exact: errors and damping of the channel, beside a gentle measurement of the same error."""
    states, crossing = vectors(1, replicas, seed=2), efl.CollectivePointer.break_even(replicas)
    total = placed([matrix("X")] * replicas, np.full(replicas, 1 / replicas))
    joined = reduce(np.kron, states)
    spread = np.vdot(joined, total @ total @ joined).real - np.vdot(joined, total @ joined).real ** 2
    for width in (0.5 * crossing, 0.9 * crossing, 1.1 * crossing, 0.25, 2 * crossing, 5 * crossing):
        pointer = efl.CollectivePointer(width, replicas)
        means = [expectation(state, "X") for state in states]
        assert pointer.variance(means) == pytest.approx(width**2 + spread)
        rho = left(joined, total, width)
        damped = [
            np.trace(rho @ placed([matrix("Z")] * replicas, row)).real / expectation(state, "Z")
            for row, state in zip(np.eye(replicas), states, strict=True)
        ]
        assert damped == pytest.approx(pointer.damping)
        # A weak parity bit of each copy: estimators s / strength, of which the mean has the same variance.
        strength = np.sqrt(1 / (1 + replicas * width**2))
        assert sum(1 / strength**2 - m**2 for m in np.array(means)) / replicas**2 == pytest.approx(
            pointer.variance(means)
        )
        assert pointer.gentle_damping == pytest.approx(np.sqrt(1 - strength**2))
        assert pointer.split_damping == pytest.approx(1 - strength**2)
        assert (pointer.damping > pointer.gentle_damping).all() == (width > crossing)
        assert pointer.gentle_damping > pointer.split_damping


def test_one_replica_obeys_the_law():
    for width in np.geomspace(0.02, 50, 30):
        pointer = efl.CollectivePointer(width, 1)
        assert pointer.damping[0] <= pointer.gentle_damping


@pytest.mark.parametrize("joint", [True, False])
def test_five_replicas_keep_0_726_of_their_answers(joint):
    """Readings and answers of N = 5 at width 0.25, as they come."""
    shots, states = 500, vectors(1, 5, seed=3)
    fleet = efl.EntangledFleet(states, joint=joint)
    readings, answers, shown = np.empty(shots), np.empty((shots, 5)), np.empty((shots, 5))
    for i in range(shots):
        own = fleet.copy(seed=i)
        reading = own.read("Y", 0.25)
        readings[i], answers[i], shown[i] = reading.value, own.expectation("Z"), own.answer("Z")
        assert np.allclose(own.expectation("Z"), shown[i])
        assert (own.answer("Z") == shown[i]).all()
    pointer = efl.CollectivePointer(0.25, 5)
    assert reading.damping == pytest.approx(pointer.damping)
    assert pointer.damping[0] == pytest.approx(0.726, abs=5e-4)
    exact = np.array([expectation(state, "Z") for state in states])
    for found in (answers, shown):
        errors = found.std(axis=0) / np.sqrt(shots)
        assert (np.abs(found.mean(axis=0) - pointer.damping * exact) < WIDE * errors).all()
    means = np.array([expectation(state, "Y") for state in states])
    variance = pointer.variance(means)
    assert abs(readings.mean() - means.mean()) < WIDE * np.sqrt(variance / shots)
    assert readings.var() == pytest.approx(variance, rel=WIDE * np.sqrt(2 / shots))


@pytest.mark.parametrize("joint", [True, False])
def test_joint_laws_differ_in_covariances_of_order_1_over_n(joint):
    """The second of two pointers has its moments in either mode; their covariance needs a joint state."""
    width, shots = 0.4, 1_300
    states = [
        np.array([np.cos(a), np.sin(a) * np.exp(1j * b)]) for a, b in ((0.65, 0.7), (0.75, 0.8), (0.7, 0.9))
    ]
    x, y, z = (np.array([expectation(state, letter) for state in states]) for letter in "XYZ")
    fleet = efl.EntangledFleet(states, joint=joint)
    both = np.empty((shots, 2))
    for i in range(shots):
        own = fleet.copy(seed=i)
        both[i] = own.read("X", width).value, own.read("Y", width).value
    damping = efl.CollectivePointer(width, 3).damping[0]
    totals = [placed([matrix(letter)] * 3, [1 / 3] * 3) for letter in "XY"]
    rho = left(reduce(np.kron, states), totals[0], width)
    mean = np.trace(rho @ totals[1]).real
    variance = width**2 + np.trace(rho @ totals[1] @ totals[1]).real - mean**2
    assert mean == pytest.approx(damping * y.mean())
    assert abs(both[:, 1].mean() - mean) < WIDE * np.sqrt(variance / shots)
    assert both[:, 1].var() == pytest.approx(variance, rel=WIDE * np.sqrt(2 / shots))
    covariance = np.cov(both.T)[0, 1]
    exact = -damping * (x * y).sum() / 9
    error = np.sqrt(both[:, 0].var() * variance / shots)
    assert abs(exact) > 2 * WIDE * error  # the two modes can be told apart
    assert abs(covariance - (exact if joint else 0)) < WIDE * error
    # To leading order: what the first pointer adds to the second, [X, Y] = 2 i Z.
    wide = efl.CollectivePointer(20.0, 3)
    rho = left(reduce(np.kron, states), totals[0], 20.0)
    added = np.trace(rho @ totals[1] @ totals[1]).real - np.trace(rho @ totals[1]).real ** 2
    added += 20.0**2 - wide.variance(wide.damping * y)
    assert wide.extra_variance(-2 * z) == pytest.approx(added, rel=0.01)


def test_hundreds_of_replicas_share_the_kick_of_a_pointer():
    """The variance of the second of two readings: pointer, states, and the common kick of the first."""
    replicas, shots, width = 200, 300, 0.05
    states = [np.array([0.98, 0.1j, 0.1, 0.1396j])] * replicas
    states /= np.linalg.norm(states[0])
    fleet = efl.EntangledFleet(states)
    assert not fleet.is_joint
    found = np.empty(shots)
    for i in range(shots):
        own = fleet.copy(seed=i)
        own.read("XI", width)
        found[i] = own.read("YZ", width).value
    pointer = efl.CollectivePointer(width, replicas)
    kick = pointer.extra_variance(-2 * expectation(states[0], "ZZ"))
    without = pointer.variance(expectation(states[0], "YZ"))
    assert kick > 0.8 * without
    assert found.var() == pytest.approx(without + kick, rel=WIDE * np.sqrt(2 / shots))


def circuit_at(x, *, again=False):
    """A circuit whose input comes first, or between its parameters as well; some derivatives are sums."""
    circuit = efl.Circuit(2, parameters=[0.4, -0.7, 0.9])
    value = circuit.input(x)
    circuit.ry(value, 0).ry(value, 1).ry(efl.Parameter(0), 0).clifford("CZ", 0, 1)
    if again:
        circuit.rx(value, 0)
    return circuit.rx(efl.Parameter(1), 0).ry(efl.Parameter(2), 0)


@pytest.mark.parametrize(("replicas", "again"), [(4, False), (4, True), (40, False)])
def test_a_fleet_reads_the_gradient_of_a_mini_batch(replicas, again):
    """One pointer for each parameter, with the weights of a loss; what earlier ones damp is allowed for."""
    inputs = np.linspace(-1, 1.2, replicas)
    weights = np.linspace(0.5, 1.5, replicas) / replicas
    circuits = [circuit_at(x, again=again) for x in inputs]
    every = [efl.gradient_observables(one, "ZI") for one in circuits]
    exact = weights @ [efl.propagate(one, "ZI").gradient for one in circuits]
    assert max(len(sums.gradients[0]) for sums in every) > 1
    fleet = efl.EntangledFleet([efl.simulate(one) for one in circuits])
    shots, width = 150, 8.0 / replicas
    runs = [
        fleet.copy(seed=i).gradient(every if again else every[0], width, weights=weights)
        for i in range(shots)
    ]
    found = np.array([run.value for run in runs])
    assert runs[0].is_joint == (replicas == 4)
    assert (runs[0].damping > 0.94).all()
    error = np.sqrt(np.mean([run.stderr**2 for run in runs], axis=0) / shots)
    bias = 1 - runs[0].damping.min()
    assert (np.abs(found.mean(axis=0) - exact) < WIDE * error + bias * np.abs(weights).sum()).all()
    assert error.max() < 0.2


def test_answers_change_by_no_more_than_the_damping_of_a_sum_says():
    states, weights = vectors(2, 2, seed=6), [0.7, 0.4]
    circuit = circuit_at(0.3)
    derivative = efl.gradient_observables(circuit, "ZI").gradients[0]
    terms = {word.label: c for word, c in derivative.terms()}
    assert len(terms) > 1
    total, joined = placed([matrix(terms)] * 2, weights), reduce(np.kron, states)
    for width in (0.2, 0.5, 1.0):
        damping = efl.EntangledFleet(states, seed=1).read(derivative, width, weights=weights).damping
        rho = left(joined, total, width)
        for i, row in enumerate(np.eye(2)):
            change = np.trace(rho @ placed([matrix("ZI")] * 2, row)).real - expectation(states[i], "ZI")
            assert abs(change) <= 1 - damping[i] + 1e-12


def test_formulas_and_their_inverses():
    weights = [0.1, 0.4, -0.3]
    assert efl.CollectivePointer.of_damping(0.9, weights).damping.min() == pytest.approx(0.9)
    assert efl.CollectivePointer.of_error(0.7, weights).variance() == pytest.approx(0.49)
    for n in (2, 7, 300):
        at = efl.CollectivePointer(efl.CollectivePointer.break_even(n), n)
        assert at.damping[0] == pytest.approx(at.gentle_damping)


@pytest.mark.parametrize(
    ("parameters", "square"), [(1, None), (10, 0), (100, 0), (100, 4), (1000, 4), (30, None)]
)
def test_the_smallest_fleet_for_a_gradient(parameters, square):
    """Its width does it, and with a replica less no width does."""
    error, damping = 0.1, 0.95
    pointer = efl.CollectivePointer.of_gradient(parameters, error=error, damping=damping, commutators=square)
    worst = 4 * (parameters - 1) if square is None else square

    def holds(width, n):
        kept = np.exp(-parameters / (2 * n**2 * width**2)) >= damping * (1 - 1e-9)
        return kept & (width**2 + 1 / n + worst / (4 * n**2 * width**2) <= error**2 * (1 + 1e-9))

    n = pointer.replicas
    assert holds(pointer.width, n)
    assert not holds(np.geomspace(1e-3, 1, 20_000), n - 1).any()
    # Enough, and simple: a half of the squared error for each of pointer and states.
    simple = max(2 / error**2, np.sqrt(parameters / (-2 * np.log(damping))) * 2**0.5 / error)
    if worst == 0:
        assert n <= np.ceil(simple)


def test_seeds_and_copies():
    fleet = efl.EntangledFleet(vectors(1, 4), seed=7)
    again, other = efl.EntangledFleet(vectors(1, 4), seed=7), fleet.copy(seed=8)
    first = fleet.read("X", 0.3)
    assert first.value == again.read("X", 0.3).value != other.read("X", 0.3).value
    assert (fleet.answer("Z") == again.answer("Z")).all()
    assert not np.allclose(other.state, fleet.state)
    assert (len(fleet), fleet.n_qubits, fleet.is_joint) == (4, 1, True)
    assert "joint" in repr(fleet)
    assert "CollectiveReading(" in repr(first)
