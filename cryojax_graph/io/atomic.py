"""Write a file whole or not at all: temporary name, sync, rename."""

import contextlib
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedIOBase
from pathlib import Path

from cryojax_graph.io.errors import InputError


@contextmanager
def atomic_file(path: str | Path) -> Iterator[BufferedIOBase]:
    """A file that takes its name only when the block ends without an exception.

    An existing file of that name is replaced in one step; whoever has it open keeps the old one.

    Args:
        path: final name; its folder must exist.

    Yields:
        the file under its temporary name, open for reading and writing.

    Raises:
        InputError: the disk refuses (full, read-only, no such folder).
    """
    final = Path(path)
    temporary = final.with_name(f".{final.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        try:
            with open(temporary, "x+b") as handle:
                yield handle
                handle.flush()
                os.fsync(handle.fileno())
            os.replace(temporary, final)
            _sync_folder(final.parent)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        cause = error.strerror or str(error)
        raise InputError(
            path, "writing it", cause, "check the folder, its permissions and the free space"
        ) from None


def write_atomically(path: str | Path, contents: bytes) -> None:
    """Write a file whole or not at all.

    Args:
        path: final name; its folder must exist.
        contents: all of it.

    Raises:
        InputError: the disk refuses.
    """
    with atomic_file(path) as handle:
        handle.write(contents)


def _sync_folder(folder: Path) -> None:
    # Without this the rename itself may be lost when the machine dies. Some network file systems
    # cannot sync a folder; the file is complete there all the same.
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
