"""Two digits on 8 x 8 pixels, drawn with noise, as a few angles: the data of the race's classifier.

A drawing of a 3 or an 8 is moved by up to a pixel, its strokes vary in strength, and noise is added. The
features are its first principal components, scaled to [-pi / 2, pi / 2]. The same numbers every time.
"""

import numpy as np

SHAPES = {
    1: (".####...", "#....#..", ".....#..", "..###...", ".....#..", "#....#..", ".####...", "........"),
    -1: (".####...", "#....#..", "#....#..", ".####...", "#....#..", "#....#..", ".####...", "........"),
}
POINTS, NOISE, SEED = 40, 0.25, 1


def digits(features):
    """The angles of every drawing, one row each, and its label: 1 for a 3, -1 for an 8."""
    rng = np.random.default_rng(SEED)
    labels = np.where(np.arange(POINTS) % 2, -1.0, 1.0)
    drawings = []
    for label in labels:
        shape = np.array([[c == "#" for c in row] for row in SHAPES[int(label)]], dtype=float)
        shape = np.roll(shape, (int(rng.integers(0, 2)), int(rng.integers(0, 2))), (0, 1))
        drawings.append((rng.uniform(0.7, 1.0) * shape + rng.normal(0, NOISE, shape.shape)).ravel())
    centred = np.array(drawings) - np.mean(drawings, axis=0)
    _, _, axes = np.linalg.svd(centred, full_matrices=False)
    found = centred @ axes[:features].T
    found *= np.sign(axes[:features, np.argmax(np.abs(axes[:features]), axis=1)].diagonal())
    return found / np.abs(found).max(axis=0) * np.pi / 2, labels
