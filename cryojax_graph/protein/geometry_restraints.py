"""Bonds, angles, planes and hands of all atoms of a model, as an energy.

Amino acids have the ideal values of :mod:`cryojax_graph.protein.ideal_geometry`, whatever the model
says, and the L form; everything else (ligands, nucleotides, hydrogens) keeps the lengths, angles,
planes and hands that it has in the model.
"""

from itertools import combinations
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from cryojax_graph.geometry.stable import length
from cryojax_graph.protein.covalent import (
    AtomLabels,
    find_bonds,
    neighbours_of,
    share_a_place,
)
from cryojax_graph.protein.ideal_geometry import (
    DISULFIDE_BOND,
    PEPTIDE_BOND,
    PEPTIDE_BOND_PROLINE,
    ideal_angles,
    ideal_bonds,
    standard_name,
)
from cryojax_graph.protein.planes_and_hands import (
    across_peptides,
    chiral_volumes,
    peptide_bonds,
    planar_quadruples,
)
from cryojax_graph.protein.shapes import angles_between, distances_between

# Area of the parallelogram of two bonds of 1.4 Å that meet at 120 degrees, Å².
_AREA = 1.7


class GeometryRestraints(NamedTuple):
    """What holds the atoms of a model together.

    Attributes:
        bonds: pairs of atoms.
        bond_length: Å.
        angles: triples of atoms, the vertex in the middle.
        angle: radians.
        spans: pairs whose distance is held: ends of angles first, in the order of ``angles``, then
            C-alpha atoms on both sides of a peptide bond, cis or trans.
        span_length: Å.
        planes: quadruples of atoms that lie in one plane, the vertex first.
        plane_deviation: standard deviation of the last from the plane of the others, Å.
        chiral: quadruples of an atom and three neighbours.
        volume: (b - a) · ((c - a) × (d - a)) of each of them, Å³.
    """

    bonds: Int[Array | np.ndarray, "bonds 2"]
    bond_length: Float[Array | np.ndarray, " bonds"]
    angles: Int[Array | np.ndarray, "angles 3"]
    angle: Float[Array | np.ndarray, " angles"]
    spans: Int[Array | np.ndarray, "spans 2"]
    span_length: Float[Array | np.ndarray, " spans"]
    planes: Int[Array | np.ndarray, "planes 4"]
    plane_deviation: Float[Array | np.ndarray, " planes"]
    chiral: Int[Array | np.ndarray, "chiral 4"]
    volume: Float[Array | np.ndarray, " chiral"]


def restraint_energy(
    restraints: GeometryRestraints,
    positions: Float[Array, "n 3"],
    *,
    bond_deviation: float = 0.02,
    span_deviation: float = 0.025,
    volume_deviation: float = 0.2,
) -> Float[Array, ""]:
    """Minus log-probability of the geometry of a model, up to a constant.

    Args:
        restraints: of the model.
        positions: Å.
        bond_deviation: standard deviation of a bond, Å.
        span_deviation: of the distance between the ends of an angle, Å.
        volume_deviation: of the volume of a chiral vertex, Å³.

    Returns:
        sum over restraints of half the squared deviation in standard deviations.
    """
    bond = _distances(positions, restraints.bonds) - restraints.bond_length
    span = _distances(positions, restraints.spans) - restraints.span_length
    plane = _volumes(positions, restraints.planes) / _AREA
    hand = _volumes(positions, restraints.chiral) - restraints.volume
    return 0.5 * (
        jnp.sum(bond**2) / bond_deviation**2
        + jnp.sum(span**2) / span_deviation**2
        + jnp.sum((plane / restraints.plane_deviation) ** 2)
        + jnp.sum(hand**2) / volume_deviation**2
    )


def geometry_restraints(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels
) -> GeometryRestraints:
    """Restraints of all atoms of a model, hydrogens, ligands and alternate locations included.

    Args:
        positions: Å; values are taken from them where no ideal ones are known.
        labels: of the atoms.

    Returns:
        restraints in float32.
    """
    positions = np.asarray(positions, np.float64)
    bonds = find_bonds(positions, labels)
    neighbours = neighbours_of(bonds, len(positions))
    bond_length = _bond_lengths(positions, labels, bonds)
    known = {(a, b): float(x) for (a, b), x in zip(bonds.tolist(), bond_length, strict=True)}
    angles = _angles(labels, neighbours)
    angle = _angle_values(positions, labels, angles)
    arms = [[known[_ordered(a, b)], known[_ordered(c, b)]] for a, b, c in angles.tolist()]
    one, other = np.array(arms, float).reshape(-1, 2).T
    ends = np.sqrt(one**2 + other**2 - 2 * one * other * np.cos(angle))
    peptides = list(peptide_bonds(labels, neighbours))
    crossed, crossing = across_peptides(positions, labels, neighbours, peptides)
    planes, flatness = planar_quadruples(positions, labels, neighbours, peptides)
    chiral, volume = chiral_volumes(positions, labels, neighbours, known)
    return GeometryRestraints(
        bonds=bonds.astype(np.int32),
        bond_length=bond_length.astype(np.float32),
        angles=angles.astype(np.int32),
        angle=angle.astype(np.float32),
        spans=np.concatenate([angles[:, [0, 2]], crossed]).astype(np.int32),
        span_length=np.concatenate([ends, crossing]).astype(np.float32),
        planes=planes.astype(np.int32),
        plane_deviation=flatness.astype(np.float32),
        chiral=chiral.astype(np.int32),
        volume=volume.astype(np.float32),
    )


def _distances(
    positions: Float[Array, "n 3"], pairs: Int[Array | np.ndarray, "m 2"]
) -> Float[Array, " m"]:
    return length(positions[pairs[:, 0]] - positions[pairs[:, 1]])


def _volumes(
    positions: Float[Array, "n 3"], quadruples: Int[Array | np.ndarray, "m 4"]
) -> Float[Array, " m"]:
    vertex, *others = (positions[quadruples[:, k]] for k in range(4))
    b, c, d = (other - vertex for other in others)
    return jnp.sum(b * jnp.cross(c, d), axis=-1)


def _ordered(a: int, b: int) -> tuple[int, int]:
    return (a, b) if a < b else (b, a)


def _bond_lengths(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels, bonds: Int[np.ndarray, "bonds 2"]
) -> Float[np.ndarray, " bonds"]:
    lengths = distances_between(positions, bonds)
    for row, (a, b) in enumerate(bonds.tolist()):
        names = str(labels.name[a]), str(labels.name[b])
        one, other = (standard_name(str(labels.residue_name[k])) for k in (a, b))
        if labels.residue[a] == labels.residue[b]:
            known = ideal_bonds(one).get(names) if one else None
        elif set(names) == {"C", "N"}:
            known = PEPTIDE_BOND_PROLINE if (other, one)[names[0] == "N"] == "PRO" else PEPTIDE_BOND
        else:
            known = DISULFIDE_BOND if names == ("SG", "SG") else None
        lengths[row] = lengths[row] if known is None else known
    return lengths


def _angles(labels: AtomLabels, neighbours: list[list[int]]) -> Int[np.ndarray, "angles 3"]:
    found = [
        (a, vertex, c)
        for vertex, near in enumerate(neighbours)
        for a, c in combinations(near, 2)
        if share_a_place(str(labels.altloc[a]), str(labels.altloc[c]))
    ]
    return np.array(found, int).reshape(-1, 3)


def _angle_values(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels, angles: Int[np.ndarray, "angles 3"]
) -> Float[np.ndarray, " angles"]:
    values = angles_between(positions, angles)
    for row, (a, vertex, c) in enumerate(angles.tolist()):
        standard = standard_name(str(labels.residue_name[vertex]))
        if standard is not None:
            one, other = (_name_from(labels, vertex, k) for k in (a, c))
            ideal = ideal_angles(standard).get((one, str(labels.name[vertex]), other))
            values[row] = values[row] if ideal is None else np.deg2rad(ideal)
    return values


def _name_from(labels: AtomLabels, vertex: int, atom: int) -> str:
    """Name of an atom as seen from the residue of the vertex that it is bonded to."""
    name = str(labels.name[atom])
    if labels.residue[atom] == labels.residue[vertex]:
        return name
    proline = name == "N" and standard_name(str(labels.residue_name[atom])) == "PRO"
    return {"C": "<C", "N": ">P" if proline else ">N"}.get(name, f"*{name}")
