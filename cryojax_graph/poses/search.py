"""One image's pose: from nothing or near a given one, and how sure the result is."""

from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.forward.fourier import shift_image
from cryojax_graph.geometry import orientation_spacing_degrees
from cryojax_graph.poses.band import Band, Observed, fourier_band, observe, points_within, prefix
from cryojax_graph.poses.grids import covered_volume, grid_rotations, lattice_weights
from cryojax_graph.poses.matching import (
    Candidates,
    GridScores,
    ViewBank,
    best_of_grid,
    grid_scores,
    near_candidates,
    polar_image,
    view_bank,
)
from cryojax_graph.poses.polar import PolarGrid, polar_grid
from cryojax_graph.poses.posterior import ROTATIONS, PoseEstimate, estimate_of_modes
from cryojax_graph.poses.reference import Reference, project
from cryojax_graph.poses.refine import Pose, Prior, RefinedPose, refine_pose

_FEWEST_TURNS = 24
# The finest frequency that a grid of some spacing still follows at the rim of the particle.
_REACH_OF_GRID = 0.7
_WIDEST_STEP = 2.0
_COARSEST, _FINEST = 6, 24
# Candidates of the first round, when there is one more round or several, and of the last ones.
_FEW_CANDIDATES, _MANY_CANDIDATES, _FEWEST_CANDIDATES = 16, 48, 3


@dataclass(frozen=True)
class SearchConfig:
    """How poses are searched; radii are in periods per box.

    Args:
        order: HEALPix order of the viewing directions.
        inner: lowest frequency that counts; the lowest ones hold the background.
        coarse: frequency up to which grids are scored.
        radii: frequency up to which each round of refinement goes.
        kept: candidates that enter each round.
        steps: Gauss-Newton evaluations of each round.
    """

    order: int = 2
    inner: int = 1
    coarse: int = 12
    radii: tuple[int, ...] = (16, 32)
    kept: tuple[int, ...] = (16, 4)
    steps: tuple[int, ...] = (3, 5)

    @property
    def grid(self) -> PolarGrid:
        """Polar grid of the coarse frequencies."""
        return polar_grid(self.inner, self.coarse, fewest_turns=_FEWEST_TURNS)

    @property
    def spacing(self) -> float:
        """Distance of neighbouring viewing directions, radians."""
        return float(np.radians(orientation_spacing_degrees(self.order)))

    @property
    def own_reach(self) -> float:
        """Angle up to which the grid belongs to a refined mode, radians.

        Half a spacing: with less, probabilities of modes came out too low in our trials, with more
        too high.
        """
        return 0.5 * self.spacing


class Search(NamedTuple):
    """A reference made ready to be searched for in images.

    Attributes:
        reference: in the units of the images.
        bank: its projections on the polar grid.
        rotations: of the grid: every view at every in-plane angle.
        shifts: that are tried, (x, y) in Å.
        noise: power of the noise in shells 0 … box // 2, variance per pixel.
        operators: of the point group of the reference.
    """

    reference: Reference
    bank: ViewBank
    rotations: Float[Array, "cells 3 3"]
    shifts: Float[Array, "shifts 2"]
    noise: Float[Array, " shells"]
    operators: Float[Array, "operators 3 3"]


def plan_search(*, field: float, radius: float, finest: int) -> SearchConfig:
    """Choose grids and rounds for a particle.

    Args:
        field: edge of the images, Å.
        radius: of the sphere with the particle's radius of gyration, Å.
        finest: frequency up to which reference and images are used, periods per box.

    Returns:
        the settings: one grid for all sizes, scored at the frequencies that it follows at the rim
        of the particle; rounds that double the frequency. Refinement at the frequency of a round
        finds what a finer grid would, with fewer projections.
    """
    grid = SearchConfig()
    followed = _REACH_OF_GRID * field / (radius * grid.spacing)
    coarse = int(np.clip(round(followed), _COARSEST, min(_FINEST, finest)))
    radii = [min(finest, round(4 / 3 * coarse))]
    while radii[-1] < finest:
        radii.append(min(finest, round(_WIDEST_STEP * radii[-1])))
    rounds = len(radii)
    first = _FEW_CANDIDATES if rounds <= 2 else _MANY_CANDIDATES
    return SearchConfig(
        coarse=coarse,
        radii=tuple(radii),
        kept=tuple(max(first // 4**n, _FEWEST_CANDIDATES) for n in range(rounds)),
        steps=(*[3] * (rounds - 1), 5),
    )


def prepare_search(
    reference: Reference,
    views: Float[Array, "views 3 3"],
    shifts: Float[Array, "shifts 2"],
    noise: Float[Array, " shells"],
    config: SearchConfig,
    *,
    operators: Float[Array, "operators 3 3"] | None = None,
) -> Search:
    """Project the reference along all viewing directions.

    Args:
        reference: in the units of the images.
        views: rotations, one for each viewing direction.
        shifts: to try, (x, y) in Å.
        noise: power in shells 0 … box // 2, variance per pixel.
        config: of the search.
        operators: of the point group of the reference, from ``symmetry_rotations``; the views are
            then those of one asymmetric unit.

    Returns:
        what ``search_pose`` needs.
    """
    bank = view_bank(reference, views, config.grid)
    operators = jnp.eye(3)[None] if operators is None else operators
    rotations = grid_rotations(views, config.grid.turns)
    return Search(reference, bank, rotations, shifts, noise, operators)


def search_pose(
    image: Float[Array, "box box"],
    ctf: CTF,
    search: Search,
    config: SearchConfig,
    *,
    pixel_size: float,
    prior: Prior,
    start: Float[Array, "2"] | None = None,
) -> PoseEstimate:
    """Find the pose of one image.

    Args:
        image: particle image.
        ctf: of the image.
        search: the reference.
        config: of the search.
        pixel_size: Å.
        prior: of the distance from the given shift, and of the contrast.
        start: shift that others are sought around, (x, y) in Å; none when not given.

    Returns:
        the most probable pose.
    """
    if start is not None:
        # Priors are about no shift; the given one is where the image, moved by it, has none.
        image = shift_image(image, start, pixel_size=pixel_size)
    scores = score_orientations(image, ctf, search, config, pixel_size=pixel_size, prior=prior)
    found = best_of_grid(scores, search.bank, search.shifts, count=config.kept[0], prior=prior)
    modes = refine_candidates(image, ctf, found, search, config, pixel_size=pixel_size, prior=prior)
    best = estimate_of_modes(
        modes,
        scores.marginal.reshape(-1),
        search.rotations,
        prior,
        reach=config.own_reach,
        volume=ROTATIONS / len(search.operators),
        operators=search.operators,
    )
    return best if start is None else moved(best, start)


def search_pose_near(
    image: Float[Array, "box box"],
    ctf: CTF,
    start: Pose,
    around: Float[Array, "cells 3 3"],
    search: Search,
    config: SearchConfig,
    *,
    pixel_size: float,
    prior: Prior,
) -> PoseEstimate:
    """Find the pose of one image in the neighbourhood of a given one.

    Args:
        image: particle image.
        ctf: of the image.
        start: the given pose.
        around: rotations in the frame of the image that are tried on it, from ``rotations_within``.
        search: the reference.
        config: of the search.
        pixel_size: Å.
        prior: of the distance from the given shift, and of the contrast.

    Returns:
        the most probable pose; probability and evidence are within the neighbourhood.
    """
    # Priors are about no shift; the given one is where the image, moved by it, has none.
    centred = shift_image(image, start.shift, pixel_size=pixel_size)
    box = image.shape[0]
    field = box * pixel_size
    band = fourier_band(box, config.inner, config.coarse)
    observed = observe(centred, ctf, search.noise, band, pixel_size=pixel_size)
    scored = near_candidates(
        partial(project_onto, search.reference, band),
        observed,
        start._replace(shift=jnp.zeros(2)),
        around,
        search.shifts,
        band,
        field=field,
        prior=prior,
    )
    kept = min(config.kept[0], len(around))
    _, chosen = jax.lax.top_k(scored.score, kept)
    found = jax.tree.map(lambda a: a[chosen], scored)
    modes = refine_candidates(
        centred, ctf, found, search, config, pixel_size=pixel_size, prior=prior
    )
    best = estimate_of_modes(
        modes,
        scored.marginal,
        scored.rotation,
        prior,
        reach=config.own_reach,
        volume=covered_volume(around),
        operators=search.operators,
        weights=lattice_weights(around),
    )
    return moved(best, start.shift)


def refine_candidates(
    image: Float[Array, "box box"],
    ctf: CTF,
    found: Candidates,
    search: Search,
    config: SearchConfig,
    *,
    pixel_size: float,
    prior: Prior,
) -> RefinedPose:
    """Refine candidates from coarse to fine, fewer in every round.

    Args:
        image: particle image.
        ctf: of the image.
        found: candidates, best first.
        search: the reference.
        config: of the search.
        pixel_size: Å.
        prior: of shift and contrast.

    Returns:
        those of the last round, best first, then those that were left behind, as they were.
    """
    box = image.shape[0]
    band = fourier_band(box, config.inner, config.radii[-1])
    observed = observe(image, ctf, search.noise, band, pixel_size=pixel_size)

    def refine(poses: Pose, radius: int, steps: int) -> RefinedPose:
        points = points_within(band, radius)
        part, seen = prefix(band, points), Observed(*(a[:points] for a in observed))
        onto_band = partial(project_onto, search.reference, part)
        field = box * pixel_size
        refined = jax.vmap(
            lambda pose: refine_pose(
                onto_band, seen, pose, part, field=field, steps=steps, prior=prior
            )
        )(poses)
        order = jnp.argsort(-refined.log_likelihood)
        return jax.tree.map(lambda a: a[order], refined)

    best = refine(Pose(found.rotation, found.shift, found.scale), config.radii[0], config.steps[0])
    left: list[RefinedPose] = []
    for radius, kept, steps in zip(
        config.radii[1:], config.kept[1:], config.steps[1:], strict=True
    ):
        left.append(jax.tree.map(lambda a, kept=kept: a[kept:], best))
        best = refine(jax.tree.map(lambda a, kept=kept: a[:kept], best.pose), radius, steps)
    return jax.tree.map(lambda *parts: jnp.concatenate(parts), best, *reversed(left))


def score_orientations(
    image: Float[Array, "box box"],
    ctf: CTF,
    search: Search,
    config: SearchConfig,
    *,
    pixel_size: float,
    prior: Prior,
) -> GridScores:
    """Score one image at all orientations of the grid.

    Args:
        image: particle image.
        ctf: of the image.
        search: the reference.
        config: of the search.
        pixel_size: Å.
        prior: of shift and contrast.

    Returns:
        the scores; ``search.rotations`` are those of the flattened arrays.
    """
    grid, field = config.grid, image.shape[0] * pixel_size
    rings = search.noise[config.inner : config.coarse + 1]
    polar = polar_image(image, ctf, rings, grid, pixel_size=pixel_size)
    return grid_scores(polar, search.bank, search.shifts, grid, field=field, prior=prior)


def project_onto(
    reference: Reference, band: Band, rotation: Float[Array, "3 3"]
) -> Complex[Array, " points"]:
    """Spectrum of the centred projection on a band.

    Args:
        reference: the map.
        band: where coefficients are wanted.
        rotation: takes object to image coordinates.

    Returns:
        the coefficients.
    """
    kx, ky = jnp.asarray(band.kx, jnp.float32), jnp.asarray(band.ky, jnp.float32)
    return project(reference, rotation, kx, ky)


def moved(found: PoseEstimate, shift: Float[Array, "2"]) -> PoseEstimate:
    """The pose of an image from that of the image moved by a shift.

    Args:
        found: of the moved image.
        shift: by which it was moved, (x, y) in Å.

    Returns:
        of the image itself.
    """
    return found._replace(pose=found.pose._replace(shift=found.pose.shift + shift))
