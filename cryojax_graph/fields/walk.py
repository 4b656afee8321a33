"""The published way uphill: steps of one length along the gradient."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from cryojax_graph.fields.query import Field, value_and_gradient
from cryojax_graph.forward.batched import map_batches

_POINTS = 4096


class Walk(NamedTuple):
    """Where walks ended.

    Attributes:
        position: the last place before density fell, (x, y, z) in Å.
        arrived: density did fall, before the steps were used up and before the box was left.
    """

    position: Float[Array, "*n 3"]
    arrived: Bool[Array, "*n"]


def walk_uphill(
    field: Field,
    starts: Float[Array, "n 3"],
    *,
    first: Float[Array, "3"],
    last: Float[Array, "3"],
    step: float = 0.05,
    steps: int | Array = 1000,
) -> Walk:
    """Walk along the gradient from many points until density falls.

    Algorithm 1 of Ranno and Si (2022).

    Args:
        field: any.
        starts: (x, y, z) in Å.
        first: corner of the box that is walked in, (x, y, z) in Å; a walk that leaves it is lost.
        last: the opposite corner.
        step: its length, Å.
        steps: at most.

    Returns:
        one end for each start.
    """
    return map_batches(
        partial(_walk, field, first=first, last=last, step=step, steps=steps), starts, chunk=_POINTS
    )


class _Walkers(NamedTuple):
    position: Array
    value: Array
    gradient: Array
    walking: Array
    left: Array


def _walk(
    field: Field,
    starts: Float[Array, "n 3"],
    *,
    first: Float[Array, "3"],
    last: Float[Array, "3"],
    step: float,
    steps: int | Array,
) -> Walk:
    def outside(points: Array) -> Array:
        return jnp.any((points < first) | (points > last), axis=1)

    def under_way(state: tuple[_Walkers, Array]) -> Array:
        walkers, taken = state
        return jnp.any(walkers.walking) & (taken < steps)

    def go_on(state: tuple[_Walkers, Array]) -> tuple[_Walkers, Array]:
        walkers, taken = state
        square = jnp.sum(walkers.gradient**2, axis=1, keepdims=True)
        along = walkers.gradient / jnp.sqrt(jnp.where(square > 0, square, 1.0))
        there = walkers.position + step * along
        value, gradient = value_and_gradient(field.values, there)
        leaves = walkers.walking & outside(there)
        rises = walkers.walking & ~leaves & (value > walkers.value)

        def chosen(new: Array, old: Array) -> Array:
            return jnp.where(rises.reshape(-1, *[1] * (new.ndim - 1)), new, old)

        onward = _Walkers(
            chosen(there, walkers.position),
            chosen(value, walkers.value),
            chosen(gradient, walkers.gradient),
            rises,
            walkers.left | leaves,
        )
        return onward, taken + 1

    value, gradient = value_and_gradient(field.values, starts)
    begin = _Walkers(starts, value, gradient, ~outside(starts), outside(starts))
    end, _ = jax.lax.while_loop(under_way, go_on, (begin, jnp.int32(0)))
    return Walk(end.position, ~end.walking & ~end.left)
