"""RELION's columns and optics groups in canonical fields, and back."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from jaxtyping import Float64, Int64, Shaped

from cryojax_graph.io.cif_text import TEXT
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.particle_table import Columns
from cryojax_graph.io.star import StarTable, integers, numbers

IMAGE_NAME = "rlnImageName"
OPTICS_GROUP = "rlnOpticsGroup"
_DETECTOR, _MAGNIFICATION = "rlnDetectorPixelSize", "rlnMagnification"
# RELION refuses a stack whose name ends in .mrc unless this tells it what the file is.
_AS_STACK = ":mrcs"
_CHECK = "correct the value, or leave the row out"
_ANGLES = ("rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi")
_ORIGINS = ("rlnOriginXAngst", "rlnOriginYAngst")
_ORIGINS_PIXELS = ("rlnOriginX", "rlnOriginY")
_SIMPLE = {
    "defocus_u": "rlnDefocusU",
    "defocus_v": "rlnDefocusV",
    "defocus_angle_degrees": "rlnDefocusAngle",
    "phase_shift_degrees": "rlnPhaseShift",
    "b_factor": "rlnCtfBfactor",
    "voltage_kv": "rlnVoltage",
    "spherical_aberration_mm": "rlnSphericalAberration",
    "amplitude_contrast": "rlnAmplitudeContrast",
    "pixel_size": "rlnImagePixelSize",
    "box": "rlnImageSize",
    "half_set": "rlnRandomSubset",
    "class_number": "rlnClassNumber",
    "optics_group": OPTICS_GROUP,
}
STATED = frozenset(
    {IMAGE_NAME, _DETECTOR, _MAGNIFICATION, *_ANGLES, *_ORIGINS, *_ORIGINS_PIXELS}
    | set(_SIMPLE.values())
)
"""Labels of what canonical arrays say."""
OPTICS_FIELDS = (
    "voltage_kv",
    "spherical_aberration_mm",
    "amplitude_contrast",
    "pixel_size",
    "box",
)
# A value outside makes the CTF or the geometry undefined or overflow, not merely unusual.
_ANY = (-1e12, 1e12)
_RANGES = {
    "defocus_u": _ANY,
    "defocus_v": _ANY,
    "defocus_angle_degrees": _ANY,
    "phase_shift_degrees": _ANY,
    "b_factor": _ANY,
    "spherical_aberration_mm": _ANY,
    "voltage_kv": (1e-3, 1e5),
    "amplitude_contrast": (-1.0, 1.0),
    "pixel_size": (1e-6, 1e6),
    "box": (1.0, 2.0**24),
    "half_set": (1.0, 2.0),
}


def decode_relion(
    columns: Columns, optics: StarTable | None, *, file: str | Path, name: str
) -> dict[str, Shaped[np.ndarray, "n ..."]]:
    """Canonical arrays of RELION columns; a column of the particles overrides its optics group.

    Pixel sizes come from ``rlnImagePixelSize`` or, before RELION 3.1, from detector pixel and
    magnification. Origins in pixels are scaled by it. Origins, phase shift and B-factor are 0 where
    a table with poses or CTF has no column for them, as in RELION.

    Args:
        columns: text columns of the particles.
        optics: table of optics groups.
        file: file of the table, for messages.
        name: name of the particles' table, for messages.

    Returns:
        arrays by field of ``ParticleTable``; what the table does not state is left out.

    Raises:
        InputError: a value is no number or outside its range, or an optics group is missing.
    """
    paths, indices = _image_names(columns[IMAGE_NAME], file, name)
    fields: dict[str, Shaped[np.ndarray, "n ..."]] = {"image_path": paths, "image_index": indices}
    groups = _group_rows(columns, optics, file, name)

    def column(label: str, *, whole: bool = False) -> Shaped[np.ndarray, " n"] | None:
        convert = integers if whole else numbers
        if label in columns:
            return convert(columns, label, file=file, name=name)
        if optics is not None and groups is not None and label in optics.columns:
            return convert(optics.columns, label, file=file, name="optics")[groups]
        return None

    for field, label in _SIMPLE.items():
        whole = field in ("box", "half_set", "class_number", "optics_group")
        if (values := column(label, whole=whole)) is not None:
            fields[field] = values
    detector, magnification = column(_DETECTOR), column(_MAGNIFICATION)
    if "pixel_size" not in fields and detector is not None and magnification is not None:
        _check_range(magnification, 1e-3, 1e9, _MAGNIFICATION, file, name)
        fields["pixel_size"] = 1e4 * detector / magnification
    for field, (low, high) in _RANGES.items():
        if field in fields:
            _check_range(fields[field], low, high, _SIMPLE[field], file, name)
    _fill_defaults(fields, len(paths))
    if all(label in columns for label in _ANGLES):
        fields["euler_degrees"] = _stacked(columns, _ANGLES, file, name)
    shift = _shifts(columns, fields, file, name)
    if shift is not None:
        fields["shift_angstrom"] = shift
    return fields


def _image_names(
    values: Shaped[np.ndarray, " n"], file: str | Path, name: str
) -> tuple[Shaped[np.ndarray, " n"], Int64[np.ndarray, " n"]]:
    paths, indices = [], []
    for row, text in enumerate(values.tolist()):
        number, at, path = text.partition("@")
        # A name without a number is a file of one image.
        number, path = (number, path) if at else ("1", text)
        path = path.removesuffix(_AS_STACK)
        usable = number.isdecimal() and number.isascii() and len(number) <= 12 and path
        if not usable or int(number) < 1:
            place = row_place(row, table=name, column=IMAGE_NAME)
            cause = f"{quote(text)} is not of the form number@stack, numbers from 1"
            raise InputError(file, place, cause, _CHECK)
        paths.append(path)
        indices.append(int(number) - 1)
    return np.array(paths, TEXT), np.array(indices, np.int64)


def _group_rows(
    columns: Columns, optics: StarTable | None, file: str | Path, name: str
) -> Int64[np.ndarray, " n"] | None:
    """Row of the optics table for every particle."""
    if optics is None:
        return None
    known = integers(optics.columns, OPTICS_GROUP, file=file, name="optics")
    row_of = {int(group): row for row, group in enumerate(known)}
    if len(row_of) != len(known):
        cause = f"a number of {OPTICS_GROUP} occurs twice"
        raise InputError(file, "table optics", cause, "give each optics group its own number")
    groups = integers(columns, OPTICS_GROUP, file=file, name=name)
    rows = np.array([row_of.get(group, -1) for group in groups.tolist()], np.int64)
    if (rows < 0).any():
        row = int(rows.argmin())
        place = row_place(row, table=name, column=OPTICS_GROUP)
        cause = f"optics group {groups[row]} is not in the table optics"
        raise InputError(file, place, cause, "add the group, or correct the number")
    return rows


def _check_range(
    values: Shaped[np.ndarray, " n"],
    low: float,
    high: float,
    label: str,
    file: str | Path,
    name: str,
) -> None:
    outside = (values < low) | (values > high)
    if outside.any():
        row = int(outside.argmax())
        place = row_place(row, table=name, column=label)
        cause = f"{values[row]:g} is not between {low:g} and {high:g}"
        raise InputError(file, place, cause, "correct it in the particles or their optics group")


def _fill_defaults(fields: dict[str, Shaped[np.ndarray, "n ..."]], count: int) -> None:
    if "defocus_u" in fields:
        for field in ("phase_shift_degrees", "b_factor"):
            fields.setdefault(field, np.zeros(count))
    fields.setdefault("optics_group", np.ones(count, np.int64))


def _shifts(
    columns: Columns,
    fields: Mapping[str, Shaped[np.ndarray, "n ..."]],
    file: str | Path,
    name: str,
) -> Float64[np.ndarray, "n 2"] | None:
    for labels in (_ORIGINS, _ORIGINS_PIXELS):
        if not any(label in columns for label in labels):
            continue
        shift = _stacked(columns, labels, file, name)
        if labels is _ORIGINS:
            return shift
        return shift * fields["pixel_size"][:, None] if "pixel_size" in fields else None
    return np.zeros((len(fields["image_index"]), 2)) if "euler_degrees" in fields else None


def _stacked(
    columns: Columns, labels: tuple[str, ...], file: str | Path, name: str
) -> Float64[np.ndarray, "n k"]:
    values = [numbers(columns, label, file=file, name=name) for label in labels]
    for label, column in zip(labels, values, strict=True):
        _check_range(column, *_ANY, label, file, name)
    return np.stack(values, axis=1)


def encode_relion(
    columns: Columns,
    optics: StarTable | None,
    changes: Mapping[str, Shaped[np.ndarray, "n ..."]],
    *,
    pixel_size: Float64[np.ndarray, " n"] | None,
) -> tuple[Columns, StarTable | None]:
    """Put canonical arrays into RELION columns, leaving every other column as it is.

    Args:
        columns: text columns of the particles.
        optics: table of optics groups.
        changes: new arrays by field of ``ParticleTable``.
        pixel_size: Å, for tables whose origins are in pixels.

    Returns:
        new columns and optics table.

    Raises:
        ValueError: a value that belongs to an optics group differs inside one.
    """
    columns = dict(columns)
    if "image_path" in changes:
        pairs = zip(changes["image_index"].tolist(), changes["image_path"].tolist(), strict=True)
        columns[IMAGE_NAME] = np.array([f"{i + 1:06d}@{stack_name(p)}" for i, p in pairs], TEXT)
    if "euler_degrees" in changes:
        for label, values in zip(_ANGLES, changes["euler_degrees"].T, strict=True):
            columns[label] = as_text(values)
    if "shift_angstrom" in changes:
        in_pixels = _ORIGINS_PIXELS[0] in columns and _ORIGINS[0] not in columns
        labels = _ORIGINS_PIXELS if in_pixels else _ORIGINS
        scale = pixel_size if in_pixels and pixel_size is not None else 1.0
        for label, values in zip(labels, changes["shift_angstrom"].T, strict=True):
            columns[label] = as_text(values / scale)
    for field in (name for name in _SIMPLE if name in changes):
        label, values = _SIMPLE[field], changes[field]
        if field == "pixel_size" and label not in columns and _MAGNIFICATION in columns:
            magnification = columns[_MAGNIFICATION].astype(np.float64)
            columns[_DETECTOR] = as_text(values * magnification / 1e4)
        elif optics is not None and field in OPTICS_FIELDS and label not in columns:
            optics = _set_optics(optics, columns, label, values)
        else:
            columns[label] = as_text(values)
    return columns, optics


def stack_name(path: str) -> str:
    """Name of a stack in a STAR file: RELION takes ``.mrc`` for a map unless told otherwise.

    Args:
        path: of the stack.

    Returns:
        the path, with ``:mrcs`` behind ``.mrc``, RELION's own mark for the format of a file.
    """
    return path + _AS_STACK if path.endswith(".mrc") else path


def plain_names(names: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """Image names without the mark for stacks that end in ``.mrc``.

    Args:
        names: of a column ``rlnImageName``.

    Returns:
        the names; RELION does not read those that were marked.
    """
    return np.array([name.removesuffix(_AS_STACK) for name in names.tolist()], TEXT)


def _set_optics(
    optics: StarTable, columns: Columns, label: str, values: Shaped[np.ndarray, " n"]
) -> StarTable:
    known = optics.columns[OPTICS_GROUP].astype(np.float64)
    groups = columns[OPTICS_GROUP].astype(np.float64)
    new = optics.columns.get(label, np.array(["0"] * len(known), TEXT)).copy()
    for row, group in enumerate(known):
        inside = np.unique(values[groups == group])
        if len(inside) > 1:
            raise ValueError(f"{label} takes {len(inside)} values inside optics group {group:g}")
        if len(inside):
            new[row] = as_text(inside)[0]
    return StarTable({**optics.columns, label: new}, optics.loop)


def tables_from_fields(
    fields: Mapping[str, Shaped[np.ndarray, "n ..."]],
) -> tuple[Columns, StarTable]:
    """RELION 3.1 tables that state some canonical arrays.

    Args:
        fields: arrays by field of ``ParticleTable``.

    Returns:
        columns of the particles and optics table; particles share an optics group when their group
        number and all values of the optics table are equal. Numbers are kept where they can be.
    """
    count = len(fields["image_index"])
    given = fields.get("optics_group", np.ones(count, np.int64))
    present = [name for name in OPTICS_FIELDS if name in fields]
    keys = np.stack([given, *(fields[name] for name in present)], axis=1).astype(np.float64)
    _, first, group = np.unique(keys, axis=0, return_index=True, return_inverse=True)
    # RELION counts groups from 1; a number that stands for two kinds of optics is no name for them.
    kept = len(np.unique(given)) == len(first) and given.min() >= 1
    numbers_text = as_text(given[first] if kept else np.arange(1, len(first) + 1))
    optics = {
        OPTICS_GROUP: numbers_text,
        "rlnOpticsGroupName": np.array([f"opticsGroup{n}" for n in numbers_text.tolist()], TEXT),
        **{_SIMPLE[name]: as_text(fields[name][first]) for name in present},
        "rlnImageDimensionality": np.array(["2"] * len(first), TEXT),
    }
    rest = {k: v for k, v in fields.items() if k not in (*present, "optics_group")}
    columns, _ = encode_relion({}, None, rest, pixel_size=None)
    columns[OPTICS_GROUP] = numbers_text[group.reshape(-1)]
    return columns, StarTable(optics)


def as_text(values: Shaped[np.ndarray, " n"]) -> Shaped[np.ndarray, " n"]:
    """Text of a column as it is written: floats to nine digits, always told from whole numbers.

    Args:
        values: numbers or text; numbers that came out of a float32 are written as short as it is.

    Returns:
        text.
    """
    if values.dtype.kind == "f":
        return np.array([*map(_with_point, _float_texts(values))], TEXT)
    if values.dtype.kind == "S":
        return np.array([value.decode("utf-8") for value in values.tolist()], TEXT)
    if values.dtype.kind == "b":
        values = values.astype(np.int64)
    return np.array([str(value) for value in values.tolist()], TEXT)


def _float_texts(values: Shaped[np.ndarray, " n"]) -> list[str]:
    with np.errstate(over="ignore"):
        single = values.astype(np.float32)
    if (single == values).all():
        return single.astype("U32").tolist()
    return [format(value, ".9g") for value in values.tolist()]


def _with_point(text: str) -> str:
    return f"{text}.0" if text.lstrip("-").isdigit() else text
