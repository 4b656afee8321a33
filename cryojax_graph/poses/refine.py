"""Poses made exact: damped Gauss-Newton steps on rotation, shift and contrast of one image.

Defocus, too, where it is asked for: an offset common to both axes, with a Gaussian prior.
"""

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
Transfer = Callable[[Float[Array, ""]], Float[Array, " points"]]

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


class RefinedOptics(NamedTuple):
    """The most probable pose and defocus near a start.

    Attributes:
        refined: the pose; its covariance is that with the offset unknown.
        offset: what is to be added to both defocus values, Å.
        deviation: of the offset, Å.
    """

    refined: RefinedPose
    offset: Float[Array, ""]
    deviation: Float[Array, ""]


_FLAT = Prior()


class _State(NamedTuple):
    """What is refined."""

    pose: Pose
    offset: Float[Array, ""]


class _Slope(NamedTuple):
    """Loss at a pose, and what a Gauss-Newton step needs: of 6 numbers, or 7 with defocus."""

    loss: Float[Array, ""]
    gradient: Float[Array, " n"]
    curvature: Float[Array, "n n"]


class _Optics(NamedTuple):
    """How the contrast transfer function follows an offset of defocus, and its prior."""

    transfer: Transfer
    precision: Scalar


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
    state, slope = _climb(
        project, observed, _at(start), band, field=field, steps=steps, prior=prior, optics=None
    )
    return RefinedPose(state.pose, -slope.loss, _inverse(slope.curvature))


def refine_pose_and_defocus(
    project: Project,
    observed: Observed,
    start: Pose,
    band: Band,
    transfer: Transfer,
    *,
    field: Scalar,
    deviation: Scalar,
    offset: Scalar = 0.0,
    steps: int = 6,
    prior: Prior = _FLAT,
) -> RefinedOptics:
    """Climb from a start to the nearest maximum of the posterior of pose and defocus together.

    Args:
        project: from a rotation to the centred projection's coefficients on the band.
        observed: the image; its transfer function is not used.
        start: pose within the reach of the frequencies that are used.
        band: where the coefficients are.
        transfer: from an offset of defocus in Å to the transfer function on the band.
        field: edge of the image, Å.
        deviation: of the Gaussian prior of the offset about 0, Å.
        offset: where to begin, Å.
        steps: evaluations of the projection and its slopes; the first is at the start.
        prior: of shift and contrast.

    Returns:
        the best pose and offset met.
    """
    optics = _Optics(transfer, jnp.asarray(deviation, float) ** -2)
    first = _at(start)._replace(offset=jnp.asarray(offset, float) + 0.0 * start.scale)
    state, slope = _climb(
        project, observed, first, band, field=field, steps=steps, prior=prior, optics=optics
    )
    covariance = _inverse(slope.curvature)
    refined = RefinedPose(state.pose, -slope.loss, covariance[:6, :6])
    return RefinedOptics(refined, state.offset, jnp.sqrt(covariance[6, 6]))


def _at(pose: Pose) -> _State:
    return _State(pose, 0.0 * pose.scale)


def _climb(
    project: Project,
    observed: Observed,
    start: _State,
    band: Band,
    *,
    field: Scalar,
    steps: int,
    prior: Prior,
    optics: _Optics | None,
) -> tuple[_State, _Slope]:
    waves = jnp.stack([jnp.asarray(band.kx, float), jnp.asarray(band.ky, float)])
    waves = waves / jnp.asarray(field)

    def slope_at(state: _State) -> _Slope:
        return _slope(project, observed, state, waves, prior, optics)

    def step(
        carry: tuple[_State, _Slope, Array], _: None
    ) -> tuple[tuple[_State, _Slope, Array], None]:
        state, slope, damping = carry
        trial = _moved(state, _solve(slope, damping))
        found = slope_at(trial)
        better = (found.loss < slope.loss) | jnp.isinf(slope.loss)
        state, slope = jax.tree.map(
            lambda new, old: jnp.where(better, new, old), (trial, found), (state, slope)
        )
        damping = damping * jnp.where(better, _LESS, _MORE)
        return (state, slope, jnp.clip(damping, _LEAST_DAMPING, _MOST_DAMPING)), None

    # From nowhere to the start, so that the slope is compiled once; made of the start, so that all
    # of it lies on the device where the image does.
    zero = 0.0 * start.pose.scale
    count = 6 if optics is None else 7
    nowhere = _Slope(jnp.inf + zero, zero + jnp.zeros(count), zero + jnp.eye(count))
    first = start, nowhere, _FIRST_DAMPING / _LESS + zero
    (state, slope, _), _ = jax.lax.scan(step, first, None, length=steps)
    return state, slope


def _slope(
    project: Project,
    observed: Observed,
    state: _State,
    waves: Float[Array, "2 points"],
    prior: Prior,
    optics: _Optics | None,
) -> _Slope:
    pose, root = state.pose, jnp.sqrt(observed.weight)
    angle = 2.0 * jnp.pi * jnp.matmul(pose.shift, waves, precision="highest")
    cosine, sine = root * jnp.cos(angle), root * jnp.sin(angle)
    transfer, by_defocus = _transfers(observed, state.offset, optics)

    def turned(vector: Float[Array, "3"]) -> Complex[Array, " points"]:
        return project(product(exp_map(vector), pose.rotation))

    def moved(values: Complex[Array, "*rows points"]) -> tuple[Array, Array]:
        """Real and imaginary part of centred values where the particle stands."""
        real, imaginary = values.real, values.imag
        return cosine * real - sine * imaginary, cosine * imaginary + sine * real

    projection, tangent = jax.linearize(turned, jnp.zeros(3))
    here, turning = moved(projection), moved(jax.vmap(tangent)(jnp.eye(3)))
    shifting = 2.0 * jnp.pi * transfer * waves
    spectrum = observed.spectrum
    # A shift multiplies by 2πi k: real and imaginary part change places.
    parts = zip(here, turning, (-here[1], here[0]), (spectrum.real, spectrum.imag), strict=True)
    # All that a step needs are inner products: real matrix products make them.
    products = jnp.zeros(())
    for value, by_rotation, by_shift, seen in parts:
        rows = [
            pose.scale * transfer * by_rotation,
            pose.scale * shifting * by_shift,
            (transfer * value)[None],
            pose.scale * by_defocus * value,
            (root * seen)[None],
        ]
        joined = jnp.concatenate(rows)
        products = products + product(joined, joined.T)
    overlap, power = products[5, -1], products[5, 5]
    # Above the empty image, so that float32 keeps what differs between poses.
    gain = pose.scale * (2.0 * overlap - pose.scale * power)
    off = [jnp.zeros(3), pose.shift, pose.scale[None] - 1.0]
    precision = [0.0, 0.0, 0.0, prior.shift, prior.shift, prior.contrast]
    if optics is not None:
        off, precision = [*off, state.offset[None]], [*precision, optics.precision]
    off, precision = jnp.concatenate(off), jnp.stack([jnp.asarray(p, float) for p in precision])
    return _Slope(
        loss=0.5 * (jnp.sum(precision * off**2) - gain),
        gradient=products[:-1, -1] - pose.scale * products[:-1, 5] - precision * off,
        curvature=products[:-1, :-1] + jnp.diag(precision),
    )


def _transfers(
    observed: Observed, offset: Float[Array, ""], optics: _Optics | None
) -> tuple[Float[Array, " points"], Float[Array, "slopes points"]]:
    """The transfer function, and its slope by defocus if that is refined."""
    if optics is None:
        return observed.transfer, jnp.zeros((0, len(observed.transfer)))
    value, slope = jax.jvp(optics.transfer, (offset,), (jnp.ones_like(offset),))
    return value, slope[None]


def _solve(slope: _Slope, damping: Float[Array, ""]) -> Float[Array, " n"]:
    size = _sizes(slope.curvature)
    scaled = slope.curvature / (size[:, None] * size) + damping * jnp.eye(len(size))
    return jnp.linalg.solve(scaled, slope.gradient / size) / size


def _inverse(curvature: Float[Array, "n n"]) -> Float[Array, "n n"]:
    size = _sizes(curvature)
    # A direction that nothing fixes has a large variance, not an infinite one.
    scaled = curvature / (size[:, None] * size) + 1e-6 * jnp.eye(len(size))
    return jnp.linalg.inv(scaled) / (size[:, None] * size)


def _sizes(curvature: Float[Array, "n n"]) -> Float[Array, " n"]:
    """Angles, lengths and contrast on one scale."""
    return jnp.sqrt(jnp.maximum(jnp.diagonal(curvature), 1e-12))


def _moved(state: _State, by: Float[Array, " n"]) -> _State:
    pose = Pose(
        product(exp_map(by[:3]), state.pose.rotation),
        state.pose.shift + by[3:5],
        jnp.maximum(state.pose.scale + by[5], 0.0),
    )
    return _State(pose, state.offset + (by[6] if len(by) == 7 else 0.0))
