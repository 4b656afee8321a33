"""What a reference says of its point group and of its scale, before images are searched."""

from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io import Map, new_particles, read_map, write_map, write_particles
from cryojax_graph.io.atoms import write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.stacks import write_stack
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import ParticleSet, read_particle_set
from cryojax_graph.jobs.pose import MapConfig, PoseConfig, plan_pose
from cryojax_graph.jobs.pose.reference import Given, read_reference
from cryojax_graph.jobs.pose.symmetry import held_to_symmetry
from cryojax_graph.jobs.refine import RefineConfig, plan_refine

IMAGES, BOX, PIXEL = 16, 48, 4.0
OPTIONS = JobOptions(output="job")


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> Path:
    """Images of noise: what is tested looks at none of them."""
    path = tmp_path_factory.mktemp("images") / "particles.star"
    noise = np.random.default_rng(0).standard_normal((IMAGES, BOX, BOX), np.float32)
    write_stack(path.with_suffix(".mrcs"), noise, pixel_size=PIXEL)
    same = {
        "defocus_u": 1.5e4,
        "defocus_v": 1.5e4,
        "defocus_angle_degrees": 0.0,
        "phase_shift_degrees": 0.0,
        "b_factor": 0.0,
        "voltage_kv": 300.0,
        "spherical_aberration_mm": 2.7,
        "amplitude_contrast": 0.1,
        "pixel_size": PIXEL,
        "box": BOX,
    }
    columns = {name: np.full(IMAGES, value) for name, value in same.items()}
    columns["image_path"] = np.full(IMAGES, "particles.mrcs", np.dtypes.StringDType())
    columns["image_index"] = np.arange(IMAGES)
    write_particles(new_particles(path, columns), path)
    return path


@pytest.fixture(scope="module")
def particles(table) -> ParticleSet:
    return read_particle_set(table, image_root=None)


def molecule() -> np.ndarray:
    """Some residues of a molecule, 25 Å from the origin."""
    atoms = read_demo_molecule()[0]
    points = atoms.positions[atoms.name == "CA"][::12].astype(float)
    return points - points.mean(axis=0) + [22.0, 9.0, 8.0]


def as_map(
    path: Path, positions: np.ndarray, *, box: int = BOX, voxel: float = PIXEL, noise: float = 0.0
) -> Path:
    axis = (np.arange(box) - box // 2) * voxel
    x, y, z = (np.exp(-0.5 * ((axis - c[:, None]) / 3.0) ** 2) for c in positions.T)
    density = np.einsum("nz,ny,nx->zyx", z, y, x, optimize=True)
    grain = np.random.default_rng(1).standard_normal(density.shape) * density.max()
    values = (density + noise * grain).astype(np.float32)
    write_map(path, Map(values, np.full(3, voxel), np.zeros(3)))
    return path


def parts(group: str, axes: Rotation | None = None) -> np.ndarray:
    """A molecule in all places of a point group, its axes turned."""
    own = molecule()
    copies = np.concatenate([own @ g.T for g in symmetry_rotations(group)])
    return copies if axes is None else axes.apply(copies)


def held(path: Path, particles: ParticleSet, symmetry: str, finest: float = 0.0) -> Given:
    given = read_reference(str(path), particles, origin="auto")
    return held_to_symmetry(given, symmetry, str(path), finest=max(finest, given.finest))


@pytest.mark.parametrize(
    ("group", "noise", "finest"),
    [
        *[("C4", 0.05, 0.0), ("D2", 0.0, 40.0), ("d3", 0.05, 40.0), ("T", 0.0, 0.0)],
        *[("I", 0.02, 0.0), ("I3", 0.0, 0.0)],
    ],
)
def test_a_reference_that_has_its_symmetry_raises_no_doubt(
    particles, tmp_path, group, noise, finest
):
    path = as_map(tmp_path / "map.mrc", parts(group), noise=noise)
    assert held(path, particles, group, finest).doubts == ()


@pytest.mark.parametrize(("is_of", "asked"), [("I1", "I"), ("I2", "I1"), ("I3", "I4"), ("O", "T")])
def test_a_group_in_another_setting_is_refused_and_the_right_one_is_named(
    particles, tmp_path, is_of, asked
):
    path = as_map(tmp_path / "map.mrc", parts(is_of))
    with pytest.raises(InputError, match=f"seems to have {is_of}") as refused:
        held(path, particles, asked)
    assert "relion_align_symmetry" in refused.value.remedy


def test_axes_that_lie_elsewhere_are_told(particles, tmp_path):
    """Half way from x to y; then 12 degrees off, where views would still be nearly right."""
    far = Rotation.from_euler("xz", [90.0, 45.0], degrees=True)
    turned = as_map(tmp_path / "far.mrc", parts("D3", far))
    with pytest.raises(InputError, match="turned by D3"):
        held(turned, particles, "D3")
    near = as_map(tmp_path / "near.mrc", parts("D2", Rotation.from_euler("y", 12.0, degrees=True)))
    (doubt,) = held(near, particles, "D2").doubts
    assert "may not have the symmetry asked for" in doubt
    assert "leave --symmetry out" in doubt


def test_a_molecule_without_symmetry_is_refused_with_one(particles, tmp_path):
    path = as_map(tmp_path / "map.mrc", molecule() - [22.0, 9.0, 8.0])
    assert held(path, particles, "C1").doubts == ()
    with pytest.raises(InputError, match="its symmetry"):
        held(path, particles, "C3")


@pytest.mark.parametrize(
    ("is_of", "asked"), [("C2", "C1"), ("D2", "C1"), ("D7", "c1"), ("O", "D4"), ("I2", "D2")]
)
def test_a_symmetry_that_nobody_stated_is_named(particles, tmp_path, is_of, asked):
    path = as_map(tmp_path / "map.mrc", parts(is_of))
    (doubt,) = held(path, particles, asked).doubts
    assert f"give --symmetry {is_of}" in doubt


def test_a_ball_and_a_rod_name_no_group(particles, tmp_path):
    for length in (1.0, 0.3):
        axis = (np.arange(BOX) - BOX // 2) * PIXEL
        z, y, x = np.meshgrid(length * axis, axis, axis, indexing="ij")
        values = np.exp(-(x**2 + y**2 + z**2) / 800).astype(np.float32)
        write_map(tmp_path / "map.mrc", Map(values, np.full(3, PIXEL), np.zeros(3)))
        assert held(tmp_path / "map.mrc", particles, "C1").doubts == ()


def test_the_placeholder_of_a_header_is_told(particles, tmp_path):
    path = as_map(tmp_path / "map.mrc", molecule())
    write_map(path, Map(read_map(path).values, np.ones(3), np.zeros(3)))
    given = read_reference(str(path), particles, origin="auto")
    assert any("give --map.voxel-size 4" in doubt for doubt in given.doubts)
    right = read_reference(str(path), particles, origin="auto", voxel_size=PIXEL)
    assert right.doubts == ()
    assert right.radius == pytest.approx(PIXEL * given.radius)
    assert "voxels of 4 Å" in right.description
    # Of another box, nothing says that it is not 1 Å.
    other = as_map(tmp_path / "other.mrc", molecule() / 4, box=64, voxel=1.0)
    assert read_reference(str(other), particles, origin="auto").doubts == ()


def test_a_map_without_a_voxel_size_is_read_with_one(particles, tmp_path):
    path = as_map(tmp_path / "map.mrc", molecule())
    contents = bytearray(path.read_bytes())
    contents[40:52] = bytes(12)
    path.write_bytes(contents)
    with pytest.raises(InputError, match="no voxel size"):
        read_reference(str(path), particles, origin="auto")
    assert read_reference(str(path), particles, origin="auto", voxel_size=PIXEL).edge == 4 * BOX


def test_a_model_has_no_voxels(particles, tmp_path):
    write_atoms(tmp_path / "model.pdb", read_demo_molecule()[0])
    with pytest.raises(InputError, match="the reference is a model"):
        read_reference(str(tmp_path / "model.pdb"), particles, origin="auto", voxel_size=3.0)


@pytest.mark.parametrize("verb", ["pose", "refine"])
def test_either_verb_asks_its_reference(table, tmp_path, verb):
    """The plan warns of what the job would warn of, and refuses what it would refuse."""
    path = as_map(tmp_path / "map.mrc", parts("D2"))
    write_map(path, Map(read_map(path).values, np.ones(3), np.zeros(3)))

    def actions(**options) -> str:
        if verb == "pose":
            return " ".join(
                plan_pose(PoseConfig(str(table), str(path), **options), options=OPTIONS).actions
            )
        config = RefineConfig(str(table), str(path), low_pass=25.0, **options)
        return " ".join(plan_refine(config, options=OPTIONS).actions)

    assert "give --map.voxel-size 4" in actions()
    with_size = actions(map=MapConfig(4.0))
    assert "give --map.voxel-size" not in with_size
    assert "give --symmetry D2" in with_size
    assert "warn:" not in actions(map=MapConfig(4.0), symmetry="D2")
    with pytest.raises(InputError, match="its symmetry"):
        actions(map=MapConfig(4.0), symmetry="T")
    with pytest.raises(InputError, match=r"--map\.voxel-size"):
        actions(map=MapConfig(0.0))
