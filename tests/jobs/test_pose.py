"""``pose`` from end to end on small sets with known poses."""

import html
import inspect
import json
import re
import shlex
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
import pytest

from cryojax_graph.forward.density import density_of_gaussians
from cryojax_graph.geometry import symmetry_rotations
from cryojax_graph.io import (
    Map,
    read_map,
    read_particles,
    with_columns,
    write_map,
    write_particles,
)
from cryojax_graph.io.atoms import read_atoms, write_atoms
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.io.stacks import open_stack, write_stack
from cryojax_graph.jobs.demo_data import read_demo_molecule
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.particles import read_particle_set
from cryojax_graph.jobs.pose import MapConfig, PoseConfig, plan_pose, pose
from cryojax_graph.jobs.pose.searcher import Searcher
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.metrics import pose_errors, shift_errors

IMAGES, BOX, PIXEL = 48, 32, 3.0


class Case(NamedTuple):
    particles: Path
    model: Path
    rotation: np.ndarray
    shift: np.ndarray


@pytest.fixture(scope="module")
def case(tmp_path_factory) -> Case:
    folder = tmp_path_factory.mktemp("pose") / "simulated"
    model = folder.parent / "model.pdb"
    write_atoms(model, read_demo_molecule()[0])
    config = SimulateConfig(
        input=str(model),
        images=IMAGES,
        box=BOX,
        pixel_size=PIXEL,
        snr=1.0,
    )
    simulate(config, options=JobOptions(output=str(folder), seed=1))
    table = read_particles(folder / "particles.star")
    rotation = rotation_from_euler(table.euler_degrees)
    return Case(folder / "particles.star", folder / "reference.cif", rotation, table.shift_angstrom)


def run(config: PoseConfig, folder: Path):
    options = JobOptions(output=str(folder))
    table = read_particles(pose(config, options=options) / "particles.star")
    metrics = json.loads((folder / "metrics.json").read_text())
    manifest = json.loads((folder / "manifest.json").read_text())
    return table, metrics, manifest


def errors(table, case: Case):
    found = rotation_from_euler(table.euler_degrees)
    rotation = pose_errors(found, case.rotation).rotation_degrees
    return rotation, shift_errors(table.shift_angstrom, case.shift, case.rotation)


def as_map(
    case: Case,
    path: Path,
    *,
    voxel: float,
    size: int,
    hand: tuple[float, ...] = (1.0, 1.0, 1.0),
    group: str = "C1",
) -> Path:
    frame = read_atoms(case.model).positions * np.array(hand)
    frame = np.concatenate([frame @ element.T for element in symmetry_rotations(group)])
    n = len(frame)
    density = density_of_gaussians(
        jnp.asarray(frame, jnp.float32), jnp.ones(n), jnp.full(n, 2.4), box=size, voxel_size=voxel
    )
    write_map(path, Map(np.asarray(density), np.full(3, voxel), np.zeros(3)))
    return path


@pytest.fixture(scope="module")
def searched(case, tmp_path_factory):
    folder = tmp_path_factory.mktemp("searched") / "job"
    return run(PoseConfig(str(case.particles), str(case.model)), folder)


def test_poses_are_found_from_nothing(case, searched):
    table, metrics, manifest = searched
    rotation, shift = errors(table, case)
    assert np.median(rotation) < 2.5
    assert np.mean(rotation < 10) > 0.95
    assert np.median(shift) < 0.5
    assert metrics["images"] == IMAGES
    assert metrics["poses_within_10_degrees_percent"] > 90
    assert not manifest["warnings"]


def test_the_table_keeps_its_columns_and_says_how_sure_it_is(case, searched):
    before, table = read_particles(case.particles), searched[0]
    for name in ("rlnImageName", "rlnDefocusU", "rlnRandomSubset"):
        np.testing.assert_array_equal(table.columns[name], before.columns[name])
    stated = table.columns["cryojaxgraphRotationDeviation"].astype(float)
    rotation, _ = errors(table, case)
    # Laplace's deviation is of the three angles together, the error their length.
    assert 0.6 < np.sqrt(np.mean(rotation**2) / np.mean(stated**2)) < 1.7


def test_the_frame_is_that_of_the_reference(case, searched):
    found = rotation_from_euler(searched[0].euler_degrees)
    alignment = pose_errors(found, case.rotation).alignment
    np.testing.assert_allclose(alignment, np.eye(3), atol=0.02)


def test_a_map_of_another_box_and_voxel_size_serves_as_well(case, tmp_path):
    path = as_map(case, tmp_path / "map.mrc", voxel=2.1, size=40)
    table, _, _ = run(PoseConfig(str(case.particles), str(path)), tmp_path / "job")
    rotation, shift = errors(table, case)
    assert np.median(rotation) < 4
    assert np.median(shift) < 0.8


def perturbed(case: Case, path: Path, degrees: float) -> Path:
    table = read_particles(case.particles)
    rng = np.random.default_rng(3)
    vector = rng.normal(size=(IMAGES, 3))
    vector *= np.radians(degrees) / np.linalg.norm(vector, axis=1, keepdims=True)
    turn = np.stack([_exponential(v) for v in vector])
    moved = with_columns(table, {"euler_degrees": euler_from_rotation(turn @ case.rotation)})
    write_particles(moved, path)
    return path


def _exponential(vector: np.ndarray) -> np.ndarray:
    angle = np.linalg.norm(vector)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def test_poses_return_from_where_they_were_pushed(case, tmp_path):
    near = perturbed(case, case.particles.parent / "near.star", 10.0)
    config = PoseConfig(str(near), str(case.model), start="given", within=15.0)
    table, metrics, manifest = run(config, tmp_path / "job")
    rotation, _ = errors(table, case)
    assert np.median(rotation) < 2.5
    assert metrics["hand_evidence_mean_nats"] > 4 * metrics["hand_evidence_error_nats"]
    assert not manifest["warnings"]


@pytest.mark.parametrize("hand", [(1.0, 1.0, -1.0), (-1.0, 1.0, 1.0), (-1.0, -1.0, -1.0)])
def test_the_wrong_hand_is_told_where_poses_are_given(case, tmp_path, hand):
    mirror = as_map(case, tmp_path / "mirror.mrc", voxel=3.0, size=BOX, hand=hand)
    config = PoseConfig(str(case.particles), str(mirror), start="given", within=10.0)
    _, metrics, manifest = run(config, tmp_path / "job")
    assert metrics["hand_evidence_mean_nats"] < 0
    assert any("other hand" in text for text in manifest["warnings"])


@pytest.mark.parametrize(("method", "degrees"), [("esl", 7.0), ("mmse", 11.0)])
def test_a_rotation_from_the_whole_grid(case, searched, tmp_path, method, degrees):
    config = PoseConfig(str(case.particles), str(case.model), method=method)
    table, metrics, manifest = run(config, tmp_path / "job")
    rotation, shift = errors(table, case)
    refined, _ = errors(searched[0], case)
    # Coarser than refinement, which costs more.
    assert 1.5 * np.median(refined) < np.median(rotation) < degrees
    assert np.median(shift) < 1.5
    assert table.columns.keys() == searched[0].columns.keys()
    assert metrics.keys() == searched[1].keys()
    assert not manifest["warnings"]


@pytest.mark.parametrize(("ending", "column"), [(".star", "rlnDefocusU"), (".cs", "ctf/df1_A")])
def test_defocus_that_is_off_is_found(case, tmp_path, ending, column):
    before, off = read_particles(case.particles), 400.0
    u, v = before.defocus_u + off, before.defocus_v + off
    stated = case.particles.parent / f"off{ending}"
    write_particles(with_columns(before, {"defocus_u": u, "defocus_v": v}), stated)
    config = PoseConfig(
        str(stated),
        str(case.model),
        start="given",
        within=5.0,
        refine_defocus=True,
        image_root=str(case.particles.parent),
    )
    options = JobOptions(output=str(tmp_path / "job"))
    table = read_particles(pose(config, options=options) / f"particles{ending}")
    metrics = json.loads((tmp_path / "job/metrics.json").read_text())
    change = table.columns[column].astype(float) - u
    np.testing.assert_allclose(table.defocus_v - v, change, atol=1.0)
    deviation = table.columns["cryojaxgraphDefocusDeviation"].astype(float)
    assert 5 < np.median(deviation) < 200
    spread = (change + off) / deviation
    assert 0.5 < np.sqrt(np.mean(spread**2)) < 1.6
    assert metrics["defocus_change_rms_angstrom"] == pytest.approx(
        np.sqrt(np.mean(change**2)), rel=1e-3
    )


def test_defocus_stays_unless_asked_for(searched):
    assert "cryojaxgraphDefocusDeviation" not in searched[0].columns
    assert "defocus_change_rms_angstrom" not in searched[1]


def replaced(case: Case, folder: Path, change) -> Path:
    """The same table over other images."""
    stack = open_stack(case.particles.parent / "particles.mrcs")
    images = change(stack.read(np.arange(IMAGES)))
    folder.mkdir()
    write_stack(folder / "particles.mrcs", images.astype(np.float32), pixel_size=PIXEL)
    (folder / "particles.star").write_text(case.particles.read_text())
    return folder / "particles.star"


@pytest.mark.parametrize(
    ("start", "within", "unknown"), [("search", None, 131.8), ("given", 20.0, 15.5)]
)
def test_noise_is_not_found(case, tmp_path, start, within, unknown):
    rng = np.random.default_rng(0)
    path = replaced(case, tmp_path / "noise", lambda images: rng.normal(size=images.shape))
    config = PoseConfig(str(path), str(case.model), start=start, within=within)
    _, metrics, manifest = run(config, tmp_path / "job")
    assert metrics["rotation_deviation_unknown_degrees"] == pytest.approx(unknown, rel=0.05)
    assert 0.8 * unknown < metrics["rotation_deviation_median_degrees"] < 1.5 * unknown
    (warning,) = (text for text in manifest["warnings"] if "do not tell their orientation" in text)
    assert "a symmetry that --symmetry does not state" in warning


def test_noise_is_not_found_however_near_it_is_sought(case, tmp_path):
    rng = np.random.default_rng(0)
    path = replaced(case, tmp_path / "noise", lambda images: rng.normal(size=images.shape))
    config = PoseConfig(str(path), str(case.model), start="given", within=5.0)
    _, metrics, manifest = run(config, tmp_path / "job")
    assert metrics["rotation_deviation_median_degrees"] < 10
    assert any("hardly more probable with the particle" in text for text in manifest["warnings"])


def test_a_reference_away_from_the_middle_of_its_box_is_told(case, tmp_path):
    path = as_map(case, tmp_path / "map.mrc", voxel=3.0, size=BOX)
    density = read_map(path)
    moved = np.roll(density.values, 5, axis=2)
    write_map(path, Map(moved, density.voxel_size, density.origin))
    _, metrics, manifest = run(PoseConfig(str(case.particles), str(path)), tmp_path / "job")
    assert metrics["shifts_beyond_range_percent"] > 25
    assert any("to the middle of its box" in text for text in manifest["warnings"])


def test_doubts_of_the_reference_are_warned_of_before_the_search(case, tmp_path, monkeypatch):
    monkeypatch.setattr("cryojax_graph.jobs.pose.run.survey_once", _stop)
    path = as_map(case, tmp_path / "map.mrc", voxel=3.0, size=BOX, group="C2")

    def warnings(folder: Path, **options) -> str:
        config = PoseConfig(str(case.particles), str(path), **options)
        with pytest.raises(KeyboardInterrupt):
            run(config, folder)
        return " ".join(json.loads((folder / "manifest.json").read_text())["warnings"])

    assert "give --symmetry C2" in warnings(tmp_path / "unstated")
    assert warnings(tmp_path / "stated", symmetry="C2") == ""
    write_map(path, Map(read_map(path).values, np.ones(3), np.zeros(3)))
    assert "give --map.voxel-size 3" in warnings(tmp_path / "nominal")
    assert warnings(tmp_path / "sized", symmetry="C2", map=MapConfig(3.0)) == ""


def test_the_command_of_the_page_finds_the_images(case, searched):
    """The table keeps their names, and they are not in the folder of the job."""
    written = Path(searched[0].source)
    page = html.unescape((written.parent / "report.html").read_text())
    command = re.search("cryojax-graph flex (.*?) --template", page)
    assert command
    name, option, root = shlex.split(command[1])
    assert option == "--image-root"
    images = read_particle_set(written.parent / name, image_root=root).images
    given = read_particle_set(case.particles, image_root=None).images
    assert images.fingerprint() == given.fingerprint()
    with pytest.raises(InputError, match="no file"):
        read_particle_set(written, image_root=None)


def test_commands_of_a_flex_page_name_the_folder_of_the_images():
    from cryojax_graph.jobs.flex.report import _table_commands

    particles = SimpleNamespace(image_root=Path("/my data"), table=SimpleNamespace(kind="star"))
    outputs = dict.fromkeys(["motion.cif", "particles.star", "subsets/region_1.star"])
    job = SimpleNamespace(manifest={"outputs": outputs})
    commands = inspect.unwrap(_table_commands)(SimpleNamespace(particles=particles), job)
    assert commands == {
        "particles.star": "cryojax-graph reconstruct particles.star --image-root '/my data' -o map",
        "subsets/region_1.star": "cryojax-graph check subsets/region_1.star "
        "--image-root '/my data'",
    }


def test_dark_particles_are_refused(case, tmp_path):
    path = replaced(case, tmp_path / "dark", lambda images: -images)
    with pytest.raises(InputError, match="turn the contrast"):
        run(PoseConfig(str(path), str(case.model)), tmp_path / "job")


def test_an_interrupted_search_goes_on(case, tmp_path, monkeypatch, searched):
    from cryojax_graph.jobs.pose import run as stages

    config = PoseConfig(str(case.particles), str(case.model))
    with monkeypatch.context() as patched:
        patched.setattr(stages, "write_poses", _stop)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "job")
    looked_at: list[int] = []
    find = Searcher.find

    def counted(self, search, images, *rest, **more):
        looked_at.append(len(images))
        return find(self, search, images, *rest, **more)

    monkeypatch.setattr(Searcher, "find", counted)
    table, metrics, _ = run(config, tmp_path / "job")
    np.testing.assert_array_equal(table.euler_degrees, searched[0].euler_degrees)
    # Neither the images nor the sample are searched again, and the page has what was told of it.
    assert looked_at == []
    assert metrics.keys() == searched[1].keys()


def test_an_interrupted_search_goes_on_from_the_sample(case, tmp_path, monkeypatch):
    """As it would have gone on, given poses and their hand included."""
    from cryojax_graph.jobs.pose import run as stages

    config = PoseConfig(str(case.particles), str(case.model), start="given", within=5.0)
    whole = run(config, tmp_path / "whole")
    with monkeypatch.context() as patched:
        patched.setattr(stages, "search_all", _stop)
        with pytest.raises(KeyboardInterrupt):
            run(config, tmp_path / "job")
    monkeypatch.setattr("cryojax_graph.jobs.pose.survey.survey", _stop)
    again = run(config, tmp_path / "job")
    for name in ("euler_degrees", "shift_angstrom"):
        np.testing.assert_array_equal(getattr(again[0], name), getattr(whole[0], name))
    for name in ("hand_evidence_mean_nats", "hand_evidence_error_nats", "evidence_mean_nats"):
        assert again[1][name] == whole[1][name]


def _stop(*arguments):
    raise KeyboardInterrupt


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"symmetry": "X3"}, "--symmetry"),
        ({"within": 0.0, "start": "given"}, "--within"),
        ({"within": 5.0}, "--start given"),
        ({"shift_range": 1000.0}, "more than half of the image"),
        ({"reference": "dark"}, "none is above 0"),
        ({"resolution": 90.0}, "--resolution: details of 90 Å are too coarse"),
        ({"reference": "particles"}, "not a map or an atomic model"),
        ({"defocus_deviation": 0.0, "refine_defocus": True}, "--defocus-deviation"),
        ({"defocus_deviation": 300.0}, "--refine-defocus"),
        ({"method": "esl", "start": "given"}, "--start given"),
        ({"method": "mmse", "refine_defocus": True}, "--refine-defocus"),
        ({"map": MapConfig(3.0)}, "the reference is a model"),
        ({"map": MapConfig(-3.0)}, "--map.voxel-size: it is -3"),
        ({"symmetry": "I"}, "its symmetry: turned by I"),
    ],
)
def test_what_cannot_be_used_is_refused_before_a_folder_is_made(case, tmp_path, changes, message):
    config = PoseConfig(str(case.particles), str(case.model))
    if changes.get("reference") == "particles":
        changes = {"reference": str(case.particles)}
    if changes.get("reference") == "dark":
        dark = as_map(case, tmp_path / "dark.mrc", voxel=3.0, size=BOX)
        density = read_map(dark)
        values = -np.where(density.values > 0.2 * density.values.max(), density.values, 0.0)
        write_map(dark, Map(values.astype(np.float32), density.voxel_size, density.origin))
        changes = {"reference": str(dark)}
    with pytest.raises(InputError, match=message):
        pose(replace(config, **changes), options=JobOptions(output=str(tmp_path / "job")))
    assert not (tmp_path / "job").exists()


def test_given_poses_must_be_there(case, tmp_path):
    text = case.particles.read_text().replace("_rlnAngleRot", "_rlnAngleOther")
    path = case.particles.parent / "without.star"
    path.write_text(text)
    config = PoseConfig(str(path), str(case.model), start="given")
    with pytest.raises(InputError, match="poses"):
        pose(config, options=JobOptions(output=str(tmp_path / "job")))


def test_the_plan_says_what_is_searched(case):
    plan = plan_pose(
        PoseConfig(str(case.particles), str(case.model)), options=JobOptions(output="job")
    )
    assert f"{IMAGES} images" in plan.actions[0]
    assert "views" in plan.actions[0]
    assert plan.memory_bytes > 0


def test_symmetry_leaves_views_out(case, tmp_path):
    path = as_map(case, tmp_path / "map.mrc", voxel=3.0, size=BOX, group="D2")

    def views(symmetry: str) -> int:
        config = PoseConfig(str(case.particles), str(path), symmetry=symmetry)
        plan = plan_pose(config, options=JobOptions(output="job"))
        return int(plan.actions[0].split(" views")[0].split()[-1].replace(",", ""))

    assert views("D2") == views("C1") // 4


def masked(image):
    y, x = np.mgrid[:BOX, :BOX] - BOX // 2
    return image * (np.hypot(x, y) < 0.42 * BOX)


def test_empty_corners_do_not_tell_the_noise(case, tmp_path):
    table, metrics, _ = run(
        PoseConfig(str(replaced(case, tmp_path / "masked", masked)), str(case.model)),
        tmp_path / "job",
    )
    assert np.median(errors(table, case)[0]) < 3.5
    assert np.isfinite(metrics["evidence_mean_nats"])


def test_dark_images_with_empty_corners_are_refused(case, tmp_path):
    dark = replaced(case, tmp_path / "dark", lambda image: -masked(image))
    with pytest.raises(InputError, match="dark where the reference has mass"):
        run(PoseConfig(str(dark), str(case.model)), tmp_path / "job")
