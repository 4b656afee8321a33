"""Poses found on grids: every viewing direction, in-plane angle and shift, coarse to fine."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.ctf import CTF, transfer_at
from cryojax_graph.forward.fourier import crop_spectrum, to_image, to_spectrum
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.geometry.stable import product
from cryojax_graph.poses.band import Band, Observed
from cryojax_graph.poses.grids import turned_in_plane
from cryojax_graph.poses.polar import (
    PolarGrid,
    angular_series,
    polar_frequencies,
    polar_spectrum,
    polar_weights,
    turned_products,
)
from cryojax_graph.poses.reference import Reference, project
from cryojax_graph.poses.refine import Pose, Prior, Project

# Fourier pixels kept beyond the last ring.
_MARGIN = 4


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
    """Log-likelihood of one image at every orientation, above that of an image without particle.

    Attributes:
        score: at the best shift and contrast, with their log priors, shape (views, turns).
        marginal: with the mean likelihood over all shifts in place of the largest.
        overlap: inner products of the image, at every shift, with the predictions.
        power: of the predictions with themselves.
    """

    score: Float[Array, "views turns"]
    marginal: Float[Array, "views turns"]
    overlap: Float[Array, "shifts views turns"]
    power: Float[Array, "views turns"]


class Candidates(NamedTuple):
    """The best poses of one image, best first.

    Attributes:
        rotation: shape (candidates, 3, 3).
        shift: (x, y) in Å.
        scale: contrast.
        score: log-likelihood and log prior, as in ``GridScores``.
        marginal: as in ``GridScores``.
    """

    rotation: Float[Array, "candidates 3 3"]
    shift: Float[Array, "candidates 2"]
    scale: Float[Array, " candidates"]
    score: Float[Array, " candidates"]
    marginal: Float[Array, " candidates"]


def view_bank(
    reference: Reference, rotations: Float[Array, "views 3 3"], grid: PolarGrid
) -> ViewBank:
    """Project a reference along many directions.

    Args:
        reference: in the units of the images.
        rotations: one for each direction.
        grid: polar grid of the projections.

    Returns:
        the bank.
    """
    kx, ky = polar_frequencies(grid)
    views = map_images(lambda rotation: project(reference, rotation, kx, ky), rotations)
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
    # What lies beyond the last ring is cut off first: small images are quicker to sample.
    small = min(box, 2 * (grid.outer + _MARGIN))
    coarse = to_image(crop_spectrum(to_spectrum(image), box=small)) * (box / small) ** 2
    kx, ky = polar_frequencies(grid)
    transfer = transfer_at(ctf, kx, ky, box=box, pixel_size=pixel_size)
    weighted = transfer * (polar_weights(grid, box=box) / noise)[:, None]
    return PolarImage(weighted * polar_spectrum(coarse, grid), weighted * transfer)


def best_contrast(
    overlap: Float[Array, "*#grid"], power: Float[Array, "*#grid"], precision: Scalar
) -> Float[Array, "*grid"]:
    """The most probable contrast of a prediction.

    Args:
        overlap: inner product of image and prediction.
        power: of the prediction with itself.
        precision: inverse variance of the Gaussian prior of the contrast about 1; with 0 only
            contrast below 0 is excluded.

    Returns:
        contrast, not negative.
    """
    precision = jnp.asarray(precision)
    return jnp.maximum((overlap + precision) / jnp.maximum(power + precision, 1e-30), 0.0)


def contrast_score(
    overlap: Float[Array, "*#grid"],
    power: Float[Array, "*#grid"],
    scale: Float[Array, "*#grid"],
    precision: Scalar,
) -> Float[Array, "*grid"]:
    """Log-likelihood above that of an image without particle, and log prior of the contrast.

    Args:
        overlap: inner product of image and prediction.
        power: of the prediction with itself.
        scale: contrast.
        precision: inverse variance of the Gaussian prior of the contrast about 1.

    Returns:
        the sum of both, 0 for contrast 1 and a prediction without power.
    """
    return (
        scale * (overlap - 0.5 * scale * power) - 0.5 * jnp.asarray(precision) * (scale - 1.0) ** 2
    )


def grid_scores(
    image: PolarImage,
    bank: ViewBank,
    shifts: Float[Array, "shifts 2"],
    grid: PolarGrid,
    *,
    field: Scalar,
    prior: Prior,
) -> GridScores:
    """Score one image at all orientations and shifts.

    Args:
        image: from ``polar_image``.
        bank: from ``view_bank``.
        shifts: (x, y) in Å; the particle stands at ``-shift``.
        grid: polar grid of both.
        field: edge of the image, Å.
        prior: of shift and contrast.

    Returns:
        scores of views and turns; turn l is psi = 2π l / turns.
    """
    kx, ky = (k / jnp.asarray(field) for k in polar_frequencies(grid))
    phase = 2j * jnp.pi * (shifts[:, 0, None, None] * kx + shifts[:, 1, None, None] * ky)
    moved = angular_series(image.overlap * jnp.exp(-phase), grid)
    overlap = turned_products(jnp.moveaxis(moved, 0, 1), bank.series, grid)
    series = angular_series(image.power + 0j, grid)[:, None]
    power = turned_products(series, bank.power, grid)[0]
    score = _scores(overlap, power, shifts, prior)[0]
    # Neither which shift is the best nor its contrast is told here: of some cells it is told later,
    # and of all it would take longer than the scores.
    best = jnp.max(score, axis=0)
    return GridScores(best, _marginal(score, best, shifts, prior), overlap, power)


def best_of_grid(
    scores: GridScores,
    bank: ViewBank,
    shifts: Float[Array, "shifts 2"],
    *,
    count: int,
    prior: Prior,
) -> Candidates:
    """The best orientations of a grid, one for each maximum along the in-plane angle.

    Args:
        scores: of one image.
        bank: its projections.
        shifts: the shifts that were tried.
        count: how many candidates at most; a grid of fewer orientations gives as many as it has.
        prior: of shift and contrast.

    Returns:
        the candidates.
    """
    score, turns = scores.score, scores.score.shape[1]
    # Of a large point group one asymmetric unit may be a single view.
    count = min(count, score.size)
    peak = (score >= jnp.roll(score, 1, axis=1)) & (score > jnp.roll(score, -1, axis=1))
    value, index = jax.lax.top_k(jnp.where(peak, score, -jnp.inf).reshape(-1), count)
    view, turn = index // turns, index % turns
    turned = jax.vmap(turned_in_plane)(bank.rotation[view], turn * (2 * jnp.pi / turns))
    each, scale = _scores(scores.overlap[:, view, turn], scores.power[view, turn], shifts, prior)
    best = jnp.argmax(each, axis=0)
    contrast = jnp.take_along_axis(scale, best[None], axis=0)[0]
    return Candidates(turned, shifts[best], contrast, value, scores.marginal[view, turn])


def near_candidates(
    project_band: Project,
    observed: Observed,
    start: Pose,
    around: Float[Array, "cells 3 3"],
    shifts: Float[Array, "shifts 2"],
    band: Band,
    *,
    field: Scalar,
    prior: Prior,
) -> Candidates:
    """Score one image at orientations around a given one.

    Args:
        project_band: from a rotation to the centred projection's coefficients on the band.
        observed: the image.
        start: the given pose.
        around: rotations in the frame of the image, to be put on top of the given one.
        shifts: to be added to the given one, Å.
        band: where the coefficients are.
        field: edge of the image, Å.
        prior: of the added shift, and of the contrast.

    Returns:
        every orientation at its best shift and contrast.
    """
    waves = jnp.asarray(np.stack([band.kx, band.ky]), jnp.float32) / jnp.asarray(field)
    phases = jnp.exp(-2j * jnp.pi * jnp.matmul(start.shift + shifts, waves, precision="highest"))
    wanted = observed.weight * observed.transfer * observed.spectrum * phases

    def score(rotation: Float[Array, "3 3"]) -> Candidates:
        projection = project_band(rotation)
        overlap = jnp.matmul(wanted.real, projection.real, precision="highest")
        overlap += jnp.matmul(wanted.imag, projection.imag, precision="highest")
        power = jnp.sum(observed.weight * observed.transfer**2 * jnp.abs(projection) ** 2)
        value, scale = _scores(overlap, power, shifts, prior)
        best = jnp.argmax(value)
        shift = start.shift + shifts[best]
        marginal = _marginal(value, value[best], shifts, prior)
        return Candidates(rotation, shift, scale[best], value[best], marginal)

    return jax.vmap(score)(jax.vmap(lambda turn: product(turn, start.rotation))(around))


def _scores(
    overlap: Float[Array, "shifts *cells"],
    power: Float[Array, "*cells"],
    shifts: Float[Array, "shifts 2"],
    prior: Prior,
) -> tuple[Float[Array, "shifts *cells"], Float[Array, "shifts *cells"]]:
    """Score of every shift at its best contrast, and that contrast."""
    scale = best_contrast(overlap, power, prior.contrast)
    far = _far(shifts, prior).reshape(-1, *[1] * power.ndim)
    return contrast_score(overlap, power, scale, prior.contrast) - far, scale


def _far(shifts: Float[Array, "shifts 2"], prior: Prior) -> Float[Array, " shifts"]:
    """What the prior takes from the log-likelihood of each shift."""
    return 0.5 * jnp.asarray(prior.shift) * jnp.sum(shifts**2, axis=1)


def _marginal(
    score: Float[Array, "shifts *cells"],
    best: Float[Array, "*cells"],
    shifts: Float[Array, "shifts 2"],
    prior: Prior,
) -> Float[Array, "*cells"]:
    """Mean over the prior of the shifts; the scores hold it already."""
    total = best + jnp.log(jnp.sum(jnp.exp(score - best), axis=0))
    return total - jax.nn.logsumexp(-_far(shifts, prior))
