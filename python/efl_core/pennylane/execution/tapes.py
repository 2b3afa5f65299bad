"""Mode ``"tapes"``: a tape of samples for each circuit and setting, with its own shots.

Where the readout is calibrated a run is shared by tapes that flip qubits before it.

A setting is rotated to by Clifford gates only (H, S, their inverses, CNOT, CZ ...).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution.runs import Bits, Run
from efl_core.pennylane.tapes.writing import setting_operations

__all__ = ["Twirl", "flip_patterns", "plain_tapes", "read_bits", "sample_tape"]


@dataclass(frozen=True, slots=True)
class Twirl:
    """Random flips before the readout, undone in the bits: a parity then keeps one number, its contrast."""

    patterns: int
    """Tapes that the shots of a run are shared by, in pairs of opposite flips."""
    seed: int
    calibrated: bool
    """Whether there is a calibration; without one nothing is flipped."""


def flip_patterns(count: int, n_qubits: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return patterns of flips in random pairs of opposites, shape ``(count, n_qubits)``.

    In a pair what an unequal confusion of 0 and 1 adds to a parity cancels to first order, whatever was
    drawn.
    """
    half = random.integers(0, 2, size=((count + 1) // 2, n_qubits), dtype=np.uint8)
    return np.stack([half, 1 - half], axis=1).reshape(-1, n_qubits)[:count]


def plain_tapes(
    runs: Sequence[Run], wires: Sequence[Hashable], twirl: Twirl | None = None
) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], list[Bits]]]:
    """Return a tape for every run, or for every pattern of flips, and what takes their results to bits."""
    written = [[*run.program.operations, *setting_operations(run.setting, wires)] for run in runs]
    if twirl is None or not twirl.calibrated:
        tapes = [
            sample_tape(operations, wires, run.shots) for operations, run in zip(written, runs, strict=True)
        ]
        return tapes, lambda results: [
            read_bits(result, run.shots, wires) for result, run in zip(results, runs, strict=True)
        ]
    random = np.random.default_rng(twirl.seed)
    tapes, parts = [], []
    for operations, run in zip(written, runs, strict=True):
        flips = flip_patterns(min(twirl.patterns, run.shots), len(wires), random)
        each, more = divmod(run.shots, len(flips))
        sizes = [each + (i < more) for i in range(len(flips))]
        for row, size in zip(flips, sizes, strict=True):
            turned = [qml.X(wire) for wire, flip in zip(wires, row, strict=True) if flip]
            tapes.append(sample_tape([*operations, *turned], wires, size))
        parts.append((flips, sizes))

    def bits_of(results: Sequence[Any]) -> list[Bits]:
        taken = iter(results)
        return [
            np.concatenate(
                [read_bits(next(taken), size, wires) ^ row for row, size in zip(flips, sizes, strict=True)]
            )
            for flips, sizes in parts
        ]

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
