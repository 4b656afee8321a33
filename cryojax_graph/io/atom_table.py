"""Atoms as plain arrays, one entry each."""

from dataclasses import dataclass, fields, replace

import gemmi
import numpy as np
from jaxtyping import Bool, Float32, Int32, Integer, Shaped


@dataclass(frozen=True)
class AtomTable:
    """Atoms of one model in the order of the file, one location each.

    Args:
        positions: x, y, z in Å.
        element: symbol, e.g. ``C`` or ``Zn``.
        name: atom name, e.g. ``CA``.
        residue_name: e.g. ``ALA``.
        residue_number: as the authors number.
        insertion_code: letter after the number, or empty.
        chain: name of the chain as the authors give it, may be empty.
        b_factor: Å².
        occupancy: between 0 and 1.
        hetero: written as a hetero atom: ligand, ion, water, modified residue.
    """

    positions: Float32[np.ndarray, "n 3"]
    element: Shaped[np.ndarray, " n"]
    name: Shaped[np.ndarray, " n"]
    residue_name: Shaped[np.ndarray, " n"]
    residue_number: Int32[np.ndarray, " n"]
    insertion_code: Shaped[np.ndarray, " n"]
    chain: Shaped[np.ndarray, " n"]
    b_factor: Float32[np.ndarray, " n"]
    occupancy: Float32[np.ndarray, " n"]
    hetero: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of atoms."""
        return len(self.name)


@dataclass(frozen=True)
class AtomRecords:
    """Atoms as a file lists them: all models, all alternate locations.

    Args:
        atoms: the atoms.
        altloc: letter of the alternate location, or empty.
        model: number of the model from 0, not decreasing.
    """

    atoms: AtomTable
    altloc: Shaped[np.ndarray, " n"]
    model: Int32[np.ndarray, " n"]


def select_atoms(
    atoms: AtomTable, which: Bool[np.ndarray, " n"] | Integer[np.ndarray, " m"]
) -> AtomTable:
    """Some atoms of a table.

    Args:
        atoms: the table.
        which: mask, or atom numbers from 0 in the order wanted.

    Returns:
        the atoms chosen.
    """
    return replace(atoms, **{f.name: getattr(atoms, f.name)[which] for f in fields(atoms)})


def residue_starts(atoms: AtomTable) -> Integer[np.ndarray, " residues"]:
    """First atom of every residue: where chain, number, insertion code or name changes.

    Args:
        atoms: the table.

    Returns:
        atom numbers, ascending.
    """
    keys = (atoms.chain, atoms.residue_number, atoms.insertion_code, atoms.residue_name)
    new = np.zeros(len(atoms), bool)
    new[:1] = True
    for key in keys:
        new[1:] |= key[1:] != key[:-1]
    return np.flatnonzero(new)


def element_symbol(text: str) -> str:
    """Element written by its symbol.

    Args:
        text: symbol in any case.

    Returns:
        the symbol in its usual case, or empty when it is none.
    """
    element = gemmi.Element(text)
    return element.name if element.atomic_number > 0 else ""


def element_from_name(name: str, residue_name: str) -> str:
    """Element told by an atom name, for files that leave the element out.

    Args:
        name: the four characters of the PDB column, or a stripped name.
        residue_name: name of its residue.

    Returns:
        symbol, or empty when the name tells none.
    """
    letters = "".join(c for c in name if c.isalpha()).upper()
    residue = gemmi.find_tabulated_residue(residue_name)
    polymer = residue.is_amino_acid() or residue.is_nucleic_acid()
    # A PDB name with a two-letter element begins in the first of the four columns; hydrogens with
    # four characters begin there too. Of all polymer residues only two have such an element.
    two = name[:1].isalpha() and len(name.strip()) < 4 and not polymer
    two |= residue_name in ("MSE", "SEC") and letters == "SE"
    return (element_symbol(letters[:2]) if two else "") or element_symbol(letters[:1])
