"""One-dimensional Gaussians on pixels, and their derivatives.

An image of isotropic Gaussians is a sum of an amplitude times a profile along y times a profile
along x. The time goes into the profiles, so every factor that depends on the point alone is kept
out of them: in the amplitude and in the scales of the derivatives. Lengths are in pixels.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jax.scipy.special import erf
from jaxtyping import Array, Float


class Slopes(NamedTuple):
    """Derivatives by centre and by width, up to a factor of the point alone."""

    by_centre: Float[Array, "..."]
    by_width: Float[Array, "..."]


def amplitude(
    masses: Float[Array, "..."], widths: Float[Array, "..."], *, integrate: bool
) -> Float[Array, "..."]:
    """Density that two profiles multiply.

    Args:
        masses: integral of each Gaussian.
        widths: standard deviations, pixels.
        integrate: mean over each pixel instead of the value at its centre.

    Returns:
        mass per pixel area.
    """
    return masses if integrate else masses / (2.0 * jnp.pi * widths**2)


def profile(
    centres: Float[Array, "..."],
    widths: Float[Array, "..."],
    pixels: Float[Array, "..."],
    *,
    integrate: bool,
) -> Float[Array, "..."]:
    """Gaussians of unit height at pixel centres, or the share of each Gaussian in each pixel.

    Args:
        centres: pixels; broadcasts with the two arrays that follow.
        widths: standard deviations, pixels.
        pixels: coordinates of the pixel centres.
        integrate: share of the pixel instead of the value at its centre; needed where a width is
            below about 0.7 pixels.

    Returns:
        numbers in [0, 1].
    """
    distance = pixels - centres
    if not integrate:
        return jnp.exp(distance**2 * (-0.5 / widths**2))
    inverse = jnp.sqrt(0.5) / widths
    return 0.5 * (erf((distance + 0.5) * inverse) - erf((distance - 0.5) * inverse))


def differentiate(
    value: Float[Array, "..."],
    centres: Float[Array, "..."],
    widths: Float[Array, "..."],
    pixels: Float[Array, "..."],
    *,
    integrate: bool,
) -> Slopes:
    """Derivatives of ``profile``, to be multiplied by ``slope_scales``.

    Args:
        value: what ``profile`` returned, used again because exponentials are dear.
        centres: pixels.
        widths: standard deviations, pixels.
        pixels: coordinates of the pixel centres.
        integrate: as for ``profile``.

    Returns:
        arrays of the shape of ``value``.
    """
    distance = pixels - centres
    if not integrate:
        return Slopes(value * distance, value * distance**2)
    low, high = (distance - 0.5) / widths, (distance + 0.5) / widths
    at_low, at_high = jnp.exp(-0.5 * low**2), jnp.exp(-0.5 * high**2)
    return Slopes(at_low - at_high, low * at_low - high * at_high)


def slope_scales(widths: Float[Array, "..."], *, integrate: bool) -> Slopes:
    """Factors of the point that complete ``differentiate``.

    Args:
        widths: standard deviations, pixels.
        integrate: as for ``profile``.

    Returns:
        a factor per point for each derivative.
    """
    if integrate:
        scale = 1.0 / (jnp.sqrt(2.0 * jnp.pi) * widths)
        return Slopes(scale, scale)
    return Slopes(widths**-2, widths**-3)
