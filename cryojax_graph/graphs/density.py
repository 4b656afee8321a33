"""The graph of a density map: one node per peak, edges between peaks near each other."""

from collections.abc import Mapping
from typing import Any, cast

import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Float, Int, Shaped

DensityGraph = jraph.GraphsTuple
"""A graph from ``build_density_graph``, for annotations where jraph itself must not be named."""


def build_density_graph(
    position: Float[np.ndarray, "n 3"],
    features: Mapping[str, Shaped[np.ndarray, "n *feature"]],
    *,
    cutoff: float,
) -> jraph.GraphsTuple:
    """Join all peaks closer than a cutoff (Ranno and Si 2022, section 2.4). Host code.

    Args:
        position: of the peaks, (x, y, z) in Å.
        features: more arrays, one row for each peak.
        cutoff: distance of joined peaks at most, Å; the paper takes twice the resolution.

    Returns:
        the graph; nodes are a dictionary of ``position`` and the features, edges their length in
        Å. Every edge is there in both directions, sorted by receiver, then sender.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    pairs = np.zeros((0, 2), int)
    if len(position):
        pairs = KDTree(position).query_pairs(cutoff, output_type="ndarray")
    both = np.concatenate([pairs, pairs[:, ::-1]])
    # The last key counts first.
    senders, receivers = both[np.lexsort(both.T)].T
    return density_graph({"position": position, **features}, senders, receivers)


def density_graph(
    nodes: Mapping[str, Shaped[np.ndarray, "n *feature"]],
    senders: Int[np.ndarray, " edges"],
    receivers: Int[np.ndarray, " edges"],
) -> jraph.GraphsTuple:
    """The graph of peaks whose edges are known, such as those of a file. Host code.

    Args:
        nodes: arrays, one row for each peak, ``position`` (x, y, z) in Å among them.
        senders: peak at which each edge begins.
        receivers: peak at which it ends.

    Returns:
        the graph, as ``build_density_graph`` makes it.
    """
    position = nodes["position"]
    return jraph.GraphsTuple(
        nodes=dict(nodes),
        edges=np.linalg.norm(position[senders] - position[receivers], axis=1),
        senders=cast(Any, senders),
        receivers=cast(Any, receivers),
        globals=None,
        n_node=jnp.array([len(position)]),
        n_edge=jnp.array([len(senders)]),
    )
