"""Residues of a model: backbone atoms, sequence, chains, and where the chain is really joined."""

from dataclasses import dataclass

import gemmi
import numpy as np
from jaxtyping import Bool, Float32, Int64, Shaped

from cryojax_graph.io.atom_table import AtomTable, residue_starts

BACKBONE = ("N", "CA", "C", "O", "CB")
# Names that simulation programs give to protonation states.
_VARIANTS = {
    **dict.fromkeys(("HID", "HIE", "HIP", "HSD", "HSE", "HSP"), "H"),
    **dict.fromkeys(("CYX", "CYM"), "C"),
    "ASH": "D",
    "GLH": "E",
    "LYN": "K",
    "ARN": "R",
    "TYM": "Y",
}
# Longest peptide bond C–N and longest step between neighbouring C-alpha atoms, in Å. The second is
# used where a model has C-alpha atoms only; trans neighbours are 3.8 Å apart, cis 2.9 Å.
_LONGEST_BOND = 2.0
_LONGEST_STEP = 4.5


@dataclass(frozen=True)
class ResidueTable:
    """Residues of a model in the order of its atoms.

    Args:
        name: e.g. ``ALA``.
        number: as the authors number.
        insertion_code: letter after the number, or empty.
        chain: name of the chain.
        chain_index: number of the chain, from 0 in order of appearance.
        kind: ``protein``, ``nucleotide``, ``water`` or ``other``.
        letter: one-letter code, ``X`` where there is none.
        first_atom: number of the first atom.
        atom_count: number of atoms.
        backbone: positions of N, CA, C, O, CB in Å; 0 where absent.
        backbone_mask: which of them are there.
        joined_to_next: the chain continues to the next residue by a peptide bond, judged by
            distance and not by numbering; False at chain ends and gaps.
    """

    name: Shaped[np.ndarray, " n"]
    number: Shaped[np.ndarray, " n"]
    insertion_code: Shaped[np.ndarray, " n"]
    chain: Shaped[np.ndarray, " n"]
    chain_index: Int64[np.ndarray, " n"]
    kind: Shaped[np.ndarray, " n"]
    letter: Shaped[np.ndarray, " n"]
    first_atom: Int64[np.ndarray, " n"]
    atom_count: Int64[np.ndarray, " n"]
    backbone: Float32[np.ndarray, "n 5 3"]
    backbone_mask: Bool[np.ndarray, "n 5"]
    joined_to_next: Bool[np.ndarray, " n"]

    def __len__(self) -> int:
        """Number of residues."""
        return len(self.name)


def find_residues(atoms: AtomTable) -> ResidueTable:
    """Group atoms into residues.

    Args:
        atoms: atoms of one model; the atoms of a residue follow each other.

    Returns:
        the residues.
    """
    starts = residue_starts(atoms)
    counts = np.diff(np.append(starts, len(atoms)))
    residue_of = np.repeat(np.arange(len(starts)), counts)
    named = {name: residue_of[atoms.name == name] for name in ("N", "CA", "C")}
    peptide = np.ones(len(starts), bool)
    for residues in named.values():
        peptide &= np.isin(np.arange(len(starts)), residues)
    names = atoms.residue_name[starts]
    kind, letter = _kinds(names, peptide)
    backbone = np.zeros((len(starts), len(BACKBONE), 3), np.float32)
    mask = np.zeros((len(starts), len(BACKBONE)), bool)
    in_protein = (kind == "protein")[residue_of]
    for column, name in enumerate(BACKBONE):
        found = np.flatnonzero((atoms.name == name) & in_protein)
        backbone[residue_of[found], column] = atoms.positions[found]
        mask[residue_of[found], column] = True
    chain = atoms.chain[starts]
    order = {name: i for i, name in enumerate(dict.fromkeys(chain.tolist()))}
    chain_index = np.array([order[name] for name in chain.tolist()], np.int64)
    return ResidueTable(
        name=names,
        number=atoms.residue_number[starts],
        insertion_code=atoms.insertion_code[starts],
        chain=chain,
        chain_index=chain_index,
        kind=kind,
        letter=letter,
        first_atom=starts.astype(np.int64),
        atom_count=counts.astype(np.int64),
        backbone=backbone,
        backbone_mask=mask,
        joined_to_next=_joined(backbone, mask, chain_index),
    )


def chain_sequences(residues: ResidueTable) -> dict[str, str]:
    """Sequence of the modelled protein or nucleic-acid residues of every chain.

    Args:
        residues: residues of a model.

    Returns:
        one-letter sequences by chain, without ligands and water; unmodelled residues are not in
        them.
    """
    sequences: dict[str, str] = {}
    polymer = (residues.kind == "protein") | (residues.kind == "nucleotide")
    pairs = zip(residues.chain[polymer].tolist(), residues.letter[polymer].tolist(), strict=True)
    for chain, letter in pairs:
        sequences[chain] = sequences.get(chain, "") + letter
    return sequences


def _kinds(
    names: Shaped[np.ndarray, " n"], peptide: Bool[np.ndarray, " n"]
) -> tuple[Shaped[np.ndarray, " n"], Shaped[np.ndarray, " n"]]:
    tabulated = {name: _tabulated(name) for name in set(names.tolist())}
    kinds, letters = [], []
    for name, has_backbone in zip(names.tolist(), peptide.tolist(), strict=True):
        kind, letter = tabulated[name]
        # An unlisted residue with a backbone is a modified amino acid.
        kinds.append("protein" if kind == "other" and has_backbone else kind)
        letters.append(letter)
    return np.array(kinds, "U10"), np.array(letters, "U1")


def _tabulated(name: str) -> tuple[str, str]:
    if name in _VARIANTS:
        return "protein", _VARIANTS[name]
    residue = gemmi.find_tabulated_residue(name)
    letter = residue.one_letter_code.upper().strip() or "X"
    if residue.is_amino_acid():
        return "protein", letter
    if residue.is_nucleic_acid():
        return "nucleotide", letter
    return ("water" if residue.is_water() else "other"), "X"


def _joined(
    backbone: Float32[np.ndarray, "n 5 3"],
    mask: Bool[np.ndarray, "n 5"],
    chain_index: Int64[np.ndarray, " n"],
) -> Bool[np.ndarray, " n"]:
    joined = np.zeros(len(mask), bool)
    bond = np.linalg.norm(backbone[1:, 0] - backbone[:-1, 2], axis=1) < _LONGEST_BOND
    step = np.linalg.norm(backbone[1:, 1] - backbone[:-1, 1], axis=1) < _LONGEST_STEP
    has_bond = mask[1:, 0] & mask[:-1, 2]
    has_step = mask[1:, 1] & mask[:-1, 1]
    same_chain = chain_index[1:] == chain_index[:-1]
    joined[:-1] = same_chain & np.where(has_bond, bond, has_step & step)
    return joined
