"""The nodes of a finished ``locate`` job."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import StoredVoxels, read_field
from cryojax_graph.io.mrc import Map
from cryojax_graph.io.npz import read_npz
from cryojax_graph.jobs.claim import finished_manifest
from cryojax_graph.jobs.frames import outside_box
from cryojax_graph.jobs.stored_field import FIELD

GRAPH = "graph.npz"
_REMEDY = "name the folder of a finished locate job, or its graph.npz"
# What is farther from all nodes than this on one axis is told of, Å.
_BEYOND = 10.0


class Nodes(NamedTuple):
    """Peaks of a map.

    Attributes:
        position: (x, y, z) in Å.
        strength: how far each stands out.
        unit: of the strength, in words.
    """

    position: Float[np.ndarray, "n 3"]
    strength: Float[np.ndarray, " n"]
    unit: str


def graph_path(folder: str) -> Path:
    """File of the nodes.

    Args:
        folder: of a ``locate`` job, or the file itself.

    Returns:
        its path.

    Raises:
        InputError: the folder is not of a finished ``locate`` job.
    """
    path = Path(folder)
    if not path.is_dir():
        return path
    finished_manifest(path, "locate", remedy=_REMEDY)
    return path / GRAPH


def read_nodes(path: Path) -> Nodes:
    """Read the nodes of a graph.

    Args:
        path: ``graph.npz`` of a ``locate`` job.

    Returns:
        the nodes; their strength is the significance, or the prominence where the noise of the map
        was not known.

    Raises:
        InputError: it holds no graph, or one without nodes.
    """
    arrays = read_npz(path)
    position = _array(arrays, "position", path)
    count = len(position)
    if position.shape != (count, 3):
        cause = f"shape {position.shape}, not one x, y, z per node"
        raise InputError(path, "array 'position'", cause, _REMEDY)
    if not count:
        remedy = "lower --threshold or --prominence of locate"
        raise InputError(path, "array 'position'", "the graph has no node", remedy)
    significance, prominence = (_array(arrays, n, path) for n in ("significance", "prominence"))
    for name, values in (("significance", significance), ("prominence", prominence)):
        if values.shape != (count,):
            cause = f"shape {values.shape} for {count:,} nodes"
            raise InputError(path, f"array '{name}'", cause, _REMEDY)
    if significance.any():
        return Nodes(position, significance, "standard deviations of the noise")
    return Nodes(position, prominence, "map units above the saddle")


def map_beside(path: Path) -> Map | None:
    """The map that nodes are of, as ``locate`` stored it.

    Args:
        path: of the nodes.

    Returns:
        the map; None where no file beside them holds all of its voxels.

    Raises:
        InputError: that file is damaged.
    """
    beside = path.parent / FIELD
    if not beside.is_file():
        return None
    stored = read_field(beside)
    # Networks know no more than the part in which peaks were looked for.
    return stored.density if isinstance(stored, StoredVoxels) else None


def far_from_nodes(position: Float[np.ndarray, "n 3"], nodes: Nodes) -> Bool[np.ndarray, " n"]:
    """Which atoms lie far outside of the box of all nodes, where the map may or may not be.

    Args:
        position: of the atoms, (x, y, z) in Å.
        nodes: of the graph.

    Returns:
        one for each atom.
    """
    first, last = nodes.position.min(axis=0), nodes.position.max(axis=0)
    return outside_box(position, first - _BEYOND, last + _BEYOND)


def _array(arrays: dict[str, np.ndarray], name: str, path: Path) -> np.ndarray:
    values = arrays.get(name)
    if values is None or values.dtype.kind != "f":
        cause = "it has none" if values is None else f"it holds {values.dtype}, not numbers"
        raise InputError(path, f"array '{name}'", cause, _REMEDY)
    if not np.isfinite(values).all():
        raise InputError(path, f"array '{name}'", "a value is not finite", _REMEDY)
    return values.astype(float)
