"""From a map to its field; networks are trained resumably."""

from dataclasses import replace
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np

from cryojax_graph.configs import to_dict
from cryojax_graph.fields import Field, fit_atoms, voxel_grid
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.stored_field import field_of
from cryojax_graph.models.atom_graph.config import NeuralMapConfig, default, paper
from cryojax_graph.training.callbacks import abort_when, save_every
from cryojax_graph.training.checkpoint import Checkpoints
from cryojax_graph.training.history import History
from cryojax_graph.training.loop import Progress, fit
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.atom_graph import prepare_neural_map, trained_field

# Width of an atom in a map and what it is drawn with, as shares of the resolution: found on maps
# simulated at 1.3 to 3 Å with B-factors and noise (docs/validation.md).
ATOM_WIDTHS = 0.30, 0.22


def fit_field(part: Map, config: LocateConfig, job: Job) -> Field:
    """Fit the field that the config names.

    Args:
        part: of the map.
        config: of the job.
        job: at work.

    Returns:
        the field.
    """
    network = network_of(config)
    if network is not None:
        return _train(part, network, job)
    if config.field == "atoms":
        width, drawn = (share * _voxels_per_resolution(part, config) for share in ATOM_WIDTHS)
        fit = jax.jit(partial(fit_atoms, width=width, drawn=drawn))
        return fit(jnp.asarray(part.values), voxel_grid(part.origin, part.voxel_size))
    return field_of(part, config.field)


def recipe_of(config: LocateConfig) -> str:
    """How the density of the map itself is known, for the stored field."""
    return "positive" if config.field == "atoms" else config.field


def amplification_of(config: LocateConfig) -> float:
    """How much higher a peak is in the field than in the map."""
    width, drawn = ATOM_WIDTHS
    return (width / drawn) ** 3 if config.field == "atoms" else 1.0


def resolution_of(density: Map, config: LocateConfig) -> float:
    """What is stated, or three voxels, Å."""
    return config.resolution or 3.0 * float(density.voxel_size.max())


def _voxels_per_resolution(density: Map, config: LocateConfig) -> float:
    return resolution_of(density, config) / float(np.prod(density.voxel_size) ** (1 / 3))


def network_of(config: LocateConfig) -> NeuralMapConfig | None:
    """Settings of the networks of a field, if it has any."""
    if config.field not in ("siren", "paper"):
        return None
    network = paper() if config.field == "paper" else default()
    return network if config.steps is None else replace(network, steps=config.steps)


def _train(part: Map, network: NeuralMapConfig, job: Job) -> Field:
    mesh = data_mesh()
    on_processor = mesh.devices.flat[0].platform == "cpu"
    run = prepare_neural_map(
        part.values,
        voxel_grid(part.origin, part.voxel_size),
        network,
        key=jax.random.key(job.seed),
        together=1 if on_processor else 64,
        steps_per_call=5 if on_processor else 50,
        mesh=mesh,
    )
    boxes = int((~run.state.params["networks"].resting).sum())
    job.log(f"{boxes:,} networks of {network.hidden + 1} sine layers of {network.width}")
    with Checkpoints(job.working("checkpoints/networks"), to_dict(network)) as checkpoints:
        state = checkpoints.restore(run.state)
        start = int(state.step)
        history = History(job.working("networks.csv"), step=start)
        with job.progress("training networks", network.steps, start=start) as advance:

            def show(progress: Progress) -> None:
                loss, resting = (progress.metrics[k][-1] for k in ("loss", "resting"))
                advance(progress.step, f"error {loss:.3g}, {100 * resting:.0f} % done")

            state = fit(
                state,
                run.step,
                run.batches,
                steps=network.steps,
                callbacks=[
                    history,
                    show,
                    abort_when(job.abort_reason, checkpoints),
                    save_every(checkpoints, seconds=job.save_seconds),
                ],
            )
    networks = state.params["networks"]
    job.metric("network_steps", int(state.step), "1")
    job.metric("network_error", float(networks.least.mean()), "1")
    if network.points == 0 and bool((networks.least > network.fair).any()):
        job.warn(
            f"{int((networks.least > network.fair).sum())} networks are still above a mean squared "
            f"error of {network.fair:g} after {network.steps:,} steps; more --steps help"
        )
    return trained_field(run, state)
