"""Pairs of residues that stand close to each other."""

import numpy as np
from jaxtyping import Float, Int
from scipy.spatial import KDTree


def pairs_within(positions: Float[np.ndarray, "n 3"], cutoff: float) -> Int[np.ndarray, "pairs 2"]:
    """All pairs of points nearer than a cut-off, without looking at every pair.

    Args:
        positions: Å.
        cutoff: Å.

    Returns:
        numbers of the points, the lower one first, in ascending order.
    """
    pairs = KDTree(positions).query_pairs(cutoff, output_type="ndarray")
    return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]
