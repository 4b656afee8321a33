import e3nn_jax as e3nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.geometry import random_rotations
from cryojax_graph.graphs.build import build_backbone_graph
from cryojax_graph.graphs.equivariant import EquivariantConfig, apply_equivariant, init_equivariant
from cryojax_graph.graphs.neighbours import most_neighbours, neighbour_lists

RNG = np.random.default_rng(0)
POINTS = np.cumsum(RNG.normal(0, 2.2, (12, 3)), axis=0)
GRAPH = build_backbone_graph(POINTS, np.zeros(12, int), np.arange(12), contact_cutoff=8.0)
LISTS = neighbour_lists(GRAPH, places=most_neighbours(GRAPH))
WIDER = neighbour_lists(GRAPH, places=most_neighbours(GRAPH) + 2)
CONFIG = EquivariantConfig("3x0e+2x1o", "2x0e+2x1o+1x2e", kinds=3, cutoff=10.0, hidden=8)
FEATURES = jnp.asarray(RNG.normal(size=(12, 9)), jnp.float32)
POSITIONS = jnp.asarray(POINTS, jnp.float32)
PARAMS = init_equivariant(jax.random.key(0), CONFIG)


@jax.jit
def layer(features, positions):
    return apply_equivariant(PARAMS, features, positions, LISTS, config=CONFIG)


def rotated(irreps: str, features: jax.Array, rotation: jax.Array) -> jax.Array:
    turn = jax.jit(lambda x: e3nn.IrrepsArray(irreps, x).transform_by_matrix(rotation).array)
    return turn(features)


@pytest.mark.parametrize("reflected", [False, True])
def test_rotating_reflecting_and_shifting_the_input_does_so_to_the_output(reflected):
    rotation = random_rotations(jax.random.key(1), 1)[0] * (-1 if reflected else 1)
    expected = rotated(CONFIG.irreps_out, layer(FEATURES, POSITIONS), rotation)
    turned = rotated(CONFIG.irreps_in, FEATURES, rotation)
    result = layer(turned, POSITIONS @ rotation.T + 20.0)
    assert result.shape == (12, 13)
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_the_directions_of_the_neighbours_matter():
    stretched = POSITIONS * jnp.array([1.0, 1.0, 1.2])
    assert float(jnp.abs(layer(FEATURES, stretched) - layer(FEATURES, POSITIONS)).max()) > 1e-2


def test_a_neighbour_beyond_the_cutoff_has_no_influence():
    far = POSITIONS.at[0].add(100.0)
    changed = FEATURES.at[0].add(1.0)
    np.testing.assert_allclose(layer(changed, far)[1:], layer(FEATURES, far)[1:], atol=1e-6)
    assert float(jnp.abs(layer(changed, POSITIONS)[1] - layer(FEATURES, POSITIONS)[1]).max()) > 1e-4


def test_empty_places_change_nothing():
    wider = jax.jit(lambda: apply_equivariant(PARAMS, FEATURES, POSITIONS, WIDER, config=CONFIG))()
    np.testing.assert_allclose(wider, layer(FEATURES, POSITIONS), atol=1e-5)


def test_gradients_are_finite_where_all_atoms_coincide():
    slope = jax.jit(jax.grad(lambda f, x: (layer(f, x) ** 2).sum(), (0, 1)))
    for positions in (POSITIONS, jnp.zeros((12, 3))):
        assert all(jnp.isfinite(g).all() for g in slope(FEATURES, positions))


def test_scalars_must_come_first():
    with pytest.raises(ValueError, match="scalars first"):
        init_equivariant(jax.random.key(0), EquivariantConfig("2x0e", "1x1o+2x0e", 3, 10.0))
