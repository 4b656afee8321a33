"""What the page on the model of motion shows works as it stands there."""

import re
from pathlib import Path

import numpy as np
import pytest

from cryojax_graph.io import AtomTable, write_atoms
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.simulate import SimulateConfig, simulate

PAGE = Path(__file__).parents[2] / "docs/reference/backbone_graph.md"
RESIDUES, IMAGES = 12, 32


def write_helix(path: Path) -> None:
    """C-alpha atoms of a short helix, centred on the origin."""
    angle = np.deg2rad(100.0) * np.arange(RESIDUES)
    helix = np.stack([2.3 * np.cos(angle), 2.3 * np.sin(angle), 1.5 * np.arange(RESIDUES)], axis=1)
    atoms = AtomTable(
        positions=(helix - helix.mean(0)).astype(np.float32),
        element=np.full(RESIDUES, "C"),
        name=np.full(RESIDUES, "CA"),
        residue_name=np.full(RESIDUES, "ALA"),
        residue_number=np.arange(1, RESIDUES + 1, dtype=np.int32),
        insertion_code=np.full(RESIDUES, "", "U1"),
        chain=np.full(RESIDUES, "A"),
        b_factor=np.zeros(RESIDUES, np.float32),
        occupancy=np.ones(RESIDUES, np.float32),
        hetero=np.zeros(RESIDUES, bool),
    )
    write_atoms(path, atoms)


@pytest.mark.skipif(not PAGE.exists(), reason="the page is not beside the tests")
def test_the_python_of_the_page_runs(tmp_path, monkeypatch):
    write_helix(tmp_path / "helix.pdb")
    config = SimulateConfig(
        input=str(tmp_path / "helix.pdb"), images=IMAGES, box=24, pixel_size=2.0, snr=1.0
    )
    simulate(config, options=JobOptions(output=str(tmp_path / "sim")))
    monkeypatch.chdir(tmp_path)
    fit, mixture = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)
    names: dict = {}
    exec(compile(fit, str(PAGE), "exec"), names)
    conformations = np.asarray(names["conformations"])
    assert conformations.shape == (IMAGES, RESIDUES, 3)
    still = names["atoms"].c_alpha
    assert np.abs(conformations - still).max() > 0
    assert np.sqrt(np.mean(np.sum((conformations - still) ** 2, axis=-1))) < 3.0
    alone = np.asarray(names["latents"])
    exec(compile(mixture, str(PAGE), "exec"), names)
    assert names["latents"].shape == alone.shape
    assert np.all(names["deviations"] >= names["config"].mixture.width)
    within = names["few"].min(axis=0) - 1e-6, names["few"].max(axis=0) + 1e-6
    assert np.all((names["latents"] >= within[0]) & (names["latents"] <= within[1]))
