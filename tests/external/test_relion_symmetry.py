"""Point groups against RELION itself: its lists of matrices, and a map that it symmetrised."""

import re
import shutil
import subprocess
from pathlib import Path

import mrcfile
import numpy as np
import pytest

from cryojax_graph.geometry.symmetry import symmetry_rotations

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(
        not (shutil.which("relion_refine") and shutil.which("relion_image_handler")),
        reason="relion_refine and relion_image_handler are not installed (Debian package relion)",
    ),
]

GROUPS = ["C1", "C4", "C7", "C99", "D1", "D2", "D7", "T", "O", "I", "I1", "I2", "I3", "I4"]
# RELION prints five digits, and writes the axes of its source with six or seven.
PRINTED = 2e-5
BOX, PIXEL, ATOMS, WIDTH = 40, 2.5, 5, 4.0


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def relions_matrices(folder: Path, group: str) -> np.ndarray:
    said = run(folder, "relion_refine", "--sym", group, "--o", "none", "--print_symmetry_ops")
    matrices = re.findall(r"R\(\d+\)=\s+((?:[-+.e\d]+\s+){9})", said)
    return np.array([matrix.split() for matrix in matrices], float).reshape(-1, 3, 3)


def apart(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return abs(first[:, None] - second).max(axis=(2, 3))


@pytest.mark.parametrize("group", GROUPS)
def test_elements_are_relions(tmp_path, group):
    ours, theirs = symmetry_rotations(group), relions_matrices(tmp_path, group)
    assert len(ours) == len(theirs)
    distance = apart(ours, theirs)
    assert distance.min(axis=0).max() < PRINTED
    assert distance.min(axis=1).max() < PRINTED


def test_another_setting_of_the_axes_would_be_noticed(tmp_path):
    theirs = relions_matrices(tmp_path, "I1")
    assert apart(symmetry_rotations("I2"), theirs).min(axis=0).max() > 0.1


def density(atoms: np.ndarray) -> np.ndarray:
    """``[z, y, x]``."""
    u = (np.arange(BOX) - BOX // 2) * PIXEL
    volume = np.zeros((BOX,) * 3)
    for x, y, z in atoms:
        squared = (u[:, None, None] - z) ** 2 + (u[:, None] - y) ** 2 + (u - x) ** 2
        volume += np.exp(-squared / (2 * WIDTH**2))
    return volume


@pytest.mark.parametrize("group", ["C3", "D3", "T", "I1", "I2", "I3", "I4"])
def test_a_map_that_relion_symmetrised_has_the_symmetry(tmp_path, group):
    """The matrices act on (x, y, z) of our frame: with x and z exchanged the maps differ."""
    atoms = np.random.default_rng(0).uniform(-1, 1, (ATOMS, 3)) * [30.0, 24.0, 18.0]
    with mrcfile.new(tmp_path / "map.mrc") as file:
        file.set_data(density(atoms).astype(np.float32))
        file.voxel_size = PIXEL
    said = ("--i", "map.mrc", "--o", "symmetric.mrc", "--sym", group)
    run(tmp_path, "relion_image_handler", *said)
    with mrcfile.open(tmp_path / "symmetric.mrc") as file:
        theirs = np.asarray(file.data, np.float64)
    elements = symmetry_rotations(group)
    u = (np.arange(BOX) - BOX // 2) * PIXEL
    # RELION leaves the corners out, where a turned map has no values.
    inside = u[:, None, None] ** 2 + u[:, None] ** 2 + u**2 < (BOX // 2 - 2) ** 2 * PIXEL**2

    def correlation(rotations: np.ndarray) -> float:
        ours = density(np.concatenate([atoms @ rotation.T for rotation in rotations]))
        return float(np.corrcoef(ours[inside], theirs[inside])[0, 1])

    assert correlation(elements) > 0.99
    assert correlation(elements[:, ::-1, ::-1]) < 0.9
