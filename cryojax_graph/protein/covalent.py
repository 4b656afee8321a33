"""Which atoms of a model are bonded: by name in amino acids, by distance elsewhere."""

from collections.abc import Iterator
from itertools import product
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int, Shaped
from scipy.sparse import coo_array

from cryojax_graph.protein.ideal_geometry import ideal_bonds, standard_name
from cryojax_graph.protein.pairs import pairs_within

# Cordero et al. (2008), Dalton Trans. 2832, Å. Bonds of other elements, metals, are not drawn.
_RADII = {
    "H": 0.31,
    "D": 0.31,
    "B": 0.84,
    "C": 0.76,
    "N": 0.71,
    "O": 0.66,
    "F": 0.57,
    "Si": 1.11,
    "P": 1.07,
    "S": 1.05,
    "Cl": 1.02,
    "Se": 1.20,
    "Br": 1.20,
    "I": 1.39,
}
_TOLERANCE = 0.4
# Longest bonds of a model that is not refined yet, Å. Residues with numbers in a row are bonded
# even where a bad model has torn them apart; others have to stand where a bond would be.
_LONGEST_PEPTIDE, _LONGEST_PEPTIDE_IN_GAP, _LONGEST_DISULFIDE = 3.5, 2.0, 2.6


class AtomLabels(NamedTuple):
    """What a model says of its atoms beside their places.

    Attributes:
        element: symbol, e.g. ``C`` or ``Zn``.
        name: e.g. ``CA``.
        residue_name: e.g. ``ALA``.
        altloc: letter of the alternate location, or empty.
        residue: number of the residue, ascending in the order of the file.
        residue_number: as the authors number.
        chain: number of the chain.
    """

    element: Shaped[np.ndarray, " n"]
    name: Shaped[np.ndarray, " n"]
    residue_name: Shaped[np.ndarray, " n"]
    altloc: Shaped[np.ndarray, " n"]
    residue: Int[np.ndarray, " n"]
    residue_number: Int[np.ndarray, " n"]
    chain: Int[np.ndarray, " n"]


def find_bonds(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels
) -> Int[np.ndarray, "bonds 2"]:
    """Covalent bonds of a model.

    Within the twenty amino acids by the names of atoms, whatever their distance; between residues
    and everywhere else by distance, so that chain breaks have none. Atoms of different alternate
    locations are not bonded. A hydrogen has one bond, to the nearest atom of its residue.

    Args:
        positions: Å.
        labels: of the atoms.

    Returns:
        numbers of the atoms, the lower one first, in ascending order.
    """
    listed = np.array(
        [_is_listed(*pair) for pair in zip(labels.residue_name, labels.name, strict=True)], bool
    )
    found = {
        (min(pair), max(pair))
        for pairs in (
            _named_bonds(labels),
            _peptide_bonds(positions, labels),
            _disulfides(positions, labels),
            _bonds_by_distance(positions, labels, listed),
        )
        for pair in pairs
    }
    return np.array(sorted(found), int).reshape(-1, 2)


def neighbours_of(bonds: Int[np.ndarray, "bonds 2"], count: int) -> list[list[int]]:
    """Atoms bonded to each atom.

    Args:
        bonds: pairs of atoms.
        count: number of atoms.

    Returns:
        numbers in ascending order for each atom.
    """
    neighbours: list[list[int]] = [[] for _ in range(count)]
    for a, b in bonds.tolist():
        neighbours[a].append(b)
        neighbours[b].append(a)
    return [sorted(near) for near in neighbours]


def pairs_within_bonds(
    bonds: Int[np.ndarray, "bonds 2"], count: int, *, most: int = 3
) -> Int[np.ndarray, " pairs"]:
    """Pairs of atoms that few bonds join.

    Args:
        bonds: pairs of atoms.
        count: number of atoms.
        most: bonds between them.

    Returns:
        ``lower * count + higher`` of each pair, in ascending order.
    """
    ends = np.concatenate([bonds, bonds[:, ::-1]])
    step = coo_array((np.ones(len(ends), np.int32), tuple(ends.T)), shape=(count, count)).tocsr()
    reached = power = step
    for _ in range(most - 1):
        power = power @ step
        reached = reached + power
    first, second = reached.nonzero()
    upper = first < second
    return np.sort(first[upper].astype(np.int64) * count + second[upper])


def share_a_place(first: str, second: str) -> bool:
    """Whether atoms of two alternate locations are there at the same time.

    Args:
        first: letter of the location, or empty.
        second: of the other atom.
    """
    return first == second or not first or not second


def _is_listed(residue_name: str, name: str) -> bool:
    standard = standard_name(residue_name)
    return standard is not None and any(name == first for first, _ in ideal_bonds(standard))


def _members(labels: AtomLabels) -> list[dict[str, list[int]]]:
    """Atoms of every residue by name; several of a name are alternate locations."""
    members: list[dict[str, list[int]]] = [
        {} for _ in range(int(labels.residue.max(initial=-1)) + 1)
    ]
    for atom, (residue, name) in enumerate(
        zip(labels.residue.tolist(), labels.name.tolist(), strict=True)
    ):
        members[residue].setdefault(name, []).append(atom)
    return members


def _together(labels: AtomLabels, first: list[int], second: list[int]) -> Iterator[tuple[int, int]]:
    for a, b in product(first, second):
        if a != b and share_a_place(str(labels.altloc[a]), str(labels.altloc[b])):
            yield a, b


def _named_bonds(labels: AtomLabels) -> Iterator[tuple[int, int]]:
    for atoms in _members(labels):
        anyone = next(iter(atoms.values()))[0]
        standard = standard_name(str(labels.residue_name[anyone]))
        if standard is None:
            continue
        for one, other in ideal_bonds(standard):
            if one < other and one in atoms and other in atoms:
                yield from _together(labels, atoms[one], atoms[other])


def _peptide_bonds(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels
) -> Iterator[tuple[int, int]]:
    members = _members(labels)
    for residue, atoms in enumerate(members):
        if "C" not in atoms:
            continue
        # Two residues that share one place in the chain stand behind each other: the one after next
        # may be next, too.
        for ahead, other in enumerate(members[residue + 1 : residue + 3]):
            for c, n in _together(labels, atoms["C"], other.get("N", [])):
                step = int(labels.residue_number[n] - labels.residue_number[c])
                limit = (
                    _LONGEST_PEPTIDE if ahead == 0 and step in (0, 1) else _LONGEST_PEPTIDE_IN_GAP
                )
                near = np.linalg.norm(positions[c] - positions[n]) < limit
                if labels.chain[c] == labels.chain[n] and near:
                    yield c, n


def _disulfides(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels
) -> Iterator[tuple[int, int]]:
    cysteine = [standard_name(name) == "CYS" for name in labels.residue_name.tolist()]
    sulphur = np.flatnonzero((labels.name == "SG") & np.array(cysteine, bool))
    if len(sulphur) > 1:
        for pair in sulphur[pairs_within(positions[sulphur], _LONGEST_DISULFIDE)].tolist():
            yield from _together(labels, pair[:1], pair[1:])


def _bonds_by_distance(
    positions: Float[np.ndarray, "n 3"], labels: AtomLabels, listed: Shaped[np.ndarray, " n"]
) -> Iterator[tuple[int, int]]:
    radius = np.array([_RADII.get(element, -9.0) for element in labels.element.tolist()])
    hydrogen = np.isin(labels.element, ("H", "D"))
    nearest: dict[int, tuple[float, int]] = {}
    for a, b in pairs_within(positions, 2 * max(_RADII.values()) + _TOLERANCE).tolist():
        if (listed[a] and listed[b]) or (hydrogen[a] and hydrogen[b]):
            continue
        apart = float(np.linalg.norm(positions[a] - positions[b]))
        if apart > radius[a] + radius[b] + _TOLERANCE:
            continue
        if not share_a_place(str(labels.altloc[a]), str(labels.altloc[b])):
            continue
        if hydrogen[a] or hydrogen[b]:
            light, heavy = (a, b) if hydrogen[a] else (b, a)
            if labels.residue[a] == labels.residue[b]:
                nearest[light] = min(nearest.get(light, (np.inf, -1)), (apart, heavy))
        else:
            yield a, b
    for light, (_, heavy) in nearest.items():
        yield light, heavy
