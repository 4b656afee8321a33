"""Outputs of ``flex``: arrays, a path as a movie, maps, particle subsets, the report."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.atoms import write_models
from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.io.npz import Parts, write_npz
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.jobs.flex.completeness import check_completeness
from cryojax_graph.jobs.flex.config import FlexConfig
from cryojax_graph.jobs.flex.poses import fitted_poses, with_fitted_poses, write_fitted_poses
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.flex.report import MotionPath, flex_report
from cryojax_graph.jobs.flex.results import (
    Found,
    Motion,
    carry_atoms,
    conformations,
    decode_ordered,
    map_of,
    region_of,
    undrawn_mass,
)
from cryojax_graph.jobs.flex.saved import MODEL_FILE, SavedModel, write_saved
from cryojax_graph.jobs.flex.truth import errors_against_truth
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.imaging import extra_variance
from cryojax_graph.models.backbone_graph.predict import path_latents
from cryojax_graph.models.backbone_graph.template import joined_to_next

_MAPS = 5
_IMAGES_TO_CHECK_WINDOWS = 256
_UNDRAWN = 0.01
_FEW_STEPS = 250
_FEW_UNSEEN = 10
# A million images of a large complex would fill the disk; latents decode to the same.
_LARGEST_CONFORMATIONS = 8 * 2**30


def write_outputs(
    config: FlexConfig,
    problem: Problem,
    found: Found,
    job: Job,
) -> None:
    """Write everything that ``flex`` leaves behind.

    Args:
        config: of the verb.
        problem: what was fitted to what.
        found: what came of it.
        job: whose folder is meant.
    """
    template, params, motion = problem.template, found.fitted.params, found.motion
    poses = None
    if "poses" in params:
        poses = fitted_poses(problem, params)
        problem = with_fitted_poses(problem, params, poses)
        write_fitted_poses(problem, poses, job)
    positions, ordered = path_latents(motion.latents, config.outputs.points)
    path = decode_ordered(params, motion, ordered, config=problem.config, template=template)
    _write_arrays(problem, found, job)
    with job.output("motion.cif", "the path through the conformations, as a movie") as file:
        frames = carry_atoms(template, problem.model.arrays.atoms, problem.model.residue, path)
        by = problem.placement.by.astype(np.float32)
        write_models(file, problem.model.atoms, frames - by)
    _write_maps(problem, params, path, job)
    _write_subsets(config, problem, motion, job)
    _measure(problem, motion, path, job)
    steps = None
    if problem.saved is None:
        _, steps = problem.config.fitting.epochs_for(len(problem.fitted))
    _measure_evidence(found, steps, job)
    _check_windows(problem, params, motion, job)
    check_completeness(problem, params, job)
    errors = None
    if problem.truth is not None:
        recovered = _all_conformations(problem, found)
        errors = errors_against_truth(problem.truth, recovered, np.asarray(template.c_alpha), job)
    page = flex_report(problem, found, MotionPath(positions, path), errors, poses, job)
    job.write_text("report.html", page, "this page")


def _all_conformations(problem: Problem, found: Found) -> Iterator[Float[np.ndarray, "part n 3"]]:
    """C-alpha positions of all images in Å, a part at a time."""
    images = np.arange(len(found.motion.latents))
    return conformations(
        found.fitted.params, images, config=problem.config, template=problem.template
    )


def _write_arrays(problem: Problem, found: Found, job: Job) -> None:
    motion, residues = found.motion, problem.model.residues
    identity = {
        "template": np.asarray(problem.template.c_alpha),
        "chain": residues.chain.astype(str),
        "residue_number": residues.number.astype(np.int32),
        "residue_name": residues.name.astype(str),
    }
    with job.output("latents.npz", "latent of every image, ordered, with its deviation") as file:
        arrays = {
            "latents": motion.latents.astype(np.float32),
            "axes": motion.axes.astype(np.float32),
            "centre": motion.centre.astype(np.float32),
        }
        if motion.deviation is not None:
            log_deviation = np.asarray(found.fitted.params["latents"]["log_deviation"], float)
            along_axes = np.sqrt(np.exp(2.0 * log_deviation) @ motion.axes**2)
            arrays["latent_deviation"] = along_axes.astype(np.float32)
            arrays["position_deviation_angstrom"] = motion.deviation.astype(np.float32)
        write_npz(file, arrays)
    with job.output(MODEL_FILE, "the fitted model, for finding conformations of more images") as f:
        saved = SavedModel(
            params=found.fitted.params,
            config=problem.config,
            candidates=found.fitted.candidates,
            frequencies=found.fitted.frequencies,
            images=problem.decoder_images,
            template=np.asarray(problem.template.c_alpha),
            box=problem.particles.box,
            pixel_size=problem.particles.pixel_size,
        )
        write_saved(f, saved)
    shape = (len(motion.latents), *problem.template.c_alpha.shape)
    if 4 * math.prod(shape) > _LARGEST_CONFORMATIONS:
        job.warn("conformations.npz was left out: it would be larger than 8 GiB")
        return
    with job.output("conformations.npz", "C-alpha positions of every image, Å") as file:
        arrays = {
            "c_alpha": Parts(shape, np.dtype(np.float32), _all_conformations(problem, found)),
            "latents": motion.latents.astype(np.float32),
        }
        if "poses" not in found.fitted.params:
            # By these a comparison tells whether it has the truth of the very images.
            arrays["euler_degrees"] = problem.particles.table.euler_degrees
        write_npz(file, arrays | identity)


def _write_maps(
    problem: Problem, params: dict[str, Any], path: Float[np.ndarray, "points n 3"], job: Job
) -> None:
    box, size = problem.particles.box, problem.particles.pixel_size
    count = len(path)
    chosen = np.unique(np.linspace(0, count - 1, _MAPS).round().astype(int))
    for point in chosen.tolist():
        density = map_of(
            path[point],
            template=problem.template,
            extra_variance=float(extra_variance(params["imaging"])),
            box=box,
            voxel_size=size,
        )
        corner = np.full(3, -(box // 2) * size) - problem.placement.by
        # Counted from 1, as viewers count the models of the movie.
        name = f"maps/point_{point + 1:0{max(2, len(str(count)))}}.mrc"
        with job.output(name, f"density at point {point + 1} of {count}, as in motion.cif") as f:
            write_map(f, Map(density, np.full(3, size), corner))


def _check_windows(problem: Problem, params: dict[str, Any], motion: Motion, job: Job) -> None:
    count = len(motion.sample)
    some = np.linspace(0, count - 1, min(count, _IMAGES_TO_CHECK_WINDOWS)).astype(int)
    undrawn = undrawn_mass(
        motion.c_alpha[some],
        problem.particles.views.rotation[motion.sample[some]],
        template=problem.template,
        extra_variance=float(extra_variance(params["imaging"])),
        box=problem.particles.box,
        pixel_size=problem.particles.pixel_size,
    )
    job.metric("undrawn_mass_share", float(undrawn.mean()), "1")
    if undrawn.mean() > _UNDRAWN:
        job.warn(
            f"{100 * undrawn.mean():.1f} % of the molecule lay outside the windows in which it was "
            "drawn: the motion is too large for the template, or the images are blurred by far "
            "more than its atoms' own width. Take a template closer to the images."
        )


def _write_subsets(config: FlexConfig, problem: Problem, motion: Motion, job: Job) -> None:
    table = problem.particles.table
    region = region_of(motion.latents[:, 0], config.outputs.subsets)
    suffix = ".cs" if table.kind == "cs" else ".star"
    latent_columns = {"cryojaxLatent1": motion.latents[:, 0]}
    if motion.deviation is not None:
        latent_columns["cryojaxPositionDeviation"] = motion.deviation
    if table.kind == "star":
        table = with_columns(table, latent_columns)
    for number in np.unique(region).tolist():
        with job.output(
            f"subsets/region_{number}{suffix}",
            f"particles of region {number} of {config.outputs.subsets} along the motion",
        ) as file:
            write_particles(subset(table, np.flatnonzero(region == number)), file)


def _measure(
    problem: Problem,
    motion: Motion,
    path: Float[np.ndarray, "points n 3"],
    job: Job,
) -> None:
    template = np.asarray(problem.template.c_alpha)
    bonded = joined_to_next(problem.model.arrays.graph)[:-1] > 0

    def steps(c_alpha: np.ndarray) -> np.ndarray:
        return np.linalg.norm(np.diff(c_alpha, axis=-2), axis=-1)[..., bonded]

    off = np.sqrt(np.mean((steps(motion.c_alpha) - steps(template)) ** 2)) if bonded.any() else 0.0
    length = np.sqrt(((path[-1] - path[0]) ** 2).sum(-1).mean())
    job.metric("images", len(motion.latents), "1")
    job.metric("residues", len(template), "1")
    job.metric("spread_rms_angstrom", motion.spread)
    job.metric("path_ends_rmsd_angstrom", length)
    job.metric("c_alpha_step_deviation_rms_angstrom", off)
    if motion.deviation is not None:
        job.metric("position_deviation_median_angstrom", float(np.median(motion.deviation)))


def _unconfirmed(images: int, steps: int | None) -> str:
    if images < _FEW_UNSEEN:
        return (
            f"Images outside the fit, {images}, are too few to tell whether they confirm the "
            "motion: take more images, or hold out more of them."
        )
    if steps is not None and steps < _FEW_STEPS:
        return (
            f"After {steps} steps the fit is not finished: that images outside it confirm no "
            "motion says nothing yet. Give more --epochs."
        )
    return (
        "No motion was found that images outside the fit confirm: differences between "
        "conformations are not evidence."
    )


def _measure_evidence(found: Found, steps: int | None, job: Job) -> None:
    gain, halves, deviation = found.gain, found.halves, found.motion.deviation
    error = found.gain_error
    if gain is not None:
        job.metric("held_out_motion_gain_mean_nats", gain.mean(), "nats")
        if error is not None:
            job.metric("held_out_motion_gain_standard_error_nats", error, "nats")
        if error is None or gain.mean() <= 2.0 * error:
            job.warn(_unconfirmed(len(gain), steps))
        elif deviation is not None and found.motion.spread < np.median(deviation):
            job.warn(
                f"Conformations differ by {found.motion.spread:.2f} Å (rms), less than the "
                "uncertainty of a single one: small errors of model or poses can look like this."
            )
    if halves is not None:
        job.metric("half_set_rmsd_median_angstrom", float(np.median(halves.agreement)))
        job.metric("half_set_rmsd_by_chance_median_angstrom", float(np.median(halves.by_chance)))
