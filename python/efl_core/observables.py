"""Pauli words and sums, and how a list of observables is read."""

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from efl_core._native import Observables, PauliSum, PauliWord
from efl_core.errors import EflError, InputTypeError, InvalidInputError

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
    try:
        return PauliWord(word, n_qubits=n_qubits)
    except EflError as error:
        raise type(error)(str(error).replace("letters", name, 1)) from None


def read_sum(name: str, observable: Observable, n_qubits: int | None) -> PauliSum:
    """Read a word or sum, of a known width if one is given; errors call it ``name``."""
    try:
        return PauliSum(observable, n_qubits=n_qubits)
    except EflError as error:
        raise type(error)(str(error).replace("terms", name, 1)) from None


def read_sums(observables: Observable | Iterable[Observable], n_qubits: int) -> tuple[list[PauliSum], bool]:
    """Read one observable or several; the second result says whether it was one."""
    if isinstance(observables, (str, Mapping, PauliWord, PauliSum)):
        return [read_sum("observables", observables, n_qubits)], True
    listed = _listed(observables)
    return [read_sum(f"observables[{i}]", o, n_qubits) for i, o in enumerate(listed)], False


def read_observables(
    observables: Observable | Iterable[Observable], n_qubits: int | None
) -> tuple[Observables, bool]:
    """Compile one observable or several; the second result says whether it was one.

    Their width is that of the first if it is not known.
    """
    single = isinstance(observables, (str, Mapping, PauliWord, PauliSum))
    listed: Sequence[Observable] = [observables] if single else _listed(observables)  # type: ignore[list-item, arg-type]
    if n_qubits is None:
        if not listed:
            raise InvalidInputError("observables: expected at least one, got an empty sequence")
        n_qubits = read_sum("observables", listed[0], None).n_qubits
    return Observables(listed, n_qubits), single


def _listed(observables: Iterable[Observable]) -> Sequence[Observable]:
    given: object = observables  # bytes are iterable, but never what was meant
    if isinstance(given, bytes) or not isinstance(given, Iterable):
        raise InputTypeError(
            "observables: expected a Pauli word or sum, or a sequence of them, "
            f"got {type(observables).__name__} {observables!r:.40}"
        )
    return list(observables)
