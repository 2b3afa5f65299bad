"""PennyLane's operators are observables wherever words and sums are: wire i is qubit i."""

import numpy as np
import pennylane as qml
import pytest

import efl_core as efl

STATE = np.kron([1, 1], np.kron([1, 0], [1, 0])) / np.sqrt(2)
SNAPS = efl.sample(STATE, efl.Ensemble.uniform(3), shots=2_000, seed=1)
PAIRS = [
    (qml.Z(1) @ qml.Z(2), "IZZ"),
    (0.5 * qml.X(0) - qml.Z(2) + 2 * qml.I(1), {"XII": 0.5, "IIZ": -1.0, "III": 2.0}),
    (qml.Projector([0], wires=1), {"III": 0.5, "IZI": 0.5}),
    (qml.Hermitian(np.array([[1, 2], [2, -1]]), wires=0), {"ZII": 1.0, "XII": 2.0}),
]


@pytest.mark.parametrize(("operator", "wanted"), PAIRS, ids=range(4))
def test_estimates(operator, wanted):
    assert efl.estimate(SNAPS, operator).value == pytest.approx(efl.estimate(SNAPS, wanted).value)
    several = efl.estimate(SNAPS, [operator, "XII"])
    assert several.value == pytest.approx(efl.estimate(SNAPS, [wanted, "XII"]).value)


def test_tallies_designs_and_plans():
    words = [qml.Z(1) @ qml.Z(2), qml.X(0)]
    assert efl.tally(SNAPS, words) == efl.tally(SNAPS, ["IZZ", "XII"])
    assert efl.tally(SNAPS, qml.X(0)) == efl.tally(SNAPS, "XII")
    assert efl.design(words, "product") == efl.design(["IZZ", "XII"], "product")
    circuit = efl.Circuit(3, parameters=[0.3]).ry(efl.Parameter(0), 1).clifford("CNOT", 1, 2)
    assert efl.plan(circuit, words).best.shots == efl.plan(circuit, ["IZZ", "XII"]).best.shots
    assert efl.propagate(circuit, qml.Z(2)).value == pytest.approx(np.cos(0.3))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: efl.estimate(SNAPS, qml.Z(3)),
            "observables: expected operators on the wires 0 to 2, got wire 3",
        ),
        (lambda: efl.estimate(SNAPS, [qml.Z("a")]), "observables: expected operators on .*, got wire 'a'"),
        (lambda: efl.tally(SNAPS, [2 * qml.Z(0)]), "words: expected a Pauli word, got PauliSum"),
        (lambda: efl.estimate(SNAPS, 1j * qml.Z(0)), "expected real coefficients"),
    ],
    ids=range(4),
)
def test_refused(call, message):
    with pytest.raises(efl.InvalidInputError, match=message):
        call()
