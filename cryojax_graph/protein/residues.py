"""Mass and size of amino-acid residues as electrons see them."""

import numpy as np
from jaxtyping import Float

# Atoms (C, H, N, O, S) of each residue inside a chain, that is without one water.
_COMPOSITION = {
    "ALA": (3, 5, 1, 1, 0),
    "ARG": (6, 12, 4, 1, 0),
    "ASN": (4, 6, 2, 2, 0),
    "ASP": (4, 5, 1, 3, 0),
    "CYS": (3, 5, 1, 1, 1),
    "GLN": (5, 8, 2, 2, 0),
    "GLU": (5, 7, 1, 3, 0),
    "GLY": (2, 3, 1, 1, 0),
    "HIS": (6, 7, 3, 1, 0),
    "ILE": (6, 11, 1, 1, 0),
    "LEU": (6, 11, 1, 1, 0),
    "LYS": (6, 12, 2, 1, 0),
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
_SMALLEST_WIDTH, _LARGEST_WIDTH = 1.40, 2.15


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

    The published system uses 1.40 to 2.15 Å by type. Between these ends we take a power of the
    mass, which comes out as 0.36: close to 1/3, a residue of constant density.

    Args:
        names: three-letter names.

    Returns:
        Å.
    """
    electrons = residue_electrons(names)
    lightest, heaviest = residue_electrons(np.array(["GLY", "TRP"]))
    exponent = np.log(_LARGEST_WIDTH / _SMALLEST_WIDTH) / np.log(heaviest / lightest)
    return _SMALLEST_WIDTH * (electrons / lightest) ** exponent
