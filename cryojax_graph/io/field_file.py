"""Fields in ``.npz`` files: a header in JSON and the arrays of one kind of field, no pickle.

A kind is a row of ``_KINDS``: the dataclass that describes such a field, and the two functions that
turn it into a header with arrays and back.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, NoReturn, TypeAlias

import numpy as np

from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.mrc import Map
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.voxel_codec import DIFFERENCES, PackedVoxels, pack_voxels, unpack_voxels

FORMAT, VERSION = "cryojax-graph field", 1
_HEADER = "header"
_REPAIR = "get an undamaged copy of the file"
_OTHER = "name a field.npz that locate wrote"
_LONGEST_NAME, _MOST_CONSTANTS = 40, 100


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


StoredField: TypeAlias = StoredVoxels


class _Kind(NamedTuple):
    """How a kind of field is stored.

    Attributes:
        of: the dataclass.
        pack: its header, as JSON values, and its arrays.
        unpack: the same from these, checked.
    """

    of: type
    pack: Callable[[Any], tuple[dict[str, Any], dict[str, np.ndarray]]]
    unpack: Callable[["_Header", dict[str, np.ndarray], Limits], StoredField]


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
    header = _Header(_parse(arrays.pop(_HEADER, None), path, limits), path)
    if header.values.get("format") != FORMAT:
        raise InputError(path, "header", "it is no stored field", _OTHER)
    version, name = header.whole("version"), header.text("kind")
    if version != VERSION:
        cause = f"it is of version {version}, this program reads version {VERSION}"
        raise InputError(path, "header", cause, "use the program that wrote it, or write it anew")
    if name not in _KINDS:
        cause = f"a field of the kind {quote(name)}, which this program does not know"
        raise InputError(path, "header", cause, "use the program that wrote it, or write it anew")
    return _KINDS[name].unpack(header, arrays, limits)


class _Header(NamedTuple):
    """JSON values of a header, asked for one by one."""

    values: dict[str, Any]
    file: str | Path

    def whole(self, name: str) -> int:
        """A whole number."""
        value = self.values.get(name)
        return value if type(value) is int else self.refuse(name, "a whole number")

    def text(self, name: str) -> str:
        """A short text."""
        value = self.values.get(name)
        if isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST_NAME:
            return value
        return self.refuse(name, "a short text")

    def numbers(self, name: str, count: int | None = None) -> list[float]:
        """Finite numbers, ``count`` of them; a single one where it is None."""
        value: Any = self.values.get(name)
        row: list[Any] = value if isinstance(value, list) else [value]
        right = len(row) == (count or 1) and isinstance(value, list) == (count is not None)
        if right and all(map(_is_number, row)):
            return [float(number) for number in row]
        return self.refuse(name, "a finite number" if count is None else f"{count} finite numbers")

    def table(self, name: str) -> dict[str, int | float]:
        """Finite numbers by name."""
        value: Any = self.values.get(name)
        small = isinstance(value, dict) and len(value) <= _MOST_CONSTANTS
        if small and all(map(_is_number, value.values())):
            return value
        return self.refuse(name, "a table of numbers")

    def refuse(self, name: str, wanted: str) -> NoReturn:
        """Say that a value is not what it should be."""
        cause = f"it is not {wanted}: {quote(self.values.get(name))}"
        raise InputError(self.file, f"header, {name}", cause, _REPAIR)


def _is_number(value: Any) -> bool:
    # NaN is not below anything, and an integer beyond the range of floats would be infinite.
    return type(value) in (int, float) and abs(value) < 1e300


def _parse(raw: np.ndarray | None, file: str | Path, limits: Limits) -> dict[str, Any]:
    if raw is None:
        raise InputError(file, "its arrays", "it is no stored field: it has no header", _OTHER)
    if raw.dtype != np.uint8 or raw.ndim != 1 or raw.nbytes > limits.header_bytes:
        raise InputError(file, "header", "it is no text", _OTHER)
    try:
        values = json.loads(raw.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise InputError(file, "header", f"it is no JSON ({quote(error)})", _REPAIR) from None
    if not isinstance(values, dict):
        raise InputError(file, "header", "it is no table of values", _REPAIR)
    return values


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


def _unpack_voxels(header: _Header, arrays: dict[str, np.ndarray], limits: Limits) -> StoredVoxels:
    residuals = arrays.get("residuals")
    if residuals is None or residuals.dtype != np.uint8 or residuals.ndim != 1:
        cause = "it has no such array of bytes"
        raise InputError(header.file, "array 'residuals'", cause, _REPAIR)
    shape, corner, extent = (_triple(header, n) for n in ("shape", "corner", "extent"))
    if min(shape) < 1:
        header.refuse("shape", "three numbers above 0")
    size = 4 * shape[0] * shape[1] * shape[2]
    if size > limits.map_bytes:
        cause = f"{shape[2]} × {shape[1]} × {shape[0]} voxels, {size:,} bytes"
        remedy = "raise Limits.map_bytes if that is meant"
        raise InputError(header.file, "header, shape", cause, remedy)
    if any(c + e > n for c, e, n in zip(corner, extent, shape, strict=True)):
        header.refuse("extent", "inside the map")
    differences = header.values.get("differences")
    if not isinstance(differences, list) or tuple(differences) not in DIFFERENCES:
        header.refuse("differences", "a list of axes")
    if (width := header.whole("width")) not in (1, 2, 4):
        header.refuse("width", "1, 2 or 4")
    if not -(2**31) <= (background := header.whole("background")) < 2**31:
        header.refuse("background", "a whole number of 32 bits")
    (step,), (accuracy,) = header.numbers("step"), header.numbers("accuracy")
    if step < 0 or accuracy < 0:
        header.refuse("step" if step < 0 else "accuracy", "0 or more")
    voxel_size = np.array(header.numbers("voxel_size", 3))
    if voxel_size.min() <= 0:
        header.refuse("voxel_size", "three numbers above 0")
    packed = PackedVoxels(
        shape, step, background, corner, extent, tuple(differences), width, residuals
    )
    try:
        values = unpack_voxels(packed)
    except ValueError as error:
        raise InputError(header.file, "array 'residuals'", str(error), _REPAIR) from None
    return StoredVoxels(
        Map(values, voxel_size, np.array(header.numbers("origin", 3))),
        header.text("recipe"),
        header.table("constants"),
        accuracy,
    )


def _triple(header: _Header, name: str) -> tuple[int, int, int]:
    value = header.values.get(name)
    if not isinstance(value, list) or len(value) != 3:
        header.refuse(name, "three whole numbers")
    z, y, x = value
    if not all(type(n) is int and 0 <= n < 2**20 for n in (z, y, x)):
        header.refuse(name, "three whole numbers")
    return z, y, x


_KINDS: Mapping[str, _Kind] = {
    "voxels": _Kind(StoredVoxels, _pack_voxels, _unpack_voxels),
}
