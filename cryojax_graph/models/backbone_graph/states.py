"""States along the leading motion, and the probability of each for every image. Host code.

The posterior of an image's place on the leading axis is taken as Gaussian. A state is a stretch of
the axis, and its probability for an image the mass of the posterior inside it. With these weights
the mean of the images themselves is that of the state: over all images y that the model expects,
p(state | y) p(y) = p(state) p(y | state), the law by which expectation maximisation averages
(Dempster, Laird & Rubin 1977, J. R. Stat. Soc. B 39:1). Images sorted by their best place are not
drawn from p(y | state): noise that looks like a state takes them there, and stays in its map.
"""

import numpy as np
from jaxtyping import Float
from scipy.special import ndtr

# Halvings of the axis, which begins and ends so many deviations beyond the images.
_HALVINGS, _REACH = 60, 10.0
# Shares of the images that differ by less are taken for equal.
_SAME = 1e-12
_TINY = 1e-200


def state_edges(
    mean: Float[np.ndarray, " images"], deviation: Float[np.ndarray, " images"], *, states: int
) -> Float[np.ndarray, " edges"]:
    """Where one state ends and the next begins, so that all hold equally many images.

    Args:
        mean: of each image's posterior on the leading axis, in any unit.
        deviation: its standard deviation, in the same unit; 0 for a place that is certain.
        states: number of states, at least 2.

    Returns:
        states - 1 places in rising order: the mass of all posteriors between two of them is that of
        ``images / states`` images.
    """
    wanted = np.arange(1, states) / states
    # Between certain images the mass does not change: an edge is in the middle of such a gap.
    ends = [
        _where_mass_exceeds(share, mean, deviation) for share in (wanted - _SAME, wanted + _SAME)
    ]
    return 0.5 * (ends[0] + ends[1])


def _where_mass_exceeds(
    share: Float[np.ndarray, " edges"],
    mean: Float[np.ndarray, " images"],
    deviation: Float[np.ndarray, " images"],
) -> Float[np.ndarray, " edges"]:
    """Place below which a share of the mass of all posteriors lies, by bisection."""
    low = np.full(len(share), np.min(mean - _REACH * deviation))
    high = np.full(len(share), np.max(mean + _REACH * deviation))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        below = np.array([_mass_below(edge, mean, deviation).mean() for edge in middle])
        low, high = np.where(below < share, middle, low), np.where(below < share, high, middle)
    return 0.5 * (low + high)


def state_probabilities(
    mean: Float[np.ndarray, " images"],
    deviation: Float[np.ndarray, " images"],
    edges: Float[np.ndarray, " edges"],
) -> Float[np.ndarray, "images states"]:
    """Probability of each state for every image.

    Args:
        mean: of each image's posterior on the leading axis.
        deviation: its standard deviation; 0 for a place that is certain.
        edges: between neighbouring states, rising; the first and the last state reach to infinity.

    Returns:
        in [0, 1]; those of an image add up to 1.
    """
    below = np.stack([_mass_below(edge, mean, deviation) for edge in edges], axis=1)
    ends = np.zeros((len(mean), 1)), np.ones((len(mean), 1))
    return np.diff(np.concatenate([ends[0], below, ends[1]], axis=1), axis=1)


def state_places(
    mean: Float[np.ndarray, " images"],
    deviation: Float[np.ndarray, " images"],
    edges: Float[np.ndarray, " edges"],
) -> Float[np.ndarray, " states"]:
    """Mean place of the images of each state.

    Args:
        mean: of each image's posterior on the leading axis.
        deviation: its standard deviation.
        edges: between neighbouring states, rising.

    Returns:
        in the unit of ``mean``; the mean of a state that no image can be in is not a number.
    """
    bounds = np.concatenate([[-np.inf], edges, [np.inf]])
    from_mean = (bounds - mean[:, None]) / np.maximum(deviation, _TINY)[:, None]
    # The mean of a Gaussian cut off at both sides: what its density loses between them.
    density = np.exp(-0.5 * np.minimum(np.abs(from_mean), 1e3) ** 2) / np.sqrt(2.0 * np.pi)
    probability = state_probabilities(mean, deviation, edges)
    first_moment = mean[:, None] * probability - deviation[:, None] * np.diff(density, axis=1)
    with np.errstate(invalid="ignore"):
        return first_moment.sum(axis=0) / probability.sum(axis=0)


def effective_images(
    probability: Float[np.ndarray, "images states"],
) -> Float[np.ndarray, " states"]:
    """How many images of weight 1 would average the noise of a map as well.

    Args:
        probability: of each state for every image.

    Returns:
        squared sum of the weights over the sum of their squares (Kish 1965, Survey Sampling, 11.7);
        0 for a state without images.
    """
    squares = np.sum(probability**2, axis=0)
    return np.sum(probability, axis=0) ** 2 / np.where(squares > 0, squares, 1.0)


def states_told_apart(probability: Float[np.ndarray, "images states"]) -> float:
    """How many states a single image tells apart.

    Args:
        probability: of each state for every image.

    Returns:
        exponential of the mutual information of image and state: 1 where all images are equally
        probable in all states, the number of states where each is sure of one and all are equally
        full.
    """

    of_all = _entropy(probability.mean(axis=0, keepdims=True)).mean()
    return float(np.exp(of_all - _entropy(probability).mean()))


def _entropy(probability: Float[np.ndarray, "n states"]) -> Float[np.ndarray, " n"]:
    return -np.sum(probability * np.log(np.maximum(probability, _TINY)), axis=1)


def _mass_below(
    edge: float, mean: Float[np.ndarray, " images"], deviation: Float[np.ndarray, " images"]
) -> Float[np.ndarray, " images"]:
    return ndtr((edge - mean) / np.maximum(deviation, _TINY))
