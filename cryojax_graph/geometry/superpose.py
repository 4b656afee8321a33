"""Rigid superposition of one set of points on another, and the distances that remain.

The rotation comes from the leading eigenvector of Horn's 4 x 4 matrix (Horn 1987). It is a unit
quaternion whatever the input, hence a proper rotation also for mirrored, planar and collinear
points, and there is no reflection to repair as after a singular value decomposition.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.geometry.frames import Frames, apply
from cryojax_graph.geometry.rotations import matrix_from_quaternion
from cryojax_graph.geometry.stable import axial_vector, product

# Eigenvalue gaps below this share of the largest possible eigenvalue count as closed.
_CLOSED_GAP = 1e-4


def superpose(
    mobile: Float[Array, "n 3"],
    target: Float[Array, "n 3"],
    weights: Float[Array, " n"] | None = None,
) -> Frames:
    """Proper rigid motion of least weighted squared distance from one set of points to another.

    Where several rotations are equally good (collinear points, some mirror images) one of them is
    returned, and its derivative along the undetermined directions is 0; for coincident points it
    is the identity.

    Args:
        mobile: points to be moved, Å.
        target: points that they should meet.
        weights: non-negative weight of each pair; all equal if absent.

    Returns:
        the frame, in the type of the points; ``apply(frame, mobile)`` lies on ``target``.

    Raises:
        ValueError: there are no points.
    """
    given = jnp.result_type(mobile, target, *(() if weights is None else (weights,)))
    # Eigenvectors are not to be had in half precision, where sums of squares would be poor too.
    working = jnp.promote_types(given, jnp.float32)
    mobile, target = mobile.astype(working), target.astype(working)
    weights = None if weights is None else weights.astype(working)
    share = _shares(mobile, weights)
    from_centre, to_centre = product(share[None], mobile)[0], product(share[None], target)[0]
    centred, goal = mobile - from_centre, target - to_centre
    size = jnp.sum(share[:, None] * centred**2) * jnp.sum(share[:, None] * goal**2)
    apart = size > 0
    scale = jnp.sqrt(jnp.where(apart, size, 1.0))
    covariance = product((share[:, None] * centred).T, goal) / scale
    horn = _horn_matrix(jnp.where(apart, covariance, jnp.eye(3, dtype=covariance.dtype)))
    rotation = matrix_from_quaternion(_leading_eigenvector(horn))
    translation = to_centre - product(rotation, from_centre[:, None])[:, 0]
    return Frames(rotation.astype(given), translation.astype(given))


def rmsd(
    first: Float[Array, "n 3"],
    second: Float[Array, "n 3"],
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, ""]:
    """Root of the weighted mean squared distance of paired points, as they stand.

    Args:
        first: Å.
        second: Å.
        weights: non-negative weight of each pair; all equal if absent.

    Returns:
        Å; the gradient at 0, which does not exist, is given as 0.

    Raises:
        ValueError: there are no points.
    """
    squared = jnp.sum(_shares(first, weights) * jnp.sum((first - second) ** 2, axis=1))
    apart = squared > 0
    return jnp.where(apart, jnp.sqrt(jnp.where(apart, squared, 1.0)), 0.0)


def superposed_rmsd(
    mobile: Float[Array, "n 3"],
    target: Float[Array, "n 3"],
    weights: Float[Array, " n"] | None = None,
) -> Float[Array, ""]:
    """RMSD after the best superposition.

    The motion is held fixed in the derivative: at the minimum over motions its own derivative
    contributes nothing (envelope theorem), so the gradient is exact and needs no derivative of an
    eigenvector.

    Args:
        mobile: Å.
        target: Å.
        weights: non-negative weight of each pair; all equal if absent.

    Returns:
        Å.

    Raises:
        ValueError: there are no points.
    """
    frame = jax.lax.stop_gradient(superpose(mobile, target, weights))
    return rmsd(apply(frame, mobile), target, weights)


def _shares(points: Float[Array, "n 3"], weights: Float[Array, " n"] | None) -> Float[Array, " n"]:
    if len(points) == 0:
        raise ValueError("there are no points")
    if weights is None:
        return jnp.full(len(points), 1 / len(points), points.dtype)
    total = jnp.sum(weights)
    return weights / jnp.where(total > 0, total, 1.0)


def _horn_matrix(covariance: Float[Array, "3 3"]) -> Float[Array, "4 4"]:
    trace, axis = jnp.trace(covariance), axial_vector(covariance)
    symmetric = covariance + covariance.T - trace * jnp.eye(3, dtype=covariance.dtype)
    return jnp.block([[trace, -axis[None]], [-axis[:, None], symmetric]])


@jax.custom_jvp
def _leading_eigenvector(matrix: Float[Array, "4 4"]) -> Float[Array, " 4"]:
    """Eigenvector of the largest eigenvalue of a symmetric matrix of eigenvalues up to 1."""
    return jnp.linalg.eigh(matrix)[1][:, -1]


@_leading_eigenvector.defjvp
def _leading_eigenvector_jvp(
    primals: tuple[Float[Array, "4 4"]], tangents: tuple[Float[Array, "4 4"]]
) -> tuple[Float[Array, " 4"], Float[Array, " 4"]]:
    """First-order perturbation theory with 1 / gap damped to 0 where the gap closes."""
    values, vectors = jnp.linalg.eigh(primals[0])
    leading, others = vectors[:, -1], vectors[:, :-1]
    gaps = values[-1] - values[:-1]
    coupling = product(others.T, product(tangents[0], leading[:, None]))[:, 0]
    change = coupling * gaps / (gaps**2 + _CLOSED_GAP**2)
    return leading, product(others, change[:, None])[:, 0]
