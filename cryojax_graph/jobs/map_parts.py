"""Parts of a map, in their place."""

import numpy as np
from jaxtyping import Bool, Float, Num

from cryojax_graph.io.mrc import Map

# Voxels as far as a field looks from a point.
BORDER = 8
# Of the map itself and of what is computed of all its voxels, wherever the work is: its level, and
# which of them are above it.
WHOLE_BYTES = 16


def crop(density: Map, of_interest: Bool[np.ndarray, "z y x"]) -> Map:
    """The part of a map that holds some voxels and a border, as far as the map reaches.

    Args:
        density: the map.
        of_interest: the voxels, one at least.

    Returns:
        the part, in its place.
    """
    here = np.nonzero(of_interest)
    low, high = (np.array([f(axis) for axis in here]) for f in (np.min, np.max))
    return _cut(density, low - BORDER, high + BORDER)


def part_around(
    density: Map, points: Float[np.ndarray, "n 3"], border: int | Num[np.ndarray, "3"]
) -> Map:
    """The part of a map that holds all points and a border, as far as the map reaches.

    Args:
        density: the map.
        points: (x, y, z) in Å, at least one in the box.
        border: voxels, one number or one along each of x, y, z.

    Returns:
        the part, in its place.
    """
    index = (points - density.origin) / density.voxel_size
    low, high = index.min(axis=0) - border, index.max(axis=0) + border
    return _cut(density, np.floor(low)[::-1], np.ceil(high)[::-1])


def _cut(density: Map, low: Num[np.ndarray, "3"], high: Num[np.ndarray, "3"]) -> Map:
    """From one voxel to another, both with it, along z, y, x."""
    last = np.array(density.values.shape) - 1
    low, high = (np.clip(corner, 0, last).astype(int) for corner in (low, high))
    corners = tuple(slice(a, b + 1) for a, b in zip(low.tolist(), high.tolist(), strict=True))
    return Map(
        np.ascontiguousarray(density.values[corners]),
        density.voxel_size,
        density.origin + low[::-1] * density.voxel_size,
    )
