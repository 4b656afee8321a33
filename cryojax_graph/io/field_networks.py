"""Networks of sine layers in a stored field: their weights in half precision, and their boxes."""

import math
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from jaxtyping import Float16, Float32, Float64, Int32

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_header import REPAIR, FieldHeader
from cryojax_graph.io.limits import Limits

_BLENDS = ("linear", "smooth")
_MOST_LAYERS = 100
# Frequencies and densities that single precision still tells apart.
_LARGEST = 1e30


@dataclass(frozen=True)
class StoredNetworks:
    """A field of networks, one for each box of a part of a map that is not of one density.

    Outside of the part, the field is 0.

    Args:
        kernels: of each layer, those of all networks stacked: (network, input, output).
        biases: of each layer, likewise: (network, output).
        network: number of each box's network, boxes along x running fastest; -1 for none.
        constant: what a box without network says.
        offset: density of a network's 0, map units.
        scale: density of a network's 1 above that.
        shape: voxels of the part along z, y, x.
        origin: position (x, y, z) of its voxel [0, 0, 0], Å.
        voxel_size: edges of a voxel along x, y, z, Å.
        starts: first voxel of the boxes along z, y and x.
        size: of a box along z, y and x, voxels.
        omega: frequency of the sines.
        blend: how boxes are joined where they overlap, ``linear`` or ``smooth``.
        largest_error: of the field at a voxel of the part, map units.
        rms_error: root mean square of these errors, map units.
    """

    kernels: tuple[Float16[np.ndarray, "networks _ _"], ...]
    biases: tuple[Float16[np.ndarray, "networks _"], ...]
    network: Int32[np.ndarray, " boxes"]
    constant: Float32[np.ndarray, " boxes"]
    offset: float
    scale: float
    shape: tuple[int, int, int]
    origin: Float64[np.ndarray, "3"]
    voxel_size: Float64[np.ndarray, "3"]
    starts: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]
    size: tuple[int, int, int]
    omega: float
    blend: str
    largest_error: float
    rms_error: float


def pack_networks(stored: StoredNetworks) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Header and arrays of networks.

    Args:
        stored: the field.

    Returns:
        JSON values and arrays by name.
    """
    header = {
        "layers": len(stored.kernels),
        "offset": float(stored.offset),
        "scale": float(stored.scale),
        "shape": list(stored.shape),
        "origin": stored.origin.tolist(),
        "voxel_size": stored.voxel_size.tolist(),
        "starts": [list(starts) for starts in stored.starts],
        "size": list(stored.size),
        "omega": float(stored.omega),
        "blend": stored.blend,
        "largest_error": float(stored.largest_error),
        "rms_error": float(stored.rms_error),
    }
    arrays = {"network": stored.network, "constant": stored.constant}
    for number, (kernel, bias) in enumerate(zip(stored.kernels, stored.biases, strict=True)):
        arrays |= {_kernel(number): kernel, _bias(number): bias}
    return header, arrays


def unpack_networks(
    header: FieldHeader, arrays: dict[str, np.ndarray], limits: Limits
) -> StoredNetworks:
    """Networks of a header and arrays, all checked.

    Args:
        header: of the file.
        arrays: of the file.
        limits: caps on the map that the field is of.

    Returns:
        the field.

    Raises:
        InputError: something is missing, out of range, or does not fit the rest.
    """
    shape, size = header.shape("shape", limits), header.triple("size")
    starts = _starts(header, shape, size)
    kernels, biases = _layers(header, arrays)
    boxes, networks = math.prod(len(s) for s in starts), len(kernels[0])
    network = _array(header, arrays, "network", np.int32, (boxes,))
    if network.min() < -1 or network.max() >= networks:
        cause = f"it names others than the {networks} networks"
        raise InputError(header.file, "array 'network'", cause, REPAIR)
    blend = header.text("blend")
    if blend not in _BLENDS:
        header.refuse("blend", " or ".join(_BLENDS))
    offset, scale, omega = (
        header.number("offset"),
        header.positive("scale"),
        header.positive("omega"),
    )
    for name, value in (("offset", offset), ("scale", scale), ("omega", omega)):
        if abs(value) > _LARGEST:
            header.refuse(name, f"within {_LARGEST:g}")
    return StoredNetworks(
        kernels=kernels,
        biases=biases,
        network=network,
        constant=_array(header, arrays, "constant", np.float32, (boxes,)),
        offset=offset,
        scale=scale,
        shape=shape,
        origin=np.array(header.numbers("origin", 3)),
        voxel_size=header.edges("voxel_size"),
        starts=starts,
        size=size,
        omega=omega,
        blend=blend,
        largest_error=header.error("largest_error"),
        rms_error=header.error("rms_error"),
    )


def _starts(
    header: FieldHeader, shape: tuple[int, int, int], size: tuple[int, int, int]
) -> tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]:
    values = header.values.get("starts")
    if not isinstance(values, list) or len(values) != 3:
        header.refuse("starts", "three lists of whole numbers")
    for row, n, length in zip(values, shape, size, strict=True):
        if not isinstance(row, list) or not row or not all(type(s) is int for s in row):
            header.refuse("starts", "three lists of whole numbers")
        covers = row[0] == 0 and row[-1] + length == n and length > 0
        # Where boxes hand over to each other, there is more than one voxel to do it.
        rises = all(0 < b - a < length - 1 for a, b in pairwise(row))
        apart = all(d - a >= length for a, d in zip(row, row[3:], strict=False))
        if not (covers and rises and apart):
            header.refuse("starts", f"that of boxes of {length} voxels that cover {n}")
    z, y, x = (tuple(row) for row in values)
    return z, y, x


def _layers(
    header: FieldHeader, arrays: dict[str, np.ndarray]
) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    count = header.whole("layers")
    if not 2 <= count <= _MOST_LAYERS:
        header.refuse("layers", f"2 to {_MOST_LAYERS}")
    networks, inputs = None, 3
    kernels, biases = [], []
    for number in range(count):
        outputs = 1 if number == count - 1 else None
        kernel = _array(header, arrays, _kernel(number), np.float16, (networks, inputs, outputs))
        networks, _, inputs = kernel.shape
        bias = _array(header, arrays, _bias(number), np.float16, (networks, inputs))
        kernels.append(kernel)
        biases.append(bias)
    return tuple(kernels), tuple(biases)


def _array(
    header: FieldHeader,
    arrays: dict[str, np.ndarray],
    name: str,
    dtype: type[np.generic],
    shape: tuple[int | None, ...],
) -> np.ndarray:
    """An array of finite numbers; of any length but 0 along the axes that are None."""
    array, place = arrays.get(name), f"array '{name}'"
    if array is None:
        raise InputError(header.file, place, "it is missing", REPAIR)
    fits = array.ndim == len(shape) and all(
        n == wanted or (wanted is None and n > 0)
        for n, wanted in zip(array.shape, shape, strict=True)
    )
    if array.dtype != dtype or not fits:
        wanted = " × ".join("any" if n is None else str(n) for n in shape)
        cause = f"type {array.dtype}, shape {array.shape}, not {np.dtype(dtype)}, {wanted}"
        raise InputError(header.file, place, cause, REPAIR)
    if not np.isfinite(array).all():
        raise InputError(header.file, place, "not all of its numbers are finite", REPAIR)
    return array


def _kernel(number: int) -> str:
    return f"kernel_{number}"


def _bias(number: int) -> str:
    return f"bias_{number}"
