"""The options of the gradient transforms, checked."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from pennylane.devices import Device, LegacyDevice, LegacyDeviceFacade

from efl_core._native import METHODS
from efl_core.arguments import integer, real
from efl_core.calibrations import Calibration
from efl_core.designs import Connectivity, read_connectivity
from efl_core.ensembles import Ensemble
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.estimates import Combine
from efl_core.pennylane.audits import Audit, read_audit
from efl_core.pennylane.execution import Mode
from efl_core.pennylane.noise import NoiseLike, read_noise
from efl_core.pennylane.reports import Sink, check_sink
from efl_core.plans import Cost
from efl_core.propagation import Truncation

__all__ = ["NAMES", "OF_PROJECTORS", "Options", "SettingsPerStep", "check_names"]

SettingsPerStep: TypeAlias = int | Literal["auto"]
# Those that draw a setting for every shot.
DRAWN = ("uniform", "biased", "block")
# The method of projectors that are too wide for words, beside "shift".
OF_PROJECTORS = "global_clifford"
DEVICE_OPTIONS = ("mode", "device", "max_tapes", "equal_shots", "connectivity", "cost", "twirls")


@dataclass(frozen=True, slots=True)
class Options:
    """What a user asked for; None where the plan or the tape decides."""

    shots: int | None = None
    target: float | None = None
    method: str = "auto"
    ensemble: Ensemble | None = None
    settings_per_step: SettingsPerStep | None = None
    combine: Combine = "mean"
    seed: int | None = None
    argnum: int | tuple[int, ...] | None = None
    truncation: Truncation | None = None
    mode: Mode | None = None
    device: Device | None = None
    max_tapes: float = math.inf
    equal_shots: bool | None = None
    connectivity: Connectivity = "all"
    cost: Cost | None = None
    noise: NoiseLike | None = None
    calibration: Calibration | None = None
    mitigate: bool = False
    audit: Audit | None = None
    twirls: int | None = None
    report: Sink | None = field(default=None, compare=False)

    @property
    def is_noisy(self) -> bool:
        """Whether anything is known of what the device does by itself."""
        return self.noise is not None or self.calibration is not None

    @staticmethod
    def read(given: Mapping[str, Any]) -> "Options":
        """Check options as they come from ``gradient_kwargs``."""
        check_names(given)
        values = {name: value for name, value in given.items() if value is not None}
        chosen = values.pop("device_options", {})
        if not isinstance(chosen, Mapping):
            raise InputTypeError(f"device_options: expected a dict, got {chosen!r:.40}")
        unknown = [name for name in chosen if name not in DEVICE_OPTIONS]
        if unknown:
            raise InvalidInputError(
                f"device_options: expected some of {', '.join(DEVICE_OPTIONS)}, got {unknown[0]!r}"
            )
        values |= {name: value for name, value in chosen.items() if value is not None}
        for name, reader in READERS.items():
            if name in values:
                values[name] = reader(values[name])
        options = Options(**values)
        options._check_together()
        return options

    def _check_together(self) -> None:
        if self.shots is not None and self.target is not None:
            raise InvalidInputError("shots: expected either shots or target, got both")
        if self.ensemble is not None and self.method != "auto":
            raise InvalidInputError("method: expected 'auto' with an ensemble that is given, got both")
        if self.ensemble is not None and self.target is not None:
            raise InvalidInputError("target: expected shots= with an ensemble that is given, got target")
        self._check_step()
        self._check_noise()
        if self.truncation is not None and self.ensemble is None:
            raise InvalidInputError(
                "truncation: expected together with ensemble=, as a plan bounds words by itself, got it alone"
            )
        if self.combine != "mean" and self.ensemble is None and self.method not in DRAWN:
            raise InvalidInputError(
                f"combine: expected 'mean' for a list of settings, got {self.combine!r}; other rules are for "
                f"snapshots: ensemble=, or method={' | '.join(map(repr, DRAWN))}"
            )

    def _check_noise(self) -> None:
        """Refuse what does not go with a noisy device."""
        if self.is_noisy and self.mode in ("state", "broadcast"):
            raise InvalidInputError(
                'device_options: expected mode "tapes" with noise= or calibration=, as the device has to '
                f"run what is measured, got {self.mode!r}"
            )
        if getattr(self.noise, "meas_map", None) and self.calibration is None:
            raise InvalidInputError(
                "calibration: expected one (efl.calibrate) with a noise model that has errors of readouts, "
                "got none"
            )
        if self.mitigate and self.noise is None:
            raise InvalidInputError(
                "mitigate: expected together with noise=, which it leaves out, got it alone"
            )
        if self.mitigate and self.audit is not None:
            raise InvalidInputError(
                "audit: expected the derivative of the noisy value, which parameter-shift measures, got "
                "mitigate=True"
            )
        if self.audit is not None and self.ensemble is not None:
            raise InvalidInputError("audit: expected a method of a plan, got ensemble=")

    def _check_step(self) -> None:
        """Refuse what a step of a few settings does not go with."""
        if self.settings_per_step is None:
            return
        given = f"got {self.settings_per_step!r}"
        if self.ensemble is not None or self.method in DRAWN:
            raise InvalidInputError(
                "settings_per_step: expected none where a setting is drawn for every shot (ensemble=, or "
                f"method={' | '.join(map(repr, DRAWN))}), {given}"
            )
        if self.target is not None:
            raise InvalidInputError(
                "settings_per_step: expected shots= beside it, as what a target takes is known for whole "
                f"lists of settings, {given} and target"
            )


def _method(value: object) -> str:
    known = (*METHODS, OF_PROJECTORS)
    if value != "auto" and value not in known:
        raise InvalidInputError(f"method: expected 'auto' or one of {', '.join(known)}, got {value!r:.40}")
    return str(value)


def _ensemble(value: object) -> Ensemble | None:
    if isinstance(value, str) and value == "auto":
        return None
    if not isinstance(value, Ensemble):
        raise InputTypeError(
            f"ensemble: expected 'auto' or an Ensemble (names are for method=), got {value!r:.40}"
        )
    return value


def _settings_per_step(value: object) -> SettingsPerStep:
    if isinstance(value, str):
        if value != "auto":
            raise InvalidInputError(f"settings_per_step: expected 'auto' or a number, got {value!r:.40}")
        return "auto"
    return integer("settings_per_step", value, 1)


def _target(value: object) -> float:
    found = real("target", value)
    if found <= 0:
        raise InvalidInputError(f"target: expected a positive RMS error, got {found:g}")
    return found


def _argnum(value: Any) -> int | tuple[int, ...]:  # noqa: ANN401 (as it comes)
    if isinstance(value, (Sequence, np.ndarray)) and not isinstance(value, str):
        return tuple(integer("argnum", v, 0) for v in value)
    return integer("argnum", value, 0)


def _truncation(value: object) -> Truncation:
    if not isinstance(value, Truncation):
        raise InputTypeError(f"truncation: expected a Truncation, got {type(value).__name__}")
    return value


def _mode(value: object) -> Mode | None:
    modes = get_args(Mode)
    if value == "auto":
        return None
    if value not in modes:
        known = ", ".join(("auto", *modes))
        raise InvalidInputError(f"device_options: expected mode {known}, got {value!r:.40}")
    return value  # type: ignore[return-value]


def _device(value: object) -> Device:
    if isinstance(value, LegacyDevice) and not isinstance(value, LegacyDeviceFacade):  # which says it is one
        return LegacyDeviceFacade(value)
    if not isinstance(value, Device):
        raise InputTypeError(f"device_options: expected a PennyLane device, got {type(value).__name__}")
    return value


def _cost(value: object) -> Cost:
    if not isinstance(value, Cost):
        raise InputTypeError(
            f"device_options: expected cost efl.Cost(circuit=..., shot=...), got {value!r:.40}"
        )
    return value


def _combine(value: object) -> Combine:
    if value not in get_args(Combine):
        raise InvalidInputError(f"combine: expected one of {', '.join(get_args(Combine))}, got {value!r:.40}")
    return value  # type: ignore[return-value]


def _calibration(value: object) -> Calibration:
    if not isinstance(value, Calibration):
        raise InputTypeError(f"calibration: expected an efl.Calibration, got {value!r:.40}")
    return value


def _report(value: Any) -> Sink:  # noqa: ANN401 (as it comes)
    check_sink(value)
    return value  # type: ignore[no-any-return]


READERS: dict[str, Callable[[Any], Any]] = {
    "shots": lambda value: integer("shots", value, 1),
    "target": _target,
    "method": _method,
    "ensemble": _ensemble,
    "settings_per_step": _settings_per_step,
    "combine": _combine,
    "seed": lambda value: integer("seed", value, 0),
    "argnum": _argnum,
    "truncation": _truncation,
    "mode": _mode,
    "device": _device,
    "max_tapes": lambda value: integer("device_options: max_tapes", value, 1),
    "equal_shots": bool,
    "connectivity": read_connectivity,
    "cost": _cost,
    "noise": read_noise,
    "calibration": _calibration,
    "mitigate": bool,
    "audit": read_audit,
    "twirls": lambda value: integer("device_options: twirls", value, 1),
    "report": _report,
}
NAMES = (*(f.name for f in fields(Options) if f.name not in DEVICE_OPTIONS), "device_options")


# Names of former versions.
RENAMED = {"device_settings": "device_options"}


def check_names(given: Mapping[str, Any]) -> None:
    """Refuse options that there are not."""
    for name in given:
        if name in RENAMED:
            raise InputTypeError(f"{name}: expected {RENAMED[name]}, which is its name now, got {name}")
        if name not in NAMES:
            raise InputTypeError(f"gradient_kwargs: expected some of {', '.join(NAMES)}, got {name!r}")
