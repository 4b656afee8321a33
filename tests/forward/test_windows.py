import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.forward.grouping import plan_groups
from cryojax_graph.forward.project import project_gaussians
from cryojax_graph.forward.windows import lost_mass, project_groups

BOX, PIXEL = 48, 1.5


def structure(n: int = 70, spread: float = 9.0):
    rng = np.random.default_rng(1)
    positions = rng.normal(size=(n, 3)) * spread
    return (
        positions,
        rng.uniform(-3, 10, n).astype(np.float32),
        rng.uniform(0.8, 2, n),
    )


def rotated(positions: np.ndarray, seed: int) -> jax.Array:
    matrix, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(3, 3)))
    return jnp.asarray(positions @ matrix[:2].T, jnp.float32)


positions, *others = structure()
plan = plan_groups(positions, others[1], pixel_size=PIXEL, size=16, reach=5.5)
masses, widths = (jnp.asarray(values, jnp.float32) for values in others)


@jax.jit
def windowed(centres):
    return project_groups(centres, masses, widths, plan, box=BOX, pixel_size=PIXEL)


@jax.jit
def dense(centres):
    return project_gaussians(centres, masses, widths, box=BOX, pixel_size=PIXEL)


@jax.jit
def lost(centres):
    return lost_mass(centres, masses, widths, plan, box=BOX, pixel_size=PIXEL)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.floats(-60, 60), st.floats(-60, 60))
def test_equals_the_dense_projection_in_any_pose(seed, x, y):
    """Also where the particle leaves the box: windows stop at its edge."""
    centres = rotated(positions, seed) + jnp.array([x, y])
    tolerance = 1e-5 * float(jnp.abs(dense(rotated(positions, seed))).max())
    np.testing.assert_allclose(windowed(centres), dense(centres), atol=tolerance)
    assert float(lost(centres)) < 1e-4


@pytest.mark.parametrize("integrate", [False, True])
def test_gradients_equal_those_of_the_dense_projection(integrate):
    arguments = rotated(positions, 0), jnp.asarray(masses), jnp.asarray(widths), jnp.asarray(PIXEL)
    weights = jax.random.normal(jax.random.key(0), (BOX, BOX))

    def gradient(draw):
        def total(centres, masses, widths, pixel_size):
            image = draw(
                centres, masses, widths, box=BOX, pixel_size=pixel_size, integrate=integrate
            )
            return jnp.sum(weights * image)

        return jax.jit(jax.grad(total, argnums=(0, 1, 2, 3)))(*arguments)

    computed = gradient(lambda *a, **k: project_groups(*a, plan, **k))
    for ours, theirs in zip(computed, gradient(project_gaussians), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5 * float(jnp.abs(theirs).max()))


def test_a_group_that_outgrows_its_window_is_noticed():
    """As much as the mass that is missing from the image, when no mass is negative."""
    centres, positive = 4.0 * rotated(positions, 0), jnp.abs(masses)

    @jax.jit
    def missing(centres):
        shape = {"box": 160, "pixel_size": PIXEL}
        image = project_groups(centres, positive, widths, plan, **shape)
        share = lost_mass(centres, positive, widths, plan, **shape)
        return 1.0 - jnp.sum(image) * PIXEL**2 / jnp.sum(positive), share

    drawn, said = missing(centres)
    assert float(said) > 0.01
    np.testing.assert_allclose(drawn, said, rtol=0.05)


def test_a_window_as_large_as_the_box_draws_everything():
    wide = plan_groups(positions, np.asarray(widths), pixel_size=PIXEL, size=1000)
    assert wide.members.shape == (1, len(positions))
    centres = rotated(positions, 3)
    image, expected = jax.jit(
        lambda c: (
            project_groups(c, masses, widths, wide, box=24, pixel_size=PIXEL),
            project_gaussians(c, masses, widths, box=24, pixel_size=PIXEL),
        )
    )(centres)
    np.testing.assert_allclose(image, expected, atol=1e-5 * float(expected.max()))


def test_no_mass_is_no_loss_and_no_nan():
    share, gradient = jax.jit(
        jax.value_and_grad(
            lambda m: lost_mass(rotated(positions, 0), m, widths, plan, box=BOX, pixel_size=PIXEL)
        )
    )(jnp.zeros(len(positions)))
    assert share == 0.0
    assert jnp.isfinite(gradient).all()
