"""Coordinates of pixels and of the coefficients of a half spectrum."""

import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Real

Scalar = Real[ArrayLike, ""]


def pixel_coordinates(box: int, pixel_size: Scalar = 1.0) -> Float[Array, " box"]:
    """Coordinates of pixel centres along one axis.

    Args:
        box: number of pixels, even or odd; the origin is pixel ``box // 2``.
        pixel_size: Å.

    Returns:
        coordinates in Å, shape (box,).
    """
    return (jnp.arange(box) - box // 2) * jnp.asarray(pixel_size, float)


def frequency_indices(box: int) -> tuple[Float[Array, " y"], Float[Array, " x"]]:
    """Whole numbers of periods per box of the two axes of ``jnp.fft.rfft2``.

    Args:
        box: edge of the image in pixels.

    Returns:
        indices along y, shape (box,), and along x, shape (box // 2 + 1,).
    """
    ky = (jnp.arange(box) + box // 2) % box - box // 2
    return ky * 1.0, jnp.arange(box // 2 + 1) * 1.0


def frequency_axes(
    box: int, pixel_size: Scalar = 1.0
) -> tuple[Float[Array, " y"], Float[Array, " x"]]:
    """Frequencies of the two axes of ``jnp.fft.rfft2`` of a square image.

    Args:
        box: edge of the image in pixels.
        pixel_size: Å.

    Returns:
        frequencies in 1/Å along y, shape (box,), and along x, shape (box // 2 + 1,).
    """
    ky, kx = frequency_indices(box)
    step = 1.0 / (box * jnp.asarray(pixel_size, float))
    return ky * step, kx * step


def radial_frequency(box: int, pixel_size: Scalar = 1.0) -> Float[Array, "y x"]:
    """Distance from the origin of every coefficient of a half spectrum.

    Args:
        box: edge of the image in pixels.
        pixel_size: Å.

    Returns:
        frequencies in 1/Å, shape (box, box // 2 + 1).
    """
    ky, kx = frequency_axes(box, pixel_size)
    return jnp.sqrt(ky[:, None] ** 2 + kx**2)


def spectrum_multiplicity(box: int) -> Float[Array, " x"]:
    """How often each column of a half spectrum occurs in the whole one.

    Columns kx = 0 and, for an even box, Nyquist hold their own mirror images; others stand for two.

    Args:
        box: edge of the image in pixels.

    Returns:
        1 or 2 for each column, shape (box // 2 + 1,).
    """
    column = jnp.arange(box // 2 + 1)
    return jnp.where((column == 0) | (2 * column == box), 1.0, 2.0)
