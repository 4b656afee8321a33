"""How alike a map and the density of a model are, voxel by voxel."""

import numpy as np
from jaxtyping import Bool, Float

# Beyond four standard deviations a Gaussian is 0.03 % of its height.
_REACH = 4.0
# Voxels of all boxes around atoms that are drawn together; each takes some 60 bytes.
_VOXELS = 1 << 21


def atom_density(
    shape: tuple[int, int, int],
    voxel_size: Float[np.ndarray, "3"],
    origin: Float[np.ndarray, "3"],
    positions: Float[np.ndarray, "n 3"],
    heights: Float[np.ndarray, " n"],
    *,
    width: float,
) -> Float[np.ndarray, "z y x"]:
    """Sum of Gaussians at the voxels of any box, exactly 0 farther than four widths from atoms.

    Args:
        shape: of the box, z, y, x.
        voxel_size: along x, y, z, Å.
        origin: position (x, y, z) of voxel [0, 0, 0], Å.
        positions: of the atoms, Å; those outside the box count as far as they reach into it.
        heights: of each Gaussian.
        width: standard deviation of all of them, Å.

    Returns:
        density in the unit of the heights.
    """
    values = np.zeros(shape)
    radius = np.ceil(_REACH * width / voxel_size).astype(int)
    box = np.stack(
        np.meshgrid(*(np.arange(-r, r + 1) for r in radius), indexing="ij"), axis=-1
    ).reshape(-1, 3)
    together = max(1, _VOXELS // len(box))
    for first in range(0, len(positions), together):
        place = (positions[first : first + together] - origin) / voxel_size
        voxels = np.rint(place).astype(int)[:, None] + box
        offset = (voxels - place[:, None]) * voxel_size
        squared = np.sum(offset**2, axis=-1)
        inside = (voxels >= 0) & (voxels < np.array(shape[::-1]))
        near = inside.all(axis=-1) & (squared <= (_REACH * width) ** 2)
        atom, _ = np.nonzero(near)
        x, y, z = voxels[near].T
        gaussian = np.exp(-0.5 * squared[near] / width**2)
        np.add.at(values, (z, y, x), heights[first + atom] * gaussian)
    return values


def masked_correlation(
    first: Float[np.ndarray, "z y x"],
    second: Float[np.ndarray, "z y x"],
    mask: Bool[np.ndarray, "z y x"],
) -> float:
    """Correlation coefficient of two maps where a mask is true.

    Args:
        first: in any unit.
        second: the other map.
        mask: voxels that count.

    Returns:
        -1 to 1; 0 where one of the two is constant.
    """
    a, b = (values[mask].astype(float) for values in (first, second))
    if len(a) == 0:
        return 0.0
    a, b = a - a.mean(), b - b.mean()
    power = np.sum(a**2) * np.sum(b**2)
    return float(np.sum(a * b) / np.sqrt(power)) if power > 0 else 0.0
