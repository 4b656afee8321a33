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


def passes_for_scores(conformations: int, *, any_pose: bool) -> int:
    """Passes over the images, with their gradients, that take as long as their scores.

    Args:
        conformations: that each image is held against.
        any_pose: each in the poses that suit it.

    Returns:
        their number.
    """
    # Drawing a conformation costs about a third of a step with its gradient; for the slope of its
    # pose it is drawn five times.
    return (5 * POSES_LOOKED_AT if any_pose else 1) * conformations // 3


def score_images(
    params: dict[str, Any],
    problem: Problem,
    images: Int[np.ndarray, " some"],
    candidates: Float[np.ndarray, "candidates latent"],
    *,
    job: Job,
    name: str,
    any_pose: bool = False,
) -> Float[np.ndarray, "some candidates"]:
    """Hold conformations against images, and keep a file for each part that is done.

    Args:
        params: of a fitted system; for any pose with those of the images.
        problem: images, template and settings of the fit.
        images: their numbers.
        candidates: latents of the conformations.
        job: for messages.
        name: of what is kept for resuming.
        any_pose: each conformation in the poses near the fitted one that suit it; else all in the
            given one.

    Returns:
        log-likelihoods, for any pose integrated over poses; nats.
    """
    folder = job.working(f"{name}_scores")
    folder.mkdir(exist_ok=True)
    files = [folder / f"{start}.npz" for start in range(0, len(images), IMAGES_SCORED_AT_ONCE)]
    done = sum(file.exists() for file in files)
    parts = score_candidates(
        params,
        candidates,
        problem.reader,
        images[done * IMAGES_SCORED_AT_ONCE :],
        config=problem.config,
        template=problem.template,
        pixel_size=problem.particles.pixel_size,
        mesh=data_mesh(),
        any_pose=any_pose,
    )
    where = " in any pose" if any_pose else ""
    label = f"Comparing {len(images):,} images with {len(candidates)} conformations{where}"
    with job.progress(label, len(files), start=done) as advance:
        for number, (file, part) in enumerate(zip(files[done:], parts, strict=True), done + 1):
            write_npz(file, {"log_likelihoods": part})
            advance(number, "")
            job.check_abort()
    return np.concatenate([read_npz(file)["log_likelihoods"] for file in files])
