"""One location per atom: alternate conformers resolved residue by residue, never mixed."""

from pathlib import Path

import numpy as np
from jaxtyping import Bool

from cryojax_graph.io.atom_table import AtomRecords, residue_starts, select_atoms
from cryojax_graph.io.errors import InputError


def resolve_altlocs(records: AtomRecords, *, file: str | Path) -> AtomRecords:
    """Keep the conformer of highest occupancy in every residue, the first one where they tie.

    All atoms of a residue come from one conformer, so that no bond joins two of them; atoms
    without a letter belong to every conformer.

    Args:
        records: atoms of a file.
        file: its name, for messages.

    Returns:
        atoms with one location each.

    Raises:
        InputError: an atom still occurs twice in its residue.
    """
    if (records.altloc != "").any():
        keep = _chosen(records)
        records = AtomRecords(
            select_atoms(records.atoms, keep), records.altloc[keep], records.model[keep]
        )
    _refuse_doubles(records, file)
    return records


def _chosen(records: AtomRecords) -> Bool[np.ndarray, " n"]:
    atoms = records.atoms
    residues: dict[tuple, dict[str, list[int]]] = {}
    for i in np.flatnonzero(records.altloc != "").tolist():
        # Without the residue name: two residues may share one place in the chain.
        key = (
            int(records.model[i]),
            str(atoms.chain[i]),
            int(atoms.residue_number[i]),
            str(atoms.insertion_code[i]),
        )
        residues.setdefault(key, {}).setdefault(str(records.altloc[i]), []).append(i)
    keep = records.altloc == ""
    for conformers in residues.values():
        occupancy = {a: float(atoms.occupancy[rows].mean()) for a, rows in conformers.items()}
        best = max(occupancy, key=lambda letter: occupancy[letter])
        keep[conformers[best]] = True
    return keep


def _refuse_doubles(records: AtomRecords, file: str | Path) -> None:
    atoms = records.atoms
    starts = residue_starts(atoms)
    starts = np.union1d(starts, np.flatnonzero(np.diff(records.model)) + 1)
    residue = np.zeros(len(atoms), np.int64)
    residue[starts] = 1
    residue = np.cumsum(residue)
    names, number = np.unique(atoms.name, return_inverse=True)
    key = residue * len(names) + number.reshape(-1)
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(key[order][1:] == key[order][:-1])
    if len(same):
        i = int(order[same[0] + 1])
        residue = f"{atoms.residue_name[i]} {atoms.residue_number[i]}{atoms.insertion_code[i]}"
        place = f"atom {atoms.name[i]} of {residue}, chain {atoms.chain[i] or '(none)'}"
        cause = "it occurs twice without a mark of alternate locations"
        raise InputError(file, place, cause, "remove one of them, or number the residues apart")
