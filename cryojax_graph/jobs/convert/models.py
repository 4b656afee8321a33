"""Atomic models from one format into another."""

from pathlib import Path

import numpy as np

from cryojax_graph.io.atoms import parse_records, read_atoms, write_atoms, write_models
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.trajectories import read_trajectory
from cryojax_graph.jobs.convert.config import ConvertConfig


def convert_model(config: ConvertConfig, output: Path) -> tuple[list[str], list[str]]:
    """Write a model, or all models of a file of several, as mmCIF or PDB.

    Args:
        config: settings.
        output: file to write.

    Returns:
        what was done, and what the user should know.

    Raises:
        InputError: the model cannot be used, or does not fit into the PDB format.
    """
    if _is_trajectory(config.input):
        return _convert_trajectory(config, output)
    records = parse_records(config.input)
    count = int(records.model.max()) + 1
    if config.model is None and count > 1:
        return _convert_trajectory(config, output)
    atoms = read_atoms(config.input, model=config.model)
    write_atoms(output, atoms)
    among = records.model == (config.model or 1) - 1
    notes = [_METADATA]
    if dropped := int(among.sum()) - len(atoms):
        notes.append(f"{dropped:,} atoms in alternate locations of lower occupancy are left out")
    return [f"{len(atoms):,} atoms in chains {', '.join(np.unique(atoms.chain).tolist())}"], notes


_METADATA = (
    "atoms, chains, residues, B-factors and occupancies are written; titles, cell, symmetry and "
    "other records are not"
)


def _is_trajectory(path: str) -> bool:
    with open(path, "rb") as handle:
        return handle.read(4) == b"PK\x03\x04"


def _convert_trajectory(config: ConvertConfig, output: Path) -> tuple[list[str], list[str]]:
    motion = read_trajectory(config.input)
    count = len(motion.positions)
    if config.model is None:
        write_models(output, motion.atoms, motion.positions)
        return [f"{count:,} models of {len(motion.atoms):,} atoms"], [_METADATA]
    if config.model > count:
        cause = f"model {config.model} was asked for, it holds {count}"
        raise InputError(config.input, "its contents", cause, f"choose one of 1 to {count}")
    chosen = slice(config.model - 1, config.model)
    write_models(output, motion.atoms, motion.positions[chosen])
    return [f"model {config.model} of {count:,}, {len(motion.atoms):,} atoms"], [_METADATA]
