"""cryoSPARC's pose vectors in RELION's Euler angles, and back.

``alignments3D/pose`` is a rotation vector whose rotation takes image to object coordinates;
RELION's matrix takes object to image coordinates, and is therefore its transpose. Shifts have one
sign in both programs.
"""

import numpy as np
from jaxtyping import Float64


def rotation_from_euler(degrees: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3 3"]:
    """RELION's rotation matrices, object to image coordinates.

    Args:
        degrees: rot, tilt, psi.

    Returns:
        matrices R with x_image = R x_object.
    """
    rot, tilt, psi = np.deg2rad(degrees).T
    return _about_z(psi) @ _about_y(tilt) @ _about_z(rot)


def euler_from_rotation(matrices: Float64[np.ndarray, "n 3 3"]) -> Float64[np.ndarray, "n 3"]:
    """RELION's angles of rotation matrices.

    Args:
        matrices: rotations, object to image coordinates.

    Returns:
        rot, tilt, psi in degrees, tilt in [0, 180]; rot is 0 where tilt is 0 or 180 and only a
        combination of rot and psi is defined.
    """
    m = matrices
    sine = np.hypot(m[:, 2, 0], m[:, 2, 1])
    tilt = np.arctan2(sine, m[:, 2, 2])
    pole = sine < 1e-9
    rot = np.where(pole, 0.0, np.arctan2(m[:, 2, 1], m[:, 2, 0]))
    psi = np.arctan2(m[:, 1, 2], -m[:, 0, 2])
    # At the poles rot = 0 leaves Rz(psi) Ry(tilt), whose second column is (sin psi, cos psi, 0).
    psi = np.where(pole, np.arctan2(m[:, 0, 1], m[:, 1, 1]), psi)
    return np.rad2deg(np.stack([rot, tilt, psi], axis=1))


def euler_from_pose_vectors(vectors: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """RELION's angles of cryoSPARC's pose vectors.

    Args:
        vectors: axis times angle in radians, image to object coordinates.

    Returns:
        rot, tilt, psi in degrees.
    """
    angle = np.linalg.norm(vectors, axis=1)
    x, y, z = (vectors / np.where(angle > 0, angle, 1.0)[:, None]).T
    zero = np.zeros_like(x)
    cross = np.stack([zero, -z, y, z, zero, -x, -y, x, zero], axis=1).reshape(-1, 3, 3)
    sine, versine = np.sin(angle)[:, None, None], (1 - np.cos(angle))[:, None, None]
    return euler_from_rotation((np.eye(3) + sine * cross + versine * cross @ cross).mT)


def pose_vectors_from_euler(degrees: Float64[np.ndarray, "n 3"]) -> Float64[np.ndarray, "n 3"]:
    """cryoSPARC's pose vectors of RELION's angles.

    Args:
        degrees: rot, tilt, psi.

    Returns:
        axis times angle in radians, angle in [0, π].
    """
    # Through quaternions, closed form for Rz Ry Rz: unlike the antisymmetric part of the matrix,
    # they keep the axis of a half turn.
    rot, tilt, psi = np.deg2rad(degrees).T / 2
    w = np.cos(tilt) * np.cos(psi + rot)
    x = np.sin(tilt) * np.sin(psi - rot)
    y = np.sin(tilt) * np.cos(psi - rot)
    z = np.cos(tilt) * np.sin(psi + rot)
    quaternion = np.stack([w, x, y, z], axis=1) * np.where(w < 0, -1.0, 1.0)[:, None]
    axis = quaternion[:, 1:]
    length = np.linalg.norm(axis, axis=1)
    angle = 2 * np.arctan2(length, quaternion[:, 0])
    return axis * (angle / np.where(length > 0, length, 1.0))[:, None]


def _about_z(angle: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3 3"]:
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([c, s, zero, -s, c, zero, zero, zero, one], axis=1).reshape(-1, 3, 3)


def _about_y(angle: Float64[np.ndarray, " n"]) -> Float64[np.ndarray, "n 3 3"]:
    c, s, zero, one = np.cos(angle), np.sin(angle), np.zeros_like(angle), np.ones_like(angle)
    return np.stack([c, zero, -s, zero, one, zero, s, zero, c], axis=1).reshape(-1, 3, 3)
