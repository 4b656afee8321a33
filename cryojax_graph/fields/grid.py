"""Where the voxels of a map lie in space."""

from dataclasses import dataclass
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


@partial(jax.tree_util.register_dataclass, data_fields=["origin", "voxel_size"], meta_fields=[])
@dataclass(frozen=True)
class VoxelGrid:
    """An orthogonal grid of voxels.

    Args:
        origin: position (x, y, z) of the centre of voxel [0, 0, 0], Å.
        voxel_size: edges of a voxel along x, y, z, Å.
    """

    origin: Float[Array, "3"]
    voxel_size: Float[Array, "3"]

    def index(self, point: Float[Array, "3"]) -> Float[Array, "3"]:
        """Fractional index (z, y, x) of a point (x, y, z) in Å."""
        return ((point - self.origin) / self.voxel_size)[::-1]

    def point(self, index: Float[Array, "3"]) -> Float[Array, "3"]:
        """Point (x, y, z) in Å of a fractional index (z, y, x)."""
        return self.origin + index[::-1] * self.voxel_size

    def finer(self, factor: int) -> "VoxelGrid":
        """The grid with ``factor`` times as many voxels along each axis and the same first one."""
        return VoxelGrid(self.origin, self.voxel_size / factor)


def voxel_grid(
    origin: Float[Array | np.ndarray, "3"], voxel_size: Float[Array | np.ndarray, "3"]
) -> VoxelGrid:
    """A grid from what ``read_map`` tells of a map, in float32.

    Args:
        origin: position (x, y, z) of the centre of voxel [0, 0, 0], Å.
        voxel_size: edges of a voxel along x, y, z, Å.
    """
    return VoxelGrid(jnp.asarray(origin, jnp.float32), jnp.asarray(voxel_size, jnp.float32))
