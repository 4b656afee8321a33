"""Grids of rotations and shifts on which poses are tried."""

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.geometry import (
    exp_map,
    geodesic_distance,
    matrix_from_euler_degrees,
    orientations_at,
)
from cryojax_graph.geometry.stable import product


def shift_grid(reach: float, step: float) -> Float[np.ndarray, "shifts 2"]:
    """Shifts on a square grid within a disc.

    Args:
        reach: largest shift, Å.
        step: distance of neighbours at most, Å.

    Returns:
        (x, y) in Å; the first is zero.
    """
    count = int(np.ceil(reach / step)) if reach > 0 else 0
    along = np.arange(-count, count + 1) * (reach / max(count, 1))
    shifts = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    length = np.linalg.norm(shifts, axis=1)
    return shifts[np.argsort(length, kind="stable")][: int(np.sum(length <= reach * (1 + 1e-9)))]


def rotations_within(reach: float, spacing: float) -> Float[np.ndarray, "cells 3 3"]:
    """Rotations by up to some angle, on a cubic lattice of rotation vectors.

    Args:
        reach: largest angle, radians.
        spacing: distance of neighbours, radians.

    Returns:
        rotation matrices, the identity first.
    """
    count = int(np.ceil(reach / spacing))
    along = np.arange(-count, count + 1) * spacing
    vectors = np.stack(np.meshgrid(along, along, along, indexing="ij"), -1).reshape(-1, 3)
    angle = np.linalg.norm(vectors, axis=1)
    order = np.argsort(angle, kind="stable")[: int(np.sum(angle <= reach * (1 + 1e-9)))]
    return np.asarray(jax.vmap(exp_map)(jnp.asarray(vectors[order], jnp.float32)))


def lattice_weights(around: Float[Array, "cells 3 3"]) -> Float[Array, " cells"]:
    """How many rotations each point of a lattice of rotation vectors stands for (Haar measure).

    Args:
        around: from ``rotations_within``.

    Returns:
        beside a point at the identity: 1 there, 4 / π² at half a turn.
    """
    angle = jax.vmap(lambda rotation: geodesic_distance(jnp.eye(3), rotation))(around)
    return jnp.sinc(angle / (2 * jnp.pi)) ** 2


def covered_volume(around: Float[Array, "cells 3 3"]) -> Float[Array, ""]:
    """Volume of the rotations that a lattice stands for.

    Args:
        around: from ``rotations_within``.

    Returns:
        radians³, at most that of all rotations; the same of a single rotation, which tells no
        spacing.
    """
    every = 8 * jnp.pi**2
    spacing = geodesic_distance(around[0], around[min(1, len(around) - 1)])
    covered = jnp.minimum(jnp.sum(lattice_weights(around)) * spacing**3, every)
    return jnp.where(spacing > 0, covered, every)


def unknown_deviation(
    rotations: Float[np.ndarray, "cells 3 3"],
    operators: Float[np.ndarray, "operators 3 3"],
    weights: Float[np.ndarray, " cells"] | None = None,
) -> float:
    """Deviation of a rotation of which nothing is known but that it is one of some.

    Args:
        rotations: all that are possible, about the identity or everywhere.
        operators: of the point group of the object.
        weights: how many rotations each stands for; the same when not given.

    Returns:
        root of the mean squared smallest angle to the identity, radians; 132 degrees where all are
        possible and there is no symmetry.
    """
    traces = np.max(np.einsum("nij,oji->no", rotations, operators), axis=1)
    angle = np.arccos(np.clip((traces.astype(np.float64) - 1) / 2, -1, 1))
    return float(np.sqrt(np.average(angle**2, weights=weights)))


def view_rotations(order: int) -> Float[np.ndarray, "views 3 3"]:
    """Rotations that show all viewing directions of a grid, at in-plane angle 0.

    Args:
        order: HEALPix order, ≥ 0.

    Returns:
        one matrix for each of the 12 · 4^order directions.
    """
    angles = orientations_at(np.arange(12 * 4**order) * 6 * 2**order, order) * (1.0, 1.0, 0.0)
    turn = jax.vmap(matrix_from_euler_degrees)
    return np.asarray(turn(jnp.asarray(angles, jnp.float32)), np.float32)


def grid_rotations(views: Float[Array, "views 3 3"], turns: int) -> Float[Array, "cells 3 3"]:
    """Every view at every in-plane angle.

    Args:
        views: rotations at in-plane angle 0.
        turns: number of in-plane angles of a whole turn.

    Returns:
        rotations, the in-plane angle runs fastest.
    """
    psi = jnp.arange(turns) * (2 * jnp.pi / turns)
    every = jax.vmap(lambda view: jax.vmap(lambda angle: turned_in_plane(view, angle))(psi))
    return every(views).reshape(-1, 3, 3)


def turned_in_plane(rotation: Float[Array, "3 3"], psi: Float[Array, ""]) -> Float[Array, "3 3"]:
    """A view at another in-plane angle.

    Args:
        rotation: object to image coordinates.
        psi: by which the image turns, radians.

    Returns:
        the rotation.
    """
    cosine, sine = jnp.cos(psi), jnp.sin(psi)
    about_z = jnp.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return product(about_z, rotation)
