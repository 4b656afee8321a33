"""Tables of particles as archives of arrays, for programs that read neither STAR nor ``.cs``.

Arrays by field of ``ParticleTable`` (``euler_degrees``, ``shift_angstrom`` …) are for reading and
changing; ``columns/…``, ``optics/…`` and ``tables/…`` keep the table as its program wrote it. A
changed array prevails over its column.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Literal, TypeAlias, cast, get_args

import numpy as np
from jaxtyping import Shaped

from cryojax_graph.io.agreement import restate
from cryojax_graph.io.cif_text import TEXT
from cryojax_graph.io.cryosparc import decode_cryosparc
from cryojax_graph.io.errors import InputError, row_place
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.particle_table import (
    CANONICAL,
    Columns,
    Kind,
    ParticleTable,
    canonical_fields,
    make_table,
)
from cryojax_graph.io.relion import as_text, decode_relion, tables_from_fields
from cryojax_graph.io.star import StarTable

_Arrays: TypeAlias = Mapping[str, Shaped[np.ndarray, "..."]]
_KIND, _NAME = "kind", "table_name"
_WIDTH = {"euler_degrees": (3,), "shift_angstrom": (2,)}
_WHOLE = ("image_index", "box", "optics_group", "half_set", "class_number")
_SMALLEST = {"image_index": 0, "box": 1, "optics_group": 1, "half_set": 1, "class_number": 0}
_REMEDY = "correct the array in the program that made it"


def write_particle_arrays(path: str | Path, table: ParticleTable) -> None:
    """Write a table as an ``.npz`` archive, whole or not at all.

    Args:
        path: archive to write.
        table: particles of either program.

    Raises:
        InputError: the disk refuses.
    """
    arrays: dict[str, Shaped[np.ndarray, ...]] = {
        **canonical_fields(table),
        _KIND: np.array(table.kind),
        _NAME: np.array(table.table_name),
        **{f"columns/{name}": _packed(values) for name, values in table.columns.items()},
        **(_table_arrays("optics/", table.optics) if table.optics else {}),
    }
    for name, other in table.other_tables.items():
        arrays.update(_table_arrays(f"tables/{name}/", other))
    arrays["image_path"] = np.array(table.image_path.tolist())
    # Columns of one value pack a thousandfold, which readers must take for a bomb.
    write_npz(path, arrays, compress=False)


def _table_arrays(prefix: str, table: StarTable) -> _Arrays:
    """Columns of a loop, or single values as arrays without a dimension."""
    columns = {prefix + label: _packed(values) for label, values in table.columns.items()}
    return columns if table.loop else {k: v.reshape(()) for k, v in columns.items()}


def _packed(values: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, "n ..."]:
    """Text of variable width, which archives do not know, as bytes of one width."""
    if values.dtype != TEXT:
        return values
    encoded = [text.encode("utf-8") for text in values.tolist()]
    return np.array(encoded, f"S{max(1, *map(len, encoded))}")


def read_particle_arrays(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> ParticleTable:
    """Read a table of particles from an ``.npz`` archive.

    Args:
        path: archive written by :func:`write_particle_arrays`, or by hand with at least
            ``image_path`` and ``image_index`` (from 0).
        limits: caps on number and size of its arrays.

    Returns:
        the table: as it was written but for fields that were changed; in the columns of RELION 3.1
        where the archive has none.

    Raises:
        InputError: the archive is damaged or is no table of particle images.
    """
    arrays = read_npz(path, limits=limits)
    fields = _checked_fields(arrays, path)
    if _KIND not in arrays:
        columns, optics = tables_from_fields(fields)
        decoded = decode_relion(columns, optics, file=path, name="particles")
        return make_table(path, "star", columns, decoded, optics=optics, table_name="particles")
    return restate(_own_table(arrays, len(fields["image_index"]), path), fields)


def _checked_fields(arrays: _Arrays, path: str | Path) -> Columns:
    for name in ("image_path", "image_index"):
        if name not in arrays:
            cause = f"it has no array {name}, so it is no table of particle images"
            raise InputError(path, "its contents", cause, "name a table of particles")
    count = arrays["image_index"].size
    if count == 0:
        raise InputError(path, "table", "it holds no rows", "name a table with particles")
    return {n: _field(n, arrays[n], count, path) for n in CANONICAL if n in arrays}


def _field(
    name: str, values: Shaped[np.ndarray, "..."], count: int, path: str | Path
) -> Shaped[np.ndarray, "n ..."]:
    """One field in its type and shape, refused where it is no such field."""
    shape = (count, *_WIDTH.get(name, ()))
    kinds = "SU" if name == "image_path" else "iu" if name in _WHOLE else "fiu"
    if values.shape != shape or values.dtype.kind not in kinds:
        expected = {"SU": "text", "iu": "whole numbers", "fiu": "numbers"}[kinds]
        cause = f"{values.dtype} of shape {values.shape}, expected {expected} of shape {shape}"
        raise InputError(path, f"array {name}", cause, _REMEDY)
    if kinds == "SU":
        return as_text(values) if values.dtype.kind == "S" else np.array(values.tolist(), TEXT)
    bad = (
        (values < _SMALLEST[name]) | (values > 2**53)
        if kinds == "iu"
        else ~np.isfinite(values) | (np.abs(values) > 1e12)
    ).reshape(count, -1)
    if bad.any():
        row = int(bad.any(axis=1).argmax())
        place = row_place(row, table="", column=name)
        raise InputError(path, place, f"{values[row]} cannot be used", _REMEDY)
    return values.astype(np.int64 if kinds == "iu" else np.float64)


def _own_table(arrays: _Arrays, count: int, path: str | Path) -> ParticleTable:
    """The table as its program had it."""
    kind, table_name = (_word(arrays, name, path) for name in (_KIND, _NAME))
    if kind not in get_args(Kind):
        cause = f"{kind!r} is none of {', '.join(get_args(Kind))}"
        raise InputError(path, f"array {_KIND}", cause, _REMEDY)
    text = kind == "star"
    groups: dict[str, dict[str, Shaped[np.ndarray, ...]]] = {}
    for name, values in arrays.items():
        group, _, label = name.partition("/")
        if group == "tables":
            group, _, label = label.partition("/")
            group = f"tables/{group}"
        if label:
            groups.setdefault(group, {})[label] = values
    columns = groups.pop("columns", {})
    if not columns or any(v.ndim < 1 or len(v) != count for v in columns.values()):
        cause = f"its columns do not have {count} rows, as image_index has"
        raise InputError(path, "columns", cause, "select rows with convert --select")
    if text:
        columns = _text_columns(columns, path)
    tables = {name: _star_table(table, path) for name, table in groups.items()}
    optics = tables.get("optics")
    decoded = (
        decode_relion(columns, optics, file=path, name=table_name)
        if text
        else decode_cryosparc(columns, file=path)
    )
    return make_table(
        path,
        cast(Literal["star", "cs"], kind),
        columns,
        decoded,
        optics=optics,
        other_tables={k.removeprefix("tables/"): t for k, t in tables.items() if k != "optics"},
        table_name=table_name,
    )


def _word(arrays: _Arrays, name: str, path: str | Path) -> str:
    values = arrays.get(name)
    if values is None or values.shape != () or values.dtype.kind != "U":
        raise InputError(path, f"array {name}", "it is missing or no single text", _REMEDY)
    return str(values)


def _text_columns(columns: _Arrays, path: str | Path) -> Columns:
    for label, values in columns.items():
        if values.dtype.kind != "S" or values.ndim > 1:
            raise InputError(path, f"array {label}", "it is no column of text", _REMEDY)
    return {label: as_text(values.reshape(-1)) for label, values in columns.items()}


def _star_table(columns: _Arrays, path: str | Path) -> StarTable:
    shapes = {values.shape for values in columns.values()}
    if len(shapes) != 1:
        raise InputError(path, f"arrays {', '.join(columns)}", "they differ in length", _REMEDY)
    return StarTable(_text_columns(columns, path), loop=shapes != {()})
