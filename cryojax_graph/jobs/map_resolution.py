"""The resolution of a map: what is stated, or what its voxels say."""

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map

# Voxels: at two of them the spectrum of a map ends; and what maps are written with, mostly.
_LEAST, _USUAL = 1.9, 3.0


def working_resolution(density: Map, stated: float | None) -> float:
    """What is stated, or three voxels.

    Args:
        density: the map.
        stated: Å; None where nothing is said.

    Returns:
        Å.
    """
    return stated or _USUAL * float(density.voxel_size.max())


def check_resolution(density: Map, stated: float | None) -> None:
    """Refuse a resolution that a map cannot have.

    Args:
        density: the map.
        stated: Å; None where nothing is said.

    Raises:
        InputError: it is finer than the voxels can hold, or coarser than half of the box.
    """
    voxel, box = float(density.voxel_size.max()), density.voxel_size * density.values.shape[::-1]
    if stated is not None and not _LEAST * voxel <= stated <= float(box.max()) / 2:
        cause = f"{stated:g} Å of a map with voxels of {voxel:.3g} Å in a box of {box.max():.4g} Å"
        raise InputError("command line", "--resolution", cause, "state the resolution of the map")
