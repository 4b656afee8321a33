"""STAR files: text tables with every column kept as it came."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from gemmi import cif  # pyright: ignore[reportMissingModuleSource]
from jaxtyping import Float64, Int64, Shaped

from cryojax_graph.io.atomic import write_atomically
from cryojax_graph.io.cif_text import TEXT, find_uneven_row, parse_cif, plain_values, to_numbers
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.unpack import read_text

_REPAIR = "correct the file, or write it again with the program that made it"
_QUOTED = r"^$|^[_#$'\";]|^(?:data_|loop_|save_|stop_|global_)"
_LABEL = re.compile(r"[\x21-\x7e]+")
_NEEDS_QUOTES = re.compile(rf"{_QUOTED}|\s", re.IGNORECASE)
# Searched in a whole column at once: most columns hold nothing that needs a second look.
_UNUSUAL = re.compile(rf"{_QUOTED}|[^\x21-\x7e\n]", re.IGNORECASE | re.MULTILINE)


@dataclass(frozen=True)
class StarTable:
    """One block of a STAR file.

    Args:
        columns: text of every column by its label without the leading underscore, in the order of
            the file, all of one length.
        loop: written as a table; else as pairs of label and value, one row.
    """

    columns: dict[str, Shaped[np.ndarray, " rows"]]
    loop: bool = True

    def __len__(self) -> int:
        """Number of rows."""
        return len(next(iter(self.columns.values()), ()))


def read_star(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, StarTable]:
    """Read every table of a STAR file as text.

    Args:
        path: STAR file, plain, gzip or bzip2.
        limits: caps on its unpacked size and on the number of columns.

    Returns:
        tables by the name of their block, e.g. ``optics`` for ``data_optics`` and ``""`` for
        ``data_``, in the order of the file.

    Raises:
        InputError: the syntax is broken, a row is short or long, a loop holds no values, or a block
            holds more than one table.
    """
    text = read_text(path, limits=limits)
    lines = text.split("\n")
    if "\n;" in text:
        place = f"line {next(i for i, line in enumerate(lines, 1) if line[:1] == ';' and i > 1)}"
        raise InputError(path, place, "a value of several lines", _REPAIR)
    document = parse_cif(text, file=path)
    tables: dict[str, StarTable] = {}
    for block in document:
        name = block.name.strip()
        if name in tables:
            raise InputError(path, f"block data_{name}", "its name occurs twice", _REPAIR)
        tables[name] = _read_block(block, lines, path, limits)
    if not tables:
        raise InputError(path, "its contents", "it holds no data block", _REPAIR)
    return tables


def _read_block(block: cif.Block, lines: list[str], path: str | Path, limits: Limits) -> StarTable:
    place = f"block data_{block.name.strip()}"
    if any(item.frame is not None for item in block):
        raise InputError(path, place, "it holds a save frame, which is no table", _REPAIR)
    loops = [item for item in block if item.loop is not None]
    pairs = [cast(tuple[str, str], item.pair) for item in block if item.pair is not None]
    if len(loops) > 1 or (loops and pairs):
        cause = f"it holds {len(loops)} loops and {len(pairs)} single values, not one table"
        raise InputError(path, place, cause, "give each table its own data block")
    if not loops:
        single = {label[1:]: np.array(plain_values([value]), TEXT) for label, value in pairs}
        return StarTable(single, loop=False)
    loop = cast(cif.Loop, loops[0].loop)
    labels = [str(tag)[1:] for tag in loop.tags]
    if len(labels) > limits.columns:
        cause = f"{len(labels)} columns, more than {limits.columns}"
        raise InputError(path, place, cause, "raise Limits.columns if that is meant")
    if loop.length() == 0:
        cause = f"a loop with {len(labels)} columns and no values; the file may be cut"
        raise InputError(path, place, cause, _REPAIR)
    if uneven := find_uneven_row(lines, loops[0].line_number):
        raise InputError(path, uneven[0], uneven[1], _REPAIR)
    values = np.array(plain_values(loop.values), TEXT).reshape(-1, len(labels))
    columns = {label: np.ascontiguousarray(values[:, i]) for i, label in enumerate(labels)}
    return StarTable(columns)


def numbers(
    table: Mapping[str, Shaped[np.ndarray, " rows"]], label: str, *, file: str | Path, name: str
) -> Float64[np.ndarray, " rows"]:
    """One column as numbers.

    Args:
        table: columns by label.
        label: the column.
        file: the file it came from, for messages.
        name: name of the table, for messages.

    Returns:
        finite values.

    Raises:
        InputError: the column is missing, or a value is no finite number; the row is named.
    """
    if label not in table:
        cause = f"there is no column {label}"
        raise InputError(file, f"table {name}" if name else "table", cause, "add the column")
    values = table[label]
    converted, bad = to_numbers(values)
    if bad is not None:
        place = row_place(bad, table=name, column=label)
        cause = f"{quote(values[bad])} is not a finite number"
        raise InputError(file, place, cause, "correct the value, or leave the row out")
    return converted


def integers(
    table: Mapping[str, Shaped[np.ndarray, " rows"]], label: str, *, file: str | Path, name: str
) -> Int64[np.ndarray, " rows"]:
    """One column as whole numbers; ``2`` and ``2.000000`` both mean 2.

    Args:
        table: columns by label.
        label: the column.
        file: the file it came from, for messages.
        name: name of the table, for messages.

    Returns:
        values between −2⁵³ and 2⁵³.

    Raises:
        InputError: as :func:`numbers`, or a value is not whole.
    """
    converted = numbers(table, label, file=file, name=name)
    bad = (converted != np.round(converted)) | (np.abs(converted) > 2.0**53)
    if bad.any():
        row = int(bad.argmax())
        place = row_place(row, table=name, column=label)
        cause = f"{quote(table[label][row])} is not a whole number of reasonable size"
        raise InputError(file, place, cause, "correct the value, or leave the row out")
    return converted.astype(np.int64)


def write_star(path: str | Path, tables: Mapping[str, StarTable], *, comment: str = "") -> None:
    """Write tables to a STAR file, whole or not at all.

    Args:
        path: STAR file to write.
        tables: tables by the name of their block.
        comment: one line put before every block; RELION reads its version there.

    Raises:
        InputError: a value cannot stand in a STAR file, or the disk refuses.
    """
    parts = [_format_block(name, table, comment, path) for name, table in tables.items()]
    write_atomically(path, "".join(parts).encode("ascii"))


def _format_block(name: str, table: StarTable, comment: str, path: str | Path) -> str:
    for label in table.columns:
        if not _LABEL.fullmatch(label):
            cause = f"{quote(label)} cannot be the label of a column"
            raise InputError(path, f"table {name}", cause, "use ASCII characters without spaces")
    head = [f"\n# {comment}\n"] if comment else []
    head.append(f"\ndata_{name}\n\n")
    texts = [
        _tokens(values, path, f"table {name}", label) for label, values in table.columns.items()
    ]
    if not table.loop:
        pairs = zip(table.columns, texts, strict=True)
        return "".join([*head, *(f"_{label} {values[0]}\n" for label, values in pairs)])
    head.append("loop_\n")
    head += [f"_{label} #{number}\n" for number, label in enumerate(table.columns, 1)]
    rows = "\n".join(map(" ".join, zip(*texts, strict=True)))
    return "".join([*head, rows, "\n"])


def _tokens(
    values: Shaped[np.ndarray, " rows"], path: str | Path, table: str, label: str
) -> list[str]:
    texts = values.tolist()
    together = "\n".join(texts)
    if not _UNUSUAL.search(together) and together.count("\n") == len(texts) - 1:
        return texts
    for row, text in enumerate(texts):
        token = cif.quote(text) if _NEEDS_QUOTES.search(text) else text
        if not token.isascii() or not token.isprintable():
            raise InputError(
                path,
                f"{table}, row {row + 1}, column {label}",
                f"{quote(text)} cannot stand in a STAR file",
                "use ASCII characters on one line, and one kind of quotes",
            )
        texts[row] = token
    return texts
