"""The forward model: structure, pose and CTF to image, and how likely an observed image is."""

from functools import partial

import jax.numpy as jnp
from jax.lax import Precision
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.fourier import shift_phase, to_image, to_spectrum
from cryojax_graph.forward.grids import Scalar, spectrum_multiplicity
from cryojax_graph.forward.grouping import GroupPlan
from cryojax_graph.forward.project import project_gaussians
from cryojax_graph.forward.slices import VolumeSpectrum, slice_spectrum
from cryojax_graph.forward.windows import project_groups


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
    # Accelerators would otherwise round the factors: 0.05 Å at 100 Å from the origin.
    return jnp.matmul(positions, rotation[:2].T, precision=Precision.HIGHEST) - shift


def gaussian_spectrum(
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
    plan: GroupPlan | None = None,
) -> Complex[Array, "box half"]:
    """Half spectrum of the noise-free image of a structure of Gaussians.

    Args:
        positions: (x, y, z) in Å from the origin of the structure.
        masses: integral of each Gaussian.
        widths: standard deviations, Å, above 0: at 0 neither image nor gradient is a number; with
            ``integrate`` the image is, but not its gradient.
        rotation: takes object to image coordinates.
        shift: (x, y) in Å; the particle stands at ``-shift``.
        ctf: parameters of this image.
        scale: contrast of this image.
        box: edge of the image in pixels.
        pixel_size: Å.
        integrate: mean of each Gaussian over the pixel instead of its value at the centre.
        plan: draw groups of points in windows, without it every point on every pixel. With it the
            image is differentiated in reverse mode only: JAX refuses ``jax.jvp``.

    Returns:
        phase origin at the box centre, shape (box, box // 2 + 1).
    """
    centres = view(positions, rotation, shift)
    draw = project_gaussians if plan is None else partial(project_groups, plan=plan)
    projection = draw(centres, masses, widths, box=box, pixel_size=pixel_size, integrate=integrate)
    transfer = contrast_transfer(ctf, box=box, pixel_size=pixel_size)
    return to_spectrum(projection) * (transfer * jnp.asarray(scale))


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
    plan: GroupPlan | None = None,
) -> Float[Array, "box box"]:
    """Noise-free image of a structure of Gaussians.

    Args:
        positions: (x, y, z) in Å from the origin of the structure.
        masses: integral of each Gaussian.
        widths: standard deviations, Å, above 0: at 0 neither image nor gradient is a number; with
            ``integrate`` the image is, but not its gradient.
        rotation: takes object to image coordinates.
        shift: (x, y) in Å; the particle stands at ``-shift``.
        ctf: parameters of this image.
        scale: contrast of this image.
        box: edge of the image in pixels.
        pixel_size: Å.
        integrate: mean of each Gaussian over the pixel instead of its value at the centre.
        plan: draw groups of points in windows, without it every point on every pixel. With it the
            image is differentiated in reverse mode only: JAX refuses ``jax.jvp``.

    Returns:
        image in ``scale`` times mass per Å², shape (box, box).
    """
    return to_image(
        gaussian_spectrum(
            positions,
            masses,
            widths,
            rotation,
            shift,
            ctf,
            scale,
            box=box,
            pixel_size=pixel_size,
            integrate=integrate,
            plan=plan,
        )
    )


def map_spectrum(
    volume: VolumeSpectrum,
    rotation: Float[Array, "3 3"],
    shift: Float[Array, "2"],
    ctf: CTF,
    scale: Scalar = 1.0,
    *,
    box: int,
    pixel_size: Scalar,
) -> Complex[Array, "box half"]:
    """Half spectrum of the noise-free image of a voxel map.

    Args:
        volume: from ``volume_spectrum``.
        rotation: takes object to image coordinates.
        shift: (x, y) in Å; the particle stands at ``-shift``.
        ctf: parameters of this image.
        scale: contrast of this image.
        box: edge of the map and of the image in pixels.
        pixel_size: Å, that of the map.

    Returns:
        phase origin at the box centre, shape (box, box // 2 + 1).
    """
    transfer = contrast_transfer(ctf, box=box, pixel_size=pixel_size)
    phase = shift_phase(-shift, box=box, pixel_size=pixel_size)
    return slice_spectrum(volume, rotation, box=box) * phase * (transfer * jnp.asarray(scale))


def map_image(
    volume: VolumeSpectrum,
    rotation: Float[Array, "3 3"],
    shift: Float[Array, "2"],
    ctf: CTF,
    scale: Scalar = 1.0,
    *,
    box: int,
    pixel_size: Scalar,
) -> Float[Array, "box box"]:
    """Noise-free image of a voxel map.

    Args:
        volume: from ``volume_spectrum``.
        rotation: takes object to image coordinates.
        shift: (x, y) in Å; the particle stands at ``-shift``.
        ctf: parameters of this image.
        scale: contrast of this image.
        box: edge of the map and of the image in pixels.
        pixel_size: Å, that of the map.

    Returns:
        image in ``scale`` times density of the map times Å, shape (box, box).
    """
    return to_image(
        map_spectrum(volume, rotation, shift, ctf, scale, box=box, pixel_size=pixel_size)
    )


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
