"""How close a backbone is to another, and whether it is one that chemistry allows."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from cryojax_graph.geometry.stable import length

# Tolerances of Mariani et al. 2013 in Å.
_LDDT_TOLERANCES = (0.5, 1.0, 2.0, 4.0)


def lddt_ca(
    predicted: Float[Array, "n 3"], truth: Float[Array, "n 3"], *, radius: float = 15.0
) -> Float[Array, ""]:
    """Local distance difference test on C-alpha atoms, free of superposition (Mariani 2013).

    The share of C-alpha pairs closer than ``radius`` in the truth whose distance is kept within
    0.5, 1, 2 and 4 Å, averaged over the four.

    Args:
        predicted: C-alpha positions in Å.
        truth: the same residues' true positions.
        radius: inclusion radius in Å.

    Returns:
        a score in [0, 1]; 0 if no pair is within the radius.
    """
    expected = _pair_distances(truth)
    error = jnp.abs(_pair_distances(predicted) - expected)
    included = (expected < radius) & ~jnp.eye(len(truth), dtype=bool)
    kept = jnp.stack([jnp.sum(included & (error < limit)) for limit in _LDDT_TOLERANCES])
    return jnp.mean(kept / jnp.maximum(jnp.sum(included), 1))


def step_deviation(
    points: Float[Array, "n 3"], template: Float[Array, "n 3"], bonded: Int[Array, "bonds 2"]
) -> Float[Array, ""]:
    """Root mean squared change of the distances of bonded C-alpha atoms against a template's.

    Args:
        points: C-alpha positions in Å.
        template: positions whose distances are taken as right.
        bonded: index pairs joined by a peptide bond, chain ends and gaps left out.

    Returns:
        Å.
    """

    def steps(positions: Float[Array, "n 3"]) -> Float[Array, " bonds"]:
        return length(positions[bonded[:, 0]] - positions[bonded[:, 1]])

    return jnp.sqrt(jnp.mean((steps(points) - steps(template)) ** 2))


def clash_count(
    points: Float[Array, "n 3"], bonded: Int[Array, "bonds 2"], *, distance: float = 3.5
) -> Int[Array, ""]:
    """Number of C-alpha pairs, not joined by a peptide bond, that are too close.

    Args:
        points: C-alpha positions in Å.
        bonded: index pairs joined by a peptide bond, either way round.
        distance: least distance allowed in Å.

    Returns:
        a count of unordered pairs.
    """
    close = _pair_distances(points) < distance
    allowed = jnp.eye(len(points), dtype=bool).at[bonded[:, 0], bonded[:, 1]].set(True)
    return jnp.sum(jnp.triu(close & ~(allowed | allowed.T)))


def _pair_distances(points: Float[Array, "n 3"]) -> Float[Array, "n n"]:
    return length(points[:, None] - points[None])
