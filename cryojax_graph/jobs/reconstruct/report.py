"""The page of a reconstruction."""

import shlex
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.jobs.figures import Axis, histogram_figure, sphere_figure
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import Judged, quality_highlights
from cryojax_graph.jobs.named_table import named_table
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.insertion import Views
from cryojax_graph.jobs.reconstruct.source import Halves
from cryojax_graph.jobs.reconstruct.symmetric_views import symmetric_views
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph

_SHOWN, _NEAREST = 4000, 20
CITATIONS = (
    "Regularisation: Scheres (2012) J. Struct. Biol. 180, 519–530.",
    "Resolution: Rosenthal & Henderson (2003) J. Mol. Biol. 333, 721–745.",
    "Correction by random phases: Chen et al. (2013) Ultramicroscopy 135, 24–35.",
)


def reconstruct_report(
    judged: Judged,
    inputs: tuple[ParticleSet, Views],
    halves: Halves,
    symmetry: str,
    job: Job,
    *,
    artefacts: Sequence[Section] = (),
) -> str:
    """The page.

    Args:
        judged: the half-maps.
        inputs: the images and their views.
        halves: of every row.
        symmetry: point group of the map.
        job: whose page it is.
        artefacts: section of the cone bootstrap, if it was done.

    Returns:
        HTML.
    """
    particles, views = inputs
    first = int(np.sum(halves.number == 1))
    operators = symmetry_rotations(symmetry)
    origin = "The table names the halves" if halves.given else "The halves were drawn at random"
    if not halves.given and halves.reason:
        origin += f", all rows of one {halves.reason} in one half"
    named = "as the table names them" if halves.given else "drawn after the poses were found"
    return job_page(
        job.manifest,
        title="Map from particle images",
        summary=f"Two halves of {len(views.image):,} views, {named}, and the map of all.",
        sections=[
            *judged.sections(),
            *artefacts,
            Section(
                "Views",
                (
                    paragraph(f"{origin}: {first:,} and {len(halves.number) - first:,} views."),
                    directions_figure(views.rotation, views.weight, operators),
                    *_weights(views),
                ),
            ),
        ],
        highlights=[
            Highlight(f"{len(views.image):,}", "views"),
            *quality_highlights(judged.quality, judged.local),
        ],
        citations=CITATIONS,
        commands={
            "map.mrc": f"cryojax-graph pose {_table(particles, halves)} --reference map.mrc "
            + (f"--symmetry {symmetry} " if len(operators) > 1 else "")
            + "-o pose",
            "half1.mrc": "cryojax-graph validate fsc half1.mrc half2.mrc -o fsc",
        },
    )


def _table(particles: ParticleSet, halves: Halves) -> str:
    if not halves.given:
        return named_table(f"particles.{particles.table.kind}", particles)
    own = shlex.quote(str(Path(particles.table.source).absolute()))
    return named_table(own, particles)


def directions_figure(
    rotation: Float[np.ndarray, "views 3 3"],
    weight: Float[np.ndarray, " views"],
    operators: Float[np.ndarray, "operators 3 3"],
) -> str:
    """From where the particle is seen, coloured by how densely.

    Args:
        rotation: of the views.
        weight: of each.
        operators: of the point group.

    Returns:
        HTML.
    """
    directions = symmetric_views(rotation, weight, operators, most=_SHOWN)[:, 2]
    # Neighbours within a fixed cap, beside the number that even coverage would give.
    cap = np.cos(np.radians(_NEAREST))
    cosines = np.concatenate([part @ directions.T > cap for part in np.array_split(directions, 8)])
    density = cosines.mean(axis=1) / (0.5 * (1 - cap))
    return sphere_figure(
        directions,
        density,
        value_title="density of views",
        value_range=(0.0, max(2.0, float(np.percentile(density, 99)))),
        caption=f"From where the images show the particle: views within {_NEAREST}° of each, 1 for "
        "even coverage. Gaps are directions that the images lack. Views count by their weights, "
        "and with their symmetric copies.",
    )


def _weights(views: Views) -> list[str]:
    if np.ptp(views.weight) == 0:
        return []
    return [histogram_figure({"views": views.weight}, Axis("weight"), caption="Of each view.")]
