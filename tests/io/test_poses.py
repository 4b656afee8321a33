import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from cryojax_graph.io.poses import (
    euler_from_pose_vectors,
    euler_from_rotation,
    pose_vectors_from_euler,
    rotation_from_euler,
)

angles = st.floats(-180, 180)
eulers = st.tuples(angles, st.one_of(st.sampled_from([0.0, 180.0]), st.floats(0, 180)), angles)


def relion_matrix(rot, tilt, psi):
    """RELION's Euler_angles2matrix, written out."""
    a, b, g = np.deg2rad([rot, tilt, psi])
    ca, cb, cg, sa, sb, sg = np.cos(a), np.cos(b), np.cos(g), np.sin(a), np.sin(b), np.sin(g)
    return np.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


@settings(deadline=None)
@given(euler=eulers)
def test_matrices_are_relions_and_angles_come_back(euler):
    degrees = np.array([euler])
    matrix = rotation_from_euler(degrees)
    np.testing.assert_allclose(matrix[0], relion_matrix(*euler), atol=1e-12)
    back = euler_from_rotation(matrix)
    assert 0 <= back[0, 1] <= 180
    np.testing.assert_allclose(rotation_from_euler(back), matrix, atol=1e-7)


@settings(deadline=None)
@given(euler=eulers)
def test_pose_vectors_hold_the_transposed_rotation(euler):
    degrees = np.array([euler])
    vector = pose_vectors_from_euler(degrees)
    assert np.linalg.norm(vector) <= np.pi + 1e-9
    matrix = Rotation.from_rotvec(vector[0]).as_matrix()
    np.testing.assert_allclose(matrix.T, relion_matrix(*euler), atol=1e-9)
    back = euler_from_pose_vectors(vector)
    np.testing.assert_allclose(rotation_from_euler(back)[0], matrix.T, atol=1e-7)


def test_the_zero_vector_is_no_rotation():
    np.testing.assert_array_equal(euler_from_pose_vectors(np.zeros((1, 3))), 0.0)
    np.testing.assert_array_equal(pose_vectors_from_euler(np.zeros((1, 3))), 0.0)


def test_a_vector_longer_than_a_half_turn_is_the_same_rotation():
    vector = np.array([[0.3, -0.5, 0.2]])
    longer = vector * (1 - 2 * np.pi / np.linalg.norm(vector))
    np.testing.assert_allclose(
        euler_from_pose_vectors(longer), euler_from_pose_vectors(vector), atol=1e-9
    )


def test_the_direction_of_pose_vectors_is_that_of_real_data(shared_data):
    """In-plane angles of particles are uniform, whatever the preferred views are.

    Micrographs have no preferred direction, so psi must be uniform and independent of the view;
    with the rotation taken the other way round rot and psi change places. The second harmonic of
    the view's angle is strong in this refinement: n |mean exp(2i angle)|² is 1 for uniform angles.
    """
    name = "particles/metadata_only/cryosparc_P12_J24_001_particles.cs"
    vectors = np.load(shared_data / name)["alignments3D/pose"].astype(np.float64)
    euler = np.deg2rad(euler_from_pose_vectors(vectors))

    def power(values):
        return len(values) * abs(np.exp(2j * values).mean()) ** 2

    assert power(euler[:, 2]) < 10 < 300 < power(euler[:, 0])


@pytest.mark.parametrize("tilt", [1e-10, 180 - 1e-10])
def test_angles_next_to_the_poles_are_stable(tilt):
    matrix = rotation_from_euler(np.array([[30.0, tilt, 40.0]]))
    back = rotation_from_euler(euler_from_rotation(matrix))
    np.testing.assert_allclose(back, matrix, atol=1e-9)
