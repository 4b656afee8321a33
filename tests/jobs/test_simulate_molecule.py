"""What is drawn: heavy atoms, side chains carried by the backbone, weights of frames."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cryojax_graph.io import InputError
from cryojax_graph.io.atom_table import select_atoms
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.trajectories import Trajectory
from cryojax_graph.jobs.simulate.config import SimulateConfig
from cryojax_graph.jobs.simulate.frame_weights import read_frame_weights
from cryojax_graph.jobs.simulate.molecule import check_fits, reach, read_molecule
from cryojax_graph.jobs.simulate.side_chains import carry_side_chains


def joined(first, second):
    """Atoms of two tables, one after the other."""
    fields = vars(first)
    return replace(first, **{n: np.concatenate([fields[n], vars(second)[n]]) for n in fields})


def carry(moving, template):
    return carry_side_chains(moving, template, file="motion.npz", template_file="template.pdb")


def test_side_chains_move_rigidly_with_their_residues(peptide, bending):
    backbone = np.isin(peptide.name, ("N", "CA", "C"))
    moving = Trajectory(select_atoms(bending.atoms, backbone), bending.positions[:, backbone])
    # Where the template stands does not matter.
    elsewhere = replace(peptide, positions=peptide.positions[:, [1, 2, 0]] + np.float32(7))
    whole = carry(moving, elsewhere)
    # Every residue of this motion is rigid, so all atoms must come out where they were.
    np.testing.assert_allclose(whole.positions, bending.positions, atol=1e-4)


def test_atoms_that_the_trajectory_holds_are_taken_from_it(peptide, bending):
    kept = np.isin(peptide.name, ("N", "CA", "C", "O"))
    positions = bending.positions.copy()
    positions[:, peptide.name == "O"] += 0.5
    moving = Trajectory(select_atoms(bending.atoms, kept), positions[:, kept])
    whole = carry(moving, peptide)
    np.testing.assert_array_equal(whole.positions[:, kept], positions[:, kept])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda a: select_atoms(a, a.chain == "A"), "residue B 1.*nothing where the traj"),
        (
            lambda a: replace(
                a, residue_name=np.where(a.residue_name == "MET", "MSE", a.residue_name)
            ),
            "residue A 1.*MSE where the trajectory",
        ),
        (lambda a: select_atoms(a, (a.name != "N") | (a.chain == "B")), "residue A 1.*no atom N"),
    ],
)
def test_a_template_of_another_molecule_is_refused(peptide, bending, change, words):
    with pytest.raises(InputError, match=words):
        carry(bending, change(peptide))


def test_hydrogens_and_water_are_left_out_and_told(peptide, tmp_path):
    water = replace(
        select_atoms(peptide, np.array([0])),
        element=np.array(["O"]),
        name=np.array(["O"]),
        residue_name=np.array(["HOH"]),
        residue_number=np.array([9], np.int32),
        hetero=np.array([True]),
    )
    hydrogen = replace(
        select_atoms(peptide, peptide.name == "CA"),
        element=np.full(6, "H"),
        name=np.full(6, "HA"),
    )
    atoms = joined(joined(peptide, hydrogen), water)
    order = np.lexsort((np.arange(len(atoms)), atoms.residue_number, atoms.chain))
    write_atoms(tmp_path / "wet.pdb", select_atoms(atoms, order))
    molecule = read_molecule(SimulateConfig(input=str(tmp_path / "wet.pdb")))
    assert len(molecule.atoms) == len(peptide)
    assert molecule.notes == ("6 hydrogens are left out", "1 atoms of water are left out")
    np.testing.assert_allclose(molecule.positions[0, molecule.alpha].mean(axis=0), 0, atol=1e-5)
    assert molecule.masses.shape == (len(peptide), 5)


def test_b_factors_blur_only_when_asked(peptide, tmp_path):
    write_atoms(tmp_path / "model.pdb", peptide)
    sharp = SimulateConfig(input=str(tmp_path / "model.pdb"))
    blurred = replace(sharp, microscope=replace(sharp.microscope, model_b_factors=True))
    widths = [read_molecule(config).widths for config in (sharp, blurred)]
    np.testing.assert_allclose(widths[1] ** 2 - widths[0] ** 2, 20 / (8 * np.pi**2), rtol=1e-4)


def test_missing_side_chains_are_told(motion_files):
    (note,) = read_molecule(SimulateConfig(input=motion_files[0])).notes
    assert "--template" in note


@pytest.mark.parametrize(("element", "words"), [("Xe", "scattering factor"), ("", "element")])
def test_an_atom_of_unknown_scattering_is_refused(peptide, bending, tmp_path, element, words):
    odd = replace(peptide, element=np.where(peptide.name == "SD", element or "Xx", peptide.element))
    write_atoms(tmp_path / "odd.cif", odd)
    with pytest.raises(InputError, match=words):
        read_molecule(SimulateConfig(input=str(tmp_path / "odd.cif")))


def test_nothing_but_water_is_refused(peptide, tmp_path):
    water = select_atoms(peptide, peptide.name == "O")
    water = replace(water, residue_name=np.full(len(water), "HOH"))
    write_atoms(tmp_path / "water.pdb", water)
    with pytest.raises(InputError, match="nothing but hydrogens and water"):
        read_molecule(SimulateConfig(input=str(tmp_path / "water.pdb")))


def test_the_box_that_is_asked_for_is_the_smallest_that_fits(motion_files):
    config = SimulateConfig(input=motion_files[0], box=16, pixel_size=0.5, shift_sigma=0.3)
    molecule = read_molecule(config)
    with pytest.raises(InputError) as caught:
        check_fits(molecule, config)
    needed = int(caught.value.remedy.split("--box ")[1].split()[0])
    check_fits(molecule, replace(config, box=needed))
    with pytest.raises(InputError):
        check_fits(molecule, replace(config, box=needed - 2))
    farthest = np.linalg.norm(molecule.positions, axis=-1).max()
    assert farthest < reach(molecule) <= farthest + 5


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9).filter(lambda w: sum(w) > 1e-3))
def test_weights_are_read_as_shares(tmp_path_factory, weights):
    path = tmp_path_factory.mktemp("weights") / "weights.csv"
    rows = [f"{i},{w!r}" for i, w in enumerate(weights)]
    path.write_text("\n".join(["frame,weight", *rows[::-1]]))
    np.testing.assert_allclose(
        read_frame_weights(path, len(weights)), np.array(weights) / sum(weights), rtol=1e-12
    )


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("0,1\n1,2", "line 1"),
        ("frame,weight\n0,1\n5,1", "line 3.*no frame 5"),
        ("frame,weight\n-1,1", "line 2.*no frame -1"),
        ("frame,weight\n0,1\n0,2", "line 3.*twice"),
        ("frame,weight\n0,-1", "line 2.*weight of at least 0"),
        ("frame,weight\n0,nan", "line 2"),
        ("frame,weight\n0,1,2", "line 2"),
        ("frame,weight\n0", "line 2"),
        ("frame,weight\n0.5,1", "line 2"),
        ("frame,weight\n0,0", "no frame has any weight"),
        ("frame,weight", "no frame has any weight"),
        ("", "empty"),
    ],
)
def test_weights_that_cannot_be_used_are_refused(tmp_path, text, words):
    path = tmp_path / "weights.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=words):
        read_frame_weights(path, 3)


def test_the_real_trajectory_keeps_its_frame(shared_data):
    folder = shared_data / "trajectories"
    config = SimulateConfig(
        input=str(folder / "barstar.npz"), template=str(folder / "barstar_template.pdb")
    )
    molecule = read_molecule(config)
    stored = np.load(config.input)
    np.testing.assert_allclose(molecule.moved_by, 0, atol=1e-4)
    np.testing.assert_allclose(
        molecule.positions[:, molecule.alpha],
        stored["coords"][:, stored["atom_names"] == "CA"],
        atol=1e-4,
    )
    assert molecule.notes == ()
