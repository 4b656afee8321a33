"""Backbone motion: images + template + objective → fit, and new images with the decoder frozen."""

from collections.abc import Callable, Hashable, Iterator
from dataclasses import replace
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.forward.batched import map_images
from cryojax_graph.forward.ctf import CTF, contrast_transfer
from cryojax_graph.forward.fourier import low_pass
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig, FittingConfig
from cryojax_graph.models.backbone_graph.embed import log_likelihoods
from cryojax_graph.models.backbone_graph.imaging import (
    init_imaging,
    predicted_spectrum,
    spectrum_of,
)
from cryojax_graph.models.backbone_graph.objective import LOSSES, Scene
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.training.batches import Batches
from cryojax_graph.training.mesh import replicate
from cryojax_graph.training.state import RowOptimizers, TrainState, init_state
from cryojax_graph.training.step import Step, make_step

IMAGES_SCORED_AT_ONCE = 512
_IMAGES_TO_START_FROM = 512
_IMAGES_IN_CACHE = 8


class Views(NamedTuple):
    """How each image was taken.

    Attributes:
        rotation: takes object to image coordinates.
        shift: (x, y) in Å; the particle stands at ``-shift``.
        ctf: fields of shape (images,).
    """

    rotation: Float[np.ndarray, "images 3 3"]
    shift: Float[np.ndarray, "images 2"]
    ctf: CTF


class SpectrumReader:
    """Half spectra, transfer functions and poses of particle images, read in any order."""

    def __init__(
        self,
        read_images: Callable[[Int[np.ndarray, " n"]], Float[np.ndarray, "n box box"]],
        views: Views,
        *,
        pixel_size: float,
        standardise: bool,
    ) -> None:
        """Keep what is needed to read.

        Args:
            read_images: images by number, from disk or from an array.
            views: of all images.
            pixel_size: Å.
            standardise: bring each image to mean 0 and variance 1, as the published system does.
        """
        self._read_images, self._views = read_images, views

        def prepare(image: Array, ctf: CTF) -> tuple[Array, Array]:
            if standardise:
                image = (image - image.mean()) / jnp.maximum(image.std(), 1e-12)
            return spectrum_of(image), contrast_transfer(
                ctf, box=image.shape[0], pixel_size=pixel_size
            )

        self._prepare = jax.jit(jax.vmap(prepare))

    def __len__(self) -> int:
        """Number of images."""
        return len(self._views.rotation)

    def read(self, images: Int[np.ndarray, " n"]) -> dict[str, np.ndarray]:
        """Spectra, transfer functions, rotations and shifts of the given images."""
        ctf = CTF(*(np.asarray(field, np.float32)[images] for field in self._views.ctf))
        chunks = np.array_split(np.arange(len(images)), max(1, len(images) // 512))
        prepared = [
            self._prepare(
                self._read_images(images[chunk]), jax.tree.map(lambda f, c=chunk: f[c], ctf)
            )
            for chunk in chunks
        ]
        return {
            "spectrum": np.concatenate([np.asarray(spectrum) for spectrum, _ in prepared]),
            "transfer": np.concatenate([np.asarray(transfer) for _, transfer in prepared]),
            "rotation": self._views.rotation[images].astype(np.float32),
            "shift": self._views.shift[images].astype(np.float32),
        }


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
            run's parameters; the latents of ``images`` move, from where they are.

    Returns:
        the run.
    """
    images = np.arange(len(reader)) if images is None else images
    fitting = config.fitting
    for_order, for_decoder, for_latents, for_steps = jax.random.split(key, 4)
    batches = Batches(
        reader,
        key=for_order,
        batch_size=min(fitting.batch_size, -(-len(images) // mesh.size) * mesh.size),
        mesh=mesh,
        images=images,
    )
    epochs, _ = fitting.epochs_for(len(images))
    fitting = replace(fitting, epochs=epochs)
    steps = epochs * batches.steps_per_epoch
    chunk = _IMAGES_IN_CACHE if jax.default_backend() == "cpu" else fitting.batch_size
    scene = Scene(template, pixel_size, len(images), steps, mesh, chunk)
    loss = partial(LOSSES[config.objective.kind], scene=scene)
    if fitted is None:
        first = reader.read(np.sort(images[:_IMAGES_TO_START_FROM]))
        imaging = init_imaging(first["spectrum"], config.objective.kind)
        if config.objective.kind == "likelihood":
            imaging["log_scale"] = jnp.log(_scale_of_images(first, scene, config))
        params = {
            "decoder": network.init(for_decoder, config.decoder, template),
            "imaging": imaging,
            "latents": init_latents(for_latents, len(reader), config),
        }
    else:
        params = {"latents": fitted["latents"]}
        loss = _with_frozen(loss, {name: fitted[name] for name in ("decoder", "imaging")})
    optimizer, rows = optimizers(fitting, batches.steps_per_epoch)
    state = init_state(for_steps, params, optimizer, row_optimizers=rows)
    step = make_step(loss, optimizer, config=config, row_optimizers=rows)
    return Run(replicate(state, mesh), step, batches, steps, scene)


def _scale_of_images(
    batch: dict[str, np.ndarray], scene: Scene, config: BackboneGraphConfig
) -> Float[Array, ""]:
    """What the template has to be multiplied by to look like the images, below the coarsest limit.

    Images come in any unit; left to the optimiser, the scale would be a walk of thousands of steps.
    """
    template, size = scene.template, scene.pixel_size
    box = batch["spectrum"].shape[1]
    band = low_pass(config.objective.coarsest, box=box, pixel_size=size).at[0, 0].set(0.0)

    def of_image(image: tuple[Array, ...]) -> tuple[Array, Array, Array]:
        observed, rotation, shift, transfer = image
        predicted = predicted_spectrum(
            template.c_alpha, rotation, shift, transfer, 1.0, template=template, pixel_size=size
        )
        overlap = jnp.sum(band * (predicted.conj() * observed).real)
        energy = jnp.sum(band * jnp.abs(predicted) ** 2)
        return overlap, energy, jnp.sum(band * jnp.abs(observed) ** 2)

    fields = tuple(batch[name] for name in ("spectrum", "rotation", "shift", "transfer"))
    overlap, energy, power = map(jnp.sum, jax.jit(partial(map_images, of_image))(fields))
    # Where the template does not resemble the images at all, a tenth of their own strength.
    return jnp.maximum(overlap / energy, 0.1 * jnp.sqrt(power / energy))


def _with_frozen(loss: Callable[..., Any], frozen: dict[str, Any]) -> Callable[..., Any]:
    """A loss that is a function of the latents alone."""

    def of_latents(params: dict[str, Any], batch: Any, **settings: Any) -> Any:
        return loss(params | frozen, batch, **settings)

    return of_latents


def score_candidates(
    fitted: dict[str, Any],
    candidates: Float[np.ndarray, "candidates latent"],
    reader: SpectrumReader,
    images: Int[np.ndarray, " new"],
    *,
    config: BackboneGraphConfig,
    template: Template,
    pixel_size: float,
    mesh: Mesh,
) -> Iterator[Float[np.ndarray, "part candidates"]]:
    """Hold some conformations against images that were not fitted.

    Args:
        fitted: decoder and imaging of a fitted system.
        candidates: latents, spread over the images that were fitted.
        reader: all images.
        images: numbers of those that were not fitted.
        config: of the system.
        template: the molecule.
        pixel_size: Å.
        mesh: devices.

    Yields:
        log-likelihoods of the next ``IMAGES_SCORED_AT_ONCE`` images, or of those that are left,
        under each candidate; nats.
    """
    whole, share = PartitionSpec(), PartitionSpec("data")
    score = jax.jit(
        jax.shard_map(
            partial(log_likelihoods, config=config, template=template, pixel_size=pixel_size),
            mesh=mesh,
            in_specs=(whole, whole, share),
            out_specs=share,
            check_vma=False,
        )
    )
    shared = {name: fitted[name] for name in ("decoder", "imaging")}
    for start in range(0, len(images), IMAGES_SCORED_AT_ONCE):
        part = images[start : start + IMAGES_SCORED_AT_ONCE]
        # Filled up to what the devices share evenly, and to one size for all that is compiled.
        size = len(part) if len(images) < IMAGES_SCORED_AT_ONCE else IMAGES_SCORED_AT_ONCE
        filled = np.resize(part, -(-size // mesh.size) * mesh.size)
        yield np.asarray(score(shared, candidates, reader.read(filled)))[: len(part)]


def start_at_candidates(
    latents: dict[str, Float[Array, "images latent"]],
    images: Int[np.ndarray, " new"],
    candidates: Float[np.ndarray, "candidates latent"],
    scores: Float[np.ndarray, "new candidates"],
) -> dict[str, Float[Array, "images latent"]]:
    """Put the latents of new images where the most probable candidate of each is.

    The likelihood of a latent has several peaks, and climbing from the middle of the latent space
    ends on the wrong one for a good part of the images. Among candidates spread over the latents of
    images that were fitted, the best one stands on the right slope.

    Args:
        latents: table of all images.
        images: numbers of the new images.
        candidates: latents.
        scores: from ``score_candidates``.

    Returns:
        the table with new rows.
    """
    best = (scores - 0.5 * np.sum(candidates**2, axis=-1)).argmax(axis=-1)
    return latents | {"mean": latents["mean"].at[images].set(candidates[best])}


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


def optimizers(
    fitting: FittingConfig, steps_per_epoch: int
) -> tuple[optax.GradientTransformation, RowOptimizers]:
    """Adam for what all images share, and for the latents.

    Args:
        fitting: rates and schedule.
        steps_per_epoch: of the batches.

    Returns:
        the optimiser of the shared parameters and those of the tables.
    """

    def schedule(rate: float, per_epoch: int) -> optax.Schedule:
        warm_up = max(1, round(fitting.warm_up_epochs * per_epoch))
        rest = max(1, fitting.epochs * per_epoch - warm_up)
        rise = optax.linear_schedule(0.1 * rate, rate, warm_up)
        fall = optax.cosine_decay_schedule(rate, rest, 0.02)
        after = fall if fitting.decay else optax.constant_schedule(rate)
        return optax.join_schedules([rise, after], [warm_up])

    groups: dict[Hashable, optax.GradientTransformation] = {
        "decoder": optax.adam(schedule(fitting.decoder_rate, steps_per_epoch)),
        "imaging": optax.adam(schedule(fitting.imaging_rate, steps_per_epoch)),
        "latents": optax.adam(schedule(fitting.latent_rate, steps_per_epoch)),
    }
    shared = optax.multi_transform(groups, lambda params: {name: name for name in params})
    if not fitting.latent_rows:
        return shared, {}
    # A row sees its image once per epoch: short memories.
    return shared, {"latents": optax.adam(schedule(fitting.latent_rate, 1), b1=0.5, b2=0.9)}
