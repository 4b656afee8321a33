"""New images beside the conformations of images fitted before, with the decoder frozen."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.objective import predicted_spectrum, score_image
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
    imaging = params["imaging"]
    noise = jnp.exp(jnp.asarray(imaging["log_noise"]))
    extra = jax.nn.softplus(imaging["extra_variance"])
    conformations = network.apply(
        params["decoder"], candidates, config=config.decoder, template=template
    )

    def of_image(image: tuple[Array, ...]) -> Float[Array, " candidates"]:
        spectrum, transfer, rotation, shift = image

        def of_candidate(c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
            predicted = predicted_spectrum(
                c_alpha,
                rotation,
                shift,
                transfer,
                extra,
                template=template,
                pixel_size=pixel_size,
            )
            return -score_image(
                jnp.exp(imaging["log_scale"]) * predicted,
                spectrum,
                noise,
                jnp.ones(spectrum.shape),
                contrast_deviation=config.objective.contrast_deviation,
            ).loss

        return jax.lax.map(of_candidate, conformations, batch_size=16)

    fields = batch["spectrum"], batch["transfer"], batch["rotation"], batch["shift"]
    return jax.lax.map(of_image, fields)
