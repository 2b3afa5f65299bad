"""What is to be run: shots of a circuit in a setting, or in settings that are drawn.

Invariant: qubit i of every outcome is wire i of the submission, and a measured 0 is the eigenvalue +1.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from pennylane.operation import Operator

from efl_core.circuits import Circuit
from efl_core.ensembles import Ensemble, Setting
from efl_core.experiments import Experiment
from efl_core.pennylane.tapes.projectors import WideProjector
from efl_core.snapshots import Snapshots

__all__ = ["Bits", "Draw", "Job", "Outcome", "Program", "Question", "Run", "different_settings"]

# Widest circuits that are simulated here: for wider ones a simulator that is made for it is faster.
SIMULATED_QUBITS = 16
# Snapshots whose settings are looked at together.
BATCH = 2**20


@dataclass(frozen=True, eq=False)
class Program:
    """A circuit, known by its identity; PennyLane's operations are written when they are needed first.

    With an experiment comes the circuit whose gradient it measures: its angles and its input are simulated.
    A circuit by itself is what is run, at its own angles.
    """

    write: Callable[[], list[Operator]]
    experiment: Experiment | None = None
    circuit: Circuit | None = None

    @cached_property
    def operations(self) -> list[Operator]:
        """What a device runs."""
        return self.write()

    @property
    def is_simulated(self) -> bool:
        """Whether a state vector of it is made here."""
        circuit = self.circuit
        return circuit is not None and circuit.bloch is not None and circuit.n_qubits <= SIMULATED_QUBITS


@dataclass(frozen=True, slots=True, eq=False)
class Run:
    """Shots of one circuit in one setting; its outcome is an array of bits."""

    program: Program
    setting: Setting
    shots: int


@dataclass(frozen=True, slots=True, eq=False)
class Draw:
    """Shots of one circuit, each in a setting that is drawn from an ensemble; its outcome is `Snapshots`."""

    program: Program
    ensemble: Ensemble
    shots: int


@dataclass(frozen=True, slots=True, eq=False)
class Question:
    """Shots of one circuit that ask whether it is in a state; its outcome is a column of ones and zeros."""

    program: Program
    target: WideProjector
    shots: int


Job: TypeAlias = Run | Draw | Question
Bits: TypeAlias = NDArray[np.uint8]
"""Zeros and ones, shape ``(shots, wires)``."""
Outcome: TypeAlias = Bits | Snapshots


def different_settings(jobs: Sequence[Job], outcomes: Sequence[Outcome]) -> int:
    """Return the number of different circuits and settings, given the outcome of each job."""
    fixed: set[tuple[int, object]] = {
        (id(job.program), job.setting if isinstance(job, Run) else id(job.target))
        for job in jobs
        if not isinstance(job, Draw)
    }
    return len(fixed) + sum(_drawn_settings(snaps) for snaps in outcomes if isinstance(snaps, Snapshots))


def _drawn_settings(snaps: Snapshots) -> int:
    found: set[bytes] = set()
    for start in range(0, len(snaps), BATCH):
        _, drawn = snaps[start : start + BATCH].to_arrays()
        table = np.ascontiguousarray(drawn.reshape(len(drawn), -1))
        found.update(np.unique(table.view(f"V{table[0].nbytes}")).tolist())
    return len(found)
