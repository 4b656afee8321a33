"""Poses found on grids: every viewing direction, in-plane angle and shift, coarse to fine."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float, Int

from cryojax_graph.forward.ctf import CTF, transfer_at
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.forward.slices import VolumeSpectrum, slice_at
from cryojax_graph.geometry import exp_map
from cryojax_graph.geometry.stable import product
from cryojax_graph.poses.polar import (
    PolarGrid,
    angular_series,
    polar_frequencies,
    polar_spectrum,
    polar_weights,
    turned_products,
)


class ViewBank(NamedTuple):
    """Projections of a reference from many directions, ready to be matched.

    Attributes:
        rotation: of each at in-plane angle 0.
        series: their angular series.
        power: angular series of their squared amplitudes.
    """

    rotation: Float[Array, "views 3 3"]
    series: Complex[Array, "modes views rings"]
    power: Complex[Array, "modes views rings"]


class PolarImage(NamedTuple):
    """An image as it is matched.

    Attributes:
        overlap: its spectrum times transfer function over noise power, rings weighted.
        power: squared transfer function over noise power, rings weighted.
    """

    overlap: Complex[Array, "rings half"]
    power: Float[Array, "rings half"]


class GridScores(NamedTuple):
    """Log-likelihood of one image at every orientation, at the best shift and contrast.

    Attributes:
        score: above that of an image without particle, shape (views, turns).
        shift: number of the best shift.
    """

    score: Float[Array, "views turns"]
    shift: Int[Array, "views turns"]


class Candidates(NamedTuple):
    """The best poses of one image, best first.

    Attributes:
        rotation: shape (candidates, 3, 3).
        shift: (x, y) in Å.
        score: log-likelihood above that of an image without particle.
    """

    rotation: Float[Array, "candidates 3 3"]
    shift: Float[Array, "candidates 2"]
    score: Float[Array, " candidates"]


def view_bank(
    volume: VolumeSpectrum, rotations: Float[Array, "views 3 3"], grid: PolarGrid, *, box: int
) -> ViewBank:
    """Project a reference along many directions.

    Args:
        volume: the reference.
        rotations: one for each direction.
        grid: polar grid of the projections.
        box: edge of the reference before padding.

    Returns:
        the bank.
    """
    kx, ky = polar_frequencies(grid)
    views = jax.lax.map(
        lambda rotation: slice_at(volume, rotation, kx, ky, box=box), rotations, batch_size=16
    )
    series = jnp.moveaxis(angular_series(views, grid), 1, 0)
    power = jnp.moveaxis(angular_series(jnp.abs(views) ** 2 + 0j, grid), 1, 0)
    return ViewBank(rotations, series, power)


def polar_image(
    image: Float[Array, "box box"],
    ctf: CTF,
    noise: Float[Array, " rings"],
    grid: PolarGrid,
    *,
    pixel_size: Scalar,
) -> PolarImage:
    """Prepare an image to be matched.

    Args:
        image: particle image.
        ctf: of the image.
        noise: power of the noise in each ring, variance per pixel.
        grid: polar grid.
        pixel_size: Å.

    Returns:
        the image on the polar grid.
    """
    box = image.shape[0]
    kx, ky = polar_frequencies(grid)
    transfer = transfer_at(ctf, kx, ky, box=box, pixel_size=pixel_size)
    weighted = transfer * (polar_weights(grid, box=box) / noise)[:, None]
    return PolarImage(weighted * polar_spectrum(image, grid), weighted * transfer)


def shift_grid(reach: float, step: float) -> Float[np.ndarray, "shifts 2"]:
    """Shifts on a square grid within a disc.

    Args:
        reach: largest shift, Å.
        step: distance of neighbours at most, Å.

    Returns:
        (x, y) in Å; the first is zero.
    """
    count = int(np.ceil(reach / step)) if reach > 0 else 0
    along = np.linspace(-reach, reach, 2 * count + 1)
    shifts = np.stack(np.meshgrid(along, along, indexing="ij"), axis=-1).reshape(-1, 2)
    length = np.linalg.norm(shifts, axis=1)
    return shifts[np.argsort(length, kind="stable")][: int(np.sum(length <= reach * (1 + 1e-9)))]


def contrast_score(
    overlap: Float[Array, "*grid"], power: Float[Array, "*grid"], precision: Scalar
) -> Float[Array, "*grid"]:
    """Log-likelihood above that of an image without particle, at the best contrast.

    Args:
        overlap: inner product of image and prediction.
        power: of the prediction with itself.
        precision: inverse variance of the Gaussian prior of the contrast about 1; with 0 only
            contrast below 0 is excluded.

    Returns:
        the maximum over the contrast of log-likelihood and prior.
    """
    precision = jnp.asarray(precision)
    scale = jnp.maximum((overlap + precision) / jnp.maximum(power + precision, 1e-30), 0.0)
    return scale * (overlap - 0.5 * scale * power) - 0.5 * precision * (scale - 1.0) ** 2


def grid_scores(
    image: PolarImage,
    bank: ViewBank,
    shifts: Float[Array, "shifts 2"],
    grid: PolarGrid,
    *,
    field: Scalar,
    contrast_precision: Scalar = 0.0,
) -> GridScores:
    """Score one image at all orientations and shifts.

    Args:
        image: from ``polar_image``.
        bank: from ``view_bank``.
        shifts: (x, y) in Å; the particle stands at ``-shift``.
        grid: polar grid of both.
        field: edge of the image, Å.
        contrast_precision: inverse variance of the contrast's prior.

    Returns:
        scores of views and turns; turn l is psi = 2π l / turns.
    """
    kx, ky = (k / jnp.asarray(field) for k in polar_frequencies(grid))
    phase = 2j * jnp.pi * (shifts[:, 0, None, None] * kx + shifts[:, 1, None, None] * ky)
    moved = angular_series(image.overlap * jnp.exp(-phase), grid)
    overlap = turned_products(jnp.moveaxis(moved, 0, 1), bank.series, grid)
    series = angular_series(image.power + 0j, grid)[:, None]
    power = turned_products(series, bank.power, grid)[0]
    best = jnp.max(overlap, axis=0)
    return GridScores(contrast_score(best, power, contrast_precision), jnp.argmax(overlap, axis=0))


def best_of_grid(
    scores: GridScores,
    bank: ViewBank,
    shifts: Float[Array, "shifts 2"],
    *,
    count: int,
) -> Candidates:
    """The best orientations of a grid, one for each maximum along the in-plane angle.

    Args:
        scores: of one image.
        bank: its projections.
        shifts: the shifts that were tried.
        count: how many candidates.

    Returns:
        the candidates.
    """
    score, turns = scores.score, scores.score.shape[1]
    peak = (score >= jnp.roll(score, 1, axis=1)) & (score > jnp.roll(score, -1, axis=1))
    value, index = jax.lax.top_k(jnp.where(peak, score, -jnp.inf).reshape(-1), count)
    view, turn = index // turns, index % turns
    turned = jax.vmap(_turned)(bank.rotation[view], turn * (2 * jnp.pi / turns))
    return Candidates(turned, shifts[scores.shift[view, turn]], value)


def orientation_cell(rotation: Float[Array, "3 3"], width: Scalar) -> Float[Array, "8 3 3"]:
    """The eight rotations in the middles of the eighths of a cubic cell.

    Args:
        rotation: the middle of the cell.
        width: of the cell, radians.

    Returns:
        rotations a quarter of the width off along each axis of the image.
    """
    corners = np.stack(np.meshgrid(*[[-1.0, 1.0]] * 3, indexing="ij"), axis=-1).reshape(8, 3)
    vectors = jnp.asarray(corners, jnp.float32) * (0.25 * jnp.asarray(width))
    return jax.vmap(lambda vector: product(exp_map(vector), rotation))(vectors)


def _turned(rotation: Float[Array, "3 3"], psi: Float[Array, ""]) -> Float[Array, "3 3"]:
    cosine, sine = jnp.cos(psi), jnp.sin(psi)
    about_z = jnp.array([[cosine, sine, 0.0], [-sine, cosine, 0.0], [0.0, 0.0, 1.0]])
    return product(about_z, rotation)
