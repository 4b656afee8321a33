"""All images as a mixture of a few conformations, whose frequencies are fitted.

A Gaussian of its own over its latent lets an image follow its noise, and cannot be in two places.
Held against the conformations of other images instead, which do not know its noise, with the
frequencies that these have among all images, an image says what it can and no more (empirical
Bayes; the frequencies are those of greatest likelihood, Laird 1978). A decoder that is fitted to
images drawn in conformations as probable as they are for them climbs the likelihood of the mixture
(Dempster, Laird & Rubin 1977, the draws those of Celeux & Diebolt 1985).
"""

from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key
from scipy.special import logsumexp

# Frequencies that go on falling towards 0 change no conformation any more.
_ROUNDS = 100
_SETTLED = 1e-7


class Mixture(NamedTuple):
    """How probable each of a few conformations is for each image.

    Attributes:
        latents: of the conformations.
        log_weight: logarithms of their probabilities, one row per image of the set.
    """

    latents: Float[Array, "conformations latent"]
    log_weight: Float[Array, "images conformations"]


def fit_frequencies(
    log_likelihoods: Float[np.ndarray, "images conformations"],
    expected: Float[np.ndarray, " conformations"] | None = None,
) -> Float[np.ndarray, " conformations"]:
    """How frequent each conformation is among the images.

    Args:
        log_likelihoods: of each image under each conformation, nats.
        expected: frequencies in an earlier set, which count like as many images as there are
            conformations; without them the images alone decide.

    Returns:
        frequencies, their sum 1.
    """
    scores = np.asarray(log_likelihoods, float)
    images, count = scores.shape
    known = np.zeros(count) if expected is None else count * np.asarray(expected, float)
    frequencies = np.full(count, 1.0 / count) if expected is None else np.asarray(expected, float)
    for _ in range(_ROUNDS):
        before = frequencies
        seen = membership(scores, frequencies).sum(axis=0)
        frequencies = (seen + known) / (images + known.sum())
        if np.abs(frequencies - before).max() < _SETTLED:
            break
    return frequencies


def membership(
    log_likelihoods: Float[np.ndarray, "images conformations"],
    frequencies: Float[np.ndarray, " conformations"],
) -> Float[np.ndarray, "images conformations"]:
    """How probable each conformation is for each image.

    Args:
        log_likelihoods: of each image under each conformation, nats.
        frequencies: of the conformations.

    Returns:
        probabilities, the sum of a row 1.
    """
    tiny = np.finfo(float).tiny
    scores = np.asarray(log_likelihoods, float) + np.log(np.maximum(frequencies, tiny))
    weights = np.exp(scores - scores.max(axis=1, keepdims=True))
    return weights / weights.sum(axis=1, keepdims=True)


def evidence_of_mixture(
    log_likelihoods: Float[np.ndarray, "images conformations"],
    frequencies: Float[np.ndarray, " conformations"],
) -> Float[np.ndarray, " images"]:
    """How probable each image is in the mixture.

    Args:
        log_likelihoods: of each image under each conformation, nats.
        frequencies: of the conformations.

    Returns:
        log-evidence, nats.
    """
    return np.asarray(logsumexp(np.asarray(log_likelihoods, float), axis=1, b=frequencies))


def evidence_of_each(
    log_likelihoods: Float[np.ndarray, "images draws"],
    draws: Float[np.ndarray, "images draws latent"],
    mean: Float[np.ndarray, "images latent"],
    deviation: Float[np.ndarray, "images latent"],
) -> Float[np.ndarray, " images"]:
    """How probable each image is by itself, its latent a standard normal, by importance sampling.

    Args:
        log_likelihoods: of each image under the conformations of its draws, nats.
        draws: latents from the Gaussian of each image.
        mean: of the Gaussians.
        deviation: of the Gaussians.

    Returns:
        log-evidence, nats; on average no more than the exact one (Burda, Grosse & Salakhutdinov
        2016).
    """
    noise = (draws - mean[:, None]) / deviation[:, None]
    log_ratio = 0.5 * np.sum(noise**2 - draws**2, axis=-1) + np.log(deviation).sum(-1)[:, None]
    return logsumexp(log_likelihoods + log_ratio, axis=1) - np.log(draws.shape[1])


def moments(
    weights: Float[np.ndarray, "images conformations"],
    latents: Float[np.ndarray, "conformations latent"],
    *,
    width: float,
) -> tuple[Float[np.ndarray, "images latent"], Float[np.ndarray, "images latent"]]:
    """Mean and deviation of the latent of each image.

    Args:
        weights: from ``membership``.
        latents: of the conformations.
        width: deviation of a latent about that of its conformation.

    Returns:
        means and standard deviations.
    """
    middle = latents.mean(axis=0)
    centred = np.asarray(latents - middle, float)
    mean = weights @ centred
    variance = np.maximum(weights @ centred**2 - mean**2, 0.0) + width**2
    return mean + middle, np.sqrt(variance)


def position_spread(
    weights: Float[np.ndarray, "images conformations"],
    c_alpha: Float[np.ndarray, "conformations n 3"],
) -> Float[np.ndarray, " images"]:
    """How far the conformation of each image may be off.

    Args:
        weights: from ``membership``.
        c_alpha: of the conformations, Å.

    Returns:
        root mean square deviation of the C-alpha atoms around the mean conformation, Å.
    """
    flat = np.asarray(c_alpha - c_alpha.mean(axis=0), float).reshape(len(c_alpha), -1)
    overlap = flat @ flat.T / c_alpha.shape[1]
    mean_square = np.einsum("ik,kl,il->i", weights, overlap, weights, optimize=True)
    return np.sqrt(np.maximum(weights @ np.diagonal(overlap) - mean_square, 0.0))


def draw_latents(
    key: Key[Array, ""], mixture: Mixture, images: Int[Array, " batch"], *, width: float
) -> Float[Array, "batch latent"]:
    """A latent for each image of a batch, as probable as it is.

    Args:
        key: the draws.
        mixture: of the set.
        images: numbers of the batch's; those past the end, which are padding, count as the last.
        width: as in ``moments``.

    Returns:
        latents.
    """
    for_choice, for_place = jax.random.split(key)
    rows = mixture.log_weight.at[images].get(mode="clip")
    chosen = mixture.latents[jax.random.categorical(for_choice, rows, axis=-1)]
    return chosen + width * jax.random.normal(for_place, chosen.shape)
