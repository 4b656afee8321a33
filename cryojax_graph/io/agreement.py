"""Values of a table put in place of its own, where they differ by more than float32 can tell.

What another program has not touched keeps the text, digits and type that its first program gave it.
"""

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Bool, Shaped

from cryojax_graph.io.cryosparc import decode_cryosparc, encode_cryosparc
from cryojax_graph.io.particle_table import Columns, ParticleTable, canonical_fields
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.io.relion import (
    OPTICS_FIELDS,
    OPTICS_GROUP,
    decode_relion,
    encode_relion,
    tables_from_fields,
)
from cryojax_graph.io.star import StarTable

_Fields = Mapping[str, Shaped[np.ndarray, "n ..."]]
# A float32 is off by 6e-8 of itself, an angle of 360 degrees stored in radians by 2e-5 degrees.
_RELATIVE = 2e-7
_ABSOLUTE = {
    "shift_angstrom": 1e-5,
    "defocus_angle_degrees": 5e-5,
    "phase_shift_degrees": 5e-5,
}
_ROTATION = 2e-6
_NEW = {"box": "rlnImageSize", "optics_group": OPTICS_GROUP}
_TOGETHER = {"image_path": ("image_path", "image_index"), "image_index": ()}


def agreeing_rows(
    field: str, first: Shaped[np.ndarray, "n ..."], second: Shaped[np.ndarray, "n ..."]
) -> Bool[np.ndarray, " n"]:
    """Rows in which two arrays of a field mean the same, to the rounding of float32.

    Args:
        field: field of ``ParticleTable``.
        first: its values.
        second: other values of it.

    Returns:
        True where they agree; Euler angles agree when their rotations do.
    """
    if field == "euler_degrees":
        difference = rotation_from_euler(first) - rotation_from_euler(second)
        return np.abs(difference).max(axis=(1, 2)) <= _ROTATION
    if first.dtype.kind != "f":
        return np.asarray(first == second, bool)
    close = np.isclose(first, second, rtol=_RELATIVE, atol=_ABSOLUTE.get(field, 0.0))
    return np.asarray(close.reshape(len(close), -1).all(axis=1))


def restate(table: ParticleTable, fields: _Fields) -> ParticleTable:
    """A table that says some values, and keeps its own columns in every row where it did already.

    Args:
        table: particles, in columns of either program.
        fields: arrays by field of ``ParticleTable``.

    Returns:
        the table, itself where nothing differs.

    Raises:
        InputError: a new value cannot be read back.
    """
    differing = _differing_rows(table, fields)
    if not differing:
        return table
    columns, optics = dict(table.columns), table.optics
    if optics is not None and _split_groups(table, differing, fields):
        columns, optics = _regrouped(columns, optics, {**canonical_fields(table), **fields})
        differing = {
            k: v for k, v in differing.items() if k not in (*OPTICS_FIELDS, "optics_group")
        }
    for name, rows in differing.items():
        changes = {part: fields[part] for part in _TOGETHER.get(name, (name,))}
        if table.kind == "cs":
            changed = encode_cryosparc(columns, changes)
        else:
            changed, optics = encode_relion(
                columns, optics, changes, pixel_size=fields.get("pixel_size", table.pixel_size)
            )
        columns = {label: _kept(columns.get(label), v, rows) for label, v in changed.items()}
    if table.kind == "cs":
        decoded = decode_cryosparc(columns, file=table.source)
    else:
        decoded = decode_relion(columns, optics, file=table.source, name=table.table_name)
    return replace(table, columns=columns, optics=optics, **decoded)  # pyright: ignore[reportArgumentType]


def _differing_rows(table: ParticleTable, fields: _Fields) -> dict[str, Bool[np.ndarray, " n"]]:
    """Fields that differ somewhere, each with the rows in which it agrees."""
    own = canonical_fields(table)
    # RELION before 3.1 had neither groups nor the box.
    old_relion = table.kind == "star" and table.optics is None
    homeless = {name for name, label in _NEW.items() if old_relion and label not in table.columns}
    same = {
        name: agreeing_rows(name, own[name], values) if name in own else np.zeros(len(values), bool)
        for name, values in fields.items()
        if name not in homeless
    }
    if "image_path" in same:
        same["image_path"] = same["image_path"] & same["image_index"]
    differing = {name: rows for name, rows in same.items() if not rows.all()}
    if "pixel_size" in differing and "shift_angstrom" in fields and _shifts_are_in_pixels(table):
        none = np.zeros(len(table), bool)
        return {"pixel_size": differing["pixel_size"], **differing, "shift_angstrom": none}
    return differing


def _kept(
    old: Shaped[np.ndarray, "n ..."] | None,
    new: Shaped[np.ndarray, "n ..."],
    rows: Bool[np.ndarray, " n"],
) -> Shaped[np.ndarray, "n ..."]:
    if old is None or old is new or not rows.any():
        return new
    mixed = new.astype(np.result_type(old, new)) if new.dtype.kind in "SU" else new.copy()
    mixed[rows] = old[rows]
    return mixed


def _shifts_are_in_pixels(table: ParticleTable) -> bool:
    """Whether the columns of shifts mean something else once the pixel size is another."""
    own_scale = "alignments3D/psize_A" if table.kind == "cs" else "rlnOriginXAngst"
    return own_scale not in table.columns


def _split_groups(
    table: ParticleTable, differing: Mapping[str, Bool[np.ndarray, " n"]], fields: _Fields
) -> bool:
    """Whether the new values do not fit the optics groups that the table has."""
    groups = table.optics_group
    if "optics_group" in differing or groups is None:
        return True
    _, first, group = np.unique(groups, return_index=True, return_inverse=True)
    changed = (fields[name] for name in OPTICS_FIELDS if name in differing)
    return any((values != values[first][group]).any() for values in changed)


def _regrouped(columns: Columns, optics: StarTable, fields: _Fields) -> tuple[Columns, StarTable]:
    """Optics groups made anew; what else the old ones say goes with their particles."""
    known = optics.columns[OPTICS_GROUP].astype(np.float64).tolist()
    old = np.array([known.index(g) for g in columns[OPTICS_GROUP].astype(np.float64).tolist()])
    made, new = tables_from_fields(fields)
    first = np.unique(made[OPTICS_GROUP].astype(np.int64), return_index=True)[1]
    others = {label: values[old[first]] for label, values in optics.columns.items()}
    kept = {label: v for label, v in columns.items() if label not in new.columns}
    return {**kept, OPTICS_GROUP: made[OPTICS_GROUP]}, StarTable({**others, **new.columns})
