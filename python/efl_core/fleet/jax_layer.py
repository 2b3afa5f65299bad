"""A replica inside a JAX model: its outputs are an array, and the backward pass hands in what each one costs.

JAX only runs backwards to what is differentiated by: name the inputs among ``argnums``, whose own gradient is
zero. Works with ``jax.grad`` and inside ``jax.jit``: queries and feedback are callbacks, in the order of the
program.
"""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import io_callback

from efl_core.fleet.replica import Replica

__all__ = ["layer"]


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
        texts = np.array([list(ticket.encode()) for ticket in found.tickets], dtype=np.uint8)
        return np.reshape(value, (len(rows), outputs)).astype(dtype), texts

    def hand_in(texts: Any, gradient: Any) -> None:  # noqa: ANN401
        tickets = [bytes(row).decode() for row in np.asarray(texts)]
        replica.feedback(tickets, gradient=np.asarray(gradient, dtype=np.float64))

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
