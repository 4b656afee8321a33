"""Cone bootstrap: how far a map would differ had other images been taken.

The images of each cell of viewing directions are dealt at random into parts. For each part the map
is solved anew without it, and the deviations of these replicates give, voxel by voxel, the standard
deviation of the map of all images: a delete-a-group jackknife, stratified by direction (Quenouille
1956; Shao & Wu 1989), so every image is inserted a second time and never more. What it holds:

- Where many images share a coefficient, it is that of the noise and of whatever else differs
  between images of one direction, no matter how that is distributed.
- Where m images share one it is high by m / (m - 1) in variance, and where one image alone measured
  a coefficient it is nearly as large as the coefficient itself: poorly sampled directions are never
  taken for good ones.
- What no image measured has neither value nor deviation, and what all images of a direction have
  in common, such as a wrong pose of all, is not seen.

It is no random conical tilt: the cones are those of the cells.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Inexact, Int, Key

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.reconstruct import (
    SliceSums,
    SpectrumSums,
    complete_sums,
    insert_slices,
    no_slices,
    solve_map,
)
from cryojax_graph.geometry.orientations import view_cells


class Replicates(NamedTuple):
    """What is kept of any number of replicates of an array, real or complex (Welford 1962).

    Attributes:
        count: of replicates.
        mean: of them.
        scatter: sum of the squared distances from the mean.
    """

    count: Int[Array, ""]
    mean: Inexact[Array, "*shape"]
    scatter: Float[Array, "*shape"]


def no_replicates(like: Inexact[Array, "*shape"]) -> Replicates:
    """Nothing seen yet.

    Args:
        like: an array of the shape and type of the replicates.

    Returns:
        zeros.
    """
    return Replicates(jnp.zeros((), jnp.int32), jnp.zeros_like(like), jnp.zeros_like(like.real))


def add_replicate(replicates: Replicates, values: Inexact[Array, "*shape"]) -> Replicates:
    """Take one replicate more into account.

    Args:
        replicates: so far.
        values: the new one.

    Returns:
        all of them.
    """
    count = replicates.count + 1
    before = values - replicates.mean
    mean = replicates.mean + before / count
    scatter = replicates.scatter + (before * (values - mean).conj()).real
    return Replicates(count, mean, scatter)


def jackknife_variance(replicates: Replicates) -> Float[Array, "*shape"]:
    """Variance of what all images give, from replicates that each lack one of equal parts.

    Args:
        replicates: of all parts.

    Returns:
        (parts - 1) / parts of the scatter.
    """
    return (replicates.count - 1) / replicates.count * replicates.scatter


def deal_into_parts(
    key: Key[Array, ""],
    rotations: Float[np.ndarray, "views 3 3"],
    image: Int[np.ndarray, " views"],
    *,
    parts: int,
    order: int = 2,
) -> Int[np.ndarray, " views"]:
    """Deal images into parts so that all parts have nearly the same number in every direction.

    Args:
        key: random key.
        rotations: of the views, object to image coordinates.
        image: number of the image of each view; an image goes into one part with all its views, by
            the direction of the first.
        parts: how many.
        order: HEALPix order of the cells; those of order 2 are 15° wide.

    Returns:
        part of each view, from 0; sizes of parts differ by one image at most.
    """
    _, first, number = np.unique(image, return_index=True, return_inverse=True)
    cell = view_cells(np.asarray(rotations, np.float64)[first, 2], order)
    shuffle, turn = jax.random.split(key)
    shuffled = np.asarray(jax.random.permutation(shuffle, len(first)))
    by_cell = shuffled[np.argsort(cell[shuffled], kind="stable")]
    part = np.empty(len(first), np.int64)
    # Like cards, cell after cell; which part the surplus goes to is chance.
    names = np.asarray(jax.random.permutation(turn, parts))
    part[by_cell] = names[np.arange(len(first)) % parts]
    return part[number.ravel()]


def without_part(total: SpectrumSums, part: SpectrumSums) -> SpectrumSums:
    """Sums over all slices but those of a part.

    Args:
        total: over all.
        part: over some of them.

    Returns:
        over the rest.
    """
    # What rounding leaves of a weight that the part had alone may be negative.
    weight = jnp.maximum(total.weight - part.weight, 0.0)
    return SpectrumSums(total.data - part.data, weight, total.smoothed)


def cone_bootstrap(
    key: Key[Array, ""],
    data: Complex[Array, "images box half"],
    weights: Float[Array, "images box half"],
    rotations: Float[Array, "images 3 3"],
    precision: Float[Array, " shells"] | None = None,
    *,
    parts: int = 20,
    order: int = 2,
    voxel_size: Scalar = 1.0,
    padding: int = 2,
) -> tuple[Float[Array, "box box box"], Float[Array, "box box box"]]:
    """Map of images, and the standard deviation of every voxel had other images been taken.

    Memory is that of two reconstructions, however many parts there are. Directions are looked up
    on the host, so this function itself is not to be traced.

    Args:
        key: random key.
        data: half spectra times their transfer, as for ``insert_slices``.
        weights: squares of the transfer.
        rotations: of the images, object to image coordinates.
        precision: of the Wiener filter, as for ``solve_map``.
        parts: into which the images are dealt; the deviation is known to one in √(2 parts).
        order: HEALPix order of the cells of directions.
        voxel_size: Å.
        padding: as in ``no_slices``.

    Returns:
        map and deviation, in one unit.

    Raises:
        ValueError: there are fewer than two parts, or fewer images than parts.
    """
    count, box = len(data), data.shape[1]
    if not 2 <= parts <= count:
        raise ValueError(f"{count} images cannot be dealt into {parts} parts")
    part = deal_into_parts(key, np.asarray(rotations), np.arange(count), parts=parts, order=order)
    # Parts differ by an image at most: an image of no weight fills up the smaller ones.
    members = [np.flatnonzero(part == number) for number in range(parts)]
    longest = max(map(len, members))
    chosen = np.stack([np.resize(m, longest) for m in members])
    real = np.stack([np.float32(np.arange(longest) < len(m)) for m in members])
    total = no_slices(box, padding=padding)
    for rows, factor in zip(chosen, real, strict=True):
        total = _inserted(total, data[rows], weights[rows], rotations[rows], factor)
    volume = _rest(total, no_slices(box, padding=padding), precision, box, voxel_size)
    replicates = no_replicates(volume)
    for rows, factor in zip(chosen, real, strict=True):
        part = no_slices(box, padding=padding)
        part = _inserted(part, data[rows], weights[rows], rotations[rows], factor)
        rest = _rest(total, part, precision, box, voxel_size)
        replicates = add_replicate(replicates, rest)
    return volume, jnp.sqrt(jackknife_variance(replicates))


@jax.jit
def _inserted(
    sums: SliceSums,
    data: Complex[Array, "images box half"],
    weights: Float[Array, "images box half"],
    rotations: Float[Array, "images 3 3"],
    factor: Float[Array, " images"],
) -> SliceSums:
    factor = factor[:, None, None]
    return insert_slices(sums, data * factor, weights * factor, rotations)


@partial(jax.jit, static_argnames="box")
def _rest(
    total: SliceSums,
    part: SliceSums,
    precision: Float[Array, " shells"] | None,
    box: int,
    voxel_size: Scalar,
) -> Float[Array, "box box box"]:
    """The map of all slices but those of a part."""
    rest = without_part(complete_sums(total), complete_sums(part))
    return solve_map(rest, precision, box=box, voxel_size=voxel_size)
