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

# The first, and those of Gauss-Newton steps from there. With two, conformations that suit the first
# pose are preferred by a tenth of what tells them apart.
POSES_LOOKED_AT = 4


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

    def of_image(
        image: dict[str, Array], conformations: Float[Array, "candidates n 3"]
    ) -> Float[Array, " candidates"]:
        def score(c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
            return -_score(params, c_alpha, image, config, template, pixel_size).loss

        return map_images(score, conformations)

    fields = ("spectrum", "transfer", "rotation", "shift")
    images = {name: batch[name] for name in fields}
    return _of_all(of_image, params, candidates, images, config=config, template=template)


def log_evidence(
    params: dict[str, Any],
    candidates: Float[Array, "*each candidates latent"],
    batch: dict[str, Any],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
    in_any_pose: int,
) -> Float[Array, "images candidates"]:
    """How well each of some latents explains each image in any pose near the given one.

    In the pose that suits one conformation an image prefers conformations near that one. Each
    candidate therefore has a pose of its own, by Gauss-Newton steps from the image's fitted one,
    and the likelihood is integrated over the poses around it (Laplace), which weigh by what is
    expected of given poses. That takes twenty times as long as to hold the candidate against the
    image in the fitted one, so that candidates which are not among the most probable there may be
    left out.

    Args:
        params: decoder, imaging and ``pose_error`` of a fitted system.
        candidates: latents, for all images the same or, with a leading axis, for each its own.
        batch: ``spectrum``, ``transfer``, ``rotation`` and ``shift`` of the images, and
            ``correction``, shape (images, 5), from which poses set out.
        config: of the system.
        template: the molecule.
        pixel_size: Å.
        in_any_pose: candidates that are looked at for each image, the most probable in its fitted
            pose; with as many as there are, none is left out.

    Returns:
        log of the likelihood integrated over the poses, nats; minus infinity for candidates that
        are left out.
    """
    log_error, unit = params["pose_error"], arm(template)

    def there(image: dict[str, Array], correction: Float[Array, " 5"]) -> dict[str, Array]:
        given = image["rotation"][None], image["shift"][None]
        views = corrected_views(correction[None], *given, template=template)
        return image | {name: value[0] for name, value in views.items()}

    def in_fitted_pose(image: dict[str, Array], c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
        image = there(image, image["correction"])
        return -_score(params, c_alpha, image, config, template, pixel_size).loss

    def score(image: dict[str, Array], c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
        def look(correction: Float[Array, " 5"], _: None) -> tuple[Array, Array]:
            seen = there(image, correction)
            score = _score(params, c_alpha, seen, config, template, pixel_size)
            slope = pose_slope(
                params["imaging"],
                c_alpha,
                seen,
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

        values = jax.lax.scan(look, image["correction"], None, length=POSES_LOOKED_AT)[1]
        return jnp.max(values)

    def of_image(
        image: dict[str, Array], conformations: Float[Array, "candidates n 3"]
    ) -> Float[Array, " candidates"]:
        if in_any_pose >= len(conformations):
            return map_images(partial(score, image), conformations)
        first = map_images(partial(in_fitted_pose, image), conformations)
        likely = jax.lax.top_k(first, in_any_pose)[1]
        values = map_images(partial(score, image), conformations[likely])
        return jnp.full(len(conformations), -jnp.inf).at[likely].set(values)

    fields = ("spectrum", "transfer", "rotation", "shift", "correction")
    images = {name: batch[name] for name in fields}
    return _of_all(of_image, params, candidates, images, config=config, template=template)


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
    of_image: Callable[[dict[str, Array], Float[Array, "candidates n 3"]], Array],
    params: dict[str, Any],
    candidates: Float[Array, "*each candidates latent"],
    images: dict[str, Array],
    *,
    config: BackboneGraphConfig,
    template: Template,
) -> Float[Array, "images candidates"]:
    """Scores of every image for the candidates."""
    decode = partial(network.apply, params["decoder"], config=config.decoder, template=template)
    if candidates.ndim == 2:
        conformations = decode(candidates)
        return jax.lax.map(lambda image: of_image(image, conformations), images)
    return jax.lax.map(lambda one: of_image(one[0], decode(one[1])), (images, candidates))
