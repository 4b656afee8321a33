"""The page of a reconstruction."""

import numpy as np

from cryojax_graph.jobs.figures import Axis, Curve, curves_figure, image_grid
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.insertion import Views
from cryojax_graph.jobs.reconstruct.maps import HalfMaps
from cryojax_graph.jobs.reconstruct.outputs import resolution
from cryojax_graph.jobs.reconstruct.source import Halves
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph

_CITATIONS = (
    "Regularisation: Scheres (2012) J. Struct. Biol. 180, 519–530.",
    "Resolution: Rosenthal & Henderson (2003) J. Mol. Biol. 333, 721–745.",
)


def reconstruct_report(
    maps: HalfMaps, views: Views, halves: Halves, particles: ParticleSet, job: Job
) -> str:
    """The page.

    Args:
        maps: solved.
        views: of all images.
        halves: of every row.
        particles: the images.
        job: whose page it is.

    Returns:
        HTML.
    """
    finest = resolution(maps.fsc, particles, 0.143)
    return job_page(
        job.manifest,
        title="Map from particle images",
        summary=f"Two independent halves of {len(views.image):,} views, and the map of all.",
        sections=[
            Section("The map", (_slices(maps.combined),)),
            Section("How the halves agree", (_agreement(maps, particles), _halves(halves))),
        ],
        highlights=[
            Highlight(f"{len(views.image):,}", "views"),
            Highlight(f"{finest:.1f} Å", "the halves agree to (FSC 0.143, no mask)"),
            Highlight(f"{resolution(maps.fsc, particles, 0.5):.1f} Å", "FSC 0.5"),
        ],
        citations=_CITATIONS,
        commands={},
    )


def _slices(volume: np.ndarray) -> str:
    middle = len(volume) // 2
    flat = {
        "slice across z": volume[middle],
        "slice across y": volume[:, middle],
        "slice across x": volume[:, :, middle],
        **{f"sum along {axis}": volume.sum(axis=i) for i, axis in enumerate("zyx")},
    }
    return image_grid(np.stack(list(flat.values())), captions=list(flat), width=150)


def _agreement(maps: HalfMaps, particles: ParticleSet) -> str:
    frequency = np.arange(len(maps.fsc)) / (particles.box * particles.pixel_size)
    return curves_figure(
        [Curve("halves", frequency, maps.fsc)],
        Axis("frequency, 1/Å"),
        Axis("Fourier shell correlation", range=(-0.1, 1.02)),
        levels={"0.143": 0.143, "0.5": 0.5},
        caption="Within the sphere of the box, without a mask.",
    )


def _halves(halves: Halves) -> str:
    origin = "The table names the halves." if halves.given else "The halves were drawn at random."
    first = int(np.sum(halves.number == 1))
    return paragraph(f"{origin} {first:,} and {len(halves.number) - first:,} views.")
