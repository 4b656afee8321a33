"""Noise of images: how much there is at each frequency, and samples of it.

The power of noise is its variance per pixel as a function of frequency: a constant for white noise.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cryojax_graph.forward.fourier import filter_image
from cryojax_graph.forward.grids import (
    Scalar,
    pixel_coordinates,
    radial_frequency,
    spectrum_multiplicity,
)

# Of the box: a particle reaches no farther from its middle.
_PARTICLE_RADIUS = 0.46


def outside_disc(
    radius: Scalar, *, box: int, pixel_size: Scalar = 1.0, edge: Scalar = 0.0
) -> Float[Array, "box box"]:
    """Mask of the pixels where there is no particle.

    Args:
        radius: of the particle's disc, Å.
        box: edge of the image in pixels.
        pixel_size: Å.
        edge: width of a raised-cosine edge beyond the radius, Å; a soft edge keeps strong low
            frequencies from leaking into the estimate of weak high ones.

    Returns:
        0 inside the disc, 1 outside.
    """
    coordinates = pixel_coordinates(box, pixel_size)
    distance = jnp.hypot(coordinates[:, None], coordinates) - jnp.asarray(radius)
    # A hard edge is the limit of a very steep one.
    position = jnp.clip(distance / jnp.maximum(jnp.asarray(edge), 1e-6), 0.0, 1.0)
    return 0.5 - 0.5 * jnp.cos(jnp.pi * position)


def corners(box: int) -> Float[Array, "box box"]:
    """Mask of the corners of an image, beyond what a particle in its middle reaches.

    Args:
        box: edge of the image in pixels.

    Returns:
        as ``outside_disc``.
    """
    return outside_disc(_PARTICLE_RADIUS * box, box=box)


def background_level(image: Float[Array, "box box"]) -> Float[Array, ""]:
    """Mean of the corners of an image, where there is no particle.

    Args:
        image: with a particle in the middle.

    Returns:
        the mean; 0 where a mask left nothing in the corners.
    """
    outside = corners(image.shape[0])
    return jnp.sum(outside * image) / jnp.sum(outside)


def radial_noise_power(
    image: Float[Array, "box box"], mask: Float[Array, "box box"]
) -> Float[Array, " shells"]:
    """Noise power of one image by shells, from the pixels where there is no particle.

    Average it over many images: the estimate from one is good to 10-20 % per shell.

    Args:
        image: square image.
        mask: weight of each pixel, from ``outside_disc``.

    Returns:
        variance per pixel in shells 0 … box // 2; shell s lies at s / (box * pixel_size) 1/Å.
        Shell 0, which the removal of the mean empties, repeats shell 1.
    """
    box = image.shape[0]
    shells = box // 2 + 1
    mean = jnp.sum(mask * image) / jnp.sum(mask)
    power = jnp.abs(jnp.fft.rfft2(mask * (image - mean))) ** 2 / jnp.sum(mask**2)
    shell = jnp.round(radial_frequency(box) * box).astype(jnp.int32)
    weight = jnp.broadcast_to(spectrum_multiplicity(box), power.shape)

    def shell_sum(values: Float[Array, "box half"]) -> Float[Array, " shells"]:
        return jnp.zeros(shells).at[shell].add(values, mode="drop")

    average = shell_sum(weight * power) / shell_sum(weight)
    return average.at[0].set(average[1])


def noise_power(shells: Float[Array, " shells"], *, box: int) -> Float[Array, "box half"]:
    """Noise power at every coefficient of a half spectrum from its shells.

    Args:
        shells: variance per pixel in shells 0 … box // 2.
        box: edge of the image in pixels.

    Returns:
        linear between shells, constant beyond the last one; shape (box, box // 2 + 1).
    """
    radius = radial_frequency(box) * box
    return jnp.interp(radius, jnp.arange(len(shells), dtype=radius.dtype), shells)


def whitening_filter(power: Float[Array, "box half"]) -> Float[Array, "box half"]:
    """Filter that turns noise of the given power into white noise of variance 1.

    Args:
        power: variance per pixel at each frequency.

    Returns:
        1 / sqrt(power); 0 where the power is 0, as in a band that was cut off.
    """
    positive = power > 0
    return jnp.where(positive, jax.lax.rsqrt(jnp.where(positive, power, 1.0)), 0.0)


def sample_noise(
    key: Key[Array, ""], power: Float[Array, "box half"] | Scalar, *, box: int
) -> Float[Array, "box box"]:
    """Gaussian noise of a given power.

    Args:
        key: random key.
        power: variance per pixel at each frequency; for white noise one number.
        box: edge of the image in pixels.

    Returns:
        one image of noise.
    """
    white = jax.random.normal(key, (box, box))
    power = jnp.asarray(power)
    if power.ndim == 0:
        return jnp.sqrt(power) * white
    return filter_image(white, jnp.sqrt(power))
