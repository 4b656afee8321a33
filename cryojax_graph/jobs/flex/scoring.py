"""Images held against conformations of a fitted system, resumable part by part."""

from typing import Any

import numpy as np
from jaxtyping import Float, Int

from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.job import Job
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.backbone_graph import (
    IMAGES_SCORED_AT_ONCE,
    score_candidates,
)


def passes_for_scores(conformations: int, poses_looked_at: int) -> int:
    """Passes over the images, with their gradients, that take as long as their scores.

    Args:
        conformations: that each image is held against.
        poses_looked_at: for each of them; 0 for the given one alone.

    Returns:
        their number.
    """
    # Drawing a conformation costs about a third of a step with its gradient; for the slope of its
    # pose it is drawn five times.
    return max(1, 5 * poses_looked_at) * conformations // 3


def score_images(
    params: dict[str, Any],
    problem: Problem,
    images: Int[np.ndarray, " some"],
    candidates: Float[np.ndarray, "*each candidates latent"],
    *,
    job: Job,
    name: str,
    poses_looked_at: int = 0,
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
        poses_looked_at: for each conformation, to find the pose near the fitted one that suits it;
            with 0 all are held against the image in the given one.

    Returns:
        log-likelihoods, for any pose integrated over poses; nats.
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
        poses_looked_at=poses_looked_at,
    )
    where = " in any pose" if poses_looked_at else ""
    several = f"{candidates.shape[-2]} conformations"
    label = f"Comparing {len(images):,} images with {several}{where}"
    with job.progress(label, len(files), start=done) as advance:
        for number, (file, part) in enumerate(zip(files[done:], parts, strict=True), done + 1):
            write_npz(file, {"log_likelihoods": part})
            advance(number, "")
            job.check_abort()
    return np.concatenate([read_npz(file)["log_likelihoods"] for file in files])
