"""From a map to the peaks of its field."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool

from cryojax_graph.fields import (
    Peaks,
    SplineField,
    Summit,
    climb,
    fit_fourier,
    fit_positive,
    fit_spline,
    merge_summits,
    select_peaks,
    voxel_grid,
)
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.locate.config import FieldKind, LocateConfig

_FITS: Mapping[str, Callable[..., SplineField]] = {
    "positive": fit_positive,
    "spline": partial(fit_spline, degree=3),
    "quintic": partial(fit_spline, degree=5),
    "fourier": fit_fourier,
    "trilinear": partial(fit_spline, degree=1),
}
# Empty voxels around what is above the threshold: as far as a field looks from a point.
_BORDER = 8
_STARTS = 1 << 15


class Located(NamedTuple):
    """What was found in a map.

    Attributes:
        field: of the part of the map that is above the threshold, and a border.
        peaks: above the threshold.
        threshold: map units.
        starts: voxels from which one climbed.
        lost: those whose ascent did not arrive at a peak.
    """

    field: SplineField
    peaks: Peaks
    threshold: float
    starts: int
    lost: int


def threshold_of(density: Map, config: LocateConfig, *, file: str) -> float:
    """Density above which peaks are looked for.

    Args:
        density: the map.
        config: of the job.
        file: its name, for messages.

    Returns:
        map units.

    Raises:
        InputError: the map is constant, or nothing lies above.
    """
    values = density.values
    if values.min() == values.max():
        cause = f"every voxel is {float(values.flat[0]):g}"
        raise InputError(file, "its values", cause, "name a map that shows something")
    mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    threshold = mean + config.sigmas * spread if config.threshold is None else config.threshold
    if not values.max() > threshold:
        cause = f"no voxel lies above {threshold:.4g}; the highest is {values.max():.4g}"
        raise InputError(file, "its values", cause, "lower --threshold or --sigmas")
    return float(threshold)


def field_of(density: Map, kind: FieldKind) -> SplineField:
    """A map as a continuous field.

    Args:
        density: the map.
        kind: of the field.

    Returns:
        the field.
    """
    grid = voxel_grid(density.origin, density.voxel_size)
    return jax.jit(_FITS[kind])(jnp.asarray(density.values), grid)


def locate_peaks(
    density: Map,
    threshold: float,
    config: LocateConfig,
    *,
    advance: Callable[[int], Any] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
) -> Located:
    """Fit a field to a map and climb to its peaks from every voxel above the threshold.

    Args:
        density: the map.
        threshold: map units.
        config: of the job.
        advance: told the number of voxels that were climbed from.
        check_abort: called between parts of the work.

    Returns:
        field and peaks.
    """
    part = crop(density, density.values > threshold)
    above = part.values > threshold
    field = field_of(part, config.field)
    starts = part.origin + np.argwhere(above)[:, ::-1] * part.voxel_size
    ends = []
    up = jax.jit(partial(climb, longest=float(part.voxel_size.min()) / 2))
    for first in range(0, len(starts), _STARTS):
        check_abort()
        some = starts[first : first + _STARTS].astype(np.float32)
        ends.append(jax.device_get(up(field, jnp.asarray(some))))
        advance(len(some))
    summits: Summit = jax.tree.map(lambda *parts: np.concatenate(parts), *ends)
    peaks = merge_summits(summits, above, part.values, distance=config.merge)
    high = (peaks.value > threshold) & (peaks.prominence >= config.prominence * abs(threshold))
    lost = int((~summits.arrived).sum())
    return Located(field, select_peaks(peaks, high), threshold, len(starts), lost)


def crop(density: Map, of_interest: Bool[np.ndarray, "z y x"]) -> Map:
    """The box around some voxels and a border, as far as the map reaches."""
    corners = []
    for axis in range(3):
        others = tuple(a for a in range(3) if a != axis)
        here = np.nonzero(of_interest.any(axis=others))[0]
        low = max(int(here[0]) - _BORDER, 0)
        corners.append(slice(low, int(here[-1]) + _BORDER + 1))
    first = np.array([corner.start for corner in corners])[::-1]
    return Map(
        np.ascontiguousarray(density.values[tuple(corners)]),
        density.voxel_size,
        density.origin + first * density.voxel_size,
    )
