"""The fit itself, resumable and logged, and the embedding of new images."""

import math
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.configs import to_dict
from cryojax_graph.io.npz import read_npz, write_npz
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.embed import POSES_LOOKED_AT
from cryojax_graph.training.callbacks import abort_when, every_steps, save_every
from cryojax_graph.training.checkpoint import Checkpoints
from cryojax_graph.training.history import History
from cryojax_graph.training.loop import Progress, fit
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.backbone_graph import (
    IMAGES_SCORED_AT_ONCE,
    Run,
    prepare_fit,
    score_candidates,
    start_at_candidates,
)

_EMBEDDING_EPOCHS = 12
# In fewer steps the expected error of given poses does not come from its start to where it belongs.
_STEPS_OF_POSE_ERROR = 400
_CANDIDATES = 64
# Drawing a candidate costs about a third of a step with its gradient.
EMBEDDING_PASSES = _EMBEDDING_EPOCHS + _CANDIDATES // 3
# For its slope a pose is drawn five times.
EVIDENCE_PASSES = 5 * POSES_LOOKED_AT * _CANDIDATES // 3
# Images that tell the evidence for motion where each has to be drawn that often.
MOST_FOR_EVIDENCE = 4 * IMAGES_SCORED_AT_ONCE


def passes_for_pose_error(images: int, batch_size: int) -> int:
    """Passes beyond those of an embedding that the error of given poses takes.

    Args:
        images: new ones.
        batch_size: images per step.

    Returns:
        their number, 0 for some thousand images.
    """
    return max(0, math.ceil(_STEPS_OF_POSE_ERROR * batch_size / images) - _EMBEDDING_EPOCHS)


def fit_resumably(
    run: Run, config: BackboneGraphConfig, job: Job, name: str, label: str
) -> dict[str, Any]:
    """Fit with checkpoints, history and progress, from wherever an earlier run stopped."""
    per_epoch = run.batches.steps_per_epoch
    with Checkpoints(job.working(f"checkpoints/{name}"), to_dict(config)) as checkpoints:
        state = checkpoints.restore(run.state)
        start = int(state.step)
        history = History(job.working(f"{name}.csv"), step=start)
        with job.progress(label, run.steps, start=start) as advance:

            def show(progress: Progress) -> None:
                advance(progress.step, f"loss {progress.metrics['loss'][-1]:.4g}")

            def line(progress: Progress) -> None:
                values = {k: float(v.mean()) for k, v in progress.metrics.items()}
                job.log(
                    f"{label}: epoch {progress.step // per_epoch}, "
                    + ", ".join(f"{k} {v:.4g}" for k, v in values.items()),
                    echo=False,
                )

            state = fit(
                state,
                run.step,
                run.batches,
                steps=run.steps,
                callbacks=[
                    history,
                    show,
                    every_steps(per_epoch, line),
                    abort_when(job.abort_reason, checkpoints),
                    save_every(checkpoints, seconds=job.save_seconds),
                ],
            )
        if int(state.skipped):
            job.warn(f"{int(state.skipped)} steps were skipped: their gradient was not finite")
    return state.params


def fit_images(
    problem: Problem,
    images: Int[np.ndarray, " fitted"],
    *,
    key: Key[Array, ""],
    job: Job,
    name: str,
    label: str,
) -> dict[str, Any]:
    """Fit decoder, imaging and latents to images.

    Args:
        problem: images, template and settings of the fit.
        images: numbers of those to fit.
        key: randomness.
        job: for checkpoints and messages.
        name: of what is kept for resuming.
        label: of the progress.

    Returns:
        the parameters.
    """
    run = prepare_fit(
        problem.reader,
        problem.template,
        pixel_size=problem.particles.pixel_size,
        config=problem.config,
        key=key,
        mesh=data_mesh(),
        images=images,
    )
    objective = problem.config.objective
    if objective.kind == "likelihood" and objective.sharpening_share > 0:
        job.log(
            f"{label} begins at {objective.coarsest:g} Å and takes in finer detail for the first "
            f"{100 * objective.sharpening_share:.0f} % of {run.steps:,} steps, in which the loss "
            "rises"
        )
    return fit_resumably(run, problem.config, job, name, label)


class Embedded(NamedTuple):
    """Images that a fitted decoder has not seen before.

    Attributes:
        params: the fitted ones, with the latents of these images.
        log_likelihoods: of each of these images under each candidate in the given poses, nats.
    """

    params: dict[str, Any]
    log_likelihoods: Float[np.ndarray, "images candidates"]


def candidates_of(
    params: dict[str, Any], fitted: Int[np.ndarray, " fitted"]
) -> Float[np.ndarray, "candidates latent"]:
    """Latents spread over the images of a fit.

    Args:
        params: after the fit.
        fitted: its images.

    Returns:
        some hundred latents.
    """
    count = min(_CANDIDATES, len(fitted))
    chosen = fitted[np.linspace(0, len(fitted) - 1, count).astype(int)]
    return np.asarray(params["latents"]["mean"])[chosen]


def embed(
    params: dict[str, Any],
    problem: Problem,
    images: Int[np.ndarray, " new"],
    candidates: Float[np.ndarray, "candidates latent"],
    *,
    fitted_images: int,
    key: Key[Array, ""],
    job: Job,
    name: str,
) -> Embedded:
    """Find the latents of new images, the decoder frozen.

    Args:
        params: of a fitted likelihood model, with a table of latents for all images.
        problem: images, template and settings of the fit.
        images: numbers of the new ones.
        candidates: latents to start from.
        fitted_images: how many the decoder was fitted to.
        key: randomness.
        job: for checkpoints and messages.
        name: of what is kept for resuming.

    Returns:
        the new latents.
    """
    scores = _scores(params, problem, images, candidates, job=job, name=name)
    # Nothing is annealed: decoder and first guesses are as good as they get.
    poses = problem.config.poses
    error_unknown = problem.saved is not None and poses.fitted and poses.error_fitted
    settings = replace(
        problem.config,
        fitting=replace(
            problem.config.fitting,
            epochs=_EMBEDDING_EPOCHS,
            least_steps=_STEPS_OF_POSE_ERROR if error_unknown else 0,
            latent_rate=0.05,
        ),
        objective=replace(problem.config.objective, sharpening_share=0.0, prior_share=0.0),
    )
    latents = start_at_candidates(params["latents"], images, candidates, scores)
    run = prepare_fit(
        problem.reader,
        problem.template,
        pixel_size=problem.particles.pixel_size,
        config=settings,
        key=key,
        mesh=data_mesh(),
        images=images,
        fitted=params | {"latents": latents},
        fitted_images=fitted_images,
    )
    embedded = fit_resumably(run, settings, job, name, f"Embedding {len(images):,} images")
    return Embedded(params | embedded, scores)


def evidence_for_candidates(
    params: dict[str, Any],
    problem: Problem,
    images: Int[np.ndarray, " new"],
    candidates: Float[np.ndarray, "candidates latent"],
    *,
    job: Job,
    name: str,
) -> Float[np.ndarray, "some candidates"]:
    """Hold candidates against new images in the poses that suit each candidate.

    Args:
        params: after ``embed``, with fitted poses.
        problem: images, template and settings of the fit.
        images: numbers of the new ones.
        candidates: latents.
        job: for messages.
        name: of what is kept for resuming.

    Returns:
        log-likelihoods integrated over poses, nats; of ``MOST_FOR_EVIDENCE`` images spread over
        the new ones, where there are more.
    """
    last = len(images) - 1
    some = np.unique(np.linspace(0, last, min(MOST_FOR_EVIDENCE, last + 1)).astype(int))
    return _scores(params, problem, images[some], candidates, job=job, name=name, any_pose=True)


def _scores(
    params: dict[str, Any],
    problem: Problem,
    images: Int[np.ndarray, " new"],
    candidates: Float[np.ndarray, "candidates latent"],
    *,
    job: Job,
    name: str,
    any_pose: bool = False,
) -> Float[np.ndarray, "new candidates"]:
    """Log-likelihoods of images under candidates, a file for each part that is done."""
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
