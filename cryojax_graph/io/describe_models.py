"""What is in a model, a trajectory or a sequence file, and what is unusual about it."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.io.limits import DEFAULT_LIMITS, Limits
from cryojax_graph.io.residues import ResidueTable, chain_sequences, find_residues
from cryojax_graph.io.sequences import read_sequences
from cryojax_graph.io.trajectories import read_trajectory, rmsd_to_first


@dataclass(frozen=True)
class ModelFacts:
    """An atomic model or trajectory.

    Args:
        path: the file.
        models: number of models or frames.
        atoms: atoms of one model.
        residues: number of residues by kind.
        chains: one-letter sequence of the modelled polymer residues by chain.
        chain_breaks: places inside a protein chain where no peptide bond leads on.
        largest_rmsd: largest C-alpha RMSD of a frame to the first, superposed, in Å; NaN without
            C-alpha atoms.
        warnings: what is unusual.
    """

    path: str
    models: int
    atoms: int
    residues: dict[str, int]
    chains: dict[str, str]
    chain_breaks: int
    largest_rmsd: float
    warnings: tuple[str, ...]


@dataclass(frozen=True)
class SequenceFacts:
    """A FASTA file.

    Args:
        path: the file.
        count: number of records.
        proteins: number of these that are proteins.
        shortest: letters of the shortest.
        longest: letters of the longest.
        warnings: what is unusual.
    """

    path: str
    count: int
    proteins: int
    shortest: int
    longest: int
    warnings: tuple[str, ...]


def describe_model(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> ModelFacts:
    """Look at a model or trajectory.

    Args:
        path: PDB, mmCIF or ``.npz`` trajectory.
        limits: caps on atoms and unpacked size.

    Returns:
        facts and warnings.

    Raises:
        InputError: the file is damaged, or its models do not hold the same atoms.
    """
    trajectory = read_trajectory(path, limits=limits)
    atoms = trajectory.atoms
    residues = find_residues(atoms)
    kinds, counts = np.unique(residues.kind, return_counts=True)
    sequences = chain_sequences(residues)
    breaks = _chain_breaks(residues)
    warnings = _model_warnings(atoms, residues, sequences)
    if len(trajectory) > 1:
        warnings.append(f"it holds {len(trajectory)} models; a template needs one")
    if breaks:
        warnings.append(f"breaks inside protein chains: {breaks}")
    return ModelFacts(
        path=str(path),
        models=len(trajectory),
        atoms=len(atoms),
        residues=dict(zip(kinds.tolist(), counts.tolist(), strict=True)),
        chains=sequences,
        chain_breaks=breaks,
        largest_rmsd=float(rmsd_to_first(trajectory).max()),
        warnings=tuple(warnings),
    )


def _chain_breaks(residues: ResidueTable) -> int:
    protein = residues.kind == "protein"
    inside = (
        protein[:-1]
        & protein[1:]
        & (residues.chain_index[:-1] == residues.chain_index[1:])
        & ~residues.joined_to_next[:-1]
    )
    return int(inside.sum())


def _model_warnings(
    atoms: AtomTable, residues: ResidueTable, sequences: dict[str, str]
) -> list[str]:
    warnings = []
    protein = residues.kind == "protein"
    if not protein.any():
        warnings.append("it holds no protein")
    incomplete = int((~residues.backbone_mask[protein][:, :3].all(axis=1)).sum())
    if incomplete:
        warnings.append(f"{incomplete} amino acids lack N, CA or C")
    unknown = sum(sequence.count("X") for sequence in sequences.values())
    if unknown:
        warnings.append(f"{unknown} residues of unknown type")
    if (residues.kind == "nucleotide").any():
        warnings.append(f"{int((residues.kind == 'nucleotide').sum())} nucleotides")
    others = int(((residues.kind == "other") | (residues.kind == "water")).sum())
    if others:
        warnings.append(f"{others} ligands, ions or water molecules")
    if (atoms.chain == "").any():
        warnings.append("atoms without a chain name")
    if len(atoms) > 1 and np.ptp(atoms.b_factor) == 0:
        warnings.append(f"every B-factor is {atoms.b_factor[0]:g}")
    if (atoms.occupancy < 1).any():
        warnings.append(f"{int((atoms.occupancy < 1).sum())} atoms of partial occupancy")
    return warnings


def describe_sequences(path: str | Path, *, limits: Limits = DEFAULT_LIMITS) -> SequenceFacts:
    """Look at a FASTA file.

    Args:
        path: FASTA file.
        limits: cap on its unpacked size.

    Returns:
        facts and warnings.

    Raises:
        InputError: the file is damaged.
    """
    records = read_sequences(path, kind="any", limits=limits)
    lengths = [len(record.letters) for record in records]
    proteins = sum(record.kind == "protein" for record in records)
    warnings = []
    if proteins < len(records):
        warnings.append(f"{len(records) - proteins} nucleic acids")
    lower = sum(record.lower_case for record in records)
    if lower:
        warnings.append(f"lower-case letters in {lower} records, read as upper case")
    unknown = sum(record.letters.count("X") for record in records if record.kind == "protein")
    if unknown:
        warnings.append(f"{unknown} unknown residues (X)")
    if len({record.letters for record in records}) < len(records):
        warnings.append("some sequences are equal")
    return SequenceFacts(
        str(path), len(records), proteins, min(lengths), max(lengths), tuple(warnings)
    )
