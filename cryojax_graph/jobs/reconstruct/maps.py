"""Maps of both halves and of all images, from the sums over their slices."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Bool, Float

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.forward.reconstruct import (
    SliceSums,
    SpectrumSums,
    complete_sums,
    shell_weights,
    solve_map,
    spectrum_shells,
    symmetrize_sums,
)
from cryojax_graph.metrics import half_spectrum, shell_sums
from cryojax_graph.training.mesh import data_mesh, one_each

# What RELION takes for the least and the most that two halves may agree.
_LEAST, _MOST = 1e-3, 0.999
THRESHOLD = 0.143
# Shells beyond those that halves share by which it is told whether they agree in anything else, and
# how many of the first of them tell nothing.
WITNESSES, _TOUCHED = 3, 1
# Width of the edge of the sphere to which maps are confined, voxels.
EDGE = 3.0


class HalfMaps(NamedTuple):
    """What two independent halves of the images show, and what both together do.

    Attributes:
        first: map of the first half, not filtered.
        second: of the second.
        whole: of all images, not filtered; where few images share a coefficient it is better than
            the mean of the halves.
        combined: of all images, by a Wiener filter from the agreement of the halves.
        fsc: Fourier shell correlation of the halves within the box's sphere.
    """

    first: Float[np.ndarray, "box box box"]
    second: Float[np.ndarray, "box box box"]
    whole: Float[np.ndarray, "box box box"]
    combined: Float[np.ndarray, "box box box"]
    fsc: Float[np.ndarray, " shells"]


def solve_halves(
    first: SpectrumSums,
    second: SpectrumSums,
    *,
    box: int,
    radius: Scalar,
    shared: int = 0,
    copies: int = 1,
) -> HalfMaps:
    """Solve for the maps of two halves and of all images.

    Where halves share their coarsest shells, the ball that confines them carries these into finer
    ones. Maps that are not confined say whether the halves agree there at all; if they do not,
    their correlation there is 0.

    Args:
        first: complete sums over the views of the first half.
        second: of the second.
        box: edge of the images in pixels.
        radius: of the sphere outside which maps are 0, voxels.
        shared: shells below this have one map in both halves.
        copies: of each coefficient, by the symmetry of the map.

    Returns:
        the maps.
    """
    both = _added(first, second)
    # Noise in the corners of the box would be taken for structure by no one, but counted by all.
    ball = _ball(box, radius=radius, edge=EDGE)

    nothing = jnp.zeros(box // 2 + 1)
    apart = [first, second]
    if shared:
        apart = [_with_shared(half, both, shared, box=box) for half in apart]
    halves = _solve_each(apart, [nothing, nothing], ball, box=box)
    fsc = _fsc(*halves).astype(np.float32)
    if shared:
        curve = _fsc(*_solve_each(apart, [nothing, nothing], jnp.ones_like(ball), box=box))
        if not agree_beyond(curve, shared, volume=float(jnp.mean(ball**2)), copies=copies):
            fsc[shared:] = 0.0
    wiener = _precision(both, jnp.asarray(fsc), box=box)
    whole, filtered = _solve_each([both, both], [nothing, wiener], ball, box=box)
    return HalfMaps(halves[0], halves[1], whole, filtered, fsc)


def _fsc(first: np.ndarray, second: np.ndarray) -> Float[np.ndarray, " shells"]:
    return shell_sums(half_spectrum(first), half_spectrum(second)).correlation()


def confined_map(
    sums: SpectrumSums,
    precision: Float[Array, " shells"] | None = None,
    *,
    box: int,
    radius: Scalar,
) -> Float[Array, "box box box"]:
    """The map of some sums within the sphere of the box.

    Args:
        sums: complete.
        precision: of the Wiener filter; none when not given.
        box: edge of the images in pixels.
        radius: of the sphere outside which the map is 0, voxels.

    Returns:
        the map.
    """
    ball = _ball(box, radius=radius, edge=EDGE)
    filtered = jnp.zeros(box // 2 + 1) if precision is None else precision
    return jnp.asarray(_solve_each([sums], [filtered], ball, box=box)[0])


def added(*sums: SpectrumSums) -> SpectrumSums:
    """Sums over the views of several sets.

    Args:
        *sums: of each, of one symmetry.

    Returns:
        of all.
    """
    total = jax.tree.map(lambda *parts: sum(parts[1:], parts[0]), *sums)
    return total._replace(smoothed=sums[0].smoothed)


def with_shared_shells(
    half: SpectrumSums, both: SpectrumSums, shared: int, *, box: int
) -> SpectrumSums:
    """A half with the coarsest shells of both.

    Args:
        half: sums of a half.
        both: of both.
        shared: shells below this are those of both.
        box: edge of the images in pixels.

    Returns:
        the sums.
    """
    coarse = spectrum_shells(half, box=box) < shared
    data = jnp.where(coarse, both.data / 2, half.data)
    weight = jnp.where(coarse, both.weight / 2, half.weight)
    return SpectrumSums(data, weight, half.smoothed)


def completed(sums: SliceSums, operators: Float[np.ndarray, "n 3 3"]) -> SpectrumSums:
    """Complete and symmetric sums.

    Args:
        sums: over all slices.
        operators: of the point group.

    Returns:
        the sums from which a map is solved.
    """
    whole = _complete(sums)
    if len(operators) == 1:
        return whole
    return _symmetrize(whole, tuple(operators.ravel().tolist()))


def precision_of(
    weights: Float[Array, " shells"], fsc: Float[Array, " shells"], *, images: int
) -> Float[Array, " shells"]:
    """Inverse variance of a map's coefficients, in units of the weights.

    The signal-to-noise ratio of a half is FSC / (1 - FSC), that of both halves twice as much.

    Args:
        weights: mean weight of each shell.
        fsc: Fourier shell correlation of the halves; beyond ``agreed_shells`` it is chance and
            counts as nothing.
        images: 1 for the map of a half, 2 for that of both.

    Returns:
        what a Wiener filter adds to the weights.
    """
    agreement = jnp.clip(jnp.where(agreed_shells(fsc), fsc, 0.0), _LEAST, _MOST)
    return weights * (1 - agreement) / (images * agreement)


def agreed_shells(fsc: Float[Array, " shells"]) -> Bool[Array, " shells"]:
    """Shells before the halves first agree by less than 0.143.

    Args:
        fsc: Fourier shell correlation of the halves.

    Returns:
        true for these; shell 0 is one of them.
    """
    falls = (fsc < THRESHOLD) & (jnp.arange(len(fsc)) > 0)
    return jnp.cumsum(falls) == 0


def agree_beyond(
    fsc: Float[np.ndarray, " shells"], shared: int, *, volume: float, copies: int
) -> bool:
    """Whether halves agree in more than the shells that they share.

    Args:
        fsc: Fourier shell correlation of maps that are not confined.
        shared: shells below this have one map in both.
        volume: share of the box that holds the particle.
        copies: of each coefficient, by symmetry.

    Returns:
        true where the second and third shell after the shared ones agree by more than chance: the
        first holds the edge of the reference's filter, and what slices that are inserted between
        coefficients carry into it. False where there are no such shells.
    """
    witnesses = slice(shared + _TOUCHED, shared + WITNESSES)
    chance = chance_fsc(2 * len(fsc) - 2, copies=copies)
    found, least = (within_volume(curve, volume)[witnesses] for curve in (fsc, chance))
    return len(found) > 0 and bool((found > np.maximum(least, THRESHOLD)).all())


def within_volume(fsc: Float[np.ndarray, " shells"], share: float) -> Float[np.ndarray, " shells"]:
    """What the correlation would be if the maps held no noise outside of the particle.

    Args:
        fsc: Fourier shell correlation of maps with noise all over the box.
        share: of the box that holds the particle.

    Returns:
        the correlation, from -1 to 1: signal to noise is 1 / share of what it was (Grigorieff 2016,
        Methods Enzymol 579, 191).
    """
    fsc = np.clip(fsc, -1.0, 1.0)
    return fsc / (share + (1.0 - share) * np.abs(fsc))


def chance_fsc(box: int, *, copies: int) -> Float[np.ndarray, " shells"]:
    """Three standard deviations of the correlation of two maps of noise.

    Args:
        box: edge of the maps in voxels.
        copies: of each coefficient, by symmetry.

    Returns:
        the correlation, at most 1; a shell of noise holds as many numbers as coefficients.
    """
    independent = 4 * np.pi * np.arange(box // 2 + 1) ** 2 / copies
    return 3.0 / np.sqrt(np.maximum(independent, 9.0))


def _solve_each(
    sums: Sequence[SpectrumSums],
    precisions: Sequence[Float[Array, " shells"]],
    within: Float[Array, "n n n"],
    *,
    box: int,
) -> list[np.ndarray]:
    """The map of each of some sums, as many at a time as there are devices for them."""
    cases, solved = list(zip(sums, precisions, strict=True)), []
    mesh = data_mesh(jax.local_devices()[: len(cases)])
    while cases:
        together, cases = one_each(cases[: mesh.size], mesh), cases[mesh.size :]
        solved += list(np.asarray(_solve(*together, within, box=box, mesh=mesh)))
    return solved


@partial(jax.jit, static_argnames=("box", "mesh"))
def _solve(
    sums: SpectrumSums,
    precision: Float[Array, "devices shells"],
    within: Float[Array, "n n n"],
    *,
    box: int,
    mesh: Mesh,
) -> Float[Array, "devices n n n"]:
    def of_device(own: tuple[SpectrumSums, Array], within: Array) -> Array:
        own_sums, own_precision = jax.tree.map(lambda a: a[0], own)
        return (solve_map(own_sums, own_precision, box=box) * within)[None]

    share = PartitionSpec("data")
    return jax.shard_map(
        of_device, mesh=mesh, in_specs=(share, PartitionSpec()), out_specs=share, check_vma=False
    )((sums, precision), within)


@partial(jax.jit, static_argnames="box")
def _precision(
    both: SpectrumSums, fsc: Float[Array, " shells"], *, box: int
) -> Float[Array, " shells"]:
    return precision_of(shell_weights(both, box=box), fsc, images=2)


@partial(jax.jit, static_argnums=1)
def _symmetrize(sums: SpectrumSums, operators: tuple[float, ...]) -> SpectrumSums:
    # Static, as a tuple: one compilation serves all sums of a point group.
    return symmetrize_sums(sums, np.array(operators).reshape(-1, 3, 3))


_added = jax.jit(added)
_complete = jax.jit(complete_sums)
_ball = jax.jit(soft_sphere, static_argnums=0)
_with_shared = jax.jit(with_shared_shells, static_argnames=("shared", "box"))
