"""The coefficients of a half spectrum that poses are compared on, from coarse to fine."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from cryojax_graph.forward.ctf import CTF, transfer_at
from cryojax_graph.forward.fourier import to_spectrum
from cryojax_graph.forward.grids import Scalar


class Band(NamedTuple):
    """Coefficients between two radii, each counted once, sorted by radius.

    A prefix is a band with a lower limit of resolution.

    Attributes:
        index: place in the flattened half spectrum.
        kx: periods per box.
        ky: periods per box.
        multiplicity: how often each occurs in the whole spectrum.
    """

    index: Int[np.ndarray, " points"]
    kx: Float[np.ndarray, " points"]
    ky: Float[np.ndarray, " points"]
    multiplicity: Float[np.ndarray, " points"]


class Observed(NamedTuple):
    """An image as poses are compared with it.

    Attributes:
        spectrum: coefficients of its band, phase origin at the centre of the box.
        transfer: its contrast transfer function.
        weight: how often each coefficient occurs over the number of pixels and the power of the
            noise.
    """

    spectrum: Complex[Array, " points"]
    transfer: Float[Array, " points"]
    weight: Float[Array, " points"]


def fourier_band(box: int, inner: float | int, outer: float | int) -> Band:
    """The coefficients between two radii.

    Args:
        box: edge of the image in pixels.
        inner: least radius in periods per box, above 0.
        outer: largest radius, at most ``box // 2``.

    Returns:
        the band; of the column kx = 0, which mirrors itself, and of an even box's Nyquist column
        the upper half.
    """
    ky = (np.arange(box) + box // 2) % box - box // 2
    kx = np.arange(box // 2 + 1)
    radius = np.hypot(ky[:, None], kx)
    wanted = (radius >= inner) & (radius <= outer)
    itself = (kx == 0) | (2 * kx == box)
    own_mirror = itself & ((ky[:, None] == 0) | (2 * np.abs(ky[:, None]) == box))
    wanted &= ~(itself & (ky[:, None] < 0)) | own_mirror
    index = np.flatnonzero(wanted)
    index = index[np.argsort(radius.ravel()[index], kind="stable")]
    row, column = np.divmod(index, len(kx))
    multiplicity = np.where(own_mirror[row, column], 1.0, 2.0)
    return Band(index, kx[column] * 1.0, ky[row] * 1.0, multiplicity)


def points_within(band: Band, radius: float | int) -> int:
    """Length of the prefix up to a radius.

    Args:
        band: sorted by radius.
        radius: periods per box.

    Returns:
        number of points.
    """
    return int(np.searchsorted(np.hypot(band.kx, band.ky), radius, side="right"))


def prefix(band: Band, points: int) -> Band:
    """The coarsest part of a band.

    Args:
        band: sorted by radius.
        points: how many.

    Returns:
        the band up to the radius of the last of them.
    """
    return Band(*(values[:points] for values in band))


def observe(
    image: Float[Array, "box box"],
    ctf: CTF,
    noise: Float[Array, " shells"],
    band: Band,
    *,
    pixel_size: Scalar,
) -> Observed:
    """Prepare an image to be compared.

    Args:
        image: particle image.
        ctf: of the image.
        noise: power of the noise in shells 0 … box // 2, variance per pixel.
        band: the coefficients to use.
        pixel_size: Å.

    Returns:
        the image on the band.
    """
    box = image.shape[0]
    kx, ky = jnp.asarray(band.kx, jnp.float32), jnp.asarray(band.ky, jnp.float32)
    power = jnp.interp(jnp.hypot(kx, ky), jnp.arange(len(noise), dtype=float), noise)
    return Observed(
        spectrum=to_spectrum(image).reshape(-1)[band.index],
        transfer=transfer_at(ctf, kx, ky, box=box, pixel_size=pixel_size),
        weight=jnp.asarray(band.multiplicity, jnp.float32) / (box**2 * power),
    )
