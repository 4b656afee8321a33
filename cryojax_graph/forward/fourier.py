"""Images and their half spectra: transforms, shifts, low-pass filters, change of box.

The half spectrum of an image has the layout of ``jnp.fft.rfft2`` and its phase origin at pixel
``box // 2``, so that a particle centred in its box has a smooth spectrum.
"""

import jax.numpy as jnp
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.grids import Scalar, frequency_axes, radial_frequency


def to_spectrum(image: Float[Array, "box box"]) -> Complex[Array, "box half"]:
    """Half spectrum of an image, phase origin at pixel ``box // 2``.

    Args:
        image: square image.

    Returns:
        sum of image(r) exp(-2πi k·r) over the pixels, shape (box, box // 2 + 1).
    """
    box = image.shape[0]
    if box % 2:
        return jnp.fft.rfft2(jnp.fft.ifftshift(image))
    # Moving the origin by half an even box is a change of sign, cheaper than moving the pixels.
    return jnp.fft.rfft2(image) * _checkerboard(box)


def to_image(spectrum: Complex[Array, "box half"]) -> Float[Array, "box box"]:
    """Image of a half spectrum; inverse of ``to_spectrum``.

    Args:
        spectrum: phase origin at pixel ``box // 2``.

    Returns:
        square image with as many rows as the spectrum.
    """
    box = spectrum.shape[0]
    if box % 2:
        return jnp.fft.fftshift(jnp.fft.irfft2(spectrum, s=(box, box)))
    return jnp.fft.irfft2(spectrum * _checkerboard(box), s=(box, box))


def _checkerboard(box: int) -> Float[Array, "box half"]:
    """exp(πi (ky + kx)) of every coefficient."""
    parity = jnp.arange(box)[:, None] + jnp.arange(box // 2 + 1)
    return jnp.where(parity % 2, -1.0, 1.0)


def filter_image(
    image: Float[Array, "box box"], transfer: Float[Array, "box half"]
) -> Float[Array, "box box"]:
    """Multiply the spectrum of an image by a real factor, a CTF for instance.

    Args:
        image: square image.
        transfer: factor of each coefficient of its half spectrum.

    Returns:
        filtered image.
    """
    # A real factor leaves the phase origin where it is, so both shifts of origin cancel.
    return jnp.fft.irfft2(jnp.fft.rfft2(image) * transfer, s=image.shape)


def shift_phase(
    shift: Float[Array, "2"], *, box: int, pixel_size: Scalar
) -> Complex[Array, "box half"]:
    """Factors that move the content of an image.

    Args:
        shift: (x, y) in Å by which the content moves towards larger coordinates.
        box: edge of the image in pixels.
        pixel_size: Å.

    Returns:
        exp(-2πi k·shift), shape (box, box // 2 + 1).
    """
    ky, kx = frequency_axes(box, pixel_size)
    along_y = jnp.exp(-2j * jnp.pi * ky * shift[1])
    along_x = jnp.exp(-2j * jnp.pi * kx * shift[0])
    return along_y[:, None] * along_x


def shift_image(
    image: Float[Array, "box box"], shift: Float[Array, "2"], *, pixel_size: Scalar = 1.0
) -> Float[Array, "box box"]:
    """Move the content of an image, periodically, by any fraction of a pixel.

    Args:
        image: square image.
        shift: (x, y) in Å towards larger coordinates. A table's shift, which says where the
            particle must move to be centred, centres the image.
        pixel_size: Å.

    Returns:
        moved image.
    """
    phase = shift_phase(shift, box=image.shape[0], pixel_size=pixel_size)
    return jnp.fft.irfft2(jnp.fft.rfft2(image) * phase, s=image.shape)


def low_pass(
    resolution: Scalar, *, box: int, pixel_size: Scalar, edge: float = 2.0
) -> Float[Array, "box half"]:
    """Low-pass filter with a raised-cosine edge.

    Args:
        resolution: Å; the filter is 1/2 at this resolution.
        box: edge of the image in pixels.
        pixel_size: Å.
        edge: width of the edge in Fourier pixels.

    Returns:
        factor in [0, 1] of each coefficient, shape (box, box // 2 + 1).
    """
    radius = radial_frequency(box, pixel_size)
    width = edge / (box * jnp.asarray(pixel_size))
    position = jnp.clip((radius - 1.0 / jnp.asarray(resolution)) / width, -0.5, 0.5)
    return 0.5 - 0.5 * jnp.sin(jnp.pi * position)


def crop_spectrum(
    spectrum: Complex[Array, "large half"], *, box: int
) -> Complex[Array, "small small_half"]:
    """Spectrum of the image sampled on fewer pixels of the same field of view.

    The two Nyquist rows of the larger spectrum that fall together in an even box are averaged, so
    that the smaller image stays the band-limited image at its own pixels.

    Args:
        spectrum: phase origin at the box centre.
        box: edge of the smaller image.

    Returns:
        spectrum of shape (box, box // 2 + 1) whose image has the same mean.
    """
    large = spectrum.shape[0]
    if box > large:
        raise ValueError(f"cannot crop a spectrum of box {large} to box {box}")
    if box == large:
        return spectrum
    rows = jnp.concatenate([spectrum[: (box + 1) // 2], spectrum[large - box // 2 :]])
    if box % 2 == 0:
        rows = rows.at[box // 2].set(0.5 * (rows[box // 2] + spectrum[box // 2]))
    return rows[:, : box // 2 + 1] * (box / large) ** 2


def pad_spectrum(
    spectrum: Complex[Array, "small half"], *, box: int
) -> Complex[Array, "large large_half"]:
    """Spectrum of the band-limited image sampled on more pixels of the same field of view.

    Args:
        spectrum: phase origin at the box centre.
        box: edge of the larger image.

    Returns:
        spectrum of shape (box, box // 2 + 1) whose image has the same mean; Nyquist of an even
        smaller box is split evenly between its two places.
    """
    small = spectrum.shape[0]
    if box < small:
        raise ValueError(f"cannot pad a spectrum of box {small} to box {box}")
    if box == small:
        return spectrum
    middle = small // 2
    padded = jnp.zeros((box, box // 2 + 1), spectrum.dtype)
    padded = padded.at[: (small + 1) // 2, : middle + 1].set(spectrum[: (small + 1) // 2])
    padded = padded.at[box - middle :, : middle + 1].set(spectrum[(small + 1) // 2 :])
    if small % 2 == 0:
        padded = padded.at[box - middle].multiply(0.5)
        padded = padded.at[middle].set(padded[box - middle])
        padded = padded.at[:, middle].multiply(0.5)
    return padded * (box / small) ** 2
