import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from cryojax_graph.geometry.symmetry import symmetry_rotations
from cryojax_graph.metrics.orientations import pose_errors, shift_errors

TRUTH = Rotation.random(200, rng=np.random.default_rng(0)).as_matrix()
COMMON = Rotation.random(rng=np.random.default_rng(1)).as_matrix()
MIRROR = np.diag([1.0, 1.0, -1.0])
GROUPS = ["C1", "C4", "D2", "D7", "T", "O", "I", "I1", "I3", "I4"]


def turned_by(degrees: float, axis: int) -> np.ndarray:
    return Rotation.from_rotvec(np.radians(degrees) * np.eye(3)[axis]).as_matrix()


def any_element(group: str, seed: int) -> np.ndarray:
    """One for every image."""
    elements = symmetry_rotations(group)
    return elements[np.random.default_rng(seed).integers(len(elements), size=len(TRUTH))]


def maps_to_itself(group: str, change: np.ndarray) -> bool:
    elements = symmetry_rotations(group)
    changed = change @ elements @ change.T
    return bool((abs(changed[:, None] - elements).max(axis=(2, 3)).min(axis=1) < 1e-6).all())


def own_mirror(group: str) -> np.ndarray:
    """A coordinate mirror that leaves the axes of the group in place; which one, differs."""
    mirrors = (np.diag(1 - 2 * axis) for axis in np.eye(3))
    return next(mirror for mirror in mirrors if maps_to_itself(group, mirror))


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


@pytest.mark.parametrize("group", GROUPS)
def test_equivalent_poses_are_no_error_wherever_the_axes_of_the_estimate_lie(group):
    estimated = TRUTH @ any_element(group, 6) @ COMMON.T
    errors = pose_errors(estimated, TRUTH, symmetry=group)
    np.testing.assert_allclose(errors.rotation_degrees, 0, atol=1e-6)
    np.testing.assert_allclose(errors.out_of_plane_degrees, 0, atol=1e-6)
    possible = COMMON @ symmetry_rotations(group)
    assert abs(possible - errors.alignment).max(axis=(1, 2)).min() < 1e-9
    if group != "C1":
        assert np.median(pose_errors(estimated, TRUTH).rotation_degrees) > 30


@pytest.mark.parametrize(
    ("group", "turn"),
    [
        ("C4", turned_by(33, 2)),
        ("D2", turned_by(90, 0)),
        ("D7", turned_by(180 / 7, 2)),
        ("T", turned_by(180, 0)),
        ("I3", turned_by(72, 2)),
    ],
)
def test_equivalents_in_the_frame_of_the_estimate_are_no_error_where_the_axes_agree(group, turn):
    """A turn that maps the axes to themselves is what a refinement with that symmetry leaves."""
    assert maps_to_itself(group, turn)
    estimated = TRUTH @ any_element(group, 7) @ turn @ any_element(group, 8)
    errors = pose_errors(estimated, TRUTH, symmetry=group)
    np.testing.assert_allclose(errors.rotation_degrees, 0, atol=1e-6)


@pytest.mark.parametrize("group", GROUPS)
@pytest.mark.parametrize("in_place", [False, True], ids=["turned", "axes in place"])
def test_the_other_hand_of_a_symmetric_object_is_found(group, in_place):
    """Also where the mirror that defines the hand, z to -z, is none of the group's own."""
    second = own_mirror(group) if in_place else MIRROR @ COMMON.T
    estimated = MIRROR @ TRUTH @ any_element(group, 9) @ second
    if in_place:
        estimated = estimated @ any_element(group, 10)
    errors = pose_errors(estimated, TRUTH, both_hands=True, symmetry=group)
    assert errors.mirrored
    np.testing.assert_allclose(errors.rotation_degrees, 0, atol=1e-6)
    assert np.median(pose_errors(estimated, TRUTH, symmetry=group).rotation_degrees) > 10
    assert not pose_errors(TRUTH @ second @ MIRROR, TRUTH, both_hands=True).mirrored


@pytest.mark.parametrize("group", ["C4", "D7", "I"])
def test_noise_and_wrong_poses_are_measured_modulo_the_group(group):
    noise = Rotation.from_rotvec(np.random.default_rng(2).normal(0, 0.02, (200, 3))).as_matrix()
    estimated = noise @ TRUTH @ any_element(group, 11) @ COMMON.T
    estimated[:80] = Rotation.random(80, rng=np.random.default_rng(3)).as_matrix()
    errors = pose_errors(estimated, TRUTH, symmetry=group)
    np.testing.assert_allclose(np.median(errors.rotation_degrees[80:]), 1.76, atol=0.2)
    assert np.median(errors.rotation_degrees[:80]) > 20
    assert (errors.out_of_plane_degrees <= errors.rotation_degrees + 1e-9).all()


def test_symmetry_excuses_no_turn_in_the_plane_of_the_image():
    """The group acts on the object: half a turn of the image is not an element of it."""
    estimated = np.concatenate([turned_by(180, 2) @ TRUTH[:20], TRUTH[20:]])
    errors = pose_errors(estimated, TRUTH, symmetry="C4")
    assert np.median(errors.rotation_degrees[:20]) > 60
    np.testing.assert_allclose(errors.rotation_degrees[20:], 0, atol=1e-6)


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
