"""Distances, angles, torsions and volumes of some atoms of a model, in numpy."""

import numpy as np
from jaxtyping import Float, Int

_Positions = Float[np.ndarray, "n 3"]


def distances_between(
    positions: _Positions, pairs: Int[np.ndarray, "m 2"]
) -> Float[np.ndarray, " m"]:
    """Distances of pairs of atoms.

    Args:
        positions: Å.
        pairs: of atoms.

    Returns:
        Å.
    """
    return np.linalg.norm(positions[pairs[:, 0]] - positions[pairs[:, 1]], axis=1)


def angles_between(
    positions: _Positions, angles: Int[np.ndarray, "m 3"]
) -> Float[np.ndarray, " m"]:
    """Angles of triples of atoms.

    Args:
        positions: Å.
        angles: triples, the vertex in the middle.

    Returns:
        radians.
    """
    u, v = (positions[angles[:, k]] - positions[angles[:, 1]] for k in (0, 2))
    return np.arctan2(np.linalg.norm(np.cross(u, v), axis=1), np.sum(u * v, axis=1))


def torsions_of(positions: _Positions, torsions: Int[np.ndarray, "m 4"]) -> Float[np.ndarray, " m"]:
    """Torsions of quadruples of atoms.

    Args:
        positions: Å.
        torsions: quadruples in a row.

    Returns:
        degrees, IUPAC sign.
    """
    a, b, c, d = (positions[torsions[:, k]] for k in range(4))
    before, axis, after = b - a, c - b, d - c
    normal = np.cross(axis, after)
    sine = np.linalg.norm(axis, axis=1) * np.sum(before * normal, axis=1)
    return np.rad2deg(np.arctan2(sine, np.sum(np.cross(before, axis) * normal, axis=1)))


def volumes_of(
    positions: _Positions, quadruples: Int[np.ndarray, "m 4"]
) -> Float[np.ndarray, " m"]:
    """Volumes that three neighbours span from a vertex, (b - a) · ((c - a) × (d - a)).

    Args:
        positions: Å.
        quadruples: of atoms a, b, c, d.

    Returns:
        Å³.
    """
    vertex, *others = (positions[quadruples[:, k]] for k in range(4))
    b, c, d = (other - vertex for other in others)
    return np.sum(b * np.cross(c, d), axis=1)


def out_of_plane(
    positions: _Positions, quadruples: Int[np.ndarray, "m 4"]
) -> Float[np.ndarray, " m"]:
    """Distance of the last atom of quadruples from the plane of the first three.

    Args:
        positions: Å.
        quadruples: of atoms.

    Returns:
        Å, with a sign; 0 where the three are in a line.
    """
    vertex, b, c = (positions[quadruples[:, k]] for k in range(3))
    area = np.linalg.norm(np.cross(b - vertex, c - vertex), axis=1)
    return volumes_of(positions, quadruples) / np.maximum(area, 1e-9)
