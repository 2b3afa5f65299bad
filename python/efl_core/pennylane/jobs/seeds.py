"""Random numbers of one tape, each stream under a name of its own.

Invariant: a stream is a function of the seed, the numbers of the tape, the purpose and the copy of a shot
vector; not of what else was asked for, or in which order.
"""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from efl_core.circuits import Circuit

__all__ = ["Purpose", "Seeds"]


class Purpose(IntEnum):
    """What random numbers are for. A number is part of the results of a seed: it never changes."""

    OUTCOMES = 1
    """Settings that are drawn, and outcomes that are simulated."""
    VALUES = 2
    """How the shots of values are rounded."""
    WORDS = 3
    """How the shots of derivatives by coefficients are rounded."""
    SETTINGS = 4
    """Which settings the first of many steps runs."""
    AUDIT = 5
    """Which derivatives are measured again."""
    FLIPS = 6
    """Which qubits are flipped before a readout."""


@dataclass(frozen=True, slots=True)
class Seeds:
    """The seed of a tape."""

    words: tuple[int, ...]

    @staticmethod
    def of_circuit(seed: int | None, circuit: Circuit) -> "Seeds":
        """Return what depends on a seed, and on all that tells two tapes of a circuit apart."""
        if seed is None:
            return Seeds.of(None)
        bloch = np.zeros(0) if circuit.bloch is None else circuit.bloch.ravel()
        numbers = np.concatenate([circuit._theta, bloch]).view(np.uint32)
        return Seeds((seed, *map(int, numbers)))

    @staticmethod
    def of(seed: int | None) -> "Seeds":
        """Return what depends on a seed alone; without one it is new every time."""
        found = np.random.SeedSequence().entropy if seed is None else seed
        assert isinstance(found, int)  # of one that was asked for no entropy, or given an integer
        return Seeds((found,))

    def seed(self, purpose: Purpose, copy: int = 0) -> int:
        """Return the seed for a purpose; the first copy of a shot vector is that of a tape without one."""
        place = (purpose, copy) if copy else (purpose,)
        sequence = np.random.SeedSequence(self.words, spawn_key=place)
        return int(sequence.generate_state(1, np.uint64)[0])
