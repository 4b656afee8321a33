import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.metrics.fsc import fourier_shell_correlation, resolution_angstrom

fsc = jax.jit(fourier_shell_correlation)


def maps(seed: int, box: int = 16) -> jax.Array:
    return jnp.asarray(np.random.default_rng(seed).normal(size=(2, box, box, box)), jnp.float32)


def oracle(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """The definition, with the whole spectrum and a loop, in float64."""
    box = len(first)
    f, g = np.fft.fftn(first.astype(float)), np.fft.fftn(second.astype(float))
    k = np.fft.fftfreq(box) * box
    radius = np.rint(np.sqrt(k[:, None, None] ** 2 + k[None, :, None] ** 2 + k**2))
    curve = []
    for s in range(box // 2 + 1):
        inside = radius == s
        power = np.sqrt((abs(f[inside]) ** 2).sum() * (abs(g[inside]) ** 2).sum())
        curve.append((f[inside] * g[inside].conj()).real.sum() / power if power else 0.0)
    return np.array(curve)


@pytest.mark.parametrize("box", [16, 17])
def test_agrees_with_the_definition(box):
    a, b = maps(0, box)
    np.testing.assert_allclose(fsc(a, a + b), oracle(np.asarray(a), np.asarray(a + b)), atol=1e-6)


def test_scaling_a_map_by_any_power_changes_nothing():
    a, b = maps(1)
    for scale in (7.0, 1e8, 1e-12):
        np.testing.assert_allclose(fsc(a, scale * b), fsc(a, b), atol=1e-5)


def test_an_empty_map_correlates_with_nothing_and_has_a_finite_gradient():
    a, zero = maps(2)[0], jnp.zeros((16, 16, 16))
    assert not fsc(a, zero).any()
    assert jnp.isfinite(jax.jit(jax.grad(lambda m: fsc(a, m).sum()))(zero)).all()


def test_gradient_agrees_with_central_differences_of_the_definition():
    a, b = maps(3, 8)
    gradient = jax.grad(lambda m: fsc(m, b)[1:].sum())(a)
    direction = np.random.default_rng(4).normal(size=(8, 8, 8))
    ends = [oracle(np.asarray(a, float) + h * direction, np.asarray(b)) for h in (1e-4, -1e-4)]
    expected = (ends[0] - ends[1])[1:].sum() / 2e-4
    np.testing.assert_allclose((np.asarray(gradient) * direction).sum(), expected, rtol=1e-3)


def test_resolution_is_interpolated_between_shells():
    curve = jnp.array([0.2, 1.0, 0.9, 0.3, 0.1])
    at_half = resolution_angstrom(curve, threshold=0.5, box_angstrom=24.0)
    np.testing.assert_allclose(at_half, 24 / (2 + 4 / 6), rtol=1e-6)


def test_resolution_of_a_curve_that_never_or_at_once_falls():
    never = resolution_angstrom(jnp.ones(9), threshold=0.143, box_angstrom=32.0)
    assert never == 32 / 8
    at_once = resolution_angstrom(jnp.zeros(9), threshold=0.5, box_angstrom=32.0)
    assert at_once == 32 / 0.5
