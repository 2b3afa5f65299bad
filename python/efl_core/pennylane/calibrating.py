"""`calibrate`: the contrasts of a device's readout, measured on |0...0>."""

from collections.abc import Hashable, Iterable, Sequence
from typing import Any, SupportsFloat, SupportsIndex

import numpy as np
import pennylane as qml
from pennylane.devices import Device, LegacyDevice, LegacyDeviceFacade

from efl_core.arguments import integer, listed
from efl_core.calibrations import Calibration
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.pennylane.execution.tapes import balanced, flip_patterns, read_bits, sample_tape

__all__ = ["calibrate"]


def calibrate(
    device: Device,
    wires: Iterable[Hashable] | None = None,
    *,
    shots: SupportsIndex,
    masks: Iterable[Iterable[Hashable]] | None = None,
    patterns: SupportsIndex | None = None,
    seed: SupportsIndex | None = None,
    max_age: SupportsFloat | None = None,
) -> Calibration:
    """Measure the contrasts of a device's readout.

    Every shot reads |0...0> after random flips, which are undone in its bits: what is left of every parity of
    readout bits is its contrast, also where 0 is read as 1 more often than 1 as 0, and where qubits err
    together.

    Parameters
    ----------
    device
        The device that circuits run on.
    wires
        The wires that are read; all of the device if not given.
    shots
        Shots in all.
    masks
        Parities, each by its wires, that have to be clearly above zero: an error says how many shots would
        do. Every wire by itself if not given. All other parities have their contrasts too.
    patterns
        Patterns of flips, a tape for each. By default so many that any three qubits are flipped in all ways
        alike: the least power of two that is at least twice the number of qubits.
    seed
        Seed of the patterns.
    max_age
        After how many seconds the calibration must not be used any more; never if not given.

    Examples
    --------
    >>> import pennylane as qml
    >>> flips = qml.NoiseModel({}, meas_map={
    ...     qml.BooleanFn(lambda _: True): lambda mp, **_: [qml.BitFlip(0.02, w) for w in mp.wires]})
    >>> dev = qml.add_noise(qml.device("default.mixed", wires=2), flips)
    >>> calibration = efl.calibrate(dev, shots=20_000, seed=1)
    >>> bool(abs(calibration.contrast([0]).value - 0.96) < 0.01)
    True
    """
    if isinstance(device, LegacyDevice) and not isinstance(device, LegacyDeviceFacade):
        device = LegacyDeviceFacade(device)
    if not isinstance(device, Device):
        raise InputTypeError(f"device: expected a PennyLane device, got {type(device).__name__}")
    labels = _labels(device, wires)
    total = integer("shots", shots, 2)
    count = balanced(len(labels)) if patterns is None else integer("patterns", patterns, 1)
    count = min(count, total)
    random = np.random.default_rng(None if seed is None else integer("seed", seed, 0))
    flips = flip_patterns(count, len(labels), random)
    each = total // count
    sizes = [each + 1] * (total - each * count) + [each] * (count - (total - each * count))
    with qml.QueuingManager.stop_recording():
        tapes = [
            sample_tape([qml.X(w) for w, flip in zip(labels, row, strict=True) if flip], labels, size)
            for row, size in zip(flips, sizes, strict=True)
        ]
    results: Sequence[Any] = qml.execute(tapes, device, diff_method=None)
    found = zip(results, flips, sizes, strict=True)
    bits = np.concatenate([read_bits(own, size, labels) ^ row for own, row, size in found])
    calibration = Calibration.from_bits(bits, wires=labels, max_age=max_age)
    _check_masks(calibration, [[w] for w in labels] if masks is None else masks)
    return calibration


def _labels(device: Device, wires: Iterable[Hashable] | None) -> list[Hashable]:
    if wires is None:
        if device.wires is None:
            raise InvalidInputError(
                "wires: expected the wires that are read, as the device lists none, got none"
            )
        return list(device.wires)
    found = list(listed("wires", wires, "a sequence of wires"))
    if not found or len(set(found)) < len(found):
        raise InvalidInputError(f"wires: expected each wire once, at least one, got {found}")
    return found


def _check_masks(calibration: Calibration, masks: Iterable[Iterable[Hashable]]) -> None:
    """Refuse contrasts that are not clearly above zero."""
    for mask in masks:
        wires = list(mask)
        unknown = [wire for wire in wires if wire not in calibration.wires]
        if unknown:
            raise InvalidInputError(
                f"masks: expected some of the wires {calibration.wires}, got {unknown[0]!r}"
            )
        qubits = [calibration.wires.index(wire) for wire in wires]
        found = calibration.contrast(qubits)
        if found.value <= 4 * found.stderr:
            raise InvalidInputError(
                f"shots: expected about {calibration.needed_shots(qubits, 0.25):,}, which would tell the "
                f"contrast of the parity of {wires} from zero if it is what it seems, {found.value:.2g} +- "
                f"{found.stderr:.2g}, got {calibration.shots:,}"
            )
