"""Strength of the images before the first step."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.fourier import low_pass
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.imaging import predicted_spectrum
from cryojax_graph.models.backbone_graph.objective import Scene


def scale_of_images(
    batch: dict[str, np.ndarray], scene: Scene, config: BackboneGraphConfig
) -> Float[Array, ""]:
    """What the template has to be multiplied by to look like the images, below the coarsest limit.

    Images come in any unit; left to the optimiser, the scale would be a walk of thousands of steps.
    """
    template, size = scene.template, scene.pixel_size
    box = batch["spectrum"].shape[1]
    band = low_pass(config.objective.coarsest, box=box, pixel_size=size).at[0, 0].set(0.0)

    def of_image(image: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        observed, rotation, shift, transfer = image
        predicted = predicted_spectrum(
            template.c_alpha, rotation, shift, transfer, 1.0, template=template, pixel_size=size
        )
        overlap = jnp.sum(band * (predicted.conj() * observed).real)
        energy = jnp.sum(band * jnp.abs(predicted) ** 2)
        return overlap, energy, jnp.sum(band * jnp.abs(observed) ** 2)

    fields = tuple(batch[name] for name in ("spectrum", "rotation", "shift", "transfer"))
    overlap, energy, power = map(jnp.sum, jax.jit(partial(map_images, of_image))(fields))
    # Where the template does not resemble the images at all, a tenth of their own strength.
    return jnp.maximum(overlap / energy, 0.1 * jnp.sqrt(power / energy))
