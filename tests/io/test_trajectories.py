import gemmi
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.io import (
    InputError,
    Trajectory,
    frame_atoms,
    read_atoms,
    read_trajectory,
    write_npz,
    write_trajectory,
)
from cryojax_graph.io.trajectories import rmsd_to_first

FRAMES, RESIDUES = 4, 5


@pytest.fixture
def trajectory(tmp_path):
    rng = np.random.default_rng(0)
    names = np.array(["N", "CA", "C", "O", "CB"] * RESIDUES)
    write_npz(
        tmp_path / "made.npz",
        {
            "coords": rng.normal(0, 9, (FRAMES, 5 * RESIDUES, 3)).astype(np.float32),
            "atom_names": names,
            "res_names": np.repeat(["ALA", "SER", "TRP", "LYS", "MET"], 5),
            "res_ids": np.repeat(np.arange(RESIDUES, dtype=np.int32) + 7, 5),
            "chain_ids": np.repeat(["A", "A", "A", "B", "B"], 5),
        },
    )
    return read_trajectory(tmp_path / "made.npz")


@pytest.mark.parametrize("ending", ["npz", "cif", "pdb"])
def test_a_trajectory_survives_a_round_trip(ending, trajectory, tmp_path):
    path = tmp_path / f"b.{ending}"
    write_trajectory(path, trajectory)
    again = read_trajectory(path)
    np.testing.assert_allclose(again.positions, trajectory.positions, atol=1e-3)
    for field in ("name", "residue_name", "residue_number", "chain", "element"):
        before, after = getattr(trajectory.atoms, field), getattr(again.atoms, field)
        assert after.tolist() == before.tolist()
    assert len(again) == FRAMES
    if ending != "npz":
        structure = gemmi.read_structure(str(path))
        assert len(structure) == FRAMES
        last = structure[-1][0][0][1].pos.tolist()
        np.testing.assert_allclose(last, trajectory.positions[-1, 1], atol=1e-3)


def test_an_npz_holds_the_documented_arrays(trajectory, tmp_path):
    write_trajectory(tmp_path / "b.npz", trajectory)
    with np.load(tmp_path / "b.npz", allow_pickle=False) as arrays:
        shapes = {name: (arrays[name].shape, arrays[name].dtype.kind) for name in arrays}
    n = 5 * RESIDUES
    assert shapes == {
        "coords": ((FRAMES, n, 3), "f"),
        "atom_names": ((n,), "U"),
        "res_names": ((n,), "U"),
        "res_ids": ((n,), "i"),
        "chain_ids": ((n,), "U"),
        "ca_rmsd_to_first": ((FRAMES,), "f"),
    }


def test_one_model_of_several_is_read_by_its_number(trajectory, tmp_path):
    write_trajectory(tmp_path / "b.pdb", trajectory)
    for model in (1, FRAMES):
        atoms = read_atoms(tmp_path / "b.pdb", model=model)
        np.testing.assert_allclose(atoms.positions, trajectory.positions[model - 1], atol=1e-3)
    chosen = frame_atoms(trajectory, 2)
    np.testing.assert_array_equal(chosen.positions, trajectory.positions[2])


def test_rmsd_is_after_superposition_without_mirroring(trajectory):
    rng = np.random.default_rng(1)
    first = trajectory.positions[0].astype(float)
    turned = first @ Rotation.random(random_state=3).as_matrix().T + rng.normal(size=3)
    frames = np.stack([first, turned, first * [1, 1, -1]]).astype(np.float32)
    values = rmsd_to_first(Trajectory(trajectory.atoms, frames))
    np.testing.assert_allclose(values[:2], 0, atol=1e-3)
    alpha = frames[:, trajectory.atoms.name == "CA"].astype(float)
    alpha -= alpha.mean(axis=1, keepdims=True)
    _, residual = Rotation.align_vectors(alpha[0], alpha[2])
    assert values[2] == pytest.approx(residual / np.sqrt(RESIDUES), abs=1e-4)


def test_without_alpha_carbons_there_is_no_rmsd(trajectory):
    names = trajectory.atoms.name.copy()
    names[names == "CA"] = "CX"
    atoms = trajectory.atoms.__class__(**{**vars(trajectory.atoms), "name": names})
    assert np.isnan(rmsd_to_first(Trajectory(atoms, trajectory.positions))).all()


def test_an_unknown_ending_is_refused(trajectory, tmp_path):
    with pytest.raises(InputError, match="names no format"):
        write_trajectory(tmp_path / "b.xtc", trajectory)
