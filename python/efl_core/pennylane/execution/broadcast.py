"""Mode ``"broadcast"``: one tape with many angles for all product settings of a circuit with equal shots."""

from collections.abc import Callable, Hashable, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution.runs import Bits, Run
from efl_core.pennylane.execution.tapes import read_bits, sample_tape

__all__ = ["broadcast_tapes"]


def broadcast_tapes(
    runs: Sequence[Run], wires: Sequence[Hashable]
) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], list[Bits]]]:
    """Return a tape for all runs of a circuit with the same shots, and what takes results to bits."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, run in enumerate(runs):
        if not run.setting.is_product:
            raise InvalidInputError(
                'device_options: expected "tapes" or "state" for settings with two-qubit gates, got mode '
                '"broadcast"; add "connectivity": "none" to have product settings only'
            )
        groups.setdefault((id(run.program), run.shots), []).append(i)
    tapes = [
        sample_tape(
            [
                *runs[places[0]].program.operations,
                *_rotations([runs[i].setting for i in places], wires),
            ],
            wires,
            shots,
        )
        for (_, shots), places in groups.items()
    ]

    def bits_of(results: Sequence[Any]) -> list[Bits]:
        bits: dict[int, Bits] = {}
        for result, ((_, shots), places) in zip(results, groups.items(), strict=True):
            found = read_bits(result, shots * len(places), wires).reshape(len(places), shots, len(wires))
            for i, own in zip(places, found, strict=True):
                bits[i] = own ^ np.array([sign < 0 for sign, _ in runs[i].setting.measured], dtype=np.uint8)
        return [bits[i] for i in range(len(runs))]

    return tapes, bits_of


def _rotations(settings: Sequence[Setting], wires: Sequence[Hashable]) -> list[Operator]:
    """Return rotations with an angle for each setting."""
    # X is read as Z after RY(-pi/2), Y after RX(pi/2): one angle of each per qubit and setting.
    letters = np.array([[label[q] for q, (_, label) in enumerate(s.measured)] for s in settings])
    rotations: list[Operator] = []
    for q, wire in enumerate(wires):
        rotations.append(qml.RY(np.where(letters[:, q] == "X", -np.pi / 2, 0.0), wires=wire))
        rotations.append(qml.RX(np.where(letters[:, q] == "Y", np.pi / 2, 0.0), wires=wire))
    return rotations
