"""The page of a refinement."""

import numpy as np

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.jobs.figures import Axis, Curve, curves_figure, histogram_figure, sphere_figure
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import Judged, quality_highlights
from cryojax_graph.jobs.named_table import named_table
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.report import CITATIONS
from cryojax_graph.jobs.reconstruct.symmetric_views import symmetric_views
from cryojax_graph.jobs.refine.config import RefineConfig
from cryojax_graph.jobs.refine.outputs import PROBABILITY
from cryojax_graph.jobs.refine.rounds import Round
from cryojax_graph.jobs.report import Highlight, Section, job_page, table
from cryojax_graph.jobs.view_averages import ViewAverages, view_averages_figure

_SHOWN = 4000


def refine_report(
    judged: Judged,
    rounds: list[Round],
    averages: ViewAverages,
    config: RefineConfig,
    particles: ParticleSet,
    job: Job,
) -> str:
    """The page.

    Args:
        judged: the half-maps of the last round.
        rounds: all of them.
        averages: of images of some views.
        config: of the verb.
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
        sections=[
            *judged.sections(),
            _poses(rounds[-1], config),
            Section("Images and map", (view_averages_figure(averages),)),
            _rounds(rounds, particles),
        ],
        highlights=[
            Highlight(f"{len(deviation):,}", "images"),
            *quality_highlights(judged.quality, judged.local),
            Highlight(f"{np.median(deviation):.1f}°", "rotations are known to (median)"),
        ],
        citations=CITATIONS,
        commands={
            table: f"cryojax-graph reconstruct {named_table(table, particles)} "
            f"--weights {PROBABILITY} --symmetry {config.symmetry} --contrast {config.contrast} "
            "-o map",
            "half1.mrc": "cryojax-graph validate fsc half1.mrc half2.mrc -o fsc",
        },
    )


def _poses(last: Round, config: RefineConfig) -> Section:
    found = last.found
    operators = symmetry_rotations(config.symmetry)
    deviation = np.degrees(found.rotation_deviation)
    shown = max(1, min(_SHOWN // len(operators), len(deviation)))
    some = np.unique(np.linspace(0, len(deviation) - 1, shown).astype(int))
    return Section(
        "Poses",
        (
            sphere_figure(
                symmetric_views(found.rotation[some], np.ones(len(some)), operators)[:, 2],
                np.repeat(deviation[some], len(operators)),
                value_title="deviation, degrees",
                value_range=(0.0, max(5.0, float(np.percentile(deviation, 90)))),
                caption="From where each image and its symmetric copies show the particle, "
                "coloured by how uncertain the rotation is.",
            ),
            histogram_figure(
                {"images": deviation},
                Axis("expected error of the rotation, degrees"),
                caption="Over the posterior, given the map; that the map itself is uncertain is "
                f"not in it. {_searched(config)}",
            ),
        ),
    )


def _searched(config: RefineConfig) -> str:
    """Over which rotations the deviations are."""
    around = config.around_degrees
    others = "all rotations" if around is None else f"rotations within {around:g}° of the given one"
    return (
        f"It is over {others}; of images that were sure of their pose in the round before, over "
        f"rotations within {config.near_degrees:g}° of that."
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
