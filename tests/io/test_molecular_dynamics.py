"""Trajectories of simulation programs, written here by MDAnalysis itself."""

import sys
import warnings
from pathlib import Path

import jax
import numpy as np
import pytest

from cryojax_graph.geometry import random_rotations
from cryojax_graph.io.atom_table import AtomTable
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.describe import describe
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.limits import Limits
from cryojax_graph.io.molecular_dynamics import (
    is_simulation,
    listed_residues,
    read_simulation,
    stated_frames,
)
from cryojax_graph.jobs.simulate import SimulateConfig
from cryojax_graph.jobs.simulate.molecule import read_molecule

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    MDAnalysis = pytest.importorskip("MDAnalysis")

FRAMES, WATERS, EDGE = 5, 7, 60.0
# CHARMM's name of the last carbon of isoleucine; elsewhere CD is cadmium.
ATOMS = (("N", "N"), ("HN", "H"), ("CA", "C"), ("C", "C"), ("O", "O"), ("CD", "C"))


@pytest.fixture
def system(tmp_path) -> tuple[Path, np.ndarray]:
    """Topology of two chains of ten isoleucines and some water, and protein positions in frames."""
    rng = np.random.default_rng(0)
    residues, per_chain = 20, 10 * len(ATOMS)
    path = np.arange(residues)[:, None] * np.array([3.0, 1.5, 0.5])
    path[10:] += [-25.0, 9.0, 4.0]
    protein = (path[:, None] + rng.normal(size=(residues, len(ATOMS), 3))).reshape(-1, 3)
    water = rng.uniform(0, EDGE, (WATERS, 3))
    count = len(protein) + WATERS

    def column(of_protein: list, of_water) -> np.ndarray:
        return np.array([*of_protein, *[of_water] * WATERS])

    chain = ["A"] * per_chain + ["B"] * per_chain
    atoms = AtomTable(
        positions=np.concatenate([protein, water]).astype(np.float32),
        element=column([element for _, element in ATOMS] * residues, "O"),
        name=column([name for name, _ in ATOMS] * residues, "OH2"),
        residue_name=column(["ILE"] * len(protein), "TIP3"[:3]),
        residue_number=np.concatenate(
            [np.repeat(np.arange(1, residues + 1), len(ATOMS)), np.arange(1, WATERS + 1)]
        ).astype(np.int32),
        insertion_code=np.full(count, ""),
        chain=column(chain, "W"),
        b_factor=np.zeros(count, np.float32),
        occupancy=np.ones(count, np.float32),
        hetero=np.zeros(count, bool),
    )
    write_atoms(tmp_path / "topology.pdb", atoms)
    bend = rng.normal(scale=0.3, size=(FRAMES, *protein.shape)).cumsum(axis=0)
    return tmp_path / "topology.pdb", protein + bend


def written(path: Path, topology: Path, protein: np.ndarray, *, edge: float | None = None) -> Path:
    """A file of coordinates, wrapped atom by atom into a box where one is given."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe(str(topology))
        with MDAnalysis.Writer(str(path), n_atoms=len(universe.atoms)) as writer:
            for frame in protein:
                whole = np.concatenate([frame, np.full((WATERS, 3), 5.0)])
                universe.atoms.positions = whole if edge is None else whole % edge
                universe.dimensions = None if edge is None else [edge] * 3 + [90] * 3
                writer.write(universe.atoms)
    return path


@pytest.mark.parametrize("ending", [".dcd", ".xtc", ".trr"])
def test_frames_and_names_are_read(system, tmp_path, ending):
    topology, protein = system
    path = written(tmp_path / f"motion{ending}", topology, protein, edge=400.0)
    assert is_simulation(path)
    trajectory, left_out = read_simulation(path, topology)
    assert trajectory.positions.shape == (FRAMES, 120, 3)
    steps = np.diff(trajectory.positions, axis=1)
    np.testing.assert_allclose(steps, np.diff(protein, axis=1), atol=0.03)
    atoms = trajectory.atoms
    assert atoms.element.tolist() == [element for _, element in ATOMS] * 20
    assert atoms.chain.tolist() == ["A"] * 60 + ["B"] * 60
    assert atoms.residue_number.tolist() == np.repeat(np.arange(1, 21), 6).tolist()
    assert sum(left_out.values()) == WATERS
    np.testing.assert_array_equal(atoms.positions, trajectory.positions[0])


def test_what_the_box_cut_is_whole_again(system, tmp_path):
    topology, protein = system
    moved = protein + np.linspace(0, 150, FRAMES)[:, None, None]
    path = written(tmp_path / "cut.xtc", topology, moved, edge=EDGE)
    found = read_simulation(path, topology)[0].positions
    for chain in (slice(0, 60), slice(60, 120)):
        steps = np.diff(found[:, chain], axis=1)
        np.testing.assert_allclose(steps, np.diff(protein[:, chain], axis=1), atol=0.03)
    # The copy of the second chain that is nearest to the first: where it was, in every frame.
    np.testing.assert_allclose(spread(found), spread(protein), atol=0.1)


def spread(positions: np.ndarray) -> np.ndarray:
    """Mean distance from the centre in each frame."""
    return np.linalg.norm(positions - positions.mean(axis=1, keepdims=True), axis=-1).mean(axis=1)


def test_chains_of_a_tumbling_complex_stay_together(system, tmp_path):
    topology, protein = system
    turns = np.asarray(random_rotations(jax.random.key(1), FRAMES), float)
    tumbling = (protein - protein.mean(axis=1, keepdims=True)) @ turns
    edge = 1.15 * float(np.linalg.norm(protein[0][:, None] - protein[0], axis=-1).max())
    path = written(tmp_path / "cut.xtc", topology, tumbling, edge=edge)
    found = read_simulation(path, topology)[0].positions
    np.testing.assert_allclose(spread(found), spread(protein), atol=0.1)


def test_modified_residues_stay_in_the_chain(system, tmp_path):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    lines = topology.read_text().splitlines(keepends=True)
    changed = [line.replace("ILE", "SEP") if " A   4 " in line else line for line in lines]
    (tmp_path / "sep.pdb").write_text("".join(changed))
    trajectory, _ = read_simulation(path, tmp_path / "sep.pdb")
    assert len(trajectory.atoms) == 120
    assert (trajectory.atoms.residue_name == "SEP").sum() == len(ATOMS)


def test_chains_without_names_are_told_by_their_numbers(system, tmp_path):
    topology, protein = system
    path = written(tmp_path / "motion.xtc", topology, protein)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        universe = MDAnalysis.Universe(str(topology))
        universe.residues[10:20].resids = np.arange(1, 11)
        universe.atoms.write(str(tmp_path / "system.gro"))
    atoms = read_simulation(path, tmp_path / "system.gro")[0].atoms
    assert atoms.chain.tolist() == ["A"] * 60 + ["B"] * 60


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda data: data[:-1000] + bytes(1000), "frame 5|cannot read"),
        (lambda data: data[:-1000] + b"\x7f" * 1000, "frame 5|cannot read"),
    ],
)
def test_frames_that_are_not_whole_are_refused(system, tmp_path, damage, message):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(InputError, match=message):
        read_simulation(path, topology)


def test_a_file_that_was_cut_is_told_of(system, tmp_path):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    assert stated_frames(path) == FRAMES
    assert stated_frames(tmp_path / "motion.xtc") is None
    path.write_bytes(path.read_bytes()[: int(0.7 * path.stat().st_size)])
    molecule = read_molecule(SimulateConfig(str(path), template=str(topology)))
    assert "its header tells of 5 frames, 3 are there" in molecule.notes


def test_nothing_is_written_beside_the_trajectory(system, tmp_path):
    topology, protein = system
    (tmp_path / "data").mkdir()
    path = written(tmp_path / "data/motion.xtc", topology, protein)
    read_simulation(path, topology)
    assert [file.name for file in path.parent.iterdir()] == ["motion.xtc"]


def test_a_molecule_that_tumbles_does_not_change_its_shape(system, tmp_path):
    topology, protein = system
    turns = np.asarray(random_rotations(jax.random.key(0), FRAMES), float)
    tumbling = protein[:1] @ turns + np.arange(FRAMES)[:, None, None] * 20.0
    path = written(tmp_path / "tumbling.dcd", topology, tumbling)
    molecule = read_molecule(SimulateConfig(str(path), template=str(topology)))
    assert len(molecule.alpha) == 20
    assert len(molecule.atoms) == 100
    np.testing.assert_allclose(
        molecule.positions, molecule.positions[:1].repeat(FRAMES, 0), atol=0.02
    )
    assert any("left out: 7 TIP" in note for note in molecule.notes)


def test_files_that_do_not_belong_together_are_refused(system, tmp_path):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    lines = topology.read_text().splitlines(keepends=True)
    (tmp_path / "short.pdb").write_text("".join(lines[:50]))
    with pytest.raises(InputError, match="same number of atoms") as caught:
        read_simulation(path, tmp_path / "short.pdb")
    assert "belong together" in caught.value.remedy


@pytest.mark.parametrize("ending", [".dcd", ".xtc", ".trr", ".nc"])
def test_damaged_files_are_refused(system, tmp_path, ending):
    topology, _ = system
    (tmp_path / f"noise{ending}").write_bytes(np.random.default_rng(0).bytes(5000))
    with pytest.raises(InputError, match="MDAnalysis cannot read it"):
        read_simulation(tmp_path / f"noise{ending}", topology)
    with pytest.raises(InputError, match="no such file"):
        read_simulation(tmp_path / f"none{ending}", topology)


def test_coordinates_that_are_no_numbers_are_refused(system, tmp_path):
    topology, protein = system
    protein[3, 7, 1] = np.nan
    path = written(tmp_path / "motion.dcd", topology, protein)
    with pytest.raises(InputError, match="frame 4"):
        read_simulation(path, topology)


def test_more_than_fits_is_refused_before_it_is_read(system, tmp_path):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    with pytest.raises(InputError, match="5 frames of 120 atoms"):
        read_simulation(path, topology, limits=Limits(array_bytes=5000))


def test_a_system_without_polymers_is_refused(system, tmp_path):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    (tmp_path / "odd.pdb").write_text(
        topology.read_text().replace(" ILE ", " XYZ ").replace(" CA ", " CX ")
    )
    with pytest.raises(InputError, match="amino acid or a nucleotide"):
        read_simulation(path, tmp_path / "odd.pdb")


def test_coordinates_need_a_topology(tmp_path):
    with pytest.raises(InputError, match="--template"):
        read_molecule(SimulateConfig(str(tmp_path / "motion.xtc")))


def test_without_mdanalysis_the_extra_is_named(system, tmp_path, monkeypatch):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    monkeypatch.setitem(sys.modules, "MDAnalysis", None)
    with pytest.raises(InputError, match=r"cryojax-graph\[md\]"):
        read_simulation(path, topology)


def test_long_lists_are_cut():
    assert listed_residues({"SOL": 11084, "NA": 4}) == "11,084 SOL, 4 NA"
    many = {f"R{i}": 10 - i for i in range(9)}
    assert listed_residues(many).endswith("5 R5 and 3 more kinds")


def test_other_verbs_say_where_such_a_file_belongs(system, tmp_path):
    topology, protein = system
    path = written(tmp_path / "motion.dcd", topology, protein)
    with pytest.raises(InputError, match="without the names of the atoms") as caught:
        describe(path)
    assert "simulate" in caught.value.remedy
