"""Dense twins of Pauli algebra and of measurement, for a few qubits. Qubit 0 is the most significant bit."""

from functools import reduce

import numpy as np

MATRICES = {
    "I": np.eye(2, dtype=complex),
    "X": np.array([[0, 1], [1, 0]], dtype=complex),
    "Y": np.array([[0, -1j], [1j, 0]]),
    "Z": np.diag([1.0 + 0j, -1.0]),
}


def word_matrix(label):
    """The matrix of a word."""
    return reduce(np.kron, (MATRICES[letter] for letter in label))


def sum_matrix(terms):
    """The matrix of a dict from labels to coefficients."""
    return sum(coefficient * word_matrix(label) for label, coefficient in terms.items())


def expectation(state, observable):
    """The exact expectation value of a label or of a dict from labels to coefficients."""
    matrix = word_matrix(observable) if isinstance(observable, str) else sum_matrix(observable)
    return float(np.real(np.vdot(state, matrix @ state)))


def random_state(n_qubits, seed):
    """A state without any symmetry that could hide a wrong wire order, sign or letter."""
    rng = np.random.default_rng(seed)
    state = rng.normal(size=2**n_qubits) + 1j * rng.normal(size=2**n_qubits)
    return state / np.linalg.norm(state)


def outcome_probabilities(state, letters):
    """Probabilities of the outcomes (bit of qubit 0 most significant) when ``letters`` are measured."""
    to_z = {
        "X": np.array([[1, 1], [1, -1]]) / np.sqrt(2),
        "Y": np.array([[1, -1j], [1, 1j]]) / np.sqrt(2),
        "Z": np.eye(2),
    }
    return np.abs(reduce(np.kron, (to_z[letter] for letter in letters)) @ state) ** 2
