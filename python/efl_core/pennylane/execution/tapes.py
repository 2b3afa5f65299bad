"""Mode ``"tapes"``: a tape of samples for each circuit and setting, with its own shots.

A setting is rotated to by Clifford gates only (H, S, their inverses, CNOT, CZ ...).
"""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution.runs import Bits, Run
from efl_core.pennylane.tapes.writing import setting_operations

__all__ = ["plain_tapes", "read_bits", "sample_tape"]


def plain_tapes(
    runs: Sequence[Run], wires: Sequence[Hashable]
) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], list[Bits]]]:
    """Return a tape for every run, and what takes their results to bits."""
    tapes = [
        sample_tape([*run.program.operations, *setting_operations(run.setting, wires)], wires, run.shots)
        for run in runs
    ]

    def bits_of(results: Sequence[Any]) -> list[Bits]:
        return [read_bits(result, run.shots, wires) for result, run in zip(results, runs, strict=True)]

    return tapes, bits_of


def sample_tape(operations: Sequence[Operator], wires: Sequence[Hashable], shots: int) -> QuantumScript:
    """Return a tape of samples of all wires."""
    return QuantumScript(operations, [qml.sample(wires=wires)], shots=shots, trainable_params=[])


def read_bits(result: Any, shots: int, wires: Sequence[Hashable]) -> Bits:  # noqa: ANN401
    """Return the samples of a device, checked."""
    found = np.asarray(qml.math.unwrap(qml.math.toarray(result)))
    if found.size != shots * len(wires):
        raise InvalidInputError(
            f"device: expected {shots} shots of {len(wires)} wires, got an array of shape {found.shape}"
        )
    return np.ascontiguousarray(found.reshape(shots, len(wires)), dtype=np.uint8)
