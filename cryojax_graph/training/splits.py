"""Disjoint sets of images, drawn once from a key."""

import jax
import numpy as np
from jaxtyping import Array, Int, Key


def held_out(
    key: Key[Array, ""],
    count: int,
    fraction: float,
    *,
    group: Int[np.ndarray, " count"] | None = None,
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " held"]]:
    """Set a share of the images aside for choosing between models.

    Args:
        key: the draw.
        count: number of images.
        fraction: share to hold out, in [0, 1); rounded to whole images, at least one when not 0.
        group: numbers from 0; what has one number stays together, such as rows of one image.

    Returns:
        images to fit and images held out, each in ascending order.

    Raises:
        ValueError: the fraction leaves no image to fit, or is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the held-out fraction is {fraction}, expected 0 <= fraction < 1")
    group = np.arange(count) if group is None else group
    groups = int(group.max(initial=-1)) + 1
    held = max(1, round(fraction * groups)) if fraction else 0
    if held >= groups:
        raise ValueError(f"holding out {held} of {groups} images leaves none to fit")
    order = np.asarray(jax.random.permutation(key, groups))
    is_held = np.isin(group, order[:held])
    return np.flatnonzero(~is_held), np.flatnonzero(is_held)


def half_sets(
    key: Key[Array, ""],
    images: Int[np.ndarray, " n"],
    *,
    group: Int[np.ndarray, " count"] | None = None,
) -> tuple[Int[np.ndarray, " first"], Int[np.ndarray, " second"]]:
    """Divide images into two random halves that are fitted independently.

    Args:
        key: the draw.
        images: numbers of the images to divide.
        group: of every image; what has one number stays together, such as rows of one image.

    Returns:
        two disjoint sets in ascending order; the first is larger by one when the number is odd.
    """
    groups = images if group is None else group[images]
    found = np.unique(groups)
    order = np.asarray(jax.random.permutation(key, len(found)))
    in_first = np.isin(groups, found[order[: (len(found) + 1) // 2]])
    return np.sort(images[in_first]), np.sort(images[~in_first])
