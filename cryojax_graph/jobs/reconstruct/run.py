"""``reconstruct`` from end to end."""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from cryojax_graph.forward.reconstruct import SpectrumSums, shell_weights
from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import judge
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import ParticleSet, look_through
from cryojax_graph.jobs.plan import Plan, bytes_of_table
from cryojax_graph.jobs.reconstruct.artefacts import (
    FILE,
    Artefacts,
    check_enough,
    find_artefacts,
    write_deviation,
)
from cryojax_graph.jobs.reconstruct.artefacts_report import judge_artefacts
from cryojax_graph.jobs.reconstruct.config import ReconstructConfig, check_config
from cryojax_graph.jobs.reconstruct.contrast import DARK, are_dark
from cryojax_graph.jobs.reconstruct.insertion import Views, bytes_of_sums, insert_views
from cryojax_graph.jobs.reconstruct.maps import (
    EDGE,
    HalfMaps,
    added,
    completed,
    precision_of,
    solve_halves,
)
from cryojax_graph.jobs.reconstruct.outputs import MAPS, measure, write_halves, write_maps
from cryojax_graph.jobs.reconstruct.rct import plan_rct, rct_reconstruct
from cryojax_graph.jobs.reconstruct.report import reconstruct_report
from cryojax_graph.jobs.reconstruct.source import (
    DRAWN,
    Halves,
    divide,
    note_draw,
    read_source,
    source_of,
)
from cryojax_graph.jobs.reconstruct.states import plan_states, reconstruct_states
from cryojax_graph.jobs.reconstruct.symmetric_views import symmetric_views
from cryojax_graph.jobs.view_distribution import VIEWS_FILE, write_views


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
    check_config(config)
    if config.tilt_pairs is not None:
        return rct_reconstruct(config, options=options)
    if Path(config.particles).is_dir():
        return reconstruct_states(config, options=options)
    inputs = _read(config)
    particles, views = inputs
    halves = divide(particles, options.seed, views.weight, by=config.halves.by)
    files = {"particles": config.particles}
    outputs = _outputs(config, particles)
    with open_job(
        config, verb="reconstruct", options=options, inputs=files, outputs=outputs
    ) as job:
        job.log(_described(config, inputs))
        job.require_unchanged("images", particles.images.fingerprint())
        note_draw(halves, job)
        if not halves.given:
            job.warn(DRAWN)
        look_through(particles.table, particles.images, job)
        sums = _sums(config, inputs, halves, job)
        box = particles.box
        solved = solve_halves(*sums, box=box, radius=box / 2 - EDGE)
        artefacts = _artefacts(config, inputs, sums, solved, job)
        maps = _contrasted(solved, config, particles, job)
        voxel = particles.pixel_size
        write_maps((maps.first, maps.second), maps.combined, voxel_size=voxel, job=job)
        write_halves(particles, halves, job)
        seen = symmetric_views(views.rotation, views.weight, symmetry_rotations(config.symmetry))
        write_views(seen, box=box, voxel_size=voxel, job=job)
        measure(views, halves, particles, job)
        judged = judge(maps.first, maps.second, maps.whole, voxel_size=voxel, job=job)
        shown = []
        if artefacts is not None:
            write_deviation(artefacts, voxel_size=voxel, job=job)
            shown = [judge_artefacts(artefacts, maps.combined, judged.quality, job)]
        page = reconstruct_report(judged, inputs, halves, config.symmetry, job, artefacts=shown)
        job.write_text("report.html", page, "this page")
        job.discard_working()
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
    check_config(config)
    if config.tilt_pairs is not None:
        return plan_rct(config, options=options)
    if Path(config.particles).is_dir():
        return plan_states(config, options=options)
    inputs = _read(config)
    box, images = inputs.particles.box, len(inputs.views.image)
    voxels = (config.padding * box) ** 3 / 2
    parts = config.bootstrap or 0
    sums = bytes_of_sums(box, padding=config.padding)
    actions = (_described(config, inputs), "compare the halves, and filter the map of both")
    if parts:
        actions += (f"solve the map without each of {parts} parts of the images",)
    return Plan(
        actions=actions,
        outputs=_outputs(config, inputs.particles),
        seconds=8 + 6e-8 * images * box**2 * (2 if parts else 1) + 3e-7 * voxels * (1 + parts),
        # While maps are solved, or while images are inserted; the table stays.
        memory_bytes=int(
            6.5e8
            + (100 if parts else 60) * voxels
            + max(110 * voxels, sums)
            + bytes_of_table(config.particles)
        ),
        # Six or seven maps, and the sums of both halves and of the parts while it works.
        disk_bytes=int(5e6 + (28 if parts else 24) * box**3 + 24 * voxels * 2 + 300 * images),
    )


def _outputs(config: ReconstructConfig, particles: ParticleSet) -> tuple[str, ...]:
    table = particles.table
    return (
        *MAPS,
        *([FILE] if config.bootstrap else []),
        *([f"particles.{table.kind}"] if table.half_set is None else []),
        VIEWS_FILE,
        "fsc.csv",
        "report.html",
    )


def _read(config: ReconstructConfig) -> Inputs:
    inputs = Inputs(*read_source(config))
    check_enough(inputs.particles, config.bootstrap)
    return inputs


def _sums(
    config: ReconstructConfig, inputs: Inputs, halves: Halves, job: Job
) -> tuple[SpectrumSums, SpectrumSums]:
    """Complete and symmetric sums of either half."""
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
    operators = symmetry_rotations(config.symmetry)
    return completed(sums[0], operators), completed(sums[1], operators)


def _artefacts(
    config: ReconstructConfig,
    inputs: Inputs,
    sums: tuple[SpectrumSums, SpectrumSums],
    maps: HalfMaps,
    job: Job,
) -> Artefacts | None:
    if config.bootstrap is None:
        return None
    box, both = inputs.particles.box, added(*sums)
    return find_artefacts(
        source_of(inputs.particles, config.padding),
        inputs.views,
        both,
        precision_of(shell_weights(both, box=box), jnp.asarray(maps.fsc), images=2),
        symmetry_rotations(config.symmetry),
        parts=config.bootstrap,
        radius=box / 2 - EDGE,
        job=job,
    )


def _contrasted(
    maps: HalfMaps, config: ReconstructConfig, particles: ParticleSet, job: Job
) -> HalfMaps:
    """The maps with a particle that is brighter than what is around it."""
    dark = config.contrast == "dark"
    if config.contrast == "auto" and are_dark(maps.combined, particles.pixel_size):
        job.warn(DARK)
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
