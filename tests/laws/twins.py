"""Slow, obvious twins of counting and estimating: one snapshot and one letter at a time."""

import numpy as np

LETTERS = "XYZ"


def revealed_and_sign(bits, bases, label):
    """Per snapshot: whether it reveals the word, and the sign that it shows."""
    revealed = np.ones(len(bits), dtype=bool)
    parity = np.zeros(len(bits), dtype=int)
    for qubit, letter in enumerate(label):
        if letter != "I":
            revealed &= bases[:, qubit] == LETTERS.index(letter)
            parity ^= bits[:, qubit]
    return revealed, 1 - 2 * parity


def bucket_edges(shots, buckets):
    """Where contiguous buckets begin and end."""
    return [b * shots // buckets for b in range(buckets + 1)]


def tally(bits, bases, labels, buckets=1):
    """``revealed`` and ``minus``, each of shape (buckets, words)."""
    edges = bucket_edges(len(bits), buckets)
    counts = np.zeros((2, buckets, len(labels)), dtype=np.uint64)
    for w, label in enumerate(labels):
        revealed, sign = revealed_and_sign(bits, bases, label)
        for b in range(buckets):
            part = slice(edges[b], edges[b + 1])
            counts[0, b, w] = revealed[part].sum()
            counts[1, b, w] = (revealed[part] & (sign[part] < 0)).sum()
    return counts


def reveal_probability(probabilities, label):
    """Product over the support."""
    rows = zip(probabilities, label, strict=True)
    return np.prod([row[LETTERS.index(letter)] for row, letter in rows if letter != "I"])


def snapshot_values(bits, bases, terms, probabilities):
    """The unbiased estimate of a sum that each snapshot gives on its own."""
    total = np.zeros(len(bits))
    for label, coefficient in terms.items():
        revealed, sign = revealed_and_sign(bits, bases, label)
        total += coefficient * revealed * sign / reveal_probability(probabilities, label)
    return total


def mean_with_error(bits, bases, terms, probabilities):
    """The mean, and its standard error with the known reveal probabilities on the diagonal."""
    shots = len(bits)
    constant = sum(c for label, c in terms.items() if set(label) == {"I"})
    terms = {label: c for label, c in terms.items() if set(label) != {"I"} and c != 0}
    known = {label: reveal_probability(probabilities, label) for label in terms}
    values = snapshot_values(bits, bases, terms, probabilities)
    mean = values.mean()
    bound = sum(map(abs, terms.values()))
    second_moment = (values**2).mean()
    for label, c in terms.items():
        hits = revealed_and_sign(bits, bases, label)[0].mean()
        second_moment += c**2 * (known[label] - hits) / known[label] ** 2
    if len(terms) == 1:
        [(label, c)] = terms.items()
        second_moment = c**2 / known[label]
    variance = second_moment - min(mean**2, bound**2)
    if variance <= 0:
        variance = values.var()
    return constant + mean, np.sqrt(variance / (shots - 1))


def hit_normalised(bits, bases, terms):
    """Each word's mean over the snapshots that reveal it, 0 if none does."""
    total = 0.0
    for label, coefficient in terms.items():
        revealed, sign = revealed_and_sign(bits, bases, label)
        total += coefficient * (sign[revealed].mean() if revealed.any() else 0.0)
    return total


def median_of_means(bits, bases, terms, probabilities, buckets):
    """The median over contiguous buckets."""
    values = snapshot_values(bits, bases, terms, probabilities)
    edges = bucket_edges(len(bits), buckets)
    return np.median([values[edges[b] : edges[b + 1]].mean() for b in range(buckets)])
