"""Graphs of points closer than a cutoff, built inside ``jit`` with a capacity planned outside."""

from dataclasses import dataclass

import jax.numpy as jnp
import jraph
import numpy as np
from jaxtyping import Array, Bool, Float

from cryojax_graph.graphs.build import EdgeKind
from cryojax_graph.graphs.padding import PaddedGraph


@dataclass(frozen=True)
class RadiusPlan:
    """Sizes of a radius graph, static under ``jit``.

    Attributes:
        cutoff: distance in Å below which two points are joined.
        edges: capacity in directed edges.
        neighbours: capacity of the neighbour list of one point.
    """

    cutoff: float
    edges: int
    neighbours: int


def plan_radius_graph(
    points: Float[np.ndarray, "n 3"], *, cutoff: float, headroom: float = 1.25
) -> RadiusPlan:
    """Sizes that hold the graph of these points, with room for others like them. Host code.

    Args:
        points: typical positions in Å.
        cutoff: distance in Å below which two points are joined.
        headroom: capacity over present need.

    Returns:
        the plan.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    tree = KDTree(points)
    counts = tree.query_ball_point(points, cutoff, return_length=True) - 1
    edges, neighbours = (int(np.ceil(headroom * need)) for need in (counts.sum(), counts.max()))
    return RadiusPlan(cutoff, max(edges, 1), max(neighbours, 1))


def build_radius_graph(
    points: Float[Array, "n 3"], plan: RadiusPlan, *, mask: Bool[Array, " n"] | None = None
) -> PaddedGraph:
    """Graph of all pairs of points closer than the cutoff.

    All distances are computed, so memory grows with the square of the number of points.

    Args:
        points: Å.
        plan: cutoff and capacity.
        mask: False for points that do not exist; all exist if absent.

    Returns:
        the graph, both directions of every edge, sorted by receiver, then sender; its ``overflow``
        is True if it has more edges than the plan holds, and then the last ones are missing.
    """
    n = len(points)
    node_mask = jnp.ones(n, bool) if mask is None else mask
    squared = jnp.sum((points[:, None] - points[None]) ** 2, axis=-1)
    joined = (squared < plan.cutoff**2) & node_mask[:, None] & node_mask & ~jnp.eye(n, dtype=bool)
    receivers, senders = jnp.nonzero(joined, size=plan.edges, fill_value=n - 1)
    needed = jnp.sum(joined)
    real = jnp.minimum(needed, plan.edges)
    graph = jraph.GraphsTuple(
        nodes=points,
        edges=jnp.full(plan.edges, int(EdgeKind.CONTACT)),
        senders=senders,
        receivers=receivers,
        globals=None,
        n_node=jnp.array([n, 0]),
        n_edge=jnp.stack([real, plan.edges - real]),
    )
    return PaddedGraph(graph, node_mask, jnp.arange(plan.edges) < real, needed > plan.edges)
