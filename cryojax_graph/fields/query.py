"""Value, gradient and Hessian of any field at many points."""

from collections.abc import Callable
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.batched import map_batches

_POINTS = 4096


class Expansion(NamedTuple):
    """A field around points, to second order.

    Attributes:
        value: density in map units.
        gradient: along x, y, z, map units per Å.
        hessian: map units per Å².
    """

    value: Float[Array, "*n"]
    gradient: Float[Array, "*n 3"]
    hessian: Float[Array, "*n 3 3"]


@runtime_checkable
class Field(Protocol):
    """A density that is known at every point of space.

    Many points are asked for at once, because a field of many networks sorts them by network.
    ``query`` and ``query_expansion`` do so for any number of them.
    """

    def values(self, points: Float[Array, "n 3"]) -> Float[Array, " n"]:
        """Density in map units at points (x, y, z) in Å."""
        ...

    def expansions(self, points: Float[Array, "n 3"]) -> Expansion:
        """The same with gradient and Hessian; ``differentiate`` derives it from ``values``."""
        ...


def differentiate(
    values: Callable[[Float[Array, "n 3"]], Float[Array, " n"]], points: Float[Array, "n 3"]
) -> Expansion:
    """Value, gradient and Hessian of a function of many points, each of which counts for itself.

    Args:
        values: of the points, twice differentiable.
        points: (x, y, z) in Å.

    Returns:
        one row for each point.
    """

    def along(direction: Float[Array, "3"]) -> Float[Array, "n 3"]:
        each = jnp.broadcast_to(direction, points.shape)
        return jax.jvp(lambda p: value_and_gradient(values, p)[1], (points,), (each,))[1]

    value, gradient = value_and_gradient(values, points)
    columns = jax.vmap(along, out_axes=2)(jnp.eye(3, dtype=points.dtype))
    return Expansion(value, gradient, columns)


def value_and_gradient(
    values: Callable[[Float[Array, "n 3"]], Float[Array, " n"]], points: Float[Array, "n 3"]
) -> tuple[Float[Array, " n"], Float[Array, "n 3"]]:
    """Value and gradient of a function of many points, each of which counts for itself.

    Args:
        values: of the points, differentiable.
        points: (x, y, z) in Å.

    Returns:
        both, one row for each point.
    """
    value, pull = jax.vjp(values, points)
    return value, pull(jnp.ones_like(value))[0]


def query(field: Field, points: Float[Array, "n 3"]) -> Float[Array, " n"]:
    """Density of a field at many points, a part of them at a time.

    Args:
        field: any.
        points: (x, y, z) in Å.

    Returns:
        density in map units.
    """
    return map_batches(field.values, points, chunk=_POINTS)


def query_expansion(field: Field, points: Float[Array, "n 3"]) -> Expansion:
    """Value, gradient and Hessian of a field at many points, a part of them at a time.

    Args:
        field: any.
        points: (x, y, z) in Å.

    Returns:
        map units, per Å and per Å², one row for each point.
    """
    return map_batches(field.expansions, points, chunk=_POINTS)
