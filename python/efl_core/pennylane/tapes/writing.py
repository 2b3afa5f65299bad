"""From the gates of a circuit, its input and its settings to PennyLane's operations.

Only what every device knows is written: Clifford gates, rotations, matrices on few wires.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Protocol

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.circuits import Circuit
from efl_core.ensembles import Setting
from efl_core.pennylane.tapes.gates import clifford, rotation

__all__ = ["Gates", "Writer", "setting_operations"]

ROUNDING = 1e-12


def setting_operations(setting: Setting, wires: Sequence[Hashable]) -> list[Operator]:
    """Return the gates after which a setting is a measurement of Z on every wire."""
    return [clifford(name, [wires[q] for q in qubits]) for name, *qubits in setting.gates]


class Gates(Protocol):
    """What is run."""

    def gates(self) -> list[tuple[Any, ...]]:
        """Return gates as `Experiment.gates` does."""


@dataclass(frozen=True, eq=False)
class Writer:
    """Writes the circuits of experiments, which begin with the input of a tape and share its wires."""

    tape: QuantumScript
    circuit: Circuit

    @cached_property
    def _prepared(self) -> list[Operator]:
        return _preparation(self.tape, self.circuit.bloch, self.circuit.wires)

    @cached_property
    def _known(self) -> dict[Hashable, Operator]:
        """Operations that were written: circuits have most of them in common."""
        return {}

    def operations(self, experiment: Gates) -> list[Operator]:
        """Return the operations of an experiment, without those of its setting."""
        return [*self._prepared, *map(self._operation, experiment.gates())]

    def _operation(self, gate: tuple[Any, ...]) -> Operator:
        kind, what, more = gate
        wires = self.circuit.wires
        if kind == "channel":
            return qml.QubitChannel(what, wires=[wires[q] for q in more])
        if kind == "unitary":
            return qml.QubitUnitary(what, wires=[wires[q] for q in more])
        key = (kind, tuple(what), more if kind == "rotation" else tuple(more))
        if key not in self._known:
            self._known[key] = (
                clifford(what, [wires[q] for q in more])
                if kind == "clifford"
                else rotation("".join(letter for _, letter in what), more, [wires[q] for q, _ in what])
            )
        return self._known[key]


def _preparation(
    tape: QuantumScript, bloch: NDArray[np.float64] | None, wires: Sequence[Hashable]
) -> list[Operator]:
    """Return the operations that prepare the input of a tape: a product state by rotations."""
    if bloch is None:
        return [op for op in tape.operations if isinstance(op, qml.operation.StatePrepBase)]
    operations: list[Operator] = []
    for (x, y, z), wire in zip(bloch, wires, strict=True):
        if z >= 1 - ROUNDING:
            continue
        if z <= -1 + ROUNDING:
            operations.append(qml.X(wire))
            continue
        operations.append(qml.RY(float(np.arccos(z)), wires=wire))
        operations.append(qml.RZ(float(np.arctan2(y, x)), wires=wire))
    return operations
