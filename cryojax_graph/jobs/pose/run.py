"""``pose`` from end to end."""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.noise import noise_of_groups
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import ParticleSet, look_through, read_particle_set
from cryojax_graph.jobs.plan import Plan, bytes_of_table
from cryojax_graph.jobs.pose.config import PoseConfig, check_config
from cryojax_graph.jobs.pose.outputs import measure, write_poses
from cryojax_graph.jobs.pose.reference import Given, read_reference
from cryojax_graph.jobs.pose.report import pose_report
from cryojax_graph.jobs.pose.searcher import Searcher
from cryojax_graph.jobs.pose.searching import search_all
from cryojax_graph.jobs.pose.settings import How, Settings, settings_for
from cryojax_graph.jobs.pose.survey import survey_once
from cryojax_graph.jobs.pose.symmetry import held_to_symmetry
from cryojax_graph.poses.search import plan_search

_SHIFT_SHARE = 1 / 12


class Inputs(NamedTuple):
    """The user's files, read and checked, and what follows from them."""

    particles: ParticleSet
    given: Given
    settings: Settings


def pose(config: PoseConfig, *, options: JobOptions) -> Path:
    """Find orientation and shift of every image.

    Args:
        config: of what in what.
        options: where.

    Returns:
        the job folder.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = _read(config)
    particles, given, settings = inputs
    files = {"particles": config.particles, "reference": config.reference}
    outputs = _outputs(particles)
    with open_job(config, verb="pose", options=options, inputs=files, outputs=outputs) as job:
        job.log(_described(inputs))
        job.require_unchanged("images", particles.images.fingerprint())
        look_through(particles.table, particles.images, job)
        for doubt in given.doubts:
            job.warn(doubt)
        searcher = Searcher(particles, settings, noise=noise_of_groups(particles))
        known = survey_once(searcher, given.reference, particles, job)
        search = searcher.prepare(known.reference, known.noise)
        every = np.arange(len(particles.table))
        found = search_all(searcher, search, known.contrast_precision, every, job)
        write_poses(particles, found, job, settings.how)
        measure(found, known, job, settings)
        job.write_text(
            "report.html",
            pose_report(particles, given, known, found, job, settings),
            "this page",
        )
    return job.folder


def plan_pose(config: PoseConfig, *, options: JobOptions) -> Plan:
    """Say what ``pose`` would do.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for two cores.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = _read(config)
    particles, given, settings = inputs
    spectrum = given.reference.volume.coefficients.size * 8
    images = len(particles.table)
    return Plan(
        actions=(
            _described(inputs),
            *(f"warn: {doubt}" for doubt in given.doubts),
            "calibrate on a sample, then find every image's pose",
        ),
        outputs=_outputs(inputs.particles),
        seconds=30.0 + images * seconds_of_search(settings),
        memory_bytes=int(
            bytes_of_search(settings, spectrum) + bytes_of_table(particles.table.source)
        ),
        disk_bytes=int(3e6 + 600 * images),
    )


def seconds_of_search(settings: Settings) -> float:
    """Time to search one image, on two cores.

    Args:
        settings: of the search.

    Returns:
        a rough estimate, s.
    """
    points = np.pi / 2 * settings.config.radii[-1] ** 2
    return 6e-9 * settings.cells * len(settings.shifts) + 4e-6 * points


def bytes_of_search(settings: Settings, spectrum: int) -> float:
    """Memory that a search takes at its peak, the program included.

    Args:
        settings: of the search.
        spectrum: size of the spectrum of the reference, bytes.

    Returns:
        bytes.
    """
    cells = settings.cells * len(settings.shifts)
    return 8.6e8 + 7.6 * spectrum + max(0.0, 64.0 * cells - 1.3e8)


def _outputs(particles: ParticleSet) -> tuple[str, ...]:
    return f"particles.{particles.table.kind}", "report.html"


def _read(config: PoseConfig) -> Inputs:
    check_config(config)
    pieces = ("poses",) if config.start == "given" else ()
    particles = read_particle_set(config.particles, *pieces, image_root=config.image_root)
    given = read_reference(
        config.reference, particles, origin=config.origin, voxel_size=config.map.voxel_size
    )
    field = particles.box * particles.pixel_size
    finest = max(given.finest, 2 * particles.pixel_size, config.resolution or 0.0)
    radius = int(min(field / finest, particles.box // 2))
    if radius < 4:
        cause = f"details of {finest:.0f} Å are too coarse for images of {field:.0f} Å"
        if finest == config.resolution:
            raise InputError("command line", "--resolution", cause, "choose finer detail")
        raise InputError(config.reference, "its resolution", cause, "give a finer reference")
    given = held_to_symmetry(given, config.symmetry, config.reference, finest=finest)
    search = plan_search(field=field, radius=given.radius, finest=radius)
    settings = settings_for(
        search,
        field=field,
        shift_range=_SHIFT_SHARE * field if config.shift_range is None else config.shift_range,
        within_degrees=config.around_degrees,
        symmetry=config.symmetry,
        how=How(config.method, config.defocus_prior),
    )
    return Inputs(particles, given, settings)


def _described(inputs: Inputs) -> str:
    particles, given, settings = inputs
    field = particles.box * particles.pixel_size
    config = settings.config
    where = (
        f"{len(settings.views):,} views × {config.grid.turns} in-plane angles"
        if settings.around is None
        else f"{len(settings.around):,} rotations around the given pose"
    )
    then = f"refinement down to {field / config.radii[-1]:.1f} Å"
    if settings.how.method != "grid":
        then = f"one rotation from all scores ({settings.how.method})"
    if settings.how.defocus_deviation is not None:
        then += f", defocus within {settings.how.defocus_deviation:.0f} Å"
    return (
        f"{len(particles.table):,} images of {particles.box} px at {particles.pixel_size:g} Å, "
        f"{given.description}; {where} × {len(settings.shifts)} shifts down to "
        f"{field / config.coarse:.0f} Å, then {then}"
    )
