"""A table of what gates cost: the least that says how noisy a device is.

After every gate the device does something by itself: with some probability a Pauli error on the qubits of the
gate, all of them alike, and relaxation while the gate takes its time. A circuit that says so has the values
of the noisy device, and its gradient observables are those of the noisy value; see `Circuit.noise`.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import described, real
from efl_core.circuits import Circuit, check_circuit
from efl_core.errors import InputTypeError, InvalidInputError

__all__ = ["Noise", "depolarising", "fewest", "gate_wires", "relaxation"]

PAULIS = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex)


@dataclass(frozen=True, slots=True)
class Noise:
    """What a device does by itself after a gate: Pauli errors, and relaxation for as long as the gate takes.

    Any Pauli error but the identity is as likely as any other: 3 on one qubit, 15 on two. A probability of
    3/4, or of 15/16, leaves nothing. With ``t1`` and ``t2`` the qubits of the gate relax towards 0 besides,
    for the time that it takes; qubits that wait do not.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.3]).ry(efl.Parameter(0), 0).clifford("CNOT", 0, 1)
    >>> noisy = efl.Noise(two_qubit=0.015).on(circuit)
    >>> bool(np.isclose(efl.propagate(noisy, "ZI").value, (1 - 16 / 15 * 0.015) * np.cos(0.3)))
    True
    >>> slow = efl.Noise(t1=100e-6, t2=80e-6, two_qubit_time=0.4e-6).on(circuit)
    >>> bool(efl.propagate(slow, "ZI").value > np.exp(-0.4 / 100) * np.cos(0.3))
    True
    """

    one_qubit: float = 0.0
    """Probability of a Pauli error after a gate on one qubit."""
    two_qubit: float = 0.0
    """The same after a gate on two qubits."""
    t1: float = math.inf
    """Seconds in which a 1 decays to 1/e."""
    t2: float = math.inf
    """Seconds in which a coherence decays to 1/e; at most twice ``t1``."""
    one_qubit_time: float = 0.0
    """Seconds that a gate on one qubit takes."""
    two_qubit_time: float = 0.0
    """The same on two qubits."""
    twirled: bool = False
    """Whether the device randomises its gates so that relaxation acts as Pauli errors do."""

    def __post_init__(self) -> None:
        for name, most in (("one_qubit", 0.75), ("two_qubit", 15 / 16)):
            value = real(name, getattr(self, name))
            if not 0 <= value < most:
                raise InvalidInputError.of(name, f"a probability from 0 to below {most:g}", value)
            object.__setattr__(self, name, value)
        for name in ("t1", "t2"):
            value = real(name, getattr(self, name))
            if not value > 0:
                raise InvalidInputError.of(name, "seconds, a number above zero", value)
            object.__setattr__(self, name, value)
        if self.t2 > 2 * self.t1:
            if math.isfinite(self.t2):
                raise InvalidInputError.of("t2", f"at most twice t1, {2 * self.t1:g}", self.t2)
            object.__setattr__(self, "t2", 2 * self.t1)  # nothing but the decay
        for name in ("one_qubit_time", "two_qubit_time"):
            value = real(name, getattr(self, name))
            if not 0 <= value < math.inf:
                raise InvalidInputError.of(name, "seconds, a number that is not negative", value)
            object.__setattr__(self, name, value)
        if not isinstance(self.twirled, bool):
            raise InputTypeError.of("twirled", "True or False", described(self.twirled))

    def after(self, n_wires: int) -> list[NDArray[np.complex128]]:
        """Return the Kraus operators of what follows a gate on so many wires; none where nothing does."""
        if n_wires not in (1, 2):
            raise InvalidInputError.of("noise", "gates on one or two qubits", f"a gate on {n_wires}")
        probability, time = (
            (self.one_qubit, self.one_qubit_time) if n_wires == 1 else (self.two_qubit, self.two_qubit_time)
        )
        found = depolarising(n_wires, probability) if probability else []
        if time and math.isfinite(self.t1 + self.t2):
            each = relaxation(time, self.t1, self.t2, twirled=self.twirled)
            both = each if n_wires == 1 else [np.kron(a, b) for a in each for b in each]
            found = fewest([b @ a for a in found or [np.eye(2**n_wires, dtype=complex)] for b in both])
        return found

    def on(self, circuit: Circuit) -> Circuit:
        """Return the circuit on the noisy device: its gates, each followed by what the device does."""
        check_circuit(circuit)
        made = Circuit(circuit.n_qubits, circuit.parameters)
        for value in circuit.inputs:
            made.input(value)
        for kind, arguments in circuit._gates:
            made._add(kind, *arguments)
            if kind in ("channel", "noise"):
                continue
            wires = gate_wires(kind, arguments)
            if wires and (kraus := self.after(len(wires))):
                made.noise(kraus, *wires)
        made.prepare(circuit.bloch)
        made.observables, made.wires = circuit.observables, circuit.wires
        return made


def depolarising(n_wires: int, probability: float) -> list[NDArray[np.complex128]]:
    """Return the Kraus operators of a Pauli error, any but the identity, with some probability."""
    words = PAULIS if n_wires == 1 else np.array([np.kron(a, b) for a in PAULIS for b in PAULIS])
    each = np.full(len(words), probability / (len(words) - 1))
    each[0] = 1 - probability
    return [np.sqrt(p) * word for p, word in zip(each, words, strict=True)]


def relaxation(time: float, t1: float, t2: float, *, twirled: bool = False) -> list[NDArray[np.complex128]]:
    """Return the Kraus operators of a qubit that relaxes towards 0 for some time, or their Pauli twirl."""
    kept, coherent = math.exp(-time / t1), math.exp(-time / t2)
    if twirled:
        flip, phase = (1 - kept) / 4, (1 + kept - 2 * coherent) / 4
        each = np.array([1 - 2 * flip - phase, flip, flip, phase])
        return [np.sqrt(p) * letter for p, letter in zip(each, PAULIS, strict=True) if p > 0]
    left = coherent**2 / kept  # of a coherence's square, beside the decay
    decay = np.array([[0, math.sqrt(1 - kept)], [0, 0]], dtype=complex)
    stays = [np.diag([1, math.sqrt(kept * left)]), np.diag([0, math.sqrt(kept * max(1 - left, 0.0))])]
    return [np.asarray(k, dtype=complex) for k in (*stays, decay)]


def fewest(kraus: Sequence[NDArray[np.complex128]]) -> list[NDArray[np.complex128]]:
    """Return the fewest Kraus operators of the same channel: the eigenvectors of its Choi matrix."""
    columns = np.array([k.ravel() for k in kraus])
    weights, vectors = np.linalg.eigh(columns.T @ columns.conj())
    shape = kraus[0].shape
    return [
        np.sqrt(w) * v.reshape(shape)
        for w, v in zip(weights[::-1], vectors.T[::-1], strict=True)
        if w > 1e-15
    ]


def gate_wires(kind: str, arguments: tuple[Any, ...]) -> list[int]:
    """Return the qubits that a gate of a circuit touches."""
    if kind == "rotation":
        return [q for q, letter in enumerate(arguments[0].label) if letter != "I"]
    if kind == "evolution":
        touched = np.zeros(arguments[0].n_qubits, dtype=bool)
        for word, _ in arguments[0].terms():
            touched |= np.array([letter != "I" for letter in word.label])
        return [int(q) for q in np.flatnonzero(touched)]
    return list(arguments[-1])
