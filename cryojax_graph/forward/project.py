"""Atoms and residues to image: sums of Gaussians as products of two thin matrices."""

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar, pixel_coordinates
from cryojax_graph.forward.profiles import amplitude, profile


def project_gaussians(
    centres: Float[Array, "n 2"],
    masses: Float[Array, " n"],
    widths: Float[Array, " n"],
    *,
    box: int,
    pixel_size: Scalar,
    integrate: bool = False,
) -> Float[Array, "box box"]:
    """Image of a sum of isotropic Gaussians, every one on every pixel.

    The image is the product of two matrices, one row of each per Gaussian; exact, and the form for
    small boxes and for accelerators. ``project_groups`` is the form for many atoms on a processor.

    Args:
        centres: (x, y) in Å from the box centre.
        masses: integral of each Gaussian, electrons for instance.
        widths: standard deviations, Å.
        box: edge of the image in pixels.
        pixel_size: Å.
        integrate: mean over each pixel instead of the value at its centre; needed where a width is
            below about 0.7 pixels.

    Returns:
        density in mass per Å², shape (box, box), ``[y, x]``.
    """
    pixel_size = jnp.asarray(pixel_size, centres.dtype)
    centres, widths = centres / pixel_size, widths / pixel_size
    pixels = pixel_coordinates(box)
    along_x, along_y = (
        profile(centres[:, axis, None], widths[:, None], pixels, integrate=integrate)
        for axis in (0, 1)
    )
    heights = amplitude(masses, widths, integrate=integrate) / pixel_size**2
    # Accelerators would otherwise round the factors to 10 bits or fewer.
    return jnp.einsum("ny,nx->yx", along_y * heights[:, None], along_x, precision=Precision.HIGHEST)
