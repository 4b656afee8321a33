"""One rotation from the scores of a whole grid: barycentre of a support, or posterior mean."""

from typing import Literal

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.ctf import CTF
from cryojax_graph.geometry import geodesic_distance
from cryojax_graph.geometry.stable import product
from cryojax_graph.poses.band import fourier_band, observe
from cryojax_graph.poses.lifting import (
    esl_rotation,
    esl_support,
    posterior_rotation,
    restrict_to_mode,
)
from cryojax_graph.poses.matching import near_candidates
from cryojax_graph.poses.posterior import PoseEstimate
from cryojax_graph.poses.refine import Pose, Prior, refine_pose
from cryojax_graph.poses.search import Search, SearchConfig, project_onto, score_orientations

Reducer = Literal["esl", "mmse"]

# Spacings of the grid around a rotation that count as its neighbourhood.
_MODE = 2.0
# Cells of a support on a grid as fine in all directions, as published; and the most on others.
_POINTS, _MOST_POINTS = 15.0, 60.0


def reduce_grid(
    image: Float[Array, "box box"],
    ctf: CTF,
    search: Search,
    config: SearchConfig,
    *,
    pixel_size: float,
    prior: Prior,
    reducer: Reducer,
) -> PoseEstimate:
    """Estimate the pose of one image from the scored grid alone, without refining candidates.

    Args:
        image: particle image.
        ctf: of the image.
        search: the reference.
        config: of the search.
        pixel_size: Å.
        prior: of shift and contrast.
        reducer: what is made of the scores.

    Returns:
        the estimate; shift and contrast are the most probable ones at the rotation, their
        covariance is given the rotation, that of the rotation the same about all axes.
    """
    scores = score_orientations(image, ctf, search, config, pixel_size=pixel_size, prior=prior)
    posterior = scores.marginal.reshape(-1)
    cells = search.rotations
    if len(search.operators) > 1:
        # The grid is one asymmetric unit: across its border the mode goes on among copies.
        cells = nearest_copies(cells, cells[jnp.argmax(posterior)], search.operators)
    turn = 2 * np.pi / config.grid.turns
    # In-plane angles are closer than views: as many views take more cells.
    rotation = reduced_rotation(
        posterior,
        cells,
        reducer=reducer,
        mode=_MODE * config.spacing,
        points=min(_POINTS * config.spacing / turn, _MOST_POINTS),
    )

    box = image.shape[0]
    field = box * pixel_size
    band = fourier_band(box, config.inner, config.coarse)
    observed = observe(image, ctf, search.noise, band, pixel_size=pixel_size)
    projection = project_onto(search.reference, band, rotation)

    def held(_: Float[Array, "3 3"]) -> Complex[Array, " points"]:
        return projection

    start = Pose(rotation, jnp.zeros(2), jnp.ones(()))
    space = {"band": band, "field": field, "prior": prior}
    tried = near_candidates(
        held, observed, start, around=jnp.eye(3)[None], shifts=search.shifts, **space
    )
    best = Pose(rotation, tried.shift[0], tried.scale[0])
    refined = refine_pose(held, observed, best, steps=config.steps[0], **space)

    probability, square = mass_around(posterior, cells, rotation, mode=_MODE * config.spacing)
    # A cell is not a point: views and in-plane angles lie anywhere within it.
    square = jnp.minimum(square + (2 * config.spacing**2 + turn**2) / 12, jnp.pi**2)
    covariance = refined.covariance.at[:3, :3].set(square / 3 * jnp.eye(3))
    return PoseEstimate(
        pose=refined.pose,
        log_likelihood=refined.log_likelihood,
        covariance=covariance,
        probability=probability,
        rotation_deviation=jnp.sqrt(square),
        other_variance=jnp.zeros(()),
        evidence=jax.nn.logsumexp(posterior) - jnp.log(len(posterior)),
    )


def reduced_rotation(
    log_posterior: Float[Array, " cells"],
    rotations: Float[Array, "cells 3 3"],
    *,
    reducer: Reducer,
    mode: float,
    points: float = _POINTS,
) -> Float[Array, "3 3"]:
    """The rotation that a grid of scores stands for.

    Args:
        log_posterior: of each cell, up to a constant.
        rotations: the grid.
        reducer: esl takes the barycentre of the ellipsoidal support around the best cell, mmse
            the posterior mean over all cells.
        mode: angle from the best cell within which the support lies, radians.
        points: of the support, as in ``esl_support``.

    Returns:
        the rotation.
    """
    if reducer == "mmse":
        return posterior_rotation(log_posterior, rotations)
    near = restrict_to_mode(-log_posterior, rotations, radius=mode)
    return esl_rotation(esl_support(near, points=points), rotations)


def nearest_copies(
    rotations: Float[Array, "cells 3 3"],
    to: Float[Array, "3 3"],
    operators: Float[Array, "operators 3 3"],
) -> Float[Array, "cells 3 3"]:
    """Of the symmetric copies of each rotation the one nearest to a given rotation.

    Args:
        rotations: object to image coordinates.
        to: the given one.
        operators: of the point group of the object.

    Returns:
        as many rotations.
    """
    copies = jax.vmap(lambda operator: jax.vmap(lambda own: product(own, operator))(rotations))(
        operators
    )
    nearness = jnp.sum(copies * to, axis=(-2, -1))
    chosen = jnp.argmax(nearness, axis=0)
    return jnp.take_along_axis(copies, chosen[None, :, None, None], axis=0)[0]


def mass_around(
    log_posterior: Float[Array, " cells"],
    rotations: Float[Array, "cells 3 3"],
    centre: Float[Array, "3 3"],
    *,
    mode: float,
) -> tuple[Float[Array, ""], Float[Array, ""]]:
    """How the posterior of a grid lies around a rotation.

    Args:
        log_posterior: of each cell, up to a constant.
        rotations: the grid.
        centre: the rotation.
        mode: angle within which the pose counts as being near, radians.

    Returns:
        probability within that angle; mean squared angle from the rotation, radians².
    """
    angle = jax.vmap(lambda rotation: geodesic_distance(centre, rotation))(rotations)
    share = jax.nn.softmax(log_posterior)
    return jnp.sum(jnp.where(angle <= mode, share, 0.0)), jnp.sum(share * angle**2)
