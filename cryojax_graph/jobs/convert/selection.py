"""Which rows of a particle table a selection means."""

import csv
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64, Shaped

from cryojax_graph.io.describe import file_kind
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.npz import read_npz
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.passthrough import read_completed
from cryojax_graph.io.unpack import read_text
from cryojax_graph.jobs.image_identity import IDENTITIES, identifiers, image_names

_FORMS = (
    "give one column: index (row numbers from 0), row (from 1), uid, or image (000001@stack.mrcs)"
)
_OTHER = "name the selection that was made from this very table"


class Selection(NamedTuple):
    """Rows to keep.

    Attributes:
        rows: of the table, from 0, ascending.
        by: what they were told by, in words.
    """

    rows: Int64[np.ndarray, " m"]
    by: str


def select_rows(table: ParticleTable, path: str | Path) -> Selection:
    """Rows of a table that a selection names; the order of the table stays.

    Args:
        table: particles.
        path: particles of the same data (``.star``, ``.cs``, ``.npz``), a ``.csv`` with one column
            ``index``, ``row``, ``uid`` or ``image``, or an ``.npz`` archive with an array
            ``index``, ``uid`` or ``mask``. Every row that shows a named image is meant.

    Returns:
        the rows.

    Raises:
        InputError: something selected is not in the table, a row number is repeated, or the file
            is no selection.
    """
    if Path(path).suffix == ".csv":
        return _by_list(table, *_read_csv(path), path=path)
    kind = file_kind(path)
    if kind == "particles":
        return _by_images(table, read_completed(path).table)
    if kind == "arrays":
        return _by_array(table, read_npz(path), path)
    cause = "it is no selection of particles"
    raise InputError(path, "--select", cause, "give a particle table, a .csv or an .npz")


def _read_csv(path: str | Path) -> tuple[str, list[str]]:
    rows = [row for row in csv.reader(read_text(path).splitlines()) if row]
    name = rows[0][0].strip() if rows else ""
    if name not in ("index", "row", "uid", "image") or any(len(row) != 1 for row in rows):
        wide = next((n for n, row in enumerate(rows, 1) if len(row) != 1), 1)
        cause = f"{quote(','.join(rows[wide - 1]) if rows else '')} is not what a selection holds"
        raise InputError(path, f"line {wide}", cause, _FORMS)
    return name, [row[0].strip() for row in rows[1:]]


def _by_list(table: ParticleTable, name: str, texts: list[str], *, path: str | Path) -> Selection:
    if name == "image":
        return _among(table, texts, image_names(table), "image names", path)
    for number, text in enumerate(texts, 2):
        if not (text.isdecimal() and text.isascii()) or len(text) > 20:
            cause = f"{quote(text)} is not a whole number"
            raise InputError(path, f"line {number}", cause, _FORMS)
    values = list(map(int, texts))
    if name == "uid":
        return _by_identifiers(table, values, path)
    return _by_numbers(table, values, first=1 if name == "row" else 0, path=path)


def _by_array(
    table: ParticleTable, arrays: dict[str, Shaped[np.ndarray, "..."]], path: str | Path
) -> Selection:
    given = [name for name in ("index", "uid", "mask") if name in arrays]
    if len(given) != 1 or arrays[given[0]].ndim != 1:
        cause = f"it has the arrays {', '.join(arrays)}"
        raise InputError(path, "its contents", cause, "give one vector: index, uid or mask")
    values = arrays[given[0]]
    expected = {"index": "iu", "uid": "u", "mask": "b"}[given[0]]
    fits = values.dtype.kind in expected and (given[0] != "mask" or len(values) == len(table))
    if not fits:
        cause = f"{values.dtype} of {len(values)} entries for {len(table)} particles"
        remedy = "give whole numbers from 0 (index), unsigned (uid), or a truth for each row (mask)"
        raise InputError(path, f"array {given[0]}", cause, remedy)
    if given[0] == "uid":
        return _by_identifiers(table, values.tolist(), path)
    numbers = np.flatnonzero(values) if given[0] == "mask" else values
    return _by_numbers(table, numbers.tolist(), first=0, path=path)


def _by_numbers(
    table: ParticleTable, values: list[int], *, first: int, path: str | Path
) -> Selection:
    seen: set[int] = set()
    for value in values:
        if not first <= value < len(table) + first:
            cause = f"row {value} of a table of {len(table)}, counted from {first}"
            raise InputError(path, "row numbers", cause, _OTHER)
        if value in seen:
            cause = f"row {value} is named twice"
            raise InputError(path, "row numbers", cause, "name each row once")
        seen.add(value)
    return _selection([value - first for value in sorted(seen)], "row numbers", path)


def _by_identifiers(table: ParticleTable, values: list[int], path: str | Path) -> Selection:
    keys = identifiers(table)
    if not keys:
        cause = f"{table.source} has no identifiers of cryoSPARC"
        raise InputError(path, "uid", cause, "select by image or by row number")
    return _among(table, values, keys, "cryoSPARC's identifiers", path)


def _by_images(table: ParticleTable, chosen: ParticleTable) -> Selection:
    for by, keys_of in IDENTITIES.items():
        keys, wanted = keys_of(table), keys_of(chosen)
        if not set(keys).isdisjoint(wanted):
            return _among(table, wanted, keys, by, chosen.source, image_names(chosen))
    cause = f"none of its images is in {table.source}"
    raise InputError(chosen.source, row_place(0, table=chosen.table_name), cause, _OTHER)


def _among(
    table: ParticleTable,
    wanted: Iterable[Hashable],
    keys: Iterable[Hashable],
    by: str,
    path: str | Path,
    names: list[str] | None = None,
) -> Selection:
    wanted = list(wanted)
    own = set(keys)
    missing = [row for row, key in enumerate(wanted) if key not in own]
    if missing:
        first = names[missing[0]] if names else wanted[missing[0]]
        cause = f"{len(missing)} of {len(wanted)} are not in {table.source}, first {quote(first)}"
        raise InputError(path, by, cause, _OTHER)
    chosen = set(wanted)
    return _selection([row for row, key in enumerate(keys) if key in chosen], by, path)


def _selection(rows: list[int], by: str, path: str | Path) -> Selection:
    if not rows:
        raise InputError(path, by, "it selects no particle", "select at least one")
    return Selection(np.array(rows, np.int64), by)
