"""cryoSPARC's tables: records of plain columns, joined on their particle identifiers."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Int64, Shaped, UInt64

from cryojax_graph.io.atomic import atomic_file
from cryojax_graph.io.cryosparc_classes import ONE, has_class_alignments
from cryojax_graph.io.errors import InputError, row_place
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.npy import read_array, read_array_header
from cryojax_graph.io.unpack import file_size, open_plain

_UID = "uid"


def read_cs(
    path: str | Path,
    *,
    passthrough: Sequence[str | Path] = (),
    limits: Limits = DEFAULT_LIMITS,
) -> dict[str, Shaped[np.ndarray, "rows ..."]]:
    """Read a ``.cs`` table, with the columns that cryoSPARC left in passthrough files.

    A column that stands in several files is taken from the first. A passthrough file may hold more
    particles than the table, never fewer. Where the table has alignments to classes, the alignment
    in a passthrough file is that of an earlier job, and is left out.

    Args:
        path: the table.
        passthrough: files with further columns of the same particles.
        limits: caps on columns and size.

    Returns:
        columns by name, e.g. ``alignments3D/pose`` of shape (rows, 3).

    Raises:
        InputError: a file is damaged, holds objects, lacks ``uid`` or repeats one, or a passthrough
            file lacks a particle.
    """
    columns = _read_columns(path, limits)
    has_classes = has_class_alignments(columns)
    for other in passthrough:
        more = _read_columns(other, limits)
        rows = _match(_uids(columns, path), _uids(more, other), file=other, table=path)
        for name, values in more.items():
            if not (has_classes and name.startswith(ONE)):
                columns.setdefault(name, values[rows])
    return columns


def column_names(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> tuple[str, ...]:
    """Names of the columns of a ``.cs`` table, of which no value is read.

    Args:
        path: the table.
        limits: caps on columns and size.

    Returns:
        the names; none where the file is an array without columns.

    Raises:
        InputError: the file is damaged, or holds objects.
    """
    size = file_size(path)
    with open_plain(path) as handle:
        header, _ = read_array_header(handle, size, file=path, place="table", limits=limits)
    return header.dtype.names or ()


def lists_all_of(path: str | Path, table: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> bool:
    """Whether a file has a row for every particle of a table.

    Args:
        path: ``.cs`` file.
        table: ``.cs`` table.
        limits: caps on columns and size.

    Returns:
        true if so.

    Raises:
        InputError: a file is damaged, or lacks ``uid`` or repeats one.
    """
    offered, wanted = (_uids(_read_columns(p, limits), p) for p in (path, table))
    return bool(np.isin(wanted, offered).all())


def _read_columns(path: str | Path, limits: Limits) -> dict[str, Shaped[np.ndarray, "rows ..."]]:
    size = file_size(path)
    with open_plain(path) as handle:
        records = read_array(handle, size, file=path, place="table", limits=limits)
    if records.dtype.names is None or records.ndim != 1:
        cause = "it is an array without columns, not a cryoSPARC table"
        raise InputError(path, "table, header", cause, "name a .cs file of particles")
    if len(records) == 0:
        raise InputError(path, "table", "it holds no rows", "name a table with particles")
    return {name: np.ascontiguousarray(records[name]) for name in records.dtype.names}


def _uids(
    columns: Mapping[str, Shaped[np.ndarray, "rows ..."]], path: str | Path
) -> UInt64[np.ndarray, " rows"]:
    if _UID not in columns or columns[_UID].dtype.kind != "u" or columns[_UID].ndim != 1:
        cause = "it has no column uid of particle identifiers"
        raise InputError(path, "table", cause, "export the particles from cryoSPARC again")
    uids = columns[_UID].astype(np.uint64)
    order = np.argsort(uids, kind="stable")
    twice = np.flatnonzero(uids[order][1:] == uids[order][:-1])
    if len(twice):
        row = int(order[twice[0] + 1])
        cause = f"the identifier {uids[row]} occurs twice"
        remedy = "remove the double particles in cryoSPARC"
        raise InputError(path, row_place(row, table="", column=_UID), cause, remedy)
    return uids


def _match(
    wanted: UInt64[np.ndarray, " rows"],
    offered: UInt64[np.ndarray, " others"],
    *,
    file: str | Path,
    table: str | Path,
) -> Int64[np.ndarray, " rows"]:
    order = np.argsort(offered)
    found = np.minimum(np.searchsorted(offered, wanted, sorter=order), len(offered) - 1)
    rows = order[found]
    missing = offered[rows] != wanted
    if missing.any():
        raise InputError(
            file,
            "column uid",
            f"{int(missing.sum())} of {len(wanted)} particles of {table} are missing, the first "
            f"is {wanted[missing.argmax()]}",
            "name the passthrough file of the same job",
        )
    return rows.astype(np.int64)


def write_cs(path: str | Path, columns: Mapping[str, Shaped[np.ndarray, "rows ..."]]) -> None:
    """Write columns as a ``.cs`` table, whole or not at all.

    Args:
        path: table to write.
        columns: columns by name, all with one number of rows, of numbers or fixed-width bytes.

    Raises:
        InputError: the disk refuses.
    """
    rows = len(next(iter(columns.values())))
    layout = [(name, values.dtype, values.shape[1:]) for name, values in columns.items()]
    records = np.empty(rows, np.dtype(layout))
    for name, values in columns.items():
        records[name] = values
    with atomic_file(path) as handle:
        np.lib.format.write_array(handle, records, version=(2, 0), allow_pickle=False)
