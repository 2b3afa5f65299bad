"""The state that a plan is for: what the circuit prepares, a given one, or a memory of measurements."""

from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.arguments import array, described
from efl_core.circuits import Circuit
from efl_core.errors import InputTypeError, InvalidInputError, ResourceLimitError, ShapeError
from efl_core.memory import Memory

__all__ = ["State", "read_state", "spelled_state"]

State: TypeAlias = Literal["prepared"] | str | ArrayLike | Memory
"""``"prepared"``, a product state (letters or Bloch vectors), a state vector, or a memory."""

# Widest product state that becomes a vector: 2^24 amplitudes are 256 MiB.
MOST_QUBITS = 24
_BLOCH = {
    "0": (0, 0, 1),
    "1": (0, 0, -1),
    "+": (1, 0, 0),
    "-": (-1, 0, 0),
    "R": (0, 1, 0),
    "L": (0, -1, 0),
}
_EXPECTED = "'prepared', letters 0 1 + - R L, Bloch vectors, a state vector, or a Memory"


def read_state(state: State, circuit: Circuit) -> dict[str, Any]:
    """Return a state as the core takes it: a vector, a memory, or nothing for what the circuit prepares."""
    if isinstance(state, Memory):
        return {"memory": state._native}
    n = circuit.n_qubits
    if isinstance(state, str):
        if state == "prepared":
            if circuit.bloch is None:
                raise InvalidInputError.of(
                    "state", "a state vector, as the circuit has no product input state", repr(state)
                )
            return {}
        if not state or any(letter not in _BLOCH for letter in state):
            raise InvalidInputError.of("state", _EXPECTED, repr(state))
        if len(state) != n:
            raise ShapeError.of("state", f"{n} letters, one for each qubit", repr(state))
        return {"vector": _product(np.array([_BLOCH[letter] for letter in state], dtype=np.float64))}
    if state is None:
        raise InputTypeError.of("state", _EXPECTED, "None")
    found = array("state", state, _EXPECTED)
    if found.ndim == 2:
        if found.shape != (n, 3) or found.dtype.kind == "c":
            raise ShapeError.of("state", f"Bloch vectors of shape ({n}, 3)", found.shape)
        return {"vector": _product(found.astype(np.float64))}
    if found.shape != (2**n,):
        raise ShapeError.of("state", f"2^{n} amplitudes", found.shape)
    return {"vector": np.ascontiguousarray(found, dtype=np.complex128)}


def spelled_state(state: State) -> str:
    """Return what the figures of a plan are for, in words."""
    if isinstance(state, Memory):
        return f"as remembered ({len(state)} settings, {state.steps} steps)"
    if isinstance(state, str):
        return "at the state that is prepared" if state == "prepared" else f"at the state {state}"
    return "at a given state"


def _product(bloch: NDArray[np.float64]) -> NDArray[np.complex128]:
    """Return the amplitudes of a product of pure qubits."""
    if len(bloch) > MOST_QUBITS:
        raise ResourceLimitError(
            f"state: expected at most {MOST_QUBITS} qubits, got {len(bloch)}: plan with a Memory"
        )
    lengths = np.linalg.norm(bloch, axis=1)
    bad = np.flatnonzero(~(np.abs(lengths - 1) < 1e-6))
    if len(bad):
        expected = "pure qubits, Bloch vectors of length 1"
        raise InvalidInputError.of(f"state[{bad[0]}]", expected, described(bloch[bad[0]].tolist()))
    vector = np.ones(1, dtype=np.complex128)
    for x, y, z in bloch / lengths[:, None]:
        large = np.sqrt((1 + abs(z)) / 2)
        # The larger amplitude is real, so that nothing is divided by a small number.
        small = complex(x, y if z >= 0 else -y) / (2 * large)
        vector = np.kron(vector, [large, small] if z >= 0 else [small, large])
    return vector
