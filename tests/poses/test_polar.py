from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.geometry import matrix_from_euler_degrees
from cryojax_graph.poses.polar import (
    PolarGrid,
    angular_series,
    polar_frequencies,
    polar_grid,
    polar_spectrum,
    polar_weights,
    turned_products,
)

# A phase plate at a quarter turn and no aberration: a transfer of 1 everywhere.
NO_CTF = CTF(0.0, 0.0, 0.0, 300.0, 0.0, 0.0, float(np.pi / 2))


@settings(deadline=None)
@given(st.integers(1, 5), st.integers(0, 40), st.integers(1, 60))
def test_a_grid_is_as_dense_as_its_last_ring_needs(inner, more, fewest):
    grid = polar_grid(inner, inner + more, fewest_turns=fewest)
    assert (grid.inner, grid.outer, grid.rings) == (inner, inner + more, more + 1)
    assert grid.turns % 4 == 0
    assert grid.turns >= fewest
    assert 2 * np.pi * grid.outer / grid.turns <= 1
    assert grid.turns < max(fewest, 2 * np.pi * grid.outer) + 5


def test_samples_are_half_a_turn_of_each_ring():
    grid = PolarGrid(2, 6, 24)
    kx, ky = polar_frequencies(grid)
    radius, angle = np.arange(2, 7)[:, None], np.radians(15 * np.arange(12))
    np.testing.assert_allclose(kx, radius * np.cos(angle), atol=1e-5)
    np.testing.assert_allclose(ky, radius * np.sin(angle), atol=1e-5)


@pytest.mark.parametrize("box", [12, 13])
def test_the_spectrum_is_the_sum_over_the_pixels(box):
    grid = PolarGrid(1, 5, 32)
    image = np.random.default_rng(box).normal(size=(box, box))
    radius, angle = np.arange(1, 6)[:, None], 2 * np.pi * np.arange(16) / 32
    kx, ky = radius * np.cos(angle), radius * np.sin(angle)
    position = np.arange(box) - box // 2
    wave_x = np.exp(-2j * np.pi / box * kx[..., None] * position)
    wave_y = np.exp(-2j * np.pi / box * ky[..., None] * position)
    expected = np.einsum("rhy,yx,rhx->rh", wave_y, image, wave_x)
    found = polar_spectrum(jnp.asarray(image, jnp.float32), grid)
    np.testing.assert_allclose(found, expected, atol=1e-4)


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 6), st.integers(0, 12), st.integers(16, 64))
def test_weights_are_areas_of_the_annulus(inner, more, box):
    grid = polar_grid(inner, inner + more)
    total = float(polar_weights(grid, box=box).sum()) * grid.turns / 2 * box**2
    area = np.pi * ((grid.outer + 0.5) ** 2 - (grid.inner - 0.5) ** 2)
    assert total == pytest.approx(area, rel=1e-5)


def test_sums_over_rings_are_sums_over_pixels(particle):
    """Parseval, for an image of mean 0 that fills half of its box."""
    image = particle.image(jnp.eye(3), jnp.zeros(2), NO_CTF)
    other = particle.image(
        matrix_from_euler_degrees(jnp.array([30.0, 40, 50])), jnp.ones(2), NO_CTF
    )
    image, other = image - image.mean(), other - other.mean()
    grid = polar_grid(1, 15)
    first, second = polar_spectrum(image, grid), polar_spectrum(other, grid)
    products = (first * second.conj()).real.sum(axis=1)
    found = float(jnp.sum(polar_weights(grid, box=32) * products))
    assert found == pytest.approx(float(jnp.sum(image * other)), rel=0.05)


def series_and_full_turns(grid: PolarGrid, count: int, seed: int):
    """Random spectra of real images, as their series and as whole turns in float64."""
    shape = (count, grid.rings, grid.turns // 2)
    real, imaginary = np.random.default_rng(seed).normal(size=(2, *shape))
    half = real + 1j * imaginary
    series = angular_series(jnp.asarray(half, jnp.complex64), grid)
    return jnp.moveaxis(series, 1, 0), np.concatenate([half, half.conj()], axis=-1)


def test_turned_products_are_those_of_rolled_spectra():
    grid = PolarGrid(2, 6, 28)
    left, images = series_and_full_turns(grid, 3, 0)
    right, views = series_and_full_turns(grid, 4, 1)
    found = np.asarray(turned_products(left, right, grid))
    assert found.shape == (3, 4, 28)
    half = images[:, None, :, : grid.turns // 2]
    for turn in range(grid.turns):
        # A particle turned by psi shows at an angle what it showed psi further on before.
        rolled = np.roll(views, -turn, axis=-1)[None, ..., : grid.turns // 2]
        expected = (half * rolled.conj()).real.sum(axis=(-1, -2))
        np.testing.assert_allclose(found[:, :, turn], expected, atol=1e-3)


def test_series_take_any_leading_axes():
    grid = PolarGrid(1, 3, 24)
    values = jnp.asarray(np.random.default_rng(2).normal(size=(2, 5, 3, 12)) + 0.5j)
    together = angular_series(values, grid)
    assert together.shape == (2, 5, grid.modes, 3)
    np.testing.assert_allclose(together[1, 4], angular_series(values[1, 4], grid), atol=1e-5)


@pytest.mark.parametrize("turn", [1, 9, 30])
def test_turns_are_the_psi_of_relion(particle, turn):
    grid = polar_grid(1, 12)
    angles = jnp.array([[25.0, 70, 0], [25.0, 70, turn * 360 / grid.turns]])
    rotations = jax.vmap(matrix_from_euler_degrees)(angles)
    images = [particle.image(rotation, jnp.zeros(2), NO_CTF) for rotation in rotations]
    view, turned = jax.jit(jax.vmap(partial(polar_spectrum, grid=grid)))(jnp.stack(images))
    whole = jnp.concatenate([view, view.conj()], axis=1)
    np.testing.assert_allclose(
        turned, jnp.roll(whole, -turn, axis=1)[:, : grid.turns // 2], atol=2e-4 * abs(view).max()
    )
    series = jax.jit(partial(angular_series, grid=grid))
    products = jax.jit(partial(turned_products, grid=grid))(
        series(turned)[:, None], series(view)[:, None]
    )[0, 0]
    assert int(products.argmax()) == turn
    assert float(products.max()) == pytest.approx(float(jnp.sum(jnp.abs(view) ** 2)), rel=1e-3)
