"""Near-uniform grids on the rotations that refine into children: HEALPix × in-plane angle.

Viewing directions are the pixel centres of the HEALPix sphere (Górski et al. 2005) in nested
order, and every one carries the same ladder of in-plane angles. Order k has 12 · 4^k directions and
6 · 2^k in-plane angles, as in RELION, hence 72 · 8^k orientations; each cell of the grid divides
into exactly eight cells of the next order. Host code in float64.
"""

import numpy as np
from jaxtyping import Float, Int

_BASE_PIXELS = 12
_BASE_TURNS = 6
# Ring and longitude of the twelve base pixels (Górski et al. 2005, equations 10 and 11).
_FACE_RING = np.array([2, 2, 2, 2, 3, 3, 3, 3, 4, 4, 4, 4])
_FACE_LONGITUDE = np.array([1, 3, 5, 7, 0, 2, 4, 6, 1, 3, 5, 7])
# Constants of the spiral: sqrt(2), and the real root of x⁴ = x + 4.
_SPIRAL_TURNS = 2.0**0.5, 1.533751168755204288118041


def orientation_count(order: int) -> int:
    """Number of orientations of a grid.

    Args:
        order: HEALPix order, ≥ 0.

    Returns:
        72 · 8^order.
    """
    return _BASE_PIXELS * 4**order * _BASE_TURNS * 2**order


def orientation_spacing_degrees(order: int) -> float:
    """Distance of neighbouring viewing directions: the side of a square of a pixel's area.

    Args:
        order: HEALPix order, ≥ 0.

    Returns:
        58.6 degrees / 2^order; in-plane angles lie 60 degrees / 2^order apart.
    """
    return float(np.degrees(np.sqrt(4 * np.pi / (_BASE_PIXELS * 4**order))))


def orientations_at(index: Int[np.ndarray, " n"], order: int) -> Float[np.ndarray, "n 3"]:
    """Some orientations of a grid.

    Args:
        index: numbers in 0 … ``orientation_count(order)`` - 1; the in-plane angle runs fastest.
        order: HEALPix order, ≥ 0.

    Returns:
        RELION's (rot, tilt, psi) in degrees, rot and psi in [0, 360), tilt in (0, 180).
    """
    turns = _BASE_TURNS * 2**order
    rot, tilt = _pixel_centres(index // turns, order)
    psi = (index % turns + 0.5) * (360 / turns)
    return np.stack([np.degrees(rot), np.degrees(tilt), psi], axis=1)


def orientation_grid(order: int) -> Float[np.ndarray, "n 3"]:
    """All orientations of a grid.

    Args:
        order: HEALPix order, ≥ 0.

    Returns:
        RELION's (rot, tilt, psi) in degrees, shape (72 · 8^order, 3).
    """
    return orientations_at(np.arange(orientation_count(order)), order)


def orientation_children(index: Int[np.ndarray, " n"], order: int) -> Int[np.ndarray, "n 8"]:
    """The eight orientations of the next order that share the cell of each given one.

    Args:
        index: numbers within the grid of ``order``.
        order: HEALPix order of the parents.

    Returns:
        numbers within the grid of ``order + 1``.
    """
    turns = _BASE_TURNS * 2**order
    pixels = 4 * (index // turns)[:, None] + np.arange(4)
    psis = 2 * (index % turns)[:, None] + np.arange(2)
    return (2 * turns * pixels[:, :, None] + psis[:, None, :]).reshape(len(index), 8)


def cell_directions(order: int) -> Float[np.ndarray, "cells 3"]:
    """Centres of the HEALPix cells of the sphere.

    Args:
        order: HEALPix order, ≥ 0.

    Returns:
        unit vectors, 12 · 4^order of them.
    """
    rot, tilt = _pixel_centres(np.arange(_BASE_PIXELS * 4**order), order)
    sine = np.sin(tilt)
    return np.stack([sine * np.cos(rot), sine * np.sin(rot), np.cos(tilt)], axis=1)


def views_per_cell(directions: Float[np.ndarray, "n 3"], order: int) -> Int[np.ndarray, " cells"]:
    """How many views look along each HEALPix direction.

    Args:
        directions: view axes in the frame of the object, third rows of rotations; unit vectors.
        order: HEALPix order, ≥ 0.

    Returns:
        counts, in the order of ``cell_directions``.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    centres = cell_directions(order)
    nearest = np.asarray(KDTree(centres).query(directions)[1])
    return np.bincount(nearest, minlength=len(centres))


def view_cells(directions: Float[np.ndarray, "n 3"], order: int) -> Int[np.ndarray, " n"]:
    """The HEALPix cell in which each viewing direction lies, opposite ones in one cell.

    Images seen from v and from -v show the same plane of a map's spectrum.

    Args:
        directions: view axes in the frame of the object, third rows of rotations; unit vectors.
        order: HEALPix order, ≥ 0.

    Returns:
        number of the pixel with the nearest centre, of v or of -v, whichever is smaller.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    tree = KDTree(cell_directions(order))
    here, opposite = (np.asarray(tree.query(v)[1]) for v in (directions, -directions))
    return np.minimum(here, opposite)


def spiral_rotations(count: int) -> Float[np.ndarray, "count 3 3"]:
    """Any number of near-uniform rotations, along a super-Fibonacci spiral (Alexa 2022).

    They have no children; 1,821 of them are as near to a random rotation as the spherical design
    of that size.

    Args:
        count: how many.

    Returns:
        rotation matrices.
    """
    height = (np.arange(count) + 0.5) / count
    first, second = (2 * np.pi * count * height / turn for turn in _SPIRAL_TURNS)
    near, far = np.sqrt(height), np.sqrt(1 - height)
    w, x, y, z = (
        near * np.sin(first),
        near * np.cos(first),
        far * np.sin(second),
        far * np.cos(second),
    )
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)],
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)],
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)],
    ]
    return np.moveaxis(np.array(rows), -1, 0)


def _pixel_centres(
    pixel: Int[np.ndarray, " n"], order: int
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """Longitude and colatitude in radians of pixels in nested order (sections 4 and 5)."""
    side = 2**order
    face, inside = np.divmod(pixel, side**2)
    x, y = _every_second_bit(inside, order), _every_second_bit(inside >> 1, order)
    ring = _FACE_RING[face] * side - (x + y) - 1
    in_cap = (ring < side) | (ring > 3 * side)
    from_pole = np.minimum(ring, 4 * side - ring)
    cap = 1 - from_pole**2 / (3 * side**2)
    z = np.where(in_cap, np.where(ring < 2 * side, cap, -cap), 4 / 3 - 2 * ring / (3 * side))
    # Longitude in eighths of a turn: in a cap all pixels of a quadrant stand around its middle.
    offset = (x - y) / np.where(in_cap, from_pole, side)
    longitude = (_FACE_LONGITUDE[face] + offset) * (np.pi / 4)
    return longitude % (2 * np.pi), np.arccos(z)


def _every_second_bit(number: Int[np.ndarray, " n"], bits: int) -> Int[np.ndarray, " n"]:
    """Bits 0, 2, 4 … of each number, pushed together."""
    return sum(((number >> 2 * bit & 1) << bit for bit in range(bits)), np.zeros_like(number))
