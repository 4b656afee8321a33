"""What is minimised: the published squared error, or a variational bound of the likelihood."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.forward.batched import map_images, sum_images
from cryojax_graph.forward.fourier import low_pass
from cryojax_graph.forward.grids import spectrum_multiplicity
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.imaging import (
    ImageScore,
    PoseSlope,
    pose_slope,
    predicted_spectrum,
    score_conformation,
)
from cryojax_graph.models.backbone_graph.mixture import Mixture, draw_latents
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.models.backbone_graph.views import (
    PoseTable,
    arm,
    choose_corrections,
    corrected_views,
    improved_poses,
    pose_surprise,
    propose_corrections,
    steered,
)
from cryojax_graph.protein import Restraints, clash_energy, distance_energy

_FIXED_SCALE, _FIXED_BIAS = 10.0, -0.1

Params = dict[str, Any]
Batch = dict[str, Any]


@partial(
    jax.tree_util.register_dataclass,
    data_fields=["template", "images", "steps"],
    meta_fields=["pixel_size", "mesh", "chunk"],
)
@dataclass(frozen=True)
class Scene:
    """What all images share and no step changes.

    Args:
        template: the molecule.
        pixel_size: Å.
        images: number of images that the decoder is fitted to.
        steps: length of the run.
        mesh: devices among which the images of a batch are shared.
        chunk: images that one device works on at a time.
    """

    template: Template
    pixel_size: float
    images: int | Int[Array, ""]
    steps: int | Int[Array, ""]
    mesh: Mesh | None = None
    chunk: int = 16


def sharpened(step: Array, steps: int | Array, config: BackboneGraphConfig) -> Array:
    """How far the way from coarse to fine has been gone at a step.

    Args:
        step: number of the step.
        steps: length of the run.
        config: of the system.

    Returns:
        from 0 to 1, where all frequencies count and restraints have their final strength.
    """
    share = config.objective.sharpening_share
    return jnp.minimum(step / (share * steps), 1.0) if share else jnp.ones(())


def sharpest(done: Array, config: BackboneGraphConfig, pixel_size: float) -> Array:
    """Resolution of the fit, marching from coarse to the Nyquist limit.

    Args:
        done: from ``sharpened``.
        config: of the system.
        pixel_size: Å.

    Returns:
        resolution in Å.
    """
    start, end = 1.0 / config.objective.coarsest, 0.5 / pixel_size
    return 1.0 / (start + (end - start) * done)


def likelihood_loss(
    params: Params,
    batch: Batch,
    *,
    config: BackboneGraphConfig,
    key: Key[Array, ""],
    scene: Scene,
    mixture: Mixture | None = None,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Variational bound on the probability of the images, per image.

    Every image has a Gaussian posterior over its latent (mean and deviation are parameters, drawn
    once per step) and the prior is a standard normal, or its latent is drawn from a mixture. The
    noise has a power per shell that is fitted with the rest, so that what the model cannot explain
    counts as noise of its resolution.

    Args:
        params: ``decoder``, ``imaging`` and, without a mixture, the batch's rows of ``latents``;
            with poses to be fitted also ``pose_error`` and the rows of ``poses``.
        batch: ``spectrum``, ``transfer``, ``rotation``, ``shift``, ``weight``, ``step``.
        config: of the system.
        key: of the step.
        scene: what all images share.
        mixture: of the conformations that the images may show.

    Returns:
        loss in nats per image, and its terms.
    """
    objective, step = config.objective, batch["step"]
    for_draw, for_clash = jax.random.split(key)
    if mixture is None:
        drawn, surprise = _drawn_latents(for_draw, params["latents"])
    else:
        # Their frequencies are fitted: no conformation is a surprise beyond that.
        drawn = draw_latents(for_draw, mixture, batch["index"], width=config.mixture.width)
        surprise = jnp.zeros(len(drawn))
    c_alpha = _decode(params["decoder"], drawn, config=config, scene=scene)
    energy = _energy(c_alpha, for_clash, config=config, scene=scene)

    done = sharpened(step, scene.steps, config)
    resolution = sharpest(done, config, scene.pixel_size)
    band = low_pass(resolution, box=batch["spectrum"].shape[1], pixel_size=scene.pixel_size)
    band = jnp.where(done < 1.0, band, 1.0)

    poses: PoseTable | None = params.get("poses")
    correction = effective = jnp.zeros(0)
    if poses is not None:
        correction, effective = _drawn_poses(
            jax.random.fold_in(for_draw, 1),
            *jax.lax.stop_gradient((params, c_alpha, band)),
            batch,
            config=config,
            scene=scene,
        )
        batch = batch | _views(correction, batch, scene)

    def score(
        shared: Params, c_alpha: Array, image: Batch
    ) -> tuple[Array, tuple[ImageScore, PoseSlope | None]]:
        score = score_conformation(
            shared["imaging"],
            c_alpha,
            image,
            shared["band"],
            template=scene.template,
            pixel_size=scene.pixel_size,
            contrast_deviation=objective.contrast_deviation,
        )
        slope = None
        if poses is not None:
            slope = pose_slope(
                *jax.lax.stop_gradient((shared["imaging"], c_alpha)),
                image,
                shared["band"],
                score.contrast,
                template=scene.template,
                pixel_size=scene.pixel_size,
            )
        return image["weight"] * score.loss, (score, slope)

    total, (_, (scores, slopes)) = sum_images(
        score,
        {"imaging": params["imaging"], "band": band},
        c_alpha,
        {name: batch[name] for name in _OF_IMAGE},
        chunk=scene.chunk,
        mesh=scene.mesh,
        has_aux=True,
    )
    mean_of = partial(_weighted_mean, batch["weight"])
    # The prior is switched on slowly: at the start the decoder has nothing to offer that would
    # repay the cost of a latent, and all latents would fall asleep.
    waited = step / (objective.prior_share * scene.steps) if objective.prior_share else 1.0
    prior = 10.0 ** jnp.minimum(-2.0 + 2.0 * waited, 0.0)
    stiffness = objective.restraints.stiff_at_first ** (1.0 - done)
    share = stiffness * jnp.minimum(1.0, objective.restraints.conformations / scene.images)
    mean_loss = total / jnp.maximum(jnp.sum(batch["weight"]), 1.0)
    report = {
        "likelihood_gain": mean_of(scores.gain),
        "latent_information": mean_of(surprise),
        "restraint_energy": mean_of(energy),
        "contrast": mean_of(scores.contrast),
    }
    if poses is not None:
        error, unit = params["pose_error"], arm(scene.template)
        better = improved_poses(correction, slopes, error, unit=unit)
        mean_loss += steered(poses, better, batch["weight"])
        mean_loss += mean_of(pose_surprise(correction, error))
        report["effective_pose_draws"] = mean_of(effective)
    return mean_loss + mean_of(prior * surprise + share * energy), report


def _drawn_latents(
    key: Key[Array, ""], latents: dict[str, Float[Array, "batch latent"]]
) -> tuple[Float[Array, "batch latent"], Float[Array, " batch"]]:
    """Latents from their posteriors, and the divergence of these from the prior, nats."""
    mean, log_deviation = latents["mean"], latents["log_deviation"]
    drawn = mean + jnp.exp(log_deviation) * jax.random.normal(key, mean.shape)
    width = 2.0 * log_deviation
    return drawn, 0.5 * jnp.sum(mean**2 + jnp.exp(width) - 1.0 - width, axis=-1)


def squared_error_loss(
    params: Params,
    batch: Batch,
    *,
    config: BackboneGraphConfig,
    key: Key[Array, ""],
    scene: Scene,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """The published objective: squared error per pixel, centroid and bond terms.

    Args:
        params: ``decoder``, ``imaging`` (scale, bias) and ``latents``, the whole table or, with
            row optimisers, the batch's rows.
        batch: as for ``likelihood_loss``.
        config: of the system.
        key: not used.
        scene: what all images share.

    Returns:
        loss, and its terms.
    """
    objective = config.objective
    rows = params["latents"]["mean"]
    rows = rows if config.fitting.latent_rows else rows.at[batch["index"]].get(mode="clip")
    c_alpha = _decode(params["decoder"], rows, config=config, scene=scene)

    def error(imaging: Params, c_alpha: Array, image: Batch) -> Array:
        predicted = predicted_spectrum(
            c_alpha,
            image["rotation"],
            image["shift"],
            image["transfer"],
            0.0,
            template=scene.template,
            pixel_size=scene.pixel_size,
        )
        # Twice (x - bias) / scale, once fixed and once learnt, as published: a learning rate that
        # moves numbers near 1 would take an epoch for each hundredth of the fixed scale. A bias is
        # the mean coefficient alone.
        box = predicted.shape[0]
        predicted = predicted.at[0, 0].add(-_FIXED_BIAS * box**2) / _FIXED_SCALE
        predicted = predicted.at[0, 0].add(-imaging["bias"] * box**2) / imaging["scale"]
        residual = predicted - image["spectrum"]
        square = spectrum_multiplicity(box) * (residual.real**2 + residual.imag**2)
        return image["weight"] * jnp.sum(square) / box**4

    total, _ = sum_images(
        error,
        params["imaging"],
        c_alpha,
        {name: batch[name] for name in _OF_IMAGE},
        chunk=scene.chunk,
        mesh=scene.mesh,
    )
    mean_of = partial(_weighted_mean, batch["weight"])
    squared = total / jnp.maximum(jnp.sum(batch["weight"]), 1.0)

    bonded = scene.template.bonded
    length = _steps(c_alpha) - _steps(scene.template.c_alpha)
    bond = mean_of(jnp.sum(bonded * length**2, axis=-1) / jnp.maximum(jnp.sum(bonded), 1.0))
    offset = jnp.mean(c_alpha - scene.template.c_alpha, axis=1)
    centroid = mean_of(jnp.sum(offset**2, axis=-1))
    penalties = objective.bond_weight * bond + objective.centroid_weight * centroid
    return squared + penalties, {"squared_error": squared, "bond": bond}


def _decode(
    params: Params,
    latents: Float[Array, "batch latent"],
    *,
    config: BackboneGraphConfig,
    scene: Scene,
) -> Float[Array, "batch n 3"]:
    """Conformations of a batch, each device its share."""
    decode = partial(network.apply, config=config.decoder, template=scene.template)
    return _shared_out(decode, scene.mesh)(params, latents)


def _drawn_poses(
    key: Key[Array, ""],
    params: Params,
    c_alpha: Float[Array, "batch n 3"],
    band: Float[Array, "box half"],
    batch: Batch,
    *,
    config: BackboneGraphConfig,
    scene: Scene,
) -> tuple[Float[Array, "batch 5"], Float[Array, " batch"]]:
    """Corrections of poses from their posteriors, given conformations."""
    for_proposals, for_choice = jax.random.split(key)
    proposals = propose_corrections(
        for_proposals, params["poses"], params["pose_error"], config.poses
    )

    def log_likelihood(
        shared: Params, c_alpha: Array, image: Batch, correction: Float[Array, "5"]
    ) -> Float[Array, ""]:
        alone = {name: image[name][None] for name in ("rotation", "shift")}
        view = {name: a[0] for name, a in _views(correction[None], alone, scene).items()}
        score = score_conformation(
            shared["imaging"],
            c_alpha,
            image | view,
            shared["band"],
            template=scene.template,
            pixel_size=scene.pixel_size,
            contrast_deviation=config.objective.contrast_deviation,
        )
        return -score.loss

    def of_share(shared: Params, images: Any) -> Float[Array, "share draws"]:
        of_image = jax.vmap(partial(log_likelihood, shared), in_axes=(None, None, 0))
        return map_images(of_image, *images, chunk=max(1, scene.chunk // config.poses.draws))

    images = {name: batch[name] for name in _OF_IMAGE}
    found = _shared_out(of_share, scene.mesh)(
        {"imaging": params["imaging"], "band": band}, (c_alpha, images, proposals.correction)
    )
    return choose_corrections(for_choice, proposals, found)


def _views(correction: Float[Array, "batch 5"], batch: Batch, scene: Scene) -> Batch:
    return corrected_views(correction, batch["rotation"], batch["shift"], template=scene.template)


def _energy(
    c_alpha: Float[Array, "batch n 3"],
    key: Key[Array, ""],
    *,
    config: BackboneGraphConfig,
    scene: Scene,
) -> Float[Array, " batch"]:
    """Restraints of a batch in units of kT, each device its share."""
    clash = partial(clash_energy, closest=config.objective.restraints.clash_distance)

    def energy(restraints: Restraints, of_images: tuple[Array, Array]) -> Float[Array, " share"]:
        keys, c_alpha = of_images
        return distance_energy(restraints, c_alpha) + map_images(clash, keys, c_alpha, chunk=1)

    keys = jax.random.split(key, len(c_alpha))
    return _shared_out(energy, scene.mesh)(scene.template.restraints, (keys, c_alpha))


def _shared_out(function: Callable[..., Array], mesh: Mesh | None) -> Callable[..., Array]:
    """A function of what is common and of a batch, computed by each device for its share.

    Left to itself the compiler gathers the whole batch on every device.
    """
    if mesh is None:
        return function
    whole, share = PartitionSpec(), PartitionSpec("data")
    return jax.shard_map(
        function, mesh=mesh, in_specs=(whole, share), out_specs=share, check_vma=False
    )


def _steps(c_alpha: Float[Array, "*batch n 3"]) -> Float[Array, "*batch n-1"]:
    step = c_alpha[..., 1:, :] - c_alpha[..., :-1, :]
    return jnp.sqrt(jnp.sum(step**2, axis=-1) + 1e-8)


def _weighted_mean(weight: Float[Array, " batch"], values: Float[Array, " batch"]) -> Array:
    return jnp.sum(weight * values) / jnp.maximum(jnp.sum(weight), 1.0)


_OF_IMAGE = ("spectrum", "transfer", "rotation", "shift", "weight")
LOSSES = {"likelihood": likelihood_loss, "squared_error": squared_error_loss}
