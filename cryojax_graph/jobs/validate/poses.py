"""``validate poses``: poses of particles against the true ones, or against those of another run."""

import csv
import io
from dataclasses import dataclass
from pathlib import Path

import jax
import numpy as np
import tyro
from jaxtyping import Float

from cryojax_graph.jobs.folder import open_job
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.plan import Plan
from cryojax_graph.jobs.ranges import check_symmetry
from cryojax_graph.jobs.validate.poses_input import PosePairs, read_poses
from cryojax_graph.jobs.validate.poses_report import in_words, poses_report
from cryojax_graph.jobs.validate.poses_scores import (
    PoseScores,
    doubts,
    score_poses,
)

_UNITS = ("angstrom", "degrees", "pixels", "percent")


@dataclass(frozen=True)
class ValidatePosesConfig:
    """Settings of the verb.

    Args:
        particles: Particles with the poses to be scored: STAR or .cs.
        truth: Poses taken as right: a STAR or .cs table of the same images, or the truth.npz of
            their simulation.
        symmetry: Point group of the object: C1, D2, T, O, I1 and so on, axes as in RELION.
        either_hand: Try the mirrored object too: images cannot tell one hand from the other.
    """

    particles: tyro.conf.Positional[str]
    truth: str
    symmetry: str = "C1"
    either_hand: bool = False


def validate_poses(config: ValidatePosesConfig, *, options: JobOptions) -> Path:
    """Score poses against others of the same images.

    Args:
        config: what to compare with what.
        options: where, and the seed of the bootstrap.

    Returns:
        the job folder.

    Raises:
        InputError: a file cannot be used, or nothing tells which images are the same.
    """
    check_symmetry(config.symmetry)
    comparison = read_poses(config.particles, config.truth)
    inputs = {"particles": config.particles, "truth": config.truth}
    with open_job(config, verb="validate poses", options=options, inputs=inputs) as job:
        job.log(
            f"{len(comparison.pairs.rows):,} images are in both files, told by "
            f"{comparison.matched.by}; rows: {comparison.particles:,} of the particles, "
            f"{comparison.truths:,} of the truth"
        )
        scores = score_poses(
            jax.random.key(options.seed),
            comparison.pairs,
            either_hand=config.either_hand,
            symmetry=config.symmetry,
        )
        for warning in (*comparison.matched.warnings, *doubts(scores, config.symmetry)):
            job.warn(warning)
        for name, value in scores.figures.items():
            job.metric(name, value, None if name.endswith(_UNITS) else "1")
        left_out = comparison.particles - len(comparison.pairs.rows)
        job.metric("images_left_out", left_out, "1")
        job.log(in_words(scores))
        _write_errors(comparison.pairs, scores, job)
        job.write_text("report.html", poses_report(comparison, scores, job), "this page")
    return job.folder


def plan_validate_poses(config: ValidatePosesConfig, *, options: JobOptions) -> Plan:
    """Say what ``validate poses`` would do.

    Args:
        config: what to compare with what.
        options: of the job.

    Returns:
        the plan; time is a rough estimate for one core.

    Raises:
        InputError: a file cannot be used, or nothing tells which images are the same.
    """
    check_symmetry(config.symmetry)
    comparison = read_poses(config.particles, config.truth)
    images = len(comparison.pairs.rows)
    return Plan(
        actions=(f"compare the poses of {images:,} images, told by {comparison.matched.by}",),
        outputs=("errors.csv", "metrics.json", "report.html"),
        seconds=3.0 + 6e-5 * images,
        memory_bytes=int(2.6e8 + 2e3 * images),
        disk_bytes=int(3e6 + 60 * images),
    )


def _write_errors(pairs: PosePairs, scores: PoseScores, job: Job) -> None:
    columns = {
        "row": (pairs.rows + 1).tolist(),
        "image": pairs.names,
        "rotation_error_degrees": _fixed(scores.rotation),
        "out_of_plane_error_degrees": _fixed(scores.out_of_plane),
        "shift_error_angstrom": _fixed(scores.shift),
    }
    if pairs.pixel_size is not None:
        columns["shift_error_pixels"] = _fixed(scores.shift / pairs.pixel_size)
    if pairs.deviation_degrees is not None:
        columns["rotation_deviation_degrees"] = _fixed(pairs.deviation_degrees)
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    job.write_text("errors.csv", text.getvalue(), "errors of every image")


def _fixed(values: Float[np.ndarray, " images"]) -> list[str]:
    return [f"{value:.4f}" for value in values.tolist()]
