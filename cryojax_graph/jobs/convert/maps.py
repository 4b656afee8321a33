"""Density maps from one convention into another."""

from dataclasses import replace
from pathlib import Path

import numpy as np

from cryojax_graph.io.mrc import Map, read_density, read_map, write_map
from cryojax_graph.jobs.convert.config import ConvertConfig

_AXES = "xyz"


def convert_map(config: ConvertConfig, output: Path) -> tuple[list[str], list[str]]:
    """Write a map with axes x, y, z, its place in the origin field, and 32- or 16-bit floats.

    Args:
        config: settings.
        output: file to write.

    Returns:
        what was done, and what the user should know.

    Raises:
        InputError: the map cannot be used, or a value is too large for 16 bits.
    """
    density = read_map(config.input, voxel_size=config.voxel_size)
    _, header, trailing = read_density(config.input)
    if config.origin is not None:
        density = replace(density, origin=np.array(config.origin))
    if config.flip_hand:
        density = flip_hand(density)
    write_map(output, density, half=config.half_precision)
    order = "".join(_AXES[axis - 1] for axis in header.axes)
    z, y, x = density.values.shape
    done = [
        f"{x} × {y} × {z} voxels (x, y, z), stored as {order} before, now as xyz",
        f"voxel {_triple(density.voxel_size)} Å, first voxel at {_triple(density.origin)} Å",
    ]
    notes = []
    if header.extended_bytes:
        notes.append(f"the extended header of {header.extended_bytes:,} bytes is not written")
    if trailing:
        notes.append(f"the {trailing:,} bytes after the values are not written")
    if config.half_precision:
        error = np.abs(density.values.astype(np.float16).astype(np.float32) - density.values)
        notes.append(f"rounding to 16 bits changed values by at most {error.max():.3g}")
    return done, notes


def flip_hand(density: Map) -> Map:
    """Mirror a map along z, inside the box that it fills.

    Args:
        density: map of either hand.

    Returns:
        the map of the other hand. The plane stays in which voxel ``n // 2`` lies, the centre of
        the box in every convention here; in an even box the first section, which has no mirror
        image, stays as it is.
    """
    sections = len(density.values)
    mirrored = (2 * (sections // 2) - np.arange(sections)) % sections
    return replace(density, values=np.ascontiguousarray(density.values[mirrored]))


def _triple(values: np.ndarray) -> str:
    return ", ".join(f"{value:g}" for value in values)
