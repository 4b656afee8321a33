"""Columns of cryoSPARC as text of a STAR file and back, with the types that text forgets."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import quote, unquote

import numpy as np
from jaxtyping import Shaped

from cryojax_graph.io.cif_text import TEXT
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particle_table import Columns
from cryojax_graph.io.star import StarTable

FROM_CRYOSPARC, FROM_RELION, FROM_OPTICS = "cs/", "relion/", "relion_optics/"
"""What the names of carried columns begin with."""
TYPES_TABLE = "cryosparc"
"""Block of a STAR file that lists the columns of the ``.cs`` table it came from."""

_COLUMN, _TYPE = "cryosparcColumn", "cryosparcType"
_TYPE_FORM = re.compile(r"([<>|=]?(?:b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,8}))((?:,[1-9][0-9]*)*)")
_LONGEST_VECTOR = 4096
_WHOLE = re.compile(r"-?[0-9]{1,20}")
# Plain in a STAR file and in a list in brackets; the rest is written as in web addresses.
_SAFE = "/:@>+=~!*()|^&. "


def own_name(label: str) -> str:
    """The name that a column had in its first program.

    Args:
        label: name in the table, under a prefix where it was carried along.

    Returns:
        the name without it.
    """
    if label.startswith(FROM_RELION):
        # The name of its table is in between.
        return label.removeprefix(FROM_RELION).partition("/")[2]
    return label.removeprefix(FROM_CRYOSPARC).removeprefix(FROM_OPTICS)


def types_table(columns: Columns) -> StarTable:
    """Table of the names and types of columns, in their order.

    Args:
        columns: typed columns.

    Returns:
        one row for each, types as numpy writes them and lengths of vectors, e.g. ``<f4,3``.
    """
    kinds = [",".join([v.dtype.str, *map(str, v.shape[1:])]) for v in columns.values()]
    return StarTable({_COLUMN: np.array([*columns], TEXT), _TYPE: np.array(kinds, TEXT)})


def read_types(tables: Mapping[str, StarTable], *, file: str | Path) -> dict[str, np.dtype]:
    """Types of the columns that a STAR file carries for cryoSPARC.

    Args:
        tables: tables of the file.
        file: its name, for messages.

    Returns:
        types by name of the column, shapes of vectors included; nothing where the file has no
        such table, as after RELION wrote it anew.

    Raises:
        InputError: a type is none.
    """
    table = tables.get(TYPES_TABLE)
    if table is None or not {_COLUMN, _TYPE} <= table.columns.keys():
        return {}
    names, kinds = (table.columns[label].tolist() for label in (_COLUMN, _TYPE))
    types = {}
    for name, kind in zip(names, kinds, strict=True):
        match = _TYPE_FORM.fullmatch(kind)
        lengths = [int(n) for n in match[2].split(",") if n] if match else []
        if match is None or math.prod(lengths) > _LONGEST_VECTOR:
            cause = f"{kind!r} is no type of a column"
            remedy = "correct it, or remove the table: types are then told from the values"
            raise InputError(file, f"table {TYPES_TABLE}, column {name}", cause, remedy)
        types[name] = np.dtype((match[1], tuple(lengths)))
    return types


def column_text(values: Shaped[np.ndarray, "n ..."]) -> Shaped[np.ndarray, " n"]:
    """Text from which :func:`column_values` makes the same column again.

    Args:
        values: numbers or text; vectors become a list in brackets.

    Returns:
        text without line breaks, in ASCII.
    """
    if values.ndim == 1:
        return np.array(_texts(values), TEXT)
    elements = [_texts(column) for column in values.reshape(len(values), -1).T]
    return np.array([f"[{','.join(row)}]" for row in zip(*elements, strict=True)], TEXT)


def _texts(values: Shaped[np.ndarray, " n"]) -> list[str]:
    kind = values.dtype.kind
    if kind == "f":
        # The shortest text that gives the very number again, and never looks like a whole one.
        return values.astype("U32").tolist()
    if kind in "SU":
        texts = [t.decode("utf-8") if kind == "S" else t for t in np.unique(values).tolist()]
        plain = np.array([quote(text, safe=_SAFE) for text in texts], object)
        return plain[np.unique(values, return_inverse=True)[1]].tolist() if len(texts) else []
    return [
        str(value) for value in values.astype(np.int64 if kind == "b" else values.dtype).tolist()
    ]


def column_values(
    texts: Shaped[np.ndarray, " n"], kind: np.dtype | None, *, name: str, file: str | Path
) -> Shaped[np.ndarray, "n ..."]:
    """Typed column from its text.

    Args:
        texts: as made by :func:`column_text`.
        kind: type with the shape of vectors; told from the values where not given.
        name: of the column.
        file: file of the table, for messages.

    Returns:
        the column.

    Raises:
        InputError: a text is no value of this type.
    """
    if kind is None:
        return _guessed(name, texts)
    length = int(np.prod(kind.shape, dtype=np.int64))
    flat = texts.tolist()
    if kind.shape:
        flat = [element for text in flat for element in text[1:-1].split(",")]
    try:
        values = _parsed(flat, kind.base)
        return values.reshape(len(texts), *kind.shape)
    except (ValueError, OverflowError):
        cause = f"a value is not of type {kind.base.str}, {length} of it"
        remedy = "correct it, or remove the column"
        raise InputError(file, f"column cs/{name}", cause, remedy) from None


def _parsed(texts: list[str], kind: np.dtype) -> Shaped[np.ndarray, " n"]:
    if kind.kind in "SU":
        plain = [unquote(text, errors="strict") for text in texts]
        values = np.array([text.encode() for text in plain] if kind.kind == "S" else plain)
        wider = values.dtype.itemsize > kind.itemsize
        return values if wider else values.astype(kind)
    if kind.kind == "f":
        return np.array(texts, np.float64).astype(kind)
    whole = list(map(int, texts))
    return np.array(whole, bool) if kind.kind == "b" else np.array(whole, kind)


def _guessed(name: str, values: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, "n ..."]:
    """Vectors in brackets, whole numbers, floats, text."""
    texts = values.tolist()
    if all(text[:1] == "[" and text[-1:] == "]" for text in texts):
        rows = [np.array(text[1:-1].split(","), TEXT) for text in texts]
        if len({len(row) for row in rows}) == 1:
            elements = [_guessed(name, column) for column in np.stack(rows, axis=1)]
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
        return np.array([unquote(text).encode() for text in texts])
