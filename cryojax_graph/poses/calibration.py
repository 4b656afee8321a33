"""The reference brought to the units of the images, shell by shell, and the noise around it."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.poses.band import Band, Observed
from cryojax_graph.poses.refine import Pose, Project

# Shells whose agreement is below this many standard deviations say nothing about the reference.
_CHANCE = 3.0


class ShellSums(NamedTuple):
    """What a regression of images on projections needs, in shells 0 … box // 2.

    Attributes:
        overlap: real part of projection times conjugate image.
        predicted: power of the projections.
        observed: power of the images.
        numbers: real numbers in each shell.
    """

    overlap: Float[Array, " shells"]
    predicted: Float[Array, " shells"]
    observed: Float[Array, " shells"]
    numbers: Float[Array, " shells"]


class Calibration(NamedTuple):
    """Outcome of the regression.

    Attributes:
        gain: factor of the reference in each shell, 0 where the images do not know it.
        noise: power of what is left, variance per pixel.
    """

    gain: Float[np.ndarray, " shells"]
    noise: Float[np.ndarray, " shells"]


def shell_sums(
    project: Project,
    observed: Observed,
    pose: Pose,
    band: Band,
    *,
    box: int,
    field: Scalar,
) -> ShellSums:
    """Products of one image with its projection; to be added up over images.

    Args:
        project: from a rotation to the centred projection's coefficients on the band.
        observed: the image.
        pose: of the image; its contrast is left out.
        band: where the coefficients are.
        box: edge of the image in pixels.
        field: the same in Å.

    Returns:
        the sums.
    """
    shell = np.round(np.hypot(band.kx, band.ky)).astype(int)
    waves = jnp.asarray(np.stack([band.kx, band.ky]), jnp.float32) / jnp.asarray(field)
    factor = observed.transfer * jnp.exp(
        2j * jnp.pi * jnp.matmul(pose.shift, waves, precision="highest")
    )
    predicted = factor * project(pose.rotation)
    overlap = (predicted * observed.spectrum.conj()).real
    values = jnp.stack(
        [overlap, jnp.abs(predicted) ** 2, jnp.abs(observed.spectrum) ** 2, jnp.ones(len(shell))]
    )
    values = values * jnp.asarray(band.multiplicity, jnp.float32)
    sums = jax.vmap(lambda v: jnp.zeros(box // 2 + 1).at[shell].add(v, mode="drop"))(values)
    return ShellSums(*sums)


def calibrate(sums: ShellSums, *, box: int) -> Calibration:
    """Regress images on projections.

    Args:
        sums: over all images.
        box: edge of the images in pixels.

    Returns:
        gain and noise; shells outside the band repeat the nearest inside.
    """
    overlap, predicted, observed, numbers = (np.asarray(values, np.float64) for values in sums)
    inside = numbers > 0
    safe = np.maximum(predicted, 1e-30)
    gain = np.maximum(overlap / safe, 0.0)
    left = np.maximum(observed - gain * np.maximum(overlap, 0.0), 1e-12 * observed)
    noise = left / np.maximum(numbers, 1.0)
    significance = overlap / np.sqrt(np.maximum(safe * noise, 1e-30))
    gain = np.where(significance > _CHANCE, gain, 0.0)
    shells = np.arange(len(numbers))
    noise = np.interp(shells, shells[inside], noise[inside] / box**2)
    return Calibration(np.where(inside, gain, 0.0), noise)
