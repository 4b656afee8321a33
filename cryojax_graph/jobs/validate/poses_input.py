"""Estimated and true poses, brought together image by image."""

from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Float64, Int64

from cryojax_graph.io.describe import file_kind
from cryojax_graph.io.errors import InputError, row_place
from cryojax_graph.io.npz import read_npz
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.io.star import numbers
from cryojax_graph.jobs.kinds import refuse_other_kind
from cryojax_graph.jobs.passthrough import read_with_passthrough
from cryojax_graph.jobs.validate.image_matching import (
    MatchedRows,
    image_names,
    match_images,
    match_rows,
)

DEVIATION = "cryojaxgraphRotationDeviation"
_TRUTH = "name a STAR or .cs table of the same images, or the truth.npz of their simulation"


class PosePairs(NamedTuple):
    """Estimated and true pose of every image that is compared.

    Attributes:
        rows: of the particle table, from 0.
        names: of the images.
        rotations: estimated, object to image coordinates.
        true_rotations: the true ones.
        shifts: estimated origins (x, y), Å.
        true_shifts: the true ones, Å.
        pixel_size: Å; None where neither file tells.
        deviation_degrees: stated root mean square rotation error; None where none is stated.
    """

    rows: Int64[np.ndarray, " images"]
    names: list[str]
    rotations: Float64[np.ndarray, "images 3 3"]
    true_rotations: Float64[np.ndarray, "images 3 3"]
    shifts: Float64[np.ndarray, "images 2"]
    true_shifts: Float64[np.ndarray, "images 2"]
    pixel_size: Float64[np.ndarray, " images"] | None
    deviation_degrees: Float64[np.ndarray, " images"] | None


class Comparison(NamedTuple):
    """What is compared with what.

    Attributes:
        pairs: poses of the images in both files.
        matched: their rows in both.
        particles: rows of the particle table.
        truths: rows of the truth.
    """

    pairs: PosePairs
    matched: MatchedRows
    particles: int
    truths: int


class _Poses(NamedTuple):
    """Poses of one file; the table where it has names for its images."""

    euler_degrees: Float64[np.ndarray, "n 3"]
    shift_angstrom: Float64[np.ndarray, "n 2"]
    pixel_size: Float64[np.ndarray, " n"] | None
    table: ParticleTable | None = None


def read_poses(path: str | Path, truth_path: str | Path) -> Comparison:
    """Estimated and true poses of the images that both files hold.

    Args:
        path: particle table with the estimated poses.
        truth_path: particle table, or ``truth.npz`` of a simulation.

    Returns:
        the poses, image by image.

    Raises:
        InputError: a file is of another kind or states no poses, or nothing tells which images are
            the same.
    """
    particles, truth = _of_table(path), _read_truth(truth_path)
    table, count = particles.table, len(truth.euler_degrees)
    assert table is not None
    matched = None if truth.table is None else match_images(table, truth.table)
    if matched is None:
        matched = match_rows(table, truth.table, truth_path=truth_path, count=count)
    rows, true_rows = matched.rows, matched.true_rows
    names, deviation = image_names(table), _deviation(table)
    sizes, true_sizes = particles.pixel_size, truth.pixel_size
    of_truth = None if true_sizes is None else true_sizes[true_rows]
    pairs = PosePairs(
        rows=rows,
        names=[names[row] for row in rows.tolist()],
        rotations=rotation_from_euler(particles.euler_degrees[rows]),
        true_rotations=rotation_from_euler(truth.euler_degrees[true_rows]),
        shifts=particles.shift_angstrom[rows],
        true_shifts=truth.shift_angstrom[true_rows],
        pixel_size=of_truth if sizes is None else sizes[rows],
        deviation_degrees=None if deviation is None else deviation[rows],
    )
    return Comparison(pairs, matched, len(table), count)


def _of_table(path: str | Path) -> _Poses:
    table = read_with_passthrough(path, "poses")
    euler, shift = table.euler_degrees, table.shift_angstrom
    assert euler is not None
    assert shift is not None
    return _Poses(euler, shift, table.pixel_size, table)


def _read_truth(path: str | Path) -> _Poses:
    refuse_other_kind(path, "particles", "arrays", remedy=_TRUTH)
    if file_kind(path) == "particles":
        return _of_table(path)
    arrays = read_npz(path)
    missing = {"euler_degrees", "shift_angstrom"} - arrays.keys()
    if missing:
        cause = f"it has no array {', '.join(sorted(missing))}"
        raise InputError(path, "its arrays", cause, _TRUTH)
    count = len(arrays["euler_degrees"]) if arrays["euler_degrees"].ndim else 0
    shapes = {"euler_degrees": (count, 3), "shift_angstrom": (count, 2), "pixel_size": (count,)}
    values = {
        name: _numbers_of(arrays[name], shape, name, path)
        for name, shape in shapes.items()
        if name in arrays
    }
    return _Poses(values["euler_degrees"], values["shift_angstrom"], values.get("pixel_size"))


def _numbers_of(
    values: np.ndarray, shape: tuple[int, ...], name: str, path: str | Path
) -> Float64[np.ndarray, "n *columns"]:
    if values.shape != shape or values.dtype.kind not in "fiu" or not np.isfinite(values).all():
        cause = f"type {values.dtype}, shape {values.shape}, or not finite"
        raise InputError(path, f"array '{name}'", cause, _TRUTH)
    return values.astype(np.float64)


def _deviation(table: ParticleTable) -> Float64[np.ndarray, " n"] | None:
    """Stated rotation deviation of every row, degrees."""
    if DEVIATION not in table.columns:
        return None
    name, stated = table.table_name, table.columns[DEVIATION]
    if stated.dtype.kind in "fiu" and stated.ndim == 1:
        values = stated.astype(np.float64)
    else:
        values = numbers(table.columns, DEVIATION, file=table.source, name=name)
    if not (values >= 0).all():
        place = row_place(int((values >= 0).argmin()), table=name, column=DEVIATION)
        cause = "a deviation is negative or no number"
        raise InputError(table.source, place, cause, "correct the value")
    return values
