"""Poses of images that are fitted with their conformations: corrections of the given ones.

For each step some corrections are proposed for every image and one is chosen with the probability
that it has, given the image and its conformation of that step (sampling-importance resampling,
Rubin 1987). The decoder learns from poses as uncertain as they are, and its gradients are, but for
the draw, those of the likelihood with the pose integrated out. Proposals come from a Gaussian for
each image, which follows by damped Gauss-Newton steps whenever the image is seen (Khan & Rue 2023,
the Bayesian learning rule), and some from what is expected of given poses in general: how far they
may be wrong is fitted too, as one deviation for rotations and one for shifts. Images with exact
poses teach the model to leave them where they are.
"""

from functools import partial
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
    """Gaussians near the posteriors of corrections to given poses, one row per image.

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
        params: of the system.
        images: number of images.
        config: of the poses.

    Returns:
        the parameters with a fresh table ``poses``, and the expected error ``pose_error``.
    """
    fresh = {"pose_error": init_pose_error(config), "poses": init_poses(images, config)}
    return params | fresh


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


class Proposals(NamedTuple):
    """Corrections that may be chosen.

    Attributes:
        correction: as in ``PoseTable``.
        log_weight: logarithm of their prior density over that with which they were proposed.
    """

    correction: Float[Array, "batch draws 5"]
    log_weight: Float[Array, "batch draws"]


def propose_corrections(
    key: Key[Array, ""], poses: PoseTable, log_error: Float[Array, "2"], config: PoseConfig
) -> Proposals:
    """Draw from the Gaussians of images, and some from what is expected of all.

    Args:
        key: the draws.
        poses: the images' rows.
        log_error: as ``init_pose_error``.
        config: how many.

    Returns:
        the proposals, weighted against the mixture of both kinds (the balance heuristic, Veach &
        Guibas 1995): a Gaussian that has lost its way is outweighed.
    """
    draws, expected = config.draws, jnp.exp(_of_each(log_error))
    of_all = round(config.expected_share * draws)
    noise = jax.random.normal(key, (len(poses.mean), draws, 5))
    own = poses.mean[:, None] + jnp.einsum("bij,bkj->bki", poses.spread, noise)
    correction = jnp.where((jnp.arange(draws) < of_all)[:, None], expected * noise, own)
    log_prior = -0.5 * jnp.sum((correction / expected) ** 2, axis=-1) - jnp.sum(jnp.log(expected))
    whitened = jax.vmap(partial(jax.scipy.linalg.solve_triangular, lower=True))(
        poses.spread, jnp.swapaxes(correction - poses.mean[:, None], 1, 2)
    )
    width = jnp.sum(jnp.log(jnp.diagonal(poses.spread, axis1=-2, axis2=-1)), axis=-1)
    log_own = -0.5 * jnp.sum(whitened**2, axis=1) - width[:, None]
    kinds = jnp.stack([log_prior, log_own])
    shares = jnp.array([of_all, draws - of_all], float)[:, None, None] / draws
    return Proposals(correction, log_prior - jax.nn.logsumexp(kinds, axis=0, b=shares))


def choose_corrections(
    key: Key[Array, ""], proposals: Proposals, log_likelihood: Float[Array, "batch draws"]
) -> tuple[Float[Array, "batch 5"], Float[Array, " batch"]]:
    """Choose one proposal for each image, as probable as it is in the posterior.

    Args:
        key: the choice.
        proposals: from ``propose_corrections``.
        log_likelihood: of the image in each proposed pose, nats.

    Returns:
        corrections, and how many equally good proposals would have been as informative (the
        effective sample size).
    """
    log_weight = proposals.log_weight + log_likelihood
    chosen = jax.random.categorical(key, log_weight, axis=-1)
    correction = jnp.take_along_axis(proposals.correction, chosen[:, None, None], axis=1)[:, 0]
    return correction, 1.0 / jnp.sum(jax.nn.softmax(log_weight, axis=-1) ** 2, axis=-1)


def improved_poses(
    drawn: Float[Array, "batch 5"],
    slope: PoseSlope,
    log_error: Float[Array, "2"],
    *,
    unit: Float[Array, ""],
) -> PoseTable:
    """Gaussians by one Gauss-Newton step from where each image was drawn.

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


def pose_surprise(
    correction: Float[Array, "batch 5"], log_error: Float[Array, "2"]
) -> Float[Array, " batch"]:
    """How little corrections are expected.

    Args:
        correction: drawn from the posteriors.
        log_error: as ``init_pose_error``.

    Returns:
        minus the logarithm of their prior density, nats, but for a constant; with draws from the
        posteriors its gradient by ``log_error`` is that of the marginal likelihood.
    """
    expected = _of_each(log_error)
    return jnp.sum(0.5 * (correction * jnp.exp(-expected)) ** 2 + expected, axis=-1)


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
