"""The page of a random conical tilt."""

import csv
import io
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.poses import rotation_from_euler
from cryojax_graph.jobs.figures import Axis, Curve, curves_figure, histogram_figure
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.named_table import named_table
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.reconstruct.pairs import TiltPairs
from cryojax_graph.jobs.reconstruct.report import directions_figure
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.thumbnails import image_grid

_DRAWN, _SLICE = 8, 200
CITATIONS = (
    "Random conical tilt: Radermacher, Wagenknecht, Verschoor & Frank (1987) "
    "J. Microsc. 146, 113–136.",
    "Regularisation: Scheres (2012) J. Struct. Biol. 180, 519–530.",
    "Resolution: Rosenthal & Henderson (2003) J. Mol. Biol. 333, 721–745.",
)


class ClassMap(NamedTuple):
    """What is shown of the map of one class.

    Attributes:
        number: of the class.
        images: in it.
        cone: half-angle of the missing cone, degrees.
        fsc: Fourier shell correlation of the halves outside it.
        resolution: where that falls below 0.143, Å.
        slices: of the filtered map, across z and across y.
        inverted: the particles were dark.
        deviation: of the cone bootstrap beside the map; None where it was not done.
    """

    number: int
    images: int
    cone: float
    fsc: Float[np.ndarray, " shells"]
    resolution: float
    slices: Float[np.ndarray, "2 box box"]
    inverted: bool
    deviation: float | None


def rct_report(
    found: list[ClassMap],
    pairs: TiltPairs,
    operators: Float[np.ndarray, "operators 3 3"],
    job: Job,
) -> str:
    """The page.

    Args:
        found: classes, the largest first.
        pairs: tilted images, with the poses that they were given.
        operators: of the point group.
        job: whose page it is.

    Returns:
        HTML.
    """
    particles, tilt = pairs.particles, pairs.tilt
    best, euler = min(found, key=lambda each: each.resolution), particles.table.euler_degrees
    assert euler is not None
    cone = float(np.median([each.cone for each in found]))
    return job_page(
        job.manifest,
        title="Random conical tilt",
        summary=f"Maps of {len(found)} classes from {len(tilt):,} tilt pairs.",
        sections=[
            Section("Classes", (_table(found), _curves(found, particles), _slices(found))),
            Section("Missing cone", (_missing(cone),)),
            Section(
                "Views",
                (
                    directions_figure(rotation_from_euler(euler), pairs.weight, operators),
                    *_tilts(tilt),
                ),
            ),
        ],
        highlights=[
            Highlight(f"{len(tilt):,}", "tilt pairs"),
            Highlight(f"{len(found)}", "classes with a map"),
            Highlight(f"{cone:.0f}°", "half-angle of the missing cone"),
            Highlight(f"{best.resolution:.1f} Å", "best resolution outside the cone"),
        ],
        citations=CITATIONS,
        commands={
            f"class{each.number}/map.mrc": "cryojax-graph refine "
            f"{named_table(f'particles.{particles.table.kind}', particles)} "
            f"--reference class{each.number}/map.mrc "
            f"--contrast {'dark' if each.inverted else 'white'} -o refined"
            for each in found
        },
    )


def curves_text(found: list[ClassMap], particles: ParticleSet) -> str:
    """Curves of all classes as CSV.

    Args:
        found: classes.
        particles: for box and pixel size.

    Returns:
        text.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    ordered = sorted(found, key=lambda each: each.number)
    names = [f"fsc_class{each.number}" for each in ordered]
    writer.writerow(["shell", "frequency_per_angstrom", *names])
    for shell, frequency in enumerate(_frequency(found, particles)):
        values = [f"{each.fsc[shell]:.6f}" for each in ordered]
        writer.writerow([shell, f"{frequency:.6f}", *values])
    return text.getvalue()


def _frequency(found: list[ClassMap], particles: ParticleSet) -> Float[np.ndarray, " shells"]:
    return np.arange(len(found[0].fsc)) / (particles.box * particles.pixel_size)


def _table(found: list[ClassMap]) -> str:
    names = ["class", "tilt pairs", "missing cone, °", "resolution at 0.143, Å"]
    rows = [[str(e.number), e.images, e.cone, e.resolution] for e in found]
    if any(each.deviation is not None for each in found):
        names.append("deviation / map")
        for row, each in zip(rows, found, strict=True):
            row.append("–" if each.deviation is None else f"{each.deviation:.2f}")
    return table(names, rows)


def _curves(found: list[ClassMap], particles: ParticleSet) -> str:
    x, shown = _frequency(found, particles), found[:_DRAWN]
    low = min(-0.1, *(float(each.fsc.min()) for each in shown))
    some = "" if len(found) <= _DRAWN else f" The {_DRAWN} largest classes; fsc.csv has all."
    return curves_figure(
        [Curve(f"class {each.number}", x, each.fsc) for each in shown],
        Axis("spatial frequency, 1/Å"),
        Axis("FSC", range=(max(low, -1.0), 1.02)),
        levels={"0.143": 0.143, "0.5": 0.5},
        caption="Agreement of the halves of each class in the part of Fourier space that tilted "
        "images measure, without a mask." + some,
    )


def _slices(found: list[ClassMap]) -> str:
    shown = found[:_DRAWN]
    images = np.concatenate([each.slices[:, ::-1] for each in shown])
    names = [f"class {each.number}, {across}" for each in shown for across in ("across z", "side")]
    caption = (
        "Central slices of each map: as the untilted images show it, and from the side, z up, "
        "where the missing cone draws density out along z."
    )
    return image_grid(images, captions=names, caption=caption, width=_SLICE)


def _missing(cone: float) -> str:
    missing = 100 * (1 - np.cos(np.radians(cone)))
    return paragraph(
        f"Tilted images measure nothing within {cone:.0f}° of the z axis: {missing:.0f} % of all "
        "directions. That cone is left out of the curves and of the filter, so the resolution "
        "is that of what was measured; along z the maps are blurred and drawn out. Maps of other "
        "classes that lie on the support another way up can fill it. Poses found here start "
        "refine, whose reference should be low-passed beyond what the cone spoils."
    )


def _tilts(tilt: Float[np.ndarray, " n"]) -> list[str]:
    if np.ptp(tilt) < 0.05:
        return []
    return [histogram_figure({"tilt": tilt}, Axis("tilt, °"), caption="Of each pair.")]
