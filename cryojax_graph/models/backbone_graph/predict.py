"""From fitted parameters to conformations, an ordered latent space and its uncertainty."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key

from cryojax_graph.forward.batched import map_images
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.template import Template

# The ends of the path are where some images still are.
_PATH_FROM, _PATH_TO = 0.02, 0.98

Params = dict[str, Any]


def decode(
    params: Params,
    latents: Float[Array, "images latent"],
    *,
    config: BackboneGraphConfig,
    template: Template,
    batch_size: int = 256,
) -> Float[Array, "images n 3"]:
    """Conformations of many latents.

    Args:
        params: of the decoder.
        latents: one per conformation.
        config: of the system.
        template: the molecule.
        batch_size: conformations at a time.

    Returns:
        C-alpha positions, Å.
    """
    one = partial(network.apply, params, config=config.decoder, template=template)
    return map_images(one, latents, chunk=batch_size)


def position_deviation(
    key: Key[Array, ""],
    params: Params,
    mean: Float[Array, "images latent"],
    log_deviation: Float[Array, "images latent"],
    *,
    config: BackboneGraphConfig,
    template: Template,
    draws: int = 8,
    batch_size: int = 64,
) -> Float[Array, " images"]:
    """How far the conformation of an image may be off, as its posterior tells.

    Args:
        key: of the draws.
        params: of the decoder.
        mean: of each latent's posterior.
        log_deviation: logarithm of its standard deviations.
        config: of the system.
        template: the molecule.
        draws: from each posterior.
        batch_size: images at a time.

    Returns:
        root mean square deviation of the C-alpha atoms around the decoded mean, Å.
    """
    one = partial(network.apply, params, config=config.decoder, template=template)

    def deviation(key: Array, centre: Array, log_width: Array) -> Array:
        noise = jax.random.normal(key, (draws, len(centre)))
        around = jax.vmap(one)(centre + jnp.exp(log_width) * noise)
        return jnp.sqrt(jnp.mean(jnp.sum((around - one(centre)) ** 2, axis=-1)))

    keys = jax.random.split(key, len(mean))
    return map_images(deviation, keys, mean, log_deviation, chunk=batch_size)


def order_latents(
    latents: Float[np.ndarray, "images latent"], conformations: Float[np.ndarray, "images n 3"]
) -> tuple[Float[np.ndarray, "images latent"], Float[np.ndarray, "latent latent"]]:
    """Turn the latent space so that its axes follow the motion, the largest first.

    An autodecoder leaves the axes of its latent space arbitrary. Among all linear directions of the
    whitened latents, the first returned one explains most of the displacement of the structure,
    the second most of the rest, and so on (reduced-rank regression of structure on latent).

    Args:
        latents: one per image.
        conformations: their C-alpha positions, Å, in one frame.

    Returns:
        turned latents with zero mean and unit variance, and the matrix that takes centred latents
        to them (from the right). The sign makes the largest loading positive.
    """
    centred = latents - latents.mean(0)
    structure = np.asarray(conformations, float).reshape(len(latents), -1)
    structure -= structure.mean(0)
    # Fewer images than latents leave axes without any; they are axes all the same.
    lacking = max(centred.shape[1] - len(centred), 0)
    filled = np.pad(centred, ((0, lacking), (0, 0)))
    left, spread, right = np.linalg.svd(filled, full_matrices=False)
    usable = spread > 1e-6 * max(spread.max(initial=0.0), 1e-12)
    white = left[: len(latents)] * usable * np.sqrt(len(latents))
    loading = white.T @ structure
    # With fewer coordinates than latents, the turn has to be completed.
    complete = loading.shape[1] < loading.shape[0]
    turn = np.linalg.svd(loading, full_matrices=complete)[0]
    inverse = np.where(usable, np.sqrt(len(latents)) / np.where(usable, spread, 1.0), 0.0)
    matrix = (right.T * inverse) @ turn
    largest = np.abs(matrix).argmax(0)
    sign = np.sign(matrix[largest, np.arange(matrix.shape[1])])
    matrix = matrix * np.where(sign == 0, 1.0, sign)
    return centred @ matrix, matrix


def path_latents(
    latents: Float[np.ndarray, "images latent"], points: int
) -> tuple[Float[np.ndarray, " points"], Float[np.ndarray, "points latent"]]:
    """Points along the leading axis, each at the mean of the images near it.

    The other axes follow the images, so the path stays where images are.

    Args:
        latents: ordered.
        points: number of points.

    Returns:
        positions on the leading axis, equally spaced, and the latent of each point.
    """
    leading = latents[:, 0]
    first, last = np.quantile(leading, [_PATH_FROM, _PATH_TO])
    positions = np.linspace(first, last, points)
    width = max((positions[-1] - positions[0]) / max(points - 1, 1), 1e-6)
    weight = np.exp(-0.5 * ((leading - positions[:, None]) / width) ** 2) + 1e-12
    around = weight @ latents / weight.sum(1, keepdims=True)
    around[:, 0] = positions
    return positions, around
