"""Ellipsoidal support lifting on images of a molecule, against a table of measured errors."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.fourier import to_spectrum
from cryojax_graph.forward.slices import slice_at, volume_spectrum
from cryojax_graph.geometry import spiral_rotations
from cryojax_graph.poses.band import fourier_band
from cryojax_graph.poses.lifting import esl_rotation, esl_support, restrict_to_mode

COUNT, IMAGES = 1821, 100
SPACING = np.radians(16.0)


class Distances(NamedTuple):
    """Squared distances of clean images from all projections, and what noise adds to them."""

    clean: np.ndarray
    noise: np.ndarray
    variance: float


@pytest.fixture(scope="module")
def truth() -> np.ndarray:
    return Rotation.random(IMAGES, random_state=11).as_matrix()


@pytest.fixture(scope="module")
def distances(adenylate_kinase, truth) -> Distances:
    """Up to a constant of each image: |projection|² - 2 image · projection over the half spectrum.

    Noise is added by its inner products with the projections.
    """
    box, pixel_size = adenylate_kinase.box, adenylate_kinase.pixel_size
    band = fourier_band(box, 0.5, 24)
    clean = jax.jit(jax.vmap(adenylate_kinase.project(band)))(jnp.asarray(truth, jnp.float32))
    waves = jnp.asarray(band.kx, jnp.float32), jnp.asarray(band.ky, jnp.float32)

    @jax.jit
    def slices(volume, rotations):
        prepared = volume_spectrum(volume, voxel_size=pixel_size)
        one = partial(slice_at, prepared, kx=waves[0], ky=waves[1], box=box)
        return jax.lax.map(one, rotations, batch_size=50)

    grid = jnp.asarray(spiral_rotations(COUNT), jnp.float32)
    views = slices(adenylate_kinase.volume(), grid)
    defocus = jnp.asarray(np.random.default_rng(12).uniform(8e3, 2.5e4, IMAGES), jnp.float32)

    @jax.jit
    @jax.vmap
    def optics(defocus):
        transfer = contrast_transfer(CTF(defocus, defocus), box=box, pixel_size=pixel_size)
        return transfer.reshape(-1)[band.index]

    @jax.jit
    def distances(views, clean, transfer, noise):
        weight = jnp.asarray(band.multiplicity, jnp.float32) / box**2
        power = (weight * transfer**2) @ (jnp.abs(views) ** 2).T
        overlap = ((weight * transfer**2 * clean) @ views.conj().T).real
        chance = ((weight * transfer * noise) @ views.conj().T).real
        variance = jnp.sum(weight * jnp.abs(transfer * clean) ** 2, axis=1).mean() / box**2
        return power - 2 * overlap, -2 * chance, variance

    white = jax.random.normal(jax.random.key(13), (IMAGES, box, box))
    noise = jax.jit(jax.vmap(lambda n: to_spectrum(n).reshape(-1)[band.index]))(white)
    clean, noise, variance = distances(views, clean, optics(defocus), noise)
    return Distances(np.asarray(clean), np.asarray(noise), float(variance))


def degrees_off(found: np.ndarray, truth: np.ndarray) -> np.ndarray:
    cosine = (np.einsum("nij,nij->n", found, truth) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


@pytest.fixture(scope="module")
def medians(distances, truth):
    """Median error in degrees of the best point, of the barycentre, and of that within a mode."""
    grid = jnp.asarray(spiral_rotations(COUNT), jnp.float32)

    @jax.jit
    @jax.vmap
    def rotations(fit):
        inside = restrict_to_mode(fit, grid, radius=float(2 * SPACING))
        best = grid[jnp.argmin(fit)]
        return best, *(esl_rotation(esl_support(f), grid) for f in (fit, inside))

    def run(snr: float) -> list[float]:
        fit = distances.clean + np.sqrt(distances.variance / snr) * distances.noise
        found = rotations(jnp.asarray(fit - fit.min(axis=1, keepdims=True)))
        return [float(np.median(degrees_off(np.asarray(r), truth))) for r in found]

    return run


# Medians of 60 images, hence good to about a tenth; seeds and conformation are not those here.
@pytest.mark.parametrize(("snr", "expected"), [(0.1, (10.1, 7.5, 6.2)), (0.03, (11.2, 19.1, 8.1))])
def test_median_errors_are_those_of_the_table(medians, snr, expected):
    best, plain, restricted = medians(snr)
    assert best == pytest.approx(expected[0], rel=0.2)
    assert plain == pytest.approx(expected[1], rel=0.35)
    assert restricted < 1.1 * best
    assert restricted < 1.05 * plain
    # Plain lifting wins with one mode and loses where its points belong to several.
    assert (plain < best) == (expected[1] < expected[0])
