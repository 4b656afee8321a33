"""The page of ``locate``."""

from functools import partial

import jax
import numpy as np
from jaxtyping import Float

from cryojax_graph.fields import query
from cryojax_graph.io.field_file import StoredField
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    curves_figure,
    heat_map_figure,
    histogram_figure,
)
from cryojax_graph.jobs.graph_scores import GraphScores, score_highlights, score_section
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.locate.decoys import Decoys
from cryojax_graph.jobs.locate.fitting import HISTORY, network_of
from cryojax_graph.jobs.locate.search import Located
from cryojax_graph.jobs.parts import in_parts
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph
from cryojax_graph.jobs.stored_networks import describe_networks
from cryojax_graph.training.history import read_history

_PIXELS, _EDGE, _POINTS = 160, 16.0, 400
_CITATION = (
    "Ranno & Si (2022), Neural representations of cryo-EM maps and a graph-based interpretation, "
    "BMC Bioinformatics 23:397"
)


def locate_report(
    density: Map,
    found: Located,
    decoys: Decoys | None,
    scores: GraphScores | None,
    resolution: float,
    stored: StoredField,
    config: LocateConfig,
    job: Job,
) -> str:
    """Draw the page.

    Args:
        density: the map.
        found: its peaks.
        decoys: peaks of the map turned upside down; None where they were not looked for.
        scores: of the peaks against a model; None without a model.
        resolution: that the graph was made with, Å.
        stored: the field as it is kept.
        config: of the job.
        job: at work.

    Returns:
        HTML.
    """
    peaks = found.peaks
    noun = "peak" if len(peaks) == 1 else "peaks"
    least = found.threshold if found.false_share is None else float(peaks.value.min())
    highlights = [Highlight(f"{len(peaks):,}", noun)]
    sections = [_field(density, found), _heights(found)]
    if decoys is not None and found.false_share is not None:
        most = f"≤ {100 * found.false_share.max():.2g} %"
        highlights.append(Highlight(most, "of them expected to be noise"))
        sections.append(_false(found, decoys))
    if isinstance(stored, StoredNetworks):
        sections.append(_networks(stored, config, job))
    if scores is not None:
        highlights += score_highlights(scores)
        sections.insert(0, score_section(scores))
    return job_page(
        job.manifest,
        title="Peaks of a map",
        summary=f"{len(peaks):,} {noun} of at least {least:.4g}; those closer than "
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
    smooth = in_parts(partial(jax.jit(query), found.field), plane.reshape(-1, 3))
    voxels = _nearest(density, plane.reshape(-1, 3))
    axes = Axis("x from the centre, Å"), Axis("y from the centre, Å")
    # One scale of colours, so that the pictures can be compared.
    ends = float(min(voxels.min(), smooth.min())), float(max(voxels.max(), smooth.max()))
    figures = [
        heat_map_figure(
            values.reshape(_PIXELS, _PIXELS),
            *axes,
            extent=(-_EDGE / 2, _EDGE / 2, -_EDGE / 2, _EDGE / 2),
            value_title="map units",
            value_range=ends,
            caption=caption,
            equal_scale=True,
        )
        for values, caption in (
            (voxels, "Voxels of the map."),
            (smooth, "The field that was searched, in the same plane."),
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


def _networks(stored: StoredNetworks, config: LocateConfig, job: Job) -> Section:
    shape = " × ".join(str(n) for n in stored.shape[::-1])
    text = paragraph(
        f"The field is {describe_networks(stored)}. It covers {shape} voxels around what was above "
        "the threshold when it was trained, and is 0 elsewhere."
    )
    if HISTORY not in job.manifest["working"]:
        return Section("Networks", (text,))
    return Section("Training", (text, _errors(stored, config, job)))


def _errors(stored: StoredNetworks, config: LocateConfig, job: Job) -> str:
    history = read_history(job.working(HISTORY))
    # Every step is too many to draw; what is drawn are means over short runs of them.
    length = max(1, len(history["step"]) // _POINTS)
    usable = len(history["step"]) // length * length

    def mean(name: str) -> Float[np.ndarray, " points"]:
        return history[name][:usable].reshape(-1, length).mean(axis=1)

    steps = mean("step")
    curves = [Curve("mean of the networks", steps, mean("loss"))]
    if len(stored.kernels[0]) > 1:
        curves.append(Curve("the worst", steps, mean("worst")))
    network = network_of(config)
    slopes = network is not None and network.points > 0
    learned = "density from -1 to 1" + (" and its slopes per voxel" if slopes else "")
    return curves_figure(
        curves,
        Axis("step"),
        Axis("error", log=True),
        caption=f"Mean squared error of what the networks learn, {learned}; of networks that are "
        "done, the lowest.",
    )


def _false(found: Located, decoys: Decoys) -> Section:
    text = (
        "What the same search finds in the map turned upside down is false for certain, and as "
        "many of the peaks of the map are expected to be. Ripples beside atoms are counted too, so "
        "that the share of false peaks is rather less. Peaks below the mark were left out."
    )
    figure = histogram_figure(
        {"peaks": found.peaks.value, "of the map turned upside down": decoys.height},
        Axis("height, map units"),
        marks={"least height": float(found.peaks.value.min())},
    )
    return Section("False peaks", (paragraph(text), figure))


def _heights(found: Located) -> Section:
    figure = histogram_figure(
        {"density": found.density, "prominence": found.peaks.prominence},
        Axis("map units"),
        marks={"threshold": found.threshold},
        caption="How high peaks are, and how far above the saddle to a higher one.",
    )
    return Section("Heights", (figure,))
