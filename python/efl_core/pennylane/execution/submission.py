"""The way of jobs to a device, and of its results back.

There are three modes. **state**, for simulators of state vectors: one execution of ``qml.state()``, whatever
the number of settings and shots. **tapes**, for every device: a tape of ``qml.sample`` for each circuit and
setting, with its own shots. **broadcast**, for devices that take one tape with many angles: product settings
of equal shots become one tape for each circuit.

Invariant: settings that are drawn are a function of the ensemble and the seed, whatever the mode.
Cost: state, 2^n numbers per circuit that is executed; tapes, some 0.5 ms of Python per tape.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, TypeAlias

import numpy as np
import pennylane as qml
from pennylane.devices import Device, LegacyDeviceFacade
from pennylane.tape import QuantumScript

from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution.broadcast import broadcast_tapes
from efl_core.pennylane.execution.drawing import drawn
from efl_core.pennylane.execution.runs import Draw, Job, Outcome, Question, Run, different_settings
from efl_core.pennylane.execution.state import state_tapes
from efl_core.pennylane.execution.tapes import Twirl, plain_tapes
from efl_core.pennylane.execution.yes_or_no import asked
from efl_core.plans import Cost

__all__ = [
    "Mode",
    "Submission",
    "has_equal_shots",
    "has_states",
    "known_cost",
    "submit",
    "suiting_mode",
]

Mode: TypeAlias = Literal["state", "broadcast", "tapes"]

# Simulators whose qml.state() is a vector, and cheap.
STATE_VECTORS = {"default.qubit", "lightning.qubit", "lightning.kokkos", "lightning.gpu", "reference.qubit"}
# Seconds for a circuit, which is compiled, and for a shot, which is read: Aer behind PennyLane, 4 qubits.
QISKIT = Cost(circuit=0.15, shot=2e-5)
# States that are held at once, in bytes; more circuits than that are sampled by the device.
MAX_STATE_BYTES = 2**29


@dataclass(frozen=True, slots=True, eq=False)
class Submission:
    """One batch of tapes, and what its results mean."""

    mode: Mode
    tapes: list[QuantumScript]
    read: Callable[[Sequence[Any]], list[Outcome]]
    """From the results of the tapes to the outcome of every job."""


def submit(
    jobs: Sequence[Job],
    wires: Sequence[Hashable],
    *,
    mode: Mode | None,
    seed: int,
    device: Device | None,
    max_tapes: float = math.inf,
    twirl: Twirl | None = None,
) -> Submission:
    """Write the tapes of jobs.

    Parameters
    ----------
    jobs
        What is to be run.
    wires
        The wire of each qubit.
    mode
        The way to the device; by default the one that suits it.
    seed
        Decides settings that are drawn and, by state vectors, the outcomes.
    device
        Tells what suits, and the order of wires in a state vector; not executed on here.
    max_tapes
        The longest batch that is accepted.
    twirl
        How qubits are flipped before the readout, where that is calibrated.
    """
    if mode is None:
        mode = suiting_mode(device, jobs, len(wires))
    if twirl is not None and mode != "tapes":
        name = "it" if device is None else device.name
        raise InvalidInputError(
            f"device_options: expected a noisy device with noise= or calibration=, got {name}, of which "
            f'the mode is {mode!r} ({{"mode": "tapes"}} has it run all the same)'
        )
    seeds = [int(s) for s in np.random.SeedSequence(seed).generate_state(len(jobs), np.uint64)]
    with qml.QueuingManager.stop_recording():
        if mode == "state":
            tapes, read = state_tapes(jobs, wires, seeds, device)
            read = partial(_tracked, read, jobs, len(tapes), device)
        else:
            tapes, read = _sampled(jobs, wires, seeds, mode, twirl)
    if len(tapes) > max_tapes:
        raise InvalidInputError(f"device_options: expected at most {max_tapes:g} tapes, got {len(tapes)}")
    return Submission(mode, tapes, read)


def _tracked(
    read: Callable[[Sequence[Any]], list[Outcome]],
    jobs: Sequence[Job],
    n_tapes: int,
    device: Device | None,
    results: Sequence[Any],
) -> list[Outcome]:
    """Read results; a tracker of the device counts what a device without state vectors would have run."""
    outcomes = read(results)
    tracker = None if device is None else device.tracker
    if tracker is not None and tracker.active:
        more = different_settings(jobs, outcomes) - n_tapes
        tracker.update(shots=sum(job.shots for job in jobs), executions=more)
        tracker.record()
    return outcomes


def known_cost(device: Device | None, mode: Mode | None) -> Cost | None:
    """Return what circuits and shots take on a kind of device; None if nobody knows, or by state vectors."""
    if device is None or mode == "state" or not device.name.lower().startswith("qiskit"):
        return None
    return QISKIT


def has_equal_shots(mode: Mode | None, device: Device | None, asked: bool | None) -> bool:
    """Return whether all tapes of a batch are to have the same shots."""
    if asked is not None:
        return asked
    # Devices of the former interface batch tapes of equal shots only.
    return mode == "broadcast" or isinstance(device, LegacyDeviceFacade)


def has_states(device: Device | None, mode: Mode | None, n_qubits: int) -> bool:
    """Return whether a circuit of so many qubits reaches a device as one state vector."""
    if mode is not None:
        return mode == "state"
    return _is_state_vector(device) and 16 * 2**n_qubits <= MAX_STATE_BYTES


def _is_state_vector(device: Device | None) -> bool:
    return device is not None and device.name in STATE_VECTORS and not hasattr(device, "original_device")


def suiting_mode(device: Device | None, jobs: Sequence[Job], n_qubits: int) -> Mode:
    """Return the mode that suits a device: state vectors where they are at hand and fit, else tapes."""
    n_circuits = len({id(job.program) for job in jobs if not job.program.is_simulated})
    fits = n_circuits * 16 * 2**n_qubits <= MAX_STATE_BYTES
    return "state" if _is_state_vector(device) and fits else "tapes"


def _sampled(
    jobs: Sequence[Job],
    wires: Sequence[Hashable],
    seeds: Sequence[int],
    mode: Mode,
    twirl: Twirl | None,
) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], list[Outcome]]]:
    """Return tapes of samples: settings that are drawn become a run for each different one."""
    parts = [
        drawn(job, seed) if isinstance(job, Draw) else asked(job, wires) if isinstance(job, Question) else job
        for job, seed in zip(jobs, seeds, strict=True)
    ]
    runs = [run for part in parts for run in ([part] if isinstance(part, Run) else part.runs)]
    if mode == "broadcast":
        tapes, bits_of = broadcast_tapes(runs, wires)
    else:
        tapes, bits_of = plain_tapes(runs, wires, twirl)

    def read(results: Sequence[Any]) -> list[Outcome]:
        bits = iter(bits_of(results))
        return [
            next(bits) if isinstance(part, Run) else part.outcome([next(bits) for _ in part.runs])
            for part in parts
        ]

    return tapes, read
