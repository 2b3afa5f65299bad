"""Pauli words and sums, and how a list of observables is read."""

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from efl_core import _native
from efl_core._native import Observables, PauliSum, PauliWord

__all__ = [
    "Observable",
    "PauliSum",
    "PauliWord",
    "WordLike",
    "read_observables",
    "read_sum",
    "read_sums",
    "read_word",
]

WordLike: TypeAlias = str | Mapping[int, str] | PauliWord
"""A Pauli word as users write it: ``"XIZ"``, ``{0: "X", 2: "Z"}`` or a `PauliWord`."""

Observable: TypeAlias = WordLike | Mapping[str, float] | Mapping[PauliWord, float] | PauliSum
"""A word, or a sum: a dict from words to coefficients, or a `PauliSum`."""


def read_word(name: str, word: WordLike, n_qubits: int) -> PauliWord:
    """Read a word of a known width; errors call it ``name``."""
    return _native.read_word(name, word, n_qubits)


def read_sum(name: str, observable: Observable, n_qubits: int | None) -> PauliSum:
    """Read a word or sum, of a known width if one is given; errors call it ``name``."""
    return _native.read_sum(name, observable, n_qubits)


def read_sums(observables: Observable | Iterable[Observable], n_qubits: int) -> tuple[list[PauliSum], bool]:
    """Read one observable or several; the second result says whether it was one."""
    return _native.read_sums("observables", observables, n_qubits)


def read_observables(
    observables: Observable | Iterable[Observable], n_qubits: int | None
) -> tuple[Observables, bool]:
    """Compile one observable or several; the second result says whether it was one.

    Their width is that of the first if it is not known.
    """
    return Observables.read(observables, n_qubits)
