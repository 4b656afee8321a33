from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.graphs.build import build_backbone_graph
from cryojax_graph.graphs.convolution import (
    NormalisedAdjacency,
    apply_convolution,
    apply_convolution_stack,
    init_convolution,
    init_convolution_stack,
    normalised_adjacency,
)
from cryojax_graph.graphs.neighbours import most_neighbours, neighbour_lists

pytestmark = pytest.mark.smoke

RNG = np.random.default_rng(0)
POINTS = np.cumsum(RNG.normal(0, 2.2, (24, 3)), axis=0)
GRAPH = build_backbone_graph(
    POINTS, np.repeat([0, 1], 12), np.arange(24), contact_cutoff=6.0, contact_neighbours=4
)
FEATURES = RNG.normal(size=(3, 24, 5))
layer, stack = (
    jax.jit(apply_convolution),
    jax.jit(apply_convolution_stack, static_argnames="first_residual"),
)


@partial(jax.jit, static_argnames="places")
def adjacency_of(graph, places: int):
    return normalised_adjacency(neighbour_lists(graph, places=places))


class Given(NamedTuple):
    """Parameters that are nowhere zero, and neighbours."""

    layer: dict
    stack: dict
    adjacency: NormalisedAdjacency


@pytest.fixture(scope="module")
def given() -> Given:
    @jax.jit
    def parameters(key):
        first, second = jax.random.split(key)
        layer = init_convolution(first, inputs=5, outputs=4)
        stack = init_convolution_stack(second, channels=5, layers=3)
        return jax.tree.map(lambda x: x + 0.3, layer), jax.tree.map(lambda x: x + 0.1, stack)

    return Given(*parameters(jax.random.key(0)), adjacency_of(GRAPH, most_neighbours(GRAPH)))


def dense_adjacency(graph) -> np.ndarray:
    """D^-1/2 (A + 2 I) D^-1/2 in float64."""
    n = len(graph.nodes)
    matrix = 2 * np.eye(n)
    matrix[graph.receivers, graph.senders] = 1
    scale = matrix.sum(1) ** -0.5
    return scale[:, None] * matrix * scale


def dense_layer(params, features: np.ndarray) -> np.ndarray:
    weight, bias = (np.asarray(params[name], float) for name in ("weight", "bias"))
    return dense_adjacency(GRAPH) @ (features @ weight) + bias


def dense_stack(params, features: np.ndarray, first_residual: bool) -> np.ndarray:
    for i in range(len(params["bias"])):
        update = np.maximum(dense_layer({k: v[i] for k, v in params.items()}, features), 0)
        features = update + (features if i or first_residual else 0)
    return features


def test_layer_agrees_with_the_dense_formula(given):
    result = layer(given.layer, jnp.asarray(FEATURES, jnp.float32), given.adjacency)
    np.testing.assert_allclose(result, dense_layer(given.layer, FEATURES), atol=1e-5)


def test_one_example_and_a_batch_and_vmap_agree(given):
    features = jnp.asarray(FEATURES, jnp.float32)
    together = layer(given.layer, features, given.adjacency)
    np.testing.assert_allclose(
        layer(given.layer, features[1], given.adjacency), together[1], atol=1e-6
    )
    mapped = jax.jit(jax.vmap(apply_convolution, (None, 0, None)))(
        given.layer, features, given.adjacency
    )
    np.testing.assert_allclose(mapped, together, atol=1e-6)


@pytest.mark.parametrize("first_residual", [True, False])
def test_stack_agrees_with_the_dense_formula(given, first_residual):
    features = jnp.asarray(FEATURES, jnp.float32)
    result = stack(given.stack, features, given.adjacency, first_residual=first_residual)
    np.testing.assert_allclose(
        result, dense_stack(given.stack, FEATURES, first_residual), rtol=1e-5, atol=1e-5
    )


def test_gradients_agree_with_central_differences_of_the_dense_formula(given):
    features, cotangent = jnp.asarray(FEATURES, jnp.float32), RNG.normal(size=FEATURES.shape)
    objective = jax.jit(
        jax.grad(lambda p, x: (cotangent * stack(p, x, given.adjacency)).sum(), (0, 1))
    )
    gradients = objective(given.stack, features)
    change = jax.tree.map(lambda x: RNG.normal(size=x.shape), (given.stack, features))

    def at(step: float) -> float:
        moved = jax.tree.map(
            lambda x, d: np.asarray(x, float) + step * d, (given.stack, FEATURES), change
        )
        return (cotangent * dense_stack(*moved, True)).sum()

    expected = (at(1e-6) - at(-1e-6)) / 2e-6
    slope = sum(
        jax.tree.leaves(jax.tree.map(lambda g, d: (np.asarray(g) * d).sum(), gradients, change))
    )
    np.testing.assert_allclose(slope, expected, rtol=1e-4)


def test_forward_mode_and_vmap_of_the_gradient_work_too(given):
    features = jnp.asarray(FEATURES, jnp.float32)

    def energy(x):
        return (stack(given.stack, x, given.adjacency) ** 2).sum()

    _, slope = jax.jit(lambda x: jax.jvp(energy, (x,), (x,)))(features[0])
    gradients = jax.jit(jax.vmap(jax.grad(energy)))(features)
    np.testing.assert_allclose(slope, (gradients[0] * features[0]).sum(), rtol=1e-4)


def test_more_places_than_neighbours_change_nothing(given):
    features = jnp.asarray(FEATURES, jnp.float32)
    for more in (1, 20):
        wider = adjacency_of(GRAPH, most_neighbours(GRAPH) + more)
        np.testing.assert_allclose(
            layer(given.layer, features, wider),
            layer(given.layer, features, given.adjacency),
            atol=1e-6,
        )


def test_an_isolated_node_keeps_its_own_features():
    graph = build_backbone_graph(100.0 * np.eye(3), np.arange(3), np.zeros(3, int))
    adjacency = adjacency_of(graph, most_neighbours(graph))
    params = {"weight": jnp.eye(5), "bias": jnp.zeros(5)}
    features = jnp.asarray(FEATURES[0, :3], jnp.float32)
    np.testing.assert_allclose(layer(params, features, adjacency), features, atol=1e-6)


def test_half_precision_features_are_summed_in_float32():
    n = 400
    star = np.concatenate([np.zeros((1, 3)), RNG.normal(size=(n - 1, 3))])
    graph = build_backbone_graph(
        star, np.arange(n), np.zeros(n, int), contact_cutoff=50.0, contact_neighbours=n
    )
    adjacency = adjacency_of(graph, most_neighbours(graph))
    params = {"weight": jnp.ones((1, 1), jnp.bfloat16), "bias": jnp.zeros(1, jnp.bfloat16)}
    result = layer(params, jnp.ones((n, 1), jnp.bfloat16), adjacency)
    assert result.dtype == jnp.bfloat16
    np.testing.assert_allclose(result.astype(jnp.float32), 1.0, rtol=5e-3)


def test_parameters_of_the_published_decoder():
    params = init_convolution_stack(jax.random.key(0), channels=10, layers=10)
    assert sum(x.size for x in jax.tree.leaves(params)) == 10 * 110
    assert not params["bias"].any()
    assert not jnp.allclose(params["weight"][0], params["weight"][1])
