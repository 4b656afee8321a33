"""cryoSPARC's alignments to several classes at once: those of the most probable class."""

import re
from pathlib import Path

import numpy as np
from jaxtyping import Shaped

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.particle_table import Columns

ONE = "alignments3D/"
"""What names of columns begin with that hold one alignment of each particle."""
_MULTI = "alignments3D_multi/"
_POSTERIOR = "class_posterior"
_CLASS_NUMBER = re.compile(r"alignments_class_([0-9]{1,4})/(.+)")
_NAMES = ("pose", "shift", "psize_A", "split", "class", _POSTERIOR)


def best_class_alignments(columns: Columns, *, file: str | Path) -> Columns:
    """Columns ``alignments3D/…`` of a table that has them once for each class.

    Version 4.5 and later write ``alignments3D_multi/…`` with one entry for each class along the
    second axis, earlier ones columns ``alignments_class_0/…``, ``alignments_class_1/…``.

    Args:
        columns: typed columns.
        file: file of the table, for messages.

    Returns:
        the alignments of each particle to its most probable class; nothing where the table has
        ``alignments3D/pose`` itself, or no classes.

    Raises:
        InputError: the columns of the classes do not fit together.
    """
    if ONE + "pose" in columns:
        return {}
    per_class = _stacked(columns, file) or _multi(columns)
    if "pose" not in per_class:
        return {}
    poses = per_class["pose"]
    posterior = per_class.get(_POSTERIOR)
    if posterior is None:
        if poses.shape[1] > 1:
            cause = f"poses to {poses.shape[1]} classes and no {_POSTERIOR} to choose by"
            raise InputError(file, "table", cause, "export the particles of one class")
        posterior = np.ones(poses.shape[:2], np.float32)
    per_class = {
        **per_class,
        _POSTERIOR: posterior,
        "class": per_class.get("class", _numbers(posterior)),
    }
    if poses.ndim != 3 or any(v.shape[:2] != poses.shape[:2] for v in per_class.values()):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in per_class.items())
        cause = f"its columns of several classes differ in shape: {shapes}"
        raise InputError(file, "table", cause, "export the particles from cryoSPARC again")
    best = np.argmax(np.nan_to_num(posterior, nan=-np.inf), axis=1)
    rows = np.arange(len(best))
    return {ONE + name: values[rows, best] for name, values in per_class.items()}


def has_class_alignments(columns: Columns) -> bool:
    """Whether a table has alignments to several classes, and none besides.

    Args:
        columns: typed columns.

    Returns:
        true where its poses are those of classes.
    """
    of_classes = (_CLASS_NUMBER.fullmatch(name) for name in columns)
    to_classes = _MULTI + "pose" in columns or any(m and m[2] == "pose" for m in of_classes)
    return to_classes and ONE + "pose" not in columns


def _numbers(posterior: Shaped[np.ndarray, "n k"]) -> Shaped[np.ndarray, "n k"]:
    return np.broadcast_to(np.arange(posterior.shape[1], dtype=np.uint32), posterior.shape)


def _multi(columns: Columns) -> Columns:
    found = {n: columns[_MULTI + n] for n in _NAMES if _MULTI + n in columns}
    classes = found["pose"].shape[1] if "pose" in found and found["pose"].ndim == 3 else 1
    # The pixel size and the half are the same for all classes.
    return {
        name: np.repeat(values[:, None], classes, axis=1) if values.ndim == 1 else values
        for name, values in found.items()
    }


def _stacked(columns: Columns, file: str | Path) -> Columns:
    """Columns of single classes, put side by side."""
    classes: dict[int, Columns] = {}
    for name, values in columns.items():
        if (match := _CLASS_NUMBER.fullmatch(name)) and match[2] in _NAMES:
            classes.setdefault(int(match[1]), {})[match[2]] = values
    if not classes:
        return {}
    shared = set.intersection(*(set(one) for one in classes.values()))
    try:
        return {
            name: np.stack([classes[number][name] for number in sorted(classes)], axis=1)
            for name in _NAMES
            if name in shared
        }
    except ValueError:
        cause = "the columns of its classes differ in shape"
        raise InputError(file, "table", cause, "export the particles again") from None
