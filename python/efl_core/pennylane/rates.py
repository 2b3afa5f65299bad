"""How often gates err, learnt from the device: the circuit at angles at which every gate is a Clifford gate.

Then the circuit leaves a state of which some words are 1 or -1 for certain, and Pauli errors multiply what a
device gives by a known factor for each gate that a word crosses. Two rates are fitted to many such words.

Invariant: what a circuit at other angles does by itself is taken to be the same. Errors are those of shots.
Cost: a tape for each setting, some for each qubit and circuit; three conversions of each.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import lru_cache, reduce
from typing import Any, SupportsIndex

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core.arguments import integer
from efl_core.calibrations import Calibration
from efl_core.ensembles import Setting
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.noise import PAULIS, Noise
from efl_core.observables import PauliWord
from efl_core.pennylane.execution.runs import Bits, Program, Run
from efl_core.pennylane.execution.tapes import Twirl, plain_tapes
from efl_core.pennylane.qnodes import tape_of
from efl_core.pennylane.tapes.conversion import from_tape
from efl_core.pennylane.tapes.tracing import described
from efl_core.pennylane.tapes.writing import setting_operations
from efl_core.propagation import propagate

__all__ = ["NoiseFit", "learn_noise"]

MOST_WIRES = 4
"""Widest gate whose action on words is looked at, as a matrix."""
TRIAL = 0.01
"""Rates at which it is counted how many gates a word crosses."""
# What a word keeps of itself where a gate errs, from the probability of an error.
ONE, TWO = 4 / 3, 16 / 15


@dataclass(frozen=True, slots=True)
class NoiseFit:
    """Error rates that were learnt from a device."""

    one_qubit: float
    """Probability of a Pauli error after a gate on one qubit; not cut off, so it may be below zero."""
    one_qubit_stderr: float
    """Its standard error; infinite where no word says anything of it."""
    two_qubit: float
    """The same after a gate on two qubits."""
    two_qubit_stderr: float
    """Its standard error."""
    misfit: float
    """Mean square of the distances from the fit over what shots leave: near 1 where the device is such a
    table, much above where it is not.
    """
    words: int
    """How many words were fitted."""
    shots: int
    """Shots in all."""

    @property
    def noise(self) -> Noise:
        """The table, for ``noise=`` of gradients and plans; what is below zero is none."""
        return Noise(one_qubit=max(0.0, self.one_qubit), two_qubit=max(0.0, self.two_qubit))

    def __str__(self) -> str:
        return (
            f"one_qubit {self.one_qubit:.2g} +- {self.one_qubit_stderr:.1g}, "
            f"two_qubit {self.two_qubit:.2g} +- {self.two_qubit_stderr:.1g}; "
            f"misfit {self.misfit:.2f} of {self.words} words, {self.shots:,} shots"
        )


def learn_noise(
    qnode: qml.QNode,
    *,
    shots: SupportsIndex,
    circuits: SupportsIndex = 16,
    calibration: Calibration | None = None,
    seed: SupportsIndex | None = None,
) -> Callable[..., NoiseFit]:
    """Return a function of the QNode's arguments that learns the error rates of its device.

    The gates of the circuit are run at random angles at which they are Clifford gates: multiples of pi/2, of
    pi for controlled rotations. Gates that are none at any, such as T, are refused.

    Parameters
    ----------
    qnode
        The QNode. Its measurement does not matter.
    shots
        Shots in all.
    circuits
        How many draws of angles.
    calibration
        Of the readout, from `calibrate`. Without it the readout is taken to be right, and what it errs counts
        as errors of gates.
    seed
        Seed of the angles and settings.

    Examples
    --------
    >>> import pennylane as qml
    >>> from efl_core.pennylane import noise_model
    >>> noise = efl.Noise(one_qubit=0.002, two_qubit=0.02)
    >>> device = qml.add_noise(qml.device("default.mixed", wires=2, seed=1), noise_model(noise))
    >>> @qml.qnode(device)
    ... def circuit(a, b):
    ...     qml.RY(a, 0)
    ...     qml.CNOT([0, 1])
    ...     qml.RX(b, 1)
    ...     qml.CNOT([1, 0])
    ...     return qml.expval(qml.Z(0))
    >>> found = efl.learn_noise(circuit, shots=100_000, seed=1)(0.1, 0.2)
    >>> bool(abs(found.two_qubit - 0.02) < 4 * found.two_qubit_stderr), bool(found.two_qubit_stderr < 0.001)
    (True, True)
    """
    if not isinstance(qnode, qml.QNode):
        raise InputTypeError.of("qnode", "a PennyLane QNode", type(qnode).__name__)
    total, count = integer("shots", shots, 2), integer("circuits", circuits, 1)
    random = np.random.default_rng(None if seed is None else integer("seed", seed, 0))

    def learn(*args: object, **kwargs: object) -> NoiseFit:
        tape = tape_of(qnode, args, kwargs)
        wires = tuple(tape.wires if qnode.device.wires is None else qnode.device.wires)
        own = None if calibration is None else calibration.check(wires)
        drawn = [_at_random_angles(tape.operations, random) for _ in range(count)]
        trials = [trial for operations in drawn for trial in _trials(operations, wires, random)]
        if total < 2 * len(trials):
            raise InvalidInputError.of("shots", f"{2 * len(trials)} or more, 2 for each setting", total)
        each, more = divmod(total, len(trials))
        runs = [
            Run(Program(lambda own=trial.operations: list(own)), trial.setting, each + (i < more))  # type: ignore[misc]
            for i, trial in enumerate(trials)
        ]
        twirl = Twirl(None, int(random.integers(2**63)), own is not None, equal=False)
        tapes, bits_of = plain_tapes(runs, wires, twirl)
        results: Sequence[Any] = qml.execute(tapes, qnode.device, diff_method=None)
        data = [_Data.of(*pair, wires, own) for pair in zip(trials, bits_of(results), strict=True)]
        return _fit(data, total)

    return learn


@dataclass(frozen=True, slots=True, eq=False)
class _Trial:
    """A circuit at Clifford angles, and a setting that reveals some words that are certain without noise."""

    operations: Sequence[Operator]
    setting: Setting
    words: list[PauliWord]


@dataclass(frozen=True, slots=True, eq=False)
class _Data:
    """What was found of the words of a trial."""

    crossed: NDArray[np.float64]
    """How many gates on one qubit, and on two, each word crosses, shape ``(words, 2)``."""
    mean: NDArray[np.float64]
    """Their means, 1 without noise."""
    correlation: NDArray[np.float64]
    """How those of a shot go together."""
    contrast: NDArray[np.float64]
    """What the readout leaves of them."""
    contrast_error: NDArray[np.float64]
    """How far that is off."""
    shots: int

    @staticmethod
    def of(trial: _Trial, bits: Bits, wires: Sequence[Hashable], calibration: Calibration | None) -> "_Data":
        revealed = [trial.setting.reveal(word) or ([], 1) for word in trial.words]
        seen = np.stack([1.0 - 2.0 * (bits[:, list(own)].sum(axis=1) & 1) for own, _ in revealed], axis=1)
        exact, *noisy = (
            _values(trial, [own for own, _ in revealed], wires, noise)
            for noise in (None, Noise(one_qubit=TRIAL), Noise(two_qubit=TRIAL))
        )
        assert np.allclose(np.abs(exact), 1)
        left = np.log(np.array([1 - ONE * TRIAL, 1 - TWO * TRIAL]))
        crossed = np.round(np.log(np.transpose(noisy) / exact[:, np.newaxis]) / left)
        seen *= np.round(exact)
        mean, shots = seen.mean(axis=0), len(seen)
        spread = np.sqrt(1 - mean**2 + 1 / shots)
        correlation = (seen.T @ seen / shots - np.outer(mean, mean)) / np.outer(spread, spread)
        np.fill_diagonal(correlation, 1)
        contrast, error = np.ones(len(mean)), np.zeros(len(mean))
        if calibration is not None:
            found = [calibration.contrast(own) for own, _ in revealed]
            contrast, error = (np.array([getattr(c, name) for c in found]) for name in ("value", "stderr"))
        return _Data(crossed, mean, correlation, contrast, error, shots)


def _values(
    trial: _Trial, qubits: list[list[int]], wires: Sequence[Hashable], noise: Noise | None
) -> NDArray[np.float64]:
    """Return the values of parities of the bits that a setting reads."""
    written = [*trial.operations, *setting_operations(trial.setting, wires)]
    circuit = from_tape(QuantumScript(written, trainable_params=[]), wires=wires, noise=noise)
    return np.array([propagate(circuit, dict.fromkeys(own, "Z")).value for own in qubits])


def _at_random_angles(operations: Sequence[Operator], random: np.random.Generator) -> list[Operator]:
    """Return operations at random angles at which they are Clifford gates."""
    found = []
    for op in operations:
        if isinstance(op, (qml.BasisState, qml.Barrier, qml.Snapshot)):
            found.append(op)
            continue
        for step in (math.pi / 2, math.pi, 2 * math.pi) if op.num_params else (0.0,):
            angles = [step * float(random.integers(0, 4)) for _ in op.data]
            own = op if not angles or any(np.ndim(value) for value in op.data) else _at(op, angles)
            if _images(own) is not None:
                found.append(own)
                break
        else:
            raise InvalidInputError.of(
                "qnode", "gates that are Clifford gates at multiples of pi/2 or pi", described(op)
            )
    return found


def _at(op: Operator, angles: Sequence[float]) -> Operator:
    made: Operator = qml.ops.functions.bind_new_parameters(op, list(angles))
    return made


def _images(op: Operator) -> NDArray[np.uint8] | None:
    """Return where a Clifford gate takes X and Z of its wires from: rows of bits, X of each wire, then Z."""
    if len(op.wires) > MOST_WIRES or not op.has_matrix or isinstance(op, qml.operation.Channel):
        return None
    matrix = np.asarray(qml.matrix(op, wire_order=op.wires), dtype=np.complex128)
    k = len(op.wires)
    words, bits = _words(k)
    rows = []
    for place in range(2 * k):
        own = words[np.flatnonzero((bits == np.eye(2 * k, dtype=np.uint8)[place]).all(axis=1))[0]]
        image = matrix.conj().T @ own @ matrix
        overlaps = np.abs(np.einsum("wij,ji->w", words, image)) / 2**k
        [rows_found] = (np.flatnonzero(overlaps > 1 - 1e-9),)
        if len(rows_found) != 1:
            return None
        rows.append(bits[rows_found[0]])
    return np.array(rows)


@lru_cache
def _words(k: int) -> tuple[NDArray[np.complex128], NDArray[np.uint8]]:
    """Return all words of k qubits as matrices, and as bits."""
    letters = [[(place >> 2 * (k - 1 - q)) & 3 for q in range(k)] for place in range(4**k)]
    words = np.array([reduce(np.kron, [PAULIS[letter] for letter in row]) for row in letters])
    x = [[letter in (1, 2) for letter in row] for row in letters]
    z = [[letter in (2, 3) for letter in row] for row in letters]
    return words, np.concatenate([x, z], axis=1).astype(np.uint8)


def _trials(
    operations: Sequence[Operator], wires: Sequence[Hashable], random: np.random.Generator
) -> list[_Trial]:
    """Return settings that reveal independent words, all of those that are certain."""
    n, place = len(wires), {wire: q for q, wire in enumerate(wires)}
    back = np.eye(2 * n, dtype=np.uint8)  # what X and Z of each qubit at the end were at the beginning
    for op in reversed(operations):
        if isinstance(op, (qml.BasisState, qml.Barrier, qml.Snapshot)):
            continue
        qubits = [place[wire] for wire in op.wires]
        images = _images(op)
        assert images is not None
        columns = [*qubits, *(n + q for q in qubits)]
        back[:, columns] = back[:, columns] @ images & 1
    # What was Z of one qubit at the beginning: rows of the inverse, which symplectic matrices have for free.
    inverse = np.roll(np.roll(back.T, n, axis=0), n, axis=1)
    rows = [row for row in inverse[n:] if row.any()]
    words = [
        "".join("IXZY"[row[q] + 2 * row[n + q]] for q in range(n)) for row in random.permutation(rows, axis=0)
    ]
    trials = []
    while words:
        letters, taken = ["I"] * n, []
        for word in words:
            if all(a == b or "I" in (a, b) for a, b in zip(letters, word, strict=True)):
                letters = [b if a == "I" else a for a, b in zip(letters, word, strict=True)]
                taken.append(word)
        words = [word for word in words if word not in taken]
        setting = Setting("".join("Z" if letter == "I" else letter for letter in letters))
        trials.append(_Trial(operations, setting, [PauliWord(word) for word in taken]))
    return trials


def _fit(data: Sequence[_Data], shots: int) -> NoiseFit:
    """Fit two rates: a word keeps a factor for every gate of a kind that it crosses."""
    crossed = np.concatenate([own.crossed for own in data])
    mean, contrast, error = (
        np.concatenate([getattr(own, name) for own in data])
        for name in ("mean", "contrast", "contrast_error")
    )
    count = np.concatenate([np.full(len(own.mean), own.shots) for own in data])
    kinds = np.flatnonzero(crossed.any(axis=0))
    table = crossed[:, kinds]
    if not len(kinds):
        raise InvalidInputError.of("qnode", "gates that a word crosses", "none")
    logs = np.zeros(len(kinds))
    square = 1 - mean**2
    for _ in range(100):
        values = contrast * np.exp(table @ logs)
        slopes = values[:, np.newaxis] * table
        variance = (square + 1 / count) / count + (values / contrast * error) ** 2
        weighted = slopes / variance[:, np.newaxis]
        normal = weighted.T @ slopes
        if np.linalg.cond(normal / np.sqrt(np.outer(np.diag(normal), np.diag(normal)))) > 1e8:
            raise InvalidInputError.of(
                "qnode", "words that cross gates on one and on two qubits in different numbers", "others"
            )
        step = np.linalg.solve(normal, weighted.T @ (mean - values))
        logs = np.minimum(logs + step, 0.1)
        square = np.maximum(1 - (contrast * np.exp(table @ logs)) ** 2, 0)
        if np.abs(step).max() < 1e-9:
            break
    # The errors of shots, those of a trial together; and contrasts as if all erred together.
    scatter, start = np.zeros_like(normal), 0
    for own in data:
        part = slice(start, start := start + len(own.mean))
        spread = np.sqrt((square[part] + 1 / own.shots) / own.shots)
        scatter += weighted[part].T @ (own.correlation * np.outer(spread, spread)) @ weighted[part]
    inverse = np.linalg.inv(normal)
    common = np.abs(inverse @ (weighted * (values / contrast * error)[:, np.newaxis]).T).sum(axis=1)
    errors = np.hypot(np.sqrt(np.diag(inverse @ scatter @ inverse)), common)
    rates, stderrs = np.zeros(2), np.full(2, math.inf)
    for kind, log, stderr in zip(kinds, logs, errors, strict=True):
        most = (ONE, TWO)[kind]
        rates[kind], stderrs[kind] = -math.expm1(log) / most, math.exp(log) * stderr / most
    misfit = float(np.mean((mean - values) ** 2 / variance)) * len(mean) / max(len(mean) - len(kinds), 1)
    return NoiseFit(
        float(rates[0]), float(stderrs[0]), float(rates[1]), float(stderrs[1]), misfit, len(mean), shots
    )
