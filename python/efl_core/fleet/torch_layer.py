"""A replica inside a torch model: its outputs are a tensor whose backward pass hands in what each one costs.

The model's head trains as before, by its own optimiser; nothing here has parameters.
"""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from efl_core.errors import InvalidInputError
from efl_core.fleet.replica import Replica

__all__ = ["layer", "recall"]

Feedback = Callable[[Sequence[str], Any], object]


class _Answered(torch.autograd.Function):  # type: ignore[misc, unused-ignore] # where torch is not
    """Outputs that are there already; their gradients go to the learner."""

    # ruff: noqa: ANN401 (the contexts of torch have no type)

    @staticmethod
    def forward(ctx: Any, start: torch.Tensor, outputs: torch.Tensor, hand_in: Any) -> torch.Tensor:
        ctx.hand_in = hand_in
        return outputs.clone()

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> tuple[None, None, None]:
        ctx.hand_in(gradient.detach().cpu().numpy())
        return None, None, None


def layer(replica: Replica, inputs: torch.Tensor) -> torch.Tensor:
    """Answer the rows of a tensor."""
    if inputs.requires_grad:
        raise InvalidInputError.of(
            "inputs",
            "data (a tensor.detach()), as nothing is learnt by inputs",
            "a tensor that requires gradients",
        )
    single = inputs.dim() == 1
    found = replica.answers(inputs[None] if single else inputs)
    value = np.stack(found.value, axis=-1) if isinstance(found.value, (tuple, list)) else found.value
    outputs = torch.as_tensor(value, dtype=_dtype(inputs), device=inputs.device)
    return _recorded(replica, found.tickets, outputs[0] if single else outputs)


def recall(replica: Replica, tickets: Any) -> torch.Tensor:
    """Return the outputs of queries that wait for a label, as `layer` returned them."""
    names = [tickets] if isinstance(tickets, str) else list(tickets)
    replica.flush(1.0)
    found = torch.as_tensor(replica.outputs(names), dtype=torch.get_default_dtype())
    found = found[:, 0] if found.shape[1] == 1 else found
    return _recorded(replica, names, found[0] if isinstance(tickets, str) else found)


def _recorded(replica: Replica, tickets: Sequence[str], outputs: torch.Tensor) -> torch.Tensor:
    def hand_in(gradient: Any) -> None:
        replica.feedback(tickets, gradient=np.reshape(gradient, (len(tickets), -1)))

    # Something has to require gradients, or there is no backward pass.
    start = torch.zeros((), requires_grad=True)
    found = _Answered.apply(start, outputs, hand_in)
    assert isinstance(found, torch.Tensor)
    found.tickets = list(tickets)  # type: ignore[attr-defined, unused-ignore] # where torch is not
    return found


def _dtype(inputs: torch.Tensor) -> torch.dtype:
    return inputs.dtype if inputs.dtype.is_floating_point else torch.get_default_dtype()
