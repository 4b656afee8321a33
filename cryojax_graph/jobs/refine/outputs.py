"""What ``refine`` leaves behind."""

import csv
import io

import numpy as np

from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.pose.searcher import Found
from cryojax_graph.jobs.reconstruct.source import Halves as Division
from cryojax_graph.jobs.refine.rounds import Halves, Round


def write_all(last: Round, halves: Halves, division: Division, job: Job) -> None:
    """Write maps, curve and particles.

    Args:
        last: round.
        halves: images, divided.
        division: the half of every row.
        job: in whose folder.
    """
    particles = halves.source.particles
    voxel = np.full(3, particles.pixel_size)
    for name, values, description in (
        ("half1.mrc", last.maps.halves[0], "map of the first half, not filtered"),
        ("half2.mrc", last.maps.halves[1], "map of the second half, not filtered"),
        ("map.mrc", last.maps.combined, "map of all images, Wiener-filtered"),
    ):
        with job.output(name, description) as path:
            write_map(path, Map(values, voxel, np.zeros(3)))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["shell", "resolution_angstrom", "fsc"])
    for shell, value in enumerate(last.maps.fsc.tolist()):
        resolution = particles.box * particles.pixel_size / shell if shell else np.inf
        writer.writerow([shell, f"{resolution:.4f}", f"{value:.6f}"])
    job.write_text("fsc.csv", text.getvalue(), "Fourier shell correlation of the halves")
    _write_particles(last.found, halves, division, job)


def _write_particles(found: Found, halves: Halves, division: Division, job: Job) -> None:
    order = np.argsort(np.concatenate([*halves.folds[0], *halves.folds[1]]))
    sorted_ = Found(*(values[order] for values in found))
    table = halves.source.particles.table
    changes = {
        "euler_degrees": euler_from_rotation(sorted_.rotation.astype(np.float64)),
        "shift_angstrom": sorted_.shift.astype(np.float64),
        "half_set": division.number,
        "cryojaxgraphRotationDeviation": np.degrees(sorted_.rotation_deviation).round(4),
        "cryojaxgraphShiftDeviation": sorted_.shift_deviation.round(4),
        "cryojaxgraphContrast": sorted_.scale.round(4),
        "rlnMaxValueProbDistribution": sorted_.probability.round(6),
        "rlnLogLikeliContribution": sorted_.log_likelihood.round(3),
    }
    with job.output("particles.star", "the particles with poses and their uncertainty") as path:
        write_particles(with_columns(table, changes), path)


def measure(rounds: list[Round], halves: Halves, job: Job) -> None:
    """Note the figures.

    Args:
        rounds: all of them.
        halves: images, divided.
        job: for the figures.
    """
    last = rounds[-1]
    job.metric("images", len(last.found.rotation), "1")
    job.metric("rounds", len(rounds), "1")
    job.metric("resolution_fsc0143_angstrom", last.resolution)
    deviation = np.degrees(last.found.rotation_deviation)
    job.metric("rotation_deviation_median_degrees", np.median(deviation))
    job.log(f"The halves agree to {last.resolution:.2f} Å (FSC 0.143)")
