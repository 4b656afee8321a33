"""Our maps beside those of ``relion_reconstruct``, of the same particles in the same poses."""

import shutil
import subprocess

import numpy as np
import pytest

from cryojax_graph.forward import blur_map
from cryojax_graph.io import read_map, read_particles
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import write_particles
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.reconstruct import ReconstructConfig, reconstruct
from cryojax_graph.jobs.simulate import SimulateConfig, simulate

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(
        not shutil.which("relion_reconstruct"),
        reason="relion_reconstruct is not installed (Debian package relion)",
    ),
]

IMAGES, BOX, PIXEL = 600, 36, 3.0


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    folder = tmp_path_factory.mktemp("beside")
    write_atoms(folder / "model.pdb", read_demo_molecule()[0])
    config = SimulateConfig(
        str(folder / "model.pdb"), images=IMAGES, box=BOX, pixel_size=PIXEL, snr=0.5
    )
    images = simulate(config, options=JobOptions(output=str(folder / "images")))
    particles = images / "particles.star"
    return particles, reconstruct(
        ReconstructConfig(str(particles)), options=JobOptions(output=str(folder / "ours"))
    )


@pytest.mark.parametrize("half", [1, 2])
def test_a_half_is_the_map_that_relion_makes_of_it(solved, half):
    particles, ours = solved
    table = read_particles(particles)
    chosen = particles.with_name(f"half{half}.star")
    write_particles(subset(table, np.flatnonzero(table.half_set == half)), chosen)
    command = ["relion_reconstruct", "--i", chosen.name, "--o", f"half{half}.mrc", "--ctf"]
    subprocess.run(command, cwd=chosen.parent, check=True, capture_output=True)
    # Finer than this is noise, which a different interpolation weighs differently.
    theirs, density = (
        blur_map(read_map(path).values, 8.0, voxel_size=PIXEL)
        for path in (chosen.with_suffix(".mrc"), ours / f"half{half}.mrc")
    )
    # RELION's sphere reaches a little farther than ours.
    u = np.arange(BOX) - BOX // 2
    inside = u[:, None, None] ** 2 + u[:, None] ** 2 + u**2 < (BOX / 2 - 4) ** 2
    first, second = density[inside], theirs[inside]
    assert np.corrcoef(first, second)[0, 1] > 0.99
    # One scale for both: images are sums of voxels.
    assert abs(first @ second / (second @ second) - 1) < 0.1
