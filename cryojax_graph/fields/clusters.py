"""Points that are near each other, directly or through others."""

import numpy as np
from jaxtyping import Float, Int

# Points in one cell of this share of the distance are one, which changes distances by 2 %.
_CELL = 0.02


def cluster_points(points: Float[np.ndarray, "n 3"], distance: float) -> Int[np.ndarray, " n"]:
    """Number of the cluster of each point, so that points closer than a distance share one.

    This is DBSCAN whose clusters may be of one point (Ester and others 1996, KDD 226).

    Args:
        points: (x, y, z) in Å.
        distance: that joins two points, Å.

    Returns:
        numbers from 0, in no order.
    """
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial import KDTree

    if not len(points):
        return np.zeros(0, int)
    # Thousands of ascents end in one place.
    cell = _CELL * distance
    cells, of_point = np.unique(np.rint(points / cell), axis=0, return_inverse=True)
    pairs = KDTree(cells * cell).query_pairs(distance, output_type="ndarray")
    ones = np.ones(len(pairs))
    graph = coo_matrix((ones, (pairs[:, 0], pairs[:, 1])), shape=(len(cells), len(cells)))
    return connected_components(graph, directed=False)[1][of_point.reshape(-1)].astype(int)
