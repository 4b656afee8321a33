"""What ``reconstruct`` leaves behind."""

import csv
import io

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.insertion import Views
from cryojax_graph.jobs.reconstruct.maps import HalfMaps
from cryojax_graph.jobs.reconstruct.source import Halves
from cryojax_graph.metrics.fsc import resolution_angstrom

_MAPS = {
    "half1.mrc": ("first", "map of the first half, not filtered"),
    "half2.mrc": ("second", "map of the second half, not filtered"),
    "map.mrc": ("combined", "map of all images, Wiener-filtered by the agreement of the halves"),
}


def write_maps(maps: HalfMaps, particles: ParticleSet, job: Job) -> None:
    """Write the maps, and how the halves agree.

    Args:
        maps: solved.
        particles: whose pixel size they have.
        job: in whose folder.
    """
    voxel = np.full(3, particles.pixel_size)
    for name, (field, description) in _MAPS.items():
        with job.output(name, description) as path:
            write_map(path, Map(getattr(maps, field), voxel, np.zeros(3)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["shell", "resolution_angstrom", "fsc"])
    for shell, value in enumerate(maps.fsc.tolist()):
        resolution = particles.box * particles.pixel_size / shell if shell else np.inf
        writer.writerow([shell, f"{resolution:.4f}", f"{value:.6f}"])
    job.write_text("fsc.csv", text.getvalue(), "Fourier shell correlation of the halves")


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
    name = "particles.star" if table.kind == "star" else "particles.cs"
    with job.output(name, "the particles with the halves that were drawn") as path:
        write_particles(table, path)


def resolution(
    fsc: Float[np.ndarray, " shells"], particles: ParticleSet, threshold: float
) -> float:
    """Where the halves stop to agree, Å."""
    box = particles.box * particles.pixel_size
    return float(resolution_angstrom(jnp.asarray(fsc), threshold=threshold, box_angstrom=box))


def measure(maps: HalfMaps, views: Views, halves: Halves, particles: ParticleSet, job: Job) -> None:
    """Note the figures.

    Args:
        maps: solved.
        views: of all images.
        halves: of every row.
        particles: the images.
        job: for the figures.
    """
    job.metric("views", len(views.image), "1")
    job.metric("images", len(np.unique(particles.table.image_of_row())), "1")
    job.metric("first_half", int(np.sum(halves.number == 1)), "1")
    job.metric("effective_views", views.weight.sum() ** 2 / np.sum(views.weight**2), "1")
    for name, threshold in (("0143", 0.143), ("05", 0.5)):
        job.metric(f"resolution_fsc{name}_angstrom", resolution(maps.fsc, particles, threshold))
    job.log(
        f"The halves agree to {resolution(maps.fsc, particles, 0.143):.2f} Å (FSC 0.143, no mask)"
    )
