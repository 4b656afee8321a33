"""Fields in ``.npz`` files: a header in JSON and the arrays of one kind of field, no pickle.

A kind is a row of ``_KINDS``: the dataclass that describes such a field, and the two functions that
turn it into a header with arrays and back.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.field_header import OTHER, REPAIR, FieldHeader, parse_header
from cryojax_graph.io.field_networks import StoredNetworks, pack_networks, unpack_networks
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.mrc import Map
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.voxel_codec import DIFFERENCES, PackedVoxels, pack_voxels, unpack_voxels

FORMAT, VERSION = "cryojax-graph field", 1
_HEADER = "header"
_AGAIN = "use the program that wrote it, or write it anew"


@dataclass(frozen=True)
class StoredVoxels:
    """A field that is fitted to the voxels of a map by a recipe.

    Args:
        density: the map, as it comes out of the file.
        recipe: name of the fit.
        constants: of the fit, by name.
        accuracy: largest error of a voxel, map units; 0 where all are exact.
    """

    density: Map
    recipe: str
    constants: Mapping[str, int | float] = field(default_factory=dict)
    accuracy: float = 0.0


StoredField: TypeAlias = StoredVoxels | StoredNetworks


class _Kind(NamedTuple):
    """How a kind of field is stored.

    Attributes:
        of: the dataclass.
        pack: its header, as JSON values, and its arrays.
        unpack: the same from these, checked.
    """

    of: type
    pack: Callable[[Any], tuple[dict[str, Any], dict[str, np.ndarray]]]
    unpack: Callable[[FieldHeader, dict[str, np.ndarray], Limits], StoredField]


def write_field(path: str | Path, stored: StoredField) -> None:
    """Write a field, whole or not at all.

    Args:
        path: ``.npz`` file to write.
        stored: the field.

    Raises:
        InputError: the disk refuses.
    """
    name, kind = next((n, k) for n, k in _KINDS.items() if isinstance(stored, k.of))
    values, arrays = kind.pack(stored)
    header = {"format": FORMAT, "version": VERSION, "kind": name, **values}
    text = json.dumps(header, allow_nan=False).encode()
    # What can be packed is packed already.
    write_npz(path, {_HEADER: np.frombuffer(text, np.uint8), **arrays}, compress=False)


def read_field(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> StoredField:
    """Read a field.

    Args:
        path: ``.npz`` file that ``write_field`` made.
        limits: caps on its arrays, and on the map in it.

    Returns:
        the field as plain arrays.

    Raises:
        InputError: it is damaged, too large, or no such file; or of a version or kind that is not
            known here.
    """
    arrays = read_npz(path, limits=limits)
    header = parse_header(arrays.pop(_HEADER, None), path, limits)
    if header.values.get("format") != FORMAT:
        raise InputError(path, "header", "it is no stored field", OTHER)
    version, name = header.whole("version"), header.text("kind")
    if version != VERSION:
        cause = f"it is of version {version}, this program reads version {VERSION}"
        raise InputError(path, "header", cause, _AGAIN)
    if name not in _KINDS:
        cause = f"a field of the kind {quote(name)}, which this program does not know"
        raise InputError(path, "header", cause, _AGAIN)
    return _KINDS[name].unpack(header, arrays, limits)


def _pack_voxels(stored: StoredVoxels) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    density = stored.density
    packed = pack_voxels(density.values, stored.accuracy)
    header = {
        "shape": list(packed.shape),
        "origin": density.origin.tolist(),
        "voxel_size": density.voxel_size.tolist(),
        "recipe": stored.recipe,
        "constants": dict(stored.constants),
        "accuracy": float(stored.accuracy),
        "step": packed.step,
        "background": packed.background,
        "corner": list(packed.corner),
        "extent": list(packed.extent),
        "differences": list(packed.differences),
        "width": packed.width,
    }
    return header, {"residuals": packed.residuals}


def _unpack_voxels(
    header: FieldHeader, arrays: dict[str, np.ndarray], limits: Limits
) -> StoredVoxels:
    residuals = arrays.get("residuals")
    if residuals is None or residuals.dtype != np.uint8 or residuals.ndim != 1:
        cause = "it has no such array of bytes"
        raise InputError(header.file, "array 'residuals'", cause, REPAIR)
    shape = header.shape("shape", limits)
    corner, extent = header.triple("corner"), header.triple("extent")
    if any(c + e > n for c, e, n in zip(corner, extent, shape, strict=True)):
        header.refuse("extent", "inside the map")
    differences = header.values.get("differences")
    axes = tuple(differences) if isinstance(differences, list) else None
    # 1.0 is 1 to Python, and True is too.
    if axes not in DIFFERENCES or any(type(axis) is not int for axis in axes):
        header.refuse("differences", "a list of axes")
    if (width := header.whole("width")) not in (1, 2, 4):
        header.refuse("width", "1, 2 or 4")
    if not -(2**31) <= (background := header.whole("background")) < 2**31:
        header.refuse("background", "a whole number of 32 bits")
    step, accuracy = header.error("step"), header.error("accuracy")
    voxel_size = header.edges("voxel_size")
    packed = PackedVoxels(shape, step, background, corner, extent, axes, width, residuals)
    try:
        values = unpack_voxels(packed)
    except ValueError as error:
        raise InputError(header.file, "array 'residuals'", str(error), REPAIR) from None
    return StoredVoxels(
        Map(values, voxel_size, np.array(header.numbers("origin", 3))),
        header.text("recipe"),
        header.table("constants"),
        accuracy,
    )


_KINDS: Mapping[str, _Kind] = {
    "voxels": _Kind(StoredVoxels, _pack_voxels, _unpack_voxels),
    "networks": _Kind(StoredNetworks, pack_networks, unpack_networks),
}
