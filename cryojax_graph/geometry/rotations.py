"""Rotations as matrices, quaternions, RELION's Euler angles, axis-angle vectors and six numbers.

A rotation matrix acts on column vectors. As a pose it takes object to image coordinates. Every
function takes one rotation; callers ``vmap``.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from cryojax_graph.geometry.stable import (
    angle_of,
    axial_vector,
    axis_apart_from,
    length,
    product,
)


def matrix_from_quaternion(quaternion: Float[Array, " 4"]) -> Float[Array, "3 3"]:
    """Rotation matrix of a quaternion of any length.

    Args:
        quaternion: (w, x, y, z), not necessarily of unit length; zero gives the identity.

    Returns:
        the rotation matrix.
    """
    squared = jnp.sum(quaternion**2)
    scale = jnp.where(squared > 0, 2.0 / jnp.where(squared > 0, squared, 1.0), 0.0)
    w, v = quaternion[0], quaternion[1:]
    identity = jnp.eye(3, dtype=quaternion.dtype)
    turn = jnp.outer(v, v) - jnp.sum(v**2) * identity + w * jnp.cross(identity, v)
    return identity + scale * turn


def quaternion_from_matrix(matrix: Float[Array, "3 3"]) -> Float[Array, " 4"]:
    """Unit quaternion (w, x, y, z) of a rotation matrix, with w ≥ 0.

    The sixteen products 4 q_i q_j are linear in the matrix. The row with the largest diagonal is q
    times a factor of at least 2, so nothing is lost by cancellation for any angle (Shepperd 1978).

    Args:
        matrix: a rotation matrix.

    Returns:
        the quaternion; at a half turn, where w = 0, either of the two signs.
    """
    trace, axis = jnp.trace(matrix), axial_vector(matrix)
    symmetric = matrix + matrix.T + (1 - trace) * jnp.eye(3, dtype=matrix.dtype)
    products = jnp.block([[1 + trace, axis[None]], [axis[:, None], symmetric]])
    row = products[jnp.argmax(jnp.diagonal(products))]
    return jnp.where(row[0] < 0, -row, row) / length(row)


def matrix_from_euler_degrees(angles: Float[Array, " 3"]) -> Float[Array, "3 3"]:
    """Rotation matrix of RELION's intrinsic ZYZ Euler angles, R = Rz(psi) Ry(tilt) Rz(rot).

    Args:
        angles: (rot, tilt, psi) in degrees.

    Returns:
        the matrix that takes object to image coordinates.
    """
    radians = jnp.deg2rad(angles)
    (ca, cb, cg), (sa, sb, sg) = jnp.cos(radians), jnp.sin(radians)
    return jnp.array(
        [
            [cg * cb * ca - sg * sa, cg * cb * sa + sg * ca, -cg * sb],
            [-sg * cb * ca - cg * sa, -sg * cb * sa + cg * ca, sg * sb],
            [sb * ca, sb * sa, cb],
        ]
    )


def euler_degrees_from_matrix(matrix: Float[Array, "3 3"]) -> Float[Array, " 3"]:
    """RELION's Euler angles of a rotation matrix; rot is 0 where only its sum with psi is defined.

    Psi is read from the matrix after rot is taken out, so the three together give the matrix back
    at and around tilt 0 and 180 degrees as exactly as elsewhere.

    Args:
        matrix: a rotation matrix.

    Returns:
        (rot, tilt, psi) in degrees, tilt in [0, 180], the others in [-180, 180].
    """
    view = matrix[2]
    rot = angle_of(view[1], view[0])
    tilt = angle_of(length(view[:2]), view[2])
    without_rot = matrix[:, 1] * jnp.cos(rot) - matrix[:, 0] * jnp.sin(rot)
    psi = angle_of(without_rot[0], without_rot[1])
    return jnp.rad2deg(jnp.stack([rot, tilt, psi]))


def exp_map(vector: Float[Array, " 3"]) -> Float[Array, "3 3"]:
    """Rotation matrix of an axis-angle vector, with its true derivatives also at the zero vector.

    Args:
        vector: axis times angle in radians.

    Returns:
        the rotation matrix.
    """
    squared = jnp.sum(vector**2)
    small = squared < 1e-2
    half = 0.5 * jnp.sqrt(jnp.where(small, 1.0, squared))
    cosine = jnp.where(small, 1 - squared / 8 + squared**2 / 384, jnp.cos(half))
    factor = jnp.where(small, 0.5 - squared / 48 + squared**2 / 3840, 0.5 * jnp.sin(half) / half)
    return matrix_from_quaternion(jnp.concatenate([cosine[None], factor * vector]))


def log_map(matrix: Float[Array, "3 3"]) -> Float[Array, " 3"]:
    """Axis-angle vector of a rotation matrix; by way of its quaternion, hence stable near pi.

    Args:
        matrix: a rotation matrix.

    Returns:
        axis times angle in radians, of length at most pi; at exactly pi either of the two.
    """
    w, vector = jnp.split(quaternion_from_matrix(matrix), [1])
    squared = jnp.sum(vector**2)
    small = squared < 1e-4
    sine = jnp.sqrt(jnp.where(small, 1.0, squared))
    tangent = squared / jnp.where(small, w[0] ** 2, 1.0)
    near = 2 / jnp.where(small, w[0], 1.0) * (1 - tangent / 3 + tangent**2 / 5)
    return vector * jnp.where(small, near, 2 * jnp.arctan2(sine, w[0]) / sine)


def matrix_from_two_vectors(
    first: Float[Array, " 3"], second: Float[Array, " 3"]
) -> Float[Array, "3 3"]:
    """Rotation whose first column lies along ``first`` and second in the half plane of ``second``.

    A zero or parallel vector is replaced by a coordinate axis, so the result is always a rotation
    and its gradient always finite.

    Args:
        first: direction of the first column.
        second: any vector not parallel to ``first``.

    Returns:
        the rotation matrix (Gram-Schmidt).
    """
    first = jnp.where(length(first) > 0, first, jnp.eye(3, dtype=first.dtype)[0])
    x = first / length(first)
    # Float32 leaves this much of a parallel vector after the projection.
    sideways = length(second - jnp.dot(x, second) * x) > 1e-6 * length(second)
    second = jnp.where(sideways, second, axis_apart_from(x))
    perpendicular = second - jnp.dot(x, second) * x
    y = perpendicular / length(perpendicular)
    return jnp.stack([x, y, jnp.cross(x, y)], axis=1)


def matrix_from_6d(numbers: Float[Array, " 6"]) -> Float[Array, "3 3"]:
    """Rotation matrix of the continuous six-number representation (Zhou et al. 2019).

    Args:
        numbers: two vectors of three, which become the first two columns after Gram-Schmidt.

    Returns:
        the rotation matrix.
    """
    return matrix_from_two_vectors(numbers[:3], numbers[3:])


def six_d_from_matrix(matrix: Float[Array, "3 3"]) -> Float[Array, " 6"]:
    """First two columns of a rotation matrix, the inverse of ``matrix_from_6d``.

    Args:
        matrix: a rotation matrix.

    Returns:
        six numbers.
    """
    return matrix[:, :2].T.ravel()


def geodesic_distance(first: Float[Array, "3 3"], second: Float[Array, "3 3"]) -> Float[Array, ""]:
    """Angle of the rotation that takes one rotation to the other.

    Accurate to float32 at 0 and at pi, where the arc cosine of the trace loses half of the digits.

    Args:
        first: a rotation matrix.
        second: another.

    Returns:
        radians in [0, pi]; the gradient at 0, which does not exist, is given as 0.
    """
    quaternion = quaternion_from_matrix(product(first.T, second))
    return 2 * jnp.arctan2(length(quaternion[1:]), quaternion[0])


def random_rotations(key: Key[Array, ""], count: int) -> Float[Array, "count 3 3"]:
    """Rotations drawn uniformly (normal quaternions point everywhere alike).

    Args:
        key: random key.
        count: how many.

    Returns:
        rotation matrices.
    """
    return jax.vmap(matrix_from_quaternion)(jax.random.normal(key, (count, 4)))


def karcher_mean(
    rotations: Float[Array, "n 3 3"],
    weights: Float[Array, " n"],
    *,
    start: Float[Array, "3 3"] | None = None,
    steps: int = 10,
) -> Float[Array, "3 3"]:
    """Weighted Riemannian mean: the rotation of least weighted squared angle to the others.

    Starts at the chordal mean unless told otherwise, and repeats R ← R exp(mean of log(R^T R_i))
    (Manton 2004). The gradient runs through the steps, not through the start, on which a converged
    result does not depend.

    Args:
        rotations: rotation matrices, best within a quarter turn of one another.
        weights: non-negative, not all zero; their sum does not matter.
        start: where to begin.
        steps: number of repetitions.

    Returns:
        the mean rotation; NaN where all weights are zero.

    Raises:
        ValueError: there are no rotations.
    """
    if len(rotations) == 0:
        raise ValueError("there are no rotations")
    share = weights / jnp.sum(weights)
    if start is None:
        start = chordal_mean(rotations, share)

    def step(mean: Float[Array, "3 3"], _: None) -> tuple[Float[Array, "3 3"], None]:
        relative = jax.vmap(lambda rotation: log_map(product(mean.T, rotation)))(rotations)
        return product(mean, exp_map(jnp.sum(share[:, None] * relative, axis=0))), None

    return jax.lax.scan(step, jax.lax.stop_gradient(start), None, length=steps)[0]


def chordal_mean(
    rotations: Float[Array, "n 3 3"], weights: Float[Array, " n"]
) -> Float[Array, "3 3"]:
    """The rotation of least weighted squared chord to the others (Markley et al. 2007).

    Args:
        rotations: rotation matrices.
        weights: non-negative, not all zero; their sum does not matter.

    Returns:
        the rotation nearest to the mean of the matrices, the leading eigenvector of the second
        moment of the quaternions.
    """
    quaternions = jax.vmap(quaternion_from_matrix)(rotations)
    moment = product((weights[:, None] * quaternions).T, quaternions)
    return matrix_from_quaternion(jnp.linalg.eigh(moment)[1][:, -1])
