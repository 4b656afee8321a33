"""What a network of a neural map is to be near to."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.fields.siren import Siren, siren
from cryojax_graph.forward.batched import sum_images

# Points whose activations stay in cache; the gradient of all voxels is summed over them.
_POINTS = 2048


def voxel_error(
    layers: Siren,
    places: Float[Array, "n 3"],
    values: Float[Array, " n"],
    *,
    omega: float,
) -> Float[Array, ""]:
    """Mean squared error at points, differentiable in the memory of a few thousand of them.

    Args:
        layers: of one network.
        places: in its box, -1 … 1.
        values: what it is to say there.
        omega: frequency of the sines.

    Returns:
        the error.
    """

    def square(layers: Siren, _: tuple[()], one: tuple[Array, Array]) -> Array:
        place, value = one
        return (siren(layers, place, omega=omega) - value) ** 2

    total, _ = sum_images(square, layers, (), (places, values), chunk=_POINTS)
    return total / len(values)


def slope_error(
    layers: Siren,
    places: Float[Array, "n 3"],
    values: Float[Array, " n"],
    slopes: Float[Array, "n 3"],
    *,
    omega: float,
    voxel: Float[Array, "3"],
    weight: float,
) -> Float[Array, ""]:
    """Mean squared error at points, of value and gradient.

    Args:
        layers: of one network.
        places: in its box, -1 … 1.
        values: what it is to say there.
        slopes: the gradient that it is to have there, per voxel.
        omega: frequency of the sines.
        voxel: edge of a voxel in the box, of which -1 … 1 is the whole.
        weight: of the squared error of the slopes.

    Returns:
        the error.
    """
    said, pull = jax.vjp(lambda places: siren(layers, places, omega=omega), places)
    slope = pull(jnp.ones_like(said))[0] * voxel
    error = jnp.mean((said - values) ** 2)
    return error + weight * jnp.mean(jnp.sum((slope - slopes) ** 2, axis=1))
