"""One-dimensional Gaussians on pixels, and their derivatives.

An image of isotropic Gaussians is a sum of an amplitude times a profile along y times a profile
along x. The time goes into the profiles, so every factor that depends on the point alone is kept
out of them: in the amplitude and in the scales of the derivatives.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar


class Derivatives(NamedTuple):
    """Derivatives by centre and by width, up to a factor of the point alone."""

    by_centre: Float[Array, "..."]
    by_width: Float[Array, "..."]


def amplitude(
    masses: Float[Array, "..."], widths: Float[Array, "..."], pixel_size: Scalar, integrate: bool
) -> Float[Array, "..."]:
    """Density that two profiles multiply.

    Args:
        masses: integral of each Gaussian.
        widths: standard deviations, Å.
        pixel_size: Å.
        integrate: mean over each pixel instead of the value at its centre.

    Returns:
        mass per Å².
    """
    area = jnp.asarray(pixel_size) ** 2 if integrate else 2.0 * jnp.pi * widths**2
    return masses / area


def profile(
    centres: Float[Array, "..."],
    widths: Float[Array, "..."],
    coordinates: Float[Array, "..."],
    pixel_size: Scalar,
    integrate: bool,
) -> Float[Array, "..."]:
    """Gaussians of unit height at pixel centres, or the share of each Gaussian in each pixel.

    Args:
        centres: Å; broadcasts with the two arrays that follow.
        widths: standard deviations, Å.
        coordinates: of the pixel centres, Å.
        pixel_size: Å.
        integrate: share of the pixel instead of the value at its centre; needed where a width is
            below about 0.7 pixels.

    Returns:
        numbers in [0, 1].
    """
    distance = coordinates - centres
    if not integrate:
        return jnp.exp(distance**2 * (-0.5 / widths**2))
    inverse = jnp.sqrt(0.5) / widths
    half = 0.5 * jnp.asarray(pixel_size)
    return 0.5 * (erf((distance + half) * inverse) - erf((distance - half) * inverse))


def differentiate(
    value: Float[Array, "..."],
    centres: Float[Array, "..."],
    widths: Float[Array, "..."],
    coordinates: Float[Array, "..."],
    pixel_size: Scalar,
    integrate: bool,
) -> Derivatives:
    """Derivatives of ``profile``, to be multiplied by ``derivative_scales``.

    Args:
        value: what ``profile`` returned, used again because exponentials are dear.
        centres: Å.
        widths: standard deviations, Å.
        coordinates: of the pixel centres, Å.
        pixel_size: Å.
        integrate: as for ``profile``.

    Returns:
        arrays of the shape of ``value``.
    """
    distance = coordinates - centres
    if not integrate:
        return Derivatives(value * distance, value * distance**2)
    half, inverse = 0.5 * jnp.asarray(pixel_size), 1.0 / widths
    low, high = (distance - half) * inverse, (distance + half) * inverse
    at_low, at_high = jnp.exp(-0.5 * low**2), jnp.exp(-0.5 * high**2)
    return Derivatives(at_low - at_high, low * at_low - high * at_high)


def derivative_scales(widths: Float[Array, "..."], integrate: bool) -> Derivatives:
    """Factors of the point that complete ``differentiate``.

    Args:
        widths: standard deviations, Å.
        integrate: as for ``profile``.

    Returns:
        a factor per point for each derivative.
    """
    if integrate:
        scale = 1.0 / (jnp.sqrt(2.0 * jnp.pi) * widths)
        return Derivatives(scale, scale)
    return Derivatives(widths**-2, widths**-3)
