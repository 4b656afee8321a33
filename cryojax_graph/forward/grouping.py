"""Which atoms of a template are drawn together: compact groups, and the window they need."""

from dataclasses import dataclass

import jax
import numpy as np
from jaxtyping import Array, Float, Int


@dataclass(frozen=True)
class GroupPlan:
    """Compact groups of points, all of one size, and the window that holds any of them.

    Attributes:
        members: index of the point in each place of each group, shape (groups, size); unoccupied
            places repeat a point of their group.
        occupied: 1 for the places that count, 0 for the others.
        places: flat place of each point.
        window: edge in pixels of the window in which a group is drawn.
    """

    members: Int[Array, "groups size"]
    occupied: Float[Array, "groups size"]
    places: Int[Array, " n"]
    window: int


jax.tree_util.register_dataclass(
    GroupPlan, data_fields=["members", "occupied", "places"], meta_fields=["window"]
)


def plan_groups(
    positions: Float[np.ndarray, "n 3"],
    widths: Float[np.ndarray, " n"],
    *,
    pixel_size: float,
    size: int = 32,
    reach: float = 4.5,
    slack: float = 0.0,
) -> GroupPlan:
    """Divide the points of a template into compact groups by recursive bisection.

    Runs on the host, once per template. Whatever the orientation, a group no wider than in the
    template fits its window, with ``reach`` standard deviations to every side.

    Args:
        positions: (x, y, z) in Å.
        widths: standard deviations of the Gaussians, Å.
        pixel_size: Å.
        size: points per group at most; 32 suits processors with vector units.
        reach: standard deviations drawn on either side of a point.
        slack: Å by which a group may grow when the structure moves.

    Returns:
        the plan; close over it or pass it through ``jit``.

    Raises:
        ValueError: there is no point, or a position is not finite.
    """
    if len(positions) == 0 or not np.isfinite(positions).all():
        raise ValueError("a plan needs at least one point and finite positions")
    positions = np.asarray(positions, np.float64)
    groups = _bisect(positions, np.arange(len(positions)), -(-len(positions) // size))
    largest = max(map(len, groups))
    members = np.stack([np.resize(group, largest) for group in groups]).astype(np.int32)
    occupied = np.stack([np.arange(largest) < len(group) for group in groups])
    places = np.empty(len(positions), np.int32)
    places[members[occupied]] = np.flatnonzero(occupied)
    diameter = max(_diameter(positions[group]) for group in groups)
    extent = diameter + slack + 2.0 * reach * float(np.max(widths))
    # Even, and one pixel more because a window is centred on whole pixels.
    window = 2 * int(np.ceil((extent / pixel_size + 1.0) / 2.0))
    as_array = jax.numpy.asarray
    return GroupPlan(
        as_array(members), as_array(occupied.astype(np.float32)), as_array(places), window
    )


def _bisect(positions: np.ndarray, indices: np.ndarray, groups: int) -> list[np.ndarray]:
    """Halve along the longest axis until ``groups`` parts of nearly equal size are left."""
    if groups == 1:
        return [indices]
    spread = np.ptp(positions[indices], axis=0)
    ordered = indices[np.argsort(positions[indices, np.argmax(spread)], kind="stable")]
    middle = len(indices) * (groups // 2) // groups
    lower = _bisect(positions, ordered[:middle], groups // 2)
    return lower + _bisect(positions, ordered[middle:], groups - groups // 2)


def _diameter(points: np.ndarray) -> float:
    """Largest distance between two points."""
    return float(np.sqrt(((points[:, None] - points) ** 2).sum(-1)).max())
