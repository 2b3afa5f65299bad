"""Mode ``"state"``: one execution of ``qml.state()`` for each circuit, whatever its settings and shots.

Settings are applied and outcomes sampled here, and a tracker of the device counts their shots. The circuits
of echoes and shifts are simulated here, or executed too if they are wide or begin with a state that is given
as a vector. Where that takes long, the logger ``efl_core`` says how far it has come.

Cost: 2^n numbers for each circuit that is executed.
"""

import logging
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pennylane as qml
from numpy.typing import NDArray
from pennylane.devices import Device
from pennylane.operation import Operator
from pennylane.tape import QuantumScript

from efl_core import _native
from efl_core.circuits import Circuit, simulate
from efl_core.ensembles import Setting
from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution.runs import Draw, Job, Outcome, Question
from efl_core.snapshots import sample

__all__ = ["read_state", "state_tape", "state_tapes"]

LOGGER = logging.getLogger("efl_core")
# Experiments that are simulated together; those of a circuit are neighbours.
PART = 4096


def state_tapes(
    jobs: Sequence[Job], wires: Sequence[Hashable], seeds: Sequence[int], device: Device | None
) -> tuple[list[QuantumScript], Callable[[Sequence[Any]], list[Outcome]]]:
    """Return the tapes of the circuits that are executed, and what samples all jobs from their states."""
    executed = {id(job.program): job.program for job in jobs if not job.program.is_simulated}
    tapes = [state_tape(p.operations, wires, device) for p in executed.values()]

    def read(results: Sequence[Any]) -> list[Outcome]:
        outcomes: dict[int, Outcome] = {}
        for program, result in zip(executed, results, strict=True):
            state = read_state(result, wires, device)
            outcomes |= _measured(state, _of_program(jobs, program), seeds)
        alone = {
            id(job.program): job.program.circuit
            for job in jobs
            if job.program.is_simulated and job.program.experiment is None
        }
        for program, circuit in alone.items():
            assert circuit is not None  # of a program that is simulated
            outcomes |= _measured(simulate(circuit), _of_program(jobs, program), seeds)
        others = {i: job for i, job in enumerate(jobs) if job.program.is_simulated and i not in outcomes}
        outcomes |= _simulated(others, seeds)
        return [outcomes[i] for i in range(len(jobs))]

    return tapes, read


def _of_program(jobs: Sequence[Job], program: int) -> dict[int, Job]:
    return {i: job for i, job in enumerate(jobs) if id(job.program) == program}


def _measured(
    state: NDArray[np.complex128], jobs: Mapping[int, Job], seeds: Sequence[int]
) -> dict[int, Outcome]:
    """Return the outcomes of jobs on one state."""
    outcomes: dict[int, Outcome] = {}
    runs: dict[int, tuple[Setting, int, int]] = {}
    for i, job in jobs.items():
        if isinstance(job, Draw):
            outcomes[i] = sample(state, job.ensemble, shots=job.shots, seed=seeds[i])
        elif isinstance(job, Question):
            drawn = np.random.default_rng(seeds[i]).random((job.shots, 1))
            outcomes[i] = (drawn < job.target.chance(state)).astype(np.uint8)
        else:
            runs[i] = (job.setting, job.shots, seeds[i])
    outcomes |= zip(runs, _native.measured(state, list(runs.values())), strict=True)
    return outcomes


def state_tape(
    operations: Sequence[Operator], wires: Sequence[Hashable], device: Device | None
) -> QuantumScript:
    """Return the tape of the state that some operations leave."""
    named = [qml.Identity(wires)] if device is not None and device.wires is not None else _naming(wires)
    return QuantumScript([*named, *operations], [qml.state()], shots=None, trainable_params=[])


def _naming(wires: Sequence[Hashable]) -> list[Operator]:
    """Return gates that do nothing but name every wire, in order; some devices leave identities out."""
    return [qml.RZ(0.0, wires=wire) for wire in wires]


def _simulated(jobs: Mapping[int, Job], seeds: Sequence[int]) -> dict[int, Outcome]:
    """Return the outcomes of experiments."""
    outcomes: dict[int, Outcome] = {}
    circuits = {id(job.program.circuit): job.program.circuit for job in jobs.values()}
    for identity, circuit in circuits.items():
        own = {i: job for i, job in jobs.items() if id(job.program.circuit) == identity}
        if circuit is not None and circuit.bloch is not None:
            found = [(job.program.experiment, job.shots, seeds[i]) for i, job in own.items()]
            runs = [(e._native, shots, seed) for e, shots, seed in found if e is not None]
            outcomes |= zip(own, _in_parts(runs, circuit), strict=True)
    return outcomes


def _in_parts(runs: Sequence[tuple[_native.Experiment, int, int]], circuit: Circuit) -> Iterator[Outcome]:
    """Simulate experiments, and tell how many of them there are, and how many are done, if they are many."""
    assert circuit.bloch is not None
    for start in range(0, len(runs), PART):
        if len(runs) > PART:
            LOGGER.info("simulating circuits and settings: %s of %s are done", f"{start:,}", f"{len(runs):,}")
        yield from _native.simulated(runs[start : start + PART], circuit._theta, circuit.bloch)


def read_state(result: Any, wires: Sequence[Hashable], device: Device | None) -> NDArray[np.complex128]:  # noqa: ANN401
    """Return the result of `state_tape`: a vector on the wires wanted; others are in |0>."""
    given: Sequence[Hashable] = wires if device is None or device.wires is None else device.wires
    state = np.asarray(qml.math.unwrap(qml.math.toarray(result)), dtype=np.complex128)
    if state.shape != (2 ** len(given),):
        raise InvalidInputError(
            f"device_options: expected a device whose qml.state() has 2^{len(given)} numbers, got "
            f'shape {state.shape}; use {{"mode": "tapes"}}'
        )
    if tuple(given) == tuple(wires):
        return state
    axes = [given.index(wire) for wire in wires]
    idle = [axis for axis in range(len(given)) if axis not in axes]
    tensor = np.transpose(state.reshape((2,) * len(given)), axes + idle)
    return np.ascontiguousarray(tensor.reshape(2 ** len(wires), -1)[:, 0])
