"""``flex`` when poses are wrong or unknown, on a hinge that opens."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from hinge import FRAMES, hinge, settings
from scipy.spatial.transform import Rotation

from cryojax_graph.io.atom_table import select_atoms
from cryojax_graph.io.atoms import read_atoms, write_atoms, write_models
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.npz import read_npz
from cryojax_graph.io.particles import read_particles, with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.io.trajectories import read_trajectory
from cryojax_graph.jobs.flex import PoseSearchConfig, flex, plan_flex, run
from cryojax_graph.jobs.flex.pose_search import SearchCost
from cryojax_graph.jobs.flex.problem import read_inputs
from cryojax_graph.jobs.options import JobOptions
from cryojax_graph.jobs.simulate import SimulateConfig, simulate
from cryojax_graph.metrics import pose_errors
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig, PoseConfig

OFF_DEGREES, OFF_ANGSTROM = 10.0, 2.0
# Images whose poses are searched for: as many as are searched at a time, as fewer take as long.
SEARCHED = 64


def poses_of(path):
    table = read_particles(path)
    return rotation_from_euler(np.asarray(table.euler_degrees)), np.asarray(table.shift_angstrom)


def angles(first, second):
    cosine = (np.einsum("nij,nij->n", first, second) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def metrics(job):
    return json.loads((job / "metrics.json").read_text())


def with_wrong_poses(images, folder):
    """A copy of images with every pose wrong by an angle about a random axis, and by a shift."""
    shutil.copytree(images, folder)
    rotation, shift = poses_of(folder / "particles.star")
    rng = np.random.default_rng(2)
    axis = rng.normal(size=(len(rotation), 3))
    axis *= np.radians(OFF_DEGREES) / np.linalg.norm(axis, axis=1, keepdims=True)
    direction = rng.normal(size=(len(rotation), 2))
    direction *= OFF_ANGSTROM / np.linalg.norm(direction, axis=1, keepdims=True)
    table = with_columns(
        read_particles(folder / "particles.star"),
        {
            "euler_degrees": euler_from_rotation(Rotation.from_rotvec(axis).as_matrix() @ rotation),
            "shift_angstrom": shift + direction,
        },
    )
    write_particles(table, folder / "particles.star")
    return folder


@pytest.fixture(scope="module")
def wrong(images, tmp_path_factory):
    return with_wrong_poses(images, tmp_path_factory.mktemp("wrong") / "images")


@pytest.fixture(scope="module")
def refined(wrong, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refined") / "job"
    config = settings(wrong, poses="refine", held_out=0.15)
    return flex(config, options=JobOptions(output=str(folder)))


def test_wrong_poses_are_mended_with_the_motion(refined, images):
    true_rotation, true_shift = poses_of(images / "particles.star")
    rotation, shift = poses_of(refined / "particles.star")
    assert np.median(angles(rotation, true_rotation)) < 0.5 * OFF_DEGREES
    assert np.median(np.linalg.norm(shift - true_shift, axis=1)) < 0.5 * OFF_ANGSTROM
    found = metrics(refined)
    assert 0.7 * OFF_DEGREES < found["given_pose_error_rms_degrees"] < 1.4 * OFF_DEGREES
    shift_error = found["given_pose_shift_error_rms_angstrom"]
    assert 0.6 * OFF_ANGSTROM < shift_error < 1.6 * OFF_ANGSTROM
    template = found["template_rmsd_superposed_mean_angstrom"]
    assert found["rmsd_superposed_mean_angstrom"] < 0.7 * template


def motion_gain(job):
    """Of held-out images, in standard errors."""
    found = metrics(job)
    gain = found["held_out_motion_gain_mean_nats"]
    return gain / found["held_out_motion_gain_standard_error_nats"]


def test_motion_is_confirmed_by_images_whose_given_poses_are_wrong(refined):
    assert motion_gain(refined) > 3.0


def test_wrong_poses_are_not_taken_for_motion(tmp_path):
    atoms, positions = hinge()
    write_models(tmp_path / "one.cif", atoms, positions[FRAMES // 2 :][:1])
    config = SimulateConfig(
        input=str(tmp_path / "one.cif"), images=240, box=36, pixel_size=2.2, snr=0.5
    )
    images = simulate(config, options=JobOptions(output=str(tmp_path / "images"), seed=1))
    wrong = with_wrong_poses(images, tmp_path / "wrong")
    config = settings(wrong, poses="refine", held_out=0.25, epochs=60, truth=None)
    job = flex(config, options=JobOptions(output=str(tmp_path / "job"), seed=1))
    assert motion_gain(job) < 2.0


def test_mended_poses_reach_every_output(refined, images):
    table = read_particles(refined / "particles.star")
    assert len(table) == len(read_particles(images / "particles.star"))
    for name in ("cryojaxgraphRotationDeviation", "cryojaxgraphShiftDeviation"):
        assert (np.asarray(table.columns[name], float) > 0).all()
    parts = [read_particles(path) for path in sorted((refined / "subsets").iterdir())]
    every = {tuple(row) for part in parts for row in np.round(part.euler_degrees, 3)}
    assert every == {tuple(row) for row in np.round(table.euler_degrees, 3)}
    # What is not the pose of the simulation must not be compared with it.
    assert "euler_degrees" not in read_npz(refined / "conformations.npz")
    assert "Poses" in (refined / "report.html").read_text()


def test_true_poses_are_left_nearly_where_they_are(images, tmp_path):
    config = settings(images, poses="refine", held_out=0.0)
    job = flex(config, options=JobOptions(output=str(tmp_path / "job")))
    true_rotation, _ = poses_of(images / "particles.star")
    rotation, _ = poses_of(job / "particles.star")
    assert np.median(angles(rotation, true_rotation)) < 3.0
    found = metrics(job)
    constant = found["constant_structure_rmsd_superposed_mean_angstrom"]
    assert found["rmsd_superposed_mean_angstrom"] < constant


@pytest.fixture(scope="module")
def lopsided(tmp_path_factory):
    """Images of a hinge with one arm shorter, so that no other pose of it looks alike.

    The template is half open, and stands farther from the zero of its file than shifts are sought.
    """
    folder = tmp_path_factory.mktemp("lopsided")
    atoms, positions = hinge()
    kept = np.arange(len(atoms)) >= 4 * 6
    atoms, positions = select_atoms(atoms, kept), positions[:, kept]
    write_models(folder / "opening.cif", atoms, positions)
    config = SimulateConfig(
        input=str(folder / "opening.cif"), images=SEARCHED, box=36, pixel_size=2.2, snr=6.0
    )
    job = simulate(config, options=JobOptions(output=str(folder / "images")))
    first = read_atoms(job / "reference.cif")
    moved = first.positions + positions[FRAMES // 2] - positions[0] + np.float32([9, -8, 6])
    write_atoms(folder / "template.cif", replace(first, positions=moved))
    return job


def test_poses_are_found_together_with_the_motion(lopsided, tmp_path):
    true = read_particles(lopsided / "particles.star")
    nowhere = {"euler_degrees": np.zeros((SEARCHED, 3)), "shift_angstrom": np.zeros((SEARCHED, 2))}
    write_particles(with_columns(true, nowhere), lopsided / "nowhere.star")
    template = lopsided.parent / "template.cif"
    config = settings(
        lopsided,
        particles=str(lopsided / "nowhere.star"),
        template=str(template),
        poses="search",
        search=PoseSearchConfig(1),
        # As many steps as there would be for more images.
        epochs=250,
        held_out=0.0,
    )
    job = flex(config, options=JobOptions(output=str(tmp_path / "job")))
    rotations = (poses_of(path)[0] for path in (job / "particles.star", true.source))
    errors = pose_errors(*rotations).rotation_degrees
    assert np.median(errors) < 5.0
    assert np.mean(errors < 10.0) > 0.9
    found = metrics(job)
    constant = found["constant_structure_rmsd_superposed_mean_angstrom"]
    assert found["rmsd_superposed_mean_angstrom"] < 0.85 * constant
    # The movie is where the file of the template is.
    movie, given = (read_trajectory(path).positions for path in (job / "motion.cif", template))
    np.testing.assert_allclose(movie.mean(axis=(0, 1)), given.mean(axis=(0, 1)), atol=1.5)
    # Images cannot tell the error of poses that were fitted to their noise.
    assert "given_pose_error_rms_degrees" not in found
    assert "found in the same images" in (job / "report.html").read_text()


def test_a_finished_model_mends_the_poses_of_new_images(refined, wrong, images, tmp_path):
    config = settings(wrong, preset="default", epochs=None, poses="refine", fitted=str(refined))
    job = flex(config, options=JobOptions(output=str(tmp_path / "job")))
    true_rotation, _ = poses_of(images / "particles.star")
    rotation, _ = poses_of(job / "particles.star")
    assert np.median(angles(rotation, true_rotation)) < 0.5 * OFF_DEGREES


def test_poses_are_fitted_where_it_is_asked_for_whatever_an_earlier_job_did(refined, wrong):
    earlier = {"preset": "default", "epochs": None, "truth": None, "fitted": str(refined)}
    for poses in ("known", "refine", "search"):
        model = read_inputs(settings(wrong, poses=poses, **earlier)).model
        assert model.poses.fitted is (poses != "known")
        assert model.poses.error_fitted is (poses != "search")


def test_a_setting_of_the_model_does_not_make_known_poses_unknown(images):
    model = BackboneGraphConfig(poses=PoseConfig(fitted=True))
    with pytest.raises(InputError, match="takes poses as they are"):
        read_inputs(settings(images, preset="default", epochs=None, model=model))


def test_the_published_objective_cannot_fit_poses(images, tmp_path):
    with pytest.raises(InputError, match="takes poses as they are"):
        flex(
            settings(images, preset="paper", poses="refine"),
            options=JobOptions(output=str(tmp_path / "job")),
        )


@pytest.mark.parametrize("poses", ["refine", "search"])
def test_the_plan_tells_what_becomes_of_poses(images, tmp_path, poses):
    options = JobOptions(output=str(tmp_path / "job"))
    known = plan_flex(settings(images), options=options)
    plan = plan_flex(settings(images, poses=poses), options=options)
    assert plan.seconds > known.seconds
    assert "particles.star" in plan.outputs
    assert any("poses" in action for action in plan.actions)


def test_the_plan_has_room_for_the_search(images, tmp_path, monkeypatch):
    options, config = JobOptions(output=str(tmp_path / "job")), settings(images, poses="search")
    plan = plan_flex(config, options=options)
    large = SearchCost(seconds_per_image=10.0, memory_bytes=5e9)
    monkeypatch.setattr(run, "cost_of_search", lambda **_: large)
    searched = plan_flex(config, options=options)
    assert searched.memory_bytes >= 5e9 > plan.memory_bytes
    # Once with the template, three times with four conformations.
    assert searched.seconds > 13 * 240 * 10.0 > plan.seconds
