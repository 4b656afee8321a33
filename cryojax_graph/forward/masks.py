"""Masks with soft edges."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar, pixel_coordinates


def soft_sphere(box: int, *, radius: Scalar, edge: Scalar) -> Float[Array, "box box box"]:
    """A ball around the centre of a map whose edge falls off along a cosine.

    Args:
        box: edge of the map in voxels.
        radius: up to which the mask is 1, voxels.
        edge: over which it falls to 0, voxels; above 0.

    Returns:
        factors from 0 to 1.
    """
    axis = pixel_coordinates(box) ** 2
    distance = jnp.sqrt(axis[:, None, None] + axis[:, None] + axis)
    outside = jnp.clip((distance - jnp.asarray(radius)) / jnp.asarray(edge), 0.0, 1.0)
    return 0.5 + 0.5 * jnp.cos(jnp.pi * outside)
