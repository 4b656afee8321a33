"""NumPy's archives of arrays: declared sizes checked before anything is unpacked, no pickle."""

import zipfile
import zlib
from collections.abc import Iterable, Mapping
from io import BufferedIOBase
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np

from cryojax_graph.io.atomic import atomic_file
from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.npy import read_array
from cryojax_graph.io.unpack import check_unpacked, open_plain

_REPAIR = "get an undamaged copy of the file"
_ARCHIVE = b"PK"
_DAMAGE = (
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    NotImplementedError,
    RuntimeError,
    ValueError,
    OverflowError,
)


def read_npz(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> dict[str, np.ndarray]:
    """Read all arrays of an ``.npz`` file.

    Args:
        path: archive of arrays of numbers or text.
        limits: caps on number, unpacked size and ratio of the arrays.

    Returns:
        arrays by name.

    Raises:
        InputError: the archive is damaged, too large, or needs pickle.
    """
    with open_plain(path) as handle:
        if handle.read(2) != _ARCHIVE:
            raise InputError(path, "its contents", "it is no .npz archive", "name the right file")
        handle.seek(0)
        try:
            with zipfile.ZipFile(handle) as archive:
                return _read_members(archive, path, limits)
        except _DAMAGE as error:
            cause = f"it is not an undamaged .npz archive ({quote(error)})"
            raise InputError(path, "its contents", cause, _REPAIR) from None


def _read_members(
    archive: zipfile.ZipFile, path: str | Path, limits: Limits
) -> dict[str, np.ndarray]:
    members = archive.infolist()
    if len(members) > limits.columns:
        cause = f"{len(members)} arrays, more than {limits.columns}"
        raise InputError(path, "its directory", cause, "raise Limits.columns if that is meant")
    for member in members:
        place = f"array {quote(member.filename)}"
        if not member.filename.endswith(".npy"):
            raise InputError(path, place, "it is not an array", "remove it from the archive")
        if member.file_size > limits.array_bytes + limits.header_bytes:
            cause = f"it unpacks to {member.file_size:,} bytes"
            raise InputError(path, place, cause, "raise Limits.array_bytes if that is meant")
        check_unpacked(
            member.file_size, member.compress_size, file=path, place=place, limits=limits
        )
    arrays: dict[str, np.ndarray] = {}
    for member in members:
        name = member.filename.removesuffix(".npy")
        place = f"array {quote(name)}"
        if name in arrays:
            raise InputError(path, place, "it occurs twice", _REPAIR)
        with archive.open(member) as stream:
            arrays[name] = read_array(
                cast(BufferedIOBase, stream),
                member.file_size,
                file=path,
                place=place,
                limits=limits,
            )
            # Reading past the end makes the archive compare the checksum.
            stream.read(1)
    return arrays


class Parts(NamedTuple):
    """An array that is never whole in memory.

    Attributes:
        shape: of the whole.
        dtype: of its numbers.
        parts: stretches along the first axis, one after the other.
    """

    shape: tuple[int, ...]
    dtype: np.dtype
    parts: Iterable[np.ndarray]


def write_npz(
    path: str | Path, arrays: Mapping[str, np.ndarray | Parts], *, compress: bool = True
) -> None:
    """Write arrays to an ``.npz`` file, whole or not at all.

    Args:
        path: archive to write.
        arrays: arrays of numbers or text by name.
        compress: pack each array.

    Raises:
        InputError: the disk refuses.
        ValueError: parts do not add up to the shape stated.
    """
    with atomic_file(path) as handle, zipfile.ZipFile(handle, "w") as archive:
        for name, array in arrays.items():
            # A member made without a date: equal arrays give equal files.
            member = zipfile.ZipInfo(f"{name}.npy")
            member.compress_type = zipfile.ZIP_DEFLATED if compress else zipfile.ZIP_STORED
            with archive.open(member, "w", force_zip64=True) as stream:
                if isinstance(array, Parts):
                    _write_parts(cast(BufferedIOBase, stream), array)
                else:
                    np.lib.format.write_array(stream, np.asanyarray(array), allow_pickle=False)


def _write_parts(stream: BufferedIOBase, array: Parts) -> None:
    descr = np.lib.format.dtype_to_descr(np.dtype(array.dtype))
    header = {"descr": descr, "fortran_order": False, "shape": array.shape}
    np.lib.format.write_array_header_1_0(stream, header)
    written = 0
    for part in array.parts:
        stream.write(np.ascontiguousarray(part, array.dtype).tobytes())
        written += len(part)
    if written != array.shape[0]:
        raise ValueError(f"{written} rows were written of {array.shape[0]}")
