"""Maps of both halves and of all images, from the sums over their slices."""

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
    complete_sums,
    shell_weights,
    solve_map,
    symmetrize_sums,
)
from cryojax_graph.metrics.fsc import fourier_shell_correlation

# What RELION takes for the least and the most that two halves may agree.
_LEAST, _MOST = 1e-3, 0.999
# Width of the edge of the sphere to which maps are confined, voxels.
_EDGE = 3.0


class HalfMaps(NamedTuple):
    """What two independent halves of the images show, and what both together do.

    Attributes:
        first: map of the first half, not filtered.
        second: of the second.
        combined: of all images, by a Wiener filter from the agreement of the halves.
        fsc: Fourier shell correlation of the halves within the box's sphere.
    """

    first: Float[np.ndarray, "box box box"]
    second: Float[np.ndarray, "box box box"]
    combined: Float[np.ndarray, "box box box"]
    fsc: Float[np.ndarray, " shells"]


def solve_halves(
    first: SliceSums, second: SliceSums, *, box: int, operators: Float[np.ndarray, "n 3 3"]
) -> HalfMaps:
    """Solve for the maps of two halves and of all images.

    Args:
        first: sums over the views of the first half.
        second: of the second.
        box: edge of the images in pixels.
        operators: of the point group.

    Returns:
        the maps, within the sphere that fits into the box.
    """
    halves = [completed(sums, operators) for sums in (first, second)]
    maps = [_solve(sums, None, box=box) for sums in halves]
    fsc = jax.jit(fourier_shell_correlation)(*maps)
    both = jax.tree.map(jnp.add, *halves)._replace(smoothed=halves[0].smoothed)
    combined = _solve(both, precision_of(shell_weights(both, box=box), fsc, images=2), box=box)
    return HalfMaps(*(np.asarray(a) for a in (*maps, combined, fsc)))


def completed(sums: SliceSums, operators: Float[np.ndarray, "n 3 3"]) -> SpectrumSums:
    """Complete and symmetric sums.

    Args:
        sums: over all slices.
        operators: of the point group.

    Returns:
        the sums from which a map is solved.
    """
    whole = jax.jit(complete_sums)(sums)
    if len(operators) == 1:
        return whole
    return jax.jit(partial(symmetrize_sums, operators=operators))(whole)


@partial(jax.jit, static_argnames="box")
def _solve(
    sums: SpectrumSums, precision: Float[Array, " shells"] | None, *, box: int
) -> Float[Array, "box box box"]:
    volume = solve_map(sums, precision, box=box)
    # Noise in the corners of the box would be taken for structure by no one, but counted by all.
    return volume * soft_sphere(box, radius=box / 2 - _EDGE, edge=_EDGE)


def precision_of(
    weights: Float[Array, " shells"], fsc: Float[Array, " shells"], *, images: int
) -> Float[Array, " shells"]:
    """Inverse variance of a map's coefficients, in units of the weights.

    The signal-to-noise ratio of a half is FSC / (1 - FSC), that of both halves twice as much.

    Args:
        weights: mean weight of each shell.
        fsc: Fourier shell correlation of the halves.
        images: 1 for the map of a half, 2 for that of both.

    Returns:
        what a Wiener filter adds to the weights.
    """
    agreement = jnp.clip(fsc, _LEAST, _MOST)
    return weights * (1 - agreement) / (images * agreement)
