"""Boxes that cover a map, and how they are joined."""

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.fields import cut_patches, lay_patches, owners_of


@given(shape=st.tuples(*[st.integers(3, 300)] * 3), size=st.integers(8, 64))
@settings(max_examples=100, deadline=None)
def test_boxes_cover_the_map_and_overlap(shape, size):
    patches = lay_patches(shape, size=size, overlap=4)
    for n, starts, length in zip(shape, patches.starts, patches.size, strict=True):
        assert length == min(n, size)
        assert starts[0] == 0
        assert starts[-1] + length == n
        # Rounding down may take one voxel of the overlap, as it does in the paper's formula.
        assert all(b - a <= length - 3 for a, b in pairwise(starts))


def test_the_layout_of_the_paper():
    patches = lay_patches((64, 65, 128))
    assert patches.starts == ((0,), (0, 1), (0, 32, 64))
    assert patches.size == (64, 64, 64)
    assert patches.count == 6


def test_cut_boxes_are_the_voxels_there():
    volume = np.arange(9 * 10 * 21.0).reshape(9, 10, 21)
    patches = lay_patches(volume.shape, size=12, overlap=4)
    boxes = cut_patches(volume, patches)
    assert boxes.shape == (3, 9, 10, 12)
    np.testing.assert_array_equal(boxes[1], volume[:, :, patches.starts[2][1] :][:, :, :12])


@pytest.mark.parametrize("blend", ["linear", "smooth"])
@pytest.mark.parametrize("shape", [(9, 30, 61), (20, 64, 125), (5, 5, 5)])
def test_shares_add_up_and_places_are_where_the_point_is(blend, shape):
    patches = lay_patches(shape, size=24, overlap=4)
    points = np.random.default_rng(0).uniform(-0.5, np.array(shape) - 0.5, (500, 3))
    found = jax.jit(jax.vmap(partial(owners_of, patches=patches, blend=blend)))(
        jnp.asarray(points, jnp.float32)
    )
    np.testing.assert_allclose(found.weight.sum(1), 1, atol=1e-6)
    assert (found.weight >= 0).all()
    corners = np.stack(np.meshgrid(*patches.starts, indexing="ij"), -1).reshape(-1, 3)
    half = (np.array(patches.size) - 1) / 2
    back = corners[found.patch] + half + np.asarray(found.place)[..., ::-1] * half
    counts = np.asarray(found.weight) > 0
    np.testing.assert_allclose(
        back[counts], np.broadcast_to(points[:, None], back.shape)[counts], atol=1e-3
    )
    # Who counts knows the point: at the rim of the map it lies half a voxel outside.
    assert (np.abs(np.asarray(found.place)[counts]) <= 1 + 0.5 / half[::-1] + 1e-5).all()


@pytest.mark.parametrize("order", [0, 1, 2])
def test_smooth_shares_have_two_continuous_derivatives(order):
    patches = lay_patches((5, 5, 40), size=24, overlap=8)
    first, second = patches.starts[2]

    def share(x):
        owners = owners_of(jnp.array([2.0, 2.0, x]), patches, blend="smooth")
        return jnp.sum(jnp.where(owners.patch == 1, owners.weight, 0.0))

    derivative = share
    for _ in range(order):
        derivative = jax.grad(derivative)
    for edge in (second, first + 23):
        before, after = derivative(edge - 1e-3), derivative(edge + 1e-3)
        np.testing.assert_allclose(before, after, atol=1e-2)


def test_linear_shares_have_the_slope_of_one_side_where_a_box_begins():
    patches = lay_patches((5, 5, 40), size=24, overlap=8)
    first, second = patches.starts[2]

    def share(x):
        owners = owners_of(jnp.array([2.0, 2.0, x]), patches, blend="linear")
        return jnp.sum(jnp.where(owners.patch == 1, owners.weight, 0.0))

    # A box that has no say there is not asked: a slope would multiply its silence.
    for edge in (float(second), first + 23.0):
        assert float(jax.grad(share)(edge)) == 0.0
    assert float(jax.grad(share)(0.5 * (second + first + 23.0))) > 0.05
