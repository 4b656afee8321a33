"""What motion explains of images that the decoder has never seen."""

import numpy as np
from jaxtyping import Float
from scipy.special import logsumexp


def motion_gain(
    log_likelihoods: Float[np.ndarray, "images candidates"],
    frequencies: Float[np.ndarray, " candidates"] | None = None,
) -> Float[np.ndarray, " images"]:
    """Evidence for motion in each held-out image.

    Two accounts of the same images are compared: each shows any one of the candidates, which are
    the conformations of images that were fitted, as frequent as among these; or all show the same
    one, that candidate which suits them best together. The candidates know nothing of the held-out
    images, so that the cost of choosing among them is paid in full: where there is no motion and
    the right conformation is among them, the expected gain is not positive. Where all candidates
    are a little wrong, their mixture may be less wrong than the best of them, by a few hundredths
    of a nat in our trials.

    Args:
        log_likelihoods: of each image under each candidate, nats.
        frequencies: of the candidates among images that were fitted; equal when not given.

    Returns:
        nats per image, positive where motion explains more; below what the best candidate would
        gain by at most minus the logarithm of its frequency.
    """
    scores = np.asarray(log_likelihoods, float)
    count = scores.shape[1]
    weights = np.full(count, 1.0 / count) if frequencies is None else frequencies
    log_weights = np.log(np.maximum(weights, np.finfo(float).tiny))
    any_one = np.asarray(logsumexp(scores + log_weights, axis=1))
    return any_one - scores[:, scores.sum(axis=0).argmax()]
