"""Handwritten 3s and 8s as angles: the data of the demonstration, of examples and of benches.

The images are in ``data/digits.npz``; where they come from is said beside them. The features are the first
principal components of the training images, scaled so that those lie in [-pi / 2, pi / 2].
"""

from dataclasses import dataclass
from importlib.resources import files
from typing import SupportsIndex

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import integer

__all__ = ["Digits", "digits"]

IMAGES, TRAINING = 357, 250


@dataclass(frozen=True, slots=True, eq=False)
class Digits:
    """Images as angles, a row each, and labels: 1 for a 3, -1 for an 8."""

    train: NDArray[np.float64]
    """Shape ``(250, features)``."""
    train_labels: NDArray[np.float64]
    test: NDArray[np.float64]
    """Shape ``(107, features)``."""
    test_labels: NDArray[np.float64]


def digits(features: SupportsIndex = 10, *, seed: SupportsIndex = 0) -> Digits:
    """Return the images, split at random into 250 to train with and 107 to test with.

    >>> from efl_core.fleet.digits import digits
    >>> digits(10, seed=1).test.shape
    (107, 10)
    """
    count = integer("features", features, 1, 64)
    with files("efl_core.fleet").joinpath("data/digits.npz").open("rb") as file:
        stored = np.load(file)
        pixels, digit = stored["pixels"].astype(np.float64), stored["digit"]
    order = np.random.default_rng(integer("seed", seed, 0)).permutation(IMAGES)
    train, test = order[:TRAINING], order[TRAINING:]
    mean = pixels[train].mean(axis=0)
    _, _, axes = np.linalg.svd(pixels[train] - mean, full_matrices=False)
    found = (pixels - mean) @ axes[:count].T
    found *= np.pi / 2 / np.abs(found[train]).max(axis=0)
    labels = np.where(digit == 3, 1.0, -1.0)
    return Digits(found[train], labels[train], found[test], labels[test])
