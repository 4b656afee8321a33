import jax
import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.graphs.build import build_backbone_graph
from cryojax_graph.graphs.padding import pad_graph, zero_padding

GRAPH = build_backbone_graph(
    np.arange(5)[:, None] * [3.8, 0.0, 0.0], np.zeros(5, int), np.arange(5)
)


def test_padding_keeps_the_graph_and_masks_the_rest():
    padded = pad_graph(GRAPH, nodes=8, edges=12)
    graph = padded.graph
    assert graph.nodes.shape == (8, 3)
    np.testing.assert_array_equal(graph.nodes[:5], GRAPH.nodes)
    np.testing.assert_array_equal(graph.senders[:8], GRAPH.senders)
    assert padded.node_mask.sum() == 5
    assert padded.edge_mask.sum() == 8
    assert (graph.senders[8:] == 7).all()
    assert (graph.receivers[8:] == 7).all()
    assert (jnp.diff(graph.receivers) >= 0).all()
    assert graph.n_node.tolist() == [5, 3]
    assert graph.n_edge.tolist() == [8, 4]
    assert not padded.overflow


def test_a_graph_that_fits_exactly_has_no_empty_places():
    padded = pad_graph(GRAPH, nodes=5, edges=8)
    assert padded.node_mask.all()
    assert padded.edge_mask.all()


@pytest.mark.parametrize(("nodes", "edges"), [(4, 20), (20, 7)])
def test_a_graph_that_does_not_fit_is_refused(nodes, edges):
    with pytest.raises(ValueError, match="5 nodes and 8 edges"):
        pad_graph(GRAPH, nodes=nodes, edges=edges)


def test_zeroing_stops_nan_and_its_gradient():
    values, mask = jnp.array([[1.0, 2.0], [jnp.nan, jnp.inf]]), jnp.array([True, False])
    np.testing.assert_array_equal(zero_padding(values, mask), [[1, 2], [0, 0]])
    np.testing.assert_array_equal(
        jax.grad(lambda v: zero_padding(v, mask).sum())(values), [[1, 1], [0, 0]]
    )
