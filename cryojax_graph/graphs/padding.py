"""Graphs of fixed capacity: masks say what is real, a flag says when it did not fit."""

from typing import NamedTuple

import jax.numpy as jnp
import jraph
from jaxtyping import Array, Bool, Shaped


class PaddedGraph(NamedTuple):
    """A graph whose last nodes and edges may be empty places.

    Empty edges join the last node to itself and are masked; sums must use the mask.

    Attributes:
        graph: arrays of the full capacity, edges sorted by receiver, then sender.
        node_mask: True for real nodes, shape (nodes,).
        edge_mask: True for real edges, shape (edges,).
        overflow: True if edges were lost because the capacity was too small.
    """

    graph: jraph.GraphsTuple
    node_mask: Bool[Array, " nodes"]
    edge_mask: Bool[Array, " edges"]
    overflow: Bool[Array, ""]


def pad_graph(graph: jraph.GraphsTuple, *, nodes: int, edges: int) -> PaddedGraph:
    """Fill a graph up to a capacity, so that graphs of many sizes share one compiled program.

    Args:
        graph: any graph whose nodes and edges are arrays.
        nodes: number of places for nodes.
        edges: number of places for edges.

    Returns:
        the padded graph; the empty places form a second graph, as jraph counts them.

    Raises:
        ValueError: the graph does not fit.
    """
    arrays = [graph.nodes, graph.edges, graph.senders, graph.receivers]
    points, kinds, senders, receivers = (jnp.asarray(values) for values in arrays)
    real_nodes, real_edges = len(points), len(senders)
    if real_nodes > nodes or real_edges > edges:
        raise ValueError(
            f"graph of {real_nodes} nodes and {real_edges} edges exceeds {nodes} and {edges}"
        )
    empty_nodes, empty_edges = nodes - real_nodes, edges - real_edges

    def filled(values: Shaped[Array, "n *rest"], count: int, value: int) -> Array:
        width = [(0, count)] + [(0, 0)] * (values.ndim - 1)
        return jnp.pad(values, width, constant_values=value)

    padded = graph._replace(
        nodes=filled(points, empty_nodes, 0),
        edges=filled(kinds, empty_edges, 0),
        senders=filled(senders, empty_edges, nodes - 1),
        receivers=filled(receivers, empty_edges, nodes - 1),
        n_node=jnp.array([real_nodes, empty_nodes]),
        n_edge=jnp.array([real_edges, empty_edges]),
    )
    return PaddedGraph(
        padded,
        node_mask=jnp.arange(nodes) < real_nodes,
        edge_mask=jnp.arange(edges) < real_edges,
        overflow=jnp.zeros((), bool),
    )


def zero_padding(
    values: Shaped[Array, "n *rest"], mask: Bool[Array, " n"]
) -> Shaped[Array, "n *rest"]:
    """Values of the empty places set to 0, whatever they were, NaN included.

    Args:
        values: one row for each place.
        mask: True for real places.

    Returns:
        the values with masked rows at 0; no gradient flows into them.
    """
    return jnp.where(mask.reshape(-1, *[1] * (values.ndim - 1)), values, 0)
