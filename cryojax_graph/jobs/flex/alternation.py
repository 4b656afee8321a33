"""Poses and motion in turns, for images whose poses nobody knows.

A template far from a conformation finds no pose for it. Images near the template find theirs, the
motion they show brings the decoder nearer to others, and each image is then held against several
conformations, whose projections all images share.
"""

from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key
from scipy.cluster.hierarchy import fcluster, linkage

from cryojax_graph.jobs.flex.fitting import fit_images
from cryojax_graph.jobs.flex.pose_search import search_for_conformations
from cryojax_graph.jobs.flex.problem import Problem, reader_of
from cryojax_graph.jobs.flex.results import map_of
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.imaging import extra_variance
from cryojax_graph.models.backbone_graph.predict import decode
from cryojax_graph.models.backbone_graph.views import arm

CONFORMATIONS = 4
# An image less sure of its pose, in radians, teaches nothing about conformations.
_SURE = np.radians(20.0)
_FEWEST_SURE = 64
# A round prepares the next; its fit need not be finished.
SHARE_OF_EPOCHS = 0.25


def find_poses(
    problem: Problem, key: Key[Array, ""], job: Job, *, rounds: int, symmetry: str
) -> Problem:
    """Search poses again and again, each time with conformations of the motion found before.

    Args:
        problem: with poses found by the template alone.
        key: randomness.
        job: for checkpoints and messages.
        rounds: how often.
        symmetry: point group of the template.

    Returns:
        the problem with poses.
    """
    for number, own in enumerate(jax.random.split(key, rounds), 1):
        sure = _sure_images(problem)
        job.log(f"Round {number} of {rounds}: {len(sure):,} images are sure of their poses")
        config = problem.config
        fitting = config.fitting
        short = replace(
            fitting,
            epochs=max(1, round(SHARE_OF_EPOCHS * fitting.epochs)),
            least_steps=round(SHARE_OF_EPOCHS * fitting.least_steps),
        )
        # Poses are sought with a handful of conformations: their frequencies do not matter here.
        mixture = replace(config.mixture, turns=0)
        fitted = fit_images(
            problem._replace(config=replace(config, fitting=short, mixture=mixture)),
            sure,
            key=own,
            job=job,
            name=f"round_{number}",
            label=f"Fitting, round {number}",
        )
        problem = search_again(
            problem,
            fitted.params,
            fitted.candidates,
            job,
            name=f"poses_{number}",
            symmetry=symmetry,
        )
    return problem


def search_again(
    problem: Problem,
    params: dict[str, Any],
    candidates: Float[np.ndarray, "candidates latent"],
    job: Job,
    *,
    name: str,
    symmetry: str,
) -> Problem:
    """Search poses with conformations of a fitted system.

    Args:
        problem: whose poses are replaced.
        params: of the fitted system.
        candidates: latents spread over the images of the fit.
        job: for messages.
        name: of what is kept for resuming.
        symmetry: point group of the template.

    Returns:
        the problem with poses.
    """
    particles, imaging = problem.particles, params["imaging"]
    densities = [
        np.exp(float(imaging["log_scale"]))
        * map_of(
            conformation,
            template=problem.template,
            extra_variance=float(extra_variance(imaging)),
            box=particles.box,
            voxel_size=particles.pixel_size,
        )
        for conformation in _typical(problem, params, candidates)
    ]
    found = search_for_conformations(
        particles,
        densities,
        noise=np.exp(np.asarray(imaging["log_noise"])),
        contrast_deviation=problem.config.objective.contrast_deviation,
        radius=float(np.sqrt(5 / 3) * arm(problem.template)),
        symmetry=symmetry,
        job=job,
        name=name,
    )
    reader = reader_of(found.particles, problem.config)
    return problem._replace(reader=reader, **found._asdict())


def _sure_images(problem: Problem) -> Int[np.ndarray, " sure"]:
    """Images to fit whose poses are sure, or the surest where these are few."""
    assert problem.doubt is not None
    doubt = problem.doubt[problem.fitted]
    surest = np.sort(doubt)[min(_FEWEST_SURE, len(doubt)) - 1]
    return problem.fitted[doubt <= max(_SURE, surest)]


def _typical(
    problem: Problem, params: dict[str, Any], candidates: Float[np.ndarray, "candidates latent"]
) -> Float[np.ndarray, "typical n 3"]:
    """Conformations that stand for all: of each cluster the member nearest to its middle."""
    latents = jnp.asarray(candidates)
    every = np.asarray(
        decode(params["decoder"], latents, config=problem.config, template=problem.template)
    )
    if len(every) <= CONFORMATIONS:
        return every
    flat = every.reshape(len(every), -1).astype(np.float64)
    cluster = fcluster(linkage(flat, "ward"), CONFORMATIONS, "maxclust")
    chosen = []
    for number in np.unique(cluster):
        members = np.flatnonzero(cluster == number)
        apart = np.linalg.norm(flat[members] - flat[members].mean(axis=0), axis=1)
        chosen.append(members[apart.argmin()])
    return every[chosen]
