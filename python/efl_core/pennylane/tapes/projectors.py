"""Projectors that are too wide for Pauli words: multiples of ``|target><target|`` on all wires of a circuit.

Narrower ones are expanded in words like any other matrix. These have ``2**n`` words or more, each of which
says next to nothing; as whole-state questions they need as few shots as one word.

Invariant: the target is normalised, its first qubit the most significant.
Cost: ``2**n`` numbers; a matrix of ``4**n`` is looked at once, to see whether it is a projector.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.measurements import ExpectationMP, MeasurementProcess
from pennylane.operation import Operator

from efl_core.errors import InvalidInputError
from efl_core.pennylane.tapes.observables import MAX_EXPANDED_WIRES, ROUNDING
from efl_core.pennylane.tapes.tracing import described

__all__ = ["WideProjector", "has_projector", "read_projectors"]


@dataclass(frozen=True, slots=True, eq=False)
class WideProjector:
    """A multiple of a projector on a vector."""

    factor: float
    target: NDArray[np.complex128]


def has_projector(measurements: Sequence[MeasurementProcess]) -> bool:
    """Say whether a tape asks for the value of a projector that is too wide for words."""
    return any(_is_wide(m) and _read(m.obs) is not None for m in measurements)


def read_projectors(
    measurements: Sequence[MeasurementProcess], wires: Sequence[Hashable]
) -> list[WideProjector]:
    """Return the projectors that a tape asks for; refuse other measurements beside them."""
    found = []
    for measurement in measurements:
        own = _read(measurement.obs) if _is_wide(measurement) else None
        if own is None:
            raise InvalidInputError(
                f"tape: expected nothing but projectors beside one of more than {MAX_EXPANDED_WIRES} wires, "
                f"which are measured in bases of their own, got {described(measurement)}; measure it in "
                "another QNode"
            )
        labels = list(measurement.obs.wires)
        if set(labels) != set(wires):
            raise InvalidInputError(
                f"tape: expected a projector on at most {MAX_EXPANDED_WIRES} wires, or on all {len(wires)} "
                f"of the circuit, got {described(measurement)} on {len(labels)} wires"
            )
        factor, vector = own
        tensor = vector.reshape((2,) * len(labels)).transpose([labels.index(wire) for wire in wires])
        found.append(WideProjector(factor, np.ascontiguousarray(tensor.reshape(-1))))
    return found


def _is_wide(measurement: MeasurementProcess) -> bool:
    observable = measurement.obs if isinstance(measurement, ExpectationMP) else None
    return observable is not None and len(observable.wires) > MAX_EXPANDED_WIRES


def _read(operator: Operator) -> tuple[float, NDArray[np.complex128]] | None:
    """Return the factor and the vector of a multiple of a projector; None of another operator."""
    if isinstance(operator, qml.ops.SProd):
        own = _read(operator.base)
        scalar = complex(qml.math.unwrap(qml.math.toarray(operator.scalar)))
        return None if own is None or scalar.imag else (scalar.real * own[0], own[1])
    if not isinstance(operator, (qml.Projector, qml.Hermitian)):
        return None
    data = np.asarray(qml.math.unwrap(qml.math.toarray(operator.data[0])))
    if isinstance(operator, qml.Hermitian):
        return _of_matrix(data.astype(np.complex128))
    if data.shape == (len(operator.wires),):
        vector = np.zeros(1 << len(data), dtype=np.complex128)
        vector[int("".join(str(int(bit)) for bit in data), 2)] = 1
        return 1.0, vector
    return 1.0, data.astype(np.complex128)


def _of_matrix(matrix: NDArray[np.complex128]) -> tuple[float, NDArray[np.complex128]] | None:
    """Return the only eigenvalue of a matrix that is not zero, and its vector; None if there are several."""
    column = matrix[:, int(np.argmax(np.abs(np.diag(matrix))))]
    length = float(np.linalg.norm(column))
    if length == 0:
        return None
    vector, value = column / length, float(np.trace(matrix).real)
    rest = np.abs(matrix - value * np.outer(vector, vector.conj())).max()
    return (value, vector) if rest <= ROUNDING * abs(value) else None
