"""Whether a model stands in the frame of a map: one rule for every verb that takes both."""

import numpy as np
from jaxtyping import Bool, Float

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map

OTHER_FRAME = "the model may stand in another frame than the map"
# Of the atoms: with more outside, the model is not one of the map.
_MOST = 0.5


def outside_of(positions: Float[np.ndarray, "n 3"], density: Map) -> Bool[np.ndarray, " n"]:
    """Which atoms lie outside the box of a map.

    Args:
        positions: (x, y, z) in Å.
        density: the map.

    Returns:
        one for each atom.
    """
    edges = (np.array(density.values.shape[::-1]) - 1) * density.voxel_size
    return outside_box(positions, density.origin, density.origin + edges)


def outside_box(
    positions: Float[np.ndarray, "n 3"],
    first: Float[np.ndarray, "3"],
    last: Float[np.ndarray, "3"],
) -> Bool[np.ndarray, " n"]:
    """Which atoms lie outside a box.

    Args:
        positions: (x, y, z) in Å.
        first: corner of the box, (x, y, z) in Å.
        last: the opposite corner.

    Returns:
        one for each atom.
    """
    return np.asarray(((positions < first) | (positions > last)).any(axis=1))


def require_one_frame(outside: Bool[np.ndarray, " n"], model: str, *, most: float = _MOST) -> None:
    """Refuse a model of which too much lies outside of the map.

    Args:
        outside: which atoms do.
        model: its file, for the message.
        most: share of the atoms that may.

    Raises:
        InputError: more do.
    """
    if outside.mean() > most:
        cause = f"{int(outside.sum()):,} of {len(outside):,} atoms lie outside of the map"
        remedy = "give the model in the frame of the map, or a map that holds it"
        raise InputError(model, "its coordinates", cause, remedy)
