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


def test_the_sum_is_differentiated_in_reverse_mode_only():
    def total(shared):
        return sum_images(loss, shared, INPUTS, DATA)[0]

    with pytest.raises(TypeError, match="forward-mode"):
        jax.jvp(total, (SHARED,), (SHARED,))
    curvature = jax.hessian(total)(SHARED)["scale"]["scale"]
    expected = jax.hessian(lambda shared: plain(shared, INPUTS))(SHARED)["scale"]["scale"]
    np.testing.assert_allclose(curvature, expected, rtol=1e-4, atol=1e-4)


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


def one_device():
    return jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))


@pytest.mark.parametrize("mesh", [None, one_device()], ids=["no mesh", "mesh"])
def test_no_image_gives_results_of_the_right_shape(mesh):
    def one(image, number):
        return {"image": jnp.sin(image[:2]), "number": number + 1}

    numbers = jnp.zeros(0, jnp.int32)
    result = jax.jit(lambda a, b: map_images(one, a, b, mesh=mesh))(INPUTS[:0], numbers)
    assert (result["image"].shape, result["image"].dtype) == ((0, 2), jnp.float32)
    assert (result["number"].shape, result["number"].dtype) == ((0,), jnp.int32)


def test_random_keys_of_no_image_are_keys():
    keys = jax.random.split(jax.random.key(0), 4)
    result = map_images(lambda key: jax.random.fold_in(key, 1), keys[:0])
    assert (result.shape, result.dtype) == ((0,), keys.dtype)


@pytest.mark.parametrize("mesh", [None, one_device()], ids=["no mesh", "mesh"])
@pytest.mark.parametrize("has_aux", [False, True])
def test_the_sum_over_no_image_is_0_and_so_is_its_gradient(mesh, has_aux):
    def reporting(shared, inputs, data):
        return loss(shared, inputs, data), {"input": inputs[:2]}

    def total(shared, inputs):
        function = reporting if has_aux else loss
        return sum_images(function, shared, inputs, DATA[:0], mesh=mesh, has_aux=has_aux)

    assert total(SHARED, INPUTS[:0])[0] == 0.0
    (value, each), (to_shared, to_inputs) = jax.value_and_grad(total, argnums=(0, 1), has_aux=True)(
        SHARED, INPUTS[:0]
    )
    assert value == 0.0
    assert to_inputs.shape == (0, 3)
    np.testing.assert_array_equal(to_shared["scale"], np.zeros(3))
    if has_aux:
        assert each[1]["input"].shape == (0, 2)
    assert (each[0] if has_aux else each).shape == (0,)


def test_mapping_over_a_mesh():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(AxisType.Auto,))
    np.testing.assert_allclose(
        map_images(jnp.sin, INPUTS, chunk=4, mesh=mesh), jnp.sin(INPUTS), rtol=1e-6
    )
