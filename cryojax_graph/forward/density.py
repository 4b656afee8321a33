"""Gaussians to a map."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar, pixel_coordinates


def density_of_gaussians(
    positions: Float[Array, "n 3"],
    masses: Float[Array, " n"],
    widths: Float[Array, " n"],
    *,
    box: int,
    voxel_size: Scalar,
) -> Float[Array, "box box box"]:
    """Map of a sum of isotropic Gaussians, sampled at voxel centres.

    Args:
        positions: (x, y, z) in Å from voxel ``box // 2``.
        masses: integral of each Gaussian.
        widths: standard deviations, Å.
        box: edge of the map in voxels.
        voxel_size: Å.

    Returns:
        density in mass per Å³, ``[z, y, x]``.
    """
    coordinates = pixel_coordinates(box, voxel_size)
    distance = (coordinates - positions[:, :, None]) / widths[:, None, None]
    profiles = jnp.exp(-0.5 * distance**2)
    heights = masses / (jnp.sqrt(2.0 * jnp.pi) * widths) ** 3
    slabs = jnp.einsum("nz,ny->nzy", profiles[:, 2] * heights[:, None], profiles[:, 1])
    return jnp.einsum("nzy,nx->zyx", slabs, profiles[:, 0])
