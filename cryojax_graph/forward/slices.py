"""Voxel map to image by a slice through its Fourier transform."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float, Inexact, Int

from cryojax_graph.forward.grids import Scalar, frequency_indices


class VolumeSpectrum(NamedTuple):
    """Oversampled half spectrum of a map, ready to be sliced.

    Attributes:
        coefficients: phase origin at the map's centre; z and y run from the most negative frequency
            to the most positive, x from 0, with a margin of one for interpolation.
    """

    coefficients: Complex[Array, "z y x"]


def can_be_numbered(box: int, *, padding: int = 2) -> bool:
    """Whether the coefficients of the spectrum of a map can be numbered by 32 bits.

    Args:
        box: edge of the map, voxels.
        padding: as for ``volume_spectrum``.

    Returns:
        false from some 800 voxels on, padded twice.
    """
    size = padding * box
    return (size + 1) ** 2 * (size // 2 + 2) < 2**31


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
    periodic = jnp.pad(spectrum, ((0, 1), (0, 1), (0, 0)), mode="wrap")
    return VolumeSpectrum(jnp.pad(periodic, ((0, 0), (0, 0), (0, 1))))


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
    ky, kx = frequency_indices(box)
    value = slice_at(volume, rotation, kx, ky[:, None], box=box)
    return jnp.where(kx**2 + ky[:, None] ** 2 <= (box // 2) ** 2, value, 0.0)


def slice_at(
    volume: VolumeSpectrum,
    rotation: Float[Array, "3 3"],
    kx: Float[Array, "*#points"],
    ky: Float[Array, "*#points"],
    *,
    box: int,
) -> Complex[Array, "*points"]:
    """Spectrum of the projection of a map at any frequencies within Nyquist, trilinear.

    Args:
        volume: from ``volume_spectrum``.
        rotation: takes object to image coordinates.
        kx: periods per box along x.
        ky: periods per box along y.
        box: edge of the map before padding, in pixels.

    Returns:
        spectrum with phase origin at pixel ``box // 2``.
    """
    # x_image = R x_object, so a frequency of the image lies at Rᵀ k in the object.
    padding = (volume.coefficients.shape[0] - 1) // box
    x, y, z = (padding * (kx * rotation[0, i] + ky * rotation[1, i]) for i in range(3))
    mirrored = x < 0
    sign = jnp.where(mirrored, -1.0, 1.0)
    value = interpolate_spectrum(volume.coefficients, sign * x, sign * y, sign * z)
    return jnp.where(mirrored, value.conj(), value)


def interpolate_spectrum(
    coefficients: Inexact[Array, "z y x"],
    x: Float[Array, "*points"],
    y: Float[Array, "*points"],
    z: Float[Array, "*points"],
) -> Inexact[Array, "*points"]:
    """Trilinear interpolation of a half spectrum.

    Args:
        coefficients: in the layout of ``VolumeSpectrum``, complex or real.
        x: frequencies in voxels of the spectrum, not negative.
        y: the same, of either sign.
        z: the same.

    Returns:
        one value per frequency.
    """
    _, size_y, size_x = coefficients.shape
    flat = coefficients.reshape(-1)
    corner, (fraction_x, fraction_y, fraction_z) = cells_of(x, y, z, shape=coefficients.shape)

    def pick(index: Int[Array, "..."]) -> Inexact[Array, "..."]:
        return flat.at[index].get(mode="promise_in_bounds")

    def along_x(index: Int[Array, "..."]) -> Inexact[Array, "..."]:
        low, high = pick(index), pick(index + 1)
        return low + fraction_x * (high - low)

    def along_y(index: Int[Array, "..."]) -> Inexact[Array, "..."]:
        low, high = along_x(index), along_x(index + size_x)
        return low + fraction_y * (high - low)

    low, high = along_y(corner), along_y(corner + size_y * size_x)
    return low + fraction_z * (high - low)


def cells_of(
    x: Float[Array, "*points"],
    y: Float[Array, "*points"],
    z: Float[Array, "*points"],
    *,
    shape: tuple[int, ...],
) -> tuple[Int[Array, "*points"], tuple[Float[Array, "*points"], ...]]:
    """Where frequencies lie among the voxels of a half spectrum.

    Args:
        x: not negative, in voxels of the spectrum.
        y: the same, of either sign.
        z: the same.
        shape: of the spectrum in the layout of ``VolumeSpectrum``, (z, y, x).

    Returns:
        the lowest corner of the cell as an index into the flattened spectrum, and how far into the
        cell the point lies along x, y and z, 0 to 1.
    """
    size_z, size_y, size_x = shape
    middle = (size_z - 1) // 2
    # A frequency at the border, or beyond it by rounding, belongs to the last cell.
    lowest_x = jnp.clip(jnp.floor(x), 0, size_x - 2)
    lowest_y = jnp.clip(jnp.floor(y), -middle, size_y - 2 - middle)
    lowest_z = jnp.clip(jnp.floor(z), -middle, size_z - 2 - middle)
    column = lowest_x.astype(jnp.int32)
    row = lowest_y.astype(jnp.int32) + middle
    section = lowest_z.astype(jnp.int32) + middle
    corner = (section * size_y + row) * size_x + column
    return corner, (x - lowest_x, y - lowest_y, z - lowest_z)
