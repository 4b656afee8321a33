"""Disjoint sets of images, drawn once from a key."""

import jax
import numpy as np
from jaxtyping import Array, Int, Key


def held_out(
    key: Key[Array, ""], count: int, fraction: float
) -> tuple[Int[np.ndarray, " kept"], Int[np.ndarray, " held"]]:
    """Set a share of the images aside for choosing between models.

    Args:
        key: the draw.
        count: number of images.
        fraction: share to hold out, in [0, 1); rounded to whole images, at least one when not 0.

    Returns:
        images to fit and images held out, each in ascending order.

    Raises:
        ValueError: the fraction leaves no image to fit, or is not in [0, 1).
    """
    if not 0 <= fraction < 1:
        raise ValueError(f"the held-out fraction is {fraction}, expected 0 <= fraction < 1")
    held = max(1, round(fraction * count)) if fraction else 0
    if held >= count:
        raise ValueError(f"holding out {held} of {count} images leaves none to fit")
    order = np.asarray(jax.random.permutation(key, count))
    return np.sort(order[held:]), np.sort(order[:held])


def half_sets(
    key: Key[Array, ""], images: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " first"], Int[np.ndarray, " second"]]:
    """Divide images into two random halves that are fitted independently.

    Args:
        key: the draw.
        images: numbers of the images to divide.

    Returns:
        two disjoint sets in ascending order; the first is larger by one when the number is odd.
    """
    order = np.asarray(jax.random.permutation(key, len(images)))
    middle = (len(images) + 1) // 2
    return np.sort(images[order[:middle]]), np.sort(images[order[middle:]])
