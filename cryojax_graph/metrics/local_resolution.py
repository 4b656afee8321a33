"""Resolution of a map from place to place, by correlation inside soft spheres."""

import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.metrics.corrected_fsc import correct_correlation
from cryojax_graph.metrics.shells import half_spectrum, shell_sums

Centres = Int[np.ndarray, "spheres 3"]


def sphere_centres(mask: Float[np.ndarray, "box box box"], *, spacing: int) -> Centres:
    """Places of a grid through the centre of a map that lie inside a mask.

    Args:
        mask: factors from 0 to 1; inside is above 0.5.
        spacing: of the grid, voxels.

    Returns:
        indices (z, y, x).
    """
    half = len(mask) // 2
    axis = np.arange(half % spacing, len(mask), spacing)
    grid = np.stack(np.meshgrid(axis, axis, axis, indexing="ij"), axis=-1).reshape(-1, 3)
    return grid[mask[tuple(grid.T)] > 0.5]


def sphere_window(*, radius: float, edge: float) -> Float[np.ndarray, "n n n"]:
    """The smallest cube around a ball whose edge falls off along a cosine.

    Args:
        radius: up to which the window is 1, voxels.
        edge: over which it falls to 0, voxels.

    Returns:
        factors from 0 to 1; an odd number along each axis.
    """
    reach = int(np.ceil(radius + edge))
    axis = np.arange(-reach, reach + 1, dtype=np.float32) ** 2
    distance = np.sqrt(axis[:, None, None] + axis[:, None] + axis)
    outside = np.clip((distance - radius) / edge, 0.0, 1.0)
    return (0.5 + 0.5 * np.cos(np.pi * outside)).astype(np.float32)


def local_correlation(
    maps: Float[np.ndarray, "2 box box box"],
    randomised: Float[np.ndarray, "2 box box box"],
    window: Float[np.ndarray, "n n n"],
    centre: Int[np.ndarray, "3"],
    *,
    from_shell: int,
) -> Float[np.ndarray, " shells"]:
    """Corrected correlation of two maps inside one window.

    Args:
        maps: both maps.
        randomised: the same with random phases beyond a resolution.
        window: soft sphere.
        centre: of the window, (z, y, x).
        from_shell: shell of the window that this resolution lies in.

    Returns:
        the curve; shell s lies at s / (n * voxel_size) 1/Å.
    """
    masked, noise = (
        shell_sums(
            *(half_spectrum(cut_out(m, centre, len(window)) * window) for m in pair)
        ).correlation()
        for pair in (maps, randomised)
    )
    return correct_correlation(masked, noise, from_shell=from_shell)


def cut_out(
    volume: Float[np.ndarray, "box box box"], centre: Int[np.ndarray, "3"], size: int
) -> Float[np.ndarray, "n n n"]:
    """A cube of a map, with zeros where it reaches out of it.

    Args:
        volume: density.
        centre: voxel in the middle of the cube, (z, y, x).
        size: odd edge of the cube.

    Returns:
        the cube.
    """
    inside, taken = _overlap(len(volume), centre, size)
    cube = np.zeros((size,) * 3, volume.dtype)
    cube[taken] = volume[inside]
    return cube


def spread_resolution(
    resolution: Float[np.ndarray, " spheres"],
    centres: Centres,
    window: Float[np.ndarray, "n n n"],
    *,
    box: int,
    elsewhere: float,
) -> Float[np.ndarray, "box box box"]:
    """A map of local resolution: means of 1 / resolution of the spheres around, by their windows.

    Args:
        resolution: of each sphere, Å.
        centres: of the spheres.
        window: soft sphere.
        box: edge of the map in voxels.
        elsewhere: value where no sphere reaches, Å.

    Returns:
        Å.
    """
    total, weight = np.zeros((2, box, box, box), np.float32)
    for value, centre in zip(resolution, centres, strict=True):
        inside, taken = _overlap(box, centre, len(window))
        total[inside] += window[taken] / value
        weight[inside] += window[taken]
    reached = weight > 1e-3
    return np.divide(weight, total, out=np.full_like(total, elsewhere), where=reached)


def _overlap(
    box: int, centre: np.ndarray, size: int
) -> tuple[tuple[slice, ...], tuple[slice, ...]]:
    """Where a cube lies in a map, and which part of it that is."""
    first = centre - size // 2
    low, high = np.maximum(first, 0), np.minimum(first + size, box)
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    taken = tuple(slice(a, b) for a, b in zip(low - first, high - first, strict=True))
    return inside, taken
