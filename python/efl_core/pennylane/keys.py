"""What tells plans of circuits apart: their gates and observables, never their current angles."""

from collections.abc import Hashable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.circuits import Circuit
from efl_core.observables import PauliSum

__all__ = ["circuit_key", "kept_letters", "key_of", "same_gates"]


def kept_letters(circuit: Circuit) -> NDArray[np.float64] | None:
    """Return the letter that leaves each qubit's input as it is, as Bloch vectors; zero where none does."""
    return None if circuit.bloch is None else (np.abs(circuit.bloch) == 1).astype(np.float64)


def key_of(value: Any) -> Hashable:  # noqa: ANN401 (what circuits are made of)
    """Return what tells plans of two circuits, or parts of those, apart; current angles do not."""
    if isinstance(value, Circuit):
        return value.n_qubits, value.n_parameters, key_of(kept_letters(value)), key_of(value._gates)
    if isinstance(value, np.ndarray):
        return value.shape, value.tobytes()
    if isinstance(value, PauliSum):
        return tuple((word.label, c) for word, c in value.terms())
    try:
        hash(value)
    except TypeError:
        return tuple(key_of(v) for v in value)
    found: Hashable = value  # words, names, wires and angles
    return found


def circuit_key(circuit: Circuit) -> Hashable:
    """Return what circuits have in common that differ by their angles only, observables included."""
    return key_of(circuit), key_of(circuit.observables)


def same_gates(one: Circuit, other: Circuit) -> bool:
    """Return whether circuits differ by their angles only."""
    return key_of(one) == key_of(other)
