"""Atoms and residues to image: sums of Gaussians as products of two thin matrices."""

import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar, pixel_coordinates


def gaussian_profile(
    centres: Float[Array, " n"],
    widths: Float[Array, " n"],
    coordinates: Float[Array, " pixels"],
    *,
    pixel_size: Scalar,
    integrate: bool,
) -> Float[Array, "n pixels"]:
    """One-dimensional normal densities on a row of pixels.

    Args:
        centres: of the Gaussians, Å.
        widths: standard deviations, Å.
        coordinates: of the pixel centres, Å.
        pixel_size: Å.
        integrate: mean over each pixel instead of the value at its centre; needed where a width
            is below about 0.7 pixels.

    Returns:
        densities in 1/Å; each row times ``pixel_size`` sums to 1 inside a wide enough box.
    """
    inverse = 1.0 / widths[:, None]
    distance = (coordinates - centres[:, None]) * inverse
    if not integrate:
        return (inverse / jnp.sqrt(2.0 * jnp.pi)) * jnp.exp(-0.5 * distance**2)
    half = 0.5 * jnp.asarray(pixel_size) * inverse
    upper = erf((distance + half) / jnp.sqrt(2.0))
    lower = erf((distance - half) / jnp.sqrt(2.0))
    return 0.5 * (upper - lower) / jnp.asarray(pixel_size)


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
        integrate: mean over each pixel instead of the value at its centre.

    Returns:
        density in mass per Å², shape (box, box), ``[y, x]``.
    """
    coordinates = pixel_coordinates(box, pixel_size)
    along_x, along_y = (
        gaussian_profile(
            centres[:, axis], widths, coordinates, pixel_size=pixel_size, integrate=integrate
        )
        for axis in (0, 1)
    )
    return jnp.einsum("ny,nx->yx", along_y * masses[:, None], along_x)
