"""Simulated states are those of PennyLane's default.qubit, up to a global phase."""

import numpy as np
import pennylane as qml
import pytest
from tests.oracle.programs import apply, build, random_program

import efl_core as efl


@pytest.mark.parametrize("seed", range(12))
def test_states_equal_those_of_pennylane(seed):
    n_qubits = 1 + seed % 6
    parameters = np.random.default_rng(seed).uniform(-3, 3, 5)
    program = random_program(seed, n_qubits, 12, 5)

    @qml.qnode(qml.device("default.qubit", wires=n_qubits))
    def model():
        apply(program, parameters)
        return qml.state()

    found = efl.simulate(build(program, n_qubits, parameters))
    assert abs(abs(np.vdot(model(), found)) - 1) < 1e-12
    assert abs(np.linalg.norm(found) - 1) < 1e-12


def test_the_input_state_is_honoured():
    bloch = np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1], [0.6, 0.0, 0.8]])
    found = efl.simulate(efl.Circuit(4).prepare(bloch))
    for q, vector in enumerate(bloch):
        for letter, expected in zip("XYZ", vector, strict=True):
            word = efl.PauliWord({q: letter}, n_qubits=4)
            image = efl.simulate(efl.Circuit(4).prepare(bloch).rotation(word, np.pi))
            assert np.vdot(found, image) == pytest.approx(-1j * expected, abs=1e-12)


def test_what_has_no_state_vector_is_refused():
    with pytest.raises(efl.InputTypeError, match="expected a Circuit"):
        efl.simulate("H")
    with pytest.raises(efl.InvalidInputError, match="product input state"):
        efl.simulate(efl.Circuit(1).prepare(None))
    with pytest.raises(efl.InvalidInputError, match=r"length 0\.5 at qubit 0"):
        efl.simulate(efl.Circuit(1).prepare([[0, 0, 0.5]]))
    noisy = efl.Circuit(1).channel([np.eye(2) * 0.6, np.diag([0.8, -0.8])], 0)
    with pytest.raises(efl.InvalidInputError, match="a channel at gate 0"):
        efl.simulate(noisy)
    with pytest.raises(efl.ResourceLimitError, match="limit is 26"):
        efl.simulate(efl.Circuit(27))
