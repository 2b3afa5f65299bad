"""Files of measurements, words and parts: what is read of them, beside slow programs that follow formulas.

The files are written by the test, of simulated chains; values are those of the loops to rounding, and true
within 5 standard errors (6e-7 for normal errors).
"""

from itertools import combinations

import numpy as np
import pytest

import efl_core as efl

N = 12


def gates(n_qubits):
    """Neighbours that are entangled two by two, and phases, so that all letters matter."""
    pairs = range(0, n_qubits - 1, 2)
    return [gate for q in pairs for gate in (("H", q), ("CNOT", q, q + 1), ("S", q))]


def chain(n_qubits):
    return efl.StabiliserState(n_qubits, gates(n_qubits))


def written(folder, state, shots, seed):
    """A file of measurements, and the same as lists of letters and outcomes."""
    bits, bases = efl.sample(state, shots=shots, seed=seed).to_arrays()
    rows = [
        [("XYZ"[letter], -1 if bit else 1) for letter, bit in zip(*row, strict=True)]
        for row in zip(bases, bits, strict=True)
    ]
    lines = [" ".join(f"{letter} {outcome}" for letter, outcome in row) for row in rows]
    path = folder / "measurements.txt"
    path.write_text("\n".join([str(state.n_qubits), *lines]) + "\n")
    return path, rows


def hits(rows, word):
    """The outcomes of a word where it was measured."""
    matching = [row for row in rows if all(row[q][0] == letter for q, letter in word.items())]
    return [int(np.prod([row[q][1] for q in word])) for row in matching]


def slow_purity(rows, part):
    """The mean over all pairs of snapshots of the product of 5, -4 or 1/2 of each qubit."""
    total, pairs = 0.0, 0
    for a, b in combinations(rows, 2):
        factor = 1.0
        for q in part:
            factor *= 0.5 if a[q][0] != b[q][0] else 5 if a[q][1] == b[q][1] else -4
        total, pairs = total + factor, pairs + 1
    return total / pairs


def normalised_purity(rows, part):
    """The sum of unbiased squares of all words of a part, each over its own hits."""
    total = 0.0
    for letters in np.ndindex(*(4,) * len(part)):
        word = {q: "IXYZ"[k] for q, k in zip(part, letters, strict=True) if k}
        if not word:
            total += 1
            continue
        found = hits(rows, word)
        total += (sum(found) ** 2 - len(found)) / (len(found) * (len(found) - 1))
    return total / 2 ** len(part)


def test_correlators_and_entropies_are_those_of_slow_programs(tmp_path):
    state = chain(N)
    path, rows = written(tmp_path, state, 400, 3)
    snaps = efl.load_snapshots(path)
    assert (snaps.n_qubits, len(snaps), snaps.ensemble.kind) == (N, 400, "uniform")
    asked = [{q: letter, q + 1: letter} for q in range(N - 1) for letter in "XYZ"]
    asked += [{0: "X", 1: "Y"}, {0: "X", 1: "Y", 4: "X", 5: "Y"}, {3: "Z"}]
    lines = [f"{len(word)} " + " ".join(f"{letter} {q}" for q, letter in word.items()) for word in asked]
    (tmp_path / "words.txt").write_text("\n".join([str(N), *lines]))
    words = efl.load_words(tmp_path / "words.txt")
    assert [word.support for word in words] == asked
    found = efl.estimate(snaps, words, combine="hit_normalised")
    for word, value, stderr, count in zip(asked, found.value, found.stderr, found.revealed, strict=True):
        outcomes = hits(rows, word)
        assert count == len(outcomes)
        assert value == pytest.approx(np.mean(outcomes))
        assert abs(value - exact(word)) < 5 * stderr
    asked = [[0], [0, 1], [1, 2], [5, 0, 4]]
    lines = [f"{len(part)} " + " ".join(map(str, part)) for part in asked]
    (tmp_path / "parts.txt").write_text("\n".join([str(N), *lines]))
    parts = efl.load_parts(tmp_path / "parts.txt")
    assert parts == asked
    for part, purity in zip(parts, (1 / 2, 1, 1 / 4, 1 / 2), strict=True):
        one = efl.purity(snaps, part)
        assert one.value == pytest.approx(slow_purity(rows, part))
        assert abs(one.value - purity) < 5 * one.stderr
        if one.value > 0:
            assert efl.entropy(snaps, part).value == pytest.approx(-np.log2(slow_purity(rows, part)))


def exact(word):
    """The value of a word, propagated through the gates."""
    circuit = efl.Circuit(N)
    for name, *wires in gates(N):
        circuit.clifford(name, *wires)
    return efl.propagate(circuit, efl.PauliWord(word, n_qubits=N)).value


def test_entropies_over_hits_agree(tmp_path):
    """Another estimator of the same purities, from the same file: within 5 bars of the one here."""
    path, rows = written(tmp_path, chain(4), 3000, 5)
    snaps = efl.load_snapshots(path)
    for part in ([0], [0, 1], [1, 2]):
        found = efl.purity(snaps, part)
        assert abs(normalised_purity(rows, part) - found.value) < 5 * found.stderr
