"""What ``reconstruct`` leaves behind."""

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.insertion import Views
from cryojax_graph.jobs.reconstruct.source import Halves

MAPS = (
    "half1.mrc",
    "half2.mrc",
    "map.mrc",
    "map_unsharpened.mrc",
    "mask.mrc",
    "local_resolution.mrc",
)
"""What ``write_maps`` and ``map_quality.judge`` write."""


def write_maps(
    halves: tuple[Float[np.ndarray, "n n n"], Float[np.ndarray, "n n n"]],
    combined: Float[np.ndarray, "n n n"],
    *,
    voxel_size: float,
    job: Job,
) -> None:
    """Write the maps of both halves and that of all images.

    Args:
        halves: not filtered.
        combined: Wiener-filtered.
        voxel_size: Å.
        job: in whose folder.
    """
    for name, values, description in (
        ("half1.mrc", halves[0], "map of the first half, not filtered"),
        ("half2.mrc", halves[1], "map of the second half, not filtered"),
        ("map_unsharpened.mrc", combined, "map of all images, Wiener-filtered"),
    ):
        with job.output(name, description) as path:
            write_map(path, Map(values, np.full(3, voxel_size), np.zeros(3)))


def write_halves(particles: ParticleSet, halves: Halves, job: Job) -> None:
    """Write the table with its halves, where it had none.

    Args:
        particles: as they were read.
        halves: of every row.
        job: in whose folder.
    """
    if halves.given:
        return
    table = with_columns(particles.table, {"half_set": halves.number})
    with job.output(
        f"particles.{table.kind}", "the particles with the halves that were drawn"
    ) as path:
        write_particles(table, path)


def measure(views: Views, halves: Halves, particles: ParticleSet, job: Job) -> None:
    """Note the figures of the images.

    Args:
        views: of all images.
        halves: of every row.
        particles: the images.
        job: for the figures.
    """
    job.metric("views", len(views.image), "1")
    job.metric("images", len(np.unique(particles.table.image_of_row())), "1")
    job.metric("views_of_first_half", int(np.sum(halves.number == 1)), "1")
    job.metric("effective_views", views.weight.sum() ** 2 / np.sum(views.weight**2), "1")
