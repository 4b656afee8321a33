"""The hand of a map, by the turn of its helices.

Projections say nothing of the hand, so that a map may come out as the mirror image of the molecule.
Alpha helices are right-handed: about the axis of a rod of density, the backbone climbs by 5.4 Å a
turn, and the density on a cylinder around the axis has one Fourier component for either hand. Their
powers are compared over all rods of the map.
"""

from itertools import combinations_with_replacement
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.ndimage import gaussian_filter, gaussian_filter1d, map_coordinates, maximum_filter

# Density at this resolution (Gaussian, standard deviation in Å) shows helices as rods.
_ROD_WIDTH = 2.5
# Rods are looked for where that stands out by so many standard deviations.
_DENSE = 1.0
# No two rods are nearer than this, Å, and no more than these, the best, are looked at.
_APART, _MOST = 5.0, 400
# Radius of the backbone, half the length of helix looked at, and pitches, Å.
_RADIUS, _REACH = 2.3, 9.0
_PITCHES = np.linspace(5.0, 5.8, 5)
_ANGLES, _STEP = 24, 0.5
# By less than this, copies by symmetry may seem to differ: in their distance from the middle, in
# voxels, and in the logarithm of their power.
_SAME_DISTANCE, _SAME_POWER = 4.0, 1.0
_TINY = np.finfo(np.float64).tiny
# Standard errors beyond which a hand is told.
_TOLD = 4.0


class Handedness(NamedTuple):
    """What the rods of a map say of its hand.

    Attributes:
        excess: (right - left) / (right + left) of the power of right- and left-handed turns: above
            0 for the hand of proteins, below 0 for the mirror image, 0 without helices.
        error: standard error of it.
        rods: how many were looked at.
    """

    excess: float
    error: float
    rods: int

    @property
    def told(self) -> bool:
        """Whether the hand can be told: the excess is more than four times its error."""
        return abs(self.excess) > _TOLD * self.error


def handedness(volume: Float[np.ndarray, "z y x"], *, voxel_size: float) -> Handedness:
    """Compare right- and left-handed turns about the rods of a map.

    Resolution must be near the pitch of 5.4 Å or better. At worse, and without helices, the excess
    stays within its error.

    Args:
        volume: density, protein positive, masked or in little noise.
        voxel_size: Å.

    Returns:
        the excess and its error; nan without rods.
    """
    places, axes = _rods(volume, voxel_size)
    if len(places) < 2:
        return Handedness(np.nan, np.nan, len(places))
    right, left = _turns(volume, places, axes, voxel_size)
    total = right + left
    excess = float((right - left).sum() / total.sum())
    residual = (right - left) - excess * total
    distance = np.linalg.norm(places - np.array(volume.shape) // 2, axis=1)
    error = _deviation_of_sum(residual, distance, total) / total.sum()
    return Handedness(excess, float(error), len(places))


def _deviation_of_sum(
    residual: Float[np.ndarray, " rods"],
    distance: Float[np.ndarray, " rods"],
    power: Float[np.ndarray, " rods"],
) -> float:
    """Of a sum over rods, some of which may be copies of each other by symmetry.

    Copies lie at one distance from the middle and have one power, so rods that are nearly alike in
    both are counted together (Newey & West 1987, Econometrica 55:703).
    """
    alike = np.ones((len(residual),) * 2)
    for values, width in (
        (distance, _SAME_DISTANCE),
        (np.log(np.maximum(power, _TINY)), _SAME_POWER),
    ):
        alike *= np.maximum(1.0 - np.abs(values[:, None] - values) / width, 0.0)
    together = residual @ alike @ residual
    # Where all are alike this is nothing: residuals add up to 0.
    return np.sqrt(max(together, (residual**2).sum()))


def _rods(
    volume: Float[np.ndarray, "z y x"], voxel_size: float
) -> tuple[Float[np.ndarray, "rods 3"], Float[np.ndarray, "rods 3"]]:
    """Places (z, y, x in voxels) on rods of density, and the axes of these (x, y, z)."""
    sigma = _ROD_WIDTH / voxel_size
    blurred = gaussian_filter(volume, sigma, mode="constant")
    dense = np.argwhere(blurred > blurred.mean() + _DENSE * blurred.std())
    hessian = np.zeros((len(dense), 3, 3), np.float32)
    for i, j in combinations_with_replacement(range(3), 2):
        slope = volume
        for axis, order in enumerate(np.bincount([i, j], minlength=3).tolist()):
            slope = gaussian_filter1d(slope, sigma, axis, order=order, mode="constant")
        hessian[:, i, j] = hessian[:, j, i] = slope[tuple(dense.T)]
    values, vectors = np.linalg.eigh(hessian)
    # A rod falls off in two directions, and along the third, the last, less than half as much.
    rod = values[:, 2] > 0.5 * values[:, 1]
    score = np.zeros(volume.shape, np.float32)
    score[tuple(dense.T)] = np.where(rod, -values[:, 1], 0.0)
    highest = maximum_filter(score, size=2 * round(_APART / voxel_size) + 1)
    peak = rod & (score == highest)[tuple(dense.T)] & (values[:, 1] < 0)
    best = np.flatnonzero(peak)[np.argsort(values[peak, 1], kind="stable")[:_MOST]]
    return dense[best].astype(float), vectors[best, ::-1, 2].astype(float)


def _turns(
    volume: Float[np.ndarray, "z y x"],
    places: Float[np.ndarray, "rods 3"],
    axes: Float[np.ndarray, "rods 3"],
    voxel_size: float,
) -> tuple[Float[np.ndarray, " rods"], Float[np.ndarray, " rods"]]:
    """Power of right- and left-handed turns on a cylinder around each axis."""
    angle = 2 * np.pi * np.arange(_ANGLES) / _ANGLES
    along = np.arange(-_REACH, _REACH + _STEP / 2, _STEP)
    window = 0.5 + 0.5 * np.cos(np.pi * along / _REACH)
    # Any two directions that make a right-handed frame with the axis.
    aside = np.eye(3)[np.argmin(np.abs(axes), axis=1)]
    first = np.cross(axes, aside)
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(axes, first)
    radial = _RADIUS * (
        np.cos(angle)[:, None] * first[:, None] + np.sin(angle)[:, None] * second[:, None]
    )
    offset = radial[:, :, None] + along[:, None] * axes[:, None, None]
    points = places[:, None, None] + offset[..., ::-1] / voxel_size
    values = map_coordinates(volume, np.moveaxis(points, -1, 0), order=3)
    values = (values - values.mean(axis=(1, 2), keepdims=True)) * window
    # A right-handed turn climbs with the angle about the axis.
    climb = np.exp(-2j * np.pi * along / _PITCHES[:, None])
    once = np.exp(1j * angle)
    right, left = (
        (np.abs(np.einsum("raz,a,pz->rp", values, turn, climb)) ** 2).sum(axis=1)
        for turn in (once, once.conj())
    )
    return right, left
