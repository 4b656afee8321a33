"""Open what a user named: a regular file, plain, gzip or bzip2, never unpacked beyond a cap."""

import bz2
import gzip
import os
import stat
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits

_CHUNK = 1 << 20
_REPAIR = "get an undamaged copy of the file"
_OTHER_FILE = "name the right file"
# Files of other kinds that users name by mistake: what they are, and the mark at a place in them.
_BINARY = (
    ("a .npz or .zip archive", 0, b"PK\x03\x04"),
    ("an array of numpy or a .cs table", 0, b"\x93NUMPY"),
    ("an MRC map or stack", 208, b"MAP "),
)


def file_size(path: str | Path) -> int:
    """Size of a regular file.

    Args:
        path: file that the user named.

    Returns:
        bytes on disk.

    Raises:
        InputError: the file is missing, unreadable, or a folder, device, pipe or socket.
    """
    place = "opening it"
    try:
        status = os.stat(path)
    except FileNotFoundError:
        raise InputError(path, place, "there is no such file", "check the name") from None
    except (OSError, ValueError) as error:
        cause = getattr(error, "strerror", None) or str(error)
        raise InputError(path, place, cause, "check the name and its permissions") from None
    if not stat.S_ISREG(status.st_mode):
        kind = "a folder" if stat.S_ISDIR(status.st_mode) else "a device, pipe or socket"
        raise InputError(path, place, f"it is {kind}", "name a regular file")
    return status.st_size


@contextmanager
def open_plain(path: str | Path) -> Iterator[BufferedIOBase]:
    """Open a regular file for reading, failures of the disk told as input errors.

    Args:
        path: file that the user named.

    Yields:
        the open file.

    Raises:
        InputError: it cannot be opened or read.
    """
    file_size(path)
    try:
        with open(path, "rb") as handle:
            yield handle
    except OSError as error:
        cause = error.strerror or str(error)
        raise InputError(path, "reading it", cause, "check permissions and the disk") from None


def packing(path: str | Path) -> str | None:
    """How a file is packed, told by its first bytes and not by its name.

    Args:
        path: file that the user named.

    Returns:
        ``"gzip"``, ``"bzip2"`` or None.

    Raises:
        InputError: it cannot be opened or read.
    """
    with open_plain(path) as handle:
        start = handle.read(4)
    if start[:2] == b"\x1f\x8b":
        return "gzip"
    return "bzip2" if start[:3] == b"BZh" and start[3:4].isdigit() else None


@contextmanager
def open_unpacked(path: str | Path) -> Iterator[BufferedIOBase]:
    """Open a file and unpack it on the way, without limit: the caller reads in pieces and stops.

    Args:
        path: plain, gzip or bzip2 file.

    Yields:
        a stream of the unpacked bytes.

    Raises:
        InputError: it cannot be opened, or its packed data is damaged or cut.
    """
    kind = packing(path)
    with open_plain(path) as handle:
        if kind is None:
            yield handle
            return
        try:
            unpacker = gzip.GzipFile(fileobj=handle) if kind == "gzip" else bz2.BZ2File(handle)
            with unpacker as stream:
                yield stream
        except EOFError:
            raise InputError(path, f"{kind} data", "it ends too early", _REPAIR) from None
        except (zlib.error, gzip.BadGzipFile) as error:
            raise InputError(path, f"{kind} data", f"it is damaged ({error})", _REPAIR) from None
        except OSError as error:
            if error.errno is not None:
                raise
            raise InputError(path, f"{kind} data", f"it is damaged ({error})", _REPAIR) from None


def read_bytes(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> bytes:
    """Whole contents of a text-like file, unpacked under the caps of ``limits``.

    Args:
        path: plain, gzip or bzip2 file.
        limits: caps on the unpacked size and on its ratio to the packed one.

    Returns:
        the unpacked bytes.

    Raises:
        InputError: it cannot be read, is damaged, or exceeds a cap.
    """
    packed = file_size(path)
    contents = bytearray()
    with open_unpacked(path) as stream:
        while chunk := stream.read(_CHUNK):
            contents += chunk
            check_unpacked(len(contents), packed, file=path, place="its size", limits=limits)
            if len(contents) > limits.text_bytes:
                raise InputError(
                    path,
                    "its size",
                    f"it holds more than {limits.text_bytes:,} bytes",
                    "raise Limits.text_bytes if that is meant",
                )
    return bytes(contents)


def check_unpacked(
    unpacked: int, packed: int, *, file: str | Path, place: str, limits: Limits
) -> None:
    """Refuse packed data that grows out of proportion.

    Args:
        unpacked: bytes that came out so far, or are declared to come out.
        packed: bytes that they occupy on disk.
        file: file that the user named.
        place: where in it.
        limits: the ratio allowed, and the amount free of it.

    Raises:
        InputError: the ratio is exceeded.
    """
    if unpacked > limits.unpack_free_bytes and unpacked > limits.unpack_ratio * packed:
        raise InputError(
            file,
            place,
            f"it unpacks to more than {limits.unpack_ratio} times its {packed:,} bytes",
            "unpack it by hand if you trust it, or raise Limits.unpack_ratio",
        )


def read_text(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> str:
    """Whole contents of a text file in UTF-8, without the byte order mark that some editors put.

    Args:
        path: plain, gzip or bzip2 file.
        limits: caps on the unpacked size.

    Returns:
        the text.

    Raises:
        InputError: it cannot be read, exceeds a cap, is empty, or is not text.
    """
    raw = read_bytes(path, limits=limits)
    if not raw.strip():
        raise InputError(path, "its contents", "it is empty", _REPAIR)
    place = "its encoding"
    if raw[:2] in (b"\xff\xfe", b"\xfe\xff"):
        raise InputError(path, place, "it is UTF-16 text", "save it as plain text (UTF-8)")
    if b"\0" in raw:
        for kind, start, mark in _BINARY:
            if raw[start : start + len(mark)] == mark:
                raise InputError(path, "its contents", f"it is {kind}, not text", _OTHER_FILE)
        line = raw.count(b"\n", 0, raw.index(b"\0")) + 1
        raise InputError(path, f"line {line}", "it is not text: a zero byte", _REPAIR)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        remedy = "save it as plain text (UTF-8)"
        raise InputError(path, f"line {line}", "it is not UTF-8 text", remedy) from None
