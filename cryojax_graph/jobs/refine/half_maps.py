"""Maps of two halves that share nothing but their coarsest shells."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

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
        filtered: by the Wiener filter of a half; the next references.
        combined: of all images, filtered.
        fsc: of the halves.
    """

    halves: Float[np.ndarray, "2 box box box"]
    filtered: Float[np.ndarray, "2 box box box"]
    combined: Float[np.ndarray, "box box box"]
    fsc: Float[np.ndarray, " shells"]


def solve_apart(
    first: SliceSums,
    second: SliceSums,
    *,
    box: int,
    operators: Float[np.ndarray, "operators 3 3"],
    shared: int,
    radius: float,
) -> HalfSolution:
    """Solve for the maps of two halves.

    Args:
        first: sums over the views of the first half.
        second: of the second.
        box: edge of the images in pixels.
        operators: of the point group.
        shared: shells below this have one map in both halves.
        radius: of the sphere outside which there is no particle, voxels.

    Returns:
        the maps.
    """
    whole = [completed(sums, operators) for sums in (first, second)]
    solved = _solved(*whole, box=box, shared=shared, radius=radius)
    return HalfSolution(*(np.asarray(values) for values in solved))


@partial(jax.jit, static_argnames=("box", "shared"))
def _solved(
    first: SpectrumSums, second: SpectrumSums, *, box: int, shared: int, radius: float
) -> tuple[Array, Array, Array, Array]:
    both = jax.tree.map(jnp.add, first, second)._replace(smoothed=first.smoothed)
    coarse = spectrum_shells(first, box=box) < shared

    def joined(half: SpectrumSums) -> SpectrumSums:
        data = jnp.where(coarse, both.data / 2, half.data)
        weight = jnp.where(coarse, both.weight / 2, half.weight)
        return SpectrumSums(data, weight, half.smoothed)

    halves = [joined(half) for half in (first, second)]
    ball = soft_sphere(box, radius=radius, edge=_EDGE)

    def solve(sums: SpectrumSums, precision: Array | None) -> Array:
        return solve_map(sums, precision, box=box) * ball

    maps = [solve(half, None) for half in halves]
    fsc = fourier_shell_correlation(*maps)
    agreed = _up_to_threshold(fsc)
    filtered = [
        solve(half, precision_of(shell_weights(half, box=box), agreed, images=1)) for half in halves
    ]
    combined = solve(both, precision_of(shell_weights(both, box=box), agreed, images=2))
    return jnp.stack(maps), jnp.stack(filtered), combined, fsc


def _up_to_threshold(fsc: Float[Array, " shells"]) -> Float[Array, " shells"]:
    """The curve until it first falls below the threshold; nothing beyond, where it is chance."""
    falls = (fsc < _THRESHOLD) & (jnp.arange(len(fsc)) > 0)
    known = jnp.cumsum(falls) == 0
    return jnp.where(known, fsc, 0.0)
