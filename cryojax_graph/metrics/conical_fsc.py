"""Correlation of two maps along directions: does resolution depend on where one looks from?"""

from typing import NamedTuple

import numpy as np
from jaxtyping import Complex, Float

# Directions are counted in cells this wide, so the edge of a cone is rough by half of it.
_CELL_DEGREES = 1.5
_PLANES = 32


class ConicalFsc(NamedTuple):
    """Correlation inside double cones around axes.

    Attributes:
        axes: unit vectors (x, y, z), evenly over a hemisphere.
        curves: correlation of each cone, shells 0 … box // 2; where the first shells have no
            coefficient in a cone, that of the whole shell.
    """

    axes: Float[np.ndarray, "axes 3"]
    curves: Float[np.ndarray, "axes shells"]


def conical_correlation(
    first: Complex[np.ndarray, "box box columns"],
    second: Complex[np.ndarray, "box box columns"],
    *,
    axes: int = 256,
    half_angle_degrees: float = 20.0,
) -> ConicalFsc:
    """Fourier shell correlation inside cones (conical FSC of cryoSPARC and SIMPLE).

    Args:
        first: half spectrum of a cubic map.
        second: of another of the same size.
        axes: number of cones.
        half_angle_degrees: between the axis of a cone and its edge.

    Returns:
        a curve for each axis.
    """
    sums, centres = _direction_sums(first, second)
    around = even_axes(axes)
    inside = np.abs(around @ centres.T) >= np.cos(np.radians(half_angle_degrees))
    whole = _correlation(sums.sum(axis=1))
    curves = _correlation(inside.astype(np.float64) @ sums)
    return ConicalFsc(around, np.where(np.isnan(curves), np.nan_to_num(whole), curves))


def conical_share(
    variance: Float[np.ndarray, "box box columns"],
    power: Float[np.ndarray, "box box columns"],
    *,
    shells: int,
    axes: int = 256,
    half_angle_degrees: float = 20.0,
) -> tuple[Float[np.ndarray, "axes 3"], Float[np.ndarray, " axes"]]:
    """Deviation of a map's coefficients over their amplitude, inside cones around axes.

    Args:
        variance: of every coefficient of a half spectrum.
        power: squared amplitude of every coefficient.
        shells: last shell that counts; the first is 1.
        axes: number of cones.
        half_angle_degrees: between the axis of a cone and its edge.

    Returns:
        axes, and for each √(Σ variance / Σ power); 0 where there is no power.
    """
    roots = (np.sqrt(values).astype(np.complex64) for values in (variance, power))
    sums, centres = _direction_sums(*roots)
    around = even_axes(axes)
    inside = np.abs(around @ centres.T) >= np.cos(np.radians(half_angle_degrees))
    above, below = inside.astype(np.float64) @ sums[1:, :, 1 : shells + 1].sum(axis=2)[..., None]
    share = np.divide(above, below, out=np.zeros_like(above), where=below > 0)
    return around, np.sqrt(share[:, 0])


def area_ratio(curves: Float[np.ndarray, "axes shells"]) -> float:
    """Smallest over largest area under conical curves, cFAR of cryoSPARC.

    Args:
        curves: of all axes; shell 0 is left out, and a negative area counts as 0.

    Returns:
        1 for an isotropic map; below 0.5 views were missing. 0 where nothing correlates.
    """
    areas = np.maximum(curves[:, 1:].mean(axis=1), 0.0)
    return float(areas.min() / areas.max()) if areas.max() > 0 else 0.0


def sphericity(axes: Float[np.ndarray, "axes 3"], reach: Float[np.ndarray, " axes"]) -> float:
    """How close to a ball the part of Fourier space is within which two maps agree.

    The measure of Wadell (1935) that 3DFSC (Tan et al. 2017) reports: surface of the ball of equal
    volume over surface, here of the polyhedron whose corners lie on the axes.

    Args:
        axes: unit vectors over a hemisphere; their opposites are added.
        reach: frequency up to which maps agree along each axis, any unit; above 0.

    Returns:
        1 for a ball, less for anything else.
    """
    from scipy.spatial import ConvexHull  # loads too slowly for the top of the module

    corners = np.concatenate([axes, -axes])
    faces = ConvexHull(corners).simplices
    found = _roundness((corners * np.tile(reach, 2)[:, None])[faces])
    # A polyhedron is not quite round even where all its corners lie on a ball.
    return min(found / _roundness(corners[faces]), 1.0)


def _roundness(faces: Float[np.ndarray, "faces 3 3"]) -> float:
    """Sphericity of a polyhedron around the origin, from the corners of its triangles."""
    a, b, c = faces.transpose(1, 0, 2)
    volume = np.abs(np.sum(a * np.cross(b, c), axis=1)).sum() / 6
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1).sum() / 2
    return float(np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / area)


def even_axes(count: int) -> Float[np.ndarray, "axes 3"]:
    """Directions evenly over the hemisphere around +z, by a Fibonacci spiral.

    Args:
        count: how many.

    Returns:
        unit vectors (x, y, z).
    """
    z = 1.0 - (np.arange(count) + 0.5) / count
    turn = np.pi * (3.0 - np.sqrt(5.0)) * np.arange(count)
    return np.stack([np.sqrt(1 - z**2) * np.cos(turn), np.sqrt(1 - z**2) * np.sin(turn), z], 1)


def _correlation(sums: Float[np.ndarray, "3 *parts"]) -> Float[np.ndarray, "*parts"]:
    """NaN where nothing is."""
    power = np.sqrt(sums[1]) * np.sqrt(sums[2])
    return np.divide(sums[0], power, out=np.full_like(power, np.nan), where=power > 0)


def _direction_sums(
    first: Complex[np.ndarray, "box box columns"], second: Complex[np.ndarray, "box box columns"]
) -> tuple[Float[np.ndarray, "3 cells shells"], Float[np.ndarray, "cells 3"]]:
    """Re F G*, |F|² and |G|² by cell of direction and shell, and the cells' centres."""
    box, shells = len(first), len(first) // 2 + 1
    rings, sectors = round(90 / _CELL_DEGREES), round(360 / _CELL_DEGREES)
    size = rings * sectors * shells
    k = np.fft.fftfreq(box, 1 / box).astype(np.float32)
    column = np.arange(shells, dtype=np.float32)
    twice = np.where((column == 0) | (2 * column == box), 1.0, 2.0)
    # The half spectrum is the hemisphere around +x, so tilt is counted from x.
    sector = np.floor((np.arctan2(k[:, None], k) / (2 * np.pi) % 1.0) * sectors).astype(int)
    sums = np.zeros((3, size))
    for start in range(0, box, _PLANES):
        planes = slice(start, start + _PLANES)
        around = np.sqrt(k[planes, None] ** 2 + k**2)
        shell = np.rint(np.hypot(around[..., None], column)).astype(int)
        ring = np.arctan2(around[..., None], column) * (rings / (np.pi / 2))
        cell = np.minimum(ring.astype(int), rings - 1) * sectors + sector[planes, :, None] % sectors
        kept = shell < shells
        index = (cell * shells + shell)[kept]
        f, g = first[planes], second[planes]
        for row, (a, b) in zip(sums, ((f, g), (f, f), (g, g)), strict=True):
            product = np.real(a * np.conj(b)) * twice
            row += np.bincount(index, product[kept], minlength=size)
    return sums.reshape(3, -1, shells), _cell_centres(rings, sectors)


def _cell_centres(rings: int, sectors: int) -> np.ndarray:
    tilt = (np.arange(rings) + 0.5) * (np.pi / 2 / rings)
    turn = (np.arange(sectors) + 0.5) * (2 * np.pi / sectors)
    x = np.broadcast_to(np.cos(tilt)[:, None], (rings, sectors))
    # Sectors turn from y to z.
    y, z = np.sin(tilt)[:, None] * np.cos(turn), np.sin(tilt)[:, None] * np.sin(turn)
    return np.stack([x, y, z], axis=-1).reshape(-1, 3)
