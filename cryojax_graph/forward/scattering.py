"""Atoms and residues as Gaussians: electron scattering factors and coarse residues."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

_PENG = {
    "H": ((0.0349, 0.1201, 0.1970, 0.0573, 0.1195), (0.5347, 3.5867, 12.3471, 18.9525, 38.6269)),
    "C": ((0.0893, 0.2563, 0.7570, 1.0487, 0.3575), (0.2465, 1.7100, 6.4094, 18.6113, 50.2523)),
    "N": ((0.1022, 0.3219, 0.7982, 0.8197, 0.1715), (0.2451, 1.7481, 6.1925, 17.3894, 48.1431)),
    "O": ((0.0974, 0.2921, 0.6910, 0.6990, 0.2039), (0.2067, 1.3815, 4.6943, 12.7105, 32.4726)),
    "F": ((0.1083, 0.3175, 0.6487, 0.5846, 0.1421), (0.2057, 1.3439, 4.2788, 11.3932, 28.7881)),
    "Na": ((0.2142, 0.6853, 0.7692, 1.6589, 1.4482), (0.3334, 2.3446, 10.083, 48.3037, 138.27)),
    "Mg": ((0.2314, 0.6866, 0.9677, 2.1882, 1.1339), (0.3278, 2.2720, 10.9241, 39.2898, 101.9748)),
    "P": ((0.2548, 0.6106, 1.4541, 2.3204, 0.8477), (0.2908, 1.8740, 8.5176, 24.3434, 63.2996)),
    "S": ((0.2497, 0.5628, 1.3899, 2.1865, 0.7715), (0.2681, 1.6711, 7.0267, 19.5377, 50.3888)),
    "Cl": ((0.2443, 0.5397, 1.3919, 2.0197, 0.6621), (0.2468, 1.5242, 6.1537, 16.6687, 42.3086)),
    "K": ((0.4115, 1.4031, 2.2784, 2.6742, 2.2162), (0.3703, 3.3874, 13.1029, 68.9592, 194.4329)),
    "Ca": ((0.4054, 1.3880, 2.1602, 3.7532, 2.2063), (0.3499, 3.0991, 11.9608, 53.9353, 142.3892)),
    "Mn": ((0.3796, 1.2094, 1.7815, 2.5420, 1.5937), (0.2699, 2.0455, 7.4726, 31.0604, 91.5622)),
    "Fe": ((0.3946, 1.2725, 1.7031, 2.3140, 1.4795), (0.2717, 2.0443, 7.6007, 29.9714, 86.2265)),
    "Co": ((0.4118, 1.3161, 1.6493, 2.1930, 1.2830), (0.2742, 2.0372, 7.7205, 29.9680, 84.9383)),
    "Ni": ((0.3860, 1.1765, 1.5451, 2.0730, 1.3814), (0.2478, 1.7660, 6.3107, 25.2204, 74.3146)),
    "Cu": ((0.4314, 1.3208, 1.5236, 1.4671, 0.8562), (0.2694, 1.9223, 7.3474, 28.9892, 90.6246)),
    "Zn": ((0.4288, 1.2646, 1.4472, 1.8294, 1.0934), (0.2593, 1.7998, 6.7500, 25.5860, 73.5284)),
    "Se": ((0.4477, 1.1678, 1.5843, 2.8087, 1.1956), (0.2405, 1.5442, 6.3231, 19.4610, 52.0233)),
}
"""Coefficients a (Å) and b (Å²) of neutral atoms, Peng et al. (1996) Acta Cryst. A52, 257-276."""

_RESIDUES = {
    "ALA": (38, 1.49),
    "ARG": (84, 3.03),
    "ASN": (60, 2.07),
    "ASP": (60, 2.07),
    "CYS": (54, 1.91),
    "GLN": (68, 2.35),
    "GLU": (68, 2.44),
    "GLY": (30, 1.37),
    "HIS": (72, 2.37),
    "ILE": (62, 2.02),
    "LEU": (62, 2.13),
    "LYS": (70, 2.66),
    "MET": (70, 2.37),
    "PHE": (78, 2.51),
    "PRO": (52, 1.71),
    "SER": (46, 1.69),
    "THR": (54, 1.78),
    "TRP": (98, 2.76),
    "TYR": (86, 2.77),
    "VAL": (54, 1.79),
}
"""Electrons of a neutral residue within a chain, and rms radius of its heavy atoms in Å.

The radius is about the residue's own centre, weighted by electrons, quadratic mean over 5,215
residues of the proteins adenylate kinase, Fab, beta-2 adrenergic receptor with Gs, spike, barstar
and PSI domain.
"""


def atom_gaussians(
    elements: Sequence[str], b_factors: Float[np.ndarray, " n"]
) -> tuple[Float[np.ndarray, "n 5"], Float[np.ndarray, "n 5"]]:
    """Five Gaussians for each atom, from electron scattering factors and B-factors.

    The factor f(k) = Σ a exp(-b k²/4), times exp(-B k²/4), is in real space Σ of normalised
    Gaussians of mass a and variance (b + B) / 8π² (Peng et al. 1996). A potential in V comes from
    multiplying by 47.878 V Å² (h² / 2π m e). The narrowest Gaussian is far below a pixel unless B
    is large: integrate over pixels.

    All that draws takes one Gaussian per position, so repeat each position five times:

    >>> import jax.numpy as jnp
    >>> from cryojax_graph.forward import CTF, atom_gaussians, gaussian_image
    >>> positions = jnp.array([[0.0, 0.0, 0.0], [1.5, 0.0, 0.0], [1.5, 1.2, 0.0]])
    >>> masses, widths = atom_gaussians(["C", "C", "O"], np.full(3, 20.0))
    >>> image = gaussian_image(
    ...     positions.repeat(5, axis=0), jnp.ravel(masses), jnp.ravel(widths), jnp.eye(3),
    ...     jnp.zeros(2), CTF(10_000.0, 10_000.0), box=32, pixel_size=1.0, integrate=True,
    ... )

    Args:
        elements: symbols, in any case.
        b_factors: Å².

    Returns:
        masses in Å and standard deviations in Å, one row of five for each atom.

    Raises:
        ValueError: an element is not in the table, or b + B is not positive for an atom.
    """
    symbols = [element.strip().capitalize() for element in elements]
    unknown = sorted(set(symbols) - set(_PENG))
    if unknown:
        raise ValueError(
            f"no scattering factor for element {unknown[0]!r}; known: {', '.join(_PENG)}"
        )
    table = np.array([_PENG[symbol] for symbol in symbols], np.float64).reshape(-1, 2, 5)
    variances = (table[:, 1] + np.asarray(b_factors, np.float64)[:, None]) / (8.0 * np.pi**2)
    if not (variances > 0).all():
        raise ValueError("B-factors must be finite and above the negative of the narrowest b")
    return table[:, 0].astype(np.float32), np.sqrt(variances).astype(np.float32)


def residue_gaussians(
    names: Sequence[str], *, atom_width: float = 1.15
) -> tuple[Float[np.ndarray, " n"], Float[np.ndarray, " n"]]:
    """One Gaussian for each residue: its electrons, and how far they spread.

    The variance along each axis is a third of the squared rms radius of the residue's atoms, plus
    that of an atom. With the default this gives 1.40 Å (Gly) to 2.09 Å (Arg).

    Args:
        names: three-letter names of standard amino acids, upper case.
        atom_width: standard deviation of one atom, Å; 1.15 corresponds to a B-factor of 104 Å².

    Returns:
        masses in electrons and standard deviations in Å.

    Raises:
        ValueError: a name is not that of a standard amino acid.
    """
    unknown = sorted(set(names) - set(_RESIDUES))
    if unknown:
        raise ValueError(f"{unknown[0]!r} is not one of the 20 standard amino acids")
    table = np.array([_RESIDUES[name] for name in names], np.float64).reshape(-1, 2)
    widths = np.sqrt(table[:, 1] ** 2 / 3.0 + atom_width**2)
    return table[:, 0].astype(np.float32), widths.astype(np.float32)
