"""mmCIF's view of a model: chemically equal chains are one entity, everything has its own label."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count, product
from string import ascii_uppercase

import numpy as np
from jaxtyping import Int32, Shaped

from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.io.residues import ResidueTable, find_residues


@dataclass(frozen=True)
class Entity:
    """One chemically distinct part of a model.

    Args:
        number: from 1.
        kind: ``polymer``, ``non-polymer`` or ``water``.
        polymer_type: mmCIF's name of the kind of polymer, or empty.
        residues: residue names of the polymer, or the name of the ligand.
        letters: one-letter sequence of the polymer.
        strands: author chains that it stands in.
    """

    number: int
    kind: str
    polymer_type: str
    residues: tuple[str, ...]
    letters: str
    strands: tuple[str, ...]


@dataclass(frozen=True)
class Entities:
    """Labels of every atom, and the entities they belong to.

    Args:
        label_chain: mmCIF's own chain label of each atom.
        author_chain: author chain of each atom, never empty.
        entity: number of the entity of each atom.
        sequence_number: position in the polymer from 1, 0 outside polymers.
        chains: pairs of label and entity number.
        table: the entities.
    """

    label_chain: Shaped[np.ndarray, " n"]
    author_chain: Shaped[np.ndarray, " n"]
    entity: Int32[np.ndarray, " n"]
    sequence_number: Int32[np.ndarray, " n"]
    chains: tuple[tuple[str, int], ...]
    table: tuple[Entity, ...]


def find_entities(atoms: AtomTable) -> Entities:
    """Group the residues of a model into polymers, ligands and water, and these into entities.

    Args:
        atoms: atoms of one model.

    Returns:
        labels and entities; a chain without a name gets the first free letter.
    """
    residues = find_residues(atoms)
    author = _named_chains(residues)
    members = _members(residues, author)
    numbers: dict[tuple, int] = {}
    strands: dict[int, list[str]] = {}
    labels = _letters()
    label = np.zeros(len(residues), "U8")
    entity = np.zeros(len(residues), np.int32)
    position = np.zeros(len(residues), np.int32)
    chains = []
    for (chain, kind, _), rows in members.items():
        names = tuple(residues.name[rows].tolist())
        key = (kind, ("HOH",)) if kind == "water" else (kind, names)
        number = numbers.setdefault(key, len(numbers) + 1)
        strands.setdefault(number, []).append(chain)
        name = next(labels)
        chains.append((name, number))
        label[rows], entity[rows] = name, number
        if kind not in ("water", "other"):
            position[rows] = np.arange(1, len(rows) + 1)
    letters = dict(zip(residues.name.tolist(), residues.letter.tolist(), strict=True))
    table = [
        _entity(number, kind, names, letters, strands[number])
        for (kind, names), number in numbers.items()
    ]
    repeat = residues.atom_count
    return Entities(
        np.repeat(label, repeat),
        np.repeat(author, repeat),
        np.repeat(entity, repeat),
        np.repeat(position, repeat),
        tuple(chains),
        tuple(table),
    )


def _named_chains(residues: ResidueTable) -> Shaped[np.ndarray, " residues"]:
    taken = set(residues.chain.tolist())
    free = next(letter for letter in _letters() if letter not in taken)
    return np.where(residues.chain == "", free, residues.chain)


def _members(
    residues: ResidueTable, author: Shaped[np.ndarray, " residues"]
) -> dict[tuple[str, str, int], list[int]]:
    """Residues of every polymer and of the water of every chain; ligands stand alone."""
    members: dict[tuple[str, str, int], list[int]] = {}
    for row, (chain, kind) in enumerate(zip(author.tolist(), residues.kind.tolist(), strict=True)):
        members.setdefault((chain, kind, row if kind == "other" else -1), []).append(row)
    return members


def _entity(
    number: int, kind: str, names: tuple[str, ...], letters: dict[str, str], strands: list[str]
) -> Entity:
    if kind in ("water", "other"):
        mmcif_kind = "water" if kind == "water" else "non-polymer"
        return Entity(number, mmcif_kind, "", names[:1], "", ())
    deoxy = sum(name in ("DA", "DC", "DG", "DT", "DU", "DI") for name in names)
    nucleic = "polydeoxyribonucleotide" if 2 * deoxy > len(names) else "polyribonucleotide"
    polymer_type = "polypeptide(L)" if kind == "protein" else nucleic
    sequence = "".join(letters[name] for name in names)
    unique = tuple(dict.fromkeys(strands))
    return Entity(number, "polymer", polymer_type, names, sequence, unique)


def _letters() -> Iterator[str]:
    """A … Z, AA … ZZ, AAA … without end."""
    for length in count(1):
        for letters in product(ascii_uppercase, repeat=length):
            yield "".join(letters)
