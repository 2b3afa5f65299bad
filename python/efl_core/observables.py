"""Pauli words and sums, and how a list of observables is read.

Operators of PennyLane are observables too: wire i is qubit i.
"""

import sys
from collections.abc import Hashable, Iterable, Mapping
from typing import Any, TypeAlias

from efl_core import _native
from efl_core._native import Observables, PauliSum, PauliWord
from efl_core.errors import InvalidInputError

__all__ = [
    "Observable",
    "PauliSum",
    "PauliWord",
    "WordLike",
    "read_observables",
    "read_sum",
    "read_sums",
    "read_word",
    "without_operators",
]

WordLike: TypeAlias = str | Mapping[int, str] | PauliWord
"""A Pauli word as users write it: ``"XIZ"``, ``{0: "X", 2: "Z"}`` or a `PauliWord`."""

Observable: TypeAlias = WordLike | Mapping[str, float] | Mapping[PauliWord, float] | PauliSum
"""A word, or a sum: a dict from words to coefficients, or a `PauliSum`."""


def read_word(name: str, word: WordLike, n_qubits: int) -> PauliWord:
    """Read a word of a known width; errors call it ``name``."""
    return _native.read_word(name, without_operators(name, word, n_qubits, words=True), n_qubits)


def read_sum(name: str, observable: Observable, n_qubits: int | None) -> PauliSum:
    """Read a word or sum, of a known width if one is given; errors call it ``name``."""
    return _native.read_sum(name, without_operators(name, observable, n_qubits), n_qubits)


def read_sums(observables: Observable | Iterable[Observable], n_qubits: int) -> tuple[list[PauliSum], bool]:
    """Read one observable or several; the second result says whether it was one."""
    return _native.read_sums("observables", without_operators("observables", observables, n_qubits), n_qubits)


def read_observables(
    observables: Observable | Iterable[Observable], n_qubits: int | None
) -> tuple[Observables, bool]:
    """Compile one observable or several; the second result says whether it was one.

    Their width is that of the first if it is not known.
    """
    return Observables.read(without_operators("observables", observables, n_qubits), n_qubits)


def without_operators(name: str, value: Any, n_qubits: int | None, *, words: bool = False) -> Any:  # noqa: ANN401
    """Return what was given with sums, or words, in the place of PennyLane's operators."""
    if isinstance(value, (str, dict, PauliWord, PauliSum)):
        return value
    pennylane = sys.modules.get("pennylane")  # who has none of it loaded has no operators
    operator = () if pennylane is None else getattr(getattr(pennylane, "operation", None), "Operator", ())
    several = isinstance(value, (list, tuple))
    items = list(value) if several else [value]
    found = [item for item in items if isinstance(item, operator)]
    if not found:
        return value
    labels = {wire for item in found for wire in item.wires}
    width = n_qubits
    if width is None:
        width = 1 + max((wire for wire in labels if isinstance(wire, int)), default=0)
    other = next((wire for wire in labels if not (isinstance(wire, int) and 0 <= wire < width)), None)
    if other is not None:
        raise InvalidInputError.of(name, f"operators on the wires 0 to {width - 1}", f"wire {other!r}")
    from efl_core.pennylane.tapes.observables import pauli_sum

    qubits: dict[Hashable, int] = {wire: wire for wire in range(width)}
    made = [pauli_sum(item, qubits) if isinstance(item, operator) else item for item in items]
    if words:
        made = [_word(name, item) if isinstance(item, PauliSum) else item for item in made]
    return made if several else made[0]


def _word(name: str, total: PauliSum) -> PauliWord:
    """Return the word that a sum is."""
    if len(total) != 1 or total.terms()[0][1] != 1:
        raise InvalidInputError.of(name, "a Pauli word", repr(total))
    return total.words[0]
