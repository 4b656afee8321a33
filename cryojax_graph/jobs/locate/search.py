"""From a map to the peaks of its field."""

from collections.abc import Callable
from functools import partial
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Bool, Float, Int

from cryojax_graph.fields import (
    RECIPES,
    Field,
    Peaks,
    Summit,
    climb,
    cluster_points,
    merge_summits,
    query,
    query_expansion,
    select_peaks,
    walk_uphill,
)
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.map_noise import constants_of
from cryojax_graph.jobs.map_resolution import check_resolution, working_resolution
from cryojax_graph.jobs.parts import in_parts
from cryojax_graph.jobs.stored_field import field_of

# Most ascents arrive within the steps of the first round; those that do not go on together.
_ROUNDS = (12, 12, 40)
_SEED_DISTANCE = 0.5
# Of a voxel: what single precision leaves of the place of a peak.
_OFF = 0.01


class Located(NamedTuple):
    """What was found in a map.

    Attributes:
        field: of the part of the map that is above the threshold, and a border.
        peaks: above the threshold.
        density: of the map at the peaks; with ``atoms`` they are peaks of something sharper.
        maxima: of the field, before threshold and prominence took their share.
        threshold: map units.
        starts: points from which one climbed.
        lost: those whose ascent did not arrive at a peak.
        at_faces: peaks left out because they lie on a face of the map, where density only ends.
        of_starts: what starts are: voxels above the threshold, or seeds of a finer grid.
        false_share: expected share of false peaks among those at least as high as each; None where
            it is not known.
    """

    field: Field
    peaks: Peaks
    density: Float[np.ndarray, " n"]
    maxima: int
    threshold: float
    starts: int
    lost: int
    at_faces: int
    of_starts: Literal["voxels", "seeds"]
    false_share: Float[np.ndarray, " n"] | None = None


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
    if config.field == "paper":
        values = np.maximum(values, 0.0)
    if values.min() == values.max():
        cause = f"every voxel is {float(values.flat[0]):g}"
        raise InputError(file, "its values", cause, "name a map that shows something")
    mean, spread = values.mean(dtype=np.float64), values.std(dtype=np.float64)
    threshold = mean + config.sigmas * spread if config.threshold is None else config.threshold
    if not values.max() > threshold:
        cause = f"no voxel lies above {threshold:.4g}; the highest is {values.max():.4g}"
        raise InputError(file, "its values", cause, "lower --threshold or --sigmas")
    return float(threshold)


def check_settings(density: Map, config: LocateConfig) -> None:
    """Refuse a resolution that the map cannot have, a distance that merges atoms, unknown noise.

    Args:
        density: the map.
        config: of the job.

    Raises:
        InputError: so it is.
    """
    check_resolution(density, config.resolution)
    if config.merge > (most := working_resolution(density, config.resolution)):
        cause = f"peaks {config.merge:g} Å apart would be one at a resolution of {most:.3g} Å"
        raise InputError("command line", "--merge", cause, "choose a smaller distance")
    if config.field in RECIPES:
        constants_of(density, config.field, file=config.map)


def climb_to_peaks(
    field: Field,
    part: Map,
    threshold: float,
    config: LocateConfig,
    *,
    solvent: float = 0.0,
    advance: Callable[[int], Any] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
) -> Located:
    """Climb by Newton steps to the peaks of a field from every voxel above the threshold.

    Density that rises towards a face ends there, and fields that mirror the map have a maximum
    then, beyond the outermost voxels: no peak of the map.

    Args:
        field: of the map.
        part: the map, from ``crop``.
        threshold: map units.
        config: of the job.
        solvent: density that the threshold stands above, map units.
        advance: told how many ascents are over.
        check_abort: called between parts of the work.

    Returns:
        field and peaks.
    """
    above = part.values > threshold
    starts = part.origin + np.argwhere(above)[:, ::-1] * part.voxel_size
    up = partial(_climb, longest=float(part.voxel_size.min()) / 2)
    summits: Summit | None = None
    pending = np.arange(len(starts))
    for steps in _ROUNDS:
        places = starts if summits is None else np.asarray(summits.position)[pending]
        ends = in_parts(partial(up, field, steps=steps), places, check_abort=check_abort)
        summits = ends if summits is None else _replaced(summits, pending, ends)
        pending = pending[~ends.arrived]
        advance(len(starts) - len(pending))
    assert summits is not None
    advance(len(starts))
    at_voxels = np.zeros(above.shape)
    at_voxels[above] = in_parts(partial(jax.jit(query), field), starts, check_abort=check_abort)
    peaks = merge_summits(summits, above, at_voxels, distance=config.merge)
    of_map = peaks.value
    if config.field == "atoms" and len(peaks):
        spline = field_of(part, "spline")
        of_map = in_parts(partial(jax.jit(query), spline), peaks.position, check_abort=check_abort)
    kept = _stand_out(peaks, threshold, solvent, config) & (of_map > threshold)
    beyond = _beyond_faces(peaks, part)
    return _found(
        field,
        peaks,
        of_map,
        kept & ~beyond,
        threshold,
        np.asarray(summits.arrived),
        at_faces=int((kept & beyond).sum()),
        of_starts="voxels",
    )


_climb = jax.jit(climb)


def walk_to_peaks(
    field: Field,
    part: Map,
    threshold: float,
    config: LocateConfig,
    *,
    solvent: float = 0.0,
    advance: Callable[[int], Any] = lambda done: None,
    check_abort: Callable[[], None] = lambda: None,
) -> Located:
    """Walk uphill as published: from a grid of seeds in steps of 0.05 Å, then cluster the ends.

    Ranno and Si (2022), section 2.4; seeds are no farther apart than voxels, as in their program.
    A walk that leaves the box, or takes more than 50 Å, is lost.

    Args:
        field: of the map.
        part: the map, from ``crop``.
        threshold: map units; seeds lie above.
        config: of the job; ends closer than ``merge`` belong to one cluster, whose centroid is the
            node.
        solvent: density that the threshold stands above, map units.
        advance: told how many walks are over, in voxels above the threshold.
        check_abort: called between parts of the work.

    Returns:
        field and peaks.
    """
    spacing, shape = seeds_of(part)
    index = np.argwhere(np.ones(shape, bool))
    seeds = part.origin + index[:, ::-1] * spacing
    value = in_parts(partial(jax.jit(query), field), seeds, check_abort=check_abort)
    above = (value > threshold).reshape(shape)
    up = partial(
        jax.jit(walk_uphill),
        field,
        first=jnp.asarray(seeds[0], jnp.float32),
        last=jnp.asarray(part.origin + _edges(part), jnp.float32),
    )
    count, voxels = int(above.sum()), int((part.values > threshold).sum())
    walked = in_parts(
        up,
        seeds[above.reshape(-1)],
        check_abort=check_abort,
        # Seeds are more than the voxels that the caller counts in.
        advance=lambda done: advance(voxels * done // max(count, 1)),
    )
    ends = walked.position[walked.arrived].astype(np.float64)
    cluster = cluster_points(ends, config.merge)
    size = np.bincount(cluster)
    centre = np.stack([np.bincount(cluster, ends[:, k]) / size for k in range(3)], axis=1)
    # Walks that are lost have no centre; they are given one more, which is passed over.
    of_walk = np.full(len(walked.arrived), len(centre))
    of_walk[walked.arrived] = cluster
    centre = np.concatenate([centre, seeds[:1]])
    there = in_parts(partial(jax.jit(query_expansion), field), centre, check_abort=check_abort)
    summits = Summit(
        jnp.asarray(centre)[of_walk],
        jax.tree.map(lambda values: values[of_walk], there),
        walked.arrived,
    )
    peaks = merge_summits(summits, above, value.reshape(shape), distance=1e-6)
    kept = _stand_out(peaks, threshold, solvent, config)
    # Walks that reach a face have left the box.
    return _found(
        field,
        peaks,
        peaks.value,
        kept,
        threshold,
        walked.arrived,
        at_faces=0,
        of_starts="seeds",
    )


def seeds_of(part: Map) -> tuple[Float[np.ndarray, "3"], tuple[int, int, int]]:
    """The grid of seeds of published walks.

    Args:
        part: of a map.

    Returns:
        distance of seeds along x, y, z, Å; and their number along z, y, x.
    """
    spacing = np.minimum(_SEED_DISTANCE, part.voxel_size)
    x, y, z = (np.floor(_edges(part) / spacing) + 1).astype(int).tolist()
    return spacing, (z, y, x)


def _edges(part: Map) -> Float[np.ndarray, "3"]:
    """From the first voxel to the last along x, y, z, Å."""
    return (np.array(part.values.shape[::-1]) - 1) * part.voxel_size


def _stand_out(
    peaks: Peaks, threshold: float, solvent: float, config: LocateConfig
) -> Bool[np.ndarray, " peaks"]:
    # Of heights above the solvent: an offset of the map changes no prominence.
    return peaks.prominence >= config.prominence * abs(threshold - solvent)


def _beyond_faces(peaks: Peaks, part: Map) -> Bool[np.ndarray, " peaks"]:
    index = (peaks.position - part.origin) / part.voxel_size
    last = np.array(part.values.shape[::-1]) - 1
    return np.any((index < -_OFF) | (index > last + _OFF), axis=1)


def _found(
    field: Field,
    peaks: Peaks,
    of_map: Float[np.ndarray, " peaks"],
    kept: Bool[np.ndarray, " peaks"],
    threshold: float,
    arrived: Bool[np.ndarray, " starts"],
    *,
    at_faces: int,
    of_starts: Literal["voxels", "seeds"],
) -> Located:
    lost = int((~arrived).sum())
    chosen = select_peaks(peaks, kept)
    return Located(
        field,
        chosen,
        of_map[kept],
        len(peaks),
        threshold,
        len(arrived),
        lost,
        at_faces,
        of_starts,
    )


def _replaced(summits: Summit, which: Int[np.ndarray, " n"], new: Summit) -> Summit:
    def put(old: np.ndarray, values: np.ndarray) -> np.ndarray:
        old = old.copy()
        old[which] = values
        return old

    return jax.tree.map(put, summits, new)
