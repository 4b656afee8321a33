"""Terms that hold a conformation to the geometry of its template."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.protein.pairs import pairs_within

_CONFORMATIONS_IN_CACHE = 8


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


def distance_energy(
    restraints: Restraints, c_alpha: Float[Array, "*batch n 3"]
) -> Float[Array, "*batch"]:
    """Minus log-probability of the restrained distances, up to a constant.

    Args:
        restraints: of the template.
        c_alpha: one conformation or many, Å; give many as leading axes rather than by ``vmap``,
            which takes four times as long.

    Returns:
        of each conformation, the sum over pairs of the Huber function of the deviation, in units of
        kT; empty for no conformation.
    """
    leading, count = c_alpha.shape[:-2], math.prod(c_alpha.shape[:-2])
    if count == 0:
        return jnp.zeros(leading, c_alpha.dtype)
    chunk = min(_CONFORMATIONS_IN_CACHE, count)
    padding = ((0, -count % chunk), (0, 0), (0, 0))
    padded = jnp.pad(c_alpha.reshape(count, *c_alpha.shape[-2:]), padding)

    def of_chunk(c_alpha: Float[Array, "chunk n 3"]) -> Float[Array, " chunk"]:
        # With conformations along the last axis a residue is one stretch of memory, to be read and
        # added to as a whole.
        rows = c_alpha.transpose(1, 2, 0)
        first, second = restraints.pairs.T
        known = (restraints.length, restraints.weight, restraints.reach)
        return jnp.sum(
            _pair_energy(rows[first] - rows[second], *(value[:, None] for value in known)), axis=0
        )

    energies = jax.lax.map(of_chunk, padded.reshape(-1, chunk, *padded.shape[1:]))
    return energies.reshape(-1)[:count].reshape(leading)


@jax.custom_jvp
def _pair_energy(
    vector: Float[Array, "pairs 3 chunk"],
    length: Float[Array, "pairs 1"],
    weight: Float[Array, "pairs 1"],
    reach: Float[Array, "pairs 1"],
) -> Float[Array, "pairs chunk"]:
    deviation = _length_of(vector) - length
    inside = jnp.clip(deviation, -reach, reach)
    return weight * inside * (deviation - 0.5 * inside)


@_pair_energy.defjvp
def _pair_energy_jvp(
    primals: tuple[Array, ...], tangents: tuple[Array, ...]
) -> tuple[Array, Array]:
    """The slopes in closed form: the compiler, left to itself, computes them once for each end."""
    vector, length, weight, reach = primals
    distance = _length_of(vector)
    deviation = distance - length
    inside = jnp.clip(deviation, -reach, reach)
    beyond = deviation - inside
    by_vector, by_length, by_weight, by_reach = tangents
    slope = weight * inside
    energy = slope * (deviation - 0.5 * inside)
    change = jnp.sum((slope / distance)[:, None] * vector * by_vector, axis=1) - slope * by_length
    change += inside * (deviation - 0.5 * inside) * by_weight
    return energy, change + weight * jnp.abs(beyond) * by_reach


def _length_of(vector: Float[Array, "pairs 3 chunk"]) -> Float[Array, "pairs chunk"]:
    # The gradient of a square root is infinite at 0.
    return jnp.sqrt(jnp.sum(vector**2, axis=1) + 1e-8)


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

    along = c_alpha.T
    ring = jnp.concatenate([along, along], axis=1)

    def at_offset(step: Int[Array, ""]) -> Float[Array, ""]:
        other = jax.lax.dynamic_slice_in_dim(ring, step, count, axis=1)
        # The gradient of a square root is infinite at 0.
        distance = jnp.sqrt(jnp.sum((along - other) ** 2, axis=0) + 1e-8)
        return jnp.sum(jnp.maximum(closest - distance, 0.0) ** 2)

    mean = jnp.mean(jnp.stack([at_offset(step) for step in steps]))
    return 0.5 * mean * (count - 5) * 0.5 / deviation**2
