"""The page of ``locate``."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import query
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.figures import Axis, heat_map_figure, histogram_figure
from cryojax_graph.jobs.graph_scores import GraphScores, score_highlights, score_section
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.search import Located
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph

_PIXELS, _EDGE = 160, 16.0
_CITATION = (
    "Ranno & Si (2022), Neural representations of cryo-EM maps and a graph-based interpretation, "
    "BMC Bioinformatics 23:397"
)


def locate_report(
    density: Map, found: Located, scores: GraphScores | None, resolution: float, job: Job
) -> str:
    """Draw the page.

    Args:
        density: the map.
        found: its peaks.
        scores: of the peaks against a model; None without a model.
        resolution: that the graph was made with, Å.
        job: at work.

    Returns:
        HTML.
    """
    peaks = found.peaks
    highlights = [Highlight(f"{len(peaks):,}", "peaks")]
    sections = [_field(density, found), _heights(found)]
    if scores is not None:
        highlights += score_highlights(scores)
        sections.insert(0, score_section(scores))
    return job_page(
        job.manifest,
        title="Peaks of a map",
        summary=f"{len(peaks):,} peaks above {found.threshold:.4g}; those closer than "
        f"{2 * resolution:.1f} Å are joined.",
        sections=sections,
        highlights=highlights,
        citations=[_CITATION],
        commands={"graph.bild": "chimerax graph.bild"},
    )


def _field(density: Map, found: Located) -> Section:
    """The same few Å of the map as voxels and as the field."""
    centre = found.peaks.position[np.argmax(_crowd(found.peaks.position))]
    offsets = np.linspace(-_EDGE / 2, _EDGE / 2, _PIXELS)
    y, x = np.meshgrid(offsets, offsets, indexing="ij")
    plane = centre + np.stack([x, y, np.zeros_like(x)], axis=-1)
    smooth = np.asarray(query(found.field, jnp.asarray(plane.reshape(-1, 3), jnp.float32)))
    axes = Axis("x from the centre, Å"), Axis("y from the centre, Å")
    figures = [
        heat_map_figure(
            values.reshape(_PIXELS, _PIXELS),
            *axes,
            extent=(-_EDGE / 2, _EDGE / 2, -_EDGE / 2, _EDGE / 2),
            value_title="density",
            caption=caption,
            equal_scale=True,
        )
        for values, caption in (
            (_nearest(density, plane.reshape(-1, 3)), "Voxels of the map."),
            (smooth, "The field, in the same plane."),
        )
    ]
    place = ", ".join(f"{c:.1f}" for c in centre)
    return Section("Voxels and field", (paragraph(f"Around x, y, z = {place} Å."), *figures))


def _crowd(position: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    from scipy.spatial import KDTree

    return KDTree(position).query_ball_point(position, _EDGE / 2, return_length=True).astype(float)


def _nearest(density: Map, points: Float[np.ndarray, "n 3"]) -> Float[np.ndarray, " n"]:
    index = np.rint((points - density.origin) / density.voxel_size).astype(int)[:, ::-1]
    inside = ((index >= 0) & (index < density.values.shape)).all(axis=1)
    values = np.zeros(len(points))
    values[inside] = density.values[tuple(index[inside].T)]
    return values


def _heights(found: Located) -> Section:
    figure = histogram_figure(
        {"density": found.peaks.value, "prominence": found.peaks.prominence},
        Axis("map units"),
        marks={"threshold": found.threshold},
        caption="How high peaks are, and how far above the saddle to a higher one.",
    )
    return Section("Heights", (figure,))
