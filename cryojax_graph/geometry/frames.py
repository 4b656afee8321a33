"""Rigid frames: a rotation followed by a translation, x ↦ R x + t."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.geometry.rotations import matrix_from_two_vectors
from cryojax_graph.geometry.stable import product


class Frames(NamedTuple):
    """One rigid frame, or many of them under ``vmap``.

    Attributes:
        rotation: matrix whose columns are the axes of the frame, shape (3, 3).
        translation: origin of the frame in Å, shape (3,).
    """

    rotation: Float[Array, "*batch 3 3"]
    translation: Float[Array, "*batch 3"]


def apply(frame: Frames, points: Float[Array, "*points 3"]) -> Float[Array, "*points 3"]:
    """Points of one frame's own coordinates in the outer coordinates.

    Args:
        frame: one frame.
        points: Å.

    Returns:
        R x + t for every point x.
    """
    return jnp.matmul(points, frame.rotation.T, precision="highest") + frame.translation


def compose(outer: Frames, inner: Frames) -> Frames:
    """The frame that first applies ``inner``, then ``outer``.

    Args:
        outer: one frame.
        inner: another.

    Returns:
        their product.
    """
    return Frames(product(outer.rotation, inner.rotation), apply(outer, inner.translation))


def invert(frame: Frames) -> Frames:
    """The frame that undoes one frame.

    Args:
        frame: one frame.

    Returns:
        its inverse.
    """
    back = frame.rotation.T
    return Frames(back, -jnp.matmul(back, frame.translation, precision="highest"))


def frames_from_three_points(
    nitrogen: Float[Array, " 3"], alpha: Float[Array, " 3"], carbon: Float[Array, " 3"]
) -> Frames:
    """Backbone frame of one residue: origin at CA, x towards C, N in the xy plane with y > 0.

    The construction of Jumper et al. 2021 (supplement, algorithm 21), finite for collinear atoms.

    Args:
        nitrogen: position of N in Å.
        alpha: position of CA.
        carbon: position of C.

    Returns:
        the frame.
    """
    return Frames(matrix_from_two_vectors(carbon - alpha, nitrogen - alpha), alpha)
