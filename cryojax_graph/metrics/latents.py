"""Whether a latent space is ordered like the truth, and how sure a figure is. Host code."""

from collections.abc import Callable

import jax
import numpy as np
from jaxtyping import Array, Float, Int, Key

# Rows of a distance matrix held at one time.
_ROWS = 512


def spearman(first: Float[np.ndarray, " n"], second: Float[np.ndarray, " n"]) -> float:
    """Spearman's rank correlation of two quantities; ties share their mean rank.

    Args:
        first: one value for each image.
        second: another.

    Returns:
        a number in [-1, 1]; 0 if either is constant.
    """
    ranks = [_ranks(values) for values in (first, second)]
    ranks = [values - values.mean() for values in ranks]
    norm = np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum())
    return float(ranks[0] @ ranks[1] / norm) if norm > 0 else 0.0


def leading_direction(latents: Float[np.ndarray, "n d"]) -> Float[np.ndarray, " n"]:
    """Score of every image on the first principal component of the latents.

    Args:
        latents: one row for each image.

    Returns:
        scores with mean 0; the sign is arbitrary.
    """
    centred = latents - latents.mean(axis=0)
    _, vectors = np.linalg.eigh(centred.T @ centred)
    return centred @ vectors[:, -1]


def distance_correlation(
    first: Float[np.ndarray, "n d"], second: Float[np.ndarray, "n k"]
) -> float:
    """Distance correlation, 0 only for independent quantities (Székely, Rizzo & Bakirov 2007).

    Unlike a rank correlation it sees a folded or many-dimensional dependence. Computed by rows, so
    memory grows linearly with the number of images.

    Args:
        first: one row for each image.
        second: one row for each image, any other number of columns.

    Returns:
        a number in [0, 1]; 0 if either is constant.
    """
    n = len(first)
    sums = np.zeros((2, n))
    cross = np.zeros((2, 2))
    for start in range(0, n, _ROWS):
        rows = slice(start, start + _ROWS)
        distances = np.stack([_distances(values[rows], values) for values in (first, second)])
        sums[:, rows] = distances.sum(axis=2)
        cross += np.einsum("aij,bij->ab", distances, distances)
    # Sum of products of the doubly centred matrices, written with their row sums.
    totals = sums.sum(axis=1)
    covariance = cross / n**2 - 2 * sums @ sums.T / n**3 + np.outer(totals, totals) / n**4
    norm = np.sqrt(covariance[0, 0] * covariance[1, 1])
    return float(np.sqrt(max(covariance[0, 1], 0.0) / norm)) if norm > 0 else 0.0


def neighbourhood_hit(
    latents: Float[np.ndarray, "n d"], labels: Int[np.ndarray, " n"], *, neighbours: int = 10
) -> float:
    """Mean share of an image's nearest neighbours in the latent space that carry its label.

    Args:
        latents: one row for each image.
        labels: true state of each image.
        neighbours: how many are looked at, the image itself left out; fewer than n.

    Returns:
        a number in [0, 1].

    Raises:
        ValueError: there are not more images than neighbours.
    """
    if len(latents) <= neighbours:
        raise ValueError(f"{len(latents)} images have no {neighbours} neighbours each")
    from scipy.spatial import KDTree  # loads too slowly for the top of the module

    nearest = np.asarray(KDTree(latents).query(latents, k=neighbours + 1)[1])
    itself = nearest == np.arange(len(latents))[:, None]
    # Among equal latents the image itself may be missing from its own list: drop the last one then.
    itself[~itself.any(axis=1), -1] = True
    others = nearest[~itself].reshape(len(latents), neighbours)
    return float((labels[others] == labels[:, None]).mean())


def bootstrap_interval(
    key: Key[Array, ""],
    values: Float[np.ndarray, "n *columns"],
    *,
    statistic: Callable[[np.ndarray], float] = np.mean,
    level: float = 0.95,
    resamples: int = 1000,
) -> tuple[float, float]:
    """Percentile bootstrap interval of a statistic over images (Efron 1979).

    For two methods on the same images give both as columns, and their difference as the statistic:
    the pairs are drawn together.

    Args:
        key: random key.
        values: one row for each image.
        statistic: from drawn rows to a number.
        level: probability that the interval shall hold.
        resamples: number of draws.

    Returns:
        lower and upper end.

    Raises:
        ValueError: there are no values.
    """
    if len(values) == 0:
        raise ValueError("there are no values")
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    n = len(values)
    drawn = [statistic(values[generator.integers(0, n, n)]) for _ in range(resamples)]
    low, high = np.quantile(drawn, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def _ranks(values: Float[np.ndarray, " n"]) -> Float[np.ndarray, " n"]:
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    return (np.cumsum(counts) - (counts - 1) / 2)[inverse]


def _distances(
    some: Float[np.ndarray, "m d"], every: Float[np.ndarray, "n d"]
) -> Float[np.ndarray, "m n"]:
    squared = np.zeros((len(some), len(every)))
    for column in range(every.shape[1]):
        squared += np.subtract.outer(some[:, column], every[:, column], dtype=np.float64) ** 2
    return np.sqrt(squared)
