"""Whether a map has a symmetry: it must be the same, turned by every element of the group."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.masks import soft_sphere
from cryojax_graph.forward.slices import slice_at, volume_spectrum
from cryojax_graph.geometry import spiral_rotations
from cryojax_graph.geometry.stable import product

# Slices through the spectrum, and angles of half a turn of each: directions enough for all that two
# dozen shells can hold.
_SLICES, _HALF = 32, 24
# Interpolated spectra err alike in cubic directions, by more than a round map differs between
# directions where they are padded twice only.
_PADDING = 4
# Of the sphere that holds the particle, voxels.
_EDGE = 3.0

_Spheres = Complex[Array, "slices shells half"]


class SelfLikeness(NamedTuple):
    """How alike a map and copies of it are that are turned.

    Attributes:
        correlation: of each copy with the map, in shells.
        power: of the map in each shell, as far as it differs between directions.
        noise: what of that is noise, by what is outside the particle.
        share: of the power of all shells, noise left out, that differs between directions.
    """

    correlation: Float[Array, "copies shells"]
    power: Float[Array, " shells"]
    noise: Float[Array, " shells"]
    share: Float[Array, ""]


def coarse_map(density: Float[Array, "size size size"], *, box: int) -> Float[Array, "box box box"]:
    """A map on fewer voxels, or more, of the same edge.

    Args:
        density: ``[z, y, x]``, its origin at voxel ``size // 2``.
        box: edge of the result, voxels; its origin is at voxel ``box // 2``.

    Returns:
        what the map holds below the Nyquist frequency of either.
    """
    size = density.shape[0]
    last = (min(size, box) - 1) // 2
    rows, columns = np.r_[0 : last + 1, -last:0], np.arange(last + 1)
    spectrum = jnp.fft.rfftn(jnp.fft.ifftshift(density))
    kept = spectrum[np.ix_(rows, rows, columns)]
    coarse = (
        jnp.zeros((box, box, box // 2 + 1), kept.dtype).at[np.ix_(rows, rows, columns)].set(kept)
    )
    return jnp.fft.fftshift(jnp.fft.irfftn(coarse, s=(box,) * 3)) * (box / size) ** 3


def self_likeness(
    density: Float[Array, "box box box"],
    rotations: Float[Array, "copies 3 3"],
    radii: Float[Array, " shells"],
    *,
    reach: Scalar,
) -> SelfLikeness:
    """Compare a map with itself, turned about the middle of its box.

    What is the same in all directions is left out: a round particle has most of its power there,
    and is like all its copies. So is what a shift makes of that first of all (spherical harmonics
    of degree 1): axes that pass the middle at a small distance are no other symmetry.

    Args:
        density: ``[z, y, x]``, its origin at voxel ``box // 2``; padded to four times its edge.
        rotations: of the copies.
        radii: of the shells, periods per box, above 0 and below ``box // 2``.
        reach: of the particle from the middle, voxels; what is outside is noise.

    Returns:
        the correlations; 0 of a map without any detail.
    """
    box = density.shape[0]
    inside = soft_sphere(box, radius=reach, edge=_EDGE)
    outside = 1 - inside
    level = jnp.sum(density * outside) / jnp.maximum(jnp.sum(outside), 1e-6)
    turned = jnp.concatenate([jnp.eye(3)[None], rotations])
    seen = map_images(_seen((density - level) * inside, radii), turned, chunk=1)
    left = jax.vmap(_uneven)(seen)
    power = jax.vmap(_power)(left)
    overlap = jnp.sum((left[0] * left[1:].conj()).real, axis=(1, 3))
    correlation = overlap / jnp.maximum(jnp.sqrt(power[0] * power[1:]), 1e-30)

    beside = _power(_uneven(_seen((density - level) * outside, radii)(jnp.eye(3))))
    noise = beside * jnp.sum(inside**2) / jnp.maximum(jnp.sum(outside**2), 1e-6)
    noise = jnp.minimum(noise, power[0])
    whole = jnp.sum(_power(seen[0]) - noise)
    share = jnp.sum(power[0] - noise) / jnp.maximum(whole, 1e-30)
    return SelfLikeness(correlation, power[0], noise, share)


def _seen(
    density: Float[Array, "box box box"], radii: Float[Array, " shells"]
) -> Callable[[Float[Array, "3 3"]], _Spheres]:
    """The spectrum of a map on spheres, as a function of how it is turned."""
    box, volume = density.shape[0], volume_spectrum(density, padding=_PADDING)
    slices, circle = _directions()
    kx, ky = radii[:, None] * circle[:, 0], radii[:, None] * circle[:, 1]

    def seen(rotation: Float[Array, "3 3"]) -> _Spheres:
        def one(own: Float[Array, "3 3"]) -> Complex[Array, "shells half"]:
            return slice_at(volume, product(own, rotation), kx, ky, box=box)

        return jax.vmap(one)(slices)

    return seen


def _uneven(values: _Spheres) -> _Spheres:
    """What is left on spheres without degrees 0 and 1.

    Opposite frequencies are conjugate: of these two, one is real and the other imaginary.
    """
    slices, circle = _directions()
    direction = jax.vmap(lambda own: product(circle, own[:2]))(slices)
    along = 3 * jnp.mean(values.imag[..., None] * direction[:, None], axis=(0, 2))
    slope = jnp.einsum("ra,sha->srh", along, direction, precision="highest")
    return values - jnp.mean(values.real, axis=(0, 2))[:, None] - 1j * slope


def _directions() -> tuple[Float[Array, "slices 3 3"], Float[Array, "half 2"]]:
    """Slices, and directions of half a turn in each."""
    angle = jnp.arange(_HALF) * (jnp.pi / _HALF)
    circle = jnp.stack([jnp.cos(angle), jnp.sin(angle)], axis=-1)
    return jnp.asarray(spiral_rotations(_SLICES), jnp.float32), circle


def _power(values: _Spheres) -> Float[Array, " shells"]:
    return jnp.sum(jnp.abs(values) ** 2, axis=(0, 2))
