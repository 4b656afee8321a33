"""``reconstruct`` from end to end."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import judge
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import ParticleSet, look_through
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.ranges import check_symmetry
from cryojax_graph.jobs.reconstruct.config import ReconstructConfig
from cryojax_graph.jobs.reconstruct.contrast import are_dark
from cryojax_graph.jobs.reconstruct.insertion import Views, insert_views
from cryojax_graph.jobs.reconstruct.maps import EDGE, HalfMaps, completed, solve_halves
from cryojax_graph.jobs.reconstruct.outputs import MAPS, measure, write_halves, write_maps
from cryojax_graph.jobs.reconstruct.report import reconstruct_report
from cryojax_graph.jobs.reconstruct.source import Halves, divide, read_source, source_of
from cryojax_graph.jobs.reconstruct.states import plan_states, reconstruct_states

_DARK = (
    "The particles are darker than what is around them: the maps were inverted. Give --contrast "
    "white if that is wrong, or dark if it is known."
)


class Inputs(NamedTuple):
    """The user's file, read and checked."""

    particles: ParticleSet
    views: Views


def reconstruct(config: ReconstructConfig, *, options: JobOptions) -> Path:
    """Reconstruct maps of two halves of the particles, and of all.

    Args:
        config: of what and how.
        options: where, and the seed that draws halves where the table names none.

    Returns:
        the job folder.

    Raises:
        InputError: an input cannot be used.
    """
    if Path(config.particles).is_dir():
        return reconstruct_states(config, options=options)
    inputs = _read(config)
    particles, views = inputs
    halves = divide(particles, options.seed)
    files = {"particles": config.particles}
    with open_job(config, verb="reconstruct", options=options, inputs=files) as job:
        job.log(_described(config, inputs))
        job.require_unchanged("images", particles.images.fingerprint())
        look_through(particles.table, particles.images, job)
        maps = _contrasted(_maps(config, inputs, halves, job), config, particles, job)
        voxel = particles.pixel_size
        write_maps((maps.first, maps.second), maps.combined, voxel_size=voxel, job=job)
        write_halves(particles, halves, job)
        measure(views, halves, particles, job)
        judged = judge(maps.first, maps.second, maps.whole, voxel_size=voxel, job=job)
        page = reconstruct_report(judged, views, halves, job)
        job.write_text("report.html", page, "this page")
    return job.folder


def plan_reconstruct(config: ReconstructConfig, *, options: JobOptions) -> Plan:
    """Say what ``reconstruct`` would do.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for two cores.

    Raises:
        InputError: an input cannot be used.
    """
    if Path(config.particles).is_dir():
        return plan_states(config, options=options)
    inputs = _read(config)
    box, images = inputs.particles.box, len(inputs.views.image)
    voxels = (config.padding * box) ** 3 / 2
    return Plan(
        actions=(_described(config, inputs), "compare the halves, and filter the map of both"),
        outputs=(*MAPS, "fsc.csv", "report.html"),
        seconds=8 + 6e-8 * images * box**2 + 3e-7 * voxels,
        memory_bytes=int(5e8 + 60 * voxels),
        disk_bytes=int(5e6 + 12 * box**3 + 300 * images),
    )


def _read(config: ReconstructConfig) -> Inputs:
    check_symmetry(config.symmetry)
    if config.states is not None:
        cause = "states are those of a motion, and the particles are a table"
        raise InputError("command line", "--states", cause, "name the folder of a flex job")
    return Inputs(*read_source(config))


def _maps(config: ReconstructConfig, inputs: Inputs, halves: Halves, job: Job) -> HalfMaps:
    source = source_of(inputs.particles, config.padding)
    sums, before = [], 0
    with job.progress("Inserting images", len(inputs.views.image)) as advance:
        for number in (1, 2):
            views = Views(*(values[halves.number == number] for values in inputs.views))
            sums.append(
                insert_views(
                    source,
                    views,
                    job=job,
                    name=f"half{number}_sums",
                    advance=lambda done, before=before: advance(before + done),
                )
            )
            before += len(views.image)
    operators, box = symmetry_rotations(config.symmetry), inputs.particles.box
    first, second = (completed(half, operators) for half in sums)
    return solve_halves(first, second, box=box, radius=box / 2 - EDGE)


def _contrasted(
    maps: HalfMaps, config: ReconstructConfig, particles: ParticleSet, job: Job
) -> HalfMaps:
    """The maps with a particle that is brighter than what is around it."""
    dark = config.contrast == "dark"
    if config.contrast == "auto" and are_dark(maps.combined, particles.pixel_size):
        job.warn(_DARK)
        dark = True
    job.metric("inverted", int(dark), "1")
    if not dark:
        return maps
    return HalfMaps(*(-values for values in maps[:-1]), fsc=maps.fsc)


def _described(config: ReconstructConfig, inputs: Inputs) -> str:
    particles, views = inputs
    images = len(np.unique(particles.table.image_of_row()))
    rows = "" if images == len(views.image) else f" in {len(views.image):,} views"
    return (
        f"{images:,} images of {particles.box} px at {particles.pixel_size:g} Å{rows}, symmetry "
        f"{config.symmetry}" + (f", weighed by {config.weights}" if config.weights else "")
    )
