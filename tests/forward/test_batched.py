import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType

from cryojax_graph.forward.batched import map_images, sum_images


def loss(shared, inputs, data):
    return jnp.sum((shared["scale"] * jnp.sin(inputs) - data) ** 2)


SHARED = {"scale": jnp.array([0.5, 2.0, -1.0])}
INPUTS = jax.random.normal(jax.random.key(0), (11, 3))
DATA = jax.random.normal(jax.random.key(1), (11, 3))


def plain(shared, inputs):
    return jnp.sum(jax.vmap(loss, in_axes=(None, 0, 0))(shared, inputs, DATA))


@pytest.mark.parametrize("chunk", [1, 4, 11, 16])
def test_chunks_change_neither_value_nor_gradient(chunk):
    def chunked(shared, inputs):
        total, each = sum_images(loss, shared, inputs, DATA, chunk=chunk)
        return 3.0 * total, each

    (value, each), gradients = jax.jit(jax.value_and_grad(chunked, argnums=(0, 1), has_aux=True))(
        SHARED, INPUTS
    )
    expected, expected_gradients = jax.value_and_grad(
        lambda s, i: 3.0 * plain(s, i), argnums=(0, 1)
    )(SHARED, INPUTS)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    np.testing.assert_allclose(each.sum() * 3.0, expected, rtol=1e-5)
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5), gradients, expected_gradients
    )


def test_values_of_single_images_carry_no_gradient():
    gradient = jax.grad(lambda i: sum_images(loss, SHARED, i, DATA)[1].sum())(INPUTS)
    assert not gradient.any()


def test_reports_are_returned_beside_the_losses():
    def reporting(shared, inputs, data):
        return loss(shared, inputs, data), {"input": inputs[0]}

    def total(inputs):
        return sum_images(reporting, SHARED, inputs, DATA, chunk=4, has_aux=True)

    (value, (each, report)), gradient = jax.value_and_grad(total, has_aux=True)(INPUTS)
    expected = jax.grad(lambda inputs: plain(SHARED, inputs))(INPUTS)
    np.testing.assert_allclose(each.sum(), value, rtol=1e-5)
    np.testing.assert_array_equal(report["input"], INPUTS[:, 0])
    np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def test_a_value_alone_needs_no_gradient():
    total, each = sum_images(loss, SHARED, INPUTS, DATA, chunk=4)
    np.testing.assert_allclose(total, plain(SHARED, INPUTS), rtol=1e-5)
    assert each.shape == (11,)


def test_a_mesh_gives_the_same_gradients():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))

    def gradient(mesh):
        return jax.grad(
            lambda s, i: sum_images(loss, s, i, DATA, chunk=4, mesh=mesh)[0], argnums=(0, 1)
        )(SHARED, INPUTS)

    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), gradient(mesh), gradient(None)
    )


@pytest.mark.parametrize("chunk", [3, 11, 20])
def test_mapping_stacks_the_results(chunk):
    result = map_images(lambda a, b: {"sum": a + b[0]}, INPUTS, (DATA,), chunk=chunk)
    np.testing.assert_allclose(result["sum"], INPUTS + DATA, rtol=1e-6)


def test_mapping_over_a_mesh():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    np.testing.assert_allclose(
        map_images(jnp.sin, INPUTS, chunk=4, mesh=mesh), jnp.sin(INPUTS), rtol=1e-6
    )
