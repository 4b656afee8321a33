"""Poses that were fitted together with the motion, as the table has them."""

from typing import Any

import jax.numpy as jnp
import numpy as np

from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.views import arm, fitted_views
from cryojax_graph.training.recipes.backbone_graph import Views


def with_fitted_poses(problem: Problem, params: dict[str, Any]) -> Problem:
    """The problem with the poses that came of the fit in place of the given ones.

    Args:
        problem: with the given poses.
        params: of the fitted system, poses among them.

    Returns:
        the problem; its reader still has the given poses, on which the corrections stand.
    """
    given, template = problem.particles.views, problem.template
    fitted = fitted_views(
        params, jnp.asarray(given.rotation), jnp.asarray(given.shift), template=template
    )
    rotation, shift = np.asarray(fitted["rotation"]), np.asarray(fitted["shift"])
    variance = np.sum(np.asarray(params["poses"].spread, np.float64) ** 2, axis=-1)
    table = with_columns(
        problem.particles.table,
        {
            "euler_degrees": euler_from_rotation(rotation.astype(np.float64)),
            "shift_angstrom": shift.astype(np.float64),
            "cryojaxgraphRotationDeviation": np.degrees(
                np.sqrt(np.sum(variance[:, :3], axis=1))
            ).round(4),
            "cryojaxgraphShiftDeviation": (
                float(arm(template)) * np.sqrt(np.mean(variance[:, 3:], axis=1))
            ).round(4),
        },
    )
    views = Views(rotation, shift, given.ctf)
    return problem._replace(particles=problem.particles._replace(table=table, views=views))


def write_fitted_poses(problem: Problem, params: dict[str, Any], job: Job) -> None:
    """Write the table with fitted poses, and say how far they went.

    Args:
        problem: from ``with_fitted_poses``.
        params: of the fitted system.
        job: in whose folder.
    """
    table = problem.particles.table
    name = "particles.star" if table.kind == "star" else "particles.cs"
    with job.output(name, "the particles with fitted poses and their uncertainty") as path:
        write_particles(table, path)
    mean = np.asarray(params["poses"].mean, np.float64)
    turned = np.degrees(np.linalg.norm(mean[:, :3], axis=1))
    moved = float(arm(problem.template)) * np.linalg.norm(mean[:, 3:], axis=1)
    error = np.exp(np.asarray(params["imaging"]["log_pose_error"], np.float64))
    expected = np.degrees(np.sqrt(3) * error[0])
    job.metric("pose_change_median_degrees", np.median(turned))
    job.metric("pose_shift_change_median_angstrom", np.median(moved))
    job.metric("given_pose_error_rms_degrees", expected)
    job.metric("given_pose_shift_error_rms_angstrom", np.sqrt(2) * error[1] * arm(problem.template))
    job.log(
        f"Given rotations were off by {expected:.1f}° (rms, as fitted); corrected by "
        f"{np.median(turned):.1f}° and {np.median(moved):.2f} Å (median)"
    )
