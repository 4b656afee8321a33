"""Points of a file, whatever its kind."""

import csv
import io
from pathlib import Path
from typing import cast

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.atoms import read_atoms
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.limits import DEFAULT_LIMITS
from cryojax_graph.io.npy import read_array
from cryojax_graph.io.npz import read_npz
from cryojax_graph.io.unpack import file_size, open_plain, read_text

_AXES = ("x", "y", "z")
_ARRAYS = ("points", "position")
_CORRECT = "correct the file"


def read_points(path: str) -> Float[np.ndarray, "n 3"]:
    """Read points.

    Args:
        path: CSV with columns x, y, z; ``.npy``; ``.npz`` with an array ``points`` or
            ``position``; else a PDB or mmCIF model, whose atoms are taken.

    Returns:
        (x, y, z) in Å, at least one.

    Raises:
        InputError: the file cannot be used, or a coordinate is not finite.
    """
    points = _READERS.get(Path(path).suffix.lower(), _from_model)(path)
    if not len(points):
        raise InputError(path, "its contents", "it holds no point", "name a file of points")
    odd = ~np.isfinite(points).all(axis=1)
    if odd.any():
        first = int(odd.argmax())
        cause = f"{odd.sum():,} of {len(points):,} points are not finite"
        raise InputError(path, row_place(first, table="points"), cause, _CORRECT)
    return points


def is_model(path: str) -> bool:
    """Whether points are the atoms of a model.

    Args:
        path: of the file.
    """
    return Path(path).suffix.lower() not in _READERS


def _from_csv(path: str) -> Float[np.ndarray, "n 3"]:
    text = read_text(path)
    head, _, body = text.partition("\n")
    names = [name.strip().lower() for name in next(csv.reader([head]), [])]
    for axis in _AXES:
        if names.count(axis) != 1:
            cause = f"columns {quote(', '.join(names))}: {axis} is there {names.count(axis)} times"
            raise InputError(path, "line 1", cause, "name one column x, one y and one z")
    if not body.strip():
        return np.zeros((0, 3))
    columns = [names.index(axis) for axis in _AXES]
    try:
        return np.loadtxt(
            io.StringIO(body), delimiter=",", usecols=columns, comments=None, quotechar='"', ndmin=2
        )
    except (ValueError, OverflowError) as error:
        # NumPy counts rows of numbers, the first one 0 or 1 by the kind of fault.
        cause = f"it is no table of numbers ({quote(error, longest=120)})"
        raise InputError(path, "below line 1", cause, _CORRECT) from None


def _from_npy(path: str) -> Float[np.ndarray, "n 3"]:
    size = file_size(path)
    with open_plain(path) as stream:
        values = read_array(stream, size, file=path, place="array", limits=DEFAULT_LIMITS)
    return _three_columns(values, path, "array")


def _from_npz(path: str) -> Float[np.ndarray, "n 3"]:
    arrays = read_npz(path)
    name = next((name for name in _ARRAYS if name in arrays), None)
    if name is None:
        cause = f"none is called {' or '.join(_ARRAYS)}: {quote(', '.join(arrays))}"
        raise InputError(path, "its arrays", cause, "name the array points")
    return _three_columns(arrays[name], path, f"array '{name}'")


def _from_model(path: str) -> Float[np.ndarray, "n 3"]:
    return read_atoms(path).positions.astype(float)


def _three_columns(values: np.ndarray, path: str, place: str) -> Float[np.ndarray, "n 3"]:
    if values.dtype.kind not in "fiu" or values.ndim != 2 or values.shape[1] != 3:
        cause = f"type {values.dtype}, shape {values.shape}: not rows of three numbers"
        raise InputError(path, place, cause, "store x, y, z of each point in a row")
    return cast(np.ndarray, values.astype(float))


_READERS = {".csv": _from_csv, ".npy": _from_npy, ".npz": _from_npz}
