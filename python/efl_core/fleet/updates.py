"""What turns a gradient into the next parameters: a function of both, and optimisers made into one.

An optimiser of PennyLane, optax or torch keeps its state in the function that it becomes.
"""

from collections.abc import Callable
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from efl_core.arguments import described
from efl_core.errors import InputTypeError
from efl_core.pennylane import trainable
from efl_core.training.optimizers import read_optimizer

__all__ = ["Update", "of_optax", "of_pennylane", "of_torch", "read_update"]

Floats = NDArray[np.float64]
Update = Callable[[Floats, Floats], Floats]


def read_update(update: object) -> Update:
    """Return a function of parameters and a gradient."""
    if callable(update):
        return cast(Update, update)
    if not isinstance(update, str) and not hasattr(update, "update"):
        raise InputTypeError.of("update", "a function, 'adam', 'descent' or an optimiser", described(update))
    if hasattr(update, "update") and not isinstance(update, str):
        return cast(Update, update.update)
    return read_optimizer(update, None).update


def of_pennylane(optimizer: Any) -> Update:  # noqa: ANN401 (one of PennyLane's)
    """Return the update of a PennyLane optimiser, ``qml.AdamOptimizer(0.05)`` for example."""

    def update(params: Floats, gradient: Floats) -> Floats:
        [found] = optimizer.apply_grad((gradient,), (trainable(params),))
        return np.asarray(found, dtype=np.float64)

    return update


def of_optax(transformation: Any) -> Update:  # noqa: ANN401 (an optax.GradientTransformation)
    """Return the update of an optax transformation, ``optax.adam(0.05)`` for example."""
    state: list[Any] = []

    def update(params: Floats, gradient: Floats) -> Floats:
        if not state:
            state.append(transformation.init(params))
        changes, state[0] = transformation.update(gradient, state[0], params)
        return params + np.asarray(changes, dtype=np.float64)

    return update


def of_torch(make: Callable[[list[Any]], Any]) -> Update:
    """Return the update of a torch optimiser: ``of_torch(lambda own: torch.optim.Adam(own, lr=0.05))``."""
    import torch

    made: list[tuple[Any, Any]] = []

    def update(params: Floats, gradient: Floats) -> Floats:
        if not made:
            tensor = torch.nn.Parameter(torch.from_numpy(params.copy()))
            made.append((tensor, make([tensor])))
        tensor, optimizer = made[0]
        with torch.no_grad():
            tensor.copy_(torch.from_numpy(params))
        tensor.grad = torch.from_numpy(np.ascontiguousarray(gradient))
        optimizer.step()
        return np.array(tensor.detach().numpy())

    return update
