"""How settings reach a device: from jobs to tapes, and from results back to bits.

A `Run` is shots of one circuit in one setting, a `Draw` is shots with a setting drawn for each of them.
`submit` writes the tapes of all jobs, for one batch, and returns the function that turns the results of that
batch into one outcome per job: an array of bits for a `Run`, `Snapshots` for a `Draw`.

There are three ways. **state**, for simulators of state vectors: one execution of ``qml.state()``, whatever
the number of settings and shots. Settings are applied and outcomes sampled here; the circuits of echoes and
shifts are simulated here, or executed too if they are wide or begin with a state that is given as a vector.
**tapes**, for every device: a tape of ``qml.sample`` for each circuit and setting, with its own shots; a
setting is rotated to by Clifford gates only (H, S, their inverses, CNOT, CZ ...). **broadcast**, for devices
that take one tape with many angles: product settings of equal shots become one tape for each circuit.

Invariant: qubit i of every outcome is wire i of `wires`, and a measured 0 is the eigenvalue +1.
Cost: state, 2^n numbers per circuit that is executed; tapes, some 0.5 ms of Python per tape.
"""

from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import Device
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core import _native
from efl_core.circuits import Circuit
from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InvalidInputError
from efl_core.experiments import Experiment
from efl_core.snapshots import Snapshots, sample

__all__ = [
    "Draw",
    "Job",
    "Mode",
    "Program",
    "Run",
    "choose_mode",
    "gate_operations",
    "preparation",
    "submit",
]

Mode: TypeAlias = Literal["state", "broadcast", "tapes"]

# Simulators whose qml.state() is a vector, and cheap.
STATE_VECTORS = {"default.qubit", "lightning.qubit", "lightning.kokkos", "lightning.gpu", "reference.qubit"}
# States that are held at once, in bytes; more circuits than that are sampled by the device.
MAX_STATE_BYTES = 2**29
# Widest circuits that are simulated here: for wider ones a simulator that is made for it is faster.
SIMULATED_QUBITS = 16

OPERATIONS: dict[str, Callable[..., Operator]] = {
    "I": qml.Identity,
    "X": qml.X,
    "Y": qml.Y,
    "Z": qml.Z,
    "H": qml.H,
    "S": qml.S,
    "SDG": lambda wires: qml.adjoint(qml.S(wires)),
    "SX": qml.SX,
    "SXDG": lambda wires: qml.adjoint(qml.SX(wires)),
    "CNOT": qml.CNOT,
    "CY": qml.CY,
    "CZ": qml.CZ,
    "SWAP": qml.SWAP,
    "ISWAP": qml.ISWAP,
    "ISWAPDG": lambda wires: qml.adjoint(qml.ISWAP(wires)),
    "ECR": qml.ECR,
}
ROTATIONS = {"X": qml.RX, "Y": qml.RY, "Z": qml.RZ}
LETTERS = "XYZ"


class Program:
    """A circuit, known by its identity; PennyLane's operations may be written only when they are needed.

    With an experiment comes the circuit whose gradient it measures: its angles and its input are simulated.
    """

    def __init__(
        self,
        operations: list[Operator] | Callable[[], list[Operator]],
        experiment: Experiment | None = None,
        circuit: Circuit | None = None,
    ) -> None:
        self._operations, self.experiment, self.circuit = operations, experiment, circuit

    @property
    def operations(self) -> list[Operator]:
        """What a device runs."""
        if callable(self._operations):
            self._operations = self._operations()
        return self._operations

    @property
    def is_simulated(self) -> bool:
        """Whether a state vector of it is made here."""
        circuit = self.circuit
        return circuit is not None and circuit.bloch is not None and circuit.n_qubits <= SIMULATED_QUBITS


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Shots of one circuit in one setting."""

    program: Program
    setting: Setting
    shots: int


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Shots of one circuit, each in a setting that is drawn from an ensemble."""

    program: Program
    ensemble: Ensemble
    shots: int


Job: TypeAlias = Run | Draw
Outcome: TypeAlias = NDArray[np.uint8] | Snapshots
Read: TypeAlias = Callable[[Sequence[Any]], list[Any]]


def choose_mode(device: Device | None, jobs: Sequence[Job], n_qubits: int) -> Mode:
    """Return the way that suits a device: state vectors where they are at hand and fit, else tapes."""
    n_circuits = len({id(job.program) for job in jobs if not job.program.is_simulated})
    known = device is not None and device.name in STATE_VECTORS and not hasattr(device, "original_device")
    fits = n_circuits * 16 * 2**n_qubits <= MAX_STATE_BYTES
    return "state" if known and fits else "tapes"


def submit(
    jobs: Sequence[Job],
    wires: Sequence[Hashable],
    *,
    mode: Mode = "tapes",
    seed: int,
    device: Device | None = None,
) -> tuple[list[QuantumScript], Read]:
    """Write the tapes of jobs, and the function from their results to one outcome per job.

    Parameters
    ----------
    jobs
        What is to be run.
    wires
        The wire of each qubit.
    mode
        The way to the device.
    seed
        Decides settings that are drawn and, by state vectors, the outcomes.
    device
        Tells the order of wires in a state vector; not executed on here.
    """
    with qml.QueuingManager.stop_recording():
        if mode == "state":
            return _by_states(jobs, wires, seed, device)
        return _by_tapes(jobs, wires, seed, broadcast=mode == "broadcast")


# ---- state -------------------------------------------------------------------------------------------------


def _by_states(
    jobs: Sequence[Job], wires: Sequence[Hashable], seed: int, device: Device | None
) -> tuple[list[QuantumScript], Read]:
    executed = {id(job.program): job.program for job in jobs if not job.program.is_simulated}
    tapes = [
        # The identity names every wire, in order.
        QuantumScript([qml.Identity(wires), *p.operations], [qml.state()], shots=None, trainable_params=[])
        for p in executed.values()
    ]
    given = tuple(wires) if device is None or device.wires is None else tuple(device.wires)
    seeds = _seeds(seed, len(jobs))

    def read(results: Sequence[Any]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for program, result in zip(executed, results, strict=True):
            state = _on_wires(result, given, wires)
            runs: dict[int, tuple[Setting, int, int]] = {}
            for i, job in enumerate(jobs):
                if id(job.program) != program:
                    continue
                if isinstance(job, Draw):
                    outcomes[i] = sample(state, job.ensemble, shots=job.shots, seed=seeds[i])
                else:
                    runs[i] = (job.setting, job.shots, seeds[i])
            outcomes |= zip(runs, _native.measured(state, list(runs.values())), strict=True)
        outcomes |= _simulated({i: job for i, job in enumerate(jobs) if job.program.is_simulated}, seeds)
        return [outcomes[i] for i in range(len(jobs))]

    return tapes, read


def _simulated(jobs: Mapping[int, Job], seeds: Sequence[int]) -> dict[int, Outcome]:
    """Return the outcomes of experiments."""
    outcomes: dict[int, Outcome] = {}
    circuits = {id(job.program.circuit): job.program.circuit for job in jobs.values()}
    for identity, circuit in circuits.items():
        own = {i: job for i, job in jobs.items() if id(job.program.circuit) == identity}
        if circuit is not None and circuit.bloch is not None:
            found = [(job.program.experiment, job.shots, seeds[i]) for i, job in own.items()]
            runs = [(e._native, shots, seed) for e, shots, seed in found if e is not None]
            outcomes |= zip(own, _native.simulated(runs, circuit._theta, circuit.bloch), strict=True)
    return outcomes


def _on_wires(result: Any, given: Sequence[Hashable], wires: Sequence[Hashable]) -> NDArray[np.complex128]:  # noqa: ANN401
    """Return a state vector on the wires wanted; others are in |0>."""
    state = np.asarray(qml.math.unwrap(qml.math.toarray(result)), dtype=np.complex128)
    if state.shape != (2 ** len(given),):
        raise InvalidInputError(
            f"device_settings: expected a device whose qml.state() has 2^{len(given)} numbers, got "
            f'shape {state.shape}; use {{"mode": "tapes"}}'
        )
    if tuple(given) == tuple(wires):
        return state
    axes = [given.index(wire) for wire in wires]
    idle = [axis for axis in range(len(given)) if axis not in axes]
    tensor = np.transpose(state.reshape((2,) * len(given)), axes + idle)
    return np.ascontiguousarray(tensor.reshape(2 ** len(wires), -1)[:, 0])


# ---- tapes -------------------------------------------------------------------------------------------------


def _by_tapes(
    jobs: Sequence[Job], wires: Sequence[Hashable], seed: int, *, broadcast: bool
) -> tuple[list[QuantumScript], Read]:
    runs: list[Run] = []
    parts: list[tuple[Job, range, Any]] = []
    for job, own in zip(jobs, _seeds(seed, len(jobs)), strict=True):
        start = len(runs)
        drawn = None
        if isinstance(job, Draw):
            settings, drawn, counts = _drawn(job.ensemble, job.shots, own)
            runs += [Run(job.program, s, int(c)) for s, c in zip(settings, counts, strict=True)]
        else:
            runs.append(job)
        parts.append((job, range(start, len(runs)), drawn))
    tapes, bits_of = _broadcast_tapes(runs, wires) if broadcast else _plain_tapes(runs, wires)

    def read(results: Sequence[Any]) -> list[Outcome]:
        bits = bits_of(results)
        outcomes: list[Outcome] = []
        for job, places, drawn in parts:
            own = [bits[i] for i in places]
            if isinstance(job, Draw):
                outcomes.append(_snapshots(job.ensemble, own, drawn))
            else:
                outcomes.append(own[0])
        return outcomes

    return tapes, read


def _plain_tapes(runs: Sequence[Run], wires: Sequence[Hashable]) -> tuple[list[QuantumScript], Read]:
    tapes = [
        QuantumScript(
            [*run.program.operations, *_rotation(run.setting, wires)],
            [qml.sample(wires=wires)],
            shots=run.shots,
            trainable_params=[],
        )
        for run in runs
    ]

    def bits_of(results: Sequence[Any]) -> list[NDArray[np.uint8]]:
        return [_bits(result, run.shots, wires) for result, run in zip(results, runs, strict=True)]

    return tapes, bits_of


def _broadcast_tapes(runs: Sequence[Run], wires: Sequence[Hashable]) -> tuple[list[QuantumScript], Read]:
    """One tape for all runs of a circuit with the same shots, if they rotate qubits one by one."""
    groups: dict[tuple[int, int], list[int]] = {}
    for i, run in enumerate(runs):
        if not run.setting.is_product:
            raise InvalidInputError(
                'device_settings: expected "tapes" or "state" for settings with two-qubit gates, got mode '
                '"broadcast"; add "connectivity": "none" to have product settings only'
            )
        groups.setdefault((id(run.program), run.shots), []).append(i)
    tapes = []
    for (_, shots), places in groups.items():
        # X is read as Z after RY(-pi/2), Y after RX(pi/2): one angle of each per qubit and setting.
        letters = np.array([_letters(runs[i].setting) for i in places])
        rotation: list[Operator] = []
        for q, wire in enumerate(wires):
            rotation.append(qml.RY(np.where(letters[:, q] == "X", -np.pi / 2, 0.0), wires=wire))
            rotation.append(qml.RX(np.where(letters[:, q] == "Y", np.pi / 2, 0.0), wires=wire))
        operations = [*runs[places[0]].program.operations, *rotation]
        tapes.append(QuantumScript(operations, [qml.sample(wires=wires)], shots=shots, trainable_params=[]))

    def bits_of(results: Sequence[Any]) -> list[NDArray[np.uint8]]:
        bits: list[Any] = [None] * len(runs)
        for result, ((_, shots), places) in zip(results, groups.items(), strict=True):
            found = _bits(result, shots * len(places), wires).reshape(len(places), shots, len(wires))
            for i, own in zip(places, found, strict=True):
                bits[i] = own ^ np.array([sign < 0 for sign, _ in runs[i].setting.measured], dtype=np.uint8)
        return bits

    return tapes, bits_of


def _letters(setting: Setting) -> list[str]:
    """Return the letter that each qubit of a product setting is measured in."""
    return [label[q] for q, (_, label) in enumerate(setting.measured)]


def _bits(result: Any, shots: int, wires: Sequence[Hashable]) -> NDArray[np.uint8]:  # noqa: ANN401
    found = np.asarray(qml.math.unwrap(qml.math.toarray(result)))
    if found.size != shots * len(wires):
        raise InvalidInputError(
            f"device: expected {shots} shots of {len(wires)} wires, got an array of shape {found.shape}"
        )
    return np.ascontiguousarray(found.reshape(shots, len(wires)), dtype=np.uint8)


# ---- settings ----------------------------------------------------------------------------------------------


def _drawn(
    ensemble: Ensemble, shots: int, seed: int
) -> tuple[list[Setting], NDArray[Any], NDArray[np.int64]]:
    """Draw settings; return the different ones, what each chose for every block, and how often it came."""
    rng = np.random.default_rng(seed)
    if ensemble.kind in ("uniform", "biased"):
        blocks: list[Any] = [((q,), list(LETTERS), p) for q, p in enumerate(ensemble.probabilities)]
    elif ensemble.kind in ("settings", "blocks"):
        blocks = list(ensemble.block_list)
    else:
        raise InvalidInputError(
            f"ensemble: expected one of letters, settings or blocks on a device, got kind {ensemble.kind!r}; "
            'state vectors take every kind ({"mode": "state"})'
        )
    columns = [rng.choice(len(p), size=shots, p=np.asarray(p) / np.sum(p)) for _, _, p in blocks]
    choices, counts = np.unique(np.stack(columns, axis=1), axis=0, return_counts=True)
    settings = [_joined(ensemble.n_qubits, blocks, choice) for choice in choices]
    return settings, choices, counts


def _joined(n_qubits: int, blocks: Sequence[Any], choice: Iterable[int]) -> Setting:
    """Return the setting of all qubits that consists of one choice for every block."""
    gates: list[tuple[Any, ...]] = []
    for (qubits, settings, _), i in zip(blocks, choice, strict=True):
        own = settings[i] if isinstance(settings[i], Setting) else Setting(settings[i])
        gates += [(name, *(qubits[w] for w in own_wires)) for name, *own_wires in own.gates]
    return Setting.from_gates(n_qubits, gates)


def _snapshots(
    ensemble: Ensemble, bits: Sequence[NDArray[np.uint8]], choices: NDArray[np.int64]
) -> Snapshots:
    order = np.repeat(np.arange(len(bits)), [len(b) for b in bits])
    measured = choices[order]
    if ensemble.kind in ("uniform", "biased"):
        return Snapshots.from_arrays(np.concatenate(bits), measured.astype(np.uint8), ensemble=ensemble)
    indices = measured[:, 0] if ensemble.kind == "settings" else measured
    return Snapshots.from_settings(np.concatenate(bits), indices.astype(np.uint32), ensemble=ensemble)


def _rotation(setting: Setting, wires: Sequence[Hashable]) -> list[Operator]:
    return [OPERATIONS[name](wires=[wires[q] for q in qubits]) for name, *qubits in setting.gates]


# ---- circuits ----------------------------------------------------------------------------------------------


def gate_operations(
    gates: Iterable[tuple[Any, ...]], wires: Sequence[Hashable], known: dict[Hashable, Operator]
) -> list[Operator]:
    """Return PennyLane's operations for the gates of an experiment; circuits share those that are known."""
    operations = []
    for gate in gates:
        kind, what, more = gate
        if kind == "unitary":
            operations.append(qml.QubitUnitary(what, wires=[wires[q] for q in more]))
            continue
        key = (kind, tuple(what), more if kind == "rotation" else tuple(more))
        if key not in known:
            known[key] = _operation(gate, wires)
        operations.append(known[key])
    return operations


def _operation(gate: tuple[Any, ...], wires: Sequence[Hashable]) -> Operator:
    kind, what, more = gate
    if kind == "clifford":
        return OPERATIONS[what](wires=[wires[q] for q in more])
    own, letters = [wires[q] for q, _ in what], "".join(letter for _, letter in what)
    return ROTATIONS[letters](more, wires=own) if len(own) == 1 else qml.PauliRot(more, letters, wires=own)


def preparation(
    tape: QuantumScript, bloch: NDArray[np.float64] | None, wires: Sequence[Hashable]
) -> list[Operator]:
    """Return the operations that prepare the input of a tape, for circuits that are written anew."""
    if bloch is None:
        return [op for op in tape.operations if isinstance(op, qml.operation.StatePrepBase)]
    operations: list[Operator] = []
    for (x, y, z), wire in zip(bloch, wires, strict=True):
        if z >= 1 - 1e-12:
            continue
        if z <= -1 + 1e-12:
            operations.append(qml.X(wire))
            continue
        operations.append(qml.RY(float(np.arccos(z)), wires=wire))
        operations.append(qml.RZ(float(np.arctan2(y, x)), wires=wire))
    return operations


def _seeds(seed: int, count: int) -> list[int]:
    return [int(s) for s in np.random.SeedSequence(seed).generate_state(count, np.uint64)]
