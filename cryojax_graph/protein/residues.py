"""Mass and size of amino-acid residues as electrons see them."""

import numpy as np
from jaxtyping import Float

# Atoms (C, H, N, O, S) of each residue inside a chain, that is without one water, charged as at pH
# 7.
_COMPOSITION = {
    "ALA": (3, 5, 1, 1, 0),
    "ARG": (6, 13, 4, 1, 0),
    "ASN": (4, 6, 2, 2, 0),
    "ASP": (4, 4, 1, 3, 0),
    "CYS": (3, 5, 1, 1, 1),
    "GLN": (5, 8, 2, 2, 0),
    "GLU": (5, 6, 1, 3, 0),
    "GLY": (2, 3, 1, 1, 0),
    "HIS": (6, 7, 3, 1, 0),
    "ILE": (6, 11, 1, 1, 0),
    "LEU": (6, 11, 1, 1, 0),
    "LYS": (6, 13, 2, 1, 0),
    "MET": (5, 9, 1, 1, 1),
    "PHE": (9, 9, 1, 1, 0),
    "PRO": (5, 7, 1, 1, 0),
    "SER": (3, 5, 1, 2, 0),
    "THR": (4, 7, 1, 2, 0),
    "TRP": (11, 10, 2, 1, 0),
    "TYR": (9, 9, 1, 2, 0),
    "VAL": (5, 9, 1, 1, 0),
}
_ELECTRONS = np.array([6.0, 1.0, 7.0, 8.0, 16.0])
_WIDTH = {
    "ALA": 1.40,
    "ARG": 2.15,
    "ASN": 1.65,
    "ASP": 1.70,
    "CYS": 1.60,
    "GLN": 1.85,
    "GLU": 1.90,
    "GLY": 1.40,
    "HIS": 1.90,
    "ILE": 1.60,
    "LEU": 1.65,
    "LYS": 1.85,
    "MET": 1.85,
    "PHE": 1.95,
    "PRO": 1.50,
    "SER": 1.45,
    "THR": 1.55,
    "TRP": 2.15,
    "TYR": 2.10,
    "VAL": 1.50,
}


def residue_electrons(names: np.ndarray) -> Float[np.ndarray, " n"]:
    """Electrons of residues: 30 for glycine to 98 for tryptophan.

    Args:
        names: three-letter names; unknown ones take the mean of the twenty.

    Returns:
        one number each.
    """
    known = {name: float(np.dot(counts, _ELECTRONS)) for name, counts in _COMPOSITION.items()}
    mean = float(np.mean(list(known.values())))
    return np.array([known.get(str(name).upper(), mean) for name in names])


def residue_width(names: np.ndarray) -> Float[np.ndarray, " n"]:
    """Standard deviation of one Gaussian that stands for a whole residue.

    Args:
        names: three-letter names; unknown ones take the mean of the twenty.

    Returns:
        Å, the values of the published system (Krook et al. 2026, arXiv 2602.21915, their
        reference configuration).
    """
    mean = float(np.mean(list(_WIDTH.values())))
    return np.array([_WIDTH.get(str(name).upper(), mean) for name in names])
