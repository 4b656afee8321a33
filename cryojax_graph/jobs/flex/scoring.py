"""Images held against conformations of a fitted system, resumable part by part."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.embed import POSES_LOOKED_AT
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.backbone_graph import (
    IMAGES_SCORED_AT_ONCE,
    score_candidates,
)


def passes_for_scores(conformations: int, in_any_pose: int) -> int:
    """Passes over the images, with their gradients, that take as long as their scores.

    Args:
        conformations: that each image is held against.
        in_any_pose: of these, in poses of their own.

    Returns:
        their number.
    """
    # Drawing a conformation costs about a third of a step with its gradient; for the slope of a
    # pose it is drawn five times.
    drawn = 0 if in_any_pose >= conformations else conformations
    return (drawn + 5 * POSES_LOOKED_AT * min(in_any_pose, conformations)) // 3


def score_images(
    params: dict[str, Any],
    problem: Problem,
    images: Int[np.ndarray, " some"],
    candidates: Float[np.ndarray, "*each candidates latent"],
    *,
    job: Job,
    name: str,
    in_any_pose: int = 0,
) -> Float[np.ndarray, "some candidates"]:
    """Hold conformations against images, and keep a file for each part that is done.

    Args:
        params: of a fitted system; for any pose with those of the images.
        problem: images, template and settings of the fit.
        images: their numbers.
        candidates: latents of the conformations, for all images the same or, with a leading axis,
            for each its own.
        job: for messages.
        name: of what is kept for resuming.
        in_any_pose: conformations, the most probable of each image, that are held against it in the
            poses near its fitted one that suit them, and the others left out; with 0 all are held
            against it in the given one.

    Returns:
        log-likelihoods, for any pose integrated over poses, minus infinity where left out; nats.
    """
    folder = job.working(f"{name}_scores")
    folder.mkdir(exist_ok=True)
    files = [folder / f"{start}.npz" for start in range(0, len(images), IMAGES_SCORED_AT_ONCE)]
    done = sum(file.exists() for file in files)
    first = done * IMAGES_SCORED_AT_ONCE
    parts = score_candidates(
        params,
        candidates[first:] if candidates.ndim == 3 else candidates,
        problem.reader,
        images[first:],
        config=problem.config,
        template=problem.template,
        pixel_size=problem.particles.pixel_size,
        mesh=data_mesh(),
        in_any_pose=in_any_pose,
    )
    where = " in any pose" if in_any_pose else ""
    several = f"{candidates.shape[-2]} conformations"
    label = f"Comparing {len(images):,} images with {several}{where}"
    with job.progress(label, len(files), start=done) as advance:
        for number, (file, part) in enumerate(zip(files[done:], parts, strict=True), done + 1):
            known = np.where(np.isnan(part), -np.inf, part)
            write_npz(file, {"log_likelihoods": known})
            advance(number, "")
            job.check_abort()
    scores = np.concatenate([read_npz(file)["log_likelihoods"] for file in files])
    unknown = np.isneginf(scores).all(axis=1)
    if unknown.any():
        job.warn(
            f"{unknown.sum():,} images cannot be held against any conformation, the first of them "
            f"number {images[unknown][0] + 1:,}: they are taken as if they told nothing"
        )
        scores[unknown] = 0.0
    return scores
