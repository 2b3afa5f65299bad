"""What plans at a state say of variances, beside dense matrices: rho, readings, and nothing else."""

import numpy as np
import pytest
from tests.oracle.dense import random_state, sum_matrix, word_matrix

import efl_core as efl

N = 3
GATES = [("XII", 0), ("IYI", 1), ("ZZI", 2), ("IIX", 3), ("IXY", 4), ("YIZ", 5), ("IZI", 6), ("XXI", 7)]
OBSERVABLES = [{"ZII": 0.7, "IZZ": -0.4, "XIX": 0.5}, {"IYI": 1.0}]
METHODS = ("product", "clifford", "echo", "mixture", "shift-pruned", "shift")


def circuit(seed):
    angles = np.random.default_rng(seed).uniform(-np.pi, np.pi, len(GATES))
    made = efl.Circuit(N, parameters=angles)
    for word, k in GATES:
        made.rotation(word, efl.Parameter(k))
    return made


def run(gates, state):
    """The state after rotations, which is all that these circuits consist of."""
    for kind, letters, angle in gates:
        assert kind == "rotation"
        label = "".join(dict(letters).get(q, "I") for q in range(N))
        matrix = np.cos(angle / 2) * np.eye(2**N) - 1j * np.sin(angle / 2) * word_matrix(label)
        state = matrix @ state
    return state


def variances(plan, name, first):
    """The variance of one shot of every derivative, from a state that the circuits of a method act on."""
    found = np.zeros((len(OBSERVABLES), len(GATES)))
    for experiment, share in plan.experiments(name):
        state = run(experiment.gates(), first)
        for j, place in enumerate(experiment.derivatives):
            reading = sum_matrix({str(word): c for word, c in experiment.reading(j).terms()})
            image = reading @ state
            found[place] += (np.vdot(image, image).real - np.vdot(state, image).real ** 2) / share
    return found


@pytest.mark.parametrize("name", METHODS)
def test_variances_at_the_prepared_state(name):
    made = circuit(1)
    plan = efl.plan(made, OBSERVABLES, state="prepared")
    zero = np.eye(2**N)[0].astype(complex)
    assert plan[name].at_state
    np.testing.assert_allclose(plan[name].variances, variances(plan, name, zero), atol=1e-9)


@pytest.mark.parametrize("name", METHODS)
def test_variances_at_a_given_state(name):
    made, last = circuit(2), random_state(N, 3)
    plan = efl.plan(made, OBSERVABLES).at_state(last)
    whole = [
        ("rotation", [(q, a) for q, a in enumerate(w) if a != "I"], t)
        for (w, _), t in zip(GATES, made.parameters, strict=True)
    ]
    first = run([(kind, letters, -angle) for kind, letters, angle in reversed(whole)], last)
    np.testing.assert_allclose(plan[name].variances, variances(plan, name, first), atol=1e-9)


def test_readings_add_up_to_the_derivatives():
    """Contributions of settings may be anything, but their sum is the gradient observable, on every state."""
    made = circuit(4)
    plan = efl.plan(made, OBSERVABLES, state="prepared")
    for name in ("product", "clifford"):
        for o in range(len(OBSERVABLES)):
            for k in range(len(GATES)):
                total = efl.PauliSum({"III": 0.0})
                for experiment, _ in plan.experiments(name):
                    if (o, k) in experiment.derivatives:
                        total = total + experiment.reading(experiment.derivatives.index((o, k)))
                exact = efl.gradient_observables(made, OBSERVABLES[o]).derivative(0, k)
                difference = dict((total + -1 * exact).terms())
                assert max(map(abs, difference.values()), default=0.0) < 1e-12
