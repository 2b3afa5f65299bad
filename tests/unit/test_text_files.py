"""Text files that cannot be read, and those that look odd and can."""

import pathlib

import numpy as np
import pytest

import efl_core as efl

READERS = {"snapshots": efl.load_snapshots, "words": efl.load_words, "parts": efl.load_parts}


@pytest.mark.parametrize(
    ("kind", "text", "message"),
    [
        ("snapshots", "", "line 1: expected the number of qubits alone, got ''"),
        ("snapshots", "2 3\n", "line 1: expected the number of qubits alone, got '2 3'"),
        ("snapshots", "0\n", "line 1: expected the number of qubits"),
        ("snapshots", "-1\n", "line 1: expected the number of qubits"),
        ("snapshots", "99999999999\n", "line 1: expected the number of qubits"),
        ("snapshots", "²\n", "line 1: expected the number of qubits"),
        ("snapshots", "2\n", ": expected at least one measurement, got none"),
        ("snapshots", "2\nX 1\n", "line 2: expected a letter and an outcome for each of 2 qubits"),
        ("snapshots", "1\nX 1\n\nX 1 Z 1\n", "line 4: expected a letter and an outcome"),
        ("snapshots", "1\nX 1\nI 1\n", "line 3: expected letters X, Y and Z, got 'I 1'"),
        ("snapshots", "1\nX 1\nx 1\n", "line 3: expected letters X, Y and Z"),
        ("snapshots", "1\nX 1\nZ 0\n", "line 3: expected outcomes 1 and -1, got 'Z 0'"),
        ("snapshots", "1\nX " + "1" * 5000 + "\n", "line 2: expected a letter and an outcome"),
        ("words", "3\n2 Z 0\n", "line 2: expected the number of letters, then each and its qubit"),
        ("words", "3\n1 Z\n", "line 2: expected the number of letters"),
        ("words", "3\n1 Q 0\n", "line 2: expected the number of letters"),
        ("words", "3\n1 Z 3\n", "line 2: expected different qubits from 0 to 2, got '1 Z 3'"),
        ("words", "3\n2 Z 1 X 1\n", "line 2: expected different qubits"),
        ("words", "3\n1 Z -1\n", "line 2: expected different qubits"),
        ("parts", "3\n2 0\n", "line 2: expected the number of qubits, then these"),
        ("parts", "3\n2 0 0\n", "line 2: expected different qubits"),
        ("parts", "3\none 0\n", "line 2: expected the number of qubits, then these"),
    ],
)
def test_damaged_files_are_refused_by_line(tmp_path, kind, text, message):
    path = tmp_path / "file.txt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(efl.CorruptDataError) as caught:
        READERS[kind](path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)
    assert len(str(caught.value)) < 300 + len(str(path))


def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(efl.InputTypeError, match="path: expected the name of a file, got int"):
        efl.load_words(3)
    with pytest.raises(FileNotFoundError):
        efl.load_words(tmp_path / "none.txt")
    path = tmp_path / "file.txt"
    path.write_text("2\nX 1 X 1\n")
    with pytest.raises(efl.InvalidInputError, match="ensemble: expected 2 qubits"):
        efl.load_snapshots(path, ensemble=efl.Ensemble.uniform(3))
    with pytest.raises(efl.InputTypeError, match="ensemble: expected an Ensemble"):
        efl.load_snapshots(path, ensemble="uniform")


def test_empty_lines_and_other_blanks_do_not_matter(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("\n  2  \r\n\nX 1\tZ  -1 \r\n\nY -1 X 1")
    biased = efl.Ensemble.biased([[0.5, 0.3, 0.2]] * 2)
    snaps = efl.load_snapshots(str(path), ensemble=biased)
    assert snaps == efl.Snapshots.from_arrays([[0, 1], [1, 0]], [[0, 2], [1, 0]], ensemble=biased)
    path.write_text("4\n\n")
    assert efl.load_words(path) == efl.load_parts(pathlib.Path(path)) == []


def test_long_files_are_read_piece_by_piece(tmp_path):
    bits, bases = efl.sample([0.6, 0, 0, 0.8], shots=9001, seed=1).to_arrays()
    letters, outcomes = np.array(list("XYZ"))[bases], 1 - 2 * bits.astype(int)
    rows = [f"{a} {s} {b} {t}" for (a, b), (s, t) in zip(letters.tolist(), outcomes.tolist(), strict=True)]
    path = tmp_path / "file.txt"
    path.write_text("2\n" + "\n".join(rows))
    assert efl.load_snapshots(path) == efl.Snapshots.from_arrays(bits, bases)
