"""A replica inside a JAX model: its outputs are an array, and the backward pass hands in what each one costs.

JAX only runs backwards to what is differentiated by: name the inputs among ``argnums``, whose own gradient is
zero. Works with ``jax.grad`` and inside ``jax.jit``: queries and feedback are callbacks, in the order of the
program. The tickets of `recall` are text, which `jax.jit` takes as a constant of the program.
"""

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from efl_core.fleet.replica import Replica

__all__ = ["layer", "recall"]


def layer(replica: Replica, inputs: jax.Array) -> jax.Array:
    """Answer the rows of an array."""
    single = inputs.ndim == 1
    rows = inputs[None] if single else inputs
    outputs = replica.n_outputs(np.zeros(inputs.shape[-1]))
    dtype = rows.dtype if jnp.issubdtype(rows.dtype, jnp.floating) else jnp.float32
    shape = jax.ShapeDtypeStruct((len(rows), outputs), dtype)  # type: ignore[no-untyped-call, unused-ignore]
    # A ticket is 32 letters: arrays of bytes pass through callbacks.
    names = jax.ShapeDtypeStruct((len(rows), 32), jnp.uint8)  # type: ignore[no-untyped-call, unused-ignore]

    def run(rows: Any) -> tuple[Any, Any]:  # noqa: ANN401
        found = replica.answers(np.asarray(rows, dtype=np.float64))
        value = np.stack(found.value, axis=-1) if isinstance(found.value, (tuple, list)) else found.value
        return np.reshape(value, (len(rows), outputs)).astype(dtype), _texts(found.tickets)

    def hand_in(texts: Any, gradient: Any) -> None:  # noqa: ANN401
        _hand_in(replica, texts, gradient)

    @jax.custom_vjp
    def answered(rows: jax.Array) -> jax.Array:
        return io_callback(run, (shape, names), rows, ordered=True)[0]  # type: ignore[no-any-return]

    def forward(rows: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
        value, texts = io_callback(run, (shape, names), rows, ordered=True)
        return value, (texts, rows)

    def backward(kept: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array]:
        texts, rows = kept
        io_callback(hand_in, None, texts, gradient, ordered=True)
        return (jnp.zeros_like(rows),)

    answered.defvjp(forward, backward)
    found = answered(rows)
    found = found[:, 0] if outputs == 1 else found
    return found[0] if single else found


def recall(replica: Replica, tickets: Any, through: Any) -> jax.Array:  # noqa: ANN401
    """Return the outputs of queries that wait for a label, as `layer` returned them.

    The backward pass reaches them by way of ``through``: arrays that the loss is differentiated by.
    """
    names = [tickets] if isinstance(tickets, str) else list(tickets)
    replica.flush(1.0)
    outputs = jnp.asarray(replica.outputs(names))
    texts = _texts(names)

    def hand_in(gradient: Any) -> None:  # noqa: ANN401
        _hand_in(replica, texts, gradient)

    @jax.custom_vjp
    def recalled(through: Any) -> jax.Array:  # noqa: ANN401
        return outputs

    def forward(through: Any) -> tuple[jax.Array, Any]:  # noqa: ANN401
        return outputs, through

    def backward(through: Any, gradient: jax.Array) -> tuple[Any]:  # noqa: ANN401
        io_callback(hand_in, None, gradient, ordered=True)
        return (jax.tree_util.tree_map(jnp.zeros_like, through),)

    recalled.defvjp(forward, backward)
    found = recalled(through)
    found = found[:, 0] if found.shape[1] == 1 else found
    return found[0] if isinstance(tickets, str) else found


def _texts(tickets: Sequence[str]) -> Any:  # noqa: ANN401
    return np.array([list(ticket.encode()) for ticket in tickets], dtype=np.uint8)


def _hand_in(replica: Replica, texts: Any, gradient: Any) -> None:  # noqa: ANN401
    tickets = [bytes(row).decode() for row in np.asarray(texts)]
    replica.feedback(tickets, gradient=np.asarray(gradient, dtype=np.float64))
