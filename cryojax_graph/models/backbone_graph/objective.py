"""How well conformations explain images: the published squared error, and a likelihood."""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Complex, Float, Key

from cryojax_graph.forward.batched import sum_images
from cryojax_graph.forward.fourier import low_pass
from cryojax_graph.forward.grids import Scalar, spectrum_multiplicity
from cryojax_graph.forward.image import view
from cryojax_graph.forward.windows import project_groups
from cryojax_graph.models.backbone_graph import network
from cryojax_graph.models.backbone_graph.config import BackboneGraphConfig
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.protein import clash_energy, distance_energy, place_beads

Params = dict[str, Any]
Batch = dict[str, Any]


class Scene(NamedTuple):
    """What all images share and no step changes.

    Attributes:
        template: the molecule.
        pixel_size: Å.
        images: number of images that are fitted.
        steps: length of the run.
        mesh: devices among which the images of a batch are shared.
        chunk: images that one device works on at a time.
    """

    template: Template
    pixel_size: float
    images: int
    steps: int
    mesh: Mesh | None = None
    chunk: int = 16


def spectrum_of(image: Float[Array, "box box"]) -> Complex[Array, "box half"]:
    """Half spectrum in which images and predictions are compared.

    The phase origin is the corner: both sides of the comparison have it, and a shift of origin is
    saved.

    Args:
        image: observed or predicted.

    Returns:
        coefficients, shape (box, box // 2 + 1).
    """
    return jnp.fft.rfft2(image)


def shell_of_coefficients(box: int) -> Array:
    """Number of the resolution shell of each coefficient of a half spectrum.

    Args:
        box: edge of the image in pixels.

    Returns:
        int32 of shape (box, box // 2 + 1), at most ``box // 2``: corners join the last shell.
    """
    full, half = np.fft.fftfreq(box) * box, np.fft.rfftfreq(box) * box
    radius = np.sqrt(full[:, None] ** 2 + half**2)
    return jnp.asarray(np.minimum(np.rint(radius), box // 2), jnp.int32)


def init_imaging(
    spectra: Complex[np.ndarray, "images box half"], kind: str
) -> dict[str, Float[Array, "..."]]:
    """Parameters of the imaging model before the first step.

    Args:
        spectra: some hundred observed images, from ``spectrum_of``.
        kind: of the objective.

    Returns:
        likelihood: logarithm of the scale, of the extra variance of the beads (through softplus),
        and of the noise power in each shell, which starts at the power of the images themselves;
        squared_error: scale and bias as published.
    """
    if kind == "squared_error":
        return {"scale": jnp.asarray(10.0), "bias": jnp.asarray(-0.1)}
    box = spectra.shape[1]
    shell = np.asarray(shell_of_coefficients(box)).ravel()
    weight = np.broadcast_to(np.asarray(spectrum_multiplicity(box)), spectra.shape[1:]).ravel()
    power = np.mean(np.abs(spectra) ** 2, axis=0).ravel() / box**2
    total = np.bincount(shell, weight * power) / np.bincount(shell, weight)
    return {
        "log_scale": jnp.zeros(()),
        "extra_variance": jnp.asarray(1.0),
        "log_noise": jnp.asarray(np.log(np.maximum(total, 1e-12)), jnp.float32),
    }


def predicted_spectrum(
    c_alpha: Float[Array, "n 3"],
    rotation: Float[Array, "3 3"],
    shift: Float[Array, "2"],
    transfer: Float[Array, "box half"],
    extra_variance: Scalar,
    *,
    template: Template,
    pixel_size: float,
) -> Complex[Array, "box half"]:
    """Noise-free half spectrum of one conformation.

    Args:
        c_alpha: of the conformation, Å.
        rotation: takes object to image coordinates.
        shift: of the image in Å; the particle stands at ``-shift``.
        transfer: CTF of the image.
        extra_variance: of every bead, for atoms' own width and motion, Å².
        template: the molecule.
        pixel_size: Å.

    Returns:
        coefficients as ``spectrum_of`` gives them, electrons per Å².
    """
    beads = template.beads
    projection = project_groups(
        view(place_beads(beads, c_alpha), rotation, shift),
        beads.mass,
        jnp.sqrt(beads.variance + extra_variance),
        template.plan,
        box=transfer.shape[0],
        pixel_size=pixel_size,
    )
    return spectrum_of(projection) * transfer


def sharpened(step: Array, steps: int, config: BackboneGraphConfig) -> Array:
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


class ImageScore(NamedTuple):
    """How well one image is explained.

    Attributes:
        loss: minus log-likelihood at the best contrast, and minus its log-prior; nats.
        gain: log-likelihood above that of an empty image.
        contrast: the best contrast, relative to the set's scale.
    """

    loss: Float[Array, ""]
    gain: Float[Array, ""]
    contrast: Float[Array, ""]


def score_image(
    predicted: Complex[Array, "box half"],
    observed: Complex[Array, "box half"],
    noise: Float[Array, " shells"],
    band: Float[Array, "box half"],
    *,
    contrast_deviation: float,
) -> ImageScore:
    """Likelihood of one image, its contrast optimised under a prior.

    The contrast is a closed form and held fixed for the gradient: at an optimum that is exact
    (envelope theorem).

    Args:
        predicted: at contrast 1.
        observed: from ``spectrum_of``.
        noise: power per pixel in each shell.
        band: share of each coefficient that counts; the mean of the image never does.
        contrast_deviation: standard deviation of the contrast; 0 fixes it at 1.

    Returns:
        score of the image.
    """
    box = predicted.shape[0]
    power = noise[shell_of_coefficients(box)]
    count = spectrum_multiplicity(box) * band.at[0, 0].set(0.0)
    weight = count / (box**2 * power)
    overlap = jnp.sum(weight * (predicted.real * observed.real + predicted.imag * observed.imag))
    energy = jnp.sum(weight * (predicted.real**2 + predicted.imag**2))
    prior = contrast_deviation**-2 if contrast_deviation else 0.0
    best = (overlap + prior) / (energy + prior) if contrast_deviation else jnp.ones(())
    best = jax.lax.stop_gradient(jnp.maximum(best, 0.0))
    gain = best * overlap - 0.5 * best**2 * energy
    of_noise = jnp.sum(weight * (observed.real**2 + observed.imag**2) + count * jnp.log(power))
    loss = 0.5 * of_noise - gain + 0.5 * prior * (best - 1.0) ** 2
    return ImageScore(loss, gain, best)


def likelihood_loss(
    params: Params,
    batch: Batch,
    *,
    config: BackboneGraphConfig,
    key: Key[Array, ""],
    scene: Scene,
) -> tuple[Float[Array, ""], dict[str, Array]]:
    """Variational bound on the probability of the images, per image.

    Every image has a Gaussian posterior over its latent (mean and deviation are parameters, drawn
    once per step); the prior is a standard normal, the noise has a power per shell that is fitted
    with the rest, so that what the model cannot explain counts as noise of its resolution.

    Args:
        params: ``decoder``, ``imaging`` and the batch's rows of ``latents``.
        batch: ``spectrum``, ``transfer``, ``rotation``, ``shift``, ``weight``, ``step``.
        config: of the system.
        key: of the step.
        scene: what all images share.

    Returns:
        loss in nats per image, and its terms.
    """
    objective = config.objective
    latents, step = params["latents"], batch["step"]
    for_draw, for_clash = jax.random.split(key)
    draws = jax.random.normal(for_draw, latents["mean"].shape)
    drawn = latents["mean"] + jnp.exp(latents["log_deviation"]) * draws
    c_alpha = _decode(params["decoder"], drawn, config=config, scene=scene)

    keys = jax.random.split(for_clash, len(draws))
    restraints, closest = scene.template.restraints, objective.restraints.clash_distance
    clashes = jax.vmap(partial(clash_energy, closest=closest))(keys, c_alpha)
    energy = jax.vmap(partial(distance_energy, restraints))(c_alpha) + clashes
    width = 2.0 * latents["log_deviation"]
    surprise = 0.5 * jnp.sum(latents["mean"] ** 2 + jnp.exp(width) - 1.0 - width, axis=-1)

    done = sharpened(step, scene.steps, config)
    resolution = sharpest(done, config, scene.pixel_size)
    band = low_pass(resolution, box=batch["spectrum"].shape[1], pixel_size=scene.pixel_size)
    band = jnp.where(done < 1.0, band, 1.0)

    def score(shared: Params, c_alpha: Array, image: Batch) -> tuple[Array, ImageScore]:
        imaging = shared["imaging"]
        predicted = predicted_spectrum(
            c_alpha,
            image["rotation"],
            image["shift"],
            image["transfer"],
            jax.nn.softplus(imaging["extra_variance"]),
            template=scene.template,
            pixel_size=scene.pixel_size,
        )
        score = score_image(
            jnp.exp(imaging["log_scale"]) * predicted,
            image["spectrum"],
            jnp.exp(imaging["log_noise"]),
            shared["band"],
            contrast_deviation=objective.contrast_deviation,
        )
        return image["weight"] * score.loss, score

    total, (_, scores) = sum_images(
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
    share = stiffness * min(1.0, objective.restraints.conformations / scene.images)
    mean_loss = total / jnp.maximum(jnp.sum(batch["weight"]), 1.0)
    return mean_loss + mean_of(prior * surprise + share * energy), {
        "likelihood_gain": mean_of(scores.gain),
        "latent_information": mean_of(surprise),
        "restraint_energy": mean_of(energy),
        "contrast": mean_of(scores.contrast),
    }


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
        # (x - bias) / scale, the bias being the mean coefficient alone.
        box = predicted.shape[0]
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
    if scene.mesh is None:
        return decode(params, latents)
    # Left to itself the compiler gathers the whole batch for a graph convolution on every device.
    whole, share = PartitionSpec(), PartitionSpec("data")
    divided = jax.shard_map(
        decode, mesh=scene.mesh, in_specs=(whole, share), out_specs=share, check_vma=False
    )
    return divided(params, latents)


def _steps(c_alpha: Float[Array, "*batch n 3"]) -> Float[Array, "*batch n-1"]:
    step = c_alpha[..., 1:, :] - c_alpha[..., :-1, :]
    return jnp.sqrt(jnp.sum(step**2, axis=-1) + 1e-8)


def _weighted_mean(weight: Float[Array, " batch"], values: Float[Array, " batch"]) -> Array:
    return jnp.sum(weight * values) / jnp.maximum(jnp.sum(weight), 1.0)


_OF_IMAGE = ("spectrum", "transfer", "rotation", "shift", "weight")
LOSSES = {"likelihood": likelihood_loss, "squared_error": squared_error_loss}
