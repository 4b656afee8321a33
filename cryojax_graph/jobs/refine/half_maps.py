"""Maps of two halves that share nothing but their coarsest shells."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.forward.reconstruct import (
    SliceSums,
    SpectrumSums,
    shell_weights,
    solve_map,
    spectrum_shells,
)
from cryojax_graph.jobs.reconstruct.maps import completed, precision_of
from cryojax_graph.metrics.fsc import fourier_shell_correlation

_THRESHOLD = 0.143
# Width of the edge of the sphere to which maps are confined, voxels.
_EDGE = 3.0


class HalfSolution(NamedTuple):
    """Maps of both halves of one round.

    Attributes:
        halves: not filtered.
        references: for each fold of each half, the Wiener-filtered map of the half's other folds.
        combined: of all images, filtered.
        fsc: of the halves.
    """

    halves: Float[np.ndarray, "2 box box box"]
    references: Float[np.ndarray, "2 folds box box box"]
    combined: Float[np.ndarray, "box box box"]
    fsc: Float[np.ndarray, " shells"]


def solve_apart(
    first: list[SliceSums],
    second: list[SliceSums],
    *,
    box: int,
    operators: Float[np.ndarray, "operators 3 3"],
    shared: int,
    radius: Scalar,
) -> HalfSolution:
    """Solve for the maps of two halves.

    Args:
        first: sums over the views of each fold of the first half.
        second: of the second.
        box: edge of the images in pixels.
        operators: of the point group.
        shared: shells below this have one map in both halves.
        radius: of the sphere outside which there is no particle, voxels.

    Returns:
        the maps.
    """
    folds = [[completed(sums, operators) for sums in half] for half in (first, second)]
    totals = [_added(*half) for half in folds]
    common = {"box": box, "shared": shared, "radius": radius}
    halves, combined, fsc = _maps(*totals, **common)
    references = [
        [_reference(total, other, fold, fsc, **common) for fold in half]
        for total, other, half in zip(totals, reversed(totals), folds, strict=True)
    ]
    return HalfSolution(*(np.asarray(values) for values in (halves, references, combined, fsc)))


@jax.jit
def _added(*sums: SpectrumSums) -> SpectrumSums:
    total = jax.tree.map(lambda *parts: jnp.sum(jnp.stack(parts), axis=0), *sums)
    return total._replace(smoothed=sums[0].smoothed)


@partial(jax.jit, static_argnames=("box", "shared"))
def _maps(
    first: SpectrumSums, second: SpectrumSums, *, box: int, shared: int, radius: Scalar
) -> tuple[Array, Array, Array]:
    """Both halves, unfiltered; all images, filtered; correlation of the halves."""
    both = _added(first, second)
    ball = soft_sphere(box, radius=radius, edge=_EDGE)
    halves = [
        solve_map(_joined(half, other, box=box, shared=shared), box=box) * ball
        for half, other in ((first, second), (second, first))
    ]
    fsc = fourier_shell_correlation(*halves)
    precision = precision_of(shell_weights(both, box=box), _up_to_threshold(fsc), images=2)
    return jnp.stack(halves), solve_map(both, precision, box=box) * ball, fsc


@partial(jax.jit, static_argnames=("box", "shared"))
def _reference(
    half: SpectrumSums,
    other: SpectrumSums,
    fold: SpectrumSums,
    fsc: Float[Array, " shells"],
    *,
    box: int,
    shared: int,
    radius: Scalar,
) -> Float[Array, "box box box"]:
    """What the images of a fold are compared with: nothing that they have contributed to."""
    left = SpectrumSums(half.data - fold.data, half.weight - fold.weight, half.smoothed)
    sums = _joined(left, other, box=box, shared=shared)
    # The signal is that of the whole half: its precision does not depend on what was left out.
    precision = precision_of(shell_weights(half, box=box), _up_to_threshold(fsc), images=1)
    return solve_map(sums, precision, box=box) * soft_sphere(box, radius=radius, edge=_EDGE)


def _joined(half: SpectrumSums, other: SpectrumSums, *, box: int, shared: int) -> SpectrumSums:
    """A half with the coarsest shells of both."""
    coarse = spectrum_shells(half, box=box) < shared
    data = jnp.where(coarse, (half.data + other.data) / 2, half.data)
    weight = jnp.where(coarse, (half.weight + other.weight) / 2, half.weight)
    return SpectrumSums(data, weight, half.smoothed)


def _up_to_threshold(fsc: Float[Array, " shells"]) -> Float[Array, " shells"]:
    """The curve until it first falls below the threshold; nothing beyond, where it is chance."""
    falls = (fsc < _THRESHOLD) & (jnp.arange(len(fsc)) > 0)
    known = jnp.cumsum(falls) == 0
    return jnp.where(known, fsc, 0.0)
