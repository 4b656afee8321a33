"""A map cut into overlapping boxes, and how what is known of each is joined again."""

import math
from dataclasses import dataclass
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Shaped

Blend = Literal["linear", "smooth"]


@dataclass(frozen=True)
class Patches:
    """Boxes of equal size that cover a map, as many along each axis as are needed.

    Args:
        starts: first voxel of the boxes along z, y and x.
        size: of a box along z, y and x, voxels.
    """

    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    size: tuple[int, int, int]

    @property
    def count(self) -> int:
        """Number of boxes, those along x running fastest."""
        return math.prod(len(s) for s in self.starts)


class Owners(NamedTuple):
    """The boxes that know a point: two along each axis, of which the second may count nothing.

    Attributes:
        patch: number of the box.
        weight: of what it says; their sum is 1.
        place: of the point in the box, (x, y, z), -1 … 1 from the first to the last voxel.
    """

    patch: Int[Array, "8"]
    weight: Float[Array, "8"]
    place: Float[Array, "8 3"]


def lay_patches(shape: tuple[int, ...], *, size: int = 64, overlap: int = 4) -> Patches:
    """Cover a map with boxes (Ranno and Si 2022, section 2.1).

    Args:
        shape: of the map, voxels along z, y, x.
        size: of a box along each axis at most, voxels.
        overlap: of neighbouring boxes at least, voxels.

    Returns:
        the boxes.
    """
    starts, sizes = [], []
    for n in shape:
        length = min(n, size)
        count = math.ceil((n - length) / (size - overlap)) + 1
        # In whole numbers: rounded, the last box can miss the last voxel.
        starts.append(tuple(i * (n - length) // max(count - 1, 1) for i in range(count)))
        sizes.append(length)
    return Patches(tuple(starts), tuple(sizes))


def cut_patches(
    volume: Shaped[np.ndarray, "z y x"], patches: Patches
) -> Shaped[np.ndarray, "count box_z box_y box_x"]:
    """The voxels of every box.

    Args:
        volume: of the map.
        patches: from ``lay_patches``.

    Returns:
        copies.
    """
    corners = np.stack(np.meshgrid(*patches.starts, indexing="ij"), -1).reshape(-1, 3)
    return np.stack(
        [
            volume[tuple(slice(s, s + n) for s, n in zip(corner, patches.size, strict=True))]
            for corner in corners
        ]
    )


def owners_of(index: Float[Array, "3"], patches: Patches, *, blend: Blend) -> Owners:
    """Which boxes know a point, and how much each counts.

    Where two boxes overlap along an axis, the first hands over to the second: ``linear`` from the
    start of the overlap to its end, as published; ``smooth`` with two continuous derivatives, which
    leaves the joined field as smooth as what it joins. Along several axes the shares are multiplied
    (the published mean over axes jumps where an overlap ends).

    Args:
        index: of the point, voxels (z, y, x).
        patches: from ``lay_patches``.
        blend: how.

    Returns:
        eight boxes.
    """
    first, shares, places = [], [], []
    for axis in range(3):
        number, share = _along_axis(index[axis], patches.starts[axis], patches.size[axis], blend)
        starts = jnp.array(patches.starts[axis])
        both = jnp.stack([number, jnp.minimum(number + 1, len(starts) - 1)])
        first.append(both)
        shares.append(jnp.stack([1.0 - share, share]))
        places.append(_place_in_box(index[axis] - starts[both], patches.size[axis]))
    z, y, x = (grid.reshape(-1) for grid in jnp.meshgrid(*[jnp.arange(2)] * 3, indexing="ij"))
    _, along_y, along_x = (len(s) for s in patches.starts)
    return Owners(
        patch=(first[0][z] * along_y + first[1][y]) * along_x + first[2][x],
        weight=shares[0][z] * shares[1][y] * shares[2][x],
        place=jnp.stack([places[2][x], places[1][y], places[0][z]], axis=1),
    )


def index_in_box(place: Float[Array, "*n 3"], size: tuple[int, int, int]) -> Float[Array, "*n 3"]:
    """Where places in a box lie on its voxels; what ``owners_of`` asks a network, turned round.

    Args:
        place: (x, y, z), -1 … 1 from the first to the last voxel; half a voxel to both sides of the
            middle along an axis of one.
        size: of the box along z, y and x, voxels.

    Returns:
        index (z, y, x), 0 at the first voxel.
    """
    middle = (jnp.array(size, place.dtype) - 1) / 2
    return middle + place[..., ::-1] * jnp.maximum(middle, 0.5)


def _place_in_box(index: Float[Array, "*n"], size: int) -> Float[Array, "*n"]:
    middle = (size - 1) / 2
    return (index - middle) / max(middle, 0.5)


def _along_axis(
    index: Float[Array, ""], starts: tuple[int, ...], size: int, blend: Blend
) -> tuple[Int[Array, ""], Float[Array, ""]]:
    """First box along an axis that still counts, and the share of the next."""
    if len(starts) == 1:
        return jnp.int32(0), jnp.zeros((), index.dtype)
    # Where three boxes overlap, each hands over to the next before that one does.
    begin = np.maximum(starts[1:], [-1, *(s + size - 1 for s in starts[:-2])])
    end = np.minimum([s + size - 1 for s in starts[:-1]], [*starts[2:], starts[-1] + size])
    passed = (index - begin) / (end - begin)
    # Not a clip, which is half as steep at its ends: a box that has no say there is not asked.
    passed = jnp.where(passed <= 0.0, 0.0, jnp.where(passed >= 1.0, 1.0, passed))
    if blend == "smooth":
        passed = passed**3 * (10.0 + passed * (6.0 * passed - 15.0))
    number = jnp.sum(jax.lax.stop_gradient(passed) >= 1.0)
    return number, jnp.where(number < len(passed), passed[number], 0.0)
