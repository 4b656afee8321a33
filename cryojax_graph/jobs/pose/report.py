"""The page of a pose search."""

import numpy as np

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    curves_figure,
    histogram_figure,
    scatter_figure,
    sphere_figure,
)
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.named_table import named_table
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.pose.reference import Given
from cryojax_graph.jobs.pose.searcher import Found
from cryojax_graph.jobs.pose.settings import Settings
from cryojax_graph.jobs.pose.survey import Survey
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.view_averages import view_averages, view_averages_figure

_SHOWN = 4000
_CITATIONS = (
    "Viewing directions: HEALPix, Górski et al. (2005) Astrophys. J. 622, 759–771.",
    "Refinement: Levenberg (1944) Q. Appl. Math. 2, 164–168; Marquardt (1963) J. SIAM 11, 431–441.",
)
_LIFTING = "Lifting: Diepeveen, Lellmann, Öktem et al. (2023) SIAM J. Imaging Sci. 16, 1440–1490."


def pose_report(
    particles: ParticleSet, given: Given, known: Survey, found: Found, job: Job, settings: Settings
) -> str:
    """The page.

    Args:
        particles: images.
        given: the reference.
        known: of the sample.
        found: poses of all images.
        job: whose page it is.
        settings: of the search.

    Returns:
        HTML.
    """
    how, unknown = settings.how, np.degrees(settings.unknown)
    table = f"particles.{particles.table.kind}"
    with_images = named_table(table, particles)
    deviation = np.degrees(found.rotation_deviation)
    return job_page(
        job.manifest,
        title="Poses of particle images",
        summary=f"Orientation and shift of {len(deviation):,} images beside a {given.description}, "
        "and how sure each is.",
        sections=[
            _orientations(found),
            _averages(found, particles, known, settings),
            _certainty(found, known, settings.unknown),
            _positions(found, particles),
            *([_defocus(found)] if how.defocus_deviation is not None else []),
            _amplitudes(known, particles),
        ],
        highlights=[
            Highlight(f"{len(deviation):,}", "images"),
            Highlight(f"{np.median(deviation):.1f}°", "rotations are known to (median)"),
            Highlight(f"{100 * np.mean(deviation < 10):.0f} %", "are known to less than 10°")
            if unknown > 10
            else Highlight(f"{unknown:.1f}°", "is to know nothing of a rotation"),
            Highlight(f"{np.median(found.evidence):.0f}", "nats for the particle (median)"),
        ],
        citations=(*_CITATIONS, _LIFTING) if how.method == "esl" else _CITATIONS,
        commands={table: f"cryojax-graph flex {with_images} --template model.cif -o flex"},
    )


def _some(count: int) -> np.ndarray:
    return np.unique(np.linspace(0, count - 1, min(_SHOWN, count)).astype(int))


def _orientations(found: Found) -> Section:
    shown = _some(len(found.rotation))
    deviation = np.degrees(found.rotation_deviation)
    return Section(
        "Viewing directions",
        (
            sphere_figure(
                found.rotation[shown, 2],
                deviation[shown],
                value_title="deviation, degrees",
                value_range=(0.0, max(1.0, float(np.quantile(deviation, 0.98)))),
                caption="From where each image sees the reference, coloured by how uncertain its "
                "rotation is. Gaps and rings are views that the sample does not show.",
            ),
        ),
    )


def _averages(found: Found, particles: ParticleSet, known: Survey, settings: Settings) -> Section:
    radius = settings.config.radii[-1]
    averages = view_averages(particles, found.pose, known.reference, radius=radius)
    return Section("Images and reference", (view_averages_figure(averages),))


def _certainty(found: Found, known: Survey, unknown: float) -> Section:
    deviation = np.degrees(found.rotation_deviation)
    rows: list[list[str | float]] = [
        ["rotation, median of the expected error, degrees", float(np.median(deviation))],
        ["shift, median of the expected error along one axis, Å",
         float(np.median(found.shift_deviation))],
        ["probability of the mode, mean", float(found.probability.mean())],
        ["evidence for the particle, mean, nats per image", float(found.evidence.mean())],
    ]  # fmt: skip
    hand = "Images in unknown directions fit both hands of the reference alike."
    if known.hand is not None:
        mean, error = known.hand
        hand = (
            f"Around the given poses the reference fits better than its mirror image by {mean:.1f} "
            f"± {error:.1f} nats per image."
        )
    return Section(
        "How sure they are",
        (
            table(["", ""], rows),
            paragraph(hand),
            histogram_figure(
                {"images": deviation},
                Axis("expected error of the rotation, degrees"),
                caption="Root of the expected squared angle to the true rotation, over the whole "
                "posterior: the width of the best pose and the weight of all others. Of a rotation "
                f"of which nothing is known it is {np.degrees(unknown):.0f}°.",
            ),
            histogram_figure(
                {"images": found.evidence},
                Axis("evidence, nats"),
                caption="How much more probable each image is with the particle in some pose than "
                "with nothing. Images around and below 0 may be empty.",
            ),
        ),
    )


def _positions(found: Found, particles: ParticleSet) -> Section:
    shown = _some(len(found.shift))
    return Section(
        "Shifts and contrast",
        (
            scatter_figure(
                found.shift[shown, 0] / particles.pixel_size,
                found.shift[shown, 1] / particles.pixel_size,
                Axis("x, pixels"),
                Axis("y, pixels"),
                colour=found.shift_deviation[shown] / particles.pixel_size,
                colour_title="deviation, pixels",
                equal_scale=True,
                caption="Shifts that centre the particles.",
            ),
            histogram_figure(
                {"images": found.scale},
                Axis("contrast"),
                caption="Contrast of each image beside the calibrated reference.",
            ),
        ),
    )


def _defocus(found: Found) -> Section:
    change = np.sqrt(np.mean(found.defocus_offset.astype(np.float64) ** 2))
    return Section(
        "Defocus",
        (
            paragraph(
                f"Defocus changed by {change:.0f} Å (root mean square) and is known to "
                f"{np.median(found.defocus_deviation):.0f} Å (median)."
            ),
            histogram_figure(
                {"images": found.defocus_offset},
                Axis("change of defocus, Å"),
                caption="What was added to both defocus values of each image. A mean far from 0 "
                "speaks for a wrong pixel size, spherical aberration or voltage.",
            ),
        ),
    )


def _amplitudes(known: Survey, particles: ParticleSet) -> Section:
    noise = np.asarray(known.noise)
    frequency = np.arange(len(noise)) / (particles.box * particles.pixel_size)
    gain = known.gains[-1]
    used = gain > 0
    limit = 1 / frequency[used].max() if used.any() and frequency[used].max() > 0 else np.inf
    note = (
        f"Of the reference, details down to {limit:.1f} Å were used: those that help to explain "
        "the sample. Images of nothing but noise are explained a little by some pose, too; "
        "whether poses mean something is what the evidence says."
        if np.isfinite(limit)
        else "The reference explains nothing of the sample."
    )
    return Section(
        "Reference and noise",
        (
            paragraph(note),
            curves_figure(
                [Curve("last correction", frequency, gain)],
                Axis("frequency, 1/Å"),
                Axis("factor of the reference"),
                caption="What the last round of calibration still changed of the reference's "
                "amplitudes; 0 where the images do not show them.",
            ),
            curves_figure(
                [Curve("noise", frequency, noise)],
                Axis("frequency, 1/Å"),
                Axis("variance per pixel"),
                caption="Power of what the reference leaves of the images.",
            ),
        ),
    )
