"""Files and figures of the quality of maps."""

import csv
import io

import numpy as np
from jaxtyping import Float

from cryojax_graph.io.mrc import Map, write_map
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.map_quality.assess import Quality, resolution_of
from cryojax_graph.jobs.map_quality.local import LocalResolution
from cryojax_graph.metrics import area_ratio, first_crossing, sphericity

_THRESHOLDS = {"fsc0143": 0.143, "fsc05": 0.5}


def write_quality(
    job: Job,
    quality: Quality,
    local: LocalResolution | None,
    *,
    origin: Float[np.ndarray, "3"],
    sharpened: Float[np.ndarray, "box box box"] | None,
) -> None:
    """Write curves, mask and maps into the folder of a job, and note its figures.

    Args:
        job: whose folder it is.
        quality: of two maps.
        local: their local resolution, if it was measured.
        origin: of voxel [0, 0, 0], (x, y, z) in Å.
        sharpened: map to keep; None for none.
    """
    job.write_text("fsc.csv", curves_table(quality), "Fourier shell correlation")
    maps = {
        "mask.mrc": (quality.mask, "mask of the curves"),
        "map.mrc": (
            sharpened,
            "the whole, weighted by the FSC of the halves, sharpened, low-passed",
        ),
        "local_resolution.mrc": (local and local.values, "local resolution, Å"),
    }
    for name, (values, description) in maps.items():
        if values is not None:
            with job.output(name, description) as path:
                size = np.full(3, quality.voxel_size)
                write_map(path, Map(values.astype(np.float32), size, origin))
    for name, value in _figures(quality, local).items():
        unit = "Å²" if name.endswith("angstrom2") else None
        job.metric(name, value, unit if name.endswith(_UNITS) or unit else "1")


_UNITS = ("angstrom", "percent", "pixels")


def _figures(quality: Quality, local: LocalResolution | None) -> dict[str, float]:
    curves, box = quality.curves, quality.box_angstrom
    named = {"": curves.corrected, "unmasked_": curves.unmasked, "masked_": curves.masked}
    figures = {
        f"resolution_{which}{label}_angstrom": resolution_of(curve, threshold, box)
        for which, curve in named.items()
        for label, threshold in _THRESHOLDS.items()
    }
    directions = directional_resolution(quality)
    figures |= {
        "resolution_angstrom": quality.resolution,
        "threshold": quality.threshold,
        "cfar": area_ratio(quality.cones.curves),
        "sphericity": sphericity(quality.cones.axes, 1 / directions),
        "directional_resolution_best_angstrom": float(directions.min()),
        "directional_resolution_worst_angstrom": float(directions.max()),
        "box_pixels": len(quality.density),
        "voxel_size_angstrom": quality.voxel_size,
    }
    if quality.mask is not None:
        figures["mask_percent"] = 100 * float(quality.mask.mean(dtype=np.float64))
    if curves.randomised_from is not None:
        figures["randomised_from_angstrom"] = box / curves.randomised_from
    if quality.b_factor is not None:
        figures["b_factor_angstrom2"] = quality.b_factor
    if quality.hand is not None and quality.hand.rods > 1:
        figures |= {
            "hand_excess": quality.hand.excess,
            "hand_excess_error": quality.hand.error,
            "hand_rods": quality.hand.rods,
        }
    if local is not None:
        figures["local_resolution_spheres"] = len(local.spheres)
        for name, share in {"p05": 5, "median": 50, "p95": 95}.items():
            value = float(np.percentile(local.spheres, share))
            figures[f"local_resolution_{name}_angstrom"] = value
    return figures


def directional_resolution(quality: Quality) -> Float[np.ndarray, " axes"]:
    """Where the curve of each cone first falls below the threshold.

    Args:
        quality: of two maps.

    Returns:
        Å.
    """
    crossing = first_crossing(quality.cones.curves, threshold=quality.threshold)
    return quality.box_angstrom / crossing


def curves_table(quality: Quality) -> str:
    """Curves of two maps as text, comma-separated.

    Args:
        quality: of the maps.

    Returns:
        a line of names, and one for each shell.
    """
    curves = quality.curves
    frequency = np.arange(len(curves.unmasked)) / quality.box_angstrom
    columns = {
        "shell": [str(shell) for shell in range(len(frequency))],
        "frequency_per_angstrom": [f"{value:.6f}" for value in frequency],
        "resolution_angstrom": ["inf", *(f"{1 / value:.4f}" for value in frequency[1:])],
        "fsc_unmasked": _fixed(curves.unmasked),
    }
    if quality.mask is not None:
        columns |= {
            "fsc_masked": _fixed(curves.masked),
            "fsc_randomised": _fixed(curves.randomised),
            "fsc_corrected": _fixed(curves.corrected),
        }
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _fixed(values: Float[np.ndarray, " shells"]) -> list[str]:
    return [f"{value:.6f}" for value in values]
