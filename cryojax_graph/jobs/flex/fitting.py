"""The fit itself, resumable and logged: each image by itself, then all as a mixture."""

from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.configs import to_dict
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.flex.scoring import passes_for_scores, score_images
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.mixture import (
    Mixture,
    fit_frequencies,
    membership,
    moments,
    position_spread,
)
from cryojax_graph.models.backbone_graph.predict import decode
from cryojax_graph.training.callbacks import abort_when, every_steps, save_every
from cryojax_graph.training.checkpoint import Checkpoints
from cryojax_graph.training.history import History
from cryojax_graph.training.loop import Progress, fit
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.backbone_graph import Run, prepare_fit


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


class Fitted(NamedTuple):
    """A system fitted to images.

    Attributes:
        params: with the latents of these images.
        candidates: latents of conformations that stand for all.
        frequencies: of these, their sum 1.
        deviation: how far the conformation of each image in the mixture may be off, Å, 0 for those
            that are not placed yet; None where every image stands for itself.
    """

    params: dict[str, Any]
    candidates: Float[np.ndarray, "candidates latent"]
    frequencies: Float[np.ndarray, " candidates"]
    deviation: Float[np.ndarray, " images"] | None = None


def fit_images(
    problem: Problem,
    images: Int[np.ndarray, " fitted"],
    *,
    key: Key[Array, ""],
    job: Job,
    name: str,
    label: str,
) -> Fitted:
    """Fit decoder, imaging and latents to images: each by itself first, then as a mixture.

    Args:
        problem: images, template and settings of the fit.
        images: numbers of those to fit.
        key: randomness.
        job: for checkpoints and messages.
        name: of what is kept for resuming.
        label: of the progress.

    Returns:
        the fitted system.
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
    params = fit_resumably(run, problem.config, job, name, label)
    mixture = problem.config.mixture
    candidates = _spread(params["latents"]["mean"], images, mixture.conformations)
    equal = np.full(len(candidates), 1.0 / len(candidates))
    fitted = Fitted(params, candidates, equal)
    if objective.kind == "squared_error":
        return fitted
    for turn in range(1, mixture.turns + 1):
        own, where = jax.random.fold_in(key, turn), f"{name}_turn_{turn}"
        fitted = _fit_mixture(
            fitted, problem, images, key=own, job=job, name=where, label=f"{label}, turn {turn}"
        )
    if not mixture.turns:
        return fitted
    scores = _scores(fitted, problem, images, job=job, name=f"{name}_done")
    fitted = fitted._replace(frequencies=fit_frequencies(scores))
    return placed(fitted, problem, images, scores)


def placed(
    fitted: Fitted,
    problem: Problem,
    images: Int[np.ndarray, " some"],
    scores: Float[np.ndarray, "some candidates"],
) -> Fitted:
    """Latents of images where their conformations are in the mixture.

    Args:
        fitted: the fitted system.
        problem: images, template and settings of the fit.
        images: their numbers.
        scores: log-likelihoods of the candidates, nats.

    Returns:
        the system with new latents and deviations of these images.
    """
    config = problem.config
    weights = membership(scores, fit_frequencies(scores, fitted.frequencies))
    mean, width = moments(weights, fitted.candidates, width=config.mixture.width)
    latents, rows = fitted.params["latents"], {"mean": mean, "log_deviation": np.log(width)}
    table = {name: latents[name].at[images].set(rows[name]) for name in latents}
    c_alpha = decode(
        fitted.params["decoder"],
        jnp.asarray(fitted.candidates),
        config=config,
        template=problem.template,
    )
    known = fitted.deviation
    deviation = np.zeros(len(problem.reader)) if known is None else known.copy()
    deviation[images] = position_spread(weights, np.asarray(c_alpha))
    return fitted._replace(params=fitted.params | {"latents": table}, deviation=deviation)


def _spread(
    latents: Float[Array, "images latent"], images: Int[np.ndarray, " fitted"], count: int
) -> Float[np.ndarray, "candidates latent"]:
    """Latents of some of the images, evenly spread over the set."""
    count = min(count, len(images))
    chosen = images[np.linspace(0, len(images) - 1, count).astype(int)]
    return np.asarray(latents)[chosen]


def _fit_mixture(
    fitted: Fitted,
    problem: Problem,
    images: Int[np.ndarray, " fitted"],
    *,
    key: Key[Array, ""],
    job: Job,
    name: str,
    label: str,
) -> Fitted:
    """Go on with the decoder, images drawn in conformations as probable as they are for them."""
    config = problem.config
    own, candidates = config.mixture, fitted.candidates
    scores = _scores(fitted, problem, images, job=job, name=name)
    weights = membership(scores, fit_frequencies(scores))
    log_weight = np.full((len(problem.reader), len(candidates)), -np.inf, np.float32)
    log_weight[images] = np.log(np.maximum(weights, np.finfo(np.float32).tiny))
    passes = max(1, round(own.share_of_passes * config.fitting.epochs_for(len(images))[0]))
    settings = replace(
        config,
        fitting=replace(
            config.fitting,
            epochs=passes,
            least_steps=0,
            repeats=1,
            decoder_rate=own.decoder_rate,
        ),
        objective=replace(config.objective, sharpening_share=0.0, prior_share=0.0),
    )
    run = prepare_fit(
        problem.reader,
        problem.template,
        pixel_size=problem.particles.pixel_size,
        config=settings,
        key=key,
        mesh=data_mesh(),
        images=images,
        fitted=fitted.params,
        mixture=Mixture(jnp.asarray(candidates), jnp.asarray(log_weight)),
    )
    params = fitted.params | fit_resumably(run, settings, job, name, label)
    return fitted._replace(params=params)


def _scores(
    fitted: Fitted, problem: Problem, images: Int[np.ndarray, " fitted"], *, job: Job, name: str
) -> Float[np.ndarray, "fitted candidates"]:
    return score_images(
        fitted.params,
        problem,
        images,
        fitted.candidates,
        job=job,
        name=name,
        any_pose=problem.config.poses.fitted,
    )


def passes_of_fit(images: int, config: BackboneGraphConfig, each: float) -> float:
    """Passes over images, with their gradients, that take as long as ``fit_images``.

    Args:
        images: to fit.
        config: of the model.
        each: how much longer a pass takes with poses that are fitted.

    Returns:
        their number.
    """
    passes, mixture = config.fitting.epochs_for(images)[0], config.mixture
    if config.objective.kind == "squared_error" or not mixture.turns:
        return each * passes
    scored = passes_for_scores(mixture.conformations, any_pose=config.poses.fitted)
    of_turns = mixture.turns * mixture.share_of_passes * passes
    return each * (passes + of_turns) + (mixture.turns + 1) * scored
