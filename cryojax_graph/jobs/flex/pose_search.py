"""Poses of images searched with the template, or with several conformations."""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from scipy.special import softmax

from cryojax_graph.jobs.flex.config import FlexConfig
from cryojax_graph.jobs.flex.inputs import Particles
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.particles import ParticleSet
from cryojax_graph.jobs.pose.reference import read_reference
from cryojax_graph.jobs.pose.searcher import Found, Searcher
from cryojax_graph.jobs.pose.searching import search_all
from cryojax_graph.jobs.pose.settings import settings_for
from cryojax_graph.jobs.pose.survey import survey
from cryojax_graph.poses.reference import reference_of
from cryojax_graph.poses.search import plan_search
from cryojax_graph.training.recipes.backbone_graph import Views

_SHIFT_SHARE = 1 / 12


class Searched(NamedTuple):
    """Particles with the poses that were found.

    Attributes:
        particles: with these poses.
        doubt: expected errors of the rotations, radians.
        evidence: of each image for each conformation in any pose, nats.
    """

    particles: Particles
    doubt: Float[np.ndarray, " images"]
    evidence: Float[np.ndarray, "images conformations"]


def search_for_template(particles: Particles, config: FlexConfig, job: Job) -> Searched:
    """Find the template in every image.

    Args:
        particles: images; their poses are not looked at.
        config: of the verb, which names the template.
        job: for messages and what is kept for resuming.

    Returns:
        particles with poses.

    Raises:
        InputError: the template cannot be searched for, or images are inverted.
    """
    images = _as_set(particles)
    given = read_reference(config.template, images, origin=config.origin)
    searcher = _searcher(images, given.radius)
    known = survey(searcher, given.reference, images, job)
    search = searcher.prepare(known.reference, known.noise)
    found = search_all(
        searcher,
        search,
        known.contrast_precision,
        np.arange(len(particles.table)),
        job,
        name="poses_template",
        label="Searching with the template",
    )
    return _searched(particles, [found], job)


def search_for_conformations(
    particles: Particles,
    densities: list[Float[np.ndarray, "box box box"]],
    *,
    noise: Float[np.ndarray, " shells"],
    contrast_deviation: float,
    radius: float,
    job: Job,
    name: str,
) -> Searched:
    """Find one of several conformations in every image.

    Args:
        particles: images; their poses are not looked at.
        densities: of the conformations, in the units of the images.
        noise: power in shells, variance per pixel.
        contrast_deviation: of the prior of the contrast.
        radius: of the sphere with the molecule's radius of gyration, Å.
        job: for messages and what is kept for resuming.
        name: of what is kept.

    Returns:
        particles with the pose in the conformation that explains each best; poses in others are
        among what its error expects, as probable as they are.
    """
    images = _as_set(particles)
    searcher = _searcher(images, radius)
    field, pixel = particles.box * particles.pixel_size, particles.pixel_size
    every = []
    for number, density in enumerate(densities, 1):
        reference = reference_of(
            jnp.asarray(density), voxel_size=pixel, field=field, pixel_size=pixel
        )
        every.append(
            search_all(
                searcher,
                searcher.prepare(reference, noise),
                contrast_deviation**-2 if contrast_deviation else 0.0,
                np.arange(len(particles.table)),
                job,
                name=f"{name}_{number}",
                label=f"Searching with conformation {number} of {len(densities)}",
            )
        )
    return _searched(particles, every, job)


def _as_set(particles: Particles) -> ParticleSet:
    return ParticleSet(
        particles.table,
        particles.images,
        particles.views.ctf,
        particles.pixel_size,
        particles.box,
        particles.image_root,
    )


def _searcher(images: ParticleSet, radius: float) -> Searcher:
    field = images.box * images.pixel_size
    settings = settings_for(
        plan_search(field=field, radius=radius, finest=images.box // 2),
        field=field,
        shift_range=_SHIFT_SHARE * field,
        within_degrees=None,
        symmetry="C1",
    )
    return Searcher(images, settings)


def _searched(particles: Particles, every: list[Found], job: Job) -> Searched:
    """The pose in the conformation that explains each image best, and how sure it is."""
    evidence = np.stack([found.evidence for found in every], axis=1).astype(np.float64)
    best, each = np.argmax(evidence, axis=1), np.arange(len(evidence))
    rotations = np.stack([found.rotation for found in every], axis=1)
    chosen = rotations[each, best]
    cosine = (np.einsum("nij,ncij->nc", chosen, rotations) - 1) / 2
    apart = np.arccos(np.clip(cosine, -1, 1))
    within = np.stack([found.rotation_deviation for found in every], axis=1)
    doubt = np.sqrt(np.sum(softmax(evidence, axis=1) * (within**2 + apart**2), axis=1))
    shift = np.stack([found.shift for found in every], axis=1)[each, best]
    job.log(f"Rotations are known to {np.degrees(np.median(doubt)):.1f}° (median)")
    views = Views(chosen, shift, particles.views.ctf)
    return Searched(particles._replace(views=views), doubt, evidence)
