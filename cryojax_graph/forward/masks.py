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


def low_pass_map(
    volume: Float[Array, "box box box"],
    resolution: Scalar,
    *,
    voxel_size: Scalar,
    edge: float = 2.0,
) -> Float[Array, "box box box"]:
    """A map without what is finer than a resolution.

    Args:
        volume: density.
        resolution: Å; amplitudes are halved there.
        voxel_size: Å.
        edge: width of the raised-cosine edge, Fourier voxels.

    Returns:
        the blurred map.
    """
    box = volume.shape[0]
    k = jnp.fft.fftfreq(box) * box
    radius = jnp.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + (jnp.fft.rfftfreq(box) * box) ** 2)
    limit = box * jnp.asarray(voxel_size) / jnp.asarray(resolution)
    position = jnp.clip((radius - limit) / edge, -0.5, 0.5)
    factor = 0.5 - 0.5 * jnp.sin(jnp.pi * position)
    return jnp.fft.irfftn(jnp.fft.rfftn(volume) * factor, s=volume.shape)
