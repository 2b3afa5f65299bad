"""What is done with a gradient: objects that keep what they need between steps.

Any object with `update` serves, and any function from parameters and a gradient to parameters.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import described, real
from efl_core.errors import InputTypeError, InvalidInputError

__all__ = ["Adam", "Descent", "Optimizer", "Update", "read_optimizer"]

Vector: TypeAlias = NDArray[np.float64]
Update: TypeAlias = Callable[[Vector, Vector], Vector]


class Optimizer(Protocol):
    """What turns gradients into steps."""

    def update(self, parameters: Vector, gradient: Vector) -> Vector:
        """Return the next parameters."""

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps, ready for JSON."""

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""


@dataclass
class Descent:
    """Plain gradient descent.

    >>> import numpy as np
    >>> from efl_core.training import Descent
    >>> Descent(lr=0.5).update(np.array([1.0]), np.array([0.4]))
    array([0.8])
    """

    lr: float = 0.1

    def update(self, parameters: Vector, gradient: Vector) -> Vector:
        """Return the next parameters."""
        return parameters - self.lr * gradient

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps."""
        return {"lr": self.lr}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        self.lr = float(state["lr"])


@dataclass
class Adam:
    """Adam, with the usual corrections for its start.

    >>> import numpy as np
    >>> from efl_core.training import Adam
    >>> Adam(lr=0.1).update(np.array([1.0, 2.0]), np.array([0.4, -3.0])).round(6)
    array([0.9, 2.1])
    """

    lr: float = 0.1
    beta1: float = 0.9
    beta2: float = 0.99
    eps: float = 1e-8
    steps: int = 0
    first: Vector = field(default_factory=lambda: np.zeros(0))
    second: Vector = field(default_factory=lambda: np.zeros(0))

    def update(self, parameters: Vector, gradient: Vector) -> Vector:
        """Return the next parameters."""
        if self.steps == 0:
            self.first, self.second = np.zeros_like(parameters), np.zeros_like(parameters)
        self.steps += 1
        self.first = self.beta1 * self.first + (1 - self.beta1) * gradient
        self.second = self.beta2 * self.second + (1 - self.beta2) * gradient**2
        first = self.first / (1 - self.beta1**self.steps)
        second = self.second / (1 - self.beta2**self.steps)
        return parameters - self.lr * first / (np.sqrt(second) + self.eps)

    def to_dict(self) -> dict[str, Any]:
        """Return what is kept between steps."""
        numbers = {name: getattr(self, name) for name in ("lr", "beta1", "beta2", "eps", "steps")}
        return {**numbers, "first": self.first.tolist(), "second": self.second.tolist()}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over what `to_dict` returned."""
        for name in ("lr", "beta1", "beta2", "eps"):
            setattr(self, name, float(state[name]))
        self.steps = int(state["steps"])
        self.first, self.second = (np.array(state[name], dtype=np.float64) for name in ("first", "second"))


@dataclass
class Given:
    """A function of the user's: what it keeps is its own affair."""

    function: Update

    def update(self, parameters: Vector, gradient: Vector) -> Vector:
        """Return the next parameters."""
        return np.array(self.function(parameters, gradient), dtype=np.float64)

    def to_dict(self) -> dict[str, Any]:
        """Return nothing."""
        return {}

    def restore(self, state: dict[str, Any]) -> None:
        """Take over nothing."""


def read_optimizer(optimizer: object, lr: object, usual: float = 0.1) -> Optimizer:
    """Return an optimizer by its name, an object that is one, or a function in its place.

    ``usual`` is the learning rate of Adam where none is given.
    """
    if isinstance(optimizer, str):
        rate = real("lr", (usual if optimizer == "adam" else 0.1) if lr is None else lr)
        if not (np.isfinite(rate) and rate > 0):
            raise InvalidInputError.of("lr", "a number above zero", rate)
        made: dict[str, Optimizer] = {"adam": Adam(rate), "descent": Descent(rate)}
        if optimizer not in made:
            expected = "'adam', 'descent', an object or a function"
            raise InvalidInputError.of("optimizer", expected, repr(optimizer))
        return made[optimizer]
    if lr is not None:
        raise InvalidInputError.of("lr", "none beside an optimizer that has its own", described(lr))
    if all(hasattr(optimizer, name) for name in ("update", "to_dict", "restore")):
        return cast(Optimizer, optimizer)
    if not callable(optimizer):
        raise InputTypeError.of(
            "optimizer",
            "'adam', 'descent', an object with update, to_dict and restore, or a function",
            described(optimizer),
        )
    return Given(optimizer)
