"""Read, change and write tables of particles of RELION and cryoSPARC."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from cryojax_graph.io.cif_text import TEXT
from cryojax_graph.io.cryosparc import (
    decode_cryosparc,
    encode_cryosparc,
    make_uids,
    recreated_columns,
)
from cryojax_graph.io.cs import read_cs, write_cs
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.npy import CSDAT, MAGIC
from cryojax_graph.io.particle_table import (
    CANONICAL,
    Columns,
    ParticleTable,
    canonical_fields,
    check_lengths,
    make_table,
)
from cryojax_graph.io.relion import (
    IMAGE_NAME,
    OPTICS_GROUP,
    as_text,
    decode_relion,
    encode_relion,
    tables_from_fields,
)
from cryojax_graph.io.star import StarTable, read_star, write_star
from cryojax_graph.io.unpack import open_plain

# Columns of the other program travel under these prefixes.
_FROM_CRYOSPARC = "cs/"
_FROM_RELION = "relion/"
_FROM_OPTICS = "relion_optics/"
_VERSION = "version 30001"
_WHOLE = re.compile(r"-?[0-9]{1,20}")


def read_particles(
    path: str | Path,
    *,
    passthrough: Sequence[str | Path] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> ParticleTable:
    """Read a table of particles; the images themselves are not touched.

    Args:
        path: STAR file of RELION 3.0, 3.1, 4 or 5, or cryoSPARC's ``.cs`` file, told apart by
            their contents.
        passthrough: cryoSPARC's files with further columns of the same particles.
        limits: caps on size and columns.

    Returns:
        the table, with every column of the file kept.

    Raises:
        InputError: the file is damaged, is no table of particle images, or holds impossible values.
    """
    with open_plain(path) as handle:
        start = handle.read(6)
    if start in (MAGIC, CSDAT) or Path(path).suffix == ".cs":
        columns = read_cs(path, passthrough=passthrough, limits=limits)
        fields = decode_cryosparc(columns, file=path)
        return make_table(path, "cs", columns, fields)
    if passthrough:
        cause = "passthrough files belong to .cs tables, this is a STAR file"
        raise InputError(path, "table", cause, "name them without it")
    tables = read_star(path, limits=limits)
    name = _particles_block(tables, path)
    optics = tables.get("optics")
    fields = decode_relion(tables[name].columns, optics, file=path, name=name)
    others = {k: t for k, t in tables.items() if k not in (name, "optics")}
    return make_table(
        path,
        "star",
        tables[name].columns,
        fields,
        optics=optics,
        other_tables=others,
        table_name=name,
    )


def _particles_block(tables: Mapping[str, StarTable], path: str | Path) -> str:
    names = [name for name, table in tables.items() if IMAGE_NAME in table.columns]
    if not names:
        blocks = ", ".join(f"data_{name}" for name in tables)
        cause = f"no table has a column {IMAGE_NAME}; there are {blocks}"
        raise InputError(path, "tables", cause, "name a STAR file of particles")
    if len(names) > 1 and "particles" not in names:
        cause = f"the tables {', '.join(names)} all hold images"
        raise InputError(path, "tables", cause, "keep one of them in the file")
    return "particles" if "particles" in names else names[0]


def new_particles(
    source: str | Path, fields: Mapping[str, Shaped[np.ndarray, "n ..."]]
) -> ParticleTable:
    """A table of particles made from arrays, in the columns of RELION 3.1.

    Args:
        source: file that the table will be, for messages.
        fields: arrays by field of :class:`ParticleTable`; ``image_path`` and ``image_index`` at
            least.

    Returns:
        the table.
    """
    columns, optics = tables_from_fields(fields)
    decoded = decode_relion(columns, optics, file=source, name="particles")
    return make_table(source, "star", columns, decoded, optics=optics, table_name="particles")


def with_columns(
    table: ParticleTable, changes: Mapping[str, Shaped[np.ndarray, "n ..."]]
) -> ParticleTable:
    """A table with some values replaced or added.

    Args:
        table: particles.
        changes: new arrays by field of :class:`ParticleTable` (e.g. ``euler_degrees``) or by name
            of a column (e.g. ``rlnClassNumber``, ``alignments3D/class``).

    Returns:
        a new table in which fields and columns agree.

    Raises:
        ValueError: a column has another number of rows, or a value of an optics group differs
            inside it.
        InputError: a new value of a column cannot be read back.
    """
    check_lengths(table, changes)
    fields = {name: values for name, values in changes.items() if name in CANONICAL}
    if fields.keys() & {"image_path", "image_index"}:
        fields.setdefault("image_path", table.image_path)
        fields.setdefault("image_index", table.image_index)
    raw = {name: values for name, values in changes.items() if name not in CANONICAL}
    if table.kind == "cs":
        columns, optics = encode_cryosparc({**table.columns, **raw}, fields), None
        decoded = decode_cryosparc(columns, file=table.source)
    else:
        texts = {name: as_text(values) for name, values in raw.items()}
        columns, optics = encode_relion(
            {**table.columns, **texts}, table.optics, fields, pixel_size=table.pixel_size
        )
        decoded = decode_relion(columns, optics, file=table.source, name=table.table_name)
    return make_table(
        table.source,
        table.kind,
        columns,
        decoded,
        optics=optics,
        other_tables=table.other_tables,
        table_name=table.table_name,
    )


def write_particles(table: ParticleTable, path: str | Path) -> None:
    """Write a table with all its columns, optics groups and half-sets, whole or not at all.

    A table of one program written in the form of the other keeps the columns that have no
    counterpart there under the prefixes ``cs/`` and ``relion/``; they take their places again on
    the way back.

    Args:
        table: particles.
        path: file to write, ``.star`` or ``.cs``.

    Raises:
        InputError: another ending, a value that cannot be written, no box size for a ``.cs``
            table, or the disk refuses.
    """
    suffix = Path(path).suffix
    if suffix == ".cs":
        write_cs(path, table.columns if table.kind == "cs" else _to_cryosparc(table))
    elif suffix == ".star":
        star = table if table.kind == "star" else _to_relion(table)
        tables = {star.table_name: StarTable(star.columns), **star.other_tables}
        if star.optics is not None:
            tables = {"optics": star.optics, **tables}
        write_star(path, tables, comment=_VERSION if star.optics is not None else "")
    else:
        cause = f"the ending {suffix!r} names no kind of particle table"
        raise InputError(path, "its name", cause, "end it in .star or .cs")


def _to_cryosparc(table: ParticleTable) -> Columns:
    table.require("box", "pixel_size")
    count = len(table)
    columns: Columns = {}
    for name, values in table.columns.items():
        if name.startswith(_FROM_CRYOSPARC):
            columns[name.removeprefix(_FROM_CRYOSPARC)] = _restore(
                name.removeprefix(_FROM_CRYOSPARC), values
            )
        else:
            columns[_FROM_RELION + name] = _as_bytes(values.tolist())
    if table.optics is not None:
        known = table.optics.columns[OPTICS_GROUP].astype(np.float64).tolist()
        groups = table.columns[OPTICS_GROUP].astype(np.float64).tolist()
        rows = np.array([known.index(group) for group in groups])
        for name, values in table.optics.columns.items():
            columns[_FROM_OPTICS + name] = _as_bytes(values[rows].tolist())
    columns.setdefault("uid", make_uids(table.image_path, table.image_index))
    # RELION's particles are light on dark, which cryoSPARC marks as sign 1.
    columns.setdefault("blob/sign", np.ones(count, np.float32))
    return encode_cryosparc(columns, canonical_fields(table))


def _restore(name: str, values: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
    """Typed column of cryoSPARC from its text: vectors in brackets, whole numbers, floats, text."""
    texts = values.tolist()
    if all(text[:1] == "[" and text[-1:] == "]" for text in texts):
        rows = [np.array(text[1:-1].split(","), TEXT) for text in texts]
        if len({len(row) for row in rows}) == 1:
            elements = [_restore(name, column) for column in np.stack(rows, axis=1)]
            return np.stack(elements, axis=1)
    if all(_WHOLE.fullmatch(text) for text in texts):
        whole = [int(text) for text in texts]
        if -(2**63) <= min(whole) < 0 and max(whole) < 2**63:
            return np.array(whole, np.int64)
        if min(whole) >= 0 and max(whole) < 2**64:
            # Identifiers have 64 bits, all other whole numbers of cryoSPARC have 32.
            wide = name == "uid" or max(whole) >= 2**32
            return np.array(whole, np.uint64 if wide else np.uint32)
    try:
        return values.astype(np.float32)
    except ValueError:
        return _as_bytes(texts)


def _as_bytes(texts: list[str]) -> Shaped[np.ndarray, " n"]:
    encoded = [text.encode("utf-8") for text in texts]
    return np.array(encoded, f"S{max(1, *map(len, encoded))}")


def _to_relion(table: ParticleTable) -> ParticleTable:
    fields = canonical_fields(table)
    made = new_particles(table.source, fields)
    recreated = recreated_columns(table.columns, fields)
    kept: Columns = {}
    optics: Columns = {}
    for name, values in table.columns.items():
        if name in recreated:
            continue
        if name.startswith(_FROM_OPTICS):
            first = np.unique(made.columns[OPTICS_GROUP].astype(np.int64), return_index=True)[1]
            optics[name.removeprefix(_FROM_OPTICS)] = as_text(values[first])
        elif name.startswith(_FROM_RELION):
            kept[name.removeprefix(_FROM_RELION)] = as_text(values)
        elif values.ndim == 1:
            kept[_FROM_CRYOSPARC + name] = as_text(values)
        else:
            elements = [as_text(column).tolist() for column in values.reshape(len(values), -1).T]
            rows = [f"[{','.join(row)}]" for row in zip(*elements, strict=True)]
            kept[_FROM_CRYOSPARC + name] = np.array(rows, TEXT)
    made_optics = made.optics.columns if made.optics is not None else {}
    return replace(
        made,
        columns={**kept, **made.columns},
        optics=StarTable({**optics, **made_optics}),
    )
