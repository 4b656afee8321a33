"""Tilt pairs: which tilted image belongs to which untilted one, and from where each is seen."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.geometry import conical_tilt_angles
from cryojax_graph.io.describe_particles import ctf_state
from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.particles import with_columns
from cryojax_graph.jobs.particles import (
    ParticleSet,
    read_particle_set,
    refuse_second_inversion,
)
from cryojax_graph.jobs.passthrough import read_with_passthrough
from cryojax_graph.jobs.reconstruct.config import ReconstructConfig
from cryojax_graph.jobs.reconstruct.source import number_column, row_weights

ANGLE, AXIS = "rlnMicrographTiltAngle", "rlnMicrographTiltAxisDirection"
_MICROGRAPHS = ("rlnMicrographName", "location/micrograph_path")
# Untilted images are seen along z; tilts below and above these are none, or cannot be.
_UPRIGHT, _LEAST, _MOST = 1.0, 1.0, 89.0


class TiltPairs(NamedTuple):
    """Tilted images in the poses that their untilted partners tell.

    Attributes:
        particles: tilted images; the table states poses, classes and, if they were given, halves.
        number: of the class of each, as the table of untilted images has it.
        tilt: by which the support was tilted for each, degrees, not negative.
        weight: of each.
        unpaired: untilted images without a partner.
    """

    particles: ParticleSet
    number: Int[np.ndarray, " n"]
    tilt: Float[np.ndarray, " n"]
    weight: Float[np.ndarray, " n"]
    unpaired: int


def read_pairs(config: ReconstructConfig) -> TiltPairs:
    """Read both tables and join them.

    Args:
        config: of the verb.

    Returns:
        the pairs.

    Raises:
        InputError: the tables do not match, or angles are missing.
    """
    assert config.tilt_pairs is not None
    particles = read_particle_set(
        config.particles, image_root=config.image_root, fewest=2, treated=True
    )
    refuse_second_inversion(particles, config.contrast)
    tilted = particles.table
    ctf_state(tilted)
    untilted = read_with_passthrough(config.tilt_pairs, "poses")
    partner = _partners(tilted, untilted, config.pairs.by)
    tilt = _tilt(tilted, config.tilt_angle)
    axis = _angle(tilted, config.tilt_axis, AXIS)
    if axis is None:
        cause = f"neither it nor a column {AXIS} states where the axis of the tilt lies"
        raise InputError(tilted.source, "--tilt-axis", cause, "give it in degrees from +y to +x")
    before = _angle(untilted, config.pairs.untilted_axis, AXIS)
    before = axis if before is None else before[partner]
    euler = conical_tilt_angles(_in_plane(untilted)[partner], tilt, axis, before)
    classes, shift = untilted.class_number, tilted.shift_angstrom
    number = np.ones(len(tilted), np.int64) if classes is None else classes[partner]
    changes = {
        "euler_degrees": euler,
        "shift_angstrom": np.zeros((len(tilted), 2)) if shift is None else shift,
        "class_number": number,
    }
    if tilted.half_set is None and untilted.half_set is not None:
        changes["half_set"] = untilted.half_set[partner]
    posed = particles._replace(table=with_columns(tilted, changes))
    weight = row_weights(tilted, config.weights)
    unpaired = len(untilted) - len(np.unique(partner))
    return TiltPairs(posed, number, np.abs(tilt), weight, unpaired)


def _partners(
    tilted: ParticleTable, untilted: ParticleTable, column: str | None
) -> Int[np.ndarray, " n"]:
    """Row of the untilted image of each tilted one."""
    if column is not None:
        return _partners_by_name(tilted, untilted, column)
    if len(tilted) != len(untilted):
        cause = f"it has {len(untilted):,} rows, and {tilted.source} {len(tilted):,}"
        remedy = "give a row for each pair in both, in one order, or --pairs.by a common column"
        raise InputError(untilted.source, "table", cause, remedy)
    _check_micrographs(tilted, untilted)
    return np.arange(len(tilted))


def _partners_by_name(
    tilted: ParticleTable, untilted: ParticleTable, column: str
) -> Int[np.ndarray, " n"]:
    rows: list[dict[str, int]] = []
    for table in (untilted, tilted):
        if column not in table.columns:
            cause = f"there is no column {column}"
            remedy = "name a column that both tables have, or leave it if they are in one order"
            raise InputError(table.source, "--pairs.by", cause, remedy)
        names = _text(table.columns[column])
        found = {name: row for row, name in enumerate(names)}
        if len(found) < len(names):
            row = next(row for row, name in enumerate(names) if found[name] != row)
            place = row_place(row, table=table.table_name, column=column)
            cause = f"{quote(names[row])} occurs again in row {found[names[row]] + 1}"
            raise InputError(table.source, place, cause, "each pair needs a name of its own")
        rows.append(found)
    for name, row in rows[1].items():
        if name not in rows[0]:
            place = row_place(row, table=tilted.table_name, column=column)
            cause = f"no image of {untilted.source} has {quote(name)}"
            raise InputError(tilted.source, place, cause, "leave the row out, or add its partner")
    return np.array([rows[0][name] for name in rows[1]])


def _check_micrographs(tilted: ParticleTable, untilted: ParticleTable) -> None:
    """Rows in one order keep the images of one micrograph together: others have slipped."""
    before, after = _micrographs(untilted), _micrographs(tilted)
    if before is None or after is None:
        return
    for keys, values in ((before, after), (after, before)):
        seen: dict[str, tuple[str, int]] = {}
        for row, (key, value) in enumerate(zip(keys, values, strict=True)):
            other, first = seen.setdefault(key, (value, row))
            if other != value:
                cause = (
                    f"micrograph {quote(key)} is paired with {quote(value)} here and with "
                    f"{quote(other)} in row {first + 1}"
                )
                remedy = f"bring it into the order of {untilted.source}, or --pairs.by a column"
                place = row_place(row, table=tilted.table_name)
                raise InputError(tilted.source, place, cause, remedy)


def _micrographs(table: ParticleTable) -> list[str] | None:
    return next((_text(table.columns[c]) for c in _MICROGRAPHS if c in table.columns), None)


def _text(values: np.ndarray) -> list[str]:
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


def _angle(table: ParticleTable, option: float | None, column: str) -> np.ndarray | None:
    if option is not None:
        return np.full(len(table), float(option))
    if column not in table.columns:
        return None
    return number_column(table, column, option=column)


def _tilt(table: ParticleTable, option: float | None) -> Float[np.ndarray, " n"]:
    tilt = _angle(table, option, ANGLE)
    if tilt is None:
        cause = f"neither it nor a column {ANGLE} states how far the support was tilted"
        raise InputError(table.source, "--tilt-angle", cause, "give it in degrees")
    wrong = (np.abs(tilt) < _LEAST) | (np.abs(tilt) > _MOST)
    if wrong.any():
        row = int(np.argmax(wrong))
        place = "--tilt-angle"
        if option is None:
            place = row_place(row, table=table.table_name, column=ANGLE)
        cause = f"a tilt of {tilt[row]:g}° leaves no tilt pair"
        remedy = f"give {_LEAST:g}° to {_MOST:g}°, of either sign; are the tables exchanged?"
        raise InputError(table.source, place, cause, remedy)
    return tilt


def _in_plane(table: ParticleTable) -> Float[np.ndarray, " n"]:
    assert table.euler_degrees is not None
    rot, tilt, psi = table.euler_degrees.T
    wrong = np.abs(tilt) > _UPRIGHT
    if wrong.any():
        row = int(np.argmax(wrong))
        place = row_place(row, table=table.table_name, column="rlnAngleTilt")
        cause = f"the untilted image is seen at a tilt of {tilt[row]:g}°"
        remedy = "give the table of a 2D classification; are the tables exchanged?"
        raise InputError(table.source, place, cause, remedy)
    return rot + psi
