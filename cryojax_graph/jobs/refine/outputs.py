"""What ``refine`` leaves behind."""

import numpy as np

from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.pose.searcher import Found
from cryojax_graph.jobs.reconstruct.source import Halves
from cryojax_graph.jobs.refine.rounds import RefinePlan, Round


def write_poses(found: Found, plan: RefinePlan, halves: Halves, job: Job) -> None:
    """Write the table with its poses, how sure they are, and its halves.

    Args:
        found: poses, in the order of the folds.
        plan: of the rounds.
        halves: of every row.
        job: in whose folder.
    """
    order = np.argsort(np.concatenate([*plan.folds[0], *plan.folds[1]]))
    sorted_ = Found(*(values[order] for values in found))
    table = plan.source.particles.table
    changes = {
        "euler_degrees": euler_from_rotation(sorted_.rotation.astype(np.float64)),
        "shift_angstrom": sorted_.shift.astype(np.float64),
        "half_set": halves.number,
        "cryojaxgraphRotationDeviation": np.degrees(sorted_.rotation_deviation).round(4),
        "cryojaxgraphShiftDeviation": sorted_.shift_deviation.round(4),
        "cryojaxgraphContrast": sorted_.scale.round(4),
        "rlnMaxValueProbDistribution": sorted_.probability.round(6),
        "rlnLogLikeliContribution": sorted_.log_likelihood.round(3),
    }
    with job.output(
        f"particles.{table.kind}", "the particles with poses and their uncertainty"
    ) as path:
        write_particles(with_columns(table, changes), path)


def measure(rounds: list[Round], job: Job) -> None:
    """Note the figures.

    Args:
        rounds: all of them.
        job: for the figures.
    """
    last = rounds[-1]
    job.metric("images", len(last.found.rotation), "1")
    job.metric("rounds", len(rounds), "1")
    deviation = np.degrees(last.found.rotation_deviation)
    job.metric("rotation_deviation_median_degrees", np.median(deviation))
    job.metric("poses_within_10_degrees_percent", 100 * np.mean(deviation < 10))
    job.metric(
        "rotation_change_of_last_round_degrees", np.degrees(last.turned) if len(rounds) > 1 else 0.0
    )
