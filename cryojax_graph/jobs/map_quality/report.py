"""Sections of a page on the quality of maps."""

import numpy as np
import scipy.ndimage
from jaxtyping import Bool, Float

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    curves_figure,
    heat_map_figure,
    histogram_figure,
    sphere_figure,
)
from cryojax_graph.jobs.map_quality.assess import Quality, resolution_of
from cryojax_graph.jobs.map_quality.local import LocalResolution
from cryojax_graph.jobs.map_quality.outputs import directional_resolution
from cryojax_graph.jobs.report import Highlight, Section, paragraph, table
from cryojax_graph.jobs.thumbnails import image_grid
from cryojax_graph.metrics import GuinierFit, area_ratio, sphericity

_PREFERRED = 0.5
_COARSE = 3.0
_SLICE = 240


def in_words(quality: Quality) -> str:
    """What came out, in a sentence or two.

    Args:
        quality: of two maps.

    Returns:
        the sentences.
    """
    which = "unmasked" if quality.mask is None else "masked and corrected"
    found = f"Resolution {quality.resolution:.2f} Å ({which} FSC = {quality.threshold:g})"
    b_factor = quality.b_factor
    fall = "" if b_factor is None else f"; B-factor {b_factor:.0f} Å²"
    return f"{found}{fall}; cFAR {area_ratio(quality.cones.curves):.2f}."


def quality_highlights(quality: Quality, local: LocalResolution | None) -> list[Highlight]:
    """The figures to be seen first.

    Args:
        quality: of two maps.
        local: their local resolution, if it was measured.

    Returns:
        them.
    """
    shown = [Highlight(f"{quality.resolution:.2f} Å", f"at FSC = {quality.threshold:g}")]
    if quality.b_factor is not None:
        shown.append(Highlight(f"{quality.b_factor:.0f} Å²", "B-factor"))
    shown.append(Highlight(f"{area_ratio(quality.cones.curves):.2f}", "cFAR"))
    if local is not None:
        shown.append(Highlight(f"{np.median(local.spheres):.2f} Å", "median local resolution"))
    return shown


def quality_sections(
    quality: Quality,
    local: LocalResolution | None,
    *,
    sharpened: Float[np.ndarray, "box box box"] | None,
) -> list[Section]:
    """All that is shown.

    Args:
        quality: of two maps.
        local: their local resolution, if it was measured.
        sharpened: the map that was written; None for none.

    Returns:
        sections, in order.
    """
    sections = [
        Section("Fourier shell correlation", (_curves(quality), _crossings(quality))),
        Section("Mask and map", tuple(_slices(quality, sharpened))),
        Section("Resolution by direction", _directions(quality)),
    ]
    if quality.guinier is not None:
        sections.insert(2, Section("Fall-off of amplitudes", (_guinier(quality, quality.guinier),)))
    if local is not None:
        sections.append(Section("Local resolution", _local(quality, local)))
    return sections


def _frequency(quality: Quality) -> Float[np.ndarray, " shells"]:
    return np.arange(len(quality.curves.unmasked)) / quality.box_angstrom


def _curves(quality: Quality) -> str:
    curves, x = quality.curves, _frequency(quality)
    drawn = [Curve("unmasked", x, curves.unmasked)]
    caption = "No mask was used."
    if quality.mask is not None:
        drawn = [
            Curve("corrected", x, curves.corrected),
            *drawn,
            Curve("masked", x, curves.masked, dashed=True),
            Curve("random phases, masked", x, curves.randomised, dashed=True),
        ]
        caption = (
            "The corrected curve counts: it is the masked one without what the mask alone "
            "correlates, which the curve of random phases shows. That curve should be near 0 "
            "where the corrected one crosses the threshold."
        )
    levels = {f"{value:g}": value for value in sorted({0.143, 0.5, quality.threshold})}
    low = min(-0.1, 1.1 * float(min(curve.y.min() for curve in drawn)))
    return curves_figure(
        drawn,
        Axis("spatial frequency, 1/Å"),
        Axis("FSC", range=(max(low, -1.0), 1.02)),
        levels=levels,
        caption=caption,
    )


def _crossings(quality: Quality) -> str:
    curves = quality.curves
    named = {"corrected": curves.corrected, "masked": curves.masked, "unmasked": curves.unmasked}
    if quality.mask is None:
        named = {"unmasked": curves.unmasked}
    values = sorted({0.143, 0.5, quality.threshold})
    rows = [
        [name, *(resolution_of(curve, value, quality.box_angstrom) for value in values)]
        for name, curve in named.items()
    ]
    return table(["curve", *(f"resolution at {value:g}, Å" for value in values)], rows)


def _slices(quality: Quality, sharpened: np.ndarray | None) -> list[str]:
    outline = None if quality.mask is None else quality.mask > 0.5
    blocks = []
    shown = "the first map" if quality.guinier is None else "the map before it is weighted"
    for title, values in {shown: quality.density, "map.mrc": sharpened}.items():
        if values is not None:
            blocks.append(_grid(values, title, outline))
    return [*blocks, paragraph(_hand(quality))]


def _hand(quality: Quality) -> str:
    hand = quality.hand
    if hand is None or hand.rods < 2:
        return "Hand: not told; no turns of helices are seen at this resolution."
    seen = f"excess {hand.excess:.2f} ± {hand.error:.2f} over {hand.rods} rods of density"
    if not hand.told:
        return f"Hand: not told by helices ({seen})."
    if hand.excess > 0:
        return f"Hand: helices turn to the right, as those of proteins do ({seen})."
    return f"Hand: helices turn to the left: this is the mirror image of a protein ({seen})."


def _grid(values: np.ndarray, title: str, inside: np.ndarray | None) -> str:
    names = [f"across {axis}" for axis in "zyx"]
    images = np.stack(_central(values))
    outlines = None if inside is None else np.stack([_edge(part) for part in _central(inside)])
    drawn = "" if inside is None else " The line is where the mask is a half."
    caption = f"Central slices of {title}.{drawn}"
    return image_grid(images, captions=names, caption=caption, width=_SLICE, outlines=outlines)


def _central(values: np.ndarray) -> list[np.ndarray]:
    """Central slices across z, y and x, the first axis up."""
    half = len(values) // 2
    return [part[::-1] for part in (values[half], values[:, half], values[:, :, half])]


def _edge(inside: Bool[np.ndarray, "y x"]) -> Bool[np.ndarray, "y x"]:
    return inside & np.logical_not(scipy.ndimage.binary_erosion(inside))


def _guinier(quality: Quality, fit: GuinierFit) -> str:
    x = fit.inverse_square
    # Below, amplitudes tell the shape of the particle and dwarf the rest.
    shown = x > (1 / (_COARSE * quality.settings.guinier_from)) ** 2
    drawn = [
        Curve("amplitudes", x[shown], fit.plain[shown]),
        Curve("weighted by FSC", x[shown], fit.weighted[shown]),
    ]
    caption = (
        "Logarithm of the mean amplitude of each shell of the map. Too few shells lie "
        f"between {quality.settings.guinier_from:g} Å and the resolution for a line."
    )
    if fit.b_factor is not None:
        ends = x[fit.fitted][[0, -1]]
        line = fit.intercept - fit.b_factor / 4 * ends
        drawn.append(Curve(f"B = {fit.b_factor:.0f} Å²", ends, line, dashed=True))
        caption = (
            "Logarithm of the mean amplitude of each shell of the map; the line gives the "
            f"B-factor by which amplitudes fall, from {quality.settings.guinier_from:g} Å to the "
            "resolution. RELION and cryoSPARC write it with a minus, as what sharpens."
        )
    return curves_figure(
        drawn, Axis("squared frequency, 1/Å²"), Axis("log amplitude"), caption=caption
    )


def _directions(quality: Quality) -> tuple[str, ...]:
    curves, x = quality.cones.curves, _frequency(quality)
    areas, ratio = curves[:, 1:].mean(axis=1), area_ratio(curves)
    low, high = np.percentile(curves, [0, 100], axis=0)
    figure = curves_figure(
        [
            Curve("mean of the cones", x, curves.mean(axis=0), band=(low, high)),
            Curve("best direction", x, curves[areas.argmax()], dashed=True),
            Curve("worst direction", x, curves[areas.argmin()], dashed=True),
        ],
        Axis("spatial frequency, 1/Å"),
        Axis("conical FSC", range=(max(min(-0.1, float(low.min())), -1.0), 1.02)),
        levels={f"{quality.threshold:g}": quality.threshold},
        caption=f"FSC inside {len(curves)} double cones of "
        f"{quality.settings.cone_half_angle:g}° around their axes; the band holds all of them.",
    )
    reached, axes = directional_resolution(quality), quality.cones.axes
    sphere = sphere_figure(
        np.concatenate([axes, -axes]),
        np.tile(reached, 2),
        value_title="resolution, Å",
        caption="Resolution along each axis of the map: +z at the top, +x in the middle.",
    )
    verdict = (
        f"cFAR, the ratio of the smallest to the largest area under these curves, is {ratio:.2f}. "
        + (
            f"Below {_PREFERRED:g} it means that views are missing: the map is smeared along the "
            "directions of poor resolution."
            if ratio < _PREFERRED
            else f"Above {_PREFERRED:g} it shows no want of views."
        )
    )
    rows = [
        ["cFAR", ratio],
        ["sphericity of where the maps agree", sphericity(axes, 1 / reached)],
        ["best resolution, Å", float(reached.min())],
        ["worst resolution, Å", float(reached.max())],
    ]
    return paragraph(verdict), figure, sphere, table(["", "value"], rows)


def _local(quality: Quality, local: LocalResolution) -> tuple[str, ...]:
    settings = quality.settings
    histogram = histogram_figure(
        {"spheres": local.spheres},
        Axis("local resolution, Å"),
        bins=30,
        marks={"whole map": quality.resolution},
        caption=f"Of {len(local.spheres):,} soft spheres {settings.local_sampling:g} Å apart, "
        f"FSC = {quality.threshold:g}.",
    )
    half = len(local.values) // 2
    flat = local.values[half]
    if quality.mask is not None:
        flat = np.where(quality.mask[half] > 0.5, flat, np.nan)
    low, high = -half * quality.voxel_size, (len(flat) - 1 - half) * quality.voxel_size
    caption = "Central slice across z, inside the mask. Colour surfaces of map.mrc by "
    return histogram, heat_map_figure(
        flat,
        Axis("x, Å"),
        Axis("y, Å"),
        extent=(low, high, low, high),
        value_title="local resolution, Å",
        equal_scale=True,
        caption=caption + "local_resolution.mrc in ChimeraX with 'color sample'.",
    )
