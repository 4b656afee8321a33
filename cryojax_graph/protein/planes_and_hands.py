"""Planes and hands of a model: what is flat, and what is not the same as its mirror image."""

from collections.abc import Iterator
from itertools import chain, combinations
from typing import TypeAlias

import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.protein.covalent import AtomLabels, share_a_place
from cryojax_graph.protein.ideal_geometry import (
    PEPTIDE_BOND,
    PEPTIDE_BOND_PROLINE,
    chiral_centres,
    ideal_angles,
    planar_atoms,
    standard_name,
)
from cryojax_graph.protein.shapes import torsions_of, volumes_of

_Four: TypeAlias = tuple[int, int, int, int]
# Below this torsion, in degrees, a peptide bond of the model is cis.
_CIS = 30.0
# Of residues without known geometry: a bond shorter than this is more than a single one, a torsion
# about it nearer to 0 or 180 degrees than this is held there, and a vertex flatter than this, in
# Å³, has no hand.
_DOUBLE_BOND, _FLAT_TORSION, _FLAT_VERTEX = 1.42, 10.0, 0.8
# Standard deviations of an atom from a plane, Å, in flat groups and, a twist of some 5 degrees,
# across peptide bonds.
PLANE_DEVIATION, _PEPTIDE_DEVIATION = 0.02, 0.1


def peptide_bonds(labels: AtomLabels, neighbours: list[list[int]]) -> Iterator[tuple[int, int]]:
    """Bonds from C of a residue to N of the next.

    Args:
        labels: of the atoms.
        neighbours: of each atom.

    Yields:
        numbers of C and N.
    """
    for c, near in enumerate(neighbours):
        if labels.name[c] == "C":
            for n in near:
                if labels.name[n] == "N" and labels.residue[n] != labels.residue[c]:
                    yield c, n


def across_peptides(
    positions: Float[np.ndarray, "n 3"],
    labels: AtomLabels,
    neighbours: list[list[int]],
    peptides: list[tuple[int, int]],
) -> tuple[Int[np.ndarray, "m 2"], Float[np.ndarray, " m"]]:
    """C-alpha atoms on both sides of peptide bonds, and their distance in a flat one.

    Planes alone do not tell trans from cis: what starts half-way could end at either.

    Args:
        positions: Å; a torsion below 30 degrees in them is cis.
        labels: of the atoms.
        neighbours: of each atom.
        peptides: from ``peptide_bonds``.

    Returns:
        pairs of atoms, and distances in Å.
    """
    pairs, lengths = [], []
    for c, n in peptides:
        for before, after in (
            (a, b)
            for a in neighbours[c]
            for b in neighbours[n]
            if labels.name[a] == labels.name[b] == "CA"
            and share_a_place(str(labels.altloc[a]), str(labels.altloc[b]))
        ):
            torsion = torsions_of(positions, np.array([[before, c, n, after]]))[0]
            cis = bool(abs(torsion) < _CIS)
            proline = standard_name(str(labels.residue_name[n])) == "PRO"
            pairs.append((before, after))
            lengths.append(_flat_distance(cis=cis, proline=proline))
    return np.array(pairs, int).reshape(-1, 2), np.array(lengths, float)


def _flat_distance(*, cis: bool, proline: bool) -> float:
    """Distance of the C-alpha atoms on both sides of a flat peptide bond, Å."""
    at_c, at_n = np.deg2rad([116.9, 122.6] if proline else [116.2, 121.7])
    middle = PEPTIDE_BOND_PROLINE if proline else PEPTIDE_BOND
    before = np.array([1.525 * np.cos(at_c), 1.525 * np.sin(at_c)])
    side = 1.0 if cis else -1.0
    reach = 1.466 if proline else 1.458
    after = np.array([middle - reach * np.cos(at_n), side * reach * np.sin(at_n)])
    return float(np.linalg.norm(before - after))


def planar_quadruples(
    positions: Float[np.ndarray, "n 3"],
    labels: AtomLabels,
    neighbours: list[list[int]],
    peptides: list[tuple[int, int]],
) -> tuple[Int[np.ndarray, "planes 4"], Float[np.ndarray, " planes"]]:
    """Quadruples of atoms in one plane: a vertex with three neighbours, or four in a row.

    Args:
        positions: Å.
        labels: of the atoms.
        neighbours: of each atom.
        peptides: from ``peptide_bonds``.

    Returns:
        atoms, the vertex or the second of the row first, and how far the last one may lie from the
        plane of the others, standard deviation in Å.
    """
    peptide = (row for c, n in peptides for row in _rows(neighbours, c, n))
    rigid = chain(
        _planes_of_amino_acids(labels, neighbours),
        _planes_of_others(positions, labels, neighbours),
    )
    found: dict[frozenset[int], tuple[_Four, float]] = {}
    for rows, deviation in ((peptide, _PEPTIDE_DEVIATION), (rigid, PLANE_DEVIATION)):
        for four in rows:
            if _share_places(labels, four):
                found.setdefault(frozenset(four), (four, deviation))
    atoms = np.array([four for four, _ in found.values()], int).reshape(-1, 4)
    return atoms, np.array([deviation for _, deviation in found.values()], float)


def _rows(neighbours: list[list[int]], b: int, c: int) -> Iterator[_Four]:
    """Four bonded atoms in a row with b and c in the middle; b first."""
    for a in neighbours[b]:
        for d in neighbours[c]:
            if a != c and d != b and a != d:
                yield b, a, c, d


def _planes_of_amino_acids(labels: AtomLabels, neighbours: list[list[int]]) -> Iterator[_Four]:
    flat = [_is_in_plane(*pair) for pair in zip(labels.residue_name, labels.name, strict=True)]
    for vertex, near in enumerate(neighbours):
        carbonyl = labels.name[vertex] == "C" and _standard(labels, vertex) is not None
        for b, c, d in combinations(near, 3):
            if carbonyl or (flat[vertex] and flat[b] and flat[c] and flat[d]):
                yield vertex, b, c, d
        for c in near:
            if c > vertex:
                yield from (
                    row for row in _rows(neighbours, vertex, c) if all(flat[k] for k in row)
                )


def _is_in_plane(residue_name: str, name: str) -> bool:
    standard = standard_name(residue_name)
    return standard is not None and name in planar_atoms(standard)


def _planes_of_others(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels, neighbours: list[list[int]]
) -> Iterator[_Four]:
    """What is flat in the model stays flat."""
    for vertex, near in enumerate(neighbours):
        if _standard(labels, vertex) is not None:
            continue
        if len(near) == 3 and abs(_volume(positions, (vertex, *near))) < _FLAT_VERTEX:
            yield vertex, near[0], near[1], near[2]
        for c in near:
            if np.linalg.norm(positions[c] - positions[vertex]) < _DOUBLE_BOND:
                for b, a, _, d in _rows(neighbours, vertex, c):
                    torsion = abs(float(torsions_of(positions, np.array([[a, b, c, d]]))[0]))
                    if min(torsion, 180.0 - torsion) < _FLAT_TORSION:
                        yield b, a, c, d


def _standard(labels: AtomLabels, atom: int) -> str | None:
    return standard_name(str(labels.residue_name[atom]))


def _share_places(labels: AtomLabels, atoms: tuple[int, ...]) -> bool:
    return len({str(labels.altloc[atom]) for atom in atoms} - {""}) < 2


def chiral_volumes(
    positions: Float[np.ndarray, "n 3"],
    labels: AtomLabels,
    neighbours: list[list[int]],
    lengths: dict[tuple[int, int], float],
) -> tuple[Int[np.ndarray, "m 4"], Float[np.ndarray, " m"]]:
    """Vertices that have a hand, and the volumes that they should have.

    Args:
        positions: Å.
        labels: of the atoms.
        neighbours: of each atom.
        lengths: of each bond, Å, by its atoms, the lower one first.

    Returns:
        vertex and three neighbours, and (b - a) · ((c - a) × (d - a)) in Å³: that of the L form in
        amino acids, that of the model elsewhere.
    """
    quadruples, volumes = [], []
    for vertex, near in enumerate(neighbours):
        heavy = [a for a in near if labels.element[a] not in ("H", "D")]
        standard = _standard(labels, vertex)
        if standard is None:
            four = (vertex, *heavy[:3])
            if len(four) == 4 and _share_places(labels, four):
                volume = _volume(positions, four)
                if abs(volume) > _FLAT_VERTEX:
                    quadruples.append(four)
                    volumes.append(volume)
            continue
        for name, *names in chiral_centres(standard):
            for three in combinations(heavy, 3) if labels.name[vertex] == name else ():
                by_name = {str(labels.name[a]): a for a in three}
                if by_name.keys() == set(names) and _share_places(labels, three):
                    arms = [by_name[other] for other in names]
                    reach = [lengths[min(vertex, a), max(vertex, a)] for a in arms]
                    quadruples.append((vertex, *arms))
                    volumes.append(_ideal_volume(standard, name, names, reach))
    return np.array(quadruples, int).reshape(-1, 4), np.array(volumes, float)


def _ideal_volume(standard: str, vertex: str, names: list[str], arms: list[float]) -> float:
    """Volume of three bonds of known lengths and angles, Å³."""
    angles = ideal_angles(standard)
    cosine = [np.cos(np.deg2rad(angles[a, vertex, b])) for a, b in combinations(names, 2)]
    x, y, z = cosine
    return float(np.prod(arms) * np.sqrt(1 - x**2 - y**2 - z**2 + 2 * x * y * z))


def _volume(positions: Float[np.ndarray, "n 3"], atoms: tuple[int, ...]) -> float:
    return float(volumes_of(positions, np.array([atoms]))[0])
