"""Diagnoses on circuits whose gradients are known: deep rings fade, bricks do not.

Seeds are fixed. Squares are compared within 4.5 of their standard errors (false alarms: 7e-6 for each).
"""

import numpy as np
import pytest

import efl_core as efl


def brick(n, depth, seed):
    rng = np.random.default_rng(seed)
    circuit = efl.Circuit(n, parameters=rng.uniform(-np.pi, np.pi, n * depth))
    for layer in range(depth):
        for q in range(n):
            circuit.ry(efl.Parameter(layer * n + q), q)
        for q in range(layer % 2, n - 1, 2):
            circuit.clifford("CZ", q, q + 1)
    return circuit


def ring(n, depth, seed, trained=None):
    """Rotations and a ring of CNOTs in every layer; the last layers are trained, all of them by default."""
    trained = depth if trained is None else trained
    rng = np.random.default_rng(seed)
    circuit = efl.Circuit(n, parameters=rng.uniform(-np.pi, np.pi, 2 * n * trained))
    k = 0
    for layer in range(depth):
        for q in range(n):
            for turn in (circuit.ry, circuit.rz):
                if layer < depth - trained:
                    turn(rng.uniform(-np.pi, np.pi), q)
                else:
                    turn(efl.Parameter(k), q)
                    k += 1
        for q in range(n):
            circuit.clifford("CNOT", q, (q + 1) % n)
    return circuit


def diagnosed(circuit, shots, ensemble=None, **options):
    observable = {circuit.n_qubits // 2: "Z"}
    observables = efl.gradient_observables(circuit, observable)
    ensemble = efl.design(observables) if ensemble is None else ensemble
    snaps = efl.sample(efl.simulate(circuit), ensemble, shots=shots, seed=2)
    return efl.diagnose(snaps, observables, **options), efl.propagate(circuit, observable).gradient


@pytest.mark.parametrize("few", [False, True])
def test_squares_have_no_bias(few):
    """Whatever the noise: at 300 shots it is larger than most of the squares."""
    circuit = ring(4, 3, 0)
    observables = efl.gradient_observables(circuit, "ZIII")
    ensemble = efl.Ensemble.uniform(4)
    state, runs, shots = efl.simulate(circuit), 200, 300 if few else 3_000
    found = [
        efl.diagnose(efl.sample(state, ensemble, shots=shots, seed=s), observables).power for s in range(runs)
    ]
    exact = efl.propagate(circuit, "ZIII").gradient ** 2
    live = ~observables.is_zero
    error = np.std(found, axis=0, ddof=1)[live] / np.sqrt(runs)
    assert np.all(np.abs(np.mean(found, axis=0) - exact)[live] < 4.5 * error)


def test_gradients_of_deep_rings_fade_and_those_of_bricks_do_not():
    def rms(make, n, depth):
        found = [diagnosed(make(n, depth, seed), 50_000)[0] for seed in range(4)]
        return np.sqrt(np.mean([d.power[~d.is_zero].mean() for d in found]))

    deep = [rms(ring, n, n) for n in (3, 4, 5)]
    shallow = [rms(brick, n, 3) for n in (3, 4, 5, 6, 8)]
    assert deep[2] < 0.55 * deep[0]
    assert min(shallow) > 0.6 * max(shallow)


def test_a_deep_ring_is_called_a_plateau_and_a_shallow_one_is_not():
    deep, exact = diagnosed(ring(8, 8, 1, trained=2), 100_000)
    assert deep.verdict == "plateau"
    assert deep.rms[0] <= np.sqrt(np.mean(exact[~deep.is_zero] ** 2)) <= deep.rms[1]
    assert any("warm start" in text for text in deep.advice)
    flat, exact = diagnosed(brick(8, 3, 1), 100_000)
    assert flat.verdict == "trainable"
    assert flat.rms[0] <= np.sqrt(np.mean(exact[~flat.is_zero] ** 2)) <= flat.rms[1]


def test_purities_bound_derivatives():
    """The state behind a deep circuit is mixed on few qubits, and the bound says so."""
    bounds = []
    for depth in (2, 10):
        rng = np.random.default_rng(0)
        circuit = efl.Circuit(6, parameters=rng.uniform(-3, 3, 12))
        for layer in range(depth):
            for q in range(6):
                circuit.ry(rng.uniform(-3, 3), q).rz(rng.uniform(-3, 3), q)
            for q in range(layer % 2, 5, 2):
                circuit.clifford("CZ", q, q + 1)
        for q in range(6):
            circuit.rx(efl.Parameter(q), q)
        for q in range(0, 5, 2):
            circuit.clifford("CZ", q, q + 1)
        for q in range(6):
            circuit.ry(efl.Parameter(6 + q), q)
        found, exact = diagnosed(circuit, 100_000, efl.Ensemble.uniform(6))
        live = ~found.is_zero
        assert live.any()
        assert np.all(np.isfinite(found.bound[live]))
        assert np.all(np.abs(exact) <= found.bound + 1e-12)
        bounds.append(np.mean(found.bound[live]))
    assert bounds[1] < 0.6 * bounds[0]


def test_the_bound_is_that_of_the_purity():
    """One qubit of a Bell pair is mixed: with enough snapshots no derivative by it is left."""
    circuit = efl.Circuit(2, parameters=[0.0]).clifford("H", 0).clifford("CNOT", 0, 1).rx(efl.Parameter(0), 0)
    observables = efl.gradient_observables(circuit, "ZI")
    snaps = efl.sample(efl.simulate(circuit), shots=400_000, seed=1)
    found = efl.diagnose(snaps, observables, resolution=0.1)
    assert found.bound[0] < 0.02
    assert found.flat[0]
    assert found.verdict == "plateau"
