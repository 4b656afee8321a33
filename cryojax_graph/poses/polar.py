"""Spectra on polar grids, where turning an image in its plane is a shift along the angles.

One projection then serves all in-plane angles: their scores are correlations along the angles,
which the Fourier series in the angle turns into products.
"""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from cryojax_graph.geometry.stable import product


class PolarGrid(NamedTuple):
    """Rings around the origin of a spectrum, half a turn of each: the other half mirrors it.

    Attributes:
        inner: radius of the first ring, in periods per box, ≥ 1.
        outer: radius of the last ring.
        turns: angles of a whole turn, divisible by 4; in-plane angles of the correlation too.
    """

    inner: int
    outer: int
    turns: int

    @property
    def rings(self) -> int:
        """Number of rings, one Fourier pixel apart."""
        return self.outer - self.inner + 1

    @property
    def modes(self) -> int:
        """Number of terms of the Fourier series in the angle."""
        return self.turns // 2 + 1


def polar_grid(inner: int, outer: int, *, fewest_turns: int = 24) -> PolarGrid:
    """A grid whose angles are as dense as its last ring needs.

    Args:
        inner: first radius, in periods per box.
        outer: last radius.
        fewest_turns: angles of a whole turn that will do.

    Returns:
        the grid; a step along the last ring is at most a Fourier pixel.
    """
    needed = max(fewest_turns, int(np.ceil(2 * np.pi * outer)))
    return PolarGrid(inner, outer, 4 * -(-needed // 4))


def polar_frequencies(
    grid: PolarGrid,
) -> tuple[Float[Array, "rings half"], Float[Array, "rings half"]]:
    """Where the samples of half a turn lie.

    Args:
        grid: polar grid.

    Returns:
        (kx, ky) in periods per box.
    """
    radius = jnp.arange(grid.inner, grid.outer + 1, dtype=float)[:, None]
    angle = jnp.arange(grid.turns // 2) * (2 * jnp.pi / grid.turns)
    return radius * jnp.cos(angle), radius * jnp.sin(angle)


def polar_weights(grid: PolarGrid, *, box: int) -> Float[Array, " rings"]:
    """What turns sums over half a turn into sums over the pixels of an image.

    Args:
        grid: polar grid.
        box: edge of the image in pixels.

    Returns:
        weight of each ring: the area of the plane that a sample and its mirror image stand for, by
        Parseval's theorem divided by the number of pixels.
    """
    radius = jnp.arange(grid.inner, grid.outer + 1, dtype=float)
    return radius * (2 * 2 * jnp.pi / (grid.turns * box**2))


def polar_spectrum(image: Float[Array, "box box"], grid: PolarGrid) -> Complex[Array, "rings half"]:
    """Spectrum of an image on a polar grid, exact.

    Args:
        image: square image.
        grid: polar grid.

    Returns:
        sum of image(r) exp(-2πi k·r) over the pixels, phase origin at pixel ``box // 2``.
    """
    box = image.shape[0]
    position = (jnp.arange(box) - box // 2) / box
    kx, ky = (k.reshape(-1, 1) for k in polar_frequencies(grid))
    along_x = jnp.exp(-2j * jnp.pi * kx * position)
    along_y = jnp.exp(-2j * jnp.pi * ky * position)
    # A real image times a complex wave: two real products.
    rows = product(image, along_x.real.T) + 1j * product(image, along_x.imag.T)
    return jnp.einsum("yp,py->p", rows, along_y, precision="highest").reshape(grid.rings, -1)


def angular_series(
    values: Complex[Array, "*batch rings half"], grid: PolarGrid
) -> Complex[Array, "*batch modes rings"]:
    """Fourier series in the angle of a spectrum of a real image.

    The real part repeats after half a turn and has even terms only; the imaginary part changes its
    sign and has odd terms only.

    Args:
        values: samples of half a turn.
        grid: where they lie.

    Returns:
        sums over half a turn; terms 0 … turns / 2.
    """
    angle = np.arange(grid.turns // 2) * (2 * np.pi / grid.turns)
    waves = jnp.asarray(np.exp(-1j * angle[:, None] * np.arange(grid.modes)), jnp.complex64)
    even = jnp.arange(grid.modes) % 2 == 0
    series = jnp.where(
        even, *(jnp.matmul(part, waves, precision="highest") for part in (values.real, values.imag))
    )
    return jnp.swapaxes(series, -1, -2)


def turned_products(
    images: Complex[Array, "modes images rings"],
    views: Complex[Array, "modes views rings"],
    grid: PolarGrid,
) -> Float[Array, "images views turns"]:
    """Inner products of images with projections turned in their plane, for all turns at once.

    Args:
        images: angular series, rings weighted.
        views: angular series.
        grid: of both.

    Returns:
        the real part of the sum over the rings and half a turn of image times the conjugate of the
        projection turned by psi = 2π l / turns, l = 0 … turns - 1.
    """
    left = jnp.concatenate([images.real, images.imag], axis=-1)
    real = jnp.concatenate([views.real, views.imag], axis=-1)
    imaginary = jnp.concatenate([views.imag, -views.real], axis=-1)
    products = [
        jnp.einsum("mir,mvr->miv", left, right, precision="highest") for right in (real, imaginary)
    ]
    return jnp.einsum(
        "miv,mt->ivt", jnp.concatenate(products), _synthesis(grid), precision="highest"
    )


@partial(jax.jit, static_argnums=0)
def _synthesis(grid: PolarGrid) -> Float[Array, "waves turns"]:
    """Waves that make a correlation over half a turn of its terms: cosines, then minus sines."""
    angle = np.arange(grid.turns) * (2 * np.pi / grid.turns)
    order = np.arange(grid.modes)
    twice = np.where((order == 0) | (order == grid.modes - 1), 1.0, 2.0)
    phase = order[:, None] * angle
    weight = (2.0 / grid.turns) * twice[:, None]
    waves = np.concatenate([weight * np.cos(phase), -weight * np.sin(phase)])
    return jnp.asarray(waves, jnp.float32)
