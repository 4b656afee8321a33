"""Maps of two halves that share nothing but their coarsest shells."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.forward.bootstrap import without_part
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.forward.reconstruct import (
    SliceSums,
    SpectrumSums,
    shell_weights,
    solve_map,
)
from cryojax_graph.jobs.reconstruct.maps import (
    EDGE,
    added,
    completed,
    precision_of,
    solve_halves,
    with_shared_shells,
)

LoadSums: TypeAlias = Callable[[], SliceSums]


class HalfSolution(NamedTuple):
    """Maps of both halves of one round.

    Attributes:
        halves: not filtered.
        references: for each fold of each half, the Wiener-filtered map of the half's other folds.
        whole: of all images, not filtered.
        combined: of all images, filtered.
        fsc: of the halves.
    """

    halves: Float[np.ndarray, "2 box box box"]
    references: Float[np.ndarray, "2 folds box box box"]
    whole: Float[np.ndarray, "box box box"]
    combined: Float[np.ndarray, "box box box"]
    fsc: Float[np.ndarray, " shells"]


def solve_apart(
    first: Sequence[LoadSums],
    second: Sequence[LoadSums],
    *,
    box: int,
    operators: Float[np.ndarray, "operators 3 3"],
    shared: int,
    radius: Scalar,
) -> HalfSolution:
    """Solve for the maps of two halves.

    Args:
        first: for each fold of the first half, what loads the sums over its views: those of one
            fold and of both halves are in memory at a time.
        second: of the second.
        box: edge of the images in pixels.
        operators: of the point group.
        shared: shells up to which the halves have one map.
        radius: of the sphere that holds the particle, voxels.

    Returns:
        the maps.
    """
    totals = [completed(_sum_of(half), operators) for half in (first, second)]
    copies = len(operators)
    maps = solve_halves(*totals, box=box, radius=radius, shared=shared, copies=copies)
    both, fsc = jax.jit(added)(*totals), jnp.asarray(maps.fsc)
    solve = partial(_reference, both=both, fsc=fsc, box=box, shared=shared, radius=radius)
    references = [
        [np.asarray(solve(total, fold=completed(load(), operators))) for load in half]
        for total, half in zip(totals, (first, second), strict=True)
    ]
    halves = np.stack([maps.first, maps.second])
    return HalfSolution(halves, np.stack(references), maps.whole, maps.combined, maps.fsc)


def _sum_of(half: Sequence[LoadSums]) -> SliceSums:
    total = half[0]()
    for load in half[1:]:
        total = SliceSums(total.values + load().values)
    return total


@partial(jax.jit, static_argnames=("box", "shared"))
def _reference(
    half: SpectrumSums,
    *,
    fold: SpectrumSums,
    both: SpectrumSums,
    fsc: Float[Array, " shells"],
    box: int,
    shared: int,
    radius: Scalar,
) -> Float[Array, "box box box"]:
    """What the images of a fold are compared with: nothing that they have contributed to."""
    left, left_of_both = (without_part(sums, fold) for sums in (half, both))
    sums = with_shared_shells(left, left_of_both, shared, box=box)
    # The signal is that of the whole half: its precision does not depend on what was left out.
    precision = precision_of(shell_weights(half, box=box), fsc, images=1)
    return solve_map(sums, precision, box=box) * soft_sphere(box, radius=radius, edge=EDGE)
