"""The fit itself: resumable, logged, with the held-out images embedded after it."""

from dataclasses import replace
from typing import Any

import numpy as np
from jaxtyping import Array, Float, Key

from cryojax_graph.configs import to_dict
from cryojax_graph.jobs.flex.problem import Problem
from cryojax_graph.jobs.job import Job
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.evidence import motion_gain
from cryojax_graph.training.callbacks import abort_when, every_steps, save_every
from cryojax_graph.training.checkpoint import Checkpoints
from cryojax_graph.training.history import History
from cryojax_graph.training.loop import Progress, fit
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.backbone_graph import (
    Run,
    prepare_fit,
    score_candidates,
    start_at_candidates,
)

_EMBEDDING_EPOCHS = 12


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
                    save_every(checkpoints),
                ],
            )
        if int(state.skipped):
            job.warn(f"{int(state.skipped)} steps were skipped: their gradient was not finite")
    return state.params


def embed_held_out(
    params: dict[str, Any], problem: Problem, key: Key[Array, ""], job: Job
) -> tuple[dict[str, Any], Float[np.ndarray, " held"] | None]:
    """Find the latents of the held-out images, and what motion explains of them."""
    if not len(problem.held) or problem.config.objective.kind != "likelihood":
        return params, None
    candidates = score_candidates(
        params,
        problem.reader,
        problem.held,
        config=problem.config,
        template=problem.template,
        pixel_size=problem.particles.pixel_size,
    )
    # Nothing is annealed: decoder and first guesses are as good as they get.
    settings = replace(
        problem.config,
        fitting=replace(problem.config.fitting, epochs=_EMBEDDING_EPOCHS, latent_rate=0.05),
        objective=replace(problem.config.objective, sharpening_share=0.0, prior_share=0.0),
    )
    run = prepare_fit(
        problem.reader,
        problem.template,
        pixel_size=problem.particles.pixel_size,
        config=settings,
        key=key,
        mesh=data_mesh(),
        images=problem.held,
        fitted=start_at_candidates(params, problem.held, candidates),
    )
    embedded = fit_resumably(run, settings, job, "embedding", "Embedding held-out images")
    return embedded, motion_gain(candidates.log_likelihoods)
