"""A table of what gates cost: the least that says how noisy a device is.

After every gate the device does something by itself: with some probability a Pauli error on the qubits of the
gate, all of them alike. A circuit that says so has the expectation values of the noisy device, and its
gradient observables are those of the noisy value; see `Circuit.noise`.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import real
from efl_core.circuits import Circuit, check_circuit
from efl_core.errors import InvalidInputError

__all__ = ["Noise", "depolarising"]

PAULIS = np.array([[[1, 0], [0, 1]], [[0, 1], [1, 0]], [[0, -1j], [1j, 0]], [[1, 0], [0, -1]]], dtype=complex)


@dataclass(frozen=True, slots=True)
class Noise:
    """The probability of a Pauli error after a gate on one qubit, and on two.

    Any error but the identity is as likely as any other: 3 on one qubit, 15 on two. A probability of 3/4,
    or of 15/16, leaves nothing.

    Examples
    --------
    >>> import efl_core as efl
    >>> circuit = efl.Circuit(2, parameters=[0.3]).ry(efl.Parameter(0), 0).clifford("CNOT", 0, 1)
    >>> noisy = efl.Noise(two_qubit=0.015).on(circuit)
    >>> bool(np.isclose(efl.propagate(noisy, "ZI").value, (1 - 16 / 15 * 0.015) * np.cos(0.3)))
    True
    """

    one_qubit: float = 0.0
    """After a gate on one qubit."""
    two_qubit: float = 0.0
    """After a gate on two qubits."""

    def __post_init__(self) -> None:
        for name, most in (("one_qubit", 0.75), ("two_qubit", 15 / 16)):
            value = real(name, getattr(self, name))
            if not 0 <= value < most:
                raise InvalidInputError.of(name, f"a probability from 0 to below {most:g}", value)
            object.__setattr__(self, name, value)

    def after(self, n_wires: int) -> list[NDArray[np.complex128]]:
        """Return the Kraus operators of what follows a gate on so many wires; none where nothing does."""
        if n_wires not in (1, 2):
            raise InvalidInputError.of("noise", "gates on one or two qubits", f"a gate on {n_wires}")
        probability = self.one_qubit if n_wires == 1 else self.two_qubit
        return depolarising(n_wires, probability) if probability else []

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
            wires = _wires(kind, arguments)
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


def _wires(kind: str, arguments: tuple[Any, ...]) -> list[int]:
    """Return the qubits that a gate of a circuit touches."""
    if kind == "rotation":
        return [q for q, letter in enumerate(arguments[0].label) if letter != "I"]
    if kind == "evolution":
        touched = np.zeros(arguments[0].n_qubits, dtype=bool)
        for word, _ in arguments[0].terms():
            touched |= np.array([letter != "I" for letter in word.label])
        return [int(q) for q in np.flatnonzero(touched)]
    return list(arguments[-1])
