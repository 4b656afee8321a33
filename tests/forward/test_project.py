import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import erf

from cryojax_graph.forward.project import project_gaussians

draw = jax.jit(project_gaussians, static_argnames=("box", "integrate"))


def oracle(centres, masses, widths, box, pixel_size, integrate):
    """Sum of two-dimensional Gaussians, one at a time, in float64."""
    u = (np.arange(box) - box // 2) * pixel_size
    image = np.zeros((box, box))
    for (x, y), mass, width in zip(
        *(np.asarray(a, float) for a in (centres, masses, widths)), strict=True
    ):
        if integrate:
            edges = np.append(u - pixel_size / 2, u[-1] + pixel_size / 2)
            share = [np.diff(erf((edges - c) / (width * np.sqrt(2)))) / 2 for c in (y, x)]
            image += mass * np.outer(*share) / pixel_size**2
        else:
            squared = (u[:, None] - y) ** 2 + (u - x) ** 2
            image += mass / (2 * np.pi * width**2) * np.exp(-squared / (2 * width**2))
    return image


def example(n: int = 30):
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(n, 2)) * 8
    return tuple(
        jnp.asarray(a, jnp.float32)
        for a in (centres, rng.uniform(1, 10, n), rng.uniform(0.8, 2.2, n))
    )


@pytest.mark.parametrize("integrate", [False, True])
@pytest.mark.parametrize("box", [32, 33])
def test_agrees_with_the_sum_of_gaussians(box, integrate):
    expected = oracle(*example(), box, 1.5, integrate)
    image = draw(*example(), box=box, pixel_size=1.5, integrate=integrate)
    np.testing.assert_allclose(image, expected, atol=1e-5 * expected.max())


@pytest.mark.parametrize("width", [0.05, 2.0])
def test_integrated_pixels_keep_the_mass_however_narrow_the_gaussian(width):
    image = draw(
        jnp.array([[0.3, -2.2]]),
        jnp.array([7.0]),
        jnp.array([width]),
        box=32,
        pixel_size=1.5,
        integrate=True,
    )
    assert float(image.sum()) * 1.5**2 == pytest.approx(7.0, rel=1e-5)


def test_sampling_and_integration_agree_for_wide_gaussians():
    centres, masses, widths = example()
    sampled = draw(centres, masses, widths * 5, box=32, pixel_size=1.5)
    integrated = draw(centres, masses, widths * 5, box=32, pixel_size=1.5, integrate=True)
    np.testing.assert_allclose(sampled, integrated, rtol=0.02)


def test_x_runs_along_columns():
    image = draw(jnp.array([[6.0, -3.0]]), jnp.ones(1), jnp.ones(1), box=16, pixel_size=1.5)
    assert np.unravel_index(np.argmax(image), image.shape) == (8 - 2, 8 + 4)
