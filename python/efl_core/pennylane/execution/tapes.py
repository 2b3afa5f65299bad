"""Mode ``"tapes"``: a tape of samples for each circuit and setting, with its own shots.

Where the readout is calibrated a run is shared by tapes that flip qubits before it.

A setting is rotated to by Clifford gates only (H, S, their inverses, CNOT, CZ ...).
"""

import math
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

__all__ = ["Twirl", "balanced", "flip_patterns", "plain_tapes", "read_bits", "sample_tape"]


@dataclass(frozen=True, slots=True)
class Twirl:
    """Flips before the readout, undone in the bits: a parity then keeps one number, its contrast."""

    patterns: int | None
    """Tapes that the shots of a run are shared by; None for `balanced`, if it has the shots."""
    seed: int
    calibrated: bool
    """Whether there is a calibration; without one nothing is flipped."""
    equal: bool
    """Whether all tapes have the same shots."""

    def tapes_per_run(self, n_qubits: int) -> int:
        """Return the most tapes that the shots of a run are shared by."""
        if not self.calibrated:
            return 1
        return balanced(n_qubits) if self.patterns is None else self.patterns

    def count(self, n_qubits: int, shots: int) -> int:
        """Return how many tapes the shots of a run are shared by."""
        count = min(self.tapes_per_run(n_qubits), shots)
        while self.equal and shots % count:
            count -= 1
        return count


def balanced(n_qubits: int) -> int:
    """Return how many patterns of flips make all parities of up to three qubits come equally often."""
    return int(2 * 2 ** math.ceil(math.log2(max(1, n_qubits))))


def flip_patterns(count: int, n_qubits: int, random: np.random.Generator) -> NDArray[np.uint8]:
    """Return patterns of flips, shape ``(count, n_qubits)``: each by itself is uniformly random.

    In each ``balanced(n_qubits)`` of them any three qubits are flipped in all ways alike: what an unequal
    confusion of 0 and 1 adds to a parity cancels there, but for what four qubits add together.
    """
    size = balanced(n_qubits)
    row, column = np.arange(size)[:, np.newaxis], np.arange(n_qubits)[np.newaxis, :]
    # A linear code: columns (1, binary number), of which any three are independent.
    overlap = row & (2 * column + 1)
    code = np.zeros_like(overlap)
    while overlap.any():
        code, overlap = code ^ (overlap & 1), overlap >> 1
    blocks = []
    for _ in range(math.ceil(count / size)):
        turned = code ^ random.integers(0, 2, size=n_qubits)
        blocks.append(turned[random.permutation(size)])
    return np.concatenate(blocks)[:count].astype(np.uint8)


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
        flips = flip_patterns(twirl.count(len(wires), run.shots), len(wires), random)
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
