"""From a map to its field; networks are trained resumably."""

from dataclasses import replace
from functools import partial
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from cryojax_graph.configs import to_dict
from cryojax_graph.fields import (
    Field,
    SplineField,
    fit_atoms,
    voxel_grid,
)
from cryojax_graph.io.errors import InputError
from cryojax_graph.io.field_file import StoredField, StoredVoxels
from cryojax_graph.io.field_networks import StoredNetworks
from cryojax_graph.io.mrc import Map
from cryojax_graph.jobs.job import Job
from cryojax_graph.jobs.locate.config import LocateConfig
from cryojax_graph.jobs.map_noise import Solvent, constants_of, solvent_of
from cryojax_graph.jobs.map_resolution import working_resolution
from cryojax_graph.jobs.stored_field import accuracy_of, field_of, known_from
from cryojax_graph.jobs.stored_networks import build_networks, describe_networks, store_networks
from cryojax_graph.models.atom_graph.config import NeuralMapConfig, paper
from cryojax_graph.training.callbacks import abort_when, save_every
from cryojax_graph.training.checkpoint import Checkpoints, ConfigDiffers
from cryojax_graph.training.history import History
from cryojax_graph.training.loop import Progress, TrainingDiverged, fit
from cryojax_graph.training.mesh import data_mesh
from cryojax_graph.training.recipes.atom_graph import prepare_neural_map, trained_field
from cryojax_graph.training.state import TrainState

# Width of an atom in a map and what it is drawn with, as shares of the resolution: found on maps
# simulated at 1.3 to 3 Å with B-factors and noise (docs/validation.md).
ATOM_WIDTHS = 0.30, 0.22
HISTORY = "networks.csv"
# Voxels of all boxes that a processor may pass between two looks at the abort mark.
_AT_ONCE = 200_000
# Error of networks as a share of the range of a map, where its noise is not known.
_UNTRAINED = 0.02


class Fitted(NamedTuple):
    """A field in both its forms.

    Attributes:
        field: of the part of the map that is above the threshold.
        stored: what the file keeps: all voxels, or the networks of the part.
    """

    field: Field
    stored: StoredField


def fit_field(
    density: Map, part: Map, config: LocateConfig, *, around: Solvent, job: Job
) -> Fitted:
    """Fit the field that the config names.

    Args:
        density: the map.
        part: of it, for which the field has to be right.
        config: of the job.
        around: where the map has no density.
        job: at work.

    Returns:
        the field.
    """
    network = network_of(config)
    if network is not None:
        stored = _train(part, network, config, around, job)
        # Peaks are looked for in the field that is stored, rounded weights and all.
        return Fitted(build_networks(stored), stored)
    if config.field == "atoms":
        field = fit_sharper(part, density, config)
        # What is stored is the density of the map.
        recipe = "positive"
        constants = constants_of(density, recipe, file=config.map)
    else:
        recipe = config.field
        constants = constants_of(density, recipe, file=config.map)
        field = field_of(known_from(density, part, recipe), recipe, constants)
    accuracy = accuracy_of(density, around.noise)
    return Fitted(field, StoredVoxels(density, recipe, constants, accuracy))


def fit_sharper(part: Map, density: Map, config: LocateConfig) -> SplineField:
    """The field of Gaussians as wide as atoms that explain a map, drawn narrower.

    Args:
        part: of the map, or its likeness.
        density: the map, whose solvent is the zero of the field.
        config: of the job.

    Returns:
        the field.
    """
    voxels = working_resolution(density, config.resolution) / part.voxel_size[::-1]
    width, drawn = (tuple((share * voxels).tolist()) for share in ATOM_WIDTHS)
    return _fit_atoms(
        jnp.asarray(part.values - np.float32(solvent_of(density).level)),
        voxel_grid(part.origin, part.voxel_size),
        width=width,
        drawn=drawn,
    )


_fit_atoms = jax.jit(fit_atoms, static_argnames=("width", "drawn"))


def network_of(config: LocateConfig) -> NeuralMapConfig | None:
    """Settings of the networks of a field, if it has any."""
    if config.field not in ("siren", "paper"):
        return None
    network = paper() if config.field == "paper" else config.networks
    return network if config.steps is None else replace(network, steps=config.steps)


def _continued(checkpoints: Checkpoints, begun: TrainState, job: Job) -> TrainState:
    try:
        return checkpoints.restore(begun)
    except ConfigDiffers as error:
        # The stack of networks is filled up to a multiple of the devices.
        remedy = (
            "continue with as many devices as it began with (JAX_NUM_CPU_DEVICES on a processor), "
            "or --overwrite to start again"
        )
        raise InputError(job.folder, "checkpoints", str(error), remedy) from None


def _train(
    part: Map, network: NeuralMapConfig, config: LocateConfig, around: Solvent, job: Job
) -> StoredNetworks:
    mesh = data_mesh()
    on_processor = mesh.devices.flat[0].platform == "cpu"
    run = prepare_neural_map(
        part.values,
        voxel_grid(part.origin, part.voxel_size),
        network,
        key=jax.random.key(job.seed),
        level=around.level if around.found else 0.0,
        together=1 if on_processor else 64,
        steps_per_call=_steps_per_call(network, part) if on_processor else 50,
        mesh=mesh,
    )
    boxes = int((~run.state.params["networks"].resting).sum())
    plural = "s" * (boxes > 1)
    job.log(f"{boxes:,} network{plural} of {network.hidden + 1} sine layers of {network.width}")
    with Checkpoints(job.working("checkpoints/networks"), to_dict(network)) as checkpoints:
        state = _continued(checkpoints, run.state, job)
        start = int(state.step)
        if start:
            job.log(f"continues at step {start:,}")
        history = History(job.working(HISTORY), step=start)
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
                    partial(_refuse_divergence, advice=_slower(config)),
                    abort_when(job.abort_reason, checkpoints),
                    save_every(checkpoints, seconds=job.save_seconds),
                ],
            )
    least = np.asarray(state.params["networks"].least)[:boxes]
    job.metric("networks", boxes, "1")
    job.metric("network_steps", int(state.step), "1")
    job.metric("network_error", float(least.mean()), "1")
    if network.points == 0 and (least > network.fair).any():
        job.warn(
            f"{int((least > network.fair).sum()):,} of {boxes:,} networks are still above a mean "
            f"squared error of {network.fair:g} after {network.steps:,} steps; more --steps help"
        )
    try:
        stored = store_networks(trained_field(run, state), part)
    except TrainingDiverged as error:
        raise TrainingDiverged(f"{error}; {_slower(config)}") from None
    job.log(f"Trained: {describe_networks(stored)}")
    if network.points > 0:
        _warn_untrained(stored, part, around, network, job)
    job.metric("field_largest_error", stored.largest_error, "map units")
    job.metric("field_rms_error", stored.rms_error, "map units")
    return stored


def _steps_per_call(network: NeuralMapConfig, part: Map) -> int:
    points = network.points or part.values.size
    return max(1, min(5, _AT_ONCE // points))


def _warn_untrained(
    stored: StoredNetworks, part: Map, around: Solvent, network: NeuralMapConfig, job: Job
) -> None:
    """What networks of points learn is drawn anew in every step: voxels tell how far they are."""
    error, noise = stored.rms_error, around.noise
    most = noise if noise > 0 else _UNTRAINED * float(np.ptp(part.values))
    if error > most:
        than = "the noise of the map" if noise > 0 else f"{100 * _UNTRAINED:g} % of its range"
        job.warn(
            f"After {network.steps:,} steps the networks are off by {error:.3g} (root mean square "
            f"at the voxels), more than {than}, {most:.3g}: peaks may be theirs; more --steps help"
        )


def _slower(config: LocateConfig) -> str:
    if config.field == "siren":
        return "lower --networks.rate"
    return (
        "its rate is the published one: try another --seed, or --field siren, whose "
        "--networks.rate can be lowered"
    )


def _refuse_divergence(progress: Progress, *, advice: str) -> None:
    if not np.isfinite(progress.metrics["loss"]).all():
        raise TrainingDiverged(
            f"the error of networks is not finite at step {progress.step:,}; {advice}"
        )
