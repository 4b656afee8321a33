"""Images, template and objective → a run, from nothing or with the decoder frozen."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.imaging import init_imaging
from cryojax_graph.models.backbone_graph.mixture import Mixture
from cryojax_graph.models.backbone_graph.objective import LOSSES, Scene
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.models.backbone_graph.views import with_poses
from cryojax_graph.training.batches import Batches
from cryojax_graph.training.mesh import replicate
from cryojax_graph.training.recipes.backbone_graph.optimizers import optimizers
from cryojax_graph.training.recipes.backbone_graph.reader import SpectrumReader
from cryojax_graph.training.recipes.backbone_graph.scale import scale_of_images
from cryojax_graph.training.state import TrainState, init_state
from cryojax_graph.training.step import Step, make_step

_IMAGES_TO_START_FROM = 512
_IMAGES_IN_CACHE = 8


class Run(NamedTuple):
    """What ``fit`` takes, ready to start.

    Attributes:
        state: before the first step.
        step: compiled steps.
        batches: of the images to fit.
        steps: length of the run.
        scene: what all images share.
    """

    state: TrainState
    step: Step
    batches: Batches
    steps: int
    scene: Scene


def prepare_fit(
    reader: SpectrumReader,
    template: Template,
    *,
    pixel_size: float,
    config: BackboneGraphConfig,
    key: Key[Array, ""],
    mesh: Mesh,
    images: Int[np.ndarray, " fitted"] | None = None,
    fitted: dict[str, Any] | None = None,
    fitted_images: int | None = None,
    mixture: Mixture | None = None,
) -> Run:
    """Everything needed to fit the system to images, or images to a fitted system.

    Args:
        reader: all images.
        template: the molecule.
        pixel_size: Å.
        config: of the system.
        key: root of the run's randomness.
        mesh: devices.
        images: numbers of the images to fit, all when not given.
        fitted: parameters of a fitted system: decoder and imaging stay as they are and outside the
            run's parameters; latents and poses of ``images`` move, from where they are. With a
            mixture all go on from there but the latents, whose place it takes.
        fitted_images: how many the system was fitted to, by which restraints weigh; those of this
            run when not given.
        mixture: of the conformations that the images may show, a row for every image of the reader.

    Returns:
        the run.
    """
    images = np.arange(len(reader)) if images is None else images
    fitting = config.fitting
    for_order, for_decoder, for_latents, for_steps = jax.random.split(key, 4)
    batches = Batches(
        reader,
        prepare=reader.prepare,
        key=for_order,
        batch_size=min(fitting.batch_size, -(-len(images) // mesh.size) * mesh.size),
        mesh=mesh,
        images=images,
    )
    epochs, _ = fitting.epochs_for(len(images))
    fitting = replace(fitting, epochs=epochs)
    steps = epochs * batches.steps_per_epoch
    chunk = _IMAGES_IN_CACHE if jax.default_backend() == "cpu" else fitting.batch_size
    scene = Scene(template, pixel_size, fitted_images or len(images), steps, mesh, chunk)
    frozen, constants = {}, {} if mixture is None else {"mixture": mixture}
    if fitted is None:
        first = reader.spectra(np.sort(images[:_IMAGES_TO_START_FROM]))
        imaging = init_imaging(first["spectrum"], config.objective.kind)
        if config.objective.kind == "likelihood":
            imaging["log_scale"] = jnp.log(scale_of_images(first, scene, config))
        params = {
            "decoder": network.init(for_decoder, config.decoder, template),
            "imaging": imaging,
            "latents": init_latents(for_latents, len(reader), config),
        }
        if config.poses.fitted:
            params = with_poses(params, len(reader), config.poses)
    elif mixture is None:
        own = ("latents", "poses", "pose_error")
        params = {name: fitted[name] for name in own if name in fitted}
        frozen = {name: fitted[name] for name in ("decoder", "imaging")}
    else:
        params = {name: value for name, value in fitted.items() if name != "latents"}
    optimizer, every = optimizers(fitting, config.poses, batches.steps_per_epoch)
    rows = {name: of_row for name, of_row in every.items() if name in params}
    state = init_state(for_steps, params, optimizer, row_optimizers=rows)
    step = make_step(
        _seeing_frozen(LOSSES[config.objective.kind]),
        optimizer,
        config=config,
        row_optimizers=rows,
        constants=replicate({"scene": scene, "frozen": frozen} | constants, mesh),
    )
    return Run(replicate(state, mesh), step, batches, steps, scene)


def _seeing_frozen(loss: Callable[..., Any]) -> Callable[..., Any]:
    def with_frozen(
        params: dict[str, Any], batch: Any, *, frozen: dict[str, Any], **settings: Any
    ) -> Any:
        return loss(frozen | params, batch, **settings)

    return with_frozen


def init_latents(
    key: Key[Array, ""], images: int, config: BackboneGraphConfig
) -> dict[str, Float[Array, "images latent"]]:
    """Table of latents before the first step.

    Args:
        key: the draw.
        images: number of rows.
        config: of the system.

    Returns:
        means, and for the likelihood the logarithms of the deviations of the posteriors.
    """
    mean = jax.random.normal(key, (images, config.decoder.latent_size))
    if config.objective.kind == "squared_error":
        return {"mean": mean}
    return {"mean": 0.1 * mean, "log_deviation": jnp.full(mean.shape, -1.0)}
