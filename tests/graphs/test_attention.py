from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.graphs.attention import apply_attention, init_attention
from cryojax_graph.graphs.build import build_backbone_graph
from cryojax_graph.graphs.neighbours import NeighbourLists, most_neighbours, neighbour_lists

RNG = np.random.default_rng(0)
POINTS = np.cumsum(RNG.normal(0, 2.2, (15, 3)), axis=0)
POINTS[14] += 500
GRAPH = build_backbone_graph(POINTS, np.zeros(15, int), np.arange(15), contact_cutoff=6.0)
FEATURES = RNG.normal(size=(15, 8))
BIAS = RNG.normal(size=(3, 2)).astype(np.float32)
attend = jax.jit(apply_attention)


@pytest.fixture(scope="module")
def params() -> dict:
    start = jax.jit(partial(init_attention, channels=8, heads=2, kinds=3))
    return start(jax.random.key(0)) | {"kind_bias": BIAS}


@pytest.fixture(scope="module")
def lists() -> NeighbourLists:
    return neighbour_lists(GRAPH, places=most_neighbours(GRAPH))


def by_loops(params, features: np.ndarray, graph) -> np.ndarray:
    p = {name: np.asarray(value, float) for name, value in params.items()}
    result = np.zeros_like(features)
    for node in range(len(features)):
        edges = np.flatnonzero(graph.receivers == node)
        for head in range(2):
            query = features[node] @ p["query"][:, head]
            keys, values = (
                features[graph.senders[edges]] @ p[k][:, head] for k in ("key", "value")
            )
            weights = np.exp(keys @ query / 2 + p["kind_bias"][graph.edges[edges], head])
            if len(edges):
                result[node] += (weights @ values / weights.sum()) @ p["output"][head]
    return result


def test_agrees_with_loops_over_edges(params, lists):
    result = attend(params, jnp.asarray(FEATURES, jnp.float32), lists)
    np.testing.assert_allclose(result, by_loops(params, FEATURES, GRAPH), atol=1e-5)


def test_a_node_without_neighbours_gets_zero_and_finite_gradients(params, lists):
    assert not lists.mask[14].any()
    features = jnp.asarray(FEATURES, jnp.float32)
    assert not attend(params, features, lists)[14].any()
    gradients = jax.jit(jax.grad(lambda p, x: (attend(p, x, lists) ** 2).sum(), (0, 1)))
    assert all(jnp.isfinite(g).all() for g in jax.tree.leaves(gradients(params, features)))


def test_gradient_agrees_with_central_differences(params, lists):
    cotangent, change = RNG.normal(size=(2, 15, 8))
    gradient = jax.jit(jax.grad(lambda x: (cotangent * attend(params, x, lists)).sum()))
    slope = (np.asarray(gradient(jnp.asarray(FEATURES, jnp.float32))) * change).sum()
    ends = [by_loops(params, FEATURES + h * change, GRAPH) for h in (1e-6, -1e-6)]
    np.testing.assert_allclose(slope, (cotangent * (ends[0] - ends[1])).sum() / 2e-6, rtol=1e-4)


def test_empty_places_and_large_scores_change_nothing(params, lists):
    features = jnp.asarray(FEATURES, jnp.float32)
    wider = neighbour_lists(GRAPH, places=most_neighbours(GRAPH) + 3)
    np.testing.assert_allclose(
        attend(params, features, wider), attend(params, features, lists), atol=1e-6
    )
    shifted = params | {"kind_bias": BIAS + 500.0}
    np.testing.assert_allclose(
        attend(shifted, features, lists), attend(params, features, lists), atol=1e-3
    )


def test_half_precision_stays_close_to_single(params, lists):
    half = jax.tree.map(
        lambda x: x.astype(jnp.bfloat16), (params, jnp.asarray(FEATURES, jnp.float32))
    )
    result = attend(*half, lists)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_allclose(
        result.astype(jnp.float32), by_loops(params, FEATURES, GRAPH), atol=0.1
    )


def test_channels_that_do_not_divide_are_refused():
    with pytest.raises(ValueError, match="7 channels"):
        init_attention(jax.random.key(0), channels=7, heads=2, kinds=3)
