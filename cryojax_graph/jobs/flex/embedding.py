"""Conformations of images that a fitted decoder has not seen before."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

from jaxtyping import Array, Float, Int, Key
from numpy import ndarray

from cryojax_graph.jobs.flex.fitting import Fitted, evenly, fit_resumably, placed, prepare
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.flex.scoring import passes_for_scores, score_images
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.evidence import motion_gain
from cryojax_graph.models.backbone_graph.mixture import fit_frequencies, membership
from cryojax_graph.training.recipes.backbone_graph import start_at_candidates

_EPOCHS = 12
# In fewer steps the expected error of given poses does not come from its start to where it belongs.
_STEPS_OF_POSE_ERROR = 400
# Images that tell the evidence for motion where each has to be drawn that often.
_MOST_FOR_EVIDENCE = 2048


class Embedded(NamedTuple):
    """Images that a fitted decoder has not seen before.

    Attributes:
        fitted: the system, with the latents of these images.
        log_likelihoods: of each of these images under each candidate, nats; in a mixture whose
            poses are fitted integrated over these, else in the given pose.
    """

    fitted: Fitted
    log_likelihoods: Float[ndarray, "images candidates"]


def embed(
    fitted: Fitted,
    problem: Problem,
    images: Int[ndarray, " new"],
    *,
    fitted_images: int,
    key: Key[Array, ""],
    job: Job,
    name: str,
) -> Embedded:
    """Find the latents of new images, the decoder frozen.

    Args:
        fitted: likelihood model, with a table of latents for all images.
        problem: images, template and settings of the fit.
        images: numbers of the new ones.
        fitted_images: how many the decoder was fitted to.
        key: randomness.
        job: for checkpoints and messages.
        name: of what is kept for resuming.

    Returns:
        the new latents.
    """
    candidates, shared = fitted.candidates, fitted.frequencies is not None
    poses = problem.config.poses.fitted
    scores = score_images(fitted.params, problem, images, candidates, job=job, name=name)
    if poses or not shared:
        each = _fitted_each(
            fitted,
            scores,
            problem,
            images,
            fitted_images=fitted_images,
            key=key,
            job=job,
            name=name,
        )
        fitted = fitted._replace(params=each)
    if not shared:
        return Embedded(fitted, scores)
    if poses:
        scores = _scores_in_any_pose(fitted, problem, images, job=job, name=name)
    weights = membership(scores, fit_frequencies(scores, fitted.frequencies))
    return Embedded(placed(fitted, problem, images, weights), scores)


def gain_of_motion(
    embedded: Embedded, problem: Problem, images: Int[ndarray, " new"], *, job: Job, name: str
) -> Float[ndarray, " some"]:
    """Evidence for motion in new images, each conformation in poses of its own.

    In a pose that is wrong an image says little of its conformation, and in one that was found with
    some conformation it prefers those near that one.

    Args:
        embedded: the new images.
        problem: images, template and settings of the fit.
        images: their numbers.
        job: for messages.
        name: as in ``embed``.

    Returns:
        nats, of each image, or of some thousand where poses are fitted.
    """
    fitted, scores = embedded
    if problem.evidence is not None:
        return motion_gain(problem.evidence[images])
    if problem.config.poses.fitted and fitted.frequencies is None:
        some = evenly(images, _MOST_FOR_EVIDENCE)
        scores = _scores_in_any_pose(fitted, problem, some, job=job, name=name)
    return motion_gain(scores, fitted.frequencies)


def _scores_in_any_pose(
    fitted: Fitted, problem: Problem, images: Int[ndarray, " some"], *, job: Job, name: str
) -> Float[ndarray, "some candidates"]:
    return score_images(
        fitted.params,
        problem,
        images,
        fitted.candidates,
        job=job,
        name=f"{name}_evidence",
        in_any_pose=len(fitted.candidates),
    )


def _fitted_each(
    fitted: Fitted,
    scores: Float[ndarray, "new candidates"],
    problem: Problem,
    images: Int[ndarray, " new"],
    *,
    fitted_images: int,
    key: Key[Array, ""],
    job: Job,
    name: str,
) -> dict[str, Any]:
    """Each image by itself, its pose with it, from the candidate that suits it best."""
    config = problem.config
    # Nothing is annealed: decoder and first guesses are as good as they get.
    error_unknown = problem.saved is not None and config.poses.fitted and config.poses.error_fitted
    settings = replace(
        config,
        fitting=replace(
            config.fitting,
            epochs=_EPOCHS,
            least_steps=_STEPS_OF_POSE_ERROR if error_unknown else 0,
            repeats=1,
            latent_rate=0.05,
        ),
        objective=replace(config.objective, sharpening_share=0.0, prior_share=0.0),
        # Few images would tell anew what those of the fit told.
        poses=replace(config.poses, error_fitted=error_unknown),
    )
    params, candidates = fitted.params, fitted.candidates
    latents = start_at_candidates(params["latents"], images, candidates, scores)
    run = prepare(
        problem,
        settings,
        images,
        key=key,
        fitted=params | {"latents": latents},
        fitted_images=fitted_images,
    )
    embedded = fit_resumably(run, settings, job, name, f"Embedding {len(images):,} images")
    return params | embedded


def passes_of_embedding(config: BackboneGraphConfig, each: float) -> float:
    """Passes over new images, with their gradients, that take as long as their embedding.

    Args:
        config: of the model.
        each: how much longer a pass takes with poses that are fitted.

    Returns:
        their number, but for those of ``passes_for_pose_error``.
    """
    poses, mixture = config.poses.fitted, config.mixture
    passes = each * _EPOCHS if poses or not mixture.turns else 0.0
    passes += passes_for_scores(mixture.conformations, 0)
    if poses:
        passes += passes_for_scores(mixture.conformations, mixture.conformations)
    return passes


def passes_for_pose_error(images: int, batch_size: int) -> int:
    """Passes beyond those of an embedding that the error of given poses takes.

    Args:
        images: new ones.
        batch_size: images per step.

    Returns:
        their number, 0 for some thousand images.
    """
    return max(0, math.ceil(_STEPS_OF_POSE_ERROR * batch_size / images) - _EPOCHS)
