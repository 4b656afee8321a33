"""Figures and section of a cone bootstrap."""

import numpy as np
from jaxtyping import Float

from cryojax_graph.jobs.figures import Axis, Curve, curves_figure, sphere_figure
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality import Quality
from cryojax_graph.jobs.reconstruct.artefacts import FILE, Artefacts
from cryojax_graph.jobs.report import Section, paragraph
from cryojax_graph.jobs.thumbnails import image_grid
from cryojax_graph.metrics import conical_share, half_spectrum, shell_sums

_SLICE = 240


def judge_artefacts(
    artefacts: Artefacts, density: Float[np.ndarray, "box box box"], quality: Quality, job: Job
) -> Section:
    """Hold deviations against the map, and note what was found.

    Args:
        artefacts: of the map.
        density: the map.
        quality: of its halves.
        job: for the figures.

    Returns:
        section of the page.
    """
    spectrum = half_spectrum(density)
    root = np.sqrt(artefacts.variance).astype(np.complex64)
    sums = shell_sums(root, spectrum)
    by_shell = np.sqrt(sums.first / np.maximum(sums.second, np.finfo(np.float32).tiny))
    last = max(2, int(quality.box_angstrom / quality.resolution))
    axes, share = conical_share(artefacts.variance, np.abs(spectrum) ** 2, shells=last)
    inside = np.ones(density.shape, bool) if quality.mask is None else quality.mask > 0.5
    overall = _rms(artefacts.deviation[inside]) / _rms(density[inside])
    job.metric("bootstrap_parts", artefacts.parts, "1")
    job.metric("artefact_percent", 100 * overall)
    job.metric("artefact_best_direction_percent", 100 * float(share.min()))
    job.metric("artefact_worst_direction_percent", 100 * float(share.max()))
    frequency = np.arange(last + 1) / quality.box_angstrom
    return Section(
        "Artefacts: cone bootstrap",
        (
            paragraph(
                f"The images of each direction were dealt into {artefacts.parts} parts and the map "
                "solved without each. Deviations of these maps tell how far map_unsharpened.mrc "
                f"would differ had other images been taken: by {100 * overall:.0f} % of its "
                "density inside the mask (root mean square). Density that is not well above the "
                f"deviation in {FILE} is no evidence. Directions that no image shows have none."
            ),
            _slices(density, artefacts.deviation),
            curves_figure(
                [Curve("deviation / amplitude", frequency[1:], by_shell[1 : last + 1])],
                Axis("spatial frequency, 1/Å"),
                Axis("share", range=(0.0, max(1.0, float(by_shell[1 : last + 1].max())))),
                caption="Deviation over amplitude, both as root mean squares over shells, up to "
                "the resolution.",
            ),
            sphere_figure(
                np.concatenate([axes, -axes]),
                np.tile(100 * share, 2),
                value_title="deviation, percent",
                caption="The same along each axis of the map, in cones of 20° and up to the "
                "resolution: +z at the top, +x in the middle. A direction that stands out has "
                "too few views across it.",
            ),
        ),
    )


def _slices(density: np.ndarray, deviation: np.ndarray) -> str:
    half = len(density) // 2
    cut = [values[half][::-1] for values in (density, deviation)]
    cut.append(cut[0] / np.maximum(cut[1], 0.05 * deviation.max()))
    names = ["map_unsharpened.mrc", FILE, "their ratio"]
    caption = "Central slices across z, each in its own range of grey."
    return image_grid(np.stack(cut), captions=names, caption=caption, width=_SLICE)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(values, dtype=np.float64))))
