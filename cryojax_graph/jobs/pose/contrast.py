"""Spread of the contrast of images, from estimates that a prior has drawn together."""

import numpy as np

from cryojax_graph.jobs.pose.searcher import Found

# Contrasts of images are never taken to be nearer to each other than this.
_LEAST_SPREAD = 0.05
# An image of which the prior alone tells the contrast says nothing of the spread.
_LEAST_OWN = 1e-3


def contrast_precision(found: Found, prior: float) -> float:
    """Precision of the contrasts of images about their mean.

    Each estimate is a mean of what its image says and of 1, weighed by precisions. That is undone,
    and the variance of what remains, less that of its error, is the spread; images weigh by the
    share that was their own.

    Args:
        found: poses and contrasts, with their variances.
        prior: precision about 1 that these were found with.

    Returns:
        at most 400, a spread of 0.05.
    """
    variance = np.asarray(found.scale_variance, np.float64)
    own = np.clip(1.0 - prior * variance, _LEAST_OWN, 1.0)
    contrast = 1.0 + (np.asarray(found.scale, np.float64) - 1.0) / own
    weight = own**2 / np.sum(own**2)
    mean = np.sum(weight * contrast)
    spread = np.sum(weight * ((contrast - mean) ** 2 - variance / own))
    return float(1.0 / max(spread, _LEAST_SPREAD**2))
