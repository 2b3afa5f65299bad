"""The gates that circuits and Qiskit both know: one table, read in both directions.

A rotation ``exp(-i angle P / 2)`` is a word here; Qiskit has names for some words, of which the first is the
one that is written. A controlled rotation is an evolution under commuting words. Letters are those of the
qubits in the order in which Qiskit lists them, the control first.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from qiskit.circuit import Gate, QuantumCircuit
from qiskit.circuit.library import PauliEvolutionGate, UnitaryGate
from qiskit.circuit.library import standard_gates as standard
from qiskit.quantum_info import SparsePauliOp

__all__ = [
    "CLIFFORDS",
    "EULER",
    "EVOLUTIONS",
    "IGNORED",
    "KNOWN",
    "QUARTER_TURNS",
    "ROTATIONS",
    "append",
]

IGNORED = {"barrier", "delay", "id", "global_phase"}
"""What changes no expectation value."""


@dataclass(frozen=True, slots=True)
class _Named:
    own: str
    """The name of a Clifford gate, or the letters of a rotation."""
    name: str
    """What Qiskit calls it."""
    make: type[Gate]


_CLIFFORDS = (
    _Named("X", "x", standard.XGate),
    _Named("Y", "y", standard.YGate),
    _Named("Z", "z", standard.ZGate),
    _Named("H", "h", standard.HGate),
    _Named("S", "s", standard.SGate),
    _Named("SDG", "sdg", standard.SdgGate),
    _Named("SX", "sx", standard.SXGate),
    _Named("SXDG", "sxdg", standard.SXdgGate),
    _Named("CNOT", "cx", standard.CXGate),
    _Named("CY", "cy", standard.CYGate),
    _Named("CZ", "cz", standard.CZGate),
    _Named("SWAP", "swap", standard.SwapGate),
    _Named("ISWAP", "iswap", standard.iSwapGate),
    _Named("ECR", "ecr", standard.ECRGate),
)
# Equal up to a global phase; of several with the same letters the first is written.
_ROTATIONS = (
    _Named("X", "rx", standard.RXGate),
    _Named("Y", "ry", standard.RYGate),
    _Named("Z", "rz", standard.RZGate),
    _Named("XX", "rxx", standard.RXXGate),
    _Named("YY", "ryy", standard.RYYGate),
    _Named("ZZ", "rzz", standard.RZZGate),
    _Named("ZX", "rzx", standard.RZXGate),
    _Named("Z", "p", standard.PhaseGate),
    _Named("Z", "u1", standard.U1Gate),
)
CLIFFORDS = {gate.name: gate.own for gate in _CLIFFORDS}
"""From Qiskit's names to those of `Circuit.clifford`."""
ROTATIONS = {gate.name: gate.own for gate in _ROTATIONS}
"""From Qiskit's names to the letters that a gate rotates about."""
EVOLUTIONS = {
    "crx": (("IX", 0.25), ("ZX", -0.25)),
    "cry": (("IY", 0.25), ("ZY", -0.25)),
    "crz": (("IZ", 0.25), ("ZZ", -0.25)),
    "cp": (("ZI", 0.25), ("IZ", 0.25), ("ZZ", -0.25)),
    "cu1": (("ZI", 0.25), ("IZ", 0.25), ("ZZ", -0.25)),
}
"""Gates ``exp(-i angle A)``, up to a global phase: the terms of A."""
EULER: dict[str, tuple[tuple[str, int, float, float], ...]] = {
    "u": (("Z", 2, 1.0, 0.0), ("Y", 0, 1.0, 0.0), ("Z", 1, 1.0, 0.0)),
    "u3": (("Z", 2, 1.0, 0.0), ("Y", 0, 1.0, 0.0), ("Z", 1, 1.0, 0.0)),
    "u2": (("Z", 1, 1.0, 0.0), ("Y", -1, 0.0, 0.5), ("Z", 0, 1.0, 0.0)),
    "r": (("Z", 1, -1.0, 0.0), ("X", 0, 1.0, 0.0), ("Z", 1, 1.0, 0.0)),
}
"""Gates of one qubit that are rotations one after the other: letter, which angle, its factor, what is added
in units of pi. No angle is -1."""

QUARTER_TURNS = {"t": math.pi / 4, "tdg": -math.pi / 4}
"""Rotations about Z."""
KNOWN: dict[str, type[Gate]] = {
    "t": standard.TGate,
    "tdg": standard.TdgGate,
    "crx": standard.CRXGate,
    "cry": standard.CRYGate,
    "crz": standard.CRZGate,
    "cp": standard.CPhaseGate,
    "cu1": standard.CU1Gate,
    "u": standard.UGate,
    "u3": standard.U3Gate,
    "u2": standard.U2Gate,
    "r": standard.RGate,
    **{gate.name: gate.make for gate in (*_CLIFFORDS, *_ROTATIONS)},
}
"""The class of each gate that is known by its name."""

_WRITTEN_CLIFFORDS = {gate.own: gate.make for gate in _CLIFFORDS}
_WRITTEN_ROTATIONS = {gate.own: gate.make for gate in reversed(_ROTATIONS)}


def append(circuit: QuantumCircuit, gate: Sequence[Any], angle: Any = None) -> None:  # noqa: ANN401 (or a Parameter)
    """Append a gate of an experiment or a setting, with another angle if one is given."""
    kind, what, more = gate
    if kind == "clifford":
        if what == "ISWAPDG":
            circuit.compose(standard.iSwapGate().inverse().definition, list(more), inplace=True)
        elif what != "I":
            circuit.append(_WRITTEN_CLIFFORDS[what](), list(more))
    elif kind == "unitary":
        # As gates, for transpilers may fail on matrices.
        circuit.compose(UnitaryGate(what).definition, list(reversed(more)), inplace=True)
    else:
        _append_rotation(circuit, what, more if angle is None else angle)


def _append_rotation(circuit: QuantumCircuit, word: Sequence[tuple[int, str]], angle: Any) -> None:  # noqa: ANN401
    qubits, letters = [qubit for qubit, _ in word], "".join(letter for _, letter in word)
    if letters in _WRITTEN_ROTATIONS:
        circuit.append(_WRITTEN_ROTATIONS[letters](angle), qubits)
    elif letters == "XZ":
        circuit.append(standard.RZXGate(angle), qubits[::-1])
    else:
        gate = PauliEvolutionGate(SparsePauliOp(letters[::-1]), time=angle / 2)
        circuit.compose(gate.definition, qubits, inplace=True)  # not every simulator knows the gate itself
