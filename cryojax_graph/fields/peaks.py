"""The maxima of a field, the region that drains into each, and how far each stands out."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

from cryojax_graph.fields.ascent import Summit
from cryojax_graph.fields.clusters import cluster_points

# Half of the 26 neighbours of a voxel: every pair of neighbours once.
_NEIGHBOURS = [
    (z, y, x) for z in (0, 1) for y in (-1, 0, 1) for x in (-1, 0, 1) if (z, y, x) > (0, 0, 0)
]


class Peaks(NamedTuple):
    """Maxima of a field, the highest first.

    Attributes:
        position: (x, y, z) in Å.
        value: density in map units.
        gradient_norm: how flat the field is there, map units per Å.
        eigenvalues: of the Hessian, ascending, map units per Å².
        prominence: height above the highest saddle on the way to a higher peak, or above the
            lowest voxel that was climbed from where there is none; map units.
        voxels: that drain into the peak.
    """

    position: Float[np.ndarray, "n 3"]
    value: Float[np.ndarray, " n"]
    gradient_norm: Float[np.ndarray, " n"]
    eigenvalues: Float[np.ndarray, "n 3"]
    prominence: Float[np.ndarray, " n"]
    voxels: Int[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of peaks."""
        return len(self.value)


def merge_summits(
    summits: Summit,
    voxels: Bool[np.ndarray, "z y x"],
    density: Float[np.ndarray, "z y x"],
    *,
    distance: float,
) -> Peaks:
    """Take the ends of many ascents for one peak each where they met.

    Args:
        summits: where the ascents from ``voxels`` ended, in the order of ``numpy.nonzero``.
        voxels: from which one climbed.
        density: of the map.
        distance: ends closer than this are one peak, Å.

    Returns:
        the peaks; an ascent that did not arrive belongs to none.
    """
    arrived = np.asarray(summits.arrived)
    place = np.asarray(summits.position, np.float64)
    value = np.asarray(summits.field.value, np.float64)
    of_end = cluster_points(place[arrived], distance)
    count = int(of_end.max(initial=-1)) + 1
    # The highest end of a group stands for it; groups are numbered by its height.
    ends = np.nonzero(arrived)[0]
    order = np.argsort(-value[ends], kind="stable")
    groups, first = np.unique(of_end[order], return_index=True)
    heads = ends[order[first]]
    rank = np.argsort(-value[heads], kind="stable")
    number = np.empty(count, int)
    number[groups[rank]] = np.arange(count)
    heads = heads[rank]
    label = np.full(len(value), -1)
    label[ends] = number[of_end]
    on_grid = np.full(voxels.shape, -1)
    on_grid[voxels] = label
    floor = float(density[voxels].min()) if voxels.any() else 0.0
    gradient = np.asarray(summits.field.gradient, np.float64)[heads]
    return Peaks(
        position=place[heads],
        value=value[heads],
        gradient_norm=np.linalg.norm(gradient, axis=1),
        eigenvalues=np.linalg.eigvalsh(np.asarray(summits.field.hessian, np.float64)[heads]),
        prominence=_prominence(value[heads], on_grid, density, floor),
        voxels=np.bincount(label[label >= 0], minlength=count),
    )


def select_peaks(peaks: Peaks, which: Bool[np.ndarray, " n"]) -> Peaks:
    """Some of the peaks, in the same order.

    Args:
        peaks: all.
        which: those to keep.

    Returns:
        these.
    """
    return Peaks(*(part[which] for part in peaks))


def _prominence(
    height: Float[np.ndarray, " n"],
    label: Int[np.ndarray, "z y x"],
    density: Float[np.ndarray, "z y x"],
    floor: float,
) -> Float[np.ndarray, " n"]:
    """Height above the saddle to a higher peak, from where the regions of peaks touch.

    The saddle of two regions is taken from the highest pair of neighbouring voxels across their
    border, by the lower of the two. It may lie below the true one, where the pass runs between
    voxels, and above it, where a valley does.
    """
    passes: dict[tuple[int, int], float] = {}
    for first, second, at in _borders(label, density):
        order = np.lexsort((-at, second, first))
        first, second, at = first[order], second[order], at[order]
        pairs, start = np.unique(np.stack([first, second], 1), axis=0, return_index=True)
        for (a, b), value in zip(pairs.tolist(), at[start].tolist(), strict=True):
            passes[a, b] = max(value, passes.get((a, b), -np.inf))
    owner = list(range(len(height)))

    def summit(peak: int) -> int:
        while owner[peak] != peak:
            owner[peak] = owner[owner[peak]]
            peak = owner[peak]
        return peak

    prominence = height - floor
    for (a, b), saddle in sorted(passes.items(), key=lambda item: -item[1]):
        # Peaks are numbered by height: where two meet, the one with the larger number ends.
        higher, lower = sorted((summit(a), summit(b)))
        if higher != lower:
            prominence[lower] = max(height[lower] - saddle, 0.0)
            owner[lower] = higher
    return prominence


def _borders(
    label: Int[np.ndarray, "z y x"], density: Float[np.ndarray, "z y x"]
) -> list[tuple[Shaped[np.ndarray, " n"], ...]]:
    """Pairs of neighbouring voxels of two regions, and the lower density of each pair."""
    found = []
    for shift in _NEIGHBOURS:
        here = tuple(
            slice(max(-s, 0), n - max(s, 0)) for s, n in zip(shift, label.shape, strict=True)
        )
        there = tuple(
            slice(max(s, 0), n - max(-s, 0)) for s, n in zip(shift, label.shape, strict=True)
        )
        a, b = label[here], label[there]
        across = (a != b) & (a >= 0) & (b >= 0)
        pair = np.sort(np.stack([a[across], b[across]]), axis=0)
        lower = np.minimum(density[here][across], density[there][across])
        found.append((pair[0], pair[1], lower))
    return found
