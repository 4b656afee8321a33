"""Sound files of another kind than a job needs, named as what they are."""

from pathlib import Path

from cryojax_graph.io.describe import FileKind, file_kind
from cryojax_graph.io.errors import InputError

_NAMES: dict[FileKind, str] = {
    "map": "a map",
    "stack": "a stack of images",
    "particles": "a table of particles",
    "model": "an atomic model",
    "sequences": "sequences",
    "arrays": "an archive of arrays",
}


def refuse_other_kind(path: str | Path, *wanted: FileKind, remedy: str) -> None:
    """Refuse a sound file of another kind; of a damaged one its reader tells what is wrong.

    Args:
        path: of the file.
        wanted: kinds that will do.
        remedy: what to name instead.

    Raises:
        InputError: the file is of another kind.
    """
    try:
        kind = file_kind(path)
    except InputError:
        return
    if kind not in wanted:
        names = " or ".join(_NAMES[one] for one in wanted)
        raise InputError(path, "its contents", f"{_NAMES[kind]}, not {names}", remedy)
