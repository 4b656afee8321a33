"""The page of a refinement."""

import numpy as np

from cryojax_graph.jobs.figures import Axis, Curve, curves_figure, histogram_figure, sphere_figure
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import Judged, quality_highlights
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.report import CITATIONS
from cryojax_graph.jobs.refine.rounds import Round
from cryojax_graph.jobs.report import Highlight, Section, job_page, table

_SHOWN = 4000


def refine_report(judged: Judged, rounds: list[Round], particles: ParticleSet, job: Job) -> str:
    """The page.

    Args:
        judged: the half-maps of the last round.
        rounds: all of them.
        particles: the images.
        job: whose page it is.

    Returns:
        HTML.
    """
    found = rounds[-1].found
    table = f"particles.{particles.table.kind}"
    deviation = np.degrees(found.rotation_deviation)
    return job_page(
        job.manifest,
        title="Refinement of particle images",
        summary=f"Poses of {len(deviation):,} images and the map that they give, from a coarse "
        f"reference in {len(rounds)} rounds, two halves apart.",
        sections=[*judged.sections(), _poses(rounds[-1]), _rounds(rounds, particles)],
        highlights=[
            Highlight(f"{len(deviation):,}", "images"),
            *quality_highlights(judged.quality, judged.local),
            Highlight(f"{np.median(deviation):.1f}°", "rotations are known to (median)"),
        ],
        citations=CITATIONS,
        commands={
            table: f"cryojax-graph reconstruct {table} -o map",
            "half1.mrc": "cryojax-graph validate fsc half1.mrc half2.mrc -o fsc",
        },
    )


def _poses(last: Round) -> Section:
    found = last.found
    deviation = np.degrees(found.rotation_deviation)
    some = np.unique(np.linspace(0, len(deviation) - 1, min(_SHOWN, len(deviation))).astype(int))
    return Section(
        "Poses",
        (
            sphere_figure(
                found.rotation[some, 2],
                deviation[some],
                value_title="deviation, degrees",
                value_range=(0.0, max(5.0, float(np.percentile(deviation, 90)))),
                caption="From where each image shows the particle, coloured by how uncertain its "
                "rotation is.",
            ),
            histogram_figure(
                {"images": deviation},
                Axis("expected error of the rotation, degrees"),
                caption="Over the whole posterior, given the map; that the map itself is uncertain "
                "is not in it.",
            ),
        ),
    )


def _rounds(rounds: list[Round], particles: ParticleSet) -> Section:
    frequency = np.arange(len(rounds[0].maps.fsc)) / (particles.box * particles.pixel_size)
    curves = [
        Curve(f"round {number}", frequency, done.maps.fsc, dashed=number < len(rounds))
        for number, done in enumerate(rounds, 1)
    ]
    rows: list[list[str | float]] = [
        [
            str(number),
            done.resolution,
            float(np.degrees(np.median(done.found.rotation_deviation))),
            "" if number == 1 else float(np.degrees(done.turned)),
        ]
        for number, done in enumerate(rounds, 1)
    ]
    titles = ["round", "halves agree to, Å", "rotations known to, °", "changed by, °"]
    return Section(
        "Rounds",
        (
            table(titles, rows),
            curves_figure(
                curves,
                Axis("spatial frequency, 1/Å"),
                Axis("FSC", range=(-0.1, 1.02)),
                levels={"0.143": 0.143},
                caption="Agreement of the halves within the sphere of the particle after each "
                "round. The coarsest shells are those of both halves together and agree by "
                "construction.",
            ),
        ),
    )
