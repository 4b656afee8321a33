"""Poses that were fitted together with the motion: table, figures and their part of the report."""

from typing import Any, NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation
from cryojax_graph.jobs.figures import Axis, histogram_figure, sphere_figure
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.pose.outputs import LOST_SHARE
from cryojax_graph.jobs.report import Section, paragraph
from cryojax_graph.models.backbone_graph.views import arm, fitted_views
from cryojax_graph.training.recipes.backbone_graph import Views

_SHOWN = 5000
# Given poses with a smaller error serve as they are, whether or not the images could tell them.
_GOOD = 10.0


class FittedPoses(NamedTuple):
    """What became of the poses that the fit began with.

    Attributes:
        turned: angle from the pose at the start, degrees.
        moved: distance from the shift at the start, Å.
        rotation_deviation: expected error of the fitted rotation, degrees; of one that was searched
            no less than what the search said, which knows of all other poses.
        shift_deviation: of the fitted shift along one axis, Å.
        given_errors: rms error of the rotations (degrees) and shifts (Å) that were given, as
            fitted; none where they were found in the same images.
    """

    turned: Float[np.ndarray, " images"]
    moved: Float[np.ndarray, " images"]
    rotation_deviation: Float[np.ndarray, " images"]
    shift_deviation: Float[np.ndarray, " images"]
    given_errors: tuple[float, float] | None


def fitted_poses(problem: Problem, params: dict[str, Any]) -> FittedPoses:
    """Say how far poses went, and how sure they are.

    Args:
        problem: what was fitted to what.
        params: of the fitted system, poses among them.

    Returns:
        figures of every image.
    """
    unit = float(arm(problem.template))
    mean = np.asarray(params["poses"].mean, np.float64)
    variance = np.sum(np.asarray(params["poses"].spread, np.float64) ** 2, axis=-1)
    given_errors = None
    if problem.config.poses.error_fitted:
        turn, move = np.exp(np.asarray(params["pose_error"], np.float64))
        given_errors = (float(np.degrees(np.sqrt(3.0) * turn)), float(unit * np.sqrt(2.0) * move))
    return FittedPoses(
        turned=np.degrees(np.linalg.norm(mean[:, :3], axis=1)),
        moved=unit * np.linalg.norm(mean[:, 3:], axis=1),
        rotation_deviation=np.degrees(_doubt(problem, np.sqrt(np.sum(variance[:, :3], axis=1)))),
        shift_deviation=unit * np.sqrt(np.mean(variance[:, 3:], axis=1)),
        given_errors=given_errors,
    )


def _doubt(problem: Problem, local: Float[np.ndarray, " images"]) -> Float[np.ndarray, " images"]:
    # The fit stays in the mode that the search has chosen, and cannot doubt it.
    return local if problem.doubt is None else np.maximum(local, problem.doubt)


def with_fitted_poses(problem: Problem, params: dict[str, Any], fitted: FittedPoses) -> Problem:
    """The problem with the poses that came of the fit in place of those it began with.

    Args:
        problem: with poses as they were at the start.
        params: of the fitted system.
        fitted: from ``fitted_poses``.

    Returns:
        the problem; its reader still has the poses of the start, on which the corrections stand.
    """
    start, template = problem.particles.views, problem.template
    views = fitted_views(
        params, jnp.asarray(start.rotation), jnp.asarray(start.shift), template=template
    )
    rotation, shift = np.asarray(views["rotation"]), np.asarray(views["shift"])
    table = with_columns(
        problem.particles.table,
        {
            "euler_degrees": euler_from_rotation(rotation.astype(np.float64)),
            "shift_angstrom": shift.astype(np.float64),
            "cryojaxgraphRotationDeviation": fitted.rotation_deviation.round(4),
            "cryojaxgraphShiftDeviation": fitted.shift_deviation.round(4),
        },
    )
    return problem._replace(
        particles=problem.particles._replace(table=table, views=Views(rotation, shift, start.ctf))
    )


def write_fitted_poses(problem: Problem, fitted: FittedPoses, job: Job) -> None:
    """Write the table with fitted poses, and note how far they went.

    Args:
        problem: from ``with_fitted_poses``.
        fitted: from ``fitted_poses``.
        job: in whose folder.
    """
    table = problem.particles.table
    name = "particles.star" if table.kind == "star" else "particles.cs"
    with job.output(name, "the particles with fitted poses and their uncertainty") as path:
        write_particles(table, path)
    turned, moved = np.median(fitted.turned), np.median(fitted.moved)
    job.metric("pose_change_median_degrees", turned)
    job.metric("pose_shift_change_median_angstrom", moved)
    job.metric("rotation_deviation_median_degrees", np.median(fitted.rotation_deviation))
    if fitted.given_errors:
        turn, move = fitted.given_errors
        job.metric("given_pose_error_rms_degrees", turn)
        job.metric("given_pose_shift_error_rms_angstrom", move)
        job.log(f"Rotations at the start were off by {turn:.1f}° (rms, as fitted)")
    if fitted.given_errors:
        before, alike = fitted.given_errors[0], ""
    else:
        before = np.degrees(np.pi if problem.unknown is None else problem.unknown)
        alike = "; or the template looks alike from several sides, which --symmetry does not say"
    if before > _GOOD and np.median(fitted.rotation_deviation) > LOST_SHARE * before:
        job.warn(
            "Most images do not tell their orientation: they are too noisy, too small, or not of "
            f"the molecule of the template{alike}. Rotations were known to {before:.0f}° before"
        )
    job.log(f"Poses were corrected by {turned:.1f}° and {moved:.2f} Å (median)")


def poses_section(problem: Problem, fitted: FittedPoses) -> Section:
    """The report's part on poses.

    Args:
        problem: from ``with_fitted_poses``.
        fitted: from ``fitted_poses``.

    Returns:
        the section.
    """
    rotation = problem.particles.views.rotation
    shown = np.unique(np.linspace(0, len(rotation) - 1, min(_SHOWN, len(rotation))).astype(int))
    return Section(
        "Poses",
        (
            paragraph(_start(fitted) + "particles.star has the corrected ones."),
            histogram_figure(
                {"correction": fitted.turned, "expected error": fitted.rotation_deviation},
                Axis("degrees"),
                caption="How far each rotation was corrected, and how uncertain it still is.",
            ),
            histogram_figure(
                {"correction": fitted.moved, "expected error": fitted.shift_deviation},
                Axis("shift (Å)"),
                caption="The same of the shifts.",
            ),
            sphere_figure(
                rotation[shown, 2],
                fitted.rotation_deviation[shown],
                value_title="expected error, degrees",
                value_range=(0.0, float(np.quantile(fitted.rotation_deviation, 0.98)) + 1e-3),
                caption="From where each image sees the molecule.",
            ),
        ),
    )


def _start(fitted: FittedPoses) -> str:
    if fitted.given_errors is None:
        return "The fit began with poses found in the same images. "
    turn, move = fitted.given_errors
    return (
        f"Rotations at the start were off by {turn:.1f}° and shifts by {move:.2f} Å (root mean "
        "square), as far as the fit can tell. "
    )
