"""Edges grouped by receiver in lists of one length: sums over neighbours without a scatter."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Bool, Int, Shaped


class NeighbourLists(NamedTuple):
    """The senders that each node receives from, in rising order.

    Attributes:
        index: sender in each place, the node itself in empty ones, shape (nodes, places).
        mask: True for real places.
        kind: kind of the edge in each place, 0 in empty ones.
        overflow: True if a node has more neighbours than places, and then its last ones are
            missing.
    """

    index: Int[Array, "n places"]
    mask: Bool[Array, "n places"]
    kind: Int[Array, "n places"]
    overflow: Bool[Array, ""]


def most_neighbours(graph: jraph.GraphsTuple) -> int:
    """Largest number of edges that one node receives. Host code.

    Args:
        graph: any graph with at least one node.

    Returns:
        the places that ``neighbour_lists`` needs, at least 1.
    """
    return max(1, int(np.bincount(np.asarray(graph.receivers), minlength=1).max()))


@partial(jax.jit, static_argnames="places")
def neighbour_lists(
    graph: jraph.GraphsTuple, *, places: int, edge_mask: Bool[Array, " edges"] | None = None
) -> NeighbourLists:
    """Lists of a graph whose edges are sorted by receiver.

    Args:
        graph: edges hold an integer kind each.
        places: capacity of each list.
        edge_mask: False for empty edges, which stand last; all are real if absent.

    Returns:
        the lists.
    """
    arrays = [graph.nodes, graph.edges, graph.senders, graph.receivers]
    nodes, kinds, senders, receivers = (jnp.asarray(values) for values in arrays)
    n = len(nodes)
    real = jnp.ones(len(senders), bool) if edge_mask is None else edge_mask
    start = jnp.searchsorted(receivers, jnp.arange(n))
    place = jnp.arange(len(senders)) - start[receivers]
    place = jnp.where(real, place, places)

    def listed(empty: Shaped[Array, "n places"], values: Shaped[Array, " edges"]) -> Array:
        return empty.at[receivers, place].set(values, mode="drop")

    itself = jnp.broadcast_to(jnp.arange(n, dtype=senders.dtype)[:, None], (n, places))
    nothing = jnp.zeros((n, places), bool)
    return NeighbourLists(
        index=listed(itself, senders),
        mask=listed(nothing, real),
        kind=listed(nothing.astype(kinds.dtype), kinds),
        overflow=jnp.any(real & (place >= places)),
    )
