"""cryoSPARC's columns in canonical fields, and back."""

from collections.abc import Mapping
from hashlib import blake2b
from pathlib import Path

import numpy as np
from jaxtyping import Shaped, UInt64

from cryojax_graph.io.cif_text import TEXT
from cryojax_graph.io.cryosparc_classes import best_class_alignments
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.particle_table import Columns
from cryojax_graph.io.poses import euler_from_pose_vectors, pose_vectors_from_euler

PATH = "blob/path"
INDEX = "blob/idx"
_SHAPE = "blob/shape"
_POSE, _SHIFT = "alignments3D/pose", "alignments3D/shift"
_SHIFT_PIXEL, _SPLIT = "alignments3D/psize_A", "alignments3D/split"
_SIMPLE = {
    "defocus_u": "ctf/df1_A",
    "defocus_v": "ctf/df2_A",
    "b_factor": "ctf/bfactor",
    "voltage_kv": "ctf/accel_kv",
    "spherical_aberration_mm": "ctf/cs_mm",
    "amplitude_contrast": "ctf/amp_contrast",
    "pixel_size": "blob/psize_A",
}
_RADIANS = {
    "defocus_angle_degrees": "ctf/df_angle_rad",
    "phase_shift_degrees": "ctf/phase_shift_rad",
}
_ALIGNED = {"euler_degrees", "shift_angstrom", "half_set", "class_number"}
_GROUP = "ctf/exp_group_id"
_CLASS, _CLASS_2D = "alignments3D/class", "alignments2D/class"
_UID, SIGN = "uid", "blob/sign"
_RANGES = {"voltage_kv": (1e-3, 1e5), "pixel_size": (1e-6, 1e6), "amplitude_contrast": (-1.0, 1.0)}
_CHECK = "export the particles from cryoSPARC again, or leave the row out"


def decode_cryosparc(
    columns: Columns, *, file: str | Path
) -> dict[str, Shaped[np.ndarray, "n ..."]]:
    """Canonical arrays of cryoSPARC columns.

    cryoSPARC counts groups, classes and halves from 0, the arrays from 1. Pose vectors become
    RELION's Euler angles, shifts in pixels of ``alignments3D/psize_A`` become Å, radians become
    degrees. Of poses to several classes, those to the most probable one are taken. Half-sets are
    stated only where both halves occur: cryoSPARC fills ``split`` with one value before it ever
    splits.

    Args:
        columns: typed columns.
        file: file of the table, for messages.

    Returns:
        arrays by field of ``ParticleTable``; what the table does not state is left out.

    Raises:
        InputError: a column has a wrong type or shape, or holds a value that is not finite.
    """
    columns = {**best_class_alignments(columns, file=file), **columns}
    for name in (PATH, INDEX):
        if name not in columns:
            cause = f"it has no column {name}, so it is no table of particle images"
            remedy = "name the job's file of particles, or put its passthrough file beside it"
            raise InputError(file, "table", cause, remedy)
    fields: dict[str, Shaped[np.ndarray, "n ..."]] = {
        "image_path": _paths(columns[PATH], file),
        "image_index": _whole(columns, INDEX, (), file),
    }
    for field, name in (_SIMPLE | _RADIANS).items():
        if name in columns:
            values = _real(columns, name, (), file)
            fields[field] = np.rad2deg(values) if field in _RADIANS else values
    for field, (low, high) in _RANGES.items():
        if field in fields:
            outside = (fields[field] < low) | (fields[field] > high)
            _refuse_rows(outside, columns[_SIMPLE[field]], _SIMPLE[field], file)
    if "defocus_u" in fields:
        for field in ("phase_shift_degrees", "b_factor"):
            fields.setdefault(field, np.zeros(len(fields["image_index"])))
    if _SHAPE in columns:
        shape = _whole(columns, _SHAPE, (2,), file)
        _refuse_rows((shape[:, 0] != shape[:, 1]) | (shape[:, 0] < 1), shape, _SHAPE, file)
        fields["box"] = shape[:, 0]
    if _GROUP in columns:
        fields["optics_group"] = _whole(columns, _GROUP, (), file) + 1
    for name in (_CLASS_2D, _CLASS):
        if name in columns:
            fields["class_number"] = _whole(columns, name, (), file) + 1
    if _POSE in columns:
        fields["euler_degrees"] = euler_from_pose_vectors(_real(columns, _POSE, (3,), file))
    pixel = _SHIFT_PIXEL if _SHIFT_PIXEL in columns else _SIMPLE["pixel_size"]
    if _SHIFT in columns and pixel in columns:
        size = _real(columns, pixel, (), file)
        low, high = _RANGES["pixel_size"]
        _refuse_rows((size < low) | (size > high), size, pixel, file)
        fields["shift_angstrom"] = _real(columns, _SHIFT, (2,), file) * size[:, None]
    if _SPLIT in columns:
        half = _whole(columns, _SPLIT, (), file)
        _refuse_rows(half > 1, half, _SPLIT, file)
        if len(np.unique(half)) == 2:
            fields["half_set"] = half + 1
    return fields


def _paths(values: Shaped[np.ndarray, "rows ..."], file: str | Path) -> Shaped[np.ndarray, " n"]:
    if values.dtype.kind not in "SU" or values.ndim != 1:
        raise InputError(file, f"column {PATH}", "it does not hold text", _CHECK)
    if values.dtype.kind == "U":
        return _paths(np.strings.encode(values, "utf-8"), file)
    # A leading > marks a path that cryoSPARC resolves inside the project.
    names = [raw.decode("utf-8").removeprefix(">") for raw in values.tolist()]
    return np.array(names, TEXT)


def _real(
    columns: Columns, name: str, inner: tuple[int, ...], file: str | Path
) -> Shaped[np.ndarray, "n ..."]:
    values = columns[name]
    if values.dtype.kind not in "fiu" or values.shape[1:] != inner:
        cause = f"type {values.dtype} of shape {values.shape[1:]} is not {inner or 'one'} number"
        raise InputError(file, f"column {name}", cause, _CHECK)
    _refuse_rows(~np.isfinite(values), values, name, file)
    # Far beyond any microscope, and far enough from where a float32 product overflows.
    converted = values.astype(np.float64)
    _refuse_rows(np.abs(converted) > 1e12, values, name, file)
    return converted


def _whole(
    columns: Columns, name: str, inner: tuple[int, ...], file: str | Path
) -> Shaped[np.ndarray, "n ..."]:
    values = columns[name]
    if values.dtype.kind not in "iu" or values.shape[1:] != inner:
        cause = f"type {values.dtype} of shape {values.shape[1:]} is not whole numbers"
        raise InputError(file, f"column {name}", cause, _CHECK)
    _refuse_rows((values < 0) | (values > 2**53), values, name, file)
    return values.astype(np.int64)


def _refuse_rows(
    bad: Shaped[np.ndarray, "n ..."],
    values: Shaped[np.ndarray, "n ..."],
    name: str,
    file: str | Path,
) -> None:
    if bad.any():
        row = int(bad.reshape(len(bad), -1).any(axis=1).argmax())
        cause = f"{quote(values[row])} cannot be used"
        raise InputError(file, row_place(row, table="", column=name), cause, _CHECK)


def encode_cryosparc(
    columns: Columns, changes: Mapping[str, Shaped[np.ndarray, "n ..."]]
) -> Columns:
    """Put canonical arrays into cryoSPARC columns, leaving every other column as it is.

    Args:
        columns: typed columns.
        changes: new arrays by field of ``ParticleTable``.

    Returns:
        new columns, float32 where cryoSPARC has float32.

    Raises:
        ValueError: shifts are given and nowhere a pixel size.
    """
    columns = dict(columns)
    if changes.keys() & _ALIGNED:
        # Poses to several classes are not looked at any more once there are others.
        columns = columns | best_class_alignments(columns, file="table") | columns
    if "image_path" in changes:
        names = [text.encode("utf-8") for text in changes["image_path"].tolist()]
        columns[PATH] = np.array(names, f"S{max(map(len, names))}")
        columns[INDEX] = changes["image_index"].astype(np.uint32)
    for field, name in (_SIMPLE | _RADIANS).items():
        if field in changes:
            values = changes[field]
            values = np.deg2rad(values) if field in _RADIANS else values
            columns[name] = values.astype(np.float32)
    if "box" in changes:
        columns[_SHAPE] = np.stack([changes["box"]] * 2, axis=1).astype(np.uint32)
    if "optics_group" in changes:
        columns[_GROUP] = (changes["optics_group"] - 1).astype(np.uint32)
    if "euler_degrees" in changes:
        vectors = pose_vectors_from_euler(changes["euler_degrees"])
        columns[_POSE] = vectors.astype(np.float32)
    if "half_set" in changes:
        columns[_SPLIT] = (changes["half_set"] - 1).astype(np.uint32)
    if "shift_angstrom" in changes:
        pixel = columns.get(_SHIFT_PIXEL, columns.get(_SIMPLE["pixel_size"]))
        if pixel is None:
            raise ValueError("shifts need a pixel size: cryoSPARC stores them in pixels")
        columns[_SHIFT] = (changes["shift_angstrom"] / pixel[:, None]).astype(np.float32)
        columns[_SHIFT_PIXEL] = pixel
    # RELION's class 0, of particles that were never classified, has no counterpart.
    if "class_number" in changes and _POSE in columns and changes["class_number"].min() >= 1:
        columns[_CLASS] = (changes["class_number"] - 1).astype(np.uint32)
    return columns


def columns_from_fields(fields: Mapping[str, Shaped[np.ndarray, "n ..."]]) -> Columns:
    """cryoSPARC's columns that state some canonical arrays, with identifiers and contrast.

    Args:
        fields: arrays by field of ``ParticleTable``.

    Returns:
        typed columns; the sign says light on dark, as RELION's particles are.
    """
    columns: Columns = {_UID: make_uids(fields["image_path"], fields["image_index"])}
    columns = encode_cryosparc(columns, fields)
    return {**columns, SIGN: np.ones(len(columns[_UID]), np.float32)}


def recreated_columns(
    columns: Columns, fields: Mapping[str, Shaped[np.ndarray, "n ..."]]
) -> set[str]:
    """Columns that canonical arrays say again, so that they need not be kept beside them.

    Args:
        columns: typed columns.
        fields: canonical arrays of the same table.

    Returns:
        names of columns whose values would be the same when encoded anew, to float32 rounding.
    """
    anew = columns_from_fields(fields)
    return {name for name in anew.keys() & columns.keys() if _same(anew[name], columns[name])}


def _same(first: Shaped[np.ndarray, "n ..."], second: Shaped[np.ndarray, "n ..."]) -> bool:
    if first.dtype.kind == "f" and second.dtype.kind == "f":
        return first.shape == second.shape and np.allclose(first, second, rtol=3e-7, atol=1e-6)
    return first.dtype.kind == second.dtype.kind and np.array_equal(first, second)


def make_uids(
    paths: Shaped[np.ndarray, " n"], indices: Shaped[np.ndarray, " n"]
) -> UInt64[np.ndarray, " n"]:
    """Particle identifiers for tables that have none: the same image gets the same one every time.

    Args:
        paths: names of the stacks.
        indices: numbers of the images.

    Returns:
        64-bit identifiers, all different even where an image occurs twice.
    """
    seen: dict[str, int] = {}
    uids = np.empty(len(paths), np.uint64)
    for row, (path, index) in enumerate(zip(paths.tolist(), indices.tolist(), strict=True)):
        name = f"{index}@{path}"
        repeat = seen[name] = seen.get(name, -1) + 1
        digest = blake2b(f"{repeat}@{name}".encode(), digest_size=8).digest()
        uids[row] = int.from_bytes(digest, "little")
    return uids
