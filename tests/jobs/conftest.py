"""A small chain that has everything the verbs look at, and its motion."""

from dataclasses import replace

import numpy as np
import pytest

from cryojax_graph.io.atom_table import AtomTable, select_atoms
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.trajectories import Trajectory, write_trajectory

_BACKBONE = ("N", "CA", "C", "O")
_SIDE_CHAINS = {
    "MET": ("CB", "CG", "SD", "CE"),
    "LYS": ("CB", "CG", "CD", "CE", "NZ"),
    "GLY": (),
    "SER": ("CB", "OG"),
    "ALA": ("CB",),
    "CYS": ("CB", "SG"),
}


@pytest.fixture(scope="session")
def peptide() -> AtomTable:
    """Six residues, chains A and B; C-alpha atoms 3.8 Å apart, centred on the origin."""
    random = np.random.default_rng(0)
    kinds = list(_SIDE_CHAINS)
    turn = np.deg2rad(100.0) * np.arange(len(kinds))
    path = np.stack([2.3 * np.cos(turn), 2.3 * np.sin(turn), 1.5 * np.arange(len(turn))], axis=1)
    path -= path.mean(axis=0)
    atoms = [
        (i, name) for i, kind in enumerate(kinds) for name in (*_BACKBONE, *_SIDE_CHAINS[kind])
    ]
    row, names = np.array([i for i, _ in atoms]), np.array([name for _, name in atoms])
    offsets = random.normal(size=(len(row), 3))
    offsets *= 1.5 / np.linalg.norm(offsets, axis=1, keepdims=True)
    offsets[names == "CA"] = 0
    count = len(row)
    return AtomTable(
        positions=(path[row] + offsets).round(3).astype(np.float32),
        element=np.array([name[0] for name in names]),
        name=names,
        residue_name=np.array(kinds)[row],
        residue_number=(row % 3 + 1).astype(np.int32),
        insertion_code=np.full(count, ""),
        chain=np.array(["A", "B"])[row // 3],
        b_factor=np.full(count, 20.0, np.float32),
        occupancy=np.ones(count, np.float32),
        hetero=np.zeros(count, bool),
    )


@pytest.fixture(scope="session")
def bending(peptide) -> Trajectory:
    """Four frames in which chain B turns about the x axis."""
    positions = np.repeat(peptide.positions[None], 4, axis=0)
    for number in range(4):
        c, s = np.cos(0.2 * number), np.sin(0.2 * number)
        turn = np.array([[1, 0, 0], [0, c, s], [0, -s, c]], np.float32)
        positions[number, peptide.chain == "B"] @= turn
    return Trajectory(replace(peptide, positions=positions[0]), positions)


@pytest.fixture
def motion_files(peptide, bending, tmp_path) -> tuple[str, str]:
    """The motion of backbone and CB as .npz, and a template with all atoms as .pdb."""
    kept = np.isin(peptide.name, (*_BACKBONE, "CB"))
    moving = Trajectory(select_atoms(bending.atoms, kept), bending.positions[:, kept])
    write_trajectory(tmp_path / "motion.npz", moving)
    write_atoms(tmp_path / "template.pdb", peptide)
    return str(tmp_path / "motion.npz"), str(tmp_path / "template.pdb")
