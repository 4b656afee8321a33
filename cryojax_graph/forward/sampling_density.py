"""How densely slices sample a spectrum, from the weights of its voxels and of their neighbours."""

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

# What is left at the edge of the map, along an axis, of the window that smooths the weights.
_WINDOW_AT_EDGE = 0.5
# What a voxel may give to either neighbour at a time: of more, nothing would be left in its place.
_MOST_ASIDE = 0.25


def sampling_density(weight: Float[Array, "z y x"], *, padding: float) -> Float[Array, "z y x"]:
    """What data are divided by, so that smoothed weights divided by it are nearly 1.

    One step of the iteration that makes them 1 (Pipe & Menon 1999, Magn. Reson. Med. 41:179), with
    a raised cosine of the map as its window.

    Args:
        weight: sum over all slices in each voxel of the half spectrum, x from 0; not negative.
        padding: size of the spectrum beside that of the map, 1 to 3.

    Returns:
        the density, in the unit of the weights; 0 where neither a voxel nor a neighbour has any.
    """
    once = _smooth(weight, padding)
    share = jnp.where(once > 0, weight / jnp.where(once > 0, once, 1.0), 0.0)
    return once * _smooth(share, padding)


def _smooth(weight: Float[Array, "z y x"], padding: float) -> Float[Array, "z y x"]:
    """Weights averaged with their neighbours along each axis, as by a raised cosine of the map."""
    aside = 0.5 * (1.0 - _WINDOW_AT_EDGE) / (1.0 - np.cos(np.pi / padding))
    if aside <= _MOST_ASIDE + 1e-9:
        return _averaged(weight, aside)
    # Finer samples have more neighbours; twice leaves 0.56 of the window at padding 3.
    return _averaged(_averaged(weight, _MOST_ASIDE), _MOST_ASIDE)


def _averaged(weight: Float[Array, "z y x"], aside: float) -> Float[Array, "z y x"]:
    """Weights with this share of each neighbour's along each axis."""
    size = weight.shape[0]
    mirror = (2 * (size // 2) - np.arange(size)) % size
    # Beyond either end of its columns the half spectrum goes on at the mirror images.
    ends = weight[:, :, jnp.array([1, -2 if size % 2 == 0 else -1])][mirror][:, mirror]
    along = jnp.concatenate([ends[:, :, :1], weight, ends[:, :, 1:]], axis=2)
    weight = aside * (along[:, :, :-2] + along[:, :, 2:]) + (1 - 2 * aside) * weight
    for axis in (0, 1):
        both = jnp.roll(weight, 1, axis) + jnp.roll(weight, -1, axis)
        weight = aside * both + (1 - 2 * aside) * weight
    return weight
