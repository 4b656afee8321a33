"""The same images in two particle tables."""

from collections import Counter, defaultdict
from collections.abc import Hashable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from jaxtyping import Int64

from cryojax_graph.io.errors import InputError, quote, row_place
from cryojax_graph.io.particle_table import ParticleTable
from cryojax_graph.jobs.image_identity import IDENTITIES, image_names


class MatchedRows(NamedTuple):
    """Rows that show one image.

    Attributes:
        rows: of the particles, from 0, in their order.
        true_rows: of the truth.
        by: what the images were told by, in words.
        warnings: what the user should know about it.
    """

    rows: Int64[np.ndarray, " matched"]
    true_rows: Int64[np.ndarray, " matched"]
    by: str
    warnings: tuple[str, ...] = ()


def match_images(particles: ParticleTable, truth: ParticleTable) -> MatchedRows | None:
    """Rows of two tables that show the same images.

    Images are told by cryoSPARC's identifiers; where these have none in common by the name of the
    stack and the number in it; and where folders differ by the name without them.

    Args:
        particles: table whose rows are looked for; several may show one image.
        truth: table in which they are looked for.

    Returns:
        the rows; None where the tables have no image in common.

    Raises:
        InputError: an image stands in several rows of ``truth`` and in another number of rows of
            ``particles``, so that nothing tells which belongs to which.
    """
    for by, keys_of in IDENTITIES.items():
        keys, true_keys = keys_of(particles), keys_of(truth)
        if not set(keys).isdisjoint(true_keys):
            _refuse_ambiguous(keys, true_keys, particles, truth)
            return _paired(keys, true_keys, by)
    return None


def match_rows(
    particles: ParticleTable, truth: ParticleTable | None, *, truth_path: str | Path, count: int
) -> MatchedRows:
    """Rows paired by their number alone.

    Args:
        particles: table of as many rows as the truth.
        truth: table that names other images; None for a file that names none.
        truth_path: of the truth, for messages.
        count: rows of the truth.

    Returns:
        all rows, with a warning where there are signs that this is wrong.

    Raises:
        InputError: the numbers of rows differ.
    """
    if len(particles) != count:
        why = "names no images" if truth is None else "names none of its images"
        raise InputError(
            particles.source,
            f"table {particles.table_name}" if particles.table_name else "table",
            f"it has {len(particles):,} rows, the truth {truth_path} has {count:,} and {why}, so "
            "that nothing tells which belong together",
            "name as the truth the particles.star of the simulation, whose images have names"
            if truth is None
            else "name a truth of the same images",
        )
    rows = np.arange(count)
    warnings = ()
    if truth is not None:
        warnings = (
            f"No image of {particles.source} is named in the truth; as both have {count:,} rows, "
            "they are compared row by row",
        )
    elif len(np.unique(particles.image_path)) == 1 and (particles.image_index != rows).any():
        warnings = (
            "The particles are not in the order of their stack, but are compared row by row with "
            f"{truth_path}, which names no images: if rows were sorted or left out, name as the "
            "truth the particles.star of the simulation, whose images have names",
        )
    return MatchedRows(rows, rows, "the number of their row", warnings)


def _refuse_ambiguous(
    keys: Sequence[Hashable],
    true_keys: Sequence[Hashable],
    particles: ParticleTable,
    truth: ParticleTable,
) -> None:
    times, true_times = Counter(keys), Counter(true_keys)
    for row, key in enumerate(true_keys):
        if true_times[key] > 1 and times[key] not in (0, true_times[key]):
            raise InputError(
                truth.source,
                row_place(row, table=truth.table_name),
                f"image {quote(image_names(truth)[row])} stands in {true_times[key]} rows here and "
                f"in {times[key]} of {particles.source}: nothing tells which pose is meant",
                "leave one row of each image in the truth",
            )


def _paired(keys: Sequence[Hashable], true_keys: Sequence[Hashable], by: str) -> MatchedRows:
    places: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, key in enumerate(true_keys):
        places[key].append(row)
    seen: Counter[Hashable] = Counter()
    pairs = []
    for row, key in enumerate(keys):
        if key in places:
            # A single row of the truth serves all rows of its image.
            pairs.append((row, places[key][seen[key] % len(places[key])]))
            seen[key] += 1
    warnings = []
    if left_out := len(keys) - len(pairs):
        warnings.append(
            f"{left_out:,} of {len(keys):,} particles are not in the truth and left out"
        )
    if repeated := sum(len(places[key]) > 1 for key in seen):
        warnings.append(
            f"{repeated:,} images stand in several rows of both tables; these are paired in their "
            "order"
        )
    rows = np.array(pairs, np.int64)
    return MatchedRows(rows[:, 0], rows[:, 1], by, tuple(warnings))
