"""The same residues in two structures."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Bool, Float, Int, Shaped

# Neighbouring C-alpha atoms further apart than this are not bonded; cis 2.9 Å, trans 3.8 Å.
_LONGEST_STEP = 4.5


class ResidueNames(NamedTuple):
    """What tells residues apart.

    Attributes:
        chain: of each residue.
        number: of each residue.
        insertion_code: of each residue.
    """

    chain: Shaped[np.ndarray, " n"]
    number: Int[np.ndarray, " n"]
    insertion_code: Shaped[np.ndarray, " n"]


def match_residues(
    first: ResidueNames, second: ResidueNames
) -> tuple[Int[np.ndarray, " matched"], Int[np.ndarray, " matched"]]:
    """Residues of one chain, number and insertion code in both structures.

    Args:
        first: names in one structure.
        second: names in the other.

    Returns:
        their rows in each, in the order of the first.

    Raises:
        ValueError: a structure names two residues alike.
    """
    keys, others = _keys(first), _keys(second)
    row_of = {key: row for row, key in enumerate(others)}
    if len(row_of) < len(others) or len(set(keys)) < len(keys):
        raise ValueError("two residues have one chain and number")
    pairs = [(row, row_of[key]) for row, key in enumerate(keys) if key in row_of]
    rows = np.array(pairs, np.int64).reshape(-1, 2)
    return rows[:, 0], rows[:, 1]


def bonded_pairs(
    c_alpha: Float[np.ndarray, "n 3"], chain: Shaped[np.ndarray, " n"]
) -> Int[np.ndarray, "bonds 2"]:
    """Neighbours along a chain that a peptide bond joins, as far as C-alpha atoms tell.

    Args:
        c_alpha: positions in Å.
        chain: of each residue.

    Returns:
        rows of both.
    """
    step = np.linalg.norm(np.diff(c_alpha, axis=0), axis=1)
    joined: Bool[np.ndarray, " steps"] = (chain[1:] == chain[:-1]) & (step < _LONGEST_STEP)
    first = np.flatnonzero(joined)
    return np.stack([first, first + 1], axis=1)


def _keys(names: ResidueNames) -> list[tuple[str, int, str]]:
    return list(zip(*(part.tolist() for part in names), strict=True))
