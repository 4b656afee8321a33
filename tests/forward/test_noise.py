from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.fourier import filter_image
from cryojax_graph.forward.noise import (
    background_level,
    noise_power,
    outside_disc,
    radial_noise_power,
    sample_noise,
    whitening_filter,
)

BOX = 48
SHELLS = 0.5 + 4.0 * np.exp(-np.arange(BOX // 2 + 1) / 6.0)


estimate_power = jax.jit(jax.vmap(radial_noise_power, in_axes=(0, None)))


@partial(jax.jit, static_argnums=0)
def samples(count: int) -> jax.Array:
    power = noise_power(jnp.asarray(SHELLS, jnp.float32), box=BOX)
    keys = jax.random.split(jax.random.key(0), count)
    return jax.vmap(lambda key: sample_noise(key, power, box=BOX))(keys)


@pytest.mark.parametrize("radius", [0.0, 16.0])
def test_the_estimate_recovers_the_power_that_was_sampled(radius):
    mask = outside_disc(radius, box=BOX, edge=3.0)
    estimate = estimate_power(samples(200), mask).mean(0)
    # A disc smears the estimate over a shell or two, most where the power changes fastest.
    np.testing.assert_allclose(estimate[2:], SHELLS[2:], rtol=0.05 if radius == 0 else 0.15)


def test_a_particle_inside_the_disc_does_not_count():
    mask = outside_disc(12.0, box=BOX)
    image = samples(1)[0]
    bright = image.at[BOX // 2, BOX // 2].add(1000.0)
    np.testing.assert_allclose(*estimate_power(jnp.stack([bright, image]), mask), rtol=1e-5)


def test_white_noise_has_its_variance():
    noise = jax.vmap(lambda key: sample_noise(key, 4.0, box=64))(
        jax.random.split(jax.random.key(1), 50)
    )
    assert float(noise.var()) == pytest.approx(4.0, rel=0.02)


def test_whitening_makes_the_variance_one():
    power = noise_power(jnp.asarray(SHELLS, jnp.float32), box=BOX)
    white = jax.vmap(lambda image: filter_image(image, whitening_filter(power)))(samples(100))
    assert float(white.var()) == pytest.approx(1.0, rel=0.02)


def test_a_band_without_noise_is_left_out_with_a_finite_gradient():
    power = jnp.ones((4, 3)).at[1, 1].set(0.0)
    assert whitening_filter(power)[1, 1] == 0.0
    assert jnp.isfinite(jax.grad(lambda p: whitening_filter(p).sum())(power)).all()


def test_noise_power_is_linear_between_shells():
    values = noise_power(jnp.arange(5.0), box=8)
    assert values[0, 3] == pytest.approx(3.0)
    assert values[1, 1] == pytest.approx(np.sqrt(2), rel=1e-5)
    assert values[4, 4] == pytest.approx(4.0)  # beyond the last shell


def test_the_same_key_gives_the_same_noise():
    first, second = (sample_noise(jax.random.key(5), 1.0, box=8) for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_the_mask_is_zero_inside_and_one_outside():
    mask = np.asarray(outside_disc(4.0, box=16, pixel_size=1.0))
    assert mask[8, 8] == 0.0
    assert mask[8, 12] == 0.0
    assert mask[8, 13] == 1.0
    soft = np.asarray(outside_disc(4.0, box=16, edge=2.0))
    assert soft[8, 13] == pytest.approx(0.5, abs=1e-6)


def test_the_background_is_told_whatever_the_particle():
    box = 32
    coordinates = np.arange(box) - box // 2
    disc = np.hypot(coordinates[:, None], coordinates) < 0.4 * box
    image = np.where(disc, 50.0, 3.0).astype(np.float32)
    np.testing.assert_allclose(background_level(jnp.asarray(image)), 3.0, rtol=1e-5)
    assert background_level(jnp.asarray(np.where(disc, image, np.float32(0)))) == 0.0
