"""Whether a map shows a particle that is darker than what is around it."""

import numpy as np
from jaxtyping import Float

from cryojax_graph.forward import blur_map

# Coarser than any detail, so that it is the particle as a whole that is looked at, Å.
_COARSE = 25.0
DARK = (
    "The particles are darker than what is around them: the maps were inverted. Give --contrast "
    "white if that is wrong, or dark if it is known."
)
"""Warning of a job that inverts its maps."""


def are_dark(volume: Float[np.ndarray, "box box box"], voxel_size: float) -> bool:
    """Whether the extremes of a blurred map are valleys rather than peaks.

    Mass lies together in a small part of the box: the skewness of its density has its sign.

    Args:
        volume: density.
        voxel_size: Å.

    Returns:
        True where the third moment of the blurred density is negative.
    """
    blurred = blur_map(volume, _COARSE, voxel_size=voxel_size)
    return bool(np.mean((blurred - blurred.mean()) ** 3) < 0)
