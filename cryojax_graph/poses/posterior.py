"""How sure a pose is: the modes of its posterior, and all that lies between them."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.geometry.stable import product
from cryojax_graph.poses.refine import Pose, Prior, RefinedPose

# The volume of the rotations in radians³.
ROTATIONS = 8 * math.pi**2


class PoseEstimate(NamedTuple):
    """The most probable pose of an image, and how sure it is.

    Attributes:
        pose: rotation, shift, contrast.
        log_likelihood: above that of an image without particle.
        covariance: within the mode, as in ``RefinedPose``.
        probability: of the mode: that the pose is near this one and not elsewhere.
        rotation_deviation: root of the expected squared angle to the true rotation, radians.
        other_variance: what is expected of that square but for the width of the mode, radians².
        evidence: log of the mean likelihood over all poses, above an image without particle.
    """

    pose: Pose
    log_likelihood: Float[Array, ""]
    covariance: Float[Array, "6 6"]
    probability: Float[Array, ""]
    rotation_deviation: Float[Array, ""]
    other_variance: Float[Array, ""]
    evidence: Float[Array, ""]


def estimate_of_modes(
    modes: RefinedPose,
    scores: Float[Array, " cells"],
    rotations: Float[Array, "cells 3 3"],
    prior: Prior,
    *,
    reach: Scalar,
    volume: Scalar = ROTATIONS,
    operators: Float[Array, "operators 3 3"] | None = None,
    weights: Float[Array, " cells"] | None = None,
) -> PoseEstimate:
    """Weigh the modes of one image against one another and against the rest of the grid.

    Each mode has the mass of its Gaussian (Laplace). The grid, without the neighbourhoods of the
    modes, is what was not refined: each of its points stands for its cell.

    Args:
        modes: refined poses, duplicates allowed.
        scores: log-likelihoods on a grid, averaged over the shifts.
        rotations: of the grid.
        prior: of shift and contrast; that of the shift above 0.
        reach: angle within which two modes are one and a grid point belongs to a mode, radians.
        volume: of the rotations that are possible, which the grid covers, radians³.
        operators: of the point group of the reference; rotations that differ by one are the same.
        weights: how many rotations each point of the grid stands for; the same when not given.

    Returns:
        the estimate.
    """
    operators = jnp.eye(3)[None] if operators is None else operators
    weights = jnp.ones(len(scores)) if weights is None else weights
    cells = weights / jnp.sum(weights)
    # A mode as wide as all that is possible, one without contrast for instance, holds all of it.
    width = jnp.minimum(_log_volume(modes.covariance[:, :5, :5]) + _log_density(prior, volume), 0.0)
    log_mass = modes.log_likelihood + width
    between = jnp.arccos(_cosines(modes.pose.rotation, modes.pose.rotation, operators))
    log_mass = jnp.where(_repeated(between, log_mass, reach), -jnp.inf, log_mass)
    best = jnp.argmax(log_mass)

    # An arc cosine for every mode and cell would cost as much as a refinement.
    to_grid = _cosines(modes.pose.rotation, rotations, operators)
    free = jnp.all(to_grid < jnp.cos(jnp.asarray(reach)), axis=0)
    rest = jnp.where(free, scores + jnp.log(cells), -jnp.inf)

    everything = jnp.concatenate([log_mass, rest])
    evidence = jax.nn.logsumexp(everything)
    share = jnp.exp(everything - evidence)
    # A Gaussian that has outgrown the rotations says no more than that all are possible.
    apart = jnp.arccos(to_grid[best]) ** 2
    within = jnp.trace(modes.covariance[:, :3, :3], axis1=1, axis2=2)
    within = jnp.minimum(within, jnp.sum(cells * apart))
    square = jnp.concatenate([within + between[best] ** 2, apart])
    # Nor can it be farther off than the rotations that are possible reach.
    expected = share * jnp.minimum(square, jnp.max(apart))
    chosen = jax.tree.map(lambda a: a[best], modes)
    return PoseEstimate(
        pose=chosen.pose,
        log_likelihood=chosen.log_likelihood,
        covariance=chosen.covariance,
        probability=share[best],
        rotation_deviation=jnp.sqrt(jnp.sum(expected)),
        other_variance=jnp.sum(expected.at[best].set(0.0)),
        evidence=evidence,
    )


def _log_density(prior: Prior, volume: Scalar) -> Float[Array, ""]:
    """Of the prior at no shift, per radian³ and Å²."""
    return jnp.log(jnp.asarray(prior.shift) / (2 * jnp.pi)) - jnp.log(jnp.asarray(volume))


def _log_volume(covariance: Float[Array, "*modes n n"]) -> Float[Array, "*modes"]:
    """Logarithm of the integral of a Gaussian with peak 1."""
    size = covariance.shape[-1]
    return 0.5 * (size * jnp.log(2 * jnp.pi) + jnp.linalg.slogdet(covariance)[1])


def _repeated(
    between: Float[Array, "modes modes"], log_mass: Float[Array, " modes"], reach: Scalar
) -> Bool[Array, " modes"]:
    """Modes that are the same as a heavier one."""
    order = jnp.arange(len(log_mass))
    before = (log_mass[None] > log_mass[:, None]) | (
        (log_mass[None] == log_mass[:, None]) & (order[None] < order[:, None])
    )
    return jnp.any(before & (between < jnp.asarray(reach)), axis=1)


def _cosines(
    first: Float[Array, "a 3 3"],
    second: Float[Array, "b 3 3"],
    operators: Float[Array, "operators 3 3"],
) -> Float[Array, "a b"]:
    """Of the smallest angles between rotations of a symmetric object."""

    def trace(operator: Float[Array, "3 3"]) -> Float[Array, "a b"]:
        turned = jnp.einsum("aij,jk->aik", first, operator, precision="highest")
        return product(turned.reshape(-1, 9), second.reshape(-1, 9).T)

    largest = jnp.max(jax.vmap(trace)(operators), axis=0)
    return jnp.clip((largest - 1) / 2, -1.0, 1.0)
