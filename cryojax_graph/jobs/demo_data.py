"""The molecule of the demo: adenylate kinase between its closed and its open form."""

from importlib import resources

import numpy as np

from cryojax_graph.io.atom_table import AtomTable, element_from_name, select_atoms
from cryojax_graph.io.npz import read_npz
from cryojax_graph.io.trajectories import Trajectory

MOVING = ("N", "CA", "C", "O")
CITATION = (
    "Trajectory of adenylate kinase: Beckstein, Denning, Perilla & Woolf (2009) J. Mol. Biol. 394, "
    "160–176."
)


def read_demo_molecule() -> tuple[AtomTable, Trajectory]:
    """A real molecular-dynamics transition, kept inside the package.

    Adenylate kinase of E. coli, 214 residues, 98 frames from closed to open by dynamic importance
    sampling (Beckstein et al. 2009). Frames are superposed on the first, whose C-alpha centroid is
    the origin; positions are multiples of 0.02 Å.

    Returns:
        all 1,656 heavy atoms of the first frame, and N, CA, C and O in every frame.
    """
    with resources.as_file(resources.files("cryojax_graph") / "data/adk_transition.npz") as path:
        stored = read_npz(path)
    unit = stored["unit_angstrom"]
    first = stored["first_frame"].astype(np.int32)
    names, residue_names = stored["atom_name"], stored["residue_name"]
    count = len(names)
    pairs = zip(names.tolist(), residue_names.tolist(), strict=True)
    template = AtomTable(
        positions=(unit * first).astype(np.float32),
        element=np.array([element_from_name(*pair) for pair in pairs], "U2"),
        name=names,
        residue_name=residue_names,
        residue_number=stored["residue_number"].astype(np.int32),
        insertion_code=np.full(count, "", "U1"),
        chain=stored["chain"],
        b_factor=np.zeros(count, np.float32),
        occupancy=np.ones(count, np.float32),
        hetero=np.zeros(count, bool),
    )
    moving = np.isin(names, MOVING)
    steps = np.cumsum(stored["backbone_steps"], axis=0, dtype=np.int32)
    frames = np.concatenate([first[moving][None], first[moving] + steps])
    return template, Trajectory(select_atoms(template, moving), (unit * frames).astype(np.float32))
