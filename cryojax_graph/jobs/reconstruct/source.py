"""The particles of a reconstruction: their views, halves and the noise of their groups."""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.forward.slices import can_be_numbered
from cryojax_graph.io.cif_text import to_numbers
from cryojax_graph.io.describe_particles import ctf_state
from cryojax_graph.io.errors import InputError, row_place
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.noise import noise_of_groups
from cryojax_graph.jobs.particles import ParticleSet, read_particle_set
from cryojax_graph.jobs.reconstruct.config import ReconstructConfig
from cryojax_graph.jobs.reconstruct.insertion import Source, Views
from cryojax_graph.training.splits import half_sets


class Halves(NamedTuple):
    """Two independent halves of the images.

    Attributes:
        number: 1 or 2 for every row of the table.
        given: the table said so.
    """

    number: Int[np.ndarray, " n"]
    given: bool


def read_source(config: ReconstructConfig) -> tuple[ParticleSet, Views]:
    """The images, and the views that the table states.

    Args:
        config: of the verb.

    Returns:
        particles, and one view for each row.

    Raises:
        InputError: poses, CTF or weights are missing, or not numbers.
    """
    particles = read_particle_set(
        config.particles, "poses", image_root=config.image_root, fewest=2, treated=True
    )
    check_numbered(particles, config.padding)
    ctf_state(particles.table)
    euler, shift = particles.table.euler_degrees, particles.table.shift_angstrom
    assert euler is not None
    assert shift is not None
    rows = np.arange(len(particles.table))
    weights = row_weights(particles.table, config.weights)
    return particles, Views(rows, rotation_from_euler(euler), shift, weights)


def divide(
    particles: ParticleSet, seed: int, weight: Float[np.ndarray, " n"] | None = None
) -> Halves:
    """The halves that the table names, or two random ones.

    Args:
        particles: all of them.
        seed: of the draw.
        weight: of each row; none is 0 when not given.

    Returns:
        the half of each row; rows that show one image are in one half.

    Raises:
        InputError: one of the halves has no image, or none that weighs anything, or the table puts
            rows of one image into both.
    """
    table = particles.table
    number, given = table.half_set, table.half_set is not None
    if number is None:
        image = table.image_of_row()
        first, _ = half_sets(jax.random.key(seed), np.arange(len(table)), group=image)
        number = np.where(np.isin(np.arange(len(table)), first), 1, 2)
    else:
        check_apart(table)
    if set(np.unique(number).tolist()) != {1, 2}:
        cause = "all particles are in one half"
        raise InputError(table.source, "half-sets", cause, "remove the column to draw new halves")
    for half in (1, 2):
        if weight is not None and not weight[number == half].any():
            cause = f"all weights of half {half} are 0"
            raise InputError(table.source, "--weights", cause, "name another column, or leave it")
    return Halves(number, given)


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
