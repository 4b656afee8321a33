"""How a conformation becomes an image, and how well that explains an observed one."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Complex, Float

from cryojax_graph.forward.grids import Scalar, spectrum_multiplicity
from cryojax_graph.forward.image import view
from cryojax_graph.forward.windows import project_groups
from cryojax_graph.geometry import exp_map
from cryojax_graph.geometry.stable import product
from cryojax_graph.models.backbone_graph.template import Template
from cryojax_graph.protein import place_beads

# Radians: a rim 50 Å away moves by 0.5 Å.
_SMALL_TURN = 0.01


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
        squared_error: scale and bias, relative to the published ones.
    """
    if kind == "squared_error":
        return {"scale": jnp.asarray(1.0), "bias": jnp.asarray(0.0)}
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


def extra_variance(imaging: dict[str, Any]) -> Float[Array, ""]:
    """Variance that the fit adds to every bead.

    Args:
        imaging: from ``init_imaging`` or a fit.

    Returns:
        Å²; 0 for the published objective, which fits none.
    """
    fitted = imaging.get("extra_variance")
    return jnp.zeros(()) if fitted is None else jax.nn.softplus(fitted)


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


class PoseSlope(NamedTuple):
    """How the log-likelihood of one image changes with its pose.

    Attributes:
        gradient: by a rotation vector in the frame of the image, radians, and the shift, Å.
        curvature: minus the second derivatives, of Gauss and Newton.
    """

    gradient: Float[Array, "5"]
    curvature: Float[Array, "5 5"]


def pose_slope(
    imaging: dict[str, Any],
    c_alpha: Float[Array, "n 3"],
    image: dict[str, Array],
    band: Float[Array, "box half"],
    contrast: Scalar,
    *,
    template: Template,
    pixel_size: float,
) -> PoseSlope:
    """Slope of the likelihood of one image at its pose.

    Args:
        imaging: scale, extra variance and noise.
        c_alpha: of the conformation, Å.
        image: ``spectrum``, ``transfer``, ``rotation`` and ``shift``.
        band: share of each coefficient that counts.
        contrast: of the image, relative to the set's scale.
        template: the molecule.
        pixel_size: Å.

    Returns:
        the slope.
    """
    box = image["spectrum"].shape[0]
    strength = jnp.asarray(contrast) * jnp.exp(imaging["log_scale"])

    def predicted(turn: Float[Array, "3"]) -> Complex[Array, "box half"]:
        rotation = product(exp_map(turn), image["rotation"])
        width = extra_variance(imaging)
        shift, transfer = image["shift"], image["transfer"]
        spectrum = predicted_spectrum(
            c_alpha, rotation, shift, transfer, width, template=template, pixel_size=pixel_size
        )
        return strength * spectrum

    # Differences, because drawing in windows has no derivative in forward mode.
    turns = jnp.concatenate([jnp.zeros((1, 3)), _SMALL_TURN * jnp.eye(3)])
    centre, *turned = jax.lax.map(predicted, turns)
    ky, kx = jnp.meshgrid(jnp.fft.fftfreq(box), jnp.fft.rfftfreq(box), indexing="ij")
    # The particle stands at minus the shift.
    moves = (2j * jnp.pi / pixel_size) * jnp.stack([kx, ky]) * centre
    slopes = jnp.concatenate([(jnp.stack(turned) - centre) / _SMALL_TURN, moves])
    power = jnp.exp(imaging["log_noise"])[shell_of_coefficients(box)]
    weight = spectrum_multiplicity(box) * band.at[0, 0].set(0.0) / (box**2 * power)

    def pairs(values: Complex[Array, "*more box half"]) -> Float[Array, "*more points"]:
        flat = values.reshape(*values.shape[:-2], -1)
        return jnp.concatenate([flat.real, flat.imag], axis=-1)

    weighted = pairs(weight * slopes)
    return PoseSlope(weighted @ pairs(image["spectrum"] - centre), weighted @ pairs(slopes).T)


def score_conformation(
    imaging: dict[str, Any],
    c_alpha: Float[Array, "n 3"],
    image: dict[str, Array],
    band: Float[Array, "box half"],
    *,
    template: Template,
    pixel_size: float,
    contrast_deviation: float,
) -> ImageScore:
    """Likelihood of one image if it shows a conformation.

    Args:
        imaging: scale, extra variance and noise, fitted or to be fitted.
        c_alpha: of the conformation, Å.
        image: ``spectrum``, ``transfer``, ``rotation`` and ``shift``.
        band: share of each coefficient that counts.
        template: the molecule.
        pixel_size: Å.
        contrast_deviation: standard deviation of the contrast; 0 fixes it at 1.

    Returns:
        score of the image.
    """
    predicted = predicted_spectrum(
        c_alpha,
        image["rotation"],
        image["shift"],
        image["transfer"],
        extra_variance(imaging),
        template=template,
        pixel_size=pixel_size,
    )
    return score_image(
        jnp.exp(imaging["log_scale"]) * predicted,
        image["spectrum"],
        jnp.exp(imaging["log_noise"]),
        band,
        contrast_deviation=contrast_deviation,
    )
