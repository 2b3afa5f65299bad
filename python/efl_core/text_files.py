"""Text files of measurements in letters and of what is asked of them, as first programs for shadows had.

| file | a line after the first, which is the number of qubits n |
|---|---|
| measurements | for each qubit its letter, X, Y or Z, and its outcome, 1 or -1 |
| words | how many letters, then each letter and its qubit |
| parts | how many qubits, then each of them |

Qubits are counted from 0, an outcome of 1 is the eigenvalue +1; empty lines are left out.

Invariant: nothing of a file is believed that was not checked; an error names the file and the line.
Cost: about 0.4 us for each letter of the measurements; memory as that of the snapshots and of 4,096 lines.
"""

from collections.abc import Callable, Iterator
from itertools import islice
from os import PathLike, fspath
from typing import IO, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from efl_core.ensembles import Ensemble
from efl_core.errors import CorruptDataError, InputTypeError, InvalidInputError
from efl_core.observables import PauliWord
from efl_core.snapshots import Snapshots

__all__ = ["load_parts", "load_snapshots", "load_words"]

Path: TypeAlias = "str | PathLike[str]"
Line: TypeAlias = tuple[int, list[str]]
"""The number of a line, from 1 on, and what is in it."""

# Lines that are turned into snapshots together.
PIECE = 4096
# The most digits of a number: a file of some bytes cannot ask for gigabytes.
DIGITS = 6


def load_snapshots(path: Path, *, ensemble: Ensemble | None = None) -> Snapshots:
    r"""Read a file of measurements.

    Parameters
    ----------
    path
        A text file. Its first line is the number of qubits; every other has, for each qubit, the letter that
        it was measured in and the outcome, ``X 1 Z -1 ...``.
    ensemble
        What the letters were drawn from; uniform letters if not given. Letters that were chosen one by one,
        as a derandomised program does, were not drawn: take ``combine="hit_normalised"`` for those.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import efl_core as efl
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "measurements.txt"
    >>> _ = path.write_text("2\nX 1 Z -1\nY -1 Y 1\n")
    >>> [table.tolist() for table in efl.load_snapshots(path).to_arrays()]
    [[[0, 1], [1, 0]], [[0, 2], [1, 1]]]
    """
    if ensemble is not None and not isinstance(ensemble, Ensemble):
        raise InputTypeError.of("ensemble", "an Ensemble", type(ensemble).__name__)
    with _opened(path) as file:
        n_qubits, lines = _begun(path, file)
        if ensemble is not None and ensemble.n_qubits != n_qubits:
            raise InvalidInputError.of(
                "ensemble", f"{n_qubits} qubits, as {fspath(path)} has", f"{ensemble.n_qubits} qubits"
            )
        parts = []
        while piece := list(islice(lines, PIECE)):
            parts.append(Snapshots.from_arrays(*_tables(path, n_qubits, piece), ensemble=ensemble))
    if not parts:
        raise CorruptDataError(f"{fspath(path)}: expected at least one measurement, got none")
    return Snapshots.concat(parts)


def load_words(path: Path) -> list[PauliWord]:
    r"""Read a file of words: of each how many letters it has, then every letter and its qubit.

    >>> import pathlib, tempfile
    >>> import efl_core as efl
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "words.txt"
    >>> _ = path.write_text("3\n2 Z 0 Z 2\n1 X 1\n")
    >>> efl.load_words(path)
    [PauliWord('ZIZ'), PauliWord('IXI')]
    """
    return _loaded(path, _word)


def load_parts(path: Path) -> list[list[int]]:
    r"""Read a file of parts of a register: of each how many qubits it has, then these.

    >>> import pathlib, tempfile
    >>> import efl_core as efl
    >>> path = pathlib.Path(tempfile.mkdtemp()) / "parts.txt"
    >>> _ = path.write_text("5\n2 0 4\n1 3\n")
    >>> efl.load_parts(path)
    [[0, 4], [3]]
    """
    return _loaded(path, _part)


T = TypeVar("T")


def _loaded(path: Path, read: Callable[[Path, int, Line], T]) -> list[T]:
    with _opened(path) as file:
        n_qubits, lines = _begun(path, file)
        return [read(path, n_qubits, line) for line in lines]


def _opened(path: Path) -> IO[str]:
    if not isinstance(path, (str, PathLike)):
        raise InputTypeError.of("path", "the name of a file", type(path).__name__)
    return open(path, encoding="ascii", errors="replace")


def _begun(path: Path, file: IO[str]) -> tuple[int, Iterator[Line]]:
    """Return the number of qubits, and the lines after that."""
    numbered = ((number, text.split()) for number, text in enumerate(file, 1))
    lines = ((number, own) for number, own in numbered if own)
    number, own = next(lines, (1, []))
    if len(own) != 1 or not _is_number(own[0]) or int(own[0]) < 1:
        raise _damaged(path, number, "the number of qubits alone", own)
    return int(own[0]), lines


def _tables(path: Path, n_qubits: int, piece: list[Line]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Return the outcomes and the letters of some lines."""
    for number, own in piece:
        if len(own) != 2 * n_qubits or max(map(len, own)) > 2:
            raise _damaged(path, number, f"a letter and an outcome for each of {n_qubits} qubits", own)
    table = np.array([own for _, own in piece])
    letters, outcomes = table[:, 0::2], table[:, 1::2]
    bases = np.select([letters == "X", letters == "Y", letters == "Z"], [0, 1, 2], 3)
    bits = np.select([outcomes == "1", outcomes == "-1"], [0, 1], 2)
    for wrong, expected in ((bases == 3, "letters X, Y and Z"), (bits == 2, "outcomes 1 and -1")):
        if wrong.any():
            number, own = piece[int(np.argmax(wrong.any(axis=1)))]
            raise _damaged(path, number, expected, own)
    return bits.astype(np.uint8), bases.astype(np.uint8)


def _word(path: Path, n_qubits: int, line: Line) -> PauliWord:
    number, own = line
    letters, qubits = own[1::2], _qubits(path, n_qubits, line, own[2::2])
    if len(own) != 1 + 2 * len(qubits) or own[0] != str(len(qubits)) or not set(letters) <= set("XYZ"):
        raise _damaged(path, number, "the number of letters, then each and its qubit", own)
    return PauliWord(dict(zip(qubits, letters, strict=True)), n_qubits=n_qubits)


def _part(path: Path, n_qubits: int, line: Line) -> list[int]:
    number, own = line
    qubits = _qubits(path, n_qubits, line, own[1:])
    if own[0] != str(len(qubits)):
        raise _damaged(path, number, "the number of qubits, then these", own)
    return qubits


def _qubits(path: Path, n_qubits: int, line: Line, given: list[str]) -> list[int]:
    """Return different qubits."""
    number, own = line
    found = [int(text) if _is_number(text) else n_qubits for text in given]
    if len(set(found)) < len(found) or any(q >= n_qubits for q in found):
        raise _damaged(path, number, f"different qubits from 0 to {n_qubits - 1}", own)
    return found


def _is_number(text: str) -> bool:
    return text.isdecimal() and text.isascii() and len(text) <= DIGITS


def _damaged(path: Path, number: int, expected: str, own: list[str]) -> CorruptDataError:
    got = " ".join(own[:8]) + (" ..." if len(own) > 8 else "")
    return CorruptDataError(f"{fspath(path)}, line {number}: expected {expected}, got {got[:80]!r}")
