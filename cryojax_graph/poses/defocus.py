"""Defocus of one image refined with its pose, after the pose is known."""

from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from cryojax_graph.forward.ctf import CTF, transfer_at
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.poses.band import Band, fourier_band, observe
from cryojax_graph.poses.matching import best_contrast, contrast_score
from cryojax_graph.poses.posterior import PoseEstimate
from cryojax_graph.poses.refine import Prior, refine_pose_and_defocus
from cryojax_graph.poses.search import Search, SearchConfig, project_onto

# Offsets that are tried before the climb, in deviations of the prior: rings of the transfer
# function that are off by a period are another maximum.
_REACH, _TRIED = 2.5, 21


class DefocusEstimate(NamedTuple):
    """A pose and the defocus that was found with it.

    Attributes:
        estimate: the pose; probability and evidence are those of the given defocus, and what the
            deviation of the rotation has of other modes.
        offset: what is to be added to both defocus values, Å.
        deviation: of the offset, Å.
    """

    estimate: PoseEstimate
    offset: Float[Array, ""]
    deviation: Float[Array, ""]


def refine_defocus(
    image: Float[Array, "box box"],
    ctf: CTF,
    found: PoseEstimate,
    search: Search,
    config: SearchConfig,
    *,
    pixel_size: float,
    prior: Prior,
    deviation: Scalar,
) -> DefocusEstimate:
    """Refine defocus, pose and contrast of one image together.

    Args:
        image: particle image.
        ctf: of the image, as it was stated.
        found: the pose with that CTF.
        search: the reference.
        config: of the search.
        pixel_size: Å.
        prior: of shift and contrast.
        deviation: of the Gaussian prior of the offset of both defocus values, Å.

    Returns:
        pose and offset; without evidence the offset stays near 0 and its deviation is the prior's.
    """
    box = image.shape[0]
    field = box * pixel_size
    band = fourier_band(box, config.inner, config.radii[-1])
    observed = observe(image, ctf, search.noise, band, pixel_size=pixel_size)
    onto_band = partial(project_onto, search.reference, band)
    transfer = partial(_transfer, ctf, band, box=box, pixel_size=pixel_size)

    waves = jnp.asarray([band.kx, band.ky], jnp.float32) / field
    wave = jnp.exp(2j * jnp.pi * jnp.matmul(found.pose.shift, waves, precision="highest"))
    projection = wave * onto_band(found.pose.rotation)
    overlap = observed.weight * (projection.conj() * observed.spectrum).real
    power = observed.weight * jnp.abs(projection) ** 2

    def score(offset: Float[Array, ""]) -> Float[Array, ""]:
        values = transfer(offset)
        products = (
            jnp.matmul(values, overlap, precision="highest"),
            jnp.matmul(values**2, power, precision="highest"),
        )
        scale = best_contrast(*products, prior.contrast)
        value = contrast_score(*products, scale, prior.contrast)
        return value - 0.5 * (offset / jnp.asarray(deviation)) ** 2

    tried = jnp.linspace(-_REACH, _REACH, _TRIED) * jnp.asarray(deviation)
    first = tried[jnp.argmax(jax.vmap(score)(tried))]
    optics = refine_pose_and_defocus(
        onto_band,
        observed,
        found.pose,
        band,
        transfer,
        field=field,
        deviation=deviation,
        offset=first,
        steps=config.steps[-1],
        prior=prior,
    )
    covariance = optics.refined.covariance
    within = jnp.minimum(jnp.trace(covariance[:3, :3]), jnp.pi**2)
    square = found.other_variance + found.probability * within
    estimate = found._replace(
        pose=optics.refined.pose,
        log_likelihood=optics.refined.log_likelihood,
        covariance=covariance,
        rotation_deviation=jnp.sqrt(square),
    )
    return DefocusEstimate(estimate, optics.offset, optics.deviation)


def _transfer(
    ctf: CTF, band: Band, offset: Float[Array, ""], *, box: int, pixel_size: float
) -> Float[Array, " points"]:
    moved = ctf._replace(
        defocus_u=jnp.asarray(ctf.defocus_u) + offset, defocus_v=jnp.asarray(ctf.defocus_v) + offset
    )
    kx, ky = jnp.asarray(band.kx, jnp.float32), jnp.asarray(band.ky, jnp.float32)
    return transfer_at(moved, kx, ky, box=box, pixel_size=pixel_size)
