"""What tests of storage share: snapshots to store, when two are equal, scripts in a process of their own."""

import subprocess
import sys
import textwrap

import numpy as np

import efl_core as efl


def make(n, shots, *, provenance=True, biased=False, seed=0):
    rng = np.random.default_rng(seed)
    ensemble = None
    if biased:
        weights = rng.random((n, 3))
        ensemble = efl.Ensemble.biased(weights / weights.sum(1, keepdims=True))
    known = {}
    if provenance:
        known = {
            "version": rng.integers(0, 2**32, shots),
            "replica": rng.integers(0, 2**64, shots, dtype=np.uint64),
            "sequence": rng.integers(0, 2**64, shots, dtype=np.uint64),
        }
    bits, bases = rng.integers(0, 2, (shots, n)), rng.integers(0, 3, (shots, n))
    return efl.Snapshots.from_arrays(bits, bases, ensemble=ensemble, **known)


def same(a, b):
    for left, right in zip(a.to_arrays(), b.to_arrays(), strict=True):
        np.testing.assert_array_equal(left, right)
    for name in ("version", "replica", "sequence"):
        left, right = getattr(a, name), getattr(b, name)
        assert (left is None) == (right is None)
        assert left is None or (left.dtype == right.dtype and (left == right).all())
    assert a.ensemble == b.ensemble
    return a == b


def run(script, *arguments):
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(script), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
