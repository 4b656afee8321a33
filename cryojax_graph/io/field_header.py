"""The header of a stored field: JSON in an array of bytes, every value checked when asked for."""

import json
from pathlib import Path
from typing import Any, NamedTuple, NoReturn

import numpy as np

from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.limits import Limits

REPAIR = "get an undamaged copy of the file"
OTHER = "name a field.npz that locate wrote"
_LONGEST_NAME, _MOST_CONSTANTS, _LONGEST_SIDE = 40, 100, 2**20


class FieldHeader(NamedTuple):
    """JSON values of a header, asked for one by one.

    Attributes:
        values: by name.
        file: that holds them.
    """

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

    def number(self, name: str) -> float:
        """A finite number."""
        value: Any = self.values.get(name)
        return float(value) if _is_number(value) else self.refuse(name, "a finite number")

    def positive(self, name: str) -> float:
        """A finite number above 0."""
        value = self.number(name)
        return value if value > 0 else self.refuse(name, "a number above 0")

    def error(self, name: str) -> float:
        """A finite number, 0 or more."""
        value = self.number(name)
        return value if value >= 0 else self.refuse(name, "0 or more")

    def numbers(self, name: str, count: int) -> list[float]:
        """Finite numbers, ``count`` of them."""
        value: Any = self.values.get(name)
        if isinstance(value, list) and len(value) == count and all(map(_is_number, value)):
            return [float(number) for number in value]
        return self.refuse(name, f"{count} finite numbers")

    def triple(self, name: str) -> tuple[int, int, int]:
        """Three whole numbers, 0 or more, that an axis of a map can have."""
        value = self.values.get(name)
        if not isinstance(value, list) or len(value) != 3:
            self.refuse(name, "three whole numbers")
        z, y, x = value
        if not all(type(n) is int and 0 <= n < _LONGEST_SIDE for n in (z, y, x)):
            self.refuse(name, "three whole numbers")
        return z, y, x

    def shape(self, name: str, limits: Limits) -> tuple[int, int, int]:
        """Voxels of a map along z, y, x, no more than a map may have."""
        shape = self.triple(name)
        if min(shape) < 1:
            self.refuse(name, "three numbers above 0")
        size = 4 * shape[0] * shape[1] * shape[2]
        if size > limits.map_bytes:
            cause = f"{shape[2]} × {shape[1]} × {shape[0]} voxels, {size:,} bytes"
            remedy = "raise Limits.map_bytes if that is meant"
            raise InputError(self.file, f"header, {name}", cause, remedy)
        return shape

    def edges(self, name: str) -> np.ndarray:
        """Edges of a voxel along x, y, z, Å."""
        edges = np.array(self.numbers(name, 3))
        return edges if edges.min() > 0 else self.refuse(name, "three numbers above 0")

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
        raise InputError(self.file, f"header, {name}", cause, REPAIR)


def parse_header(raw: np.ndarray | None, file: str | Path, limits: Limits) -> FieldHeader:
    """Read a header.

    Args:
        raw: its bytes; None where the file has none.
        file: that holds it.
        limits: caps on its length.

    Returns:
        its values.

    Raises:
        InputError: it is no table of values in JSON.
    """
    if raw is None:
        raise InputError(file, "its arrays", "it is no stored field: it has no header", OTHER)
    if raw.dtype != np.uint8 or raw.ndim != 1 or raw.nbytes > limits.header_bytes:
        raise InputError(file, "header", "it is no text", OTHER)
    try:
        values = json.loads(raw.tobytes().decode())
    except (ValueError, RecursionError) as error:
        raise InputError(file, "header", f"it is no JSON ({quote(error)})", REPAIR) from None
    if not isinstance(values, dict):
        raise InputError(file, "header", "it is no table of values", REPAIR)
    return FieldHeader(values, file)


def _is_number(value: Any) -> bool:
    # NaN is not below anything, and an integer beyond the range of floats would be infinite.
    return type(value) in (int, float) and abs(value) < 1e300
