"""The deviation of a map: against the variance of noise, and where views lack."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryojax_graph.forward.bootstrap import (
    add_replicate,
    cone_bootstrap,
    deal_into_parts,
    jackknife_variance,
    no_replicates,
    without_part,
)
from cryojax_graph.forward.fourier import to_spectrum
from cryojax_graph.forward.reconstruct import (
    complete_sums,
    insert_slices,
    no_slices,
    solve_map,
)
from cryojax_graph.geometry.orientations import view_cells

BOX, IMAGES = 10, 200


def rotations(count, seed=0):
    return jnp.asarray(Rotation.random(count, random_state=seed).as_matrix(), jnp.float32)


@jax.jit
def spectra(images):
    return jax.vmap(to_spectrum)(images)


@jax.jit
def solved(images, rotation):
    data = spectra(images)
    sums = complete_sums(insert_slices(no_slices(BOX), data, jnp.ones(data.shape), rotation))
    return solve_map(sums, box=BOX)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.integers(1, 9), complex_values=st.booleans())
def test_replicates_have_the_mean_and_scatter_of_their_definition(seed, count, complex_values):
    random = np.random.default_rng(seed)
    values = 5 + random.normal(size=(count, 3, 4)) + 1j * random.normal(size=(count, 3, 4))
    values = values.astype(np.complex64) if complex_values else values.real.astype(np.float32)
    found = no_replicates(jnp.zeros_like(values[0]))
    for value in values:
        found = add_replicate(found, jnp.asarray(value))
    assert found.count == count
    np.testing.assert_allclose(found.mean, values.mean(0), rtol=1e-5)
    scatter = (np.abs(values - values.mean(0)) ** 2).sum(0)
    np.testing.assert_allclose(found.scatter, scatter, rtol=1e-4, atol=1e-4)
    expected = (count - 1) / count * scatter
    np.testing.assert_allclose(jackknife_variance(found), expected, rtol=1e-4, atol=1e-4)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), count=st.sampled_from([6, 50]), parts=st.sampled_from([2, 5]))
def test_parts_are_even_in_number_and_in_every_direction(seed, count, parts):
    rotation = np.asarray(rotations(count, seed), np.float64)
    dealt = deal_into_parts(jax.random.key(seed), rotation, np.arange(count), parts=parts, order=0)
    sizes = np.bincount(dealt, minlength=parts)
    assert np.ptp(sizes) <= 1
    cells = view_cells(rotation[:, 2], 0)
    for cell in np.unique(cells):
        assert np.ptp(np.bincount(dealt[cells == cell], minlength=parts)) <= 1


def test_views_of_one_image_stay_together_and_keys_decide():
    image = np.repeat(np.arange(30), 2)
    rotation = np.asarray(rotations(60), np.float64)
    first, again, other = (
        deal_into_parts(jax.random.key(seed), rotation, image, parts=5) for seed in (0, 0, 1)
    )
    np.testing.assert_array_equal(first[::2], first[1::2])
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def noise_variance(rotation, sigma):
    """Of every voxel, exactly: the map is linear in the pixels of the images."""

    def picture(images):
        return solved(images, rotation).ravel()

    _, transpose = jax.vjp(picture, jnp.zeros((len(rotation), BOX, BOX)))

    def of_voxel(unit):
        return sigma**2 * jnp.sum(transpose(unit)[0] ** 2)

    chosen = np.random.default_rng(0).choice(BOX**3, 40, replace=False)
    variance = jax.lax.map(of_voxel, jnp.eye(BOX**3)[chosen])
    return chosen, np.asarray(variance, np.float64)


def test_the_deviation_of_pure_noise_is_that_of_theory():
    sigma, rotation = 2.0, rotations(IMAGES)
    chosen, exact = noise_variance(rotation, sigma)
    found = []
    for seed in range(3):
        noise, deal = jax.random.split(jax.random.key(seed))
        images = sigma * jax.random.normal(noise, (IMAGES, BOX, BOX))
        data = spectra(images)
        volume, deviation = cone_bootstrap(deal, data, jnp.ones(data.shape), rotation, parts=16)
        np.testing.assert_allclose(volume, solved(images, rotation), atol=1e-5)
        found.append(np.asarray(deviation).ravel()[chosen] ** 2)
    ratio = np.mean(found) / exact.mean()
    # Some coefficients near Nyquist are shared by few images: theory says a little more than 1.
    assert 0.97 < ratio < 1.15
    by_voxel = np.mean(found, axis=0) / exact
    assert np.percentile(by_voxel, 10) > 0.6
    assert np.percentile(by_voxel, 90) < 1.7


def spectral_deviation(key, images, rotation, parts=12):
    """Variance of every coefficient of the map, from replicates."""
    data = spectra(images)
    part = deal_into_parts(key, np.asarray(rotation), np.arange(len(rotation)), parts=parts)

    @jax.jit
    def insert(factor):
        weights = jnp.broadcast_to(factor[:, None, None], data.shape)
        return complete_sums(insert_slices(no_slices(BOX), data * weights, weights, rotation))

    @jax.jit
    def spectrum(total, part):
        return jnp.fft.rfftn(solve_map(without_part(total, part), box=BOX))

    total = insert(np.ones(len(part), np.float32))
    replicates = no_replicates(jnp.zeros((BOX, BOX, BOX // 2 + 1), jnp.complex64))
    for number in range(parts):
        own = insert((part == number).astype(np.float32))
        replicates = add_replicate(replicates, spectrum(total, own))
    return np.asarray(jackknife_variance(replicates))


def test_the_deviation_is_larger_along_directions_with_few_views():
    # Views around z show the plane across it; what lies along z only the few others show.
    random = np.random.default_rng(3)
    tilt = np.where(np.arange(IMAGES) % 8 == 0, 90.0, 25.0 * random.random(IMAGES))
    angles = np.stack([360 * random.random(IMAGES), tilt, 360 * random.random(IMAGES)], axis=1)
    rotation = jnp.asarray(Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix())
    rotation = rotation.astype(jnp.float32)
    images = jax.random.normal(jax.random.key(0), (IMAGES, BOX, BOX))
    variance = spectral_deviation(jax.random.key(1), images, rotation)
    along_z = variance[2:4, 0, 0].mean()
    across = np.concatenate([variance[0, 0, 2:4], variance[0, 2:4, 0]]).mean()
    assert along_z > 2 * across


def test_a_coefficient_of_one_image_deviates_by_nearly_itself():
    # One image of the plane across x, all others of that across z.
    angles = np.zeros((16, 3))
    angles[0, 1] = 90.0
    angles[1:, 2] = np.linspace(0, 340, 15)
    rotation = jnp.asarray(
        Rotation.from_euler("ZYZ", angles, degrees=True).inv().as_matrix(), jnp.float32
    )
    images = 0.1 * jax.random.normal(jax.random.key(0), (16, BOX, BOX))
    images = images.at[:, BOX // 2, BOX // 2].add(20.0)
    variance = spectral_deviation(jax.random.key(1), images, rotation, parts=16)
    spectrum = np.abs(np.fft.rfftn(np.asarray(solved(images, rotation))))
    ratio = np.sqrt(variance[3, 0, 0]) / spectrum[3, 0, 0]
    assert 0.85 < ratio < 1.0
    assert np.sqrt(variance[0, 0, 3]) < 0.2 * spectrum[0, 0, 3]


@pytest.mark.parametrize("parts", [1, 5])
def test_images_that_cannot_be_dealt_are_refused(parts):
    data = jnp.zeros((4, BOX, BOX // 2 + 1), jnp.complex64)
    with pytest.raises(ValueError, match="cannot be dealt"):
        cone_bootstrap(jax.random.key(0), data, jnp.ones(data.shape), rotations(4), parts=parts)
