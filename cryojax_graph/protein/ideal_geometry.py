"""Bond lengths and angles of the twenty amino acids, as small molecules have them.

Values of Engh & Huber (1991), Acta Cryst. A47, 392–400, in which an angle depends on the kinds of
its three atoms. Histidine is given as protonated; leucine CD1 and valine CG1 are the pro-R ones.
"""

from collections.abc import Mapping
from functools import cache
from types import MappingProxyType

Bonds = Mapping[tuple[str, str], float]
Angles = Mapping[tuple[str, str, str], float]

PEPTIDE_BOND, PEPTIDE_BOND_PROLINE, DISULFIDE_BOND = 1.329, 1.341, 2.030
# Atoms of other residues are named from the one that holds the vertex: "<C" is the C before, ">N"
# the N after, ">P" the N of a proline after, "*SG" the other sulphur of a disulfide.
_BACKBONE_BONDS = "N CA 1.458, CA C 1.525, C O 1.231"
_BACKBONE_ANGLES = (
    "N CA C 111.2, CA C O 120.8, CA C >N 116.2, O C >N 123.0, CA C >P 116.9, O C >P 122.0, "
    "<C N CA 121.7"
)
_BRANCH_ANGLES = "N CA CB 110.5, C CA CB 110.1"

_SIDE_CHAIN_BONDS = {
    "ALA": "CA CB 1.521",
    "ARG": "CA CB 1.530, CB CG 1.520, CG CD 1.520, CD NE 1.460, NE CZ 1.329, CZ NH1 1.326, "
    "CZ NH2 1.326",
    "ASN": "CA CB 1.530, CB CG 1.516, CG OD1 1.231, CG ND2 1.328",
    "ASP": "CA CB 1.530, CB CG 1.516, CG OD1 1.249, CG OD2 1.249",
    "CYS": "CA CB 1.530, CB SG 1.808",
    "GLN": "CA CB 1.530, CB CG 1.520, CG CD 1.516, CD OE1 1.231, CD NE2 1.328",
    "GLU": "CA CB 1.530, CB CG 1.520, CG CD 1.516, CD OE1 1.249, CD OE2 1.249",
    "GLY": "N CA 1.451, CA C 1.516",
    "HIS": "CA CB 1.530, CB CG 1.497, CG ND1 1.378, CG CD2 1.354, ND1 CE1 1.321, CE1 NE2 1.321, "
    "NE2 CD2 1.374",
    "ILE": "CA CB 1.540, CB CG1 1.530, CB CG2 1.521, CG1 CD1 1.513",
    "LEU": "CA CB 1.530, CB CG 1.530, CG CD1 1.521, CG CD2 1.521",
    "LYS": "CA CB 1.530, CB CG 1.520, CG CD 1.520, CD CE 1.520, CE NZ 1.489",
    "MET": "CA CB 1.530, CB CG 1.520, CG SD 1.803, SD CE 1.791",
    "PHE": "CA CB 1.530, CB CG 1.502, CG CD1 1.384, CG CD2 1.384, CD1 CE1 1.382, CD2 CE2 1.382, "
    "CE1 CZ 1.382, CE2 CZ 1.382",
    "PRO": "N CA 1.466, CA CB 1.530, CB CG 1.492, CG CD 1.503, CD N 1.473",
    "SER": "CA CB 1.530, CB OG 1.417",
    "THR": "CA CB 1.540, CB OG1 1.433, CB CG2 1.521",
    "TRP": "CA CB 1.530, CB CG 1.498, CG CD1 1.365, CG CD2 1.433, CD1 NE1 1.374, NE1 CE2 1.370, "
    "CD2 CE2 1.409, CD2 CE3 1.398, CE2 CZ2 1.394, CE3 CZ3 1.382, CZ2 CH2 1.368, CZ3 CH2 1.400",
    "TYR": "CA CB 1.530, CB CG 1.512, CG CD1 1.389, CG CD2 1.389, CD1 CE1 1.382, CD2 CE2 1.382, "
    "CE1 CZ 1.378, CE2 CZ 1.378, CZ OH 1.376",
    "VAL": "CA CB 1.540, CB CG1 1.521, CB CG2 1.521",
}
_SIDE_CHAIN_ANGLES = {
    "ALA": "N CA CB 110.4, C CA CB 110.5",
    "ARG": "CA CB CG 114.1, CB CG CD 111.3, CG CD NE 112.0, CD NE CZ 124.2, NE CZ NH1 120.0, "
    "NE CZ NH2 120.0, NH1 CZ NH2 119.7",
    "ASN": "CA CB CG 112.6, CB CG OD1 120.8, CB CG ND2 116.4, OD1 CG ND2 122.6",
    "ASP": "CA CB CG 112.6, CB CG OD1 118.4, CB CG OD2 118.4, OD1 CG OD2 122.9",
    "CYS": "CA CB SG 114.4, CB SG *SG 103.8",
    "GLN": "CA CB CG 114.1, CB CG CD 112.6, CG CD OE1 120.8, CG CD NE2 116.4, OE1 CD NE2 122.6",
    "GLU": "CA CB CG 114.1, CB CG CD 112.6, CG CD OE1 118.4, CG CD OE2 118.4, OE1 CD OE2 122.9",
    "GLY": "N CA C 112.5, CA C >N 116.4, <C N CA 120.6",
    "HIS": "CA CB CG 113.8, CB CG ND1 122.7, CB CG CD2 131.2, ND1 CG CD2 106.1, CG ND1 CE1 109.3, "
    "ND1 CE1 NE2 108.4, CE1 NE2 CD2 109.0, NE2 CD2 CG 107.2",
    "ILE": "N CA CB 111.5, C CA CB 109.1, CA CB CG1 110.4, CA CB CG2 110.5, CG1 CB CG2 110.7, "
    "CB CG1 CD1 113.8",
    "LEU": "CA CB CG 116.3, CB CG CD1 110.7, CB CG CD2 110.7, CD1 CG CD2 110.8",
    "LYS": "CA CB CG 114.1, CB CG CD 111.3, CG CD CE 111.3, CD CE NZ 111.9",
    "MET": "CA CB CG 114.1, CB CG SD 112.7, CG SD CE 100.9",
    "PHE": "CA CB CG 113.8, CB CG CD1 120.7, CB CG CD2 120.7, CD1 CG CD2 118.6, CG CD1 CE1 120.7, "
    "CG CD2 CE2 120.7, CD1 CE1 CZ 120.0, CD2 CE2 CZ 120.0, CE1 CZ CE2 120.0",
    "PRO": "N CA C 111.8, N CA CB 103.0, CA CB CG 104.5, CB CG CD 106.1, CG CD N 103.2, "
    "CA N CD 112.0, <C N CA 122.6, <C N CD 125.0",
    "SER": "CA CB OG 111.1",
    "THR": "N CA CB 111.5, C CA CB 109.1, CA CB OG1 109.6, CA CB CG2 110.5, OG1 CB CG2 109.3",
    "TRP": "CA CB CG 113.6, CB CG CD1 126.9, CB CG CD2 126.8, CD1 CG CD2 106.3, CG CD1 NE1 110.2, "
    "CD1 NE1 CE2 108.9, NE1 CE2 CD2 107.4, CE2 CD2 CG 107.2, CG CD2 CE3 133.9, CE2 CD2 CE3 118.8, "
    "NE1 CE2 CZ2 130.1, CD2 CE2 CZ2 122.4, CE2 CZ2 CH2 117.5, CZ2 CH2 CZ3 121.5, "
    "CH2 CZ3 CE3 121.1, CZ3 CE3 CD2 118.6",
    "TYR": "CA CB CG 113.9, CB CG CD1 120.8, CB CG CD2 120.8, CD1 CG CD2 118.1, CG CD1 CE1 121.2, "
    "CG CD2 CE2 121.2, CD1 CE1 CZ 119.6, CD2 CE2 CZ 119.6, CE1 CZ CE2 120.3, CE1 CZ OH 119.9, "
    "CE2 CZ OH 119.9",
    "VAL": "N CA CB 111.5, C CA CB 109.1, CA CB CG1 110.5, CA CB CG2 110.5, CG1 CB CG2 110.8",
}
_PLANES = {
    "ARG": "CD NE CZ NH1 NH2",
    "ASN": "CB CG OD1 ND2",
    "ASP": "CB CG OD1 OD2",
    "GLN": "CG CD OE1 NE2",
    "GLU": "CG CD OE1 OE2",
    "HIS": "CB CG ND1 CD2 CE1 NE2",
    "PHE": "CB CG CD1 CD2 CE1 CE2 CZ",
    "TRP": "CB CG CD1 CD2 NE1 CE2 CE3 CZ2 CZ3 CH2",
    "TYR": "CB CG CD1 CD2 CE1 CE2 CZ OH",
}
# Vertex and three neighbours, seen counter-clockwise from the side of the hydrogen that is not
# there; the product (b - a) · ((c - a) × (d - a)) of vertex a and neighbours b, c, d is positive.
_CHIRAL = {
    "ILE": ("CB", "CA", "CG1", "CG2"),
    "LEU": ("CG", "CB", "CD2", "CD1"),
    "THR": ("CB", "CA", "OG1", "CG2"),
    "VAL": ("CB", "CA", "CG2", "CG1"),
}
# Names that simulation programs give to protonation states.
_VARIANTS = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "HIS"),
    **dict.fromkeys(("CYX", "CYM"), "CYS"),
    "ASH": "ASP",
    "GLH": "GLU",
    "LYN": "LYS",
    "ARN": "ARG",
    "TYM": "TYR",
}


def standard_name(residue_name: str) -> str | None:
    """Name of the amino acid whose ideal geometry is known.

    Args:
        residue_name: three letters, or a name of a protonation state.

    Returns:
        one of the twenty names, None for any other residue.
    """
    name = _VARIANTS.get(residue_name, residue_name)
    return name if name in _SIDE_CHAIN_BONDS else None


@cache
def ideal_bonds(name: str) -> Bonds:
    """Bonds of heavy atoms inside an amino acid, without those to its neighbours.

    Args:
        name: one of the twenty.

    Returns:
        length in Å of each pair of atom names, in both orders.
    """
    rows = _parsed(_BACKBONE_BONDS) | _parsed(_SIDE_CHAIN_BONDS[name])
    return MappingProxyType({pair: v for (a, b), v in rows.items() for pair in ((a, b), (b, a))})


@cache
def ideal_angles(name: str) -> Angles:
    """Angles of heavy atoms whose vertex is in an amino acid.

    Args:
        name: one of the twenty, of the vertex.

    Returns:
        degrees for each triple of atom names, vertex in the middle, in both orders. Atoms of other
        residues: ``<C`` is the C before, ``>N`` the N after, ``>P`` the N of a proline after,
        ``*SG`` the other sulphur of a disulfide.
    """
    rows = _parsed(_BACKBONE_ANGLES)
    if name != "GLY":
        rows |= _parsed(_BRANCH_ANGLES)
    rows |= _parsed(_SIDE_CHAIN_ANGLES[name])
    both = {k: v for (a, b, c), v in rows.items() for k in ((a, b, c), (c, b, a))}
    return MappingProxyType(both)


def planar_atoms(name: str) -> tuple[str, ...]:
    """Atoms of a side chain that lie in one plane.

    Args:
        name: one of the twenty.

    Returns:
        their names; empty where there are none.
    """
    return tuple(_PLANES.get(name, "").split())


def chiral_centres(name: str) -> tuple[tuple[str, str, str, str], ...]:
    """Atoms of an amino acid of the L form that have a hand.

    Args:
        name: one of the twenty.

    Returns:
        for each the vertex a and neighbours b, c, d with (b - a) · ((c - a) × (d - a)) > 0.
    """
    backbone = () if name == "GLY" else (("CA", "N", "C", "CB"),)
    return backbone + ((_CHIRAL[name],) if name in _CHIRAL else ())


def _parsed(text: str) -> dict[tuple[str, ...], float]:
    rows = (row.split() for row in text.split(", "))
    return {tuple(names): float(value) for *names, value in rows}
