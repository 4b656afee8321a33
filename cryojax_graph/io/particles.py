"""Read, change and write tables of particles of RELION and cryoSPARC, and archives of them."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from cryojax_graph.io.crossing import to_cryosparc, to_relion
from cryojax_graph.io.cryosparc import decode_cryosparc, encode_cryosparc
from cryojax_graph.io.cs import read_cs, write_cs
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.npy import CSDAT, MAGIC
from cryojax_graph.io.particle_arrays import read_particle_arrays, write_particle_arrays
from cryojax_graph.io.particle_table import (
    CANONICAL,
    ParticleTable,
    check_lengths,
    make_table,
)
from cryojax_graph.io.relion import (
    IMAGE_NAME,
    as_text,
    decode_relion,
    encode_relion,
    tables_from_fields,
)
from cryojax_graph.io.star import StarTable, read_star, write_star
from cryojax_graph.io.unpack import open_plain

_VERSION = "version 30001"
_ARCHIVE = b"PK\x03\x04"


def read_particles(
    path: str | Path,
    *,
    passthrough: Sequence[str | Path] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> ParticleTable:
    """Read a table of particles; the images themselves are not touched.

    Args:
        path: STAR file of RELION 3.0, 3.1, 4 or 5, cryoSPARC's ``.cs`` file, or an ``.npz`` archive
            of their arrays, told apart by their contents.
        passthrough: cryoSPARC's files with further columns of the same particles.
        limits: caps on size and columns.

    Returns:
        the table, with every column of the file kept.

    Raises:
        InputError: the file is damaged, is no table of particle images, or holds impossible values.
    """
    if _first_bytes(path).startswith(_ARCHIVE) and not passthrough:
        return read_particle_arrays(path, limits=limits)
    if is_cs(path):
        columns = read_cs(path, passthrough=passthrough, limits=limits)
        fields = decode_cryosparc(columns, file=path)
        return make_table(path, "cs", columns, fields)
    if passthrough:
        cause = "passthrough files belong to .cs tables, and this is none"
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


def is_cs(path: str | Path) -> bool:
    """Whether a file is a ``.cs`` table, by its contents or else by its name.

    Args:
        path: file that the user named.

    Returns:
        true for cryoSPARC's tables, damaged ones too.

    Raises:
        InputError: the file cannot be read.
    """
    start = _first_bytes(path)
    named = Path(path).suffix == ".cs" and not start.startswith(_ARCHIVE)
    return named or start in (MAGIC, CSDAT)


def _first_bytes(path: str | Path) -> bytes:
    with open_plain(path) as handle:
        return handle.read(len(MAGIC))


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
    the way back. Further tables of a STAR file do not fit into a ``.cs`` file
    (:func:`cryojax_graph.io.lost_in_cryosparc`), but into an archive.

    Args:
        table: particles.
        path: file to write, ``.star``, ``.cs`` or ``.npz``.

    Raises:
        InputError: another ending, a value that cannot be written, no box size for a ``.cs``
            table, or the disk refuses.
    """
    suffix = Path(path).suffix
    if suffix == ".cs":
        write_cs(path, (table if table.kind == "cs" else to_cryosparc(table)).columns)
    elif suffix == ".npz":
        write_particle_arrays(path, table)
    elif suffix == ".star":
        star = table if table.kind == "star" else to_relion(table)
        tables = {star.table_name: StarTable(star.columns), **star.other_tables}
        if star.optics is not None:
            tables = {"optics": star.optics, **tables}
        write_star(path, tables, comment=_VERSION if star.optics is not None else "")
    else:
        cause = f"the ending {suffix!r} names no kind of particle table"
        raise InputError(path, "its name", cause, "end it in .star, .cs or .npz")
