"""First guess for the latent of an image, with the decoder frozen."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.objective import predicted_spectrum, score_image
from cryojax_graph.models.backbone_graph.template import Template


def nearest_candidates(
    params: dict[str, Any],
    candidates: Float[Array, "candidates latent"],
    batch: dict[str, Any],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
) -> Int[Array, " images"]:
    """The most probable of some latents for each image.

    The likelihood of a latent has several peaks, and climbing from the middle of the latent space
    ends on the wrong one for a good part of the images. Among candidates spread over the latents of
    images that were fitted, the best one stands on the right slope.

    Args:
        params: decoder and imaging of a fitted system.
        candidates: latents to choose from.
        batch: ``spectrum``, ``transfer``, ``rotation`` and ``shift`` of the images.
        config: of the system.
        template: the molecule.
        pixel_size: Å.

    Returns:
        number of the chosen candidate of each image.
    """
    imaging = params["imaging"]
    noise = jnp.exp(imaging["log_noise"])
    extra = jax.nn.softplus(imaging["extra_variance"])
    conformations = network.apply(
        params["decoder"], candidates, config=config.decoder, template=template
    )
    log_prior = -0.5 * jnp.sum(candidates**2, axis=-1)

    def best(image: tuple[Array, ...]) -> Int[Array, ""]:
        spectrum, transfer, rotation, shift = image

        def log_likelihood(c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
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

        scores = jax.lax.map(log_likelihood, conformations, batch_size=16)
        return jnp.argmax(scores + log_prior)

    fields = batch["spectrum"], batch["transfer"], batch["rotation"], batch["shift"]
    return jax.lax.map(best, fields)
