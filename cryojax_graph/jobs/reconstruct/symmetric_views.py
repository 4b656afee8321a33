"""From where a symmetric particle is seen: one image shows it from several sides at once."""

import numpy as np
from jaxtyping import Float

# Directions that are enough for any picture of them; all copies of all views would fill memory.
_MOST = 200_000


def symmetric_views(
    rotation: Float[np.ndarray, "views 3 3"],
    weight: Float[np.ndarray, " views"],
    operators: Float[np.ndarray, "operators 3 3"],
    *,
    most: int = _MOST,
) -> Float[np.ndarray, "copies 3 3"]:
    """Views with their symmetric copies, each view as often as it weighs.

    Args:
        rotation: object to image coordinates.
        weight: of each view.
        operators: of the point group.
        most: copies; of more views an even sample is taken.

    Returns:
        rotations, the copies of one view together.
    """
    count = max(1, min(len(rotation), most // len(operators)))
    # At equal steps of the weights so far: of equal weights, all or each so-manyth.
    passed = np.cumsum(weight)
    steps = (np.arange(count) + 0.5) / count * passed[-1]
    chosen = np.minimum(np.searchsorted(passed, steps), len(rotation) - 1)
    return (rotation[chosen, None] @ operators).reshape(-1, 3, 3)
