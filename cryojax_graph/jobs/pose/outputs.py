"""What ``pose`` leaves behind."""

import numpy as np

from cryojax_graph.io.particles import with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.pose.searcher import Found
from cryojax_graph.jobs.pose.settings import How, Settings
from cryojax_graph.jobs.pose.survey import Survey, note_hand

ROTATION_DEVIATION = "cryojaxgraphRotationDeviation"
_KNOWN_DEGREES = 10.0
# Of the deviation of a rotation of which nothing is known: half of the probability is anywhere.
LOST_SHARE = 0.7
# Within a few degrees of a given pose the images need not tell more than it does.
_CLOSE_DEGREES = 5.0


def write_poses(particles: ParticleSet, found: Found, job: Job, how: How) -> None:
    """Write the table with its poses and how sure they are.

    Args:
        particles: as they were read.
        found: poses of all images.
        job: in whose folder.
        how: they were estimated; defocus is written where it was refined.
    """
    changes = {
        "euler_degrees": euler_from_rotation(found.rotation.astype(np.float64)),
        "shift_angstrom": found.shift.astype(np.float64),
    }
    doubts = {
        ROTATION_DEVIATION: np.degrees(found.rotation_deviation).round(4),
        "cryojaxgraphShiftDeviation": found.shift_deviation.round(4),
        "cryojaxgraphContrast": found.scale.round(4),
        "cryojaxgraphEvidence": found.evidence.round(3),
        "rlnMaxValueProbDistribution": found.probability.round(6),
        "rlnLogLikeliContribution": found.log_likelihood.round(3),
    }
    if how.defocus_deviation is not None:
        table = particles.table
        assert table.defocus_u is not None
        assert table.defocus_v is not None
        changes |= {
            "defocus_u": table.defocus_u + found.defocus_offset,
            "defocus_v": table.defocus_v + found.defocus_offset,
        }
        doubts["cryojaxgraphDefocusDeviation"] = found.defocus_deviation.round(1)
    table = with_columns(particles.table, changes | doubts)
    with job.output(
        f"particles.{table.kind}", "the particles with poses and their uncertainty"
    ) as path:
        write_particles(table, path)


def measure(found: Found, known: Survey, job: Job, settings: Settings) -> None:
    """Note the figures, and warn where they say that poses were not found.

    Args:
        found: poses of all images.
        known: of the sample.
        job: for the figures.
        settings: of the search.
    """
    how = settings.how
    deviation = np.degrees(found.rotation_deviation)
    job.metric("images", len(deviation), "1")
    job.metric("rotation_deviation_median_degrees", np.median(deviation))
    job.metric("poses_within_10_degrees_percent", 100 * np.mean(deviation < _KNOWN_DEGREES))
    job.metric("shift_deviation_median_angstrom", np.median(found.shift_deviation))
    job.metric("probability_of_mode_mean", found.probability.mean(dtype=np.float64), "1")
    job.metric("evidence_mean_nats", found.evidence.mean(dtype=np.float64))
    job.metric("contrast_deviation", found.scale.std(dtype=np.float64), "1")
    if how.defocus_deviation is not None:
        change = float(np.sqrt(np.mean(found.defocus_offset.astype(np.float64) ** 2)))
        stated = float(np.median(found.defocus_deviation))
        job.metric("defocus_change_rms_angstrom", change)
        job.metric("defocus_deviation_median_angstrom", stated)
        job.log(f"Defocus changed by {change:.0f} Å (rms) and is known to {stated:.0f} Å (median)")
    job.log(
        f"Rotations are known to {np.median(deviation):.1f}° (median); "
        f"{100 * np.mean(deviation < _KNOWN_DEGREES):.0f} % to less than 10°"
    )
    unknown = np.degrees(settings.unknown)
    job.metric("rotation_deviation_unknown_degrees", unknown)
    if unknown > _CLOSE_DEGREES and np.median(deviation) > LOST_SHARE * unknown:
        near = "" if settings.around is None else " among those near the given one"
        job.warn(
            f"Most images do not tell their orientation{near}: they are too noisy, too small, or "
            f"not of the reference. Rotations of which nothing is known deviate by {unknown:.0f}°."
        )
    note_hand(known.hand, job)
