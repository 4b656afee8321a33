"""The page of ``validate poses``."""

import numpy as np
from jaxtyping import Float

from cryojax_graph.jobs.figures import (
    Axis,
    Curve,
    curves_figure,
    histogram_figure,
    sphere_figure,
)
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.report import Highlight, Section, job_page, paragraph, table
from cryojax_graph.jobs.validate.poses_input import Comparison
from cryojax_graph.jobs.validate.poses_scores import PoseScores

_POINTS = 10_000
_GROUPS, _FEWEST_OF_GROUP = 10, 10
# Share of a normal distribution in three dimensions within its root mean square radius.
_WITHIN = 0.608
_LABELS = {
    "images": "images compared",
    "rotation_below_5_percent": "rotation error below 5°, % of the images",
    "rotation_below_10_percent": "rotation error below 10°, % of the images",
    "alignment_degrees": "rotation between the two maps, removed before, °",
}
_CALIBRATION = {
    "rotation_error_rms_degrees": "rotation error, root mean square, °",
    "rotation_deviation_rms_degrees": "stated deviation, root mean square, °",
    "rotation_error_over_deviation": "error over stated deviation; 1 when it is right",
    "rotation_within_deviation_percent": "images with an error below their stated deviation, %",
}
_ERRORS = {
    ("rotation_error", "degrees"): "rotation, °",
    ("out_of_plane_error", "degrees"): "viewing direction (out of plane), °",
    ("shift_error", "angstrom"): "shift, Å",
    ("shift_error", "pixels"): "shift, pixels of the particles",
}


def poses_report(comparison: Comparison, scores: PoseScores, job: Job) -> str:
    """The page.

    Args:
        comparison: what was compared with what.
        scores: what came out.
        job: whose page it is.

    Returns:
        HTML.
    """
    f = scores.figures
    sections = [_errors(scores), _figures(comparison, scores), _directions(comparison, scores)]
    if comparison.pairs.deviation_degrees is not None:
        sections.insert(2, _certainty(comparison.pairs.deviation_degrees, scores))
    unit, sign = ("pixels", "px") if "shift_error_median_pixels" in f else ("angstrom", "Å")
    highlights = [
        Highlight(f"{f['rotation_error_median_degrees']:.2f}°", "median rotation error"),
        Highlight(f"{f['rotation_below_10_percent']:.1f} %", "of the images below 10°"),
        Highlight(f"{f['out_of_plane_error_median_degrees']:.2f}°", "median out-of-plane error"),
        Highlight(f"{f[f'shift_error_median_{unit}']:.2f} {sign}", "median shift error"),
    ]
    return job_page(
        job.manifest,
        title="Poses against the truth",
        summary=f"{in_words(scores)} Errors are after one rotation and one offset of the whole "
        "object.",
        sections=sections,
        highlights=highlights,
    )


def in_words(scores: PoseScores) -> str:
    """What came out, in a sentence.

    Args:
        scores: of one set of poses.

    Returns:
        the sentence.
    """
    f = scores.figures
    low, high = (f[f"rotation_error_median_{end}_degrees"] for end in ("low", "high"))
    in_pixels = f.get("shift_error_median_pixels")
    pixels = "" if in_pixels is None else f" ({in_pixels:.2f} px)"
    hand = " The mirrored hand was taken, which fits better." if f["mirrored"] else ""
    images = f"{f['images']:,} image{'s' if f['images'] > 1 else ''}"
    return (
        f"{images}: median rotation error {f['rotation_error_median_degrees']:.2f}° "
        f"(95 % interval {low:.2f} to {high:.2f}), {f['rotation_below_10_percent']:.1f} % below "
        f"10°; median shift error {f['shift_error_median_angstrom']:.2f} Å{pixels}.{hand}"
    )


def _errors(scores: PoseScores) -> Section:
    rotation = scores.rotation.round(4)
    beyond = rotation > _usual(rotation)
    caption = "Angle by which each estimated orientation is off."
    if beyond.any():
        caption += (
            f" {int(beyond.sum()):,} that are further off, up to {rotation.max():.3g}°, are in the "
            "curves below only."
        )
    shown = rotation[~beyond]
    histogram = histogram_figure(
        {"rotation error": shown},
        Axis("rotation error, °", range=(0, float(shown.max()) or 1.0)),
        marks={"median": float(np.median(rotation))},
        caption=caption,
    )
    return Section("Errors", (histogram, _shares(scores)))


def _usual(errors: Float[np.ndarray, " images"]) -> float:
    """End of a scale on which a minority of quite wrong poses does not hide the others."""
    return min(max(1.0, 4 * float(np.median(errors))), 180.0)


def _shares(scores: PoseScores) -> str:
    share = np.linspace(0.0, 100.0, 401)
    named = {
        "rotation": scores.rotation,
        "viewing direction (out of plane)": scores.out_of_plane,
    }
    curves = [
        Curve(name, np.quantile(errors, share / 100).clip(0.01), share, dashed=name != "rotation")
        for name, errors in named.items()
    ]
    return curves_figure(
        curves,
        Axis("error, °", log=True, range=(0.01, 180)),
        Axis("images with a smaller error, %", range=(0, 100)),
        caption="The further left a curve rises, the better. A step far right is a group of images "
        "with wrong poses; poses that know nothing of the truth rise around 120°.",
    )


def _figures(comparison: Comparison, scores: PoseScores) -> Section:
    f = scores.figures
    rows = [
        [label, *(round(f[f"{name}_{kind}_{unit}"], 4) for kind in ("median", "mean", "p90"))]
        for (name, unit), label in _ERRORS.items()
        if f"{name}_median_{unit}" in f
    ]
    others = [[label, round(f[n], 4)] for n, label in _LABELS.items()]
    pairing = [
        ["images told by", comparison.matched.by],
        ["rows of the particles", f"{comparison.particles:,}"],
        ["rows of the truth", f"{comparison.truths:,}"],
        ["hand of the map", "the other one (mirrored)" if f["mirrored"] else "the same"],
    ]
    return Section(
        "Figures",
        (
            table(["error", "median", "mean", "90th percentile"], rows),
            table(["", "value"], others),
            table(["what was compared", ""], pairing),
        ),
    )


def _certainty(stated: Float[np.ndarray, " images"], scores: PoseScores) -> Section:
    f = scores.figures
    rows = [[label, round(f[name], 4)] for name, label in _CALIBRATION.items() if name in f]
    blocks = [
        paragraph(
            "The particle table states for every image how far its rotation is expected to be off, "
            f"root mean square. Where that is right, about {100 * _WITHIN:.0f} % of the images "
            "have an error below it."
        ),
        table(["", "value"], rows),
    ]
    if groups := _groups(stated):
        blocks.append(_calibration_curves(stated, scores.rotation, groups))
    return Section("Stated uncertainty", tuple(blocks))


def _calibration_curves(
    stated: Float[np.ndarray, " images"],
    error: Float[np.ndarray, " images"],
    groups: list[np.ndarray],
) -> str:
    expected, found = (
        np.array([np.sqrt(np.mean(values[rows] ** 2)) for rows in groups])
        for values in (stated, error)
    )
    within = np.array([np.quantile(error[rows], _WITHIN) for rows in groups])
    share = f"{100 * _WITHIN:.0f} %"
    return curves_figure(
        [
            Curve("root mean square error", expected, found),
            Curve(f"{share} of the errors are below", expected, within),
            Curve("as stated", expected, expected, dashed=True),
        ],
        Axis("stated deviation, °"),
        Axis("rotation error, °", log=True),
        caption=f"Images in {len(groups)} groups of like stated deviation. Where the statements "
        "are right, both curves follow the dashed line; above it, errors are larger than stated. "
        "Few images with quite wrong poses raise the root mean square alone.",
    )


def _groups(stated: Float[np.ndarray, " images"]) -> list[np.ndarray]:
    """Rows of images of like stated deviation; none where there are too few or all state one."""
    count = min(_GROUPS, len(stated) // _FEWEST_OF_GROUP)
    if count < 2 or np.ptp(stated) == 0:
        return []
    return np.array_split(np.argsort(stated, kind="stable"), count)


def _directions(comparison: Comparison, scores: PoseScores) -> Section:
    count = len(scores.rotation)
    shown = np.unique(np.linspace(0, count - 1, min(count, _POINTS)).astype(int))
    most = _usual(scores.rotation)
    caption = (
        "Each point is an image at its true viewing direction: tilt 0° at the top, rot 0° in the "
        "middle, areas as on the sphere. Empty regions are views that are missing."
    )
    if (scores.rotation > most).any():
        caption += f" Errors above {most:.3g}° have the brightest colour."
    if len(shown) < count:
        caption += f" {len(shown):,} of {count:,} images are shown."
    figure = sphere_figure(
        comparison.pairs.true_rotations[shown, 2],
        scores.rotation[shown],
        value_title="rotation error, °",
        value_range=(0, most),
        caption=caption,
    )
    return Section("Viewing directions", (figure,))
