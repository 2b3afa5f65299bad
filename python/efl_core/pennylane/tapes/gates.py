"""The gates that circuits and PennyLane both know: one table, read in both directions.

A Clifford gate has one name here and one there. A rotation ``exp(-i angle P / 2)`` is a word here; PennyLane
has names for some words, of which the first is the one that is written.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import pennylane as qml
from pennylane.operation import Operator

__all__ = ["CLIFFORDS", "EULER", "ROTATIONS", "clifford", "rotation"]

Wires = Sequence[object]


@dataclass(frozen=True, slots=True)
class _Gate:
    own: str
    """The name of a Clifford gate, or the letters of a rotation."""
    name: str
    """What PennyLane calls it."""
    make: Callable[..., Operator]


_CLIFFORDS = (
    _Gate("I", "Identity", qml.Identity),
    _Gate("X", "PauliX", qml.X),
    _Gate("Y", "PauliY", qml.Y),
    _Gate("Z", "PauliZ", qml.Z),
    _Gate("H", "Hadamard", qml.H),
    _Gate("S", "S", qml.S),
    _Gate("SDG", "Adjoint(S)", lambda wires: qml.adjoint(qml.S(wires))),
    _Gate("SX", "SX", qml.SX),
    _Gate("SXDG", "Adjoint(SX)", lambda wires: qml.adjoint(qml.SX(wires))),
    _Gate("CNOT", "CNOT", qml.CNOT),
    _Gate("CY", "CY", qml.CY),
    _Gate("CZ", "CZ", qml.CZ),
    _Gate("SWAP", "SWAP", qml.SWAP),
    _Gate("ISWAP", "ISWAP", qml.ISWAP),
    _Gate("ISWAPDG", "Adjoint(ISWAP)", lambda wires: qml.adjoint(qml.ISWAP(wires))),
    _Gate("ECR", "ECR", qml.ECR),
)
# Equal up to a global phase; of several with the same letters the first is written.
_ROTATIONS = (
    _Gate("X", "RX", qml.RX),
    _Gate("Y", "RY", qml.RY),
    _Gate("Z", "RZ", qml.RZ),
    _Gate("XX", "IsingXX", qml.IsingXX),
    _Gate("YY", "IsingYY", qml.IsingYY),
    _Gate("ZZ", "IsingZZ", qml.IsingZZ),
    _Gate("Z", "PhaseShift", qml.PhaseShift),
    _Gate("Z", "U1", qml.U1),
)
_WRITTEN_CLIFFORDS = {gate.own: gate.make for gate in _CLIFFORDS}
_WRITTEN_ROTATIONS = {gate.own: gate.make for gate in reversed(_ROTATIONS)}

CLIFFORDS = {gate.name: gate.own for gate in _CLIFFORDS}
"""From PennyLane's names to those of `Circuit.clifford`."""
ROTATIONS = {gate.name: gate.own for gate in _ROTATIONS}
"""From PennyLane's names to the letters that a gate rotates about."""
EULER = {"Rot": "ZYZ"}
"""Gates of one wire that are rotations one after the other, an angle each."""


def clifford(name: str, wires: Wires) -> Operator:
    """Return PennyLane's operation for a Clifford gate."""
    return _WRITTEN_CLIFFORDS[name](wires=list(wires))


def rotation(letters: str, angle: float, wires: Wires) -> Operator:
    """Return PennyLane's operation for a rotation about a word."""
    if letters in _WRITTEN_ROTATIONS:
        return _WRITTEN_ROTATIONS[letters](angle, wires=list(wires))
    return qml.PauliRot(angle, letters, wires=list(wires))
