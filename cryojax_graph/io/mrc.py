"""Density maps: MRC files of any axis order to arrays in z, y, x with their place in space."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from jaxtyping import Float, Float32

from cryojax_graph.io.atomic import atomic_file
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.mrc_header import (
    HEADER_BYTES,
    MrcHeader,
    check_file_size,
    make_header,
    parse_header,
)
from cryojax_graph.io.unpack import file_size, open_unpacked, packing

_CHUNK = 1 << 24


@dataclass(frozen=True)
class Map:
    """A density map and its place in space.

    Args:
        values: density in the order z, y, x.
        voxel_size: voxel edges along x, y, z in Å.
        origin: position (x, y, z) of voxel [0, 0, 0] in Å, in the frame of atomic models.
    """

    values: Float32[np.ndarray, "z y x"]
    voxel_size: Float[np.ndarray, "3"]
    origin: Float[np.ndarray, "3"]


def read_map(
    path: str | Path, *, voxel_size: float | None = None, limits: Limits = DEFAULT_LIMITS
) -> Map:
    """Read a density map, whatever its axis order, origin, start, mode, byte order or packing.

    Args:
        path: MRC or CCP4 file, plain, gzip or bzip2.
        voxel_size: edge of the cubic voxel in Å, in place of the header's.
        limits: cap on the size of the map.

    Returns:
        the map in z, y, x, with voxel size and origin in x, y, z.

    Raises:
        InputError: the file is damaged or too large, holds values that are not finite, is a stack
            of images or of maps, lies on a skewed grid, or states no voxel size and none is given.
    """
    values, header, _ = read_density(path, limits=limits)
    check_is_map(header, path)
    size = header.voxel_size if voxel_size is None else (voxel_size, voxel_size, voxel_size)
    if not np.isfinite(size).all() or min(size) <= 0:
        unstated = voxel_size is None and np.isnan(size).any()
        cause = f"voxel size {size} Å (x, y, z) is not usable"
        raise InputError(
            path,
            "header, cell",
            "the header states no voxel size" if unstated else cause,
            "give the voxel size, or set it in the header",
        )
    check_finite(values, path)
    return Map(
        values, np.array(size, np.float64), np.array(header.first_voxel_of(size), np.float64)
    )


def read_density(
    path: str | Path, *, limits: Limits = DEFAULT_LIMITS
) -> tuple[Float32[np.ndarray, "z y x"], MrcHeader, int]:
    """Values of an MRC file in the order z, y, x, before any judgement on what they mean.

    Args:
        path: MRC or CCP4 file, plain, gzip or bzip2.
        limits: cap on the size of the map.

    Returns:
        values, header, and the number of bytes that follow the values (at most one is looked for
        in a packed file).

    Raises:
        InputError: the file is damaged or too large.
    """
    with open_unpacked(path) as stream:
        header = parse_header(stream.read(HEADER_BYTES), file=path, limits=limits)
        if header.data_bytes > limits.map_bytes:
            sections, rows, columns = header.shape
            cause = f"{columns} × {rows} × {sections} values, {header.data_bytes:,} bytes"
            raise InputError(path, "header", cause, "raise Limits.map_bytes if that is meant")
        if packing(path) is None:
            check_file_size(header, file_size(path), file=path)
        expected = header.data_offset + header.data_bytes
        contents = bytearray()
        # Grows with what really comes out, so that a header alone cannot reserve memory.
        while HEADER_BYTES + len(contents) < expected:
            wanted = expected - HEADER_BYTES - len(contents)
            chunk = stream.read(min(wanted, _CHUNK))
            if not chunk:
                break
            contents += chunk
        rest = len(stream.read(1))
        trailing = check_file_size(header, HEADER_BYTES + len(contents) + rest, file=path)
    stored = np.frombuffer(contents, header.dtype, offset=header.extended_bytes)
    values = stored.reshape(header.shape).transpose(header.storage_order)
    # A signalling NaN warns when it is widened; it is counted and refused by the caller.
    with np.errstate(invalid="ignore"):
        return np.ascontiguousarray(values, np.float32), header, trailing


def check_is_map(header: MrcHeader, file: str | Path) -> None:
    """Refuse an MRC file that holds something else than one map on an orthogonal grid.

    Args:
        header: parsed header.
        file: its name, for messages.

    Raises:
        InputError: it is a stack of images or of maps, or its grid is skewed.
    """
    if header.space_group == 0 and header.sampling[2] == 1 and header.shape[0] > 1:
        cause = f"it is a stack of {header.shape[0]} images, not a map"
        raise InputError(file, "header", cause, "name a map, or read it as particles")
    if header.space_group >= 401:
        raise InputError(file, "header", "it is a stack of maps", "split it into single maps")
    if not header.orthogonal:
        raise InputError(
            file,
            "header, cell angles",
            f"the grid is skewed, its angles are {header.cell_angles} degrees",
            "resample the map to an orthogonal grid",
        )


def check_finite(values: Float32[np.ndarray, "z y x"], file: str | Path) -> None:
    """Refuse a map that holds NaN or infinity.

    Args:
        values: density in the order z, y, x.
        file: its name, for messages.

    Raises:
        InputError: with the number of such values and the place of the first.
    """
    bad = ~np.isfinite(values)
    if count := int(bad.sum()):
        z, y, x = np.unravel_index(int(bad.argmax()), bad.shape)
        raise InputError(
            file,
            f"voxel z={z}, y={y}, x={x}",
            f"{count} of {values.size} values are NaN or infinite",
            "write the map again, or mask these voxels to 0",
        )


def write_map(path: str | Path, density: Map, *, half: bool = False) -> None:
    """Write a density map with its voxel size, origin and statistics, whole or not at all.

    Args:
        path: MRC file to write.
        density: the map.
        half: store 16-bit floats (mode 12) in place of 32-bit ones.

    Raises:
        InputError: a value is not finite, or the disk refuses.
    """
    with np.errstate(over="ignore"):
        values = density.values.astype(np.float16 if half else "<f4")
    check_finite(values.astype(np.float32) if half else values, path)
    x, y, z = density.voxel_size.tolist()
    ox, oy, oz = density.origin.tolist()
    header = make_header(
        values.shape,
        dtype=values.dtype,
        voxel_size=(x, y, z),
        origin=(ox, oy, oz),
        statistics=(
            float(values.min()),
            float(values.max()),
            float(values.mean(dtype=np.float64)),
            float(values.std(dtype=np.float64)),
        ),
        stack=False,
    )
    with atomic_file(path) as handle:
        handle.write(header)
        handle.write(np.ascontiguousarray(values).data)
