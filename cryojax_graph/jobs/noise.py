"""Noise of particle images, from what surrounds the particles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Complex, Float, Int

from cryojax_graph.forward.noise import outside_disc, radial_noise_power
from cryojax_graph.jobs.particles import ParticleSet

_PARTICLE_RADIUS = 0.46
# Share of an image's power below which its corners hold none.
_EMPTY_CORNERS = 1e-4
# Images of a group from which the power of its noise is told.
_SAMPLE = 256


class GroupNoise(NamedTuple):
    """Noise of the optics groups of a set.

    Attributes:
        group: of each image, from 0.
        ratio: power of each group beside that of the set, in shells 0 … box // 2.
    """

    group: Int[np.ndarray, " images"]
    ratio: Float[np.ndarray, "groups shells"]


def noise_of_groups(particles: ParticleSet) -> GroupNoise:
    """How the noise of optics groups differs, from the corners of some images of each.

    Args:
        particles: all of them.

    Returns:
        ratios whose geometric mean over the groups is 1 in every shell.
    """
    group = particles.table.optics_group
    number = np.zeros(len(particles.table), int) if group is None else np.asarray(group)
    names, index = np.unique(number, return_inverse=True)
    noise = np.stack([_noise(particles, np.flatnonzero(index == i)) for i in range(len(names))])
    usual = np.exp(np.log(noise).mean(axis=0))
    return GroupNoise(index.ravel(), noise / usual)


def _noise(particles: ParticleSet, members: Int[np.ndarray, " n"]) -> Float[np.ndarray, " shells"]:
    some = np.unique(np.linspace(0, len(members) - 1, min(_SAMPLE, len(members))).astype(int))
    return np.maximum(noise_outside(particles, members[some]), np.finfo(np.float32).tiny)


def noise_outside(
    particles: ParticleSet, images: Int[np.ndarray, " n"]
) -> Float[np.ndarray, " shells"]:
    """Mean noise power from the corners of images.

    Corners that are empty, because images were masked or have no noise, say nothing of it: the
    power of the images themselves takes its place until calibration tells.

    Args:
        particles: all of them.
        images: which to read.

    Returns:
        variance per pixel in shells 0 … box // 2.
    """
    values = particles.images.read(images)
    outside = corner_noise(values)
    if outside is not None:
        return outside
    whole = _mean_power(values, np.ones(values.shape[1:], np.float32))
    return np.maximum(whole, _EMPTY_CORNERS * whole.max())


def corner_noise(images: Float[np.ndarray, "n box box"]) -> Float[np.ndarray, " shells"] | None:
    """Mean noise power from the corners of images.

    Args:
        images: with a particle in the middle.

    Returns:
        variance per pixel in shells 0 … box // 2; None where corners are empty, because images were
        masked or have no noise.
    """
    box = images.shape[1]
    outside = _mean_power(images, outside_disc(_PARTICLE_RADIUS * box, box=box))
    whole = _mean_power(images, np.ones((box, box), np.float32))
    return outside if outside.mean() > _EMPTY_CORNERS * whole.mean() else None


def noise_of_spectra(
    spectra: Complex[np.ndarray, "n box half"],
) -> Float[np.ndarray, " shells"] | None:
    """``corner_noise`` of images of which the spectra are at hand.

    Args:
        spectra: half spectra.

    Returns:
        as ``corner_noise``.
    """
    box = spectra.shape[1]
    return corner_noise(np.fft.irfft2(spectra, s=(box, box)).astype(np.float32))


def _mean_power(
    images: Float[np.ndarray, "n box box"], weight: Float[ArrayLike, "box box"]
) -> Float[np.ndarray, " shells"]:
    return np.asarray(_powers(jnp.asarray(images), jnp.asarray(weight)), np.float64).mean(axis=0)


_powers = jax.jit(jax.vmap(radial_noise_power, in_axes=(0, None)))
