"""Whether a state is a target, on devices that sample: turned until the target is read bit by bit."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator

from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution.runs import Bits, Program, Question, Run
from efl_core.pennylane.tapes.projectors import WideProjector

__all__ = ["Asked", "asked", "check_product"]

ROUNDING = 1e-12


@dataclass(frozen=True, slots=True, eq=False)
class Asked:
    """A run in the place of a question."""

    qubits: tuple[int, ...]
    pattern: tuple[int, ...]
    """What these qubits read where the answer is yes."""
    runs: list[Run]

    def outcome(self, bits: Sequence[Bits]) -> Bits:
        """Return the answers, given the bits of the run."""
        [own] = bits
        agree: NDArray[np.bool_] = (own[:, list(self.qubits)] == self.pattern).all(axis=1, keepdims=True)
        return agree.astype(np.uint8)


def check_product(target: WideProjector) -> None:
    """Refuse a target that rotations of single qubits do not turn into a basis state."""
    if target.bits is None and target.parts is None:
        raise InvalidInputError(
            "tape: expected a projector on a basis state, or on a product of states of single qubits, which "
            "any device can read, got one on another vector; write the inverse of the gates that prepare the "
            "vector at the end of the circuit (qml.adjoint), and return "
            "qml.expval(qml.Projector([0] * n, wires)) there"
        )


def asked(job: Question, wires: Sequence[Hashable]) -> Asked:
    """Return what is run."""
    check_product(job.target)
    pattern, turns = [], []
    for qubit, state in zip(job.target.qubits, job.target.parts or (), strict=True):
        bit, own = _turned(state, wires[qubit])
        pattern.append(bit)
        turns += own
    program = Program(lambda: [*job.program.operations, *turns])
    setting = Setting.from_gates(len(wires), [])
    return Asked(job.target.qubits, tuple(pattern), [Run(program, setting, job.shots)])


def _turned(state: NDArray[np.complex128], wire: Hashable) -> tuple[int, list[Operator]]:
    """Return the bit that says that a qubit is in a state, after rotations."""
    sizes = np.abs(state)
    if sizes.min() < ROUNDING:
        return int(np.argmax(sizes)), []
    phase = float(np.angle(state[1]) - np.angle(state[0]))
    angle = 2 * float(np.arctan2(sizes[1], sizes[0]))
    return 0, [qml.RZ(-phase, wires=wire), qml.RY(-angle, wires=wire)]
