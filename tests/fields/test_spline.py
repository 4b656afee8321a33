"""Splines and Fourier fields beside scipy and analytic functions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from cryojax_graph.fields import (
    fit_fourier,
    fit_spline,
    query,
    query_expansion,
    spline_weights,
    upsample,
    voxel_grid,
)

# Neither cubic nor isotropic nor at the origin.
SHAPE = (9, 12, 10)
GRID = voxel_grid(np.array([3.0, -2.0, 5.0]), np.array([0.7, 1.1, 0.9]))
NOISE = np.random.default_rng(0).normal(size=SHAPE).astype(np.float32)


sample, expansion = jax.jit(query), jax.jit(query_expansion)
spline = jax.jit(fit_spline, static_argnames="degree")
fourier = jax.jit(fit_fourier)


def points_of(index: np.ndarray) -> jax.Array:
    return jnp.asarray(GRID.origin + index[:, ::-1] * GRID.voxel_size, jnp.float32)


def inner_indices(count: int = 200) -> np.ndarray:
    return np.random.default_rng(1).uniform(0, 1, (count, 3)) * (np.array(SHAPE) - 1)


@pytest.mark.parametrize("degree", [1, 3, 5])
def test_it_is_the_spline_of_scipy(degree):
    index = inner_indices()
    field = spline(jnp.asarray(NOISE), GRID, degree=degree)
    exact = ndimage.map_coordinates(NOISE.astype(float), index.T, order=degree, mode="reflect")
    np.testing.assert_allclose(sample(field, points_of(index)), exact, atol=2e-5)


@pytest.mark.parametrize("degree", [3, 5])
def test_derivatives_are_those_of_a_plane_wave(degree):
    wave = np.array([0.9, -0.5, 0.7])
    z, y, x = np.indices((24, 24, 24)) - 11.5
    volume = np.cos(wave[0] * x + wave[1] * y + wave[2] * z)
    grid = voxel_grid(np.full(3, -11.5 * 0.5), np.full(3, 0.5))
    field = spline(jnp.asarray(volume, jnp.float32), grid, degree=degree)
    points = np.random.default_rng(2).uniform(-2, 2, (50, 3))
    found = expansion(field, jnp.asarray(points, jnp.float32))
    k = wave / 0.5
    phase = points @ k
    tolerance = 0.03 if degree == 3 else 0.006
    np.testing.assert_allclose(found.value, np.cos(phase), atol=tolerance)
    gradient = -np.sin(phase)[:, None] * k
    np.testing.assert_allclose(found.gradient, gradient, atol=2 * tolerance)
    hessian = -np.cos(phase)[:, None, None] * np.outer(k, k)
    np.testing.assert_allclose(found.hessian, hessian, atol=0.5 if degree == 3 else 0.1)


def test_derivatives_agree_with_differences():
    with jax.enable_x64(True):
        grid = voxel_grid(np.zeros(3), np.ones(3))
        grid = jax.tree.map(lambda a: a.astype(jnp.float64), grid)
        field = spline(jnp.asarray(NOISE, jnp.float64), grid, degree=5)
        points = jnp.asarray(np.random.default_rng(3).uniform(2, 7, (6, 3)))
        found, step = expansion(field, points), 1e-5
        for axis in range(3):
            ahead, behind = (
                expansion(field, points.at[:, axis].add(sign * step)) for sign in (1, -1)
            )
            slope = (ahead.value - behind.value) / (2 * step)
            np.testing.assert_allclose(found.gradient[:, axis], slope, rtol=1e-6, atol=1e-7)
            bend = (ahead.gradient - behind.gradient) / (2 * step)
            np.testing.assert_allclose(found.hessian[:, axis], bend, rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("fit", [fit_spline, fit_fourier])
def test_the_derivative_by_the_map_is_exact(fit):
    point = points_of(inner_indices(1))[0]
    other = jnp.asarray(np.random.default_rng(4).normal(size=SHAPE), jnp.float32)

    def value(volume):
        return fit(volume, GRID).value(point)

    slope = jnp.sum(jax.jit(jax.grad(value))(jnp.asarray(NOISE)) * other)
    np.testing.assert_allclose(slope, jax.jit(value)(other), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("size", [8, 9])
def test_fourier_is_exact_within_the_band(size):
    wave = np.cos(2 * np.pi * 2 * np.arange(size) / size + 0.3)
    volume = jnp.asarray(np.broadcast_to(wave, (5, 6, size)), jnp.float32)
    field = fourier(volume, voxel_grid(np.zeros(3), np.ones(3)))
    x = np.linspace(0, size - 1, 40)
    points = jnp.asarray(np.stack([x, 0 * x + 2, 0 * x + 2], 1), jnp.float32)
    exact = np.cos(2 * np.pi * 2 * x / size + 0.3)
    np.testing.assert_allclose(sample(field, points), exact, atol=1e-4)


def test_fourier_goes_nearly_through_every_voxel():
    index = np.stack(np.indices(SHAPE), -1).reshape(-1, 3)
    found = sample(fourier(jnp.asarray(NOISE), GRID), points_of(index))
    assert np.abs(found - NOISE.ravel()).max() < 0.005 * np.abs(NOISE).max()


def test_upsampling_is_querying_on_the_finer_grid():
    field = spline(jnp.asarray(NOISE), GRID)
    fine = upsample(field, 2)
    index = np.stack(np.indices(fine.shape), -1).reshape(-1, 3) / 2
    np.testing.assert_allclose(sample(field, points_of(index)), fine.ravel(), atol=2e-5)


@given(fraction=st.floats(0, 1), degree=st.sampled_from([1, 3, 5]))
@settings(max_examples=20, deadline=None)
def test_weights_are_a_partition_of_one(fraction, degree):
    weights = np.asarray(spline_weights(jnp.float32(fraction), degree))
    assert len(weights) == degree + 1
    assert weights.min() >= -1e-6
    np.testing.assert_allclose(weights.sum(), 1.0, atol=1e-5)


def test_outside_the_box_the_field_and_its_slope_are_zero():
    found = expansion(
        spline(jnp.asarray(NOISE), GRID), points_of(np.array([[-3.0, 4, 4], [4, 40, 4]]))
    )
    assert not any(np.asarray(part).any() for part in found)
