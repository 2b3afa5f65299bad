"""How precisely queries will say the gradient: some are run beforehand, and nothing is learnt from them.

Cost: so many queries, simulated where the device is a simulator of state vectors.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from efl_core.errors import InvalidInputError
from efl_core.fleet.labels import read_shots, weighed
from efl_core.fleet.losses import Loss
from efl_core.fleet.serving import serve
from efl_core.fleet.versions import Version, made_reader

__all__ = ["forecast"]

Floats = NDArray[np.float64]
# Queries that are run and read together.
BATCH = 256


def forecast(
    version: Version,
    loss: Loss,
    examples: Sequence[tuple[Any, ...]],
    labels: ArrayLike | None,
    queries: int,
    seed: int,
) -> Floats:
    """Return the standard deviations of what one labelled query says of each derivative."""
    if version.native is None:
        raise InvalidInputError.of("share", "above 0, or there is no gradient", 0)
    outputs = len(version.model.outputs)
    if loss.needs_label and labels is None:
        raise InvalidInputError.of("labels", "those of the examples", "none")
    given = loss.labels(labels, len(examples), outputs) if loss.needs_label else np.zeros(len(examples))  # type: ignore[arg-type]
    random, reader = np.random.default_rng(seed), made_reader(version, loss)
    count, total, square = 0, np.zeros(1), np.zeros(1)
    while count < queries:
        chosen = random.integers(0, len(examples), min(BATCH, queries - count))
        replica = int(random.integers(0, 2**63))
        entries = version.native.entries(replica, 1, 0, len(chosen))
        own = [examples[i] for i in chosen]
        served = serve(
            version.model, version.point, version.roster, own, entries, int(random.integers(2**63))
        )
        taught = [i for i, one in enumerate(served) if one.teaches is not None]
        if not taught:
            continue
        packet = version.native.encode(
            replica=replica,
            incarnation=1,
            first=0,
            queries=len(chosen),
            answers=np.stack([served[i].answers for i in taught]),
            teaches=np.stack([one for i in taught if (one := served[i].teaches) is not None]),
        )
        readout = read_shots(version, reader.shots(packet))
        weights, _ = weighed(loss, version, readout, given[chosen[taught]])
        said = reader.contributions(packet, np.ascontiguousarray(weights))[:, : version.params.size]
        count, total, square = (
            count + len(said),
            total + said.sum(axis=0),
            square + np.square(said).sum(axis=0),
        )
    return np.sqrt(np.maximum(0.0, square - np.square(total) / count) / (count - 1))
