"""The forward model: structure, pose and CTF to image, and how likely an observed image is."""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.fourier import filter_image
from cryojax_graph.forward.grids import Scalar, spectrum_multiplicity
from cryojax_graph.forward.project import project_gaussians


def view(
    positions: Float[Array, "n 3"], rotation: Float[Array, "3 3"], shift: Float[Array, "2"]
) -> Float[Array, "n 2"]:
    """Where points of a structure fall in an image.

    Args:
        positions: (x, y, z) in Å from the origin of the structure.
        rotation: takes object to image coordinates, ``x_image = rotation @ x_object``.
        shift: (x, y) in Å in RELION's sense: the particle stands at ``-shift``.

    Returns:
        (x, y) in Å from the box centre.
    """
    return positions @ rotation[:2].T - shift


def gaussian_image(
    positions: Float[Array, "n 3"],
    masses: Float[Array, " n"],
    widths: Float[Array, " n"],
    rotation: Float[Array, "3 3"],
    shift: Float[Array, "2"],
    ctf: CTF,
    scale: Scalar = 1.0,
    *,
    box: int,
    pixel_size: Scalar,
    integrate: bool = False,
) -> Float[Array, "box box"]:
    """Noise-free image of a structure of Gaussians.

    Args:
        positions: (x, y, z) in Å from the origin of the structure.
        masses: integral of each Gaussian.
        widths: standard deviations, Å.
        rotation: takes object to image coordinates.
        shift: (x, y) in Å; the particle stands at ``-shift``.
        ctf: parameters of this image.
        scale: contrast of this image.
        box: edge of the image in pixels.
        pixel_size: Å.
        integrate: mean of each Gaussian over the pixel instead of its value at the centre.

    Returns:
        image in ``scale`` times mass per Å², shape (box, box).
    """
    projection = project_gaussians(
        view(positions, rotation, shift),
        masses,
        widths,
        box=box,
        pixel_size=pixel_size,
        integrate=integrate,
    )
    transfer = contrast_transfer(ctf, box=box, pixel_size=pixel_size)
    return jnp.asarray(scale) * filter_image(projection, transfer)


def inner_product(
    first: Complex[Array, "box half"],
    second: Complex[Array, "box half"],
    noise_power: Float[Array, "box half"] | Scalar,
) -> Float[Array, ""]:
    """Inner product of two images, each divided by the noise, from their half spectra.

    Args:
        first: half spectrum of one image.
        second: of the other, same phase origin.
        noise_power: variance of the noise per pixel at each frequency; for white noise one number.

    Returns:
        sum over the pixels of the product of the whitened images.
    """
    box = first.shape[0]
    weight = spectrum_multiplicity(box) / (box**2 * jnp.asarray(noise_power))
    return jnp.sum(weight * (first.real * second.real + first.imag * second.imag))


def optimal_scale(
    predicted: Complex[Array, "box half"],
    observed: Complex[Array, "box half"],
    noise_power: Float[Array, "box half"] | Scalar,
) -> Float[Array, ""]:
    """Contrast that makes an observed image most likely.

    Args:
        predicted: half spectrum of the noise-free image at scale 1.
        observed: half spectrum of the observed image.
        noise_power: variance of the noise per pixel at each frequency.

    Returns:
        least-squares scale; 0 where the prediction is empty.
    """
    power = inner_product(predicted, predicted, noise_power)
    overlap = inner_product(predicted, observed, noise_power)
    return jnp.where(power > 0, overlap / jnp.where(power > 0, power, 1.0), 0.0)


def log_likelihood(
    predicted: Complex[Array, "box half"],
    observed: Complex[Array, "box half"],
    noise_power: Float[Array, "box half"] | Scalar,
    scale: Scalar | None = None,
) -> Float[Array, ""]:
    """Log-likelihood of an image under Gaussian noise, up to a constant of the noise.

    Args:
        predicted: half spectrum of the noise-free image at scale 1.
        observed: half spectrum of the observed image.
        noise_power: variance of the noise per pixel at each frequency; for white noise one number.
        scale: contrast of the image; without it the one that makes the image most likely.

    Returns:
        minus half the squared whitened distance of image and prediction.
    """
    if scale is None:
        scale = optimal_scale(predicted, observed, noise_power)
    residual = observed - jnp.asarray(scale) * predicted
    return -0.5 * inner_product(residual, residual, noise_power)
