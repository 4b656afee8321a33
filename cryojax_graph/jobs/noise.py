"""Noise of particle images, from what surrounds the particles."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import ArrayLike, Complex, Float, Int

from cryojax_graph.forward.noise import corners, radial_noise_power
from cryojax_graph.jobs.particles import ParticleSet

# Images whose power is computed at a time.
_BLOCK = 64
# Share of an image's power below which its corners hold none.
_EMPTY_CORNERS = 1e-4
# Images of a group from which the power of its noise is told: at most, and at least where groups
# are so many that more than the third number would be read.
_SAMPLE, _FEWEST, _READ = 256, 8, 8192
# By how much powers of groups are expected to differ, as logarithms: together, and shell by shell
# beside that.
_SPREAD_OF_LEVEL, _SPREAD = 1.0, 0.3


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

    A few images tell the power of a shell of few coefficients badly, and a group that seems quiet
    by chance would outweigh all others: what is measured of a group counts by how well it is known,
    beside what is expected, that all are alike.

    Args:
        particles: all of them.

    Returns:
        ratios whose geometric mean over the images is 1 in every shell.
    """
    group = particles.table.optics_group
    number = np.zeros(len(particles.table), int) if group is None else np.asarray(group)
    names, index, sizes = np.unique(number, return_inverse=True, return_counts=True)
    most = int(np.clip(_READ // len(names), _FEWEST, _SAMPLE))
    seen = np.minimum(sizes, most)
    shells = particles.box // 2 + 1
    if len(names) == 1:
        return GroupNoise(index.ravel(), np.ones((1, shells)))
    log_power = np.log(
        [_noise(particles, np.flatnonzero(index == i), most) for i in range(len(names))]
    )
    # Corners are a third of an image, and have a third of its 2π numbers per radius of a shell.
    numbers = 2.0 * seen[:, None] * np.maximum(np.arange(shells), 1.0)
    usual = np.average(log_power, axis=0, weights=sizes)
    apart = log_power - usual
    level = np.average(apart, axis=1, weights=numbers[0], keepdims=True)
    whole = numbers.sum(axis=1, keepdims=True)
    log_ratio = _known(whole, _SPREAD_OF_LEVEL) * level + _known(numbers, _SPREAD) * (apart - level)
    log_ratio -= np.average(log_ratio, axis=0, weights=sizes)
    return GroupNoise(index.ravel(), np.exp(log_ratio))


def _known(
    numbers: Float[np.ndarray, "*groups shells"], spread: float
) -> Float[np.ndarray, "*groups shells"]:
    """Share of a log power that its numbers tell, the rest being what is expected of all."""
    return spread**2 / (spread**2 + 2.0 / numbers)


def _noise(
    particles: ParticleSet, members: Int[np.ndarray, " n"], most: int
) -> Float[np.ndarray, " shells"]:
    some = np.unique(np.linspace(0, len(members) - 1, min(most, len(members))).astype(int))
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
    outside = _mean_power(images, corners(box))
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
    # A power of two, so that groups of all sizes share a few compilations.
    block = min(_BLOCK, 1 << (len(images) - 1).bit_length())
    blocks = [_filled(images[i : i + block], block) for i in range(0, len(images), block)]
    powers = [np.asarray(_powers(block, jnp.asarray(weight)), np.float64) for block in blocks]
    return np.concatenate(powers)[: len(images)].mean(axis=0)


def _filled(images: Float[np.ndarray, "n box box"], block: int) -> Float[np.ndarray, "_ box box"]:
    return np.pad(images, ((0, block - len(images)), (0, 0), (0, 0)))


_powers = jax.jit(jax.vmap(radial_noise_power, in_axes=(0, None)))
