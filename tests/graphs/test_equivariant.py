import e3nn_jax as e3nn
import jax
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.graphs.build import build_backbone_graph
from cryojax_graph.graphs.equivariant import EquivariantConfig, apply_equivariant, init_equivariant
from cryojax_graph.graphs.neighbours import most_neighbours, neighbour_lists

RNG = np.random.default_rng(0)
POINTS = np.cumsum(RNG.normal(0, 2.2, (12, 3)), axis=0)
GRAPH = build_backbone_graph(POINTS, np.zeros(12, int), np.arange(12), contact_cutoff=8.0)
CONFIG = EquivariantConfig("3x0e+2x1o", "2x0e+2x1o+1x2e", kinds=3, cutoff=10.0, hidden=8)
FEATURES = RNG.normal(size=(12, 9)).astype(np.float32)
POSITIONS = POINTS.astype(np.float32)


@pytest.fixture(scope="module")
def layers():
    """With as many places as neighbours, and with two more."""
    params = jax.jit(init_equivariant, static_argnums=1)(jax.random.key(0), CONFIG)

    def with_more(places: int):
        lists = neighbour_lists(GRAPH, places=most_neighbours(GRAPH) + places)
        return jax.jit(
            lambda features, positions: apply_equivariant(
                params, features, positions, lists, config=CONFIG
            )
        )

    return with_more(0), with_more(2)


@pytest.fixture(scope="module")
def layer(layers):
    return layers[0]


def rotated(irreps: str, features, rotation: np.ndarray) -> jax.Array:
    turn = jax.jit(lambda x: e3nn.IrrepsArray(irreps, x).transform_by_matrix(rotation).array)
    return turn(features)


@pytest.mark.parametrize("reflected", [False, True])
def test_rotating_reflecting_and_shifting_the_input_does_so_to_the_output(layer, reflected):
    rotation = Rotation.random(random_state=1).as_matrix() * (-1 if reflected else 1)
    expected = rotated(CONFIG.irreps_out, layer(FEATURES, POSITIONS), rotation)
    turned = rotated(CONFIG.irreps_in, FEATURES, rotation)
    result = layer(turned, (POINTS @ rotation.T + 20.0).astype(np.float32))
    assert result.shape == (12, 13)
    np.testing.assert_allclose(result, expected, atol=2e-5)


def test_the_directions_of_the_neighbours_matter(layer):
    stretched = POSITIONS * np.array([1.0, 1.0, 1.2], np.float32)
    moved, still = (np.asarray(layer(FEATURES, x)) for x in (stretched, POSITIONS))
    assert np.abs(moved - still).max() > 1e-2


def test_a_neighbour_beyond_the_cutoff_has_no_influence(layer):
    far, changed = POSITIONS.copy(), FEATURES.copy()
    far[0] += 100.0
    changed[0] += 1.0

    def difference(positions) -> np.ndarray:
        return np.asarray(layer(changed, positions)) - np.asarray(layer(FEATURES, positions))

    np.testing.assert_allclose(difference(far)[1:], 0, atol=1e-6)
    assert np.abs(difference(POSITIONS)[1]).max() > 1e-4


def test_empty_places_change_nothing(layers):
    expected, wider = (layer(FEATURES, POSITIONS) for layer in layers)
    np.testing.assert_allclose(wider, expected, atol=1e-5)


def test_gradients_are_finite_where_all_atoms_coincide(layer):
    slope = jax.jit(jax.grad(lambda f, x: (layer(f, x) ** 2).sum(), (0, 1)))
    for positions in (POSITIONS, np.zeros((12, 3), np.float32)):
        assert all(np.isfinite(g).all() for g in slope(FEATURES, positions))


def test_scalars_must_come_first():
    with pytest.raises(ValueError, match="scalars first"):
        init_equivariant(jax.random.key(0), EquivariantConfig("2x0e", "1x1o+2x0e", 3, 10.0))
