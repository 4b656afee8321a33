"""The molecule inside the package is the published one."""

import hashlib
from importlib import resources

import numpy as np

from cryojax_graph.jobs.demo_data import read_demo_molecule


def test_agrees_with_the_trajectory_it_was_made_from(shared_data):
    template, trajectory = read_demo_molecule()
    stored = np.load(shared_data / "trajectories" / "adk_dims.npz")
    same = np.isin(stored["atom_names"], ("N", "CA", "C", "O"))
    # Positions are rounded to multiples of 0.02 Å.
    np.testing.assert_allclose(trajectory.positions, stored["coords"][:, same], atol=0.0101)
    assert trajectory.atoms.name.tolist() == stored["atom_names"][same].tolist()
    assert trajectory.atoms.residue_name.tolist() == stored["res_names"][same].tolist()
    assert len(template) == 1656


def test_is_a_chain_of_bonded_residues_that_moves():
    template, trajectory = read_demo_molecule()
    atoms = trajectory.atoms
    carbon = trajectory.positions[:, atoms.name == "C"]
    nitrogen = trajectory.positions[:, atoms.name == "N"]
    peptide_bond = np.linalg.norm(nitrogen[:, 1:] - carbon[:, :-1], axis=-1)
    assert peptide_bond.shape == (98, 213)
    assert 1.2 < peptide_bond.min() < peptide_bond.max() < 1.5
    alpha = trajectory.positions[:, atoms.name == "CA"]
    np.testing.assert_allclose(alpha[0].mean(axis=0), 0, atol=0.01)
    assert 6.5 < np.sqrt(((alpha[-1] - alpha[0]) ** 2).sum(axis=-1).mean()) < 7.0
    assert set(template.element.tolist()) == {"C", "N", "O", "S"}


def test_the_file_is_the_documented_one_and_small():
    folder = resources.files("cryojax_graph") / "data"
    contents = (folder / "adk_transition.npz").read_bytes()
    assert len(contents) <= 200_000
    assert hashlib.sha256(contents).hexdigest() in (folder / "README.md").read_text("utf-8")
