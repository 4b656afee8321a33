"""What is minimised when a model is fitted to a map: energy of its geometry less its density."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, Key

from cryojax_graph.fields import Field
from cryojax_graph.forward.grids import Scalar
from cryojax_graph.protein import (
    Contacts,
    GeometryRestraints,
    repulsion_energy,
    restraint_energy,
)

# Half the width of the peak of an atom: there its density is steepest.
_ASIDE = 0.3


# Overlap of atoms too close to each other that costs one half kT, Å.
_OVERLAP_DEVIATION = 0.05


class Crowd(NamedTuple):
    """Atoms whose densities overlap: what one of them explains, its neighbours must not claim too.

    Attributes:
        pairs: of atoms; an atom with itself where the list is padded.
        height: of the peak of a carbon atom in the map, map units.
        width: standard deviation of the peak of an atom, Å.
    """

    pairs: Int[Array | np.ndarray, "pairs 2"]
    height: Float[Array, ""]
    width: Float[Array, ""]


class Target(NamedTuple):
    """What atoms are fitted to.

    Attributes:
        field: density of the map.
        masses: weight of the density at each atom, for instance electrons times occupancy in those
            of carbon.
        scale: of the density, map units; its standard deviation.
        restraints: of the geometry.
        contacts: of the neighbourhood.
        crowd: atoms that share their density; None, and each atom counts all density where it is
            as its own.
    """

    field: Field
    masses: Float[Array, " n"]
    scale: Float[Array, ""]
    restraints: GeometryRestraints
    contacts: Contacts
    crowd: Crowd | None = None


def density_score(target: Target, positions: Float[Array, "n 3"]) -> Float[Array, ""]:
    """Weighted sum of the density at the atoms, less what their neighbours explain of it.

    With a crowd this is, up to a constant, minus half the squared distance of the map from the
    density of the model (of the Hilbert space whose kernel is the peak of an atom), so that a
    true model is at its maximum; without one atoms climb to shared peaks.

    Args:
        target: what they are fitted to.
        positions: Å.

    Returns:
        in standard deviations of the map.
    """
    values = target.field.values(positions)
    score = jnp.sum(target.masses * values)
    if target.crowd is not None:
        first, second = target.crowd.pairs[:, 0], target.crowd.pairs[:, 1]
        apart = jnp.sum((positions[first] - positions[second]) ** 2, axis=-1)
        shared = jnp.exp(-0.5 * apart / target.crowd.width**2)
        both = jnp.where(first == second, 0.0, target.masses[first] * target.masses[second])
        score -= target.crowd.height * jnp.sum(both * shared)
    return score / target.scale


def fit_energy(
    target: Target, positions: Float[Array, "n 3"], pull: Float[Array, ""]
) -> Float[Array, ""]:
    """Minus log-probability of the geometry, less the density times its weight.

    Args:
        target: what atoms are fitted to.
        positions: Å.
        pull: weight of the density, kT per standard deviation at a carbon atom.

    Returns:
        kT.
    """
    geometry = restraint_energy(target.restraints, positions)
    geometry += repulsion_energy(target.contacts, positions, deviation=_OVERLAP_DEVIATION)
    return geometry - pull * density_score(target, positions)


def first_pull(
    key: Key[Array, ""],
    target: Target,
    positions: Float[Array, "n 3"],
    *,
    deviation: Scalar,
    bond_deviation: float = 0.02,
) -> Float[Array, ""]:
    """Weight at which the density pulls at atoms about as strongly as a stretched bond does.

    Args:
        key: draws where the pull of the density is looked at: atoms that stand on a peak feel none.
        target: what atoms are fitted to.
        positions: Å.
        deviation: by which the bond is stretched, Å.
        bond_deviation: standard deviation of a bond, Å.

    Returns:
        kT per standard deviation at a carbon atom.
    """
    aside = positions + _ASIDE * jax.random.normal(key, positions.shape)
    slope = jax.grad(density_score, argnums=1)(target, aside)
    size = jnp.sqrt(jnp.mean(jnp.sum(slope**2, axis=1)))
    return jnp.asarray(deviation) / bond_deviation**2 / jnp.where(size > 0, size, 1.0)
