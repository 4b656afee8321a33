"""What motion explains of images that the decoder has never seen."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.objective import predicted_spectrum, score_image
from cryojax_graph.models.backbone_graph.template import Template

_DRAWS = 8


def motion_gain(
    params: dict[str, Any],
    batch: dict[str, Any],
    images: Int[Array, " held"],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
) -> Float[Array, " held"]:
    """Evidence for motion in each held-out image.

    The variational bound on the log-probability of the image, minus its log-likelihood under the
    conformation at the centre of the latent space: positive where a conformation of its own
    explains the image better than one for all would, the cost of choosing it included. Where there
    is no motion to be found it is not positive but by chance.

    Args:
        params: decoder and imaging fitted to other images, latents of these.
        batch: ``spectrum``, ``transfer``, ``rotation`` and ``shift`` of the images.
        images: their rows in the table of latents.
        config: of the system.
        template: the molecule.
        pixel_size: Å.

    Returns:
        nats per image.
    """
    imaging, latents = params["imaging"], params["latents"]
    noise = jnp.exp(imaging["log_noise"])
    extra = jax.nn.softplus(imaging["extra_variance"])
    decode = partial(network.apply, params["decoder"], config=config.decoder, template=template)
    # Antithetic draws: their mean is the posterior's own.
    half = jax.random.normal(jax.random.key(0), (_DRAWS // 2, config.decoder.latent_size))
    draws = jnp.concatenate([half, -half])

    def one(row: tuple[Array, ...]) -> Float[Array, ""]:
        mean, log_deviation, spectrum, transfer, rotation, shift = row

        def gain(latent: Float[Array, " latent"]) -> Float[Array, ""]:
            predicted = predicted_spectrum(
                decode(latent),
                rotation,
                shift,
                transfer,
                extra,
                template=template,
                pixel_size=pixel_size,
            )
            score = score_image(
                jnp.exp(imaging["log_scale"]) * predicted,
                spectrum,
                noise,
                jnp.ones(spectrum.shape),
                contrast_deviation=config.objective.contrast_deviation,
            )
            return -score.loss

        deviation = jnp.exp(log_deviation)
        moving = jnp.mean(jax.vmap(gain)(mean + deviation * draws))
        surprise = 0.5 * jnp.sum(mean**2 + deviation**2 - 1.0 - 2.0 * log_deviation)
        return moving - surprise - gain(jnp.zeros_like(mean))

    fields = batch["spectrum"], batch["transfer"], batch["rotation"], batch["shift"]
    rows = (latents["mean"][images], latents["log_deviation"][images], *fields)
    return jax.lax.map(one, rows, batch_size=16)
