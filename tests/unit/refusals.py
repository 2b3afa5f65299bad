"""What tests of bad input share: the grammar of a refusal, and some valid things to go wrong with.

A panic, an abort or a plain built-in exception is a failure.
"""

import re

import pytest

import efl_core as efl
from efl_core import Ensemble, Snapshots

SNAPS = Snapshots.from_arrays([[0, 1], [1, 1], [0, 0]], [[0, 2], [2, 2], [1, 0]])
COUNTS = efl.tally(SNAPS, ["XX", "ZZ"])
BIASED = Ensemble.biased([[0.0, 0.5, 0.5], [1.0, 0.0, 0.0]])
ONE = [[0]]
NAN, INF = float("nan"), float("inf")


class Index:
    """An integer of another type, so that a dict can hold the same qubit twice."""

    def __init__(self, value):
        self.value = value

    def __index__(self):
        return self.value


def refused(call, error, name, *said):
    """Holds a call to its class of error, the argument that it is about, and what else its message says."""
    with pytest.raises(efl.EflError) as caught:
        call()
    text = str(caught.value)
    assert type(caught.value) is error, text
    assert re.match(re.escape(name) + r"[:\[,]", text), text
    assert caught.value.argument is not None, text
    assert text.startswith(f"{caught.value.argument}: expected "), text
    assert ", got " in text, text
    for part in said:
        assert part in text, text


def case(identity, call, error, name, *said):
    return pytest.param(call, error, name, said, id=identity)
