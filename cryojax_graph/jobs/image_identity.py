"""What the images of a particle table are told by."""

import os
import re
from collections.abc import Callable, Hashable, Mapping, Sequence

import numpy as np

from cryojax_graph.io.particle_table import ParticleTable

_UID = "uid"
# cryoSPARC puts an identifier of 21 digits before the names of files that it imports.
_IMPORTED = re.compile(r"^\d{21}_")


def image_names(table: ParticleTable) -> list[str]:
    """Names of the images of a table, as RELION writes them.

    Args:
        table: particles.

    Returns:
        for instance ``000001@stack.mrcs``, one for each row.
    """
    pairs = zip(table.image_index.tolist(), table.image_path.tolist(), strict=True)
    return [f"{index + 1:06d}@{path}" for index, path in pairs]


def identifiers(table: ParticleTable) -> Sequence[Hashable]:
    """cryoSPARC's identifiers, of its own table or carried along in a STAR file.

    Args:
        table: particles.

    Returns:
        one for each row; nothing where the table has none.
    """
    if table.kind == "cs":
        values = table.columns.get(_UID)
        return values.tolist() if values is not None and values.dtype.kind == "u" else ()
    texts = table.columns[f"cs/{_UID}"].tolist() if f"cs/{_UID}" in table.columns else ()
    return [int(text) for text in texts] if all(map(str.isdecimal, texts)) else ()


def _full_names(table: ParticleTable) -> Sequence[Hashable]:
    return _keys(table, os.path.normpath)


def _file_names(table: ParticleTable) -> Sequence[Hashable]:
    def bare(path: str) -> str:
        return _IMPORTED.sub("", os.path.basename(path))

    stacks = {os.path.normpath(path) for path in table.image_path.tolist()}
    # Two stacks of one name in different folders: without these the name says nothing.
    return _keys(table, bare) if len({bare(path) for path in stacks}) == len(stacks) else ()


def _keys(table: ParticleTable, name_of: Callable[[str], str]) -> list[Hashable]:
    paths, stack = np.unique(table.image_path, return_inverse=True)
    names = [name_of(path) for path in paths.tolist()]
    pairs = zip(stack.ravel().tolist(), table.image_index.tolist(), strict=True)
    return [(names[number], index) for number, index in pairs]


IDENTITIES: Mapping[str, Callable[[ParticleTable], Sequence[Hashable]]] = {
    "cryoSPARC's identifiers": identifiers,
    "image names": _full_names,
    "image names without their folders": _file_names,
}
"""Ways to tell images, the surest first, each with a function that gives a key for every row."""
