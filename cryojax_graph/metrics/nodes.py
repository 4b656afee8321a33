"""Peaks of a map against the atoms of a model."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int


class NodeScores(NamedTuple):
    """How well points stand for atoms.

    Attributes:
        sensitivity: share of the atoms with a point of their own.
        specificity: share of the points with an atom of their own; the paper's name for what is
            elsewhere called precision.
        rmsd: root mean square distance of the pairs, Å; NaN where there is none.
        f1: harmonic mean of sensitivity and specificity.
    """

    sensitivity: float
    specificity: float
    rmsd: float
    f1: float


class NearestScores(NamedTuple):
    """How near points and atoms are to each other, whatever else is near them.

    A point may stand for several atoms and an atom have several points, so that crowds of points
    are as good as one each: figures of Ranno and Si (2022), not to be held against ``NodeScores``.

    Attributes:
        with_point: share of the atoms that have any point so near.
        near_atom: share of the points that have any atom so near.
        rmsd: root mean square distance of the nearest point, of atoms that have one so near, Å; NaN
            where none has.
    """

    with_point: float
    near_atom: float
    rmsd: float


class CutScores(NamedTuple):
    """Scores of the points that are left when weak ones are cut off.

    Attributes:
        cut: strength of the weakest point left, ascending.
        points: number that are left.
        sensitivity: share of the atoms with a point of their own.
        specificity: share of the points with an atom of their own.
    """

    cut: Float[np.ndarray, " cuts"]
    points: Int[np.ndarray, " cuts"]
    sensitivity: Float[np.ndarray, " cuts"]
    specificity: Float[np.ndarray, " cuts"]


def match_points(
    points: Float[np.ndarray, "n 3"], atoms: Float[np.ndarray, "m 3"], *, within: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"], Float[np.ndarray, " pairs"]]:
    """Pair points and atoms, each at most once, the nearest pairs first.

    Args:
        points: (x, y, z) in Å.
        atoms: (x, y, z) in Å.
        within: distance of a pair at most, Å.

    Returns:
        rows of the points, rows of the atoms, and distances in Å, ascending.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    if not (len(points) and len(atoms)):
        return np.zeros(0, int), np.zeros(0, int), np.zeros(0)
    near = KDTree(points).sparse_distance_matrix(KDTree(atoms), within, output_type="ndarray")
    near = near[np.lexsort((near["j"], near["i"], near["v"]))]
    free_point, free_atom = np.ones(len(points), bool), np.ones(len(atoms), bool)
    kept = []
    for row, (point, atom) in enumerate(zip(near["i"].tolist(), near["j"].tolist(), strict=True)):
        if free_point[point] and free_atom[atom]:
            free_point[point] = free_atom[atom] = False
            kept.append(row)
    pairs = near[kept]
    return pairs["i"].astype(int), pairs["j"].astype(int), pairs["v"].astype(float)


def score_nodes(
    points: Float[np.ndarray, "n 3"], atoms: Float[np.ndarray, "m 3"], *, within: float
) -> NodeScores:
    """Sensitivity, specificity and distance of points that stand for atoms.

    Args:
        points: (x, y, z) in Å.
        atoms: (x, y, z) in Å, at least one.
        within: distance of a pair at most, Å; 1 for all atoms, 3 for C-alpha atoms in the paper.

    Returns:
        the scores.
    """
    _, _, distance = match_points(points, atoms, within=within)
    sensitivity, specificity = len(distance) / len(atoms), len(distance) / max(len(points), 1)
    both = sensitivity + specificity
    return NodeScores(
        sensitivity,
        specificity,
        float(np.sqrt(np.mean(distance**2))) if len(distance) else float("nan"),
        2.0 * sensitivity * specificity / both if both else 0.0,
    )


def score_nearest(
    points: Float[np.ndarray, "n 3"], atoms: Float[np.ndarray, "m 3"], *, within: float
) -> NearestScores:
    """Atoms that have any point near them, points that have any atom, and the nearest point.

    As figure 6 of Ranno and Si (2022) counts nodes and C-alpha atoms, within 3 Å.

    Args:
        points: (x, y, z) in Å.
        atoms: (x, y, z) in Å, at least one.
        within: distance of the nearest at most, Å.

    Returns:
        the scores.
    """
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    if not len(points):
        return NearestScores(0.0, 0.0, float("nan"))
    to_point, to_atom = (KDTree(a).query(b)[0] for a, b in ((points, atoms), (atoms, points)))
    near = to_point[to_point <= within]
    return NearestScores(
        len(near) / len(atoms),
        float(np.mean(to_atom <= within)),
        float(np.sqrt(np.mean(near**2))) if len(near) else float("nan"),
    )


def score_by_strength(
    points: Float[np.ndarray, "n 3"],
    strength: Float[np.ndarray, " n"],
    atoms: Float[np.ndarray, "m 3"],
    *,
    within: float,
    cuts: int = 40,
) -> CutScores:
    """Scores of the strongest points alone, for a cut that rises.

    Args:
        points: (x, y, z) in Å, at least one.
        strength: of each point, in any unit.
        atoms: (x, y, z) in Å, at least one.
        within: distance of a pair at most, Å.
        cuts: number of them at most, spread evenly over the points.

    Returns:
        one row for each cut; the first leaves all points.
    """
    cut = np.unique(np.quantile(strength, np.arange(cuts) / cuts, method="inverted_cdf"))
    left = [points[strength >= least] for least in cut]
    scores = [score_nodes(some, atoms, within=within) for some in left]
    return CutScores(
        cut.astype(float),
        np.array([len(some) for some in left]),
        np.array([score.sensitivity for score in scores]),
        np.array([score.specificity for score in scores]),
    )
