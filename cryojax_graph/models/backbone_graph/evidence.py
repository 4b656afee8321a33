"""What motion explains of images that the decoder has never seen."""

import numpy as np
from jaxtyping import Float


def motion_gain(
    log_likelihoods: Float[np.ndarray, "images candidates"],
) -> Float[np.ndarray, " images"]:
    """Evidence for motion in each held-out image.

    Two accounts of the same images are compared: each shows any one of the candidates, which are
    the conformations of images that were fitted, all equally probable; or all show the same one,
    that candidate which suits them best together. The candidates know nothing of the held-out
    images, so that the cost of choosing among them is paid in full: where there is no motion and
    the right conformation is among them, the expected gain is not positive. Where all candidates
    are a little wrong, their mixture may be less wrong than the best of them, by a few hundredths
    of a nat in our trials.

    Args:
        log_likelihoods: of each image under each candidate, nats.

    Returns:
        nats per image, positive where motion explains more; at most the logarithm of the number of
        candidates below what the best of them would gain.
    """
    scores = np.asarray(log_likelihoods, float)
    best = scores.max(axis=1, keepdims=True)
    any_one = best[:, 0] + np.log(np.mean(np.exp(scores - best), axis=1))
    return any_one - scores[:, scores.sum(axis=0).argmax()]
