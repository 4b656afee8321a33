"""What ``refine`` leaves behind."""

import numpy as np

from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.reconstruct.source import Halves
from cryojax_graph.jobs.refine.rounds import RefinePlan, Round, in_table_order, settled

PROBABILITY = "rlnMaxValueProbDistribution"
"""Column of the probability of each pose, by which the maps weigh the images."""


def write_poses(last: Round, plan: RefinePlan, halves: Halves, job: Job) -> None:
    """Write the table with its poses, how sure they are, and its halves.

    Args:
        last: round.
        plan: of the rounds.
        halves: of every row.
        job: in whose folder.
    """
    found = in_table_order(last.found, plan)
    table = plan.source.particles.table
    changes = {
        "euler_degrees": euler_from_rotation(found.rotation.astype(np.float64)),
        "shift_angstrom": found.shift.astype(np.float64),
        "half_set": halves.number,
        "cryojaxgraphRotationDeviation": np.degrees(found.rotation_deviation).round(4),
        "cryojaxgraphShiftDeviation": found.shift_deviation.round(4),
        "cryojaxgraphContrast": found.scale.round(4),
        "cryojaxgraphGroupContrast": last.contrast.round(4),
        PROBABILITY: found.probability.round(6),
        "rlnLogLikeliContribution": found.log_likelihood.round(3),
    }
    with job.output(
        f"particles.{table.kind}", "the particles with poses and their uncertainty"
    ) as path:
        write_particles(with_columns(table, changes), path)


def measure(rounds: list[Round], plan: RefinePlan, job: Job) -> None:
    """Note the figures.

    Args:
        rounds: all of them.
        plan: of the rounds.
        job: for the figures.
    """
    last = rounds[-1]
    job.metric("images", len(last.found.rotation), "1")
    job.metric("rounds", len(rounds), "1")
    job.metric("settled", int(settled(rounds, plan)), "1")
    job.metric("halves_agree_angstrom", last.resolution)
    job.metric("group_contrast_least", last.contrast.min(), "1")
    job.metric("group_contrast_most", last.contrast.max(), "1")
    deviation = np.degrees(last.found.rotation_deviation)
    job.metric("rotation_deviation_median_degrees", np.median(deviation))
    job.metric("poses_within_10_degrees_percent", 100 * np.mean(deviation < 10))
    job.metric(
        "rotation_change_of_last_round_degrees", np.degrees(last.turned) if len(rounds) > 1 else 0.0
    )
