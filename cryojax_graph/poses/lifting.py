"""Ellipsoidal support lifting: an image belongs to a small set of orientations, not to one.

Of a grid of n rotations, an image takes those whose data fit lies below a level; near a minimum
that set is an ellipsoid (Diepeveen, Lellmann, Öktem et al. 2023). Its weights solve a projection
onto the simplex, its mean is the estimated rotation. Data fits are squared distances or minus log
likelihoods: any factor and any constant common to one image leaves weights unchanged.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cryojax_graph.geometry import chordal_mean, geodesic_distance, karcher_mean

# Weights are found among this many best grid points, and no fewer than twice those of the support.
_CANDIDATES = 64


class Support(NamedTuple):
    """The grid points that carry weight, and some that carry none.

    Attributes:
        index: grid points, best first, shape (candidates,).
        weight: from 0 to 1, with sum 1.
    """

    index: Int[Array, " candidates"]
    weight: Float[Array, " candidates"]


def project_to_simplex(values: Float[Array, " n"]) -> Float[Array, " n"]:
    """The nearest point whose coordinates are not negative and have sum 1.

    Args:
        values: any finite numbers or minus infinity, at least one finite.

    Returns:
        max(value - threshold, 0), with the threshold found by sorting (Held, Wolfe & Crowder 1974).
    """
    values = values - jnp.max(values)
    ordered = jnp.sort(values)[::-1]
    finite = jnp.where(jnp.isfinite(ordered), ordered, -1e30)
    excess = jnp.cumsum(finite) - 1.0
    rank = jnp.arange(1, len(values) + 1)
    kept = jnp.sum(jnp.where(finite * rank > excess, 1, 0))
    return jnp.maximum(values - excess[kept - 1] / kept, 0.0)


def esl_support(
    data_fit: Float[Array, " n"], *, points: float = 15.0, eta: float = 2 / 3
) -> Support:
    """Weights of the grid points of one image.

    They minimise <F, β> + λ / (2 n^η) |β|² over the simplex, with λ such that about 0.66 times J
    points carry weight, J = floor(points · n^((2 - 3η) / 5)).

    Args:
        data_fit: F, one number for each point of the grid, infinite where the point is excluded.
        points: J₀.
        eta: from 1/4 to 2/3, where J does not depend on n.

    Returns:
        the support, exact.

    Raises:
        ValueError: the exponent is outside its range, or J is below 1.
    """
    count = len(data_fit)
    if not 0.25 <= eta <= 2 / 3:
        raise ValueError(f"eta = {eta:g}; the support shrinks to one rotation for 1/4 to 2/3")
    wanted = min(math.floor(points * count ** ((2 - 3 * eta) / 5) + 1e-9), count - 1)
    kept = min(max(_CANDIDATES, 2 * wanted), count)
    if wanted < 1:
        raise ValueError(f"a support of {wanted} points")
    negative, index = jax.lax.top_k(-data_fit, kept)
    # Excluded points can leave fewer than J: then the worst that is left closes the sum.
    rise = -(negative - negative[0])
    included = jnp.isfinite(rise)
    last = jnp.minimum(wanted, jnp.sum(included) - 1)
    within = jnp.arange(kept) < last
    mean = jnp.sum(jnp.where(within, rise, 0.0)) / jnp.maximum(last, 1)
    strength = 0.5 * points * count ** ((2 + 2 * eta) / 5) * (rise[last] - mean) + 1e-16
    return Support(index, project_to_simplex(-(count**eta / strength) * rise))


def esl_rotation(
    support: Support, rotations: Float[Array, "n 3 3"], *, steps: int = 10
) -> Float[Array, "3 3"]:
    """The Riemannian barycentre of a support, sought from its best point.

    Args:
        support: of one image.
        rotations: the grid.
        steps: repetitions.

    Returns:
        the rotation.
    """
    chosen = rotations[support.index]
    return karcher_mean(chosen, support.weight, start=chosen[0], steps=steps)


def esl_loss(data_fit: Float[Array, " n"], support: Support) -> Float[Array, ""]:
    """Mean data fit over a support, to be differentiated with the support held fixed.

    The weights are the minimiser of a functional of the data fit, so that the derivative through
    them is that of another loss: it rewards spreading the support, not fitting the image.

    Args:
        data_fit: one number for each point of the grid.
        support: of the image, for instance from ``esl_support(data_fit)``.

    Returns:
        sum of weight times data fit; its gradient is the weighted mean of gradients.
    """
    held = jax.lax.stop_gradient(support.weight)
    # A point that was excluded has no fit, and no weight.
    chosen = jnp.where(held > 0, data_fit[support.index], 0.0)
    return jnp.sum(held * chosen)


def restrict_to_mode(
    data_fit: Float[Array, " n"], rotations: Float[Array, "n 3 3"], *, radius: float
) -> Float[Array, " n"]:
    """Exclude all points but those around the best one.

    Without this, the mean of a support that spans several minima lies in none of them.

    Args:
        data_fit: one number for each point of the grid.
        rotations: the grid.
        radius: of the neighbourhood, radians; two grid spacings are a good choice.

    Returns:
        the data fit, infinite outside the neighbourhood.
    """
    best = rotations[jnp.argmin(data_fit)]
    near = jax.vmap(lambda rotation: geodesic_distance(best, rotation))(rotations) <= radius
    return jnp.where(near, data_fit, jnp.inf)


def posterior_rotation(
    log_posterior: Float[Array, " n"], rotations: Float[Array, "n 3 3"]
) -> Float[Array, "3 3"]:
    """Posterior mean over a grid, which minimises the expected squared chordal error (MMSE).

    Args:
        log_posterior: of each point, up to a constant.
        rotations: the grid.

    Returns:
        the rotation nearest to the mean of the matrices.
    """
    return chordal_mean(rotations, jax.nn.softmax(log_posterior))
