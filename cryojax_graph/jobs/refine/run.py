"""``refine`` from end to end."""

from pathlib import Path
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.forward.fourier import low_pass
from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import OWN_LIMITS
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.map_quality import judge
from cryojax_graph.jobs.noise import GroupNoise
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import (
    ParticleSet,
    look_through,
    read_particle_set,
    refuse_second_inversion,
)
from cryojax_graph.jobs.plan import Plan, bytes_of_table
from cryojax_graph.jobs.pose.reference import Given, read_reference
from cryojax_graph.jobs.pose.searcher import Searcher
from cryojax_graph.jobs.pose.settings import Settings, settings_for, shift_prior
from cryojax_graph.jobs.pose.survey import Survey, note_hand, survey
from cryojax_graph.jobs.pose.symmetry import held_to_symmetry
from cryojax_graph.jobs.reconstruct.insertion import bytes_of_sums
from cryojax_graph.jobs.reconstruct.maps import EDGE, WITNESSES
from cryojax_graph.jobs.reconstruct.outputs import MAPS, write_maps
from cryojax_graph.jobs.reconstruct.source import (
    Halves,
    check_numbered,
    divide,
    note_draw,
    source_of,
)
from cryojax_graph.jobs.reconstruct.symmetric_views import symmetric_views
from cryojax_graph.jobs.refine.config import RefineConfig, check_config
from cryojax_graph.jobs.refine.contrast import contrast_groups
from cryojax_graph.jobs.refine.outputs import measure, write_poses
from cryojax_graph.jobs.refine.report import refine_report
from cryojax_graph.jobs.refine.rounds import (
    RefinePlan,
    in_table_order,
    refine_rounds,
    settled,
)
from cryojax_graph.jobs.view_averages import view_averages
from cryojax_graph.jobs.view_distribution import VIEWS_FILE, write_views
from cryojax_graph.poses.reference import amplify, reference_of
from cryojax_graph.poses.search import plan_search

_SHIFT_SHARE = 1 / 12
# Elongated particles reach this much farther than a ball with their radius of gyration.
_REACH = 1.8
# Radius of gyration of a ball beside its radius.
_GYRATION = np.sqrt(3 / 5)
# With fewer shells a reference has no shape that images or halves could be turned to.
_FEWEST_SHELLS = 2
_PADDING = 2
# How far from a shift that was found others are tried, in steps of their grid.
_AGAIN_STEPS = 2
# How far from the shift of an image that is sure of its pose others are tried.
_NEAR_PIXELS = 3.0
_NOTHING_FINER = (
    "The halves agree to {:.0f} Å, in no more than they share with the reference: images of noise "
    "alone would do as well. Look at the poses' deviations, at another reference, or at more images"
)
_NOT_SETTLED = (
    "It ended after round {}, the last that --most-rounds allows, before maps and poses were seen "
    "to settle: more rounds may find more"
)
# Parts of a half, each searched with the map of the others, and images of one call.
_FOLDS, _BLOCK = 4, 64


class Inputs(NamedTuple):
    """The user's files, read and checked, and what follows from them."""

    particles: ParticleSet
    given: Given
    settings: Settings


def refine(config: RefineConfig, *, options: JobOptions) -> Path:
    """Find poses and map of particles that a coarse reference shows.

    Args:
        config: of what with what.
        options: where, and the seed that draws halves where the table names none.

    Returns:
        the job folder.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = _read(config)
    particles, given, settings = inputs
    halves = divide(particles, options.seed, by=config.halves.by)
    folds = [_folds(particles, halves, number, options.seed) for number in (1, 2)]
    files = {"particles": config.particles, "reference": config.reference}
    outputs = _outputs(particles)
    with open_job(config, verb="refine", options=options, inputs=files, outputs=outputs) as job:
        job.log(_described(config, inputs))
        job.require_unchanged("images", particles.images.fingerprint())
        note_draw(halves, job)
        look_through(particles.table, particles.images, job)
        for doubt in given.doubts:
            job.warn(doubt)
        block = min(_BLOCK, -(-len(particles.table) // (2 * _FOLDS)))
        source = source_of(particles, _PADDING)
        noise = GroupNoise(source.group, 1 / source.precision)
        searcher = Searcher(particles, settings, noise=noise, block=block)

        # Kept, as the rounds are: a job that goes on after the first of them looks at no sample.
        hand = job.working("hand.npz")

        def begin() -> Survey:
            known = survey(searcher, given.reference, particles, job)
            write_npz(hand, {"evidence": np.array(known.hand or ())})
            return known

        plan = RefinePlan(
            settings,
            _again(inputs),
            _near(config, inputs),
            _centres(config, particles),
            _shift_range(config, particles),
            noise,
            contrast_groups(particles.table),
            block,
            source,
            (folds[0], folds[1]),
            symmetry_rotations(config.symmetry),
            _shared(config, particles),
            _radius(config, inputs),
        )
        rounds = refine_rounds(plan, begin, most=config.most_rounds, job=job)
        evidence = read_npz(hand, limits=OWN_LIMITS)["evidence"].tolist()
        note_hand((evidence[0], evidence[1]) if evidence else None, job)
        last, voxel = rounds[-1], particles.pixel_size
        first, second = last.maps.halves
        write_maps((first, second), last.maps.combined, voxel_size=voxel, job=job)
        write_poses(last, plan, halves, job)
        weight = np.ones(len(last.found.rotation))
        seen = symmetric_views(last.found.rotation, weight, plan.operators)
        write_views(seen, box=particles.box, voxel_size=voxel, job=job)
        measure(rounds, plan, job)
        if not settled(rounds, plan):
            job.warn(_NOT_SETTLED.format(len(rounds)))
        nothing_finer = last.agreed <= plan.shared
        if nothing_finer:
            job.warn(_NOTHING_FINER.format(last.resolution))
        judged = judge(
            first,
            second,
            last.maps.whole,
            voxel_size=voxel,
            job=job,
            shared=plan.shared if nothing_finer else None,
        )
        field = particles.box * voxel
        averages = view_averages(
            particles,
            in_table_order(last.found, plan).pose,
            reference_of(
                jnp.asarray(last.maps.combined), voxel_size=voxel, field=field, pixel_size=voxel
            ),
            radius=field / last.resolution,
        )
        page = refine_report(judged, rounds, averages, config, particles, job)
        job.write_text("report.html", page, "this page")
        job.discard_working()
    return job.folder


def plan_refine(config: RefineConfig, *, options: JobOptions) -> Plan:
    """Say what ``refine`` would do.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for two cores.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = _read(config)
    box, images = inputs.particles.box, len(inputs.particles.table)
    voxels = (_PADDING * box) ** 3 / 2
    sums = bytes_of_sums(box, padding=_PADDING)
    return Plan(
        actions=(
            _described(config, inputs),
            *(f"warn: {doubt}" for doubt in inputs.given.doubts),
            "search and reconstruct in turn, the halves apart",
        ),
        outputs=_outputs(inputs.particles),
        seconds=30 + 8 * images * (2e-3 + 1.5e-6 * box**2),
        # While maps are solved, or while images are inserted; the table stays.
        memory_bytes=int(
            1.3e9 + 48 * voxels + max(32 * voxels, sums) + bytes_of_table(config.particles)
        ),
        # Sums of all parts, and twelve maps of every round.
        disk_bytes=int(5e6 + (400 + 48 * config.most_rounds) * box**3 + 3000 * images),
    )


def _shared(config: RefineConfig, particles: ParticleSet) -> int:
    """Shells of the reference, but for the edge of its filter."""
    return int(particles.box * particles.pixel_size / config.low_pass) + 1


def _outputs(particles: ParticleSet) -> tuple[str, ...]:
    return (*MAPS, VIEWS_FILE, "fsc.csv", f"particles.{particles.table.kind}", "report.html")


def _read(config: RefineConfig) -> Inputs:
    check_config(config)
    pieces = ("poses",) if config.start == "given" else ()
    particles = read_particle_set(
        config.particles,
        *pieces,
        image_root=config.image_root,
        fewest=16,
        too_few="for two halves",
    )
    refuse_second_inversion(particles, config.contrast)
    if config.contrast == "dark":
        particles = particles._replace(images=particles.images.inverted())
    check_numbered(particles, _PADDING)
    _check_low_pass(config, particles)
    given = read_reference(
        config.reference, particles, origin=config.origin, voxel_size=config.map.voxel_size
    )
    _check_diameter(config, particles, given)
    box, field = particles.box, particles.box * particles.pixel_size
    finest = max(config.low_pass, given.finest)
    given = held_to_symmetry(given, config.symmetry, config.reference, finest=finest)
    passed = low_pass(config.low_pass, box=box, pixel_size=particles.pixel_size)[0]
    coarse = given._replace(reference=amplify(given.reference, jnp.asarray(passed)))
    settings = settings_for(
        plan_search(field=field, radius=given.radius, finest=box // 2),
        field=field,
        shift_range=_shift_range(config, particles),
        within_degrees=config.around_degrees,
        symmetry=config.symmetry,
    )
    return Inputs(particles, coarse, settings)


def _check_low_pass(config: RefineConfig, particles: ParticleSet) -> None:
    """Refuse a filter that leaves nothing to compare images with, or halves by."""
    field = particles.box * particles.pixel_size
    if config.low_pass > field / _FEWEST_SHELLS:
        cause = f"nothing of that size has a shape in images of {field:.0f} Å"
        remedy = f"choose finer detail, {field / _FEWEST_SHELLS:.0f} Å at most"
        raise InputError("command line", "--low-pass", cause, remedy)
    if _shared(config, particles) + WITNESSES > particles.box // 2 + 1:
        finest = 2 * particles.pixel_size
        cause = (
            f"between {config.low_pass:g} Å and the finest detail of the images, {finest:.3g} Å, "
            "there are no shells by which halves could be compared"
        )
        raise InputError("command line", "--low-pass", cause, "choose coarser detail, 40 Å say")


def _check_diameter(config: RefineConfig, particles: ParticleSet, given: Given) -> None:
    """Refuse a sphere that cannot hold the reference, or that the box cannot.

    A hollow particle is hardly larger than twice its radius of gyration, and none is smaller: the
    ball of the same radius of gyration would be too much to ask.
    """
    if config.diameter is None:
        return
    least = 2 * _GYRATION * given.radius
    if config.diameter < least:
        cause = f"a sphere of {config.diameter:g} Å does not hold {config.reference}"
        remedy = f"give more than {least:.0f} Å, twice its radius of gyration, or leave it"
        raise InputError("command line", "--diameter", cause, remedy)
    most = (particles.box - 2 * EDGE) * particles.pixel_size
    if config.diameter > most:
        cause = f"a sphere of {config.diameter:g} Å and its edge do not fit into the images"
        remedy = f"give {most:.0f} Å at most, or leave it"
        raise InputError("command line", "--diameter", cause, remedy)


def _shift_range(config: RefineConfig, particles: ParticleSet) -> float:
    if config.shift_range is not None:
        return config.shift_range
    return _SHIFT_SHARE * particles.box * particles.pixel_size


def _centres(config: RefineConfig, particles: ParticleSet) -> Float[np.ndarray, "images 2"]:
    """Shifts that others are sought from."""
    if config.start != "given":
        return np.zeros((len(particles.table), 2))
    shift = particles.table.shift_angstrom
    assert shift is not None
    return shift


def _again(inputs: Inputs) -> Settings:
    """The grids of the first round at shifts around one that was found.

    An image that no pose fits well is still centred well: few shifts will do, and the scores of all
    shifts were more than half of the time of a search. One that is farther off comes nearer in
    every round, within the range of the first.
    """
    settings = inputs.settings
    length = np.linalg.norm(settings.shifts, axis=1)
    if len(length) == 1:
        return settings
    reach = float(min(_AGAIN_STEPS * length[1], length.max()))
    # The shifts of a square grid are in the order of their lengths.
    shifts = settings.shifts[length <= reach * (1 + 1e-6)]
    return settings._replace(shifts=shifts, prior=shift_prior(reach))


def _near(config: RefineConfig, inputs: Inputs) -> Settings:
    """Grids around a pose."""
    particles, _, settings = inputs
    return settings_for(
        settings.config,
        field=particles.box * particles.pixel_size,
        shift_range=min(_NEAR_PIXELS * particles.pixel_size, _shift_range(config, particles)),
        within_degrees=config.near_degrees,
        symmetry=config.symmetry,
    )


def _folds(
    particles: ParticleSet, halves: Halves, number: int, seed: int
) -> list[Int[np.ndarray, " n"]]:
    """Random parts of one half, in ascending order; rows that share something are in one part."""
    members = np.flatnonzero(halves.number == number)
    group = halves.group[members]
    if len(np.unique(group)) < _FOLDS:
        # A few long filaments: then parts share some noise, which costs accuracy; halves do not.
        group = particles.table.image_of_row()[members]
    drawn = np.random.default_rng([seed, number]).permutation(np.unique(group))
    if len(drawn) < _FOLDS:
        cause = f"half {number} has {len(drawn)} images, too few for {_FOLDS} parts"
        remedy = "give more particles, or remove the column to draw new halves"
        raise InputError(particles.table.source, "half-sets", cause, remedy)
    return [members[np.isin(group, part)] for part in np.array_split(drawn, _FOLDS)]


def _radius(config: RefineConfig, inputs: Inputs) -> float:
    """Of the sphere that holds the particle, voxels."""
    particles, given, _ = inputs
    wanted = _REACH * given.radius if config.diameter is None else config.diameter / 2
    # Told from a reference it may be too much; what was given fits.
    return min(wanted / particles.pixel_size, particles.box / 2 - EDGE)


def _described(config: RefineConfig, inputs: Inputs) -> str:
    particles, given, settings = inputs
    rotations = (
        f"{len(settings.views):,} views × {settings.config.grid.turns} in-plane angles"
        if settings.around is None
        else f"{len(settings.around):,} rotations around the pose"
    )
    return (
        f"{len(particles.table):,} images of {particles.box} px at {particles.pixel_size:g} Å, "
        f"{given.description}, low-passed to {config.low_pass:g} Å, symmetry {config.symmetry}; "
        f"{rotations} × {len(settings.shifts)} shifts"
    )
