"""A map with amplitudes restored and noise weighted down."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.grids import Scalar


def sharpen(
    volume: Float[Array, "box box box"],
    weights: Float[Array, " shells"],
    *,
    b_factor: Scalar,
    resolution: Scalar,
    voxel_size: Scalar,
    edge: float = 2.0,
) -> Float[Array, "box box box"]:
    """Weight shells, undo a B-factor and cut off at a resolution (Rosenthal & Henderson 2003).

    Args:
        volume: mean of two half-maps.
        weights: factor of each shell 0 … box // 2; coefficients in the corners become 0.
        b_factor: Å², of the fall-off exp(-B k² / 4) that is undone; positive sharpens.
        resolution: Å, where the low-pass filter is at a half.
        voxel_size: Å.
        edge: width of its raised-cosine edge, shells.

    Returns:
        the sharpened map.
    """
    box = volume.shape[0]
    k = jnp.fft.fftfreq(box) * box
    columns = jnp.arange(box // 2 + 1)
    radius = jnp.sqrt(k[:, None, None] ** 2 + k[:, None] ** 2 + columns**2)
    step = 1.0 / (box * jnp.asarray(voxel_size))
    limit = 1.0 / (jnp.asarray(resolution) * step)
    position = jnp.clip((radius - limit) / edge, -0.5, 0.5)
    # Where the filter is 0 the exponential may overflow.
    frequency = jnp.minimum(radius, limit + edge) * step
    gain = jnp.exp(jnp.asarray(b_factor) / 4 * frequency**2)
    padded = jnp.concatenate([weights, jnp.zeros(1)])
    shell = jnp.minimum(jnp.round(radius).astype(int), box // 2 + 1)
    factor = (0.5 - 0.5 * jnp.sin(jnp.pi * position)) * gain * padded[shell]
    return jnp.fft.irfftn(jnp.fft.rfftn(volume) * factor, s=volume.shape)
