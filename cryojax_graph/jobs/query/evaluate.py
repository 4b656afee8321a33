"""A field at many points or on a whole grid, a part at a time."""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Float32

from cryojax_graph.fields import Field, query, query_expansion
from cryojax_graph.jobs.stored_field import Grid, StoredField, build_field, grid_of

_PART = 1 << 17
# Every field is known so many voxels beyond the outermost voxels of its map.
_RIM = 0.25


class Values(NamedTuple):
    """A field at some points.

    Attributes:
        density: map units, 0 outside of the box.
        gradient: along x, y, z, map units per Å.
        hessian: map units per Å²; None where it was not asked for.
    """

    density: Float32[np.ndarray, " n"]
    gradient: Float32[np.ndarray, "n 3"]
    hessian: Float32[np.ndarray, "n 3 3"] | None


def inside(points: Float[np.ndarray, "n 3"], box: Grid) -> Bool[np.ndarray, " n"]:
    """Which points lie in the box of a map, or a quarter of a voxel beyond its outermost voxels.

    Args:
        points: (x, y, z) in Å.
        box: grid of the map.

    Returns:
        one for each point.
    """
    return np.all([_inside(points[:, k], box, k) for k in range(3)], axis=0)


def sides_inside(grid: Grid, box: Grid) -> list[Bool[np.ndarray, " n"]]:
    """The same for the voxels of a grid.

    Args:
        grid: any.
        box: grid of the map.

    Returns:
        one for each coordinate along z, y and x; a voxel is inside where its three are.
    """
    return [_inside(side, box, 2 - k) for k, side in enumerate(grid.sides())]


def _inside(side: Float[np.ndarray, " n"], box: Grid, axis: int) -> Bool[np.ndarray, " n"]:
    index = (side - box.origin[axis]) / box.voxel_size[axis]
    return (index >= -_RIM) & (index <= box.shape[2 - axis] - 1 + _RIM)


def at_points(
    field: Field | None,
    points: Float[np.ndarray, "n 3"],
    within: Bool[np.ndarray, " n"],
    *,
    hessian: bool,
    advance: Callable[[int], None] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
) -> Iterator[Values]:
    """A field at points.

    Args:
        field: right at the points within; None where no point is.
        points: (x, y, z) in Å.
        within: which of them are in the box.
        hessian: whether second derivatives are wanted.
        advance: told the number of points that are done.
        check_abort: called between parts of the work.

    Yields:
        the values of one part of the points after the other.
    """
    # What is far away may be beyond the range of float32.
    points = np.where(within[:, None], points, 0.0)
    ask = _expansion if hessian else _gradient
    size = min(_PART, len(points))
    for first in range(0, len(points), size):
        check_abort()
        here = within[first : first + size]
        if field is None:
            yield _nothing(len(here), hessian)
        else:
            asked = ask(field, _padded(points[first : first + size], size))
            found = [_kept(np.asarray(part), here) for part in asked]
            yield Values(found[0], found[1], found[2] if hessian else None)
        advance(first + len(here))


def on_grid(
    stored: StoredField,
    grid: Grid,
    *,
    advance: Callable[[int], None] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
) -> Float32[np.ndarray, "z y x"]:
    """Density of a field at the voxels of a grid, 0 outside of the box.

    Args:
        stored: of what the field is built.
        grid: where density is wanted.
        advance: told the number of sections that are done.
        check_abort: called between parts of the work.

    Returns:
        map units.
    """
    values = np.zeros(grid.shape, np.float32)
    z, y, x = grid.sides()
    within = sides_inside(grid, grid_of(stored))
    if not all(side.any() for side in within):
        return values
    ends = [side[here][[0, -1]] for side, here in zip((x, y, z), within[::-1], strict=True)]
    field = build_field(stored, near=np.stack(ends, axis=1))
    # Parts of one size are compiled once: the last one begins earlier and overlaps.
    thick = min(max(_PART // (len(y) * len(x)), 1), len(z))
    for first in range(0, len(z), thick):
        check_abort()
        start = min(first, len(z) - thick)
        stretch = np.meshgrid(z[start : start + thick], y, x, indexing="ij")
        points = np.stack(stretch[::-1], axis=-1).reshape(-1, 3)
        found = np.asarray(_density(field, jnp.asarray(points, jnp.float32)))
        values[start : start + thick] = found.reshape(thick, len(y), len(x))
        advance(start + thick)
    values[~(within[0][:, None, None] & within[1][:, None] & within[2])] = 0
    return values


_density = jax.jit(query)
_expansion = jax.jit(query_expansion)


@jax.jit
def _gradient(
    field: Field, points: Float[jax.Array, "n 3"]
) -> tuple[Float[jax.Array, " n"], Float[jax.Array, "n 3"]]:
    # What is not returned is not computed.
    return query_expansion(field, points)[:2]


def _padded(points: Float[np.ndarray, "m 3"], size: int) -> Float[jax.Array, "n 3"]:
    """The last point repeated: a part of another size would be compiled once more."""
    more = np.repeat(points[-1:], size - len(points), axis=0)
    return jnp.asarray(np.concatenate([points, more]), jnp.float32)


def _kept(part: Float32[np.ndarray, "size *more"], here: Bool[np.ndarray, " n"]) -> np.ndarray:
    some = part[: len(here)]
    return np.where(here.reshape(-1, *[1] * (some.ndim - 1)), some, np.float32(0))


def _nothing(count: int, hessian: bool) -> Values:
    shapes = [(count,), (count, 3), (count, 3, 3)]
    density, gradient, bend = (np.zeros(shape, np.float32) for shape in shapes)
    return Values(density, gradient, bend if hessian else None)
