"""New images beside the conformations of images fitted before, with the decoder frozen."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.batched import map_images
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.imaging import score_conformation
from cryojax_graph.models.backbone_graph.template import Template


def log_likelihoods(
    params: dict[str, Any],
    candidates: Float[Array, "candidates latent"],
    batch: dict[str, Any],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
) -> Float[Array, "images candidates"]:
    """How well each of some latents explains each image.

    Args:
        params: decoder and imaging of a fitted system.
        candidates: latents.
        batch: ``spectrum``, ``transfer``, ``rotation`` and ``shift`` of the images.
        config: of the system.
        template: the molecule.
        pixel_size: Å.

    Returns:
        log-likelihood at the best contrast, nats.
    """
    conformations = network.apply(
        params["decoder"], candidates, config=config.decoder, template=template
    )

    def of_image(image: dict[str, Array]) -> Float[Array, " candidates"]:
        def of_candidate(c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
            score = score_conformation(
                params["imaging"],
                c_alpha,
                image,
                jnp.ones(image["spectrum"].shape),
                template=template,
                pixel_size=pixel_size,
                contrast_deviation=config.objective.contrast_deviation,
            )
            return -score.loss

        return map_images(of_candidate, conformations)

    fields = ("spectrum", "transfer", "rotation", "shift")
    return jax.lax.map(of_image, {name: batch[name] for name in fields})
