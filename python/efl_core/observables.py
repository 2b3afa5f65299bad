"""Pauli words and sums, and how a list of observables is read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from efl_core._native import Observables, PauliSum, PauliWord
from efl_core.errors import InputTypeError

__all__ = ["Observable", "PauliSum", "PauliWord", "WordLike", "read_observables"]

WordLike: TypeAlias = str | Mapping[int, str] | PauliWord
"""A Pauli word as users write it: ``"XIZ"``, ``{0: "X", 2: "Z"}`` or a `PauliWord`."""

Observable: TypeAlias = WordLike | Mapping[str, float] | Mapping[PauliWord, float] | PauliSum
"""A word, or a sum: a dict from words to coefficients, or a `PauliSum`."""


def read_observables(
    observables: Observable | Iterable[Observable], n_qubits: int
) -> tuple[Observables, bool]:
    """Compile one observable or several; the second result says whether it was one."""
    if isinstance(observables, (str, Mapping, PauliWord, PauliSum)):
        return Observables([observables], n_qubits), True
    given: object = observables  # bytes are iterable, but never what was meant
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InputTypeError(
            "observables: expected a Pauli word or sum, or a sequence of them, "
            f"got {type(observables).__name__} {observables!r:.40}"
        )
    items: Sequence[Observable] = list(observables)
    return Observables(items, n_qubits), False
