"""Bases, fidelities and functionals against dense matrices; statistics at fixed seeds.

A comparison of an estimate with the truth allows 5 standard errors, which has a false-alarm rate of 6e-7 for
normal errors and below 1e-4 for the mildly skewed ones here.
"""

import itertools
import pickle
from collections import Counter
from functools import reduce

import numpy as np
import pytest
from tests.oracle.dense import random_state

import efl_core as efl

GATES = {
    "H": np.array([[1, 1], [1, -1]]) / 2**0.5,
    "SDG": np.diag([1, -1j]),
    "CNOT": np.eye(4)[[0, 1, 3, 2]],
    "CZ": np.diag([1, 1, 1, -1]),
}
PAULIS = {
    "I": np.eye(2),
    "X": np.array([[0, 1], [1, 0]]),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1, -1]),
}


def unitary(n_qubits, gates):
    """The matrix of a circuit, qubit 0 most significant."""
    whole = np.eye(2**n_qubits, dtype=complex).reshape((2,) * n_qubits + (2**n_qubits,))
    for name, *wires in gates:
        k = len(wires)
        gate = GATES[name].reshape((2,) * (2 * k))
        whole = np.moveaxis(np.tensordot(gate, whole, axes=(range(k, 2 * k), wires)), range(k), wires)
    return whole.reshape(2**n_qubits, 2**n_qubits)


def dense(word):
    return reduce(np.kron, [PAULIS[letter] for letter in word])


def ghz(n_qubits):
    return efl.StabiliserState(n_qubits, [("H", 0), *(("CNOT", q, q + 1) for q in range(n_qubits - 1))])


def ghz_vector(n_qubits):
    vector = np.zeros(2**n_qubits)
    vector[[0, -1]] = 2**-0.5
    return vector


@pytest.mark.parametrize(("n_qubits", "bases"), [(1, 3), (2, 15)])
def test_every_basis_comes_as_often(n_qubits, bases):
    ensemble, draws = efl.Ensemble.global_clifford(n_qubits), 100 * bases
    words = ["".join(word) for word in itertools.product("IXYZ", repeat=n_qubits)][1:]
    groups = Counter(
        tuple(word for word in words if setting.reveal(word))
        for setting in (ensemble.draw_setting(5, i) for i in range(draws))
    )
    assert len(groups) == bases
    assert all(len(group) == 2**n_qubits - 1 for group in groups)
    chi = sum((count - 100) ** 2 / 100 for count in groups.values())
    assert chi < bases + 5 * (2 * bases) ** 0.5  # its mean is bases - 1: a false alarm is rarer than 1e-4


@pytest.mark.parametrize("n_qubits", [1, 2, 3, 6])
def test_snapshots_are_elements_of_their_bases(n_qubits):
    """Readings are those of the dense matrices: `(d + 1) |<phi|C^dag|b>|^2 - 1`, for each snapshot."""
    state, target = random_state(n_qubits, 1), random_state(n_qubits, 2)
    ensemble = efl.Ensemble.global_clifford(n_qubits)
    snaps = efl.sample(state, ensemble, shots=12, seed=3)
    bits, addresses = snaps.to_arrays()
    for t in range(len(snaps)):
        circuit = unitary(n_qubits, ensemble.draw_setting(*addresses[t].tolist()).gates)
        index = int("".join(map(str, bits[t])), 2)
        assert abs(circuit @ state)[index] > 1e-9
        reading = (2**n_qubits + 1) * abs(circuit @ target)[index] ** 2 - 1
        found = efl.fidelity(snaps[t : t + 1], target, combine="mean")
        assert found.value == pytest.approx(reading, abs=1e-9)
        if n_qubits > 1:
            expected = (2**n_qubits + 1) * abs(circuit @ ghz_vector(n_qubits))[index] ** 2 - 1
            assert efl.fidelity(snaps[t : t + 1], ghz(n_qubits)).value == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("n_qubits", [1, 3, 6])
def test_fidelities_words_and_sums_are_unbiased(n_qubits):
    state, target = random_state(n_qubits, 4), random_state(n_qubits, 5)
    snaps = efl.sample(state, efl.Ensemble.global_clifford(n_qubits), shots=20_000, seed=n_qubits)
    for one in (target, state):
        for combine in ("mean", "median_of_means"):
            found = efl.fidelity(snaps, one, combine=combine)
            assert abs(found.value - abs(one.conj() @ state) ** 2) < 5 * found.stderr, combine
    words = ["Z" * n_qubits, "XYZXYZ"[:n_qubits], "I" * (n_qubits - 1) + "Y"]
    weights = [0.5, -0.3, 0.8]
    exact = [(state.conj() @ dense(word) @ state).real for word in words]
    found = efl.estimate(snaps, [*words, dict(zip(words, weights, strict=True))])
    exact.append(np.dot(weights, exact))
    assert (np.abs(found.value - exact) < 5 * found.stderr).all()
    predicted = snaps.ensemble.predicted_variance(words, state)
    assert predicted == pytest.approx(2**n_qubits + 1 - np.square(exact[:3]))
    assert found.stderr[:3] ** 2 * len(snaps) == pytest.approx(predicted, rel=0.2)


def test_pairs_of_words_are_revealed_together_as_often_as_said():
    ensemble = efl.Ensemble.global_clifford(3)
    drawn = [ensemble.draw_setting(1, i) for i in range(4000)]
    for a, b, expected in [
        ("XXI", "ZZI", 1 / 45),
        ("XXI", "ZII", 0),
        ("XYZ", "XYZ", 1 / 9),
        ("III", "IZI", 1 / 9),
    ]:
        assert ensemble.pair_probability(a, b) == pytest.approx(expected)
        both = sum(bool(s.reveal(a) is not None and s.reveal(b) is not None) for s in drawn)
        assert abs(both - 4000 * expected) < 5 * (4000 * expected) ** 0.5 + 1e-9


@pytest.mark.parametrize("n_qubits", [5, 20, 100])
def test_ghz_fidelity_has_one_error_whatever_the_width(n_qubits):
    state, shots, runs = ghz(n_qubits), 400, 60
    snaps = efl.sample(state, efl.Ensemble.global_clifford(n_qubits), shots=shots * runs, seed=n_qubits)
    found = [efl.fidelity(snaps[i * shots : (i + 1) * shots], state) for i in range(runs)]
    errors = np.array([one.value - 1 for one in found])
    # The variance of one reading; that of 24,000 readings has an error of 2 % (their kurtosis is below 10).
    d = 2.0**n_qubits
    variance = 6 * (d + 1) / (d + 2) - 4
    whole = efl.fidelity(snaps, state)
    assert whole.stderr**2 * len(snaps) == pytest.approx(variance, rel=0.08)
    # 60 runs: 5 sigma of a root mean square is 5 / sqrt(120) of it.
    assert np.sqrt(np.mean(errors**2)) == pytest.approx((variance / shots) ** 0.5, rel=0.45)
    assert np.mean([one.stderr for one in found]) == pytest.approx((variance / shots) ** 0.5, rel=0.05)


@pytest.mark.parametrize("n_qubits", [1, 2, 3, 5])
def test_the_variance_on_the_target_itself(n_qubits):
    state = random_state(n_qubits, 8)
    snaps = efl.sample(state, efl.Ensemble.global_clifford(n_qubits), shots=60_000, seed=1)
    d = 2**n_qubits
    found = efl.fidelity(snaps, state, combine="mean")
    assert found.stderr**2 * len(snaps) == pytest.approx(6 * (d + 1) / (d + 2) - 4, rel=0.05)


def layered(n_qubits, layers, seed):
    """Rotations about two axes of each qubit and a ring of CNOTs, layer by layer; a parameter for each."""
    rng = np.random.default_rng(seed)
    made = efl.Circuit(n_qubits, parameters=rng.uniform(-3, 3, 2 * n_qubits * layers))
    for place in range(layers):
        for q in range(n_qubits):
            first = 2 * (place * n_qubits + q)
            made.ry(efl.Parameter(first), q).rz(efl.Parameter(first + 1), q)
        for q in range(n_qubits):
            if n_qubits > 1:
                made.clifford("CNOT", q, (q + 1) % n_qubits)
    return made


@pytest.mark.parametrize("n_qubits", [1, 3, 6])
def test_operators_of_low_rank_have_the_value_of_dense_matrices(n_qubits):
    rng = np.random.default_rng(n_qubits)
    rank, size = min(3, 2**n_qubits), 2**n_qubits
    state = random_state(n_qubits, 7)
    snaps = efl.sample(state, efl.Ensemble.global_clifford(n_qubits), shots=20_000, seed=3)
    for trial in range(4):
        vectors = rng.normal(size=(rank, size)) + 1j * rng.normal(size=(rank, size))
        vectors[0] = state if trial == 3 else vectors[0]
        weights = rng.normal(size=(rank, rank)) + 1j * rng.normal(size=(rank, rank))
        weights = weights + weights.conj().T if trial else np.abs(np.diag(weights))
        operator = vectors.T @ (weights if trial else np.diag(weights)) @ vectors.conj()
        exact, square = np.vdot(state, operator @ state).real, np.linalg.norm(operator) ** 2
        for combine in ("mean", "median_of_means", "truncated_mean"):
            found = efl.low_rank(snaps, vectors, weights, combine=combine)
            assert abs(found.value - exact) < 5 * found.stderr
        mean = efl.low_rank(snaps, vectors, weights, combine="mean")
        assert mean.stderr**2 * len(snaps) < 3 * square * 1.1
    # Overlaps of two vectors, and projectors as fidelities.
    a, b = random_state(n_qubits, 8), random_state(n_qubits, 9)
    overlap = np.vdot(a, state) * np.vdot(state, b)
    real = efl.low_rank(snaps, [a, b], [[0, 0.5], [0.5, 0]])
    imag = efl.low_rank(snaps, [a, b], [[0, 0.5j], [-0.5j, 0]])
    assert abs(real.value - overlap.real) < 5 * real.stderr
    assert abs(imag.value - overlap.imag) < 5 * imag.stderr
    assert efl.low_rank(snaps, [2 * a], [0.25]).value == pytest.approx(efl.fidelity(snaps, a).value)


def test_a_truncated_mean_is_that_of_a_state_that_drifts():
    """Each snapshot is of a state that depends on the one before; in 40 runs one may miss with the bound."""
    n_qubits, shots, failure = 3, 500, 0.01
    target = ghz_vector(n_qubits)
    states = [target, random_state(n_qubits, 4)]
    ensemble = efl.Ensemble.global_clifford(n_qubits)
    bound = 3.1 * np.sqrt(3 * np.log(2 / failure) / shots)
    for run in range(8):
        pools = [
            efl.sample(state, ensemble, shots=shots, seed=100 * run + k) for k, state in enumerate(states)
        ]
        which, order, parts = 0, [], []
        for i in range(shots):
            order.append(which)
            parts.append(pools[which][i : i + 1])
            which = int(efl.fidelity(parts[-1], target, combine="mean").value > 0)
        snaps = efl.Snapshots.concat(parts)
        exact = np.mean([abs(np.vdot(target, states[k])) ** 2 for k in order])
        found = efl.fidelity(snaps, target, combine="truncated_mean", failure=failure)
        assert abs(found.value - exact) < bound
        assert found.stderr < 0.15


def slopes(n_qubits, layers, seed, target):
    """The fidelity of `layered`, and its derivatives by the rule of shifts."""

    def value(shift=0.0, j=0):
        circuit = layered(n_qubits, layers, seed)
        theta = np.array(circuit.parameters, dtype=float)
        theta[j] += shift
        return abs(np.vdot(target, efl.simulate(circuit.at(theta)))) ** 2

    count = 2 * n_qubits * layers
    return value(), np.array([(value(np.pi / 2, j) - value(-np.pi / 2, j)) / 2 for j in range(count)])


@pytest.mark.parametrize("n_qubits", [1, 3, 5])
def test_all_derivatives_of_a_fidelity_come_from_the_same_snapshots(n_qubits):
    circuit = layered(n_qubits, 2, n_qubits)
    state = efl.simulate(circuit)
    near = state + 0.5 * random_state(n_qubits, 3)
    for target in (random_state(n_qubits, 2), near / np.linalg.norm(near)):
        value, gradient = slopes(n_qubits, 2, n_qubits, target)
        snaps = efl.sample(state, efl.Ensemble.global_clifford(n_qubits), shots=20_000, seed=6)
        found = efl.fidelity_gradient(snaps, circuit, target)
        assert found.value == pytest.approx(efl.fidelity(snaps, target, combine="mean").value)
        assert found.value_stderr == pytest.approx(efl.fidelity(snaps, target, combine="mean").stderr)
        assert abs(found.value - value) < 5 * found.value_stderr
        # 44 derivatives in all.
        assert (np.abs(found.gradient - gradient) < 5 * found.stderr).all()


@pytest.mark.parametrize("n_qubits", [1, 3, 6])
def test_the_variance_of_a_derivative_is_bounded_whatever_the_width(n_qubits):
    """At the target itself it is `(d + 1) / (d + 2) (1 - a^2)`, a = <target|P|target>: all of the bound."""
    circuit = layered(n_qubits, 2, n_qubits)
    state = efl.simulate(circuit)
    snaps = efl.sample(state, efl.Ensemble.global_clifford(n_qubits), shots=40_000, seed=6)
    found = efl.fidelity_gradient(snaps, circuit, state)
    # P is the generator of a gate, moved to the end: half a turn more of the gate is -i P.
    a = []
    for j in range(4 * n_qubits):
        theta = np.array(circuit.parameters, dtype=float)
        theta[j] += np.pi
        a.append((1j * np.vdot(state, efl.simulate(circuit.at(theta)))).real)
    d = 2**n_qubits
    variance = found.stderr**2 * len(snaps)
    assert variance == pytest.approx((d + 1) / (d + 2) * (1 - np.square(a)), rel=0.05, abs=1e-3)
    assert (variance <= 1.0).all()


def test_stabiliser_states_are_measured_as_their_vectors():
    gates = [("H", 0), ("CNOT", 0, 1), ("SDG", 1), ("H", 2), ("CZ", 1, 2), ("CNOT", 2, 0), ("H", 1)]
    state, vector = efl.StabiliserState(3, gates), unitary(3, gates)[:, 0]
    for sign, word in state.words:
        assert vector.conj() @ dense(word) @ vector == pytest.approx(sign)
    for ensemble in (efl.Ensemble.uniform(3), efl.Ensemble.global_clifford(3)):
        words = [word for _, word in state.words]
        found = efl.estimate(efl.sample(state, ensemble, shots=4000, seed=1), words)
        assert (np.abs(found.value - [sign for sign, _ in state.words]) < 5 * found.stderr).all()
    # The letters of a seed do not depend on what is measured.
    letters = [efl.sample(one, shots=100, seed=2).to_arrays()[1] for one in (state, vector)]
    assert (letters[0] == letters[1]).all()


def test_snapshots_are_kept_by_their_addresses():
    snaps = efl.sample(ghz(70), efl.Ensemble.global_clifford(70), shots=300, seed=9)
    bits, addresses = snaps.to_arrays()
    again = efl.Snapshots.from_addresses(bits, addresses, ensemble=snaps.ensemble)
    assert again == snaps == pickle.loads(pickle.dumps(snaps))
    assert snaps[100:200] + snaps[200:] == snaps[100:]
    assert efl.fidelity(snaps[::2], ghz(70)).shots == 150
    tally = efl.tally(snaps, ["Z" * 70])
    assert efl.Tally.from_bytes(tally.to_bytes()) == tally
    with pytest.raises(efl.InvalidInputError, match="snaps: expected snapshots in letters or lists"):
        snaps.to_arrow()


@pytest.mark.parametrize("n_qubits", [1, 3, 6, 70])
def test_twirled_bases_are_the_same_bases_read_by_other_bits(n_qubits):
    """Bits of a snapshot mean, with the gates of its setting, what those of the plain basis mean."""
    plain, twirled = (efl.Ensemble.global_clifford(n_qubits, twirled=own) for own in (False, True))
    state = efl.StabiliserState(n_qubits, [("H", 0), *(("CNOT", q, q + 1) for q in range(n_qubits - 1))])
    snaps = [efl.sample(state, ensemble, shots=30, seed=4) for ensemble in (plain, twirled)]
    assert efl.fidelity(snaps[0], state).value == efl.fidelity(snaps[1], state).value
    (bits, addresses), (read, same) = (one.to_arrays() for one in snaps)
    assert (addresses == same).all()
    assert (bits != read).any()
    for t, address in enumerate(addresses.tolist()):
        settings = [ensemble.draw_setting(*address) for ensemble in (plain, twirled)]
        gates = settings[0].gates
        assert settings[1].gates[: len(gates)] == gates
        for q, word in enumerate(measured_words(settings[0])):
            # What bit q of the plain basis reads is, by other bits, the same word with the same sign.
            assert settings[0].reveal(word) == ([q], 1)
            others, sign = settings[1].reveal(word)
            assert (-1) ** int(bits[t, q]) == sign * (-1) ** int(read[t, others].sum())
    again = efl.Snapshots.from_addresses(read, addresses, ensemble=twirled)
    assert again == snaps[1] == pickle.loads(pickle.dumps(snaps[1]))
    assert snaps[1] != snaps[0]
    assert pickle.loads(pickle.dumps(twirled)) == twirled != plain
    tally = efl.tally(snaps[1], ["Z" * n_qubits])
    assert efl.Tally.from_bytes(tally.to_bytes()) == tally
    assert tally.ensemble == twirled
    assert efl.tally(snaps[0], ["Z" * n_qubits]) != tally


def measured_words(setting):
    """The words that the bits read: those of the state that the gates turn into zeros."""
    back = [("S" if name == "SDG" else name, *wires) for name, *wires in reversed(setting.gates)]
    words = efl.StabiliserState(setting.n_qubits, back).words
    assert all(sign == 1 for sign, _ in words)
    return [word for _, word in words]


LETTERS = [[0.5, 0.3, 0.2], [0.2, 0.4, 0.4], [0.3, 0.3, 0.4]]


@pytest.mark.parametrize("biased", [False, True])
def test_functionals_of_parts_are_those_of_dense_matrices(biased):
    ensemble = efl.Ensemble.biased(LETTERS) if biased else efl.Ensemble.uniform(3)
    states = [random_state(3, seed) for seed in (1, 2)]
    snaps = [efl.sample(state, ensemble, shots=40_000, seed=i) for i, state in enumerate(states)]
    tensor = [state.reshape(2, 2, 2) for state in states]
    for part, rest in (([0], [1, 2]), ([2, 0], [1]), ([0, 1, 2], [])):
        reduced = [np.tensordot(t, t.conj(), axes=(rest, rest)) for t in tensor]
        k = len(part)
        order = [sorted(part).index(q) for q in part]
        exact = [r.transpose(order + [k + i for i in order]).reshape(2**k, 2**k) for r in reduced]
        found = efl.reduced_density_matrix(snaps[0], part)
        assert (np.abs(found.matrix - exact[0]) < 5 * found.stderr + 1e-12).all()
        for value, truth in [
            (efl.purity(snaps[0], part), np.trace(exact[0] @ exact[0]).real),
            (efl.entropy(snaps[0], part), -np.log2(np.trace(exact[0] @ exact[0]).real)),
            (efl.state_overlap(*snaps, part), np.trace(exact[0] @ exact[1]).real),
        ]:
            assert abs(value.value - truth) < 5 * value.stderr, part


def test_the_purity_of_few_snapshots_is_the_mean_of_the_kernel_over_pairs():
    letters, outcomes = [[0, 1], [0, 2], [0, 1], [2, 1]], [[0, 1], [0, 1], [1, 1], [0, 0]]
    snaps = efl.Snapshots.from_arrays(outcomes, letters)

    def factor(i, j, q):
        if letters[i][q] != letters[j][q]:
            return 1 / 2
        return 5 if outcomes[i][q] == outcomes[j][q] else -4

    pairs = list(itertools.permutations(range(4), 2))
    for part in ([0], [1], [0, 1]):
        exact = np.mean([np.prod([factor(i, j, q) for q in part]) for i, j in pairs])
        assert efl.purity(snaps, part).value == pytest.approx(exact)


@pytest.mark.parametrize("mixed", [False, True])
def test_error_bars_of_purities_and_overlaps_are_the_scatter(mixed):
    """400 runs: a standard deviation is known to 3.5 %, so 18 % are 5 sigma. On mixed parts pairs scatter."""
    state = ghz_vector(2) if mixed else np.array([1, 0, 0, 0])
    runs = [efl.sample(state, shots=60, seed=seed) for seed in range(401)]
    for found, truth in [
        ([efl.purity(one, [0]) for one in runs[1:]], 0.5 if mixed else 1),
        ([efl.state_overlap(*pair, [0]) for pair in itertools.pairwise(runs)], 0.5 if mixed else 1),
    ]:
        values = np.array([one.value for one in found])
        predicted = np.sqrt(np.mean([one.stderr**2 for one in found]))
        assert abs(values.mean() - truth) < 5 * values.std() / 20
        assert predicted == pytest.approx(values.std(), rel=0.18)


def flipped(snaps, rng, rates):
    bits, bases = snaps.to_arrays()
    return efl.Snapshots.from_arrays(bits ^ (rng.random(bits.shape) < rates), bases)


def test_functionals_of_a_readout_that_errs_are_calibrated():
    """With and without: 5 standard errors; then whether bars know the errors of a short calibration."""
    rng, rates = np.random.default_rng(8), np.array([0.03, 0.08, 0.05])
    state, other = random_state(3, 5), random_state(3, 6)
    part = [2, 0]
    rho, sigma = (np.outer(v, v.conj()).reshape((2,) * 6) for v in (state, other))
    rho, sigma = (np.einsum("aibcid->badc", m).reshape(4, 4) for m in (rho, sigma))
    long = efl.Calibration.from_bits(rng.random((400_000, 3)) < rates)
    snaps = flipped(efl.sample(state, shots=60_000, seed=1), rng, rates)
    more = flipped(efl.sample(other, shots=60_000, seed=2), rng, rates)
    exact = np.trace(rho @ rho).real
    assert exact - efl.purity(snaps, part).value > 5 * efl.purity(snaps, part).stderr
    found = efl.purity(snaps, part, calibration=long)
    assert abs(found.value - exact) < 5 * found.stderr
    bits = efl.entropy(snaps, part, calibration=long)
    assert abs(bits.value + np.log2(exact)) < 5 * bits.stderr
    reduced = efl.reduced_density_matrix(snaps, part, calibration=long)
    assert (np.abs(reduced.matrix - rho) < 5 * reduced.stderr + 1e-12).all()
    overlap = efl.state_overlap(snaps, more, part, calibration=long)
    assert abs(overlap.value - np.trace(rho @ sigma).real) < 5 * overlap.stderr
    kernel = efl.shadow_kernel([snaps, more], qubits=part, calibration=long)
    assert kernel[0, 1] == pytest.approx(overlap.value)
    assert kernel[0, 0] == pytest.approx(found.value)
    scores = []
    for k in range(100):
        short = efl.Calibration.from_bits(rng.random((300, 3)) < rates)
        own = flipped(efl.sample(state, shots=4000, seed=100 + k), rng, rates)
        found = efl.purity(own, part, calibration=short)
        scores.append((found.value - exact) / found.stderr)
    # Of 100 scores the mean square has a standard error of 0.14, or little more.
    assert np.mean(np.square(scores)) == pytest.approx(1, abs=0.6)


def test_a_kernel_is_the_overlap_of_all_pairs():
    states = [random_state(2, seed) for seed in range(4)]
    snaps = [efl.sample(state, shots=30_000, seed=10 + i) for i, state in enumerate(states)]
    exact = np.abs(np.array(states).conj() @ np.array(states).T) ** 2
    kernel = efl.shadow_kernel(snaps)
    assert np.abs(kernel - exact).max() < 0.15  # an error of an entry is 0.02
    assert kernel[0, 1] == pytest.approx(efl.state_overlap(snaps[0], snaps[1]).value)
    assert kernel[2, 2] == pytest.approx(efl.purity(snaps[2], [0, 1]).value)
    assert (np.diag(efl.shadow_kernel(snaps, pure=True)) == 1).all()
    assert efl.shadow_kernel(snaps[:2], snaps[2:]) == pytest.approx(kernel[:2, 2:])
