"""Signs and axes against RELION itself: its projections of our maps, its maps of our images.

Every convention is also broken on purpose, and must then cost correlation: a test that a wrong sign
passes would show nothing.
"""

import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import mrcfile
import numpy as np
import pytest

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.image import gaussian_image, map_image
from cryojax_graph.forward.slices import volume_spectrum
from cryojax_graph.geometry.rotations import matrix_from_euler_degrees

pytestmark = [
    pytest.mark.external,
    pytest.mark.skipif(
        not (shutil.which("relion_reconstruct") and shutil.which("relion_project")),
        reason="relion_reconstruct and relion_project are not installed (Debian package relion)",
    ),
]

BOX, PIXEL, ATOMS, WIDTH, IMAGES = 40, 2.5, 14, 3.5, 500
VOLTAGE, ABERRATION, AMPLITUDE = 300.0, 2.7, 0.2
COLUMNS = (
    *("ImageName", "AngleRot", "AngleTilt", "AnglePsi", "OriginXAngst", "OriginYAngst"),
    *("DefocusU", "DefocusV", "DefocusAngle", "PhaseShift", "CtfBfactor", "OpticsGroup"),
)


class Particles(NamedTuple):
    """Columns of a particle table; degrees and Å."""

    angles: np.ndarray
    origins: np.ndarray
    defoci: np.ndarray
    defocus_angles: np.ndarray

    def ctf(self) -> CTF:
        ones = jnp.ones(len(self.angles))
        defocus_u, defocus_v = jnp.asarray(self.defoci.T)
        angle = jnp.deg2rad(jnp.asarray(self.defocus_angles))
        optics = (VOLTAGE * ones, ABERRATION * ones, AMPLITUDE * ones, 0 * ones, 0 * ones)
        return CTF(defocus_u, defocus_v, angle, *optics)

    def rotations(self) -> jax.Array:
        return jax.vmap(matrix_from_euler_degrees)(jnp.asarray(self.angles))


def particles(count: int) -> Particles:
    rng = np.random.default_rng(0)
    angles = np.stack(
        [
            rng.uniform(-180, 180, count),
            np.degrees(np.arccos(rng.uniform(-1, 1, count))),
            rng.uniform(-180, 180, count),
        ],
        axis=1,
    )
    defocus_v = rng.uniform(8000, 14000, count)
    defoci = np.stack([defocus_v + rng.uniform(6000, 9000, count), defocus_v], axis=1)
    origins, defocus_angles = rng.uniform(-9, 9, (count, 2)), rng.uniform(0, 180, count)
    # The table is written with six decimals; the images are made from what it says.
    columns = (angles, origins, defoci, defocus_angles)
    return Particles(*(np.round(column, 6).astype(np.float32) for column in columns))


def molecule() -> np.ndarray:
    """Without symmetry, so that no wrong convention looks right."""
    return np.random.default_rng(1).uniform(-1, 1, (ATOMS, 3)) * [26.0, 20.0, 14.0]


def density() -> np.ndarray:
    """Map of the molecule, in mass per Å³, ``[z, y, x]``."""
    u = (np.arange(BOX) - BOX // 2) * PIXEL
    volume = np.zeros((BOX,) * 3)
    for x, y, z in molecule():
        squared = (u[:, None, None] - z) ** 2 + (u[:, None] - y) ** 2 + (u - x) ** 2
        volume += np.exp(-squared / (2 * WIDTH**2))
    return volume / (2 * np.pi * WIDTH**2) ** 1.5


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    table = particles(IMAGES)
    positions, ones = jnp.asarray(molecule(), jnp.float32), jnp.ones(ATOMS)

    def render(rotation: jax.Array, shift: jax.Array, ctf: CTF) -> jax.Array:
        return gaussian_image(
            positions, ones, WIDTH * ones, rotation, shift, ctf, box=BOX, pixel_size=PIXEL
        )

    run = jax.jit(jax.vmap(render))
    return np.asarray(run(table.rotations(), jnp.asarray(table.origins), table.ctf()))


def write_star(path: Path, stack: str, table: Particles) -> None:
    optics = {
        "OpticsGroup": 1,
        "OpticsGroupName": "opticsGroup1",
        "Voltage": VOLTAGE,
        "SphericalAberration": ABERRATION,
        "AmplitudeContrast": AMPLITUDE,
        "ImagePixelSize": PIXEL,
        "ImageSize": BOX,
        "ImageDimensionality": 2,
    }
    lines = ["data_optics", "", "loop_", *(f"_rln{name}" for name in optics)]
    lines += [" ".join(map(str, optics.values())), "", "data_particles", "", "loop_"]
    lines += [f"_rln{name}" for name in COLUMNS]
    for i in range(len(table.angles)):
        numbers = np.concatenate(
            [table.angles[i], table.origins[i], table.defoci[i], table.defocus_angles[i : i + 1]]
        )
        values = " ".join(f"{number:.6f}" for number in numbers)
        lines.append(f"{i + 1:06d}@{stack} {values} 0.0 0.0 1")
    path.write_text("\n".join(lines) + "\n")


def run(folder: Path, *command: str) -> None:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def write_map(path: Path, data: np.ndarray, stack: bool = False) -> None:
    with mrcfile.new(path) as file:
        file.set_data(data.astype(np.float32))
        if stack:
            file.set_image_stack()
        file.voxel_size = PIXEL


def correlation(first: np.ndarray, second: np.ndarray) -> float:
    return float(np.corrcoef(first.ravel(), second.ravel())[0, 1])


def reconstruct(folder: Path, images: np.ndarray, table: Particles) -> float:
    """Correlation of RELION's map with the molecule's."""
    write_map(folder / "images.mrcs", images, stack=True)
    write_star(folder / "particles.star", "images.mrcs", table)
    run(
        folder,
        "relion_reconstruct",
        "--i",
        "particles.star",
        "--o",
        "map.mrc",
        "--ctf",
        "--pad",
        "1",
    )
    with mrcfile.open(folder / "map.mrc") as file:
        return correlation(np.asarray(file.data), density())


def test_relion_reconstructs_the_molecule_from_our_images(tmp_path, images):
    assert reconstruct(tmp_path, images, particles(IMAGES)) > 0.95


def mirrored_tilt(table: Particles) -> Particles:
    return table._replace(angles=table.angles * [1, -1, 1])


def inverted_rotation(table: Particles) -> Particles:
    return table._replace(angles=-table.angles[:, ::-1])


WRONG = {
    "shift of the other sign": lambda table: table._replace(origins=-table.origins),
    "shift with x and y exchanged": lambda table: table._replace(origins=table.origins[:, ::-1]),
    "rotation from image to object": inverted_rotation,
    "tilt of the other sign": mirrored_tilt,
    "defocus axis turned by 90 degrees": lambda table: table._replace(defoci=table.defoci[:, ::-1]),
    "defocus angle of the other sign": lambda table: table._replace(
        defocus_angles=-table.defocus_angles
    ),
    "overfocus": lambda table: table._replace(defoci=-table.defoci),
}


# Of the right map 0.97; a wrong axis of weak astigmatism costs least.
MOST = dict.fromkeys(WRONG, 0.91) | {"shift of the other sign": 0.5, "overfocus": -0.3}


@pytest.mark.parametrize("mistake", WRONG)
def test_a_wrong_convention_costs_correlation(tmp_path, images, mistake):
    assert reconstruct(tmp_path, images, WRONG[mistake](particles(IMAGES))) < MOST[mistake]


def test_the_contrast_is_relions(tmp_path, images):
    """Protein white: with the contrast inverted the map comes out negative."""
    assert reconstruct(tmp_path, -images, particles(IMAGES)) < -0.95


def test_relion_projects_our_map_as_we_do(tmp_path):
    count = 6
    table = particles(count)
    write_map(tmp_path / "map.mrc", density())
    write_star(tmp_path / "angles.star", "none.mrcs", table)
    run(
        tmp_path,
        *("relion_project", "--i", "map.mrc", "--o", "projected", "--ang", "angles.star", "--ctf"),
        *("--angpix", str(PIXEL)),
    )
    with mrcfile.open(tmp_path / "projected.mrcs") as file:
        theirs = np.asarray(file.data)
    prepared = volume_spectrum(jnp.asarray(density(), jnp.float32), voxel_size=PIXEL)

    def render(rotation: jax.Array, shift: jax.Array, ctf: CTF) -> jax.Array:
        return map_image(prepared, rotation, shift, ctf, box=BOX, pixel_size=PIXEL)

    ours = np.asarray(
        jax.jit(jax.vmap(render))(table.rotations(), jnp.asarray(table.origins), table.ctf())
    )
    for mine, relions in zip(ours, theirs, strict=True):
        assert correlation(mine, relions) > 0.999
    others = [correlation(mine, relions) for mine, relions in zip(ours, theirs[::-1], strict=True)]
    assert max(others) < 0.95
