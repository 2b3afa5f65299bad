"""Settings that are drawn for every shot, on devices that sample: a run for each different one.

They are those that the simulator draws with the same seed.

Invariant: snapshots are in the order in which their settings were drawn, so that contiguous parts of them are
independent draws from the ensemble.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from efl_core import _native
from efl_core.ensembles import Ensemble, Setting
from efl_core.errors import InvalidInputError
from efl_core.pennylane.execution.runs import Bits, Draw, Run
from efl_core.snapshots import Snapshots

__all__ = ["Drawn", "drawn"]

Block = tuple[Sequence[int], Sequence[Setting]]
"""Qubits, and the settings that one of them is drawn from."""
LETTERS = tuple(map(Setting, "XYZ"))


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Runs in place of shots that have a setting each."""

    ensemble: Ensemble
    choices: NDArray[np.uint32] | NDArray[np.uint64]
    """What was drawn, shape ``(shots, blocks)``; single letters are blocks of three settings. Of bases of all
    qubits the addresses, shape ``(shots, 2)``."""
    which: NDArray[np.intp]
    """The run of every shot."""
    runs: list[Run]

    def outcome(self, bits: Sequence[Bits]) -> Snapshots:
        """Return the snapshots, given the bits of every run."""
        order = np.argsort(self.which, kind="stable")
        outcomes = np.empty((len(self.which), self.ensemble.n_qubits), dtype=np.uint8)
        outcomes[order] = np.concatenate(bits)
        if self.ensemble.kind in ("uniform", "biased"):
            return Snapshots.from_arrays(outcomes, self.choices.astype(np.uint8), ensemble=self.ensemble)
        if self.ensemble.kind == "global_clifford":
            return Snapshots.from_addresses(outcomes, self.choices, ensemble=self.ensemble)
        indices = self.choices[:, 0] if self.ensemble.kind == "settings" else self.choices
        allocated = self.ensemble.kind == "settings"
        return Snapshots.from_settings(outcomes, indices, ensemble=self.ensemble, allocated=allocated)


def drawn(job: Draw, seed: int) -> Drawn:
    """Draw settings, those of a list in fixed numbers, and gather the shots of each different one."""
    if job.ensemble.kind == "global_clifford":
        return _in_bases(job, seed)
    blocks = _blocks(job.ensemble)
    if job.ensemble.kind == "settings":
        each = job.ensemble.allocate(job.shots, seed).astype(np.intp)
        choices = np.repeat(np.arange(len(each), dtype=np.uint32), each)[:, np.newaxis]
    else:
        choices = _native.draw_settings(job.ensemble, job.shots, seed)
    different, which, counts = np.unique(choices, axis=0, return_inverse=True, return_counts=True)
    runs = [
        Run(job.program, _joined(job.ensemble.n_qubits, blocks, choice), int(count))
        for choice, count in zip(different, counts, strict=True)
    ]
    return Drawn(job.ensemble, choices, which.reshape(-1), runs)


def _in_bases(job: Draw, seed: int) -> Drawn:
    """Return a run for each shot: bases of all qubits hardly ever come twice."""
    addresses = np.array([(seed, index) for index in range(job.shots)], dtype=np.uint64).reshape(-1, 2)
    runs = [Run(job.program, job.ensemble.draw_setting(seed, index), 1) for index in range(job.shots)]
    return Drawn(job.ensemble, addresses, np.arange(job.shots), runs)


def _blocks(ensemble: Ensemble) -> list[Block]:
    if ensemble.kind in ("uniform", "biased"):
        return [((q,), LETTERS) for q in range(ensemble.n_qubits)]
    if ensemble.kind in ("settings", "blocks"):
        return [(qubits, settings) for qubits, settings, _ in ensemble.block_list]
    raise InvalidInputError(
        f"ensemble: expected one of letters, settings or blocks on a device, got kind {ensemble.kind!r}; "
        'state vectors take every kind ({"mode": "state"})'
    )


def _joined(n_qubits: int, blocks: Sequence[Block], choice: Iterable[int]) -> Setting:
    """Return the setting of all qubits that consists of one choice for every block."""
    gates: list[tuple[Any, ...]] = []
    for (qubits, settings), i in zip(blocks, choice, strict=True):
        gates += [(name, *(qubits[w] for w in wires)) for name, *wires in settings[i].gates]
    return Setting.from_gates(n_qubits, gates)
