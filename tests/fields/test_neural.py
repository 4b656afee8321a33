"""Stacks of networks as one field, beside the same thing written out point by point."""

import tracemalloc
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.fields import (
    NeuralField,
    cluster_points,
    clusters,
    fit_spline,
    init_siren,
    lay_patches,
    query,
    query_expansion,
    siren,
    voxel_grid,
    walk_uphill,
)

SHAPE, OMEGA = (10, 12, 30), 5.0
VOXEL, ORIGIN = np.array([0.7, 0.8, 0.6]), np.array([10.0, -5.0, 2.0])
PATCHES = lay_patches(SHAPE, size=14, overlap=4)


def field_of(blend: str) -> NeuralField:
    init = partial(init_siren, width=8, hidden=1, omega=OMEGA)
    return NeuralField(
        layers=jax.vmap(init)(jax.random.split(jax.random.key(0), PATCHES.count - 1)),
        network=jnp.array([0, 9, 1]),
        constant=jnp.array([0.0, -0.5, 0.0]),
        offset=jnp.float32(2.0),
        scale=jnp.float32(3.0),
        grid=voxel_grid(ORIGIN, VOXEL),
        patches=PATCHES,
        shape=SHAPE,
        omega=OMEGA,
        blend=blend,
    )


def by_hand(field: NeuralField, point: np.ndarray) -> float:
    """In float64, all boxes that hold the point, linear shares along x."""
    index = (point - ORIGIN) / VOXEL
    total = 0.0
    for number, start in enumerate(PATCHES.starts[2]):
        size = np.array(PATCHES.size[::-1])
        share = 1.0
        if number > 0:
            end = PATCHES.starts[2][number - 1] + size[0] - 1
            share *= np.clip((index[0] - start) / (end - start), 0, 1)
        if number + 1 < len(PATCHES.starts[2]):
            following = PATCHES.starts[2][number + 1]
            end = start + size[0] - 1
            share *= 1 - np.clip((index[0] - following) / (end - following), 0, 1)
        network = int(field.network[number])
        said = float(field.constant[number])
        if network < len(field.layers[0].bias):
            h = (index - [start, 0, 0]) / ((size - 1) / 2) - 1
            layers = [
                (np.asarray(a.kernel[network], float), np.asarray(a.bias[network], float))
                for a in field.layers
            ]
            for kernel, bias in layers[:-1]:
                h = np.sin(OMEGA * (h @ kernel + bias))
            said = float((h @ layers[-1][0] + layers[-1][1])[0])
        total += share * said
    return 2.0 + 3.0 * total


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    reach = (np.array(SHAPE[::-1]) - 1) * VOXEL
    return ORIGIN + np.random.default_rng(1).uniform(0, 1, (60, 3)) * reach


def test_it_says_what_its_networks_say(points):
    field = field_of("linear")
    found = jax.jit(query)(field, jnp.asarray(points, jnp.float32))
    np.testing.assert_allclose(found, [by_hand(field, p) for p in points], atol=2e-4)
    one = jax.jit(NeuralField.value)(field, jnp.asarray(points[3], jnp.float32))
    np.testing.assert_allclose(one, found[3], atol=1e-5)


def test_gradient_and_hessian_are_those_of_the_joined_field(points):
    field = field_of("linear")
    found = jax.jit(query_expansion)(field, jnp.asarray(points[:12], jnp.float32))
    step = 1e-4
    for number, point in enumerate(points[:12]):
        ends = [by_hand(field, point + s * step * e) for e in np.eye(3) for s in (1, -1)]
        slope = (np.array(ends[::2]) - np.array(ends[1::2])) / (2 * step)
        np.testing.assert_allclose(found.gradient[number], slope, atol=5e-3)
        middle = by_hand(field, point)
        curve = (np.array(ends[::2]) + np.array(ends[1::2]) - 2 * middle) / step**2
        np.testing.assert_allclose(np.diag(found.hessian[number]), curve, atol=2e-2, rtol=2e-3)
    np.testing.assert_allclose(found.hessian, np.swapaxes(found.hessian, 1, 2), atol=1e-3)


def test_nothing_is_outside():
    points = jnp.asarray(ORIGIN + np.array([[-1.0, 3.0, 3.0], [500.0, 0.0, 0.0]]), jnp.float32)
    found = jax.jit(query_expansion)(field_of("smooth"), points)
    for part in found:
        assert not np.asarray(part).any()


def test_weights_are_drawn_as_its_authors_do():
    layers = init_siren(jax.random.key(0), width=256, hidden=4, omega=30.0)
    assert sum(a.size for layer in layers for a in layer) == 264_449
    for number, layer in enumerate(layers):
        reach = 1 / 3 if number == 0 else np.sqrt(6 / 256) / 30
        assert 0.9 * reach < np.abs(layer.kernel).max() <= reach
    # The scheme keeps every sine layer's argument of about the same spread.
    inside = siren(layers, jax.random.uniform(jax.random.key(1), (500, 3), minval=-1), omega=30.0)
    assert inside.shape == (500,)
    assert 0.01 < float(inside.std()) < 0.2


def test_walks_end_one_step_from_the_top():
    z, y, x = np.indices((15, 15, 15))
    volume = np.exp(-((x - 7.3) ** 2 + (y - 6.8) ** 2 + (z - 7.1) ** 2) / 8).astype(np.float32)
    grid = voxel_grid(np.zeros(3), np.ones(3))
    field = jax.jit(fit_spline)(jnp.asarray(volume), grid)
    starts = jnp.asarray(np.random.default_rng(0).uniform(4, 10, (30, 3)), jnp.float32)
    walk = jax.jit(partial(walk_uphill, first=jnp.zeros(3), last=jnp.full(3, 14.0)))
    end = walk(field, starts, steps=500)
    assert end.arrived.all()
    distance = np.linalg.norm(np.asarray(end.position) - [7.3, 6.8, 7.1], axis=1)
    assert distance.max() < 0.1
    short = walk(field, starts, steps=2)
    assert not short.arrived.all()


def test_walks_that_leave_the_box_are_lost():
    slope = np.broadcast_to(np.arange(9.0)[None, None], (9, 9, 9)).astype(np.float32)
    grid = voxel_grid(np.zeros(3), np.ones(3))
    field = jax.jit(partial(fit_spline, degree=1))(jnp.asarray(slope), grid)
    starts = jnp.array([[6.0, 4.0, 4.0], [9.0, 4.0, 4.0]])
    walk = jax.jit(partial(walk_uphill, first=jnp.zeros(3), last=jnp.full(3, 8.0)))
    assert not walk(field, starts).arrived.any()


def test_clusters_are_chains_of_near_points():
    line = np.stack([np.arange(10) * 0.15, np.zeros(10), np.zeros(10)], axis=1)
    points = np.concatenate([line, line + np.array([0, 5, 0]), [[9.0, 9.0, 9.0]]])
    found = cluster_points(points, 0.2)
    assert len(set(found)) == 3
    assert len(set(found[:10])) == len(set(found[10:20])) == 1
    assert len(cluster_points(np.zeros((0, 3)), 0.2)) == 0


def single_linkage(points: np.ndarray, distance: float) -> list[frozenset[int]]:
    """DBSCAN with clusters of one by the book: what is reached from point to point."""
    apart = np.linalg.norm(points[:, None] - points, axis=2)
    unseen, clusters = set(range(len(points))), []
    while unseen:
        cluster, front = set(), {unseen.pop()}
        while front:
            cluster |= front
            front = {j for j in unseen if (apart[j, list(front)] <= distance).any()}
            unseen -= front
        clusters.append(frozenset(cluster))
    return clusters


@given(
    seed=st.integers(0, 10_000),
    crowd=st.sampled_from([0.05, 0.3, 1.0, 3.0]),
    at_once=st.sampled_from([1, 7, 1 << 20]),
)
@settings(max_examples=60, deadline=None)
def test_clusters_are_those_of_single_linkage(seed, crowd, at_once):
    """At any density of points, whichever way cells are held against each other."""
    rng = np.random.default_rng(seed)
    centres = rng.uniform(-3, 3, (8, 3)) * crowd
    points = (centres[:, None] + rng.normal(size=(8, 15, 3)) * 0.1).reshape(-1, 3) + 1e4
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(clusters, "_AT_ONCE", at_once)
        found = cluster_points(points, 0.2)
    groups = {frozenset(np.nonzero(found == number)[0].tolist()) for number in set(found.tolist())}
    assert groups == set(single_linkage(points, 0.2))


def test_many_points_in_one_place_make_no_pairs():
    """A walk from each seed of a peak ends there: pairs of those would take 5 GB."""
    rng = np.random.default_rng(0)
    tops = np.array([[0.0, 0.0, 0.0], [0.35, 0.0, 0.0], [4.0, 0.0, 0.0]])
    points = (tops[:, None] + rng.uniform(-0.03, 0.03, (3, 15_000, 3))).reshape(-1, 3)
    tracemalloc.start()
    found = cluster_points(points, 0.2)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    np.testing.assert_array_equal(found.reshape(3, -1), found[::15_000, None].repeat(15_000, 1))
    assert len(set(found.tolist())) == 3
    assert most < 5e7
