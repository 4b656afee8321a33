"""Value, gradient and Hessian of any field at many points."""

from typing import NamedTuple, Protocol, runtime_checkable

import jax
from jaxtyping import Array, Float

from cryojax_graph.forward.batched import map_images

_POINTS = 4096


@runtime_checkable
class Field(Protocol):
    """A density that is known at every point of space."""

    def value(self, point: Float[Array, "3"]) -> Float[Array, ""]:
        """Density in map units at a point (x, y, z) in Å."""
        ...


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


def expand(field: Field, point: Float[Array, "3"]) -> Expansion:
    """Value, gradient and Hessian of a field at one point.

    Args:
        field: any.
        point: (x, y, z) in Å.

    Returns:
        map units, per Å and per Å².
    """

    def value_and_gradient(
        point: Float[Array, "3"],
    ) -> tuple[Float[Array, "3"], tuple[Float[Array, ""], Float[Array, "3"]]]:
        value, gradient = jax.value_and_grad(field.value)(point)
        return gradient, (value, gradient)

    hessian, (value, gradient) = jax.jacfwd(value_and_gradient, has_aux=True)(point)
    return Expansion(value, gradient, hessian)


def query(field: Field, points: Float[Array, "n 3"]) -> Float[Array, " n"]:
    """Density of a field at many points, a part of them at a time.

    Args:
        field: any.
        points: (x, y, z) in Å.

    Returns:
        density in map units.
    """
    return map_images(field.value, points, chunk=_POINTS)


def query_expansion(field: Field, points: Float[Array, "n 3"]) -> Expansion:
    """Value, gradient and Hessian of a field at many points, a part of them at a time.

    Args:
        field: any.
        points: (x, y, z) in Å.

    Returns:
        map units, per Å and per Å², one row for each point.
    """

    def one(point: Float[Array, "3"]) -> Expansion:
        return expand(field, point)

    return map_images(one, points, chunk=_POINTS)
