"""The particles of a reconstruction: their views, halves and the noise of their groups."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int, Shaped

from cryojax_graph.forward.slices import can_be_numbered
from cryojax_graph.io.carried import own_name
from cryojax_graph.io.cif_text import to_numbers
from cryojax_graph.io.describe_particles import ctf_state
from cryojax_graph.io.errors import InputError, row_place
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.noise import noise_of_groups
from cryojax_graph.jobs.particles import (
    ParticleSet,
    read_particle_set,
    refuse_second_inversion,
)
from cryojax_graph.jobs.reconstruct.config import ReconstructConfig
from cryojax_graph.jobs.reconstruct.insertion import Source, Views
from cryojax_graph.training.splits import half_sets

# Columns that name what images of different rows share, of either program: neighbours along a
# filament show the same pixels, images of a tilt series the same particle.
_SHARED = (
    ("filament", ("rlnMicrographName", "rlnHelicalTubeID")),
    ("filament", ("filament/filament_uid",)),
    ("particle", ("rlnTomoParticleName",)),
)
DRAWN = (
    "The table names no halves: they were drawn now, after the poses were found, and agree by "
    "whatever map all poses come from, too. Their resolution may be too good; refine keeps halves "
    "apart from the beginning"
)
"""Warning of a job that draws halves of images whose poses are known."""


class Halves(NamedTuple):
    """Two halves of the images.

    Attributes:
        number: 1 or 2 for every row of the table.
        given: the table said so.
        group: a number for every row; rows of one number share an image or more, and are in one
            half where halves are drawn.
        reason: what tells which rows share more than an image, in words; empty where nothing does.
    """

    number: Int[np.ndarray, " n"]
    given: bool
    group: Int[np.ndarray, " n"]
    reason: str


def read_source(config: ReconstructConfig) -> tuple[ParticleSet, Views]:
    """The images, and the views that the table states.

    Args:
        config: of the verb.

    Returns:
        particles, and one view for each row.

    Raises:
        InputError: poses, CTF or weights are missing, or not numbers, or images would be inverted
            twice.
    """
    particles = read_particle_set(
        config.particles, "poses", image_root=config.image_root, fewest=2, treated=True
    )
    check_numbered(particles, config.padding)
    refuse_second_inversion(particles, config.contrast)
    ctf_state(particles.table)
    euler, shift = particles.table.euler_degrees, particles.table.shift_angstrom
    assert euler is not None
    assert shift is not None
    rows = np.arange(len(particles.table))
    weights = row_weights(particles.table, config.weights)
    return particles, Views(rows, rotation_from_euler(euler), shift, weights)


def divide(
    particles: ParticleSet,
    seed: int,
    weight: Float[np.ndarray, " n"] | None = None,
    *,
    by: str | None = None,
) -> Halves:
    """The halves that the table names, or two random ones.

    Args:
        particles: all of them.
        seed: of the draw.
        weight: of each row; none is 0 when not given.
        by: column whose values are divided, each with all of its rows; what the table says of
            filaments and tilt series when not given.

    Returns:
        the half of each row; rows that show one image are in one half.

    Raises:
        InputError: one of the halves has no image, or none that weighs anything, the table puts
            rows of one image into both, or the column does not tell what to keep together.
    """
    table = particles.table
    group, reason = kept_together(table, by)
    number, given = table.half_set, table.half_set is not None
    if number is None:
        rows = np.arange(len(table))
        first, _ = half_sets(jax.random.key(seed), rows, group=group)
        number = np.where(np.isin(rows, first), 1, 2)
    else:
        check_apart(table)
    if set(np.unique(number).tolist()) != {1, 2}:
        cause, remedy = "all particles are in one half", "remove the column to draw new halves"
        if not given and reason:
            cause, remedy = f"all rows are of one {reason}", "give --halves.by another column"
        raise InputError(table.source, "half-sets", cause, remedy)
    for half in (1, 2):
        if weight is not None and not weight[number == half].any():
            cause = f"all weights of half {half} are 0"
            raise InputError(table.source, "--weights", cause, "name another column, or leave it")
    return Halves(number, given, group, reason)


def kept_together(table: ParticleTable, by: str | None) -> tuple[Int[np.ndarray, " n"], str]:
    """Which rows would agree by what they share, so that one half has to have them all.

    Args:
        table: of the particles.
        by: column that tells; what the table says of filaments and tilt series when not given.

    Returns:
        a number for every row, equal for rows of one image and for those that the columns name
        alike, and in words what that is; no words where no column tells.

    Raises:
        InputError: a column is named although the table names halves, or it is missing or holds
            vectors.
    """
    image = table.image_of_row()
    if by is not None:
        if table.half_set is not None:
            cause, remedy = "the table names the halves", "leave it, or remove their column"
            raise InputError(table.source, "--halves.by", cause, remedy)
        if by not in table.columns:
            cause, remedy = f"there is no column {by}", "name one of its columns, or leave it"
            raise InputError(table.source, "--halves.by", cause, remedy)
        if np.ndim(table.columns[by]) != 1:
            cause, remedy = f"the column {by} holds vectors", "name a column of single values"
            raise InputError(table.source, "--halves.by", cause, remedy)
        return _joined(image, _numbered([table.columns[by]])), f"value of {by}"
    columns = {own_name(label): values for label, values in table.columns.items()}
    for thing, names in _SHARED:
        if all(name in columns for name in names):
            thing_of_row = _numbered([columns[name] for name in names])
            return _joined(image, thing_of_row), f"{thing} ({', '.join(names)})"
    return image, ""


def _numbered(columns: list[Shaped[np.ndarray, " n"]]) -> Int[np.ndarray, " n"]:
    """Numbers that are equal where rows agree in all of some columns."""
    number = np.zeros(len(columns[0]), np.int64)
    for values in columns:
        names, index = np.unique(np.asarray(values), return_inverse=True)
        number = np.unique(number * len(names) + index.ravel(), return_inverse=True)[1].ravel()
    return number


def _joined(first: Int[np.ndarray, " n"], second: Int[np.ndarray, " n"]) -> Int[np.ndarray, " n"]:
    """Numbers that are equal for rows which agree in either of two, directly or through others."""
    number, before = np.arange(len(first)), None
    while before is None or (number != before).any():
        before = number
        for group in (first, second):
            least = np.full(group.max() + 1, len(first))
            np.minimum.at(least, group, number)
            number = least[group]
    return number


def note_draw(halves: Halves, job: Job) -> None:
    """Log what was kept together where halves were drawn.

    Args:
        halves: of every row.
        job: for the message.
    """
    if not halves.given and halves.reason:
        count = len(np.unique(halves.group))
        job.log(
            f"Halves were drawn, all rows of one {halves.reason} in one half: {count:,} of them"
        )


def check_apart(table: ParticleTable) -> None:
    """Refuse halves that share images: they agree by their noise.

    Args:
        table: with half-sets.

    Raises:
        InputError: rows of one image are in both halves.
    """
    assert table.half_set is not None
    image = table.image_of_row()
    least, most = np.full(image.max() + 1, 3), np.zeros(image.max() + 1, int)
    np.minimum.at(least, image, table.half_set)
    np.maximum.at(most, image, table.half_set)
    if both := int(np.sum(most > least)):
        cause = f"{both:,} image{'s' * (both > 1)} stand in rows of both halves"
        remedy = "give all rows of an image one half, or remove the column to draw new halves"
        raise InputError(table.source, "half-sets", cause, remedy)


def check_numbered(particles: ParticleSet, padding: int) -> None:
    """Refuse boxes whose spectrum has more coefficients than 32 bits can number.

    Args:
        particles: all of them.
        padding: of the spectrum.

    Raises:
        InputError: so it is.
    """
    if not can_be_numbered(particles.box, padding=padding):
        cause = f"images of {particles.box} px, padded {padding} times, are too large for one map"
        raise InputError(particles.table.source, "its images", cause, "bin them, or pad them less")


def source_of(particles: ParticleSet, padding: int) -> Source:
    """Images, with the power of the noise of each optics group beside that of all.

    Args:
        particles: all of them.
        padding: of the spectrum.

    Returns:
        the source.
    """
    noise = noise_of_groups(particles)
    even = np.ones(len(particles.table))
    state = ctf_state(particles.table)
    return Source(particles, noise.group, 1 / noise.ratio, even, state, padding)


def row_weights(table: ParticleTable, column: str | None) -> Float[np.ndarray, " n"]:
    """Weight of each row.

    Args:
        table: of the particles.
        column: that holds the weights; all weigh the same when not given.

    Returns:
        weights, not all 0.

    Raises:
        InputError: the column is missing, or its values are no weights.
    """
    if column is None:
        return np.ones(len(table))
    weights = number_column(table, column, option="--weights")
    if (weights < 0).any():
        row = int(np.argmax(weights < 0))
        place = row_place(row, table=table.table_name, column=column)
        raise InputError(
            table.source, place, f"it is {weights[row]:g}", "weights must not be negative"
        )
    if not weights.any():
        raise InputError(table.source, column, "all weights are 0", "name another column")
    return weights


def number_column(table: ParticleTable, column: str, *, option: str) -> Float[np.ndarray, " n"]:
    """A column that an option names.

    Args:
        table: of the particles.
        column: its name.
        option: for messages.

    Returns:
        finite numbers.

    Raises:
        InputError: there is no such column, or it does not hold numbers.
    """
    if column not in table.columns:
        cause = f"there is no column {column}"
        raise InputError(table.source, option, cause, "name one of its columns, or leave it")
    values = np.asarray(table.columns[column])
    numbers, bad = (values, None) if values.dtype.kind in "fiu" else to_numbers(values)
    if values.ndim != 1 or bad is not None:
        cause = f"the column {column} does not hold numbers"
        raise InputError(table.source, option, cause, "name a column of numbers")
    numbers = np.asarray(numbers, np.float64)
    if not np.isfinite(numbers).all():
        row = int(np.argmin(np.isfinite(numbers)))
        place = row_place(row, table=table.table_name, column=column)
        raise InputError(table.source, place, f"it is {numbers[row]:g}", "give a finite number")
    return numbers
