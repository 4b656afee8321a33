"""Voxel map to image by a slice through its Fourier transform."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.grids import Scalar


class VolumeSpectrum(NamedTuple):
    """Oversampled half spectrum of a map, ready to be sliced.

    Attributes:
        coefficients: phase origin at the map's centre; z and y run from the most negative frequency
            to the most positive, x from 0, with a margin of one for interpolation.
    """

    coefficients: Complex[Array, "z y x"]


def volume_spectrum(
    volume: Float[Array, "box box box"], *, voxel_size: Scalar = 1.0, padding: int = 2
) -> VolumeSpectrum:
    """Prepare a map for slicing: gridding correction, zero padding, transform.

    Args:
        volume: density, ``[z, y, x]``, origin at voxel ``box // 2``; even or odd box.
        voxel_size: Å; with it a density per Å³ projects to a density per Å².
        padding: how many times larger the padded box is; 2 makes trilinear interpolation accurate
            to about 1 %, 1 is four times faster to prepare and keeps large maps in cache.

    Returns:
        the spectrum, linear in ``volume``.
    """
    box = volume.shape[0]
    padded = padding * box
    offset = (jnp.arange(box) - box // 2) / padded
    # Trilinear interpolation of the spectrum multiplies the map by sinc² along each axis.
    correction = jnp.sinc(offset) ** -2.0
    corrected = volume * (
        correction[:, None, None] * correction[:, None] * correction * jnp.asarray(voxel_size)
    )
    before = padded // 2 - box // 2
    filled = jnp.pad(corrected, (before, padded - box - before))
    spectrum = jnp.fft.rfftn(jnp.fft.ifftshift(filled))
    spectrum = jnp.fft.fftshift(spectrum, axes=(0, 1))
    return VolumeSpectrum(jnp.pad(spectrum, (0, 1)))


def slice_spectrum(
    volume: VolumeSpectrum, rotation: Float[Array, "3 3"], *, box: int
) -> Complex[Array, "box half"]:
    """Half spectrum of the projection of a map (Fourier slice theorem), trilinear.

    Args:
        volume: from ``volume_spectrum``.
        rotation: takes object to image coordinates; the projection runs along image z.
        box: edge of the map before padding, and of the image, in pixels.

    Returns:
        spectrum with phase origin at pixel ``box // 2``, shape (box, box // 2 + 1); 0 beyond the
        Nyquist frequency, where a rotated slice leaves the map's own box.
    """
    coefficients = volume.coefficients
    padded = coefficients.shape[0] - 1
    centre = padded // 2
    ky = jnp.round(jnp.fft.fftfreq(box) * box)[:, None]
    kx = jnp.arange(box // 2 + 1, dtype=rotation.dtype)
    step = padded // box
    # x_image = R x_object, so the frequencies of the object are Rᵀ k.
    x, y, z = (step * (kx * rotation[0, i] + ky * rotation[1, i]) for i in range(3))
    mirrored = x < 0
    x, y, z = (jnp.where(mirrored, -c, c) for c in (x, y, z))
    x0, y0, z0 = (jnp.floor(c) for c in (x, y, z))
    fx, fy, fz = x - x0, y - y0, z - z0
    inside = kx**2 + ky**2 <= (box // 2) ** 2
    weight = inside.astype(rotation.dtype)
    size_z, size_y, size_x = coefficients.shape
    xi = x0.astype(jnp.int32)
    yi = y0.astype(jnp.int32) + centre
    zi = z0.astype(jnp.int32) + centre
    first = (jnp.clip(zi, 0, size_z - 2) * size_y + jnp.clip(yi, 0, size_y - 2)) * size_x
    first += jnp.clip(xi, 0, size_x - 2)
    flat = coefficients.reshape(-1)

    def along_x(start):  # noqa: ANN001, ANN202
        low, high = flat.at[start].get(mode="promise_in_bounds"), flat.at[start + 1].get(
            mode="promise_in_bounds"
        )
        return low + fx * (high - low)

    def along_y(start):  # noqa: ANN001, ANN202
        low, high = along_x(start), along_x(start + size_x)
        return low + fy * (high - low)

    low, high = along_y(first), along_y(first + size_y * size_x)
    value = (low + fz * (high - low)) * weight
    return jnp.where(mirrored, value.conj(), value)
