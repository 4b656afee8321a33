"""The array format of NumPy, read without its pickle door: header checked before the values."""

import ast
import re
from dataclasses import dataclass
from io import BufferedIOBase
from pathlib import Path
from typing import Any

import numpy as np

from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.limits import Limits

MAGIC = b"\x93NUMPY"
# cryoSPARC 4 and later also write a compressed stream of columns under this mark.
CSDAT = b"\x94CSDAT"
_DEEPEST = 8
_REPAIR = "get an undamaged copy of the file"


@dataclass(frozen=True)
class ArrayHeader:
    """Description of one stored array.

    Args:
        dtype: its type, without objects.
        shape: its shape.
        column_major: stored with the first index fastest.
    """

    dtype: np.dtype
    shape: tuple[int, ...]
    column_major: bool

    @property
    def values_bytes(self) -> int:
        """Bytes of the values."""
        count = 1
        for extent in self.shape:
            count *= extent
        return count * self.dtype.itemsize


def read_array_header(
    stream: BufferedIOBase, available: int, *, file: str | Path, place: str, limits: Limits
) -> tuple[ArrayHeader, int]:
    """Read the description of one array, up to its values.

    Args:
        stream: unpacked bytes, at the start of the array.
        available: bytes that the stream holds.
        file: name of the file, for messages.
        place: where in it, for messages.
        limits: caps on header and columns.

    Returns:
        the description, and how many bytes of values follow it.

    Raises:
        InputError: it is damaged, cut, or needs pickle.
    """
    start = stream.read(8)
    if start[:6] == CSDAT:
        cause = "it is a compressed cryoSPARC stream (CSDAT), not a table"
        remedy = "export it with cryosparc-tools: Dataset.load(...).save(..., format=1)"
        raise InputError(file, place, cause, remedy)
    if start[:6] != MAGIC or len(start) < 8:
        raise InputError(file, place, "it is not a NumPy array", _REPAIR)
    width = {1: 2, 2: 4, 3: 4}.get(start[6])
    if width is None or start[7] != 0:
        raise InputError(file, place, f"array format {start[6]}.{start[7]} is unknown", _REPAIR)
    length = int.from_bytes(stream.read(width), "little")
    if length > min(limits.header_bytes, available):
        cause = f"a header of {length:,} bytes in a file of {available:,}"
        raise InputError(file, f"{place}, header", cause, _REPAIR)
    header = parse_array_header(stream.read(length), file=file, place=place, limits=limits)
    left = available - 8 - width - length
    if header.values_bytes != left:
        raise InputError(
            file,
            place,
            f"shape {header.shape} of {header.dtype.itemsize}-byte items needs "
            f"{header.values_bytes:,} bytes, there are {left:,}",
            _REPAIR,
        )
    return header, left


def read_array(
    stream: BufferedIOBase, available: int, *, file: str | Path, place: str, limits: Limits
) -> np.ndarray:
    """Read one array of numbers, text or records of these.

    Args:
        stream: unpacked bytes, at the start of the array.
        available: bytes that the stream holds.
        file: name of the file, for messages.
        place: where in it, for messages.
        limits: caps on header, columns and values.

    Returns:
        the array, writable.

    Raises:
        InputError: it is damaged, cut, too large, or needs pickle.
    """
    header, left = read_array_header(stream, available, file=file, place=place, limits=limits)
    if left > limits.array_bytes:
        cause = f"{left:,} bytes of values, more than {limits.array_bytes:,}"
        raise InputError(file, place, cause, "raise Limits.array_bytes if that is meant")
    raw = bytearray(stream.read(left))
    if len(raw) != left:
        raise InputError(file, place, "its values end too early", _REPAIR)
    flat = np.frombuffer(raw, header.dtype) if left else np.empty(0, header.dtype)
    _check_text(flat, file, place)
    try:
        return flat.reshape(header.shape, order="F" if header.column_major else "C")
    except ValueError:
        cause = f"shape {quote(header.shape)} is impossible"
        raise InputError(file, f"{place}, header", cause, _REPAIR) from None


def _check_text(values: np.ndarray, file: str | Path, place: str) -> None:
    """Refuse text that is none: code points beyond Unicode, bytes that are not UTF-8."""
    for name in values.dtype.names or ():
        _check_text(values[name], file, f"{place}, column {name}")
    if values.dtype.kind == "U":
        codes = np.ascontiguousarray(values).view(values.dtype.byteorder + "u4")
        bad = bool(((codes > 0x10FFFF) | ((codes >= 0xD800) & (codes < 0xE000))).any())
    elif values.dtype.kind == "S" and (np.ascontiguousarray(values).view(np.uint8) > 127).any():
        bad = not all(map(_is_utf8, np.unique(values).tolist()))
    else:
        return
    if bad:
        raise InputError(file, place, "it holds text that cannot be decoded", _REPAIR)


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def parse_array_header(raw: bytes, *, file: str | Path, place: str, limits: Limits) -> ArrayHeader:
    """Read the description of an array without evaluating it as a program.

    Args:
        raw: the description.
        file: name of the file, for messages.
        place: where in it, for messages.
        limits: cap on the number of columns.

    Returns:
        the header.

    Raises:
        InputError: it is damaged, or describes objects, too many columns or nonsense.
    """
    place = f"{place}, header"
    fields = _literal(raw, file, place)
    if not isinstance(fields, dict) or set(fields) != {"descr", "fortran_order", "shape"}:
        raise InputError(file, place, "it does not describe an array", _REPAIR)
    shape, column_major = fields["shape"], fields["fortran_order"]
    if not isinstance(column_major, bool) or not isinstance(shape, tuple):
        raise InputError(file, place, "it does not describe an array", _REPAIR)
    if not all(type(extent) is int and 0 <= extent < 2**48 for extent in shape) or len(shape) > 8:
        raise InputError(file, place, f"shape {quote(shape)} is impossible", _REPAIR)
    return ArrayHeader(_dtype(fields["descr"], file, place, limits), shape, column_major)


def _literal(raw: bytes, file: str | Path, place: str) -> Any:
    # Bounded before it is parsed: deep nesting and chains of operators exhaust a parser's stack.
    outside_strings = re.sub(rb"'[^'\n]*'|\"[^\"\n]*\"", b"", raw)
    depth = deepest = 0
    for byte in outside_strings:
        depth += (byte in b"([{") - (byte in b")]}")
        deepest = max(deepest, depth)
    if deepest > _DEEPEST or re.search(rb"[^\sA-Za-z0-9_,:()\[\]{}]", outside_strings):
        raise InputError(file, place, "it does not describe an array", _REPAIR)
    try:
        return ast.literal_eval(raw.decode("utf-8").strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise InputError(file, place, "it does not describe an array", _REPAIR) from None


def _dtype(descr: Any, file: str | Path, place: str, limits: Limits) -> np.dtype:
    if isinstance(descr, str):
        return _plain_dtype(descr, file, place)
    if not isinstance(descr, list) or not descr:
        raise InputError(file, place, f"type {quote(descr)} is unknown", _REPAIR)
    if len(descr) > limits.columns:
        cause = f"{len(descr)} columns, more than {limits.columns}"
        raise InputError(file, place, cause, "raise Limits.columns if that is meant")
    names: list[str] = []
    kinds: list[np.dtype] = []
    offsets: list[int] = []
    end = 0
    for column in descr:
        if gap := _gap(column):
            end += gap
            continue
        if not isinstance(column, tuple) or len(column) not in (2, 3):
            raise InputError(file, place, f"column {quote(column)} is unknown", _REPAIR)
        name, kind, *shape = column
        extents = shape[0] if shape else ()
        usable = isinstance(extents, tuple) and all(
            type(n) is int and 0 < n <= 2**20 for n in extents
        )
        if not isinstance(name, str) or not isinstance(kind, str) or not usable or not name:
            raise InputError(file, place, f"column {quote(column)} is unknown", _REPAIR)
        plain = _plain_dtype(kind, file, f"{place}, column {name}")
        try:
            kinds.append(np.dtype((plain, extents)))
        except (ValueError, TypeError, OverflowError):
            raise InputError(file, place, f"column {quote(column)} is too wide", _REPAIR) from None
        names.append(name)
        offsets.append(end)
        end += kinds[-1].itemsize
    if not names:
        raise InputError(file, place, "it describes no column", _REPAIR)
    try:
        return np.dtype({"names": names, "formats": kinds, "offsets": offsets, "itemsize": end})
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(file, place, f"columns make no record ({error})", _REPAIR) from None


def _gap(column: Any) -> int:
    """Bytes between columns, which numpy leaves where columns of a record were dropped; else 0."""
    name, kind = column if isinstance(column, tuple) and len(column) == 2 else (None, None)
    found = re.fullmatch(r"\|V([1-9][0-9]{0,6})", kind) if isinstance(kind, str) else None
    return int(found[1]) if found and name == "" else 0


def _plain_dtype(kind: str, file: str | Path, place: str) -> np.dtype:
    if "O" in kind:
        raise InputError(
            file,
            place,
            "it holds Python objects, which can run a program when read",
            "write it again with plain numbers and fixed-width text",
        )
    # The kinds that numpy itself writes for numbers and text; its older aliases warn.
    if not re.fullmatch(r"[<>|=]?(b1|[iu][1248]|f[248]|[SU][1-9][0-9]{0,8})", kind):
        remedy = "write it again with plain numbers and fixed-width text"
        raise InputError(file, place, f"type {quote(kind)} is not plain numbers or text", remedy)
    try:
        return np.dtype(kind)
    except (TypeError, ValueError):
        raise InputError(file, place, f"type {quote(kind)} is too wide", _REPAIR) from None
