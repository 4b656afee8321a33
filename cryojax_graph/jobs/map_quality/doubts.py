"""Signs that a resolution is not what it seems."""

import numpy as np
from jaxtyping import Float

from cryojax_graph.jobs.map_quality.assess import Quality
from cryojax_graph.metrics import area_ratio

_PREFERRED = 0.5
# A sphere that fits into the box, as programs leave around half-maps, empties 48 %.
_EMPTY_PERCENT = 55.0
_TIGHT = 0.2


def doubts(
    first: Float[np.ndarray, "box box box"],
    second: Float[np.ndarray, "box box box"],
    quality: Quality,
    *,
    confined: bool = False,
) -> list[str]:
    """What a user should know before believing the figures.

    Args:
        first: map.
        second: the other map.
        quality: what was measured of them.
        confined: the maps are known to be confined to a sphere.

    Returns:
        one sentence for each sign.
    """
    curve, found = quality.curves.corrected, []
    half_maps = quality.guinier is not None
    if not (curve[1:] < quality.threshold).any():
        found.append(
            f"The curve never falls below {quality.threshold:g}: the resolution is limited by "
            "the voxel size, or the maps are not independent"
        )
    share = _empty_percent(first, second)
    if half_maps and not confined and share > _EMPTY_PERCENT:
        found.append(
            f"{share:.0f} % of the voxels are exactly 0 in both half-maps: a mask seems to be on "
            "them already, which raises the unmasked curve. Give unfiltered half-maps without a "
            "mask"
        )
    if (noise := _mask_correlation(quality)) > _TIGHT:
        found.append(
            f"At the resolution told, random phases still correlate by {noise:.2f}: the mask is "
            "tight. Give a softer or wider one"
        )
    if (ratio := area_ratio(quality.cones.curves)) < _PREFERRED:
        found.append(
            f"cFAR is {ratio:.2f}, below {_PREFERRED:g}: resolution depends on the direction, as "
            "where the particles prefer some orientations"
        )
    if (hand := quality.hand) and hand.told and hand.excess < 0:
        found.append(
            f"Helices turn to the left (excess {hand.excess:.2f} ± {hand.error:.2f}): the map is "
            "the mirror image of a protein. 'cryojax-graph convert --flip-hand' turns it over"
        )
    if half_maps and quality.b_factor is None:
        found.append(
            "No B-factor was fitted: too few shells lie between "
            f"{quality.settings.guinier_from:g} Å and the resolution. Begin at a lower resolution "
            "(--quality.guinier-from), or give --b-factor"
        )
    return found


def _empty_percent(
    first: Float[np.ndarray, "box box box"], second: Float[np.ndarray, "box box box"]
) -> float:
    return 100 * float(((first == 0) & (second == 0)).mean())


def _mask_correlation(quality: Quality) -> float:
    """Of random phases, in the last shell above the threshold."""
    below = np.flatnonzero(quality.curves.corrected[1:] < quality.threshold)
    shell = int(below[0]) if len(below) else len(quality.curves.corrected) - 1
    start = quality.curves.randomised_from
    return 0.0 if start is None or shell <= start else float(quality.curves.randomised[shell])
