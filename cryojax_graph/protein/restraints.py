"""Terms that hold a conformation to the geometry of its template."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.protein.pairs import pairs_within


class Restraints(NamedTuple):
    """Pairs of C-alpha atoms whose distance the template knows.

    Attributes:
        pairs: residues of each pair.
        length: distance in the template, Å.
        weight: inverse variance of the distance, 1/Å².
        reach: deviation in Å beyond which the energy grows linearly, so that a contact may open.
    """

    pairs: Int[Array, "pairs 2"]
    length: Float[Array, " pairs"]
    weight: Float[Array, " pairs"]
    reach: Float[Array, " pairs"]


def restraints_of_template(
    c_alpha: Float[np.ndarray, "n 3"],
    bonded: Int[np.ndarray, " n"],
    *,
    bond_deviation: float,
    angle_deviation: float,
    contact_deviation: float,
    contact_cutoff: float,
) -> Restraints:
    """Bonds, angles and contacts of a template.

    Args:
        c_alpha: positions, Å.
        bonded: 1 where a residue is joined to the next by a peptide bond, else 0.
        bond_deviation: standard deviation of the distance of bonded residues, Å.
        angle_deviation: of the distance of residues two bonds apart, Å.
        contact_deviation: of all other pairs within the cut-off, Å.
        contact_cutoff: Å in the template.

    Returns:
        pairs in order of kind, then of residues. Bonds and angles are harmonic, contacts harmonic
        up to 1 Å and linear beyond.
    """
    count = len(c_alpha)
    joined = np.asarray(bonded[: count - 1]) > 0
    first = np.flatnonzero(joined)
    bonds = np.stack([first, first + 1], axis=1)
    second = np.flatnonzero(joined[:-1] & joined[1:])
    angles = np.stack([second, second + 2], axis=1)
    near = pairs_within(c_alpha, contact_cutoff)
    known = {tuple(pair) for pair in np.concatenate([bonds, angles]).tolist()}
    contacts = np.array([pair for pair in near.tolist() if tuple(pair) not in known]).reshape(-1, 2)
    kinds = (bonds, bond_deviation, np.inf), (angles, angle_deviation, np.inf)
    kinds += ((contacts, contact_deviation, 1.0),)
    pairs = np.concatenate([kind for kind, _, _ in kinds]).astype(int)
    length = np.linalg.norm(c_alpha[pairs[:, 0]] - c_alpha[pairs[:, 1]], axis=-1)
    return Restraints(
        pairs=jnp.asarray(pairs, jnp.int32),
        length=jnp.asarray(length, jnp.float32),
        weight=jnp.asarray(
            np.concatenate([np.full(len(kind), deviation**-2) for kind, deviation, _ in kinds]),
            jnp.float32,
        ),
        reach=jnp.asarray(
            np.concatenate([np.full(len(kind), reach) for kind, _, reach in kinds]), jnp.float32
        ),
    )


def distance_energy(restraints: Restraints, c_alpha: Float[Array, "n 3"]) -> Float[Array, ""]:
    """Minus log-probability of the restrained distances, up to a constant.

    Args:
        restraints: of the template.
        c_alpha: of the conformation, Å.

    Returns:
        sum over pairs of the Huber function of the deviation, in units of kT.
    """
    ends = c_alpha[restraints.pairs]
    deviation = jnp.abs(_distance(ends[:, 0] - ends[:, 1]) - restraints.length)
    inside = jnp.minimum(deviation, restraints.reach)
    return jnp.sum(restraints.weight * inside * (deviation - 0.5 * inside))


def clash_energy(
    key: Key[Array, ""],
    c_alpha: Float[Array, "n 3"],
    *,
    closest: float = 4.0,
    deviation: float = 0.5,
    offsets: int = 4,
) -> Float[Array, ""]:
    """Estimate of the energy of C-alpha atoms too close to each other.

    All pairs cost n²; pairs at a few random distances along the numbering cost n and have the same
    mean.

    Args:
        key: draws the offsets.
        c_alpha: of the conformation, Å.
        closest: distance below which a pair costs energy, Å; neighbours along the numbering are
            exempt up to two residues apart.
        deviation: overlap in Å that costs one half kT.
        offsets: number of distances along the numbering to look at.

    Returns:
        unbiased estimate of the sum over pairs of half the squared overlap over ``deviation``²,
        without pairs within two places of each other on a ring that joins the last residue to the
        first; 0 for fewer than six residues.
    """
    count = len(c_alpha)
    if count < 6:
        return jnp.zeros((), c_alpha.dtype)
    # Offsets from 3 to n - 3 around a ring reach each pair from both sides.
    steps = jax.random.randint(key, (offsets,), 3, count - 2)

    def at_offset(step: Int[Array, ""]) -> Float[Array, ""]:
        other = jnp.roll(c_alpha, -step, axis=0)
        overlap = jnp.maximum(closest - _distance(c_alpha - other), 0.0)
        return jnp.sum(overlap**2)

    mean = jnp.mean(jax.vmap(at_offset)(steps))
    return 0.5 * mean * (count - 5) * 0.5 / deviation**2


def _distance(vector: Float[Array, "*n 3"]) -> Float[Array, "*n"]:
    # The gradient of a square root is infinite at 0.
    return jnp.sqrt(jnp.sum(vector**2, axis=-1) + 1e-8)
