"""Maps of the states of a motion: every image enters each with the state's probability."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import jax
import numpy as np

from cryojax_graph.forward import sums_of_map
from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io.errors import InputError
from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import assess, doubts, find_mask, sharpened_map
from cryojax_graph.jobs.named_table import named_table
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import ParticleSet, look_through
from cryojax_graph.jobs.plan import Plan, bytes_of_table
from cryojax_graph.jobs.ranges import check_ranges, check_symmetry
from cryojax_graph.jobs.reconstruct.config import ReconstructConfig
from cryojax_graph.jobs.reconstruct.flex_folder import (
    FlexFolder,
    read_flex_folder,
    require_its_particles,
)
from cryojax_graph.jobs.reconstruct.insertion import Views, bytes_of_sums, insert_views
from cryojax_graph.jobs.reconstruct.maps import EDGE, HalfMaps, completed, solve_halves
from cryojax_graph.jobs.reconstruct.source import (
    DRAWN,
    Halves,
    divide,
    note_draw,
    read_source,
    source_of,
)
from cryojax_graph.jobs.reconstruct.states_outputs import (
    FIGURE_OF_MERIT,
    STATE_FILES,
    SolvedState,
    States,
    in_short,
    measure_state,
    measure_states,
    write_state,
    write_states,
    write_weighed,
)
from cryojax_graph.jobs.reconstruct.states_report import states_report
from cryojax_graph.models.backbone_graph.predict import path_latents
from cryojax_graph.models.backbone_graph.states import (
    effective_images,
    state_edges,
    state_places,
    state_probabilities,
    states_told_apart,
)

_STATES, _FEWEST, _MOST = 5, 2, 1000
# Bytes of one voxel of the sums, and of the sums of one half that are made in one pass.
_VOXEL, _AT_ONCE = 12, 2**30
_HARDLY = 1.5


class Inputs(NamedTuple):
    """The folder, and the particles that it names, read and checked."""

    folder: FlexFolder
    particles: ParticleSet
    views: Views
    states: States


def reconstruct_states(config: ReconstructConfig, *, options: JobOptions) -> Path:
    """Reconstruct one map for each state along the motion that a ``flex`` job found.

    Args:
        config: of what and how; the particles are the folder of that job.
        options: where, and the seed that draws halves where the table names none.

    Returns:
        the job folder.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = _read(config)
    folder, particles, views, states = inputs
    halves = divide(particles, options.seed, views.weight, by=config.halves.by)
    files = {"particles": str(folder.particles), "latents": str(folder.latents)}
    with open_job(
        config,
        verb="reconstruct",
        options=options,
        inputs=files,
        outputs=_outputs(len(states.place)),
    ) as job:
        job.log(_described(inputs))
        job.require_unchanged("images", particles.images.fingerprint())
        note_draw(halves, job)
        if not halves.given:
            job.warn(DRAWN)
        look_through(particles.table, particles.images, job)
        for warning in folder.warnings:
            job.warn(f"The flex job warned: {warning}")
        if states.told_apart < _HARDLY:
            job.warn(
                f"A single image tells {states.told_apart:.1f} of {len(states.place)} states "
                "apart: all maps are made of nearly the same images, with nearly the same weights"
            )
        weights = views.weight[:, None] * states.probability
        effective = effective_images(weights)
        for half in (1, 2):
            for number in np.flatnonzero(weights[halves.number == half].sum(axis=0) == 0):
                job.warn(f"State {number + 1}: half {half} has no image: halves do not compare")
        shown = []
        for number, maps in enumerate(_solved(config, inputs, halves, job), start=1):
            own = weights[:, number - 1]
            state = _judged(number, maps, float(effective[number - 1]), particles.pixel_size, job)
            write_state(state, origin=folder.origin, job=job)
            write_weighed(number, own, particles, halves, job)
            measure_state(state, job)
            shown.append(in_short(state))
        measure_states(states, job)
        write_states(shown, states, job)
        page = states_report(shown, states, folder.mean, halves, _again(config, particles), job)
        job.write_text("report.html", page, "this page")
        job.discard_working()
    return job.folder


def plan_states(config: ReconstructConfig, *, options: JobOptions) -> Plan:
    """Say what ``reconstruct`` would do with the folder of a ``flex`` job.

    Args:
        config: of the verb.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for two cores.

    Raises:
        InputError: an input cannot be used.
    """
    inputs = _read(config)
    box, images, count = inputs.particles.box, len(inputs.views.image), len(inputs.states.place)
    voxels = (config.padding * box) ** 3 / 2
    at_once = _states_at_once(box, config.padding, count)
    return Plan(
        actions=(_described(inputs), "compare the halves of each state, filter the map of both"),
        outputs=_outputs(count),
        seconds=10 + 4e-8 * images * count * box**2 + 1e-6 * count * voxels,
        memory_bytes=int(
            6e8
            + 2 * at_once * _VOXEL * voxels
            + bytes_of_sums(box, padding=config.padding, maps=at_once)
            + bytes_of_table(inputs.folder.particles)
        ),
        disk_bytes=int(5e6 + count * (20 * box**3 + 300 * images)),
    )


def _read(config: ReconstructConfig) -> Inputs:
    check_symmetry(config.symmetry)
    count = _STATES if config.states is None else config.states
    check_ranges({"states": (count, _FEWEST, _MOST)})
    if config.contrast == "dark":
        cause = "flex takes bright particles only, and these are"
        raise InputError("command line", "--contrast", cause, "leave it out")
    folder = read_flex_folder(config.particles)
    table = replace(
        config,
        particles=str(folder.particles),
        image_root=config.image_root or str(folder.image_root),
    )
    particles, views = read_source(table)
    require_its_particles(particles, folder)
    states = _states(folder, count)
    if empty := int(np.sum(~np.isfinite(states.place))):
        cause = f"{empty} of {count} states would be without any image"
        raise InputError("command line", "--states", cause, "give fewer states")
    return Inputs(folder, particles, views, states)


def _outputs(states: int) -> tuple[str, ...]:
    of_states = [f"state_{k}/{name}" for k in range(1, states + 1) for name in STATE_FILES]
    return (*of_states, "states.csv", "report.html")


def _states(folder: FlexFolder, count: int) -> States:
    mean, deviation = folder.mean, folder.deviation
    edges = state_edges(mean, deviation, states=count)
    places = state_places(mean, deviation, edges)
    path, _ = path_latents(mean[:, None], folder.points)
    probability = state_probabilities(mean, deviation, edges)
    return States(
        edges=edges,
        place=places,
        model=[int(np.argmin(np.abs(path - place))) + 1 for place in places],
        probability=probability,
        told_apart=states_told_apart(probability),
    )


def _solved(
    config: ReconstructConfig, inputs: Inputs, halves: Halves, job: Job
) -> Iterator[HalfMaps]:
    """Maps of one state after the other; as many states as fit into memory share a pass."""
    particles, views, probability = inputs.particles, inputs.views, inputs.states.probability
    source, box = source_of(particles, config.padding), particles.box
    operators = symmetry_rotations(config.symmetry)
    at_once = _states_at_once(box, config.padding, probability.shape[1])
    groups = range(0, probability.shape[1], at_once)
    with job.progress("Inserting images", len(groups) * len(views.image)) as advance:
        for turn, first in enumerate(groups):
            shares, done = probability[:, first : first + at_once], turn * len(views.image)
            sums = []
            for half in (1, 2):
                mine = halves.number == half
                inserted = insert_views(
                    source,
                    Views(*(values[mine] for values in views)),
                    shares=shares[mine],
                    job=job,
                    name=f"states{first + 1}_half{half}_sums",
                    advance=lambda number, done=done: advance(done + number),
                )
                sums.append(inserted)
                done += int(mine.sum())
            for state in range(shares.shape[1]):
                pair = (completed(sums_of_map(half, state), operators) for half in sums)
                yield solve_halves(*pair, box=box, radius=box / 2 - EDGE)


def _states_at_once(box: int, padding: int, states: int) -> int:
    """How many states share a pass over the images."""
    return min(states, max(1, int(_AT_ONCE / (_VOXEL * (padding * box) ** 3 / 2))))


def _judged(
    number: int, maps: HalfMaps, effective: float, voxel_size: float, job: Job
) -> SolvedState:
    first, second = maps.first, maps.second
    mask = None
    try:
        mask = find_mask(first, second, voxel_size=voxel_size)
    except ValueError as error:
        job.warn(f"State {number}: no mask was found ({error}): resolution is of the whole box")
    # One seed for all: states are compared with each other.
    key = jax.random.key(job.seed)
    quality = assess(key, first, second, mask, maps.whole, voxel_size=voxel_size)
    for doubt in doubts(first, second, quality, confined=True):
        job.warn(f"State {number}: {doubt}")
    job.log(f"State {number}: {effective:,.0f} effective images, {quality.resolution:.2f} Å")
    return SolvedState(number, maps, quality, sharpened_map(quality), effective)


def _again(config: ReconstructConfig, particles: ParticleSet) -> str:
    """The command that makes the map of the first state alone."""
    table = named_table("state_1/particles.star", particles)
    return (
        f"cryojax-graph reconstruct {table} --weights {FIGURE_OF_MERIT} "
        f"--symmetry {config.symmetry} -o again"
    )


def _described(inputs: Inputs) -> str:
    particles, states = inputs.particles, inputs.states
    return (
        f"{len(inputs.views.image):,} images of {particles.box} px at {particles.pixel_size:g} Å, "
        f"{len(states.place)} states along the motion of {inputs.folder.path}, of which an image "
        f"tells {states.told_apart:.1f} apart"
    )
