import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.geometry.stable import (
    angle_of,
    axial_vector,
    axis_apart_from,
    length,
    product,
)


def test_product_agrees_with_float64_to_full_float32():
    a, b = jax.random.normal(jax.random.key(0), (2, 40, 40))
    exact = np.asarray(a, float) @ np.asarray(b, float)
    np.testing.assert_allclose(product(a, b), exact, atol=2e-5)


def test_length_and_its_gradient():
    vector = jnp.array([3.0, 4.0, 12.0])
    assert length(vector) == 13.0
    np.testing.assert_allclose(jax.grad(length)(vector), vector / 13, rtol=1e-6)


def test_zero_vector_has_length_and_gradient_zero():
    assert length(jnp.zeros(3)) == 0
    assert not jax.grad(length)(jnp.zeros(3)).any()


@pytest.mark.parametrize("degrees", [-179.0, -90.0, -1e-3, 0.0, 45.0, 90.0, 180.0])
def test_angle_of_any_multiple_of_sine_and_cosine(degrees):
    radians = np.radians(degrees)
    angle = angle_of(jnp.asarray(7.0 * np.sin(radians)), jnp.asarray(7.0 * np.cos(radians)))
    np.testing.assert_allclose(angle, radians, rtol=1e-6, atol=1e-7)


def test_undefined_angle_is_zero_with_zero_gradient():
    zero = jnp.zeros(())
    assert angle_of(zero, zero) == 0
    assert jax.grad(angle_of, (0, 1))(zero, zero) == (0, 0)


def test_axial_vector_is_the_cross_product_of_the_antisymmetric_part():
    matrix, x = jax.random.normal(jax.random.key(2), (3, 3)), jnp.array([0.3, -1.0, 2.0])
    expected = (matrix - matrix.T) @ x
    np.testing.assert_allclose(jnp.cross(axial_vector(matrix), x), expected, atol=1e-6)


def test_axis_apart_is_never_close_to_the_direction():
    directions = np.random.default_rng(1).normal(size=(50, 3)).astype(np.float32)
    axes = np.asarray(jax.jit(jax.vmap(axis_apart_from))(jnp.asarray(directions)))
    cosines = abs((axes * directions).sum(1)) / np.linalg.norm(directions, axis=1)
    assert (cosines <= 1 / np.sqrt(3) + 1e-6).all()
