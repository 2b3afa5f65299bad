"""What the parameters of a tape are computed from: the slopes of each by what the user differentiates by.

A gradient transform is handed a tape, and its caller applies the chain rule. Autograd and torch leave in each
parameter the record of how it was computed, from which its slopes are read; where a transform is applied to
a QNode, PennyLane knows them; where a device measures, the tapes are in PennyLane's calling frames. JAX
leaves nothing.

Invariant: slopes are found or they are not; none is guessed.
Cost: one pass backwards through the classical code of each parameter; tapes that follow each other, as those
of a batch of inputs do, share the parameters that they have in common.
"""

import sys
import weakref
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from autograd.core import VJPNode, backward_pass
from autograd.numpy.numpy_boxes import ArrayBox
from autograd.tracer import new_box, trace_stack
from numpy.typing import NDArray
from pennylane.tape import QuantumScript

__all__ = ["recorded", "slopes_of"]

Slopes = NDArray[np.float64]

# The last tape whose parameters autograd recorded, and the slopes of these by their identity.
_last: list[tuple[Callable[[], object], dict[int, Slopes | None]]] = [(lambda: None, {})]


def slopes_of(tape: QuantumScript) -> Slopes | None:
    """Return the slopes of a tape's trainable parameters, a row for each; None if nobody knows.

    Arguments are the numbers that derivatives are taken by, in the order of the interface.
    """
    parameters = tape.get_parameters()
    if any(isinstance(p, ArrayBox) for p in parameters):
        before, known = _last[0]
        known = {} if before() is None else known  # which alone keeps those parameters, and their identities
        found = {id(p): known[id(p)] if id(p) in known else _by_autograd(p) for p in parameters}
        _last[0] = weakref.ref(tape), found
        return _table([found[id(p)] for p in parameters])
    if "torch" in sys.modules and any(_is_recorded_by_torch(p) for p in parameters):
        return _by_torch(parameters)
    return None


def recorded(
    build: Callable[..., Sequence[QuantumScript]], args: Sequence[Any], argnums: Sequence[int]
) -> Sequence[QuantumScript]:
    """Return the tapes that a function of some arguments builds, with parameters that know their slopes."""
    with trace_stack.new_trace() as trace:
        root = new_box(tuple(args[i] for i in argnums), trace, VJPNode.new_root())
        traced = list(args)
        for place, i in enumerate(argnums):
            traced[i] = root[place]
        return build(*traced)


def _by_autograd(parameter: Any) -> Slopes | None:  # noqa: ANN401 (a number or a box of one)
    if not isinstance(parameter, ArrayBox):
        return None
    one = np.ones(np.shape(parameter._value))
    return _flat(backward_pass(one, parameter._node))


def _flat(slopes: Any) -> Slopes:  # noqa: ANN401 (nested as the arguments are)
    if isinstance(slopes, dict):
        slopes = [slopes[key] for key in sorted(slopes)]
    if isinstance(slopes, (tuple, list)):
        return np.concatenate([np.zeros(0), *map(_flat, slopes)])
    return np.ravel(np.asarray(slopes, dtype=np.float64))


def _is_recorded_by_torch(parameter: Any) -> bool:  # noqa: ANN401
    return isinstance(parameter, sys.modules["torch"].Tensor) and bool(parameter.requires_grad)


def _by_torch(parameters: Sequence[Any]) -> Slopes:
    torch = sys.modules["torch"]
    leaves: dict[int, Any] = {}
    for parameter in filter(_is_recorded_by_torch, parameters):
        _gather(parameter, leaves)
    inputs = list(leaves.values())
    rows: list[Slopes | None] = []
    for parameter in parameters:
        if not _is_recorded_by_torch(parameter):
            rows.append(None)
            continue
        found = torch.autograd.grad(parameter, inputs, retain_graph=True, allow_unused=True)
        pairs = zip(found, inputs, strict=True)
        flat = [np.zeros(x.numel()) if g is None else g.detach().cpu().numpy().ravel() for g, x in pairs]
        rows.append(np.concatenate([np.zeros(0), *flat]))
    return _table(rows)


def _gather(parameter: Any, leaves: dict[int, Any]) -> None:  # noqa: ANN401
    """Add the leaves of the graph that a tensor was computed in."""
    if parameter.grad_fn is None:
        leaves[id(parameter)] = parameter
        return
    waiting, seen = [parameter.grad_fn], set()
    while waiting:
        node = waiting.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        leaf = getattr(node, "variable", None)
        if leaf is not None:
            leaves[id(leaf)] = leaf
        waiting += [after for after, _ in node.next_functions]


def _table(rows: Sequence[Slopes | None]) -> Slopes:
    width = max(len(row) for row in rows if row is not None)
    return np.array([np.zeros(width) if row is None else row for row in rows]).reshape(len(rows), width)
