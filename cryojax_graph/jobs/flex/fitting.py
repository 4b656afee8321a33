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
    evidence_of_each,
    evidence_of_mixture,
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

# Images that are asked whether they are better off together, and draws from the Gaussian of each.
_ASKED, _DRAWS = 1024, 8
# The decoder has been fitted to images each by itself, and not yet to the mixture, nats.
_HEAD_START = 0.5
# Of the conformations of a mixture, where poses are fitted. They hold nineteen parts in twenty of
# what is probable at an SNR of 0.01 with poses 15 degrees off.
_IN_ANY_POSE = 16


def prepare(
    problem: Problem,
    config: BackboneGraphConfig,
    images: Int[np.ndarray, " fitted"],
    *,
    key: Key[Array, ""],
    **start: Any,
) -> Run:
    """``prepare_fit`` for images of a problem.

    Args:
        problem: images and template.
        config: settings of this fit.
        images: numbers of those to fit.
        key: randomness.
        start: further arguments of ``prepare_fit``, where it goes on from a fitted system.

    Returns:
        the run.
    """
    return prepare_fit(
        problem.reader,
        problem.template,
        pixel_size=problem.particles.pixel_size,
        config=config,
        key=key,
        mesh=data_mesh(),
        images=images,
        **start,
    )


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
        frequencies: of these, their sum 1; None where every image stands for itself.
        deviation: how far the conformation of each image in the mixture may be off, Å, 0 for those
            that are not placed yet; None before any is.
    """

    params: dict[str, Any]
    candidates: Float[np.ndarray, "candidates latent"]
    frequencies: Float[np.ndarray, " candidates"] | None = None
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
    run = prepare(problem, problem.config, images, key=key)
    objective = problem.config.objective
    if objective.kind == "likelihood" and objective.sharpening_share > 0:
        job.log(
            f"{label} begins at {objective.coarsest:g} Å and takes in finer detail for the first "
            f"{100 * objective.sharpening_share:.0f} % of {run.steps:,} steps, in which the loss "
            "rises"
        )
    params = fit_resumably(run, problem.config, job, name, label)
    mixture = problem.config.mixture
    latents = np.asarray(params["latents"]["mean"])
    alone = Fitted(params, latents[evenly(images, mixture.conformations)])
    if objective.kind == "squared_error" or not mixture.turns:
        return alone
    several = mixture.conformations_for(len(images))
    if several < 2:
        return alone
    candidates = latents[evenly(images, several)]
    fitted = Fitted(params, candidates)
    gain = _gain_of_sharing(fitted, problem, images, key=key, job=job, name=name)
    if gain <= -_HEAD_START:
        job.log(
            f"{label}: each image stands for itself, by which it is {-gain:.1f} nats more probable "
            f"than as one of {len(candidates)} conformations"
        )
        return alone
    job.log(
        f"{label}: an image is {abs(gain):.1f} nats {'more' if gain > 0 else 'less'} probable as "
        f"one of {len(candidates)} conformations of all images than by itself, before the decoder "
        "has been fitted to these"
    )
    for turn in range(1, mixture.turns + 1):
        own, where = jax.random.fold_in(key, turn), f"{name}_turn_{turn}"
        fitted = _fit_mixture(
            fitted, problem, images, key=own, job=job, name=where, label=f"{label}, turn {turn}"
        )
    scores = _scores(fitted, problem, images, candidates, job=job, name=f"{name}_done")
    frequencies = fit_frequencies(scores)
    fitted = fitted._replace(frequencies=frequencies)
    return placed(fitted, problem, images, membership(scores, frequencies))


def placed(
    fitted: Fitted,
    problem: Problem,
    images: Int[np.ndarray, " some"],
    weights: Float[np.ndarray, "some candidates"],
) -> Fitted:
    """Latents of images where their conformations are in the mixture.

    Args:
        fitted: the fitted system.
        problem: images, template and settings of the fit.
        images: their numbers.
        weights: how probable each candidate is for each of them.

    Returns:
        the system with new latents and deviations of these images.
    """
    config = problem.config
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


def evenly(images: Int[np.ndarray, " images"], most: int) -> Int[np.ndarray, " some"]:
    """Some of the images, evenly spread over them.

    Args:
        images: their numbers.
        most: all where there are no more.

    Returns:
        numbers of some.
    """
    count = min(most, len(images))
    return images[np.linspace(0, len(images) - 1, count).astype(int)]


def _gain_of_sharing(
    fitted: Fitted,
    problem: Problem,
    images: Int[np.ndarray, " fitted"],
    *,
    key: Key[Array, ""],
    job: Job,
    name: str,
) -> float:
    """How much more probable images are in the mixture than each by itself, nats per image."""
    some = evenly(images, _ASKED)
    # Of all images the first turn needs the same.
    asked = f"{name}_turn_1" if len(some) == len(images) else f"{name}_asked"
    scores = _scores(fitted, problem, some, fitted.candidates, job=job, name=asked)
    together = evidence_of_mixture(scores, fit_frequencies(scores))
    latents = fitted.params["latents"]
    mean, deviation = (
        np.asarray(a, float)[some] for a in (latents["mean"], jnp.exp(latents["log_deviation"]))
    )
    noise = jax.random.normal(jax.random.fold_in(key, 0), (_DRAWS, *mean.shape))
    draws = mean[:, None] + deviation[:, None] * np.moveaxis(np.asarray(noise), 0, 1)
    own = _scores(
        fitted, problem, some, draws.astype(np.float32), job=job, name=f"{name}_asked_each"
    )
    alone = evidence_of_each(own, draws, mean, deviation)
    return float(np.mean(together - alone))


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
    scores = _scores(fitted, problem, images, candidates, job=job, name=name)
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
            decoder_rate=own.share_of_rate * config.fitting.decoder_rate,
        ),
        objective=replace(config.objective, sharpening_share=0.0, prior_share=0.0),
    )
    mixture = Mixture(jnp.asarray(candidates), jnp.asarray(log_weight))
    run = prepare(problem, settings, images, key=key, fitted=fitted.params, mixture=mixture)
    params = fitted.params | fit_resumably(run, settings, job, name, label)
    return fitted._replace(params=params)


def _scores(
    fitted: Fitted,
    problem: Problem,
    images: Int[np.ndarray, " some"],
    candidates: Float[np.ndarray, "*each candidates latent"],
    *,
    job: Job,
    name: str,
) -> Float[np.ndarray, "some candidates"]:
    return score_images(
        fitted.params,
        problem,
        images,
        candidates,
        job=job,
        name=name,
        in_any_pose=_in_any_pose(problem.config),
    )


def _in_any_pose(config: BackboneGraphConfig) -> int:
    return _IN_ANY_POSE if config.poses.fitted else 0


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
    several = mixture.conformations_for(images)
    scored = passes_for_scores(several, _in_any_pose(config))
    of_turns = mixture.turns * mixture.share_of_passes * passes
    return each * (passes + of_turns) + (mixture.turns + 1) * scored
