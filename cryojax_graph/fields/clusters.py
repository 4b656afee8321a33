"""Points that are near each other, directly or through others."""

import numpy as np
from jaxtyping import Bool, Float, Int

# Of the distance: a cell of this edge, a little less than one over the root of three, holds points
# that are all within the distance of each other.
_EDGE = 0.577
# Cells farther apart than this along an axis hold no points so near.
_REACH = 2
# Pairs of points that are looked at together; of two cells with more, a tree finds the nearest.
_AT_ONCE = 1 << 20


def cluster_points(points: Float[np.ndarray, "n 3"], distance: float) -> Int[np.ndarray, " n"]:
    """Number of the cluster of each point, so that points no farther apart than this share one.

    This is DBSCAN whose clusters may be of one point (Ester and others 1996, KDD 226). Points in
    one small cell are one, and only where neighbouring cells are not joined yet are their points
    held against each other (Gunawan 2013, A faster algorithm for DBSCAN): thousands of ascents end
    in one place, and the pairs that they make would not fit into memory.

    Args:
        points: (x, y, z) in Å.
        distance: that joins two points, Å.

    Returns:
        numbers from 0, in no order.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    if not len(points):
        return np.zeros(0, int)
    # From a corner: far from 0 the number of a cell would be rounded.
    place = np.floor((points - points.min(axis=0)) / (_EDGE * distance))
    order = np.lexsort(place.T)
    place, points = place[order], points[order]
    first = np.concatenate([[True], (place[1:] != place[:-1]).any(axis=1)])
    start = np.append(np.nonzero(first)[0], len(points))
    near = KDTree(place[first]).query_pairs(_REACH, p=np.inf, output_type="ndarray")
    head = points[start[:-1]]
    joined = np.sum((head[near[:, 0]] - head[near[:, 1]]) ** 2, axis=1) <= distance**2
    label = _components(near[joined], len(head))
    undecided = np.nonzero(label[near[:, 0]] != label[near[:, 1]])[0]
    joined[undecided] = _touch(points, start, near[undecided], distance)
    label = _components(near[joined], len(head))
    found = np.empty(len(points), int)
    found[order] = label[np.cumsum(first) - 1]
    return found


def _components(pairs: Int[np.ndarray, "m 2"], count: int) -> Int[np.ndarray, " count"]:
    """Number of the part of a graph that each of its nodes belongs to."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    graph = coo_matrix((np.ones(len(pairs)), tuple(pairs.T)), shape=(count, count))
    return connected_components(graph, directed=False)[1]


def _touch(
    points: Float[np.ndarray, "n 3"],
    start: Int[np.ndarray, " cells_and_end"],
    pairs: Int[np.ndarray, "m 2"],
    distance: float,
) -> Bool[np.ndarray, " m"]:
    """Of which pairs of cells two points, one of each, are no farther apart than a distance.

    Args:
        points: cell by cell.
        start: first point of each cell, and the end of the last.
        pairs: of cells.
        distance: Å.
    """
    from scipy.spatial import KDTree

    size = np.diff(start)
    many = size[pairs[:, 0]] * size[pairs[:, 1]]
    touch = np.zeros(len(pairs), bool)
    for pair in np.nonzero(many > _AT_ONCE)[0].tolist():
        here, there = (points[start[cell] : start[cell + 1]] for cell in pairs[pair].tolist())
        touch[pair] = KDTree(there).query(here)[0].min() <= distance
    few = np.nonzero(many <= _AT_ONCE)[0]
    part = np.cumsum(many[few]) // _AT_ONCE
    for some in np.split(few, np.nonzero(np.diff(part))[0] + 1):
        a, b = pairs[some].T
        row = np.repeat(np.arange(len(some)), many[some])
        # Within each pair of cells, every point of the one with every point of the other.
        number = np.arange(len(row)) - (np.cumsum(many[some]) - many[some])[row]
        one, other = np.divmod(number, size[b][row])
        apart = points[start[a][row] + one] - points[start[b][row] + other]
        near = np.sum(apart**2, axis=1) <= distance**2
        touch[some] = np.bincount(row[near], minlength=len(some)) > 0
    return touch
