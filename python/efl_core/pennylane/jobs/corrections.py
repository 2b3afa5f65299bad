"""How what a device does by itself enters a measurement: contrasts of readings, and flips of readouts."""

from collections.abc import Hashable, Sequence

from efl_core.pennylane.execution.tapes import Twirl
from efl_core.pennylane.noise import Correction
from efl_core.pennylane.options import Options

__all__ = ["correction_of", "twirl_of"]


def correction_of(options: Options, wires: Sequence[Hashable]) -> Correction:
    """Return what readings of these wires are divided by; refuse a calibration of others, or an old one."""
    calibration = options.calibration
    own = None if calibration is None else calibration.check(wires)
    return Correction(own, options.noise, tuple(wires))


def twirl_of(options: Options, seed: int, *, equal: bool) -> Twirl | None:
    """Return how readouts are flipped; None on a device of which nothing is known."""
    if not options.is_noisy:
        return None
    return Twirl(options.twirls, seed, options.calibration is not None, equal)
