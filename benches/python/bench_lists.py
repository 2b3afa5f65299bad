"""Lists of settings for Hamiltonians: how good they are, and how long it takes to find them.

A row is the list that `efl.design` makes of one kind for one Hamiltonian, with the effort that it takes by
itself, on one thread. The figure is the variance of one shot on average over all states: the sum of c^2 / h
over the words but the identity, where h is the share of the shots that reveal the word.

- words: those of the Hamiltonian, without the identity. F: settings of the list. s: seconds of the design.
- least: on up to 12 qubits, what no list of product settings does better than. It is found without the
  search: the variance squared, over the largest sum of c^2 / h^2 that one of all 3^n settings reveals.
- CMS: published, product settings. /CMS: the variance divided by it. before: what an earlier version found.

Published figures are those of CompositeMS (arXiv 2305.02439), for the Hamiltonians of its authors' package
Mizore, in the Jordan-Wigner (JW) and Bravyi-Kitaev (BK) encodings; it took from 9 s (taken as the smallest
molecule) to 400 s (the largest). They are judged where the folder (``--hamiltonians``; files ``*.tsv``, on
each line a word, a tab and its coefficient) has these; by default the molecules are those that
`benches/data/molecules.py` makes.

Goals: product settings at most CMS, in at most a tenth of its time; at most 1 % above the least; Clifford
settings at most before.

    python benches/python/bench_lists.py [--smoke] [--hamiltonians FOLDER] [--only TEXT] [--json FILE]
"""

import sidebyside  # isort: skip (before numpy)
import json
import math
import time
from pathlib import Path

import numpy as np
from catalogue import DATA

import efl_core as efl

KINDS = ("product", "clifford")
MADE = ("h2_4", "lih_8", "lih_12")
PUBLISHED = {
    "LiH_12_JW": 6.53,
    "LiH_12_BK": 6.77,
    "H6_12_JW": 24.9,
    "H6_12_BK": 30.7,
    "H2O_14_JW": 430.0,
    "H2O_14_BK": 454.8,
    "NH3_16_JW": 287.0,
    "NH3_16_BK": 309.0,
    "N2_20_JW": 811.0,
    "N2_20_BK": 841.0,
    "C2H2_24_JW": 580.0,
    "C2H2_24_BK": 614.0,
}
SECONDS = {"LiH": 9.0, "C2H2": 400.0}
BEFORE = {
    "LiH_12_JW": 4.979,
    "LiH_12_BK": 4.968,
    "H6_12_JW": 5.903,
    "H6_12_BK": 5.872,
    "H2O_14_JW": 384.7,
    "H2O_14_BK": 384.6,
    "NH3_16_JW": 234.9,
    "NH3_16_BK": 233.5,
    "N2_20_JW": 534.3,
    "N2_20_BK": 534.3,
    "C2H2_24_JW": 309.5,
    "C2H2_24_BK": 309.7,
}
"""Clifford lists, rounded up: greedy families alone, each improved by exchanges of one generator."""
WIDEST, ABOVE = 12, 0.01
COLUMNS = ("words", "F", "variance", "least", "CMS", "/CMS", "before", "s")


def hamiltonians(report):
    """Name and words of each, without the identity."""
    folder = report.options.hamiltonians
    if folder is None:
        for name in MADE[:1] if report.smoke else MADE:
            words = json.loads((DATA / f"{name}.json").read_text())["words"]
            yield name, {word: c for word, c in words.items() if c and set(word) != {"I"}}
        return
    for path in sorted(Path(folder).glob("*.tsv")):
        words = {}
        for line in path.read_text().splitlines():
            word, coefficient = line.split("\t")
            words[word] = words.get(word, 0.0) + float(coefficient)
        yield path.stem, {word: c for word, c in words.items() if c and set(word) != {"I"}}


def heaviest(n, weights):
    """The largest sum of weights that one of all 3^n product settings reveals."""
    sums = np.zeros((4,) * n)
    for word, weight in weights.items():
        sums[tuple("IXYZ".index(letter) for letter in word)] += weight
    for qubit in range(n):  # from words of n letters to settings: a letter also reveals the words without one
        letters = np.moveaxis(sums, qubit, 0)
        sums = np.moveaxis(letters[1:] + letters[:1], 0, qubit)
    return float(sums.max())


def row(report, name, words, kind):
    """Design one list, print its figures and judge them."""
    observable = efl.PauliSum(words)
    start = time.perf_counter()
    ensemble = efl.design(observable, kind)
    seconds = time.perf_counter() - start
    revealed = {word: ensemble.reveal_probability(word) for word in words}
    variance = sum(c * c / revealed[word] for word, c in words.items())
    predicted = float(ensemble.predicted_variance(observable))
    report.check(f"{name} {kind}: predicted variance", math.isclose(predicted, variance, rel_tol=1e-9))
    n, key, least = len(next(iter(words))), name.removeprefix("compositems_"), None
    if kind == "product" and n <= WIDEST:
        prices = {word: (c / revealed[word]) ** 2 for word, c in words.items()}
        least = variance * variance / heaviest(n, prices)
        report.check(f"{name} {kind}: not below the least", variance >= least * (1 - 1e-9))
    published = PUBLISHED.get(key) if kind == "product" else None
    before = BEFORE.get(key) if kind == "clifford" else None
    settings = len(ensemble.setting_list)
    ratio = variance / published if published else None
    figures = (len(words), settings, variance, least, published, ratio, before, seconds)
    shown = ["-" if x is None else x for x in figures]
    report.row(f"{name} {kind}", dict(zip(COLUMNS, shown, strict=True)))
    return key, kind, variance, least, published, before, seconds


def judge(report, found):
    """Compare with the goals."""
    report.title("goals")
    for key, kind, variance, least, published, before, seconds in found:
        name = f"{key} {kind}"
        if published:
            report.figure(f"{name}, variance", variance, "", at_most=published)
        if least and published and least > published:
            print(f"{'':46}no list of product settings is below {least:.4g}")
        if least:
            report.figure(f"{name}, above the least", variance / least - 1, "", at_most=ABOVE)
        if before:
            report.figure(f"{name}, variance", variance, "", at_most=before)
        theirs = SECONDS.get(key.split("_")[0])
        if published and theirs:
            report.figure(f"{name}, time", seconds, "s", at_most=theirs / 10)


def main(report):
    report.title("variance of one shot")
    report.head("", COLUMNS)
    only, found = report.options.only or "", []
    for name, words in hamiltonians(report):
        asked = [kind for kind in KINDS if only in f"{name} {kind}"]
        found += [row(report, name, words, kind) for kind in asked]
    if not found:
        raise SystemExit(f"--only: expected part of the name of a row, got {only!r}")
    judge(report, found)


if __name__ == "__main__":
    sidebyside.run(
        main,
        __doc__.splitlines()[0],
        hamiltonians="folder of *.tsv files of Hamiltonians",
        only="only the rows whose name contains this: 'LiH_12_JW', 'C2H2_24_BK product'",
    )
