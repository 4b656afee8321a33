import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.metrics.orientations import pose_errors, shift_errors

TRUTH = Rotation.random(200, rng=np.random.default_rng(0)).as_matrix()
COMMON = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
MIRROR = np.diag([1.0, 1.0, -1.0])


def turned_by(degrees: float, axis: int) -> np.ndarray:
    return Rotation.from_rotvec(np.radians(degrees) * np.eye(3)[axis]).as_matrix()


def test_a_common_rotation_of_the_object_is_no_error():
    errors = pose_errors(TRUTH @ COMMON.T, TRUTH)
    np.testing.assert_allclose(errors.rotation_degrees, 0, atol=1e-6)
    np.testing.assert_allclose(errors.out_of_plane_degrees, 0, atol=1e-6)
    np.testing.assert_allclose(errors.alignment, COMMON, atol=1e-9)


def test_in_plane_errors_leave_the_viewing_direction_and_others_do_not():
    in_plane = turned_by(12, 2) @ TRUTH[:5]
    tilted = turned_by(7, 0) @ TRUTH[5:10]
    estimated = np.concatenate([in_plane, tilted, TRUTH[10:]]) @ COMMON.T
    errors = pose_errors(estimated, TRUTH)
    expected = [12] * 5 + [7] * 5 + [0] * 190
    np.testing.assert_allclose(errors.rotation_degrees, expected, atol=1e-6)
    expected = [0] * 5 + [7] * 5 + [0] * 190
    np.testing.assert_allclose(errors.out_of_plane_degrees, expected, atol=1e-6)


def test_a_minority_of_wrong_poses_does_not_move_the_alignment():
    noise = Rotation.from_rotvec(np.random.default_rng(2).normal(0, 0.02, (200, 3))).as_matrix()
    wrong = Rotation.random(80, rng=np.random.default_rng(3)).as_matrix()
    estimated = (noise @ TRUTH) @ COMMON.T
    estimated[:80] = wrong
    errors = pose_errors(estimated, TRUTH)
    apart = Rotation.from_matrix(errors.alignment.T @ COMMON).magnitude()
    assert np.degrees(apart) < 0.5
    assert np.median(errors.rotation_degrees[:80]) > 60
    np.testing.assert_allclose(np.median(errors.rotation_degrees[80:]), 1.76, atol=0.2)


def test_the_other_hand_is_found_only_when_asked_for():
    estimated = MIRROR @ TRUTH @ COMMON.T @ MIRROR
    assert np.median(pose_errors(estimated, TRUTH).rotation_degrees) > 30
    errors = pose_errors(estimated, TRUTH, both_hands=True)
    assert errors.mirrored
    np.testing.assert_allclose(errors.rotation_degrees, 0, atol=1e-6)
    assert not pose_errors(TRUTH, TRUTH, both_hands=True).mirrored


def test_mirrored_poses_give_the_same_projections_of_the_mirrored_object():
    points = np.random.default_rng(4).normal(size=(10, 3))
    images = np.einsum("iab,pb->ipa", TRUTH[:, :2], points)
    mirrored = np.einsum("iab,pb->ipa", (MIRROR @ TRUTH @ MIRROR)[:, :2], points @ MIRROR)
    np.testing.assert_allclose(images, mirrored, atol=1e-12)


def test_one_image_is_always_aligned():
    assert pose_errors(TRUTH[:1], TRUTH[1:2]).rotation_degrees[0] == pytest.approx(0, abs=1e-6)


def test_a_common_offset_of_the_object_is_no_shift_error():
    shifts = np.random.default_rng(5).normal(size=(200, 2))
    offset = np.array([3.0, -1.0, 2.0])
    moved = shifts + TRUTH[:, :2] @ offset
    np.testing.assert_allclose(shift_errors(moved, shifts, TRUTH), 0, atol=1e-9)
    moved[7] += [3.0, 4.0]
    assert shift_errors(moved, shifts, TRUTH)[7] == pytest.approx(5, abs=0.1)
