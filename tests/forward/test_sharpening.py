"""Sharpening by its definition in float64, its inverse, and its gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward import sharpen

VOXEL = 1.5


def volume_of(box: int) -> np.ndarray:
    return np.random.default_rng(0).standard_normal((box,) * 3).astype(np.float32)


def oracle(
    volume: np.ndarray, weights: np.ndarray, b_factor: float, resolution: float
) -> np.ndarray:
    """The whole spectrum, coefficient by coefficient."""
    box = len(volume)
    k = np.fft.fftfreq(box, 1 / box)
    radius = np.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + k**2)
    limit = box * VOXEL / resolution
    low_pass = 0.5 - 0.5 * np.sin(np.pi * np.clip((radius - limit) / 2, -0.5, 0.5))
    gain = np.exp(b_factor / 4 * (radius / (box * VOXEL)) ** 2)
    shell = np.rint(radius).astype(int)
    weight = np.where(shell <= box // 2, weights[np.minimum(shell, box // 2)], 0.0)
    return np.fft.ifftn(np.fft.fftn(volume.astype(float)) * low_pass * gain * weight).real


@pytest.mark.parametrize("box", [20, 21])
@pytest.mark.parametrize("b_factor", [80.0, -80.0])
def test_agrees_with_the_definition(box, b_factor):
    weights = np.linspace(1.0, 0.2, box // 2 + 1).astype(np.float32)
    volume = volume_of(box)
    found = sharpen(
        jnp.asarray(volume),
        jnp.asarray(weights),
        b_factor=b_factor,
        resolution=4.0,
        voxel_size=VOXEL,
    )
    expected = oracle(volume, weights, b_factor, 4.0)
    np.testing.assert_allclose(found, expected, atol=2e-5 * abs(expected).max())


def test_sharpening_undoes_a_b_factor():
    ones = jnp.ones(11)
    # No coefficient lies on the edge of the filter, which would halve it each time.
    settings = {"resolution": 4.9, "voxel_size": VOXEL, "edge": 1e-3}
    inside = sharpen(jnp.asarray(volume_of(20)), ones, b_factor=0.0, **settings)
    faded = sharpen(inside, ones, b_factor=-100.0, **settings)
    np.testing.assert_allclose(sharpen(faded, ones, b_factor=100.0, **settings), inside, atol=1e-4)


def test_a_strong_factor_does_not_overflow_beyond_the_resolution():
    found = sharpen(
        jnp.asarray(volume_of(20)), jnp.ones(11), b_factor=3000.0, resolution=10.0, voxel_size=VOXEL
    )
    assert jnp.isfinite(found).all()


def test_it_is_differentiable_in_map_and_b_factor():
    volume = jnp.asarray(volume_of(8))

    def total(v: jax.Array, b_factor: float) -> jax.Array:
        made = sharpen(v, jnp.ones(5), b_factor=b_factor, resolution=4.0, voxel_size=VOXEL)
        return jnp.sum(made**2)

    slope = jax.grad(total, 1)(volume, 50.0)
    difference = (total(volume, 50.5) - total(volume, 49.5)) / 1.0
    assert float(slope) == pytest.approx(float(difference), rel=1e-2)
    assert jnp.isfinite(jax.grad(total)(volume, 50.0)).all()
