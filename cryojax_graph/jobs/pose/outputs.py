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
# With less evidence for the particle, nats, images are as good as empty; and the share of them that
# may be shifted beyond what is looked for.
_LITTLE, _BEYOND = 3.0, 0.25


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
    unknown = np.degrees(settings.unknown)
    beside = (
        f"; {100 * np.mean(deviation < _KNOWN_DEGREES):.0f} % to less than 10°"
        if unknown > _KNOWN_DEGREES
        else f", where {unknown:.1f}° is to know nothing"
    )
    job.log(f"Rotations are known to {np.median(deviation):.1f}° (median){beside}")
    job.metric("rotation_deviation_unknown_degrees", unknown)
    if unknown > _CLOSE_DEGREES and np.median(deviation) > LOST_SHARE * unknown:
        near = "" if settings.around is None else " among those near the given one"
        job.warn(
            f"Most images do not tell their orientation{near}: they are too noisy, too small, or "
            "not of the reference, or the particle has a symmetry that --symmetry does not state. "
            f"Rotations of which nothing is known deviate by {unknown:.0f}°."
        )
    elif (evidence := found.evidence.mean(dtype=np.float64)) < _LITTLE:
        job.warn(
            f"The images are hardly more probable with the particle than without it, by "
            f"{evidence:.1f} nats each: they may be empty, or not of the reference."
        )
    remedy = "bring the reference to the middle of its box, or raise --shift-range"
    note_shifts(found, settings, job, remedy=remedy)
    note_hand(known.hand, job)


def note_shifts(found: Found, settings: Settings, job: Job, *, remedy: str) -> None:
    """Warn where many images were found beyond the shifts that are looked for everywhere.

    Args:
        found: poses, shifts in Å.
        settings: of the search.
        job: for the figure and the warning.
        remedy: what can be done.
    """
    reach = float(np.linalg.norm(settings.shifts, axis=1).max())
    if settings.around is not None or reach == 0.0:
        return
    beyond = float(np.mean(np.linalg.norm(found.shift, axis=1) > reach))
    job.metric("shifts_beyond_range_percent", 100 * beyond)
    if beyond > _BEYOND:
        job.warn(
            f"{100 * beyond:.0f} % of the particles seem to stand farther from the middle of their "
            f"images than the {reach:.0f} Å that are looked for, and their poses are doubtful: "
            f"{remedy}."
        )
