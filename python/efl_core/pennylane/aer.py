"""Noise models of Qiskit's Aer as noise models of PennyLane.

Errors after gates become channels on their wires, exactly, or as their Pauli twirl; errors of readouts become
channels before measurements. A gate that the model does not list is compiled into others by Aer, with other
noise, and is refused. Qiskit is not imported: the model is read as it is.

Invariant: the same model, unchanged, is the same noise model, so that plans with it are kept.
"""

import weakref
from collections.abc import Hashable, Sequence
from itertools import product
from typing import Any, TypeAlias

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.measurements import MeasurementProcess
from pennylane.operation import Operator

from efl_core.errors import InvalidInputError
from efl_core.noise import PAULIS, fewest
from efl_core.pennylane.tapes.tracing import described

__all__ = ["AerNoise", "from_aer", "is_aer"]

Kraus: TypeAlias = list[NDArray[np.complex128]]
Errors: TypeAlias = dict[str, dict[tuple[int, ...] | None, Kraus]]
# As PennyLane's plugin of Qiskit writes them.
GATES = {
    "CCZ": "ccz",
    "CH": "ch",
    "CNOT": "cx",
    "CPhase": "cp",
    "CRX": "crx",
    "CRY": "cry",
    "CRZ": "crz",
    "CY": "cy",
    "CZ": "cz",
    "ECR": "ecr",
    "Hadamard": "h",
    "ISWAP": "iswap",
    "IsingXX": "rxx",
    "IsingYY": "ryy",
    "IsingZZ": "rzz",
    "PauliX": "x",
    "PauliY": "y",
    "PauliZ": "z",
    "PhaseShift": "p",
    "QubitUnitary": "unitary",
    "RX": "rx",
    "RY": "ry",
    "RZ": "rz",
    "S": "s",
    "Adjoint(S)": "sdg",
    "SWAP": "swap",
    "SX": "sx",
    "Adjoint(SX)": "sxdg",
    "T": "t",
    "Adjoint(T)": "tdg",
    "U1": "u1",
    "U2": "u2",
    "U3": "u3",
}
# What no device runs as a gate.
SILENT = ("Identity", "GlobalPhase", "Barrier", "Snapshot", "WireCut")
_known: dict[tuple[int, bool], tuple["weakref.ref[Any]", tuple[Any, ...], "AerNoise"]] = {}


class AerNoise(qml.NoiseModel):  # type: ignore[misc]
    """A noise model that knows which gates the device runs as they are."""

    def __init__(self, model_map: Any, meas_map: Any, basis: tuple[str, ...]) -> None:  # noqa: ANN401 (PennyLane's)
        super().__init__(model_map, meas_map=meas_map)
        self.basis = basis

    def lists(self, op: Operator) -> bool:
        """Say whether an operation runs as it is."""
        return GATES.get(op.name) in self.basis


def is_aer(value: object) -> bool:
    """Say whether this is a noise model of Aer, of any version."""
    kind = type(value)
    return kind.__name__ == "NoiseModel" and kind.__module__.partition(".")[0] == "qiskit_aer"


def from_aer(model: Any, *, twirled: bool = False) -> AerNoise:  # noqa: ANN401 (of Qiskit)
    """Return a noise model of Aer as one of PennyLane; errors of gates as their Pauli twirl if asked for.

    Wires that are numbers are the qubits of these numbers, for errors that only some qubits have.
    """
    parts = _parts(model)
    seen = tuple(
        (name, where, id(error))
        for own in parts
        for name, table in own.items()
        for where, error in table.items()
    )
    seen = (*seen, *model.basis_gates)
    key = (id(model), twirled)
    kept = _known.get(key)
    if kept is not None and kept[0]() is model and kept[1] == seen:
        return kept[2]
    found = _converted(parts, tuple(model.basis_gates), twirled)
    _known[key] = (weakref.ref(model, lambda _: _known.pop(key, None)), seen, found)
    return found


def _parts(model: Any) -> list[dict[str, dict[tuple[int, ...] | None, Any]]]:  # noqa: ANN401 (of Qiskit)
    """Return the errors of gates, by name and qubits (None: all others), and those of readouts."""
    try:
        gates = {name: dict(table) for name, table in model._local_quantum_errors.items()}
        for name, error in model._default_quantum_errors.items():
            gates.setdefault(name, {})[None] = error
        readout = dict(model._local_readout_errors)
        if model._default_readout_error is not None:
            readout[None] = model._default_readout_error
    except AttributeError as error:
        raise InvalidInputError(
            f"noise: expected a noise model as Aer 0.13 to 0.17 has them, got another ({error}); "
            "write it as a qml.NoiseModel"
        ) from error
    return [gates, {"measure": readout} if readout else {}]


def _converted(
    parts: list[dict[str, dict[tuple[int, ...] | None, Any]]], basis: tuple[str, ...], twirled: bool
) -> AerNoise:
    gates, readouts = parts
    errors = {
        name: {where: _kraus(error, twirled) for where, error in table.items()}
        for name, table in gates.items()
    }
    confusions = {
        where: np.asarray(error.probabilities) for where, error in readouts.get("measure", {}).items()
    }

    def is_run(op: Operator) -> bool:
        kept = (qml.operation.Channel, qml.operation.StatePrepBase)
        return not isinstance(op, kept) and op.name not in SILENT

    def after(op: Operator, **_: object) -> None:
        name = GATES.get(op.name)
        if name not in basis:
            raise InvalidInputError(
                f"noise: expected gates that the noise model of Aer lists ({', '.join(sorted(basis))}), got "
                f"{described(op)}, which Aer compiles into them; write these, or give the model its noise"
            )
        table = errors.get(name, {})
        kraus = _of(table, op.wires)
        if kraus is not None:
            if len(kraus[0]) != 2 ** len(op.wires):
                raise InvalidInputError(
                    f"noise: expected errors on the wires of {described(op)}, got one on more qubits"
                )
            qml.QubitChannel(kraus, wires=op.wires)

    def before(mp: MeasurementProcess, **_: object) -> None:
        wires = list(mp.wires)
        joint = [where for where in confusions if where is not None and len(where) > 1]
        for where in joint:
            if set(where) <= set(wires):
                qml.QubitChannel(_confused(confusions[where]), wires=[*where])
        for wire in wires:
            if not any(wire in where for where in joint):
                table = _of(confusions, [wire])
                if table is not None:
                    qml.QubitChannel(_confused(table), wires=wire)

    maps = {qml.BooleanFn(is_run, name="is_run"): after}
    read = {qml.BooleanFn(lambda _: True, name="is_read"): before} if confusions else None
    return AerNoise(maps, read, basis)


def _of(table: dict[tuple[int, ...] | None, Any], wires: Sequence[Hashable]) -> Any:  # noqa: ANN401 (Kraus operators, or a table)
    """Return the entry of some wires: their own, or that of all."""
    local = [where for where in table if where is not None]
    if local and not all(isinstance(wire, (int, np.integer)) for wire in wires):
        raise InvalidInputError(
            "noise: expected wires that are numbers, as the noise model of Aer has errors of qubits by "
            f"number, got {list(wires)}"
        )
    return table.get(tuple(wires), table.get(None)) if local else table.get(None)  # type: ignore[arg-type]


def _kraus(error: Any, twirled: bool) -> Kraus:  # noqa: ANN401 (of Qiskit)
    """Return the Kraus operators of an error, its first qubit the most significant."""
    columns = np.asarray(error.to_quantumchannel().data)  # of vec(rho), column by column
    size = round(len(columns) ** 0.5)
    width = size.bit_length() - 1
    # columns[(j, i), (l, k)] is what |k><l| leaves of |i><j|; reversed bits put the first qubit in front.
    turned = [int(f"{i:0{width}b}"[::-1], 2) for i in range(size)]
    table = columns.reshape(size, size, size, size)[np.ix_(turned, turned, turned, turned)]
    choi = table.transpose(1, 3, 0, 2).reshape(size**2, size**2)  # (i, k), (j, l)
    weights, vectors = np.linalg.eigh(choi)
    found = [
        np.sqrt(w) * v.reshape(size, size)
        for w, v in zip(weights[::-1], vectors.T[::-1], strict=True)
        if w > 1e-15
    ]
    return _twirl(found) if twirled else found


def _twirl(kraus: Kraus) -> Kraus:
    """Return the Pauli errors that randomised Pauli gates around a channel make of it."""
    size = len(kraus[0])
    words = [np.eye(1, dtype=complex)]
    while len(words[0]) < size:
        words = [np.kron(word, letter) for word, letter in product(words, PAULIS)]
    chances = [sum(abs(np.trace(word.conj().T @ k)) ** 2 for k in kraus) / size**2 for word in words]
    return fewest([np.sqrt(p) * word for p, word in zip(chances, words, strict=True) if p > 0])


def _confused(table: NDArray[np.float64]) -> Kraus:
    """Return what happens to bits that are read with these probabilities, row by row of what they are."""
    size = len(table)
    width = size.bit_length() - 1
    turned = [int(f"{i:0{width}b}"[::-1], 2) for i in range(size)]
    probabilities = table[np.ix_(turned, turned)]
    found = []
    for was, read in product(range(size), repeat=2):
        if probabilities[was, read] > 0:
            kraus = np.zeros((size, size), dtype=complex)
            kraus[read, was] = np.sqrt(probabilities[was, read])
            found.append(kraus)
    return found
