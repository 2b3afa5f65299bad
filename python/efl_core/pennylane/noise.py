"""What a device does by itself, as PennyLane's users say it, and what follows for what is read.

A noise model, PennyLane's own or a table, puts operations after those of a tape: the circuit of the tape gets
them as noise, and is measured without them, as the device adds them. The gates of settings are noisy too:
what they leave of a word is its contrast, and so is what the readout leaves.

Cost: PennyLane's transform for every different operation of a tape, whose result is kept while the tape is
read.
"""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core import _native
from efl_core.calibrations import Calibration
from efl_core.circuits import Circuit
from efl_core.designs import Connectivity
from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.experiments import Experiment
from efl_core.noise import PAULIS, Noise
from efl_core.observables import PauliSum, PauliWord
from efl_core.pennylane.aer import SILENT, AerNoise, from_aer, is_aer
from efl_core.pennylane.tapes.operations import kraus_matrices
from efl_core.pennylane.tapes.tracing import described
from efl_core.pennylane.tapes.writing import setting_operations
from efl_core.propagation import propagate

__all__ = [
    "Correction",
    "NoiseLike",
    "added_noise",
    "connectivity_of",
    "noise_after",
    "noise_model",
    "read_noise",
]

# A model without noise, to see what PennyLane makes of an operation before it looks for some.
QUIET = qml.NoiseModel({qml.BooleanFn(lambda _: False, name="never"): lambda *_, **__: None})
NoiseLike: TypeAlias = Noise | qml.NoiseModel


def read_noise(value: object) -> NoiseLike:
    """Refuse what is no noise; a model of Aer becomes one of PennyLane."""
    if is_aer(value):
        return from_aer(value)
    if not isinstance(value, (Noise, qml.NoiseModel)):
        raise InputTypeError(
            "noise: expected efl.Noise(one_qubit=..., two_qubit=...), a qml.NoiseModel or a NoiseModel of "
            f"qiskit_aer, got {value!r:.60}"
        )
    return value


def noise_model(noise: Any, *, twirled: bool = False) -> qml.NoiseModel:  # noqa: ANN401 (of Qiskit, too)
    """Return an `efl.Noise`, or a noise model of Qiskit's Aer, as a noise model of PennyLane.

    It makes a simulator noisy with ``qml.add_noise``. Of a model of Aer, ``twirled`` says that the device
    randomises its gates, so that errors after them act as Pauli errors do.

    >>> import pennylane as qml
    >>> from efl_core.pennylane import noise_model
    >>> noisy = qml.add_noise(qml.device("default.mixed", wires=2), noise_model(efl.Noise(two_qubit=0.01)))
    """
    if is_aer(noise):
        return from_aer(noise, twirled=twirled)
    if not isinstance(noise, Noise):
        raise InputTypeError(f"noise: expected efl.Noise or a NoiseModel of qiskit_aer, got {noise!r:.60}")
    if twirled:
        raise InvalidInputError("twirled: expected efl.Noise(..., twirled=True), got it beside the noise")

    def is_gate(n_wires: int) -> qml.BooleanFn:
        def found(op: Operator) -> bool:
            no_gate = isinstance(op, (qml.operation.Channel, qml.operation.StatePrepBase))
            return len(op.wires) == n_wires and not no_gate and op.name not in SILENT

        return qml.BooleanFn(found, name=f"is_gate_on_{n_wires}")

    def error(kraus: list[NDArray[np.complex128]]):  # type: ignore[no-untyped-def] # noqa: ANN202 (queues)
        def queue(op: Operator, **_: object) -> None:
            qml.QubitChannel(kraus, wires=op.wires)

        return queue

    found = {n: noise.after(n) for n in (1, 2)}
    return qml.NoiseModel({is_gate(n): error(kraus) for n, kraus in found.items() if kraus})


def added_noise(op: Operator, noise: NoiseLike) -> list[Operator]:
    """Return what a device does by itself after an operation.

    A model that puts something before the operation, or in its place, is refused.
    """
    model = noise_model(noise) if isinstance(noise, Noise) else noise
    if not model.model_map:
        return []
    if model.meas_map:
        model = qml.NoiseModel(model.model_map)  # PennyLane makes a tape for each measurement: here is none
    plain = QuantumScript([op])
    [[written], _], [[noisy], _] = qml.add_noise(plain, QUIET), qml.add_noise(plain, model)
    if len(written.operations) != 1:
        raise InvalidInputError(
            f"noise: expected gates and channels, got {described(op)}, which PennyLane writes as "
            f"{len(written.operations)} operations with noise in between; write these"
        )
    first, *rest = noisy.operations
    if not qml.equal(first, written.operations[0]):
        raise InvalidInputError(
            f"noise: expected operations after {described(op)}, got {described(first)} before it, or in its "
            "place; write the model so that the operation comes first"
        )
    return list(rest)


def kraus_of(op: Operator) -> list[NDArray[np.complex128]]:
    """Return the Kraus operators of something that a device does by itself."""
    if len(op.wires) > 2:
        raise InvalidInputError(f"noise: expected operations on one or two wires, got {described(op)}")
    if isinstance(op, qml.operation.Channel):
        found = kraus_matrices(op)
    elif op.has_matrix:
        found = [qml.matrix(op, wire_order=op.wires)]
    else:
        raise InvalidInputError(f"noise: expected channels or gates with a matrix, got {described(op)}")
    return [np.ascontiguousarray(np.asarray(k), dtype=np.complex128) for k in found]


def is_pauli(kraus: Sequence[NDArray[np.complex128]]) -> bool:
    """Say whether a channel multiplies every Pauli word by a number."""
    width = int(np.log2(len(kraus[0])))
    words = [np.eye(1)]
    for _ in range(width):
        words = [np.kron(word, letter) for word in words for letter in PAULIS]
    for word in words:
        image = sum(k @ word @ k.conj().T for k in kraus)
        left = np.trace(word @ image) / len(word)
        if not np.allclose(image, left * word, atol=1e-9):
            return False
    return True


def connectivity_of(noise: NoiseLike | None, wires: Sequence[Hashable]) -> Connectivity:
    """Return which two-qubit gates settings may have: none if theirs is no Pauli noise, or not known."""
    if noise is None or len(wires) < 2:
        return "all"
    if isinstance(noise, Noise):
        return "all" if is_pauli(noise.after(2) or [np.eye(4, dtype=complex)]) else "none"
    gates = [gate(list(wires[:2])) for gate in (qml.CNOT, qml.CZ, qml.SWAP)]
    if isinstance(noise, AerNoise) and not all(map(noise.lists, gates)):
        return "none"
    pauli = all(is_pauli(kraus_of(own)) for op in gates for own in added_noise(op, noise))
    return "all" if pauli else "none"


def noise_after(noise: NoiseLike, op: Operator) -> list[tuple[list[NDArray[np.complex128]], list[Hashable]]]:
    """Return what a device does by itself after an operation: Kraus operators, and their wires."""
    if isinstance(op, qml.operation.StatePrepBase) or op.name in SILENT:
        return []
    return [(kraus_of(own), list(own.wires)) for own in added_noise(op, noise)]


@dataclass(frozen=True, eq=False)
class Correction:
    """What readings are divided by: contrasts of the readout, and of the gates of settings."""

    calibration: Calibration | None
    noise: NoiseLike | None
    wires: tuple[Hashable, ...]
    _circuits: dict[Setting, Circuit | None] = field(default_factory=dict)

    @property
    def is_needed(self) -> bool:
        """Whether anything is divided."""
        return self.calibration is not None or self.noise is not None

    @property
    def contrasts(self) -> _native.Calibration | None:
        """Those of the readout."""
        return None if self.calibration is None else self.calibration._native

    def of(self, experiment: Experiment) -> _native.Experiment:
        """Return an experiment with its readings divided."""
        if not self.is_needed:
            return experiment._native
        gates = self._gates(experiment.setting)
        return experiment._native.calibrated(self.contrasts, None if gates is None else gates._native)

    def sums(self, sums: Sequence[PauliSum]) -> tuple[PauliSum, ...]:
        """Return sums whose words are divided by what the gates of product settings leave of them."""
        if self.noise is None:
            return tuple(sums)
        return tuple(
            PauliSum({word: c / self._of_letters(str(word.label)) for word, c in own.terms()}) for own in sums
        )

    def left(
        self, setting: Setting, words: Sequence[PauliWord]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64] | None]:
        """Return what is left of words that a setting of letters reveals, and by how much that may be wrong.

        Errors are parts of what is left, in each of the directions in which the calibration may be wrong.
        """
        known = np.ones(len(words))
        if self.noise is not None:
            known = np.array([self._of_letters(word.label) for word in words])
        if self.contrasts is None:
            return known, None
        contrasts, errors = self.contrasts.divisors([(setting.reveal(word) or ([], 1))[0] for word in words])
        return known * contrasts, errors

    def check_ensemble(self, ensemble: Ensemble) -> None:
        """Refuse settings that are drawn, and whose contrasts are not those of letters."""
        if self.noise is not None and ensemble.kind not in ("uniform", "biased"):
            raise InvalidInputError(
                "noise: expected a method with a list of settings, or letters that are drawn, got an "
                f"ensemble of kind {ensemble.kind!r}"
            )

    def _of_letters(self, label: str) -> float:
        return float(np.prod([self.of_letter(q, letter) for q, letter in enumerate(label) if letter != "I"]))

    def of_letter(self, qubit: int, letter: str) -> float:
        """Return what the gates before the readout of a letter leave of it."""
        width = len(self.wires)
        gates = self._gates(Setting("".join(letter if q == qubit else "Z" for q in range(width))))
        if gates is None:
            return 1.0
        bloch = np.tile([0.0, 0.0, 1.0], (width, 1))
        bloch[qubit] = [float(letter == other) for other in "XYZ"]  # where the letter has the value 1
        z = "".join("Z" if q == qubit else "I" for q in range(width))
        left = propagate(gates.copy().prepare(bloch), z).value
        if left <= 1e-6:
            raise InvalidInputError(
                "noise: expected some contrast left after the gates of every setting, got "
                f"{left:.1g} for {letter} on wire {self.wires[qubit]!r}"
            )
        return float(left)

    def _gates(self, setting: Setting) -> Circuit | None:
        """Return the noisy gates of a setting; None if they are not known to be noisy."""
        if self.noise is None:
            return None
        if setting not in self._circuits:
            self._circuits[setting] = self._noisy(setting)
        return self._circuits[setting]

    def _noisy(self, setting: Setting) -> Circuit | None:
        assert self.noise is not None
        place = {wire: q for q, wire in enumerate(self.wires)}
        circuit, found = Circuit(len(self.wires)), False
        operations = setting_operations(setting, self.wires)
        for (name, *qubits), op in zip(setting.gates, operations, strict=True):
            circuit.clifford(name, *qubits)
            for own in added_noise(op, self.noise):
                kraus = kraus_of(own)
                if not is_pauli(kraus):
                    raise InvalidInputError(
                        f"noise: expected Pauli errors after the gates of settings, got {described(own)} "
                        f"after {described(op)}; where the device randomises its gates, say twirled=True (of "
                        "efl.Noise, or of efl_core.pennylane.noise_model); else use method='shift-pruned' "
                        "without noise="
                    )
                circuit.noise(kraus, *(place[wire] for wire in own.wires))
                found = True
        return circuit if found else None
