"""Poses made exact: damped Gauss-Newton steps on rotation, shift and contrast of one image."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.grids import Scalar
from cryojax_graph.geometry import exp_map
from cryojax_graph.geometry.stable import product
from cryojax_graph.poses.band import Band, Observed

Project = Callable[[Float[Array, "3 3"]], Complex[Array, " points"]]

_FIRST_DAMPING, _LEAST_DAMPING, _MOST_DAMPING = 1e-2, 1e-6, 1e6
_LESS, _MORE = 0.2, 8.0


class Pose(NamedTuple):
    """How a particle stands in its image.

    Attributes:
        rotation: takes object to image coordinates, shape (3, 3).
        shift: (x, y) in Å; the particle stands at ``-shift``.
        scale: contrast.
    """

    rotation: Float[Array, "3 3"]
    shift: Float[Array, "2"]
    scale: Float[Array, ""]


class Prior(NamedTuple):
    """What is known of poses before the image: inverse variances of Gaussians.

    Attributes:
        shift: about no shift, 1/Å².
        contrast: about 1.
    """

    shift: Scalar = 0.0
    contrast: Scalar = 0.0


class RefinedPose(NamedTuple):
    """The most probable pose near a start, and how sure it is.

    Attributes:
        pose: at the maximum.
        log_likelihood: above that of an image without particle, and what the priors take from it.
        covariance: Laplace approximation; rotation vector in the frame of the image (radians),
            shift (Å) and contrast, shape (6, 6).
    """

    pose: Pose
    log_likelihood: Float[Array, ""]
    covariance: Float[Array, "6 6"]


_FLAT = Prior()


class _Slope(NamedTuple):
    """Loss at a pose, and what a Gauss-Newton step needs."""

    loss: Float[Array, ""]
    gradient: Float[Array, "6"]
    curvature: Float[Array, "6 6"]


def refine_pose(
    project: Project,
    observed: Observed,
    start: Pose,
    band: Band,
    *,
    field: Scalar,
    steps: int = 6,
    prior: Prior = _FLAT,
) -> RefinedPose:
    """Climb from a start to the nearest maximum of the posterior (Levenberg 1944, Marquardt 1963).

    Args:
        project: from a rotation to the centred projection's coefficients on the band.
        observed: the image.
        start: pose within the reach of the frequencies that are used.
        band: where the coefficients are.
        field: edge of the image, Å.
        steps: evaluations of the projection and its slopes; the first is at the start.
        prior: of shift and contrast.

    Returns:
        the best pose met.
    """

    waves = jnp.stack([jnp.asarray(band.kx, float), jnp.asarray(band.ky, float)])
    waves = waves / jnp.asarray(field)

    def slope_at(pose: Pose) -> _Slope:
        return _slope(project, observed, pose, waves, prior)

    def step(state: tuple[Pose, _Slope, Array], _: None) -> tuple[tuple[Pose, _Slope, Array], None]:
        pose, slope, damping = state
        trial = _moved(pose, _solve(slope, damping))
        found = slope_at(trial)
        better = found.loss < slope.loss
        pose, slope = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (trial, found), (pose, slope)
        )
        damping = damping * jnp.where(better, _LESS, _MORE)
        return (pose, slope, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)), None

    # Made of the start, so that it lies on the device where the image does.
    first = start, slope_at(start), _FIRST_DAMPING + 0.0 * start.scale
    (pose, slope, _), _ = jax.lax.scan(step, first, None, length=steps - 1)
    return RefinedPose(pose, -slope.loss, _inverse(slope.curvature))


def _slope(
    project: Project,
    observed: Observed,
    pose: Pose,
    waves: Float[Array, "2 points"],
    prior: Prior,
) -> _Slope:
    root = jnp.sqrt(observed.weight)
    factor = root * observed.transfer * jnp.exp(2j * jnp.pi * (pose.shift @ waves))

    def turned(vector: Float[Array, "3"]) -> Complex[Array, " points"]:
        return project(product(exp_map(vector), pose.rotation))

    projection, tangent = jax.linearize(turned, jnp.zeros(3))
    unit = factor * projection
    rows = jnp.concatenate(
        [
            pose.scale * factor * jax.vmap(tangent)(jnp.eye(3)),
            2j * jnp.pi * waves * (pose.scale * unit),
            unit[None],
            (root * observed.spectrum)[None],
        ]
    )
    # All that a step needs are inner products: one real matrix product makes them.
    flat = jnp.concatenate([rows.real, rows.imag], axis=1)
    products = flat @ flat.T
    slopes, with_unit, with_image = products[:-1, :-1], products[:-1, -2], products[:-1, -1]
    # Above the empty image, so that float32 keeps what differs between poses.
    gain = pose.scale * (2.0 * products[-2, -1] - pose.scale * products[-2, -2])
    off = jnp.concatenate([jnp.zeros(3), pose.shift, pose.scale[None] - 1.0])
    precision = jnp.array([0.0, 0.0, 0.0, prior.shift, prior.shift, prior.contrast])
    return _Slope(
        loss=0.5 * (jnp.sum(precision * off**2) - gain),
        gradient=with_image - pose.scale * with_unit - precision * off,
        curvature=slopes + jnp.diag(precision),
    )


def _solve(slope: _Slope, damping: Float[Array, ""]) -> Float[Array, "6"]:
    size = _sizes(slope.curvature)
    scaled = slope.curvature / (size[:, None] * size) + damping * jnp.eye(6)
    return jnp.linalg.solve(scaled, slope.gradient / size) / size


def _inverse(curvature: Float[Array, "6 6"]) -> Float[Array, "6 6"]:
    size = _sizes(curvature)
    # A direction that nothing fixes has a large variance, not an infinite one.
    scaled = curvature / (size[:, None] * size) + 1e-6 * jnp.eye(6)
    return jnp.linalg.inv(scaled) / (size[:, None] * size)


def _sizes(curvature: Float[Array, "6 6"]) -> Float[Array, "6"]:
    """Angles, lengths and contrast on one scale."""
    return jnp.sqrt(jnp.maximum(jnp.diagonal(curvature), 1e-12))


def _moved(pose: Pose, by: Float[Array, "6"]) -> Pose:
    return Pose(
        product(exp_map(by[:3]), pose.rotation),
        pose.shift + by[3:5],
        jnp.maximum(pose.scale + by[5], 0.0),
    )
