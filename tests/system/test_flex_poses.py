"""``flex`` when poses are wrong or unknown, on a hinge that opens."""

import json
import shutil

import numpy as np
import pytest
from hinge import settings
from scipy.spatial.transform import Rotation

from cryojax_graph.io.errors import InputError
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.io.particle_table import subset
from cryojax_graph.io.particles import read_particles, with_columns, write_particles
from cryojax_graph.io.poses import euler_from_rotation, rotation_from_euler
from cryojax_graph.jobs.flex import flex, plan_flex
from cryojax_graph.jobs.options import JobOptions

OFF_DEGREES, OFF_ANGSTROM = 10.0, 2.0
# Images whose poses are sought: as many as are searched at a time, as fewer take as long.
SEARCHED = 64


def poses_of(path):
    table = read_particles(path)
    return rotation_from_euler(np.asarray(table.euler_degrees)), np.asarray(table.shift_angstrom)


def angles(first, second):
    cosine = (np.einsum("nij,nij->n", first, second) - 1) / 2
    return np.degrees(np.arccos(np.clip(cosine, -1, 1)))


def metrics(job):
    return json.loads((job / "metrics.json").read_text())


@pytest.fixture(scope="module")
def wrong(images, tmp_path_factory):
    """The particles with every pose wrong by an angle about a random axis, and by a shift."""
    folder = tmp_path_factory.mktemp("wrong") / "images"
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
def refined(wrong, tmp_path_factory):
    folder = tmp_path_factory.mktemp("refined") / "job"
    return flex(settings(wrong, poses="refine"), options=JobOptions(output=str(folder)))


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


def test_poses_are_found_together_with_the_motion(images, tmp_path):
    folder = tmp_path / "images"
    shutil.copytree(images, folder)
    whole = read_particles(folder / "particles.star")
    table = subset(whole, np.arange(SEARCHED))
    nowhere = {
        "euler_degrees": np.zeros((len(table), 3)),
        "shift_angstrom": np.zeros((len(table), 2)),
    }
    write_particles(with_columns(table, nowhere), folder / "particles.star")
    truth = read_npz(folder / "truth.npz")
    write_npz(
        folder / "truth.npz",
        {k: v[:SEARCHED] if v.shape[:1] == (len(whole),) else v for k, v in truth.items()},
    )
    config = settings(
        folder,
        poses="search",
        pose_rounds=1,
        # As many steps as there would be for more images.
        epochs=80,
        held_out=0.0,
        truth=str(folder / "truth.npz"),
    )
    job = flex(config, options=JobOptions(output=str(tmp_path / "job")))
    true_rotation = poses_of(images / "particles.star")[0][:SEARCHED]
    rotation, _ = poses_of(job / "particles.star")
    # The hinge has two arms alike: a half turn about its axis hardly changes an image.
    half = np.diag([-1.0, -1.0, 1.0])
    errors = np.minimum(angles(rotation, true_rotation), angles(rotation @ half, true_rotation))
    assert np.median(errors) < 8.0
    found = metrics(job)
    constant = found["constant_structure_rmsd_superposed_mean_angstrom"]
    assert found["rmsd_superposed_mean_angstrom"] < 1.5 * constant
    # Images cannot tell the error of poses that were fitted to their noise.
    assert "given_pose_error_rms_degrees" not in found
    assert "found in the same images" in (job / "report.html").read_text()


def test_a_finished_model_mends_the_poses_of_new_images(refined, wrong, images, tmp_path):
    config = settings(wrong, preset="default", epochs=None, poses="refine", fitted=str(refined))
    job = flex(config, options=JobOptions(output=str(tmp_path / "job")))
    true_rotation, _ = poses_of(images / "particles.star")
    rotation, _ = poses_of(job / "particles.star")
    assert np.median(angles(rotation, true_rotation)) < 0.5 * OFF_DEGREES


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
