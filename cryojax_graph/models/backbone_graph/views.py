"""Poses of images that are fitted with their conformations: Gaussians around the given ones.

Like its latent, the pose of an image has a Gaussian posterior, from which one pose is drawn for
each step: the decoder learns from poses as uncertain as they are. The posterior follows by damped
Gauss-Newton steps, one whenever the image is seen (Khan & Rue 2023, the Bayesian learning rule).
How far the given poses may be wrong is fitted too, as one deviation for rotations and one for
shifts: images with exact poses teach the model to leave them where they are.
"""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from cryojax_graph.geometry import exp_map, log_map
from cryojax_graph.geometry.stable import product
from cryojax_graph.models.backbone_graph.config import PoseConfig
from cryojax_graph.models.backbone_graph.imaging import PoseSlope
from cryojax_graph.models.backbone_graph.template import Template

# Beyond this the image is no longer a linear function of its pose.
_LARGEST_STEP = np.radians(10.0)


class PoseTable(NamedTuple):
    """Posteriors of corrections to given poses, one row per image.

    A correction is a rotation vector in the frame of the image, radians, to be put on top of the
    given rotation, and a shift to be added to the given one, in units of ``arm``.

    Attributes:
        mean: shape (images, 5).
        spread: Cholesky factors of the covariances, shape (images, 5, 5).
    """

    mean: Float[Array, "images 5"]
    spread: Float[Array, "images 5 5"]


def init_poses(images: int, config: PoseConfig) -> PoseTable:
    """Posteriors before the first step.

    Args:
        images: number of rows.
        config: of the poses.

    Returns:
        no correction, with the deviation of the first guess.
    """
    first = jnp.radians(config.first_deviation) * jnp.eye(5)
    return PoseTable(jnp.zeros((images, 5)), jnp.tile(first, (images, 1, 1)))


def init_pose_error(config: PoseConfig) -> Float[Array, "2"]:
    """Logarithms of the expected errors of the given poses before the first step.

    Args:
        config: of the poses.

    Returns:
        of each component of the rotation vector, radians, and of the shift, in units of ``arm``.
    """
    return jnp.full(2, np.log(np.radians(config.expected_error)))


def with_poses(params: dict[str, Any], images: int, config: PoseConfig) -> dict[str, Any]:
    """Parameters of a system that fits poses, too.

    Args:
        params: with ``imaging``.
        images: number of images.
        config: of the poses.

    Returns:
        the parameters with a fresh table ``poses``; the expected error is kept where it was fitted
        before.
    """
    fitted = params["imaging"].get("log_pose_error")
    error = init_pose_error(config) if fitted is None else jnp.asarray(fitted)
    imaging = params["imaging"] | {"log_pose_error": error}
    return params | {"imaging": imaging, "poses": init_poses(images, config)}


def arm(template: Template) -> Float[Array, ""]:
    """Length in which shifts are measured, so that a turn and a shift of 1 weigh alike.

    Args:
        template: the molecule.

    Returns:
        radius of gyration, Å.
    """
    centred = template.c_alpha - jnp.mean(template.c_alpha, axis=0)
    return jnp.sqrt(jnp.mean(jnp.sum(centred**2, axis=-1)))


def corrected_views(
    correction: Float[Array, "images 5"],
    rotation: Float[Array, "images 3 3"],
    shift: Float[Array, "images 2"],
    *,
    template: Template,
) -> dict[str, Array]:
    """Given poses with corrections on top.

    Args:
        correction: as in ``PoseTable``.
        rotation: given, take object to image coordinates.
        shift: given, Å.
        template: the molecule.

    Returns:
        ``rotation`` and ``shift``.
    """
    turned = jax.vmap(lambda by, given: product(exp_map(by), given))
    return {
        "rotation": turned(correction[:, :3], rotation),
        "shift": shift + arm(template) * correction[:, 3:],
    }


def drawn_corrections(key: Key[Array, ""], poses: PoseTable) -> Float[Array, "batch 5"]:
    """One draw from the posterior of each image.

    Args:
        key: the draw.
        poses: the images' rows.

    Returns:
        corrections.
    """
    noise = jax.random.normal(key, poses.mean.shape)
    return poses.mean + jnp.einsum("bij,bj->bi", poses.spread, noise)


def improved_poses(
    drawn: Float[Array, "batch 5"],
    slope: PoseSlope,
    log_error: Float[Array, "2"],
    *,
    unit: Float[Array, ""],
) -> PoseTable:
    """Posteriors by one Gauss-Newton step.

    A step from where the image was drawn, and not from the mean, is free of the noise of drawing.

    Args:
        drawn: corrections at which the images were compared.
        slope: of the log-likelihoods there, leading axis batch.
        log_error: expected errors, as ``init_pose_error``.
        unit: ``arm``, Å.

    Returns:
        the images' new rows.
    """
    sizes = jnp.concatenate([jnp.ones(3), jnp.full(2, unit)])
    precision = jnp.exp(-2.0 * _of_each(log_error))

    def of_image(drawn: Array, gradient: Array, curvature: Array) -> PoseTable:
        uphill = gradient * sizes - precision * drawn
        bend = curvature * sizes[:, None] * sizes + jnp.diag(precision)
        lower = jnp.linalg.cholesky(bend)
        step = jax.scipy.linalg.cho_solve((lower, True), uphill)
        step = step * jnp.minimum(1.0, _LARGEST_STEP / (jnp.linalg.norm(step) + 1e-12))
        turned = log_map(product(exp_map(step[:3]), exp_map(drawn[:3])))
        covariance = jax.scipy.linalg.cho_solve((lower, True), jnp.eye(5))
        spread = jnp.linalg.cholesky(covariance)
        return PoseTable(jnp.concatenate([turned, drawn[3:] + step[3:]]), spread)

    return jax.vmap(of_image)(drawn, slope.gradient, slope.curvature)


def steered(
    poses: PoseTable, towards: PoseTable, weight: Float[Array, " batch"]
) -> Float[Array, ""]:
    """Zero, with a gradient that leads the rows to where they should be.

    Args:
        poses: the images' rows.
        towards: where gradient descent with rate 1 puts them.
        weight: 0 for padding.

    Returns:
        a term for the loss.
    """

    def pull(row: Array, target: Array) -> Array:
        way = jax.lax.stop_gradient(row - target)
        return jnp.sum(weight * jnp.sum((way * row).reshape(len(row), -1), axis=-1))

    term = jnp.sum(jnp.stack(jax.tree.leaves(jax.tree.map(pull, poses, towards))))
    return term - jax.lax.stop_gradient(term)


def pose_surprise(poses: PoseTable, log_error: Float[Array, "2"]) -> Float[Array, " batch"]:
    """Divergence of the posteriors from what is expected of the given poses.

    Args:
        poses: the images' rows.
        log_error: as ``init_pose_error``.

    Returns:
        nats.
    """
    expected = _of_each(log_error)
    square = poses.mean**2 + jnp.sum(poses.spread**2, axis=-1)
    scaled = square * jnp.exp(-2.0 * expected) + 2.0 * expected - 1.0
    width = jnp.log(jnp.diagonal(poses.spread, axis1=-2, axis2=-1))
    return jnp.sum(0.5 * scaled - width, axis=-1)


def _of_each(log_error: Float[Array, "2"]) -> Float[Array, "5"]:
    return jnp.repeat(log_error, jnp.array([3, 2]), total_repeat_length=5)


def fitted_views(
    params: dict[str, Any],
    rotation: Float[Array, "images 3 3"],
    shift: Float[Array, "images 2"],
    *,
    template: Template,
) -> dict[str, Array]:
    """The most probable poses after a fit.

    Args:
        params: of the system.
        rotation: given.
        shift: given, Å.
        template: the molecule.

    Returns:
        ``rotation`` and ``shift``; the given ones where the fit took them as known.
    """
    if "poses" not in params:
        return {"rotation": rotation, "shift": shift}
    return corrected_views(params["poses"].mean, rotation, shift, template=template)
