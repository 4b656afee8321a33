"""Two maps of one grid: half-maps, a map and another, or a map and the density of a model."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.atom_table import AtomTable, select_atoms
from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.describe import file_kind
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map, read_map
from cryojax_graph.jobs.frames import outside_box, require_one_frame
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.pose.reference import density_of_model

# Of a voxel: headers are rounded to about this.
_SAME = 1e-3
_HYDROGEN = ("H", "D")
_SMALLEST = 8


class MapPair(NamedTuple):
    """Two maps on one cubic grid.

    Attributes:
        first: density.
        second: density of the other map, or of the model.
        voxel_size: Å.
        origin: of voxel [0, 0, 0], (x, y, z) in Å.
        description: for the log.
        padded_from: shape of the file's map (z, y, x) where zeros make it a cube; None where it was
            one.
    """

    first: Float[np.ndarray, "box box box"]
    second: Float[np.ndarray, "box box box"]
    voxel_size: float
    origin: Float[np.ndarray, "3"]
    description: str
    padded_from: tuple[int, ...] | None = None


def read_pair(first: str, second: str, *, voxel_size: float | None) -> MapPair:
    """Read a map, and a second map or a model in its frame.

    Args:
        first: MRC map.
        second: MRC map of the same grid, or PDB or mmCIF model.
        voxel_size: Å, in place of those of the headers.

    Returns:
        both as maps.

    Raises:
        InputError: a file cannot be used, or the two do not fit together.
    """
    refuse_other_kind(first, "map", remedy="name a map")
    density = read_map(first, voxel_size=voxel_size)
    size, shape = _usable(density, first), density.values.shape
    refuse_other_kind(second, "map", "model", remedy="name a map or a model")
    if file_kind(second) == "map":
        other = read_map(second, voxel_size=voxel_size)
        _usable(other, second)
        _refuse_other_grid(density, other, second)
        if np.array_equal(density.values, other.values):
            cause = f"it holds the very map of {first}"
            raise InputError(second, "its values", cause, "name the other half-map")
        density, values, what = _cube(density), _cube(other).values, "two maps"
    else:
        density = _cube(density)
        values = _density_of_file(second, density, size)
        what = "a map and a model"
    box = len(density.values)
    padded_from = None if len(set(shape)) == 1 else shape
    description = f"{what} of {box}³ voxels of {size:.4g} Å"
    return MapPair(density.values, values, size, density.origin, description, padded_from)


def is_model(path: str) -> bool:
    """Whether a file holds a model.

    Args:
        path: of the file.

    Returns:
        true for PDB and mmCIF.
    """
    return file_kind(path) == "model"


def read_mask(path: str, pair: MapPair) -> Float[np.ndarray, "box box box"]:
    """Read a mask for two maps.

    Args:
        path: MRC map of the same grid.
        pair: the maps.

    Returns:
        factors from 0 to 1.

    Raises:
        InputError: it cannot be used, or has another grid.
    """
    refuse_other_kind(path, "map", remedy="name a map")
    mask = read_map(path, voxel_size=pair.voxel_size)
    shape = pair.padded_from or pair.first.shape
    if mask.values.shape != shape:
        cause = f"{_extent(mask.values.shape)} voxels, the maps have {_extent(shape)}"
        raise InputError(path, "header", cause, "give a mask of the same box")
    low, high = float(mask.values.min()), float(mask.values.max())
    if low < -_SAME or high > 1 + _SAME or high < 0.5:
        cause = f"they go from {low:.3g} to {high:.3g}"
        raise InputError(path, "its values", cause, "give a mask from 0 (solvent) to 1 (particle)")
    return np.clip(_cube(mask).values, 0.0, 1.0)


def _usable(density: Map, path: str) -> float:
    """Voxel size of a map of cubic voxels that shows something."""
    size = float(density.voxel_size.mean())
    if np.ptp(density.voxel_size) > _SAME * size:
        cause = f"voxels are not cubes: {density.voxel_size} Å"
        raise InputError(path, "header, cell", cause, "resample the map to one voxel size")
    if min(density.values.shape) < _SMALLEST:
        cause = f"the box is {_extent(density.values.shape)} voxels"
        raise InputError(path, "header", cause, f"give a map of {_SMALLEST} voxels or more")
    if not np.ptp(density.values) > 0:
        raise InputError(path, "its values", "all are equal", "give a map of the particle")
    return size


def _refuse_other_grid(density: Map, other: Map, path: str) -> None:
    if density.values.shape != other.values.shape:
        shapes = (other.values.shape, density.values.shape)
        cause = "{} voxels, the first map has {}".format(*map(_extent, shapes))
        raise InputError(path, "header", cause, "give two maps of one box")
    size = density.voxel_size[0]
    if abs(other.voxel_size[0] - size) > _SAME * size:
        cause = f"voxels of {other.voxel_size[0]:.5g} Å, those of the first map {size:.5g} Å"
        remedy = "correct the header that is wrong, or give --voxel-size for both"
        raise InputError(path, "header, cell", cause, remedy)
    apart = np.abs(other.origin - density.origin)
    if apart.max() > 10 * _SAME * size:
        cause = f"its origin {other.origin} Å is not that of the first map, {density.origin} Å"
        raise InputError(path, "header, origin", cause, "resample one map on the grid of the other")


def _extent(shape: tuple[int, ...]) -> str:
    return " × ".join(str(n) for n in shape[::-1])


def _cube(density: Map) -> Map:
    """The map in the middle of the smallest cube that holds it; the rest is 0."""
    shape = np.array(density.values.shape)
    before = (shape.max() - shape) // 2
    around = np.stack([before, shape.max() - shape - before], axis=1)
    values = np.pad(density.values, around.tolist())
    return Map(values, density.voxel_size, density.origin - before[::-1] * density.voxel_size)


def _density_of_file(
    path: str, density: Map, voxel_size: float
) -> Float[np.ndarray, "box box box"]:
    box = len(density.values)
    atoms = _heavy_atoms(path)
    positions = atoms.positions.astype(np.float64) - density.origin - box // 2 * voxel_size
    voxels = positions / voxel_size + box // 2
    # What the curve is of has to be whole.
    require_one_frame(outside_box(voxels, np.zeros(3), np.full(3, box - 1.0)), path, most=0.0)
    placed = replace(atoms, positions=positions.astype(np.float32))
    return np.asarray(density_of_model(placed, path, box=box, voxel_size=voxel_size))


def _heavy_atoms(path: str | Path) -> AtomTable:
    atoms = read_atoms(path)
    heavy = ~np.isin(np.char.upper(atoms.element.astype(str)), _HYDROGEN)
    if not heavy.any():
        raise InputError(path, "its atoms", "there is no heavy atom", "give a model of the map")
    return select_atoms(atoms, heavy)
