"""Names found inside tables, resolved to files inside folders that the user allowed."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from cryojax_graph.io.errors import InputError, quote
from cryojax_graph.io.unpack import file_size

_PROJECT_MARKS = ("default_pipeline.star", "project.json")


@dataclass(frozen=True)
class AllowedRoots:
    """Folders in which the names of one table may end.

    Args:
        table: the table that holds the names.
        folders: absolute folders, in the order in which they are searched.
        image_root: the folder among them that the user named, if any.
    """

    table: Path
    folders: tuple[Path, ...]
    image_root: Path | None = None


def allowed_roots(table: str | Path, image_root: str | Path | None = None) -> AllowedRoots:
    """The folder that the user named, the project's folder, and the table's own folder.

    The project is the nearest folder above the table that RELION or cryoSPARC marked as one.

    Args:
        table: the table that holds the names.
        image_root: folder named by the user.

    Returns:
        the folders, in this order.

    Raises:
        InputError: ``image_root`` is not a folder.
    """
    table = Path(table)
    own = Path(os.path.realpath(table)).parent
    folders = [own]
    marked = (f for f in (own, *own.parents) if any((f / m).is_file() for m in _PROJECT_MARKS))
    folders[:0] = [f for f in [next(marked, own)] if f != own]
    if image_root is None:
        return AllowedRoots(table, tuple(folders))
    root = Path(os.path.realpath(image_root))
    if not root.is_dir():
        raise InputError(image_root, "image root", "it is not a folder", "name a folder")
    return AllowedRoots(table, tuple(dict.fromkeys([root, *folders])), root)


def resolve(name: str, roots: AllowedRoots, *, place: str) -> Path:
    """The file that a name inside a table means.

    The name is looked up under every allowed folder. Where the user named an image root, the
    leading folders of the name may also be missing there: ``Extract/job012/a.mrcs`` is then found
    as ``job012/a.mrcs`` or ``a.mrcs``, the longest match first. Leading ``..`` are dropped there.

    Args:
        name: the name as it stands in the table.
        roots: folders in which it may end, links followed.
        place: row and column, for messages.

    Returns:
        absolute path of an existing regular file, links followed.

    Raises:
        InputError: the name is a URL, leads out of the allowed folders, or names no regular file.
    """
    _refuse_unusable(name, roots.table, place)
    tried = [root / name for root in roots.folders]
    if roots.image_root is not None:
        parts = _without_climb(name)
        tried += [roots.image_root.joinpath(*parts[start:]) for start in range(len(parts))]
    rest = "/".join(_without_climb(name))
    held = quote(rest, longest=1000) if rest and ".." in PurePosixPath(name).parts else "it"
    remedy = f"name the folder that holds {held} as the image root"
    outside = None
    for candidate in tried:
        real = Path(os.path.realpath(candidate))
        inside = any(real.is_relative_to(root) for root in roots.folders)
        if inside and real.exists():
            file_size(real)
            return real
        outside = outside or (None if inside else real)
    if outside is not None:
        raise InputError(
            roots.table,
            place,
            f"{quote(name)} leads outside the allowed folders",
            remedy,
        )
    searched = ", ".join(map(str, roots.folders))
    raise InputError(
        roots.table,
        place,
        f"no file {quote(name)} under {searched}",
        remedy,
    )


def resolve_all(names: Iterable[tuple[str, str]], roots: AllowedRoots) -> dict[str, Path]:
    """Resolve every different name of a table, refusing two names that end in one file.

    Args:
        names: pairs of name and place.
        roots: folders in which they may end.

    Returns:
        file of each name.

    Raises:
        InputError: as :func:`resolve`, or two names mean one file.
    """
    files: dict[str, Path] = {}
    owner: dict[Path, str] = {}
    for name, place in names:
        file = resolve(name, roots, place=place)
        files[name] = file
        other = owner.setdefault(file, name)
        if os.path.normpath(other) != os.path.normpath(name):
            raise InputError(
                roots.table,
                place,
                f"{quote(name)} and {quote(other)} both mean {file}",
                "name an image root in which the folders of the table are kept",
            )
    return files


def _without_climb(name: str) -> list[str]:
    parts = PurePosixPath(os.path.normpath(name)).parts
    return [part for part in parts if part != ".." and not part.startswith("/")]


def _refuse_unusable(name: str, table: Path, place: str) -> None:
    if not name.strip() or not name.isprintable():
        raise InputError(table, place, f"{quote(name)} is not a file name", "correct the table")
    if "://" in name or name.startswith("file:"):
        raise InputError(
            table,
            place,
            f"{quote(name)} is a network address",
            "download the file and name it by its path",
        )
    if max(map(len, PurePosixPath(name).parts)) > 255 or len(name) > 4000:
        raise InputError(table, place, f"{quote(name)} is too long", "correct the table")
