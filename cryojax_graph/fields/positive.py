"""A map as a sum of non-negative Gaussians on a finer grid, and what they cannot explain.

Atoms scatter positively, and an interpolator that knows it can tell what was lost between voxels: a
map at a third of its resolution per voxel is aliased, no linear interpolator recovers it, and this
one does better than any of them by a factor of two to four (docs/validation.md). Where noise or
sharpening makes a map negative the density is not, and nothing is known but the voxels: there the
Gaussians stand on a floor below them all, and the field is as good as a spline.

A field that goes through every voxel has all of the noise of the map. Where the noise is known,
the Gaussians are fitted no closer than that: positive density takes few steps to explain, noise
takes many.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from cryojax_graph.fields.grid import VoxelGrid
from cryojax_graph.fields.spline import SplineField, fit_spline, upsample
from cryojax_graph.forward.grids import Scalar

# Narrower than any density that is sampled three times per resolution, wider than half a voxel,
# below which what lies between voxels is not seen from them.
WIDTH = 0.55
FINER = 2
# Voxels that lie as low count so far, half of it for their smoothing: within the reach of a recipe.
_FLOOR_REACH = 3
# Between voxels density falls lower than at them: found on half-maps simulated with noise.
_FLOOR_DEPTH = 2.0
# The fit ends when its misfit is this share of the noise: later it is nearer to the map and farther
# from the truth. Found on half-maps simulated with noise, as the depth of noise below the floor.
_MISFIT = 0.75
_DEPTH_OF_NOISE = 3.0
# Deviation of the Gaussian within which it is told whether anything but noise is left, voxels.
_LEFT_WITHIN = 2.0
# Mean above the solvent within the same reach, of deviations of the noise, where there is density.
_DENSE = 0.5
# Voxels of the mirrored map beyond the faces of the box, where density may go on.
_RIM = 4


class MisfitEnd(NamedTuple):
    """What a fit is near enough to.

    Attributes:
        misfit: rms difference from the voxels that count, map units.
        counts: which of them do.
    """

    misfit: Scalar
    counts: Bool[Array, "z y x"]


def fit_positive(
    volume: Float[Array, "z y x"],
    grid: VoxelGrid,
    *,
    width: float = WIDTH,
    finer: int = FINER,
    steps: int = 30,
    noise: Scalar | None = None,
    level: Scalar = 0.0,
) -> SplineField:
    """The field of non-negative Gaussians that fits a map, and the spline of what is left.

    Gaussians stand on the level of the solvent, or on a smooth floor below all voxels where some of
    these are lower. With a noise, the fit ends when what it misses where there is density is no
    more than noise (Morozov 1966, Soviet Mathematics Doklady 7:414), and of what is left counts
    what is more (Lee 1980, IEEE Transactions on Pattern Analysis and Machine Intelligence 2:165).

    Args:
        volume: density at the voxels.
        grid: where they lie.
        width: standard deviation of the Gaussians, voxels.
        finer: Gaussians per voxel along each axis.
        steps: of the fit, at most.
        noise: standard deviation of the noise of a voxel, map units.
        level: density of the solvent, map units.

    Returns:
        one cubic spline on the finer grid; without a noise it goes through every voxel of the map.
    """
    volume = volume - level
    wide = jnp.pad(volume, _RIM, mode="symmetric")
    depth = 0.0 if noise is None else _DEPTH_OF_NOISE * noise
    lowest = _floor(wide + depth, finer)
    above = wide - lowest[::finer, ::finer, ::finer]
    end = None
    if noise is not None:
        # Half of the noise of the solvent is below what masses can explain, however many they are.
        dense = _along_axes(_means(wide.shape, _LEFT_WITHIN), wide) > _DENSE * noise
        end = MisfitEnd(_MISFIT * noise, dense)
    masses = fit_masses(above, width=width, finer=finer, steps=steps, end=end)
    fine = _along_axes(_kernels(masses.shape, finer, finer, width), masses) + lowest
    inside = slice(finer * _RIM, -finer * _RIM)
    fine = fine[inside, inside, inside]
    left = volume - fine[::finer, ::finer, ::finer]
    if noise is not None:
        power = _along_axes(_means(volume.shape, _LEFT_WITHIN), left**2)
        more = power > noise**2
        left *= jnp.where(more, 1.0 - noise**2 / jnp.where(more, power, 1.0), 0.0)
    rest = fit_spline(left, grid)
    return fit_spline(fine + level + upsample(rest, finer), grid.finer(finer))


def fit_atoms(
    volume: Float[Array, "z y x"],
    grid: VoxelGrid,
    *,
    width: float | tuple[float, float, float],
    drawn: float | tuple[float, float, float],
    finer: int = FINER,
    steps: int = 200,
) -> SplineField:
    """The field of Gaussians as wide as atoms in the map, drawn narrower, so that peaks part.

    Where two atoms have merged to one peak, only two masses explain its shape, for neither can be
    negative. Not the density of the map: peaks are as high as each atom alone would be there.

    Args:
        volume: density at the voxels, above that of the solvent.
        grid: where they lie.
        width: standard deviation of an atom in the map, voxels; along z, y and x where these are
            not cubes.
        drawn: what it is drawn with, the same.
        finer: Gaussians per voxel along each axis.
        steps: of the fit.

    Returns:
        a cubic spline on the finer grid.
    """
    masses = fit_masses(volume, width=width, finer=finer, steps=steps)
    fine = _along_axes(_kernels(masses.shape, finer, finer, drawn), masses)
    return fit_spline(fine, grid.finer(finer))


def fit_masses(
    volume: Float[Array, "z y x"],
    *,
    width: float | tuple[float, float, float] = WIDTH,
    finer: int = FINER,
    steps: int = 30,
    end: MisfitEnd | None = None,
) -> Float[Array, "fine_z fine_y fine_x"]:
    """Heights of non-negative Gaussians whose sum is a map, by accelerated projected gradients.

    Least squares (Beck and Teboulle 2009, SIAM Journal on Imaging Sciences 2:183, with the
    projection in place of their threshold), from nothing; differentiable with respect to the map.

    Args:
        volume: density at the voxels.
        width: standard deviation of the Gaussians, voxels; or one along each of z, y and x.
        finer: Gaussians per voxel along each axis; the first stands on the first voxel.
        steps: of the fit.
        end: at which the fit ends before that.

    Returns:
        height of each Gaussian, map units.
    """
    kernels = _kernels(volume.shape, 1, finer, width)
    adjoint = [kernel.T for kernel in kernels]
    bound = np.prod([np.abs(k).sum(0).max() * np.abs(k).sum(1).max() for k in kernels])

    def step(_: Array, state: tuple[Array, Array, Array]) -> tuple[Array, Array, Array]:
        masses, ahead, pace = state
        left = volume - _along_axes(kernels, ahead)
        new = jnp.maximum(ahead + _along_axes(adjoint, left) / bound, 0.0)
        faster = 0.5 * (1.0 + jnp.sqrt(1.0 + 4.0 * pace**2))
        moved = new, new + (pace - 1.0) / faster * (new - masses), faster
        if end is None:
            return moved
        more = jnp.sum(end.counts * left**2) > end.misfit**2 * jnp.sum(end.counts)
        # Not a loop with an end of its own: that could not be differentiated.
        return jax.tree.map(partial(jnp.where, more), moved, state)

    nothing = jnp.zeros([finer * n for n in volume.shape], volume.dtype)
    return jax.lax.fori_loop(0, steps, step, (nothing, nothing, jnp.ones((), volume.dtype)))[0]


def _floor(volume: Float[Array, "z y x"], finer: int) -> Float[Array, "fine_z fine_y fine_x"]:
    """A smooth function well below all voxels, 0 where none within a few voxels is negative."""
    around = (2 * _FLOOR_REACH + 1,) * 3
    negative = jnp.minimum(volume, 0.0)
    lowest = jax.lax.reduce_window(negative, jnp.inf, jax.lax.min, around, (1, 1, 1), "SAME")
    # Three deviations of the smoothing are the reach: it takes the mean of what is no higher.
    return _FLOOR_DEPTH * _along_axes(_means(volume.shape, _FLOOR_REACH / 3, finer), lowest)


def _means(shape: tuple[int, ...], width: float, finer: int = 1) -> list[Float[np.ndarray, "_ _"]]:
    """For each axis, Gaussian means around ``finer`` points per voxel."""
    kernels = _kernels(tuple(finer * n for n in shape), finer, finer, width)
    to_finer = [kernel[:, ::finer] for kernel in kernels]
    return [kernel / kernel.sum(axis=1, keepdims=True) for kernel in to_finer]


def _kernels(
    shape: tuple[int, ...], to: int, finer: int, width: float | tuple[float, float, float]
) -> list[Float[np.ndarray, "_ _"]]:
    """For each axis, what Gaussians on the finer grid are at ``to`` points per voxel."""
    found = []
    for n, width_here in zip(shape, np.broadcast_to(width, 3).tolist(), strict=True):
        voxels = n if to == 1 else n // finer
        points = np.arange(to * voxels) / to
        centres = np.arange(finer * voxels) / finer
        kernel = np.exp(-0.5 * ((points[:, None] - centres) / width_here) ** 2)
        found.append(kernel.astype(np.float32))
    return found


def _along_axes(
    kernels: list[Float[np.ndarray, "_ _"]], volume: Float[Array, "z y x"]
) -> Float[Array, "nz ny nx"]:
    z, y, x = kernels
    shrinks = len(z) < z.shape[1]
    # The axis that changes the size most comes first where it shrinks, last where it grows.
    order = "zyx,kx->zyk", "zyx,ky->zkx", "zyx,kz->kyx"
    steps = list(zip(order, (x, y, z), strict=True))
    for how, kernel in steps if shrinks else steps[::-1]:
        volume = jnp.einsum(how, volume, kernel, precision="highest")
    return volume
