"""Functions of many points, a part of them at a time, so that each is compiled once."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import numpy as np
from jaxtyping import Float

_POINTS = 1 << 13


def in_parts(
    function: Callable[..., Any],
    points: Float[np.ndarray, "n 3"],
    *,
    check_abort: Callable[[], None] = lambda: None,
    advance: Callable[[int], Any] = lambda done: None,
) -> Any:
    """Results for all points; each part is filled up to the same size.

    Args:
        function: of points in single precision; returns arrays with a row for each.
        points: (x, y, z) in Å.
        check_abort: called between parts.
        advance: told how many points are done.

    Returns:
        NumPy arrays, one row for each point.
    """
    found = []
    for first in range(0, max(len(points), 1), _POINTS):
        check_abort()
        some = points[first : first + _POINTS].astype(np.float32)
        # Outside every map, where nothing is to be found.
        outside = np.full((_POINTS - len(some), 3), -1e6, np.float32)
        filled = np.concatenate([some, outside])
        result = jax.device_get(function(filled))
        found.append(jax.tree.map(partial(_head, count=len(some)), result))
        advance(first + len(some))
    return jax.tree.map(lambda *parts: np.concatenate(parts), *found)


def _head(values: np.ndarray, *, count: int) -> np.ndarray:
    return values[:count]
