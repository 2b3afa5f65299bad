"""What a plan is made for, and what measuring costs."""

import math
from dataclasses import dataclass
from typing import Any, SupportsIndex, TypedDict

from efl_core.arguments import described, integer, real
from efl_core.designs import Connectivity, Goal, read_connectivity
from efl_core.errors import InputTypeError, InvalidInputError
from efl_core.plans.states import State

__all__ = ["Cost", "PlanKeywords", "PlanOptions"]


@dataclass(frozen=True, slots=True)
class Cost:
    """What measuring costs, in any unit of time: for every circuit and setting, and for every shot.

    >>> import efl_core as efl
    >>> efl.Cost(circuit=0.1, shot=1e-5).of(40, 20_000)
    4.2
    """

    circuit: float = 0.0
    """For every circuit and setting: compiling it, sending it, waiting for it."""
    shot: float = 1.0
    """For every shot."""

    def __post_init__(self) -> None:
        for name in ("circuit", "shot"):
            value = real(f"cost: {name}", getattr(self, name))
            if not (math.isfinite(value) and value >= 0):
                raise InvalidInputError.of(f"cost: {name}", "a finite time that is not negative", value)
            object.__setattr__(self, name, value)
        if self.circuit == self.shot == 0:
            raise InvalidInputError.of("cost", "a time above zero for circuits or for shots", "none")

    def of(self, circuits: float, shots: float) -> float:
        """Return the time of so many circuits and settings with so many shots in all."""
        return circuits * self.circuit + shots * self.shot


class PlanKeywords(TypedDict, total=False):
    """The options of `plan`, as it takes them; `PlanOptions` says what they are if they are not given."""

    target: float
    goal: Goal
    value_weight: float
    connectivity: Connectivity
    effort: SupportsIndex | None
    max_terms: SupportsIndex | None
    max_settings: SupportsIndex | None
    cost: Cost | None
    state: State | None
    noise: Any
    mitigate: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlanOptions:
    """What a plan is made for: checked once, and kept by the plan. `plan` documents each."""

    target: float = 0.01
    goal: Goal = "mean"
    value_weight: float = 0.0
    connectivity: Connectivity = "all"
    effort: SupportsIndex | None = None
    max_terms: SupportsIndex | None = None
    max_settings: SupportsIndex | None = None
    cost: Cost | None = None
    state: State | None = None
    noise: Any = None
    mitigate: bool = False
    valued: tuple[bool, ...] | None = None
    """The observables whose values have a weight; all, if not given. Transforms alone say which they need."""

    def __post_init__(self) -> None:
        error = real("target", self.target)
        if not (math.isfinite(error) and error > 0):
            raise InvalidInputError.of("target", "a number above zero", error)
        object.__setattr__(self, "target", error)
        if self.cost is not None and not isinstance(self.cost, Cost):
            raise InputTypeError.of("cost", "efl.Cost(circuit=..., shot=...)", described(self.cost))
        read_connectivity(self.connectivity)
        object.__setattr__(self, "value_weight", real("value_weight", self.value_weight))
        for name, given in self.limits().items():
            object.__setattr__(self, name, None if given is None else integer(name, given, 1))

    def limits(self) -> dict[str, int | None]:
        """Return what bounds the work and the settings."""
        return {name: getattr(self, name) for name in ("effort", "max_terms", "max_settings")}
