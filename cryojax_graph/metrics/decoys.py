"""How many of the points found are false, told by points that can only be false."""

import numpy as np
from jaxtyping import Float


def false_share(
    height: Float[np.ndarray, " n"], decoys: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " n"]:
    """Expected share of false points among all that are at least as high, for each point.

    Decoys are found where nothing is to be found, by the same search with the same chances; as many
    points above a height are expected to be false as decoys are above it (Elias and Gygi 2007,
    Nature Methods 4:207). The share never falls when the cut does, for of two cuts with the same
    share the lower one is wanted (the q-value of Storey 2002, JRSS B 64:479).

    Args:
        height: of the points, in any unit.
        decoys: heights of the decoys, in the same unit.

    Returns:
        shares from 0 to 1.
    """

    def at_least(values: Float[np.ndarray, " k"]) -> Float[np.ndarray, " n"]:
        return len(values) - np.searchsorted(np.sort(values), height, side="left").astype(float)

    share = np.minimum(at_least(decoys) / np.maximum(at_least(height), 1.0), 1.0)
    ascending = np.argsort(height, kind="stable")
    least = np.empty(len(height))
    least[ascending] = np.minimum.accumulate(share[ascending])
    return least
