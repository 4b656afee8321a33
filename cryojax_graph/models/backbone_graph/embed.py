"""New images beside the conformations of images fitted before, with the decoder frozen."""

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.batched import map_images
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.imaging import (
    ImageScore,
    pose_slope,
    score_conformation,
)
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.models.backbone_graph.views import (
    arm,
    corrected_views,
    improved_poses,
    pose_surprise,
)


def log_likelihoods(
    params: dict[str, Any],
    candidates: Float[Array, "*each candidates latent"],
    batch: dict[str, Any],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
) -> Float[Array, "images candidates"]:
    """How well each of some latents explains each image.

    Args:
        params: decoder and imaging of a fitted system.
        candidates: latents, for all images the same or, with a leading axis, for each its own.
        batch: ``spectrum``, ``transfer``, ``rotation`` and ``shift`` of the images.
        config: of the system.
        template: the molecule.
        pixel_size: Å.

    Returns:
        log-likelihood at the best contrast, nats.
    """

    def score(image: dict[str, Array], c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
        return -_score(params, c_alpha, image, config, template, pixel_size).loss

    fields = ("spectrum", "transfer", "rotation", "shift")
    images = {name: batch[name] for name in fields}
    return _of_all(score, params, candidates, images, config=config, template=template)


def log_evidence(
    params: dict[str, Any],
    candidates: Float[Array, "*each candidates latent"],
    batch: dict[str, Any],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
    poses_looked_at: int,
) -> Float[Array, "images candidates"]:
    """How well each of some latents explains each image in any pose near the given one.

    In the pose that suits one conformation an image prefers conformations near that one. Each
    candidate therefore has a pose of its own, by Gauss-Newton steps from the image's fitted one,
    and the likelihood is integrated over the poses around it (Laplace), which weigh by what is
    expected of given poses.

    Args:
        params: decoder, imaging and ``pose_error`` of a fitted system.
        candidates: latents, for all images the same or, with a leading axis, for each its own.
        batch: ``spectrum``, ``transfer``, ``rotation`` and ``shift`` of the images, and
            ``correction``, shape (images, 5), from which poses set out.
        config: of the system.
        template: the molecule.
        pixel_size: Å.
        poses_looked_at: for each candidate: the first, and those of Gauss-Newton steps from there.

    Returns:
        log of the likelihood integrated over the poses, nats.
    """
    log_error, unit = params["pose_error"], arm(template)

    def score(image: dict[str, Array], c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
        def look(correction: Float[Array, " 5"], _: None) -> tuple[Array, Array]:
            given = image["rotation"][None], image["shift"][None]
            views = corrected_views(correction[None], *given, template=template)
            there = image | {name: value[0] for name, value in views.items()}
            score = _score(params, c_alpha, there, config, template, pixel_size)
            slope = pose_slope(
                params["imaging"],
                c_alpha,
                there,
                jnp.ones(image["spectrum"].shape),
                score.contrast,
                template=template,
                pixel_size=pixel_size,
            )
            slope = jax.tree.map(lambda a: a[None], slope)
            better = improved_poses(correction[None], slope, log_error, unit=unit)
            log_width = jnp.sum(jnp.log(jnp.diagonal(better.spread[0])))
            surprise = pose_surprise(correction[None], log_error)[0]
            return better.mean[0], log_width - surprise - score.loss

        values = jax.lax.scan(look, image["correction"], None, length=poses_looked_at)[1]
        return jnp.max(values)

    fields = ("spectrum", "transfer", "rotation", "shift", "correction")
    images = {name: batch[name] for name in fields}
    return _of_all(score, params, candidates, images, config=config, template=template)


def _score(
    params: dict[str, Any],
    c_alpha: Float[Array, "n 3"],
    image: dict[str, Array],
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
) -> ImageScore:
    return score_conformation(
        params["imaging"],
        c_alpha,
        image,
        jnp.ones(image["spectrum"].shape),
        template=template,
        pixel_size=pixel_size,
        contrast_deviation=config.objective.contrast_deviation,
    )


def _of_all(
    score: Callable[[dict[str, Array], Float[Array, "n 3"]], Float[Array, ""]],
    params: dict[str, Any],
    candidates: Float[Array, "*each candidates latent"],
    images: dict[str, Array],
    *,
    config: BackboneGraphConfig,
    template: Template,
) -> Float[Array, "images candidates"]:
    """A score of every image for every candidate."""
    decode = partial(network.apply, params["decoder"], config=config.decoder, template=template)

    def of_image(image: dict[str, Array], conformations: Array) -> Float[Array, " candidates"]:
        return map_images(lambda c_alpha: score(image, c_alpha), conformations)

    if candidates.ndim == 2:
        conformations = decode(candidates)
        return jax.lax.map(lambda image: of_image(image, conformations), images)
    return jax.lax.map(lambda one: of_image(one[0], decode(one[1])), (images, candidates))
