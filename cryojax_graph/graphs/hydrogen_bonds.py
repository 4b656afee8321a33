"""Backbone hydrogen bonds N-H…O=C of a structure, with its hydrogens or without. Host code.

A residue is never bonded to itself or to the residue next to it in the arrays.
"""

import numpy as np
from jaxtyping import Bool, Float, Int

# Baker & Hubbard 1984: distance H…O in Å, angle N-H…O in degrees.
_BAKER_HUBBARD_DISTANCE = 2.5
_BAKER_HUBBARD_ANGLE = 120.0
# Kabsch & Sander 1983: partial charges of ±0.42 and ±0.20 electrons, energies in kcal/mol, Å.
_KABSCH_SANDER_FACTOR = 0.42 * 0.20 * 332.0
_KABSCH_SANDER_ENERGY = -0.5
_N_H_BOND = 1.0
# No arrangement of the four atoms reaches the energy with N and O further apart than 5.2 Å.
_REACH = 5.3
# Below this distance the energy is held constant, so that clashing atoms cannot diverge.
_LEAST_DISTANCE = 0.5

_Atoms = Float[np.ndarray, "n 3"]
_Pairs = Int[np.ndarray, "pairs 2"]


def baker_hubbard_bonds(nitrogen: _Atoms, hydrogen: _Atoms, oxygen: _Atoms) -> _Pairs:
    """Hydrogen bonds by distance and angle: H…O < 2.5 Å and N-H…O > 120° (Baker & Hubbard 1984).

    Args:
        nitrogen: of each residue in Å; NaN where absent.
        hydrogen: bonded to that nitrogen; NaN where absent, as in proline.
        oxygen: carbonyl oxygen of each residue; NaN where absent.

    Returns:
        pairs (donor residue, acceptor residue).
    """
    donors, acceptors = _close_pairs(hydrogen, oxygen, _BAKER_HUBBARD_DISTANCE)
    to_nitrogen = nitrogen[donors] - hydrogen[donors]
    to_oxygen = oxygen[acceptors] - hydrogen[donors]
    lengths = np.linalg.norm(to_nitrogen, axis=1) * np.linalg.norm(to_oxygen, axis=1)
    cosine = (to_nitrogen * to_oxygen).sum(axis=1)
    # A missing nitrogen makes the comparison false.
    bonded = cosine < lengths * np.cos(np.radians(_BAKER_HUBBARD_ANGLE))
    return np.stack([donors[bonded], acceptors[bonded]], axis=1)


def kabsch_sander_bonds(
    nitrogen: _Atoms,
    carbon: _Atoms,
    oxygen: _Atoms,
    *,
    follows: Bool[np.ndarray, " n"],
    donates: Bool[np.ndarray, " n"] | None = None,
) -> _Pairs:
    """Hydrogen bonds by electrostatic energy below -0.5 kcal/mol (Kabsch & Sander 1983).

    The hydrogen is placed 1 Å from N, opposite to the C=O bond of the residue before.

    Args:
        nitrogen: of each residue in Å; NaN where absent.
        carbon: carbonyl carbon; NaN where absent.
        oxygen: carbonyl oxygen; NaN where absent.
        follows: whether a residue is peptide-bonded to the one before it in the arrays.
        donates: False for residues without a hydrogen on N (proline); all donate if absent.

    Returns:
        pairs (donor residue, acceptor residue).
    """
    hydrogen = np.full_like(nitrogen, np.nan)
    carbonyl = carbon[:-1] - oxygen[:-1]
    bond_lengths = np.linalg.norm(carbonyl, axis=1, keepdims=True)
    hydrogen[1:] = nitrogen[1:] + _N_H_BOND * carbonyl / np.where(bond_lengths > 0, bond_lengths, 1)
    hydrogen[~(follows if donates is None else follows & donates)] = np.nan
    donors, acceptors = _close_pairs(nitrogen, oxygen, _REACH)

    def inverse_distance(ends: _Atoms, starts: _Atoms) -> Float[np.ndarray, " pairs"]:
        distance = np.linalg.norm(ends[acceptors] - starts[donors], axis=1)
        return 1 / np.maximum(distance, _LEAST_DISTANCE)

    attraction = inverse_distance(oxygen, hydrogen) + inverse_distance(carbon, nitrogen)
    repulsion = inverse_distance(oxygen, nitrogen) + inverse_distance(carbon, hydrogen)
    # A missing atom makes the energy NaN and the comparison false.
    bonded = _KABSCH_SANDER_FACTOR * (repulsion - attraction) < _KABSCH_SANDER_ENERGY
    return np.stack([donors[bonded], acceptors[bonded]], axis=1)


def _close_pairs(
    starts: _Atoms, ends: _Atoms, distance: float
) -> tuple[Int[np.ndarray, " pairs"], Int[np.ndarray, " pairs"]]:
    """Residues, no neighbours in the arrays, with start and end atoms closer than ``distance``."""
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    with_start = np.flatnonzero(np.isfinite(starts).all(axis=1))
    with_end = np.flatnonzero(np.isfinite(ends).all(axis=1))
    if len(with_start) == 0 or len(with_end) == 0:
        return np.zeros(0, int), np.zeros(0, int)
    near = KDTree(starts[with_start]).sparse_distance_matrix(
        KDTree(ends[with_end]), distance, output_type="coo_matrix"
    )
    first, second = with_start[near.row], with_end[near.col]
    apart = abs(first - second) > 1
    return first[apart], second[apart]
