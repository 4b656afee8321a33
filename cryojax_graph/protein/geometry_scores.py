"""How far the geometry of a model is from its restraints."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

from cryojax_graph.protein.contacts import Contacts
from cryojax_graph.protein.geometry_restraints import GeometryRestraints
from cryojax_graph.protein.planes_and_hands import PLANE_DEVIATION
from cryojax_graph.protein.shapes import (
    angles_between,
    distances_between,
    out_of_plane,
    volumes_of,
)

_TOLERATED = 0.1


class GeometryScores(NamedTuple):
    """Root mean squares of deviations, and counts of errors.

    Attributes:
        bonds: Å.
        angles: degrees.
        planes: of an atom from the plane of three others in rings and flat groups, Å.
        peptides: the same across peptide bonds, Å; 0.1 is a twist of some 5 degrees.
        hands: number of chiral vertices of the wrong hand.
    """

    bonds: float
    angles: float
    planes: float
    peptides: float
    hands: int


def score_geometry(
    restraints: GeometryRestraints, positions: Float[np.ndarray, "n 3"]
) -> GeometryScores:
    """Compare a model with its restraints.

    Args:
        restraints: of the model.
        positions: Å.

    Returns:
        0 where there is nothing to compare.
    """
    at = np.asarray(positions, np.float64)
    bonds = distances_between(at, np.asarray(restraints.bonds)) - restraints.bond_length
    angles = angles_between(at, np.asarray(restraints.angles)) - restraints.angle
    planes = out_of_plane(at, np.asarray(restraints.planes))
    volumes = volumes_of(at, np.asarray(restraints.chiral))
    wrong = int((volumes * np.asarray(restraints.volume) < 0).sum())
    twisted = np.asarray(restraints.plane_deviation) > PLANE_DEVIATION
    return GeometryScores(
        bonds=_rms(bonds),
        angles=float(np.rad2deg(_rms(angles))),
        planes=_rms(planes[~twisted]),
        peptides=_rms(planes[twisted]),
        hands=wrong,
    )


def count_clashes(contacts: Contacts, positions: Float[np.ndarray, "n 3"]) -> int:
    """Number of pairs of atoms that are too close by more than 0.1 Å.

    Args:
        contacts: made at these positions.
        positions: Å.
    """
    apart = distances_between(np.asarray(positions, np.float64), np.asarray(contacts.pairs))
    return int((apart < contacts.least - _TOLERATED).sum())


def _rms(deviations: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(deviations)))) if len(deviations) else 0.0
