"""Gaussians to a map."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar, pixel_coordinates
from cryojax_graph.forward.project import gaussian_profile


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
    x, y, z = (
        gaussian_profile(
            positions[:, axis], widths, coordinates, pixel_size=voxel_size, integrate=False
        )
        for axis in range(3)
    )
    slabs = jnp.einsum("nz,ny->nzy", z * masses[:, None], y)
    return jnp.einsum("nzy,nx->zyx", slabs, x)
