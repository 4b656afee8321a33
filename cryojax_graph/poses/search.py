"""One image's pose from nothing: grid, candidates, refinement, and how sure the result is."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.slices import VolumeSpectrum, slice_at
from cryojax_graph.poses.band import Band, Observed, fourier_band, observe, points_within, prefix
from cryojax_graph.poses.matching import (
    ViewBank,
    best_of_grid,
    grid_scores,
    polar_image,
    view_bank,
)
from cryojax_graph.poses.polar import PolarGrid, polar_grid
from cryojax_graph.poses.posterior import PoseEstimate, estimate_of_modes
from cryojax_graph.poses.refine import Pose, Prior, RefinedPose, refine_pose

_FEWEST_TURNS = 24
_REACH = np.radians(10.0)


@dataclass(frozen=True)
class SearchConfig:
    """How poses are searched.

    Args:
        inner: lowest frequency that counts, periods per box; the lowest ones hold the background.
        coarse: frequency up to which the grid is scored, periods per box.
        middle: frequency up to which all candidates are refined.
        fine: frequency up to which the best are.
        candidates: maxima of the grid that are refined.
        kept: of them, those refined to the end.
        steps: Gauss-Newton evaluations of both refinements.
    """

    inner: int = 1
    coarse: int = 12
    middle: int = 16
    fine: int = 32
    candidates: int = 16
    kept: int = 4
    steps: tuple[int, int] = (3, 5)


class Search(NamedTuple):
    """A reference made ready to be searched for in images.

    Attributes:
        volume: its spectrum.
        bank: its projections on the polar grid.
        shifts: that are tried, (x, y) in Å.
        noise: power of the noise in shells 0 … box // 2, variance per pixel.
    """

    volume: VolumeSpectrum
    bank: ViewBank
    shifts: Float[Array, "shifts 2"]
    noise: Float[Array, " shells"]


def prepare_search(
    volume: VolumeSpectrum,
    views: Float[Array, "views 3 3"],
    shifts: Float[Array, "shifts 2"],
    noise: Float[Array, " shells"],
    config: SearchConfig,
    *,
    box: int,
) -> Search:
    """Project the reference along all viewing directions.

    Args:
        volume: reference in the units of the images.
        views: rotations, one for each viewing direction.
        shifts: to try, (x, y) in Å.
        noise: power in shells 0 … box // 2, variance per pixel.
        config: of the search.
        box: edge of reference and images in pixels.

    Returns:
        what ``search_pose`` needs.
    """
    return Search(volume, view_bank(volume, views, _grid(config), box=box), shifts, noise)


def search_pose(
    image: Float[Array, "box box"],
    ctf: CTF,
    search: Search,
    config: SearchConfig,
    *,
    pixel_size: float,
    prior: Prior,
) -> PoseEstimate:
    """Find the pose of one image.

    Args:
        image: particle image.
        ctf: of the image.
        search: the reference.
        config: of the search.
        pixel_size: Å.
        prior: of shift and contrast.

    Returns:
        the most probable pose.
    """
    box = image.shape[0]
    grid, field = _grid(config), box * pixel_size
    rings = search.noise[config.inner : config.coarse + 1]
    polar = polar_image(image, ctf, rings, grid, pixel_size=pixel_size)
    scores = grid_scores(
        polar, search.bank, search.shifts, grid, field=field, contrast_precision=prior.contrast
    )
    found = best_of_grid(scores, search.bank, search.shifts, count=config.candidates)
    band = fourier_band(box, config.inner, config.fine)
    observed = observe(image, ctf, search.noise, band, pixel_size=pixel_size)
    refine = partial(_refine_all, search.volume, observed, band, box=box, field=field, prior=prior)
    scale = jnp.ones(config.candidates)
    starts = Pose(found.rotation, found.shift, scale)
    rough = refine(starts, radius=config.middle, steps=config.steps[0])
    _, best = jax.lax.top_k(rough.log_likelihood, config.kept)
    starts = jax.tree.map(lambda a: a[best], rough.pose)
    refined = refine(starts, radius=config.fine, steps=config.steps[1])
    return estimate_of_modes(refined, scores, search.bank, prior, reach=_REACH)


def _grid(config: SearchConfig) -> PolarGrid:
    return polar_grid(config.inner, config.coarse, fewest_turns=_FEWEST_TURNS)


def _refine_all(
    volume: VolumeSpectrum,
    observed: Observed,
    band: Band,
    starts: Pose,
    *,
    radius: float,
    steps: int,
    box: int,
    field: float,
    prior: Prior,
) -> RefinedPose:
    points = points_within(band, radius)
    part, seen = prefix(band, points), jax.tree.map(lambda a: a[:points], observed)
    kx, ky = jnp.asarray(part.kx, jnp.float32), jnp.asarray(part.ky, jnp.float32)

    def project(rotation: Float[Array, "3 3"]) -> Array:
        return slice_at(volume, rotation, kx, ky, box=box)

    return jax.vmap(
        lambda start: refine_pose(project, seen, start, part, field=field, steps=steps, prior=prior)
    )(starts)
